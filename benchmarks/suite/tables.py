"""What the stored results say: a count, the tables, and whether the claims hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

from benchmarks.suite.families import CLOSED_LOOP, TASKS
from benchmarks.suite.methods import COMPARED, ON_FOUR, SINGLE_MODE, methods_of
from benchmarks.suite.store import RESULTS, stored_runs, stored_solution
from benchmarks.suite.suite_task import SuiteTask

SEEDS = 5
FIRST_SEED = 100  # settings were chosen on seeds below
HEADINGS = (
    "task",
    "method",
    "seeds that succeed",
    "normalised score",
    "return",
    "ways, seed by seed",
    "steps",
    "with backward",
    "s a run (processor)",
    "peak MiB",
)

Run = Mapping[str, Any]
Rows = dict[tuple[str, str], list[Run]]


class Claim(NamedTuple):
    """Something that the suite is expected to show."""

    text: str
    asked: int
    holds_on: list[str]
    unknown: int
    """Tasks whose rows are not complete."""

    @property
    def verdict(self) -> str:
        """In words."""
        undecided = f"not decided, {self.unknown} tasks are not complete" if self.unknown else "FAILED"
        word = "holds" if len(self.holds_on) >= self.asked else undecided
        return f"{word}: {self.text}: {len(self.holds_on)} tasks, asked {self.asked} ({', '.join(self.holds_on) or 'none'})"


def compared_tasks() -> list[SuiteTask]:
    """The core set."""
    return [task for task in TASKS.values() if task.compared]


def seeds_of(count: int = SEEDS) -> range:
    """The seeds that rows are made of."""
    return range(FIRST_SEED, FIRST_SEED + count)


def rows_of(tasks: Sequence[SuiteTask], seeds: int = SEEDS, folder: Path = RESULTS) -> Rows:
    """The runs of each task and method that have any, by seed."""
    rows: Rows = {}
    for task in tasks:
        runs: dict[tuple[str, int], Run] = {**stored_runs(task, folder)}
        for method in (*COMPARED, *ON_FOUR):
            own = [runs[method, seed] for seed in seeds_of(seeds) if (method, seed) in runs]
            if own:
                rows[task.key, method] = own
    return rows


def succeeded(runs: Sequence[Run]) -> float:
    """The share of runs whose solution succeeds from at least half of the held-out first states."""
    return mean(float(run["success"] >= 0.5) for run in runs)


def ways(runs: Sequence[Run]) -> float:
    """The median over seeds of the number of distinct ways found."""
    return median(len(run["ways"]) for run in runs)


def normalised(rows: Rows, key: str, runs: Sequence[Run]) -> float:
    """The mean return on a scale where doing nothing is 0 and the best run of any method 1."""
    best = max(run["return"] for (task, _), own in rows.items() if task == key for run in own)
    idle = runs[0]["idle_return"]
    return mean((run["return"] - idle) / (best - idle) if best > idle else 0.0 for run in runs)


def complete(rows: Rows, task: SuiteTask, method: str) -> bool:
    """Whether all seeds of a row are there."""
    return len(rows.get((task.key, method), ())) >= SEEDS


def claims(rows: Rows) -> list[Claim]:
    """What RPG is expected to show against methods with a single mode; on tasks whose rows are complete."""
    several, only, unknown = [], [], 0
    for task in compared_tasks():
        single = [method for method in methods_of(task) if method in SINGLE_MODE]
        if task.ways < 2:
            continue
        if not all(complete(rows, task, method) for method in ("rpg", *single)):
            unknown += 1
            continue
        of = {method: rows[task.key, method] for method in ("rpg", *single)}
        if ways(of["rpg"]) >= 2 and all(ways(of[method]) <= 1 for method in single):
            several.append(task.key)
        if succeeded(of["rpg"]) >= 0.9 and all(succeeded(of[method]) <= 0.3 for method in single):
            only.append(task.key)
    return [
        Claim(
            "RPG finds at least two ways (median of seeds) where every single-mode method finds at most one",
            8,
            several,
            unknown,
        ),
        Claim("RPG succeeds in 90% of seeds where every single-mode method succeeds in at most 30%", 4, only, unknown),
    ]


def summary(folder: Path = RESULTS) -> dict[str, int]:
    """The counts that ``--summary --json`` prints."""
    core = compared_tasks()
    rows = rows_of(core, folder=folder)
    wanted = [(task, method) for task in core for method in methods_of(task)]
    done = sum(complete(rows, task, method) for task, method in wanted)
    several, only = claims(rows)
    return {
        "tasks": len(TASKS),
        "solved": sum(stored_solution(task, folder) is not None for task in TASKS.values()),
        "tasks_with_ways": sum(task.ways >= 2 for task in TASKS.values()),
        "rpg_two_ways": len(several.holds_on),
        "rpg_only": len(only.holds_on),
        "rows": done,
        "missing": len(wanted) - done,
    }


def against_restarts(rows: Rows, tasks: Sequence[SuiteTask]) -> str:
    """Who wins, task by task: by success, then ways, then return, if they differ by a run, half a way and 2%."""
    won: dict[str, list[str]] = {"RPG": [], "restarts": [], "neither": []}
    for task in tasks:
        own, other = rows.get((task.key, "rpg")), rows.get((task.key, "multistart"))
        if not own or not other:
            continue
        margins = (
            (succeeded(own) - succeeded(other), 1.0 / SEEDS - 1e-9),
            (ways(own) - ways(other), 0.5),
            (normalised(rows, task.key, own) - normalised(rows, task.key, other), 0.02),
        )
        decided = next((difference for difference, least in margins if abs(difference) >= least), 0.0)
        won["RPG" if decided > 0 else "restarts" if decided < 0 else "neither"].append(task.key)
    return "; ".join(f"{name} {len(found)} ({', '.join(found) or 'none'})" for name, found in won.items())


def long_rows(rows: Rows, seeds: int = SEEDS) -> list[tuple[str, ...]]:
    """A line for each task and method."""
    return [
        (
            key,
            method,
            f"{sum(run['success'] >= 0.5 for run in runs)}/{len(runs)}",
            f"{normalised(rows, key, runs):.2f}",
            f"{mean(run['return'] for run in runs):.2f}",
            " ".join(str(len(run["ways"])) for run in runs),
            str(runs[0]["simulator_steps"]),
            str(runs[0]["backward_steps"]),
            f"{mean(run['processor_seconds'] for run in runs):.0f}",
            str(max(run["peak_mib"] for run in runs)),
        )
        for (key, method), runs in rows.items()
    ]


def matrix_rows(rows: Rows, tasks: Sequence[SuiteTask], methods: Sequence[str]) -> list[tuple[str, ...]]:
    """A line for each task: in each method's column the share of seeds that succeed, and the median number of ways."""

    def cell(task: SuiteTask, method: str) -> str:
        runs = rows.get((task.key, method))
        if runs is None:
            return "not run" if method in methods_of(task) else ""
        short = "" if len(runs) >= SEEDS else f" ({len(runs)} seeds)"
        return f"{succeeded(runs):.0%}, {ways(runs):g}{short}"

    return [(task.key, str(task.ways), *(cell(task, method) for method in methods)) for task in tasks]


def every_row() -> list[tuple[SuiteTask, str]]:
    """All rows that the comparison wants, the closed-loop ones last."""
    return [(task, method) for task in (*compared_tasks(), *CLOSED_LOOP.values()) for method in methods_of(task)]
