"""Stored results: a file of JSON lines for the runs of each task, a file of JSON for the solutions of each."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.processes import append_line, read_lines, read_result, write_result
from benchmarks.suite.suite_task import SuiteTask

RESULTS = Path(__file__).resolve().parents[1] / "results"


def file_name(key: str) -> str:
    """A task's key as the name of a file."""
    return re.sub(r"[^A-Za-z0-9]+", "_", key).strip("_")


def runs_file(task: SuiteTask, folder: Path = RESULTS) -> Path:
    """Where the runs of a task are."""
    return folder / "runs" / f"{file_name(task.key)}.jsonl"


def append_run(task: SuiteTask, run: dict[str, Any], folder: Path = RESULTS) -> None:
    """Add a run."""
    append_line(runs_file(task, folder), run)


def stored_runs(task: SuiteTask, folder: Path = RESULTS) -> dict[tuple[str, int], dict[str, Any]]:
    """The runs of a task at its present bench setting, by method and seed; the last one counts. A line that was cut off, and
    runs at another setting, do not."""
    found, setting = {}, json.loads(json.dumps(task.bench_setting))
    for run in read_lines(runs_file(task, folder)):
        if run.get("setting") == setting:
            found[run["method"], run["seed"]] = run
    return found


def solution_file(task: SuiteTask, folder: Path = RESULTS) -> Path:
    """Where the solutions of a task are."""
    return folder / "solutions" / f"{task.name}.json"


def store_solution(task: SuiteTask, solution: dict[str, Any], folder: Path = RESULTS) -> None:
    """Write the solutions of a task."""
    write_result(solution_file(task, folder), solution)


def stored_solution(task: SuiteTask, folder: Path = RESULTS) -> dict[str, Any] | None:
    """The solutions of a task, or None."""
    return read_result(solution_file(task, folder))
