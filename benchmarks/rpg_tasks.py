"""Does RPG cover several goals, and get out of a trap? Tasks with known outcomes at equal simulator steps.

    python -m benchmarks.rpg_tasks --seeds 5 --json [--task CupTrap]

TripleMove and ThreeWayPush have three equally good goals, CupTrap a deep local optimum on the straight way. Methods:
    rpg                the task's settings
    one_latent         the same with a single latent, hence without posterior and bonus
    rpg_beta0          the same with K latents, but nothing pays them for being different (CupTrap)
    rpg_no_spread      the same with latents that start as one (CupTrap)
    rpg_default        RPG as it comes, for the task's number of iterations (CupTrap)
    gaussian_default   the one Gaussian that belongs to rpg_default (CupTrap)
    multistart         Adam on 32 action sequences from smooth random starts, one an environment (CupTrap)
A run succeeds if the noiseless episodes of its most probable latent (of the start with the best return) reach a goal in at
least half of the held-out initial states; it covers the outcomes that any latent reaches so. Each run is a process of one
thread, and is written as it ends: --resume keeps what is there.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from benchmarks import processes

METHODS: dict[str, tuple[str, ...]] = {
    "TripleMove": ("rpg", "one_latent"),
    "ThreeWayPush": ("rpg", "one_latent"),
    "CupTrap": ("rpg", "one_latent", "rpg_beta0", "rpg_no_spread", "rpg_default", "gaussian_default", "multistart"),
}
HEADINGS = (
    "task",
    "method",
    "runs that succeed",
    "outcomes covered, run by run",
    "expected success under pi(z)",
    "simulator steps",
    "s a run (one thread)",
)


@dataclass(frozen=True)
class Options:
    """Settings of the comparison."""

    seeds: int = 5
    """Seeds of each method, 0, 1, ..."""
    task: str = ""
    """One task only."""
    json: bool = False
    """Print one JSON object on the last line."""
    out: Path = Path("runs/benchmarks/rpg_tasks")
    """Folder of the single results."""
    resume: bool = False
    """Keep the results that are there instead of running them again."""
    num_envs: int = 32
    """Episodes side by side."""
    jobs: int = os.cpu_count() or 1
    """Runs at the same time."""
    table: Path | None = None
    """Markdown file for the table."""
    images: Path | None = None
    """Folder for the last frame of the modes of RPG's first seed, as <task>.png."""
    iterations: int | None = None
    """Fewer iterations than the task asks for, to try the script itself."""
    single: str = ""
    """Run one, for example "CupTrap:rpg:3", in this process (what the jobs do)."""


def trained(name: str, method: str, seed: int, options: Options) -> dict[str, Any]:
    """One run.

    Raises:
        KeyboardInterrupt: Ctrl-C; half a run is no result.
    """
    from rpg.algorithms.adam import MultistartConfig
    from rpg.algorithms.algorithm import AlgorithmConfig
    from rpg.algorithms.rpg import RPGConfig
    from rpg.runs.run_result import run_result
    from rpg.runs.run_settings import task_config
    from rpg.training.trainer import Trainer
    from tasks import find_task

    kind = find_task(name)
    iterations = options.iterations or task_config(kind).iterations
    own: dict[str, dict[str, Any]] = {
        "rpg": {},
        "one_latent": {"algo": "gaussian"},
        "rpg_beta0": {"beta": 0.0},
        "rpg_no_spread": {"start_spread": RPGConfig.start_spread},
    }
    config: AlgorithmConfig
    if method == "multistart":  # a start an environment
        config = MultistartConfig(
            seed=seed, iterations=iterations, num_starts=options.num_envs, start_knots=5, learning_rate=0.05
        )
    elif method in own:
        config = task_config(kind, seed=seed, iterations=iterations, **own[method])
    else:
        default = RPGConfig(seed=seed, iterations=iterations)
        config = default.gaussian() if method == "gaussian_default" else default
    task = kind(options.num_envs)
    trainer = Trainer(task, config)
    done = trainer.train()
    if done.interrupted:
        raise KeyboardInterrupt
    evaluations, modes = done.evaluations, done.modes
    if options.images is not None and method == "rpg" and seed == 0:
        options.images.mkdir(parents=True, exist_ok=True)
        task.write_video(modes, options.images / f"{name}.mp4")
    result = run_result(trainer, evaluations, modes)
    return {
        "success": result["policy_success"],
        "expected_success": result["expected_success"],
        "outcomes": sorted({evaluation.outcome for evaluation in evaluations if evaluation.succeeded}),
        "simulator_steps": result["simulator_steps"],
        "seconds": result["seconds"],
    }


def run_single(single: str, options: Options) -> dict[str, Any]:
    """One run in this process."""
    import torch

    torch.set_num_threads(1)
    name, method, seed = single.split(":")
    return {"task": name, "method": method, "seed": int(seed), **trained(name, method, int(seed), options)}


def run_job(options: Options, single: str, console: Console) -> dict[str, Any]:
    """Train in a process of its own, or read what an earlier one wrote."""
    arguments = ["--num-envs", str(options.num_envs)]
    arguments += ["--iterations", str(options.iterations)] if options.iterations else []
    arguments += ["--images", str(options.images)] if options.images else []
    result = processes.run_job("benchmarks.rpg_tasks", single, arguments, out=options.out, resume=options.resume)
    console.print(
        f"{single}: success {result['success']:.2f}, outcomes {result['outcomes']}, "
        f"expected {result['expected_success']:.2f}, {result['seconds']:.0f} s"
    )
    return result


def summary_rows(results: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """One row a task and method, for the table."""
    rows: list[tuple[str, ...]] = []
    for name, method in dict.fromkeys((result["task"], result["method"]) for result in results):
        own = [result for result in results if (result["task"], result["method"]) == (name, method)]
        rows.append(
            (
                name,
                method,
                f"{sum(result['success'] >= 0.5 for result in own)}/{len(own)}",
                " ".join(str(len(result["outcomes"])) for result in own),
                f"{sum(result['expected_success'] for result in own) / len(own):.2f}",
                str(own[0]["simulator_steps"]),
                f"{sum(result['seconds'] for result in own) / len(own):.0f}",
            )
        )
    return rows


def main() -> None:
    options = tyro.cli(Options)
    if options.single:
        print(json.dumps(run_single(options.single, options)))
        return
    if options.task and options.task not in METHODS:
        raise SystemExit(f"--task was given '{options.task}'; allowed are {', '.join(METHODS)}")
    console = Console(stderr=True, highlight=False)
    options.out.mkdir(parents=True, exist_ok=True)
    names = [options.task] if options.task else list(METHODS)
    singles = [f"{name}:{method}:{seed}" for name in names for seed in range(options.seeds) for method in METHODS[name]]
    results = processes.run_jobs(lambda single: run_job(options, single, console), singles, jobs=options.jobs)
    processes.print_table(HEADINGS, summary_rows(results), console, options.table)
    if options.json:
        summary: dict[str, Any] = {"seeds": options.seeds}
        for result in results:
            own = summary.setdefault(f"{result['task']}_{result['method']}", {"succeeded": 0, "outcomes": []})
            own["succeeded"] += int(result["success"] >= 0.5)
            own["outcomes"].append(len(result["outcomes"]))
            own["simulator_steps"] = result["simulator_steps"]
        print(json.dumps(summary))


if __name__ == "__main__":
    main()
