"""Event mode: the impacts of a substep in their order, each at its exact time; forward beside adjoint.

An event's time t is where the gap along the bodies' paths closes, phi(q(t)) = 0. It depends on all that the paths depend on, so
dt = -dphi / phi', with phi' the rate of the gap along the paths and dphi its change at a fixed time. In the adjoint, the time's
own adjoint t_bar is thus passed on as phi_bar = -t_bar / phi'.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any, NamedTuple

from diffsim.compiler import ti
from diffsim.rigid.kernels.flight import Body, Flight, flight_stage
from diffsim.rigid.kernels.impact import Impact, ImpactBars, Struck, impact_law
from diffsim.rigid.kernels.rigid_memory import model_rows
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import (
    MAX_EVENTS,
    PLANE,
    SPIN,
    Event,
    EventTape,
    FreeState,
    GeometryConstants,
    GeometryIndices,
    GeometryInputs,
    Header,
    LinkIndices,
    PairIndices,
    SceneConstants,
)

# What the search does with a point: look at the gap at the start of the time that is left, then at its end, and where it closes
# between them find the root. Before the first point it looks at the bounding spheres.
BOUNDS, AT_START, AT_END, ROOT = range(4)


class Touch(NamedTuple):
    """Where a point of geometry a may touch geometry b."""

    a: Any  # numbers of the geometries
    b: Any
    scale_a: Any
    scale_b: Any


def event_stage(real, contact, joints, recorder=None) -> SimpleNamespace:
    """``integrate`` and ``integrate_adjoint``: from q, v and a to q and v after the substep. ``recorder`` as `recording_stage`
    where forces are recorded: an impulse J counts as J / h over the substep."""
    vf, rows = vector_functions(real), model_rows()
    flight, law = flight_stage(real), impact_law(real)
    load, recording = vf.load, recorder is not None
    rounds = 30 if real == ti.f64 else 16  # of root finding
    close = 2.0**-52 if real == ti.f64 else 2.0**-23  # a root is as exact, as a share of h

    @ti.func
    def geometries_of(m: ti.template(), at: ti.template(), pair):
        """Geometries of a pair, their links and their scales."""
        indices = rows.pair_indices(m, pair)
        a, b = m.integers[indices + PairIndices.points], m.integers[indices + PairIndices.surface]
        link_a = m.integers[rows.geometry_indices(m, a) + GeometryIndices.link]
        link_b = m.integers[rows.geometry_indices(m, b) + GeometryIndices.link]
        scale_a = m.inputs[rows.geometry_inputs(m, at, a) + GeometryInputs.scale]
        return a, b, link_a, link_b, scale_a, m.inputs[rows.geometry_inputs(m, at, b) + GeometryInputs.scale]

    @ti.func
    def sees_plane(m: ti.template(), place: ti.template()):
        return m.integers[rows.geometry_indices(m, place.b) + GeometryIndices.distance] == PLANE

    @ti.func
    def view_of(m: ti.template(), place: ti.template(), a: ti.template(), frame_b):
        """What places the points of geometry a that move: a plane's normal in the frame of a. Before other surfaces, whose
        normal at a center the search does not ask for, wheels are as if they lay flat. a: `Body`."""
        view = vf.vec3(0.0, 0.0, 1.0)
        if sees_plane(m, place):
            constants_a = rows.geometry_constants(m, place.a)
            frame_a = a.rot @ vf.load_matrix(m.reals, constants_a + GeometryConstants.rotation)
            view = frame_a.transpose() @ (frame_b @ view)
        return view

    @ti.func
    def view_adjoint(m: ti.template(), place: ti.template(), point, a: ti.template(), frame_b, x_bar, radius_bar):
        """Adjoint of the turn of body a by what places a point, from those of its place and its ball's radius; that of b is the
        opposite. a: `Body`."""
        turn_bar, row = vf.vec3(0.0, 0.0, 0.0), contact.points.point_row(m, point)
        if sees_plane(m, place) and contact.points.moves(m, row):
            view = view_of(m, place, a, frame_b)
            own_bar = a.rot.transpose() @ (place.scale_a * x_bar)
            view_bar, _slid_bar = contact.points.ball_adjoint(m, place.a, row, view, own_bar, place.scale_a * radius_bar)
            constants_a = rows.geometry_constants(m, place.a)
            frame_a = a.rot @ vf.load_matrix(m.reals, constants_a + GeometryConstants.rotation)
            turn_bar = (frame_a @ view_bar).cross(frame_a @ view)
        return turn_bar

    @ti.func
    def gap(m: ti.template(), place: ti.template(), point, a: ti.template(), b: ti.template(), second: ti.template()):
        """Of a point of geometry a: its distance to b with gradient and Hessian in b's frame, where it is there, from link a's
        origin and from that of geometry a, its ball's radius at scale 1, and the rotation of b's frame. a, b: `Body`."""
        constants_a, constants_b = rows.geometry_constants(m, place.a), rows.geometry_constants(m, place.b)
        frame_b = b.rot @ vf.load_matrix(m.reals, constants_b + GeometryConstants.rotation)
        row = contact.points.point_row(m, point)
        own, radius = contact.points.ball(m, place.a, row, view_of(m, place, a, frame_b), contact.points.start())
        from_center = a.rot @ own
        arm = a.rot @ load(m.reals, constants_a + GeometryConstants.position) + place.scale_a * from_center
        y = frame_b.transpose() @ (a.p + arm - b.p - b.rot @ load(m.reals, constants_b + GeometryConstants.position))
        sdf, g, hessian = contact.distance(m, place.b, place.scale_b, y, second)
        return sdf, g, hessian, y, arm, from_center, radius, frame_b

    @ti.func
    def added_path(m: ti.template(), at: ti.template(), link, lever):
        """By how much the speed of a link's points at most grows in a unit of time."""
        faster = ti.cast(0.0, real)
        if flight.is_free(m, link):
            a_at = flight.acceleration_at(m, at, link)
            faster = length(load(m.tape, a_at)) + length(load(m.tape, a_at + SPIN)) * lever
        return faster

    @ti.func
    def reachable(
        m: ti.template(), at: ti.template(), place: ti.template(), link_a, link_b, a: ti.template(), b: ti.template(), left
    ):  # fmt: skip
        """Whether bounding spheres can meet in the time ``left``. a, b: `Body`."""
        constants_a, constants_b = rows.geometry_constants(m, place.a), rows.geometry_constants(m, place.b)
        offset = a.rot @ load(m.reals, constants_a + GeometryConstants.position)
        bound = place.scale_a * m.reals[constants_a + GeometryConstants.reach]
        center = a.p + offset - b.p
        frame_b = b.rot @ vf.load_matrix(m.reals, constants_b + GeometryConstants.rotation)
        y = frame_b.transpose() @ (center - b.rot @ load(m.reals, constants_b + GeometryConstants.position))
        away = contact.ball_distance(m, place.b, place.scale_b, y)
        speed = length(a.v + a.extra_v) + length(b.v + b.extra_v)
        lever_a, lever_b = length(offset) + bound, length(center) + bound
        speed += length(a.omega + a.extra_omega) * lever_a + length(b.omega + b.extra_omega) * lever_b
        faster = added_path(m, at, link_a, lever_a)
        faster += added_path(m, at, link_b, lever_b)
        return away - bound < left * (speed + 0.5 * left * faster)

    @ti.func
    def length(x):
        return ti.sqrt(x.dot(x))

    @ti.func
    def find(m: ti.template(), at: ti.template(), count, clock):
        """Whether there is an event after the time ``clock``, that of the ``count`` events before: the first one's time, pair
        and point are written to the next record."""
        h, slow = m.reals[SceneConstants.dt], -m.reals[SceneConstants.event_speed]
        near = contact.skin(m)
        first, first_pair, first_point = h, -1, 0
        for pair in range(m.integers[Header.pairs]):
            if m.integers[rows.pair_indices(m, pair) + PairIndices.events] == 1:
                a, b, link_a, link_b, scale_a, scale_b = geometries_of(m, at, pair)
                place = ti.static(Touch(a, b, scale_a, scale_b))
                q_a, start_v_a, since_a, last_a = flight.start(m, at, count, link_a)
                q_b, start_v_b, since_b, last_b = flight.start(m, at, count, link_b)
                flight_a = ti.static(Flight(link_a, q_a, start_v_a, since_a, last_a))
                flight_b = ti.static(Flight(link_b, q_b, start_v_b, since_b, last_b))
                begin = m.integers[rows.geometry_indices(m, a) + GeometryIndices.first_point]
                point, end = -1, contact.points.end_point(m, a, b)
                # one loop over the points and the times at which they are looked at, so that the distance is compiled once
                t, low, high = clock, clock, h
                f_low = ti.cast(0.0, real)
                stage, round_ = BOUNDS, 0
                while point < end:
                    rot_a, p_a, v_a, omega_a, extra_v_a, extra_omega_a = flight.body(m, at, flight_a, t)
                    rot_b, p_b, v_b, omega_b, extra_v_b, extra_omega_b = flight.body(m, at, flight_b, t)
                    body_a = ti.static(Body(rot_a, p_a, v_a, omega_a, extra_v_a, extra_omega_a))
                    body_b = ti.static(Body(rot_b, p_b, v_b, omega_b, extra_v_b, extra_omega_b))
                    done, found = 0, 0
                    if stage == BOUNDS:
                        point = begin
                        stage = AT_START
                        if not reachable(m, at, place, link_a, link_b, body_a, body_b, h - clock):
                            point = end
                    else:
                        sdf, g, _hessian, _y, arm, _from_center, plain_radius, frame_b = gap(
                            m, place, point, body_a, body_b, False
                        )
                        radius = scale_a * plain_radius
                        phi = sdf - radius
                        slope = frame_b @ g
                        n = slope / length(slope)
                        arm_a = arm - radius * n
                        arm_b = p_a + arm_a - p_b
                        rate = n.dot(v_a + omega_a.cross(arm_a) - v_b - omega_b.cross(arm_b))
                        if stage == AT_START:
                            if phi < -near or (phi <= near and rate >= slow):
                                done = 1  # inside, or leaving the surface or too slow on it
                            elif phi <= 0.0:
                                found = 1
                            else:
                                stage, f_low = AT_END, phi
                                low, high = clock, first
                                t = first
                        elif stage == AT_END:
                            if phi >= 0.0:
                                done = 1
                            else:
                                stage, round_ = ROOT, 0
                                t = low + (high - low) * (f_low / (f_low - phi))
                        else:
                            # Newton's step if it stays within the bracket, else halve that
                            if phi >= 0.0:
                                low = t
                            else:
                                high = t
                            along = slope.dot(
                                v_a + extra_v_a + (omega_a + extra_omega_a).cross(arm) - v_b - extra_v_b
                                - (omega_b + extra_omega_b).cross(p_a + arm - p_b)
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
                            stage, t = AT_START, clock
        record = flight.event_record(at, count)
        m.tape[record + Event.pair], m.tape[record + Event.point] = ti.cast(first_pair, real), ti.cast(first_point, real)
        m.tape[record + Event.time] = first
        return ti.cast(first_pair >= 0, ti.i32)

    @ti.func
    def strike(m: ti.template(), at: ti.template(), count):
        """Writes both links' states just after the impact to record number ``count``."""
        record = flight.event_record(at, count)
        pair, point = ti.cast(m.tape[record + Event.pair], ti.i32), ti.cast(m.tape[record + Event.point], ti.i32)
        t = m.tape[record + Event.time]
        a, b, link_a, link_b, scale_a, scale_b = geometries_of(m, at, pair)
        place = ti.static(Touch(a, b, scale_a, scale_b))
        in_a, in_b = rows.geometry_inputs(m, at, a), rows.geometry_inputs(m, at, b)
        q_a, start_v_a, since_a, last_a = flight.start(m, at, count, link_a)
        q_b, start_v_b, since_b, last_b = flight.start(m, at, count, link_b)
        flight_a = ti.static(Flight(link_a, q_a, start_v_a, since_a, last_a))
        flight_b = ti.static(Flight(link_b, q_b, start_v_b, since_b, last_b))
        rot_a, p_a, v_a, omega_a, extra_v_a, extra_omega_a = flight.body(m, at, flight_a, t)
        rot_b, p_b, v_b, omega_b, extra_v_b, extra_omega_b = flight.body(m, at, flight_b, t)
        body_a = ti.static(Body(rot_a, p_a, v_a, omega_a, extra_v_a, extra_omega_a))
        body_b = ti.static(Body(rot_b, p_b, v_b, omega_b, extra_v_b, extra_omega_b))
        _sdf, g, _hessian, _y, arm, _from_center, plain_radius, frame_b = gap(m, place, point, body_a, body_b, False)
        radius = scale_a * plain_radius
        n = frame_b @ (g / length(g))
        arm_a = arm - radius * n
        arm_b = p_a + arm_a - p_b
        mu, e, _k = contact.mean_properties(m, in_a, in_b)
        inverse_a, M_a, rho_a = law.inertia(m, at, link_a, rot_a)
        inverse_b, M_b, rho_b = law.inertia(m, at, link_b, rot_b)
        s_a, s_b = arm_a - rho_a, arm_b - rho_b
        struck_a, struck_b = ti.static(Struck(inverse_a, M_a, rot_a, rho_a, s_a), Struck(inverse_b, M_b, rot_b, rho_b, s_b))
        u = v_a + omega_a.cross(arm_a) - v_b - omega_b.cross(arm_b)
        J, _j, _jt, _Kn, _Kt, _after, _t, _slip, _sticks = law.impulse(n, u, e, mu, struck_a, struck_b)
        dv_a, dw_a = law.velocity_change(struck_a, J)
        dv_b, dw_b = law.velocity_change(struck_b, -1.0 * J)
        record_side(m, at, flight_a, t, dv_a, dw_a, record, 0)
        record_side(m, at, flight_b, t, dv_b, dw_b, record, 1)
        if ti.static(recording):  # noqa: SIM102, the compiler's if and the kernel's
            if at.new == at.start:
                force = J / m.reals[SceneConstants.dt]
                from_a, from_b = arm_a - recorder.offset(m, at, a, rot_a), arm_b - recorder.offset(m, at, b, rot_b)
                recorder.add_force(m, at, a, force, from_a.cross(force))
                recorder.add_force(m, at, b, -1.0 * force, force.cross(from_b))

    @ti.func
    def record_side(m: ti.template(), at: ti.template(), own: ti.template(), t, dv, dw, record, side: ti.template()):
        """Of one of an event's links: its number, and its state just after the impact, which changes its velocities."""
        m.tape[record + ti.static(Event.links + side)] = ti.cast(own.link, real)
        if flight.is_free(m, own.link):
            a_at = flight.acceleration_at(m, at, own.link)
            p, Q, v, w = flight.flown(m, at, own.q, own.v, a_at, t - own.since, ti.cast(0.0, real))
            state = record + ti.static(Event.first_state + FreeState.SIZE * side)
            flight.put(m, state, state + FreeState.velocity, p, Q, v + dv, w + dw)

    @ti.func
    def integrate(m: ti.template(), at: ti.template()):
        """From the row that holds q, v and a to the row ``at.new``, which may be the same. After MAX_EVENTS of them the rest of
        the substep goes on without."""
        h = m.reals[SceneConstants.dt]
        count, clock = 0, ti.cast(0.0, real)
        searching = 1
        while searching == 1:
            searching = find(m, at, count, clock)
            if searching == 1:
                strike(m, at, count)
                clock = m.tape[flight.event_record(at, count) + Event.time]
                count += 1
                if count == MAX_EVENTS:
                    searching = 0
        m.tape[at.events + EventTape.count] = ti.cast(count, real)
        for i in range(1, m.integers[Header.links]):
            if flight.is_free(m, i):
                indices = rows.link_indices(m, i)
                new_q = at.new + m.integers[indices + LinkIndices.coordinate]
                new_v = at.new + m.integers[Header.coordinates] + m.integers[indices + LinkIndices.dof]
                from_q, from_v, since, _last = flight.start(m, at, count, i)
                a_at, threshold = flight.acceleration_at(m, at, i), joints.threshold_of(m, at)
                p, Q, v, w = flight.flown(m, at, from_q, from_v, a_at, h - since, threshold)
                flight.put(m, new_q, new_v, p, Q, v, w)
            else:
                joints.integrate(m, at, i, h)

    @ti.func
    def integrate_adjoint(m: ti.template(), at: ti.template()):
        """Adjoints of q and v after the substep to those before it, in place, as far as a is constant; that of a is set in
        ``at.vector``, those of the inputs are added to."""
        h = m.reals[SceneConstants.dt]
        count = ti.cast(m.tape[at.events + EventTape.count], ti.i32)
        for n in range(count):
            m.tape[flight.event_record(at, n) + Event.time_bar] = 0.0
        for k in range(m.integers[Header.dofs]):
            m.work[at.vector + k] = 0.0
        for i in range(1, m.integers[Header.links]):
            if flight.is_free(m, i):
                indices = rows.link_indices(m, i)
                q_bar = at.q_bar + m.integers[indices + LinkIndices.coordinate]
                p_bar, velocity_bar, spin_bar = flight.state_bars(m, at, i)
                from_q, from_v, since, last = flight.start(m, at, count, i)
                own = ti.static(Flight(i, from_q, from_v, since, last))
                flight.back_to_start(
                    m, at, own, flight.acceleration_at(m, at, i), h - since, p_bar,
                    vf.load_quaternion(m.work, q_bar + FreeState.quaternion), velocity_bar, spin_bar,
                )  # fmt: skip
            else:
                joints.integrate_adjoint(m, at, i, h)
        for back in range(count):
            strike_adjoint(m, at, count - 1 - back)

    @ti.func
    def strike_adjoint(m: ti.template(), at: ti.template(), number):
        """Adjoints of both links' q and v after an event to those after each one's event before."""
        record = flight.event_record(at, number)
        pair, point = ti.cast(m.tape[record + Event.pair], ti.i32), ti.cast(m.tape[record + Event.point], ti.i32)
        t = m.tape[record + Event.time]
        a, b, link_a, link_b, scale_a, scale_b = geometries_of(m, at, pair)
        place = ti.static(Touch(a, b, scale_a, scale_b))
        in_a, in_b = rows.geometry_inputs(m, at, a), rows.geometry_inputs(m, at, b)
        q_a, start_v_a, since_a, last_a = flight.start(m, at, number, link_a)
        q_b, start_v_b, since_b, last_b = flight.start(m, at, number, link_b)
        flight_a = ti.static(Flight(link_a, q_a, start_v_a, since_a, last_a))
        flight_b = ti.static(Flight(link_b, q_b, start_v_b, since_b, last_b))
        rot_a, p_a, v_a, omega_a, extra_v_a, extra_omega_a = flight.body(m, at, flight_a, t)
        rot_b, p_b, v_b, omega_b, extra_v_b, extra_omega_b = flight.body(m, at, flight_b, t)
        body_a = ti.static(Body(rot_a, p_a, v_a, omega_a, extra_v_a, extra_omega_a))
        body_b = ti.static(Body(rot_b, p_b, v_b, omega_b, extra_v_b, extra_omega_b))
        sdf, g, hessian, y, arm, from_center, plain_radius, frame_b = gap(m, place, point, body_a, body_b, True)
        radius = scale_a * plain_radius
        steep = length(g)
        n_local = g / steep
        n, slope = frame_b @ n_local, frame_b @ g
        arm_a = arm - radius * n
        arm_b = p_a + arm_a - p_b
        mu, e, _k = contact.mean_properties(m, in_a, in_b)
        inverse_a, M_a, rho_a = law.inertia(m, at, link_a, rot_a)
        inverse_b, M_b, rho_b = law.inertia(m, at, link_b, rot_b)
        s_a, s_b = arm_a - rho_a, arm_b - rho_b
        struck_a, struck_b = ti.static(Struck(inverse_a, M_a, rot_a, rho_a, s_a), Struck(inverse_b, M_b, rot_b, rho_b, s_b))
        u = v_a + omega_a.cross(arm_a) - v_b - omega_b.cross(arm_b)
        J, j, jt, Kn, Kt, after, tangent, slip, sticks = law.impulse(n, u, e, mu, struck_a, struck_b)
        hit = ti.static(Impact(n, u, e, mu, j, jt, Kn, Kt, after, tangent, slip, sticks))
        # the impulse and what it depends on
        pa_bar, va_bar, wa_bar = flight.state_bars(m, at, link_a)
        pb_bar, vb_bar, wb_bar = flight.state_bars(m, at, link_b)
        motion_a, _before_a = law.point_motion(struck_a, va_bar, wa_bar)
        motion_b, _before_b = law.point_motion(struck_b, vb_bar, wb_bar)
        J_bar = motion_a - motion_b
        if ti.static(recording):
            from_a, from_b = arm_a - recorder.offset(m, at, a, rot_a), arm_b - recorder.offset(m, at, b, rot_b)
            rate_a, _turn_a = recorder.virtual_velocity(m.controls_bar, m, at, a, from_a)
            rate_b, _turn_b = recorder.virtual_velocity(m.controls_bar, m, at, b, from_b)
            J_bar = J_bar + (rate_a - rate_b) / m.reals[SceneConstants.dt]
        n_bar, u_bar, e_bar, mu_bar, x, c = law.impulse_adjoint(J_bar, hit, struck_a, struck_b)
        bars = ti.static(ImpactBars(J, n, x, tangent, c))
        one = ti.cast(1.0, real)
        va_bar, wa_bar, theta_a, place_a = law.body_adjoint(m, at, link_a, one, struck_a, bars, omega_a, u_bar, va_bar, wa_bar)
        vb_bar, wb_bar, theta_b, place_b = law.body_adjoint(m, at, link_b, -one, struck_b, bars, omega_b, u_bar, vb_bar, wb_bar)
        if ti.static(recording):
            force = J / m.reals[SceneConstants.dt]
            _rate_a, turn_a = recorder.virtual_velocity(m.controls_bar, m, at, a, force)
            _rate_b, turn_b = recorder.virtual_velocity(m.controls_bar, m, at, b, force)
            from_a_bar, from_b_bar = force.cross(turn_a), turn_b.cross(force)
            place_a, place_b = place_a + from_a_bar, place_b + from_b_bar
            theta_a = theta_a + recorder.offset_adjoint(m, at, a, rot_a, -1.0 * from_a_bar)
            theta_b = theta_b + recorder.offset_adjoint(m, at, b, rot_b, -1.0 * from_b_bar)
        pa_bar, pb_bar = pa_bar - place_a, pb_bar - place_b
        # the place of contact x - radius n, and the normal, as in rigid_contact.py; the gap's part comes below
        x_bar = place_a + place_b
        radius_bar = -n.dot(x_bar)
        n_bar = n_bar - radius * x_bar
        bend, y_bar = contact.surface_adjoint(frame_b, n_local, g, steep, hessian, n_bar, ti.cast(0.0, real))
        x_bar = x_bar + y_bar
        reach = p_a + arm - p_b
        viewed = view_adjoint(m, place, point, body_a, frame_b, x_bar, radius_bar)
        pa_bar, theta_a = pa_bar + x_bar, theta_a + arm.cross(x_bar) + viewed
        pb_bar, theta_b = pb_bar - y_bar, theta_b + n.cross(n_bar) + y_bar.cross(reach) - viewed
        # the time of the impact: the gap has the derivatives slope and moment_a by place and turn of a, -slope and moment_b of
        # b
        viewed = view_adjoint(m, place, point, body_a, frame_b, slope, ti.cast(-1.0, real))
        moment_a, moment_b = arm.cross(slope) + viewed, slope.cross(reach) - viewed
        along_a, ta_bar = flight.time_adjoint(m, at, flight_a, t, rot_a, slope, moment_a, pa_bar, theta_a, va_bar, wa_bar)
        along_b, tb_bar = flight.time_adjoint(
            m, at, flight_b, t, rot_b, -1.0 * slope, moment_b, pb_bar, theta_b, vb_bar, wb_bar
        )
        phi_bar = -(m.tape[record + Event.time_bar] + ta_bar + tb_bar) / (along_a + along_b)
        flight.flight_adjoint(m, at, flight_a, t, rot_a, pa_bar + phi_bar * slope, theta_a + phi_bar * moment_a, va_bar, wa_bar)
        flight.flight_adjoint(m, at, flight_b, t, rot_b, pb_bar - phi_bar * slope, theta_b + phi_bar * moment_b, vb_bar, wb_bar)
        scale_a_bar = (x_bar + phi_bar * slope).dot(from_center) + plain_radius * (radius_bar - phi_bar)
        scale_b_bar = (phi_bar * (sdf - g.dot(y)) - bend.dot(y)) / scale_b
        none = ti.cast(0.0, real)  # the impact does not know the stiffness
        contact.add_properties(m, in_a, 0.5 * mu_bar, 0.5 * e_bar, none, scale_a_bar)
        contact.add_properties(m, in_b, 0.5 * mu_bar, 0.5 * e_bar, none, scale_b_bar)

    return SimpleNamespace(integrate=integrate, integrate_adjoint=integrate_adjoint)
