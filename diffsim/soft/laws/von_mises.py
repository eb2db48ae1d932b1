"""Elastoplastic solid: fixed-corotated stress, von Mises yield in logarithmic strain, linear isotropic hardening (Simo 1992).

With the trial strain e = log s, its deviator d and l = |d|, and the yield limit Y = yield + hardening a:
    flow    gamma = max(0, (2 mu l - Y) / (2 mu + hardening)),  k = 1 - gamma / l
    g_i = exp(mean(e) + k d_i),  a_new = a + gamma
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

from torch import Tensor

from diffsim.compiler import ti
from diffsim.scene.materials import ELASTIC_RANGES, NOT_NEGATIVE, POSITIVE, LinearlyElastic, Range, lame
from diffsim.soft.laws.elastic import corotated_stress
from diffsim.soft.laws.stretch_law import PAIRS, Flow, FlowAdjoint

# log s is taken of at least this, so that a collapsed or inverted element has a defined answer
SMALLEST_STRETCH = 2.0**-7


def von_mises(real: Any, functions: SimpleNamespace) -> SimpleNamespace:
    """Parameters mu, lambda, yield stress, hardening modulus (Pa)."""
    stress = corotated_stress(real)
    tiny = 1e-30

    @ti.func
    def flow(s: ti.template(), a: ti.template(), mu, limit, hardening):
        """Logarithmic strains (3), their mean and deviator's length, the factor k, and gamma (0 where there is no flow)."""
        e = [functions.log(ti.max(s[i], SMALLEST_STRETCH)) for i in ti.static(range(3))]
        mean = (e[0] + e[1] + e[2]) * functions.constant(1.0 / 3.0)
        length = ti.sqrt((e[0] - mean) * (e[0] - mean) + (e[1] - mean) * (e[1] - mean) + (e[2] - mean) * (e[2] - mean))
        excess = 2.0 * mu * length - (limit + hardening * a)
        gamma = ti.max(excess, 0.0) / (2.0 * mu + hardening)
        k = 1.0 - gamma / ti.max(length, tiny)
        return e, mean, length, k, gamma

    @ti.func
    def flowed(s, e, mean, k, gamma):
        return ti.select(gamma > 0.0, functions.exp(mean + k * (e - mean)), s)

    @ti.func
    def forward(s: ti.template(), a: ti.template(), q: ti.template()):
        mu, lam, limit, hardening = q[0], q[1], q[2], q[3]
        e, mean, _length, k, gamma = flow(s, a, mu, limit, hardening)
        g = [flowed(s[i], e[i], mean, k, gamma) for i in ti.static(range(3))]
        return Flow(stretches=g, stresses=stress.forward(g, mu, lam), internal=a + gamma)

    @ti.func
    def adjoint(s: ti.template(), a: ti.template(), q: ti.template(), bars: ti.template()):
        mu, lam, limit, hardening = q[0], q[1], q[2], q[3]
        a_new_bar = bars.internal
        e, mean, length, k, gamma = flow(s, a, mu, limit, hardening)
        g = [flowed(s[i], e[i], mean, k, gamma) for i in ti.static(range(3))]
        stress_bar, mu_bar, lam_bar = stress.adjoint(g, mu, lam, bars.stresses)
        b = [stress_bar[i] + bars.stretches[i] for i in ti.static(range(3))]
        yielding = gamma > 0.0
        zero, one = ti.cast(0.0, real), ti.cast(1.0, real)

        # where it flows: log g = mean + k d, with k = (hardening + Y / l) / stiff and gamma = (2 mu l - Y) / stiff,
        # stiff = 2 mu + hardening; h_i are the adjoints of log g_i, and length_bar is that of l over l
        h = [b[i] * g[i] for i in ti.static(range(3))]
        h_mean = (h[0] + h[1] + h[2]) * functions.constant(1.0 / 3.0)
        d = [e[i] - mean for i in ti.static(range(3))]
        k_bar = h[0] * d[0] + h[1] * d[1] + h[2] * d[2]
        inverse_length = 1.0 / ti.max(length, tiny)
        per_stiff = 1.0 / (2.0 * mu + hardening)
        Y = limit + hardening * a
        Y_bar = (k_bar * inverse_length - a_new_bar) * per_stiff
        length_bar = (2.0 * mu * a_new_bar - k_bar * Y * inverse_length * inverse_length) * per_stiff * inverse_length
        held = [ti.max(s[i], SMALLEST_STRETCH) for i in ti.static(range(3))]
        plastic_bar = [(h_mean + k * (h[i] - h_mean) + length_bar * d[i]) / held[i] for i in ti.static(range(3))]
        flow_mu_bar = 2.0 * per_stiff * (a_new_bar * (length - gamma) - k_bar * k)
        hardening_bar = per_stiff * (k_bar * (1.0 - k) - a_new_bar * gamma) + a * Y_bar

        # (g_j - g_i) / (s_j - s_i) = (exp f_j - exp f_i) / (f_j - f_i) * k * (log c_j - log c_i) / (c_j - c_i) * (c_j - c_i) /
        # (s_j - s_i) with f = log g and c the held s; each quotient of exp or log is a logarithmic mean
        f = [mean + k * d[i] for i in ti.static(range(3))]
        means = [
            functions.logarithmic_mean(g[i], g[j], f[i], f[j]) / functions.logarithmic_mean(held[i], held[j], e[i], e[j])
            for i, j in ti.static(PAIRS)
        ]
        dg = [
            ti.select(yielding, k * means[n] * functions.held_quotient(s[PAIRS[n][0]], s[PAIRS[n][1]], SMALLEST_STRETCH), one)
            for n in ti.static(range(3))
        ]
        dt = stress.quotients(g, mu)
        return FlowAdjoint(
            stretches=[
                ti.select(yielding, ti.select(s[i] > SMALLEST_STRETCH, plastic_bar[i], zero), b[i]) for i in ti.static(range(3))
            ],
            internal=a_new_bar + ti.select(yielding, hardening * Y_bar, zero),
            parameters=(
                mu_bar + ti.select(yielding, flow_mu_bar, zero),
                lam_bar,
                ti.select(yielding, Y_bar, zero),
                ti.select(yielding, hardening_bar, zero),
            ),
            elastic=g,
            elastic_quotients=dg,
            stress_quotients=(dt[0] * dg[0], dt[1] * dg[1], dt[2] * dg[2]),
        )

    return SimpleNamespace(forward=forward, adjoint=adjoint)


@dataclass(frozen=True)
class ElastoPlastic(LinearlyElastic):
    """Clay, plasticine, metal: fixed-corotated elasticity with von Mises yielding in logarithmic strain (Gao et al. 2017).

    The internal variable is the accumulated plastic strain: the length of plastic flow in logarithmic strain.

    Args:
        youngs_modulus, poissons_ratio, density: as `Elastic`.
        yield_stress: size of the deviatoric stress in Pa at which the material starts to flow.
        hardening: growth of the yield stress in Pa per unit of accumulated plastic strain.
    """

    yield_stress: float = 50.0
    hardening: float = 0.0

    RANGES: ClassVar[Mapping[str, Range]] = {**ELASTIC_RANGES, "yield_stress": POSITIVE, "hardening": NOT_NEGATIVE}

    @property
    def law(self) -> Callable[..., Any]:
        return von_mises

    def law_parameters(self, values: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """mu, lambda, yield stress and hardening."""
        return (*lame(values["youngs_modulus"], values["poissons_ratio"]), values["yield_stress"], values["hardening"])
