"""Event mode: the way of free bodies through a substep, in pieces between their events; forward beside adjoint.

The acceleration a is found once for the substep. With the gravity g, a body that was last struck at t0 has at t0 + tau

    v = v0 + tau a,   x = x0 + tau (v0 + h (a - f g) / 2) + tau^2 a / 2,   Q = Q0 exp(tau (w0 + h alpha / 2) + tau^2 alpha / 2)

where f is the share of gravity with which it falls: x^2 (3 - 2 x) of x = a.g / g^2 cut to 0 to 1. Without events, tau = h, that
is x0 + h v+ - h^2 f g / 2: exact in free fall (f = 1), and for what contact carries (f = 0) the semi-implicit rule, which is
stable in stiff contact where the trapezoid rule is not. Pieces put together are the whole: an impact that changes nothing
changes nothing. Every body flies by itself, undisturbed by others' events.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import (
    COORDINATES,
    DOFS,
    EVENT,
    EVENT_LINKS,
    EVENT_STATE,
    EVENT_STATES,
    EVENT_TIME,
    EVENT_TIME_BAR,
    FREE,
    LINK_AT,
    LINK_INTS,
    LINK_REALS,
    R_LINK_AT,
    H,
)  # fmt: skip


def flight_stage(real) -> SimpleNamespace:
    """Flights of links by number or, where the kind is known, by where things stand."""
    vf = vector_functions(real)
    vec3, mat3, load, store, add = vf.vec3, vf.mat3, vf.load, vf.store, vf.add
    weightless = 1e-20  # (m/s^2)^2

    @ti.func
    def start(integers: ti.template(), tape: ti.template(), now, events_at, count, link):
        """Of a link after the first ``count`` events: where its coordinates and velocities stand, since when it flies, and the
        record of its last event (-1: none)."""
        row = integers[LINK_AT] + LINK_INTS * link
        q_at, v_at = now + integers[row + 2], now + integers[COORDINATES] + integers[row + 3]
        since, last = ti.cast(0.0, real), -1
        for n in range(count):
            record = events_at + 1 + EVENT * n
            for side in range(2):
                if ti.cast(tape[record + EVENT_LINKS + side], ti.i32) == link:
                    q_at = record + EVENT_STATES + EVENT_STATE * side
                    v_at = q_at + 7
                    since = tape[record + EVENT_TIME]
                    last = record
        return q_at, v_at, since, last

    @ti.func
    def falling(a, g):
        """The share f of gravity with which a body falls, and its derivatives by a and g."""
        g2 = ti.max(g.dot(g), ti.static(weightless))
        x = ti.min(ti.max(a.dot(g) / g2, ti.cast(0.0, real)), ti.cast(1.0, real))
        slope = 6.0 * x * (1.0 - x) / g2
        return x * x * (3.0 - 2.0 * x), slope * g, slope * (a - 2.0 * x * g)

    @ti.func
    def rates(reals: ti.template(), inputs: ti.template(), inputs_at, tape: ti.template(), v_at, a_at):
        """Of the way: velocity and spin at its start, acceleration and that of the spin."""
        half = 0.5 * reals[H]
        a, alpha = load(tape, a_at), load(tape, a_at + 3)
        g = load(inputs, inputs_at)
        share, _by_a, _by_g = falling(a, g)
        return load(tape, v_at) + half * (a - share * g), load(tape, v_at + 3) + half * alpha, a, alpha

    @ti.func
    def flown(reals: ti.template(), inputs: ti.template(), inputs_at, tape: ti.template(), q_at, v_at, a_at, tau):
        """Position, quaternion, velocity and spin after the time ``tau``."""
        way, turning, a, alpha = rates(reals, inputs, inputs_at, tape, v_at, a_at)
        p = load(tape, q_at) + tau * (way + 0.5 * tau * a)
        Q = vf.turned(vf.load_quaternion(tape, q_at + 3), tau * (turning + 0.5 * tau * alpha))
        return p, Q, load(tape, v_at) + tau * a, load(tape, v_at + 3) + tau * alpha

    @ti.func
    def body(
        integers: ti.template(), reals: ti.template(), inputs: ti.template(), inputs_at, tape: ti.template(), now, link,
        q_at, v_at, tau,
    ):  # fmt: skip
        """Rotation, position, velocity and (world) angular velocity of a link after the time ``tau``, and how much faster its
        way is than that; a link without a free joint never moves."""
        rot, p = mat3(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0), vec3(0.0, 0.0, 0.0)
        v, omega, more, more_spin = p, p, p, p
        row = integers[LINK_AT] + LINK_INTS * link
        if integers[row + 1] == FREE:
            a_at = now + integers[COORDINATES] + integers[DOFS] + integers[row + 3]
            place, Q, velocity, spin = flown(reals, inputs, inputs_at, tape, q_at, v_at, a_at, tau)
            way, turning, _a, _alpha = rates(reals, inputs, inputs_at, tape, v_at, a_at)
            rot, p, v = vf.rotation(Q), place, velocity
            omega = rot @ spin
            more, more_spin = way - load(tape, v_at), rot @ (turning - load(tape, v_at + 3))
        else:
            i = link
            while i > 0:
                own = integers[R_LINK_AT] + LINK_REALS * i
                up = vf.load_matrix(reals, own + 3)
                p = load(reals, own) + up @ p
                rot = up @ rot
                i = integers[integers[LINK_AT] + LINK_INTS * i]
        return rot, p, v, omega, more, more_spin

    @ti.func
    def flown_adjoint(
        reals: ti.template(), inputs: ti.template(), inputs_at, tape: ti.template(), q_at, v_at, a_at, tau,
        p_bar, Q_bar, v_bar, spin_bar,
    ):  # fmt: skip
        """Adjoints of the quaternion at the start, of the turn since, and of ``tau``."""
        way, turning, a, alpha = rates(reals, inputs, inputs_at, tape, v_at, a_at)
        turn = tau * (turning + 0.5 * tau * alpha)
        Q0_bar, turn_bar = vf.turned_adjoint(vf.load_quaternion(tape, q_at + 3), turn, Q_bar)
        tau_bar = p_bar.dot(way + tau * a) + turn_bar.dot(turning + tau * alpha) + v_bar.dot(a) + spin_bar.dot(alpha)
        return Q0_bar, turn_bar, tau_bar

    @ti.func
    def settle(
        reals: ti.template(), inputs: ti.template(), inputs_at, tape: ti.template(), a_at,
        bars: ti.template(), q_bar_at, v_bar_at, a_bar_at, inputs_bar: ti.template(), bar_at, tau,
        p_bar, Q0_bar, v_bar, spin_bar, turn_bar,
    ):  # fmt: skip
        """Given the adjoints of position, velocity, spin, and turn after ``tau``: those of position, quaternion, velocity and
        spin at the start are set; those of the accelerations and of gravity are added to."""
        h = reals[H]
        share = 0.5 * tau * (h + tau)
        g = load(inputs, inputs_at)
        fall, by_a, by_g = falling(load(tape, a_at), g)
        fall_bar = (-0.5 * h * tau) * g.dot(p_bar)
        store(bars, q_bar_at, p_bar)
        for n in ti.static(range(4)):
            bars[q_bar_at + 3 + n] = Q0_bar[n]
        store(bars, v_bar_at, v_bar + tau * p_bar)
        store(bars, v_bar_at + 3, spin_bar + tau * turn_bar)
        add(bars, a_bar_at, tau * v_bar + share * p_bar + fall_bar * by_a)
        add(bars, a_bar_at + 3, tau * spin_bar + share * turn_bar)
        add(inputs_bar, bar_at, (-0.5 * h * tau * fall) * p_bar + fall_bar * by_g)

    @ti.func
    def bars_of(integers: ti.template(), bars: ti.template(), q_bar_at, v_bar_at, link):
        """Adjoints of a link's position, velocity and spin; zeros of what never moves."""
        p_bar, v_bar, w_bar = vec3(0.0, 0.0, 0.0), vec3(0.0, 0.0, 0.0), vec3(0.0, 0.0, 0.0)
        row = integers[LINK_AT] + LINK_INTS * link
        if integers[row + 1] == FREE:
            p_bar = load(bars, q_bar_at + integers[row + 2])
            v_bar, w_bar = load(bars, v_bar_at + integers[row + 3]), load(bars, v_bar_at + integers[row + 3] + 3)
        return p_bar, v_bar, w_bar

    @ti.func
    def time_adjoint(
        integers: ti.template(), reals: ti.template(), inputs: ti.template(), inputs_at, tape: ti.template(), now, link,
        q_at, v_at, tau, rot, slope, moment, bars: ti.template(), q_bar_at, p_bar, theta_bar, v_bar, w_bar,
    ):  # fmt: skip
        """Of a link: the gap's rate along its way, given its derivatives by place and turn; and the adjoint of the time."""
        along, t_bar = ti.cast(0.0, real), ti.cast(0.0, real)
        row = integers[LINK_AT] + LINK_INTS * link
        if integers[row + 1] == FREE:
            a_at, zero = now + integers[COORDINATES] + integers[DOFS] + integers[row + 3], vec3(0.0, 0.0, 0.0)
            _p, Q, _v, _w = flown(reals, inputs, inputs_at, tape, q_at, v_at, a_at, tau)
            Q_slope = vf.rotation_adjoint(Q, rot.transpose() @ moment)
            _Q0, _turn, along_ = flown_adjoint(
                reals, inputs, inputs_at, tape, q_at, v_at, a_at, tau, slope, Q_slope, zero, zero
            )
            Q_bar = vf.load_quaternion(bars, q_bar_at + integers[row + 2] + 3)
            Q_bar = Q_bar + vf.rotation_adjoint(Q, rot.transpose() @ theta_bar)
            _Q0_bar, _turn_bar, t_bar_ = flown_adjoint(
                reals, inputs, inputs_at, tape, q_at, v_at, a_at, tau, p_bar, Q_bar, v_bar, w_bar
            )
            along, t_bar = along_, t_bar_
        return along, t_bar

    @ti.func
    def way_adjoint(
        integers: ti.template(), reals: ti.template(), inputs: ti.template(), inputs_at, tape: ti.template(), now, link,
        q_at, v_at, tau, last, rot, bars: ti.template(), q_bar_at, v_bar_at, a_bar_at, inputs_bar: ti.template(), bar_at,
        p_bar, theta_bar, v_bar, w_bar,
    ):  # fmt: skip
        """Of a link: from the adjoints at an event to those at the start of the flight before it."""
        row = integers[LINK_AT] + LINK_INTS * link
        if integers[row + 1] == FREE:
            k = integers[row + 3]
            a_at, q_bar = now + integers[COORDINATES] + integers[DOFS] + k, q_bar_at + integers[row + 2]
            _p, Q, _v, _w = flown(reals, inputs, inputs_at, tape, q_at, v_at, a_at, tau)
            Q_bar = vf.load_quaternion(bars, q_bar + 3) + vf.rotation_adjoint(Q, rot.transpose() @ theta_bar)
            Q0_bar, turn_bar, tau_bar = flown_adjoint(
                reals, inputs, inputs_at, tape, q_at, v_at, a_at, tau, p_bar, Q_bar, v_bar, w_bar
            )
            settle(
                reals, inputs, inputs_at, tape, a_at, bars, q_bar, v_bar_at + k, a_bar_at + k, inputs_bar, bar_at, tau,
                p_bar, Q0_bar, v_bar, w_bar, turn_bar,
            )  # fmt: skip
            if last >= 0:
                tape[last + EVENT_TIME_BAR] = tape[last + EVENT_TIME_BAR] - tau_bar

    @ti.func
    def put(tape: ti.template(), q_at, v_at, p, Q, v, w):
        store(tape, q_at, p)
        for n in ti.static(range(4)):
            tape[q_at + 3 + n] = Q[n]
        store(tape, v_at, v)
        store(tape, v_at + 3, w)

    return SimpleNamespace(
        start=start, flown=flown, body=body, flown_adjoint=flown_adjoint, settle=settle, bars_of=bars_of,
        time_adjoint=time_adjoint, way_adjoint=way_adjoint, put=put,
    )  # fmt: skip
