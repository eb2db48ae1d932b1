"""A control step of soft and rigid bodies together, on a CPU: an environment on a lane; forward beside adjoint."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any, NamedTuple

from diffsim.compiler import compile_time, ti
from diffsim.coupling.coupled_records import SWEPT, ContactWork, Listed, ListHeader
from diffsim.coupling.kernels.contact_sweeps import contact_sweeps
from diffsim.coupling.kernels.link_anchors import link_anchors
from diffsim.coupling.kernels.particle_contact import ContactNotes, particle_contact
from diffsim.rigid.kernels.rigid_memory import RigidMemory, RigidPlace, model_rows
from diffsim.rigid.kernels.rigid_substep import substep_stages
from diffsim.rigid.rigid_records import Header, Wrench
from diffsim.rigid.rigid_records import Status as RigidStatus
from diffsim.rigid.time_stepping import TimeStepping
from diffsim.soft.kernels.boxes import empty_box, node_count, row_count
from diffsim.soft.kernels.grid_update import grid_stage
from diffsim.soft.kernels.impulse_sums import impulse_sums
from diffsim.soft.kernels.particles import particle_stages
from diffsim.soft.kernels.pinned_particles import pinned_particles
from diffsim.soft.kernels.soft_lanes import BLOCK
from diffsim.soft.kernels.soft_memory import SoftBars, SoftMemory, SubstepPlace, TilePlace
from diffsim.soft.soft_features import SoftFeatures
from diffsim.soft.soft_records import BOUNDS, LANE_WIDTH, OUTGROWN, Box, Component, Frame, Sizes, Status, grid_layers


@compile_time
class TileRows(NamedTuple):
    """Where rows of tiles begin, in tiles: before and after a substep on the tape, in the frames, in the tape's adjoints."""

    tiles: Any  # in a row
    now: Any
    new: Any
    frames: Any = 0
    bars: Any = 0


def coupled_kernels(
    precision: str,
    features: SoftFeatures,
    further: tuple[Any, ...],
    joint_kinds: tuple[Any, ...],
    constrained: bool,
    stepping: TimeStepping,
) -> SimpleNamespace:
    """The kernels ``forward`` and ``adjoint``; precision and features as of `soft_lanes.lane_kernels`; for the shapes of every
    scene and the classes ``further`` (`diffsim.scene.shapes.distance_kinds`), those kinds of joints, and with or without
    constraints and tendons."""
    real: Any = {"f32": ti.f32, "f64": ti.f64}[precision]
    flowing, recording, pinned, muscled = features.flowing, features.recording, features.pinned, features.muscled
    particles = particle_stages(real, features, width=LANE_WIDTH, shared_grid=False)
    nodes, sums = grid_stage(real, flowing, recording, shared_grid=False), impulse_sums(real, shared_grid=False)
    layers = grid_layers(flowing)
    rigid = substep_stages(real, joint_kinds, tools=True, stepping=stepping, further=further, constrained=constrained)
    rows = model_rows()
    contacts = particle_contact(real, particles, further)
    sweeps = contact_sweeps(real, contacts, recording)
    pins = pinned_particles(real, link_anchors(real, stepping.middle))
    vec4 = ti.types.vector(4, real)
    Reals = ti.types.ndarray(dtype=real, ndim=1)
    Nodes = ti.types.ndarray(dtype=vec4, ndim=1)
    Tiles = ti.types.ndarray(dtype=ti.types.vector(LANE_WIDTH, real), ndim=1)
    Integers = ti.types.ndarray(dtype=ti.i32, ndim=1)

    @ti.func
    def tile_place(at: ti.template(), n):
        """Of tile n the parts of a `TilePlace`: now, new, frame, bar."""
        return (
            (at.now + n) * Component.SIZE,
            (at.new + n) * Component.SIZE,
            (at.frames + n) * Frame.SIZE,
            (at.bars + n) * Component.SIZE,
        )

    @ti.func
    def advance(
        soft: ti.template(), step: ti.template(), at: ti.template(), m: ti.template(), bodies_at: ti.template(),
        notes: ti.template(),
    ):  # fmt: skip
        """One substep. The rigid bodies' motion at its start, the grid without contact, the contacts, what is pinned, then all
        that follows."""
        rigid.begin(m, bodies_at)
        for n in range(Wrench.SIZE * m.integers[Header.links]):
            m.tape[bodies_at.wrenches + n] = 0.0
        nodes.clear(soft.grid, step.grid, 0, layers * node_count(soft.boxes, step.box))
        for n in range(at.tiles):
            now, new, frame, _bar = tile_place(at, n)
            particles.to_grid(soft, TilePlace(n, now, new, frame), step)
        nodes.update(soft, step, 0, row_count(soft.boxes, step.box), False)
        notes.lists[notes.list_at + ListHeader.count] = 0
        for n in range(at.tiles):
            now, _new, _frame, _bar = tile_place(at, n)
            contacts.find(soft, TilePlace(n, now), step, m, bodies_at, notes)
        sweeps.solve(soft, step, m, bodies_at, notes)
        if ti.static(pinned):
            pins.hold(soft, step, at.now, m, bodies_at)
            pins.react(soft, step, at.now, m, bodies_at)
        empty_box(soft.boxes, step.next_box)
        for n in range(at.tiles):
            now, new, _frame, _bar = tile_place(at, n)
            particles.from_grid(soft, TilePlace(n, now, new), step)
        rigid.finish(m, bodies_at, True)

    @ti.func
    def advance_adjoint(
        soft: ti.template(), soft_bars: ti.template(), step: ti.template(), at: ti.template(), m: ti.template(),
        bodies_at: ti.template(), notes: ti.template(),
    ):  # fmt: skip
        """Reverse of ``advance`` over what it kept; the grid's velocities are found again first."""
        rigid.finish_adjoint(m, bodies_at, True)
        lines, size = row_count(soft.boxes, step.box), layers * node_count(soft.boxes, step.box)
        nodes.update(soft, step, 0, lines, True)
        listed = 0
        for n in range(at.tiles):
            now, _new, _frame, _bar = tile_place(at, n)
            listed = contacts.recall(soft, TilePlace(n, now), step, m, bodies_at, notes, listed)
        sweeps.replay(soft, step, notes)
        if ti.static(pinned):
            pins.hold(soft, step, at.now, m, bodies_at)
        nodes.clear(soft_bars.grid, step.grid_bar, 0, size)
        for n in range(at.tiles):
            now, new, _frame, bar = tile_place(at, n)
            particles.from_grid_adjoint(soft, soft_bars, TilePlace(n, now, new, bar=bar), step)
        if ti.static(pinned):
            pins.hold_adjoint(soft, soft_bars, step, at.now, at.bars, m, bodies_at)
        sweeps.solve_adjoint(soft, soft_bars, step, m, bodies_at, notes)
        listed = 0
        for n in range(at.tiles):
            now, _new, _frame, bar = tile_place(at, n)
            listed = contacts.surface_adjoint(soft, soft_bars, TilePlace(n, now, bar=bar), m, bodies_at, notes, listed)
        nodes.update_adjoint(soft, soft_bars, step, 0, lines)
        for n in range(at.tiles):
            now, new, _frame, bar = tile_place(at, n)
            particles.to_grid_adjoint(soft, soft_bars, TilePlace(n, now, new, bar=bar), step)
        rigid.begin_adjoint(m, bodies_at)

    @ti.kernel
    def forward(
        lanes: ti.i32, environments: ti.i32, tiles: ti.i32, keep: ti.i32, capacity: ti.i32, velocity_capacity: ti.i32,
        records: Nodes, tape: Tiles, frames: Tiles, constants: Reals, sizes: Integers, soft_inputs: Reals,
        boxes: Integers, grid: Nodes, velocity: Nodes, status: Integers, most: ti.i32, lists: Integers, impulses: Reals,
        contact_work: Reals, crowds: Reals, shells: Reals, longest: Integers,
        integers: Integers, reals: Reals, grids: Reals, inputs: Reals, controls: Reals, q: Reals, v: Reals,
        rigid_tape: Reals, work: Reals, rigid_status: Integers,
    ):  # fmt: skip
        """Advance environments by one control step. ``keep`` is 0: there is one row for each lane. 1: both tapes have
        substeps + 1 rows per environment, and records, q and v stay as they were. 2: likewise, and these are advanced. ``most``
        contacts have room in a list; ``longest`` becomes how many there were at most in an environment's substeps."""
        soft = ti.static(SoftMemory(tape, frames, constants, sizes, soft_inputs, boxes, grid, velocity, status))
        m = ti.static(RigidMemory(integers, reals, inputs, rigid_tape, work, grids, controls, rigid_status))
        for iteration in range(lanes * BLOCK):
            if iteration % BLOCK == 0:
                particles.reserve()
                lane = iteration // BLOCK
                substeps, count = sizes[Sizes.substeps], sizes[Sizes.particles]
                coordinates, dofs = integers[Header.coordinates], integers[Header.dofs]
                width, work_at = rows.row_length(m, True, stepping), lane * integers[Header.work]
                vector, running_q, running_v = rows.scratch_parts(m, work_at)
                velocity_at, contact_work_at = lane * velocity_capacity, lane * most * ContactWork.SIZE
                stride = ti.min(keep, 1)
                pulls = lanes * velocity_capacity + lane * sizes[Sizes.pins]
                e = lane
                while e < environments:
                    first_row = ti.select(keep > 0, e * (substeps + 1), lane)
                    first_box, frame_row = e * (substeps + 1) * Box.SIZE, e * tiles
                    rigid_inputs, control = e * integers[Header.inputs], e * integers[Header.controls]
                    own_sums = sums.place(sizes, environments, e, sizes[Sizes.colliders] + BOUNDS + integers[Header.geometries])
                    empty_box(boxes, first_box)
                    for n in range(tiles):
                        place = (first_row * tiles + n) * Component.SIZE
                        particles.enter(records, tape, frames, sizes, n, e * count, place, (e * tiles + n) * Frame.SIZE, False)
                        particles.measure(soft, n, e, place, first_box)
                    for n in range(coordinates):
                        rigid_tape[first_row * width + n] = q[e * coordinates + n]
                    for n in range(dofs):
                        rigid_tape[first_row * width + coordinates + n] = v[e * dofs + n]
                    for s in range(substeps):
                        now, new = (first_row + s * stride) * tiles, (first_row + (s + 1) * stride) * tiles
                        row, new_row = (first_row + s * stride) * width, (first_row + (s + 1) * stride) * width
                        kept = ti.select(keep > 0, e * substeps + s, lane)
                        box = first_box + Box.SIZE * s
                        next_box, grid_at = box + Box.SIZE, kept * capacity
                        list_at, impulses_at = kept * (ListHeader.SIZE + Listed.SIZE * most), kept * SWEPT * most
                        q_at, v_at, a, matrix, wrenches, events = rows.row_parts(m, row, True, stepping.middle)
                        step = ti.static(SubstepPlace(e, s, box, next_box, grid_at, velocity_at, sums=own_sums, pulls=pulls))
                        at = ti.static(TileRows(tiles, now, new, frame_row))
                        chord = rows.chord_place(m, matrix, keep, environments * (substeps + 1) * width, lane)
                        bodies_at = ti.static(
                            RigidPlace(
                                rigid_inputs, q_at, v_at, a, work_at, vector, running_q, running_v, s, control, matrix,
                                wrenches, events, new_row, e, 0, row, chord,
                            )
                        )  # fmt: skip
                        notes = ti.static(
                            ContactNotes(
                                lists, list_at, impulses, impulses_at, contact_work, contact_work_at, crowds, shells, most
                            )
                        )
                        if layers * node_count(boxes, box) > capacity:
                            particles.report(status, e, s, 0, OUTGROWN)
                        if (
                            status[e * Status.SIZE + Status.failure] == 0
                            and rigid_status[e * RigidStatus.SIZE + RigidStatus.kind] == 0
                            and layers * node_count(boxes, box) <= capacity
                        ):
                            advance(soft, step, at, m, bodies_at, notes)
                            longest[e] = ti.max(longest[e], lists[list_at + ListHeader.count])
                    if keep != 1:
                        last_row = first_row + substeps * stride
                        for n in range(tiles):
                            particles.leave(
                                records, tape, frames, sizes, n, e * count,
                                (last_row * tiles + n) * Component.SIZE, (e * tiles + n) * Frame.SIZE, True,
                            )  # fmt: skip
                        for n in range(coordinates):
                            q[e * coordinates + n] = rigid_tape[last_row * width + n]
                        for n in range(dofs):
                            v[e * dofs + n] = rigid_tape[last_row * width + coordinates + n]
                    e += lanes

    @ti.kernel
    def adjoint(
        lanes: ti.i32, environments: ti.i32, tiles: ti.i32, capacity: ti.i32, velocity_capacity: ti.i32,
        tape: Tiles, frames: Tiles, bars: Nodes, tape_bars: Tiles, constants: Reals, sizes: Integers, soft_inputs: Reals,
        soft_inputs_bar: Reals, boxes: Integers, grid: Nodes, velocity: Nodes, grid_bar: Nodes, before: Nodes,
        most: ti.i32, lists: Integers, impulses: Reals, contact_work: Reals, crowds: Reals, shells: Reals,
        integers: Integers, reals: Reals, grids: Reals, inputs: Reals, inputs_bar: Reals, controls: Reals, controls_bar: Reals,
        q_bar: Reals, v_bar: Reals, rigid_tape: Reals, work: Reals,
    ):  # fmt: skip
        """Reverse of ``forward`` over what it kept. On entry ``bars``, q_bar and v_bar are the adjoints after the control step,
        on exit those before it; all other adjoints are added to."""
        soft = ti.static(SoftMemory(tape, frames, constants, sizes, soft_inputs, boxes, grid, velocity))
        soft_bars = ti.static(SoftBars(tape_bars, soft_inputs_bar, grid_bar, before))
        m = ti.static(
            RigidMemory(
                integers, reals, inputs, rigid_tape, work, grids, controls, inputs_bar=inputs_bar, controls_bar=controls_bar
            )
        )
        for iteration in range(lanes * BLOCK):
            if iteration % BLOCK == 0:
                particles.reserve()
                lane = iteration // BLOCK
                substeps, count = sizes[Sizes.substeps], sizes[Sizes.particles]
                coordinates, dofs = integers[Header.coordinates], integers[Header.dofs]
                width, work_at = rows.row_length(m, True, stepping), lane * integers[Header.work]
                vector, running_q, running_v = rows.scratch_parts(m, work_at)
                velocity_at, bar_row = lane * velocity_capacity, lane * tiles
                pulls = lanes * velocity_capacity + lane * sizes[Sizes.pins]
                contact_work_at = lane * most * ContactWork.SIZE
                e = lane
                while e < environments:
                    rigid_inputs, control = e * integers[Header.inputs], e * integers[Header.controls]
                    sum_bars = sums.place(sizes, environments, e, sizes[Sizes.colliders] + BOUNDS + integers[Header.geometries])
                    for n in range(tiles):
                        particles.enter(
                            bars, tape_bars, frames, sizes, n, e * count,
                            (bar_row + n) * Component.SIZE, (e * tiles + n) * Frame.SIZE, True,
                        )  # fmt: skip
                        if ti.static(muscled):
                            particles.orient(soft, tape_bars, n, (bar_row + n) * Component.SIZE, (e * tiles + n) * Frame.SIZE)
                    for n in range(coordinates):
                        work[running_q + n] = q_bar[e * coordinates + n]
                    for n in range(dofs):
                        work[running_v + n] = v_bar[e * dofs + n]
                    for reverse in range(substeps):
                        s = substeps - 1 - reverse
                        now, new = (e * (substeps + 1) + s) * tiles, (e * (substeps + 1) + s + 1) * tiles
                        row, box = (e * (substeps + 1) + s) * width, (e * (substeps + 1) + s) * Box.SIZE
                        kept, new_row = e * substeps + s, row + width
                        grid_at, impulses_at = kept * capacity, kept * SWEPT * most
                        list_at = kept * (ListHeader.SIZE + Listed.SIZE * most)
                        q_at, v_at, a, matrix, wrenches, events = rows.row_parts(m, row, True, stepping.middle)
                        step = ti.static(
                            SubstepPlace(
                                e, s, box, None, grid_at, velocity_at, velocity_at, e, lane, sums=sum_bars, pulls=pulls
                            )
                        )
                        at = ti.static(TileRows(tiles, now, new, bars=bar_row))
                        bodies_at = ti.static(
                            RigidPlace(
                                rigid_inputs, q_at, v_at, a, work_at, vector, running_q, running_v, s, control, matrix,
                                wrenches, events, new_row, e, 0, row,
                            )
                        )  # fmt: skip
                        notes = ti.static(
                            ContactNotes(
                                lists, list_at, impulses, impulses_at, contact_work, contact_work_at, crowds, shells, most
                            )
                        )
                        advance_adjoint(soft, soft_bars, step, at, m, bodies_at, notes)
                    for n in range(tiles):
                        particles.leave(bars, tape_bars, frames, sizes, n, e * count, (bar_row + n) * Component.SIZE, 0, False)
                    for n in range(coordinates):
                        q_bar[e * coordinates + n] = work[running_q + n]
                    for n in range(dofs):
                        v_bar[e * dofs + n] = work[running_v + n]
                    e += lanes

    return SimpleNamespace(forward=forward, adjoint=adjoint)
