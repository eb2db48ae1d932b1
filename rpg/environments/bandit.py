"""A one-step bandit with a narrow high peak beside a broad low one (after Huang et al. 2023, their first example).

    r(x) = max(0, 1.1 - 18 (2x + 1.2)^2) + max(0, 0.5 - 0.125 (2x - 1.75)^2) [x < 0.875],   x = a in (-1, 1)

The peak at x = -0.6 is worth 1.1 and 0.25 wide; the hill rises slowly to 0.5 at x = 0.875 and falls off a cliff there.
Right of x = -0.12 the slope leads up the hill; between there and the peak it is 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rpg.settings_checks import check_batch


def bandit_reward(x: Tensor) -> Tensor:
    """r(x), elementwise."""
    peak = (1.1 - 18 * (2 * x + 1.2).square()).clamp_min(0)
    hill = (0.5 - 0.125 * (2 * x - 1.75).square()).clamp_min(0)
    return peak + torch.where(x < 0.875, hill, torch.zeros_like(hill))


@dataclass(frozen=True)
class Bandit:
    """B pulls at once; the observation is the arm x that was pulled, 0 before."""

    num_envs: int = 128
    dtype: torch.dtype = torch.float32
    horizon: int = 1
    action_dim: int = 1
    observation_dim: int = 1
    outcome_names: Sequence[str] = ("hill", "peak")

    def __post_init__(self) -> None:
        check_batch(self.num_envs, self.dtype)

    def reset(self, seed: int | None = None) -> Tensor:
        """(B, 1) zeros: nothing is random."""
        return torch.zeros(self.num_envs, 1, dtype=self.dtype)

    def observe(self, state: Tensor) -> Tensor:
        """(B, 1), the state itself."""
        return state

    def step(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Pull the arms `action` (B, 1); success is a reward above 0.9, which only the peak gives."""
        reward = bandit_reward(action.squeeze(-1))
        found = reward.detach() > 0.9
        return action, reward, {"success": found, "outcome": found.long()}
