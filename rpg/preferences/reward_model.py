"""r(a, s'): the learned reward of a step, a function of its action and of the observation after it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rpg.models.network import RunningNormalizer
from rpg.models.stacked_network import StackedNetwork
from rpg.preferences.segments import Segments


class RewardModel(nn.Module):
    """An ensemble of M networks of (normalised observation, action), which start differently and learn from the same answers.

    The reward is the mean of the members, less `center`, over `spread`: preferences leave its unit open, and algorithms assume
    rewards of order 1.
    """

    center: Tensor
    spread: Tensor

    def __init__(
        self, observation_dim: int, action_dim: int, *, members: int, hidden: Sequence[int], generator: torch.Generator
    ) -> None:
        super().__init__()
        self.normalizer = RunningNormalizer(observation_dim)
        sizes = (observation_dim + action_dim, *hidden, 1)
        self.network = StackedNetwork(members, sizes, generator=generator, activation="silu")  # smooth: gradients pass through
        self.register_buffer("center", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))

    def rows(self, after: Tensor, action: Tensor) -> Tensor:
        """(..., O + A) the networks' input for observations `after` (..., O) and actions (..., A)."""
        return torch.cat([self.normalizer(after), action], dim=-1)

    def members(self, rows: Tensor, *, frozen: bool = False) -> Tensor:
        """(M, ...) what each network gives for `rows` (..., O + A), in the unit of the Bradley-Terry model; with `frozen`
        differentiable in the rows alone."""
        flat = self.network(rows.reshape(-1, rows.shape[-1]), frozen=frozen).squeeze(-1)
        return flat.reshape(len(flat), *rows.shape[:-1])

    def forward(self, after: Tensor, action: Tensor) -> Tensor:
        """(...,) the reward of steps, differentiable in both arguments but not in the parameters."""
        value = self.members(self.rows(after, action), frozen=True).mean(0)
        return (value - self.center) / self.spread

    @torch.no_grad()
    def of(self, segments: Segments) -> Tensor:
        """(L, N) the rewards of the steps of segments, 0 after an episode's end."""
        rewards = self(segments.after, segments.actions)
        return torch.where(segments.counted, rewards, torch.zeros_like(rewards))

    @torch.no_grad()
    def set_unit(self, segments: Segments) -> None:
        """Give the rewards mean 0 and standard deviation 1 over the steps of `segments`."""
        values = self.members(self.rows(segments.after, segments.actions), frozen=True).mean(0)[segments.counted]
        self.center.copy_(values.mean())
        self.spread.copy_(values.std(correction=0).clamp_min(1e-6))
