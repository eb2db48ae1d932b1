"""The picture of runs in the maze: coverage over steps, and when each cell was first visited."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from rpg.environments.gap_maze import CELLS, HALF, wall_segments

_COLOURS = ("#3b6fb6", "#e08a2e", "#4f9d69", "#b5517f", "#7a68b3", "#8c6d4f", "#3aa6a6", "#c2a83e")


def draw_maze_runs(path: Path, steps: np.ndarray, curves: Mapping[str, np.ndarray], visits: Mapping[str, np.ndarray]) -> None:
    """Write a PNG: `curves` (R, P) of R runs over `steps` (P,) by arm, mean and range over runs; and of one run of each arm the
    cells (10, 10), coloured by when they were first visited, in thousand steps, nan for never, with the walls."""
    with matplotlib.rc_context({"font.size": 9}):
        figure = Figure(figsize=(12, 6.2), layout="constrained")
        FigureCanvasAgg(figure)  # a figure of its own: pyplot's backend and figures are the user's
        left, right = figure.subfigures(1, 2, width_ratios=(1, 1.15))  # type: ignore[misc]
        axis = left.subplots()
        for colour, (arm, values) in zip(_COLOURS, curves.items(), strict=False):
            axis.plot(steps / 1000, values.mean(0), color=colour, lw=1.8, label=f"{arm} ({len(values)})")
            axis.fill_between(steps / 1000, values.min(0), values.max(0), color=colour, alpha=0.15, lw=0)
        axis.set(xlabel="thousand steps", ylabel="fraction of the cells visited", ylim=(0, 1), xlim=(0, steps[-1] / 1000))
        axis.set_title("mean and range over seeds (their number)", loc="left")
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, loc="upper left", ncols=2, fontsize=8)
        columns = min(3, len(visits))
        axes = right.subplots(-(-len(visits) // columns), columns, squeeze=False).flatten()
        for panel in axes[len(visits) :]:
            panel.set_visible(False)
        for panel, (arm, first) in zip(axes, visits.items(), strict=False):
            image = panel.imshow(
                first.T, origin="lower", extent=(-HALF, HALF, -HALF, HALF), cmap="viridis_r", vmin=0, vmax=steps[-1] / 1000
            )
            panel.add_collection(LineCollection(list(wall_segments().numpy()), colors="black", linewidths=1.2))
            panel.set(xticks=(), yticks=())
            panel.set_title(f"{arm}: {np.isfinite(first).sum() / CELLS**2:.2f}", loc="left")
        right.colorbar(image, ax=list(axes[: len(visits)]), label="first visited, thousand steps", shrink=0.6)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
