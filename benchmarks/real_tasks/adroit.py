"""Door and hammer of the Adroit hand (gymnasium-robotics) as the paper of model-based RPG has them: sparse rewards, each action
twice."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium_robotics.envs.adroit_hand.adroit_door import AdroitHandDoorEnv
from gymnasium_robotics.envs.adroit_hand.adroit_hammer import AdroitHandHammerEnv
from numpy.typing import NDArray

REPEAT = 2
"""Steps of the hand under one action."""
DOOR_OPEN = 1.0
"""rad. The package's own success is 1.35."""
NAIL_IN = 0.02
"""m from the nail's head to its goal. The package's own success is 0.01."""


class Adroit(gymnasium.Wrapper):
    """The door's frame, or the height of the hammer's board, is drawn at each reset.

    An observation is what the paper embeds, then what else it sees. Of the door: its angle, its handle, the palm from the
    handle, 7 numbers; then the hand's 27 angles and the palm. Of the hammer: palm, hammer and nail, 9 numbers; then the
    package's 46. The reward is the fraction of the two steps after which the task is solved; the info's "success" is whether
    it ever was in the episode. Reward and success of the package are stricter and not used.
    """

    def __init__(self, name: str) -> None:
        self._door = name == "door"
        super().__init__((AdroitHandDoorEnv if self._door else AdroitHandHammerEnv)(reward_type="sparse"))
        self._solved = False
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (37 if self._door else 55,), np.float64)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        self._solved = False
        observation, _info = self.env.reset(seed=seed)
        return self._seen(observation), {}

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float64], float, bool, bool, dict[str, Any]]:
        count = 0
        for _ in range(REPEAT):
            observation, *_ = self.env.step(action)
            count += self._there(observation)
        self._solved |= count > 0
        return self._seen(observation), count / REPEAT, False, False, {"success": self._solved}

    def _there(self, observation: NDArray[np.float64]) -> bool:
        if self._door:
            return bool(observation[28] >= DOOR_OPEN)
        hand = self.env.unwrapped
        nail, goal = hand.data.site_xpos[hand.target_obj_site_id], hand.data.site_xpos[hand.goal_site_id]
        return bool(np.linalg.norm(nail - goal) <= NAIL_IN)

    def _seen(self, observation: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._door:  # 27 angles, latch, door, palm, handle, palm - handle, a sign
            angles, door, palm = observation[:27], observation[28:29], observation[29:32]
            return np.concatenate([door, observation[32:38], angles, palm])
        palm_and_hammer, nail = observation[33:39], observation[42:45]
        return np.concatenate([palm_and_hammer, nail, observation])


def made(name: str) -> gymnasium.Env:
    """The task "door" or "hammer"."""
    return Adroit(name)
