"""Exploration without a reward: how much of a maze model-based RPG visits, with a latent and without, and what its parts add.

    python -m benchmarks.maze --quick --json                    one seed of 30k steps of each arm of the summary
    python -m benchmarks.maze --row gaussian none --seeds 3     rows, at 240k steps; goes on where it was stopped
    python -m benchmarks.maze --all --seeds 3 --jobs 2          every row that is missing
    python -m benchmarks.maze --summary --json                  what the stored results say; runs nothing
    python -m benchmarks.maze --table docs/model_based_rpg.md   its tables and docs/images/maze.png, from the stored results
    python -m benchmarks.maze --speed                           CPU milliseconds of an update, on one thread

After the ICML paper's GapMaze (`rpg.environments.gap_maze`); the measure is the fraction of its 100 unit cells ever visited.
The networks are smaller than the paper's (width 96 and batches of 256, not 256 and 512), so that a run takes twenty minutes
on an idle core. Runs are in runs/benchmarks/maze, with checkpoints; every 30k steps a line of JSON goes to
benchmarks/results/maze.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from rich.console import Console

from benchmarks.maze_pictures import draw_maze_runs
from benchmarks.processes import print_table, write_between
from benchmarks.rpg import streaming_runs
from benchmarks.rpg.streaming_runs import Experiment, command, cpu_milliseconds, reached
from rpg.algorithms import build_algorithm
from rpg.algorithms.model_based_rpg import ModelBasedRPG, ModelBasedRPGConfig
from rpg.environments.gap_maze import CELLS, HALF, GapMaze
from rpg.protocol import check_environment
from rpg.training.trainer import Trainer

FULL, QUICK = 240_000, 30_000
"""Steps of a run."""
BLOCK = 1000
"""Steps of an iteration."""

SMALL = ModelBasedRPGConfig(
    iterations=FULL // BLOCK,
    steps=BLOCK // 5,
    **{**streaming_runs.SMALL, "batch_size": 256},
    novelty_hidden=(96, 96),
    beta=0.01,
)
"""Of all arms, but for what follows."""
ARMS: dict[str, dict[str, Any]] = {
    "gaussian": {},
    "categorical": {"latent": "categorical", "beta": 0.1},
    "none": {"latent": "none"},
    "no_embedding": {"embedding": 0},
    "no_buffer": {"novelty_buffer": False},
    "beta_0": {"beta": 0.0},
    "one_dimension": {"latent_dim": 1},
}
SUMMARY = ("gaussian", "categorical", "none", "no_embedding", "no_buffer")
PAPER = {
    "gaussian": 0.92,
    "categorical": 0.79,
    "none": 0.66,
    "no_embedding": 0.44,
    "no_buffer": 0.40,
    "beta_0": 0.66,
    "one_dimension": 0.73,
}
"""Coverage after 240k steps in the paper's Figure 8."""
MEANING = {
    "gaussian": "Gaussian z of 12 dimensions, beta .01",
    "categorical": "z one of 12, beta .1",
    "none": "no z: model-based SAC",
    "no_embedding": "Gaussian z, raw coordinates",
    "no_buffer": "Gaussian z, novelty learned from the newest states alone",
    "beta_0": "Gaussian z, beta 0",
    "one_dimension": "Gaussian z of 1 dimension",
}


@dataclass(frozen=True)
class Options(streaming_runs.Options):
    """What to do."""

    speed: bool = False
    """Measure updates instead."""


# Runs -------------------------------------------------------------------------------------------------------


def first_visits(algorithm: ModelBasedRPG) -> list[int | None]:
    """Of the maze's 100 cells, numbered 10 i + j with i along x, in how many thousand steps each was first visited, if ever."""
    buffer = algorithm.buffer
    seen = buffer.recent(buffer.total, relabel=False).next_observation
    assert isinstance(seen, torch.Tensor)
    index = ((seen + 1) * HALF).floor().long().clamp(0, CELLS - 1)
    cell = index[:, 0] * CELLS + index[:, 1]
    block = torch.arange(len(cell)) // BLOCK + 1
    first = torch.full((CELLS * CELLS,), 1 << 30).scatter_reduce(0, cell, block, "amin")
    return [int(each) if each < 1 << 30 else None for each in first]


def coverage(run: dict[str, Any], steps: int) -> float:
    """Fraction of the cells that a run had visited after so many steps."""
    return sum(each is not None and each * BLOCK <= steps for each in run["first_visits"]) / CELLS**2


def measured(trainer: Trainer, steps: int) -> dict[str, Any]:
    """What was visited in the first so many steps, and the fraction of cells every ten thousand steps."""
    assert isinstance(trainer.algorithm, ModelBasedRPG)
    run = {"first_visits": first_visits(trainer.algorithm)}
    curve = [[at, coverage(run, at)] for at in range(10 * BLOCK, steps + 1, 10 * BLOCK)]
    return {"coverage": coverage(run, steps), **run, "curve": curve}


EXPERIMENT = Experiment(
    name="maze",
    arms={arm: replace(SMALL, **changed) for arm, changed in ARMS.items()},
    environment=lambda arm: GapMaze(),
    measured=measured,
    summary=SUMMARY,
    steps=FULL,
    quick=QUICK,
    block=BLOCK,
)


# Results ----------------------------------------------------------------------------------------------------


def summary(options: streaming_runs.Options) -> dict[str, Any]:
    """Mean coverage after the wanted steps of the arms that the paper's claims are about, None where there is no run; the
    number of seeds is that of the arm with the fewest."""
    found, steps = reached(EXPERIMENT, options), EXPERIMENT.steps_of(options)
    means = {arm: float(np.mean([coverage(run, steps) for run in found[arm]])) if found[arm] else None for arm in SUMMARY}
    return {**means, "seeds": min(len(found[arm]) for arm in SUMMARY), "steps": steps}


HEADINGS = ("arm", "what it is", "paper", "coverage", "single seeds", "at 30k", "at 120k", "CPU minutes a run")


def table_rows(options: streaming_runs.Options) -> list[tuple[str, ...]]:
    """A row for each arm."""
    rows: list[tuple[str, ...]] = []
    steps = EXPERIMENT.steps_of(options)
    for arm, runs in reached(EXPERIMENT, options).items():
        if not runs:
            rows.append((arm, MEANING[arm], f"{PAPER[arm]:.2f}", "not run", "", "", "", ""))
            continue
        values = {at: [coverage(run, at) for run in runs] for at in (steps, 30_000, 120_000)}
        singles = ", ".join(f"{each:.2f}" for each in values[steps])
        whole = [run["cpu_seconds"] / 60 for run in runs if run["resumed_at"] == 0]
        minutes = f"{np.mean(whole):.0f}" if whole else ""
        means = [f"{np.mean(values[at]):.2f}" for at in (steps, 30_000, 120_000)]
        rows.append((arm, MEANING[arm], f"{PAPER[arm]:.2f}", f"**{means[0]}**", singles, *means[1:], minutes))
    return rows


def draw(page: Path, options: streaming_runs.Options) -> None:
    """The picture in the page's folder, images/maze.png, and its place in the page, if there are runs."""
    found = {arm: runs for arm, runs in reached(EXPERIMENT, options).items() if runs}
    if not found:
        return
    at = range(0, EXPERIMENT.steps_of(options) + 1, BLOCK)
    curves = {arm: np.array([[coverage(run, each) for each in at] for run in runs]) for arm, runs in found.items()}
    cells = {arm: np.array([run["first_visits"] for run in runs], dtype=float)[0] for arm, runs in found.items()}
    path = page.parent / "images" / "maze.png"
    draw_maze_runs(path, np.array(at), curves, {arm: each.reshape(CELLS, CELLS) for arm, each in cells.items()})
    line = "![coverage over steps; when cells of one run of each arm were first visited](images/maze.png)\n"
    write_between(page, "maze_picture", line)


# Speed ------------------------------------------------------------------------------------------------------

SIZES: dict[str, dict[str, Any]] = {
    "256": {"hidden": (256, 256), "memory": 256, "novelty_hidden": (256, 256), "state_dim": 100, "batch_size": 512},
    "96": {"batch_size": streaming_runs.SMALL["batch_size"]},
}
"""The paper's size (but for the novelty networks, of 512), and that of the other benchmarks of model-based RPG."""


def update_time(size: str, updates: int = 40) -> dict[str, float]:
    """CPU milliseconds of an update (mean over the model's and the actor's), of a step of the novelty's predictor, and of a
    collected step of all environments, with networks and batches of that size."""
    config: ModelBasedRPGConfig = replace(SMALL, steps=50, **SIZES[size])
    env = GapMaze()
    algorithm = build_algorithm(env, replace(config, random_steps=1000), check_environment(env))
    assert isinstance(algorithm, ModelBasedRPG)
    for iteration in range(5):
        algorithm.iterate(iteration)  # random steps; the novelty bonus counts from the first hundred on

    def collect() -> None:
        transitions, _ = algorithm.collector.step(algorithm.choose(algorithm.collector.situation))
        algorithm.buffer.add(transitions)

    newest = algorithm.buffer.recent(env.num_envs, relabel=False)
    parts = {
        "update": lambda: algorithm.update(4),
        "novelty": lambda: algorithm.collected(newest, 4),
        "collection": collect,
    }
    return cpu_milliseconds(parts, updates)


# The command ------------------------------------------------------------------------------------------------


def main(options: Options) -> int:
    if not options.speed:
        return command(EXPERIMENT, options, report)
    torch.set_num_threads(1)
    times = {size: update_time(size) for size in SIZES}
    rows = [(size, *(f"{each:.1f}" for each in own.values())) for size, own in times.items()]
    headings = ("width", "update, ms", "novelty, ms", "collection, ms")
    print_table(headings, rows, Console(highlight=False, soft_wrap=True), options.table, "maze_speed")
    if options.json:
        print(json.dumps(times))
    return 0


def report(options: streaming_runs.Options) -> None:
    """The table, and with --json the summary."""
    print_table(HEADINGS, table_rows(options), Console(highlight=False, soft_wrap=True), options.table, "maze")
    if options.table is not None:
        draw(options.table, options)
    if options.json:
        print(json.dumps(summary(options)))


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
