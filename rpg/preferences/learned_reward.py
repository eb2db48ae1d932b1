"""An environment whose reward is a learned one, for any algorithm."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from rpg.environments.fixed_horizon import general
from rpg.preferences.reward_model import RewardModel
from rpg.protocol import (
    Environment,
    EnvironmentSpec,
    FixedHorizonEnvironment,
    Observation,
    Step,
    flattened,
    is_flat,
)
from rpg.settings_checks import SettingError


@dataclass(frozen=True)
class LearnedReward:
    """`environment` with the rewards of `model`: an `Environment` of the same spaces, ends, success and outcomes.

    Rewards are differentiable where the environment is, through the observation after a step and through the action itself; the
    model's parameters get no gradient. Raises SettingError if observations are images.
    """

    environment: Environment | FixedHorizonEnvironment
    model: RewardModel
    spec: EnvironmentSpec = field(init=False)
    inner: Environment = field(init=False)
    """The environment in the general form."""

    def __post_init__(self) -> None:
        inner = general(self.environment)
        if not is_flat(inner.spec.observation):
            raise SettingError("environment was given with images; allowed for a learned reward are vectors of floating point")
        object.__setattr__(self, "inner", inner)
        object.__setattr__(self, "spec", inner.spec)

    @property
    def num_envs(self) -> int:
        return self.inner.num_envs

    def reset(self, seed: int | None = None, *, state: Any = None, where: Tensor | None = None) -> tuple[Any, Observation]:
        return self.inner.reset(seed, state=state, where=where)

    def step(self, state: Any, action: Tensor) -> Step:
        step = self.inner.step(state, action)
        reward = self.model(flattened(step.observation), action)
        # a gradient that misses what goes through the dynamics would mislead
        return step._replace(reward=reward if self.spec.differentiable else reward.detach())

    def snapshot(self, state: Any) -> Any:
        return self.inner.snapshot(state)

    def restore(self, snapshot: Any) -> tuple[Any, Observation]:
        return self.inner.restore(snapshot)

    def __getattr__(self, name: str) -> Any:
        """Anything else, such as `write_video`, is the environment's own."""
        if name in ("environment", "inner"):  # not made yet
            raise AttributeError(name)
        return getattr(self.environment, name)
