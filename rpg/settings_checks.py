"""Checks of settings, with errors that name the setting, its value and the allowed values."""

import math

from rpg.training.schedules import Schedule


class SettingError(ValueError):
    """A setting is wrong, does not fit the environment, or needs a package that is not installed. One line."""


def check_choice(name: str, given: object, allowed: tuple[str, ...]) -> None:
    """Raise ValueError unless `given` is one of `allowed`."""
    if given not in allowed:
        raise ValueError(f"{name} was given {given!r}; allowed are {', '.join(map(repr, allowed))}")


def check_int(name: str, given: object, *, at_least: int, at_most: float = math.inf) -> None:
    """Raise ValueError unless `given` is a whole number from `at_least` to `at_most`."""
    if isinstance(given, bool) or not isinstance(given, int) or not at_least <= given <= at_most:
        limit = "" if at_most == math.inf else f" and <= {at_most}"
        raise ValueError(f"{name} was given {given!r}; allowed are whole numbers >= {at_least}{limit}")


def check_positive(name: str, given: float) -> None:
    """Raise ValueError unless `given` is finite and above 0."""
    if not 0 < given < math.inf:
        raise ValueError(f"{name} was given {given!r}; allowed are finite numbers > 0")


def check_not_negative(name: str, given: float) -> None:
    """Raise ValueError unless `given` is finite and not below 0."""
    if not 0 <= given < math.inf:
        raise ValueError(f"{name} was given {given!r}; allowed are finite numbers >= 0")


def check_fraction(name: str, given: float) -> None:
    """Raise ValueError unless 0 <= `given` <= 1."""
    if not 0 <= given <= 1:
        raise ValueError(f"{name} was given {given!r}; allowed are numbers from 0 to 1")


def check_weight(name: str, schedule: Schedule) -> None:
    """Raise ValueError unless the schedule stays finite and >= 0."""
    if not (0 <= schedule.start < math.inf and 0 <= schedule.end < math.inf):
        raise ValueError(f"{name} was given {schedule.start} -> {schedule.end}; allowed are finite numbers >= 0")


def check_scale(name: str, schedule: Schedule) -> None:
    """Raise ValueError unless the schedule stays finite and above 0."""
    check_positive(f"{name}.start", schedule.start)
    check_positive(f"{name}.end", schedule.end)
