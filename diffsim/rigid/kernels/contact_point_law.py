"""The law of one contact point: its normal force as a function of the new normal velocity nu, and the bound of its friction.

With the gap phi and the old normal velocity rate, both laws read N(nu) = base - slope nu.

*Implicit* (smoothing d = 0): N = max(0, kappa (rho - nu)), kappa = k (h + tau), with the time tau = RECOVERY h over which a
penetration is undone. The velocity rho is that at which the gap closes just at the end of the substep, -phi / h, where it is
open; -phi / (h + tau) where it is closed, so that N = k (-phi) at rest: the point is a spring of stiffness k and a damper k
tau, both taken at the end of the substep, which is stable at any stiffness. Where the gap closes within the substep faster than
s = restitution_speed, rho is at least -e rate (Newton's restitution). Friction is bounded by mu N(nu).

*Compliant* (d > 0): see `compliance`; base and slope depend on (phi, rate) alone, and friction is bounded by the force at the
old velocity.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any, NamedTuple

from diffsim.compiler import ti
from diffsim.rigid.kernels.compliance import compliance
from diffsim.rigid.rigid_records import CUTOFF, RECOVERY


class LawScales(NamedTuple):
    """Substep h (s), smoothing d (m), restitution speed s (m/s)."""

    h: Any
    d: Any
    s: Any


def contact_point_law(real) -> SimpleNamespace:
    """``reaches``, ``resolve`` and ``resolve_adjoint``."""
    law = compliance(real)

    @ti.func
    def reaches(phi, rate, speed, gravity, scales: ti.template()):
        """Whether a point can come into contact in the substep, at a relative ``speed`` and a ``gravity`` (its size)."""
        margin = CUTOFF * scales.d
        if scales.d == 0.0:
            margin = scales.h * (ti.max(-rate, ti.cast(0.0, real)) + 0.5 * speed + 4.0 * scales.h * gravity)
        return phi < margin

    @ti.func
    def target(phi, rate, e, scales: ti.template()):
        """rho, its slope by phi, and whether it is that of restitution."""
        inverse = 1.0 / scales.h
        if phi < 0.0:
            inverse = 1.0 / ((1.0 + RECOVERY) * scales.h)
        rho, bounces = -phi * inverse, 0
        if rate < -scales.s and phi + scales.h * rate <= 0.0 and -e * rate > rho:
            rho, bounces = -e * rate, 1
        return rho, -inverse, bounces

    @ti.func
    def resolve(phi, rate, k, e, scales: ti.template()):
        """Base, slope, and the bound of friction (negative: the force that acts)."""
        base, slope, bound = ti.cast(0.0, real), ti.cast(0.0, real), ti.cast(-1.0, real)
        if scales.d > 0.0:
            base, slope, bound = law.normal(phi, rate, k, scales.d, e, scales.s)
        else:
            rho, _slope, _bounces = target(phi, rate, e, scales)
            slope = k * (1.0 + RECOVERY) * scales.h
            base = slope * rho
        return base, slope, bound

    @ti.func
    def resolve_adjoint(phi, rate, k, e, scales: ti.template(), base_bar, slope_bar, bound_bar):
        """Adjoints of phi, rate, k and e."""
        phi_bar, rate_bar, k_bar, e_bar = ti.cast(0.0, real), ti.cast(0.0, real), ti.cast(0.0, real), ti.cast(0.0, real)
        if scales.d > 0.0:
            phi_bar, rate_bar, k_bar, e_bar = law.normal_adjoint(
                phi, rate, k, scales.d, e, scales.s, base_bar, slope_bar, bound_bar
            )
        else:
            rho, by_phi, bounces = target(phi, rate, e, scales)
            time = (1.0 + RECOVERY) * scales.h
            rho_bar = k * time * base_bar
            k_bar = time * (rho * base_bar + slope_bar)
            if bounces == 1:
                rate_bar, e_bar = -e * rho_bar, -rate * rho_bar
            else:
                phi_bar = by_phi * rho_bar
        return phi_bar, rate_bar, k_bar, e_bar

    return SimpleNamespace(reaches=reaches, resolve=resolve, resolve_adjoint=resolve_adjoint)
