"""Long runs of algorithms that stream, in processes of their own and one thread each, which go on where they were stopped; and
the lines of JSON that they store."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import torch

from benchmarks.processes import append_line, one_thread, read_lines, run_jobs
from rpg.algorithms.streaming import StreamingConfig
from rpg.training.checkpoint import CHECKPOINT_NAME
from rpg.training.metrics import IterationMetrics
from rpg.training.trainer import Trainer

FIRST_SEED = 100
RESULTS = Path(__file__).resolve().parent.parent / "results"
SMALL: Mapping[str, Any] = MappingProxyType({"hidden": (96, 96), "memory": 96, "state_dim": 48, "batch_size": 128})
"""Networks and batches of model-based RPG, smaller than the paper's, so that a run takes tens of minutes on a core."""


@dataclass(frozen=True)
class Options:
    """What to do."""

    row: tuple[str, ...] = ()
    """Arms to run."""
    all: bool = False
    """Run every arm."""
    quick: bool = False
    """Run one short seed of the arms of the summary, and store nothing."""
    summary: bool = False
    """Run nothing."""
    seeds: int = 3
    """Seeds of each arm."""
    first: int = FIRST_SEED
    """The first of them; settings were chosen on seeds below 100."""
    steps: int | None = None
    """Steps of a run, the experiment's own number if not given; a summary counts the runs that have got so far."""
    jobs: int = os.cpu_count() or 1
    """Runs side by side, one thread each."""
    runs: Path | None = None
    """Folder of the runs with their checkpoints; runs/benchmarks/ and the experiment's name if not given."""
    out: Path | None = None
    """Folder of the results; benchmarks/results/ and the experiment's name if not given."""
    table: Path | None = None
    """Markdown file for the tables, in which they replace earlier ones; the picture goes to its folder, images/."""
    json: bool = False
    """Print one JSON object on the last line."""
    single: str | None = None
    """One run, as ARM:SEED."""


@dataclass(frozen=True)
class Experiment:
    """What a module `benchmarks.<name>` runs."""

    name: str
    arms: Mapping[str, StreamingConfig]
    environment: Callable[[str], Any]
    """Of an arm."""
    measured: Callable[[Trainer, int], dict[str, Any]]
    """What the line of a run holds about its first so many steps; the first entry is printed."""
    summary: tuple[str, ...]
    """The arms that a summary is about."""
    steps: int
    """Of a run."""
    quick: int
    """Steps with `--quick`."""
    block: int
    """Steps of an iteration."""
    stored: int = 30_000
    """Steps between lines of results, a multiple of `block`."""
    prepare: Callable[[Trainer, str, Path], None] | None = None
    """Called with the trainer, the arm and the folder of the runs before a run's first step."""

    def steps_of(self, options: Options) -> int:
        """Of a run."""
        return self.steps if options.steps is None else options.steps

    def runs(self, options: Options) -> Path:
        """Folder of the runs."""
        return options.runs or Path("runs/benchmarks") / self.name

    def out(self, options: Options) -> Path:
        """Folder of the results."""
        return options.out or RESULTS / self.name


def run_single(experiment: Experiment, arm: str, seed: int, options: Options) -> None:
    """Train up to the wanted number of steps, from the checkpoint if there is one, and store lines on the way."""
    wanted = experiment.steps_of(options)
    config = replace(experiment.arms[arm], seed=seed, iterations=wanted // experiment.block)
    folder = experiment.runs(options) / f"{arm}-{seed}"
    resume = (folder / CHECKPOINT_NAME).exists()
    trainer = Trainer(experiment.environment(arm), config, run_dir=folder, resume=resume, checkpoint_seconds=300.0)
    if experiment.prepare is not None and not resume:
        experiment.prepare(trainer, arm, experiment.runs(options))
    began = time.process_time()
    before = trainer.history[-1].seconds if trainer.history else 0.0

    def store(metrics: IterationMetrics) -> None:
        steps = metrics.simulator_steps
        if steps % experiment.stored and steps < wanted:
            return
        found = experiment.measured(trainer, steps)
        cpu = round(time.process_time() - began, 1)
        run = {"arm": arm, "seed": seed, "steps": steps, **found, "cpu_seconds": cpu, "seconds": round(metrics.seconds, 1)}
        append_line(experiment.out(options) / f"{arm}.jsonl", {**run, "resumed_at": round(before, 1)})
        name, value = next(iter(found.items()))
        print(f"{arm}-{seed}: {steps} steps, {name} {value:.2f}, CPU {cpu:.0f} s", flush=True)

    if trainer.train(store).interrupted:
        raise KeyboardInterrupt


def cpu_milliseconds(parts: Mapping[str, Callable[[], Any]], times: int) -> dict[str, float]:
    """Processor milliseconds of each part, the mean of so many times after four that do not count."""
    found = {}
    for name, part in parts.items():
        for _ in range(4):
            part()
        began = time.process_time()
        for _ in range(times):
            part()
        found[name] = 1000 * (time.process_time() - began) / times
    return found


def run_processes(experiment: Experiment, arms: Sequence[str], options: Options) -> None:
    """Those runs that are missing, each in a process of its own; seed by seed, so that an early look compares all arms."""
    steps, out = experiment.steps_of(options), experiment.out(options)
    stored = stored_runs(experiment, out)
    wanted = [(arm, options.first + n) for n in range(options.seeds) for arm in arms]
    missing = [pair for pair in wanted if pair not in stored or stored[pair]["steps"] < steps]

    def job(pair: tuple[str, int]) -> None:
        command = [sys.executable, "-m", f"benchmarks.{experiment.name}", "--single", f"{pair[0]}:{pair[1]}"]
        command += ["--steps", str(steps), "--runs", str(experiment.runs(options)), "--out", str(out)]
        subprocess.run(command, check=True, env=one_thread())

    run_jobs(job, missing, jobs=options.jobs)


def stored_runs(experiment: Experiment, folder: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """The longest line of each run by arm and seed. A line that was cut off does not count."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for arm in experiment.arms:
        for run in read_lines(folder / f"{arm}.jsonl"):
            key = (run["arm"], run["seed"])
            if key not in found or run["steps"] >= found[key]["steps"]:
                found[key] = run
    return found


def reached(experiment: Experiment, options: Options) -> dict[str, list[dict[str, Any]]]:
    """The runs of each arm that have got to the wanted number of steps, by seed."""
    steps, runs = experiment.steps_of(options), sorted(stored_runs(experiment, experiment.out(options)).items())
    return {arm: [run for (own, _), run in runs if own == arm and run["steps"] >= steps] for arm in experiment.arms}


def command(experiment: Experiment, options: Options, report: Callable[[Options], None]) -> int:
    """Run what the options ask for, then `report` on the results that are there; the exit status."""
    for arm in options.row:
        if arm not in experiment.arms:
            print(f"error: '{arm}' was given; allowed are {', '.join(experiment.arms)}", file=sys.stderr)
            return 2
    torch.set_num_threads(1)
    if options.single is not None:
        arm, seed = options.single.split(":")
        run_single(experiment, arm, int(seed), options)
        return 0
    if options.quick:
        with TemporaryDirectory() as folder:
            steps = experiment.quick if options.steps is None else options.steps
            options = replace(options, steps=steps, seeds=1, runs=Path(folder) / "runs", out=Path(folder) / "results")
            run_processes(experiment, experiment.summary, options)
            report(options)
        return 0
    if options.all or options.row:
        run_processes(experiment, tuple(experiment.arms) if options.all else options.row, options)
    report(options)
    return 0
