"""One substep in two parts, between which external wrenches may be set, and its adjoint, the stages in reverse.

The acceleration a solves (M + h C + h R) a = f - R v - c(v) + J^T F(v + h a): the resistances R of joints and actuators, one
factor of the products of velocities in c, contact and dry friction act on the new velocities v + h a (`contact_newton`); then
v+ = v + h a. Forces act at the middle of the substep, q (+) h v / 2, from where the coordinates move on by h v+ / 2; or at its
start, from where they move by h v+ (`TimeStepping`). Backward, the virtual velocities lambda solve the transposed linearised
system for the adjoint of a, and all that the equation depends on gets the adjoint of the power of its forces under lambda
(docs/rigid.md). Constraints add an unknown force for each of their equations, and backward a virtual one."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rigid.joints.free_joint import FreeJoint
from diffsim.rigid.kernels.contact_newton import newton_stage
from diffsim.rigid.kernels.events import event_stage
from diffsim.rigid.kernels.joint_dispatch import joint_functions
from diffsim.rigid.kernels.joint_equalities import equality_stage
from diffsim.rigid.kernels.joint_forces import joint_stage
from diffsim.rigid.kernels.link_dynamics import dynamics_stage
from diffsim.rigid.kernels.link_kinematics import kinematics_stage
from diffsim.rigid.kernels.loop_closures import closure_stage
from diffsim.rigid.kernels.lu import lu_stage
from diffsim.rigid.kernels.rigid_contact import contact_stage
from diffsim.rigid.kernels.rigid_memory import model_rows
from diffsim.rigid.kernels.tendons import tendon_stage
from diffsim.rigid.rigid_records import NOT_POSITIVE, WILD_VELOCITY, DofIndices, Header, SceneConstants, Status

WILD = 1e8  # m/s or rad/s, above which a velocity is an error


def substep_stages(real, kinds, *, tools: bool, stepping, further=(), constrained: bool = False) -> SimpleNamespace:
    """``begin`` and ``finish``; ``finish_adjoint`` and ``begin_adjoint``; for those kinds of joints, with or without the motion
    of ``tools``, for a `TimeStepping`, with the shapes of ``further`` (`diffsim.scene.shapes.distance_kinds`), and with or
    without constraints and tendons."""
    polarised, middle, event = stepping
    screws = any(kind.screws for kind in kinds)
    rows, joints = model_rows(), joint_functions(real, kinds)
    kinematics = kinematics_stage(real, kinds, tools=tools, polarised=polarised)
    free = next((number for number, kind in enumerate(kinds) if isinstance(kind, FreeJoint)), -1)
    dynamics = dynamics_stage(real, screws=screws, polarised=polarised, free=free)
    joint_forces, linear, newton = joint_stage(real), lu_stage(real), newton_stage(real)
    contact = contact_stage(real, event=event, screws=screws, further=further)
    events = event_stage(real, contact, joints) if event else None
    tendons, equalities = tendon_stage(real), equality_stage(real, polarised=polarised)
    closures = closure_stage(real, screws=screws, polarised=polarised)

    @ti.func
    def report(m: ti.template(), at: ti.template(), kind, dof):
        status = at.environment * Status.SIZE
        if m.status[status + Status.kind] == 0:
            m.status[status + Status.kind] = kind
            m.status[status + Status.step] = at.step
            m.status[status + Status.substep] = at.substep
            m.status[status + Status.link] = m.integers[rows.dof_indices(m, dof) + DofIndices.link]

    @ti.func
    def remaining(m: ti.template()):
        """Seconds from where the forces act to the end of the substep."""
        return m.reals[SceneConstants.dt] * ti.static(0.5 if middle else 1.0)

    @ti.func
    def begin(m: ti.template(), at: ti.template()):
        """Poses and motions of the links where the forces act."""
        if ti.static(middle):
            joints.drift(m, at)
        kinematics.propagate(m, at, False)

    @ti.func
    def finish(m: ti.template(), at: ti.template(), loaded: ti.template()):
        """After ``begin``: forces, the acceleration, and the row ``at.new``; if ``loaded``, with the external wrenches."""
        dofs = m.integers[Header.dofs]
        dynamics.equations(m, at, loaded)
        joint_forces.forces(m, at)
        if ti.static(constrained):
            tendons.forces(m, at)
            equalities.equations(m, at)
            closures.equations(m, at)
        contact.find(m, at)
        wrong = newton.solve(m, at)
        if wrong >= 0:
            report(m, at, NOT_POSITIVE, ti.min(wrong, dofs - 1))
        if ti.static(event):
            events.integrate(m, at)
        else:
            for i in range(1, m.integers[Header.links]):
                joints.integrate(m, at, i, remaining(m))
        for k in range(dofs):
            if not ti.abs(m.tape[at.new + m.integers[Header.coordinates] + k]) < WILD:
                report(m, at, WILD_VELOCITY, k)
        if ti.static(real == ti.f32):
            clock = at.environment * Status.SIZE + Status.clock
            m.status[clock] = m.status[clock] + 1

    @ti.func
    def finish_adjoint(m: ti.template(), at: ti.template(), loaded: ti.template()):
        """From the adjoints of q and v after a substep: those of the links' poses and motions; others are added to. The virtual
        motion of a link is the adjoint of its external wrench."""
        if ti.static(event):
            events.integrate_adjoint(m, at)
        else:
            for i in range(1, m.integers[Header.links]):
                joints.integrate_adjoint(m, at, i, remaining(m))
        if ti.static(constrained):
            for r in range(m.integers[Header.dofs], m.integers[Header.unknowns]):
                m.work[at.vector + r] = 0.0
        linear.solve(m.tape, at.matrix, m.integers[Header.unknowns], m.work, at.vector, True)
        kinematics.propagate(m, at, True)
        kinematics.clear_bars(m, at)
        contact.power_adjoint(m, at)
        newton.dry_friction_adjoint(m, at)
        if ti.static(constrained):
            closures.power_adjoint(m, at)
            equalities.power_adjoint(m, at)
            tendons.forces_adjoint(m, at)
        joint_forces.forces_adjoint(m, at)
        dynamics.power_adjoint(m, at, loaded)

    @ti.func
    def begin_adjoint(m: ti.template(), at: ti.template()):
        """After ``finish_adjoint``: to the adjoints of q and v before the substep."""
        kinematics.propagate_adjoint(m, at)
        if ti.static(middle):
            joints.drift_adjoint(m, at)

    return SimpleNamespace(begin=begin, finish=finish, finish_adjoint=finish_adjoint, begin_adjoint=begin_adjoint)
