"""Scripts of actions, by which targets are made."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import diffsim as ds

Leg = tuple[Sequence[float], int]


def action_script(legs: Sequence[Leg], scale: Sequence[float], horizon: int) -> np.ndarray:
    """Actions (horizon, A) in [-1, 1]: one leg after the other, then rest.

    Args:
        legs: how far each of A controls goes, in its own unit, and in how many actions, evenly.
        scale: how far an action component of 1 goes, (A,).

    Raises:
        InputError: a leg is too fast, or the legs take longer than the horizon.
    """
    rows = [np.asarray(way, dtype=float) / (steps * np.asarray(scale)) for way, steps in legs for _ in range(steps)]
    actions = np.zeros((horizon, len(scale)))
    if len(rows) > horizon or (rows and np.abs(rows).max() > 1.0 + 1e-9):
        raise ds.InputError(
            f"legs must take at most {horizon} actions of at most 1, got {len(rows)} of up to {np.abs(rows).max():.3g}"
        )
    actions[: len(rows)] = rows
    return actions.clip(-1.0, 1.0)


def waypoints(start: Sequence[float], points: Sequence[Sequence[float]], reach: float) -> list[Leg]:
    """Legs from a point (3,) through others, each as fast as steps of at most ``reach`` along every axis allow."""
    legs, here = [], np.asarray(start, dtype=float)
    for point in points:
        way = np.asarray(point, dtype=float) - here
        legs.append((way.tolist(), max(int(np.ceil(np.abs(way).max() / reach - 1e-6)), 1)))
        here = here + way
    return legs
