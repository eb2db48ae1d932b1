"""Which particles meet which rigid geometries in a substep: a list, so that all later work goes to those alone; forward beside
adjoint.

A contact is one particle and one geometry whose surface is within reach of the particle's shell. What does not change within
the substep is noted once (`ContactWork`).
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any, NamedTuple

from diffsim.compiler import compile_time, ti
from diffsim.coupling.coupled_records import ContactWork, Listed, ListHeader, Shell
from diffsim.coupling.kernels.particle_stencil import particle_stencil
from diffsim.rigid.kernels.distance import distance_stage
from diffsim.rigid.kernels.rigid_memory import model_rows
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import GeometryInputs, Header, LinkAdjoint, LinkWork, SceneConstants
from diffsim.soft.soft_records import OUTGROWN, Component

NARROW = 0.0625  # least smoothing length over the shell's radius
REACH = 0.25  # a contact is listed from a gap of this many radii on, and at least of two smoothing lengths


@compile_time
class ContactNotes(NamedTuple):
    """The arrays of `diffsim.coupling.coupled_records`, and where a substep's part begins in them."""

    lists: Any
    list_at: Any
    impulses: Any
    impulses_at: Any
    work: Any
    work_at: Any
    crowds: Any
    shells: Any
    most: Any  # contacts that have room in a list


def particle_contact(real: Any, particles: SimpleNamespace, further: tuple[Any, ...]) -> SimpleNamespace:
    """``find``, ``recall`` and ``surface_adjoint``, for tiles of the stages ``particles`` and the shapes of `distance_stage`.

    In their arguments ``m`` and ``at`` are the rigid memory and place (`diffsim.rigid.kernels.rigid_memory`), ``soft``,
    ``tile`` and ``step`` those of the soft bodies (`diffsim.soft.kernels.soft_memory`).
    """
    tiles, load_tile, store_tile = particles.tile, particles.load, particles.store
    vf, rows = vector_functions(real), model_rows()
    surfaces, stencil = distance_stage(real, further), particle_stencil(real)
    vec3, load, add, store = vf.vec3, vf.load, vf.add, vf.store

    # the list

    @ti.func
    def contact_count(notes: ti.template()):
        return notes.lists[notes.list_at + ListHeader.count]

    @ti.func
    def listed_at(notes: ti.template(), n):
        """Where the nth contact's entry in the list begins."""
        return notes.list_at + ListHeader.SIZE + Listed.SIZE * n

    @ti.func
    def work_at(notes: ti.template(), n):
        return notes.work_at + ContactWork.SIZE * n

    @ti.func
    def smoothing_of(m: ti.template(), radius):
        """The scene's smoothing length, at least a part of the radius."""
        return ti.max(m.reals[SceneConstants.smoothing], NARROW * radius)

    @ti.func
    def reach_of(m: ti.template(), radius):
        return ti.max(REACH * radius, 2.0 * smoothing_of(m, radius))

    @ti.func
    def share_of(gap, reach):
        """1 where the shell touches, 0 at the end of its reach, smooth between; and its slope."""
        s = ti.max(ti.min(1.0 - gap / reach, ti.cast(1.0, real)), ti.cast(0.0, real))
        return s * s * (3.0 - 2.0 * s), -6.0 * s * (1.0 - s) / reach

    @ti.func
    def extent(X: ti.template()):
        """Centre and radius of a ball round a tile's particles."""
        low, high = vec3(X[0][0], X[1][0], X[2][0]), vec3(X[0][0], X[1][0], X[2][0])
        for t in range(tiles.width):
            x = vec3(X[0][t], X[1][t], X[2][t])
            low = vec3(ti.min(low[0], x[0]), ti.min(low[1], x[1]), ti.min(low[2], x[2]))
            high = vec3(ti.max(high[0], x[0]), ti.max(high[1], x[1]), ti.max(high[2], x[2]))
        half = 0.5 * (high - low)
        return low + half, ti.sqrt(half.dot(half))

    @ti.func
    def note(
        soft: ti.template(), step: ti.template(), m: ti.template(), at: ti.template(), notes: ti.template(), n, geometry, block,
        x, sdf, normal, sloped: ti.template(),
    ):  # fmt: skip
        """What the nth contact needs in all sweeps; returns its first node. The radius comes off the distance ``sdf``."""
        c = work_at(notes, n)
        body = notes.lists[listed_at(notes, n) + Listed.body]
        radius = notes.shells[Shell.SIZE * body + Shell.radius]
        share, _slope = share_of(sdf - radius, reach_of(m, radius))
        arm = x - load(m.work, block + LinkWork.position)
        velocity = load(m.work, block + LinkWork.velocity) + load(m.work, block + LinkWork.angular_velocity).cross(arm)
        store(notes.work, c + ContactWork.position, x)
        store(notes.work, c + ContactWork.normal, normal)
        store(notes.work, c + ContactWork.arm, arm)
        store(notes.work, c + ContactWork.surface_velocity, velocity)
        notes.work[c + ContactWork.gap] = sdf - radius
        notes.work[c + ContactWork.share] = share
        notes.work[c + ContactWork.friction] = m.inputs[rows.geometry_inputs(m, at, geometry) + GeometryInputs.friction]
        return stencil.weigh(soft, step, notes.work, c, x, sloped)

    @ti.func
    def find(
        soft: ti.template(), tile: ti.template(), step: ti.template(), m: ti.template(), at: ti.template(),
        notes: ti.template(),
    ):  # fmt: skip
        """Adds the contacts of a tile's particles to the list; those that have no room are reported and left out."""
        ti.static(tiles.release())
        first, count, body, _law_index = particles.members(soft.sizes, tile.tile)
        X = ti.static(tiles.local(3))
        load_tile(soft.tape, tile.now + Component.x, X)
        radius = notes.shells[Shell.SIZE * body + Shell.radius]
        within = radius + reach_of(m, radius)
        middle, spread_of_tile = extent(X)
        for k in range(m.integers[Header.coupled]):
            geometry = m.integers[m.integers[Header.coupled_geometries] + k]
            scale = m.inputs[rows.geometry_inputs(m, at, geometry) + GeometryInputs.scale]
            block, center, rot = surfaces.frame(m, at, geometry)
            to_local = rot.transpose()
            if surfaces.ball_distance(m, geometry, scale, to_local @ (middle - center)) < within + spread_of_tile:
                for t in range(count):
                    x = vec3(X[0][t], X[1][t], X[2][t])
                    y = to_local @ (x - center)
                    if surfaces.ball_distance(m, geometry, scale, y) < within:
                        sdf, g, _hessian = surfaces.distance(m, geometry, scale, y, False)
                        if sdf < within:
                            n = contact_count(notes)
                            if n < notes.most:
                                entry = listed_at(notes, n)
                                notes.lists[entry + Listed.particle] = first + t
                                notes.lists[entry + Listed.body] = body
                                notes.lists[entry + Listed.geometry] = geometry
                                normal = rot @ (g / ti.sqrt(g.dot(g)))
                                notes.lists[entry + Listed.node] = note(
                                    soft, step, m, at, notes, n, geometry, block, x, sdf, normal, False
                                )
                                notes.lists[notes.list_at + ListHeader.count] = n + 1
                            else:
                                particles.report(soft.status, step.environment, step.substep, first + t, OUTGROWN)

    # backward

    @ti.func
    def recall(
        soft: ti.template(), tile: ti.template(), step: ti.template(), m: ti.template(), at: ti.template(),
        notes: ti.template(), begin,
    ):  # fmt: skip
        """Notes the contacts of a tile once more, from the ``begin``-th on, with what the adjoint needs. Returns one past the
        last."""
        ti.static(tiles.release())
        first, count, _body, _law_index = particles.members(soft.sizes, tile.tile)
        X = ti.static(tiles.local(3))
        load_tile(soft.tape, tile.now + Component.x, X)
        n = begin
        while n < contact_count(notes) and notes.lists[listed_at(notes, n) + Listed.particle] < first + count:
            t = notes.lists[listed_at(notes, n) + Listed.particle] - first
            geometry = notes.lists[listed_at(notes, n) + Listed.geometry]
            scale = m.inputs[rows.geometry_inputs(m, at, geometry) + GeometryInputs.scale]
            block, center, rot = surfaces.frame(m, at, geometry)
            x = vec3(X[0][t], X[1][t], X[2][t])
            y = rot.transpose() @ (x - center)
            sdf, g, hessian = surfaces.distance(m, geometry, scale, y, True)
            normal = rot @ (g / ti.sqrt(g.dot(g)))
            note(soft, step, m, at, notes, n, geometry, block, x, sdf, normal, True)
            c = work_at(notes, n)
            store(notes.work, c + ContactWork.local, y)
            store(notes.work, c + ContactWork.gradient, g)
            vf.store_matrix(notes.work, c + ContactWork.hessian, hessian)
            for k in range(ti.static(ContactWork.SIZE - ContactWork.velocity_bar)):
                notes.work[c + ContactWork.velocity_bar + k] = 0.0
            n = n + 1
        return n

    @ti.func
    def pose_adjoint(m: ti.template(), at: ti.template(), notes: ti.template(), n):
        """From the adjoints that the sweeps left of a contact to that of its particle's position; those of the link's pose and
        motion and of the geometry's friction and scale are added to."""
        c, entry = work_at(notes, n), listed_at(notes, n)
        geometry, body = notes.lists[entry + Listed.geometry], notes.lists[entry + Listed.body]
        radius = notes.shells[Shell.SIZE * body + Shell.radius]
        block, _center, rot = surfaces.frame(m, at, geometry)
        own_inputs = rows.geometry_inputs(m, at, geometry)
        g, y = load(notes.work, c + ContactWork.gradient), load(notes.work, c + ContactWork.local)
        gap, arm = notes.work[c + ContactWork.gap], load(notes.work, c + ContactWork.arm)
        omega = load(m.work, block + LinkWork.angular_velocity)
        _share, share_slope = share_of(gap, reach_of(m, radius))
        gap_bar = notes.work[c + ContactWork.gap_bar] + share_slope * notes.work[c + ContactWork.share_bar]
        # the velocity of the surface: v_link + omega x arm
        velocity_bar = load(notes.work, c + ContactWork.surface_velocity_bar)
        add(m.work, block + LinkAdjoint.velocity_bar, velocity_bar)
        add(m.work, block + LinkAdjoint.angular_velocity_bar, arm.cross(velocity_bar))
        arm_bar = load(notes.work, c + ContactWork.arm_bar) + velocity_bar.cross(omega)
        # the normal rot g / |g| turns with the link; the gradient changes with y
        steep = ti.sqrt(g.dot(g))
        n_local, n_bar = g / steep, load(notes.work, c + ContactWork.normal_bar)
        hessian = vf.load_matrix(notes.work, c + ContactWork.hessian)
        bend, y_bar = surfaces.surface_adjoint(rot, n_local, g, steep, hessian, n_bar, gap_bar)
        add(m.work, block + LinkAdjoint.position_bar, -1.0 * (arm_bar + y_bar))
        add(m.work, block + LinkAdjoint.rotation_bar, (rot @ n_local).cross(n_bar) + y_bar.cross(arm))
        friction_at, scale_at = own_inputs + GeometryInputs.friction, own_inputs + GeometryInputs.scale
        scale_bar = (gap_bar * (gap + radius - g.dot(y)) - bend.dot(y)) / m.inputs[scale_at]
        m.inputs_bar[friction_at] = m.inputs_bar[friction_at] + notes.work[c + ContactWork.friction_bar]
        m.inputs_bar[scale_at] = m.inputs_bar[scale_at] + scale_bar
        return load(notes.work, c + ContactWork.position_bar) + arm_bar + y_bar

    @ti.func
    def surface_adjoint(
        soft: ti.template(), soft_bars: ti.template(), tile: ti.template(), m: ti.template(), at: ti.template(),
        notes: ti.template(), begin,
    ):  # fmt: skip
        """`pose_adjoint` of a tile's contacts, from the ``begin``-th on; those of the positions are added to. Returns one past
        the last."""
        ti.static(tiles.release())
        first, count, _body, _law_index = particles.members(soft.sizes, tile.tile)
        Xb = ti.static(tiles.local(3))
        load_tile(soft_bars.tape, tile.bar + Component.x, Xb)
        n = begin
        while n < contact_count(notes) and notes.lists[listed_at(notes, n) + Listed.particle] < first + count:
            t = notes.lists[listed_at(notes, n) + Listed.particle] - first
            x_bar = pose_adjoint(m, at, notes, n)
            for i in ti.static(range(3)):
                Xb[i][t] = Xb[i][t] + x_bar[i]
            n = n + 1
        if n > begin:
            store_tile(soft_bars.tape, tile.bar + Component.x, Xb)
        return n

    return SimpleNamespace(
        contact_count=contact_count, listed_at=listed_at, work_at=work_at, smoothing_of=smoothing_of, find=find, recall=recall,
        surface_adjoint=surface_adjoint,
    )  # fmt: skip
