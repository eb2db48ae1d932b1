"""One picture: what each method offers on two problems, from stored runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from benchmarks.multimodal.methods import METHODS
from benchmarks.multimodal.problems import PROBLEMS
from benchmarks.multimodal.store import FIRST_SEED, PICTURED, RESULTS, stored_runs
from rpg.environments.point_maze import CELL, REACHED, START, WALL, PointMaze
from rpg.environments.six_goals import SixGoals

LIMITS = {"six_goals": (-6.7, 6.7), "maze_v3": (-18.0, 18.0)}


def draw(path: Path, folder: Path = RESULTS) -> None:
    """A row of panels for each problem, a panel for each method: the curves of the first seed, coloured by their own end."""
    columns = len(METHODS)
    figure = Figure(figsize=(1.45 * columns, 3.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(PICTURED), columns, squeeze=False)
    for row, name in enumerate(PICTURED):
        runs = stored_runs(PROBLEMS[name], folder)
        for column, method in enumerate(METHODS):
            axes = panels[row][column]
            _ground(axes, name)
            _curves(axes, runs.get((method, "steps", FIRST_SEED)))
            if row == 0:
                axes.set_title(method, fontsize=9)
        panels[row][0].set_ylabel(name.replace("_", " "), fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _ground(axes: Axes, name: str) -> None:
    """Goals, walls and limits."""
    axes.set_xlim(*LIMITS[name])
    axes.set_ylim(*(LIMITS[name] if name == "six_goals" else LIMITS[name][::-1]))  # y of a maze grows downwards
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    if name == "six_goals":
        for goal in SixGoals().goals().tolist():
            axes.add_patch(Circle(goal, 1.0, color="0.87"))
        return
    maze = PointMaze(1, "v3")
    i, j = maze.layout.cells(START)[0]
    for column, line in maze.layout.cells(WALL):
        axes.add_patch(Rectangle((CELL * (column - i - 0.5), CELL * (line - j - 0.5)), CELL, CELL, color="0.75"))
    for goal in maze.goals().tolist():
        axes.add_patch(Circle(goal, 2 * REACHED, color="tab:green", alpha=0.6))


def _curves(axes: Axes, run: dict[str, Any] | None) -> None:
    """The stored curves, by the direction in which they end; successes come first, and so many are drawn strong."""
    if run is None or "paths" not in run:
        axes.text(0.5, 0.5, "not run", transform=axes.transAxes, ha="center", va="center", fontsize=8, color="0.4")
        return
    good = run["good"]
    for number, path in enumerate(run["paths"]):
        points = np.array(path)
        turn = np.arctan2(points[-1, 1], points[-1, 0]) / (2 * np.pi) % 1.0
        colour = colormaps["hsv"](turn)
        axes.plot(points[:, 0], points[:, 1], lw=1.1, color=colour, alpha=0.9 if number < good else 0.25)
    axes.set_xlabel(f"{len(run['labels'])} of {PROBLEMS[run['problem']].ways}", fontsize=8)
