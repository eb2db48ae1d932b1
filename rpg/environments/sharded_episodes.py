"""A batch of episodes of which each process of a run simulates its part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rpg.environments.fixed_horizon import merged
from rpg.protocol import Environment, FixedHorizonEnvironment, ProtocolError, is_environment
from rpg.training.ranks import Ranks
from rpg.training.rollout import detached

KNOWN = ("success", "outcome", "outcome_features", "running", "terminated", "truncated", "stiffness")
"""Of an info, what other processes learn."""


@dataclass(frozen=True)
class ShardedState:
    """This process's part of a batch, and what all see of the whole.

    Attributes:
        own: the state of its episodes.
        observation: (B, O) of all.
        rows: its episodes' places in the batch.
    """

    own: Any
    observation: Tensor
    rows: slice

    def detach(self) -> ShardedState:
        """The same, cut from the graph."""
        return ShardedState(detached(self.own), self.observation.detach(), self.rows)

    def merged(self, where: Tensor, old: ShardedState) -> ShardedState:
        """This state in the environments ``where`` (B,), the old one elsewhere."""
        observation = torch.where(where.to(self.observation.device).unsqueeze(1), self.observation, old.observation)
        return ShardedState(merged(where[self.rows], self.own, old.own), observation, self.rows)


class ShardedEpisodes:
    """The episodes of ``environment``, B in all, a fixed-horizon one with `shard` (`rpg.ShardableEnvironment`); seen from
    outside they are as in one process, to rounding.

    In a step each process takes its rows of the actions, and hears the others' rewards, observations and ends; in the backward
    pass it hears the gradients by the others' actions.

    Raises:
        SettingError: B is no multiple of the number of processes.
    """

    def __init__(self, environment: Any, ranks: Ranks) -> None:
        self.whole, self.ranks = environment, ranks
        self.num_envs = environment.num_envs
        self._rows = ranks.part(self.num_envs, "num_envs")
        self._part = environment.shard(self._rows.start, self._rows.stop - self._rows.start)

    def reset(self, seed: int | None = None) -> ShardedState:
        """The first states; without a seed each process would draw its own."""
        if seed is None:
            raise ProtocolError("seed was given None; expected a number, the same in all processes")
        own = self._part.reset(seed)
        return ShardedState(own, self.ranks.gathered(self._part.observe(own)), self._rows)

    def observe(self, state: ShardedState) -> Tensor:
        """(B, O)."""
        return state.observation

    def step(self, state: ShardedState, action: Tensor) -> tuple[ShardedState, Tensor, dict[str, Tensor]]:
        """One step of all.

        Raises:
            FloatingPointError: of some process's episodes, in every process.
        """
        own_action, failure = self.ranks.taken(action), ""
        columns: list[Tensor] = []
        try:
            own, reward, info = self._part.step(state.own, own_action)
            columns = [reward.unsqueeze(1), self._part.observe(own)]
        except FloatingPointError as error:
            failure = str(error)
        if self.ranks.any(bool(failure)):
            said = [(index, text) for index, text in enumerate(self.ranks.words(failure)) if text]
            index, text = said[0]
            share = self._rows.stop - self._rows.start
            raise FloatingPointError(f"{text} (of environments {index * share} to {(index + 1) * share - 1})")
        known = {name: info[name] for name in KNOWN if name in info}
        columns += [value.to(reward.dtype).view(len(reward), -1) for value in known.values()]
        parts = self.ranks.gathered(torch.cat(columns, dim=1)).split([column.shape[1] for column in columns], dim=1)
        heard = {name: _as(value, part) for (name, value), part in zip(known.items(), parts[2:], strict=True)}
        return ShardedState(own, _as(columns[1], parts[1]), self._rows), _as(reward, parts[0]), heard

    def __getattr__(self, name: str) -> Any:
        """Anything else, such as `horizon` and `write_video`, is the environment's own."""
        if name == "whole":  # not made yet
            raise AttributeError(name)
        return getattr(self.whole, name)


def shared_episodes(env: Environment | FixedHorizonEnvironment, ranks: Ranks | None, *, cheap: bool) -> Any:
    """``env``, shared by the processes, if there are several and it can be. If it cannot, and is ``cheap`` beside learning,
    each process simulates all of it.

    Raises:
        ProtocolError: it is not cheap.
        SettingError: as `ShardedEpisodes`.
    """
    if ranks is None:
        return env
    if not is_environment(env) and callable(getattr(env, "shard", None)):
        return ShardedEpisodes(env, ranks)
    if cheap:
        return env
    raise ProtocolError(f"{type(env).__name__} has no shard(first, count), which several processes need to share its episodes")


def _as(own: Tensor, gathered: Tensor) -> Tensor:
    """What was gathered of a tensor, with its number of axes and its type; differentiable if it is."""
    if not own.requires_grad:
        gathered = gathered.detach().to(own.dtype)
    return gathered.view(-1, *own.shape[1:])
