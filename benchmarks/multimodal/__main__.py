"""The contest of ways to a policy with several modes: eight problems, eleven methods, two tables.

    python -m benchmarks.multimodal --list --json                      # the problems and methods, and what is stored of each
    python -m benchmarks.multimodal --row PROBLEM:METHOD --seeds 3     # a method on a problem, environment steps given
    python -m benchmarks.multimodal --row PROBLEM:METHOD:gradients     # the same with gradient steps given
    python -m benchmarks.multimodal --all --jobs 2 --hours 8           # every row that is missing; stops and resumes
    python -m benchmarks.multimodal --summary --json                   # numbers from the stored results; runs nothing
    python -m benchmarks.multimodal --table docs/multimodal.md         # the tables, from the stored results
    python -m benchmarks.multimodal --picture docs/images/multimodal.png

Runs are written as they come, as lines of JSON, into benchmarks/results/multimodal/. A run that is stored is not repeated. It
needs the extra `multimodal`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from benchmarks.multimodal.methods import BUDGETS, METHODS, is_there
from benchmarks.multimodal.problems import PROBLEMS
from benchmarks.multimodal.store import RESULTS, SEEDS, append_run, stored_runs
from benchmarks.multimodal.tables import HEADINGS, Row, every_row, matrix_rows, missing_seeds, seeds_of, summary, table_row
from benchmarks.processes import run_streamed, run_until, write_table


@dataclass(frozen=True)
class Options:
    """What to do."""

    list: bool = False
    """The problems and methods."""
    row: tuple[str, ...] = ()
    """Rows to run, as PROBLEM:METHOD or PROBLEM:METHOD:gradients."""
    all: bool = False
    """Run every row that is missing."""
    summary: bool = False
    """Numbers from the stored results."""
    table: Path | None = None
    """Markdown file for the tables."""
    picture: Path | None = None
    """File for the picture."""
    json: bool = False
    """Print JSON on the last line."""
    seeds: int = SEEDS
    """Seeds of a row, from 100 on."""
    jobs: int = os.cpu_count() or 1
    """Processes side by side."""
    hours: float = float("inf")
    """Of --all: begin no row after this time."""
    out: Path = RESULTS
    """Folder of the results."""


def found_row(name: str) -> Row:
    """A row by its name; ends the program with what is allowed if there is none."""
    problem, _, rest = name.partition(":")
    method, _, budget = rest.partition(":")
    budget = budget or BUDGETS[0]
    if problem not in PROBLEMS:
        raise SystemExit(f"there is no problem '{problem}'; problems: {', '.join(PROBLEMS)}")
    if method not in METHODS:
        raise SystemExit(f"there is no method '{method}'; methods: {', '.join(METHODS)}")
    rows = [each for each in every_row() if each.method == method and each.problem.name == problem]
    for row in rows:
        if row.budget == budget:
            return row
    raise SystemExit(f"there is no row '{name}'; allowed are {', '.join(each.name for each in rows)}")


def run_row(row: Row, seeds: Sequence[int], out: Path, console: Console) -> None:
    """Run the seeds of a row that are missing, in one process; each is stored as it ends."""
    missing = missing_seeds(row, seeds, out)
    if not missing:
        return
    if not is_there(row.method):
        console.print(f"{row.name}: the method is not there")
        return

    def keep(run: dict[str, Any]) -> None:
        append_run(row.problem, run, out)
        console.print(f"{row.name} seed {run['seed']}: {in_words(run)}")

    arguments = [row.problem.name, row.method, row.budget, *map(str, missing)]
    if error := run_streamed("benchmarks.multimodal.single_runs", arguments, keep):
        console.print(f"[red]{row.name} failed:[/red] {error}")


def in_words(run: dict[str, Any]) -> str:
    """What came of a run."""
    if "cannot" in run:
        return f"cannot run: {run['cannot']}"
    ways = f"ways {run['labels']}, {run['clusters']} by curve"
    return f"{ways}, success {run['success']:.2f}, return {run['return']:.2f}, {run['seconds']:.0f} s"


def run_rows(rows: Sequence[Row], options: Options, console: Console) -> None:
    """Run what is missing of the rows, some side by side. Ctrl-C begins no more."""
    seeds = seeds_of(options.seeds)
    run_until(lambda row: run_row(row, seeds, options.out, console), rows, jobs=options.jobs, hours=options.hours)


def listed(out: Path) -> dict[str, Any]:
    """The problems and methods, and what is stored."""
    return {
        "problems": [
            {"problem": problem.name, "ways": problem.ways, **problem.setting, "runs": len(stored_runs(problem, out))}
            for problem in PROBLEMS.values()
        ],
        "methods": {method: is_there(method) for method in METHODS},
    }


def write_tables(path: Path, out: Path) -> None:
    """The tables, between the marks of the file."""
    write_table(path, "multimodal", ("problem", "ways", *METHODS), matrix_rows(out))
    for budget in BUDGETS:
        rows = [table_row(row, out) for row in every_row() if row.budget == budget]
        write_table(path, f"multimodal_{budget}", HEADINGS, rows)


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    console = Console(stderr=True, highlight=False)
    answer: Any = None
    if options.row:
        run_rows([found_row(name) for name in options.row], options, console)
    if options.all:
        run_rows(every_row(), options, console)
    if options.table is not None:
        write_tables(options.table, options.out)
    if options.picture is not None:
        from benchmarks.multimodal.picture import draw

        draw(options.picture, options.out)
    if options.list:
        answer = listed(options.out)
    if options.summary:
        answer = summary(options.out)
    if answer is not None:
        print(json.dumps(answer) if options.json else json.dumps(answer, indent=1))


if __name__ == "__main__":
    main()
