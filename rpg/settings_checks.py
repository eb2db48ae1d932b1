"""Checks of settings and arguments, with errors that name the setting, its value and the allowed values."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rpg.training.schedules import Schedule

LARGEST_SEED = 2**63 - 1
LARGEST_RATE = 100.0  # a step of Adam; parameters are of order 1
LARGEST_WIDTH = 2**16  # of a network's layer
MOST_LATENTS = 2**14  # each is evaluated in episodes of its own, and reported in every line of the metrics


class SettingError(ValueError):
    """A setting is wrong, does not fit the environment, or needs a package that is not installed. One line."""


def is_number(given: object) -> bool:
    """Whether it is one finite number, and no truth value."""
    return isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given)


def check_choice(name: str, given: object, allowed: tuple[str, ...]) -> None:
    """Raise ValueError unless `given` is one of `allowed`."""
    if not isinstance(given, str) or given not in allowed:
        raise ValueError(f"{name} was given {given!r}; allowed are {', '.join(map(repr, allowed))}")


def check_int(name: str, given: object, *, at_least: int, at_most: int | None = None) -> None:
    """Raise ValueError unless `given` is a whole number >= `at_least`, and <= `at_most`."""
    whole = isinstance(given, int) and not isinstance(given, bool)
    if not whole or given < at_least or (at_most is not None and given > at_most):  # type: ignore[operator]
        allowed = f">= {at_least}" if at_most is None else f">= {at_least} and <= {at_most}"
        raise ValueError(f"{name} was given {given!r}; allowed are whole numbers {allowed}")


def check_bool(name: str, given: object) -> None:
    """Raise ValueError unless `given` is True or False."""
    if not isinstance(given, bool):
        raise ValueError(f"{name} was given {given!r}; allowed are True and False")


def check_number(name: str, given: object) -> None:
    """Raise ValueError unless `given` is a finite number."""
    if not is_number(given):
        raise ValueError(f"{name} was given {given!r}; allowed are finite numbers")


def check_positive(name: str, given: float, *, at_most: float = math.inf) -> None:
    """Raise ValueError unless `given` is finite, above 0, and <= `at_most`."""
    if not is_number(given) or not 0 < given <= at_most:
        allowed = f" and <= {at_most:g}" if at_most < math.inf else ""
        raise ValueError(f"{name} was given {given!r}; allowed are finite numbers > 0{allowed}")


def check_not_negative(name: str, given: float) -> None:
    """Raise ValueError unless `given` is finite and not below 0."""
    if not is_number(given) or given < 0:
        raise ValueError(f"{name} was given {given!r}; allowed are finite numbers >= 0")


def check_fraction(name: str, given: float) -> None:
    """Raise ValueError unless 0 <= `given` <= 1."""
    if not is_number(given) or not 0 <= given <= 1:
        raise ValueError(f"{name} was given {given!r}; allowed are numbers from 0 to 1")


def check_widths(name: str, given: object) -> None:
    """Raise ValueError unless `given` is a tuple of the widths of a network's layers."""
    if not isinstance(given, tuple):
        raise ValueError(f"{name} was given {given!r}; allowed are tuples of whole numbers, as (64, 64)")
    for width in given:
        check_int(name, width, at_least=1, at_most=LARGEST_WIDTH)


def check_weight(name: str, schedule: Schedule) -> None:
    """Raise ValueError unless the schedule stays >= 0."""
    if schedule.start < 0 or schedule.end < 0:
        raise ValueError(f"{name} was given {schedule.start} -> {schedule.end}; allowed are finite numbers >= 0")


def check_scale(name: str, schedule: Schedule) -> None:
    """Raise ValueError unless the schedule stays above 0."""
    check_positive(f"{name}.start", schedule.start)
    check_positive(f"{name}.end", schedule.end)


def check_batch(num_envs: object, dtype: object) -> None:
    """Raise ValueError unless an environment's number of episodes is a positive int, and its dtype of floating point."""
    import torch  # not at the top: the command line checks settings before it needs torch

    check_int("num_envs", num_envs, at_least=1)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f"dtype was given {dtype!r}; allowed are torch.float32 and torch.float64")


def check_function(name: str, given: Callable[..., object] | None) -> None:
    """Raise ValueError unless `given` can be called."""
    if not callable(given):
        raise ValueError(f"{name} was given {given!r}; allowed are functions")


def checked_path(name: str, given: object) -> Path:
    """`given` as a path. Raises ValueError if it is none."""
    if not isinstance(given, str | os.PathLike):
        raise ValueError(f"{name} was given {given!r}; allowed are paths")
    return Path(given)
