"""What the streaming runs of a task say: how often the episodes that training collected succeeded, over steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console

from benchmarks.processes import print_table
from benchmarks.rpg.streaming_runs import Experiment, Options, command, reached
from rpg.training.trainer import Trainer

LATE = 30_000
"""Steps that a success is the mean of."""
SOLVED = 0.9
HEADINGS = ("arm", "what it is", "paper", "success", "single seeds", "0.9 after thousand steps", "return", "CPU minutes a run")
_COLOURS = ("#3b6fb6", "#e08a2e", "#4f9d69", "#b5517f")


@dataclass(frozen=True)
class SuccessExperiment(Experiment):
    """One that is judged by success."""

    meaning: Mapping[str, str] = field(default_factory=dict)
    """What each arm is."""
    paper: Mapping[str, float] = field(default_factory=dict)
    """Success there after as many steps."""
    title: str = ""
    """Of the picture."""


def measured(trainer: Trainer, steps: int) -> dict[str, Any]:
    """Success and return of the collected episodes that ended in the last 30k of `steps`; and of each iteration [steps,
    success, return]."""
    curve = [
        [row.simulator_steps, round(row.success, 4), round(row.return_mean, 4)]
        for row in trainer.history
        if row.terms.get("episodes")
    ]
    run = {"curve": curve}
    return {"success": late(run, steps), "return": late(run, steps, 2), **run}


def late(run: Mapping[str, Any], steps: int, column: int = 1) -> float:
    """Mean success, or return (2), of a run over the last 30k of `steps`; nan if no episode ended in them."""
    values = [row[column] for row in run["curve"] if steps - LATE < row[0] <= steps]
    return float(np.mean(values)) if values else float("nan")


def solved_after(run: Mapping[str, Any]) -> int | None:
    """Steps after which the success of the 30k steps before was first 0.9."""
    return next((row[0] for row in run["curve"] if row[0] >= LATE and late(run, row[0]) >= SOLVED), None)


def summary(experiment: SuccessExperiment, options: Options) -> dict[str, Any]:
    """Mean success of the arms, None where there is no run; the number of seeds is that of the arm with the fewest."""
    found, steps = reached(experiment, options), experiment.steps_of(options)
    arms = experiment.summary
    means = {arm: float(np.mean([late(run, steps) for run in found[arm]])) if found[arm] else None for arm in arms}
    return {**means, "seeds": min(len(found[arm]) for arm in arms), "steps": steps}


def table_rows(experiment: SuccessExperiment, options: Options) -> list[tuple[str, ...]]:
    """A row for each arm."""
    rows: list[tuple[str, ...]] = []
    steps = experiment.steps_of(options)
    for arm, runs in reached(experiment, options).items():
        head = (arm, experiment.meaning[arm], f"{experiment.paper[arm]:.2f}" if arm in experiment.paper else "")
        if not runs:
            rows.append((*head, "not run", "", "", "", ""))
            continue
        values = [late(run, steps) for run in runs]
        since = [solved_after(run) for run in runs]
        whole = [run["cpu_seconds"] / 60 for run in runs if run["resumed_at"] == 0]
        rows.append((
            *head,
            f"**{np.mean(values):.2f}**",
            ", ".join(f"{each:.2f}" for each in values),
            ", ".join("never" if each is None else f"{each / 1000:.0f}" for each in since),
            f"{np.mean([late(run, steps, 2) for run in runs]):.1f}",
            f"{np.mean(whole):.0f}" if whole else "",
        ))  # fmt: skip
    return rows


def draw(path: Path, experiment: SuccessExperiment, options: Options) -> None:
    """A PNG of success over steps, mean and range over the seeds of each arm, if there are runs."""
    found = {arm: runs for arm, runs in reached(experiment, options).items() if runs}
    if not found:
        return
    steps = experiment.steps_of(options)
    at = np.arange(LATE, steps + 1, experiment.block)
    with matplotlib.rc_context({"font.size": 9}):
        figure = Figure(figsize=(7, 3.6), layout="constrained")
        FigureCanvasAgg(figure)  # a figure of its own: pyplot's backend and figures are the user's
        axis = figure.subplots()
        for colour, (arm, runs) in zip(_COLOURS, found.items(), strict=False):
            values = np.array([[late(run, int(each)) for each in at] for run in runs])
            axis.plot(at / 1000, values.mean(0), color=colour, lw=1.8, label=f"{arm} ({len(runs)})")
            axis.fill_between(at / 1000, values.min(0), values.max(0), color=colour, alpha=0.15, lw=0)
        axis.set(xlabel="thousand steps", ylabel="success of collected episodes", ylim=(-0.02, 1.02), xlim=(0, steps / 1000))
        axis.set_title(f"{experiment.title}: mean and range over seeds (their number)", loc="left")
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, loc="upper left")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)


def main(experiment: SuccessExperiment, options: Options) -> int:
    """Run what the options ask for; then the table, the picture if the table goes to a file, and with --json the summary."""

    def report(options: Options) -> None:
        console = Console(highlight=False, soft_wrap=True)
        print_table(HEADINGS, table_rows(experiment, options), console, options.table, experiment.name)
        if options.table is not None:
            draw(options.table.parent / "images" / f"{experiment.name}.png", experiment, options)
        if options.json:
            print(json.dumps(summary(experiment, options)))

    return command(experiment, options, report)
