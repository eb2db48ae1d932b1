"""A point in the plane with four equally good goals (after Haarnoja et al. 2017, the multi-goal environment)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rpg.environments.seeding import episode_generator
from rpg.settings_checks import check_batch


class MultiGoalState(NamedTuple):
    """Position (B, 2), m; step, number of steps taken."""

    position: Tensor
    step: int


@dataclass(frozen=True)
class MultiGoal:
    """From near the origin to any of the goals at distance 5 m on the axes.

    An action is a velocity, 1 m a step at most along each axis. The reward of a step is -(distance to the nearest
    goal)^2 / 25 - 0.1 |a|^2. Success is an end within 1 m of a goal, and the goal is the outcome.
    """

    num_envs: int = 32
    horizon: int = 15
    spread: float = 0.1
    """Standard deviation of the first position, m."""
    dtype: torch.dtype = torch.float32
    action_dim: int = 2
    observation_dim: int = 2
    outcome_names: Sequence[str] = ("east", "north", "west", "south")

    def __post_init__(self) -> None:
        check_batch(self.num_envs, self.dtype)

    def goals(self) -> Tensor:
        """(4, 2), m."""
        return 5 * torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]], dtype=self.dtype)

    def reset(self, seed: int | None = None) -> MultiGoalState:
        """Positions normally distributed about the origin."""
        generator = episode_generator(seed)
        return MultiGoalState(self.spread * torch.randn(self.num_envs, 2, generator=generator).to(self.dtype), 0)

    def observe(self, state: MultiGoalState) -> Tensor:
        """(B, 2) position in units of 5 m."""
        return state.position / 5

    def step(self, state: MultiGoalState, action: Tensor) -> tuple[MultiGoalState, Tensor, dict[str, Tensor]]:
        """Move by `action` (B, 2) m."""
        position = state.position + action
        squares = (position.unsqueeze(1) - self.goals()).square().sum(-1)
        nearest = squares.min(dim=1)
        reward = -nearest.values / 25 - 0.1 * action.square().sum(-1)
        info = {"success": nearest.values.detach() < 1.0, "outcome": nearest.indices}
        return MultiGoalState(position, state.step + 1), reward, info
