"""Sand: Hencky elasticity and Drucker-Prager yield, with the volume correction of Klar et al. 2016 and Tampubolon et al. 2017.

With e = log s + a / 3, tr = sum e, d its deviator and l = |d|, c = (3 lambda + 2 mu) / (2 mu) alpha:
    apart    tr >= 0:        e_new = 0,               a_new = tr   (the volume gained, paid back before pressure builds up)
    sliding  l + c tr > 0:   e_new = tr / 3 + k d,    a_new = 0,   k = -c tr / l
    elastic  otherwise:      e_new = e,               a_new = 0
    t_i = 2 mu e_new_i + lambda tr(e_new),  g = exp(e_new)
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

from diffsim.compiler import ti
from diffsim.soft.laws.von_mises import SMALLEST_STRETCH


def drucker_prager(real: Any, functions: SimpleNamespace) -> SimpleNamespace:
    """Parameters mu, lambda (Pa), alpha = sqrt(2/3) 2 sin(phi) / (3 - sin(phi)) for the friction angle phi."""
    tiny = 1e-30

    @ti.func
    def flow(s0, s1, s2, a, mu, lam, alpha):
        """Strains e, their trace, the deviator's length, c, k, and the mean strain after flow."""
        third = functions.constant(1.0 / 3.0)
        e0 = functions.log(ti.max(s0, SMALLEST_STRETCH)) + a * third
        e1 = functions.log(ti.max(s1, SMALLEST_STRETCH)) + a * third
        e2 = functions.log(ti.max(s2, SMALLEST_STRETCH)) + a * third
        trace = e0 + e1 + e2
        mean = trace * third
        length = ti.sqrt((e0 - mean) * (e0 - mean) + (e1 - mean) * (e1 - mean) + (e2 - mean) * (e2 - mean))
        c = (1.5 * lam / mu + 1.0) * alpha
        sliding = (length + c * trace) > 0.0
        k = ti.select(sliding, -c * trace / ti.max(length, tiny), ti.cast(1.0, real))
        k = ti.select(trace >= 0.0, ti.cast(0.0, real), k)
        return e0, e1, e2, trace, length, c, k, ti.min(mean, 0.0)

    @ti.func
    def forward(s0, s1, s2, a, mu, lam, alpha, q3, q4):
        e0, e1, e2, trace, _length, _c, k, mean_new = flow(s0, s1, s2, a, mu, lam, alpha)
        mean = trace * functions.constant(1.0 / 3.0)
        n0, n1, n2 = mean_new + k * (e0 - mean), mean_new + k * (e1 - mean), mean_new + k * (e2 - mean)
        pressure = 3.0 * lam * mean_new
        return (
            functions.exp(n0), functions.exp(n1), functions.exp(n2),
            2.0 * mu * n0 + pressure, 2.0 * mu * n1 + pressure, 2.0 * mu * n2 + pressure, ti.max(trace, 0.0),
        )  # fmt: skip

    @ti.func
    def adjoint(s0, s1, s2, a, mu, lam, alpha, q3, q4, g0_bar, g1_bar, g2_bar, t0_bar, t1_bar, t2_bar, a_new_bar):
        third = functions.constant(1.0 / 3.0)
        zero = ti.cast(0.0, real)
        e0, e1, e2, trace, length, c, k, mean_new = flow(s0, s1, s2, a, mu, lam, alpha)
        mean = trace * third
        d0, d1, d2 = e0 - mean, e1 - mean, e2 - mean
        n0, n1, n2 = mean_new + k * d0, mean_new + k * d1, mean_new + k * d2
        g0, g1, g2 = functions.exp(n0), functions.exp(n1), functions.exp(n2)
        total = t0_bar + t1_bar + t2_bar
        n0_bar = g0_bar * g0 + 2.0 * mu * t0_bar + lam * total
        n1_bar = g1_bar * g1 + 2.0 * mu * t1_bar + lam * total
        n2_bar = g2_bar * g2 + 2.0 * mu * t2_bar + lam * total

        apart = trace >= 0.0
        sliding = (k < 1.0) & (trace < 0.0)
        n_mean = (n0_bar + n1_bar + n2_bar) * third
        k_bar = ti.select(sliding, n0_bar * d0 + n1_bar * d1 + n2_bar * d2, zero)
        inverse_length = 1.0 / ti.max(length, tiny)
        length_bar = -k_bar * k * inverse_length * inverse_length
        trace_bar = -k_bar * c * inverse_length
        e0_bar = ti.select(apart, a_new_bar, n_mean + k * (n0_bar - n_mean) + length_bar * d0 + trace_bar)
        e1_bar = ti.select(apart, a_new_bar, n_mean + k * (n1_bar - n_mean) + length_bar * d1 + trace_bar)
        e2_bar = ti.select(apart, a_new_bar, n_mean + k * (n2_bar - n_mean) + length_bar * d2 + trace_bar)
        c_bar = -k_bar * trace * inverse_length
        c0, c1, c2 = ti.max(s0, SMALLEST_STRETCH), ti.max(s1, SMALLEST_STRETCH), ti.max(s2, SMALLEST_STRETCH)
        # the strains differ from log s by the same a / 3, so differences of the two are equal
        slope01 = k * functions.held_quotient(s0, s1, SMALLEST_STRETCH) / functions.logarithmic_mean(c0, c1, e0, e1)
        slope02 = k * functions.held_quotient(s0, s2, SMALLEST_STRETCH) / functions.logarithmic_mean(c0, c2, e0, e2)
        slope12 = k * functions.held_quotient(s1, s2, SMALLEST_STRETCH) / functions.logarithmic_mean(c1, c2, e1, e2)
        return (
            ti.select(s0 > SMALLEST_STRETCH, e0_bar / c0, zero),
            ti.select(s1 > SMALLEST_STRETCH, e1_bar / c1, zero),
            ti.select(s2 > SMALLEST_STRETCH, e2_bar / c2, zero),
            (e0_bar + e1_bar + e2_bar) * third,
            2.0 * (n0 * t0_bar + n1 * t1_bar + n2 * t2_bar) - c_bar * 1.5 * lam * alpha / (mu * mu),
            3.0 * mean_new * total + c_bar * 1.5 * alpha / mu,
            c_bar * (1.5 * lam / mu + 1.0),
            zero, zero, g0, g1, g2,
            slope01 * functions.logarithmic_mean(g0, g1, n0, n1),
            slope02 * functions.logarithmic_mean(g0, g2, n0, n2),
            slope12 * functions.logarithmic_mean(g1, g2, n1, n2),
            2.0 * mu * slope01, 2.0 * mu * slope02, 2.0 * mu * slope12,
        )  # fmt: skip

    return SimpleNamespace(forward=forward, adjoint=adjoint)
