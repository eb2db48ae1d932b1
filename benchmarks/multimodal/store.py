"""Stored runs: a file of JSON lines for each problem."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.multimodal.problems import Problem
from benchmarks.processes import append_line, read_lines

RESULTS = Path(__file__).resolve().parents[1] / "results" / "multimodal"
SEEDS = 3
FIRST_SEED = 100  # settings were chosen on seeds below
PICTURED = ("six_goals", "maze_v3")
"""Problems whose curves are kept, those of the first seed."""

Key = tuple[str, str, int]
"""Method, budget, seed."""


def runs_file(problem: Problem, folder: Path = RESULTS) -> Path:
    """Where the runs of a problem are."""
    return folder / f"{problem.name}.jsonl"


def append_run(problem: Problem, run: dict[str, Any], folder: Path = RESULTS) -> None:
    """Add a run."""
    kept = problem.name in PICTURED and run["seed"] == FIRST_SEED and run["budget"] == "steps"
    append_line(runs_file(problem, folder), {name: each for name, each in run.items() if kept or name != "paths"})


def stored_runs(problem: Problem, folder: Path = RESULTS) -> dict[Key, dict[str, Any]]:
    """The runs of a problem at its present setting; the last one counts. A line that was cut off does not."""
    setting = json.loads(json.dumps(problem.setting))
    runs = (run for run in read_lines(runs_file(problem, folder)) if run.get("setting") == setting)
    return {(run["method"], run["budget"], run["seed"]): run for run in runs}
