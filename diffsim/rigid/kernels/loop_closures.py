"""Closed loops: a point of a link and one of another (or of the world) stay together, with or without the links' relative
rotation; forward beside adjoint.

With the points' distance x = x_a - x_b and velocity u, the rotation vector theta of R_a C^T R_b^T (C: the rotation that is
held; 2 sin(angle / 2) long) and the relative angular velocity omega, the equations of the rates (docs/rigid.md) are

    u+ + (h / 2) x''|0 + x / T + compliance f = 0,     omega+ + theta / T + turn_compliance g = 0,     T = h + tau

with the force f on a at x_a, -f on b at x_b, and the torque g. x''|0 is the acceleration of x at a = 0, the polarised one
(`link_kinematics`), linear in the new velocities: so the points' velocities agree at the end of the substep, where the
coordinates are half a substep ahead, to second order. Without ``polarised`` the equations are those of MuJoCo 4, whose Euler
moves the coordinates by h v+:

    u+ + h x''|0 + x / T + compliance f = 0,     omega+ + h omega'|0 + theta / T + turn_compliance g = 0
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any, NamedTuple

from diffsim.compiler import ti
from diffsim.rigid.constraint_records import ClosureConstants, ClosureForces, ClosureIndices
from diffsim.rigid.kernels.rigid_memory import model_rows
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import (
    MOTION,
    MOTION_BAR,
    NEW_MOTION,
    NEW_MOTION_BAR,
    RECOVERY,
    SCREW,
    SLIDE,
    VIRTUAL_MOTION,
    VIRTUAL_MOTION_BAR,
    DofIndices,
    DofWork,
    Header,
    LinkAdjoint,
    LinkIndices,
    LinkWork,
    SceneConstants,
)

ENDS = ((ClosureIndices.link, ClosureConstants.point, 1.0), (ClosureIndices.other, ClosureConstants.other_point, -1.0))


class ClosurePlace(NamedTuple):
    """Where the parts of a closure stand."""

    indices: Any
    constants: Any
    row: Any  # its first equation among the unknowns
    turns: Any  # 1 with the relative rotation


def closure_stage(real, *, screws: bool, polarised: bool) -> SimpleNamespace:
    """``equations`` and ``power_adjoint``; ``screws`` is whether dofs may turn and slide at once."""
    vf, rows = vector_functions(real), model_rows()
    vec3, load, add = vf.vec3, vf.load, vf.add
    # where the other factor of products of velocities stands, and its adjoint
    omega_ahead, omega_ahead_bar = (NEW_MOTION[0], NEW_MOTION_BAR[0]) if polarised else (MOTION[0], MOTION_BAR[0])
    turned_round = 2.0**-10  # of 1 + trace, which is 0 at half a turn

    @ti.func
    def arm_of(m: ti.template(), block, point):
        """From the origin of the link with that block to a point in its frame."""
        return vf.load_matrix(m.work, block + LinkWork.rotation) @ load(m.reals, point)

    @ti.func
    def turn_error(m: ti.template(), block, other, constants):
        """theta, and the cosine of half its angle."""
        rotation = vf.load_matrix(m.reals, constants + ClosureConstants.rotation)
        held = vf.load_matrix(m.work, other + LinkWork.rotation) @ rotation
        E = vf.load_matrix(m.work, block + LinkWork.rotation) @ held.transpose()
        cosine = 0.5 * ti.sqrt(ti.max(1.0 + E.trace(), ti.cast(turned_round, real)))
        axial = vec3(E[2, 1] - E[1, 2], E[0, 2] - E[2, 0], E[1, 0] - E[0, 1])
        return 0.5 / cosine * axial, cosine

    @ti.func
    def equations(m: ti.template(), at: ti.template()):
        """Their rows and columns of the matrix, and their right-hand sides."""
        h, size, matrix = m.reals[SceneConstants.dt], m.integers[Header.unknowns], rows.smooth_matrix(m, at)
        rate = 1.0 / (ti.static(1.0 + RECOVERY) * h)
        for n in range(m.integers[Header.closures]):
            indices = m.integers[Header.closure_indices] + ClosureIndices.SIZE * n
            constants = m.integers[Header.closure_constants] + ClosureConstants.SIZE * n
            row = m.integers[Header.dofs] + m.integers[indices + ClosureIndices.first_row]
            turns = m.integers[indices + ClosureIndices.turns]
            place = ti.static(ClosurePlace(indices, constants, row, turns))
            target = vec3(0.0, 0.0, 0.0)  # minus u + (h / 2) x''|0 + x / T
            for link, point, sign in ti.static(ENDS):
                block = rows.link_block(at, m.integers[indices + link])
                arm = arm_of(m, block, constants + point)
                omega = load(m.work, block + LinkWork.angular_velocity)
                u = load(m.work, block + LinkWork.velocity) + omega.cross(arm)
                alpha = load(m.work, block + LinkWork.angular_acceleration)
                acceleration = load(m.work, block + LinkWork.acceleration) + alpha.cross(arm) + omega.cross(omega.cross(arm))
                position = load(m.work, block + LinkWork.position) + arm
                target = target - sign * (u + ti.static(0.5 if polarised else 1.0) * h * acceleration + rate * position)
                add_columns(m, at, place, m.integers[indices + link], arm, u, sign)
            for i in ti.static(range(3)):
                r = row + i
                m.work[at.vector + r] = target[i]
                m.work[matrix + r * size + r] = m.reals[constants + ClosureConstants.compliance]
            if turns == 1:
                block = rows.link_block(at, m.integers[indices + ClosureIndices.link])
                other = rows.link_block(at, m.integers[indices + ClosureIndices.other])
                theta, _cosine = turn_error(m, block, other, constants)
                omega = load(m.work, block + LinkWork.angular_velocity) - load(m.work, other + LinkWork.angular_velocity)
                if ti.static(not polarised):
                    omega = omega + h * load(m.work, block + LinkWork.angular_acceleration)
                    omega = omega - h * load(m.work, other + LinkWork.angular_acceleration)
                for i in ti.static(range(3)):
                    r = row + ti.static(ClosureForces.torque + i)
                    m.work[at.vector + r] = -omega[i] - rate * theta[i]
                    m.work[matrix + r * size + r] = m.reals[constants + ClosureConstants.turn_compliance]

    @ti.func
    def add_columns(m: ti.template(), at: ti.template(), place: ti.template(), link, arm, u, sign: ti.template()):
        """Of all dofs that move the link, whose point has the arm and the velocity u: what forces do to them, and what they do
        to the rates."""
        h, size, matrix = m.reals[SceneConstants.dt], m.integers[Header.unknowns], rows.smooth_matrix(m, at)
        x, i = load(m.work, rows.link_block(at, link) + LinkWork.position) + arm, link
        while i > 0:
            row, block = rows.link_indices(m, i), rows.link_block(at, i)
            up = rows.link_block(at, m.integers[row + LinkIndices.parent])
            r = x - load(m.work, block + LinkWork.position)
            away, omega_up = u - load(m.work, block + LinkWork.velocity), load(m.work, up + LinkWork.angular_velocity)
            for k in range(m.integers[row + LinkIndices.dof], rows.end_dof(m, i)):
                axes, motion = rows.dof_work(m, at, k), m.integers[rows.dof_indices(m, k) + DofIndices.motion]
                z, linear, angular = load(m.work, axes + DofWork.axis), vec3(0.0, 0.0, 0.0), vec3(0.0, 0.0, 0.0)
                linear_rate = vec3(0.0, 0.0, 0.0)
                if ti.static(polarised):
                    linear_rate = load(m.work, axes + DofWork.axis_rate) + omega_up.cross(z)
                if motion == SLIDE:
                    linear = z
                else:
                    linear, angular = z.cross(r), z
                    linear_rate = linear_rate.cross(r) + z.cross(away)
                if ti.static(screws):  # noqa: SIM102, the compiler's if and the kernel's
                    if motion == SCREW:
                        slide = load(m.work, axes + DofWork.slide)
                        linear, linear_rate = linear + slide, linear_rate + omega_up.cross(slide)
                by_rate = linear
                if ti.static(polarised):
                    by_rate = linear + 0.5 * h * linear_rate
                for c in ti.static(range(3)):
                    low, above = matrix + (place.row + c) * size + k, matrix + k * size + place.row + c
                    m.work[low] = m.work[low] + sign * h * by_rate[c]
                    m.work[above] = m.work[above] - sign * (linear[c] + h * by_rate[c])
                if place.turns == 1:
                    for c in ti.static(range(3)):
                        turn_row = place.row + ti.static(ClosureForces.torque + c)
                        low, above = matrix + turn_row * size + k, matrix + k * size + turn_row
                        m.work[low] = m.work[low] + sign * h * angular[c]
                        m.work[above] = m.work[above] - sign * (angular[c] + h * angular[c])
            i = m.integers[row + LinkIndices.parent]

    @ti.func
    def power_adjoint(m: ti.template(), at: ti.template()):
        """Adjoint of the forces' power under the virtual velocities and, with the virtual forces mu and nu, of these times the
        equations: f . w + g . eta - mu . (u+ + (h / 2) x''|0 + x / T) - nu . (omega+ + theta / T).

        At the acceleration a the blocks have u, u+ = u + h J a and x''= J a + x''|0, so u+ + (h / 2) x''|0 =
        (u + u+) / 2 + (h / 2) x'', and u+ + h x''|0 = u + h x''."""
        h = m.reals[SceneConstants.dt]
        rate = 1.0 / (ti.static(1.0 + RECOVERY) * h)
        for n in range(m.integers[Header.closures]):
            indices = m.integers[Header.closure_indices] + ClosureIndices.SIZE * n
            constants = m.integers[Header.closure_constants] + ClosureConstants.SIZE * n
            row = m.integers[Header.dofs] + m.integers[indices + ClosureIndices.first_row]
            f, mu = load(m.tape, at.a + row), load(m.work, at.vector + row)
            for link, point, sign in ti.static(ENDS):
                block = rows.link_block(at, m.integers[indices + link])
                end_adjoint(m, block, constants + point, sign * f, sign * mu, h, rate)
            if m.integers[indices + ClosureIndices.turns] == 1:
                block = rows.link_block(at, m.integers[indices + ClosureIndices.link])
                other = rows.link_block(at, m.integers[indices + ClosureIndices.other])
                turn_row = row + ClosureForces.torque
                g, nu = load(m.tape, at.a + turn_row), load(m.work, at.vector + turn_row)
                theta, cosine = turn_error(m, block, other, constants)
                # dtheta = cosine d + d x theta / 2 for a turning d of the link, likewise backwards for the other
                bend = (-0.5 * rate) * theta.cross(nu)
                along = (-rate * cosine) * nu
                add(m.work, block + LinkAdjoint.rotation_bar, along + bend)
                add(m.work, other + LinkAdjoint.rotation_bar, bend - along)
                add(m.work, block + LinkAdjoint.virtual_angular_velocity_bar, g)
                add(m.work, other + LinkAdjoint.virtual_angular_velocity_bar, -1.0 * g)
                if ti.static(polarised):
                    add(m.work, block + LinkAdjoint.new_angular_velocity_bar, -1.0 * nu)
                    add(m.work, other + LinkAdjoint.new_angular_velocity_bar, nu)
                else:
                    add(m.work, block + LinkAdjoint.angular_velocity_bar, -1.0 * nu)
                    add(m.work, other + LinkAdjoint.angular_velocity_bar, nu)
                    add(m.work, block + LinkAdjoint.angular_acceleration_bar, -h * nu)
                    add(m.work, other + LinkAdjoint.angular_acceleration_bar, h * nu)

    @ti.func
    def end_adjoint(m: ti.template(), block, point, f, mu, h, rate):
        """Of one link's point: adds to the adjoints of its motions, position and rotation."""
        arm = arm_of(m, block, point)
        omega, alpha = load(m.work, block + MOTION[0]), load(m.work, block + LinkAdjoint.angular_acceleration)
        ahead, eta = load(m.work, block + omega_ahead), load(m.work, block + VIRTUAL_MOTION[0])
        share = ti.static(0.5 if polarised else 1.0)  # of the velocity at the substep's start, and of the acceleration
        u_bar, a_bar, x_bar = -share * mu, (-share * h) * mu, -rate * mu
        # of (omega x (ahead x arm) + ahead x (omega x arm)) / 2
        swept_bar, swept_ahead_bar = 0.5 * a_bar.cross(ahead), 0.5 * a_bar.cross(omega)
        omega_bar = 0.5 * ahead.cross(arm).cross(a_bar) + arm.cross(swept_bar)
        ahead_bar = 0.5 * omega.cross(arm).cross(a_bar) + arm.cross(swept_ahead_bar)
        arm_bar = f.cross(eta) + x_bar + u_bar.cross(omega)
        arm_bar = arm_bar + a_bar.cross(alpha) + swept_bar.cross(omega) + swept_ahead_bar.cross(ahead)
        if ti.static(polarised):
            arm_bar = arm_bar + u_bar.cross(ahead)
            ahead_bar = ahead_bar + arm.cross(u_bar)
            add(m.work, block + NEW_MOTION_BAR[1], u_bar)
        add(m.work, block + MOTION_BAR[0], omega_bar + arm.cross(u_bar))
        add(m.work, block + MOTION_BAR[1], u_bar)
        add(m.work, block + omega_ahead_bar, ahead_bar)
        add(m.work, block + LinkAdjoint.acceleration_bar, a_bar)
        add(m.work, block + LinkAdjoint.angular_acceleration_bar, arm.cross(a_bar))
        add(m.work, block + VIRTUAL_MOTION_BAR[0], arm.cross(f))
        add(m.work, block + VIRTUAL_MOTION_BAR[1], f)
        add(m.work, block + LinkAdjoint.position_bar, x_bar)
        add(m.work, block + LinkAdjoint.rotation_bar, arm.cross(arm_bar))

    return SimpleNamespace(equations=equations, power_adjoint=power_adjoint)
