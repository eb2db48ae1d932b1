"""Particles pinned to the world, to a tool or to a link: impulses on the grid's velocities before the particles gather them;
forward beside adjoint. docs/attachments.md says what a user sees.

A particle at x has its anchor at p + r, r = R place, which moves with a = V + omega x r. With the gathered velocity
u = sum w_i v_i, its impulse J is such that

    u + K J = a + (p + r - x) g / (2 B) - J (c + (1 - g) s / g),    K = sum w_i^2 / m_i,    B = g h + (1 - g) tau

and goes to the grid as v_i += w_i J / m_i. The grip g in [0, 1] is the attachment's strength, less where the particle is far
from its anchor. At g = 1 the particle moves with the anchor, and is drawn to it in two substeps; at g < 1 it hangs by a damped
spring, whatever the substep and the grid are, by s = tau / (mass h): the rates of its damping and of its creep to the anchor
are g / (1 - g) / tau and half of that. c is how much a link recoils (`PinConstants.recoil`): light links do not swing.

Pinned particles share nodes: they take their impulses one after the other (a sweep of Gauss-Seidel), in an order that the host
has shuffled. In the order of the lattice the hold was off in the direction of that order by four times as much, and a second
sweep did not help. If x and v were overwritten instead, the particle would creep: its nodes see its momentum as one share of
many.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any, NamedTuple

from diffsim.compiler import compile_time, ti
from diffsim.soft.kernels.boxes import strides
from diffsim.soft.kernels.spline_nodes import spline_nodes
from diffsim.soft.soft_records import (
    LINK,
    TOOL,
    ColliderPose,
    ColliderTwist,
    Component,
    Constants,
    Pin,
    PinConstants,
    Sizes,
)


@compile_time
class PinPlace(NamedTuple):
    """A pinned particle within a substep.

    pin, constants: where its `Pin` and `PinConstants` begin; pull: where its impulse stands; tile: its tile on the tape;
    strength: where the strength stands in a row of inputs.
    """

    pin: Any
    constants: Any
    pull: Any
    tile: Any
    strength: Any


@compile_time
class Frame(NamedTuple):
    """What a particle is pinned to: origin, rotation, velocity of the origin, angular velocity."""

    origin: Any
    rotation: Any
    velocity: Any
    angular_velocity: Any


@compile_time
class Nodes(NamedTuple):
    """A particle's nodes: the first in the box, the weights along the axes."""

    first: Any
    x: Any
    y: Any
    z: Any


def pinned_particles(real: Any, links: SimpleNamespace | None = None) -> SimpleNamespace:
    """``hold``, ``react`` and ``hold_adjoint``. ``links``: how links move and what pulls at them
    (`diffsim.coupling.kernels.link_anchors`); their arguments ``m`` and ``at`` go there."""
    vec3, vec4 = ti.types.vector(3, real), ti.types.vector(4, real)
    mat3, splines = ti.types.matrix(3, 3, real), spline_nodes(real)
    linked = links is not None

    @ti.func
    def load3(source: ti.template(), index):
        return vec3([source[index + d] for d in ti.static(range(3))])

    @ti.func
    def add3(target: ti.template(), index, value):
        for d in ti.static(range(3)):
            target[index + d] = target[index + d] + value[d]

    @ti.func
    def three(v):
        return vec3(v[0], v[1], v[2])

    @ti.func
    def pin_place(soft: ti.template(), step: ti.template(), row, n):
        """The nth pinned particle, as `PinPlace`; the tiles' row on the tape begins at tile ``row``."""
        pin = soft.sizes[Sizes.first_pin] + Pin.SIZE * n
        strength = soft.sizes[Sizes.strengths] + step.substep * soft.sizes[Sizes.attachments]
        return (
            pin,
            soft.sizes[Sizes.pin_constants] + PinConstants.SIZE * n,
            step.pulls + n,
            (row + soft.sizes[pin + Pin.tile]) * Component.SIZE,
            strength + soft.sizes[pin + Pin.attachment],
        )

    # the nodes

    @ti.func
    def position(tape: ti.template(), tile, lane):
        x = vec3(0.0)
        for d in ti.static(range(3)):
            lanes = tape[tile + Component.x + d]
            x[d] = lanes[lane]
        return x

    @ti.func
    def add_position_bar(tape_bars: ti.template(), tile, lane, x_bar):
        for d in ti.static(range(3)):
            lanes = tape_bars[tile + Component.x + d]
            lanes[lane] = lanes[lane] + x_bar[d]
            tape_bars[tile + Component.x + d] = lanes

    @ti.func
    def first_node(soft: ti.template(), step: ti.template(), x):
        """The first of a particle's nodes within the box, and where it stands from there, in cells."""
        stride_x, stride_y = strides(soft.boxes, step.box)
        i, fx = splines.along(soft, step, x[0], 0)
        j, fy = splines.along(soft, step, x[1], 1)
        k, fz = splines.along(soft, step, x[2], 2)
        return i * stride_x + j * stride_y + k, fx, fy, fz

    @ti.func
    def gather(soft: ti.template(), step: ti.template(), at: ti.template()):
        """The velocity there, and what an impulse of one changes it by."""
        stride_x, stride_y = strides(soft.boxes, step.box)
        u, response = vec4(0.0), ti.cast(0.0, real)
        for i in range(3):
            for j in range(3):
                wxy = at.x[i] * at.y[j]
                node = step.velocity + at.first + i * stride_x + j * stride_y
                for l in ti.static(range(3)):
                    w, there = wxy * at.z[l], soft.velocity[node + l]
                    u = u + w * there
                    response = response + w * w * there[3]
        return three(u), response

    @ti.func
    def add_impulse(soft: ti.template(), step: ti.template(), at: ti.template(), J):
        """The nodes' velocities grow by w J / mass."""
        stride_x, stride_y = strides(soft.boxes, step.box)
        value = vec4(J[0], J[1], J[2], 0.0)
        for i in range(3):
            for j in range(3):
                wxy = at.x[i] * at.y[j]
                node = step.velocity + at.first + i * stride_x + j * stride_y
                for l in ti.static(range(3)):
                    old = soft.velocity[node + l]
                    soft.velocity[node + l] = old + wxy * at.z[l] * old[3] * value

    @ti.func
    def impulse_adjoint(
        soft: ti.template(), bars: ti.template(), step: ti.template(), at: ti.template(), slope: ti.template(), J
    ):
        """Of `add_impulse`: the adjoints of J and of x; those of the masses are added to."""
        stride_x, stride_y = strides(soft.boxes, step.box)
        J_bar, x_bar = vec4(0.0), vec3(0.0)
        for i in range(3):
            for j in range(3):
                node = at.first + i * stride_x + j * stride_y
                for l in ti.static(range(3)):
                    w = at.x[i] * at.y[j] * at.z[l]
                    bar, inverse = bars.grid[step.grid_bar + node + l], soft.velocity[step.velocity + node + l][3]
                    given = inverse * (bar[0] * J[0] + bar[1] * J[1] + bar[2] * J[2])
                    J_bar = J_bar + w * inverse * bar
                    x_bar = x_bar + given * vec3(
                        slope.x[i] * at.y[j] * at.z[l], at.x[i] * slope.y[j] * at.z[l], at.x[i] * at.y[j] * slope.z[l]
                    )
                    bars.grid[step.grid_bar + node + l] = bar - vec4(0.0, 0.0, 0.0, inverse * w * given)
        return three(J_bar), x_bar

    @ti.func
    def gather_adjoint(
        soft: ti.template(), bars: ti.template(), step: ti.template(), at: ti.template(), slope: ti.template(), u_bar,
        response_bar,
    ):  # fmt: skip
        """Of `gather`: the adjoint of x; those of the velocities and masses are added to."""
        stride_x, stride_y = strides(soft.boxes, step.box)
        value, x_bar = vec4(u_bar[0], u_bar[1], u_bar[2], 0.0), vec3(0.0)
        for i in range(3):
            for j in range(3):
                node = at.first + i * stride_x + j * stride_y
                for l in ti.static(range(3)):
                    w = at.x[i] * at.y[j] * at.z[l]
                    there = soft.velocity[step.velocity + node + l]
                    inverse = there[3]
                    w_bar = there[0] * u_bar[0] + there[1] * u_bar[1] + there[2] * u_bar[2] + 2.0 * w * inverse * response_bar
                    x_bar = x_bar + w_bar * vec3(
                        slope.x[i] * at.y[j] * at.z[l], at.x[i] * slope.y[j] * at.z[l], at.x[i] * at.y[j] * slope.z[l]
                    )
                    mass_bar = -(w * w * inverse * inverse * response_bar)
                    bars.grid[step.grid_bar + node + l] = (
                        bars.grid[step.grid_bar + node + l] + w * value + vec4(0.0, 0.0, 0.0, mass_bar)
                    )
        return x_bar

    # what particles are pinned to

    @ti.func
    def tool_at(soft: ti.template(), step: ti.template(), row, holder):
        """Where a tool's twist and its pose at the substep begin, in the row of inputs that begins at ``row``."""
        poses = row + soft.sizes[Sizes.poses] + step.substep * soft.sizes[Sizes.colliders] * ColliderPose.SIZE
        return row + soft.sizes[Sizes.twists] + ColliderTwist.SIZE * holder, poses + ColliderPose.SIZE * holder

    @ti.func
    def frame_of(soft: ti.template(), step: ti.template(), m: ti.template(), at: ti.template(), pin):
        """As `Frame`, and how long after the start of the substep it is there."""
        kind, holder = soft.sizes[pin + Pin.kind], soft.sizes[pin + Pin.holder]
        p, V, omega, ahead = vec3(0.0), vec3(0.0), vec3(0.0), ti.cast(0.0, real)
        R = mat3([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
        if kind == TOOL:
            twist, pose = tool_at(soft, step, step.environment * soft.sizes[Sizes.inputs], holder)
            p = load3(soft.inputs, pose + ColliderPose.position)
            R = mat3(
                [
                    [soft.inputs[pose + ColliderPose.rotation + 3 * i + j] for j in ti.static(range(3))]
                    for i in ti.static(range(3))
                ]
            )
            V = load3(soft.inputs, twist + ColliderTwist.velocity)
            omega = load3(soft.inputs, twist + ColliderTwist.angular_velocity)
        if ti.static(linked):  # noqa: SIM102
            if kind == LINK:
                p, R, V, omega, ahead = links.frame(m, at, holder)
        return p, R, V, omega, ahead

    @ti.func
    def frame_adjoint(
        soft: ti.template(), bars: ti.template(), step: ti.template(), m: ti.template(), at: ti.template(), pin,
        bar: ti.template(), place, r,
    ):  # fmt: skip
        """Adds to the adjoints of what a particle is pinned to; ``bar.rotation`` is the adjoint of the arm r = R place."""
        kind, holder = soft.sizes[pin + Pin.kind], soft.sizes[pin + Pin.holder]
        if kind == TOOL:
            twist, pose = tool_at(soft, step, step.inputs_bar * soft.sizes[Sizes.inputs], holder)
            add3(bars.inputs, pose + ColliderPose.position, bar.origin)
            for i in ti.static(range(3)):
                add3(bars.inputs, pose + ColliderPose.rotation + 3 * i, bar.rotation[i] * place)
            add3(bars.inputs, twist + ColliderTwist.velocity, bar.velocity)
            add3(bars.inputs, twist + ColliderTwist.angular_velocity, bar.angular_velocity)
        if ti.static(linked):  # noqa: SIM102
            if kind == LINK:
                links.frame_adjoint(m, at, holder, bar, r)

    @ti.func
    def grip_of(strength, err, reach):
        """The grip, and its slopes by the strength and by the square of the distance: whole up to half of the reach squared."""
        y = err.dot(err) / (reach * reach)
        t = ti.max(ti.min(2.0 * (1.0 - y), ti.cast(1.0, real)), ti.cast(0.0, real))
        share = t * t * (3.0 - 2.0 * t)
        return strength * share, share, -12.0 * strength * t * (1.0 - t) / (reach * reach)

    # forward

    @ti.func
    def pull(soft: ti.template(), step: ti.template(), m: ti.template(), at: ti.template(), me: ti.template()):
        """A pinned particle's impulse."""
        c = me.constants
        strength = soft.inputs[step.environment * soft.sizes[Sizes.inputs] + me.strength]
        J = vec3(0.0)
        if strength >= 0.0:
            x = position(soft.tape, me.tile, soft.sizes[me.pin + Pin.lane])
            first, fx, fy, fz = first_node(soft, step, x)
            wx, wy, wz = splines.weights(fx), splines.weights(fy), splines.weights(fz)
            nodes = ti.static(Nodes(first, wx, wy, wz))
            u, K = gather(soft, step, nodes)
            p, R, V, omega, ahead = frame_of(soft, step, m, at, me.pin)
            r = R @ load3(soft.constants, c + PinConstants.place)
            a = V + omega.cross(r)
            err = p + r - x - ahead * a
            tau = soft.constants[c + PinConstants.grip_time]
            g, _share, _slope = grip_of(strength, err, soft.constants[c + PinConstants.reach])
            B = g * soft.constants[Constants.dt] + (1.0 - g) * tau
            E = g * soft.constants[c + PinConstants.recoil] + (1.0 - g) * soft.constants[c + PinConstants.yielding]
            J = (g / (g * K + E)) * (a + (0.5 * g / B) * err - u)
            add_impulse(soft, step, nodes, J)
        soft.velocity[me.pull] = vec4(J[0], J[1], J[2], 0.0)

    @ti.func
    def hold(soft: ti.template(), step: ti.template(), row, m: ti.template(), at: ti.template()):
        """All impulses; the particles stand in the row of the tape that begins at tile ``row``."""
        for n in range(soft.sizes[Sizes.pins]):
            pin, constants, own_pull, tile, strength = pin_place(soft, step, row, n)
            pull(soft, step, m, at, PinPlace(pin, constants, own_pull, tile, strength))

    @ti.func
    def react(soft: ti.template(), step: ti.template(), row, m: ti.template(), at: ti.template()):
        """After `hold`: the links get the opposite wrenches."""
        for n in range(soft.sizes[Sizes.pins]):
            pin, _constants, own_pull, tile, _strength = pin_place(soft, step, row, n)
            if soft.sizes[pin + Pin.kind] == LINK:
                x = position(soft.tape, tile, soft.sizes[pin + Pin.lane])
                links.react(m, at, soft.sizes[pin + Pin.holder], x, three(soft.velocity[own_pull]))

    # backward

    @ti.func
    def pull_adjoint(
        soft: ti.template(), bars: ti.template(), step: ti.template(), m: ti.template(), at: ti.template(), me: ti.template(),
        bar_tile,
    ):  # fmt: skip
        """Reverse of `pull` and of its reaction, given the velocities after it; they become those before it."""
        c, lane = me.constants, soft.sizes[me.pin + Pin.lane]
        strength = soft.inputs[step.environment * soft.sizes[Sizes.inputs] + me.strength]
        if strength >= 0.0:
            x, J = position(soft.tape, me.tile, lane), three(soft.velocity[me.pull])
            first, fx, fy, fz = first_node(soft, step, x)
            wx, wy, wz = splines.weights(fx), splines.weights(fy), splines.weights(fz)
            sx, sy, sz = splines.slopes(soft, fx), splines.slopes(soft, fy), splines.slopes(soft, fz)
            nodes, slope = ti.static(Nodes(first, wx, wy, wz), Nodes(first, sx, sy, sz))
            add_impulse(soft, step, nodes, -1.0 * J)
            u, K = gather(soft, step, nodes)
            J_bar, x_bar = impulse_adjoint(soft, bars, step, nodes, slope, J)
            if ti.static(linked):  # noqa: SIM102
                if soft.sizes[me.pin + Pin.kind] == LINK:
                    reaction_bar, place_bar = links.react_adjoint(m, at, soft.sizes[me.pin + Pin.holder], x, J)
                    J_bar = J_bar + reaction_bar
                    x_bar = x_bar + place_bar
            p, R, V, omega, ahead = frame_of(soft, step, m, at, me.pin)
            place = load3(soft.constants, c + PinConstants.place)
            r = R @ place
            a = V + omega.cross(r)
            err = p + r - x - ahead * a
            h, tau = soft.constants[Constants.dt], soft.constants[c + PinConstants.grip_time]
            recoil, yielding = soft.constants[c + PinConstants.recoil], soft.constants[c + PinConstants.yielding]
            g, share, share_slope = grip_of(strength, err, soft.constants[c + PinConstants.reach])
            B, E = g * h + (1.0 - g) * tau, g * recoil + (1.0 - g) * yielding
            rate, D = 0.5 * g / B, g * K + E
            missing = a + rate * err - u
            # J = g missing / D, D = g K + E
            numerator_bar = J_bar / D
            D_bar = -numerator_bar.dot(J)
            target_bar = g * numerator_bar
            g_bar = numerator_bar.dot(missing) + D_bar * (K + recoil - yielding) + 0.5 * tau / (B * B) * target_bar.dot(err)
            x_bar = x_bar + gather_adjoint(soft, bars, step, nodes, slope, -1.0 * target_bar, g * D_bar)
            err_bar = rate * target_bar + (2.0 * share_slope * g_bar) * err
            a_bar = target_bar - ahead * err_bar
            arm_bar = err_bar + a_bar.cross(omega)
            spin_bar = r.cross(a_bar)
            frame_adjoint(soft, bars, step, m, at, me.pin, Frame(err_bar, arm_bar, a_bar, spin_bar), place, r)
            at_input = step.inputs_bar * soft.sizes[Sizes.inputs] + me.strength
            bars.inputs[at_input] = bars.inputs[at_input] + share * g_bar
            add_position_bar(bars.tape, bar_tile, lane, x_bar - err_bar)

    @ti.func
    def hold_adjoint(
        soft: ti.template(), bars: ti.template(), step: ti.template(), row, bar_row, m: ti.template(), at: ti.template()
    ):
        """Reverse of `hold` and `react`, given the impulses, the velocities after them, and the adjoints of those: to the
        adjoints of the velocities before, of the masses, and of the particles' positions, in the row from ``bar_row`` on."""
        pins = soft.sizes[Sizes.pins]
        for back in range(pins):
            pin, constants, own_pull, tile, strength = pin_place(soft, step, row, pins - 1 - back)
            bar_tile = (bar_row + soft.sizes[pin + Pin.tile]) * Component.SIZE
            pull_adjoint(soft, bars, step, m, at, PinPlace(pin, constants, own_pull, tile, strength), bar_tile)

    return SimpleNamespace(hold=hold, react=react, hold_adjoint=hold_adjoint)
