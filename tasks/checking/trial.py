"""A task under check, what is tried with it, and what is found."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from tasks.author_checks import definition_place
from tasks.episode import Episode

if TYPE_CHECKING:
    from tasks.base import Task

AGREEMENT = 1e-4  # of two episodes that should be the same, relative: rounding, no more
ACTION_SIZE = 0.5  # of the random actions that gradients are taken at

Verdict = Literal["pass", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: name of the check.
        verdict: "fail": the task cannot be optimised as it is; "warn": it can, but something is odd.
        text: what was found, one line.
        advice: what to do about it; "" where nothing is to be done.
    """

    check: str
    verdict: Verdict
    text: str
    advice: str = ""


@dataclass(frozen=True)
class Rollout:
    """An episode's course in B environments: T rewards (T, B), the last info, and the episodes (T + 1)."""

    episodes: list[Episode]
    rewards: Tensor
    info: dict[str, Tensor]

    @property
    def returns(self) -> Tensor:
        """(B,)."""
        return self.rewards.detach().sum(dim=0)

    def words(self) -> str:
        """Return and success rate."""
        success = float(self.info["success"].float().mean())
        return f"return {float(self.returns.mean()):.3g} (success {success:.0%})"


@dataclass
class Trial:
    """The task under check, and the episodes that several checks look at."""

    task: Task
    seed: int
    steps: int
    search_seconds: float
    rollouts: dict[str, Rollout] = field(default_factory=dict)

    def rolled_out(self, actions: Tensor) -> Rollout:
        """The episodes of the seed under actions (T, B, A)."""
        episode = self.task.reset(self.seed)
        episodes, rewards = [episode], []
        info: dict[str, Tensor] = {}
        for action in actions:
            episode, reward, info = self.task.step(episode, action)
            episodes.append(episode)
            rewards.append(reward)
        return Rollout(episodes, torch.stack(rewards), info)

    def noise(self, size: float = 1.0, seed: int = 1) -> Tensor:
        """Uniform actions (T, B, A) in [-size, size]."""
        task, generator = self.task, torch.Generator().manual_seed(seed)
        drawn = 2.0 * torch.rand(self.steps, task.num_envs, task.action_dim, generator=generator) - 1.0
        return (size * drawn).to(task.sim.device, task.sim.dtype)

    @torch.no_grad()
    def played(self, actions: Tensor) -> Rollout:
        """The same without gradients."""
        return self.rolled_out(actions)


def without_numbers(text: str) -> str:
    """A message's words, by which two of the same kind are told."""
    return re.sub(r"\d[-+.e\d]*", "#", text)


def wrong(task: Task, check: str, method: str, what: str) -> Finding:
    """That a method of the author does what it must not."""
    return Finding(check, "fail", f"{method}() of task {type(task).__name__} {what}{definition_place(type(task), method)}")


class _Ear(logging.Handler):
    """Keeps the messages of warnings."""

    def __init__(self, heard: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(" ".join(record.getMessage().split()))


@contextmanager
def overheard() -> Iterator[list[str]]:
    """The warnings of the simulator and of Python meanwhile, which are then not printed."""
    heard: list[str] = []
    logger = logging.getLogger("diffsim")
    others, propagate = logger.handlers, logger.propagate
    logger.handlers, logger.propagate = [_Ear(heard)], False
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            warnings.simplefilter("always", RuntimeWarning)
            yield heard
    finally:
        logger.handlers, logger.propagate = others, propagate
        heard += [
            " ".join(str(each.message).split()) for each in caught if issubclass(each.category, UserWarning | RuntimeWarning)
        ]
