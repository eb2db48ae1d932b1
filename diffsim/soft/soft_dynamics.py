"""The soft bodies of a scene in the simulator: their solver, parameters and particles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from diffsim.scene.scene import Scene
from diffsim.soft.mpm_solver import MPMSolver, PinnedParticle
from diffsim.soft.soft_autograd import soft_step
from diffsim.soft.soft_inputs import NO_CONTROLS, SoftControls, SoftInputs
from diffsim.state import Particles
from diffsim.tools.tool_motion import ColliderMotion


class SoftDynamics:
    """What the simulator does with soft bodies, some of whose particles are pinned."""

    def __init__(
        self,
        scene: Scene,
        *,
        dt: float,
        substeps: int,
        dtype: torch.dtype,
        device: str,
        recording: bool = False,
        pins: Sequence[PinnedParticle] = (),
    ):
        self.scene = scene
        self.dt = dt
        self.physics = SoftInputs(scene, dt=dt, substeps=substeps, dtype=dtype, device=device)
        options = {"dt": dt, "substeps": substeps, "dtype": dtype, "device": device}
        self.solver = MPMSolver(scene, recording=recording, pins=pins, **options)  # type: ignore[arg-type]
        self.rest = np.concatenate([body.rest_particles for body in scene.soft_bodies])
        ends = np.cumsum([len(body.rest_particles) for body in scene.soft_bodies])
        self.slices = {
            body.name: slice(int(end) - len(body.rest_particles), int(end))
            for body, end in zip(scene.soft_bodies, ends, strict=True)
        }

    def inputs(
        self,
        motion: ColliderMotion,
        num_envs: int,
        overrides: Mapping[str, Tensor] | None,
        controls: SoftControls = NO_CONTROLS,
    ) -> Tensor:
        """The solver's rows (B, ...), see `SoftInputs.rows`."""
        return self.physics.rows(motion, num_envs, overrides, controls)

    def step(
        self,
        time_step: Tensor,
        particles: Particles,
        motion: ColliderMotion,
        overrides: Mapping[str, Tensor] | None,
        controls: SoftControls = NO_CONTROLS,
    ) -> tuple[Particles, Tensor]:
        """The particles one control step later, and the mean wrenches of contact (B, touched, 6), see `MPMSolver.advance`."""
        return soft_step(self.solver, time_step, self.inputs(motion, len(particles.x), overrides, controls), particles)

    def per_particle(self, field: str) -> Tensor:
        """A number of `BodyInputs`, as "mass", of each particle as the scene declares it, (N,)."""
        counts = torch.tensor([len(body.rest_particles) for body in self.scene.soft_bodies])
        return self.physics.per_body(field)[:, 0].repeat_interleave(counts)
