"""The methods that are compared, and their settings.

All spend the same simulator steps on a task. RPG's settings are its defaults and the task's own, the others' those of
`benchmarks/rpg/methods.py`, which were chosen on other problems and seeds.
"""

from __future__ import annotations

from typing import Any

from benchmarks.rpg.methods import TUNED
from benchmarks.suite.families import CLOSED_LOOP
from benchmarks.suite.suite_task import SuiteTask
from rpg import AlgorithmConfig
from rpg.runs.run_settings import task_config
from tasks import find_task

COMPARED = ("rpg", "gaussian", "multistart", "cem", "mppi", "shac", "sapo", "ahac")
ON_CLOSED_LOOP = ("rpg", "gaussian", "multistart", "cem", "shac", "sapo")
ON_FOUR = ("ppo", "sac")
"""Without gradients through the simulator; on four tasks only."""
SINGLE_MODE = ("gaussian", "cem", "mppi", "shac", "sapo", "ahac", "ppo", "sac")
FOUR_TASKS = ("TripleMove", "ThreeWayPush", "CupTrap", "Detour")


def methods_of(task: SuiteTask) -> tuple[str, ...]:
    """The methods that the comparison wants of a task."""
    if task.key in CLOSED_LOOP:
        return ON_CLOSED_LOOP
    return (*COMPARED, *ON_FOUR) if task.key in FOUR_TASKS else COMPARED


def method_config(
    task: SuiteTask, method: str, *, seed: int, num_envs: int, iterations: int, **settings: Any
) -> AlgorithmConfig:
    """The settings of a method on a task.

    Raises:
        rpg.SettingError: there is no such method, or it has no such setting.
    """
    changes = {**TUNED.get(method, {}), **settings}
    if method == "multistart":
        changes.setdefault("num_starts", num_envs)
    return task_config(find_task(task.name), method, seed=seed, **{"iterations": iterations, **changes})
