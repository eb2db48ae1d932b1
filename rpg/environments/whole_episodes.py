"""The whole episodes of an `Environment`, in the fixed-horizon form, for algorithms that need them from start to end."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from rpg.protocol import (
    Box,
    Environment,
    FixedHorizonEnvironment,
    Observation,
    ProtocolError,
    Step,
    flat_size,
    flattened,
    is_environment,
    is_flat,
)

_KNOWN = ("success", "outcome", "outcome_features")


class RunningEpisodes(NamedTuple):
    """The state: B episodes under way."""

    state: Any
    observation: Tensor
    """(B, O), joined; of an episode that has ended, the final one."""
    running: Tensor
    """(B,) bool: whether it has not ended yet."""
    info: dict[str, Tensor]
    """The known entries of the info, of an episode that has ended those of its last step."""


class WholeEpisodes:
    """B episodes of `environment`, begun together and T = `spec.time_limit` steps long.

    An episode that ends early earns nothing more, keeps its final observation and its success, outcome and features; the
    environment still takes its steps. Dict observations are joined to one vector, and so are the pixels of an image, then of
    floating point (`observation_shape` is the image's).

    Reading `horizon` raises ProtocolError if there is no time limit, `observation_dim` and `reset` if observations hold
    integers and are no images.
    """

    def __init__(self, environment: Environment) -> None:
        spec = environment.spec
        self.environment = environment
        self.num_envs, self.action_dim = environment.num_envs, spec.action_dim
        self.differentiable, self.finite_horizon = spec.differentiable, spec.finite_horizon
        self.outcome_names, self.outcome_radius = spec.outcome_names, spec.outcome_radius
        self.observation_points = spec.observation_points
        self.observation_shape = seen.shape if isinstance(seen := spec.observation, Box) and seen.is_image else None

    @property
    def horizon(self) -> int:
        """T."""
        if self.environment.spec.time_limit is None:
            raise ProtocolError("spec.time_limit is None; expected a number of steps, as whole episodes are needed")
        return self.environment.spec.time_limit

    @property
    def observation_dim(self) -> int:
        """O."""
        if self.observation_shape is None and not is_flat(self.environment.spec.observation):
            raise ProtocolError("spec.observation holds integers; expected floating point, or one image, as vectors are needed")
        return flat_size(self.environment.spec.observation)

    def reset(self, seed: int | None = None) -> RunningEpisodes:
        """The first states."""
        assert self.observation_dim
        state, observation = self.environment.reset(seed)
        first = self._joined(observation)
        return RunningEpisodes(state, first, first.new_ones(self.num_envs, dtype=torch.bool), {})

    def _joined(self, observation: Observation) -> Tensor:
        """(B, O)."""
        joined = flattened(observation)
        return joined if self.observation_shape is None else joined.to(self.environment.spec.action.dtype)

    def observe(self, state: RunningEpisodes) -> Tensor:
        """(B, O)."""
        return state.observation

    def step(self, state: RunningEpisodes, action: Tensor) -> tuple[RunningEpisodes, Tensor, dict[str, Tensor]]:
        """One step of the episodes that are still running.

        Beside the known entries the info has "running" (B,) bool, whether an episode was still running before the step,
        "terminated" and "truncated" (B,) bool, whether it ended with it and how, and the environment's "stiffness", if any.
        """
        step: Step = self.environment.step(state.state, action)
        running = state.running
        reward, observation = step.reward, self._joined(step.observation)
        if not bool(running.all()):
            reward = torch.where(running, reward, torch.zeros_like(reward))
            observation = torch.where(running.unsqueeze(1), observation, state.observation)
        info = {name: step.info[name] for name in _KNOWN if name in step.info}
        for name, old in state.info.items():
            new = info.get(name, old)
            info[name] = torch.where(running if new.ndim == 1 else running.unsqueeze(1), new, old)
        flags = {"running": running, "terminated": running & step.terminated, "truncated": running & step.truncated}
        if "stiffness" in step.info:
            flags["stiffness"] = step.info["stiffness"]
        running = running & ~step.terminated & ~step.truncated
        return RunningEpisodes(step.state, observation, running, info), reward, {**info, **flags}

    def __getattr__(self, name: str) -> Any:
        """Anything else, such as `write_video`, is the environment's own."""
        if name == "environment":  # not made yet
            raise AttributeError(name)
        return getattr(self.environment, name)


def whole_episodes(env: Environment | FixedHorizonEnvironment) -> FixedHorizonEnvironment:
    """`env` in the fixed-horizon form; itself if it has that form."""
    return WholeEpisodes(env) if is_environment(env) else env  # type: ignore[arg-type,return-value]
