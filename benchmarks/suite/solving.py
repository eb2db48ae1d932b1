"""Solutions at the full setting: found by a method, stored with their actions, and played again."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.suite.methods import method_config
from benchmarks.suite.scripts import SCRIPTS
from benchmarks.suite.store import RESULTS, file_name, store_solution, stored_solution
from benchmarks.suite.suite_task import SuiteTask
from diffsim import InputError
from rpg import AlgorithmConfig, Trainer, TrainingResult, policy_success
from tasks import Episode, Task, find_task

DIGITS = (5, 9)  # of a stored action; all of single precision where impacts make small differences large


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
    """Train at the full setting, or follow a script, and store every distinct way that succeeds, unless as many are
    stored already. A run that was interrupted goes on.

    Raises:
        KeyboardInterrupt: Ctrl-C; the run's folder is kept.
        diffsim.InputError: there is no script for the task.
    """
    name = method or task.solver
    return kept(task, scripted(task, seed) if name == "script" else trained(task, name, seed, iterations), folder)


def kept(task: SuiteTask, found: dict[str, Any], folder: Path = RESULTS) -> dict[str, Any]:
    """What was ``found`` (`found_by`) with only those solutions that succeed again; stored if it is worth more than what is."""
    found = {**found, "solutions": _lasting(task, found)}
    stored = stored_solution(task, folder)
    if found["solutions"] and (stored is None or _worth(found) >= _worth(stored)):
        store_solution(task, found, folder)
    return found


def trained(task: SuiteTask, name: str, seed: int, iterations: int = 0) -> dict[str, Any]:
    """What a method finds; the best episode of each distinct way."""
    config = method_config(
        task, name, seed=seed, num_envs=task.full_envs, iterations=iterations or task.full_iterations,
        **(task.settings if name == task.solver else {}),
    )  # fmt: skip
    run = Path("runs") / "suite" / f"{file_name(task.key)}-{name}-{seed}-{config.iterations}"
    made = find_task(task.name)(task.full_envs)
    trainer = Trainer(made, config, run_dir=run, resume=(run / "checkpoint.pt").exists())
    done = trainer.train()
    if done.interrupted:
        raise KeyboardInterrupt
    shutil.rmtree(run)  # what is there is what was interrupted
    return found_by(done, task, config)


def found_by(done: TrainingResult, task: SuiteTask, config: AlgorithmConfig) -> dict[str, Any]:
    """The best episode of each distinct way that a run found, as it is stored."""
    last = done.history[-1]
    return {
        **_found(task, config.algorithm, config.seed, seconds=last.seconds, steps=last.simulator_steps),
        "iterations": config.iterations,
        "success": policy_success(done.evaluations),
        "solutions": [
            {
                "outcome": mode.outcome, "name": mode.name, "success": mode.success, "return": mode.shown_return,
                "seed": mode.seed, "environment": mode.environment, "actions": mode.actions,
            }
            for mode in done.modes
            if mode.success > 0.0
        ],
    }  # fmt: skip


@torch.no_grad()
def scripted(task: SuiteTask, seed: int) -> dict[str, Any]:
    """What the scripts of a task do; all episodes that succeed, the best first."""
    if task.name not in SCRIPTS:
        raise InputError(f"there is no script for task '{task.name}'; scripts: {', '.join(SCRIPTS)}")
    made, begun, successes = find_task(task.name)(task.full_envs), time.monotonic(), 0.0
    found = _found(task, "script", seed)
    for script in SCRIPTS[task.name]:
        episode, total, taken = made.reset(seed), torch.zeros(made.num_envs), []
        controller = script(made, episode)
        for step in range(made.horizon):
            action = controller(episode, step).clamp(-1.0, 1.0).to(made.sim.dtype)
            episode, reward, info = made.step(episode, action)
            taken.append(action)
            total = total + reward
        actions = torch.stack(taken, dim=1).numpy()
        share = float(info["success"].float().mean())
        successes = max(successes, share)
        for index in info["success"].nonzero()[:, 0].tolist():
            outcome = int(info["outcome"][index])
            found["solutions"].append(
                {
                    "outcome": outcome, "name": made.outcome_names[outcome] if outcome >= 0 else "", "success": share,
                    "return": float(total[index]), "seed": seed, "environment": index,
                    "actions": actions[index],
                }
            )  # fmt: skip
    found["success"], found["seconds"] = successes, round(time.monotonic() - begun, 1)
    found["simulator_steps"] = len(SCRIPTS[task.name]) * made.num_envs * made.horizon
    found["solutions"].sort(key=lambda solution: -solution["return"])
    return found


def _found(task: SuiteTask, method: str, seed: int, *, seconds: float = 0.0, steps: int = 0) -> dict[str, Any]:
    return {
        "task": task.name, "parameters": {}, "method": method, "seed": seed, "num_envs": task.full_envs, "iterations": 0,
        "success": 0.0, "simulator_steps": steps, "seconds": round(seconds, 1), "solutions": [],
    }  # fmt: skip


def _lasting(task: SuiteTask, found: dict[str, Any]) -> list[dict[str, Any]]:
    """The first solution of each outcome that succeeds again, the same way, when its rounded actions are played."""
    lasting: dict[int, dict[str, Any]] = {}
    for solution in found["solutions"]:
        for digits in DIGITS:
            if solution["outcome"] in lasting:
                break
            rounded = {**solution, "actions": np.round(solution["actions"].astype(np.float64), digits).tolist()}
            again = replayed(task, {**found, "solutions": [rounded]})
            if again.success and again.outcome == solution["outcome"]:
                lasting[solution["outcome"]] = rounded
    return list(lasting.values())


def _worth(found: dict[str, Any]) -> tuple[int, float]:
    """The number of distinct solutions, then the best return."""
    return len(found["solutions"]), max(solution["return"] for solution in found["solutions"])
