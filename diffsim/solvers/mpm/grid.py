"""The grid's stage: momentum to velocity, gravity, contact; forward beside adjoint."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

import taichi as ti

from diffsim.solvers.mpm.contact import grid_contact
from diffsim.solvers.mpm.memory import COLLIDERS, DT, DX, GROUND, LAYER, LOWER, ORIGIN, SHAPE, SUBSTEPS, UPPER, WORLD


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
        return vec3(source[3 * index], source[3 * index + 1], source[3 * index + 2])

    @ti.func
    def load9(source: ti.template(), index):
        i = 9 * index
        return mat3(
            source[i], source[i + 1], source[i + 2], source[i + 3], source[i + 4], source[i + 5],
            source[i + 6], source[i + 7], source[i + 8],
        )  # fmt: skip

    @ti.func
    def node_position(domain: ti.template(), i, j, k):
        dx = domain[DX]
        return vec3(
            domain[ORIGIN] + dx * ti.cast(i, real),
            domain[ORIGIN + 1] + dx * ti.cast(j, real),
            domain[ORIGIN + 2] + dx * ti.cast(k, real),
        )

    @ti.func
    def near(x: vec3, domain: ti.template(), collider_shape: ti.template(), collider_position: ti.template(), m, pose):
        """Whether x may be in the contact layer at all; a cheap test that spares most nodes the rest."""
        arm = x - load3(collider_position, pose)
        reach = collider_shape[SHAPE * m + 4] + domain[LAYER]
        return arm[0] * arm[0] + arm[1] * arm[1] + arm[2] * arm[2] < reach * reach

    @ti.func
    def update(
        grid: ti.template(), velocity: ti.template(), domain: ti.template(), sizes: ti.template(), world: ti.template(),
        collider_shape: ti.template(), collider_friction: ti.template(), collider_position: ti.template(),
        collider_rotation: ti.template(), collider_velocity: ti.template(), collider_spin: ti.template(),
        boxes: ti.template(), box, begin, end, e, s, offset, velocity_offset,
    ):  # fmt: skip
        """Node velocities from (momentum, mass): gravity, colliders in order, ground and walls."""
        colliders = sizes[COLLIDERS]
        low0, low1, low2 = boxes[box], boxes[box + 1], boxes[box + 2]
        n1, n2 = boxes[box + 4] - low1, boxes[box + 5] - low2
        dt = domain[DT]
        kick = vec3(dt * world[e * WORLD], dt * world[e * WORLD + 1], dt * world[e * WORLD + 2])
        lower = vec3(domain[LOWER], domain[LOWER + 1], domain[LOWER + 2])
        upper = vec3(domain[UPPER], domain[UPPER + 1], domain[UPPER + 2])
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
                    x = node_position(domain, low0 + i, low1 + j, low2 + k)
                    for m in range(colliders):
                        pose = (e * sizes[SUBSTEPS] + s) * colliders + m
                        twist = e * colliders + m
                        if near(x, domain, collider_shape, collider_position, m, pose):
                            c = SHAPE * m
                            v = contact.collide(
                                    v, x, vec3(collider_shape[c], collider_shape[c + 1], collider_shape[c + 2]),
                                    collider_shape[c + 3], collider_friction[twist], domain[LAYER],
                                    load3(collider_position, pose), load9(collider_rotation, pose),
                                    load3(collider_velocity, twist), load3(collider_spin, twist),
                                )  # fmt: skip
                    v = contact.bound(v, x, lower, upper, domain[GROUND], world[e * WORLD + 3])
                velocity[velocity_offset + index] = vec4(v[0], v[1], v[2], 0.0)

    @ti.func
    def update_adjoint(
        grid: ti.template(), grid_bar: ti.template(), before: ti.template(),
        domain: ti.template(), sizes: ti.template(), world: ti.template(),
        collider_shape: ti.template(), collider_friction: ti.template(), collider_position: ti.template(),
        collider_rotation: ti.template(), collider_velocity: ti.template(), collider_spin: ti.template(),
        world_bar: ti.template(), friction_bar: ti.template(), position_bar: ti.template(), rotation_bar: ti.template(),
        velocity_bar: ti.template(), spin_bar: ti.template(),
        boxes: ti.template(), box, begin, end, e, s, offset, bar_offset, bar_row, before_row,
    ):  # fmt: skip
        """Turns the adjoint of the node velocities into that of (momentum, mass), and adds up the colliders' and the world's
        in row ``bar_row``."""
        colliders = sizes[COLLIDERS]
        low0, low1, low2 = boxes[box], boxes[box + 1], boxes[box + 2]
        n1, n2 = boxes[box + 4] - low1, boxes[box + 5] - low2
        dt = domain[DT]
        kick = vec3(dt * world[e * WORLD], dt * world[e * WORLD + 1], dt * world[e * WORLD + 2])
        lower = vec3(domain[LOWER], domain[LOWER + 1], domain[LOWER + 2])
        upper = vec3(domain[UPPER], domain[UPPER + 1], domain[UPPER + 2])
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
                    x = node_position(domain, low0 + i, low1 + j, low2 + k)
                    for m in range(colliders):
                        pose = (e * sizes[SUBSTEPS] + s) * colliders + m
                        twist = e * colliders + m
                        saved = 3 * (before_row * colliders + m)
                        for d in ti.static(range(3)):
                            before[saved + d] = v[d]
                        if near(x, domain, collider_shape, collider_position, m, pose):
                            c = SHAPE * m
                            v = contact.collide(
                                    v, x, vec3(collider_shape[c], collider_shape[c + 1], collider_shape[c + 2]),
                                    collider_shape[c + 3], collider_friction[twist], domain[LAYER],
                                    load3(collider_position, pose), load9(collider_rotation, pose),
                                    load3(collider_velocity, twist), load3(collider_spin, twist),
                                )  # fmt: skip
                    bar = grid_bar[bar_offset + index]
                    v_bar, on_ground = contact.bound_adjoint(
                        v, x, lower, upper, domain[GROUND], world[e * WORLD + 3], vec3(bar[0], bar[1], bar[2])
                    )
                    ground_bar = ground_bar + on_ground
                    for reverse in range(colliders):
                        m = colliders - 1 - reverse
                        pose = (e * sizes[SUBSTEPS] + s) * colliders + m
                        twist = e * colliders + m
                        if near(x, domain, collider_shape, collider_position, m, pose):
                            c = SHAPE * m
                            v_bar, p_bar, R_bar, V_bar, omega_bar, mu_bar = contact.collide_adjoint(
                                    load3(before, before_row * colliders + m), x,
                                    vec3(collider_shape[c], collider_shape[c + 1], collider_shape[c + 2]),
                                    collider_shape[c + 3], collider_friction[twist], domain[LAYER],
                                    load3(collider_position, pose), load9(collider_rotation, pose),
                                    load3(collider_velocity, twist), load3(collider_spin, twist), v_bar,
                                )  # fmt: skip
                            pose_bar = (bar_row * sizes[SUBSTEPS] + s) * colliders + m
                            twist_bar = bar_row * colliders + m
                            accumulate(friction_bar, twist_bar, mu_bar)
                            for d in ti.static(range(3)):
                                accumulate(position_bar, 3 * pose_bar + d, p_bar[d])
                                accumulate(velocity_bar, 3 * twist_bar + d, V_bar[d])
                                accumulate(spin_bar, 3 * twist_bar + d, omega_bar[d])
                                for h in ti.static(range(3)):
                                    accumulate(rotation_bar, 9 * pose_bar + 3 * d + h, R_bar[d, h])
                    gravity_bar0 = gravity_bar0 + dt * v_bar[0]
                    gravity_bar1 = gravity_bar1 + dt * v_bar[1]
                    gravity_bar2 = gravity_bar2 + dt * v_bar[2]
                    momentum_bar = v_bar * inverse
                    mass_bar = momentum_bar[0] * free[0] + momentum_bar[1] * free[1] + momentum_bar[2] * free[2]
                    grid_bar[bar_offset + index] = vec4(momentum_bar[0], momentum_bar[1], momentum_bar[2], -mass_bar)
        accumulate(world_bar, bar_row * WORLD, gravity_bar0)
        accumulate(world_bar, bar_row * WORLD + 1, gravity_bar1)
        accumulate(world_bar, bar_row * WORLD + 2, gravity_bar2)
        accumulate(world_bar, bar_row * WORLD + 3, ground_bar)

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
