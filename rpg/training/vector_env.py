"""An environment with the interface of stable-baselines3: numpy, no gradients, automatic resets.

Importing this needs the extra `baselines`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from rpg.algorithms.algorithm import NotFiniteError
from rpg.protocol import EpisodeEnd, FixedHorizonEnvironment, episode_end


def with_time(observation: Tensor, step: int, horizon: int) -> NDArray[np.float32]:
    """(B, O + 1) `observation` (B, O) and the time, -1 to 1: with a fixed horizon, values depend on the time."""
    time = observation.new_full((len(observation), 1), 2 * step / horizon - 1)
    return torch.cat([observation.detach(), time], dim=1).float().cpu().numpy()


class VectorEnv(VecEnv):
    """The B episodes of an environment side by side, all ending at the horizon, which is a terminal state, not a time-out.

    Observations are (B, O + 1) float32, the time appended; actions (B, A) in [-1, 1]. The n-th batch of episodes is
    reset with `seeds(n)`. An info of the last step holds "success", "outcome" and "terminal_observation".
    """

    def __init__(self, env: FixedHorizonEnvironment, seeds: Callable[[int], int]) -> None:
        self.env, self.seeds = env, seeds
        observations = spaces.Box(-np.inf, np.inf, (env.observation_dim + 1,), np.float32)
        super().__init__(env.num_envs, observations, spaces.Box(-1.0, 1.0, (env.action_dim,), np.float32))
        self.batch = 0
        """Index of the current batch of episodes."""
        self.step_count: int | None = None
        """Steps taken in it; None before the first reset, and after a step that was interrupted."""
        self.returns = torch.zeros(env.num_envs)
        """(B,) sums of its rewards so far."""
        self.last_returns = self.returns
        """(B,) sums of rewards of the previous batch."""
        self.last_end: EpisodeEnd | None = None
        """What the info of the previous batch's last step says."""
        self._state: Any = None
        self._observation: Tensor | None = None
        self._actions: NDArray[np.float32] | None = None

    def start(self, batch: int) -> None:
        """Make the next `reset` begin the batch of episodes with that index."""
        if self.batch != batch:
            self.batch, self.step_count = batch, None

    @torch.no_grad()
    def reset(self) -> NDArray[np.float32]:
        """(B, O + 1) first observations. Does nothing if the batch has just begun."""
        if self.step_count != 0 or self._observation is None:
            self._state = self.env.reset(self.seeds(self.batch))
            self._observation = self.env.observe(self._state)
            self.returns = self._observation.new_zeros(self.num_envs)
            self.step_count = 0
        return with_time(self._observation, 0, self.env.horizon)

    def step_async(self, actions: NDArray[np.float32]) -> None:
        self._actions = actions

    @torch.no_grad()
    def step_wait(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Observations (B, O + 1), those of the next episodes if these ended; rewards (B,); dones (B,); infos.

        Raises NotFiniteError, naming the batch and the environments, if a reward is not finite.
        """
        if self.step_count is None or self._observation is None:
            raise RuntimeError("step was called before reset")
        step, self.step_count = self.step_count, None
        actions = torch.as_tensor(self._actions).to(self._observation)
        self._state, reward, info = self.env.step(self._state, actions.clamp(-1.0, 1.0))
        self._observation = self.env.observe(self._state)
        if bad := (~reward.isfinite()).nonzero().squeeze(1).tolist():
            raise NotFiniteError(f"iteration {self.batch}: the reward is not finite in environments {bad}")
        self.returns = self.returns + reward
        self.step_count = step + 1
        seen = with_time(self._observation, self.step_count, self.env.horizon)
        done = self.step_count == self.env.horizon
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if done:
            end = episode_end(info, reward)
            self.last_returns, self.last_end = self.returns, end
            success, outcome = end.success.tolist(), end.outcome.tolist()
            for n, row in enumerate(infos):
                row.update(success=success[n], outcome=outcome[n], terminal_observation=seen[n])
            self.start(self.batch + 1)
            seen = self.reset()
        return seen, reward.float().cpu().numpy(), np.full(self.num_envs, done), infos

    def close(self) -> None:
        """Nothing to release."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        value = None if attr_name == "render_mode" else getattr(self.env, attr_name)
        return [value] * len(self._chosen(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError(f"{attr_name} cannot be set: the environment is one for all episodes")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        raise NotImplementedError(f"{method_name} cannot be called: the environment is one for all episodes")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * len(self._chosen(indices))

    def _chosen(self, indices: Any) -> Sequence[int]:
        return list(self._get_indices(indices))
