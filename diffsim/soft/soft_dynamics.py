"""The soft bodies of a scene in the simulator: their solver, parameters and particles."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from diffsim.scene.scene import Scene
from diffsim.soft.mpm_solver import MPMSolver
from diffsim.soft.soft_autograd import soft_step
from diffsim.soft.soft_inputs import SoftInputs
from diffsim.state import Particles
from diffsim.tool_motion import ColliderMotion


class SoftDynamics:
    """What the simulator does with soft bodies."""

    def __init__(self, scene: Scene, *, dt: float, substeps: int, dtype: torch.dtype, device: str):
        self.scene = scene
        self.dt = dt
        self.physics = SoftInputs(scene, dt=dt, substeps=substeps, dtype=dtype, device=device)
        self.solver = MPMSolver(scene, dt=dt, substeps=substeps, dtype=dtype, device=device)
        self.rest = np.concatenate([body.rest_particles for body in scene.soft_bodies])
        ends = np.cumsum([len(body.rest_particles) for body in scene.soft_bodies])
        self.slices = {
            body.name: slice(int(end) - len(body.rest_particles), int(end))
            for body, end in zip(scene.soft_bodies, ends, strict=True)
        }

    def inputs(self, motion: ColliderMotion, num_envs: int, overrides: Mapping[str, Tensor] | None) -> Tensor:
        """The solver's rows (B, ...)."""
        return self.physics.rows(motion, num_envs, overrides)

    def step(
        self, time_step: Tensor, particles: Particles, motion: ColliderMotion, overrides: Mapping[str, Tensor] | None
    ) -> Particles:
        """The particles one control step later."""
        return soft_step(self.solver, time_step, self.inputs(motion, len(particles.x), overrides), particles)

    def per_particle(self, field: str) -> Tensor:
        """A number of `BodyInputs`, as "mass", of each particle as the scene declares it, (N,)."""
        counts = torch.tensor([len(body.rest_particles) for body in self.scene.soft_bodies])
        return self.physics.per_body(field)[:, 0].repeat_interleave(counts)
