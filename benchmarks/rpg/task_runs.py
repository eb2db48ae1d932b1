"""Methods on the tasks at equal simulator steps: what `benchmarks.detour` and `benchmarks.rpg_tasks` run and print.

Methods:
    rpg          the task's settings, with a latent for each environment
    gaussian     the same policy, learning rates and noise with a single latent, hence without posterior and bonus
    rpg_beta0    rpg without the posterior bonus
    multistart   Adam on one action sequence for each environment, from smooth random starts
    cem          the cross-entropy method: no gradients
    mixture      a mixture of Gaussian policies
and, on request (`--methods`):
    rpg_no_spread, rpg_table, rpg_feedback   rpg with latents that start as one, or with another policy
    rpg_times_100, rpg_times_0.01            rpg, all rewards multiplied

A run is judged by the solution it would be asked to play: its most probable latent, or its start with the best return. It
succeeds if that one, without noise, reaches a goal from at least half of the held-out first states; it covers the outcomes that
any of its candidates reaches so. Each run is a process of one thread, and is written as it ends: --resume keeps what is there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import processes

FIRST_SEED = 100
"""Settings were chosen on seeds below."""
METHODS: tuple[str, ...] = ("rpg", "gaussian", "rpg_beta0", "multistart", "cem", "mixture")
CHANGES: Mapping[str, Mapping[str, Any]] = {
    "rpg": {},
    "gaussian": {"algo": "gaussian"},
    "rpg_beta0": {"beta": 0.0},
    "rpg_no_spread": {"start_spread": 0.01},
    "rpg_table": {"policy": "table"},
    "rpg_feedback": {"policy": "feedback"},
    "rpg_times_100": {},
    "rpg_times_0.01": {},
}
REWARD_SCALES: Mapping[str, float] = {"rpg_times_100": 100.0, "rpg_times_0.01": 0.01}
ALLOWED = tuple(dict.fromkeys((*METHODS, *CHANGES)))
HEADINGS = (
    "task",
    "method",
    "runs that succeed",
    "outcomes covered, run by run",
    "expected success under pi(z)",
    "return of the chosen",
    "simulator steps",
    "of them with backward",
    "s a run (one thread)",
)


@dataclass(frozen=True)
class Options:
    """Settings of the comparison."""

    seeds: int = 5
    """Seeds of each method."""
    first: int = FIRST_SEED
    """The first of them."""
    tasks: tuple[str, ...] = ()
    """Only these."""
    methods: tuple[str, ...] = METHODS
    """Only these."""
    json: bool = False
    """Print one JSON object on the last line."""
    out: Path = Path("runs/benchmarks/tasks")
    """Folder of the single results."""
    resume: bool = False
    """Keep the results that are there instead of running them again."""
    num_envs: int = 32
    """Episodes side by side."""
    jobs: int = os.cpu_count() or 1
    """Runs at the same time."""
    table: Path | None = None
    """Markdown file for the table, in which it replaces an earlier one."""
    images: Path | None = None
    """Folder for the last frame of the modes of RPG's first seed, as <task>.png."""
    iterations: int | None = None
    """Fewer iterations than the task asks for, to try the script itself."""
    single: str = ""
    """Run one, for example "CupTrap:rpg:100", in this process (what the jobs do)."""


def run_single(options: Options) -> dict[str, Any]:
    """Train one method on one task with one seed, in this process; plain numbers.

    Raises:
        KeyboardInterrupt: Ctrl-C; half a run is no result.
    """
    import torch

    from rpg.runs.run_result import run_result
    from rpg.runs.run_settings import task_config
    from rpg.training.evaluation import chosen_latent
    from rpg.training.trainer import Trainer
    from tasks import find_task

    torch.set_num_threads(1)
    name, method, text = options.single.split(":")
    kind, seed = find_task(name), int(text)
    iterations = options.iterations or task_config(kind).iterations
    changes = dict(CHANGES.get(method, {"algo": method}))
    if method == "multistart":
        changes["num_starts"] = options.num_envs
    task = kind(options.num_envs)
    if method in REWARD_SCALES:
        scale, own = REWARD_SCALES[method], task.reward
        setattr(task, "reward", lambda *arguments: scale * own(*arguments))  # noqa: B010 (mypy: a method)
    trainer = Trainer(task, task_config(kind, seed=seed, iterations=iterations, **changes))
    done = trainer.train()
    if done.interrupted:
        raise KeyboardInterrupt
    evaluations, modes = done.evaluations, done.modes
    if options.images is not None and method == "rpg" and seed == options.first:
        options.images.mkdir(parents=True, exist_ok=True)
        task.write_video(modes, options.images / f"{name}.mp4")
    result = run_result(trainer, evaluations, modes)
    return {
        "task": name,
        "method": method,
        "seed": seed,
        "success": result["policy_success"],
        "expected_success": result["expected_success"],
        "outcomes": sorted({evaluation.outcome for evaluation in evaluations if evaluation.succeeded}),
        "return": chosen_latent(evaluations).episode_return,
        "simulator_steps": result["simulator_steps"],
        "backward_steps": trainer.history[-1].backward_steps,
        "seconds": result["seconds"],
    }


def results_of(options: Options, module: str, names: Sequence[str], console: Console) -> list[dict[str, Any]]:
    """All runs, each in a process of its own that runs ``module``."""
    for method in options.methods:
        if method not in ALLOWED:
            raise SystemExit(f"--methods was given '{method}'; allowed are {', '.join(ALLOWED)}")
    options.out.mkdir(parents=True, exist_ok=True)
    arguments = ["--num-envs", str(options.num_envs), "--first", str(options.first)]
    arguments += ["--iterations", str(options.iterations)] if options.iterations else []
    arguments += ["--images", str(options.images)] if options.images else []

    def job(single: str) -> dict[str, Any]:
        result = processes.run_job(module, single, arguments, out=options.out, resume=options.resume)
        console.print(
            f"{single}: success {result['success']:.2f}, outcomes {result['outcomes']}, return {result['return']:.3f}, "
            f"{result['seconds']:.0f} s"
        )
        return result

    seeds = range(options.first, options.first + options.seeds)
    singles = [f"{name}:{method}:{seed}" for name in names for seed in seeds for method in options.methods]
    return processes.run_jobs(job, singles, jobs=options.jobs)


def summary_rows(results: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """One row a task and method, for the table."""
    rows: list[tuple[str, ...]] = []
    for name, method in dict.fromkeys((result["task"], result["method"]) for result in results):
        own = [result for result in results if (result["task"], result["method"]) == (name, method)]

        def mean(key: str, own: list[dict[str, Any]] = own) -> float:
            return sum(result[key] for result in own) / len(own)

        rows.append(
            (
                name,
                method,
                f"{sum(result['success'] >= 0.5 for result in own)}/{len(own)}",
                " ".join(str(len(result["outcomes"])) for result in own),
                f"{mean('expected_success'):.2f}",
                f"{mean('return') / REWARD_SCALES.get(method, 1.0):.2f}",
                str(own[0]["simulator_steps"]),
                str(own[0]["backward_steps"]),
                f"{mean('seconds'):.0f}",
            )
        )
    return rows


def main(module: str, options: Options, names: Sequence[str]) -> list[dict[str, Any]]:
    """Run what ``options`` ask for and print the table; the results, or none in the process of a single run."""
    if options.single:
        print(json.dumps(run_single(options)))
        return []
    for name in options.tasks:
        if name not in names:
            raise SystemExit(f"--tasks was given '{name}'; allowed are {', '.join(names)}")
    console = Console(stderr=True, highlight=False)
    results = results_of(options, module, options.tasks or names, console)
    processes.print_table(HEADINGS, summary_rows(results), console, options.table, module.rpartition(".")[2])
    return results
