"""Plots: of a run, its learning curves and its distinct solutions; of several, curves with bands over seeds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rpg.training.evaluation import LatentEvaluation
from rpg.training.metrics import IterationMetrics
from rpg.training.modes import Mode

_COLOURS = ("#3b6fb6", "#e08a2e", "#4f9d69", "#b5517f", "#7a68b3", "#8c6d4f", "#3aa6a6", "#c2a83e")
_FAILED = "#b9b9b9"
_INK = "#333333"


def plot_run(
    path: Path,
    history: Sequence[IterationMetrics],
    evaluations: Sequence[LatentEvaluation],
    modes: Sequence[Mode],
    *,
    title: str = "",
) -> None:
    """Write a PNG of four panels: return, success, pi(z) over the run, and the modes at its end.

    Latents are coloured by the mode they belong to, grey where they failed. Raises ValueError if `history` is
    empty.
    """
    if not history:
        raise ValueError("history was given 0 iterations; expected at least 1")
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(11, 7), layout="constrained")
        FigureCanvasAgg(figure)  # a figure of its own: pyplot's backend and figures are the user's
        axes = figure.subplots(2, 2)
        if title:
            figure.suptitle(title, fontsize=12)
        colours = {z: _COLOURS[i % len(_COLOURS)] for i, mode in enumerate(modes) if mode.success >= 0.5 for z in mode.latents}
        _plot_return(axes[0, 0], history)
        _plot_success(axes[0, 1], history)
        _plot_latents(axes[1, 0], history, evaluations, modes, colours)
        _plot_modes(axes[1, 1], modes, colours)
        for axis in (axes[0, 0], axes[0, 1], axes[1, 0]):
            axis.set_xlabel("simulator steps")
            axis.ticklabel_format(axis="x", style="sci", scilimits=(0, 4), useMathText=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120)


def plot_curves(path: Path, curves: Mapping[str, tuple[np.ndarray, np.ndarray]], *, metric: str, title: str = "") -> None:
    """Write a PNG of learning curves by their label: steps (P,) and values (R, P) of R runs, as the median and the band between
    the lowest and the highest quarter."""
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        FigureCanvasAgg(figure)
        axis = figure.subplots()
        for number, (label, (steps, values)) in enumerate(curves.items()):
            colour, style = _COLOURS[number % len(_COLOURS)], ("-", "--", ":", "-.")[number // len(_COLOURS) % 4]
            low, middle, high = np.quantile(values, (0.25, 0.5, 0.75), axis=0)
            axis.plot(steps, middle, style, color=colour, lw=1.6, label=f"{label} ({len(values)})")
            axis.fill_between(steps, low, high, color=colour, alpha=0.15, lw=0)
        axis.set_xlabel("simulator steps")
        axis.set_ylabel(metric)
        axis.set_title(title or "median and quartiles over seeds (their number)", loc="left")
        axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120, format="png")


def _column(history: Sequence[IterationMetrics], name: str) -> np.ndarray:
    return np.array([getattr(row, name) for row in history], dtype=float)


def _plot_return(axis: Any, history: Sequence[IterationMetrics]) -> None:
    steps = _column(history, "simulator_steps")
    axis.plot(
        steps,
        _column(history, "return_best"),
        color=_COLOURS[1],
        lw=1.2,
        label="best latent in the batch",
    )
    axis.plot(steps, _column(history, "return_mean"), color=_COLOURS[0], lw=1.8, label="batch mean")
    axis.set_title("return", loc="left")
    axis.legend(frameon=False, loc="lower right")


def _plot_success(axis: Any, history: Sequence[IterationMetrics]) -> None:
    steps = _column(history, "simulator_steps")
    axis.plot(steps, _column(history, "success"), color=_COLOURS[2], lw=1.8)
    axis.set_ylim(-0.03, 1.03)
    axis.set_ylabel("fraction of the batch", color=_COLOURS[2])
    axis.set_title("success and distinct successful outcomes", loc="left")
    counts = axis.twinx()
    counts.step(steps, _column(history, "distinct_outcomes"), color=_COLOURS[3], lw=1.0, where="post")
    counts.set_ylim(-0.03 * 4, max(4, _column(history, "distinct_outcomes").max()) * 1.03)
    counts.yaxis.get_major_locator().set_params(integer=True)
    counts.set_ylabel("distinct outcomes", color=_COLOURS[3])
    counts.spines["right"].set_visible(True)


def _plot_latents(
    axis: Any,
    history: Sequence[IterationMetrics],
    evaluations: Sequence[LatentEvaluation],
    modes: Sequence[Mode],
    colours: dict[int, str],
) -> None:
    probs = np.array([row.latent_probs for row in history])
    if probs.shape[1] != len(evaluations):  # a continuous latent, a sequence, or none at all
        axis.plot(_column(history, "simulator_steps"), _column(history, "objective"), color=_COLOURS[0], lw=1.8)
        axis.set_title("what is maximised", loc="left")
        return
    if len(history) == 1:  # an area needs two points
        probs = np.repeat(probs, 2, axis=0)
    steps = np.linspace(0, history[-1].simulator_steps, len(probs))
    ranks = {z: rank for rank, mode in enumerate(modes) for z in mode.latents}
    ordered = sorted(evaluations, key=lambda e: (e.latent not in colours, ranks.get(e.latent, len(modes)), e.latent))
    shades = [colours.get(e.latent, _FAILED) for e in ordered]
    axis.stackplot(
        steps,
        *(probs[:, e.latent] for e in ordered),
        colors=shades,
        edgecolor="white",
        linewidth=0.8,
        alpha=0.9,
    )
    bottom = 0.0
    for e in ordered:
        share = probs[-1, e.latent]
        if share > 0.04:
            axis.text(
                steps[-1] * 0.99,
                bottom + share / 2,
                f"z{e.latent}",
                ha="right",
                va="center",
                color="white",
                fontsize=8,
            )
        bottom += share
    axis.set_xlim(0, steps[-1])
    axis.set_ylim(0, 1)
    axis.set_title("π(z) over the run, coloured by final outcome (grey: failed)", loc="left")


def _plot_modes(axis: Any, modes: Sequence[Mode], colours: dict[int, str]) -> None:
    positions = np.arange(len(modes))
    axis.barh(
        positions,
        [m.probability for m in modes],
        color=[colours.get(m.latent, _FAILED) for m in modes],
        height=0.6,
    )
    for position, mode in zip(positions, modes, strict=True):
        text = f"p {mode.probability:.2f}   return {mode.episode_return:.4g}   success {mode.success:.0%}"
        axis.text(0.01, position - 0.4, f"{text}   (z{mode.latent})", va="bottom", color=_INK)
    axis.set_yticks(positions, [m.name for m in modes])
    axis.set_ylim(max(3, len(modes)) - 0.4, -0.6)
    axis.set_xlim(0, 1)
    axis.set_xlabel("probability under π(z)")
    solved = sum(mode.success >= 0.5 for mode in modes)
    axis.set_title(f"distinct solutions: {solved}" + ("" if solved else " (failures shown)"), loc="left")
