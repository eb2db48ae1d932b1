"""The law of one contact of a particle with a rigid surface: the particle's change of velocity; forward beside adjoint.

With u the particle's velocity against the surface, rate = u . n and mass = 1 / response, the new velocity v+ solves
    mass (v+ - v) = h N n - mass * pull * (slip of v+),    N = k q(-phi - T rate+),    pull = grip / sqrt(after^2 + eps^2)
where q is 0 below -d, the identity above d and a parabola between; rate+ = rate + along the new rate, along = h N / mass its
change, grip = friction * along what friction can take off, and after the slip that is left: after (1 + pull) = slip. So
    v+ - v = along n + across (u - rate n),    across = -pull / (1 + pull)
At rest N = k q(-phi), whatever the substep h.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any, NamedTuple

from diffsim.compiler import compile_time, ti

NEWTON = 24  # steps at most for the slip after contact: 2 to 4 do, 15 where friction just takes off 1e6 slip speeds


@compile_time
class Scales(NamedTuple):
    """Length h of a substep (s), smoothing length d (m), slip speed eps (m/s), and of the body's particles the stiffness k
    (N/m) and T, h and the damping's delay (s)."""

    h: Any
    d: Any
    eps: Any
    k: Any
    T: Any


@compile_time
class Meeting(NamedTuple):
    """Normal n of the surface, the particle's velocity u against it, the gap phi, its mass, and the friction."""

    normal: Any
    u: Any
    phi: Any
    mass: Any
    friction: Any


def contact_law(real: Any) -> SimpleNamespace:
    """``velocity_change`` and its adjoint for scalar type ``real``."""
    # relative change of the slip with which Newton's method ends; the next step would be its square
    precise = 2.0**-30 if real == ti.f64 else 2.0**-14

    @ti.func
    def compression(x, stiff, d):
        """q(y) and its slope at the root of y + stiff q(y) = x."""
        q, slope = ti.cast(0.0, real), ti.cast(0.0, real)
        if x > -d:
            if x < d * (1.0 + stiff):
                z = 2.0 * (x + d) / (1.0 + ti.sqrt(1.0 + stiff * (x + d) / d))  # y + d
                q, slope = 0.25 * z * z / d, 0.5 * z / d
            else:
                q, slope = x / (1.0 + stiff), ti.cast(1.0, real)
        return q, slope

    @ti.func
    def slip_after(slip, grip, eps):
        """The slip w >= 0 after contact, w + grip w / sqrt(w^2 + eps^2) = slip; ``grip`` is what friction can take off.

        The left side grows and is concave: Newton's steps from a w that is too small rise to the root, and one from a w that
        is too large falls below it. From a lower bound w0, w / sqrt(w^2 + eps^2) <= (slip - w0) / grip gives an upper bound,
        close to the root where friction holds."""
        least = ti.max(slip - grip, slip * eps / (eps + grip))
        w = least
        ratio = (slip - least) / grip
        if ratio < 0.875:
            w = eps * ratio / ti.sqrt(1.0 - ratio * ratio)
        left = NEWTON
        while left > 0:
            inverse = 1.0 / (w * w + eps * eps)
            fade = ti.sqrt(inverse)
            step = (slip - w - grip * w * fade) / (1.0 + grip * eps * eps * fade * inverse)
            w = ti.max(w + step, least)
            left = ti.select(ti.abs(step) > precise * w, left - 1, 0)
        return w

    @ti.func
    def normal_change(c: ti.template(), scales: ti.template()):
        """Of the change of velocity: rate, the compression and its slope, and along."""
        rate = c.normal.dot(c.u)
        per_length = scales.h * scales.k / c.mass
        squeeze, slope = compression(-c.phi - scales.T * rate, per_length * scales.T, scales.d)
        return rate, squeeze, slope, per_length * squeeze

    @ti.func
    def across_of(grip, after, eps):
        pull = grip / ti.sqrt(after * after + eps * eps)
        return pull, -pull / (1.0 + pull)

    @ti.func
    def velocity_change(c: ti.template(), scales: ti.template()):
        """v+ - v and the slip after."""
        rate, _squeeze, _slope, along = normal_change(c, scales)
        delta, after = along * c.normal, ti.cast(0.0, real)
        if along > 0.0:
            after = ti.sqrt(ti.max(c.u.dot(c.u) - rate * rate, ti.cast(0.0, real)))
            grip = c.friction * along
            if grip > 0.0:
                after = slip_after(after, grip, scales.eps)
                _pull, across = across_of(grip, after, scales.eps)
                delta = delta + across * (c.u - rate * c.normal)
        return delta, after

    @ti.func
    def velocity_change_adjoint(c: ti.template(), scales: ti.template(), after, impulse_bar):
        """From the slip after and the adjoint of the impulse mass * (v+ - v): the adjoints of n, u, phi, mass and the friction.

        Of after (1 + pull) = slip, pull = grip fade with fade = 1 / sqrt(after^2 + eps^2), implicitly:
        d slip = d after (1 + pull eps^2 fade^2) + after fade d grip. The adjoints of slip and after are those of
        their squares, without a root's pole. The compression's y has dy (1 + stiff slope) = dx - q dstiff."""
        rate, squeeze, slope, along = normal_change(c, scales)
        pull, across = across_of(c.friction * along, after, scales.eps)
        fade = 1.0 / ti.sqrt(after * after + scales.eps * scales.eps)
        delta = along * c.normal + across * (c.u - rate * c.normal)
        delta_bar = c.mass * impulse_bar
        along_bar = c.normal.dot(delta_bar)
        across_bar = delta_bar.dot(c.u) - rate * along_bar
        u_bar = across * (delta_bar - along_bar * c.normal)
        n_bar = along * delta_bar - across * (rate * delta_bar + along_bar * c.u)
        pull_bar = -across_bar / ((1.0 + pull) * (1.0 + pull))
        after_bar = -0.5 * fade * fade * pull * pull_bar
        after_bar = after_bar / (1.0 + pull * scales.eps * scales.eps * fade * fade)
        slip_bar = after_bar / (1.0 + pull)
        grip_bar = fade * pull_bar - 2.0 * after * after * fade * after_bar
        friction_bar = along * grip_bar
        along_bar = along_bar + c.friction * grip_bar
        per_length = scales.h * scales.k / c.mass
        x_bar = per_length * along_bar * slope / (1.0 + per_length * scales.T * slope)
        per_length_bar = squeeze * (along_bar - scales.T * x_bar)
        mass_bar = delta.dot(impulse_bar) - per_length / c.mass * per_length_bar
        # slip^2 = u . u - rate^2, rate = n . u
        rate_bar = -scales.T * x_bar - 2.0 * rate * slip_bar
        u_bar = u_bar + 2.0 * slip_bar * c.u + rate_bar * c.normal
        n_bar = n_bar + rate_bar * c.u
        return n_bar, u_bar, -x_bar, mass_bar, friction_bar

    return SimpleNamespace(velocity_change=velocity_change, velocity_change_adjoint=velocity_change_adjoint)
