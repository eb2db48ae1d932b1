"""The host's side of the two schedules: their buffers and launches. `MPMSolver` chooses one by the device."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from diffsim import runtime
from diffsim.compiler import kernel_options
from diffsim.gradients.recompute import chunk_size
from diffsim.soft.kernels.teams import Teams
from diffsim.soft.soft_features import SoftFeatures
from diffsim.soft.soft_records import (
    BOUNDS,
    LANE_WIDTH,
    SHARED_WIDTH,
    Box,
    Component,
    Frame,
    ImpulseSum,
    Status,
    grid_layers,
)


@dataclass(frozen=True)
class Layout:
    """What a schedule knows of its scene: the laws that its kernels compile (`diffsim.soft.laws.laws_of`), whether some
    material is VISCOUS or FLOWING, whether contact impulses are recorded, sizes of a control step and of the grid (counts along
    the axes), and the kernels' ``constants`` and ``sizes`` (`soft_records.py`); ``pins`` and
    ``muscles``: how many there are."""

    dtype: torch.dtype
    device: str
    laws: tuple[Callable[..., Any], ...]
    viscous: bool
    flowing: bool
    recording: bool
    substeps: int
    counts: tuple[int, int, int]
    tile_count: int
    colliders: int
    pins: int
    muscles: int
    constants: Tensor
    sizes: Tensor

    @property
    def features(self) -> SoftFeatures:
        """What kernels are compiled for."""
        return SoftFeatures(self.laws, self.viscous, self.flowing, self.recording, self.pins > 0, self.muscles > 0)

    @property
    def nodes(self) -> int:
        """Of the grid, in all its layers."""
        return math.prod(self.counts) * grid_layers(self.flowing)

    @property
    def velocities(self) -> int:
        """Vectors of four that the velocities of an environment take, those of its pinned particles' impulses included."""
        return self.nodes + self.pins

    @property
    def touched(self) -> int:
        """Things whose sums of impulses are recorded: the colliders, the ground, the walls; or 0."""
        return (self.colliders + BOUNDS) * self.recording


@dataclass(frozen=True)
class Tape:
    """What a forward pass leaves: the particles of every substep if it was kept, their frames, boxes, grids, the status, and
    the parts' sums of impulses (B * parts, touched, ImpulseSum.SIZE)."""

    rows: Tensor
    frames: Tensor
    boxes: Tensor
    grid: Tensor
    capacity: int
    status: Tensor
    sums: Tensor


class Schedule(Protocol):
    """One way to run the stages."""

    width: int

    def parts(self, num_envs: int) -> int:
        """Rows of the inputs' adjoints for each environment; they are to be added up."""

    def chunk(self, capacity: int, budget: int) -> int:
        """How many environments to recompute at a time within ``budget`` bytes."""

    def kept_size(self, num_envs: int, capacity: int) -> int | None:
        """Numbers of the memory of its own in which ``forward`` can keep everything, None where it cannot."""

    def forward(
        self,
        records: Tensor,
        inputs: Tensor,
        time_step: Tensor,
        *,
        batch: int,
        capacity: int | None,
        memory: Tensor | None = None,
    ) -> Tape:
        """One control step, which ``time_step`` others (B,) preceded, over records (B, N, ParticleRecord.SIZE) with the inputs
        (B, K), part of a ``batch``. With a ``capacity`` (nodes of the largest box) everything is kept until the next launch and
        the records stay; with ``memory`` of its own too everything is kept there, and they are advanced in place; without
        both nothing is kept, and they are."""

    def adjoint(self, tape: Tape, bars: Tensor, sum_bars: Tensor, inputs: Tensor, inputs_bar: Tensor, *, batch: int) -> None:
        """The adjoints of the records, in place, and of the inputs (B * parts, K), added to; given those of each environment's
        sums of impulses too (B, touched, ImpulseSum.SIZE)."""

    def box_nodes(self, tape: Tape, num_envs: int) -> Tensor:
        """Nodes of each environment's largest box (B,)."""


class Buffers:
    """Memory that is kept for the next call, of so many rows at least: fresh pages cost as much as a substep."""

    def __init__(self, layout: Layout):
        self._layout = layout
        self._held: dict[str, Tensor] = {}

    def empty(self, name: str, rows: int, width: int) -> Tensor:
        return self._kept(torch.empty, name, rows, width)

    def zeros(self, name: str, rows: int, width: int) -> Tensor:
        """Zeros at first. Pages of zeros that nobody touches take no memory on a CPU, so that a grid costs what its largest box
        of particles covers."""
        return self._kept(torch.zeros, name, rows, width)

    def _kept(self, make: Callable[..., Tensor], name: str, rows: int, width: int) -> Tensor:
        if name not in self._held or len(self._held[name]) < rows:
            self._held[name] = make((rows, width), dtype=self._layout.dtype, device=self._layout.device)
        return self._held[name]


def with_sums(inputs: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
    """The flat inputs (B, K) with the sums of impulses, or their adjoints, behind them, and those there."""
    if not sums.numel():
        return inputs.reshape(-1), sums
    both = torch.cat([inputs.reshape(-1), sums.reshape(-1)])
    return both, both[inputs.numel() :].view(sums.shape)


def first_status(time_step: Tensor) -> Tensor:
    """Rows of `Status` (B, Status.SIZE) before a control step that ``time_step`` others (B,) preceded."""
    status = torch.zeros((len(time_step), Status.SIZE), dtype=torch.int32, device=time_step.device)
    status[:, Status.time_step] = time_step & 0x7FFFFFFF
    return status


@dataclass(frozen=True)
class TapeShape:
    """Rows of a tape over lanes for so many environments: with a ``capacity`` rows and grids of all substeps, without it one
    for each lane; and ``private`` grids more."""

    layout: Layout
    lanes: int
    num_envs: int
    capacity: int | None
    private: int = 0

    @property
    def rows(self) -> int:
        """Of the particles, `LANE_WIDTH` numbers each."""
        places = self.lanes if self.capacity is None else self.num_envs * (self.layout.substeps + 1)
        return places * self.layout.tile_count * Component.SIZE

    @property
    def frames(self) -> int:
        """Of the particles' frames, `LANE_WIDTH` numbers each."""
        return self.num_envs * self.layout.tile_count * Frame.SIZE

    @property
    def nodes(self) -> int:
        """Of the grids, four numbers each."""
        if self.capacity is None:
            return (self.lanes + self.private) * self.layout.nodes
        return (self.num_envs * self.layout.substeps + self.private) * self.capacity

    @property
    def size(self) -> int:
        """Numbers of all of it."""
        return (self.rows + self.frames) * LANE_WIDTH + self.nodes * 4

    def places(self, buffers: Buffers, memory: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Rows, frames and grids: in the buffers, or in flat ``memory`` of this size."""
        if memory is not None:
            split = [self.rows * LANE_WIDTH, self.frames * LANE_WIDTH, self.nodes * 4]
            rows, frames, grid = memory[: self.size].split(split)
            return rows.view(-1, LANE_WIDTH), frames.view(-1, LANE_WIDTH), grid.view(-1, 4)
        make = buffers.zeros if self.capacity is None else buffers.empty
        return (
            buffers.empty("rows", self.rows, LANE_WIDTH),
            buffers.empty("frames", self.frames, LANE_WIDTH),
            make("grid" if self.capacity is None else "kept grid", self.nodes, 4),
        )


def lane_tape(
    buffers: Buffers,
    layout: Layout,
    lanes: int,
    time_step: Tensor,
    capacity: int | None,
    sums: Tensor,
    *,
    private: int = 0,
    memory: Tensor | None = None,
) -> Tape:
    """What a forward pass over lanes after so many control steps (B,) writes to, `TapeShape` says where; and the ``sums``."""
    num_envs = len(time_step)
    rows, frames, grid = TapeShape(layout, lanes, num_envs, capacity, private).places(buffers, memory)
    return Tape(
        rows,
        frames,
        torch.empty((num_envs * (layout.substeps + 1) + lanes) * Box.SIZE, dtype=torch.int32),
        grid,
        layout.nodes if capacity is None else capacity,
        first_status(time_step),
        sums,
    )


def largest_boxes(tape: Tape, num_envs: int, layout: Layout) -> Tensor:
    """Nodes of each environment's largest box (B,), in all its layers."""
    substeps = layout.substeps
    boxes = tape.boxes[: num_envs * (substeps + 1) * Box.SIZE].view(num_envs, substeps + 1, 2, 3)[:, :substeps]
    return (boxes[:, :, 1] - boxes[:, :, 0]).to(torch.int64).prod(dim=-1).amax(dim=1) * grid_layers(layout.flowing)


class LaneSchedule:
    """`soft_lanes.py`: on a CPU."""

    width = LANE_WIDTH

    def __init__(self, layout: Layout):
        from diffsim.soft.kernels.soft_lanes import lane_kernels

        self._layout = layout
        self._kernels = runtime.compiled(
            lane_kernels,
            runtime.precision(layout.dtype),
            layout.features,
        )
        self._teams = Teams(runtime.num_threads(), runtime.started_threads())
        self._buffers = Buffers(layout)

    def parts(self, num_envs: int) -> int:
        return self._teams.parts(num_envs)

    def chunk(self, capacity: int, budget: int) -> int:
        layout, lanes = self._layout, self._teams.lanes
        tape = (layout.substeps + 1) * layout.tile_count * Component.SIZE * self.width
        return chunk_size((tape + layout.substeps * capacity * 4) * layout.dtype.itemsize, budget, multiple=lanes)

    def kept_size(self, num_envs: int, capacity: int) -> int | None:
        lanes = self._teams.lanes
        private = lanes if self._teams.parts(num_envs) > 1 else 0
        return TapeShape(self._layout, lanes, num_envs, capacity, private).size

    def forward(
        self,
        records: Tensor,
        inputs: Tensor,
        time_step: Tensor,
        *,
        batch: int,
        capacity: int | None,
        memory: Tensor | None = None,
    ) -> Tape:
        layout, lanes = self._layout, self._teams.lanes
        num_envs, parts = len(records), self._teams.parts(batch)
        keep = capacity is not None
        places = num_envs * layout.substeps if keep else lanes
        driven, sums = with_sums(inputs, inputs.new_zeros(num_envs * parts, layout.touched, ImpulseSum.SIZE))
        private = lanes if parts > 1 or not keep else 0
        tape = lane_tape(self._buffers, layout, lanes, time_step, capacity, sums, private=private, memory=memory)
        velocity = self._buffers.zeros("velocity", lanes * layout.velocities, 4)
        with kernel_options(subexpressions=True), self._teams.at_work("forward", parts) as (working, workers):
            self._kernels.forward(
                working, workers, parts, num_envs, layout.tile_count, keep + (memory is not None), tape.capacity, layout.nodes,
                places * tape.capacity,
                records.view(-1, 4), tape.rows, tape.frames, layout.constants, layout.sizes, driven,
                tape.boxes, tape.grid, velocity, tape.status.view(-1), torch.zeros(lanes, dtype=torch.int32),
            )  # fmt: skip
        return tape

    def adjoint(self, tape: Tape, bars: Tensor, sum_bars: Tensor, inputs: Tensor, inputs_bar: Tensor, *, batch: int) -> None:
        layout, lanes = self._layout, self._teams.lanes
        parts = self._teams.parts(batch)
        velocity = self._buffers.zeros("velocity", lanes * layout.velocities, 4)
        grid_bar = self._buffers.zeros("grid bar", 2 * lanes * layout.nodes, 4)
        row_bars = self._buffers.empty("row bars", lanes * layout.tile_count * Component.SIZE, self.width)
        before = self._buffers.empty("before", lanes * max(layout.colliders, 1), 4)
        with kernel_options(), self._teams.at_work("adjoint", parts) as (working, workers):
            self._kernels.adjoint(
                working, workers, parts, len(bars), layout.tile_count, tape.capacity, layout.nodes,
                tape.rows, tape.frames, bars.view(-1, 4), row_bars, layout.constants, layout.sizes,
                with_sums(inputs, sum_bars)[0], inputs_bar.view(-1), tape.boxes, tape.grid, velocity, grid_bar, before,
                torch.zeros(lanes, dtype=torch.int32),
            )  # fmt: skip

    def box_nodes(self, tape: Tape, num_envs: int) -> Tensor:
        return largest_boxes(tape, num_envs, self._layout)


class SharedSchedule:
    """`shared_grid.py`: on a GPU. It runs on a CPU as well, slowly, for the tests."""

    width = SHARED_WIDTH

    def __init__(self, layout: Layout):
        from diffsim.soft.kernels.shared_grid import shared_kernels

        self._layout = layout
        self._kernels = runtime.compiled(
            shared_kernels,
            runtime.precision(layout.dtype),
            layout.features,
        )
        self._buffers = Buffers(layout)
        self._boxes = torch.tensor([0, 0, 0, *layout.counts], dtype=torch.int32, device=layout.device)

    def parts(self, num_envs: int) -> int:
        return 1

    def chunk(self, capacity: int, budget: int) -> int:
        # a GPU wants many environments at a time and has the memory for them
        layout = self._layout
        tape = (layout.substeps + 1) * layout.tile_count * Component.SIZE
        return chunk_size((tape + layout.substeps * layout.nodes * 4) * layout.dtype.itemsize, 32 * budget)

    def kept_size(self, num_envs: int, capacity: int) -> int | None:
        return None

    def forward(
        self,
        records: Tensor,
        inputs: Tensor,
        time_step: Tensor,
        *,
        batch: int,
        capacity: int | None,
        memory: Tensor | None = None,
    ) -> Tape:
        layout = self._layout
        num_envs, keep = len(records), int(capacity is not None)
        rows = self._buffers.empty("rows", num_envs * (layout.substeps * keep + 1) * layout.tile_count * Component.SIZE, 1)
        frames = self._buffers.empty("frames", num_envs * layout.tile_count * Frame.SIZE, 1)
        status = first_status(time_step)
        driven, sums = with_sums(inputs, inputs.new_zeros(num_envs, layout.touched, ImpulseSum.SIZE))
        grid = self._buffers.empty("grid", num_envs * (layout.substeps if keep else 1) * layout.nodes, 4)
        velocity = self._buffers.empty("velocity", num_envs * layout.velocities, 4)
        with kernel_options(subexpressions=True):
            stride = layout.substeps * keep + 1
            self._kernels.enter(
                False, num_envs, layout.tile_count, stride,
                records.view(-1, 4), rows, frames, layout.constants, layout.sizes,
            )  # fmt: skip
            for s in range(layout.substeps):
                self._kernels.substep(
                    s, num_envs, layout.tile_count, keep, layout.nodes, rows, frames,
                    layout.constants, layout.sizes, driven, self._boxes, grid, velocity, status.view(-1),
                )  # fmt: skip
            if not keep:
                self._kernels.leave(True, num_envs, layout.tile_count, records.view(-1, 4), rows, frames, layout.sizes)
        return Tape(rows, frames, self._boxes, grid, layout.nodes, status, sums)

    def adjoint(self, tape: Tape, bars: Tensor, sum_bars: Tensor, inputs: Tensor, inputs_bar: Tensor, *, batch: int) -> None:
        layout = self._layout
        num_envs = len(bars)
        velocity = self._buffers.empty("velocity", num_envs * layout.velocities, 4)
        grid_bar = self._buffers.empty("grid bar", num_envs * layout.nodes, 4)
        row_bars = self._buffers.empty("row bars", num_envs * layout.tile_count * Component.SIZE, 1)
        lines = num_envs * layout.counts[0] * layout.counts[1]
        driven = with_sums(inputs, sum_bars)[0]
        before = self._buffers.empty("before", lines * max(layout.colliders, 1), 4)
        with kernel_options():
            self._kernels.enter(
                True, num_envs, layout.tile_count, 1,
                bars.view(-1, 4), row_bars, tape.frames, layout.constants, layout.sizes,
            )  # fmt: skip
            for s in reversed(range(layout.substeps)):
                self._kernels.substep_adjoint(
                    s, num_envs, layout.tile_count, layout.nodes, tape.rows, row_bars,
                    layout.constants, layout.sizes, driven, inputs_bar.view(-1),
                    self._boxes, tape.grid, velocity, grid_bar, before,
                )  # fmt: skip
            self._kernels.leave(False, num_envs, layout.tile_count, bars.view(-1, 4), row_bars, tape.frames, layout.sizes)

    def box_nodes(self, tape: Tape, num_envs: int) -> Tensor:
        return torch.full((num_envs,), self._layout.nodes, device=self._layout.device)
