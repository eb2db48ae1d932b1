"""Elastoplastic solid: fixed-corotated stress, von Mises yield in logarithmic strain, linear isotropic hardening (Simo 1992).

With the trial strain e = log s, its deviator d and l = |d|, and the yield limit Y = yield + hardening a:
    flow    gamma = max(0, (2 mu l - Y) / (2 mu + hardening)),  k = 1 - gamma / l
    g_i = exp(mean(e) + k d_i),  a_new = a + gamma
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

from diffsim.compiler import ti
from diffsim.soft.laws.elastic import corotated_stress

# log s is taken of at least this, so that a collapsed or inverted element has a defined answer
SMALLEST_STRETCH = 2.0**-7


def von_mises(real: Any, functions: SimpleNamespace) -> SimpleNamespace:
    """Parameters mu, lambda, yield stress, hardening modulus (Pa)."""
    stress = corotated_stress(real)
    tiny = 1e-30

    @ti.func
    def flow(s0, s1, s2, a, mu, limit, hardening):
        """Logarithmic strains, their mean and deviator's length, the factor k, and gamma (0 where there is no flow)."""
        e0 = functions.log(ti.max(s0, SMALLEST_STRETCH))
        e1 = functions.log(ti.max(s1, SMALLEST_STRETCH))
        e2 = functions.log(ti.max(s2, SMALLEST_STRETCH))
        mean = (e0 + e1 + e2) * functions.constant(1.0 / 3.0)
        length = ti.sqrt((e0 - mean) * (e0 - mean) + (e1 - mean) * (e1 - mean) + (e2 - mean) * (e2 - mean))
        excess = 2.0 * mu * length - (limit + hardening * a)
        gamma = ti.max(excess, 0.0) / (2.0 * mu + hardening)
        k = 1.0 - gamma / ti.max(length, tiny)
        return e0, e1, e2, mean, length, k, gamma

    @ti.func
    def flowed(s, e, mean, k, gamma):
        return ti.select(gamma > 0.0, functions.exp(mean + k * (e - mean)), s)

    @ti.func
    def forward(s0, s1, s2, a, mu, lam, limit, hardening, q4):
        e0, e1, e2, mean, _length, k, gamma = flow(s0, s1, s2, a, mu, limit, hardening)
        g0 = flowed(s0, e0, mean, k, gamma)
        g1 = flowed(s1, e1, mean, k, gamma)
        g2 = flowed(s2, e2, mean, k, gamma)
        t0, t1, t2 = stress.forward(g0, g1, g2, mu, lam)
        return g0, g1, g2, t0, t1, t2, a + gamma

    @ti.func
    def adjoint(s0, s1, s2, a, mu, lam, limit, hardening, q4, g0_bar, g1_bar, g2_bar, t0_bar, t1_bar, t2_bar, a_new_bar):
        e0, e1, e2, mean, length, k, gamma = flow(s0, s1, s2, a, mu, limit, hardening)
        g0 = flowed(s0, e0, mean, k, gamma)
        g1 = flowed(s1, e1, mean, k, gamma)
        g2 = flowed(s2, e2, mean, k, gamma)
        b0, b1, b2, mu_bar, lam_bar = stress.adjoint(g0, g1, g2, mu, lam, t0_bar, t1_bar, t2_bar)
        b0, b1, b2 = b0 + g0_bar, b1 + g1_bar, b2 + g2_bar
        yielding = gamma > 0.0
        zero, one = ti.cast(0.0, real), ti.cast(1.0, real)

        # where it flows: log g = mean + k d, with k = (hardening + Y / l) / stiff and gamma = (2 mu l - Y) / stiff
        h0, h1, h2 = b0 * g0, b1 * g1, b2 * g2
        h_mean = (h0 + h1 + h2) * functions.constant(1.0 / 3.0)
        d0, d1, d2 = e0 - mean, e1 - mean, e2 - mean
        k_bar = h0 * d0 + h1 * d1 + h2 * d2
        inverse_length = 1.0 / ti.max(length, tiny)
        per_stiff = 1.0 / (2.0 * mu + hardening)
        Y = limit + hardening * a
        Y_bar = (k_bar * inverse_length - a_new_bar) * per_stiff
        length_bar = (2.0 * mu * a_new_bar - k_bar * Y * inverse_length * inverse_length) * per_stiff * inverse_length
        p0 = (h_mean + k * (h0 - h_mean) + length_bar * d0) / ti.max(s0, SMALLEST_STRETCH)
        p1 = (h_mean + k * (h1 - h_mean) + length_bar * d1) / ti.max(s1, SMALLEST_STRETCH)
        p2 = (h_mean + k * (h2 - h_mean) + length_bar * d2) / ti.max(s2, SMALLEST_STRETCH)
        flow_mu_bar = 2.0 * per_stiff * (a_new_bar * (length - gamma) - k_bar * k)
        hardening_bar = per_stiff * (k_bar * (1.0 - k) - a_new_bar * gamma) + a * Y_bar

        c0, c1, c2 = ti.max(s0, SMALLEST_STRETCH), ti.max(s1, SMALLEST_STRETCH), ti.max(s2, SMALLEST_STRETCH)
        f0, f1, f2 = mean + k * d0, mean + k * d1, mean + k * d2
        mean01 = functions.logarithmic_mean(g0, g1, f0, f1) / functions.logarithmic_mean(c0, c1, e0, e1)
        mean02 = functions.logarithmic_mean(g0, g2, f0, f2) / functions.logarithmic_mean(c0, c2, e0, e2)
        mean12 = functions.logarithmic_mean(g1, g2, f1, f2) / functions.logarithmic_mean(c1, c2, e1, e2)
        dg01 = ti.select(yielding, k * mean01 * functions.held_quotient(s0, s1, SMALLEST_STRETCH), one)
        dg02 = ti.select(yielding, k * mean02 * functions.held_quotient(s0, s2, SMALLEST_STRETCH), one)
        dg12 = ti.select(yielding, k * mean12 * functions.held_quotient(s1, s2, SMALLEST_STRETCH), one)
        return (
            ti.select(yielding, ti.select(s0 > SMALLEST_STRETCH, p0, zero), b0),
            ti.select(yielding, ti.select(s1 > SMALLEST_STRETCH, p1, zero), b1),
            ti.select(yielding, ti.select(s2 > SMALLEST_STRETCH, p2, zero), b2),
            a_new_bar + ti.select(yielding, hardening * Y_bar, zero),
            mu_bar + ti.select(yielding, flow_mu_bar, zero),
            lam_bar,
            ti.select(yielding, Y_bar, zero),
            ti.select(yielding, hardening_bar, zero),
            zero, g0, g1, g2, dg01, dg02, dg12,
            2.0 * mu * (g0 + g1 - 1.0) * dg01, 2.0 * mu * (g0 + g2 - 1.0) * dg02, 2.0 * mu * (g1 + g2 - 1.0) * dg12,
        )  # fmt: skip

    return SimpleNamespace(forward=forward, adjoint=adjoint)
