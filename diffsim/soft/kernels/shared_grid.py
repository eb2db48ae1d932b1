"""The schedule for a GPU: a thread for each particle and each row of nodes, one grid an environment; forward beside adjoint.

The threads add to the grid atomically, and every substep is a launch. The stages are those of the CPU (`lanes.py`), with tiles
of one particle; a box is always the whole grid, so that no box has to be found.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

from diffsim.compiler import ti
from diffsim.soft.kernels.grid_update import grid_stage
from diffsim.soft.kernels.particles import particle_stages
from diffsim.soft.soft_records import COMPONENTS, COUNTS, FRAME, PARTICLES, SHARED_WIDTH, STATUS, SUBSTEPS


def shared_kernels(precision: str) -> SimpleNamespace:
    """The kernels ``enter``, ``substep``, ``leave`` and ``substep_adjoint`` for "f32" or "f64". ``keep``, tape and grid as in
    `lanes.lane_kernels`, an environment in place of a team."""
    real: Any = {"f32": ti.f32, "f64": ti.f64}[precision]
    particles = particle_stages(real, width=SHARED_WIDTH, shared_grid=True)
    nodes = grid_stage(real, shared_grid=True)
    vec4 = ti.types.vector(4, real)
    Reals = ti.types.ndarray(dtype=real, ndim=1)
    Nodes = ti.types.ndarray(dtype=vec4, ndim=1)
    Tiles = ti.types.ndarray(dtype=ti.types.vector(SHARED_WIDTH, real), ndim=1)
    Integers = ti.types.ndarray(dtype=ti.i32, ndim=1)

    @ti.kernel
    def enter(
        turn: ti.template(), environments: ti.i32, tile_count: ti.i32, row_stride: ti.i32,
        records: Nodes, tape: Tiles, frames: Tiles, sizes: Integers,
    ):  # fmt: skip
        """Records to the first of each environment's ``row_stride`` rows on the tape."""
        for i in range(environments * tile_count):
            particles.reserve()
            e, n = i // tile_count, i % tile_count
            place = (e * row_stride * tile_count + n) * COMPONENTS
            particles.enter(records, tape, frames, sizes, n, e * sizes[PARTICLES], place, i * FRAME, turn)

    @ti.kernel
    def leave(
        turn: ti.template(), environments: ti.i32, tile_count: ti.i32,
        records: Nodes, tape: Tiles, frames: Tiles, sizes: Integers,
    ):  # fmt: skip
        """The tape, one row an environment, to records."""
        for i in range(environments * tile_count):
            particles.reserve()
            e, n = i // tile_count, i % tile_count
            particles.leave(records, tape, frames, sizes, n, e * sizes[PARTICLES], i * COMPONENTS, i * FRAME, turn)

    @ti.kernel
    def substep(
        s: ti.i32, environments: ti.i32, tile_count: ti.i32, keep: ti.i32, capacity: ti.i32,
        tape: Tiles, frames: Tiles, constants: Reals, sizes: Integers, inputs: Reals,
        boxes: Integers, grid: Nodes, velocity: Nodes, status: Integers,
    ):  # fmt: skip
        for i in range(environments * capacity):
            e = i // capacity
            grid[(e * (sizes[SUBSTEPS] * keep + 1 - keep) + s * keep) * capacity + i % capacity] = vec4(0.0)
        for i in range(environments * tile_count):
            particles.reserve()
            e, n = i // tile_count, i % tile_count
            row = e * (sizes[SUBSTEPS] * keep + 1) + s * keep
            if status[e * STATUS] == 0:
                particles.to_grid(
                    tape, frames, constants, sizes, inputs, boxes, grid, status, n, e, s,
                    (row * tile_count + n) * COMPONENTS, ((row + keep) * tile_count + n) * COMPONENTS, i * FRAME, 0,
                    (e * (sizes[SUBSTEPS] * keep + 1 - keep) + s * keep) * capacity, e,
                )  # fmt: skip
        for i in range(environments * sizes[COUNTS] * sizes[COUNTS + 1]):
            e, r = i // (sizes[COUNTS] * sizes[COUNTS + 1]), i % (sizes[COUNTS] * sizes[COUNTS + 1])
            nodes.update(
                grid, velocity, constants, sizes, inputs, boxes, 0, r, r + 1, e, s,
                (e * (sizes[SUBSTEPS] * keep + 1 - keep) + s * keep) * capacity, e * capacity,
            )  # fmt: skip
        for i in range(environments * tile_count):
            particles.reserve()
            e, n = i // tile_count, i % tile_count
            row = e * (sizes[SUBSTEPS] * keep + 1) + s * keep
            if status[e * STATUS] == 0:
                particles.from_grid(
                    tape, constants, sizes, boxes, velocity, status, n, s,
                    (row * tile_count + n) * COMPONENTS, ((row + keep) * tile_count + n) * COMPONENTS, 0, 0, e * capacity, e,
                )  # fmt: skip

    @ti.kernel
    def substep_adjoint(
        s: ti.i32, environments: ti.i32, tile_count: ti.i32, capacity: ti.i32,
        tape: Tiles, tape_bars: Tiles, constants: Reals, sizes: Integers, inputs: Reals, inputs_bar: Reals,
        boxes: Integers, grid: Nodes, velocity: Nodes, grid_bar: Nodes, before: Nodes,
    ):  # fmt: skip
        """Reverse of ``substep`` with ``keep``."""
        for i in range(environments * sizes[COUNTS] * sizes[COUNTS + 1]):
            e, r = i // (sizes[COUNTS] * sizes[COUNTS + 1]), i % (sizes[COUNTS] * sizes[COUNTS + 1])
            nodes.update(
                grid, velocity, constants, sizes, inputs, boxes, 0, r, r + 1, e, s,
                (e * sizes[SUBSTEPS] + s) * capacity, e * capacity,
            )  # fmt: skip
        for i in range(environments * capacity):
            grid_bar[i] = vec4(0.0)
        for i in range(environments * tile_count):
            particles.reserve()
            e, n = i // tile_count, i % tile_count
            row = e * (sizes[SUBSTEPS] + 1) + s
            particles.from_grid_adjoint(
                tape, tape_bars, constants, sizes, boxes, velocity, grid_bar, n, (row * tile_count + n) * COMPONENTS,
                ((row + 1) * tile_count + n) * COMPONENTS, i * COMPONENTS, 0, e * capacity, e * capacity,
            )  # fmt: skip
        for i in range(environments * sizes[COUNTS] * sizes[COUNTS + 1]):
            e, r = i // (sizes[COUNTS] * sizes[COUNTS + 1]), i % (sizes[COUNTS] * sizes[COUNTS + 1])
            nodes.update_adjoint(
                grid, grid_bar, before, constants, sizes, inputs, inputs_bar, boxes, 0, r, r + 1, e, s,
                (e * sizes[SUBSTEPS] + s) * capacity, e * capacity, e, i,
            )  # fmt: skip
        for i in range(environments * tile_count):
            particles.reserve()
            e, n = i // tile_count, i % tile_count
            row = e * (sizes[SUBSTEPS] + 1) + s
            particles.to_grid_adjoint(
                tape, tape_bars, constants, sizes, inputs, inputs_bar, boxes, grid_bar, n, e,
                (row * tile_count + n) * COMPONENTS, ((row + 1) * tile_count + n) * COMPONENTS, i * COMPONENTS,
                0, e * capacity, e,
            )  # fmt: skip

    return SimpleNamespace(enter=enter, substep=substep, leave=leave, substep_adjoint=substep_adjoint)
