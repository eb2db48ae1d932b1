"""A learned world as an environment: its states are what the model remembers, its observations what it predicts."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from rpg.environments.fixed_horizon import merged
from rpg.models.world_model import WorldModel
from rpg.protocol import Box, EnvironmentSpec, Step


class ImaginedState(NamedTuple):
    """B imagined episodes."""

    memory: Tensor
    """(B, H)."""
    observation: Tensor
    """(B, E) the model's state."""
    age: Tensor
    """(B,) int64."""


def imagination_spec(model: WorldModel, horizon: int, dtype: torch.dtype) -> EnvironmentSpec:
    """Of imagined episodes of `horizon` steps."""
    seen, action = Box((model.state_dim,), dtype=dtype), Box((model.action_dim,), -1.0, 1.0, dtype)
    return EnvironmentSpec(seen, action, time_limit=horizon, differentiable=True)


class Imagination:
    """B episodes that begin in `starts` (B, E), encoded states, and follow `model`; differentiable in actions and starts.

    An episode terminates where the model finds that more likely than not, and is cut off at the time limit.
    """

    def __init__(self, model: WorldModel, spec: EnvironmentSpec, starts: Tensor) -> None:
        """`spec` is that of `imagination_spec`: made once, as worlds are imagined often."""
        self.model, self.spec, self.starts = model, spec, starts

    @property
    def num_envs(self) -> int:
        return len(self.starts)

    def reset(
        self, seed: int | None = None, *, state: ImaginedState | None = None, where: Tensor | None = None
    ) -> tuple[ImaginedState, Tensor]:
        """Begin in `starts` again. Nothing is random, so the seed does not matter."""
        age = torch.zeros(self.num_envs, dtype=torch.int64, device=self.starts.device)
        first = ImaginedState(self.model.begin(self.starts), self.starts, age)
        if state is not None and where is not None:
            first = merged(where, first, state)
        return first, first.observation

    def step(self, state: ImaginedState, action: Tensor) -> Step:
        after = self.model.advance(state.memory, action)
        age = state.age + 1
        terminated = after.end > 0
        assert self.spec.time_limit is not None
        truncated = (age >= self.spec.time_limit) & ~terminated
        return Step(ImaginedState(after.memory, after.state, age), after.state, after.reward, terminated, truncated)

    def snapshot(self, state: ImaginedState) -> dict[str, Any]:
        return state._asdict()

    def restore(self, snapshot: dict[str, Any]) -> tuple[ImaginedState, Tensor]:
        state = ImaginedState(**snapshot)
        return state, state.observation
