"""Several runs side by side: grouped by what they have in common but for the seed, with curves and a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rpg.runs.run import Run, open_run
from rpg.settings_checks import SettingError
from rpg.training.checkpoint import CHECKPOINT_NAME

POINTS = 200
"""Number of points of a curve."""


@dataclass(frozen=True)
class RunGroup:
    """Runs that differ by their seeds only."""

    label: str
    """The settings in which it differs from the other groups."""
    runs: tuple[Run, ...]

    def curve(self, metric: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(steps (P,), values (R, P)) of a metric against simulator steps, interpolated up to where the shortest run ends."""
        each = [
            (
                np.array([row.simulator_steps for row in run.metrics], dtype=float),
                np.array([_value(row, metric) for row in run.metrics], dtype=float),
            )
            for run in self.runs
        ]
        steps = np.linspace(max(own[0][0] for own in each), min(own[0][-1] for own in each), POINTS)
        return steps, np.stack([np.interp(steps, *own) for own in each])

    def row(self) -> dict[str, Any]:
        """Means over the runs that were evaluated, and the standard deviation of their success."""
        results = [run.result for run in self.runs if "modes" in run.result]

        def over(values: list[float], function: Any = np.mean) -> float | None:
            return float(function(values)) if values else None

        solved = [float(sum(mode["success"] >= 0.5 for mode in result["modes"])) for result in results]
        success = [result["policy_success"] for result in results]
        return {
            "label": self.label,
            "runs": len(self.runs),
            "evaluated": len(results),
            "policy_success": over(success),
            "policy_success_std": over(success, np.std),
            "expected_success": over([result["expected_success"] for result in results]),
            "return": over([result["return"] for result in results]),
            "return_std": over([result["return"] for result in results], np.std),
            "solutions": over(solved),
            "simulator_steps": over([float(run.metrics[-1].simulator_steps) for run in self.runs]),
            "seconds": over([run.metrics[-1].seconds for run in self.runs]),
        }


def run_folders(paths: Sequence[Path]) -> list[Path]:
    """The folders of runs that `paths` name: those that hold one, or that have some below them.

    Raises:
        SettingError: there is none.
    """
    found: dict[Path, None] = {}
    for path in paths:
        below = [path] if (path / CHECKPOINT_NAME).exists() else sorted(file.parent for file in path.rglob(CHECKPOINT_NAME))
        if not below:
            raise SettingError(f"'{path}' holds no run, nor does a folder below it: there is no {CHECKPOINT_NAME}")
        found.update(dict.fromkeys(folder for folder in below if not folder.is_symlink()))
    return list(found)


def grouped_runs(folders: Sequence[Path]) -> list[RunGroup]:
    """The runs in `folders` in groups, in the order in which they come.

    Raises:
        SettingError: a folder holds no run, or one without a complete iteration.
    """
    groups: dict[tuple[tuple[str, str], ...], list[Run]] = {}
    for folder in folders:
        run = open_run(folder)
        if not run.metrics:
            raise SettingError(f"the run in '{folder}' has no metrics")
        settings = {**run.identity, **run.config.to_dict()}
        settings.pop("seed")
        groups.setdefault(tuple((name, _text(value)) for name, value in sorted(settings.items())), []).append(run)
    return [RunGroup(_label(dict(key), [dict(other) for other in groups]), tuple(runs)) for key, runs in groups.items()]


def _label(own: dict[str, str], groups: list[dict[str, str]]) -> str:
    """Task and algorithm, where they are not the same everywhere, and what differs among groups that share both."""
    kind = ("task", "algorithm")
    words = [own[name] for name in kind if len({group.get(name) for group in groups}) > 1]
    related = [group for group in groups if all(group.get(name) == own.get(name) for name in kind)]
    differs = [name for name in own if name not in kind and len({group.get(name) for group in related}) > 1]
    return " ".join([*words, *(f"{name}={own[name]}" for name in differs)]) or own["algorithm"]


def _text(value: Any) -> str:
    if isinstance(value, dict):  # a schedule
        numbers = [f"{number:g}" for number in value.values()]
        return numbers[0] if value["start"] == value["end"] else ":".join(numbers)
    return str(value)


def _value(row: Any, metric: str) -> float:
    if hasattr(row, metric) and isinstance(getattr(row, metric), int | float):
        return float(getattr(row, metric))
    if metric in row.terms:
        return float(row.terms[metric])
    names = [name for name, value in row.to_dict().items() if isinstance(value, int | float)]
    raise SettingError(f"metric was given '{metric}'; allowed are {', '.join([*names, *row.terms])}")
