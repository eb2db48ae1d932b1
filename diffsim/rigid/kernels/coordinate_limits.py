"""Forces of the limits of a joint's coordinate or a tendon's length; forward beside adjoint.

The law of a limit is that of contact (docs/rigid.md) without restitution, its gap the distance from the limit.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rigid.kernels.compliance import compliance
from diffsim.rigid.rigid_records import CUTOFF, SceneConstants


def limit_functions(real, record) -> SimpleNamespace:
    """``forces`` and ``forces_adjoint`` of what has the fields low, high and limit_smoothing of a ``record`` in reals."""
    law = compliance(real)
    limits = ((1.0, record.low), (-1.0, record.high))  # the sign of the gap's growth, and the limit

    @ti.func
    def forces(m: ti.template(), constants, q, rate, stiffness):
        """At a coordinate and its rate: the force without resistance, and the resistance."""
        d, s = m.reals[constants + record.limit_smoothing], m.reals[SceneConstants.restitution_speed]
        force, resistance, zero = ti.cast(0.0, real), ti.cast(0.0, real), ti.cast(0.0, real)
        for side, limit in ti.static(limits):
            phi = side * (q - m.reals[constants + limit])
            if phi < CUTOFF * d:
                still, D, _N = law.normal(phi, side * rate, stiffness, d, zero, s)
                force = force + side * still
                resistance = resistance + D
        return force, resistance

    @ti.func
    def forces_adjoint(m: ti.template(), constants, q, rate, stiffness, new, power):
        """Adjoints of the coordinate, its rate and the stiffness, of power (force - resistance new), with the ``new`` rate."""
        d, s = m.reals[constants + record.limit_smoothing], m.reals[SceneConstants.restitution_speed]
        q_bar, rate_bar, stiffness_bar, zero = ti.cast(0.0, real), ti.cast(0.0, real), ti.cast(0.0, real), ti.cast(0.0, real)
        for side, limit in ti.static(limits):
            phi = side * (q - m.reals[constants + limit])
            if phi < CUTOFF * d:
                _still, D, _N = law.normal(phi, side * rate, stiffness, d, zero, s)
                phi_bar, own_rate_bar, k_bar, _e_bar = law.normal_adjoint(
                    phi, side * rate, stiffness, d, zero, s, side * power, -new * power, zero
                )
                q_bar = q_bar + side * phi_bar
                rate_bar = rate_bar + side * own_rate_bar - D * power
                stiffness_bar = stiffness_bar + k_bar
        return q_bar, rate_bar, stiffness_bar

    return SimpleNamespace(forces=forces, forces_adjoint=forces_adjoint)
