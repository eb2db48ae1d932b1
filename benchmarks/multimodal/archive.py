"""Quality and diversity in one number: the best episode of each cell of a grid, and the sum of their scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.multimodal.clusters import midpoint
from benchmarks.multimodal.problems import CELLS, Problem

Array = NDArray[np.float64]


class Played(NamedTuple):
    """N episodes that a method offers as its solutions."""

    paths: list[Array]
    """Curves (T+1, D)."""
    success: NDArray[np.bool_]
    """(N,)."""
    outcome: NDArray[np.int64]
    """(N,), -1 for none."""
    returns: Array
    """(N,)."""


def first(played: Played, count: int) -> Played:
    """The first episodes."""
    return Played(played.paths[:count], played.success[:count], played.outcome[:count], played.returns[:count])


def joined(parts: Sequence[Played]) -> Played:
    """All episodes of several."""
    return Played(
        paths=[path for each in parts for path in each.paths],
        success=np.concatenate([each.success for each in parts]),
        outcome=np.concatenate([each.outcome for each in parts]),
        returns=np.concatenate([each.returns for each in parts]),
    )


def measures(problem: Problem, paths: list[Array]) -> Array:
    """(N, 2) what the archive files curves by."""
    points = [midpoint(path) if problem.measure == "middle" else path[-1] for path in paths]
    return np.stack(points)[:, list(problem.measured)]


def cells(problem: Problem, points: Array) -> NDArray[np.int64]:
    """(N,) the cells of points (N, 2) in a grid over the problem's bounds; points beyond belong to the cell next to them."""
    low, high = np.array(problem.bounds).T
    place = np.clip((points - low) / (high - low) * CELLS, 0, CELLS - 1).astype(np.int64)
    return place[:, 0] * CELLS + place[:, 1]


def qd_score(problem: Problem, played: Played) -> float:
    """Sum over filled cells of the best score in each, `Problem.scores`; at most the number of cells."""
    best = np.zeros(CELLS * CELLS)
    np.maximum.at(best, cells(problem, measures(problem, played.paths)), problem.scores(played.returns))
    return float(best.sum())
