"""Tasks as vector environments of stable-baselines3, in one simulator. Importing this needs the extra `baselines`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from tasks.adapters.gymnasium_env import Seen, TaskVectorEnv


class TaskVecEnv(VecEnv):
    """B environments of a task, side by side in one simulator: ``PPO("MlpPolicy", TaskVecEnv("Detour", 8))``.

    Spaces are those of `tasks.adapters.gymnasium_env.TaskEnv`. The info of an episode's last step holds "is_success",
    "outcome", "episode_seed", "terminal_observation" and "TimeLimit.truncated". All environments draw the seed of `seed`
    alike, as in `tasks.adapters.gymnasium_env.TaskVectorEnv`.

    Args:
        task, num_envs, options: as of `tasks.adapters.gymnasium_env.TaskVectorEnv`.
    """

    def __init__(self, task: Any, num_envs: int | None = None, **options: Any) -> None:
        self.envs = TaskVectorEnv(task, num_envs, autoreset_mode=AutoresetMode.SAME_STEP, **options)
        super().__init__(self.envs.num_envs, self.envs.single_observation_space, self.envs.single_action_space)
        self._actions: NDArray[np.float32] | None = None

    def reset(self) -> Seen:
        """New episodes in all environments: observations."""
        seen, infos = self.envs.reset(seed=self._seeds[0])
        self.reset_infos = [{"episode_seed": int(seed)} for seed in infos["episode_seed"]]
        self._reset_seeds()
        self._reset_options()
        return seen

    def step_async(self, actions: NDArray[np.float32]) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[Seen, NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Observations, those of the next episodes where some ended; rewards (B,); dones (B,); infos."""
        assert self._actions is not None, "step_wait was called before step_async"
        seen, rewards, terminations, truncations, infos = self.envs.step(self._actions)
        rows: list[dict[str, Any]] = []
        for n in range(self.num_envs):
            last = infos["final_info"] if terminations[n] or truncations[n] else infos
            row = {name: last[name][n].item() for name in ("is_success", "outcome", "episode_seed")}
            row["TimeLimit.truncated"] = bool(truncations[n])
            if last is not infos:
                row["terminal_observation"] = infos["final_obs"][n]
                self.reset_infos[n] = {"episode_seed": int(infos["episode_seed"][n])}
            rows.append(row)
        return seen, rewards.astype(np.float32), terminations | truncations, rows

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """A picture of each environment."""
        return self.envs.render() or [None] * self.num_envs

    def close(self) -> None:
        self.envs.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of the one environment that all are, once for each index."""
        return [getattr(self.envs, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError(f"{attr_name} cannot be set: one simulator holds all environments")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        raise NotImplementedError(f"{method_name} cannot be called: one simulator holds all environments")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * len(list(self._get_indices(indices)))
