"""One substep in two parts, between which external wrenches may be set, and its adjoint, the stages in reverse."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rigid.kernels.cholesky import linear_stage
from diffsim.rigid.kernels.events import event_stage
from diffsim.rigid.kernels.joint_forces import joint_stage
from diffsim.rigid.kernels.link_dynamics import dynamics_stage
from diffsim.rigid.kernels.link_kinematics import kinematics_stage
from diffsim.rigid.kernels.rigid_contact import contact_stage
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import (
    BALL,
    COORDINATES,
    DOF_AT,
    DOF_INTS,
    DOFS,
    FREE,
    LINK_AT,
    LINK_INTS,
    LINKS,
    NOT_POSITIVE,
    STATUS,
    W_VECTOR_AT,
    WILD_VELOCITY,
    H,
)  # fmt: skip


def substep_stages(real, *, tools: bool, event: bool, further=()) -> SimpleNamespace:
    """``begin`` and ``finish``; ``finish_adjoint`` and ``begin_adjoint``; with or without the motion of ``tools``, with the
    shapes of ``further``.

    A row of the tape holds q, v, a, the factor, the wrenches if there are any, and with ``event`` the events. ``work`` holds,
    from W_VECTOR_AT on, the right-hand side (later a, or lambda), then the running adjoints of q and v.
    """
    vf = vector_functions(real)
    kinematics, dynamics = kinematics_stage(real, tools=tools), dynamics_stage(real)
    joints, linear = joint_stage(real), linear_stage(real)
    contact = contact_stage(real, dynamics.last_dof, event, further)
    events = event_stage(real, contact) if event else None
    load, add = vf.load, vf.add

    @ti.func
    def report(integers: ti.template(), status: ti.template(), e, kind, step, s, dof):
        if status[e * STATUS] == 0:
            status[e * STATUS] = kind
            status[e * STATUS + 1] = step
            status[e * STATUS + 2] = s
            status[e * STATUS + 3] = integers[integers[DOF_AT] + DOF_INTS * dof]

    @ti.func
    def integrate(integers: ti.template(), reals: ti.template(), tape: ti.template(), now, new):
        """v+ = v + h a, q+ = q (+) h v+, from one row to another or the same."""
        h = reals[H]
        coordinates, dofs = integers[COORDINATES], integers[DOFS]
        v_at, a_at = now + coordinates, now + coordinates + dofs
        for k in range(dofs):
            tape[new + coordinates + k] = tape[v_at + k] + h * tape[a_at + k]
        v_at = new + coordinates
        for i in range(1, integers[LINKS]):
            link = integers[LINK_AT] + LINK_INTS * i
            kind, qi, k = integers[link + 1], integers[link + 2], integers[link + 3]
            if kind == BALL or kind == FREE:
                if kind == FREE:
                    vf.store(tape, new + qi, load(tape, now + qi) + h * load(tape, v_at + k))
                    qi += 3
                    k += 3
                Q = vf.turned(vf.load_quaternion(tape, now + qi), h * load(tape, v_at + k))
                for n in ti.static(range(4)):
                    tape[new + qi + n] = Q[n]
            elif kind > 0:
                tape[new + qi] = tape[now + qi] + h * tape[v_at + k]

    @ti.func
    def integrate_adjoint(integers: ti.template(), reals: ti.template(), tape: ti.template(), now, bars: ti.template(), bar_at):
        """Adjoints of q+ and v+ to those of q and, as a whole, of v+, in place."""
        h = reals[H]
        coordinates, dofs = integers[COORDINATES], integers[DOFS]
        v_at, a_at, v_bar_at = now + coordinates, now + coordinates + dofs, bar_at + coordinates
        for i in range(1, integers[LINKS]):
            link = integers[LINK_AT] + LINK_INTS * i
            kind, qi, k = integers[link + 1], integers[link + 2], integers[link + 3]
            if kind == BALL or kind == FREE:
                if kind == FREE:
                    add(bars, v_bar_at + k, h * load(bars, bar_at + qi))
                    qi += 3
                    k += 3
                turn = h * (load(tape, v_at + k) + h * load(tape, a_at + k))
                Q_bar, turn_bar = vf.turned_adjoint(
                    vf.load_quaternion(tape, now + qi), turn, vf.load_quaternion(bars, bar_at + qi)
                )
                for n in ti.static(range(4)):
                    bars[bar_at + qi + n] = Q_bar[n]
                add(bars, v_bar_at + k, h * turn_bar)
            elif kind > 0:
                bars[v_bar_at + k] += h * bars[bar_at + qi]

    @ti.func
    def begin(
        integers: ti.template(), reals: ti.template(), inputs: ti.template(), inputs_at, tape: ti.template(), now,
        work: ti.template(), base, s,
    ):  # fmt: skip
        """Poses and motions of the links at row ``now``, which is that of substep ``s``."""
        v_at = now + integers[COORDINATES]
        kinematics.propagate(integers, reals, inputs, inputs_at, tape, now, v_at, v_at, work, base, work, base, s, False)

    @ti.func
    def finish(
        integers: ti.template(), reals: ti.template(), grids: ti.template(), inputs: ti.template(), inputs_at,
        controls: ti.template(), controls_at, tape: ti.template(), now, new, work: ti.template(), base,
        status: ti.template(), e, step, s, loaded: ti.template(),
    ):  # fmt: skip
        """After ``begin``: forces, the acceleration, and row ``new`` (which may be ``now``). If ``loaded``, the row's end holds
        external wrenches on the links."""
        coordinates, dofs = integers[COORDINATES], integers[DOFS]
        v_at, a_at = now + coordinates, now + coordinates + dofs
        matrix_at, vector_at = a_at + dofs, base + integers[W_VECTOR_AT]
        dynamics.equations(
            integers, inputs, inputs_at, work, base, tape, matrix_at, work, vector_at, tape, matrix_at + dofs * dofs, loaded
        )
        joints.forces(
            integers, reals, inputs, inputs_at, controls, controls_at, tape, now, v_at, tape, matrix_at, work, vector_at
        )
        contact.contacts(integers, reals, grids, inputs, inputs_at, work, base, tape, matrix_at, work, vector_at)
        wrong = linear.factorise(tape, matrix_at, dofs)
        if wrong >= 0:
            report(integers, status, e, NOT_POSITIVE, step, s, wrong)
        linear.solve(tape, matrix_at, dofs, work, vector_at)
        for k in range(dofs):
            tape[a_at + k] = work[vector_at + k]
        if ti.static(event):
            events_at = matrix_at + dofs * dofs + ti.static(6 if loaded else 0) * integers[LINKS]
            events.integrate(integers, reals, grids, inputs, inputs_at, tape, now, new, events_at)
        else:
            integrate(integers, reals, tape, now, new)
        for k in range(dofs):
            if not ti.abs(tape[new + coordinates + k]) < 1e8:
                report(integers, status, e, WILD_VELOCITY, step, s, k)

    @ti.func
    def finish_adjoint(
        integers: ti.template(), reals: ti.template(), grids: ti.template(), inputs: ti.template(), inputs_at,
        controls: ti.template(), controls_at, tape: ti.template(), now, work: ti.template(), base,
        inputs_bar: ti.template(), bar_at, controls_bar: ti.template(), controls_bar_at,
        s, loaded: ti.template(),
    ):  # fmt: skip
        """From the adjoints of q and v after a substep, in ``work``: those of the links' poses and motions; others are added
        to. The virtual motion of a link is the adjoint of its external wrench."""
        h = reals[H]
        coordinates, dofs = integers[COORDINATES], integers[DOFS]
        v_at, a_at = now + coordinates, now + coordinates + dofs
        vector_at = base + integers[W_VECTOR_AT]
        q_bar_at = vector_at + dofs
        v_bar_at = q_bar_at + coordinates
        if ti.static(event):
            events_at = a_at + dofs + dofs * dofs + ti.static(6 if loaded else 0) * integers[LINKS]
            events.integrate_adjoint(
                integers, reals, grids, inputs, inputs_at, tape, now, events_at, work, q_bar_at, v_bar_at, vector_at,
                inputs_bar, bar_at,
            )  # fmt: skip
        else:
            integrate_adjoint(integers, reals, tape, now, work, q_bar_at)
            for k in range(dofs):
                work[vector_at + k] = h * work[v_bar_at + k]
        linear.solve(tape, a_at + dofs, dofs, work, vector_at)
        kinematics.propagate(integers, reals, inputs, inputs_at, tape, now, v_at, a_at, work, vector_at, work, base, s, True)
        kinematics.clear_bars(integers, work, base)
        contact.contacts_adjoint(integers, reals, grids, inputs, inputs_at, work, base, inputs_bar, bar_at)
        joints.forces_adjoint(
            integers, reals, inputs, inputs_at, controls, controls_at, tape, now, v_at, a_at, work, vector_at,
            work, q_bar_at, v_bar_at, inputs_bar, bar_at, controls_bar, controls_bar_at,
        )  # fmt: skip
        dynamics.power_adjoint(
            integers, inputs, inputs_at, tape, a_at, work, vector_at, work, base, inputs_bar, bar_at,
            tape, a_at + dofs + dofs * dofs, loaded,
        )  # fmt: skip

    @ti.func
    def begin_adjoint(
        integers: ti.template(), reals: ti.template(), tape: ti.template(), now, work: ti.template(), base,
        inputs_bar: ti.template(), bar_at, s,
    ):  # fmt: skip
        """After ``finish_adjoint``: to the adjoints of q and v before the substep, in ``work``."""
        coordinates, dofs = integers[COORDINATES], integers[DOFS]
        v_at = now + coordinates
        vector_at = base + integers[W_VECTOR_AT]
        kinematics.propagate_adjoint(
            integers, reals, tape, now, v_at, v_at + dofs, work, vector_at, work, base,
            work, vector_at + dofs, vector_at + dofs + coordinates, inputs_bar, bar_at, s,
        )  # fmt: skip

    return SimpleNamespace(begin=begin, finish=finish, finish_adjoint=finish_adjoint, begin_adjoint=begin_adjoint)
