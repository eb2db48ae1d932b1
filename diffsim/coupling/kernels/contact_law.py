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

NEWTON = 24  # steps at most for the slip after contact: 9 do where friction can take off 1e3 slip speeds, 15 for 1e6


@compile_time
class Scales(NamedTuple):
    """Length h of a substep (s), smoothing length d (m), slip speed eps (m/s), and of the body's particles the stiffness k (N/m)
    and T, h and the damping's delay (s)."""

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

        The left side grows and is concave, so that Newton's steps from a w that is too small rise to the root."""
        w = ti.max(slip - grip, slip * eps / (eps + grip))
        rising = 1
        for _step in range(NEWTON):
            if rising == 1:
                fade = 1.0 / ti.sqrt(w * w + eps * eps)
                step = (slip - w - grip * w * fade) / (1.0 + grip * eps * eps * fade * fade * fade)
                w = ti.max(w + step, ti.cast(0.0, real))
                rising = ti.select(step > 1e-9 * w, 1, 0)
        return w

    @ti.func
    def velocity_change(c: ti.template(), scales: ti.template()):
        """v+ - v; and of its parts rate, the compression and its slope, along, after and pull."""
        rate = c.normal.dot(c.u)
        per_length = scales.h * scales.k / c.mass
        squeeze, slope = compression(-c.phi - scales.T * rate, per_length * scales.T, scales.d)
        along = per_length * squeeze
        pull, after, across = ti.cast(0.0, real), ti.cast(0.0, real), ti.cast(0.0, real)
        if along > 0.0:
            slip = ti.sqrt(ti.max(c.u.dot(c.u) - rate * rate, ti.cast(0.0, real)))
            grip = c.friction * along
            after = slip_after(slip, grip, scales.eps)
            pull = grip / ti.sqrt(after * after + scales.eps * scales.eps)
            across = -pull / (1.0 + pull)
        return along * c.normal + across * (c.u - rate * c.normal), rate, squeeze, slope, along, after, pull

    @ti.func
    def velocity_change_adjoint(c: ti.template(), scales: ti.template(), impulse_bar):
        """From the adjoint of the impulse mass * (v+ - v): the adjoints of n, u, phi, mass and the friction.

        Of after (1 + pull) = slip, pull = grip fade with fade = 1 / sqrt(after^2 + eps^2), implicitly:
        d slip = d after (1 + pull eps^2 fade^2) + after fade d grip. The adjoints of slip and after are those of
        their squares, without a root's pole. The compression's y has dy (1 + stiff slope) = dx - q dstiff."""
        delta, rate, squeeze, slope, along, after, pull = velocity_change(c, scales)
        fade = 1.0 / ti.sqrt(after * after + scales.eps * scales.eps)
        across = -pull / (1.0 + pull)
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
