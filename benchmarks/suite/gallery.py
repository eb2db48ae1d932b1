"""The gallery of tasks: a row for each, with the first and the last moment of a stored solution, and a clip of it."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np

from benchmarks.processes import write_table
from benchmarks.suite.families import FAMILIES
from benchmarks.suite.solving import Replay, replayed
from benchmarks.suite.store import RESULTS, stored_solution
from benchmarks.suite.suite_task import SuiteTask
from diffsim.render import side_by_side, write_video
from tasks import find_task
from tasks.task_renderer import TaskRenderer

PAGE = Path("docs/gallery.md")
PICTURES = Path("docs/images/gallery")
WIDTH, HEIGHT = 240, 180
CLIP_FRAMES, CLIP_SECONDS = 48, 4.0  # of a clip, at most, and how long it plays
STRIP = ("Detour", "FoldSheet", "PlasticineRollingPin", "HandFlip", "ScoopSand", "PandaPickPlace")
"""Whose last moments stand side by side at the head of the README."""
HEADINGS = ("task", "start and end", "what", "starts and goals", "success", "ways", "solved by")


def draw(replay: Replay, path: Path) -> None:
    """The first and the last moment side by side, and a clip of all moments under the same name.

    Raises:
        RuntimeError: the solution does not succeed any more, as when the task has changed since.
    """
    task = replay.task
    if not replay.success:
        raise RuntimeError(f"the stored solution of {task.name} fails: python -m benchmarks.suite --solve {task.name}")
    renderer = TaskRenderer(task, WIDTH, HEIGHT)
    count = min(CLIP_FRAMES, len(replay.episodes))
    moments = np.linspace(0, len(replay.episodes) - 1, count).round().astype(int)
    frames = [renderer.frame(replay.episodes[moment]) for moment in moments]
    path.parent.mkdir(parents=True, exist_ok=True)
    iio.imwrite(path, side_by_side([frames[0], frames[-1]]), quality=88)
    write_video(path.with_suffix(".webm"), frames, fps=count / CLIP_SECONDS)


def section(documentation: str, heading: str) -> str:
    """The text under one of a docstring's headings, in one line."""
    text = textwrap.dedent("    " + documentation)
    found = re.search(rf"^{heading}:(.*?)(?=^\S[\w ]*:|\n\s*\n|\Z)", text, flags=re.MULTILINE | re.DOTALL)
    return " ".join(found[1].split()).replace("|", "\\|") if found else ""


def row(task: SuiteTask, folder: Path = RESULTS) -> tuple[str, ...]:
    """A task's row."""
    kind, stored = find_task(task.name), stored_solution(task, folder)
    documentation = kind.__doc__ or ""
    path = PICTURES / f"{task.name}.jpg"
    picture = ""
    if (PAGE.parents[1] / path).exists():
        picture = f"![{task.name}]({path.relative_to(PAGE.parent)})"
        if path.with_suffix(".webm").exists():
            picture = f"[{picture}]({path.with_suffix('.webm').relative_to(PAGE.parent)})"
    ways = f"{task.ways}: {', '.join(kind.outcome_names)}" if task.ways > 1 else "1"
    cells = (section(documentation, heading) for heading in ("Task", "Randomisation", "Success"))
    return (f"`{task.name}`", picture, *cells, ways, solved_by(stored, task) if stored else f"not yet. {task.unsolved}".strip())


def solved_by(stored: dict[str, Any], task: SuiteTask) -> str:
    """Who solved it, in how long."""
    found = len(stored["solutions"])
    ways = f", {found} ways" if found > 1 else ""
    if stored["method"] == "script":
        return f"a script{ways}. {f'Methods: {task.unsolved}' if task.unsolved else ''}".strip()
    return f"{stored['method']}{ways}, {stored['seconds']:.0f} s, {stored['simulator_steps']} steps"


def write_gallery(*, only: str = "", pictures: bool = True, folder: Path = RESULTS) -> None:
    """Draw the stored solutions, and write the tables of the page between its marks.

    Raises:
        RuntimeError: some solutions do not succeed any more; all others are drawn.
    """
    failures = []
    for name, family in FAMILIES.items():
        for task in family:
            stored = stored_solution(task, folder)
            if pictures and stored and only in ("", task.name):
                try:
                    draw(replayed(task, stored), PICTURES / f"{task.name}.jpg")
                except RuntimeError as error:
                    failures.append(str(error))
        write_table(PAGE, f"gallery_{name}", HEADINGS, [row(task, folder) for task in family])
    if all((PICTURES / f"{name}.jpg").exists() for name in STRIP):
        write_strip()
    if failures:
        raise RuntimeError("; ".join(failures))


def write_strip() -> None:
    """The picture at the head of the README, of pictures of the gallery."""
    ends = [iio.imread(PICTURES / f"{name}.jpg")[:, -WIDTH:] for name in STRIP]
    iio.imwrite(PICTURES.parent / "strip.jpg", np.concatenate(ends, axis=1), quality=90)
