"""Robots ready for tasks, read from the files of PyPI packages: `panda`, `fetch`, `shadow_hand`, `ant`,
`rewarped_ant`, `allegro_hand`."""

from tasks.robots.allegro_hand import allegro_hand
from tasks.robots.ant import ant
from tasks.robots.fetch import fetch
from tasks.robots.panda import panda
from tasks.robots.rewarped_ant import rewarped_ant
from tasks.robots.robot import Robot
from tasks.robots.shadow_hand import shadow_hand

__all__ = ["Robot", "allegro_hand", "ant", "fetch", "panda", "rewarped_ant", "shadow_hand"]
