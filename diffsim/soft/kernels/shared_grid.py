"""The schedule for a GPU: a thread for each particle and each row of nodes, one grid an environment; forward beside adjoint.

The threads add to the grid atomically, and every substep is a launch. The stages are those of the CPU (`soft_lanes.py`), with
tiles of one particle; a box is always the whole grid, so that no box has to be found.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

from diffsim.compiler import ti
from diffsim.soft.kernels.grid_update import grid_stage
from diffsim.soft.kernels.impulse_sums import impulse_sums
from diffsim.soft.kernels.particles import particle_stages
from diffsim.soft.kernels.pinned_particles import pinned_particles
from diffsim.soft.kernels.soft_memory import SoftBars, SoftMemory, SubstepPlace, TilePlace
from diffsim.soft.soft_features import SoftFeatures
from diffsim.soft.soft_records import BOUNDS, SHARED_WIDTH, Component, Frame, Sizes, Status


def shared_kernels(precision: str, features: SoftFeatures) -> SimpleNamespace:
    """The kernels ``enter``, ``substep``, ``leave`` and ``substep_adjoint``; precision, ``keep``, tape and grid as in
    `soft_lanes.lane_kernels`, an environment in place of a team. A thread takes care of all pinned particles of an
    environment."""
    real: Any = {"f32": ti.f32, "f64": ti.f64}[precision]
    flowing, recording, pinned, muscled = features.flowing, features.recording, features.pinned, features.muscled
    particles = particle_stages(real, features, width=SHARED_WIDTH, shared_grid=True)
    nodes, sums = grid_stage(real, flowing, recording, shared_grid=True), impulse_sums(real, shared_grid=True)
    pins = pinned_particles(real)
    vec4 = ti.types.vector(4, real)
    Reals = ti.types.ndarray(dtype=real, ndim=1)
    Nodes = ti.types.ndarray(dtype=vec4, ndim=1)
    Tiles = ti.types.ndarray(dtype=ti.types.vector(SHARED_WIDTH, real), ndim=1)
    Integers = ti.types.ndarray(dtype=ti.i32, ndim=1)

    @ti.func
    def grid_place(sizes: ti.template(), e, s, keep):
        """Which of the grids belongs to a substep of an environment."""
        return e * (sizes[Sizes.substeps] * keep + 1 - keep) + s * keep

    @ti.func
    def line_count(sizes: ti.template()):
        """Lines of nodes along z."""
        return sizes[Sizes.counts] * sizes[Sizes.counts + 1]

    @ti.kernel
    def enter(
        turn: ti.template(), environments: ti.i32, tile_count: ti.i32, row_stride: ti.i32,
        records: Nodes, tape: Tiles, frames: Tiles, constants: Reals, sizes: Integers,
    ):  # fmt: skip
        """Records to the first of each environment's ``row_stride`` rows on the tape."""
        soft = ti.static(SoftMemory(tape, frames, constants, sizes))
        for i in range(environments * tile_count):
            particles.reserve()
            e, n = i // tile_count, i % tile_count
            place = (e * row_stride * tile_count + n) * Component.SIZE
            particles.enter(records, tape, frames, sizes, n, e * sizes[Sizes.particles], place, i * Frame.SIZE, turn)
            if ti.static(muscled and turn):
                particles.orient(soft, tape, n, place, i * Frame.SIZE)

    @ti.kernel
    def leave(
        turn: ti.template(), environments: ti.i32, tile_count: ti.i32,
        records: Nodes, tape: Tiles, frames: Tiles, sizes: Integers,
    ):  # fmt: skip
        """The tape, one row an environment, to records."""
        for i in range(environments * tile_count):
            particles.reserve()
            e, n = i // tile_count, i % tile_count
            particles.leave(
                records, tape, frames, sizes, n, e * sizes[Sizes.particles], i * Component.SIZE, i * Frame.SIZE, turn
            )

    @ti.kernel
    def substep(
        s: ti.i32, environments: ti.i32, tile_count: ti.i32, keep: ti.i32, capacity: ti.i32,
        tape: Tiles, frames: Tiles, constants: Reals, sizes: Integers, inputs: Reals,
        boxes: Integers, grid: Nodes, velocity: Nodes, status: Integers,
    ):  # fmt: skip
        """The box of every environment, the first of ``boxes``, is the whole grid."""
        soft = ti.static(SoftMemory(tape, frames, constants, sizes, inputs, boxes, grid, velocity, status))
        for i in range(environments * capacity):
            e = i // capacity
            grid[grid_place(sizes, e, s, keep) * capacity + i % capacity] = vec4(0.0)
        for i in range(environments * tile_count):
            particles.reserve()
            e, n = i // tile_count, i % tile_count
            row = e * (sizes[Sizes.substeps] * keep + 1) + s * keep
            if status[e * Status.SIZE + Status.failure] == 0:
                place, new_place = (row * tile_count + n) * Component.SIZE, ((row + keep) * tile_count + n) * Component.SIZE
                frame, own_grid = i * Frame.SIZE, grid_place(sizes, e, s, keep) * capacity
                particles.to_grid(soft, TilePlace(n, place, new_place, frame), SubstepPlace(e, s, 0, grid=own_grid))
        for i in range(environments * line_count(sizes)):
            e, r = i // line_count(sizes), i % line_count(sizes)
            own_grid, own_velocity = grid_place(sizes, e, s, keep) * capacity, e * capacity
            own_sums = sums.place(sizes, environments, e, sizes[Sizes.colliders] + BOUNDS)
            step = ti.static(SubstepPlace(e, s, 0, grid=own_grid, velocity=own_velocity, sums=own_sums))
            nodes.update(soft, step, r, r + 1, False)
        if ti.static(pinned):
            for e in range(environments):
                if status[e * Status.SIZE + Status.failure] == 0:
                    row = (e * (sizes[Sizes.substeps] * keep + 1) + s * keep) * tile_count
                    own_velocity, pulls = e * capacity, environments * capacity + e * sizes[Sizes.pins]
                    pins.hold(soft, SubstepPlace(e, s, 0, velocity=own_velocity, pulls=pulls), row, 0, 0)
        for i in range(environments * tile_count):
            particles.reserve()
            e, n = i // tile_count, i % tile_count
            row = e * (sizes[Sizes.substeps] * keep + 1) + s * keep
            if status[e * Status.SIZE + Status.failure] == 0:
                place, new_place = (row * tile_count + n) * Component.SIZE, ((row + keep) * tile_count + n) * Component.SIZE
                own_velocity = e * capacity
                particles.from_grid(soft, TilePlace(n, place, new_place), SubstepPlace(e, s, 0, 0, velocity=own_velocity))

    @ti.kernel
    def substep_adjoint(
        s: ti.i32, environments: ti.i32, tile_count: ti.i32, capacity: ti.i32,
        tape: Tiles, tape_bars: Tiles, constants: Reals, sizes: Integers, inputs: Reals, inputs_bar: Reals,
        boxes: Integers, grid: Nodes, velocity: Nodes, grid_bar: Nodes, before: Nodes,
    ):  # fmt: skip
        """Reverse of ``substep`` with ``keep``."""
        soft = ti.static(SoftMemory(tape, None, constants, sizes, inputs, boxes, grid, velocity))
        soft_bars = ti.static(SoftBars(tape_bars, inputs_bar, grid_bar, before))
        for i in range(environments * line_count(sizes)):
            e, r = i // line_count(sizes), i % line_count(sizes)
            own_grid, own_nodes = grid_place(sizes, e, s, 1) * capacity, e * capacity
            nodes.update(soft, SubstepPlace(e, s, 0, grid=own_grid, velocity=own_nodes), r, r + 1, True)
        if ti.static(pinned):
            for e in range(environments):
                row, own_nodes = (e * (sizes[Sizes.substeps] + 1) + s) * tile_count, e * capacity
                pulls = environments * capacity + e * sizes[Sizes.pins]
                pins.hold(soft, SubstepPlace(e, s, 0, velocity=own_nodes, pulls=pulls), row, 0, 0)
        for i in range(environments * capacity):
            grid_bar[i] = vec4(0.0)
        for i in range(environments * tile_count):
            particles.reserve()
            e, n = i // tile_count, i % tile_count
            row, own_nodes = e * (sizes[Sizes.substeps] + 1) + s, e * capacity
            place, new_place = (row * tile_count + n) * Component.SIZE, ((row + 1) * tile_count + n) * Component.SIZE
            bar_place = i * Component.SIZE
            particles.from_grid_adjoint(
                soft, soft_bars, TilePlace(n, place, new_place, bar=bar_place),
                SubstepPlace(e, s, 0, velocity=own_nodes, grid_bar=own_nodes, inputs_bar=e),
            )  # fmt: skip
        if ti.static(pinned):
            for e in range(environments):
                row, own_nodes = (e * (sizes[Sizes.substeps] + 1) + s) * tile_count, e * capacity
                pulls, bar_row = environments * capacity + e * sizes[Sizes.pins], e * tile_count
                pins.hold_adjoint(
                    soft, soft_bars,
                    SubstepPlace(e, s, 0, velocity=own_nodes, grid_bar=own_nodes, inputs_bar=e, pulls=pulls),
                    row, bar_row, 0, 0,
                )  # fmt: skip
        for i in range(environments * line_count(sizes)):
            e, r = i // line_count(sizes), i % line_count(sizes)
            own_grid, own_nodes = grid_place(sizes, e, s, 1) * capacity, e * capacity
            sum_bars = sums.place(sizes, environments, e, sizes[Sizes.colliders] + BOUNDS)
            step = ti.static(SubstepPlace(e, s, 0, grid=own_grid, grid_bar=own_nodes, inputs_bar=e, before=i, sums=sum_bars))
            nodes.update_adjoint(soft, soft_bars, step, r, r + 1)
        for i in range(environments * tile_count):
            particles.reserve()
            e, n = i // tile_count, i % tile_count
            row, own_nodes = e * (sizes[Sizes.substeps] + 1) + s, e * capacity
            place, new_place = (row * tile_count + n) * Component.SIZE, ((row + 1) * tile_count + n) * Component.SIZE
            bar_place = i * Component.SIZE
            particles.to_grid_adjoint(
                soft, soft_bars, TilePlace(n, place, new_place, bar=bar_place),
                SubstepPlace(e, s, 0, grid_bar=own_nodes, inputs_bar=e),
            )  # fmt: skip

    return SimpleNamespace(enter=enter, substep=substep, leave=leave, substep_adjoint=substep_adjoint)
