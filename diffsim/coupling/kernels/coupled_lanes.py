"""A control step of soft and rigid bodies together, on a CPU: an environment on a lane; forward beside adjoint."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from diffsim.compiler import ti
from diffsim.coupling.coupled_records import CONTACT_BARS, SWEEPS, ContactSections
from diffsim.coupling.kernels.particle_contact import (
    CHANGE,
    MOTION_BARS,
    RESPONSE_BARS,
    ContactMemory,
    ContactPlace,
    particle_contact,
)
from diffsim.rigid.kernels.rigid_memory import RigidMemory, RigidPlace, model_rows
from diffsim.rigid.kernels.rigid_substep import substep_stages
from diffsim.rigid.rigid_records import EVENTS_LENGTH, Header, Wrench
from diffsim.rigid.rigid_records import Status as RigidStatus
from diffsim.soft.kernels.boxes import empty_box, node_count, row_count
from diffsim.soft.kernels.grid_update import grid_stage
from diffsim.soft.kernels.particles import particle_stages
from diffsim.soft.kernels.soft_lanes import BLOCK
from diffsim.soft.kernels.soft_memory import SoftBars, SoftMemory, SubstepPlace, TilePlace
from diffsim.soft.soft_records import FRAME, LANE_WIDTH, OUTGROWN, Box, Component, Sizes, Status


def coupled_kernels(
    precision: str, laws: tuple[Callable[..., Any], ...], viscous: bool, further: tuple, joint_kinds: tuple, event: bool
) -> SimpleNamespace:
    """The kernels ``forward`` and ``adjoint``; precision, laws and ``viscous`` as of `soft_lanes.lane_kernels`; for the shapes
    of every scene and the classes ``further`` (`diffsim.scene.shapes.distance_kinds`), and those kinds of joints; with
    ``event``, rigid bodies' fast impacts are events."""
    real: Any = {"f32": ti.f32, "f64": ti.f64}[precision]
    particles = particle_stages(real, laws, viscous, width=LANE_WIDTH, shared_grid=False)
    nodes = grid_stage(real, shared_grid=False)
    rigid = substep_stages(real, joint_kinds, tools=True, event=event, further=further)
    model = model_rows()
    contact = particle_contact(real, particles, further)
    vec4 = ti.types.vector(4, real)
    Reals = ti.types.ndarray(dtype=real, ndim=1)
    Nodes = ti.types.ndarray(dtype=vec4, ndim=1)
    Tiles = ti.types.ndarray(dtype=ti.types.vector(LANE_WIDTH, real), ndim=1)
    Integers = ti.types.ndarray(dtype=ti.i32, ndim=1)

    @ti.kernel
    def forward(
        lanes: ti.i32, environments: ti.i32, tile_count: ti.i32, keep: ti.i32, capacity: ti.i32, velocity_capacity: ti.i32,
        records: Nodes, tape: Tiles, frames: Tiles, constants: Reals, sizes: Integers, soft_inputs: Reals,
        boxes: Integers, grid: Nodes, velocity: Nodes, status: Integers, contacts: Reals, grips: Reals,
        integers: Integers, reals: Reals, grids: Reals, inputs: Reals, controls: Reals, q: Reals, v: Reals,
        rows: Reals, work: Reals, rigid_status: Integers,
    ):  # fmt: skip
        """Advance environments by one control step. With ``keep``, ``tape`` and ``rows`` (the rigid tape) have substeps + 1
        rows per environment, and records, q and v stay as they were; without it there is one row for each lane."""
        soft = ti.static(SoftMemory(tape, frames, constants, sizes, soft_inputs, boxes, grid, velocity, status))
        bodies = ti.static(RigidMemory(integers, reals, inputs, rows, work, grids, controls, rigid_status))
        held = ti.static(ContactMemory(grips, contacts))
        for iteration in range(lanes * BLOCK):
            if iteration % BLOCK == 0:
                particles.reserve()
                lane = iteration // BLOCK
                substeps, count, tiles = sizes[Sizes.substeps], sizes[Sizes.particles], tile_count
                coordinates, dofs, links = integers[Header.coordinates], integers[Header.dofs], integers[Header.links]
                width = coordinates + 2 * dofs + dofs * dofs + Wrench.SIZE * links + ti.static(EVENTS_LENGTH if event else 0)
                base = lane * integers[Header.work]
                vector, running_q, running_v = model.scratch_parts(bodies, base)
                velocity_offset = lane * velocity_capacity
                e = lane
                while e < environments:
                    rigid_inputs, control = e * integers[Header.inputs], e * integers[Header.actuators]
                    first_row = ti.select(keep == 1, e * (substeps + 1), lane)
                    first_box = e * (substeps + 1) * Box.SIZE
                    empty_box(boxes, first_box)
                    for n in range(tiles):
                        place = (first_row * tiles + n) * Component.SIZE
                        particles.enter(records, tape, frames, sizes, n, e * count, place, 0, False)
                        particles.measure(soft, n, e, place, first_box)
                    for n in range(coordinates):
                        rows[first_row * width + n] = q[e * coordinates + n]
                    for n in range(dofs):
                        rows[first_row * width + coordinates + n] = v[e * dofs + n]
                    for s in range(substeps):
                        now, new = (first_row + s * keep) * tiles, (first_row + (s + 1) * keep) * tiles
                        row, next_row = (first_row + s * keep) * width, (first_row + (s + 1) * keep) * width
                        control_step = 0
                        v_at, a, matrix, wrenches, events = model.row_parts(bodies, row, True)
                        bodies_at = ti.static(
                            RigidPlace(
                                rigid_inputs, row, v_at, a, base, vector, running_q, running_v, s, control,
                                matrix, wrenches, events, next_row, e, control_step,
                            )
                        )  # fmt: skip
                        box = first_box + Box.SIZE * s
                        offset = ti.select(keep == 1, e * substeps + s, lane) * capacity
                        next_box = box + Box.SIZE
                        step = ti.static(SubstepPlace(e, s, box, next_box, offset, velocity_offset))
                        lines = row_count(boxes, box)
                        size = node_count(boxes, box)
                        if size > capacity:
                            particles.report(status, e, s, 0, OUTGROWN)
                        if (
                            status[e * Status.SIZE + Status.failure] == 0
                            and rigid_status[e * RigidStatus.SIZE + RigidStatus.kind] == 0
                            and size <= capacity
                        ):
                            rigid.begin(bodies, bodies_at)
                            for n in range(Wrench.SIZE * links):
                                rows[wrenches + n] = 0.0
                            nodes.clear(grid, offset, 0, size)
                            for n in range(tiles):
                                place, new_place = (now + n) * Component.SIZE, (new + n) * Component.SIZE
                                frame = (e * tiles + n) * FRAME
                                particles.to_grid(soft, TilePlace(n, place, new_place, frame), step)
                            nodes.update(soft, step, 0, lines)
                            noted = ti.select(keep == 1, e * substeps + s, lane) * ContactSections.SIZE * count
                            held_at = ti.static(ContactPlace(noted))
                            for sweep in range(SWEEPS + 1):
                                for n in range(tiles):
                                    place = (now + n) * Component.SIZE
                                    own = ti.static(TilePlace(n, place))
                                    contact.touch(soft, step, own, held, held_at, sweep, bodies, bodies_at)
                                for n in range(tiles):
                                    place = (now + n) * Component.SIZE
                                    contact.spread_sweep(soft, step, ti.static(TilePlace(n, place)), contacts, noted, sweep)
                            empty_box(boxes, next_box)
                            for n in range(tiles):
                                place, new_place = (now + n) * Component.SIZE, (new + n) * Component.SIZE
                                particles.from_grid(soft, TilePlace(n, place, new_place), step)
                            rigid.finish(bodies, bodies_at, True)
                    if keep == 0:
                        for n in range(tiles):
                            particles.leave(
                                records, tape, frames, sizes, n, e * count,
                                (first_row * tiles + n) * Component.SIZE, (e * tiles + n) * FRAME, True,
                            )  # fmt: skip
                        for n in range(coordinates):
                            q[e * coordinates + n] = rows[first_row * width + n]
                        for n in range(dofs):
                            v[e * dofs + n] = rows[first_row * width + coordinates + n]
                    e += lanes

    @ti.kernel
    def adjoint(
        lanes: ti.i32, environments: ti.i32, tile_count: ti.i32, capacity: ti.i32, velocity_capacity: ti.i32,
        tape: Tiles, frames: Tiles, bars: Nodes, tape_bars: Tiles, constants: Reals, sizes: Integers, soft_inputs: Reals,
        soft_inputs_bar: Reals, boxes: Integers, grid: Nodes, velocity: Nodes, grid_bar: Nodes, before: Nodes,
        contacts: Reals, contact_bars: Reals, grips: Reals,
        integers: Integers, reals: Reals, grids: Reals, inputs: Reals, inputs_bar: Reals, controls: Reals, controls_bar: Reals,
        q_bar: Reals, v_bar: Reals, rows: Reals, work: Reals,
    ):  # fmt: skip
        """Reverse of ``forward`` over what it kept. On entry ``bars``, q_bar and v_bar are the adjoints after the control step,
        on exit those before it; all other adjoints are added to."""
        soft = ti.static(SoftMemory(tape, frames, constants, sizes, soft_inputs, boxes, grid, velocity))
        soft_bars = ti.static(SoftBars(tape_bars, soft_inputs_bar, grid_bar, before))
        bodies = ti.static(
            RigidMemory(integers, reals, inputs, rows, work, grids, controls, inputs_bar=inputs_bar, controls_bar=controls_bar)
        )
        held = ti.static(ContactMemory(grips, contacts, contact_bars))
        for iteration in range(lanes * BLOCK):
            if iteration % BLOCK == 0:
                particles.reserve()
                lane = iteration // BLOCK
                substeps, count, tiles = sizes[Sizes.substeps], sizes[Sizes.particles], tile_count
                coordinates, dofs, links = integers[Header.coordinates], integers[Header.dofs], integers[Header.links]
                width = coordinates + 2 * dofs + dofs * dofs + Wrench.SIZE * links + ti.static(EVENTS_LENGTH if event else 0)
                base = lane * integers[Header.work]
                vector, running_q, running_v = model.scratch_parts(bodies, base)
                velocity_offset = lane * velocity_capacity
                e = lane
                while e < environments:
                    rigid_inputs, control = e * integers[Header.inputs], e * integers[Header.actuators]
                    for n in range(tiles):
                        particles.enter(
                            bars, tape_bars, frames, sizes, n, e * count,
                            (lane * tiles + n) * Component.SIZE, (e * tiles + n) * FRAME, True,
                        )  # fmt: skip
                    for n in range(coordinates):
                        work[running_q + n] = q_bar[e * coordinates + n]
                    for n in range(dofs):
                        work[running_v + n] = v_bar[e * dofs + n]
                    for reverse in range(substeps):
                        s = substeps - 1 - reverse
                        now = (e * (substeps + 1) + s) * tiles
                        row = (e * (substeps + 1) + s) * width
                        v_at, a, matrix, wrenches, events = model.row_parts(bodies, row, True)
                        bodies_at = ti.static(
                            RigidPlace(
                                rigid_inputs, row, v_at, a, base, vector, running_q, running_v, s, control,
                                matrix, wrenches, events
                            )
                        )  # fmt: skip
                        box = (e * (substeps + 1) + s) * Box.SIZE
                        offset = (e * substeps + s) * capacity
                        step = ti.static(SubstepPlace(e, s, box, None, offset, velocity_offset, velocity_offset, e, lane))
                        noted, noted_bars = (e * substeps + s) * ContactSections.SIZE * count, lane * CONTACT_BARS * count
                        held_at = ti.static(ContactPlace(noted, noted_bars))
                        lines = row_count(boxes, box)
                        size = node_count(boxes, box)
                        rigid.finish_adjoint(bodies, bodies_at, True)
                        nodes.update(soft, step, 0, lines)
                        for sweep in range(SWEEPS + 1):
                            for n in range(tiles):
                                place = (now + n) * Component.SIZE
                                contact.spread_sweep(soft, step, ti.static(TilePlace(n, place)), contacts, noted, sweep)
                        nodes.clear(grid_bar, velocity_offset, 0, size)
                        for n in range(tiles):
                            place, new_place = (now + n) * Component.SIZE, (now + tiles + n) * Component.SIZE
                            bar_place = (lane * tiles + n) * Component.SIZE
                            particles.from_grid_adjoint(soft, soft_bars, TilePlace(n, place, new_place, bar=bar_place), step)
                        for n in range(CONTACT_BARS * count):
                            contact_bars[noted_bars + n] = 0.0
                        for back in range(SWEEPS + 1):
                            sweep = SWEEPS - back
                            if sweep == 0:
                                for n in range(size):
                                    velocity[velocity_offset + n] = vec4(0.0, 0.0, 0.0, velocity[velocity_offset + n][3])
                            for n in range(tiles):
                                place = (now + n) * Component.SIZE
                                own = ti.static(TilePlace(n, place))
                                if sweep > 0:
                                    contact.spread(
                                        soft, step, own, velocity, velocity_offset, contacts, noted, CHANGE, sweep, -1.0
                                    )
                                else:
                                    contact.spread(
                                        soft, step, own, velocity, velocity_offset, contact_bars, noted_bars, RESPONSE_BARS,
                                        0, 1.0,
                                    )  # fmt: skip
                            for n in range(tiles):
                                place, bar_place = (now + n) * Component.SIZE, (lane * tiles + n) * Component.SIZE
                                own = ti.static(TilePlace(n, place, bar=bar_place))
                                contact.touch_adjoint(soft, soft_bars, step, own, held, held_at, sweep, bodies, bodies_at)
                            for n in range(tiles):
                                place = (now + n) * Component.SIZE
                                contact.spread(
                                    soft, step, ti.static(TilePlace(n, place)), grid_bar, velocity_offset,
                                    contact_bars, noted_bars, MOTION_BARS, 0, 1.0,
                                )  # fmt: skip
                        nodes.update_adjoint(soft, soft_bars, step, 0, lines)
                        for n in range(tiles):
                            place, new_place = (now + n) * Component.SIZE, (now + tiles + n) * Component.SIZE
                            bar_place = (lane * tiles + n) * Component.SIZE
                            particles.to_grid_adjoint(soft, soft_bars, TilePlace(n, place, new_place, bar=bar_place), step)
                        rigid.begin_adjoint(bodies, bodies_at)
                    for n in range(tiles):
                        particles.leave(
                            bars, tape_bars, frames, sizes, n, e * count, (lane * tiles + n) * Component.SIZE, 0, False
                        )
                    for n in range(coordinates):
                        q_bar[e * coordinates + n] = work[running_q + n]
                    for n in range(dofs):
                        v_bar[e * dofs + n] = work[running_v + n]
                    e += lanes

    return SimpleNamespace(forward=forward, adjoint=adjoint)
