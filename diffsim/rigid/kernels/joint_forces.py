"""Forces in the joints' own coordinates: actuators, damping, springs, limits; forward beside adjoint. Dry friction is in
`contact_newton`.

Limits (`coordinate_limits`) and springs act on the coordinates that are plain numbers, each with its dof as rate.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rigid.kernels.coordinate_limits import limit_functions
from diffsim.rigid.kernels.joint_lengths import length_functions
from diffsim.rigid.kernels.rigid_memory import model_rows
from diffsim.rigid.rigid_records import (
    ActuatorConstants,
    ActuatorIndices,
    ActuatorInputs,
    DofConstants,
    DofIndices,
    Header,
    LinkInputs,
    SceneConstants,
)


def joint_stage(real) -> SimpleNamespace:
    """``forces`` and ``forces_adjoint``."""
    rows, lengths, limits = model_rows(), length_functions(real), limit_functions(real, DofConstants)

    @ti.func
    def dof_constants(m: ti.template(), k):
        return m.integers[Header.dof_constants] + DofConstants.SIZE * k

    @ti.func
    def actuator_rows(m: ti.template(), at: ti.template(), n):
        """Where the constants and the inputs of actuator ``n`` stand, its first term, and one past its last."""
        indices = m.integers[Header.actuator_indices] + ActuatorIndices.SIZE * n
        constants = m.integers[Header.actuator_constants] + ActuatorConstants.SIZE * n
        own = at.inputs + m.integers[Header.actuator_inputs] + ActuatorInputs.SIZE * n
        return constants, own, m.integers[indices + ActuatorIndices.first_term], m.integers[indices + ActuatorIndices.end_term]

    @ti.func
    def forces(m: ti.template(), at: ti.template()):
        """Added to the right-hand side, and what depends on the new velocities to the matrix."""
        h = m.reals[SceneConstants.dt]
        size, matrix = m.integers[Header.unknowns], rows.smooth_matrix(m, at)
        for k in range(m.integers[Header.dofs]):
            indices, constants = rows.dof_indices(m, k), dof_constants(m, k)
            joint = rows.link_inputs(m, at, m.integers[indices + DofIndices.link])
            v = m.tape[at.v + k]
            resistance = m.inputs[joint + LinkInputs.damping]
            force = ti.cast(0.0, real)
            qi = m.integers[indices + DofIndices.coordinate]
            if qi >= 0:
                q = m.tape[at.q + qi]
                stopped, D = limits.forces(m, constants, q, v, m.inputs[joint + LinkInputs.limit_stiffness])
                stretch = q - m.reals[constants + DofConstants.spring_rest]
                force = stopped - m.inputs[joint + LinkInputs.spring_stiffness] * stretch
                resistance = resistance + D
            m.work[at.vector + k] = m.work[at.vector + k] + (force - resistance * v)
            diagonal = matrix + k * size + k
            m.work[diagonal] = m.work[diagonal] + h * resistance
        for n in range(m.integers[Header.actuators]):
            constants, own, first, end = actuator_rows(m, at, n)
            length, rate = lengths.length_and_rate(m, at, first, end)
            control = m.controls[at.controls + n]
            low, high = m.reals[constants + ActuatorConstants.low_control], m.reals[constants + ActuatorConstants.high_control]
            scaled = ti.min(ti.max(control, low), high) * m.reals[constants + ActuatorConstants.control_scale]
            damping = m.inputs[own + ActuatorInputs.damping]
            force = m.inputs[own + ActuatorInputs.gain] * scaled - m.inputs[own + ActuatorInputs.stiffness] * length
            force = force - damping * rate
            low, high = m.reals[constants + ActuatorConstants.low_force], m.reals[constants + ActuatorConstants.high_force]
            clipped = ti.min(ti.max(force, low), high)
            lengths.pull(m, at, first, end, clipped)
            if clipped == force:
                lengths.resist(m, at, first, end, damping)

    @ti.func
    def forces_adjoint(m: ti.template(), at: ti.template()):
        """Adjoint of the forces' power under the virtual velocity, at constant a.

        Of a dof under the virtual rate lam that is lam (force - resistance v+), with v+ = v + h a and resistance = damping +
        D."""
        h = m.reals[SceneConstants.dt]
        for k in range(m.integers[Header.dofs]):
            indices, constants = rows.dof_indices(m, k), dof_constants(m, k)
            joint = rows.link_inputs(m, at, m.integers[indices + DofIndices.link])
            v, lam = m.tape[at.v + k], m.work[at.vector + k]
            new = v + h * m.tape[at.a + k]
            v_bar = -lam * m.inputs[joint + LinkInputs.damping]
            rows.subtract_bar(m, joint + LinkInputs.damping, new * lam)
            qi = m.integers[indices + DofIndices.coordinate]
            if qi >= 0:
                q, stiffness = m.tape[at.q + qi], m.inputs[joint + LinkInputs.limit_stiffness]
                q_bar, rate_bar, stiffness_bar = limits.forces_adjoint(m, constants, q, v, stiffness, new, lam)
                q_bar, v_bar = q_bar - m.inputs[joint + LinkInputs.spring_stiffness] * lam, v_bar + rate_bar
                stretch = q - m.reals[constants + DofConstants.spring_rest]
                rows.subtract_bar(m, joint + LinkInputs.spring_stiffness, stretch * lam)
                rows.subtract_bar(m, joint + LinkInputs.limit_stiffness, -stiffness_bar)
                m.work[at.q_bar + qi] = m.work[at.q_bar + qi] + q_bar
            m.work[at.v_bar + k] = m.work[at.v_bar + k] + v_bar
        for n in range(m.integers[Header.actuators]):
            constants, own, first, end = actuator_rows(m, at, n)
            length, rate = lengths.length_and_rate(m, at, first, end)
            control, control_scale = m.controls[at.controls + n], m.reals[constants + ActuatorConstants.control_scale]
            low, high = m.reals[constants + ActuatorConstants.low_control], m.reals[constants + ActuatorConstants.high_control]
            clipped = ti.min(ti.max(control, low), high)
            scaled = clipped * control_scale
            gain, stiffness = m.inputs[own + ActuatorInputs.gain], m.inputs[own + ActuatorInputs.stiffness]
            damping = m.inputs[own + ActuatorInputs.damping]
            force = gain * scaled - stiffness * length - damping * rate
            low, high = m.reals[constants + ActuatorConstants.low_force], m.reals[constants + ActuatorConstants.high_force]
            if force >= low and force <= high:
                power, rate_new = lengths.virtual_rate(m, at, first, end), lengths.new_rate(m, at, first, end)
                rows.subtract_bar(m, own + ActuatorInputs.gain, -scaled * power)
                rows.subtract_bar(m, own + ActuatorInputs.stiffness, length * power)
                rows.subtract_bar(m, own + ActuatorInputs.damping, rate_new * power)
                if clipped == control:
                    control_bar = at.controls + n
                    m.controls_bar[control_bar] = m.controls_bar[control_bar] + gain * control_scale * power
                lengths.length_adjoint(m, at, first, end, -stiffness * power, -damping * power)

    return SimpleNamespace(forces=forces, forces_adjoint=forces_adjoint)
