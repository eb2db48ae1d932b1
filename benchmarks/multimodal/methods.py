"""The contest's methods and their settings, the same on all problems but where `Problem.settings` says otherwise.

Settings come from `benchmarks/rpg/methods.py` or are defaults, and were looked at on seeds below 100.
"""

from __future__ import annotations

from dataclasses import fields
from importlib.util import find_spec
from typing import Any, Literal, get_args

from benchmarks.multimodal.problems import Problem
from benchmarks.multimodal.quality_diversity import QUALITY_DIVERSITY
from benchmarks.rpg.methods import SAC, TUNED
from rpg import CONFIGS, AlgorithmConfig
from rpg.algorithms.streaming import StreamingConfig
from rpg.environments.whole_episodes import whole_episodes
from rpg.runs.run_settings import task_config

Budget = Literal["steps", "gradients"]
BUDGETS: tuple[Budget, ...] = get_args(Budget)
METHODS = ("rpg", "sql", "hmc", "langevin", "sac", "mixture", "diffusion", "multistart", "cem", *QUALITY_DIVERSITY)
GRADIENT_FREE = ("cem", *QUALITY_DIVERSITY)
"""They take no gradient steps, and have no row in the table of equal ones."""
OWN: dict[str, dict[str, Any]] = {
    "cem": dict(TUNED["cem"]),
    "diffusion": {"action_steps": 8, "action_rate": 0.06},
}
"""What differs from the defaults, of streaming methods beside `SAC`, networks as small as those of the others."""


def budgets_of(method: str) -> tuple[Budget, ...]:
    """The tables that a method is in."""
    return BUDGETS[:1] if method in GRADIENT_FREE else BUDGETS


def is_there(method: str) -> bool:
    """Whether the library, or the package that it needs, has the method."""
    return method in CONFIGS if method not in QUALITY_DIVERSITY else find_spec("ribs") is not None


def method_config(problem: Problem, method: str, env: Any, *, budget: Budget, seed: int) -> AlgorithmConfig:
    """The settings of a method of the library on a problem, for an environment of it.

    Raises:
        KeyError: the library has no such method.
        rpg.SettingError: a setting does not fit.
    """
    kind = CONFIGS[method]
    settings: dict[str, Any] = {"iterations": problem.iterations if budget == "steps" else problem.gradient_steps}
    if issubclass(kind, StreamingConfig):
        horizon, count = whole_episodes(env).horizon, env.num_envs
        settings |= {**SAC, "updates": problem.updates}
        if budget == "gradients":
            settings |= gradient_budget(problem.gradient_steps, horizon, count)
    elif method == "multistart":
        settings["num_starts"] = problem.num_envs
    settings |= {**OWN.get(method, {}), **problem.settings.get(method, {})}
    known = {field.name for field in fields(kind)}
    settings = {name: value for name, value in settings.items() if name in known}
    if problem.task:
        from tasks import find_task

        return task_config(find_task(problem.task), method, seed=seed, **settings)
    return kind(algorithm=method, seed=seed, **settings)


def gradient_budget(gradient_steps: int, horizon: int, count: int) -> dict[str, int]:
    """Settings of a streaming method that make about so many gradient steps, one in each step of all environments; or one an
    episode, where those would be too few episodes. Random actions fill the first iteration."""
    interval = 1 if gradient_steps >= 5 * horizon else horizon
    rounds = horizon // interval
    return {
        "random_steps": horizon * count,
        "update_interval": interval,
        "updates": 1,
        "iterations": 1 + -(-gradient_steps // rounds),
    }
