"""Trains the Detour task with equal simulator steps by RPG, by one Gaussian, and by RPG without its bonus.

    python -m benchmarks.detour --seeds 10 --json

All three share the environment, the policy class, its learning rates and noise, the batch and the number of iterations:
    rpg        8 latents, the task's settings
    gaussian   1 latent, hence no posterior
    rpg_beta0  8 latents without the posterior bonus
A seed succeeds if its most probable latent, without noise, reaches the goal from at least half of the held-out initial
states. Runs are spread over the cores, one thread each, and each result is saved when it is ready: --resume keeps those.
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

METHODS: dict[str, dict[str, Any]] = {
    "rpg": {"algo": "rpg"},
    "gaussian": {"algo": "gaussian"},
    "rpg_beta0": {"algo": "rpg", "beta": 0.0},
}


@dataclass(frozen=True)
class Options:
    """Settings of the comparison."""

    seeds: int = 10
    """Seeds of each method, 0, 1, ..."""
    json: bool = False
    """Print one JSON object on the last line."""
    out: Path = Path("runs/benchmarks/detour")
    """Folder of the single results."""
    resume: bool = False
    """Keep the results that are there instead of running them again."""
    num_envs: int = 32
    """Episodes side by side."""
    jobs: int = os.cpu_count() or 1
    """Runs at the same time."""
    table: Path | None = None
    """Markdown file for the table."""
    iterations: int | None = None
    """Fewer iterations than the task asks for, to try the script itself."""
    single: str = ""
    """Run one method, for example "rpg:3", in this process (what the jobs do)."""


def run_single(method: str, seed: int, options: Options) -> dict[str, Any]:
    """Train one method with one seed in this process.

    Raises:
        KeyboardInterrupt: Ctrl-C; half a run is no result.
    """
    import torch

    from rpg.runs.run_result import run_result
    from rpg.runs.run_settings import task_config
    from rpg.training.trainer import Trainer
    from tasks import Detour

    torch.set_num_threads(1)
    config = task_config(Detour, seed=seed, iterations=options.iterations, **METHODS[method])
    trainer = Trainer(Detour(options.num_envs), config)
    done = trainer.train()
    if done.interrupted:
        raise KeyboardInterrupt
    evaluations = done.evaluations
    result = run_result(trainer, evaluations, done.modes)
    return {
        "method": method,
        "seed": seed,
        "success": result["policy_success"],
        "expected_success": result["expected_success"],
        "ways": sorted({evaluation.outcome for evaluation in evaluations if evaluation.succeeded}),
        "return_mean": trainer.history[-1].return_mean,
        "simulator_steps": result["simulator_steps"],
        "seconds": result["seconds"],
    }


def run_job(options: Options, single: str, console: Console) -> dict[str, Any]:
    """Train in a process of its own, or read what an earlier one wrote."""
    arguments = ["--num-envs", str(options.num_envs)]
    arguments += ["--iterations", str(options.iterations)] if options.iterations else []
    result = processes.run_job("benchmarks.detour", single, arguments, out=options.out, resume=options.resume)
    console.print(
        f"{result['method']} seed {result['seed']}: success {result['success']:.2f}, ways {result['ways']}, "
        f"return {result['return_mean']:.2f}, {result['seconds']:.0f} s"
    )
    return result


def summary_rows(results: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """One row a method, for the table."""
    rows: list[tuple[str, ...]] = []
    for method in METHODS:
        own = [result for result in results if result["method"] == method]
        count = len(own)

        def mean(key: str, own: list[dict[str, Any]] = own, count: int = count) -> float:
            return sum(result[key] for result in own) / count

        both = sum(len(result["ways"]) >= 2 for result in own)
        rows.append(
            (
                method,
                f"{sum(result['success'] >= 0.5 for result in own)}/{count}",
                f"{mean('success'):.2f}",
                f"{mean('expected_success'):.2f}",
                f"{both}/{count}",
                f"{mean('return_mean'):.2f}",
                str(own[0]["simulator_steps"]),
                f"{mean('seconds'):.0f}",
            )
        )
    return rows


HEADINGS = (
    "method",
    "seeds that succeed",
    "success of the likeliest latent",
    "expected success under pi(z)",
    "both ways found",
    "final return",
    "simulator steps",
    "s a run (one thread)",
)


def main() -> None:
    options = tyro.cli(Options)
    if options.single:
        method, _, seed = options.single.partition(":")
        print(json.dumps(run_single(method, int(seed), options)))
        return
    console = Console(stderr=True, highlight=False)
    options.out.mkdir(parents=True, exist_ok=True)
    singles = [f"{method}:{seed}" for seed in range(options.seeds) for method in METHODS]
    results = processes.run_jobs(lambda single: run_job(options, single, console), singles, jobs=options.jobs)
    processes.print_table(HEADINGS, summary_rows(results), console, options.table)
    if options.json:
        successes = {
            f"{method}_success": sum(r["success"] >= 0.5 for r in results if r["method"] == method) for method in METHODS
        }
        steps = results[0]["simulator_steps"]
        print(json.dumps({**successes, "seeds": options.seeds, "simulator_steps": steps}))


if __name__ == "__main__":
    main()
