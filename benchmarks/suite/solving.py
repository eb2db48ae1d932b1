"""Solutions at the full setting: found by a method, stored with their actions, and played again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.suite.methods import method_config
from benchmarks.suite.store import RESULTS, file_name, store_solution, stored_solution
from benchmarks.suite.suite_task import SuiteTask
from rpg import Trainer, policy_success
from tasks import Episode, Task, find_task

DIGITS = 5  # of a stored action


class Replay(NamedTuple):
    """A stored solution played again: T + 1 episodes of one environment, its return, whether it succeeds and which way."""

    task: Task
    episodes: list[Episode]
    total: float
    success: bool
    outcome: int


@torch.no_grad()
def replayed(task: SuiteTask, stored: dict[str, Any], number: int = 0) -> Replay:
    """Play solution ``number`` of a task again.

    The episodes before its own in the batch do nothing meanwhile.
    """
    solution = stored["solutions"][number]
    index, made = solution["environment"], find_task(task.name)(solution["environment"] + 1, **stored["parameters"])
    episode, total = made.reset(solution["seed"]), 0.0
    episodes = [episode.environment(index)]
    info: dict[str, Tensor] = {}
    for values in solution["actions"]:
        action = torch.zeros(made.num_envs, made.action_dim, dtype=made.sim.dtype)
        action[index] = torch.tensor(values, dtype=made.sim.dtype)
        episode, reward, info = made.step(episode, action)
        total += float(reward[index])
        episodes.append(episode.environment(index))
    return Replay(made, episodes, total, bool(info["success"][index]), int(info["outcome"][index]))


def solve(task: SuiteTask, *, method: str = "", seed: int = 0, iterations: int = 0, folder: Path = RESULTS) -> dict[str, Any]:
    """Train at the full setting, and store every distinct way that succeeds, unless as many are
    stored already. A run that was interrupted goes on.

    Raises:
        KeyboardInterrupt: Ctrl-C; the run's folder is kept.
    """
    name, kind = method or task.solver, find_task(task.name)
    config = method_config(
        task, name, seed=seed, num_envs=task.full_envs, iterations=iterations or task.full_iterations,
        **(task.settings if name == task.solver else {}),
    )  # fmt: skip
    run = Path("runs") / "suite" / f"{file_name(task.key)}-{name}-{seed}-{config.iterations}"
    made = kind(task.full_envs)
    trainer = Trainer(made, config, run_dir=run, resume=(run / "checkpoint.pt").exists())
    done = trainer.train()
    if done.interrupted:
        raise KeyboardInterrupt
    shutil.rmtree(run)  # what is there is what was interrupted
    solutions = [
        {
            "outcome": mode.outcome,
            "name": mode.name,
            "success": mode.success,
            "return": mode.shown_return,
            "seed": mode.seed,
            "environment": mode.environment,
            "actions": np.round(mode.actions, DIGITS).tolist(),
        }
        for mode in done.modes
        if mode.success > 0.0
    ]
    found = {
        "task": task.name,
        "parameters": {},
        "method": name,
        "seed": seed,
        "num_envs": task.full_envs,
        "iterations": config.iterations,
        "success": policy_success(done.evaluations),
        "simulator_steps": done.history[-1].simulator_steps,
        "seconds": round(done.history[-1].seconds, 1),
        "solutions": solutions,
    }
    stored = stored_solution(task, folder)
    worth_storing = bool(solutions) and (stored is None or _worth(found) >= _worth(stored))
    if worth_storing and all(replayed(task, found, number).success for number in range(len(solutions))):
        store_solution(task, found, folder)
    return found


def _worth(found: dict[str, Any]) -> tuple[int, float]:
    """The number of distinct solutions, then the best return."""
    return len(found["solutions"]), max(solution["return"] for solution in found["solutions"])
