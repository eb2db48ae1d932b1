"""How many ways episodes went, by the curves that they drew: dynamic time warping, average linkage, as DDiffPG counts them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

Array = NDArray[np.float64]
POINTS = 32
"""That curves are resampled to, evenly in time."""


def resampled(path: Array, count: int = POINTS) -> Array:
    """(count, D) points of a curve (T, D), interpolated linearly."""
    places = np.linspace(0.0, len(path) - 1.0, count)
    return np.stack([np.interp(places, np.arange(len(path)), column) for column in path.T], axis=1)


def moving_part(path: Array, near: float) -> Array:
    """A curve (T, D) without what stays within `near` of its end: standing at a goal is no part of the way there."""
    away = np.linalg.norm(path - path[-1], axis=1) > near
    return path[: max(2, int(away.nonzero()[0].max(initial=0)) + 2)]


def distances(paths: Sequence[Array]) -> Array:
    """(N, N) root mean squares of the distance between curves (T, D), once time is warped for them to agree the most."""
    from dtaidistance import dtw_ndim

    series = [np.ascontiguousarray(resampled(path)) for path in paths]
    matrix = np.zeros((len(series), len(series)))
    for i, one in enumerate(series):
        for j in range(i):
            matrix[i, j] = matrix[j, i] = dtw_ndim.distance_fast(one, series[j]) / np.sqrt(POINTS)
    return matrix


def clusters(paths: Sequence[Array], radius: float) -> NDArray[np.int64]:
    """(N,) numbers from 0 on: average-linkage clusters of curves, cut at the distance `radius`; what a curve does within half
    of that from its own end does not count."""
    if len(paths) < 2:
        return np.zeros(len(paths), dtype=np.int64)
    merges = linkage(squareform(distances([moving_part(path, 0.5 * radius) for path in paths]), checks=False), method="average")
    return fcluster(merges, radius, criterion="distance").astype(np.int64) - 1


def midpoint(path: Array) -> Array:
    """(D,) the point at half the length of a curve (T, D)."""
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    length = np.concatenate([[0.0], steps.cumsum()])
    return np.array([np.interp(0.5 * length[-1], length, column) for column in path.T])
