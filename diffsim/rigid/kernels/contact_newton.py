"""The acceleration of a substep with contact and dry friction, which depend on the new velocities, by Newton's method.

The equation of a substep (docs/rigid.md) is

    r(a) = b - A a + J^T F(J (v + h a)) - loss w(v + h a) = 0,      w(v) = v / sqrt(v^2 + eps^2)

with A and b of everything that is linear in the new velocities. A contact's force on the geometry that has the points is, with
the new relative velocity u, nu = n.u, u_t = u - nu n and W = sqrt(u_t^2 + eps^2),

    F = N(nu) n - mu B u_t / W,        B: the bound of friction, N(nu) or the force at the old velocity

The derivative of r is not symmetric where B is N(nu). Newton's step is taken where it brings r down; where it does not, the step
is that of the symmetric problem with B held, which is convex: its step always descends, and a search along it ends where the
directional derivative has fallen enough (Castro et al. 2022 solve a convex relative of the problem so). The last factor is
kept: the adjoint solves with its transpose (implicit function theorem).
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rigid.kernels.lu import linear_stage
from diffsim.rigid.kernels.rigid_memory import model_rows
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import (
    ContactColumn,
    ContactWork,
    DofIndices,
    Header,
    LinkInputs,
    PairIndices,
    PairWork,
    SceneConstants,
)

# What is known after the equation was evaluated: at a new point; at the point that Newton's step did not improve, with friction
# held; along the step of that problem
FULL, HELD, SEARCH, DONE = range(4)
EVALUATIONS = 100  # at most
SEARCHES = 12  # evaluations along a step, at most
DESCENT = 0.25  # a step must bring the square of the residual down to this share
FLAT = 0.125  # a search ends where the directional derivative is down to this share


def newton_stage(real) -> SimpleNamespace:
    """``solve`` and ``dry_friction_adjoint``."""
    vf, rows, linear = vector_functions(real), model_rows(), linear_stage(real)
    vec3, load = vf.vec3, vf.load
    small = 2.0**-64 if real == ti.f64 else 2.0**-38  # square of the relative size of a step that ends the iteration

    @ti.func
    def parts(m: ti.template(), at: ti.template()):
        """Where in work the right-hand side, the residual and the step stand, the rows' begins and the matrix A."""
        force = at.work + m.integers[Header.newton]
        dofs = m.integers[Header.dofs]
        return (
            force, force + dofs, force + 2 * dofs, at.work + m.integers[Header.row_begins],
            at.work + m.integers[Header.smooth_matrix],
        )  # fmt: skip

    @ti.func
    def plus_outer(x, y, z, a, b):
        """Rows of a matrix plus a b^T."""
        return x + a[0] * b, y + a[1] * b, z + a[2] * b

    @ti.func
    def times_rows(a, x, y, z):
        return a[0] * x + a[1] * y + a[2] * z

    @ti.func
    def pair_motion(m: ti.template(), at: ti.template(), pair_work, columns, count):
        """New relative velocity of a pair at the centre, and the angular one."""
        h = m.reals[SceneConstants.dt]
        u, omega = load(m.work, pair_work + PairWork.velocity), load(m.work, pair_work + PairWork.angular_velocity)
        for c in range(count):
            column = columns + ContactColumn.SIZE * c
            k = ti.cast(m.work[column + ContactColumn.dof], ti.i32)
            rate = m.tape[at.v + k] + h * m.tape[at.a + k]
            u = u + rate * load(m.work, column + ContactColumn.linear)
            omega = omega + rate * load(m.work, column + ContactColumn.angular)
        return u, omega

    @ti.func
    def evaluate(m: ti.template(), at: ti.template(), stage):
        """The residual at the acceleration in the tape and, but in a search, the matrix -dr/da in the tape; with friction's
        bounds held if ``stage`` is not FULL."""
        h, eps = m.reals[SceneConstants.dt], m.reals[SceneConstants.slip_speed]
        dofs = m.integers[Header.dofs]
        force_at, residual, _step, begins, smooth = parts(m, at)
        for i in range(dofs):
            m.work[residual + i] = m.work[force_at + i]
        for i in range(dofs):
            begin = linear.row_begin(m.work, begins, i)
            a_i, total = m.tape[at.a + i], m.work[smooth + i * dofs + i] * m.tape[at.a + i]
            for j in range(begin, i):
                total = total + m.work[smooth + i * dofs + j] * m.tape[at.a + j]
                m.work[residual + j] = m.work[residual + j] - m.work[smooth + j * dofs + i] * a_i
            m.work[residual + i] = m.work[residual + i] - total
        if stage != SEARCH:
            for n in range(dofs * dofs):
                m.tape[at.matrix + n] = m.work[smooth + n]
        for k in range(dofs):
            loss = m.inputs[rows.link_inputs(m, at, m.integers[rows.dof_indices(m, k) + DofIndices.link]) + LinkInputs.friction_loss]
            if loss > 0.0:
                v = m.tape[at.v + k] + h * m.tape[at.a + k]
                g = 1.0 / ti.sqrt(v * v + eps * eps)
                m.work[residual + k] = m.work[residual + k] - loss * v * g
                if stage != SEARCH:
                    diagonal = at.matrix + k * dofs + k
                    m.tape[diagonal] = m.tape[diagonal] + h * loss * eps * eps * g * g * g
        for pair in range(m.integers[Header.pairs]):
            pair_work = at.work + m.integers[Header.pair_work] + PairWork.SIZE * pair
            if m.work[pair_work + PairWork.contacts] > 0.0:
                evaluate_pair(m, at, pair, pair_work, stage)

    @ti.func
    def evaluate_pair(m: ti.template(), at: ti.template(), pair, pair_work, stage):
        """A pair's forces and their slopes are summed about the centre of the geometry that has the points before they are
        seen by the joints."""
        h, eps = m.reals[SceneConstants.dt], m.reals[SceneConstants.slip_speed]
        dofs = m.integers[Header.dofs]
        zero, none = vec3(0.0, 0.0, 0.0), ti.cast(0.0, real)
        residual = at.work + m.integers[Header.newton] + dofs
        indices = rows.pair_indices(m, pair)
        columns = at.work + m.integers[Header.contact_columns] + m.integers[indices + PairIndices.first_column]
        contacts = at.work + m.integers[Header.contact_work] + m.integers[indices + PairIndices.first_contact]
        count = ti.cast(m.work[pair_work + PairWork.columns], ti.i32)
        mu = m.work[pair_work + PairWork.friction]
        u_center, omega = pair_motion(m, at, pair_work, columns, count)
        force, torque = zero, zero
        # slopes of force (f) and torque (t) by the velocity at the centre (u) and the angular velocity (w), by rows
        fux, fuy, fuz, fwx, fwy, fwz = zero, zero, zero, zero, zero, zero
        tux, tuy, tuz, twx, twy, twz = zero, zero, zero, zero, zero, zero
        drag_sum, drag_first, drag_second = none, zero, none
        for n in range(ti.cast(m.work[pair_work + PairWork.contacts], ti.i32)):
            contact = contacts + ContactWork.SIZE * n
            r, normal = load(m.work, contact + ContactWork.arm), load(m.work, contact + ContactWork.normal)
            slope, bound = m.work[contact + ContactWork.slope], m.work[contact + ContactWork.bound]
            u = u_center + omega.cross(r)
            nu = normal.dot(u)
            N, coupling = m.work[contact + ContactWork.base] - slope * nu, none
            if bound < 0.0:
                if N <= 0.0:
                    N, slope = none, none
                bound = N
                if stage == FULL:
                    coupling = slope
                if stage == SEARCH:
                    bound = m.work[contact + ContactWork.held]
                else:
                    m.work[contact + ContactWork.held] = N
            slip = u - nu * normal
            g = 1.0 / ti.sqrt(slip.dot(slip) + eps * eps)
            drag = mu * bound * g
            f = N * normal - drag * slip
            force, torque = force + f, torque + r.cross(f)
            if stage != SEARCH and (N != 0.0 or bound != 0.0):
                # -df/du = drag 1 + left n^T - drag g^2 slip slip^T
                left = (slope - drag) * normal - (mu * coupling * g) * slip
                along = (-drag * g * g) * slip
                r_left, r_along, r_n, r_slip = r.cross(left), r.cross(along), r.cross(normal), r.cross(slip)
                fux, fuy, fuz = plus_outer(fux, fuy, fuz, left, normal)
                fux, fuy, fuz = plus_outer(fux, fuy, fuz, along, slip)
                fwx, fwy, fwz = plus_outer(fwx, fwy, fwz, left, r_n)
                fwx, fwy, fwz = plus_outer(fwx, fwy, fwz, along, r_slip)
                tux, tuy, tuz = plus_outer(tux, tuy, tuz, r_left, normal)
                tux, tuy, tuz = plus_outer(tux, tuy, tuz, r_along, slip)
                twx, twy, twz = plus_outer(twx, twy, twz, r_left, r_n)
                twx, twy, twz = plus_outer(twx, twy, twz, r_along, r_slip)
                twx, twy, twz = plus_outer(twx, twy, twz, -drag * r, r)
                drag_sum, drag_first, drag_second = drag_sum + drag, drag_first + drag * r, drag_second + drag * r.dot(r)
        x, y, z = drag_first[0], drag_first[1], drag_first[2]
        fux, fuy, fuz = fux + vec3(drag_sum, 0.0, 0.0), fuy + vec3(0.0, drag_sum, 0.0), fuz + vec3(0.0, 0.0, drag_sum)
        fwx, fwy, fwz = fwx + vec3(0.0, z, -y), fwy + vec3(-z, 0.0, x), fwz + vec3(y, -x, 0.0)
        tux, tuy, tuz = tux + vec3(0.0, -z, y), tuy + vec3(z, 0.0, -x), tuz + vec3(-y, x, 0.0)
        twx, twy, twz = twx + vec3(drag_second, 0.0, 0.0), twy + vec3(0.0, drag_second, 0.0), twz + vec3(0.0, 0.0, drag_second)
        for c in range(count):
            column = columns + ContactColumn.SIZE * c
            i = ti.cast(m.work[column + ContactColumn.dof], ti.i32)
            turn, slide = load(m.work, column + ContactColumn.angular), load(m.work, column + ContactColumn.linear)
            m.work[residual + i] = m.work[residual + i] + slide.dot(force) + turn.dot(torque)
            if stage != SEARCH:
                by_u = h * (times_rows(slide, fux, fuy, fuz) + times_rows(turn, tux, tuy, tuz))
                by_w = h * (times_rows(slide, fwx, fwy, fwz) + times_rows(turn, twx, twy, twz))
                for other in range(count):
                    place = columns + ContactColumn.SIZE * other
                    entry = at.matrix + i * dofs + ti.cast(m.work[place + ContactColumn.dof], ti.i32)
                    m.tape[entry] = m.tape[entry] + (
                        by_u.dot(load(m.work, place + ContactColumn.linear)) + by_w.dot(load(m.work, place + ContactColumn.angular))
                    )

    @ti.func
    def move(m: ti.template(), at: ti.template(), step, share):
        """The acceleration by a share of the step."""
        for k in range(m.integers[Header.dofs]):
            m.tape[at.a + k] = m.tape[at.a + k] + share * m.work[step + k]

    @ti.func
    def solve(m: ti.template(), at: ti.template()):
        """From b in ``at.vector`` and A, of which the lower triangle counts, in the tape: the acceleration and the factor of the
        matrix -dr/da are left in the tape. Returns -1, or the first row that is not positive definite."""
        h, dofs = m.reals[SceneConstants.dt], m.integers[Header.dofs]
        force, residual, step, begins, smooth = parts(m, at)
        nonlinear = 0
        for pair in range(m.integers[Header.pairs]):
            if m.work[at.work + m.integers[Header.pair_work] + PairWork.SIZE * pair + PairWork.contacts] > 0.0:
                nonlinear = 1
        for k in range(dofs):
            link = m.integers[rows.dof_indices(m, k) + DofIndices.link]
            if m.inputs[rows.link_inputs(m, at, link) + LinkInputs.friction_loss] > 0.0:
                nonlinear = 1
            for other in range(k):
                m.tape[at.matrix + other * dofs + k] = m.tape[at.matrix + k * dofs + other]
        wrong = -1
        if nonlinear == 0:
            wrong = linear.factorise(m.tape, at.matrix, dofs, m.work, begins)
            linear.solve(m.tape, at.matrix, dofs, m.work, begins, m.work, at.vector)
            for k in range(dofs):
                m.tape[at.a + k] = m.work[at.vector + k]
        else:
            linear.find_rows(m.tape, at.matrix, dofs, m.work, begins)
            for n in range(dofs * dofs):
                m.work[smooth + n] = m.tape[at.matrix + n]
            for k in range(dofs):
                m.work[force + k] = m.work[at.vector + k]
                m.tape[at.a + k] = 0.0
            stage, evaluations, searches = FULL, 0, 0
            best, first = ti.cast(-1.0, real), ti.cast(0.0, real)
            share, low, high = ti.cast(1.0, real), ti.cast(0.0, real), ti.cast(-1.0, real)
            while stage != DONE:
                evaluate(m, at, stage)
                evaluations += 1
                if stage == SEARCH:
                    along = ti.cast(0.0, real)
                    for k in range(dofs):
                        along = along + m.work[step + k] * m.work[residual + k]
                    searches += 1
                    if ti.abs(along) <= FLAT * first or searches >= SEARCHES or (along > 0.0 and high < 0.0):
                        stage, best = FULL, ti.cast(-1.0, real)
                    else:
                        if along > 0.0:
                            low = share
                        else:
                            high = share
                        new_share = 0.5 * (low + high)
                        move(m, at, step, new_share - share)
                        share = new_share
                else:
                    square = ti.cast(0.0, real)
                    for k in range(dofs):
                        square = square + m.work[residual + k] * m.work[residual + k] / m.work[smooth + k * dofs + k]
                    if stage == FULL and best >= 0.0 and not square <= DESCENT * best:
                        move(m, at, step, ti.cast(-1.0, real))
                        stage = HELD
                    else:
                        row = linear.factorise(m.tape, at.matrix, dofs, m.work, begins)
                        if stage == FULL and row >= 0 and evaluations < EVALUATIONS:
                            stage = HELD
                        else:
                            if stage == HELD:
                                wrong = ti.max(wrong, row)
                            for k in range(dofs):
                                m.work[step + k] = m.work[residual + k]
                            linear.solve(m.tape, at.matrix, dofs, m.work, begins, m.work, step)
                            size, along = ti.cast(0.0, real), ti.cast(0.0, real)
                            reference = ti.cast(0.0, real)
                            for k in range(dofs):
                                diagonal, new = m.work[smooth + k * dofs + k], m.tape[at.v + k] + h * m.tape[at.a + k]
                                size = size + diagonal * h * h * m.work[step + k] * m.work[step + k]
                                reference = reference + diagonal * (new * new + m.tape[at.v + k] * m.tape[at.v + k])
                                along = along + m.work[step + k] * m.work[residual + k]
                                reference = reference + h * h * m.work[force + k] * m.work[force + k] / diagonal
                            move(m, at, step, ti.cast(1.0, real))
                            best = square
                            if wrong >= 0 or not size > ti.static(small) * reference or evaluations >= EVALUATIONS:
                                stage = DONE
                            elif stage == HELD:
                                stage, searches, first = SEARCH, 0, along
                                share, low, high = ti.cast(1.0, real), ti.cast(0.0, real), ti.cast(-1.0, real)
        return wrong

    @ti.func
    def dry_friction_adjoint(m: ti.template(), at: ti.template()):
        """Adjoint of the power of the joints' dry friction under the virtual velocity, at constant a."""
        h, eps = m.reals[SceneConstants.dt], m.reals[SceneConstants.slip_speed]
        for k in range(m.integers[Header.dofs]):
            link = m.integers[rows.dof_indices(m, k) + DofIndices.link]
            place = rows.link_inputs(m, at, link) + LinkInputs.friction_loss
            loss, lam = m.inputs[place], m.work[at.vector + k]
            v = m.tape[at.v + k] + h * m.tape[at.a + k]
            g = 1.0 / ti.sqrt(v * v + eps * eps)
            m.inputs_bar[place] = m.inputs_bar[place] - v * g * lam
            m.work[at.v_bar + k] = m.work[at.v_bar + k] - loss * eps * eps * g * g * g * lam

    return SimpleNamespace(solve=solve, dry_friction_adjoint=dry_friction_adjoint)
