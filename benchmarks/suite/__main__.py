"""The task suite: every task solved at its full setting, and methods compared on a core of them.

    python -m benchmarks.suite --list --json                    # the tasks, and what is stored of each
    python -m benchmarks.suite --row TASK:METHOD --seeds 5      # runs of one method on one task, at the bench setting
    python -m benchmarks.suite --all --jobs 2 --hours 8         # every row that is missing; stops and resumes at any moment
    python -m benchmarks.suite --summary --json                 # counts from the stored results; runs nothing
    python -m benchmarks.suite --tables docs/suite.md           # the tables, from the stored results
    python -m benchmarks.suite --published AntRun:sapo          # one of Rewarped's tasks at the published setting
    python -m benchmarks.suite --solve TASK [--method adam]     # a solution at the full setting
    python -m benchmarks.suite --check all                      # check-task and Gymnasium's checker on every task
    python -m benchmarks.suite --replay --json                  # whether every stored solution still succeeds
    python -m benchmarks.suite --gallery                        # docs/gallery.md, with a picture of each stored solution

Results are written as they come, as lines of JSON, into benchmarks/results/. A run that is stored is not repeated.
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

from benchmarks.processes import print_table, run_streamed, run_until, write_table
from benchmarks.suite import published
from benchmarks.suite.checking import checked, checks_in_words, stored_check
from benchmarks.suite.families import CLOSED_LOOP, TASKS
from benchmarks.suite.methods import COMPARED, ON_CLOSED_LOOP, ON_FOUR, methods_of
from benchmarks.suite.store import RESULTS, append_run, stored_runs, stored_solution
from benchmarks.suite.suite_task import SuiteTask
from benchmarks.suite.tables import (
    HEADINGS,
    SEEDS,
    against_restarts,
    claims,
    compared_tasks,
    every_row,
    long_rows,
    matrix_rows,
    rows_of,
    seeds_of,
    summary,
)


@dataclass(frozen=True)
class Options:
    """What to do."""

    list: bool = False
    """The tasks."""
    row: tuple[str, ...] = ()
    """Rows to run, as TASK:METHOD."""
    all: bool = False
    """Run every row that is missing."""
    published: tuple[str, ...] = ()
    """Rewarped's tasks to run at the published setting, as TASK:METHOD (shac or sapo); with --iterations, a part of it."""
    solve: tuple[str, ...] = ()
    """Tasks to solve at their full setting."""
    gallery: bool = False
    """Write docs/gallery.md."""
    check: tuple[str, ...] = ()
    """Tasks to check with `check-task` and Gymnasium's checker; "all" of them."""
    replay: bool = False
    """Play all stored solutions again, and say which fail."""
    summary: bool = False
    """Counts from the stored results."""
    tables: Path | None = None
    """Markdown file for the tables."""
    json: bool = False
    """Print JSON on the last line."""
    seeds: int = SEEDS
    """Seeds of a row, from 100 on."""
    method: str = ""
    """Of --solve, in place of the task's own."""
    seed: int = 0
    """Of --solve."""
    iterations: int = 0
    """Of --solve and --published, in place of their own."""
    only: str = ""
    """Of --gallery: draw this task alone."""
    jobs: int = os.cpu_count() or 1
    """Processes side by side."""
    hours: float = float("inf")
    """Of --all: begin no row after this time."""
    out: Path = RESULTS
    """Folder of the results."""


def found_task(key: str) -> SuiteTask:
    """A task by what tables call it; ends the program with the names if there is none."""
    known = {**TASKS, **CLOSED_LOOP}
    if key not in known:
        raise SystemExit(f"there is no task '{key}' in the suite; tasks: {', '.join(known)}")
    return known[key]


def run_row(task: SuiteTask, method: str, seeds: Sequence[int], out: Path, console: Console) -> None:
    """Run the seeds of a row that are missing, in one process; each is stored as it ends."""
    missing = [str(seed) for seed in seeds if (method, seed) not in stored_runs(task, out)]
    if not missing:
        return

    def keep(run: dict[str, Any]) -> None:
        append_run(task, run, out)
        console.print(
            f"{task.key}:{method} seed {run['seed']}: success {run['success']:.2f}, ways {run['ways']}, "
            f"return {run['return']:.2f}, {run['seconds']:.0f} s"
        )

    if error := run_streamed("benchmarks.suite.single_runs", [task.key, method, *missing], keep):
        console.print(f"[red]{task.key}:{method} failed:[/red] {error}")


def run_rows(rows: Sequence[tuple[SuiteTask, str]], options: Options, console: Console) -> None:
    """Run what is missing of the rows, some side by side. Ctrl-C begins no more."""
    seeds = seeds_of(options.seeds)
    run_until(lambda row: run_row(*row, seeds, options.out, console), rows, jobs=options.jobs, hours=options.hours)


def listed(out: Path) -> list[dict[str, Any]]:
    """The tasks, and what is stored of each."""
    entries = []
    for task in TASKS.values():
        runs, solution = stored_runs(task, out), stored_solution(task, out)
        entries.append(
            {
                "task": task.name,
                "ways": task.ways,
                "compared": task.compared,
                "bench": task.bench_setting,
                "methods": list(methods_of(task)) if task.compared else [],
                "runs": len(runs),
                "solved_by": solution["method"] if solution else None,
                "solutions": len(solution["solutions"]) if solution else 0,
                "checks": checks_in_words(stored_check(task, out)),
            }
        )
    return entries


def checks(names: Sequence[str], out: Path, console: Console) -> dict[str, dict[str, Any]]:
    """What the checkers say of tasks, stored as it comes."""
    answers = {}
    for name in names:
        found = answers[name] = checked(found_task(name), out)
        console.print(f"{name}: {checks_in_words(found)}")
    return answers


def replays(out: Path, console: Console) -> dict[str, bool]:
    """Whether every stored solution of each task still succeeds, and goes the way that it went."""
    from benchmarks.suite.solving import replayed

    answers = {}
    for task in TASKS.values():
        stored = stored_solution(task, out)
        if stored is None:
            continue
        again = [(replayed(task, stored, number), each) for number, each in enumerate(stored["solutions"])]
        answers[task.name] = all(replay.success and replay.outcome == each["outcome"] for replay, each in again)
        console.print(f"{task.name}: {'holds' if answers[task.name] else '[red]FAILS[/red]'}")
    return answers


def write_tables(path: Path, out: Path, console: Console) -> None:
    """The tables and the verdicts on the claims, between the marks of the file."""
    core, loops = compared_tasks(), list(CLOSED_LOOP.values())
    rows, closed = rows_of(core, folder=out), rows_of(loops, folder=out)
    methods = (*COMPARED, *ON_FOUR)
    write_table(path, "suite", ("task", "ways", *methods), matrix_rows(rows, core, methods))
    write_table(path, "suite_closed_loop", ("task", "ways", *ON_CLOSED_LOOP), matrix_rows(closed, loops, ON_CLOSED_LOOP))
    verdicts = [(claim.verdict,) for claim in claims(rows)]
    verdicts += [(f"RPG against restarts: {against_restarts(rows, core)}",)]
    verdicts += [(f"the same closed-loop: {against_restarts(closed, loops)}",)]
    write_table(path, "suite_published", published.HEADINGS, published.table_rows(out))
    write_table(path, "suite_claims", ("claim",), verdicts)
    write_table(path, "suite_runs", HEADINGS, long_rows({**rows, **closed}))
    print_table(("claim",), verdicts, console, None, "claims")


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    console = Console(stderr=True, highlight=False)
    answer: Any = None
    for name in options.solve:
        from benchmarks.suite.solving import solve

        found = solve(
            found_task(name), method=options.method, seed=options.seed, iterations=options.iterations, folder=options.out
        )
        answer = {**found, "solutions": [{**each, "actions": len(each["actions"])} for each in found["solutions"]]}
        console.print(f"{name}: {len(found['solutions'])} solutions by {found['method']} in {found['seconds']} s")
    for row in options.published:
        name, _, method = row.partition(":")
        answer = published.run_published(name, method, iterations=options.iterations, folder=options.out)
        console.print(f"{row}: return {answer['return']:.1f} after {answer['hours']:.2f} h")
    if options.row:
        wanted = [row.partition(":") for row in options.row]
        run_rows([(found_task(key), method) for key, _, method in wanted], options, console)
    if options.all:
        run_rows(every_row(), options, console)
    if options.tables is not None:
        write_tables(options.tables, options.out, console)
    if options.gallery:
        from benchmarks.suite.gallery import write_gallery

        write_gallery(only=options.only, folder=options.out)
    if options.check:
        answer = checks(tuple(TASKS) if options.check == ("all",) else options.check, options.out, console)
    if options.replay:
        answer = replays(options.out, console)
    if options.list:
        answer = listed(options.out)
    if options.summary:
        answer = summary(options.out)
    if answer is not None:
        print(json.dumps(answer) if options.json else json.dumps(answer, indent=1))


if __name__ == "__main__":
    main()
