"""Poses and motions of all links down the tree; and the reverse sweep up the tree.

A link's origin stands at r from its parent's. Its joint turns it by ``turn`` and moves its origin by ``slide`` against the
parent, both in the world's frame, at the rates ``turn_a`` and ``slide_a`` as seen from the parent. Then (Featherstone 2008,
chapter 2)

    omega = omega_up + turn                 u = u_up + omega_up x r + slide
    alpha = alpha_up + omega_up x turn + turn_a
    a     = a_up + alpha_up x r + omega_up x (omega_up x r + 2 slide) + slide_a

The products of velocities stand for their polarised form, (x(v) x y(v') + x(v') x y(v)) / 2 for x x y, with v' = v + h a (where
`TimeStepping` is polarised; else v' = v, and the form is the product).

The adjoint of a product c = x x y is x_bar = y x c_bar, y_bar = c_bar x x; that of a rotation R is that of the infinitesimal
rotation theta in the world's frame, dR = [theta]x R, so that a vector z that turns with R adds z x z_bar to it.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rigid.kernels.joint_dispatch import joint_functions
from diffsim.rigid.kernels.rigid_memory import JointPlace, model_rows
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import (
    FIRST_BAR,
    LINK_BLOCK,
    MOTION,
    MOTION_BAR,
    NEW_MOTION,
    NEW_MOTION_BAR,
    SCREW,
    SLIDE,
    DofIndices,
    DofWork,
    Header,
    LinkAdjoint,
    LinkConstants,
    LinkIndices,
    LinkWork,
    SceneConstants,
    ToolPose,
    ToolTwist,
    WorldInputs,
)


def kinematics_stage(real, kinds, *, tools: bool, polarised: bool = False) -> SimpleNamespace:
    """``propagate`` and ``propagate_adjoint``. Without ``tools`` the code for them is left out, so that scenes that have none
    are as fast as they were; tools are then links at rest where they were declared. ``polarised`` as of `TimeStepping`."""
    vf, rows, joints = vector_functions(real), model_rows(), joint_functions(real, kinds)
    vec3, mat3, load, store, add, load_matrix, store_matrix = (
        vf.vec3, vf.mat3, vf.load, vf.store, vf.add, vf.load_matrix, vf.store_matrix,
    )  # fmt: skip
    screws = any(kind.screws for kind in kinds)
    # where the other factor of products of velocities stands, and its adjoint
    omega_ahead, u_ahead = NEW_MOTION if polarised else MOTION
    omega_ahead_bar = (NEW_MOTION_BAR if polarised else MOTION_BAR)[0]

    @ti.func
    def propagate(m: ti.template(), at: ti.template(), full: ti.template()):
        """Rotation, position, velocity and acceleration of every link, and the dofs' axes. Accelerations carry gravity, as that
        of the world upwards. Without ``full`` they are those at a = 0; with it at a, and the motions under v + h a and under
        the virtual velocities are propagated too. Tools are where they are in the substep."""
        zero = vec3(0.0, 0.0, 0.0)
        store_matrix(m.work, at.work + LinkWork.rotation, mat3(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
        for slot in ti.static((LinkWork.position, LinkWork.angular_velocity, LinkWork.velocity, LinkWork.angular_acceleration)):
            store(m.work, at.work + slot, zero)
        store(m.work, at.work + LinkWork.acceleration, -1.0 * load(m.inputs, at.inputs + WorldInputs.gravity))
        if ti.static(full):
            for slot in ti.static(
                (
                    LinkAdjoint.new_angular_velocity, LinkAdjoint.new_velocity,
                    LinkAdjoint.virtual_angular_velocity, LinkAdjoint.virtual_velocity,
                )
            ):  # fmt: skip
                store(m.work, at.work + slot, zero)
        ahead = ti.cast(0.0, real)
        if ti.static(polarised):
            ahead = m.reals[SceneConstants.dt]
        for i in range(1, m.integers[Header.links]):
            link, constants = rows.link_indices(m, i), rows.link_constants(m, i)
            qi, k = m.integers[link + LinkIndices.coordinate], m.integers[link + LinkIndices.dof]
            block, up = rows.link_block(at, i), rows.link_block(at, m.integers[link + LinkIndices.parent])
            R_up, p_up = load_matrix(m.work, up + LinkWork.rotation), load(m.work, up + LinkWork.position)
            omega_up, alpha_up = load(m.work, up + LinkWork.angular_velocity), load(m.work, up + LinkWork.angular_acceleration)
            frame = R_up @ load_matrix(m.reals, constants + LinkConstants.rotation)
            frame_p = p_up + R_up @ load(m.reals, constants + LinkConstants.position)
            q, v, a, virtual, axes = at.q + qi, at.v + k, at.a + k, at.vector + k, rows.dof_work(m, at, k)
            j = ti.static(JointPlace(constants, q, v, a, block, axes, virtual, None, None, None, ahead))
            kind, rot, p = m.integers[link + LinkIndices.joint], frame, frame_p
            turn, slide, turn_a, slide_a = zero, zero, zero, zero
            turn_new, slide_new, turn_virtual, slide_virtual = zero, zero, zero, zero
            for joint in ti.static(joints.types):
                if kind == joint.number:
                    rot, p, turn, slide, turn_a, slide_a, turn_new, slide_new, turn_virtual, slide_virtual = joint.motion(
                        m, j, frame, frame_p, full
                    )
            rotates, first_q, first_k = joints.quaternion_part(kind)
            if rotates == 1:
                turn_q, turn_v, turn_acceleration, turn_lam = q + first_q, v + first_k, a + first_k, virtual + first_k
                turn_axes = axes + DofWork.SIZE * first_k
                turning = ti.static(
                    JointPlace(constants, turn_q, turn_v, turn_acceleration, block, turn_axes, turn_lam, None, None)
                )
                rot = rot @ vf.rotation(vf.load_quaternion(m.tape, turn_q))
                turn, turn_a, turn_new, turn_virtual = joints.rotations.spin(m, turning, rot, full)
            r = p - p_up
            u = load(m.work, up + LinkWork.velocity) + omega_up.cross(r) + slide
            # the products of velocities
            swing, whirl = omega_up.cross(turn), omega_up.cross(omega_up.cross(r) + 2.0 * slide)
            if ti.static(full and polarised):
                omega_ahead_up = load(m.work, up + omega_ahead)
                swing = 0.5 * (omega_up.cross(turn_new) + omega_ahead_up.cross(turn))
                whirl = omega_up.cross(0.5 * omega_ahead_up.cross(r) + slide_new) + omega_ahead_up.cross(
                    0.5 * omega_up.cross(r) + slide
                )
            store_matrix(m.work, block + LinkWork.rotation, rot)
            store(m.work, block + LinkWork.position, p)
            store(m.work, block + LinkWork.angular_velocity, omega_up + turn)
            store(m.work, block + LinkWork.velocity, u)
            store(m.work, block + LinkWork.angular_acceleration, alpha_up + swing + turn_a)
            acceleration = load(m.work, up + LinkWork.acceleration) + alpha_up.cross(r) + whirl + slide_a
            store(m.work, block + LinkWork.acceleration, acceleration)
            if ti.static(polarised and not full):
                for n in range(k, rows.end_dof(m, i)):
                    axis_later(m, at, n, omega_up, u)
            if ti.static(full):
                omega_new_up = load(m.work, up + LinkAdjoint.new_angular_velocity)
                eta_up = load(m.work, up + LinkAdjoint.virtual_angular_velocity)
                u_new_up, w_up = load(m.work, up + LinkAdjoint.new_velocity), load(m.work, up + LinkAdjoint.virtual_velocity)
                store(m.work, block + LinkAdjoint.new_angular_velocity, omega_new_up + turn_new)
                store(m.work, block + LinkAdjoint.new_velocity, u_new_up + omega_new_up.cross(r) + slide_new)
                store(m.work, block + LinkAdjoint.virtual_angular_velocity, eta_up + turn_virtual)
                store(m.work, block + LinkAdjoint.virtual_velocity, w_up + eta_up.cross(r) + slide_virtual)
        if ti.static(tools):
            place_tools(m, at, full)

    @ti.func
    def axis_later(m: ti.template(), at: ti.template(), n, omega_up, u):
        """How dof ``n`` moves its link h later, if the velocities last: about the place where the link's origin, which moves
        with u, is now."""
        h, axes = m.reals[SceneConstants.dt], rows.dof_work(m, at, n)
        motion = m.integers[rows.dof_indices(m, n) + DofIndices.motion]
        axis = load(m.work, axes + DofWork.axis)
        later = axis + h * (load(m.work, axes + DofWork.axis_rate) + omega_up.cross(axis))
        angular, linear = later, h * u.cross(axis)
        if motion == SLIDE:
            angular, linear = vec3(0.0, 0.0, 0.0), later
        if ti.static(screws):  # noqa: SIM102, the compiler's if and the kernel's
            if motion == SCREW:
                slide = load(m.work, axes + DofWork.slide)
                linear = linear + slide + h * omega_up.cross(slide)
        store(m.work, axes + DofWork.later_angular, angular)
        store(m.work, axes + DofWork.later_linear, linear)

    @ti.func
    def tool_places(m: ti.template(), at: ti.template(), n):
        """Of tool ``n``: its link's block, and where its twist and its pose in the substep stand in a row of inputs."""
        count, first = m.integers[Header.tools], at.inputs + m.integers[Header.tool_inputs]
        twist, pose = first + ToolTwist.SIZE * n, first + ToolTwist.SIZE * count + ToolPose.SIZE * (at.substep * count + n)
        return rows.link_block(at, m.integers[Header.links] - count + n), twist, pose

    @ti.func
    def place_tools(m: ti.template(), at: ti.template(), full: ti.template()):
        """Nothing accelerates a tool, and the virtual velocity does not move it: nothing acts on it."""
        zero = vec3(0.0, 0.0, 0.0)
        for n in range(m.integers[Header.tools]):
            block, twist, pose = tool_places(m, at, n)
            u, omega = load(m.inputs, twist + ToolTwist.velocity), load(m.inputs, twist + ToolTwist.angular_velocity)
            store(m.work, block + LinkWork.position, load(m.inputs, pose + ToolPose.position))
            store_matrix(m.work, block + LinkWork.rotation, load_matrix(m.inputs, pose + ToolPose.rotation))
            store(m.work, block + LinkWork.velocity, u)
            store(m.work, block + LinkWork.angular_velocity, omega)
            for slot in ti.static((LinkWork.angular_acceleration, LinkWork.acceleration)):
                store(m.work, block + slot, zero)
            if ti.static(full):
                store(m.work, block + LinkAdjoint.new_velocity, u)
                store(m.work, block + LinkAdjoint.new_angular_velocity, omega)
                for slot in ti.static((LinkAdjoint.virtual_angular_velocity, LinkAdjoint.virtual_velocity)):
                    store(m.work, block + slot, zero)

    @ti.func
    def place_tools_adjoint(m: ti.template(), at: ti.template()):
        """A rotation's adjoint is [theta_bar]x R / 2: of the matrices that give a turning its adjoint, the tangent one."""
        for n in range(m.integers[Header.tools]):
            block, twist, pose = tool_places(m, at, n)
            add(
                m.inputs_bar, twist + ToolTwist.velocity,
                load(m.work, block + LinkAdjoint.velocity_bar) + load(m.work, block + LinkAdjoint.new_velocity_bar),
            )  # fmt: skip
            add(
                m.inputs_bar, twist + ToolTwist.angular_velocity,
                load(m.work, block + LinkAdjoint.angular_velocity_bar)
                + load(m.work, block + LinkAdjoint.new_angular_velocity_bar),
            )  # fmt: skip
            add(m.inputs_bar, pose + ToolPose.position, load(m.work, block + LinkAdjoint.position_bar))
            rot, half = load_matrix(m.work, block + LinkWork.rotation), 0.5 * load(m.work, block + LinkAdjoint.rotation_bar)
            for c in ti.static(range(3)):
                column_bar = half.cross(vec3(rot[0, c], rot[1, c], rot[2, c]))
                for i in ti.static(range(3)):
                    entry = pose + ti.static(ToolPose.rotation + 3 * i + c)
                    m.inputs_bar[entry] = m.inputs_bar[entry] + column_bar[i]

    @ti.func
    def clear_bars(m: ti.template(), at: ti.template()):
        for i in range(m.integers[Header.links]):
            for n in range(FIRST_BAR, LINK_BLOCK):
                m.work[at.work + LINK_BLOCK * i + n] = 0.0

    @ti.func
    def propagate_adjoint(m: ti.template(), at: ti.template()):
        """Adjoints of the links' poses and motions to those of q, v, gravity and the tools' motion (added to); a and the
        virtual velocities are constants here. A link's adjoints are final when all links above it in number are done."""
        links = m.integers[Header.links]
        ahead = ti.cast(0.0, real)
        if ti.static(polarised):
            ahead = m.reals[SceneConstants.dt]
        for reverse in range(1, links):
            i = links - reverse
            link, constants = rows.link_indices(m, i), rows.link_constants(m, i)
            parent, kind = m.integers[link + LinkIndices.parent], m.integers[link + LinkIndices.joint]
            qi, k = m.integers[link + LinkIndices.coordinate], m.integers[link + LinkIndices.dof]
            block, up = rows.link_block(at, i), rows.link_block(at, parent)
            omega_up, alpha_up = load(m.work, up + LinkWork.angular_velocity), load(m.work, up + LinkWork.angular_acceleration)
            ahead_up = load(m.work, up + omega_ahead)
            r = load(m.work, block + LinkWork.position) - load(m.work, up + LinkWork.position)
            swept, swept_ahead = omega_up.cross(r), ahead_up.cross(r)
            # the joint's own motion against the parent
            turn = load(m.work, block + LinkWork.angular_velocity) - omega_up
            turn_ahead = load(m.work, block + omega_ahead) - ahead_up
            slide = load(m.work, block + LinkWork.velocity) - load(m.work, up + LinkWork.velocity) - swept
            slide_ahead = load(m.work, block + u_ahead) - load(m.work, up + u_ahead) - swept_ahead
            theta_bar, p_bar = load(m.work, block + LinkAdjoint.rotation_bar), load(m.work, block + LinkAdjoint.position_bar)
            omega_bar = load(m.work, block + LinkAdjoint.angular_velocity_bar)
            u_bar = load(m.work, block + LinkAdjoint.velocity_bar)
            alpha_bar = load(m.work, block + LinkAdjoint.angular_acceleration_bar)
            a_bar = load(m.work, block + LinkAdjoint.acceleration_bar)
            omega_new_bar = load(m.work, block + LinkAdjoint.new_angular_velocity_bar)
            u_new_bar = load(m.work, block + LinkAdjoint.new_velocity_bar)
            eta_bar = load(m.work, block + LinkAdjoint.virtual_angular_velocity_bar)
            w_bar = load(m.work, block + LinkAdjoint.virtual_velocity_bar)
            # alpha = alpha_up + omega_up x turn + turn_a,  a = ... + omega_up x (omega_up x r + 2 slide) + slide_a, where each
            # factor stands once at v and once ahead
            by_up, by_ahead = a_bar.cross(omega_up), a_bar.cross(ahead_up)
            turn_ahead_bar, slide_ahead_bar = 0.5 * alpha_bar.cross(omega_up), by_up
            swept_bar, swept_ahead_bar = 0.5 * by_ahead, 0.5 * by_up
            turn_bar, slide_bar = omega_bar + 0.5 * alpha_bar.cross(ahead_up), u_bar + by_ahead
            turn_new_bar, slide_new_bar = omega_new_bar, u_new_bar
            if ti.static(polarised):
                turn_new_bar, slide_new_bar = turn_new_bar + turn_ahead_bar, slide_new_bar + slide_ahead_bar
            else:
                turn_bar, slide_bar = turn_bar + turn_ahead_bar, slide_bar + slide_ahead_bar
            r_bar = (
                u_bar.cross(omega_up) + a_bar.cross(alpha_up) + swept_bar.cross(omega_up) + swept_ahead_bar.cross(ahead_up)
                + u_new_bar.cross(load(m.work, up + LinkAdjoint.new_angular_velocity))
                + w_bar.cross(load(m.work, up + LinkAdjoint.virtual_angular_velocity))
            )  # fmt: skip
            shift_bar = p_bar + r_bar  # of r as a whole: it turns with the parent
            q, v, a, virtual, axes = at.q + qi, at.v + k, at.a + k, at.vector + k, rows.dof_work(m, at, k)
            q_bar, v_bar = at.q_bar + qi, at.v_bar + k
            j = ti.static(JointPlace(constants, q, v, a, block, axes, virtual, q_bar, v_bar, None, ahead))
            rotates, first_q, first_k = joints.quaternion_part(kind)
            if rotates == 1:
                turn_q, turn_v, turn_acceleration, turn_lam = q + first_q, v + first_k, a + first_k, virtual + first_k
                turn_q_bar, turn_v_bar = q_bar + first_q, v_bar + first_k
                turning = ti.static(
                    JointPlace(constants, turn_q, turn_v, turn_acceleration, block, axes, turn_lam, turn_q_bar, turn_v_bar)
                )
                theta_bar = joints.rotations.spin_adjoint(m, turning, theta_bar, turn_bar, alpha_bar, turn_new_bar, eta_bar)
            for joint in ti.static(joints.types):
                if kind == joint.number:
                    theta_bar = joint.motion_adjoint(
                        m, j, theta_bar, shift_bar, turn_bar, slide_bar, alpha_bar, a_bar, turn_new_bar, slide_new_bar, eta_bar,
                        w_bar,
                    )  # fmt: skip
            if parent > 0:
                add(m.work, up + LinkAdjoint.position_bar, p_bar)
                add(m.work, up + LinkAdjoint.rotation_bar, theta_bar + r.cross(shift_bar))
                add(
                    m.work, up + LinkAdjoint.angular_velocity_bar,
                    omega_bar + 0.5 * turn_ahead.cross(alpha_bar) + r.cross(u_bar)
                    + (0.5 * swept_ahead + slide_ahead).cross(a_bar) + r.cross(swept_bar),
                )  # fmt: skip
                add(
                    m.work, up + omega_ahead_bar,
                    0.5 * turn.cross(alpha_bar) + (0.5 * swept + slide).cross(a_bar) + r.cross(swept_ahead_bar),
                )  # fmt: skip
                add(m.work, up + LinkAdjoint.velocity_bar, u_bar)
                add(m.work, up + LinkAdjoint.angular_acceleration_bar, alpha_bar + r.cross(a_bar))
                add(m.work, up + LinkAdjoint.new_angular_velocity_bar, omega_new_bar + r.cross(u_new_bar))
                add(m.work, up + LinkAdjoint.new_velocity_bar, u_new_bar)
                add(m.work, up + LinkAdjoint.virtual_angular_velocity_bar, eta_bar + r.cross(w_bar))
                add(m.work, up + LinkAdjoint.virtual_velocity_bar, w_bar)
            add(m.work, up + LinkAdjoint.acceleration_bar, a_bar)
        add(m.inputs_bar, at.inputs + WorldInputs.gravity, -1.0 * load(m.work, at.work + LinkAdjoint.acceleration_bar))
        if ti.static(tools):
            place_tools_adjoint(m, at)

    return SimpleNamespace(propagate=propagate, propagate_adjoint=propagate_adjoint, clear_bars=clear_bars)
