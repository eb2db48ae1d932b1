"""``diffsim-rpg compare``: learning curves with bands over seeds, and a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from rpg.cli.output import Output, OutputOptions
from rpg.settings_checks import SettingError

if TYPE_CHECKING:
    from rpg.runs.comparison import RunGroup

DESCRIPTION = """Compare runs: a table, and a plot of their learning curves.

Runs that differ by their seeds only are one curve, the median with a band between the quartiles. A folder with runs below
it, such as a sweep's, stands for all of them."""
HEADINGS = ("runs", "settings", "success", "expected", "return", "solutions", "steps", "s a run")


@dataclass(frozen=True)
class CompareOptions(OutputOptions):
    """The runs."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Folders of runs, or with runs below them."""
    metric: str = "return_mean"
    """What the curves show: a number of metrics.jsonl, such as return_mean, return_best, success or distinct_outcomes."""
    out: Path = Path("compare.png")
    """The plot's file."""
    plot: bool = True
    """Whether to write the plot."""


def compare(arguments: list[str]) -> Callable[[], int]:
    """Read the arguments; what is to be done then."""
    options = tyro.cli(CompareOptions, args=arguments, prog="diffsim-rpg compare", description=DESCRIPTION)
    if not options.runs:
        raise SettingError("no run was given; diffsim-rpg compare RUNS...")
    out = Output(options)
    with out.step("loading torch"):
        import_module("rpg.runs.comparison")
    return partial(_compared, options, out)


def _compared(options: CompareOptions, out: Output) -> int:
    from rpg.runs.comparison import grouped_runs, run_folders

    groups = grouped_runs(run_folders(options.runs))
    print_groups(out, groups)
    if options.plot:
        plot_groups(groups, options.out, options.metric)
        out.say(f"wrote {options.out}")
    out.finish({"groups": [group.row() for group in groups], "plot": str(options.out) if options.plot else None})
    return 0


def plot_groups(groups: list[RunGroup], path: Path, metric: str) -> None:
    """Write the plot of a metric."""
    from rpg.training.plots import plot_curves

    plot_curves(path, {group.label: group.curve(metric) for group in groups}, metric=metric.replace("_", " "))


def print_groups(out: Output, groups: list[RunGroup]) -> None:
    """Print the table, the best success first."""

    def shown(value: float | None, form: str, spread: float | None = None) -> str:
        if value is None:
            return "-"
        return form.format(value) + ("" if spread is None else " ± " + form.format(spread))

    rows = []
    for row in sorted((group.row() for group in groups), key=lambda row: -(row["policy_success"] or 0.0)):
        rows.append(
            (
                str(row["runs"]),
                row["label"],
                shown(row["policy_success"], "{:.0%}", row["policy_success_std"] if row["evaluated"] > 1 else None),
                shown(row["expected_success"], "{:.0%}"),
                shown(row["return"], "{:.2f}", row["return_std"] if row["evaluated"] > 1 else None),
                shown(row["solutions"], "{:.1f}"),
                shown(row["simulator_steps"], "{:.0f}"),
                shown(row["seconds"], "{:.0f}"),
            )
        )
    out.table(HEADINGS, rows)
