"""What the soft tasks of the papers share: a tool among plasticine whose mass is small, over 40 actions of 2 ms.

Of the original: a Young's modulus of 5 kPa, a density of 1 kg/m^3, a gravity of 0.9 m/s^2, 20 substeps of 0.1 ms on a
grid of 64 cells a metre, and tools that move up to 12 mm an action. Its floor lies 3 cm over the domain's, and its
vertical axis is y; here it is z, from the floor.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import pad

import diffsim as ds
from diffsim.tools.surface_distance import SurfaceDistance
from tasks.action_spaces import ToolVelocity
from tasks.base import Task
from tasks.episode import Episode, Transition

GRAVITY = (0.0, 0.0, -0.9)
REACH = 6.0  # m/s, 12 mm in 2 ms


class SoftTable(Task):
    """A tool and plasticine on a table.

    The original rewards the last state alone, by minus its `loss`. Here every step is rewarded by what the loss fell
    in it, so that the return is the same up to a constant. Its penalty of actions beyond 0.9 is left out, as they are
    held within 1.

    Attributes:
        particles: about how many represent each body.
        cells: of the grid in a metre.
        start_spread: how far the tool may start from its place, along x and y, m.
        stiffness: Young's modulus of the plasticine, Pa.
    """

    horizon, dt, substeps = 40, 1e-4, 20
    particles: int = 1000
    cells: int = 64
    start_spread: float = 0.005
    stiffness: float = 5e3

    def plasticine(self, yield_stress: float) -> ds.ElastoPlastic:
        """The material, with a yield stress in Pa."""
        return ds.ElastoPlastic(youngs_modulus=self.stiffness, poissons_ratio=0.2, density=1.0, yield_stress=yield_stress)

    def actions(self) -> list[ToolVelocity]:
        return [ToolVelocity(self.sim.scene.tools[0].name, speed=REACH)]

    def randomize(self, generator: torch.Generator) -> Episode:
        state = self.sim.reset()
        shift = pad(self.start_spread * self.uniform(generator, 1, 2), (0, 1))
        return self.episode(state.replace(tool_position=state.tool_position + shift), start=state.x)

    def observation(self, episode: Episode) -> Tensor:
        return super().observation(episode.replace(values={}))

    def loss(self, state: ds.State, episode: Episode) -> Tensor:
        """What is to be made small, (B,)."""
        raise ds.InputError(f"task {type(self).__name__} must define loss()")

    def reward(self, step: Transition) -> Tensor:
        return self.loss(step.before, step.episode) - self.loss(step.after, step.episode)

    @cached_property
    def _distance(self) -> SurfaceDistance:
        return SurfaceDistance(self.sim.scene.tools[0].shape, dtype=self.sim.dtype, device=str(self.sim.device))

    def tool_gap(self, state: ds.State) -> Tensor:
        """Distance of the tool's surface to the nearest particle's centre, m, (B,)."""
        return self._distance(state.x - state.tool_position[:, :1])[0].clamp(min=0.0).amin(dim=1)
