"""A point mass that must go round a straight wall: a minimal problem with two solutions and a local optimum.

The straight path to the goal ends at the middle of the wall, where the reward is highest on this side of it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rpg.environments.seeding import episode_generator
from rpg.settings_checks import check_batch


@dataclass(frozen=True)
class PointMassWall:
    """Position (B, 2) in m, from (0, 0) to the goal (0, 1), with a wall along y = 0.5, |x| < half_width
    between.

    An action is an acceleration; the reward is the negative distance to the goal in m. The wall is a capsule, along which the
    mass slides on contact (a projection). Its ends must be round: at the end of a wall without thickness the pathwise
    gradient always points across the corner, so a path round it is not a stationary point.
    """

    num_envs: int = 32
    horizon: int = 40
    duration: float = 2.0
    """Duration of an episode, s."""
    half_width: float = 0.5
    """Half-width of the wall, m."""
    spread: float = 0.02
    """Standard deviation of the first position, m."""
    dtype: torch.dtype = torch.float32
    action_dim: int = 2
    observation_dim: int = 4
    outcome_names: Sequence[str] = ("left", "right")

    acceleration = 8.0
    drag = 4.0
    wall = 0.5
    radius = 0.1
    tolerance = 0.1

    def __post_init__(self) -> None:
        check_batch(self.num_envs, self.dtype)

    def reset(self, seed: int | None = None) -> Any:
        generator = episode_generator(seed)
        position = self.spread * torch.randn(self.num_envs, 2, generator=generator).to(self.dtype)
        return {
            "position": position,
            "velocity": torch.zeros_like(position),
            "crossing": torch.full((self.num_envs,), -1, dtype=torch.int64),
        }

    def observe(self, state: Any) -> Tensor:
        return torch.cat([state["position"], state["velocity"]], dim=-1)

    def step(self, state: Any, action: Tensor) -> tuple[Any, Tensor, dict[str, Tensor]]:
        substeps = math.ceil(self.duration / self.horizon / 0.05)  # a longer one could pass through the wall
        dt = self.duration / self.horizon / substeps
        position, velocity, crossing = state["position"], state["velocity"], state["crossing"]
        for _ in range(substeps):
            old = position
            velocity = (velocity + dt * self.acceleration * action) / (1 + dt * self.drag)
            position, velocity = self._outside_wall(old + dt * velocity, velocity)
            crosses = (old[:, 1] < self.wall) & (position[:, 1] >= self.wall)
            crossing = torch.where(crosses, (position[:, 0] > 0).long(), crossing)
        goal = position.new_tensor([0.0, 1.0])
        distance = ((position - goal).square().sum(-1) + 1e-6).sqrt()
        state = {"position": position, "velocity": velocity, "crossing": crossing}
        return state, -distance, {"success": distance.detach() < self.tolerance, "outcome": crossing}

    def _outside_wall(self, position: Tensor, velocity: Tensor) -> tuple[Tensor, Tensor]:
        """Project positions out of the capsule, along its surface normal, and remove the velocity into it."""
        core = self.half_width - self.radius
        x = position[:, 0].clamp(-core, core)
        offset = position - torch.stack([x, torch.full_like(x, self.wall)], dim=-1)
        gap = (offset.square().sum(-1, keepdim=True) + 1e-12).sqrt()
        normal = offset / gap
        inside = gap < self.radius
        inward = (velocity * normal).sum(-1, keepdim=True).clamp(max=0.0)
        position = torch.where(inside, position + (self.radius - gap) * normal, position)
        return position, torch.where(inside, velocity - inward * normal, velocity)
