"""Random pushes on what the actions move: a policy that looks can answer them, a fixed sequence of actions cannot."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from rpg.environments.seeding import episode_generator
from tasks import Episode, Task

HELD = 4  # control steps that a push lasts


class PushedEpisode(NamedTuple):
    """Episodes, the pushes that await them (B, T, A), and the number of steps so far."""

    episode: Episode
    pushes: Tensor
    steps: int


class PushedTask:
    """A task whose action is (1 - size) of the policy's and a push, drawn anew from [-size, size] every four control steps.

    Args:
        size: share of the largest action, between 0 and 1.
    """

    def __init__(self, task: Task, size: float) -> None:
        self.task, self.size = task, size
        self.num_envs, self.horizon = task.num_envs, task.horizon
        self.action_dim, self.observation_dim = task.action_dim, task.observation_dim
        self.differentiable, self.finite_horizon = task.differentiable, task.finite_horizon
        self.outcome_names = task.outcome_names

    def reset(self, seed: int | None = None) -> PushedEpisode:
        episode = self.task.reset(seed)
        generator = episode_generator(seed)
        drawn = [torch.rand(-(-self.horizon // HELD), self.action_dim, generator=generator) for _ in range(self.num_envs)]
        pushes = self.size * (2.0 * torch.stack(drawn) - 1.0).repeat_interleave(HELD, dim=1)[:, : self.horizon]
        return PushedEpisode(episode, pushes.to(episode.state.q), 0)

    def observe(self, state: PushedEpisode) -> Tensor:
        return self.task.observe(state.episode)

    def step(self, state: PushedEpisode, action: Tensor) -> tuple[PushedEpisode, Tensor, dict[str, Any]]:
        pushed = (1.0 - self.size) * action + state.pushes[:, state.steps]
        episode, reward, info = self.task.step(state.episode, pushed)
        return PushedEpisode(episode, state.pushes, state.steps + 1), reward, info
