"""The grid's stage: momentum to velocity, gravity, contact; forward beside adjoint."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

from diffsim.compiler import ti
from diffsim.soft.kernels.grid_contact import grid_contact
from diffsim.soft.soft_records import (
    COLLIDERS,
    DT,
    DX,
    FRICTIONS,
    GROUND,
    GROUND_FRICTION,
    INPUTS,
    LAYER,
    LOWER,
    ORIGIN,
    POSE,
    POSES,
    SHAPE,
    SHAPES,
    TWIST,
    TWISTS,
    UPPER,
)


def grid_stage(real: Any, *, shared_grid: bool) -> SimpleNamespace:
    """``update``, ``update_adjoint`` and ``reduce`` over rows [begin, end) of a box; a row is a line of nodes along z."""
    contact = grid_contact(real)
    vec3 = ti.types.vector(3, real)
    vec4 = ti.types.vector(4, real)
    mat3 = ti.types.matrix(3, 3, real)

    @ti.func
    def accumulate(target: ti.template(), index, value):
        if ti.static(shared_grid):
            ti.atomic_add(target[index], value)
        else:
            target[index] = target[index] + value

    @ti.func
    def load3(source: ti.template(), index):
        return vec3(source[index], source[index + 1], source[index + 2])

    @ti.func
    def load9(source: ti.template(), index):
        return mat3(
            source[index], source[index + 1], source[index + 2], source[index + 3], source[index + 4], source[index + 5],
            source[index + 6], source[index + 7], source[index + 8],
        )  # fmt: skip

    @ti.func
    def node_position(constants: ti.template(), i, j, k):
        dx = constants[DX]
        return vec3(
            constants[ORIGIN] + dx * ti.cast(i, real),
            constants[ORIGIN + 1] + dx * ti.cast(j, real),
            constants[ORIGIN + 2] + dx * ti.cast(k, real),
        )

    @ti.func
    def near(x: vec3, constants: ti.template(), inputs: ti.template(), shape, pose):
        """Whether x may be in the contact layer at all; a cheap test that spares most nodes the rest."""
        arm = x - load3(inputs, pose)
        reach = constants[shape + 4] + constants[LAYER]
        return arm[0] * arm[0] + arm[1] * arm[1] + arm[2] * arm[2] < reach * reach

    @ti.func
    def update(
        grid: ti.template(), velocity: ti.template(), constants: ti.template(), sizes: ti.template(), inputs: ti.template(),
        boxes: ti.template(), box, begin, end, e, s, offset, velocity_offset,
    ):  # fmt: skip
        """Node velocities from (momentum, mass): gravity, colliders in order, ground and walls."""
        colliders = sizes[COLLIDERS]
        low0, low1, low2 = boxes[box], boxes[box + 1], boxes[box + 2]
        n1, n2 = boxes[box + 4] - low1, boxes[box + 5] - low2
        own = e * sizes[INPUTS]
        frictions, twists, poses = own + sizes[FRICTIONS], own + sizes[TWISTS], own + sizes[POSES] + s * colliders * POSE
        dt = constants[DT]
        kick = dt * load3(inputs, own)
        lower, upper = load3(constants, LOWER), load3(constants, UPPER)
        ground, ground_friction = constants[GROUND], inputs[own + GROUND_FRICTION]
        for row in range(begin, end):
            i = row // n1
            j = row - i * n1
            for k in range(n2):
                index = row * n2 + k
                node = grid[offset + index]
                v = vec3(0.0)
                if node[3] > 0.0:
                    inverse = 1.0 / node[3]
                    v = vec3(node[0] * inverse, node[1] * inverse, node[2] * inverse) + kick
                    x = node_position(constants, low0 + i, low1 + j, low2 + k)
                    for m in range(colliders):
                        shape, twist, pose = SHAPES + SHAPE * m, twists + TWIST * m, poses + POSE * m
                        if near(x, constants, inputs, shape, pose):
                            v = contact.collide(
                                v, x, load3(constants, shape), constants[shape + 3], inputs[frictions + m], constants[LAYER],
                                load3(inputs, pose), load9(inputs, pose + 3), load3(inputs, twist), load3(inputs, twist + 3),
                            )  # fmt: skip
                    v = contact.bound(v, x, lower, upper, ground, ground_friction)
                velocity[velocity_offset + index] = vec4(v[0], v[1], v[2], 0.0)

    @ti.func
    def update_adjoint(
        grid: ti.template(), grid_bar: ti.template(), before: ti.template(), constants: ti.template(), sizes: ti.template(),
        inputs: ti.template(), inputs_bar: ti.template(),
        boxes: ti.template(), box, begin, end, e, s, offset, bar_offset, bar_row, before_row,
    ):  # fmt: skip
        """Turns the adjoint of the node velocities (and, in the fourth place, of the mass) into that of (momentum, mass), and
        adds up the inputs' in ``bar_row``."""
        colliders = sizes[COLLIDERS]
        low0, low1, low2 = boxes[box], boxes[box + 1], boxes[box + 2]
        n1, n2 = boxes[box + 4] - low1, boxes[box + 5] - low2
        own = e * sizes[INPUTS]
        frictions, twists, poses = own + sizes[FRICTIONS], own + sizes[TWISTS], own + sizes[POSES] + s * colliders * POSE
        dt = constants[DT]
        kick = dt * load3(inputs, own)
        lower, upper = load3(constants, LOWER), load3(constants, UPPER)
        ground, ground_friction = constants[GROUND], inputs[own + GROUND_FRICTION]
        to_bar = (bar_row - e) * sizes[INPUTS]  # from an input to its adjoint
        gravity_bar0, gravity_bar1, gravity_bar2 = ti.cast(0.0, real), ti.cast(0.0, real), ti.cast(0.0, real)
        ground_bar = ti.cast(0.0, real)
        for row in range(begin, end):
            i = row // n1
            j = row - i * n1
            for k in range(n2):
                index = row * n2 + k
                node = grid[offset + index]
                if node[3] > 0.0:
                    inverse = 1.0 / node[3]
                    free = vec3(node[0] * inverse, node[1] * inverse, node[2] * inverse)
                    v = free + kick
                    x = node_position(constants, low0 + i, low1 + j, low2 + k)
                    for m in range(colliders):
                        shape, twist, pose = SHAPES + SHAPE * m, twists + TWIST * m, poses + POSE * m
                        before[before_row * colliders + m] = vec4(v[0], v[1], v[2], 0.0)
                        if near(x, constants, inputs, shape, pose):
                            v = contact.collide(
                                v, x, load3(constants, shape), constants[shape + 3], inputs[frictions + m], constants[LAYER],
                                load3(inputs, pose), load9(inputs, pose + 3), load3(inputs, twist), load3(inputs, twist + 3),
                            )  # fmt: skip
                    bar = grid_bar[bar_offset + index]
                    v_bar, on_ground = contact.bound_adjoint(
                        v, x, lower, upper, ground, ground_friction, vec3(bar[0], bar[1], bar[2])
                    )
                    ground_bar = ground_bar + on_ground
                    for reverse in range(colliders):
                        m = colliders - 1 - reverse
                        shape, twist, pose = SHAPES + SHAPE * m, twists + TWIST * m, poses + POSE * m
                        if near(x, constants, inputs, shape, pose):
                            met = before[before_row * colliders + m]
                            v_bar, p_bar, R_bar, V_bar, omega_bar, mu_bar = contact.collide_adjoint(
                                vec3(met[0], met[1], met[2]), x,
                                load3(constants, shape), constants[shape + 3], inputs[frictions + m], constants[LAYER],
                                load3(inputs, pose), load9(inputs, pose + 3), load3(inputs, twist), load3(inputs, twist + 3),
                                v_bar,
                            )  # fmt: skip
                            accumulate(inputs_bar, to_bar + frictions + m, mu_bar)
                            for d in ti.static(range(3)):
                                accumulate(inputs_bar, to_bar + twist + d, V_bar[d])
                                accumulate(inputs_bar, to_bar + twist + 3 + d, omega_bar[d])
                                accumulate(inputs_bar, to_bar + pose + d, p_bar[d])
                                for h in ti.static(range(3)):
                                    accumulate(inputs_bar, to_bar + pose + 3 + 3 * d + h, R_bar[d, h])
                    gravity_bar0 = gravity_bar0 + dt * v_bar[0]
                    gravity_bar1 = gravity_bar1 + dt * v_bar[1]
                    gravity_bar2 = gravity_bar2 + dt * v_bar[2]
                    momentum_bar = v_bar * inverse
                    mass_bar = momentum_bar[0] * free[0] + momentum_bar[1] * free[1] + momentum_bar[2] * free[2]
                    grid_bar[bar_offset + index] = vec4(momentum_bar[0], momentum_bar[1], momentum_bar[2], bar[3] - mass_bar)
        accumulate(inputs_bar, to_bar + own, gravity_bar0)
        accumulate(inputs_bar, to_bar + own + 1, gravity_bar1)
        accumulate(inputs_bar, to_bar + own + 2, gravity_bar2)
        accumulate(inputs_bar, to_bar + own + GROUND_FRICTION, ground_bar)

    @ti.func
    def clear(grid: ti.template(), offset, begin, end):
        """Zero the nodes [begin, end) from ``offset`` on."""
        for n in range(begin, end):
            grid[offset + n] = vec4(0.0)

    @ti.func
    def reduce(grid: ti.template(), target, source, stride, parts, begin, end):
        """Nodes [begin, end) from ``target`` on become the sum of ``parts`` copies, ``stride`` apart from ``source`` on."""
        for n in range(begin, end):
            total = grid[source + n]
            for part in range(1, parts):
                total = total + grid[source + part * stride + n]
            grid[target + n] = total

    return SimpleNamespace(update=update, update_adjoint=update_adjoint, clear=clear, reduce=reduce)
