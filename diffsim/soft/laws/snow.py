"""Snow (Stomakhin et al. 2013): stretches are held within [1 - critical_compression, 1 + critical_stretch]; what is cut off
hardens or softens the solid.

    g_i = clamp(s_i),  a_new = a + sum log s_i - sum log g_i  (so that J_plastic = exp(a)),
    h = exp(hardening (1 - exp(a_new))),  fixed-corotated stress of g with h mu and h lambda
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

from torch import Tensor

from diffsim.compiler import ti
from diffsim.scene.materials import ELASTIC_RANGES, NOT_NEGATIVE, LinearlyElastic, MaterialLook, Range, lame
from diffsim.soft.laws.elastic import corotated_stress
from diffsim.soft.laws.stretch_law import PAIRS, Flow, FlowAdjoint
from diffsim.soft.laws.von_mises import SMALLEST_STRETCH

LARGEST_HARDENING = 4.0  # the exponent hardening (1 - J_plastic) is held within plus and minus this


def snow(real: Any, functions: SimpleNamespace) -> SimpleNamespace:
    """Parameters mu, lambda (Pa), critical compression, critical stretch, hardening xi."""
    stress = corotated_stress(real)

    @ti.func
    def hardened(s: ti.template(), a: ti.template(), g: ti.template(), xi):
        """a_new, exp(a_new), the exponent before it is held, and h."""
        stretch = functions.log(ti.max(s[0], SMALLEST_STRETCH)) + functions.log(ti.max(s[1], SMALLEST_STRETCH))
        stretch = stretch + functions.log(ti.max(s[2], SMALLEST_STRETCH))
        a_new = a + stretch - functions.log(g[0] * g[1] * g[2])
        volume = functions.exp(a_new)
        exponent = xi * (1.0 - volume)
        return a_new, volume, exponent, functions.exp(ti.max(ti.min(exponent, LARGEST_HARDENING), -LARGEST_HARDENING))

    @ti.func
    def held(s, compression, stretch):
        return ti.max(ti.min(s, 1.0 + stretch), 1.0 - compression)

    @ti.func
    def forward(s: ti.template(), a: ti.template(), q: ti.template()):
        mu, lam, compression, stretch, xi = q[0], q[1], q[2], q[3], q[4]
        g = [held(s[i], compression, stretch) for i in ti.static(range(3))]
        a_new, _volume, _exponent, h = hardened(s, a, g, xi)
        return Flow(stretches=g, stresses=stress.forward(g, h * mu, h * lam), internal=a_new)

    @ti.func
    def held_adjoint(s, compression, stretch, g_bar, a_new_bar):
        """Adjoints of s, critical compression and critical stretch. Where s is not held, a_new does not depend on it."""
        zero = ti.cast(0.0, real)
        below, above = s < 1.0 - compression, s > 1.0 + stretch
        plastic_bar = ti.select(s > SMALLEST_STRETCH, a_new_bar / ti.max(s, SMALLEST_STRETCH), zero)
        limit_bar = g_bar - a_new_bar / held(s, compression, stretch)
        return (
            ti.select(below | above, plastic_bar, g_bar),
            ti.select(below, -limit_bar, zero),
            ti.select(above, limit_bar, zero),
        )

    @ti.func
    def divided_difference(s, r, g, f):
        """(g - f) / (s - r) for g = held(s) and f = held(r); 1 where neither is held, 0 where s = r on a limit's far side."""
        apart = ti.abs(s - r) > 1e-7
        inside = (g == s) & (f == r)
        ratio = (g - f) / ti.select(apart, s - r, ti.cast(1.0, real))
        return ti.select(inside, ti.cast(1.0, real), ti.select(apart, ratio, ti.cast(0.0, real)))

    @ti.func
    def adjoint(s: ti.template(), a: ti.template(), q: ti.template(), bars: ti.template()):
        """The stress goes to g and to h = exp(exponent), exponent = xi (1 - exp(a_new)), which goes to a_new and xi; a_new
        and g go to s by `held_adjoint`."""
        mu, lam, compression, stretch, xi = q[0], q[1], q[2], q[3], q[4]
        g = [held(s[i], compression, stretch) for i in ti.static(range(3))]
        _a_new, volume, exponent, h = hardened(s, a, g, xi)
        b, mu_bar, lam_bar = stress.adjoint(g, h * mu, h * lam, bars.stresses)
        free = ti.abs(exponent) < LARGEST_HARDENING
        exponent_bar = ti.select(free, h * (mu * mu_bar + lam * lam_bar), ti.cast(0.0, real))
        total_bar = bars.internal - exponent_bar * xi * volume
        s0_bar, compression0, stretch0 = held_adjoint(s[0], compression, stretch, bars.stretches[0] + b[0], total_bar)
        s1_bar, compression1, stretch1 = held_adjoint(s[1], compression, stretch, bars.stretches[1] + b[1], total_bar)
        s2_bar, compression2, stretch2 = held_adjoint(s[2], compression, stretch, bars.stretches[2] + b[2], total_bar)
        dg = [divided_difference(s[i], s[j], g[i], g[j]) for i, j in ti.static(PAIRS)]
        dt = stress.quotients(g, h * mu)
        return FlowAdjoint(
            stretches=(s0_bar, s1_bar, s2_bar),
            internal=total_bar,
            parameters=(
                h * mu_bar,
                h * lam_bar,
                compression0 + compression1 + compression2,
                stretch0 + stretch1 + stretch2,
                exponent_bar * (1.0 - volume),
            ),
            elastic=g,
            elastic_quotients=dg,
            stress_quotients=(dt[0] * dg[0], dt[1] * dg[1], dt[2] * dg[2]),
        )

    return SimpleNamespace(forward=forward, adjoint=adjoint)


@dataclass(frozen=True)
class Snow(LinearlyElastic):
    """Snow (Stomakhin et al. 2013): stretches beyond the critical ones are plastic, and harden or weaken the solid.

    The internal variable is the logarithm of the plastic volume ratio: negative where the snow is packed.

    Args:
        youngs_modulus, poissons_ratio, density: as `Elastic`.
        critical_compression: largest elastic compression.
        critical_stretch: largest elastic stretch.
        hardening: exponent of the stiffness's growth with plastic compression.
    """

    youngs_modulus: float = 1.4e5
    density: float = 400.0
    critical_compression: float = 2.5e-2
    critical_stretch: float = 7.5e-3
    hardening: float = 10.0

    SHAPELESS: ClassVar[bool] = True
    LOOK: ClassVar[MaterialLook | None] = MaterialLook((0.88, 0.91, 0.96))
    RANGES: ClassVar[Mapping[str, Range]] = {
        **ELASTIC_RANGES,
        "critical_compression": (0.0, 0.9, "in [0, 0.9)"),
        "critical_stretch": NOT_NEGATIVE,
        "hardening": NOT_NEGATIVE,
    }

    @property
    def law(self) -> Callable[..., Any]:
        return snow

    def law_parameters(self, values: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """mu, lambda, critical compression, critical stretch and hardening."""
        return (
            *lame(values["youngs_modulus"], values["poissons_ratio"]),
            values["critical_compression"],
            values["critical_stretch"],
            values["hardening"],
        )
