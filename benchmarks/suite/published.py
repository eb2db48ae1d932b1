"""Rewarped's six tasks at the published setting, beside the published returns (Xing et al., ICLR 2025, table 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.processes import read_result, write_result
from benchmarks.suite.families import TASKS
from benchmarks.suite.solving import found_by, kept
from benchmarks.suite.store import RESULTS
from rpg import SHACConfig, Trainer
from rpg.algorithms.algorithm import AlgorithmConfig
from rpg.algorithms.sapo import SAPOConfig
from rpg.training.evaluation import chosen_latent
from tasks import find_task

METHODS = ("shac", "sapo")
WINDOW = 32  # steps
MORE_SEEDS = 10  # of episodes in which a solution is looked for
HEADINGS = ("task", "published: PPO", "SAC", "TrajOpt", "APG", "SHAC", "SAPO", "shac here", "sapo here", "the same physics?")


@dataclass(frozen=True)
class Published:
    """The published setting of a task.

    Attributes:
        num_envs: episodes side by side.
        windows: updates of the policy, each after 32 steps of all.
        seed: the first of the ten published runs.
        returns: mean final return by method, in the order of `HEADINGS`.
        physics: how ours differs.
    """

    num_envs: int
    windows: int
    seed: int
    returns: tuple[float, ...]
    physics: str


PUBLISHED: Mapping[str, Published] = {
    "AntRun": Published(
        64, 2000, 1000, (2048.7, 2063.6, 915.5, 258.7, 3621.0, 4535.9), "model and reward; contact is ours, not penalty springs"
    ),
    "HandReorient": Published(
        64, 2000, 1100, (5.9, 70.5, -12.5, -11.6, -2.5, 221.7), "model and reward; contact is ours, not penalty springs"
    ),
    "RollingFlat": Published(32, 4000, 1200, (81.2, 83.0, 81.5, 86.9, 86.8, 100.4), "yes, but for the contact layer"),
    "SoftJumper": Published(
        32, 6000, 1300, (261.5, -161.8, 437.2, 956.6, 853.3, 1820.5), "no: particles with active stress, not tetrahedra"
    ),
    "HandFlip": Published(
        32, 6000, 1400, (7.3, 4.6, 27.3, 38.2, 32.7, 90.0), "yes, but for the hand's shapes and the contact layer"
    ),
    "FluidMove": Published(32, 4000, 1500, (27.3, 28.2, 27.0, 26.3, 21.7, 30.6), "yes, but for the law of water"),
}


def iterations_of(published: Published, horizon: int) -> int:
    """Whole episodes that make the published number of windows."""
    return -(-published.windows * WINDOW // horizon)


def published_config(name: str, method: str, **changes: Any) -> AlgorithmConfig:
    """The official settings of a method."""
    official = {"shac": SHACConfig.official, "sapo": SAPOConfig.official}[method]
    return official("AntRun" if name == "AntRun" else "other", **changes)


def result_file(name: str, method: str, folder: Path = RESULTS) -> Path:
    """Where a run is stored."""
    return folder / "published" / f"{name}-{method}.json"


def run_published(name: str, method: str, *, iterations: int = 0, folder: Path = RESULTS) -> dict[str, Any]:
    """Run one seed, or only the first ``iterations`` of it, to see how long it takes; goes on where it was interrupted. What it
    solves is stored as a solution too.

    Raises:
        KeyboardInterrupt: Ctrl-C; the run's folder is kept.
    """
    published, kind = PUBLISHED[name], find_task(name)
    whole = iterations_of(published, kind.horizon)
    config = published_config(name, method, seed=published.seed, iterations=iterations or whole)
    run = Path("runs") / "published" / f"{name}-{method}-{config.iterations}"
    trainer = Trainer(kind(published.num_envs), config, run_dir=run, resume=(run / "checkpoint.pt").exists())
    done = trainer.train()
    if done.interrupted:
        raise KeyboardInterrupt
    solved = done
    for seed in range(MORE_SEEDS):  # where success is rare, the final evaluation may hold none
        if any(mode.success > 0.0 for mode in solved.modes):
            break
        evaluations = trainer.evaluate(seed)
        solved = replace(done, modes=tuple(trainer.modes(evaluations)), evaluations=tuple(evaluations))
    kept(TASKS[name], found_by(solved, TASKS[name], config) | {"num_envs": published.num_envs}, folder)
    last = done.history[-1]
    found = {
        "task": name,
        "method": method,
        "seed": published.seed,
        "iterations": config.iterations,
        "of": whole,
        "return": chosen_latent(done.evaluations).episode_return,
        "simulator_steps": last.simulator_steps,
        "hours": last.seconds / 3600.0,
        "threads": torch.get_num_threads(),
    }
    write_result(result_file(name, method, folder), found)
    return found


def cell(name: str, method: str, folder: Path = RESULTS) -> str:
    """What a run gave, or that there is none."""
    found = read_result(result_file(name, method, folder))
    if found is None:
        return "not run"
    hours = found["hours"] * found["of"] / found["iterations"]
    if found["iterations"] < found["of"]:
        part = found["iterations"] / found["of"]
        return f"not run: {part:.1%} of it gave {found['return']:.1f}, all would take {hours:.1f} h"
    return f"{found['return']:.1f} ({hours:.1f} h, one seed)"


def table_rows(folder: Path = RESULTS) -> list[tuple[str, ...]]:
    """A line for each task."""
    return [
        (name, *(f"{value:g}" for value in own.returns), *(cell(name, method, folder) for method in METHODS), own.physics)
        for name, own in PUBLISHED.items()
    ]
