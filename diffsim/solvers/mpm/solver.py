"""The MPM solver as a plain function of tensors and its adjoint; private buffers live here, state does not."""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from diffsim import runtime
from diffsim.errors import SimulationError
from diffsim.materials import LAWS
from diffsim.scene import Scene
from diffsim.solvers.mpm.teams import Teams
from diffsim.solvers.mpm.memory import COMPONENTS, FRAME, QUANTITIES, RECORD, STATUS

logger = logging.getLogger(__name__)

# what the recomputed substeps of the environments in flight may take; the batch is cut into chunks to respect it
TRAJECTORY_BYTES = 64 * 1024 * 1024
PADDING = 3  # grid cells outside the domain on each side


@dataclass(frozen=True)
class StepInputs:
    """What drives one control step besides the particles; all batch-first and differentiable.

    Colliders are tools, then obstacles: position (B, S, M, 3) and rotation (B, S, M, 3, 3) at each substep, velocity and spin
    (angular velocity) (B, M, 3) over the control step, friction (B, M). parameters (B, bodies, 8) and world (B, 4) are
    laid out as `diffsim/solvers/mpm/memory.py` says.
    """

    position: Tensor
    rotation: Tensor
    velocity: Tensor
    spin: Tensor
    friction: Tensor
    parameters: Tensor
    world: Tensor

    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(getattr(self, item.name) for item in fields(self))


def pack(particles: tuple[Tensor, ...]) -> Tensor:
    """Records (B, N, 4 RECORD) of x, v, C, F and the plastic strain."""
    x, v, C, F, a = (tensor.detach() for tensor in particles)
    gap = x.new_zeros((*a.shape, 2))
    return torch.cat([x, v, C.flatten(2), gap[..., :1], F.flatten(2), a.unsqueeze(-1), gap], dim=-1)


def unpack(records: Tensor) -> tuple[Tensor, ...]:
    """The inverse of `pack`, as tensors of their own."""
    x, v, C, _gap, F, a, _gaps = records.split((3, 3, 9, 1, 9, 1, 2), dim=-1)
    square = (*records.shape[:2], 3, 3)
    return x.contiguous(), v.contiguous(), C.reshape(square), F.reshape(square), a.squeeze(-1).contiguous()


class MPMSolver:
    """Compiled MPM for one scene: ``advance`` and its ``adjoint``, each over one control step of all environments."""

    def __init__(self, scene: Scene, *, dt: float, substeps: int, dtype: torch.dtype):
        # Taichi runs by now: the kernels are defined on import of this module's neighbour
        from diffsim.solvers.mpm.lanes import WIDTH, lane_kernels

        self.dtype = dtype
        self.substeps = substeps
        self._kernels = runtime.compiled(lane_kernels, {torch.float32: "f32", torch.float64: "f64"}[dtype])
        self._teams = Teams(runtime.num_threads())
        self._lanes = self._teams.lanes

        dx = scene.grid_spacing
        lower, upper = np.asarray(scene.lower), np.asarray(scene.upper)
        counts = np.ceil((upper - lower) / dx - 1e-6).astype(int) + 1 + 2 * PADDING
        self.node_count = int(counts.prod())
        ground = scene.ground
        floor = -1e30 if ground is None else ground.height + 1e-6 * dx
        self._domain = torch.tensor([dt, dx, *(lower - PADDING * dx), *lower, *upper, floor, 0.5 * dx, 0.0], dtype=dtype)
        colliders = (*scene.tools, *scene.obstacles)
        shapes = [
            [*thing.shape.core, thing.shape.radius, np.linalg.norm(thing.shape.core) + thing.shape.radius]  # type: ignore[attr-defined]
            for thing in colliders
        ]
        self._collider_shape = torch.tensor(shapes, dtype=dtype).reshape(-1)
        self._bodies = [body.name for body in scene.soft_bodies]
        particles = [len(body.rest_particles) for body in scene.soft_bodies]
        self._body_ends = np.cumsum(particles)
        self._count = int(self._body_ends[-1])
        self._sizes = torch.tensor([self._count, len(particles), substeps, len(colliders), *counts.tolist()], dtype=torch.int32)
        self._laws = torch.tensor([LAWS.index(body.material.LAW) for body in scene.soft_bodies], dtype=torch.int32)
        tiles = [
            (begin, min(WIDTH, int(end) - begin), body)
            for body, end in enumerate(self._body_ends)
            for begin in range(int(end) - particles[body], int(end), WIDTH)
        ]
        self._tile_count = len(tiles)
        self._width = WIDTH
        self._tiles = torch.tensor(tiles, dtype=torch.int32).reshape(-1)

        self._grid = self._nodes(2 * self._lanes, self.node_count)  # a place for each team, then one for each lane
        self._velocity = self._nodes(self._lanes, self.node_count)
        self._grid_bar: Tensor | None = None
        self._buffers: dict[str, Tensor] = {}
        self._inverted_reported = False

    def _nodes(self, *counts: int) -> Tensor:
        # untouched pages of zeros take no memory, so a grid costs what its largest box of particles covers
        return torch.zeros((int(np.prod(counts)), 4), dtype=self.dtype)

    def _buffer(self, name: str, *shape: int) -> Tensor:
        """Uninitialised memory that is kept for the next call: fresh pages cost as much as a substep."""
        size = int(np.prod(shape))
        if name not in self._buffers or self._buffers[name].numel() < size:
            self._buffers[name] = torch.empty(size, dtype=self.dtype)
        return self._buffers[name][:size].view(shape)

    def _scene_tensors(self, inputs: StepInputs) -> tuple[Tensor, ...]:
        flat = {item.name: getattr(inputs, item.name).reshape(-1) for item in fields(inputs)}
        if flat["friction"].numel() == 0:  # Taichi refuses empty arrays
            flat |= dict.fromkeys(("position", "rotation", "velocity", "spin", "friction"), flat["world"][:1])
        shape = self._collider_shape if self._collider_shape.numel() else flat["world"][:1]
        return (
            self._domain, self._sizes, self._tiles, self._laws, flat["parameters"], flat["world"],
            shape, flat["friction"], flat["position"], flat["rotation"], flat["velocity"], flat["spin"],
        )  # fmt: skip

    def _run(
        self, records: Tensor, inputs: StepInputs, *, parts: int, kept_grid: Tensor | None, capacity: int,
        time_step: Tensor, first: int,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """The forward kernel over records (B, N, 4 RECORD), in place; returns the tape, the frames and the boxes."""
        num_envs = records.shape[0]
        frames = self._buffer("frames", num_envs * self._tile_count * FRAME, self._width)
        boxes = torch.empty((num_envs * (self.substeps + 1) + self._lanes) * 6, dtype=torch.int32)
        status = torch.zeros((num_envs, STATUS), dtype=torch.int32)
        rows = num_envs * (self.substeps + 1) if kept_grid is not None else self._lanes
        tape = self._buffer("tape", rows * self._tile_count * COMPONENTS, self._width)
        if kept_grid is None:
            grid, private = self._grid, self._lanes * self.node_count
        else:
            grid, private = kept_grid, num_envs * self.substeps * capacity
        with runtime.kernel_options(), self._teams.at_work(parts) as (lanes, workers):
            self._kernels.forward(
                lanes, workers, parts, num_envs, self._tile_count, int(kept_grid is not None),
                capacity, self.node_count, private,
                records.view(-1, 4), tape, frames, *self._scene_tensors(inputs),
                boxes, grid, self._velocity, status.view(-1), torch.zeros(self._lanes, dtype=torch.int32),
            )  # fmt: skip
        self._check(status, time_step, first)
        return tape, frames, boxes

    def _check(self, status: Tensor, time_step: Tensor, first: int) -> None:
        failed = torch.nonzero(status[:, 0])
        if len(failed):
            environment = int(failed[0, 0])
            kind, substep, particle, _inverted = status[environment].tolist()
            quantity, detail = QUANTITIES[kind]
            raise SimulationError(
                step=int(time_step[environment]),
                substep=substep,
                environment=first + environment,
                body=self._bodies[int(np.searchsorted(self._body_ends, particle, side="right"))],
                quantity=quantity,
                detail=detail,
            )
        if not self._inverted_reported and int(status[:, 3].max()) > 0:
            environment = int(status[:, 3].argmax())
            logger.warning(
                "%d elements were inverted (det F <= 0) in control step %d of environment %d: the step is too large for the "
                "deformation, or the body is crushed. They are continued as the material's documentation says.",
                int(status[environment, 3]),
                int(time_step[environment]),
                first + environment,
            )
            self._inverted_reported = True

    @staticmethod
    def _chunk(inputs: StepInputs, chunk: slice) -> StepInputs:
        return StepInputs(*(tensor.detach()[chunk].contiguous() for tensor in inputs.tensors()))

    def advance(
        self, particles: tuple[Tensor, ...], inputs: StepInputs, time_step: Tensor
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """x, v, C, F and the plastic strain one control step later, and the size of each environment's largest box of nodes,
        which ``adjoint`` wants. Inputs are untouched.

        Raises:
            SimulationError: a particle left the grid or something is not finite.
        """
        num_envs = particles[0].shape[0]
        records = pack(particles)
        whole = self._chunk(inputs, slice(0, num_envs))
        _tape, _frames, boxes = self._run(
            records, whole, parts=self._teams.parts(num_envs), kept_grid=None, capacity=self.node_count, time_step=time_step, first=0
        )
        boxes = boxes[: num_envs * (self.substeps + 1) * 6].view(num_envs, self.substeps + 1, 2, 3)[:, : self.substeps]
        extent = (boxes[:, :, 1] - boxes[:, :, 0]).to(torch.int64)
        return unpack(records), extent.prod(dim=-1).amax(dim=1)

    def adjoint(
        self,
        particles: tuple[Tensor, ...],
        inputs: StepInputs,
        time_step: Tensor,
        box_nodes: Tensor,
        output_bars: tuple[Tensor, ...],
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Adjoints of the particles and of the inputs' tensors, given those of the outputs of ``advance``.

        The control step is recomputed from its input; only its own substeps are held in memory, a chunk of environments
        at a time.
        """
        num_envs = particles[0].shape[0]
        bars = pack(output_bars)
        input_bars = StepInputs(*(torch.zeros(tensor.shape, dtype=self.dtype) for tensor in inputs.tensors()))
        if self._grid_bar is None:
            self._grid_bar = self._nodes(2 * self._lanes, self.node_count)
        before = torch.empty(self._lanes * max(self._collider_shape.numel(), 1) * 3, dtype=self.dtype)
        tape_bars = self._buffer("tape bars", self._lanes * self._tile_count * COMPONENTS, self._width)
        item = self._domain.element_size()
        capacity = int(box_nodes.max())
        env_bytes = ((self.substeps + 1) * self._tile_count * COMPONENTS * self._width + self.substeps * capacity * 4) * item
        size = max(TRAJECTORY_BYTES // env_bytes // self._lanes, 1) * self._lanes
        for begin in range(0, num_envs, size):
            chunk = slice(begin, min(begin + size, num_envs))
            count = chunk.stop - chunk.start
            records = pack(tuple(tensor[chunk] for tensor in particles))
            parts = self._teams.parts(num_envs)
            places = count * self.substeps + (self._lanes if parts > 1 else 0)
            kept_grid = self._buffer("kept grid", places * capacity, 4)
            own = self._chunk(inputs, chunk)
            tape, frames, boxes = self._run(
                records, own, parts=parts, kept_grid=kept_grid, capacity=capacity, time_step=time_step[chunk], first=begin
            )
            part_bars = StepInputs(*(tensor.new_zeros((count * parts, *tensor.shape[1:])) for tensor in own.tensors()))
            with runtime.kernel_options(), self._teams.at_work(parts) as (lanes, workers):
                self._kernels.adjoint(
                    lanes, workers, parts, count, self._tile_count, capacity, self.node_count,
                    tape, frames, bars[chunk].view(-1, 4), tape_bars, *self._scene_tensors(own),
                    part_bars.parameters.view(-1), part_bars.world.view(-1), *self._collider_bars(part_bars),
                    boxes, kept_grid, self._velocity, self._grid_bar, before, torch.zeros(self._lanes, dtype=torch.int32),
                )  # fmt: skip
            for target, bar in zip(input_bars.tensors(), part_bars.tensors(), strict=True):
                target[chunk] = bar.view(count, parts, *bar.shape[1:]).sum(dim=1)
        return unpack(bars), input_bars.tensors()

    def _collider_bars(self, bars: StepInputs) -> tuple[Tensor, ...]:
        order = (bars.friction, bars.position, bars.rotation, bars.velocity, bars.spin)
        return tuple(bar.view(-1) if bar.numel() else torch.zeros(1, dtype=self.dtype) for bar in order)
