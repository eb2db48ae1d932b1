"""Which tasks there are, what they need installed, and the settings of their runs."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import rpg
from benchmarks.rpg.streaming_runs import SMALL
from rpg.algorithms.model_based_rpg import ModelBasedRPGConfig
from rpg.protocol import Environment
from rpg.settings_checks import SettingError
from rpg.training.schedules import Schedule

NUM_ENVS = 5
"""Environments of a run, as in the paper."""
INSTALL = {
    "metaworld": "pip install --no-deps metaworld==3.1.1",
    "gymnasium_robotics": "pip install --no-deps gymnasium-robotics==1.4.2 pettingzoo==1.27.0",
    "gymnasium": "pip install 'diffsim-rpg[baselines]'",
    "mujoco": "pip install 'diffsim-rpg[robots]'",
}
"""What brings a package. Without their own dependencies, of which metaworld's would replace MuJoCo by an older one."""


@dataclass(frozen=True)
class RealTask:
    """A task, and how long and with which settings it is learned."""

    module: str
    """Of this package: its function `made` makes the environment of Gymnasium, or `environments` a batch."""
    limit: int
    """Steps of an episode."""
    embedded: int
    """Leading entries of an observation that are embedded; 0: none."""
    steps: int
    """Of a run, over all environments: where the paper's curves are apart, or flat."""
    paper: str
    """Success in the paper's figures, with z and without."""
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """That differ from those of all tasks."""
    arms: tuple[str, ...] = ("gaussian", "none")


DENSE: Mapping[str, Any] = MappingProxyType(
    {"novelty": 0.0, "embedding": 0, "learn_latent": True, "reward_scale": Schedule(0.05, 5.0, 0.0, 1.0)}
)
"""Of a dense reward, which comes in slowly, so that latents part before it draws them together."""

IMAGES: Mapping[str, Any] = MappingProxyType({"embedding": 0, "channels": 16, "batch_size": 64, "buffer_size": 60_000})
"""Of pictures: what one core can do, and a buffer of 1.5 GB."""

TASKS = {
    "stick_pull": RealTask("meta_world", 100, 7, 1_200_000, "0.7, below 0.1"),
    "basketball": RealTask("meta_world", 100, 7, 900_000, "0.9; 0.9 by 2M"),
    "door": RealTask("adroit", 100, 7, 300_000, "0.9; 0.85 by 2M"),
    "hammer": RealTask("adroit", 125, 9, 2_000_000, "0.8, 0.87"),
    "ant_push": RealTask("ant_push", 400, 18, 1_000_000, "not given"),
    "ant_push_dense": RealTask("ant_push", 400, 0, 1_000_000, "0.72, 0.25", DENSE),
    "visual_push": RealTask(
        "visual_push", 60, 0, 300_000, "0.98, 0.96; no novelty 0.25", IMAGES, ("gaussian", "none", "no_novelty")
    ),
}
ARMS: dict[str, dict[str, Any]] = {"gaussian": {}, "none": {"latent": "none"}, "no_novelty": {"novelty": 0.0}}
ROWS = tuple(f"{name}:{arm}" for name, task in TASKS.items() for arm in task.arms)
"""TASK:ARM."""
SIZES: dict[str, dict[str, Any]] = {
    "small": {**SMALL, "novelty_hidden": (96, 96), "learning_rate": 1e-3},
    "paper": {"novelty_hidden": (512, 512)},
}


def made(name: str, num_envs: int = NUM_ENVS) -> Environment:
    """Environments of the task `name`. Raises SettingError, with what to install, if a package is not there."""
    task = TASKS[name]
    try:
        module = importlib.import_module(f"benchmarks.real_tasks.{task.module}")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        missing = "gymnasium_robotics" if missing == "pettingzoo" else missing
        if missing not in INSTALL:
            raise
        raise SettingError(f"{name} needs {missing}; allowed after {INSTALL[missing]}") from error
    if hasattr(module, "environments"):
        return module.environments(num_envs)
    return rpg.from_gymnasium(lambda: module.made(name), num_envs, time_limit=task.limit)


def settings(name: str, arm: str, size: str, *, seed: int, steps: int) -> ModelBasedRPGConfig:
    """Of a run of so many steps, rounded up to whole episodes of all environments."""
    task = TASKS[name]
    iterations = -(-steps // (task.limit * NUM_ENVS))
    embedding = {"embedded": task.embedded} if task.embedded else {}
    values = {**SIZES[size], **embedding, **task.settings, **ARMS[arm]}
    if arm == "none":
        values["learn_latent"] = False
    return ModelBasedRPGConfig(iterations=iterations, seed=seed, **values)
