"""Forces in the joints' own coordinates: actuators, damping, dry friction, springs, limits; forward beside adjoint."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rigid.kernels.compliance import compliance
from diffsim.rigid.rigid_records import (
    ACTUATOR_AT,
    ACTUATOR_INPUTS,
    ACTUATOR_INTS,
    ACTUATOR_REALS,
    ACTUATORS,
    CUTOFF,
    DAMPING,
    DOF_AT,
    DOF_INTS,
    DOFS,
    FRICTION_LOSS,
    I_ACTUATOR_AT,
    I_LINK_AT,
    LIMIT,
    LINK_AT,
    LINK_INPUTS,
    LINK_INTS,
    LINK_REALS,
    PRISMATIC,
    R_ACTUATOR_AT,
    R_LINK_AT,
    R_TERM_AT,
    RESTITUTION_SPEED,
    REVOLUTE,
    SLIP_SPEED,
    SPRING,
    TERM_AT,
    TERM_INTS,
    H,
)  # fmt: skip


def joint_stage(real) -> SimpleNamespace:
    """``forces`` and ``forces_adjoint``."""
    law = compliance(real)

    @ti.func
    def length_and_rate(integers: ti.template(), reals: ti.template(), row: ti.template(), q_at, v_at, begin, end):
        length, rate = ti.cast(0.0, real), ti.cast(0.0, real)
        for t in range(begin, end):
            term, c = integers[TERM_AT] + TERM_INTS * t, reals[integers[R_TERM_AT] + t]
            length = length + c * row[q_at + integers[term]]
            rate = rate + c * row[v_at + integers[term + 1]]
        return length, rate

    @ti.func
    def forces(
        integers: ti.template(), reals: ti.template(), inputs: ti.template(), inputs_at, controls: ti.template(), controls_at,
        row: ti.template(), q_at, v_at, matrix: ti.template(), matrix_at, vector: ti.template(), vector_at,
    ):  # fmt: skip
        """Added to the right-hand side, and what depends on the new velocities to the matrix."""
        h, s, eps = reals[H], reals[RESTITUTION_SPEED], reals[SLIP_SPEED]
        dofs = integers[DOFS]
        for k in range(dofs):
            i = integers[integers[DOF_AT] + DOF_INTS * k]
            link, own = integers[LINK_AT] + LINK_INTS * i, integers[R_LINK_AT] + LINK_REALS * i
            joint = inputs_at + integers[I_LINK_AT] + LINK_INPUTS * i
            v = row[v_at + k]
            resistance = inputs[joint + DAMPING] + inputs[joint + FRICTION_LOSS] / ti.sqrt(v * v + eps * eps)
            force = ti.cast(0.0, real)
            if integers[link + 1] == REVOLUTE or integers[link + 1] == PRISMATIC:
                q = row[q_at + integers[link + 2]]
                force = -inputs[joint + SPRING] * (q - reals[own + 18])
                for side in ti.static((1.0, -1.0)):
                    phi = side * (q - reals[own + ti.static(15 if side > 0 else 16)])
                    if phi < CUTOFF * reals[own + 17]:
                        still, D, _N = law.normal(phi, side * v, inputs[joint + LIMIT], reals[own + 17], ti.cast(0.0, real), s)
                        force = force + side * still
                        resistance = resistance + D
            vector[vector_at + k] += force - resistance * v
            matrix[matrix_at + k * dofs + k] += h * resistance
        for n in range(integers[ACTUATORS]):
            actuator, own = integers[ACTUATOR_AT] + ACTUATOR_INTS * n, integers[R_ACTUATOR_AT] + ACTUATOR_REALS * n
            gains = inputs_at + integers[I_ACTUATOR_AT] + ACTUATOR_INPUTS * n
            begin, end = integers[actuator + 1], integers[actuator + 2]
            length, rate = length_and_rate(integers, reals, row, q_at, v_at, begin, end)
            u = ti.min(ti.max(controls[controls_at + n], reals[own + 2]), reals[own + 3]) * reals[own + 4]
            damping = inputs[gains + 2]
            force = inputs[gains] * u - inputs[gains + 1] * length - damping * rate
            clipped = ti.min(ti.max(force, reals[own]), reals[own + 1])
            for t in range(begin, end):
                k, c = integers[integers[TERM_AT] + TERM_INTS * t + 1], reals[integers[R_TERM_AT] + t]
                vector[vector_at + k] += c * clipped
                if clipped == force:
                    for other in range(begin, end):
                        l = integers[integers[TERM_AT] + TERM_INTS * other + 1]
                        if l <= k:
                            matrix[matrix_at + k * dofs + l] += h * damping * c * reals[integers[R_TERM_AT] + other]

    @ti.func
    def forces_adjoint(
        integers: ti.template(), reals: ti.template(), inputs: ti.template(), inputs_at, controls: ti.template(), controls_at,
        row: ti.template(), q_at, v_at, a_at, virtual: ti.template(), virtual_at,
        bars: ti.template(), q_bar_at, v_bar_at, inputs_bar: ti.template(), bar_at,
        controls_bar: ti.template(), controls_bar_at,
    ):  # fmt: skip
        """Adjoint of the forces' power under the virtual velocity, at constant a."""
        h, s, eps = reals[H], reals[RESTITUTION_SPEED], reals[SLIP_SPEED]
        for k in range(integers[DOFS]):
            i = integers[integers[DOF_AT] + DOF_INTS * k]
            link, own = integers[LINK_AT] + LINK_INTS * i, integers[R_LINK_AT] + LINK_REALS * i
            joint, bar = inputs_at + integers[I_LINK_AT] + LINK_INPUTS * i, bar_at + integers[I_LINK_AT] + LINK_INPUTS * i
            v, lam = row[v_at + k], virtual[virtual_at + k]
            new = v + h * row[a_at + k]
            g = 1.0 / ti.sqrt(v * v + eps * eps)
            loss = inputs[joint + FRICTION_LOSS]
            v_bar = -lam * (inputs[joint + DAMPING] + loss * g - loss * new * v * g * g * g)
            inputs_bar[bar + DAMPING] -= new * lam
            inputs_bar[bar + FRICTION_LOSS] -= new * g * lam
            if integers[link + 1] == REVOLUTE or integers[link + 1] == PRISMATIC:
                qi = integers[link + 2]
                q = row[q_at + qi]
                q_bar = -inputs[joint + SPRING] * lam
                inputs_bar[bar + SPRING] -= (q - reals[own + 18]) * lam
                for side in ti.static((1.0, -1.0)):
                    phi = side * (q - reals[own + ti.static(15 if side > 0 else 16)])
                    if phi < CUTOFF * reals[own + 17]:
                        k_limit, d, zero = inputs[joint + LIMIT], reals[own + 17], ti.cast(0.0, real)
                        _still, D, _N = law.normal(phi, side * v, k_limit, d, zero, s)
                        phi_bar, rate_bar, k_bar, _e_bar = law.normal_adjoint(
                            phi, side * v, k_limit, d, zero, s, side * lam, -new * lam, zero
                        )
                        q_bar = q_bar + side * phi_bar
                        v_bar = v_bar + side * rate_bar - D * lam
                        inputs_bar[bar + LIMIT] += k_bar
                bars[q_bar_at + qi] += q_bar
            bars[v_bar_at + k] += v_bar
        for n in range(integers[ACTUATORS]):
            actuator, own = integers[ACTUATOR_AT] + ACTUATOR_INTS * n, integers[R_ACTUATOR_AT] + ACTUATOR_REALS * n
            gains, gains_bar = inputs_at + integers[I_ACTUATOR_AT], bar_at + integers[I_ACTUATOR_AT]
            gains, gains_bar = gains + ACTUATOR_INPUTS * n, gains_bar + ACTUATOR_INPUTS * n
            begin, end = integers[actuator + 1], integers[actuator + 2]
            length, rate = length_and_rate(integers, reals, row, q_at, v_at, begin, end)
            given = controls[controls_at + n]
            u = ti.min(ti.max(given, reals[own + 2]), reals[own + 3])
            scaled = u * reals[own + 4]
            force = inputs[gains] * scaled - inputs[gains + 1] * length - inputs[gains + 2] * rate
            if force >= reals[own] and force <= reals[own + 1]:
                power, rate_new = ti.cast(0.0, real), ti.cast(0.0, real)
                for t in range(begin, end):
                    k, c = integers[integers[TERM_AT] + TERM_INTS * t + 1], reals[integers[R_TERM_AT] + t]
                    power = power + c * virtual[virtual_at + k]
                    rate_new = rate_new + c * (row[v_at + k] + h * row[a_at + k])
                inputs_bar[gains_bar] += scaled * power
                inputs_bar[gains_bar + 1] -= length * power
                inputs_bar[gains_bar + 2] -= rate_new * power
                if u == given:
                    controls_bar[controls_bar_at + n] += inputs[gains] * reals[own + 4] * power
                for t in range(begin, end):
                    term, c = integers[TERM_AT] + TERM_INTS * t, reals[integers[R_TERM_AT] + t]
                    bars[q_bar_at + integers[term]] -= inputs[gains + 1] * c * power
                    bars[v_bar_at + integers[term + 1]] -= inputs[gains + 2] * c * power

    return SimpleNamespace(forces=forces, forces_adjoint=forces_adjoint)
