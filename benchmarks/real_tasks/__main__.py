"""Model-based RPG on tasks of other packages (metaworld, gymnasium-robotics, an ant of Gymnasium's that pushes a block), and on
one of this repository that is seen in pictures.

    python -m benchmarks.real_tasks --check                             2,000 random steps of each, and the time of an update
    python -m benchmarks.real_tasks --row door:gaussian stick_pull:none rows; goes on where it was stopped
    python -m benchmarks.real_tasks --all --seeds 3 --jobs 2            every row that is missing
    python -m benchmarks.real_tasks --summary --json                    what the stored results say; runs nothing
    python -m benchmarks.real_tasks --table docs/model_based_rpg.md     its tables, from the stored results

The tasks are those of the ICML paper (`registry.py`), each with a Gaussian z and without one. A run is as long as it takes for
the paper's curves to part, or to be flat; --steps changes that. The networks are those of benchmarks.maze, smaller than the
paper's, unless --size paper. Runs are in runs/benchmarks/real_tasks, with checkpoints; every 30k steps or so a line of JSON
goes to benchmarks/results/real_tasks.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from rich.console import Console

from benchmarks.processes import append_line, one_thread, print_table, read_lines, read_result, run_jobs, write_result
from benchmarks.real_tasks.registry import NUM_ENVS, ROWS, SIZES, TASKS, made, settings
from rpg.algorithms import build_algorithm
from rpg.algorithms.model_based_rpg import ModelBasedRPG
from rpg.models.novelty import WARM_UP
from rpg.protocol import check_environment
from rpg.settings_checks import SettingError
from rpg.training.checkpoint import CHECKPOINT_NAME
from rpg.training.metrics import IterationMetrics
from rpg.training.trainer import Trainer

STORED = 30_000
"""Steps between lines of results, about."""
FIRST_SEED = 100
RESULTS = Path(__file__).resolve().parent.parent / "results" / "real_tasks"
CHECKED = 2000
"""Random steps of a check."""
JUDGED = 20
"""Last iterations whose episodes are a run's success at a time."""


@dataclass(frozen=True)
class Options:
    """What to do."""

    row: tuple[str, ...] = ()
    """Rows to run, as TASK:ARM."""
    all: bool = False
    """Run every row."""
    check: bool = False
    """Take random steps in each task, and time updates."""
    summary: bool = False
    """Run nothing."""
    seeds: int = 1
    """Seeds of each row, 100, 101, ..."""
    steps: int | None = None
    """Steps of a run; None: the task's own number."""
    size: str = "small"
    """Of the networks: small or paper."""
    jobs: int = 1
    """Runs side by side, one thread each."""
    runs: Path = Path("runs/benchmarks/real_tasks")
    """Folder of the runs with their checkpoints."""
    out: Path = RESULTS
    """Folder of the results."""
    table: Path | None = None
    """Markdown file for the tables, in which they replace earlier ones."""
    json: bool = False
    """Print one JSON object on the last line."""
    single: str | None = None
    """One run, as TASK:ARM:SEED."""


# A check ----------------------------------------------------------------------------------------------------


def checked(name: str, size: str = "small", updates: int = 10) -> dict[str, Any]:
    """What `CHECKED` random steps of a task are like: steps a second of CPU time, success by chance, bounds of observations;
    and the CPU milliseconds of an update after them."""
    env = made(name)
    limit = TASKS[name].limit
    config = settings(name, "gaussian", size, seed=0, steps=CHECKED)
    algorithm = build_algorithm(env, replace(config, random_steps=CHECKED), check_environment(env))
    assert isinstance(algorithm, ModelBasedRPG)
    algorithm.collector.start(0)
    solved, ended, returns, began = 0.0, 0, 0.0, time.process_time()
    firsts = None
    for _ in range(-(-CHECKED // NUM_ENVS)):
        transitions, episodes = algorithm.collector.step(algorithm._random())
        algorithm.buffer.add(transitions)
        firsts = firsts or transitions
        if episodes is not None:
            solved, ended = solved + float(episodes.success.sum()), ended + len(episodes.success)
            returns += float(episodes.returns.sum())
    stepping = time.process_time() - began
    everything = algorithm.buffer.recent(algorithm.buffer.total, relabel=False)
    seen = everything.observation
    assert isinstance(seen, torch.Tensor)
    assert firsts is not None
    for _ in range(WARM_UP + 1):
        algorithm.collected(firsts, 0)  # from then on the bonus costs what it costs in a run
    began = time.process_time()
    for _ in range(updates):
        algorithm.collected(firsts, 0)
        algorithm.update(0)
    learning = (time.process_time() - began) / updates
    hours = (TASKS[name].steps / NUM_ENVS * (learning + stepping / len(seen) * NUM_ENVS)) / 3600
    embedded = TASKS[name].embedded
    return {
        "task": name,
        "steps": len(seen),
        "episode": limit,
        "entries": " x ".join(map(str, seen.shape[1:])),
        "actions": everything.action.shape[1],
        "steps_a_second": round(len(seen) / stepping),
        "episodes": ended,
        "success": solved / max(1, ended),
        "return": round(returns / max(1, ended), 3),
        "rewarded_steps": float((everything.reward > 0).double().mean()),
        "embedded_bounds": _bounds(seen[:, :embedded]) if embedded else None,
        "bounds": _bounds(seen),
        "finite": bool(seen.float().isfinite().all()),
        "update_ms": round(1000 * learning, 1),
        "run_steps": TASKS[name].steps,
        "run_hours": round(hours, 1),
    }


def _bounds(seen: torch.Tensor) -> list[float]:
    return [round(float(seen.min()), 2), round(float(seen.max()), 2)]


CHECK_HEADINGS = (
    "task", "observation", "action", "episode", "steps a second", "solved by chance", "embedded entries within",
    "all entries within", "an update, ms", "a run, steps", "hours",
)  # fmt: skip


def check_rows(folder: Path) -> list[tuple[str, ...]]:
    """A row for each task."""
    rows = []
    for name in TASKS:
        found = read_result(folder / f"check-{name}.json")
        if found is None:
            rows.append((name, "not checked", *[""] * (len(CHECK_HEADINGS) - 2)))
            continue
        chance = f"{found['success'] * found['episodes']:.0f} of {found['episodes']} episodes"
        within = [f"{each[0]} to {each[1]}" if each else "" for each in (found["embedded_bounds"], found["bounds"])]
        cells = (found["entries"], found["actions"], found["episode"], found["steps_a_second"])
        cost = (f"{found['update_ms']:.0f}", f"{found['run_steps']:,}", f"{found['run_hours']:.1f}")
        rows.append((name, *map(str, cells), chance, *within, *cost))
    return rows


# Runs -------------------------------------------------------------------------------------------------------


def run_single(single: str, options: Options) -> None:
    """Train up to the wanted number of steps, from the checkpoint if there is one, and store the curve."""
    name, arm, seed = single.split(":")
    wanted = options.steps or TASKS[name].steps
    config = settings(name, arm, options.size, seed=int(seed), steps=wanted)
    folder = options.runs / f"{name}-{arm}-{options.size}-{seed}"
    resume = (folder / CHECKPOINT_NAME).exists()
    trainer = Trainer(made(name), config, run_dir=folder, resume=resume, checkpoint_seconds=300.0)
    began, before = time.process_time(), trainer.history[-1].seconds if trainer.history else 0.0
    interval = max(1, STORED // (TASKS[name].limit * NUM_ENVS))

    def store(metrics: IterationMetrics) -> None:
        if (metrics.iteration + 1) % interval and metrics.iteration + 1 < config.iterations:
            return
        curve = curve_of(trainer.history, interval)
        run = {"task": name, "arm": arm, "size": options.size, "seed": int(seed), "steps": metrics.simulator_steps}
        run |= {"success": curve[-1][1], "curve": curve, "cpu_seconds": round(time.process_time() - began, 1)}
        run |= {"seconds": round(metrics.seconds, 1), "resumed_at": round(before, 1)}
        append_line(options.out / f"{name}-{arm}.jsonl", run)
        print(f"{single}: {run['steps']} steps, success {run['success']:.2f}, CPU {run['cpu_seconds']:.0f} s", flush=True)

    if trainer.train(store).interrupted:
        raise KeyboardInterrupt


def curve_of(history: Sequence[IterationMetrics], interval: int) -> list[list[float]]:
    """[steps, success, return] every `interval` iterations, means over the `JUDGED` last ones."""
    curve = []
    for last in range(interval - 1, len(history), interval):
        judged = history[max(0, last + 1 - JUDGED) : last + 1]
        means = [round(float(np.mean([getattr(each, name) for each in judged])), 4) for name in ("success", "return_mean")]
        curve.append([history[last].simulator_steps, *means])
    return curve or [[history[-1].simulator_steps, history[-1].success, history[-1].return_mean]]


def run_processes(rows: Sequence[str], options: Options) -> None:
    """Those runs that are missing, each in a process of its own."""
    stored = stored_runs(options.out, options.size)
    wanted = [(row, FIRST_SEED + n) for n in range(options.seeds) for row in rows]
    missing = [f"{row}:{seed}" for row, seed in wanted if not _long_enough(stored.get((row, seed)), row, options)]

    def job(single: str) -> None:
        command = [sys.executable, "-m", "benchmarks.real_tasks", "--single", single, "--size", options.size]
        command += ["--runs", str(options.runs), "--out", str(options.out)]
        command += [] if options.steps is None else ["--steps", str(options.steps)]
        subprocess.run(command, check=True, env=one_thread())

    run_jobs(job, missing, jobs=options.jobs)


def _long_enough(run: dict[str, Any] | None, row: str, options: Options) -> bool:
    return run is not None and run["steps"] >= (options.steps or TASKS[row.split(":")[0]].steps)


# Results ----------------------------------------------------------------------------------------------------


def stored_runs(folder: Path, size: str) -> dict[tuple[str, int], dict[str, Any]]:
    """The longest line of each run by row and seed. A line that was cut off does not count."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for row in ROWS:
        for run in read_lines(folder / f"{row.replace(':', '-')}.jsonl"):
            key = (row, run["seed"])
            if run["size"] == size and (key not in found or run["steps"] >= found[key]["steps"]):
                found[key] = run
    return found


def runs_of(row: str, options: Options) -> list[dict[str, Any]]:
    """The stored runs of a row, unfinished ones too, by seed."""
    return [run for (own, _), run in sorted(stored_runs(options.out, options.size).items()) if own == row]


def summary(options: Options) -> dict[str, Any]:
    """Mean success of the finished runs of each row, None where there is none."""
    finished = {row: [run for run in runs_of(row, options) if _long_enough(run, row, options)] for row in ROWS}
    means = {row: float(np.mean([run["success"] for run in runs])) if runs else None for row, runs in finished.items()}
    return {**means, "seeds": {row: len(runs) for row, runs in finished.items()}, "size": options.size}


HEADINGS = ("task", "arm", "paper, with z and without", "steps", "success", "steps rewarded", "CPU minutes a run")


def table_rows(options: Options) -> list[tuple[str, ...]]:
    """A row for each task and arm; of unfinished runs what there is."""
    rows: list[tuple[str, ...]] = []
    for row in ROWS:
        name, arm = row.split(":")
        runs = runs_of(row, options)
        if not runs:
            rows.append((name, arm, TASKS[name].paper, f"of {TASKS[name].steps:,}", "not run", "", ""))
            continue
        success = ", ".join(f"{run['success']:.2f}" for run in runs)
        rewarded = "" if name.endswith("dense") else ", ".join(f"{run['curve'][-1][2] / TASKS[name].limit:.2f}" for run in runs)
        steps = ", ".join(f"{run['steps']:,}" for run in runs)
        whole = [run["cpu_seconds"] / 60 for run in runs if run["resumed_at"] == 0]
        minutes = f"{np.mean(whole):.0f}" if whole else ""
        rows.append((name, arm, TASKS[name].paper, f"{steps} of {TASKS[name].steps:,}", success, rewarded, minutes))
    return rows


# The command ------------------------------------------------------------------------------------------------


def main(options: Options) -> int:
    if unknown := [row for row in options.row if row not in ROWS]:
        print(f"error: '{unknown[0]}' was given; allowed are {', '.join(ROWS)}", file=sys.stderr)
        return 2
    if options.size not in SIZES:
        print(f"error: size '{options.size}' was given; allowed are {', '.join(SIZES)}", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    try:
        if options.single is not None:
            run_single(options.single, options)
            return 0
        for name in TASKS if options.check else ():
            write_result(options.out / f"check-{name}.json", checked(name, options.size))
    except SettingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.all or options.row:
        run_processes(ROWS if options.all else options.row, options)
    console = Console(highlight=False, soft_wrap=True)
    print_table(CHECK_HEADINGS, check_rows(options.out), console, options.table, "real_tasks_check")
    print_table(HEADINGS, table_rows(options), console, options.table, "real_tasks")
    if options.json:
        print(json.dumps(summary(options)))
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
