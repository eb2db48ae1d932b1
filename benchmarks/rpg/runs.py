"""Runs of methods over seeds in processes of their own, each result written as it comes."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.processes import write_result
from rpg import (
    AlgorithmConfig,
    FixedHorizonEnvironment,
    RPGConfig,
    Trainer,
    distinct_modes,
    expected_success,
    policy_success,
    train_seeds,
)

CURVE_POINTS = 100


@dataclass(frozen=True)
class Options:
    """What to run."""

    seeds: int = 20
    """Seeds of each method, 0, 1, ..."""
    json: bool = False
    """Print one JSON object on the last line."""
    methods: tuple[str, ...] = ()
    """Only these; the ones with an acceptance number if not given."""
    all: bool = False
    """All methods, the baselines without a threshold included."""
    out: Path | None = None
    """Folder of the single results; runs/benchmarks/ and the experiment's name if not given."""
    resume: bool = False
    """Keep the results that are there instead of running them again."""
    collect: bool = False
    """Run nothing: only put together the results that are there, of all methods and seeds."""
    jobs: int = os.cpu_count() or 1
    """Runs at the same time."""
    iterations: int | None = None
    """Fewer iterations than the experiment asks for, to try the script itself."""
    table: Path | None = None
    """Markdown file for the table."""
    plot: Path | None = None
    """PNG file for the learning curves."""


@dataclass(frozen=True)
class Experiment:
    """What a module `benchmarks.rpg_*` defines as EXPERIMENT."""

    name: str
    environment: Callable[[], FixedHorizonEnvironment]
    methods: Mapping[str, AlgorithmConfig]
    """By name; all spend the same simulator steps."""
    judged: tuple[str, ...]
    """The methods that have an acceptance number."""
    score: Callable[[dict[str, Any]], float]
    """What a run scored, from its result: 1 or 0 for success, or a number of goals."""
    at_once: Callable[[int], FixedHorizonEnvironment] | None = None
    """n episodes of an environment without randomness, whose seeds are trained at once where they can be."""
    counts: bool = False
    """Whether the score is a number of things instead of success."""


def configured(experiment: Experiment, method: str, iterations: int | None) -> AlgorithmConfig:
    """The settings of a method, with fewer iterations if given."""
    config = experiment.methods[method]
    return config if iterations is None else replace(config, iterations=iterations)


def vectorised(experiment: Experiment, method: str) -> bool:
    """Whether all seeds of a method run at once."""
    config = experiment.methods[method]
    return experiment.at_once is not None and isinstance(config, RPGConfig) and config.policy == "table"


def run_jobs(module: str, method: str, seeds: Sequence[int], iterations: int | None) -> list[dict[str, Any]]:
    """Train one method with each of the seeds in this process; plain numbers."""
    import torch

    torch.set_num_threads(1)
    experiment: Experiment = importlib.import_module(module).EXPERIMENT
    config, env = configured(experiment, method, iterations), experiment.environment()
    if experiment.at_once is not None and vectorised(experiment, method):
        assert isinstance(config, RPGConfig)
        runs = trained_at_once(experiment.at_once, config, seeds, num_envs=env.num_envs)
    else:
        runs = [trained(env, replace(config, seed=seed)) for seed in seeds]
    names = getattr(env, "outcome_names", ())
    return [judged(experiment, method, seed, run, names) for seed, run in zip(seeds, runs, strict=True)]


def trained(env: FixedHorizonEnvironment, config: AlgorithmConfig) -> dict[str, Any]:
    """One run in plain numbers."""
    trainer = Trainer(env, config)
    result = trainer.train()
    if result.interrupted:
        raise KeyboardInterrupt
    history, every = result.history, max(1, len(result.history) // CURVE_POINTS)
    return {
        "evaluations": list(result.evaluations),
        "returns": [row.return_mean for row in history],
        "curve": [(row.simulator_steps, row.return_mean) for row in history[::every]],
        "gradient_snr": sum(row.gradient_snr for row in history) / len(history),
        "simulator_steps": history[-1].simulator_steps,
        "seconds": history[-1].seconds,
    }


def trained_at_once(
    environment: Callable[[int], Any], config: RPGConfig, seeds: Sequence[int], *, num_envs: int
) -> list[dict[str, Any]]:
    """A run for each seed, all trained at once, as `trained`."""
    every, found = max(1, config.iterations // CURVE_POINTS), []
    for run in train_seeds(environment, config, seeds, num_envs=num_envs, snr_interval=every):
        steps_each = run.simulator_steps // config.iterations
        found.append({
            "evaluations": run.evaluations,
            "returns": list(run.returns),
            "curve": [((i + 1) * steps_each, run.returns[i]) for i in range(0, config.iterations, every)],
            "gradient_snr": run.gradient_snr,
            "simulator_steps": run.simulator_steps,
            "seconds": run.seconds,
        })  # fmt: skip
    return found


def judged(experiment: Experiment, method: str, seed: int, run: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """What is kept of a run."""
    evaluations, returns = run["evaluations"], run["returns"][-20:]
    modes = [mode for mode in distinct_modes(evaluations, outcome_names=names) if mode.success >= 0.5]
    result = {
        "method": method,
        "seed": seed,
        "success": policy_success(evaluations),
        "expected_success": expected_success(evaluations),
        "outcomes": sorted({e.outcome for e in evaluations if e.succeeded}),
        "modes": [(mode.name, mode.probability) for mode in modes],
        "return_final": sum(returns) / len(returns),
        **{key: run[key] for key in ("curve", "gradient_snr", "simulator_steps", "seconds")},
    }
    return {**result, "score": experiment.score(result)}


def run_all(module: str, options: Options, console: Console) -> dict[str, list[dict[str, Any]]]:
    """The results of every method, by seed. Ctrl-C leaves those that are done; --resume goes on.

    Raises:
        ValueError: a method is unknown.
    """
    experiment: Experiment = importlib.import_module(module).EXPERIMENT
    chosen = options.methods or (tuple(experiment.methods) if options.all else experiment.judged)
    for method in chosen:
        if method not in experiment.methods:
            raise ValueError(f"--methods was given '{method}'; allowed are {', '.join(experiment.methods)}")
    out = options.out or Path("runs/benchmarks") / experiment.name
    out.mkdir(parents=True, exist_ok=True)
    results: dict[str, dict[int, dict[str, Any]]] = {method: {} for method in chosen}
    if options.collect:
        for path in sorted(out.glob("*.json")):
            result = json.loads(path.read_text())
            results.setdefault(result["method"], {})[result["seed"]] = result
        ordered = [method for method in experiment.methods if results.get(method)]
        return {method: [results[method][seed] for seed in sorted(results[method])] for method in ordered}
    missing: list[tuple[str, int]] = []
    for seed in range(options.seeds):  # seed by seed, so that an early look compares all methods
        for method in chosen:
            path = out / f"{method}-{seed}.json"
            if options.resume and path.exists():
                results[method][seed] = json.loads(path.read_text())
            else:
                missing.append((method, seed))
    jobs: dict[tuple[str, int], list[int]] = {}
    for method, seed in missing:
        jobs.setdefault((method, -1 if vectorised(experiment, method) else seed), []).append(seed)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=options.jobs, mp_context=context) as pool:
        pending = {pool.submit(run_jobs, module, method, seeds, options.iterations) for (method, _), seeds in jobs.items()}
        try:
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for result in [result for future in done for result in future.result()]:
                    path = out / f"{result['method']}-{result['seed']}.json"
                    write_result(path, result)
                    results[result["method"]][result["seed"]] = result
                    console.print(
                        f"{result['method']} seed {result['seed']}: score {result['score']:g}, "
                        f"return {result['return_final']:.3f}, {result['seconds']:.0f} s"
                    )
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return {method: [own[seed] for seed in sorted(own)] for method, own in results.items()}


HEADINGS = ("method", "seeds", "score", "success", "distinct", "return", "SNR", "steps", "s a run")


def table_rows(results: Mapping[str, list[dict[str, Any]]], *, counts: bool) -> list[tuple[str, ...]]:
    """One row a method: successful runs, or the mean and least of what is counted; means over seeds, and the spread (standard
    deviation) of the return.
    """
    rows: list[tuple[str, ...]] = []
    for method, own in results.items():
        count = len(own)

        def column(key: str, own: list[dict[str, Any]] = own) -> list[float]:
            return [float(result[key]) for result in own]

        returns = column("return_final")
        mean = sum(returns) / count
        spread = (sum((r - mean) ** 2 for r in returns) / count) ** 0.5
        rows.append(
            (
                method,
                f"{count}",
                f"{sum(column('score')) / count:.2f} (min {min(column('score')):g})"
                if counts
                else f"{sum(column('score')):g}/{count}",
                f"{sum(column('success')) / count:.2f}",
                f"{sum(len(result['outcomes']) for result in own) / count:.2f}",
                f"{mean:.3f} ± {spread:.3f}",
                "no noise" if max(column("gradient_snr")) > 1e3 else f"{sum(column('gradient_snr')) / count:.2f}",
                f"{own[0]['simulator_steps']}",
                f"{sum(column('seconds')) / count:.1f}",
            )
        )
    return rows


def plot_curves(path: Path, results: Mapping[str, list[dict[str, Any]]], *, title: str) -> None:
    """Return against simulator steps: the median over seeds, and the band from the lowest to the highest quarter."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)  # pyplot's backend is the user's
    axes = figure.subplots()
    styles = ("-", "--", ":")
    for number, (method, own) in enumerate(results.items()):
        points = min(len(result["curve"]) for result in own)
        curves = np.array([result["curve"][:points] for result in own])  # (seeds, points, 2)
        steps, returns = curves[0, :, 0], curves[:, :, 1]
        low, middle, high = np.quantile(returns, (0.25, 0.5, 0.75), axis=0)
        (line,) = axes.plot(steps, middle, styles[number // 10], lw=1.6, label=method)
        axes.fill_between(steps, low, high, color=line.get_color(), alpha=0.15, lw=0)
    axes.set_xlabel("simulator steps")
    axes.set_ylabel("return of a batch, with exploration noise")
    axes.set_title(f"{title}: median and quartiles over up to {max(map(len, results.values()))} seeds", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main(module: str, options: Options, summary: Callable[[dict[str, list[dict[str, Any]]]], dict[str, Any]]) -> int:
    """Run, print the table, and with --json the summary, the seeds and the steps on the last line."""
    console = Console(highlight=False, soft_wrap=True)
    experiment: Experiment = importlib.import_module(module).EXPERIMENT
    results = run_all(module, options, console)
    rows = table_rows(results, counts=experiment.counts)
    table = Table(*HEADINGS)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    if options.table is not None:
        lines = [HEADINGS, ("--", *("--:" for _ in HEADINGS[1:])), *rows]
        options.table.write_text("".join(f"| {' | '.join(line)} |\n" for line in lines))
    if options.plot is not None:
        plot_curves(options.plot, results, title=experiment.name)
    if options.json:
        steps = max(own[0]["simulator_steps"] for own in results.values())
        print(json.dumps({**summary(results), "seeds": options.seeds, "simulator_steps": steps}))
    return 0
