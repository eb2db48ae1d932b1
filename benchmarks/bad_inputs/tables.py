"""All trials, in the order of the tables."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from benchmarks.bad_inputs import optimiser_trials, running_trials, scene_trials
from benchmarks.bad_inputs.judging import Trial


@cache
def all_trials() -> tuple[dict[str, Callable[[], Any]], list[Trial]]:
    """The calls with right arguments by their target's name, and all trials."""
    right: dict[str, Callable[[], Any]] = {}
    found: list[Trial] = []
    for table in (scene_trials.table, running_trials.table, optimiser_trials.table):
        for call, rows in table():
            right[rows[0].target] = call
            found += rows
    return right, found
