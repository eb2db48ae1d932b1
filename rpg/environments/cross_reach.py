"""Reach round a cross: a point in space, two crossed bars between it and its goal, and four quarters to pass through.

After DDiffPG's Reach (Li et al. 2024), with the tip of the robot's hand alone, in closed form; the task `PandaReach` has the
whole arm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rpg.environments.seeding import episode_generator
from rpg.settings_checks import check_batch

START, CROSS, GOAL = (-0.35, 0.0, 0.67), (-0.22, 0.0, 0.67), (-0.05, 0.0, 0.65)
"""m: of the tip, of the middle of the cross, of the goal; x points through the cross, z up."""
ARM = 0.2
"""Half the length of a bar, m; one lies along y, one along z."""
RADIUS = 0.05
"""Of a bar, m, half a hand's width included; its ends are round."""
REACHED = 0.1
"""Success is an end within this distance of the goal, m."""


class CrossReachState(NamedTuple):
    """B tips."""

    position: Tensor
    """(B, 3), m."""
    quarter: Tensor
    """(B,) int64, where it last passed the plane of the cross, -1 before."""


@dataclass(frozen=True)
class CrossReach:
    """An action is a displacement, `stride` along each axis at most; bars push the tip out, along their surface's normal. The
    reward of a step is 1 - distance to the goal / 0.3 m. Straight ahead lies the middle of the cross, a local optimum; the four
    quarters are about equally good.
    """

    num_envs: int = 32
    horizon: int = 24
    stride: float = 0.04
    """m; less than a bar's radius, so that no step passes through one."""
    spread: float = 0.01
    """Standard deviation of the first position, m."""
    dtype: torch.dtype = torch.float32
    action_dim: int = 3
    observation_dim: int = 3
    outcome_names: Sequence[str] = ("upper left", "upper right", "lower left", "lower right")

    def __post_init__(self) -> None:
        check_batch(self.num_envs, self.dtype)
        if not 0 < self.stride < RADIUS:
            raise ValueError(f"stride was given {self.stride!r}; allowed are numbers > 0 and < {RADIUS}")

    def reset(self, seed: int | None = None) -> CrossReachState:
        """Positions normally distributed about the start."""
        drawn = self.spread * torch.randn(self.num_envs, 3, generator=episode_generator(seed))
        return CrossReachState((drawn + torch.tensor(START)).to(self.dtype), torch.full((self.num_envs,), -1))

    def observe(self, state: CrossReachState) -> Tensor:
        """(B, 3) position from the middle of the cross, in units of 0.2 m."""
        return (state.position - state.position.new_tensor(CROSS)) / 0.2

    def step(self, state: CrossReachState, action: Tensor) -> tuple[CrossReachState, Tensor, dict[str, Tensor]]:
        """Move by `stride` times `action` (B, 3)."""
        position = state.position + self.stride * action
        for _ in range(2):  # out of one bar may be into the other
            for axis in (1, 2):
                position = outside_bar(position, axis)
        x, y, z = (position.detach() - position.new_tensor(CROSS)).unbind(1)
        passes = (state.position.detach()[:, 0] < CROSS[0]) & (x >= 0)
        quarter = torch.where(passes, 2 * (z < 0).long() + (y < 0).long(), state.quarter)
        distance = ((position - position.new_tensor(GOAL)).square().sum(1) + 1e-8).sqrt()
        info = {"success": distance.detach() < REACHED, "outcome": quarter}
        return CrossReachState(position, quarter), 1 - distance / 0.3, info


def outside_bar(position: Tensor, axis: int) -> Tensor:
    """Project positions (B, 3) out of the bar along `axis`, 1 or 2."""
    offset = position - position.new_tensor(CROSS)
    along = offset[:, axis].clamp(-ARM, ARM)
    unit = torch.zeros_like(offset)
    unit[:, axis] = 1.0
    away = offset - along.unsqueeze(1) * unit
    gap = (away.square().sum(1, keepdim=True) + 1e-12).sqrt()
    return torch.where(gap < RADIUS, position + (RADIUS / gap - 1) * away, position)
