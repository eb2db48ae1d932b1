"""The MPM solver as a plain function of tensors and its adjoint; private buffers live here, state does not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffsim.errors import SimulationError
from diffsim.materials import LAWS
from diffsim.scene import Scene
from diffsim.solvers.mpm.memory import QUANTITIES
from diffsim.solvers.mpm.schedules import LaneSchedule, Layout, Schedule, SharedSchedule

logger = logging.getLogger(__name__)

# what the recomputed substeps of the environments in flight may take; the batch is cut into chunks to respect it
TRAJECTORY_BYTES = 64 * 1024 * 1024
ON_WALL = 1e-3  # a node within so many cells of a wall or the ground is on it, whatever rounding says
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

    def __init__(
        self,
        scene: Scene,
        *,
        dt: float,
        substeps: int,
        dtype: torch.dtype,
        device: str = "cpu",
        schedule: Callable[[Layout], Schedule] | None = None,
    ):
        self.dtype = dtype
        self.substeps = substeps
        self.device = device
        dx = scene.grid_spacing
        lower, upper = np.asarray(scene.lower), np.asarray(scene.upper)
        counts = np.ceil((upper - lower) / dx - 1e-6).astype(int) + 1 + 2 * PADDING
        colliders = (*scene.tools, *scene.obstacles)
        make = schedule or (LaneSchedule if device == "cpu" else SharedSchedule)
        width = make.width  # type: ignore[attr-defined]

        self._bodies = [body.name for body in scene.soft_bodies]
        particles = [len(body.rest_particles) for body in scene.soft_bodies]
        self._body_ends = np.cumsum(particles)
        tiles = [
            (begin, min(width, int(end) - begin), body)
            for body, end in enumerate(self._body_ends)
            for begin in range(int(end) - particles[body], int(end), width)
        ]
        self._schedule: Schedule = make(Layout(dtype, device, substeps, tuple(counts.tolist()), len(tiles), len(colliders)))
        ground = scene.ground
        floor = -1e30 if ground is None else ground.height + ON_WALL * dx
        walls = (*(lower + ON_WALL * dx), *(upper - ON_WALL * dx))
        self._domain = self._reals([dt, dx, *(lower - PADDING * dx), *walls, floor, 0.5 * dx, 0.0])
        shapes = [
            [*thing.shape.core, thing.shape.radius, np.linalg.norm(thing.shape.core) + thing.shape.radius]  # type: ignore[attr-defined]
            for thing in colliders
        ]
        self._collider_shape = self._reals(shapes)
        self._sizes = self._integers([int(self._body_ends[-1]), len(particles), substeps, len(colliders), *counts.tolist()])
        self._laws = self._integers([LAWS.index(body.material.LAW) for body in scene.soft_bodies])
        self._tiles = self._integers(tiles)
        self._inverted_reported = False

    def _reals(self, values: Any) -> Tensor:
        return torch.tensor(values, dtype=self.dtype, device=self.device).reshape(-1)

    def _integers(self, values: Any) -> Tensor:
        return torch.tensor(values, dtype=torch.int32, device=self.device).reshape(-1)

    def _scene_tensors(self, inputs: StepInputs) -> tuple[Tensor, ...]:
        flat = {item.name: getattr(inputs, item.name).reshape(-1) for item in fields(inputs)}
        if flat["friction"].numel() == 0:  # Taichi refuses empty arrays
            flat |= dict.fromkeys(("position", "rotation", "velocity", "spin", "friction"), flat["world"][:1])
        shape = self._collider_shape if self._collider_shape.numel() else flat["world"][:1]
        return (
            self._domain, self._sizes, self._tiles, self._laws, flat["parameters"], flat["world"],
            shape, flat["friction"], flat["position"], flat["rotation"], flat["velocity"], flat["spin"],
        )  # fmt: skip

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
                "Elements were inverted (det F <= 0) in control step %d of environment %d: the time step is too large for the "
                "deformation, or a body is crushed. Their stress is continued as docs/materials.md says.",
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
        scene = self._scene_tensors(self._chunk(inputs, slice(0, num_envs)))
        tape = self._schedule.forward(records, scene, batch=num_envs, capacity=None)
        self._check(tape.status, time_step, 0)
        return unpack(records), self._schedule.box_nodes(tape, num_envs)

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
        input_bars = StepInputs(*(bars.new_zeros(tensor.shape) for tensor in inputs.tensors()))
        capacity = int(box_nodes.max())
        parts = self._schedule.parts(num_envs)
        size = self._schedule.chunk(capacity, TRAJECTORY_BYTES)
        for begin in range(0, num_envs, size):
            chunk = slice(begin, min(begin + size, num_envs))
            own = self._chunk(inputs, chunk)
            scene = self._scene_tensors(own)
            records = pack(tuple(tensor[chunk] for tensor in particles))
            tape = self._schedule.forward(records, scene, batch=num_envs, capacity=capacity)
            self._check(tape.status, time_step[chunk], begin)
            part_bars = StepInputs(*(tensor.new_zeros((len(tensor) * parts, *tensor.shape[1:])) for tensor in own.tensors()))
            self._schedule.adjoint(tape, bars[chunk], scene, self._scene_bars(part_bars), batch=num_envs)
            for target, bar in zip(input_bars.tensors(), part_bars.tensors(), strict=True):
                target[chunk] = bar.view(len(bar) // parts, parts, *bar.shape[1:]).sum(dim=1)
        return unpack(bars), input_bars.tensors()

    def _scene_bars(self, bars: StepInputs) -> tuple[Tensor, ...]:
        order = (
            bars.parameters, bars.world, bars.friction, bars.position, bars.rotation, bars.velocity, bars.spin,
        )  # fmt: skip
        return tuple(bar.view(-1) if bar.numel() else bar.new_zeros(1) for bar in order)
