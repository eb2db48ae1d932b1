"""The soft bodies of a scene in the simulator: their solver, parameters, particles, and warnings of large time steps."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from diffsim.scene.scene import Scene
from diffsim.soft.mpm_solver import MPMSolver
from diffsim.soft.resolution import warn_of_coupling, warn_of_thin_things, warn_of_thin_walls, warn_of_things_off_the_grid
from diffsim.soft.soft_autograd import soft_step
from diffsim.soft.soft_inputs import SoftInputs
from diffsim.state import Particles
from diffsim.tools.tool_motion import ColliderMotion

logger = logging.getLogger(__name__)

# explicit MPM with quadratic splines was stable up to about 0.7 in `tests/diffsim/test_physics.py`'s bar; strain adds to it
LARGEST_COURANT_NUMBER = 0.5
HOPELESS = 10.0  # times the largest: a body so stiff may be meant to be rigid
# explicit viscosity: noise in a block decays at 0.3 and grows at 0.4
LARGEST_VISCOUS_NUMBER = 0.2


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
        self._warn_of_large_steps()
        warn_of_coupling(scene)
        warn_of_thin_things(scene)
        warn_of_thin_walls(scene)
        warn_of_things_off_the_grid(scene)

    def _warn_of_large_steps(self) -> None:
        dx = self.scene.grid_spacing
        for body in self.scene.soft_bodies:
            material = body.material
            courant = material.wave_speed * self.dt / dx
            if courant > LARGEST_COURANT_NUMBER:
                rigid = courant > HOPELESS * LARGEST_COURANT_NUMBER and not material.SHAPELESS
                logger.warning(
                    "SoftBody '%s': its pressure waves travel at %.5g m/s, and the Courant number is %.2f, above %.1f; use "
                    "dt <= %.2e s%s",
                    body.name,
                    material.wave_speed,
                    courant,
                    LARGEST_COURANT_NUMBER,
                    LARGEST_COURANT_NUMBER * dx / material.wave_speed,
                    ", or a RigidBody if it need not deform" if rigid else "",
                )
            number = material.kinematic_viscosity * self.dt / dx**2
            if number > LARGEST_VISCOUS_NUMBER:
                logger.warning(
                    "SoftBody '%s': the viscous number viscosity dt / (density dx^2) is %.2f, above %.1f; use dt <= %.2e s",
                    body.name,
                    number,
                    LARGEST_VISCOUS_NUMBER,
                    LARGEST_VISCOUS_NUMBER * self.dt / number,
                )

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
