"""An environment of the fixed-horizon form as a general `Environment`."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rpg.environments.whole_episodes import WholeEpisodes
from rpg.protocol import (
    Box,
    Environment,
    EnvironmentSpec,
    FixedHorizonEnvironment,
    ProtocolError,
    Step,
    is_environment,
)


class Draws(NamedTuple):
    """Where the episodes come from: environment i runs row i of the batch `reset(batch_seed(seeds[i], counts[i]))`."""

    seeds: Tensor
    """(B,) int64."""
    counts: Tensor
    """(B,) int64, resets since it was seeded."""


class FixedHorizonState(NamedTuple):
    """B episodes, of possibly different ages."""

    inner: Any
    """The wrapped environment's state."""
    ages: Tensor
    """(B,) int64, steps since the reset."""
    draws: Draws
    began: Draws
    """The draws at the last moment when all episodes were at their start."""
    history: tuple[Any, ...]
    """What was done since then: actions (B, A), and the draws after resets of some."""


@dataclass(frozen=True)
class FixedHorizon:
    """The environment `wrapped` in the general form. The horizon terminates an episode, or only truncates it; an info may end
    one earlier.

    Episodes may be reset one by one if the wrapped state is made of tensors (B, ...). A snapshot holds the seeds and what was
    done since all episodes began together, and is restored by doing it again.
    """

    wrapped: FixedHorizonEnvironment
    spec: EnvironmentSpec

    @property
    def num_envs(self) -> int:
        return self.wrapped.num_envs

    def reset(
        self, seed: int | None = None, *, state: FixedHorizonState | None = None, where: Tensor | None = None
    ) -> tuple[FixedHorizonState, Tensor]:
        count = self.num_envs
        if state is None:
            first = torch.Generator().seed() % (2**31 - 1) if seed is None else seed
            draws = Draws(torch.full((count,), first), torch.zeros(count, dtype=torch.int64))
            return self._begun(draws)
        where = torch.ones(count, dtype=torch.bool) if where is None else where.cpu()
        seeds, counts = state.draws
        if seed is None:
            draws = Draws(seeds, torch.where(where, counts + 1, counts))
        else:
            draws = Draws(torch.where(where, seed, seeds), torch.where(where, 0, counts))
        return self._begun(draws) if bool(where.all()) else self._partly_reset(state, draws, where)

    def _begun(self, draws: Draws) -> tuple[FixedHorizonState, Tensor]:
        """All episodes at their start."""
        inner = self._drawn(draws)
        state = FixedHorizonState(inner, torch.zeros(self.num_envs, dtype=torch.int64), draws, draws, ())
        return state, self.wrapped.observe(inner)

    def _partly_reset(self, state: FixedHorizonState, draws: Draws, where: Tensor) -> tuple[FixedHorizonState, Tensor]:
        inner = merged(where, self._drawn(draws), state.inner) if bool(where.any()) else state.inner
        ages = torch.where(where, 0, state.ages)
        history = (*state.history, Draws(*(each.clone() for each in draws)))
        return FixedHorizonState(inner, ages, draws, state.began, history), self.wrapped.observe(inner)

    def _drawn(self, draws: Draws) -> Any:
        """First states, of as many batches as there are different draws."""
        pairs = torch.stack(draws, dim=1)
        different = pairs.unique(dim=0)
        states = [self.wrapped.reset(batch_seed(int(seed), int(number))) for seed, number in different]
        inner = states[0]
        for pair, other in zip(different[1:], states[1:], strict=True):
            inner = merged((pairs == pair).all(1), other, inner)
        return inner

    def step(self, state: FixedHorizonState, action: Tensor) -> Step:
        inner, reward, info = self.wrapped.step(state.inner, action)
        ages = state.ages + 1
        last = (ages >= self.wrapped.horizon).to(reward.device)
        never = torch.zeros_like(last)
        terminated = info.get("terminated", never) | (last if self.spec.finite_horizon else never)
        truncated = (info.get("truncated", never) | last) & ~terminated
        following = state._replace(inner=inner, ages=ages, history=(*state.history, action.detach()))
        return Step(following, self.wrapped.observe(inner), reward, terminated, truncated, info)

    def snapshot(self, state: FixedHorizonState) -> dict[str, Any]:
        history = [{"draws": list(each)} if isinstance(each, Draws) else each for each in state.history]
        return {"began": list(state.began), "history": history}

    @torch.no_grad()
    def restore(self, snapshot: dict[str, Any]) -> tuple[FixedHorizonState, Tensor]:
        state, observation = self._begun(Draws(*snapshot["began"]))
        for done in snapshot["history"]:
            if isinstance(done, Tensor):
                state = self.step(state, done).state
                observation = self.wrapped.observe(state.inner)
            else:
                draws = Draws(*done["draws"])
                where = (torch.stack(draws) != torch.stack(state.draws)).any(0)
                state, observation = self._partly_reset(state, draws, where)
        return state, observation


def from_fixed_horizon(env: FixedHorizonEnvironment) -> FixedHorizon:
    """`env` as a general `Environment`. Its observations give the dtype, and may be images (`observation_shape`)."""
    with torch.no_grad():
        dtype = env.observe(env.reset(0)).dtype
    shape = getattr(env, "observation_shape", None)
    seen = Box((env.observation_dim,), dtype=dtype) if shape is None else Box(tuple(shape), 0, 255, dtype)
    spec = EnvironmentSpec(
        observation=seen,
        action=Box((env.action_dim,), -1.0, 1.0, torch.float32 if seen.is_image else dtype),
        time_limit=env.horizon,
        differentiable=getattr(env, "differentiable", True),
        finite_horizon=getattr(env, "finite_horizon", True),
        outcome_names=getattr(env, "outcome_names", ()),
        outcome_radius=getattr(env, "outcome_radius", None),
        observation_points=getattr(env, "observation_points", None),
    )
    return FixedHorizon(env, spec)


def general(env: Environment | FixedHorizonEnvironment) -> Environment:
    """`env` in the general form; itself, or what a `WholeEpisodes` was made of, if it has that form."""
    if isinstance(env, WholeEpisodes):
        return env.environment
    return env if is_environment(env) else from_fixed_horizon(env)  # type: ignore[arg-type,return-value]


def batch_seed(seed: int, number: int) -> int:
    """Seed of the `number`-th batch of episodes of the seed `seed`; of the first, `seed` itself."""
    return seed if number == 0 else int(np.random.SeedSequence([seed, number]).generate_state(1)[0]) % (2**31 - 1)


def merged(where: Tensor, new: Any, old: Any) -> Any:
    """`new` in the environments `where` (B,) bool, `old` elsewhere: tensors (B, ...), or dataclasses, tuples, lists and dicts
    of them, or states with a method of this name, `new.merged(where, old)`. Other parts must be equal.

    Raises ProtocolError if that is not so.
    """
    if hasattr(new, "merged"):
        return new.merged(where, old)
    if isinstance(new, Tensor) and isinstance(old, Tensor) and new.ndim > 0 and new.shape == old.shape:
        if len(new) == len(where):
            return torch.where(where.to(new.device).view(-1, *[1] * (new.ndim - 1)), new, old)
    elif is_dataclass(new) and type(new) is type(old) and not isinstance(new, type):
        return replace(
            new, **{f.name: merged(where, getattr(new, f.name), getattr(old, f.name)) for f in fields(new) if f.init}
        )
    elif isinstance(new, tuple | list) and type(new) is type(old) and len(new) == len(old):
        parts = [merged(where, a, b) for a, b in zip(new, old, strict=True)]
        return type(new)(*parts) if hasattr(new, "_fields") else type(new)(parts)
    elif isinstance(new, Mapping) and isinstance(old, Mapping) and new.keys() == old.keys():
        return {name: merged(where, new[name], old[name]) for name in new}
    elif not isinstance(new, Tensor) and type(new) is type(old) and new == old:
        return new
    raise ProtocolError(
        f"a state holds a {type(new).__name__} that cannot be reset for some environments alone; expected tensors (B, ...)"
    )
