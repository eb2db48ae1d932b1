"""The schedule on a CPU: a whole control step in one launch, without atomics on the grid; forward beside adjoint.

A lane is a thread. Each environment is assigned to a team of lanes. With as many environments as lanes, an environment is one
part and a team one lane: nothing is shared, and no lane waits. With fewer, its particles are split into parts: each part is
scattered to a grid of its own, the grids are summed, and barriers separate the stages. A team has one worker for each
part, or one for all of them, with the same result to the last bit.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

from diffsim.compiler import ti
from diffsim.soft.kernels.boxes import empty_box, merge_box, node_count, row_count, side
from diffsim.soft.kernels.grid_update import grid_stage
from diffsim.soft.kernels.impulse_sums import impulse_sums
from diffsim.soft.kernels.particles import particle_stages
from diffsim.soft.kernels.pinned_particles import pinned_particles
from diffsim.soft.kernels.soft_memory import SoftBars, SoftMemory, SubstepPlace, TilePlace
from diffsim.soft.soft_features import SoftFeatures
from diffsim.soft.soft_records import BOUNDS, LANE_WIDTH, OUTGROWN, Box, Component, Frame, Sizes, Status, grid_layers

# Taichi hands a CPU thread 512 consecutive iterations at least, so lane l works at iteration 512 l
BLOCK = 512


def lane_kernels(precision: str, features: SoftFeatures) -> SimpleNamespace:
    """The kernels ``forward`` and ``adjoint`` for "f32" or "f64". Each part adds up the impulses of its own nodes; the first
    worker of a team takes care of pinned particles alone. Where bodies flow, a box has two layers of nodes (`grid_update`),
    and the capacities count both."""
    real: Any = {"f32": ti.f32, "f64": ti.f64}[precision]
    flowing, recording, pinned, muscled = features.flowing, features.recording, features.pinned, features.muscled
    particles = particle_stages(real, features, width=LANE_WIDTH, shared_grid=False)
    nodes, sums = grid_stage(real, flowing, recording, shared_grid=False), impulse_sums(real, shared_grid=False)
    pins = pinned_particles(real)
    layers = grid_layers(flowing)
    vec4 = ti.types.vector(4, real)
    Reals = ti.types.ndarray(dtype=real, ndim=1)
    Nodes = ti.types.ndarray(dtype=vec4, ndim=1)
    Tiles = ti.types.ndarray(dtype=ti.types.vector(LANE_WIDTH, real), ndim=1)
    Integers = ti.types.ndarray(dtype=ti.i32, ndim=1)

    @ti.func
    def wait(gate: ti.template(), team, workers, met):
        """Wait for the team. Returns the number of arrivals so far; atomics serve as fences and as loads that are repeated."""
        arrivals = met + workers
        if workers > 1:
            ti.atomic_add(gate[team], 1)
            while ti.atomic_add(gate[team], 0) < arrivals:
                pass
        return arrivals

    @ti.kernel
    def forward(
        lanes: ti.i32, workers: ti.i32, parts: ti.i32, environments: ti.i32, tile_count: ti.i32, keep: ti.i32,
        capacity: ti.i32, velocity_capacity: ti.i32, private: ti.i32,
        records: Nodes, tape: Tiles, frames: Tiles, constants: Reals, sizes: Integers, inputs: Reals,
        boxes: Integers, grid: Nodes, velocity: Nodes, status: Integers, gate: Integers,
    ):  # fmt: skip
        """Advance environments by one control step. ``keep`` is 0: the tape has one row and the grid one place for each team.
        1: the tape has substeps + 1 rows per environment, row s holding substep s with F in its frame, the grid has a place
        for every substep, and the records stay as they were. 2: likewise, and the records are advanced.
        From ``private`` on, the grid has a place for each part of each team, and ``boxes`` ends with one box for each lane."""
        soft = ti.static(SoftMemory(tape, frames, constants, sizes, inputs, boxes, grid, velocity, status))
        for iteration in range(lanes * BLOCK):
            if iteration % BLOCK == 0:
                particles.reserve()
                lane = iteration // BLOCK
                team, worker = lane // workers, lane % workers
                first_part, last_part = ti.select(workers == 1, 0, worker), ti.select(workers == 1, parts, worker + 1)
                substeps, count, stride = sizes[Sizes.substeps], sizes[Sizes.particles], ti.min(keep, 1)
                first_tile, last_tile = tile_count * first_part // parts, tile_count * last_part // parts
                own_box = (environments * (substeps + 1) + lane) * Box.SIZE
                met = 0
                e = team
                while e < environments:
                    first_row = ti.select(keep > 0, e * (substeps + 1), team)
                    first_box = e * (substeps + 1) * Box.SIZE
                    if worker == 0:
                        empty_box(boxes, first_box)
                    met = wait(gate, team, workers, met)
                    empty_box(boxes, own_box)
                    for n in range(first_tile, last_tile):
                        place = (first_row * tile_count + n) * Component.SIZE
                        particles.enter(
                            records, tape, frames, sizes, n, e * count, place, (e * tile_count + n) * Frame.SIZE, False
                        )
                        particles.measure(soft, n, e, place, own_box)
                    merge_box(boxes, first_box, own_box)
                    met = wait(gate, team, workers, met)
                    for s in range(substeps):
                        now = (first_row + s * stride) * tile_count
                        new = (first_row + (s + 1) * stride) * tile_count
                        box = first_box + Box.SIZE * s
                        next_box = box + Box.SIZE
                        total = ti.select(keep > 0, e * substeps + s, team) * capacity
                        scattered = ti.select(parts == 1, total, private + team * parts * capacity)
                        velocity_offset = team * velocity_capacity
                        rows = row_count(boxes, box)
                        # a failed environment stands still; its team goes on together
                        sound = status[e * Status.SIZE + Status.failure] == 0 and layers * node_count(boxes, box) <= capacity
                        if layers * node_count(boxes, box) > capacity:
                            particles.report(status, e, s, 0, OUTGROWN)
                        if sound:
                            for part in range(first_part, last_part):
                                own_grid = scattered + part * capacity
                                own_step = ti.static(SubstepPlace(e, s, box, grid=own_grid))
                                nodes.clear(grid, own_grid, 0, layers * node_count(boxes, box))
                                for n in range(tile_count * part // parts, tile_count * (part + 1) // parts):
                                    place, new_place = (now + n) * Component.SIZE, (new + n) * Component.SIZE
                                    frame = (e * tile_count + n) * Frame.SIZE
                                    particles.to_grid(soft, TilePlace(n, place, new_place, frame), own_step)
                        met = wait(gate, team, workers, met)
                        if sound:
                            begin, end = rows * first_part // parts, rows * last_part // parts
                            if parts > 1:
                                line = side(boxes, box, 2)
                                nodes.reduce(grid, total, scattered, capacity, parts, begin * line, end * line)
                                if ti.static(flowing):
                                    behind = node_count(boxes, box)
                                    first, last = behind + begin * line, behind + end * line
                                    nodes.reduce(grid, total, scattered, capacity, parts, first, last)
                            for part in range(first_part, last_part):
                                own = sums.place(sizes, environments, e * parts + part, sizes[Sizes.colliders] + BOUNDS)
                                step = ti.static(SubstepPlace(e, s, box, grid=total, velocity=velocity_offset, sums=own))
                                nodes.update(soft, step, rows * part // parts, rows * (part + 1) // parts, False)
                        if worker == 0:
                            empty_box(boxes, next_box)
                        met = wait(gate, team, workers, met)
                        if ti.static(pinned):
                            if sound and worker == 0:
                                pulls = lanes * velocity_capacity + team * sizes[Sizes.pins]
                                pinned_step = ti.static(SubstepPlace(e, s, box, velocity=velocity_offset, pulls=pulls))
                                pins.hold(soft, pinned_step, now, 0, 0)
                            met = wait(gate, team, workers, met)
                        if sound:
                            empty_box(boxes, own_box)
                            own_step = ti.static(SubstepPlace(e, s, box, own_box, velocity=velocity_offset))
                            for n in range(first_tile, last_tile):
                                place, new_place = (now + n) * Component.SIZE, (new + n) * Component.SIZE
                                particles.from_grid(soft, TilePlace(n, place, new_place), own_step)
                            merge_box(boxes, next_box, own_box)
                        met = wait(gate, team, workers, met)
                    if keep != 1:
                        last_row = first_row + substeps * stride
                        for n in range(first_tile, last_tile):
                            particles.leave(
                                records, tape, frames, sizes, n, e * count,
                                (last_row * tile_count + n) * Component.SIZE, (e * tile_count + n) * Frame.SIZE, True,
                            )  # fmt: skip
                    e += lanes // workers

    @ti.kernel
    def adjoint(
        lanes: ti.i32, workers: ti.i32, parts: ti.i32, environments: ti.i32, tile_count: ti.i32,
        capacity: ti.i32, velocity_capacity: ti.i32,
        tape: Tiles, frames: Tiles, bars: Nodes, tape_bars: Tiles, constants: Reals, sizes: Integers,
        inputs: Reals, inputs_bar: Reals, boxes: Integers, grid: Nodes, velocity: Nodes, grid_bar: Nodes, before: Nodes,
        gate: Integers,
    ):  # fmt: skip
        """Reverse of ``forward`` over what it kept. On entry ``bars`` are the adjoints of the records after the
        control step, on exit those before it; all other adjoints are added to, ``parts`` rows for each environment.
        ``grid_bar`` has a place for each part of each team, then one for each team."""
        soft = ti.static(SoftMemory(tape, frames, constants, sizes, inputs, boxes, grid, velocity))
        soft_bars = ti.static(SoftBars(tape_bars, inputs_bar, grid_bar, before))
        for iteration in range(lanes * BLOCK):
            if iteration % BLOCK == 0:
                particles.reserve()
                lane = iteration // BLOCK
                team, worker = lane // workers, lane % workers
                first_part, last_part = ti.select(workers == 1, 0, worker), ti.select(workers == 1, parts, worker + 1)
                substeps, count = sizes[Sizes.substeps], sizes[Sizes.particles]
                first_tile, last_tile = tile_count * first_part // parts, tile_count * last_part // parts
                velocity_offset = team * velocity_capacity
                scattered = team * parts * velocity_capacity
                total = ti.select(parts == 1, team, lanes // workers * parts + team) * velocity_capacity
                met = 0
                e = team
                while e < environments:
                    for n in range(first_tile, last_tile):
                        particles.enter(
                            bars, tape_bars, frames, sizes, n, e * count,
                            (team * tile_count + n) * Component.SIZE, (e * tile_count + n) * Frame.SIZE, True,
                        )  # fmt: skip
                        if ti.static(muscled):
                            particles.orient(
                                soft, tape_bars, n, (team * tile_count + n) * Component.SIZE, (e * tile_count + n) * Frame.SIZE
                            )
                    sum_bars = sums.place(sizes, environments, e, sizes[Sizes.colliders] + BOUNDS)
                    for reverse in range(substeps):
                        s = substeps - 1 - reverse
                        now = (e * (substeps + 1) + s) * tile_count
                        box = (e * (substeps + 1) + s) * Box.SIZE
                        offset = (e * substeps + s) * capacity
                        rows = row_count(boxes, box)
                        begin, end = rows * first_part // parts, rows * last_part // parts
                        nodes.update(soft, SubstepPlace(e, s, box, grid=offset, velocity=velocity_offset), begin, end, True)
                        met = wait(gate, team, workers, met)
                        pulls = lanes * velocity_capacity + team * sizes[Sizes.pins]
                        first_bar, bar_tile = e * parts, team * tile_count
                        pinned_step = ti.static(
                            SubstepPlace(e, s, box, velocity=velocity_offset, grid_bar=total, inputs_bar=first_bar, pulls=pulls)
                        )
                        if ti.static(pinned):
                            if worker == 0:
                                pins.hold(soft, pinned_step, now, 0, 0)
                            met = wait(gate, team, workers, met)
                        for part in range(first_part, last_part):
                            own, bar_row = scattered + part * velocity_capacity, e * parts + part
                            own_step = ti.static(
                                SubstepPlace(e, s, box, velocity=velocity_offset, grid_bar=own, inputs_bar=bar_row)
                            )
                            nodes.clear(grid_bar, own, 0, layers * node_count(boxes, box))
                            for n in range(tile_count * part // parts, tile_count * (part + 1) // parts):
                                place, new_place = (now + n) * Component.SIZE, (now + tile_count + n) * Component.SIZE
                                bar_place = (team * tile_count + n) * Component.SIZE
                                at = ti.static(TilePlace(n, place, new_place, bar=bar_place))
                                particles.from_grid_adjoint(soft, soft_bars, at, own_step)
                        met = wait(gate, team, workers, met)
                        if parts > 1:
                            line = side(boxes, box, 2)
                            nodes.reduce(grid_bar, total, scattered, velocity_capacity, parts, begin * line, end * line)
                            if ti.static(flowing):
                                behind = node_count(boxes, box)
                                first, last = behind + begin * line, behind + end * line
                                nodes.reduce(grid_bar, total, scattered, velocity_capacity, parts, first, last)
                        if ti.static(pinned):
                            met = wait(gate, team, workers, met)
                            if worker == 0:
                                pins.hold_adjoint(soft, soft_bars, pinned_step, now, bar_tile, 0, 0)
                            met = wait(gate, team, workers, met)
                        for part in range(first_part, last_part):
                            bar_row = e * parts + part
                            own_step = ti.static(
                                SubstepPlace(
                                    e, s, box, grid=offset, grid_bar=total, inputs_bar=bar_row, before=lane, sums=sum_bars
                                )
                            )
                            nodes.update_adjoint(soft, soft_bars, own_step, rows * part // parts, rows * (part + 1) // parts)
                        met = wait(gate, team, workers, met)
                        for part in range(first_part, last_part):
                            bar_row = e * parts + part
                            own_step = ti.static(SubstepPlace(e, s, box, grid_bar=total, inputs_bar=bar_row))
                            for n in range(tile_count * part // parts, tile_count * (part + 1) // parts):
                                place, new_place = (now + n) * Component.SIZE, (now + tile_count + n) * Component.SIZE
                                bar_place = (team * tile_count + n) * Component.SIZE
                                at = ti.static(TilePlace(n, place, new_place, bar=bar_place))
                                particles.to_grid_adjoint(soft, soft_bars, at, own_step)
                    for n in range(first_tile, last_tile):
                        particles.leave(
                            bars, tape_bars, frames, sizes, n, e * count, (team * tile_count + n) * Component.SIZE, 0, False
                        )
                    e += lanes // workers

    return SimpleNamespace(forward=forward, adjoint=adjoint)
