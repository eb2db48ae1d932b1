"""One block pushed to its goal, seen in pictures of this repository's renderer."""

from __future__ import annotations

import rpg
from rpg.environments.stacked_frames import StackedFrames
from tasks.household import OneBlockPush


def environments(num_envs: int) -> StackedFrames:
    """OneBlockPush with a sparse reward and two frames of 64 x 64 pixels."""
    task = OneBlockPush(num_envs, observation_mode="image", reward_mode="sparse")
    return StackedFrames(rpg.from_fixed_horizon(task), 2)
