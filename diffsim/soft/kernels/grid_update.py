"""The grid's stage: momentum to velocity, gravity, contact; forward beside adjoint.

Behind the nodes of a box lie, in scenes with flowing bodies, as many again: those bodies' momentum before any force.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any, NamedTuple

from diffsim.compiler import compile_time, ti
from diffsim.soft.kernels.boxes import low, node_count, side
from diffsim.soft.kernels.grid_contact import Bounds, Collider, grid_contact
from diffsim.soft.kernels.impulse_sums import impulse_sums
from diffsim.soft.soft_records import ColliderPose, ColliderShape, ColliderTwist, Constants, ImpulseSum, Sizes, WorldInputs


@compile_time
class Row(NamedTuple):
    """Where the parts of an environment's row of inputs begin; poses at one substep."""

    world: Any
    frictions: Any
    twists: Any
    poses: Any


def grid_stage(real: Any, flowing: bool, recording: bool, *, shared_grid: bool) -> SimpleNamespace:
    """``update``, ``update_adjoint`` and ``reduce`` over rows [begin, end) of a box; a row is a line of nodes along z.
    ``flowing``: some body of the scene is (`diffsim.scene.materials.Material`); ``recording``: the impulses on colliders, the
    ground and the walls are added up."""
    contact, sums = grid_contact(real), impulse_sums(real, shared_grid=shared_grid)
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
        return vec3([source[index + d] for d in ti.static(range(3))])

    @ti.func
    def load9(source: ti.template(), index):
        return mat3([[source[index + 3 * i + j] for j in ti.static(range(3))] for i in ti.static(range(3))])

    @ti.func
    def node_position(constants: ti.template(), i, j, k):
        dx = constants[Constants.dx]
        return load3(constants, Constants.origin) + vec3(dx * ti.cast(i, real), dx * ti.cast(j, real), dx * ti.cast(k, real))

    @ti.func
    def row_of(sizes: ti.template(), environment, substep):
        """Where the parts of an environment's row of inputs begin, as `Row`."""
        own = environment * sizes[Sizes.inputs]
        poses = own + sizes[Sizes.poses] + substep * sizes[Sizes.colliders] * ColliderPose.SIZE
        return own, own + sizes[Sizes.frictions], own + sizes[Sizes.twists], poses

    @ti.func
    def near(x: vec3, soft: ti.template(), row: ti.template(), m):
        """Whether x may be in collider m's contact layer at all; a cheap test that spares most nodes the rest."""
        arm = x - load3(soft.inputs, row.poses + ColliderPose.SIZE * m + ColliderPose.position)
        shape = Constants.SIZE + ColliderShape.SIZE * m
        reach = soft.constants[shape + ColliderShape.reach] + soft.constants[Constants.layer]
        return arm[0] * arm[0] + arm[1] * arm[1] + arm[2] * arm[2] < reach * reach

    @ti.func
    def collider_of(soft: ti.template(), row: ti.template(), m):
        """Collider m, as `grid_contact.Collider`."""
        shape = Constants.SIZE + ColliderShape.SIZE * m
        twist, pose = row.twists + ColliderTwist.SIZE * m, row.poses + ColliderPose.SIZE * m
        return (
            load3(soft.constants, shape + ColliderShape.core),
            soft.constants[shape + ColliderShape.circle],
            soft.constants[shape + ColliderShape.radius],
            soft.constants[Constants.layer],
            soft.constants[Constants.decay],
            soft.inputs[row.frictions + m],
            load3(soft.inputs, pose + ColliderPose.position),
            load9(soft.inputs, pose + ColliderPose.rotation),
            load3(soft.inputs, twist + ColliderTwist.velocity),
            load3(soft.inputs, twist + ColliderTwist.angular_velocity),
        )

    @ti.func
    def collide(v: vec3, x: vec3, mass, soft: ti.template(), step: ti.template(), row: ti.template(), m, record: ti.template()):
        """A node's velocity after collider m."""
        result = v
        if near(x, soft, row, m):
            core, circle, radius, layer, decay, friction, p, R, V, omega = collider_of(soft, row, m)
            result = contact.collide(v, x, Collider(core, circle, radius, layer, decay, friction, p, R, V, omega))
            if ti.static(record):
                sums.add(soft.inputs, step.sums + ImpulseSum.SIZE * m, x - p, mass * (v - result))
        return result

    @ti.func
    def update(soft: ti.template(), step: ti.template(), begin, end, again: ti.template()):
        """Node velocities and, in the fourth place, inverse masses from (momentum, mass): gravity, colliders in order, ground
        and walls. What a node loses to one of them is its impulse on it; found ``again`` for the adjoint, none is added."""
        record = ti.static(recording and not again)
        colliders = soft.sizes[Sizes.colliders]
        low0, low1, low2 = low(soft.boxes, step.box, 0), low(soft.boxes, step.box, 1), low(soft.boxes, step.box, 2)
        n1, n2 = side(soft.boxes, step.box, 1), side(soft.boxes, step.box, 2)
        world, frictions, twists, poses = row_of(soft.sizes, step.environment, step.substep)
        inputs_row = ti.static(Row(world, frictions, twists, poses))
        kick = soft.constants[Constants.dt] * load3(soft.inputs, world + WorldInputs.gravity)
        lower, upper = load3(soft.constants, Constants.lower), load3(soft.constants, Constants.upper)
        ground, ground_friction = soft.constants[Constants.ground], soft.inputs[world + WorldInputs.ground_friction]
        behind = node_count(soft.boxes, step.box)
        for row in range(begin, end):
            i = row // n1
            j = row - i * n1
            for k in range(n2):
                index = row * n2 + k
                node = soft.grid[step.grid + index]
                v, inverse = vec3(0.0), ti.cast(0.0, real)
                if node[3] > 0.0:
                    inverse = 1.0 / node[3]
                    v = vec3(node[0] * inverse, node[1] * inverse, node[2] * inverse) + kick
                    x = node_position(soft.constants, low0 + i, low1 + j, low2 + k)
                    for m in range(colliders):
                        v = collide(v, x, node[3], soft, step, inputs_row, m, record)
                    after_ground = contact.meet_ground(v, x, Bounds(ground, ground_friction, lower, upper))
                    after = contact.meet_walls(after_ground, x, Bounds(ground, ground_friction, lower, upper))
                    if ti.static(record):
                        at = step.sums + ImpulseSum.SIZE * colliders
                        sums.add(soft.inputs, at, x, node[3] * (v - after_ground))
                        sums.add(soft.inputs, at + ImpulseSum.SIZE, x, node[3] * (after_ground - after))
                    v = after
                soft.velocity[step.velocity + index] = vec4(v[0], v[1], v[2], inverse)
                if ti.static(flowing):
                    prior = soft.grid[step.grid + behind + index]
                    own = ti.cast(0.0, real)
                    if prior[3] > 0.0:
                        own = 1.0 / prior[3]
                    soft.velocity[step.velocity + behind + index] = vec4(prior[0] * own, prior[1] * own, prior[2] * own, own)

    @ti.func
    def collide_adjoint(
        v: vec3, after: vec3, x: vec3, mass, soft: ti.template(), bars: ti.template(), step: ti.template(),
        row: ti.template(), bar_row: ti.template(), m, result_bar: vec3,
    ):  # fmt: skip
        """From the velocities before and after collider m, adjoints of the one before and, through its impulse, of the mass;
        the collider's inputs' are added to those that begin at ``bar_row``."""
        v_bar, mass_bar = result_bar, ti.cast(0.0, real)
        inputs_bar = ti.static(bars.inputs)
        if near(x, soft, row, m):
            core, circle, radius, layer, decay, friction, p, R, V, omega = collider_of(soft, row, m)
            after_bar, change_bar = result_bar, vec3(0.0)
            if ti.static(recording):
                change_bar = mass * sums.impulse_bar(soft.inputs, step.sums + ImpulseSum.SIZE * m, x - p)
                after_bar = result_bar - change_bar
            v_bar, p_bar, R_bar, V_bar, omega_bar, mu_bar = contact.collide_adjoint(
                v, x, Collider(core, circle, radius, layer, decay, friction, p, R, V, omega), after_bar
            )
            if ti.static(recording):
                v_bar = v_bar + change_bar
                p_bar = p_bar - sums.arm_bar(soft.inputs, step.sums + ImpulseSum.SIZE * m, mass * (v - after))
                mass_bar = (v - after).dot(change_bar) / mass
            twist, pose = bar_row.twists + ColliderTwist.SIZE * m, bar_row.poses + ColliderPose.SIZE * m
            accumulate(inputs_bar, bar_row.frictions + m, mu_bar)
            for d in ti.static(range(3)):
                accumulate(inputs_bar, twist + ColliderTwist.velocity + d, V_bar[d])
                accumulate(inputs_bar, twist + ColliderTwist.angular_velocity + d, omega_bar[d])
                accumulate(inputs_bar, pose + ColliderPose.position + d, p_bar[d])
                for h in ti.static(range(3)):
                    accumulate(inputs_bar, pose + ColliderPose.rotation + 3 * d + h, R_bar[d, h])
        return v_bar, mass_bar

    @ti.func
    def bounds_adjoint(
        v: vec3, x: vec3, mass, soft: ti.template(), step: ti.template(), bounds: ti.template(), result_bar: vec3
    ):
        """From the velocity before ground and walls, adjoints of it, of the ground's friction and, through the impulses, of the
        mass."""
        after_ground = contact.meet_ground(v, x, bounds)
        after_bar, ground_change_bar, wall_change_bar = result_bar, vec3(0.0), vec3(0.0)
        if ti.static(recording):
            at = step.sums + ImpulseSum.SIZE * soft.sizes[Sizes.colliders]
            ground_change_bar = mass * sums.impulse_bar(soft.inputs, at, x)
            wall_change_bar = mass * sums.impulse_bar(soft.inputs, at + ImpulseSum.SIZE, x)
            after_bar = result_bar - wall_change_bar
        ground_bar = contact.meet_walls_adjoint(after_ground, x, bounds, after_bar)
        if ti.static(recording):
            ground_bar = ground_bar + wall_change_bar - ground_change_bar
        v_bar, friction_bar = contact.meet_ground_adjoint(v, x, bounds, ground_bar)
        mass_bar = ti.cast(0.0, real)
        if ti.static(recording):
            v_bar = v_bar + ground_change_bar
            after = contact.meet_walls(after_ground, x, bounds)
            mass_bar = ((v - after_ground).dot(ground_change_bar) + (after_ground - after).dot(wall_change_bar)) / mass
        return v_bar, friction_bar, mass_bar

    @ti.func
    def update_adjoint(soft: ti.template(), bars: ti.template(), step: ti.template(), begin, end):
        """Turns the adjoint of the node velocities (and, in the fourth place, of the mass) into that of (momentum, mass), and
        adds up the inputs'. With v = momentum / mass + dt gravity, momentum_bar = v_bar / mass and mass_bar =
        -momentum_bar . momentum / mass."""
        colliders = soft.sizes[Sizes.colliders]
        low0, low1, low2 = low(soft.boxes, step.box, 0), low(soft.boxes, step.box, 1), low(soft.boxes, step.box, 2)
        n1, n2 = side(soft.boxes, step.box, 1), side(soft.boxes, step.box, 2)
        world, frictions, twists, poses = row_of(soft.sizes, step.environment, step.substep)
        inputs_row = ti.static(Row(world, frictions, twists, poses))
        world_bar, friction_bars, twist_bars, pose_bars = row_of(soft.sizes, step.inputs_bar, step.substep)
        bar_row = ti.static(Row(world_bar, friction_bars, twist_bars, pose_bars))
        dt = soft.constants[Constants.dt]
        kick = dt * load3(soft.inputs, world + WorldInputs.gravity)
        lower, upper = load3(soft.constants, Constants.lower), load3(soft.constants, Constants.upper)
        ground, ground_friction = soft.constants[Constants.ground], soft.inputs[world + WorldInputs.ground_friction]
        gravity_bar0, gravity_bar1, gravity_bar2 = ti.cast(0.0, real), ti.cast(0.0, real), ti.cast(0.0, real)
        ground_bar = ti.cast(0.0, real)
        behind = node_count(soft.boxes, step.box)
        for row in range(begin, end):
            i = row // n1
            j = row - i * n1
            for k in range(n2):
                index = row * n2 + k
                node = soft.grid[step.grid + index]
                if node[3] > 0.0:
                    inverse = 1.0 / node[3]
                    free = vec3(node[0] * inverse, node[1] * inverse, node[2] * inverse)
                    v = free + kick
                    x = node_position(soft.constants, low0 + i, low1 + j, low2 + k)
                    for m in range(colliders):
                        bars.before[step.before * colliders + m] = vec4(v[0], v[1], v[2], 0.0)
                        v = collide(v, x, node[3], soft, step, inputs_row, m, False)
                    bar = bars.grid[step.grid_bar + index]
                    v_bar, on_ground, contact_bar = bounds_adjoint(
                        v, x, node[3], soft, step, Bounds(ground, ground_friction, lower, upper), vec3(bar[0], bar[1], bar[2])
                    )
                    ground_bar = ground_bar + on_ground
                    for reverse in range(colliders):
                        m = colliders - 1 - reverse
                        met = bars.before[step.before * colliders + m]
                        before = vec3(met[0], met[1], met[2])
                        v_bar, on_mass = collide_adjoint(before, v, x, node[3], soft, bars, step, inputs_row, bar_row, m, v_bar)
                        if ti.static(recording):
                            contact_bar = contact_bar + on_mass
                            v = before
                    gravity_bar0 = gravity_bar0 + dt * v_bar[0]
                    gravity_bar1 = gravity_bar1 + dt * v_bar[1]
                    gravity_bar2 = gravity_bar2 + dt * v_bar[2]
                    momentum_bar = v_bar * inverse
                    mass_bar = momentum_bar[0] * free[0] + momentum_bar[1] * free[1] + momentum_bar[2] * free[2]
                    if ti.static(recording):
                        mass_bar = mass_bar - contact_bar
                    bars.grid[step.grid_bar + index] = vec4(
                        momentum_bar[0], momentum_bar[1], momentum_bar[2], bar[3] - mass_bar
                    )
                    if ti.static(flowing):
                        prior = soft.grid[step.grid + behind + index]
                        if prior[3] > 0.0:
                            own = 1.0 / prior[3]
                            own_bar = own * bars.grid[step.grid_bar + behind + index]
                            weight_bar = own * (own_bar[0] * prior[0] + own_bar[1] * prior[1] + own_bar[2] * prior[2])
                            bars.grid[step.grid_bar + behind + index] = vec4(own_bar[0], own_bar[1], own_bar[2], -weight_bar)
        gravity_bar = vec3(gravity_bar0, gravity_bar1, gravity_bar2)
        for d in ti.static(range(3)):
            accumulate(bars.inputs, world_bar + WorldInputs.gravity + d, gravity_bar[d])
        accumulate(bars.inputs, world_bar + WorldInputs.ground_friction, ground_bar)

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
