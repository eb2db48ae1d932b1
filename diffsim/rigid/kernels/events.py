"""Event mode: the impacts of a substep in their order, each at its exact time; forward beside adjoint.

An event's time t is where the gap along the bodies' ways closes, phi(q(t)) = 0. It depends on all that the ways depend on, so
dt = -dphi / phi', with phi' the rate of the gap along the ways and dphi its change at a fixed time. In the adjoint, the time's
own adjoint t_bar is thus passed on as phi_bar = -t_bar / phi'.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rigid.kernels.flight import flight_stage
from diffsim.rigid.kernels.impact import impact_law
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import (
    BALL,
    COORDINATES,
    DOFS,
    EVENT,
    EVENT_LINKS,
    EVENT_PAIR,
    EVENT_POINT,
    EVENT_SPEED,
    EVENT_STATE,
    EVENT_STATES,
    EVENT_TIME,
    EVENT_TIME_BAR,
    FREE,
    GEOMETRY_AT,
    GEOMETRY_INPUTS,
    GEOMETRY_INTS,
    GEOMETRY_REALS,
    I_GEOMETRY_AT,
    I_LINK_AT,
    LINK_AT,
    LINK_INPUTS,
    LINK_INTS,
    LINKS,
    MAX_EVENTS,
    PAIR_AT,
    PAIR_INTS,
    PAIRS,
    PLANE,
    POINT_REALS,
    R_GEOMETRY_AT,
    R_POINT_AT,
    SMOOTHING,
    H,
)  # fmt: skip


def event_stage(real, contact) -> SimpleNamespace:
    """``integrate`` and ``integrate_adjoint``: from q, v and a to q and v after the substep."""
    vf = vector_functions(real)
    flight, law = flight_stage(real), impact_law(real)
    vec3, load, store, add = vf.vec3, vf.load, vf.store, vf.add
    rounds = 30 if real == ti.f64 else 16  # of root finding
    close = 2.0**-52 if real == ti.f64 else 2.0**-23  # a root is as exact, as a share of h
    on_surface = 2.0**-10  # points so near, in smoothing lengths, are on the surface

    @ti.func
    def meeting(integers: ti.template(), pair):
        """Geometries of a pair and their links."""
        at = integers[PAIR_AT] + PAIR_INTS * pair
        a, b = integers[at], integers[at + 1]
        geometries = integers[GEOMETRY_AT]
        return a, b, integers[geometries + GEOMETRY_INTS * a], integers[geometries + GEOMETRY_INTS * b]

    @ti.func
    def touch(
        integers: ti.template(), reals: ti.template(), grids: ti.template(), a, b, point, scale_a, scale_b,
        rot_a, p_a, rot_b, p_b, second: ti.template(),
    ):  # fmt: skip
        """Of a point of geometry a: its distance to b with gradient and Hessian in b's frame, where it is there, from link a's
        origin and from that of geometry a, and the rotation of b's frame."""
        own_a, own_b = integers[R_GEOMETRY_AT] + GEOMETRY_REALS * a, integers[R_GEOMETRY_AT] + GEOMETRY_REALS * b
        from_center = rot_a @ load(reals, integers[R_POINT_AT] + POINT_REALS * point)
        arm = rot_a @ load(reals, own_a) + scale_a * from_center
        frame_b = rot_b @ vf.load_matrix(reals, own_b + 3)
        y = frame_b.transpose() @ (p_a + arm - p_b - rot_b @ load(reals, own_b))
        sdf, g, hessian = contact.distance(integers, reals, grids, b, scale_b, y, second)
        return sdf, g, hessian, y, arm, from_center, frame_b

    @ti.func
    def reachable(
        integers: ti.template(), reals: ti.template(), tape: ti.template(), now, a, b, link_a, link_b, scale_a, scale_b,
        rot_a, p_a, v_a, omega_a, more_a, more_spin_a, rot_b, p_b, v_b, omega_b, more_b, more_spin_b, left,
    ):  # fmt: skip
        """Whether bounding spheres can meet in the time left."""
        own_a, own_b = integers[R_GEOMETRY_AT] + GEOMETRY_REALS * a, integers[R_GEOMETRY_AT] + GEOMETRY_REALS * b
        offset = rot_a @ load(reals, own_a)
        bound = scale_a * reals[own_a + 17]
        center = p_a + offset - p_b
        frame_b = rot_b @ vf.load_matrix(reals, own_b + 3)
        y = frame_b.transpose() @ (center - rot_b @ load(reals, own_b))
        away = y[2]
        if integers[integers[GEOMETRY_AT] + GEOMETRY_INTS * b + 1] != PLANE:
            away = ti.sqrt(y.dot(y)) - scale_b * reals[own_b + 17]
        way = length(v_a + more_a) + length(v_b + more_b)
        lever_a, lever_b = length(offset) + bound, length(center) + bound
        way += length(omega_a + more_spin_a) * lever_a + length(omega_b + more_spin_b) * lever_b
        a_at = now + integers[COORDINATES] + integers[DOFS]
        row_a, row_b = integers[LINK_AT] + LINK_INTS * link_a, integers[LINK_AT] + LINK_INTS * link_b
        faster = ti.cast(0.0, real)
        if integers[row_a + 1] == FREE:
            at = a_at + integers[row_a + 3]
            faster += length(load(tape, at)) + length(load(tape, at + 3)) * lever_a
        if integers[row_b + 1] == FREE:
            at = a_at + integers[row_b + 3]
            faster += length(load(tape, at)) + length(load(tape, at + 3)) * lever_b
        return away - bound < left * (way + 0.5 * left * faster)

    @ti.func
    def length(x):
        return ti.sqrt(x.dot(x))

    @ti.func
    def find(
        integers: ti.template(), reals: ti.template(), grids: ti.template(), inputs: ti.template(), inputs_at,
        tape: ti.template(), now, events_at, count, clock,
    ):  # fmt: skip
        """Whether there is an event after those before ``clock``: record number ``count`` is told its time, pair and point."""
        h, slow, near = reals[H], -reals[EVENT_SPEED], ti.static(on_surface) * reals[SMOOTHING]
        first, first_pair, first_point = h, -1, 0
        for pair in range(integers[PAIRS]):
            if integers[integers[PAIR_AT] + PAIR_INTS * pair + 2] == 1:
                a, b, link_a, link_b = meeting(integers, pair)
                section = inputs_at + integers[I_GEOMETRY_AT]
                scale_a, scale_b = inputs[section + GEOMETRY_INPUTS * a + 3], inputs[section + GEOMETRY_INPUTS * b + 3]
                radius = scale_a * reals[integers[R_GEOMETRY_AT] + GEOMETRY_REALS * a + 16]
                qa_at, va_at, since_a, _last_a = flight.start(integers, tape, now, events_at, count, link_a)
                qb_at, vb_at, since_b, _last_b = flight.start(integers, tape, now, events_at, count, link_b)
                point, end = -1, contact.last_point(integers, a, b)
                begin = integers[integers[GEOMETRY_AT] + GEOMETRY_INTS * a + 2]
                # one loop over the points and the times at which they are looked at, so that the distance is compiled once
                t, low, high = clock, clock, h
                f_low = ti.cast(0.0, real)
                stage, round_ = -1, 0  # -1: bounding spheres, 0: at the clock, 1: at the end, 2: root finding
                while point < end:
                    rot_a, p_a, v_a, omega_a, more_a, more_spin_a = flight.body(
                        integers, reals, inputs, inputs_at, tape, now, link_a, qa_at, va_at, t - since_a
                    )
                    rot_b, p_b, v_b, omega_b, more_b, more_spin_b = flight.body(
                        integers, reals, inputs, inputs_at, tape, now, link_b, qb_at, vb_at, t - since_b
                    )
                    done, found = 0, 0
                    if stage == -1:
                        point = begin
                        stage = 0
                        if not reachable(
                            integers, reals, tape, now, a, b, link_a, link_b, scale_a, scale_b, rot_a, p_a, v_a, omega_a,
                            more_a, more_spin_a, rot_b, p_b, v_b, omega_b, more_b, more_spin_b, h - clock,
                        ):  # fmt: skip
                            point = end
                    else:
                        sdf, g, _hessian, _y, arm, _from_center, frame_b = touch(
                            integers, reals, grids, a, b, point, scale_a, scale_b, rot_a, p_a, rot_b, p_b, False
                        )
                        phi = sdf - radius
                        slope = frame_b @ g
                        n = slope / length(slope)
                        arm_a = arm - radius * n
                        arm_b = p_a + arm_a - p_b
                        rate = n.dot(v_a + omega_a.cross(arm_a) - v_b - omega_b.cross(arm_b))
                        if stage == 0:
                            if phi < -near or (phi <= near and rate >= slow):
                                done = 1  # inside, or leaving the surface or too slow on it
                            elif phi <= 0.0:
                                found = 1
                            else:
                                stage, f_low = 1, phi
                                low, high = clock, first
                                t = first
                        elif stage == 1:
                            if phi >= 0.0:
                                done = 1
                            else:
                                stage, round_ = 2, 0
                                t = low + (high - low) * (f_low / (f_low - phi))
                        else:
                            # Newton's step if it stays within the bracket, else halve that
                            if phi >= 0.0:
                                low = t
                            else:
                                high = t
                            along = slope.dot(
                                v_a + more_a + (omega_a + more_spin_a).cross(arm) - v_b - more_b
                                - (omega_b + more_spin_b).cross(p_a + arm - p_b)
                            )  # fmt: skip
                            better = 0.5 * (low + high)
                            if along < 0.0:
                                newton = t - phi / along
                                if newton >= low and newton <= high:
                                    better = newton
                            round_ += 1
                            if ti.abs(better - t) <= ti.static(close) * h or round_ >= ti.static(rounds):
                                found = 1
                            t = better
                        if found == 1:
                            done = 1
                            if rate < slow and (t < first or first_pair < 0):
                                first, first_pair, first_point = t, pair, point
                        if done == 1:
                            point += 1
                            stage, t = 0, clock
        record = events_at + 1 + EVENT * count
        tape[record + EVENT_PAIR], tape[record + EVENT_POINT] = ti.cast(first_pair, real), ti.cast(first_point, real)
        tape[record + EVENT_TIME] = first
        return ti.cast(first_pair >= 0, ti.i32)

    @ti.func
    def strike(
        integers: ti.template(), reals: ti.template(), grids: ti.template(), inputs: ti.template(), inputs_at,
        tape: ti.template(), now, events_at, count,
    ):  # fmt: skip
        """Record number ``count`` is told both links' states just after the impact."""
        record = events_at + 1 + EVENT * count
        pair, point = ti.cast(tape[record + EVENT_PAIR], ti.i32), ti.cast(tape[record + EVENT_POINT], ti.i32)
        t = tape[record + EVENT_TIME]
        a, b, link_a, link_b = meeting(integers, pair)
        section = inputs_at + integers[I_GEOMETRY_AT]
        in_a, in_b = section + GEOMETRY_INPUTS * a, section + GEOMETRY_INPUTS * b
        radius = inputs[in_a + 3] * reals[integers[R_GEOMETRY_AT] + GEOMETRY_REALS * a + 16]
        qa_at, va_at, since_a, _last_a = flight.start(integers, tape, now, events_at, count, link_a)
        qb_at, vb_at, since_b, _last_b = flight.start(integers, tape, now, events_at, count, link_b)
        rot_a, p_a, v_a, omega_a, _ma, _sa = flight.body(
            integers, reals, inputs, inputs_at, tape, now, link_a, qa_at, va_at, t - since_a
        )
        rot_b, p_b, v_b, omega_b, _mb, _sb = flight.body(
            integers, reals, inputs, inputs_at, tape, now, link_b, qb_at, vb_at, t - since_b
        )
        _sdf, g, _hessian, _y, arm, _from_center, frame_b = touch(
            integers, reals, grids, a, b, point, inputs[in_a + 3], inputs[in_b + 3], rot_a, p_a, rot_b, p_b, False
        )
        n = frame_b @ (g / length(g))
        arm_a = arm - radius * n
        arm_b = p_a + arm_a - p_b
        mu, e, _k = contact.mean_properties(inputs, in_a, in_b)
        inverse_a, M_a, rho_a = law.inertia(integers, inputs, inputs_at, link_a, rot_a)
        inverse_b, M_b, rho_b = law.inertia(integers, inputs, inputs_at, link_b, rot_b)
        u = v_a + omega_a.cross(arm_a) - v_b - omega_b.cross(arm_b)
        J, _j, _jt, _Kn, _Kt, _after, _t, _slip, _sticks = law.impulse(
            n, u, e, mu, inverse_a, M_a, arm_a - rho_a, inverse_b, M_b, arm_b - rho_b
        )
        dv_a, dw_a = law.pushed(inverse_a, M_a, rot_a, arm_a - rho_a, rho_a, J)
        dv_b, dw_b = law.pushed(inverse_b, M_b, rot_b, arm_b - rho_b, rho_b, -1.0 * J)
        record_side(integers, reals, inputs, inputs_at, tape, now, link_a, qa_at, va_at, t - since_a, dv_a, dw_a, record, 0)
        record_side(integers, reals, inputs, inputs_at, tape, now, link_b, qb_at, vb_at, t - since_b, dv_b, dw_b, record, 1)

    @ti.func
    def record_side(
        integers: ti.template(), reals: ti.template(), inputs: ti.template(), inputs_at, tape: ti.template(), now, link,
        q_at, v_at, tau, dv, dw, record, side: ti.template(),
    ):  # fmt: skip
        row = integers[LINK_AT] + LINK_INTS * link
        tape[record + EVENT_LINKS + side] = ti.cast(link, real)
        if integers[row + 1] == FREE:
            a_at = now + integers[COORDINATES] + integers[DOFS] + integers[row + 3]
            p, Q, v, w = flight.flown(reals, inputs, inputs_at, tape, q_at, v_at, a_at, tau)
            at = record + EVENT_STATES + EVENT_STATE * side
            flight.put(tape, at, at + 7, p, Q, v + dv, w + dw)

    @ti.func
    def integrate(
        integers: ti.template(), reals: ti.template(), grids: ti.template(), inputs: ti.template(), inputs_at,
        tape: ti.template(), now, new, events_at,
    ):  # fmt: skip
        """From row ``now``, which holds a, to row ``new``, which may be the same; the events stand at ``events_at``. After
        MAX_EVENTS of them the rest of the substep goes on without."""
        h = reals[H]
        coordinates, dofs = integers[COORDINATES], integers[DOFS]
        count, clock = 0, ti.cast(0.0, real)
        searching = 1
        while searching == 1:
            searching = find(integers, reals, grids, inputs, inputs_at, tape, now, events_at, count, clock)
            if searching == 1:
                strike(integers, reals, grids, inputs, inputs_at, tape, now, events_at, count)
                clock = tape[events_at + 1 + EVENT * count + EVENT_TIME]
                count += 1
                if count == MAX_EVENTS:
                    searching = 0
        tape[events_at] = ti.cast(count, real)
        for i in range(1, integers[LINKS]):
            link = integers[LINK_AT] + LINK_INTS * i
            kind, qi, k = integers[link + 1], integers[link + 2], integers[link + 3]
            v_at, a_at = now + coordinates + k, now + coordinates + dofs + k
            new_q, new_v = new + qi, new + coordinates + k
            if kind == FREE:
                from_q, from_v, since, _last = flight.start(integers, tape, now, events_at, count, i)
                p, Q, v, w = flight.flown(reals, inputs, inputs_at, tape, from_q, from_v, a_at, h - since)
                flight.put(tape, new_q, new_v, p, Q, v, w)
            elif kind == BALL:
                v = load(tape, v_at) + h * load(tape, a_at)
                Q = vf.turned(vf.load_quaternion(tape, now + qi), h * v)
                for n in ti.static(range(4)):
                    tape[new_q + n] = Q[n]
                store(tape, new_v, v)
            elif kind > 0:
                v = tape[v_at] + h * tape[a_at]
                tape[new_q] = tape[now + qi] + h * v
                tape[new_v] = v

    @ti.func
    def integrate_adjoint(
        integers: ti.template(), reals: ti.template(), grids: ti.template(), inputs: ti.template(), inputs_at,
        tape: ti.template(), now, events_at, bars: ti.template(), q_bar_at, v_bar_at, a_bar_at,
        inputs_bar: ti.template(), bar_at,
    ):  # fmt: skip
        """Adjoints of q and v after the substep to those before it, in place, as far as a is constant; that of a is set, those
        of the inputs are added to."""
        h = reals[H]
        coordinates, dofs = integers[COORDINATES], integers[DOFS]
        count = ti.cast(tape[events_at], ti.i32)
        for n in range(count):
            tape[events_at + 1 + EVENT * n + EVENT_TIME_BAR] = 0.0
        for k in range(dofs):
            bars[a_bar_at + k] = 0.0
        for i in range(1, integers[LINKS]):
            link = integers[LINK_AT] + LINK_INTS * i
            kind, qi, k = integers[link + 1], integers[link + 2], integers[link + 3]
            a_at, q_bar, v_bar = now + coordinates + dofs + k, q_bar_at + qi, v_bar_at + k
            if kind == FREE:
                from_q, from_v, since, last = flight.start(integers, tape, now, events_at, count, i)
                p_bar, velocity_bar, spin_bar = load(bars, q_bar), load(bars, v_bar), load(bars, v_bar + 3)
                Q_bar, turn_bar, tau_bar = flight.flown_adjoint(
                    reals, inputs, inputs_at, tape, from_q, from_v, a_at, h - since, p_bar,
                    vf.load_quaternion(bars, q_bar + 3), velocity_bar, spin_bar,
                )  # fmt: skip
                flight.settle(
                    reals, inputs, inputs_at, tape, a_at, bars, q_bar, v_bar, a_bar_at + k, inputs_bar, bar_at, h - since,
                    p_bar, Q_bar, velocity_bar, spin_bar, turn_bar,
                )  # fmt: skip
                if last >= 0:
                    tape[last + EVENT_TIME_BAR] = tape[last + EVENT_TIME_BAR] - tau_bar
            elif kind == BALL:
                turn = h * (load(tape, now + coordinates + k) + h * load(tape, a_at))
                Q_bar, turn_bar = vf.turned_adjoint(vf.load_quaternion(tape, now + qi), turn, vf.load_quaternion(bars, q_bar))
                for n in ti.static(range(4)):
                    bars[q_bar + n] = Q_bar[n]
                add(bars, v_bar, h * turn_bar)
                store(bars, a_bar_at + k, h * load(bars, v_bar))
            elif kind > 0:
                bars[v_bar] = bars[v_bar] + h * bars[q_bar]
                bars[a_bar_at + k] = h * bars[v_bar]
        for back in range(count):
            strike_adjoint(
                integers, reals, grids, inputs, inputs_at, tape, now, events_at, count - 1 - back,
                bars, q_bar_at, v_bar_at, a_bar_at, inputs_bar, bar_at,
            )  # fmt: skip

    @ti.func
    def strike_adjoint(
        integers: ti.template(), reals: ti.template(), grids: ti.template(), inputs: ti.template(), inputs_at,
        tape: ti.template(), now, events_at, number, bars: ti.template(), q_bar_at, v_bar_at, a_bar_at,
        inputs_bar: ti.template(), bar_at,
    ):  # fmt: skip
        """Adjoints of both links' q and v after an event to those after each one's event before."""
        record = events_at + 1 + EVENT * number
        pair, point = ti.cast(tape[record + EVENT_PAIR], ti.i32), ti.cast(tape[record + EVENT_POINT], ti.i32)
        t = tape[record + EVENT_TIME]
        a, b, link_a, link_b = meeting(integers, pair)
        section = integers[I_GEOMETRY_AT]
        in_a, in_b = inputs_at + section + GEOMETRY_INPUTS * a, inputs_at + section + GEOMETRY_INPUTS * b
        scale_a, scale_b = inputs[in_a + 3], inputs[in_b + 3]
        plain_radius = reals[integers[R_GEOMETRY_AT] + GEOMETRY_REALS * a + 16]
        radius = scale_a * plain_radius
        qa_at, va_at, since_a, last_a = flight.start(integers, tape, now, events_at, number, link_a)
        qb_at, vb_at, since_b, last_b = flight.start(integers, tape, now, events_at, number, link_b)
        rot_a, p_a, v_a, omega_a, _ma, _sa = flight.body(
            integers, reals, inputs, inputs_at, tape, now, link_a, qa_at, va_at, t - since_a
        )
        rot_b, p_b, v_b, omega_b, _mb, _sb = flight.body(
            integers, reals, inputs, inputs_at, tape, now, link_b, qb_at, vb_at, t - since_b
        )
        sdf, g, hessian, y, arm, from_center, frame_b = touch(
            integers, reals, grids, a, b, point, scale_a, scale_b, rot_a, p_a, rot_b, p_b, True
        )
        steep = length(g)
        n_local = g / steep
        n, slope = frame_b @ n_local, frame_b @ g
        arm_a = arm - radius * n
        arm_b = p_a + arm_a - p_b
        mu, e, _k = contact.mean_properties(inputs, in_a, in_b)
        inverse_a, M_a, rho_a = law.inertia(integers, inputs, inputs_at, link_a, rot_a)
        inverse_b, M_b, rho_b = law.inertia(integers, inputs, inputs_at, link_b, rot_b)
        s_a, s_b = arm_a - rho_a, arm_b - rho_b
        u = v_a + omega_a.cross(arm_a) - v_b - omega_b.cross(arm_b)
        J, j, jt, Kn, Kt, after, along, slip, sticks = law.impulse(n, u, e, mu, inverse_a, M_a, s_a, inverse_b, M_b, s_b)
        # the impulse and what it depends on
        pa_bar, va_bar, wa_bar = flight.bars_of(integers, bars, q_bar_at, v_bar_at, link_a)
        pb_bar, vb_bar, wb_bar = flight.bars_of(integers, bars, q_bar_at, v_bar_at, link_b)
        motion_a, _turning_a = law.virtual(M_a, rot_a, s_a, rho_a, inverse_a, va_bar, wa_bar)
        motion_b, _turning_b = law.virtual(M_b, rot_b, s_b, rho_b, inverse_b, vb_bar, wb_bar)
        n_bar, u_bar, e_bar, mu_bar, x, c = law.impulse_adjoint(
            motion_a - motion_b, n, u, e, mu, j, jt, Kn, Kt, after, along, slip, sticks, inverse_a, M_a, s_a,
            inverse_b, M_b, s_b,
        )  # fmt: skip
        one, links = ti.cast(1.0, real), bar_at + integers[I_LINK_AT]
        va_bar, wa_bar, theta_a, place_a = law.body_adjoint(
            inputs_bar, links + LINK_INPUTS * link_a, one, inverse_a, M_a, rot_a, s_a, rho_a, J, n, x, along, c,
            omega_a, u_bar, va_bar, wa_bar,
        )  # fmt: skip
        vb_bar, wb_bar, theta_b, place_b = law.body_adjoint(
            inputs_bar, links + LINK_INPUTS * link_b, -one, inverse_b, M_b, rot_b, s_b, rho_b, J, n, x, along, c,
            omega_b, u_bar, vb_bar, wb_bar,
        )  # fmt: skip
        pa_bar, pb_bar = pa_bar - place_a, pb_bar - place_b
        # the place of contact x - radius n, and the normal, as in contact.py; the gap's part comes below
        x_bar = place_a + place_b
        radius_bar = -n.dot(x_bar)
        n_bar = n_bar - radius * x_bar
        bend, y_bar = contact.surface_adjoint(frame_b, n_local, g, steep, hessian, n_bar, ti.cast(0.0, real))
        x_bar = x_bar + y_bar
        reach = p_a + arm - p_b
        pa_bar, theta_a = pa_bar + x_bar, theta_a + arm.cross(x_bar)
        pb_bar, theta_b = pb_bar - y_bar, theta_b + n.cross(n_bar) + y_bar.cross(reach)
        # the time of the impact
        moment_a, moment_b = arm.cross(slope), slope.cross(reach)
        along_a, ta_bar = flight.time_adjoint(
            integers, reals, inputs, inputs_at, tape, now, link_a, qa_at, va_at, t - since_a, rot_a, slope, moment_a,
            bars, q_bar_at, pa_bar, theta_a, va_bar, wa_bar,
        )  # fmt: skip
        along_b, tb_bar = flight.time_adjoint(
            integers, reals, inputs, inputs_at, tape, now, link_b, qb_at, vb_at, t - since_b, rot_b, -1.0 * slope, moment_b,
            bars, q_bar_at, pb_bar, theta_b, vb_bar, wb_bar,
        )  # fmt: skip
        phi_bar = -(tape[record + EVENT_TIME_BAR] + ta_bar + tb_bar) / (along_a + along_b)
        flight.way_adjoint(
            integers, reals, inputs, inputs_at, tape, now, link_a, qa_at, va_at, t - since_a, last_a, rot_a,
            bars, q_bar_at, v_bar_at, a_bar_at, inputs_bar, bar_at,
            pa_bar + phi_bar * slope, theta_a + phi_bar * moment_a, va_bar, wa_bar,
        )  # fmt: skip
        flight.way_adjoint(
            integers, reals, inputs, inputs_at, tape, now, link_b, qb_at, vb_at, t - since_b, last_b, rot_b,
            bars, q_bar_at, v_bar_at, a_bar_at, inputs_bar, bar_at,
            pb_bar - phi_bar * slope, theta_b + phi_bar * moment_b, vb_bar, wb_bar,
        )  # fmt: skip
        scale_a_bar = (x_bar + phi_bar * slope).dot(from_center) + plain_radius * (radius_bar - phi_bar)
        scale_b_bar = (phi_bar * (sdf - g.dot(y)) - bend.dot(y)) / scale_b
        bar_a, bar_b = bar_at + section + GEOMETRY_INPUTS * a, bar_at + section + GEOMETRY_INPUTS * b
        add(inputs_bar, bar_a, vec3(0.5 * mu_bar, 0.5 * e_bar, 0.0))
        add(inputs_bar, bar_b, vec3(0.5 * mu_bar, 0.5 * e_bar, 0.0))
        inputs_bar[bar_a + 3] = inputs_bar[bar_a + 3] + scale_a_bar
        inputs_bar[bar_b + 3] = inputs_bar[bar_b + 3] + scale_b_bar

    return SimpleNamespace(integrate=integrate, integrate_adjoint=integrate_adjoint)
