"""Checks of arguments: numbers and vectors, with errors that name the owner, the argument, and what is allowed."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffsim.errors import InputError

LEAST_LENGTH = 1e-9  # metres; the volume of anything smaller is lost in rounding
LARGEST_FRICTION = 1e4  # a coefficient beyond is a mistake; real ones end at about 5


def numbers_of(value: Any) -> tuple[float, ...]:
    """The numbers in a sequence, an array or a tensor of them; none where it is something else, text and truth values too."""
    if isinstance(value, str | bytes):
        return ()
    try:
        parts = tuple(value)
        wrong = any(isinstance(part, str | bytes | bool | np.bool_) for part in parts)
        return () if wrong else tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        return ()


def is_number(value: Any) -> bool:
    """Whether it is one finite number, as Python or numpy has them; truth values are none."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool) and math.isfinite(value)


def vector(owner: str, name: str, value: Sequence[float], length: int = 3) -> tuple[float, ...]:
    """``value`` as ``length`` finite floats.

    Raises:
        InputError: it is something else.
    """
    numbers = numbers_of(value)
    if len(numbers) != length or not all(math.isfinite(component) for component in numbers):
        raise InputError(f"{owner}: {name} must be {length} finite numbers, got {value!r}")
    return numbers


def bounds(owner: str, name: str, value: Sequence[float | None], nothing: float) -> tuple[float, ...]:
    """``value`` as three floats, infinite ones among them; ``nothing`` stands for None.

    Raises:
        InputError: it is something else.
    """
    if isinstance(value, tuple | list | np.ndarray) and len(value) == 3:
        given = [nothing if bound is None else bound for bound in value]
        if all(is_number(bound) or (isinstance(bound, float) and math.isinf(bound)) for bound in given):
            return tuple(float(bound) for bound in given)
    raise InputError(f"{owner}: {name} must be three numbers or None, got {value!r}")


def unit(owner: str, name: str, value: Sequence[float], length: int) -> tuple[float, ...]:
    """``value`` scaled to length one: an axis (3) or a rotation quaternion (4) (w, x, y, z).

    Raises:
        InputError: it is not ``length`` finite numbers, or zero.
    """
    numbers = vector(owner, name, value, length)
    norm = math.sqrt(sum(component**2 for component in numbers))
    if norm < 1e-9:
        raise InputError(f"{owner}: {name} must not be zero, got {value!r}")
    return tuple(component / norm for component in numbers)


def number(owner: str, name: str, value: float, low: float = -math.inf, high: float = math.inf) -> float:
    """``value`` as a finite float within [low, high].

    Raises:
        InputError: it is something else.
    """
    if not is_number(value) or not low <= value <= high:
        allowed = (
            "a finite number" + (f" >= {low:g}" if low > -math.inf else "") + (f" and <= {high:g}" if high < math.inf else "")
        )
        raise InputError(f"{owner}: {name} must be {allowed}, got {value!r}")
    return float(value)


def members(owner: str, name: str, value: Iterable[Any], kind: type) -> tuple[Any, ...]:
    """``value`` as a tuple of objects of a class.

    Raises:
        InputError: it is something else.
    """
    if isinstance(value, kind):
        raise InputError(f"{owner}: {name} must be a tuple, got one {kind.__name__}; put it in a tuple")
    try:
        if isinstance(value, str):
            raise TypeError
        found = tuple(value)
    except TypeError:
        raise InputError(f"{owner}: {name} must be a tuple of diffsim.{kind.__name__} objects, got {value!r}") from None
    for member in found:
        if not isinstance(member, kind):
            raise InputError(f"{owner}: {name} must hold diffsim.{kind.__name__} objects, got {member!r}")
    return found


def interval(owner: str, name: str, value: Sequence[float]) -> tuple[float, float]:
    """``value`` as (low, high), low < high, each of which may be infinite.

    Raises:
        InputError: it is something else.
    """
    bounds = numbers_of(value)
    if len(bounds) != 2 or not bounds[0] < bounds[1]:
        raise InputError(f"{owner}: {name} must be (low, high) with low < high, got {value!r}")
    return bounds[0], bounds[1]


def checked_name(owner: str, value: str, *, dots: bool = True) -> str:
    """``value`` as the name of a thing: printable text in one line, without spaces at its ends. The names of what stands in a
    scene have no dots, which divide them from the names of their parts, as in "robot.hand" and "robot.hand.mass".

    Raises:
        InputError: it is something else.
    """
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{owner}: name must be a non-empty string, got {value!r}")
    if not value.isprintable() or value != value.strip():
        raise InputError(f"{owner}: name must be printable text without spaces at its ends, got {value!r}")
    if "." in value and not dots:
        raise InputError(f"{owner}: name must have no dot, which divides it from the names of its parts, got {value!r}")
    return value


def flag(owner: str, name: str, value: bool) -> bool:
    """``value`` as a bool.

    Raises:
        InputError: it is something else.
    """
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"{owner}: {name} must be True or False, got {value!r}")
    return bool(value)


def choice(owner: str, name: str, value: str, allowed: Iterable[str]) -> str:
    """``value`` as one of some words.

    Raises:
        InputError: it is something else.
    """
    words = tuple(allowed)
    if not isinstance(value, str) or value not in words:
        raise InputError(f"{owner}: {name} must be one of {', '.join(words)}, got {value!r}")
    return value


def rgb(owner: str, name: str, value: Sequence[float]) -> tuple[float, ...]:
    """``value`` as RGB in [0, 1].

    Raises:
        InputError: it is something else.
    """
    numbers = numbers_of(value)
    if len(numbers) != 3 or not all(0.0 <= each <= 1.0 for each in numbers):
        raise InputError(f"{owner}: {name} must be three numbers in [0, 1], got {value!r}")
    return numbers


def instance(owner: str, name: str, value: Any, kind: type, what: str) -> Any:
    """``value`` as an object of a class, which ``what`` tells the user.

    Raises:
        InputError: it is something else.
    """
    if not isinstance(value, kind):
        raise InputError(f"{owner}: {name} must be {what}, got {value!r}")
    return value


def file_path(name: str, value: Any) -> Path:
    """``value`` as a path.

    Raises:
        InputError: it is something else.
    """
    if not isinstance(value, str | os.PathLike):
        raise InputError(f"{name} must be a path, got {value!r}")
    return Path(value)


def check_length(name: str, value: float) -> None:
    """That a number is a positive length.

    Raises:
        InputError: it is not.
    """
    if not is_number(value) or not value >= LEAST_LENGTH:
        allowed = "a positive number of metres" if not is_number(value) or value <= 0.0 else f"at least {LEAST_LENGTH:g} metres"
        raise InputError(f"{name} must be {allowed}, got {value!r}")


def check_count(name: str, value: int, least: int) -> None:
    """That a number is an integer, at least ``least``.

    Raises:
        InputError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"{name} must be an integer >= {least}, got {value!r}")


def check_positive_integer(name: str, value: int) -> None:
    """That a number is one.

    Raises:
        InputError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"{name} must be a positive integer, got {value!r}")


def check_mapping(name: str, value: Mapping[str, Any] | None) -> None:
    """That something is a dictionary by name, or None.

    Raises:
        InputError: it is something else.
    """
    if value is not None and not isinstance(value, Mapping):
        raise InputError(f"{name} must be a dictionary by name, got {value!r}")


def check_callable(name: str, value: Callable[..., Any]) -> None:
    """That something can be called.

    Raises:
        InputError: it cannot.
    """
    if not callable(value):
        raise InputError(f"{name} must be a function, got {value!r}")


def check_parameter(name: str, value: Tensor, default: Tensor, num_envs: int) -> None:
    """Check that a parameter's value, for all environments or each of them, is a finite tensor like its default.

    Raises:
        InputError: it is something else.
    """
    if not isinstance(value, Tensor):
        raise InputError(f"parameter '{name}' must be a torch tensor, got {type(value).__name__} {value!r}")
    single = tuple(default.shape)
    if tuple(value.shape) not in (single, (num_envs, *single)):
        raise InputError(f"parameter '{name}' must have shape {single} or {(num_envs, *single)}, got {tuple(value.shape)}")
    if value.dtype != default.dtype:
        raise InputError(f"parameter '{name}' must be {default.dtype}, got {value.dtype}")
    if not torch.isfinite(value).all():
        raise InputError(f"parameter '{name}' must be finite, got {value.detach().tolist()}")
