"""The MPM solver as a plain function of tensors and its adjoint; private buffers live here, state does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffsim import runtime
from diffsim.errors import SimulationError
from diffsim.scene import Scene

# what the trajectory of the environments in flight may take; the batch is cut into chunks to respect it
TRAJECTORY_BYTES = 256 * 1024 * 1024
PADDING = 3  # grid cells outside the domain on each side


@dataclass(frozen=True)
class ColliderMotion:
    """Poses of all colliders (tools, then obstacles) at each substep, and their twists over the control step.

    position (B, S, M, 3), rotation matrices (B, S, M, 3, 3), velocity (B, M, 3), spin (angular velocity, B, M, 3).
    """

    position: Tensor
    rotation: Tensor
    velocity: Tensor
    spin: Tensor

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.position, self.rotation, self.velocity, self.spin


class MPMSolver:
    """Compiled MPM for one scene: ``advance`` and its ``adjoint``, each over one control step of all environments."""

    def __init__(self, scene: Scene, *, dt: float, substeps: int, dtype: torch.dtype):
        # Taichi runs by now: the kernels are defined on import of this module's neighbour
        from diffsim.solvers.mpm.control_step import QUANTITIES, control_step_kernels

        self.dtype = dtype
        self.substeps = substeps
        self._quantities = QUANTITIES
        self._kernels = runtime.compiled(control_step_kernels, {torch.float32: "f32", torch.float64: "f64"}[dtype])
        self._lanes = runtime.num_threads()

        dx = scene.grid_spacing
        lower, upper = np.asarray(scene.lower), np.asarray(scene.upper)
        counts = np.ceil((upper - lower) / dx - 1e-6).astype(int) + 1 + 2 * PADDING
        ground = scene.ground
        self._constants: tuple[Any, ...] = (
            dt,
            dx,
            counts.tolist(),
            list(scene.gravity),
            (lower - PADDING * dx).tolist(),
            lower.tolist(),
            upper.tolist(),
            -1e30 if ground is None else ground.height + 1e-6 * dx,
            0.0 if ground is None else ground.friction,
            0.5 * dx,
        )
        self.node_count = int(counts.prod())

        self._bodies = [body.name for body in scene.soft_bodies]
        self._body_ends = np.cumsum([len(body.rest_particles) for body in scene.soft_bodies])
        rows = []
        for body in scene.soft_bodies:
            count = len(body.rest_particles)
            volume = body.shape.volume / count
            mu, lam = body.material.lame
            row = [body.material.density * volume, volume, mu, lam, min(body.material.yield_limit, 1e30)]
            rows.append(np.tile(row, (count, 1)))
        self._material = torch.tensor(np.concatenate(rows), dtype=dtype)
        shapes = [
            [*thing.shape.core, thing.shape.radius, thing.friction, np.linalg.norm(thing.shape.core) + thing.shape.radius]  # type: ignore[attr-defined]
            for thing in (*scene.tools, *scene.obstacles)
        ]
        self._collider_shape = torch.tensor(shapes, dtype=dtype).reshape(-1, 6)

        self._grid = self._buffer(self._lanes, self.node_count, 4)
        self._velocity = self._buffer(self._lanes, self.node_count, 3)
        self._adjoint_buffers: tuple[Tensor, ...] | None = None

    def _buffer(self, *shape: int) -> Tensor:
        return torch.zeros(shape, dtype=self.dtype)

    def _kept_buffers(self, num_envs: int, slots: int, count: int) -> tuple[Tensor, ...]:
        """U, sigma, V and affine momentum of every particle at every substep."""
        return tuple(
            torch.empty((num_envs, slots, count, *shape), dtype=self.dtype) for shape in ((3, 3), (3,), (3, 3), (3, 3))
        )

    def _chunks(self, num_envs: int) -> list[slice]:
        bytes_per_env = (self.substeps + 1) * len(self._material) * 54 * self._material.element_size()
        size = max(self._lanes, TRAJECTORY_BYTES // bytes_per_env)
        return [slice(begin, min(begin + size, num_envs)) for begin in range(0, num_envs, size)]

    def _run(
        self, particles: list[Tensor], motion: ColliderMotion, kept: tuple[Tensor, ...] | None, time_step: Tensor, first: int
    ) -> None:
        """Forward kernel over particle arrays (B, slots, N, ...), in place; ``kept`` receives what the adjoint needs."""
        status = torch.zeros((particles[0].shape[0], 3), dtype=torch.int32)
        self._kernels.forward(
            self._lanes,
            self.substeps,
            int(kept is not None),
            *self._constants,
            *particles,
            self._material,
            self._collider_shape,
            *motion.tensors(),
            self._grid,
            self._velocity,
            status,
            *(kept or self._kept_buffers(1, 1, 1)),
        )
        failed = torch.nonzero(status[:, 0])
        if len(failed):
            environment = int(failed[0, 0])
            kind, substep, particle = status[environment].tolist()
            quantity, detail = self._quantities[kind]
            raise SimulationError(
                step=int(time_step[environment]),
                substep=substep,
                environment=first + environment,
                body=self._bodies[int(np.searchsorted(self._body_ends, particle, side="right"))],
                quantity=quantity,
                detail=detail,
            )

    def _motion_chunk(self, motion: ColliderMotion, chunk: slice) -> ColliderMotion:
        return ColliderMotion(*(tensor.detach()[chunk].contiguous() for tensor in motion.tensors()))

    def advance(self, particles: tuple[Tensor, ...], motion: ColliderMotion, time_step: Tensor) -> tuple[Tensor, ...]:
        """x, v, C, F one control step later. Inputs are untouched.

        Raises:
            SimulationError: a particle left the grid or something is not finite.
        """
        slots = [tensor.detach().clone(memory_format=torch.contiguous_format).unsqueeze(1) for tensor in particles]
        whole = slice(0, slots[0].shape[0])
        self._run(slots, self._motion_chunk(motion, whole), None, time_step, 0)
        return tuple(slot.squeeze(1) for slot in slots)

    def adjoint(
        self,
        particles: tuple[Tensor, ...],
        motion: ColliderMotion,
        time_step: Tensor,
        output_bars: tuple[Tensor, ...],
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Adjoints of x, v, C, F and of the motion's tensors, given those of the outputs of ``advance``.

        The control step is recomputed from its input; only its own substeps are held in memory, a chunk of environments
        at a time.
        """
        num_envs, count = particles[0].shape[:2]
        bars = tuple(bar.detach().clone(memory_format=torch.contiguous_format) for bar in output_bars)
        motion_bars = tuple(torch.zeros(tensor.shape, dtype=self.dtype) for tensor in motion.tensors())
        if self._adjoint_buffers is None:
            self._adjoint_buffers = (
                self._buffer(self._lanes, self.node_count, 4),
                self._buffer(self._lanes, max(len(self._collider_shape), 1), 3),
            )
        for chunk in self._chunks(num_envs):
            slots = []
            for tensor in particles:
                first = tensor.detach()[chunk]
                trajectory = first.new_empty((first.shape[0], self.substeps + 1, *first.shape[1:]))
                trajectory[:, 0] = first
                slots.append(trajectory)
            chunk_motion = self._motion_chunk(motion, chunk)
            kept = self._kept_buffers(chunk.stop - chunk.start, self.substeps, count)
            self._run(slots, chunk_motion, kept, time_step[chunk], chunk.start)
            self._kernels.adjoint(
                self._lanes,
                self.substeps,
                *self._constants,
                *slots,
                self._material,
                self._collider_shape,
                *chunk_motion.tensors(),
                *(bar[chunk] for bar in bars),
                *(bar[chunk] for bar in motion_bars),
                self._grid,
                self._velocity,
                *self._adjoint_buffers,
                *kept,
            )
        return bars, motion_bars
