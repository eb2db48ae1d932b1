"""The acceleration of a substep with contact and dry friction, which depend on the new velocities, by Newton's method.

The equation of a substep (docs/rigid.md) is

    r(a) = b - A a + J^T F(J (v + h a)) - loss w(v + h a) = 0,      w(v) = v / sqrt(v^2 + eps^2)

with A and b of everything that is linear in the new velocities. A contact's force on the geometry that has the points is, with
the new relative velocity u, nu = n.u, u_t = u - nu n and W = sqrt(u_t^2 + eps^2),

    F = N(nu) n - mu B u_t / W,        B: the bound of friction, N(nu) or the force at the old velocity

Newton's method on r alone hardly converges where bodies begin or cease to slide: eps is small, and u_t / W is all but a
step. So the direction w = u_t / W is an unknown of its own, with the equation W w = u_t linearised beside r (the primal-dual
method of Chan, Golub and Mulet 1999 for total variation). Given u_t and w, its slope is (1 - w u_t^T / W) / W, and after a
step du

    w+ = u_t / W + (du - w (u_t . du) / W) / W,        shortened to length 1 if longer

The derivative of r is not symmetric where B is N(nu). The last factor, found with w = u_t / W, is kept: the adjoint solves with
its transpose (implicit function theorem). Dry friction of joints is the same in one dimension.

The residual alone costs a third of an evaluation with slopes and factors. So a substep begins with corrections by the factors
of the one before (the chord method), as long as the same points press, the first step is small, and each step is a small share
of the one before; else, and in the first substep of a control step, Newton's method starts anew. It ends with corrections, too,
by factors of its own: if their steps grow, it finds others.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rigid.kernels.lu import lu_stage
from diffsim.rigid.kernels.rigid_memory import model_rows
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import (
    ContactColumn,
    Header,
    PairWork,
    PointWork,
    SceneConstants,
    Status,
)

# evaluations: w is that of the velocity, follows from the step, is that of the velocity; and of the residual alone, with the
# factors found before
FIRST, ANOTHER, LAST, CORRECTION = range(4)
EVALUATIONS = 60  # at most
FULL_STEPS = 12  # after these, two of three steps are halved: cycles end so
# squares of what the factors of the substep before are good for: a step against the velocities, and against the step before it
OLD_STEP, CONTRACTION = 2.0**-16, 2.0**-10


def newton_stage(real) -> SimpleNamespace:
    """``solve`` and ``dry_friction_adjoint``; and ``pair_motion``, for those that read the forces."""
    vf, rows, linear = vector_functions(real), model_rows(), lu_stage(real)
    vec3, load = vf.vec3, vf.load
    # squares of relative sizes: of a step that changes nothing, and of an error that is small enough
    tiny, enough = (2.0**-84, 2.0**-80) if real == ti.f64 else (2.0**-42, 2.0**-38)
    loose = 2.0**-40 if real == ti.f64 else 2.0**-22  # of an error that is reported

    @ti.func
    def parts(m: ti.template(), at: ti.template()):
        """Where in work the right-hand side and the residual stand, of which the step is made (then the directions and rates of
        the dofs' dry friction, and the set of points that press), and the matrix A."""
        force = at.work + m.integers[Header.newton]
        return force, force + m.integers[Header.unknowns], rows.smooth_matrix(m, at)

    @ti.func
    def times_rows(a, x, y, z):
        return a[0] * x + a[1] * y + a[2] * z

    @ti.func
    def pair_motion(m: ti.template(), at: ti.template(), pair_work, columns, of_step: ti.template()):
        """New relative velocity of a pair at the centre, and the angular one; or, ``of_step``, their changes by the step."""
        h, step = m.reals[SceneConstants.dt], at.work + m.integers[Header.newton] + m.integers[Header.unknowns]
        u, omega = vec3(0.0, 0.0, 0.0), vec3(0.0, 0.0, 0.0)
        if ti.static(not of_step):
            u, omega = load(m.work, pair_work + PairWork.velocity), load(m.work, pair_work + PairWork.angular_velocity)
        for c in range(ti.cast(m.work[pair_work + PairWork.columns], ti.i32)):
            column = columns + ContactColumn.SIZE * c
            k = ti.cast(m.work[column + ContactColumn.dof], ti.i32)
            rate = ti.cast(0.0, real)
            if ti.static(of_step):
                rate = h * m.work[step + k]
            else:
                rate = m.tape[at.v + k] + h * m.tape[at.a + k]
            u = u + rate * load(m.work, column + ContactColumn.linear)
            omega = omega + rate * load(m.work, column + ContactColumn.angular)
        return u, omega

    @ti.func
    def dual(w, old, new, share, eps):
        """The direction after a share of a step that brought the slip from ``old`` to ``new``."""
        W = ti.sqrt(old.dot(old) + eps * eps)
        du = (new - old) / share
        target = (old + du - w * (old.dot(du) / W)) / W
        moved = w + share * (target - w)
        return moved / ti.max(ti.sqrt(moved.dot(moved)), ti.cast(1.0, real))

    @ti.func
    def evaluate(m: ti.template(), at: ti.template(), which, share, rubs, matrix):
        """The residual at the acceleration in the tape, where a ``share`` of the last step led, and the matrix -dr/da in the
        tape at ``matrix``; a CORRECTION leaves the factors there. ``rubs``: 1 if any dof has dry friction. Returns a number
        that tells one set of points that press from another."""
        h, eps = m.reals[SceneConstants.dt], m.reals[SceneConstants.slip_speed]
        dofs, size = m.integers[Header.dofs], m.integers[Header.unknowns]
        force_at, residual, smooth = parts(m, at)
        for i in range(size):
            begin = linear.row_begin(m.work, smooth, size, i)
            a_i, total = m.tape[at.a + i], m.work[smooth + i * size + i] * m.tape[at.a + i]
            for j in range(begin, i):
                total = total + m.work[smooth + i * size + j] * m.tape[at.a + j]
                m.work[residual + j] = m.work[residual + j] - m.work[smooth + j * size + i] * a_i
            m.work[residual + i] = m.work[force_at + i] - total
        if which != CORRECTION:
            for n in range(size * (size + 1)):
                m.tape[matrix + n] = m.work[smooth + n]
        for k in range(dofs * rubs):
            loss = m.inputs[rows.dry_friction(m, at, k)]
            if loss > 0.0:
                v = m.tape[at.v + k] + h * m.tape[at.a + k]
                W = ti.sqrt(v * v + eps * eps)
                place = residual + size + k
                w = v / W
                m.work[residual + k] = m.work[residual + k] - loss * w
                if which != CORRECTION:
                    if which == ANOTHER:
                        old = m.work[place + size]
                        ahead = dual(vec3(m.work[place], 0.0, 0.0), vec3(old, 0.0, 0.0), vec3(v, 0.0, 0.0), share, eps)
                        w = ahead[0]
                    m.work[place], m.work[place + size] = w, v
                    diagonal = matrix + k * size + k
                    m.tape[diagonal] = m.tape[diagonal] + h * loss * (1.0 - w * v / W) / W
        pressing = 0
        for pair in range(m.integers[Header.pairs]):
            pair_work, columns, points = rows.pair_places(m, at, pair)
            if m.work[pair_work + PairWork.contacts] > 0.0:
                pressing += evaluate_pair(m, at, pair_work, columns, points, which, share, matrix)
        return pressing

    @ti.func
    def evaluate_pair(m: ti.template(), at: ti.template(), pair_work, columns, points, which, share, matrix):
        """A pair's forces and their slopes are summed about the centre of the geometry that has the points before they are
        seen by the joints. Returns the sum of where in work the points stand that press."""
        h, eps = m.reals[SceneConstants.dt], m.reals[SceneConstants.slip_speed]
        size = m.integers[Header.unknowns]
        zero, none = vec3(0.0, 0.0, 0.0), ti.cast(0.0, real)
        residual = at.work + m.integers[Header.newton] + size
        count = ti.cast(m.work[pair_work + PairWork.columns], ti.i32)
        mu = m.work[pair_work + PairWork.friction]
        u_center, omega = pair_motion(m, at, pair_work, columns, False)
        force, torque, pressing = zero, zero, 0
        # slopes of force (f) and torque (t) by the velocity at the centre (u) and the angular velocity (w), by rows
        fux, fuy, fuz, fwx, fwy, fwz = zero, zero, zero, zero, zero, zero
        tux, tuy, tuz, twx, twy, twz = zero, zero, zero, zero, zero, zero
        for n in range(ti.cast(m.work[pair_work + PairWork.contacts], ti.i32)):
            contact = points + PointWork.SIZE * n
            r, normal = load(m.work, contact + PointWork.arm), load(m.work, contact + PointWork.normal)
            slope, bound = m.work[contact + PointWork.slope], m.work[contact + PointWork.bound]
            u = u_center + omega.cross(r)
            nu = normal.dot(u)
            N, coupling = m.work[contact + PointWork.base] - slope * nu, none
            if which != CORRECTION:
                m.work[contact + PointWork.force] = N
            if bound < 0.0:
                if N <= 0.0:
                    N, slope = none, none
                bound, coupling = N, slope
            slip = u - nu * normal
            W = ti.sqrt(slip.dot(slip) + eps * eps)
            drag = mu * bound / W
            f = N * normal - drag * slip
            force, torque = force + f, torque + r.cross(f)
            w = slip
            if which != CORRECTION:
                w = slip / W
                if which == ANOTHER:
                    before = load(m.work, contact + PointWork.slip)
                    w = dual(load(m.work, contact + PointWork.direction), before, slip, share, eps)
                vf.store(m.work, contact + PointWork.slip, slip)
                vf.store(m.work, contact + PointWork.direction, w)
            if N != 0.0 or bound != 0.0:
                pressing += contact - at.work
            if which != CORRECTION and (N != 0.0 or bound != 0.0):
                # -df/du = drag 1 + left n^T - (drag / W) w slip^T, whose rows see omega x r as the rows r x (...)
                left = (slope - drag) * normal - (mu * coupling) * w
                along = (-drag / W) * w
                x = left[0] * normal + along[0] * slip + vec3(drag, 0.0, 0.0)
                y = left[1] * normal + along[1] * slip + vec3(0.0, drag, 0.0)
                z = left[2] * normal + along[2] * slip + vec3(0.0, 0.0, drag)
                turn_x, turn_y, turn_z = r.cross(x), r.cross(y), r.cross(z)
                fux, fuy, fuz = fux + x, fuy + y, fuz + z
                fwx, fwy, fwz = fwx + turn_x, fwy + turn_y, fwz + turn_z
                tux, tuy, tuz = tux + (r[1] * z - r[2] * y), tuy + (r[2] * x - r[0] * z), tuz + (r[0] * y - r[1] * x)
                twx, twy = twx + (r[1] * turn_z - r[2] * turn_y), twy + (r[2] * turn_x - r[0] * turn_z)
                twz = twz + (r[0] * turn_y - r[1] * turn_x)
        first = ti.cast(m.work[columns + ContactColumn.SIZE * (count - 1) + ContactColumn.dof], ti.i32)
        for c in range(count):
            column = columns + ContactColumn.SIZE * c
            i = ti.cast(m.work[column + ContactColumn.dof], ti.i32)
            turn, slide = load(m.work, column + ContactColumn.angular), load(m.work, column + ContactColumn.linear)
            m.work[residual + i] = m.work[residual + i] + (slide * force + turn * torque).sum()
            if which != CORRECTION and pressing > 0:
                linear.begin_row(m.tape, matrix, size, i, first)
                by_u = h * (times_rows(slide, fux, fuy, fuz) + times_rows(turn, tux, tuy, tuz))
                by_w = h * (times_rows(slide, fwx, fwy, fwz) + times_rows(turn, twx, twy, twz))
                for other in range(count):
                    place = columns + ContactColumn.SIZE * other
                    entry = matrix + i * size + ti.cast(m.work[place + ContactColumn.dof], ti.i32)
                    along = by_u * load(m.work, place + ContactColumn.linear) + by_w * load(
                        m.work, place + ContactColumn.angular
                    )
                    m.tape[entry] = m.tape[entry] + along.sum()
        return pressing

    @ti.func
    def bend(m: ti.template(), at: ti.template(), rubs):
        """How far from linear r is over the step: the square of the largest change of a slip against its length W and of
        a force that bounds friction, with how far w is ahead of the slip; and 1 where contacts open or close. After the step
        that share of it is left as error."""
        h, eps = m.reals[SceneConstants.dt], m.reals[SceneConstants.slip_speed]
        dofs, size = m.integers[Header.dofs], m.integers[Header.unknowns]
        step = at.work + m.integers[Header.newton] + size
        largest = ti.cast(0.0, real)
        for k in range(dofs * rubs):
            if m.inputs[rows.dry_friction(m, at, k)] > 0.0:
                rate, change = m.work[step + 2 * size + k], h * m.work[step + k]
                W = ti.sqrt(rate * rate + eps * eps)
                ahead = m.work[step + size + k] - rate / W
                largest = ti.max(largest, change * change / (W * W) + ahead * ahead)
        for pair in range(m.integers[Header.pairs]):
            pair_work, columns, point = rows.pair_places(m, at, pair)
            contacts = ti.cast(m.work[pair_work + PairWork.contacts], ti.i32)
            if contacts > 0:
                du_center, turn = pair_motion(m, at, pair_work, columns, True)
                for _n in range(contacts):
                    du = du_center + turn.cross(load(m.work, point + PointWork.arm))
                    along = du.dot(load(m.work, point + PointWork.normal))
                    slip, N = load(m.work, point + PointWork.slip), m.work[point + PointWork.force]
                    W = ti.sqrt(slip.dot(slip) + eps * eps)
                    ahead = load(m.work, point + PointWork.direction) - slip / W  # of w, in the matrix
                    change = ti.max(du.dot(du) - along * along, ti.cast(0.0, real)) / (W * W) + ahead.dot(ahead)
                    if m.work[point + PointWork.bound] < 0.0:
                        fall = m.work[point + PointWork.slope] * along
                        if (N > 0.0) != (N - fall > 0.0):
                            largest = ti.cast(1.0, real)
                        change = change + fall * fall / (N * N + ti.static(2.0**-100))
                        if N <= 0.0:
                            change = ti.cast(0.0, real)
                    largest = ti.max(largest, change)
                    point += PointWork.SIZE
        return largest

    @ti.func
    def nonlinearity(m: ti.template(), at: ti.template()):
        """1 if any points can be in contact; 1 if any dof has dry friction."""
        touches, rubs = 0, 0
        for pair in range(m.integers[Header.pairs]):
            pair_work, _columns, _points = rows.pair_places(m, at, pair)
            if m.work[pair_work + PairWork.contacts] > 0.0:
                touches = 1
        for k in range(m.integers[Header.dofs]):
            if m.inputs[rows.dry_friction(m, at, k)] > 0.0:
                rubs = 1
        return touches, rubs

    @ti.func
    def mirror(m: ti.template(), at: ti.template()):
        """A as a whole. Returns -1, or the first row whose diagonal is not positive."""
        size, smooth, wrong = m.integers[Header.unknowns], rows.smooth_matrix(m, at), -1
        for k in range(size):
            for other in range(linear.row_begin(m.work, smooth, size, k), k):
                upper = smooth + other * size + k
                m.work[upper] = m.work[upper] + m.work[smooth + k * size + other]
            if not m.work[smooth + k * size + k] > 0.0 and wrong < 0:
                wrong = k
        return wrong

    @ti.func
    def keep_factors(m: ti.template(), at: ti.template(), size):
        """Copy those for corrections to their place in the row, if they have one of their own."""
        if at.chord != at.matrix:
            for n in range(size * (size + 1)):
                m.tape[at.matrix + n] = m.tape[at.chord + n]

    @ti.func
    def solve(m: ti.template(), at: ti.template()):
        """From b in ``at.vector`` and A in work: its lower triangle and, above the diagonal, by how much the entry exceeds its
        mirror image. The acceleration is left in the tape, and the last factors found of the matrix -dr/da, for the next
        substep's corrections; if those have a place of their own, also the factors where the acceleration ended. Returns -1, or
        the first row that is not positive definite."""
        h, dofs, size = m.reals[SceneConstants.dt], m.integers[Header.dofs], m.integers[Header.unknowns]
        force, step, smooth = parts(m, at)
        touches, rubs = nonlinearity(m, at)
        linear.find_rows(m.work, smooth, size)
        wrong, set_at = -1, force + 4 * size  # the points that press where the factors are found
        if touches + rubs == 0:
            wrong = linear.factorise(m.work, smooth, True, m.tape, at.chord, size)
            linear.solve(m.tape, at.chord, size, m.work, at.vector, False)
            for k in range(size):
                m.tape[at.a + k] = m.work[at.vector + k]
            m.work[set_at] = 0.0
            keep_factors(m, at, size)
        else:
            wrong = mirror(m, at)
            # the substep before stands where it was kept; its acceleration is the first guess, its factors may still do
            which, before, factors = FIRST, at.new - at.start, at.chord
            if at.substep > 0:
                which = CORRECTION
            given = ti.cast(0.0, real)  # of the reference: that of the forces and the old velocities
            for k in range(dofs):
                diagonal, f, v = m.work[smooth + k * size + k], m.work[at.vector + k], m.tape[at.v + k]
                given = given + (diagonal * v * v + h * h * f * f / diagonal)
            for k in range(size):
                guess = ti.cast(0.0, real)
                if at.substep > 0:
                    guess = m.tape[at.a + k - before]
                m.tape[at.a + k], m.work[force + k] = guess, m.work[at.vector + k]
            evaluations, old, share, bent = 0, at.substep > 0, ti.cast(1.0, real), ti.cast(1.0, real)
            limit = ti.cast(ti.static(OLD_STEP), real)  # of the step that the old factors may make
            moved_before = ti.cast(0.0, real)
            while evaluations < EVALUATIONS:
                if which == LAST:
                    factors = at.matrix
                pressing = ti.cast(evaluate(m, at, which, share, rubs, factors), real)
                evaluations += 1
                if which != CORRECTION:
                    _row = linear.factorise(m.tape, factors, False, m.tape, factors, size)
                    if which != LAST:
                        m.work[set_at] = pressing
                linear.solve(m.tape, factors, size, m.work, step, False)
                share = ti.cast(1.0, real)
                if which == ANOTHER and evaluations > FULL_STEPS and evaluations % 3 != 0:
                    share = ti.cast(0.5, real)
                moved, reference = ti.cast(0.0, real), given
                for k in range(dofs):
                    diagonal, change = m.work[smooth + k * size + k], m.work[step + k]
                    new = m.tape[at.v + k] + h * m.tape[at.a + k]
                    moved, reference = moved + diagonal * h * h * change * change, reference + diagonal * new * new
                if old and (moved > limit * reference or pressing != m.work[set_at]):
                    which, old = FIRST, False
                else:
                    if which == LAST:  # for the factors alone: with or without them, the acceleration is the same
                        evaluations = EVALUATIONS
                    else:
                        for k in range(size):
                            m.tape[at.a + k] = m.tape[at.a + k] + share * m.work[step + k]
                        # the error that the step leaves, of which corrections with the same factors leave the same share
                        exact = which != CORRECTION and not moved > ti.static(tiny) * reference
                        if old:
                            limit = ti.static(CONTRACTION) * moved / reference
                        elif which != CORRECTION:
                            bent = ti.cast(1.0, real)
                            if share == 1.0 and not exact:
                                bent = bend(m, at, rubs)
                        left = moved * bent
                        if evaluations == EVALUATIONS - 1 and left > ti.static(loose) * reference:
                            status = at.environment * Status.SIZE
                            m.status[status + Status.unsolved] = m.status[status + Status.unsolved] + 1
                            m.status[status + Status.unsolved_step] = at.step
                        if left > ti.static(enough) * reference and evaluations < EVALUATIONS - 1 and not exact:
                            if not old:
                                grows = which == CORRECTION and moved > moved_before  # these factors lead away
                                if left * bent * bent <= ti.static(enough) * reference and not grows:
                                    which = CORRECTION
                                elif which == CORRECTION:
                                    which = FIRST
                                else:
                                    which = ANOTHER
                        elif exact or at.chord == at.matrix:  # nobody asks for other factors
                            keep_factors(m, at, size)
                            evaluations = EVALUATIONS
                        else:
                            which, old = LAST, False
                        moved_before = moved
        return wrong

    @ti.func
    def dry_friction_adjoint(m: ti.template(), at: ti.template()):
        """Adjoint of the power of the joints' dry friction under the virtual velocity, at constant a."""
        h, eps = m.reals[SceneConstants.dt], m.reals[SceneConstants.slip_speed]
        for k in range(m.integers[Header.dofs]):
            place = rows.dry_friction(m, at, k)
            loss, lam = m.inputs[place], m.work[at.vector + k]
            v = m.tape[at.v + k] + h * m.tape[at.a + k]
            g = 1.0 / ti.sqrt(v * v + eps * eps)
            m.inputs_bar[place] = m.inputs_bar[place] - v * g * lam
            m.work[at.v_bar + k] = m.work[at.v_bar + k] - loss * eps * eps * g * g * g * lam

    return SimpleNamespace(solve=solve, dry_friction_adjoint=dry_friction_adjoint, pair_motion=pair_motion)
