"""Does RPG find what restarts find, on problems that nobody tuned it on? (`rpg/environments/generated.py`)

    python -m benchmarks.rpg_generated --problems 100 --first 1000 --json

Every method spends the same environment steps on each problem, with its default settings; restarts have a start for each
environment. Settings were chosen on seeds below 1000. Of each method are reported

- covered: the mean number of distinct outcomes that its candidates reach without noise in at least half of their episodes;
- chosen: the mean normalised return of the solution that it would be asked to play, its candidate with the best evaluation,
  on other first states and pushes than those it was chosen on. 1 is the best of all methods', 0 the one-Gaussian baseline's or,
  where that is nearly the best itself, a twentieth of the best's size below it. Below -1 counts as -1.

"closed_loop" is about the problems with random starts and pushes, in which open-loop restarts cannot react.
Results are written as they come, to runs/benchmarks/rpg_generated, and kept with --resume.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from benchmarks.processes import print_table, write_result
from rpg import AlgorithmConfig, CEMConfig, MixtureConfig, MultistartConfig, RPGConfig, Schedule

ENVIRONMENTS, ITERATIONS = 32, 150
TEST_SEED = 12_345  # of the episodes in which the chosen solution is judged
RPG = RPGConfig(iterations=ITERATIONS)
METHODS: Mapping[str, AlgorithmConfig] = {
    "rpg": RPG,
    "multistart": MultistartConfig(iterations=ITERATIONS, num_starts=ENVIRONMENTS),
    "cem": CEMConfig(iterations=ITERATIONS),
    "mixture": MixtureConfig(iterations=ITERATIONS),
    "gaussian": RPG.gaussian(),
}
ABLATIONS: Mapping[str, AlgorithmConfig] = {
    "table": replace(RPG, policy="table"),
    "no_bonus": replace(RPG, beta=Schedule.constant(0.0)),
    "no_spread": replace(RPG, start_spread=0.01),
    "eight_latents": replace(RPG, num_latents=8),
    "no_normalisation": replace(RPG, normalize_returns=False),
}


@dataclass(frozen=True)
class Options:
    """What to run."""

    problems: int = 100
    """How many."""
    first: int = 1000
    """Seed of the first."""
    ablation: bool = False
    """Also RPG without each of its parts."""
    json: bool = False
    """Print one JSON object on the last line."""
    out: Path = Path("runs/benchmarks/rpg_generated")
    """Folder of the single results."""
    resume: bool = False
    """Keep the results that are there."""
    jobs: int = os.cpu_count() or 1
    """Runs at the same time."""
    table: Path | None = None
    """Markdown file for the table, in which it replaces an earlier one."""


def run(method: str, problem: int) -> dict[str, Any]:
    """Train one method on one problem, in this process; plain numbers."""
    import torch

    from rpg import Trainer
    from rpg.environments.generated import generated_problem
    from rpg.training.rollout import rolled_out

    torch.set_num_threads(1)
    env = generated_problem(problem, num_envs=ENVIRONMENTS)
    trainer = Trainer(env, {**METHODS, **ABLATIONS}[method])
    result = trainer.train()
    evaluations = result.evaluations
    best = max(evaluations, key=lambda each: each.episode_return)
    latents, _ = trainer.algorithm.candidates()
    with torch.no_grad():
        chosen = latents[:, [best.latent] * ENVIRONMENTS]
        noise = torch.zeros(env.horizon, ENVIRONMENTS, env.action_dim)
        played = rolled_out(env, trainer.algorithm.policy, chosen, state=env.reset(TEST_SEED), std=1.0, noise=noise)
    return {
        "method": method,
        "problem": problem,
        "family": env.family,
        "closed_loop": env.closed_loop,
        "outcomes": sorted({each.outcome for each in evaluations if each.succeeded and each.outcome >= 0}),
        "return": float(played.returns.mean()),
        "success": float(played.success.double().mean()),
        "steps": result.history[-1].simulator_steps,
        "seconds": result.history[-1].seconds,
    }


def results_of(options: Options, methods: tuple[str, ...], console: Console) -> list[dict[str, Any]]:
    """All runs; those that are there are kept with ``resume``."""
    options.out.mkdir(parents=True, exist_ok=True)
    paths = {
        (method, problem): options.out / f"{method}-{problem}.json"
        for problem in range(options.first, options.first + options.problems)
        for method in methods
    }
    missing = [job for job, path in paths.items() if not (options.resume and path.exists())]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=options.jobs, mp_context=context) as pool:
        futures = {pool.submit(run, *job): job for job in missing}
        try:
            for count, future in enumerate(as_completed(futures), 1):
                path, result = paths[futures[future]], future.result()
                write_result(path, result)
                covered, score = len(result["outcomes"]), result["return"]
                console.print(f"{count}/{len(missing)} {path.stem}: {covered} outcomes, return {score:.3f}", highlight=False)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [json.loads(path.read_text()) for path in paths.values()]


def normalised(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The results with their "chosen" return: how far below the best of the problem's, see the module's docstring."""
    found = []
    for problem in sorted({result["problem"] for result in results}):
        own = [result for result in results if result["problem"] == problem]
        low = next(result["return"] for result in own if result["method"] == "gaussian")
        high = max(result["return"] for result in own)
        for result in own:
            gap = max(high - low, 0.05 * max(1.0, abs(high)))
            found.append({**result, "chosen": max(1.0 - (high - result["return"]) / gap, -1.0)})
    return found


def mean(values: list[float]) -> float:
    """Of numbers, rounded for print."""
    return round(sum(values) / max(1, len(values)), 4)


def summary(results: list[dict[str, Any]], methods: tuple[str, ...]) -> dict[str, Any]:
    """What the last line says."""

    def of(method: str, own: list[dict[str, Any]]) -> dict[str, float]:
        mine = [result for result in own if result["method"] == method]
        return {"covered": mean([len(each["outcomes"]) for each in mine]), "chosen": mean([each["chosen"] for each in mine])}

    closed = [result for result in results if result["closed_loop"]]
    return {
        "problems": len({result["problem"] for result in results}),
        "steps": round(sum(result["steps"] for result in results) / max(1, len(methods))),
        **{method: of(method, results) for method in methods},
        "closed_loop": {
            "problems": len({result["problem"] for result in closed}),
            **{method: of(method, closed) for method in methods},
        },
    }


def rows(results: list[dict[str, Any]], methods: tuple[str, ...]) -> list[tuple[str, ...]]:
    """A line for each method: covered and chosen over all problems, and of each family."""
    families = sorted({(result["family"], result["closed_loop"]) for result in results})
    lines = []
    for method in methods:
        mine = [result for result in results if result["method"] == method]
        cells = [f"{mean([len(each['outcomes']) for each in mine]):.2f}; {mean([each['chosen'] for each in mine]):.2f}"]
        for family in families:
            own = [each for each in mine if (each["family"], each["closed_loop"]) == family]
            cells.append(f"{mean([len(each['outcomes']) for each in own]):.2f}; {mean([each['chosen'] for each in own]):.2f}")
        lines.append((method, *cells, f"{mean([each['seconds'] for each in mine]):.1f}"))
    return lines


def main() -> None:
    options = tyro.cli(Options)
    console = Console(stderr=options.json)
    methods = (*METHODS, *ABLATIONS) if options.ablation else tuple(METHODS)
    results = normalised(results_of(options, methods, console))
    families = sorted({(result["family"], result["closed_loop"]) for result in results})
    named = [f"{family}, closed loop" if closed else family for family, closed in families]
    print_table(("covered; chosen", "all", *named, "s a run"), rows(results, methods), console, options.table, "rpg_generated")
    if options.json:
        print(json.dumps(summary(results, methods)), flush=True)


if __name__ == "__main__":
    main()
