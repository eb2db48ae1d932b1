"""Snow (Stomakhin et al. 2013): stretches are held within [1 - critical_compression, 1 + critical_stretch]; what is cut off
hardens or softens the solid.

    g_i = clamp(s_i),  a_new = a + sum log s_i - sum log g_i  (so that J_plastic = exp(a)),
    h = exp(hardening (1 - exp(a_new))),  fixed-corotated stress of g with h mu and h lambda
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

from diffsim.compiler import ti
from diffsim.soft.laws.elastic import corotated_stress
from diffsim.soft.laws.von_mises import SMALLEST_STRETCH

LARGEST_HARDENING = 4.0  # the exponent hardening (1 - J_plastic) is held within plus and minus this


def snow(real: Any, functions: SimpleNamespace) -> SimpleNamespace:
    """Parameters mu, lambda (Pa), critical compression, critical stretch, hardening."""
    stress = corotated_stress(real)

    @ti.func
    def hardened(s0, s1, s2, a, g0, g1, g2, xi):
        """a_new, exp(a_new), the exponent before it is held, and h."""
        stretch = functions.log(ti.max(s0, SMALLEST_STRETCH)) + functions.log(ti.max(s1, SMALLEST_STRETCH))
        stretch = stretch + functions.log(ti.max(s2, SMALLEST_STRETCH))
        a_new = a + stretch - functions.log(g0 * g1 * g2)
        volume = functions.exp(a_new)
        exponent = xi * (1.0 - volume)
        return a_new, volume, exponent, functions.exp(ti.max(ti.min(exponent, LARGEST_HARDENING), -LARGEST_HARDENING))

    @ti.func
    def held(s, compression, stretch):
        return ti.max(ti.min(s, 1.0 + stretch), 1.0 - compression)

    @ti.func
    def forward(s0, s1, s2, a, mu, lam, compression, stretch, xi):
        g0, g1, g2 = held(s0, compression, stretch), held(s1, compression, stretch), held(s2, compression, stretch)
        a_new, _volume, _exponent, h = hardened(s0, s1, s2, a, g0, g1, g2, xi)
        t0, t1, t2 = stress.forward(g0, g1, g2, h * mu, h * lam)
        return g0, g1, g2, t0, t1, t2, a_new

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
    def divided_difference(s, r, g, f, compression, stretch):
        apart = ti.abs(s - r) > 1e-7
        inside = (g == s) & (f == r)
        ratio = (g - f) / ti.select(apart, s - r, ti.cast(1.0, real))
        return ti.select(inside, ti.cast(1.0, real), ti.select(apart, ratio, ti.cast(0.0, real)))

    @ti.func
    def adjoint(s0, s1, s2, a, mu, lam, compression, stretch, xi, g0_bar, g1_bar, g2_bar, t0_bar, t1_bar, t2_bar, a_new_bar):
        g0, g1, g2 = held(s0, compression, stretch), held(s1, compression, stretch), held(s2, compression, stretch)
        _a_new, volume, exponent, h = hardened(s0, s1, s2, a, g0, g1, g2, xi)
        b0, b1, b2, mu_bar, lam_bar = stress.adjoint(g0, g1, g2, h * mu, h * lam, t0_bar, t1_bar, t2_bar)
        free = ti.abs(exponent) < LARGEST_HARDENING
        exponent_bar = ti.select(free, h * (mu * mu_bar + lam * lam_bar), ti.cast(0.0, real))
        total_bar = a_new_bar - exponent_bar * xi * volume
        s0_bar, compression0, stretch0 = held_adjoint(s0, compression, stretch, g0_bar + b0, total_bar)
        s1_bar, compression1, stretch1 = held_adjoint(s1, compression, stretch, g1_bar + b1, total_bar)
        s2_bar, compression2, stretch2 = held_adjoint(s2, compression, stretch, g2_bar + b2, total_bar)
        dg01 = divided_difference(s0, s1, g0, g1, compression, stretch)
        dg02 = divided_difference(s0, s2, g0, g2, compression, stretch)
        dg12 = divided_difference(s1, s2, g1, g2, compression, stretch)
        return (
            s0_bar, s1_bar, s2_bar, total_bar, h * mu_bar, h * lam_bar,
            compression0 + compression1 + compression2, stretch0 + stretch1 + stretch2, exponent_bar * (1.0 - volume),
            g0, g1, g2, dg01, dg02, dg12,
            2.0 * h * mu * (g0 + g1 - 1.0) * dg01, 2.0 * h * mu * (g0 + g2 - 1.0) * dg02, 2.0 * h * mu * (g1 + g2 - 1.0) * dg12,
        )  # fmt: skip

    return SimpleNamespace(forward=forward, adjoint=adjoint)
