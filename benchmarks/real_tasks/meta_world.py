"""Stick pull and basketball of metaworld as the paper of model-based RPG has them: sparse rewards, each action twice."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.sawyer_xyz_env import SawyerXYZEnv
from numpy.typing import NDArray

REPEAT = 2
"""Steps of metaworld under one action."""
NAMES = {"stick_pull": "stick-pull-v3", "basketball": "basketball-v3"}
RAW = 39
"""Width of metaworld's observation: 18 numbers now, the same 18 a step earlier, 3 of the goal."""
NEAR = 0.4
"""m; distances are compared with it, logarithmically."""
WELD = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 5.0)
"""What metaworld sets a weld's data to: no offset, a relative pose that MuJoCo takes from the model, torques times 5."""


def symlog(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """sign(x) log(1 + |x|)."""
    return np.sign(x) * np.log1p(np.abs(x))


def of_todays_mujoco(kind: type) -> type:
    """The metaworld class `kind` so that MuJoCo above 3.3.0 takes it, that the seed of `reset` decides what is drawn, and that
    a reset moves the arm to its start once, not twice."""

    class Sawyer(kind):  # type: ignore[misc,valid-type]
        def reset_mocap_welds(self) -> None:
            import mujoco

            welds = self.model.eq_type == mujoco.mjtEq.mjEQ_WELD
            self.model.eq_data[welds, : len(WELD)] = WELD  # later versions have a further entry

        def reset(
            self, *, seed: int | None = None, options: dict[str, Any] | None = None
        ) -> tuple[NDArray[np.float64], dict[str, Any]]:
            self.curr_path_length = 0
            observation, info = super(SawyerXYZEnv, self).reset(seed=seed)
            self._prev_obs = observation[:18].copy()
            observation[18:36] = self._prev_obs
            return observation, info

    return Sawyer


class MetaWorld(gymnasium.Wrapper):
    """Goal and object are drawn at each reset, and the goal is observed.

    An observation is what the paper embeds, 7 numbers, then metaworld's 39. Of stick pull: the stick from the handle and from
    the gripper's fingers, and how far these are open; of basketball: the fingers from the ball, the ball, the same. The reward
    is 1 where the task is solved at the end of a step; the info's "success" is whether it ever was in the episode.
    """

    def __init__(self, name: str) -> None:
        env = of_todays_mujoco(ALL_V3_ENVIRONMENTS[NAMES[name]])()
        env._partially_observable, env._freeze_rand_vec, env.seeded_rand_vec, env._set_task_called = False, False, True, True
        del env.sawyer_observation_space  # which is cached, without the goal
        super().__init__(env)
        self._name, self._solved = name, False
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (7 + RAW,), np.float64)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        self._solved = False
        self.env.reset(seed=seed)
        observation, *_ = self.env.step(np.zeros(4, np.float32))  # as the paper's wrapper does
        return self._seen(observation), {}

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float64], float, bool, bool, dict[str, Any]]:
        for _ in range(REPEAT):
            observation, _reward, _terminated, _truncated, info = self.env.step(action)
        there = bool(info["success"])
        self._solved |= there
        return self._seen(observation), float(there), False, False, {"success": self._solved}

    def _seen(self, observation: NDArray[np.float64]) -> NDArray[np.float64]:
        fingers, thing, opened = self.env.tcp_center, observation[4:7], observation[3:4]
        if self._name == "stick_pull":
            from_handle = thing - observation[11:14]
            first, second = from_handle, thing - fingers
        else:
            first, second = fingers - thing, thing
        return np.concatenate([symlog(first / NEAR), symlog(second / NEAR), opened, observation])


def made(name: str) -> gymnasium.Env:
    """The task "stick_pull" or "basketball"."""
    return MetaWorld(name)
