"""What the stored runs say: the tables, and the counts of the summary."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from benchmarks.multimodal.methods import METHODS, Budget, budgets_of
from benchmarks.multimodal.problems import PROBLEMS, Problem
from benchmarks.multimodal.store import FIRST_SEED, RESULTS, SEEDS, stored_runs

HEADINGS = (
    "problem", "method", "seeds", "ways by label", "ways by curve", "success", "return", "QD score",
    "steps", "gradient steps", "s a run (processor)",
)  # fmt: skip
ELSEWHERE = {
    "benchmarks.mcmc_policies": ("hopper_gain", "cheetah_gain", "ant_gain", "kl_error"),
    "benchmarks.preferences": ("rank_correlation",),
}
"""Numbers of the summary that other benchmarks have, by their module."""


class Row(NamedTuple):
    """A method on a problem, given environment steps or gradient steps."""

    problem: Problem
    method: str
    budget: Budget

    @property
    def name(self) -> str:
        """As ``--row`` takes it."""
        return f"{self.problem.name}:{self.method}" + ("" if self.budget == "steps" else f":{self.budget}")


def every_row() -> list[Row]:
    """All that the tables want, those of equal environment steps first."""
    found = [Row(p, m, budget) for p in PROBLEMS.values() for m in METHODS for budget in budgets_of(m)]
    return sorted(found, key=lambda row: row.budget == "gradients")


def runs_of(row: Row, folder: Path = RESULTS) -> list[dict[str, Any]]:
    """The stored runs of a row, by seed."""
    runs = stored_runs(row.problem, folder)
    return [run for (method, budget, _), run in sorted(runs.items()) if (method, budget) == (row.method, row.budget)]


def missing_seeds(row: Row, seeds: Sequence[int], folder: Path = RESULTS) -> list[int]:
    """Those without a stored run."""
    stored = stored_runs(row.problem, folder)
    return [seed for seed in seeds if (row.method, row.budget, seed) not in stored]


def seeds_of(count: int = SEEDS) -> list[int]:
    """The first seeds that count."""
    return list(range(FIRST_SEED, FIRST_SEED + count))


def table_row(row: Row, folder: Path = RESULTS) -> list[str]:
    """A row of the table of single methods."""
    runs = runs_of(row, folder)
    begin = [row.problem.name, row.method]
    if not runs:
        return [*begin, "0", "not run", *[""] * (len(HEADINGS) - 4)]
    if "cannot" in runs[-1]:
        return [*begin, "0", f"cannot run: {runs[-1]['cannot']}", *[""] * (len(HEADINGS) - 4)]

    def average(name: str) -> float:
        return mean(run[name] for run in runs)

    labels = ", ".join(str(len(run["labels"])) for run in runs)
    return [
        *begin,
        str(len(runs)),
        f"{labels} of {row.problem.ways}",
        ", ".join(str(run["clusters"]) for run in runs),
        f"{average('success'):.2f}",
        f"{average('return'):.2f}",
        f"{average('qd_score'):.1f}",
        f"{average('steps'):.0f}",
        f"{average('gradient_steps'):.0f}",
        f"{average('seconds'):.0f} ({average('processor_seconds'):.0f})",
    ]


def matrix_rows(folder: Path = RESULTS) -> list[list[str]]:
    """Mean ways by label and success of the chosen, methods by problems, for equal environment steps."""
    rows = []
    for problem in PROBLEMS.values():
        cells = []
        for method in METHODS:
            runs = [run for run in runs_of(Row(problem, method, "steps"), folder) if "cannot" not in run]
            ways = [len(run["labels"]) for run in runs]
            cells.append(f"{mean(ways):.1f} ({mean(run['success'] for run in runs):.2f})" if runs else "not run")
        rows.append([problem.name, str(problem.ways), *cells])
    return rows


def summary(folder: Path = RESULTS) -> dict[str, Any]:
    """What ``--summary --json`` prints. A row counts once it has all its seeds."""
    wanted = every_row()
    done = sum(not missing_seeds(row, seeds_of(), folder) for row in wanted)
    goals = {method: runs_of(Row(PROBLEMS["four_goals"], method, "steps"), folder) for method in METHODS}
    return {
        "problems": len(PROBLEMS),
        "methods": len(METHODS),
        "rows": done,
        "missing": len(wanted) - done,
        "four_goals": {
            method: round(mean(len(run["labels"]) for run in runs), 3)
            for method, runs in goals.items()
            if runs and "cannot" not in runs[-1]
        },
        **{name: each for module, names in ELSEWHERE.items() for name, each in told_by(module, names).items()},
    }


def told_by(module: str, names: Sequence[str]) -> dict[str, Any]:
    """Numbers of the summary of another benchmark, None where it has none or is not there."""
    nothing: dict[str, Any] = dict.fromkeys(names)
    if find_spec(module) is None:
        return nothing
    other = import_module(module)
    answer = other.summary(other.Options())
    return {name: answer.get(name) for name in names}
