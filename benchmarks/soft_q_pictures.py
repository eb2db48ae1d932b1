"""The pictures of soft Q-learning: paths to four goals and Q over actions, and success in the hallway over steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rpg.environments.four_goals import ARENA, GOALS, REACHED

_COLOURS = ("#3b6fb6", "#e08a2e", "#4f9d69", "#b5517f")


def _figure(width: float, height: float) -> Figure:
    """One of its own: pyplot's backend and figures are the user's."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw_four_goals(path: Path, paths: Mapping[str, np.ndarray], maps: Mapping[str, np.ndarray]) -> None:
    """Write a PNG: above, episodes (B, T+1, 2) of each arm with the goals; below, Q over the temperature as a function of the
    action, (N, N) on a grid of [-1, 1]^2 by place, less its maximum."""
    with matplotlib.rc_context({"font.size": 9}):
        columns = max(len(paths), len(maps))
        figure = _figure(3.4 * columns, 7.2)
        above, below = figure.subplots(2, columns, squeeze=False)
        for axis in (*above[len(paths) :], *below[len(maps) :]):
            axis.set_visible(False)
        for axis, colour, (arm, episodes) in zip(above, _COLOURS, paths.items(), strict=False):
            for episode in episodes:
                axis.plot(*episode.T, color=colour, lw=0.8, alpha=0.7)
                axis.plot(*episode[-1], "o", color=colour, ms=3)
            for x, y in GOALS:
                axis.add_patch(matplotlib.patches.Circle((x, y), REACHED, fill=False, color="black", lw=0.8))
            axis.set(xlim=(-ARENA, ARENA), ylim=(-ARENA, ARENA), aspect="equal", xlabel="x, m", ylabel="y, m")
            axis.set_title(arm, loc="left")
        image = None
        for axis, (place, values) in zip(below, maps.items(), strict=False):
            image = axis.imshow(
                (values - values.max()).T, origin="lower", extent=(-1, 1, -1, 1), cmap="viridis", vmin=-6, vmax=0
            )
            axis.contour(
                (values - values.max()).T, levels=(-3, -2, -1, -0.5), extent=(-1, 1, -1, 1), colors="white", linewidths=0.7
            )
            axis.set(xlabel="action along x", ylabel="action along y")
            axis.set_title(place, loc="left")
        if image is not None:
            figure.colorbar(image, ax=list(below[: len(maps)]), label="(Q - max Q) / temperature", shrink=0.8)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)


def draw_curves(path: Path, curves: Mapping[str, Sequence[np.ndarray]]) -> None:
    """Write a PNG of success over steps, mean and range over the runs of each arm; a run is (P, 3): steps, success, return."""
    with matplotlib.rc_context({"font.size": 9}):
        figure = _figure(7, 3.4)
        axis = figure.subplots()
        for colour, (arm, runs) in zip(_COLOURS, curves.items(), strict=False):
            points = min(map(len, runs))
            steps, success = runs[0][:points, 0] / 1000, np.stack([run[:points, 1] for run in runs])
            axis.plot(steps, success.mean(0), color=colour, lw=1.8, label=f"{arm} ({len(runs)})")
            axis.fill_between(steps, success.min(0), success.max(0), color=colour, alpha=0.15, lw=0)
        axis.set(xlabel="thousand steps in the hallway", ylabel="success of collected episodes", ylim=(-0.02, 1.02))
        axis.set_title("mean and range over seeds (their number)", loc="left")
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
