"""Sizes of the viewer's pages, and what writing one costs.

    python -m benchmarks.viewer_pages [--json] [--table docs/viewer.md]

Of each task the stored solutions of the suite, four at most, side by side: processor time on one thread with compiled
kernels, of which replaying the episodes is a part, without and with the arrows of forces and gradients.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from rich.console import Console

from benchmarks import processes
from benchmarks.suite.families import TASKS
from benchmarks.suite.store import stored_solution
from rpg import Mode
from tasks import Task, find_task
from tasks.mode_video import MAX_PANELS

SHOWN = ("ThreeWayPush", "PandaReach", "Detour", "FoldSheet", "PourLiquid", "PlasticineRollingPin")
HEADINGS = ("task", "solutions", "steps", "particles", "MB", "s", "MB with arrows", "s with arrows", "left out")


@dataclass(frozen=True)
class Options:
    """Which tasks, and what to do with the numbers."""

    tasks: tuple[str, ...] = SHOWN
    table: Path | None = None
    """Markdown file for the table."""
    json: bool = False
    """Print one JSON object on the last line."""


@dataclass(frozen=True)
class Page:
    """What one page took."""

    megabytes: float
    seconds: float
    left_out: str


def stored_modes(name: str) -> tuple[Task, list[Mode]]:
    """A task at its full setting, as wide as its stored solutions need, and those."""
    stored = stored_solution(TASKS[name])
    if stored is None:
        raise SystemExit(f"no solution of {name} is stored: python -m benchmarks.suite --solve {name}")
    solutions = stored["solutions"][:MAX_PANELS]
    task = find_task(name)(1 + max(solution["environment"] for solution in solutions), **stored["parameters"])
    return task, [_mode(solution, len(solutions)) for solution in solutions]


def written(task: Task, modes: list[Mode], path: Path, *, arrows: bool) -> Page:
    """One page; the time is that of a second writing, as the first one compiles."""
    said: list[str] = []
    for _ in range(2):
        said.clear()
        begun = time.process_time()
        task.write_viewer_page(modes, path, arrows=arrows, say=said.append)
        seconds = time.process_time() - begun
    return Page(round(path.stat().st_size / 1e6, 1), round(seconds, 1), "; ".join(said))


def row(name: str) -> tuple[tuple[str, ...], dict[str, Any]]:
    """A task's row, and the same as values."""
    task, modes = stored_modes(name)
    with tempfile.TemporaryDirectory() as folder:
        plain = written(task, modes, Path(folder) / "plain.html", arrows=False)
        full = written(task, modes, Path(folder) / "full.html", arrows=True)
    sizes = [f"{value:g}" for page in (plain, full) for value in (page.megabytes, page.seconds)]
    counts = (str(len(modes)), str(task.horizon), str(task.sim.num_particles))
    return (f"`{name}`", *counts, *sizes, full.left_out), {"plain": asdict(plain), "arrows": asdict(full)}


def main(options: Options) -> None:
    torch.set_num_threads(1)
    found = {name: row(name) for name in options.tasks}
    rows = [cells for cells, _ in found.values()]
    processes.print_table(HEADINGS, rows, Console(stderr=True, highlight=False), options.table, "viewer_pages")
    if options.json:
        print(json.dumps({name: values for name, (_, values) in found.items()}))


def _mode(solution: dict[str, Any], count: int) -> Mode:
    """A stored solution as a run would show it."""
    return Mode(
        outcome=solution["outcome"],
        name=solution["name"],
        latent=0,
        latents=(0,),
        probability=1.0 / count,
        episode_return=solution["return"],
        success=solution["success"],
        shown_return=solution["return"],
        actions=np.array(solution["actions"], dtype=np.float64),
        observations=np.zeros((0, 0)),
        environment=solution["environment"],
        seed=solution["seed"],
    )


if __name__ == "__main__":
    os.environ.setdefault("DIFFSIM_NUM_THREADS", "1")
    main(tyro.cli(Options, description=__doc__))
