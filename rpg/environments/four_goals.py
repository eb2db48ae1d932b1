"""A point in the plane with four goals and episodes that end there: the multi-goal world of soft Q-learning (Haarnoja et al.
2017, with the constants of the released code). `rpg.environments.multigoal` is a milder one, with a fixed horizon.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rpg.protocol import Box, EnvironmentSpec, Step
from rpg.settings_checks import check_batch, check_bool, check_int, check_not_negative, check_positive

GOALS = ((5.0, 0.0), (0.0, 5.0), (-5.0, 0.0), (0.0, -5.0))
"""m."""
ARENA = 7.0
"""Largest coordinate of the point, m."""
REACHED = 1.0
"""A goal counts as reached within this distance, m."""
BONUS = 10.0
"""Reward of reaching one."""
EFFORT = 30.0
"""Cost of a displacement, 1/m^2."""


class FourGoalsState(NamedTuple):
    """B points."""

    position: Tensor
    """(B, 2), m."""
    age: Tensor
    """(B,) int64, steps since the reset."""
    seeds: Tensor
    """(B,) int64, the seed of each environment."""
    counts: Tensor
    """(B,) int64, its resets since it was seeded."""


@dataclass(frozen=True)
class FourGoals:
    """From near the origin to any of the goals at 5 m on the axes; all are equally good. See `rpg.protocol.Environment`.

    An action is a displacement, 1 m a step at most along each axis. With x the position after it, the reward of a step is
    -30 |a|^2 - (distance from x to the nearest goal)^2, and 10 more within 1 m of a goal, where the episode terminates. That is
    a success, and the nearest goal is the outcome. The time limit only truncates. A straight way of 0.6 m a step returns -116
    in 7 steps; a step spent at the origin, -25.
    """

    num_envs: int = 1
    time_limit: int = 30
    spread: float = 0.1
    """Standard deviation of the first position, m."""
    differentiable: bool = True
    """Whether gradients flow from rewards and observations to actions; False shuts them off."""
    reward_scale: float = 1.0
    """Factor on the rewards."""
    dtype: torch.dtype = torch.float32
    outcome_names: Sequence[str] = ("east", "north", "west", "south")

    def __post_init__(self) -> None:
        check_batch(self.num_envs, self.dtype)
        check_int("time_limit", self.time_limit, at_least=1)
        check_not_negative("spread", self.spread)
        check_positive("reward_scale", self.reward_scale)
        check_bool("differentiable", self.differentiable)

    @cached_property
    def spec(self) -> EnvironmentSpec:
        """An observation is the position (2,), m."""
        return EnvironmentSpec(
            observation=Box((2,), -ARENA, ARENA, self.dtype),
            action=Box((2,), -1.0, 1.0, self.dtype),
            time_limit=self.time_limit,
            differentiable=self.differentiable,
            outcome_names=self.outcome_names,
        )

    def goals(self) -> Tensor:
        """(4, 2), m."""
        return torch.tensor(GOALS, dtype=self.dtype)

    def reset(
        self, seed: int | None = None, *, state: FourGoalsState | None = None, where: Tensor | None = None
    ) -> tuple[FourGoalsState, Tensor]:
        """Positions normally distributed about the origin."""
        count = self.num_envs
        if state is None:
            zeros = torch.zeros(count, dtype=torch.int64)
            state, where = FourGoalsState(torch.zeros(count, 2, dtype=self.dtype), zeros, zeros, zeros - 1), None
            seed = torch.Generator().seed() % (2**31 - 1) if seed is None else seed
        where = torch.ones(count, dtype=torch.bool) if where is None else where.cpu()
        seeds = state.seeds if seed is None else torch.where(where, seed, state.seeds)
        counts = torch.where(where, state.counts + 1 if seed is None else torch.zeros_like(state.counts), state.counts)
        position = state.position.clone()
        for n in where.nonzero().flatten().tolist():
            own = np.random.default_rng([int(seeds[n]), n, int(counts[n])])
            position[n] = torch.from_numpy(self.spread * own.standard_normal(2))
        return FourGoalsState(position, torch.where(where, 0, state.age), seeds, counts), position

    def step(self, state: FourGoalsState, action: Tensor) -> Step:
        """Move by `action` (B, 2) m, to the edge of the arena at most."""
        action = (action if self.differentiable else action.detach()).clamp(-1.0, 1.0)
        position = (state.position + action).clamp(-ARENA, ARENA)
        nearest = (position.unsqueeze(1) - self.goals()).square().sum(-1).min(dim=1)
        there = nearest.values.detach() < REACHED**2
        reward = self.reward_scale * (BONUS * there - EFFORT * action.square().sum(-1) - nearest.values)
        age = state.age + 1
        info = {"success": there, "outcome": nearest.indices}
        return Step(
            state._replace(position=position, age=age), position, reward, there, (age >= self.time_limit) & ~there, info
        )

    def snapshot(self, state: FourGoalsState) -> dict[str, Any]:
        return {name: each.detach() for name, each in state._asdict().items()}

    def restore(self, snapshot: dict[str, Any]) -> tuple[FourGoalsState, Tensor]:
        state = FourGoalsState(**snapshot)
        return state, state.position
