"""Sand: Hencky elasticity and Drucker-Prager yield, with the volume correction of Klar et al. 2016 and Tampubolon et al. 2017.

With e = log s + a / 3, tr = sum e, d its deviator and l = |d|, c = (3 lambda + 2 mu) / (2 mu) alpha:
    apart    tr >= 0:        e_new = 0,               a_new = tr   (the volume gained, paid back before pressure builds up)
    sliding  l + c tr > 0:   e_new = tr / 3 + k d,    a_new = 0,   k = -c tr / l
    elastic  otherwise:      e_new = e,               a_new = 0
    t_i = 2 mu e_new_i + lambda tr(e_new),  g = exp(e_new)
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from torch import Tensor

from diffsim.compiler import ti
from diffsim.scene.materials import ELASTIC_RANGES, NOT_NEGATIVE, LinearlyElastic, MaterialLook, Range, lame
from diffsim.soft.laws.stretch_law import PAIRS, Flow, FlowAdjoint
from diffsim.soft.laws.von_mises import SMALLEST_STRETCH


def drucker_prager(real: Any, functions: SimpleNamespace) -> SimpleNamespace:
    """Parameters mu, lambda (Pa), alpha = sqrt(2/3) 2 sin(phi) / (3 - sin(phi)) for the friction angle phi."""
    tiny = 1e-30

    @ti.func
    def flow(s: ti.template(), a: ti.template(), mu, lam, alpha):
        """Strains e (3), their trace, the deviator's length, c, k, and the mean strain after flow."""
        third = functions.constant(1.0 / 3.0)
        e = [functions.log(ti.max(s[i], SMALLEST_STRETCH)) + a * third for i in ti.static(range(3))]
        trace = e[0] + e[1] + e[2]
        mean = trace * third
        length = ti.sqrt((e[0] - mean) * (e[0] - mean) + (e[1] - mean) * (e[1] - mean) + (e[2] - mean) * (e[2] - mean))
        c = (1.5 * lam / mu + 1.0) * alpha
        sliding = (length + c * trace) > 0.0
        k = ti.select(sliding, -c * trace / ti.max(length, tiny), ti.cast(1.0, real))
        k = ti.select(trace >= 0.0, ti.cast(0.0, real), k)
        return e, trace, length, c, k, ti.min(mean, 0.0)

    @ti.func
    def forward(s: ti.template(), a: ti.template(), q: ti.template()):
        mu, lam, alpha = q[0], q[1], q[2]
        e, trace, _length, _c, k, mean_new = flow(s, a, mu, lam, alpha)
        mean = trace * functions.constant(1.0 / 3.0)
        n = [mean_new + k * (e[i] - mean) for i in ti.static(range(3))]
        pressure = 3.0 * lam * mean_new
        # the very stretches where nothing flows, so that rounding errors of log and exp do not add up to a creep
        rests = (k == 1.0) & (trace < 0.0) & (a == 0.0) & (ti.min(s[0], ti.min(s[1], s[2])) > SMALLEST_STRETCH)
        return Flow(
            stretches=[ti.select(rests, s[i], functions.exp(n[i])) for i in ti.static(range(3))],
            stresses=[2.0 * mu * n[i] + pressure for i in ti.static(range(3))],
            internal=ti.max(trace, 0.0),
        )

    @ti.func
    def adjoint(s: ti.template(), a: ti.template(), q: ti.template(), bars: ti.template()):
        """n = e_new and n_bar its adjoint; k = -c tr / l where it slides, so that k_bar goes to c, tr and l."""
        mu, lam, alpha = q[0], q[1], q[2]
        g_bar, t_bar, a_new_bar = ti.static((bars.stretches, bars.stresses, bars.internal))
        third = functions.constant(1.0 / 3.0)
        zero = ti.cast(0.0, real)
        e, trace, length, c, k, mean_new = flow(s, a, mu, lam, alpha)
        mean = trace * third
        d = [e[i] - mean for i in ti.static(range(3))]
        n = [mean_new + k * d[i] for i in ti.static(range(3))]
        g = [functions.exp(n[i]) for i in ti.static(range(3))]
        total = t_bar[0] + t_bar[1] + t_bar[2]
        n_bar = [g_bar[i] * g[i] + 2.0 * mu * t_bar[i] + lam * total for i in ti.static(range(3))]

        apart = trace >= 0.0
        sliding = (k < 1.0) & (trace < 0.0)
        n_mean = (n_bar[0] + n_bar[1] + n_bar[2]) * third
        k_bar = ti.select(sliding, n_bar[0] * d[0] + n_bar[1] * d[1] + n_bar[2] * d[2], zero)
        inverse_length = 1.0 / ti.max(length, tiny)
        length_bar = -k_bar * k * inverse_length * inverse_length  # over l
        trace_bar = -k_bar * c * inverse_length
        c_bar = -k_bar * trace * inverse_length
        e_bar = [
            ti.select(apart, a_new_bar, n_mean + k * (n_bar[i] - n_mean) + length_bar * d[i] + trace_bar)
            for i in ti.static(range(3))
        ]
        held = [ti.max(s[i], SMALLEST_STRETCH) for i in ti.static(range(3))]
        # the strains differ from log s by the same a / 3, so differences of the two are equal
        slopes = [
            k * functions.held_quotient(s[i], s[j], SMALLEST_STRETCH)
            / functions.logarithmic_mean(held[i], held[j], e[i], e[j])
            for i, j in ti.static(PAIRS)
        ]  # fmt: skip
        means = [functions.logarithmic_mean(g[i], g[j], n[i], n[j]) for i, j in ti.static(PAIRS)]
        return FlowAdjoint(
            stretches=[ti.select(s[i] > SMALLEST_STRETCH, e_bar[i] / held[i], zero) for i in ti.static(range(3))],
            internal=(e_bar[0] + e_bar[1] + e_bar[2]) * third,
            parameters=(
                2.0 * (n[0] * t_bar[0] + n[1] * t_bar[1] + n[2] * t_bar[2]) - c_bar * 1.5 * lam * alpha / (mu * mu),
                3.0 * mean_new * total + c_bar * 1.5 * alpha / mu,
                c_bar * (1.5 * lam / mu + 1.0),
            ),
            elastic=g,
            elastic_quotients=[slopes[i] * means[i] for i in ti.static(range(3))],
            stress_quotients=[2.0 * mu * slopes[i] for i in ti.static(range(3))],
        )

    return SimpleNamespace(forward=forward, adjoint=adjoint)


@dataclass(frozen=True)
class Sand(LinearlyElastic):
    """Dry sand: Hencky elasticity with Drucker-Prager yielding (Klar et al. 2016). It holds no tension.

    The internal variable is the logarithm of the volume gained while apart, which compression takes back first.

    Args:
        youngs_modulus, poissons_ratio, density: as `Elastic`.
        friction_angle: internal friction angle in triaxial compression, radians, in (0, pi/2). `from_plane_strain` takes that
            of plane strain, which heaps, slides and collapsing columns are close to.
        relaxation_rate: 1/s, as of `Liquid`.
    """

    youngs_modulus: float = 5e4
    density: float = 1.6e3
    friction_angle: float = math.radians(35.0)
    relaxation_rate: float = 10.0

    SHAPELESS: ClassVar[bool] = True
    LOOK: ClassVar[MaterialLook | None] = MaterialLook((0.82, 0.66, 0.42), grains=True)
    FLOWING: ClassVar[bool] = True
    RANGES: ClassVar[Mapping[str, Range]] = {
        **ELASTIC_RANGES,
        "friction_angle": (1e-3, math.pi / 2.0, "in (0, pi/2) radians"),
        "relaxation_rate": NOT_NEGATIVE,
    }

    @classmethod
    def from_plane_strain(cls, friction_angle: float, **parameters: float) -> "Sand":
        """Sand that has Mohr and Coulomb's strength of this friction angle (radians) in plane strain, not in triaxial
        compression.

        A cone of Drucker and Prager meets Mohr and Coulomb's pyramid in one kind of stress alone. The one of triaxial
        compression goes round the pyramid: in plane strain it is as strong as a friction angle of 46 degrees where 31 were
        given. There, flow at constant volume has (s1 - s3) / (s1 + s3) = 2 sqrt(3) sin(phi) / (3 - sin(phi)) (Davis 1968),
        which is the sine of the wanted angle.
        """
        sine = math.sin(friction_angle)
        return cls(friction_angle=math.asin(3.0 * sine / (2.0 * math.sqrt(3.0) + sine)), **parameters)

    @property
    def law(self) -> Callable[..., Any]:
        return drucker_prager

    def law_parameters(self, values: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """mu, lambda and alpha."""
        sine = torch.sin(values["friction_angle"])
        return (*lame(values["youngs_modulus"], values["poissons_ratio"]), math.sqrt(2.0 / 3.0) * 2.0 * sine / (3.0 - sine))
