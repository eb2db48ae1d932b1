"""Poses and motions of all links down the tree; and the reverse sweep up the tree."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import (
    A_BAR,
    ALPHA,
    ALPHA_BAR,
    BALL,
    ETA,
    ETA_BAR,
    FREE,
    I_TOOL_AT,
    LINK,
    LINK_AT,
    LINK_INTS,
    LINK_REALS,
    LINKS,
    OMEGA,
    OMEGA_BAR,
    OMEGA_NEW,
    OMEGA_NEW_BAR,
    P_BAR,
    PRISMATIC,
    R_LINK_AT,
    REVOLUTE,
    THETA_BAR,
    TOOL_POSE,
    TOOL_TWIST,
    TOOLS,
    U_BAR,
    U_NEW,
    U_NEW_BAR,
    W_BAR,
    W_DOF_AT,
    A,
    H,
    P,
    R,
    U,
    W,
)  # fmt: skip


def kinematics_stage(real, *, tools: bool) -> SimpleNamespace:
    """``propagate`` and ``propagate_adjoint``. Without ``tools`` the code for them is left out, so that scenes that have none
    are as fast as they were; tools are then links at rest where they were declared."""
    vf = vector_functions(real)
    vec3, mat3, load, store, add, load_matrix, store_matrix = (
        vf.vec3, vf.mat3, vf.load, vf.store, vf.add, vf.load_matrix, vf.store_matrix,
    )  # fmt: skip

    @ti.func
    def propagate(
        integers: ti.template(), reals: ti.template(), inputs: ti.template(), inputs_at, row: ti.template(), q_at, v_at, a_at,
        virtual: ti.template(), virtual_at, work: ti.template(), base, s, full: ti.template(),
    ):  # fmt: skip
        """Rotation, position, velocity and acceleration of every link, and the dofs' axes. Accelerations carry gravity, as that
        of the world upwards. Without ``full`` they are those at a = 0; with it at a, and the motions under v + h a and
        under ``virtual`` are propagated too. Tools are where they are in substep ``s``."""
        h = reals[H]
        link_at, reals_at, dof_at = integers[LINK_AT], integers[R_LINK_AT], base + integers[W_DOF_AT]
        zero = vec3(0.0, 0.0, 0.0)
        store_matrix(work, base + R, mat3(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
        for slot in ti.static((P, OMEGA, U, ALPHA)):
            store(work, base + slot, zero)
        store(work, base + A, -1.0 * load(inputs, inputs_at))
        if ti.static(full):
            for slot in ti.static((OMEGA_NEW, U_NEW, ETA, W)):
                store(work, base + slot, zero)
        for i in range(1, integers[LINKS]):
            parent, kind = integers[link_at + LINK_INTS * i], integers[link_at + LINK_INTS * i + 1]
            qi, k = q_at + integers[link_at + LINK_INTS * i + 2], integers[link_at + LINK_INTS * i + 3]
            at, up, own = base + LINK * i, base + LINK * parent, reals_at + LINK_REALS * i
            R_up, p_up = load_matrix(work, up + R), load(work, up + P)
            omega_up, alpha_up = load(work, up + OMEGA), load(work, up + ALPHA)
            rot = R_up @ load_matrix(reals, own + 3)
            p = p_up + R_up @ load(reals, own)
            axis = load(reals, own + 12)
            # the joint's own motion: turn and slide, under v, a, v + h a and the virtual velocity
            turn, slide, turn_a, slide_a = zero, zero, zero, zero
            turn_new, slide_new, turn_virtual, slide_virtual = zero, zero, zero, zero
            if kind == REVOLUTE or kind == PRISMATIC:
                v = row[v_at + k]
                if kind == REVOLUTE:
                    rot = rot @ vf.about(axis, row[qi])
                    z = rot @ axis
                    store(work, dof_at + 3 * k, z)
                    turn = z * v
                    if ti.static(full):
                        a = row[a_at + k]
                        turn_a, turn_new, turn_virtual = z * a, z * (v + h * a), z * virtual[virtual_at + k]
                else:
                    z = rot @ axis
                    store(work, dof_at + 3 * k, z)
                    p = p + z * row[qi]
                    slide = z * v
                    if ti.static(full):
                        a = row[a_at + k]
                        slide_a, slide_new, slide_virtual = z * a, z * (v + h * a), z * virtual[virtual_at + k]
            elif kind == BALL or kind == FREE:
                first = k
                if kind == FREE:
                    first = k + 3
                    p = load(row, qi)
                    rot = vf.rotation(vf.load_quaternion(row, qi + 3))
                    slide = load(row, v_at + k)
                    for n in ti.static(range(3)):
                        store(work, dof_at + 3 * (k + n), vec3(*[1.0 if n == m else 0.0 for m in range(3)]))
                    if ti.static(full):
                        slide_a = load(row, a_at + k)
                        slide_new = slide + h * slide_a
                        slide_virtual = load(virtual, virtual_at + k)
                else:
                    rot = rot @ vf.rotation(vf.load_quaternion(row, qi))
                for n in ti.static(range(3)):
                    store(work, dof_at + 3 * (first + n), vec3(rot[0, n], rot[1, n], rot[2, n]))
                turn = rot @ load(row, v_at + first)
                if ti.static(full):
                    turn_a = rot @ load(row, a_at + first)
                    turn_new = turn + h * turn_a
                    turn_virtual = rot @ load(virtual, virtual_at + first)
            r = p - p_up
            store_matrix(work, at + R, rot)
            store(work, at + P, p)
            store(work, at + OMEGA, omega_up + turn)
            store(work, at + U, load(work, up + U) + omega_up.cross(r) + slide)
            store(work, at + ALPHA, alpha_up + omega_up.cross(turn) + turn_a)
            store(
                work, at + A,
                load(work, up + A) + alpha_up.cross(r) + omega_up.cross(omega_up.cross(r) + 2.0 * slide) + slide_a,
            )  # fmt: skip
            if ti.static(full):
                omega_new_up, eta_up = load(work, up + OMEGA_NEW), load(work, up + ETA)
                store(work, at + OMEGA_NEW, omega_new_up + turn_new)
                store(work, at + U_NEW, load(work, up + U_NEW) + omega_new_up.cross(r) + slide_new)
                store(work, at + ETA, eta_up + turn_virtual)
                store(work, at + W, load(work, up + W) + eta_up.cross(r) + slide_virtual)
        if ti.static(tools):
            place_tools(integers, inputs, inputs_at, work, base, s, full)

    @ti.func
    def tool_places(integers: ti.template(), inputs_at, base, n, s):
        """Of tool ``n``: its link's block, and where its twist and its pose in substep ``s`` stand in a row of inputs."""
        count, first = integers[TOOLS], inputs_at + integers[I_TOOL_AT]
        twist, pose = first + TOOL_TWIST * n, first + TOOL_TWIST * count + TOOL_POSE * (s * count + n)
        return base + LINK * (integers[LINKS] - count + n), twist, pose

    @ti.func
    def place_tools(
        integers: ti.template(), inputs: ti.template(), inputs_at, work: ti.template(), base, s, full: ti.template()
    ):
        """Nothing accelerates a tool, and the virtual velocity does not move it: nothing acts on it."""
        zero = vec3(0.0, 0.0, 0.0)
        for n in range(integers[TOOLS]):
            at, twist, pose = tool_places(integers, inputs_at, base, n, s)
            u, omega = load(inputs, twist), load(inputs, twist + 3)
            store(work, at + P, load(inputs, pose))
            store_matrix(work, at + R, load_matrix(inputs, pose + 3))
            store(work, at + U, u)
            store(work, at + OMEGA, omega)
            for slot in ti.static((ALPHA, A)):
                store(work, at + slot, zero)
            if ti.static(full):
                store(work, at + U_NEW, u)
                store(work, at + OMEGA_NEW, omega)
                for slot in ti.static((ETA, W)):
                    store(work, at + slot, zero)

    @ti.func
    def place_tools_adjoint(integers: ti.template(), work: ti.template(), base, inputs_bar: ti.template(), inputs_at, s):
        """A rotation's adjoint is [theta_bar]x R / 2: of the matrices that give a turning its adjoint, the tangent one."""
        for n in range(integers[TOOLS]):
            at, twist, pose = tool_places(integers, inputs_at, base, n, s)
            add(inputs_bar, twist, load(work, at + U_BAR) + load(work, at + U_NEW_BAR))
            add(inputs_bar, twist + 3, load(work, at + OMEGA_BAR) + load(work, at + OMEGA_NEW_BAR))
            add(inputs_bar, pose, load(work, at + P_BAR))
            rot, half = load_matrix(work, at + R), 0.5 * load(work, at + THETA_BAR)
            for c in ti.static(range(3)):
                column_bar = half.cross(vec3(rot[0, c], rot[1, c], rot[2, c]))
                for i in ti.static(range(3)):
                    entry = pose + 3 + 3 * i + c
                    inputs_bar[entry] = inputs_bar[entry] + column_bar[i]

    @ti.func
    def clear_bars(integers: ti.template(), work: ti.template(), base):
        for i in range(integers[LINKS]):
            for n in range(THETA_BAR, LINK):
                work[base + LINK * i + n] = 0.0

    @ti.func
    def propagate_adjoint(
        integers: ti.template(), reals: ti.template(), row: ti.template(), q_at, v_at, a_at,
        virtual: ti.template(), virtual_at, work: ti.template(), base,
        bars: ti.template(), q_bar_at, v_bar_at, inputs_bar: ti.template(), inputs_at, s,
    ):  # fmt: skip
        """Adjoints of the links' poses and motions to those of q, v, gravity and the tools' motion (added to); a and the
        virtual velocity are constants here. They are used up on the way."""
        h = reals[H]
        link_at, dof_at = integers[LINK_AT], base + integers[W_DOF_AT]
        links = integers[LINKS]
        zero = vec3(0.0, 0.0, 0.0)
        for reverse in range(1, links):
            i = links - reverse
            parent, kind = integers[link_at + LINK_INTS * i], integers[link_at + LINK_INTS * i + 1]
            qi, k = integers[link_at + LINK_INTS * i + 2], integers[link_at + LINK_INTS * i + 3]
            at, up = base + LINK * i, base + LINK * parent
            omega_up, alpha_up = load(work, up + OMEGA), load(work, up + ALPHA)
            r = load(work, at + P) - load(work, up + P)
            theta_bar, p_bar = load(work, at + THETA_BAR), load(work, at + P_BAR)
            omega_bar, u_bar = load(work, at + OMEGA_BAR), load(work, at + U_BAR)
            alpha_bar, a_bar = load(work, at + ALPHA_BAR), load(work, at + A_BAR)
            omega_new_bar, u_new_bar = load(work, at + OMEGA_NEW_BAR), load(work, at + U_NEW_BAR)
            eta_bar, w_bar = load(work, at + ETA_BAR), load(work, at + W_BAR)
            # alpha = alpha_up + omega_up x turn + turn_a,  a = ... + omega_up x (omega_up x r + 2 slide) + slide_a
            turn_bar = omega_bar + alpha_bar.cross(omega_up)
            slide_bar = u_bar + 2.0 * a_bar.cross(omega_up)
            turn, slide = zero, zero
            shift_bar = p_bar  # of p - p_up, from here on
            inner_bar = a_bar.cross(omega_up)  # of omega_up x r
            r_bar = (
                u_bar.cross(omega_up) + a_bar.cross(alpha_up) + inner_bar.cross(omega_up)
                + u_new_bar.cross(load(work, up + OMEGA_NEW)) + w_bar.cross(load(work, up + ETA))
            )  # fmt: skip
            shift_bar = shift_bar + r_bar
            if kind == REVOLUTE or kind == PRISMATIC:
                z = load(work, dof_at + 3 * k)
                v, a, virtual_v = row[v_at + k], row[a_at + k], virtual[virtual_at + k]
                z_bar = zero
                if kind == REVOLUTE:
                    turn = z * v
                    z_bar = v * turn_bar + a * alpha_bar + (v + h * a) * omega_new_bar + virtual_v * eta_bar
                    bars[v_bar_at + k] += z.dot(turn_bar + omega_new_bar)
                    bars[q_bar_at + qi] += z.dot(theta_bar)
                else:
                    slide = z * v
                    z_bar = v * slide_bar + a * a_bar + (v + h * a) * u_new_bar + virtual_v * w_bar
                    bars[v_bar_at + k] += z.dot(slide_bar + u_new_bar)
                    bars[q_bar_at + qi] += z.dot(shift_bar)
                theta_bar = theta_bar + z.cross(z_bar)
            elif kind == BALL or kind == FREE:
                rot = load_matrix(work, at + R)
                first, q_turn = k, qi
                if kind == FREE:
                    first, q_turn = k + 3, qi + 3
                    slide = load(row, v_at + k)
                    add(bars, v_bar_at + k, slide_bar + u_new_bar)
                    add(bars, q_bar_at + qi, shift_bar)
                own_v, own_a, own_virtual = load(row, v_at + first), load(row, a_at + first), load(virtual, virtual_at + first)
                turn = rot @ own_v
                add(bars, v_bar_at + first, rot.transpose() @ (turn_bar + omega_new_bar))
                turned_bar = (
                    theta_bar + turn.cross(turn_bar) + (rot @ own_a).cross(alpha_bar)
                    + (rot @ (own_v + h * own_a)).cross(omega_new_bar) + (rot @ own_virtual).cross(eta_bar)
                )  # fmt: skip
                theta_bar = turned_bar
                Q = vf.load_quaternion(row, q_at + q_turn)
                Q_bar = vf.rotation_adjoint(Q, rot.transpose() @ turned_bar)
                for n in ti.static(range(4)):
                    bars[q_bar_at + q_turn + n] += Q_bar[n]
            if parent > 0:
                add(work, up + P_BAR, p_bar)
                add(work, up + THETA_BAR, theta_bar + r.cross(shift_bar))
                add(
                    work, up + OMEGA_BAR,
                    omega_bar + turn.cross(alpha_bar) + r.cross(u_bar)
                    + (omega_up.cross(r) + 2.0 * slide).cross(a_bar) + r.cross(inner_bar),
                )  # fmt: skip
                add(work, up + U_BAR, u_bar)
                add(work, up + ALPHA_BAR, alpha_bar + r.cross(a_bar))
                add(work, up + OMEGA_NEW_BAR, omega_new_bar + r.cross(u_new_bar))
                add(work, up + U_NEW_BAR, u_new_bar)
                add(work, up + ETA_BAR, eta_bar + r.cross(w_bar))
                add(work, up + W_BAR, w_bar)
            add(work, up + A_BAR, a_bar)
        add(inputs_bar, inputs_at, -1.0 * load(work, base + A_BAR))
        if ti.static(tools):
            place_tools_adjoint(integers, work, base, inputs_bar, inputs_at, s)

    return SimpleNamespace(propagate=propagate, propagate_adjoint=propagate_adjoint, clear_bars=clear_bars)
