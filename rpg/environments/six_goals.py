"""A point in the plane with six goals of unequal worth and distance: to find all is one thing, to choose the best another."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rpg.environments.seeding import episode_generator
from rpg.settings_checks import check_batch

DISTANCES = (3.0, 4.5, 3.5, 5.0, 4.0, 5.5)
"""Of the goals from the start, m; goal n lies at n times 60 degrees from east."""
VALUES = (0.0, 0.15, 0.05, 0.25, 0.1, 0.3)
"""Reward of a step spent at each: the farther, the more."""


@dataclass(frozen=True)
class SixGoals:
    """From near the origin to any of the goals. `rpg.environments.generated` draws such problems from a seed; this one is
    fixed.

    An action is a displacement, 1 m a step at most along each axis. With d_n the distance to goal n after it, the reward of a
    step is max_n (VALUES[n] - d_n^2 / 25) - 0.05 |a|^2. Success is an end within 1 m of a goal, and the goal is the outcome.
    What lies nearer draws more at first; the best goal is the farthest.
    """

    num_envs: int = 32
    horizon: int = 15
    spread: float = 0.1
    """Standard deviation of the first position, m."""
    dtype: torch.dtype = torch.float32
    action_dim: int = 2
    observation_dim: int = 2
    outcome_names: Sequence[str] = tuple(f"goal {n}" for n in range(6))

    def __post_init__(self) -> None:
        check_batch(self.num_envs, self.dtype)

    def goals(self) -> Tensor:
        """(6, 2), m."""
        angles = torch.arange(6, dtype=torch.float64) * math.pi / 3
        return (torch.tensor(DISTANCES).double() * torch.stack([angles.cos(), angles.sin()])).T.to(self.dtype)

    def reset(self, seed: int | None = None) -> Tensor:
        """(B, 2) positions, normally distributed about the origin."""
        return self.spread * torch.randn(self.num_envs, 2, generator=episode_generator(seed)).to(self.dtype)

    def observe(self, state: Tensor) -> Tensor:
        """(B, 2) position in units of 5 m."""
        return state / 5

    def step(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Move by `action` (B, 2) m."""
        position = state + action
        squares = (position.unsqueeze(1) - self.goals().to(position)).square().sum(-1)
        worth = (position.new_tensor(VALUES) - squares / 25).max(dim=1).values
        near = squares.min(dim=1)
        reward = worth - 0.05 * action.square().sum(-1)
        return position, reward, {"success": near.values.detach() < 1.0, "outcome": near.indices}
