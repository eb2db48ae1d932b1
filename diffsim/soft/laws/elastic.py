"""Elastic solids: fixed corotated (Stomakhin et al. 2012) and compressible neo-Hookean (Bonet and Wood 2008)."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

from diffsim.compiler import ti

SMALLEST_VOLUME = 2.0**-3  # below this ratio the neo-Hookean logarithm goes on as its tangent, also into inversion


def corotated_stress(real: Any) -> SimpleNamespace:
    """Principal Kirchhoff stress t_i = 2 mu (g_i - 1) g_i + lambda J (J - 1), shared by the laws that flow plastically."""

    @ti.func
    def forward(g0, g1, g2, mu, lam):
        J = g0 * g1 * g2
        volumetric = lam * J * (J - 1.0)
        return (
            2.0 * mu * (g0 - 1.0) * g0 + volumetric,
            2.0 * mu * (g1 - 1.0) * g1 + volumetric,
            2.0 * mu * (g2 - 1.0) * g2 + volumetric,
        )

    @ti.func
    def adjoint(g0, g1, g2, mu, lam, t0_bar, t1_bar, t2_bar):
        """Adjoints of g0, g1, g2, mu and lambda."""
        J = g0 * g1 * g2
        total = t0_bar + t1_bar + t2_bar
        J_bar = lam * (2.0 * J - 1.0) * total
        return (
            2.0 * mu * (2.0 * g0 - 1.0) * t0_bar + J_bar * g1 * g2,
            2.0 * mu * (2.0 * g1 - 1.0) * t1_bar + J_bar * g0 * g2,
            2.0 * mu * (2.0 * g2 - 1.0) * t2_bar + J_bar * g0 * g1,
            2.0 * ((g0 - 1.0) * g0 * t0_bar + (g1 - 1.0) * g1 * t1_bar + (g2 - 1.0) * g2 * t2_bar),
            J * (J - 1.0) * total,
        )

    return SimpleNamespace(forward=forward, adjoint=adjoint)


def fixed_corotated(real: Any, functions: SimpleNamespace) -> SimpleNamespace:
    """Parameters mu, lambda (Pa)."""
    stress = corotated_stress(real)

    @ti.func
    def forward(s0, s1, s2, a, mu, lam, q2, q3, q4):
        t0, t1, t2 = stress.forward(s0, s1, s2, mu, lam)
        return s0, s1, s2, t0, t1, t2, a

    @ti.func
    def adjoint(s0, s1, s2, a, mu, lam, q2, q3, q4, g0_bar, g1_bar, g2_bar, t0_bar, t1_bar, t2_bar, a_new_bar):
        b0, b1, b2, mu_bar, lam_bar = stress.adjoint(s0, s1, s2, mu, lam, t0_bar, t1_bar, t2_bar)
        zero, one = ti.cast(0.0, real), ti.cast(1.0, real)
        return (
            g0_bar + b0, g1_bar + b1, g2_bar + b2, a_new_bar, mu_bar, lam_bar, zero, zero, zero, s0, s1, s2, one, one, one,
            2.0 * mu * (s0 + s1 - 1.0), 2.0 * mu * (s0 + s2 - 1.0), 2.0 * mu * (s1 + s2 - 1.0),
        )  # fmt: skip

    return SimpleNamespace(forward=forward, adjoint=adjoint)


def neo_hookean(real: Any, functions: SimpleNamespace) -> SimpleNamespace:
    """t_i = mu (s_i^2 - 1) + lambda log J. Parameters mu, lambda (Pa)."""

    @ti.func
    def log_volume(J):
        """log J and its derivative, with a straight continuation below `SMALLEST_VOLUME`."""
        clamped = ti.max(J, SMALLEST_VOLUME)
        return functions.log(clamped) + (J - clamped) / clamped, 1.0 / clamped

    @ti.func
    def forward(s0, s1, s2, a, mu, lam, q2, q3, q4):
        log_J, _slope = log_volume(s0 * s1 * s2)
        pressure = lam * log_J
        return (
            s0, s1, s2, mu * (s0 * s0 - 1.0) + pressure, mu * (s1 * s1 - 1.0) + pressure, mu * (s2 * s2 - 1.0) + pressure, a,
        )  # fmt: skip

    @ti.func
    def adjoint(s0, s1, s2, a, mu, lam, q2, q3, q4, g0_bar, g1_bar, g2_bar, t0_bar, t1_bar, t2_bar, a_new_bar):
        log_J, slope = log_volume(s0 * s1 * s2)
        total = t0_bar + t1_bar + t2_bar
        J_bar = lam * slope * total
        zero, one = ti.cast(0.0, real), ti.cast(1.0, real)
        return (
            g0_bar + 2.0 * mu * s0 * t0_bar + J_bar * s1 * s2,
            g1_bar + 2.0 * mu * s1 * t1_bar + J_bar * s0 * s2,
            g2_bar + 2.0 * mu * s2 * t2_bar + J_bar * s0 * s1,
            a_new_bar,
            (s0 * s0 - 1.0) * t0_bar + (s1 * s1 - 1.0) * t1_bar + (s2 * s2 - 1.0) * t2_bar, log_J * total, zero, zero, zero,
            s0, s1, s2, one, one, one, mu * (s0 + s1), mu * (s0 + s2), mu * (s1 + s2),
        )  # fmt: skip

    return SimpleNamespace(forward=forward, adjoint=adjoint)
