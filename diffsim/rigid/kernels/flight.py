"""Event mode: the flight of free bodies through a substep, in pieces between their events; forward beside adjoint.

The acceleration a is found once for the substep. With what gravity and the external force alone would give,
g = (1 - c) gravity + F / m with the share c of its weight that is carried, a body that was last struck at t0 has at t0 + tau

    v = v0 + tau a,   x = x0 + tau (v0 + h (a - f g) / 2) + tau^2 a / 2,   Q = Q0 exp(tau (w0 + h alpha / 2) + tau^2 alpha / 2)

where f is the share of g with which it moves: x^2 (3 - 2 x) of x = a.g / g^2 cut to 0 to 1. Without events, tau = h, that
is x0 + h v+ - h^2 f g / 2: exact in free fall (f = 1), and for what contact carries (f = 0) the semi-implicit rule, which is
stable in stiff contact where the trapezoid rule is not. Pieces put together are the whole: an impact that changes nothing
changes nothing. Every body flies by itself, undisturbed by others' events.

Spins w are in the body's frame, angular velocities omega = R w in the world's.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any, NamedTuple

from diffsim.compiler import ti
from diffsim.rigid.joints import FREE
from diffsim.rigid.kernels.external_wrenches import wrench_stage
from diffsim.rigid.kernels.rigid_memory import model_rows
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import (
    SPIN,
    DofIndices,
    Event,
    EventTape,
    FreeState,
    LinkConstants,
    LinkIndices,
    LinkInputs,
    SceneConstants,
    WorldInputs,
)
from diffsim.rounding import rounded_sums


class Flight(NamedTuple):
    """The piece of a link's flight that an event ends."""

    link: Any
    q: Any  # its coordinates at the start of the piece, in tape
    v: Any  # its velocities there, in tape
    since: Any  # time in the substep at which the piece starts
    last: Any  # record in tape of the event that starts it, or -1


class Body(NamedTuple):
    """Pose and motion of a link in the world's frame at a time of its flight."""

    rot: Any
    p: Any
    v: Any
    omega: Any
    extra_v: Any  # by how much the path is faster than v: h (a - f g) / 2
    extra_omega: Any  # by how much it turns faster than omega: h R alpha / 2


def flight_stage(real) -> SimpleNamespace:
    """Flights of links."""
    vf, rows, external, sums = vector_functions(real), model_rows(), wrench_stage(real), rounded_sums(real)
    vec3, mat3, load, store, add = vf.vec3, vf.mat3, vf.load, vf.store, vf.add
    weightless = 1e-20  # (m/s^2)^2

    @ti.func
    def is_free(m: ti.template(), link):
        return m.integers[rows.link_indices(m, link) + LinkIndices.joint] == FREE

    @ti.func
    def event_record(at: ti.template(), number):
        return at.events + EventTape.SIZE + Event.SIZE * number

    @ti.func
    def start(m: ti.template(), at: ti.template(), count, link):
        """Of a link after the first ``count`` events: where its coordinates and velocities stand, since when it flies, and the
        record of its last event (-1: none)."""
        indices = rows.link_indices(m, link)
        q_at, v_at = at.q + m.integers[indices + LinkIndices.coordinate], at.v + m.integers[indices + LinkIndices.dof]
        since, last = ti.cast(0.0, real), -1
        for n in range(count):
            record = event_record(at, n)
            for side in range(2):
                if ti.cast(m.tape[record + Event.links + side], ti.i32) == link:
                    q_at = record + Event.first_state + FreeState.SIZE * side
                    v_at = q_at + FreeState.velocity
                    since = m.tape[record + Event.time]
                    last = record
        return q_at, v_at, since, last

    @ti.func
    def pull(m: ti.template(), at: ti.template(), a_at):
        """Acceleration of a free body, whose own stands at ``a_at``, by gravity and its external force alone."""
        link = m.integers[rows.dof_indices(m, a_at - at.a) + DofIndices.link]
        share = 1.0 - m.inputs[rows.link_inputs(m, at, link) + LinkInputs.gravity_compensation]
        return share * load(m.inputs, at.inputs + WorldInputs.gravity) + external.acceleration(m, at, link)

    @ti.func
    def pull_adjoint(m: ti.template(), at: ti.template(), link, g_bar):
        """Adds to the adjoints of gravity, and of the link's gravity compensation, external force and mass."""
        gravity = load(m.inputs, at.inputs + WorldInputs.gravity)
        carried = rows.link_inputs(m, at, link) + LinkInputs.gravity_compensation
        add(m.inputs_bar, at.inputs + WorldInputs.gravity, (1.0 - m.inputs[carried]) * g_bar)
        m.inputs_bar[carried] = m.inputs_bar[carried] - gravity.dot(g_bar)
        external.acceleration_adjoint(m, at, link, g_bar)

    @ti.func
    def falling(a, g):
        """The share f of g with which a body falls, and its derivatives by a and g: f'(x) = 6 x (1 - x), and
        dx = (g.da + (a - 2 x g).dg) / g^2."""
        g2 = ti.max(g.dot(g), ti.static(weightless))
        x = ti.min(ti.max(a.dot(g) / g2, ti.cast(0.0, real)), ti.cast(1.0, real))
        slope = 6.0 * x * (1.0 - x) / g2
        return x * x * (3.0 - 2.0 * x), slope * g, slope * (a - 2.0 * x * g)

    @ti.func
    def path_rates(m: ti.template(), at: ti.template(), v_at, a_at):
        """Velocity and spin with which the path starts, acceleration and that of the spin."""
        half = 0.5 * m.reals[SceneConstants.dt]
        a, alpha = load(m.tape, a_at), load(m.tape, a_at + SPIN)
        g = pull(m, at, a_at)
        share, _by_a, _by_g = falling(a, g)
        return load(m.tape, v_at) + half * (a - share * g), load(m.tape, v_at + SPIN) + half * alpha, a, alpha

    @ti.func
    def rounded_vector(x, d, threshold):
        return vec3(*[sums.rounded_sum(x[i], d[i], threshold) for i in range(3)])

    @ti.func
    def flown(m: ti.template(), at: ti.template(), q_at, v_at, a_at, tau, threshold):
        """Position, quaternion, velocity and spin after the time ``tau``, their sums rounded up at the threshold."""
        path_v, path_w, a, alpha = path_rates(m, at, v_at, a_at)
        p = rounded_vector(load(m.tape, q_at), tau * (path_v + 0.5 * tau * a), threshold)
        turn = tau * (path_w + 0.5 * tau * alpha)
        Q = vf.turned(vf.load_quaternion(m.tape, q_at + FreeState.quaternion), turn, threshold)
        v = rounded_vector(load(m.tape, v_at), tau * a, threshold)
        return p, Q, v, rounded_vector(load(m.tape, v_at + SPIN), tau * alpha, threshold)

    @ti.func
    def acceleration_at(m: ti.template(), at: ti.template(), link):
        return at.a + m.integers[rows.link_indices(m, link) + LinkIndices.dof]

    @ti.func
    def body(m: ti.template(), at: ti.template(), flight: ti.template(), t):
        """The fields of a `Body` at the time ``t`` of the substep; a link without a free joint never moves."""
        rot, p = mat3(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0), vec3(0.0, 0.0, 0.0)
        v, omega, extra_v, extra_omega = p, p, p, p
        if is_free(m, flight.link):
            a_at = acceleration_at(m, at, flight.link)
            place, Q, velocity, spin = flown(m, at, flight.q, flight.v, a_at, t - flight.since, ti.cast(0.0, real))
            path_v, path_w, _a, _alpha = path_rates(m, at, flight.v, a_at)
            rot, p, v = vf.rotation(Q), place, velocity
            omega = rot @ spin
            extra_v, extra_omega = path_v - load(m.tape, flight.v), rot @ (path_w - load(m.tape, flight.v + SPIN))
        else:
            i = flight.link
            while i > 0:
                constants = rows.link_constants(m, i)
                up = vf.load_matrix(m.reals, constants + LinkConstants.rotation)
                p = load(m.reals, constants + LinkConstants.position) + up @ p
                rot = up @ rot
                i = m.integers[rows.link_indices(m, i) + LinkIndices.parent]
        return rot, p, v, omega, extra_v, extra_omega

    @ti.func
    def flown_adjoint(m: ti.template(), at: ti.template(), q_at, v_at, a_at, tau, p_bar, Q_bar, v_bar, spin_bar):
        """Adjoints of the quaternion at the start, of the turn since, tau (w0 + h alpha / 2) + tau^2 alpha / 2, and of ``tau``:
        of that each result's derivative, as x' = v0 + h (a - f g) / 2 + tau a."""
        path_v, path_w, a, alpha = path_rates(m, at, v_at, a_at)
        turn = tau * (path_w + 0.5 * tau * alpha)
        Q0_bar, turn_bar = vf.turned_adjoint(vf.load_quaternion(m.tape, q_at + FreeState.quaternion), turn, Q_bar)
        tau_bar = p_bar.dot(path_v + tau * a) + turn_bar.dot(path_w + tau * alpha) + v_bar.dot(a) + spin_bar.dot(alpha)
        return Q0_bar, turn_bar, tau_bar

    @ti.func
    def adjoint_of_start(m: ti.template(), at: ti.template(), link, tau, p_bar, Q0_bar, v_bar, spin_bar, turn_bar):
        """From the adjoints of position, velocity, spin and turn after ``tau``, and of the quaternion at the start: those of
        position, quaternion, velocity and spin at the start are set; those of the accelerations and of g are added to.

        x by a is tau (h + tau) / 2, and by f it is -h tau g / 2, where f depends on a and g."""
        h, indices = m.reals[SceneConstants.dt], rows.link_indices(m, link)
        k = m.integers[indices + LinkIndices.dof]
        q_bar_at, v_bar_at, a_bar_at = at.q_bar + m.integers[indices + LinkIndices.coordinate], at.v_bar + k, at.vector + k
        share = 0.5 * tau * (h + tau)
        g = pull(m, at, at.a + k)
        fall, by_a, by_g = falling(load(m.tape, at.a + k), g)
        fall_bar = (-0.5 * h * tau) * g.dot(p_bar)
        store(m.work, q_bar_at, p_bar)
        for n in ti.static(range(4)):
            m.work[q_bar_at + ti.static(FreeState.quaternion + n)] = Q0_bar[n]
        store(m.work, v_bar_at, v_bar + tau * p_bar)
        store(m.work, v_bar_at + SPIN, spin_bar + tau * turn_bar)
        add(m.work, a_bar_at, tau * v_bar + share * p_bar + fall_bar * by_a)
        add(m.work, a_bar_at + SPIN, tau * spin_bar + share * turn_bar)
        pull_adjoint(m, at, link, (-0.5 * h * tau * fall) * p_bar + fall_bar * by_g)

    @ti.func
    def state_bars(m: ti.template(), at: ti.template(), link):
        """Adjoints of a link's position, velocity and spin; zeros of what never moves."""
        p_bar, v_bar, w_bar = vec3(0.0, 0.0, 0.0), vec3(0.0, 0.0, 0.0), vec3(0.0, 0.0, 0.0)
        if is_free(m, link):
            indices = rows.link_indices(m, link)
            v_bar_at = at.v_bar + m.integers[indices + LinkIndices.dof]
            p_bar = load(m.work, at.q_bar + m.integers[indices + LinkIndices.coordinate])
            v_bar, w_bar = load(m.work, v_bar_at), load(m.work, v_bar_at + SPIN)
        return p_bar, v_bar, w_bar

    @ti.func
    def quaternion_bar(m: ti.template(), at: ti.template(), link, Q, rot, theta_bar):
        """Adjoint of a free link's quaternion: its own, and that of a rotation theta in the world's frame."""
        place = at.q_bar + m.integers[rows.link_indices(m, link) + LinkIndices.coordinate] + FreeState.quaternion
        return vf.load_quaternion(m.work, place) + vf.rotation_adjoint(Q, rot.transpose() @ theta_bar)

    @ti.func
    def time_adjoint(
        m: ti.template(), at: ti.template(), flight: ti.template(), t, rot, slope, moment, p_bar, theta_bar, v_bar, w_bar
    ):  # fmt: skip
        """Of a link: the gap's rate along its path, where the gap has the derivatives ``slope`` by its place and ``moment`` by
        its turn; and the adjoint of the time, from those of position, turn, velocity and spin."""
        along, t_bar = ti.cast(0.0, real), ti.cast(0.0, real)
        if is_free(m, flight.link):
            a_at, zero, tau = acceleration_at(m, at, flight.link), vec3(0.0, 0.0, 0.0), t - flight.since
            _p, Q, _v, _w = flown(m, at, flight.q, flight.v, a_at, tau, ti.cast(0.0, real))
            Q_slope = vf.rotation_adjoint(Q, rot.transpose() @ moment)
            _Q0, _turn, along_ = flown_adjoint(m, at, flight.q, flight.v, a_at, tau, slope, Q_slope, zero, zero)
            Q_bar = quaternion_bar(m, at, flight.link, Q, rot, theta_bar)
            _Q0_bar, _turn_bar, t_bar_ = flown_adjoint(m, at, flight.q, flight.v, a_at, tau, p_bar, Q_bar, v_bar, w_bar)
            along, t_bar = along_, t_bar_
        return along, t_bar

    @ti.func
    def flight_adjoint(
        m: ti.template(), at: ti.template(), flight: ti.template(), t, rot, p_bar, theta_bar, v_bar, w_bar
    ):  # fmt: skip
        """Propagates a link's adjoints from the event at ``t`` back to the start of the flight before it."""
        if is_free(m, flight.link):
            a_at, tau = acceleration_at(m, at, flight.link), t - flight.since
            _p, Q, _v, _w = flown(m, at, flight.q, flight.v, a_at, tau, ti.cast(0.0, real))
            Q_bar = quaternion_bar(m, at, flight.link, Q, rot, theta_bar)
            back_to_start(m, at, flight, a_at, tau, p_bar, Q_bar, v_bar, w_bar)

    @ti.func
    def back_to_start(
        m: ti.template(), at: ti.template(), flight: ti.template(), a_at, tau, p_bar, Q_bar, v_bar, w_bar
    ):  # fmt: skip
        """From the adjoints after ``tau`` to those at the start of a free body's flight, and of its starting time."""
        Q0_bar, turn_bar, tau_bar = flown_adjoint(m, at, flight.q, flight.v, a_at, tau, p_bar, Q_bar, v_bar, w_bar)
        adjoint_of_start(m, at, flight.link, tau, p_bar, Q0_bar, v_bar, w_bar, turn_bar)
        if flight.last >= 0:
            time_bar = flight.last + Event.time_bar
            m.tape[time_bar] = m.tape[time_bar] - tau_bar

    @ti.func
    def put(m: ti.template(), q_at, v_at, p, Q, v, w):
        """Writes a free body's coordinates and velocities to the tape."""
        store(m.tape, q_at, p)
        for n in ti.static(range(4)):
            m.tape[q_at + ti.static(FreeState.quaternion + n)] = Q[n]
        store(m.tape, v_at, v)
        store(m.tape, v_at + SPIN, w)

    return SimpleNamespace(
        is_free=is_free, event_record=event_record, start=start, flown=flown, body=body, acceleration_at=acceleration_at,
        back_to_start=back_to_start, state_bars=state_bars, time_adjoint=time_adjoint, flight_adjoint=flight_adjoint, put=put,
    )  # fmt: skip
