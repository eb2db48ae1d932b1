"""Checks of arguments: numbers and vectors, with errors that name the owner, the argument, and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffsim.errors import InputError


def vector(owner: str, name: str, value: Sequence[float], length: int = 3) -> tuple[float, ...]:
    """``value`` as ``length`` finite floats.

    Raises:
        InputError: it is something else.
    """
    try:
        numbers = tuple(float(component) for component in value)
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != length or not all(math.isfinite(component) for component in numbers):
        raise InputError(f"{owner}: {name} must be {length} finite numbers, got {value!r}")
    return numbers


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
    if not isinstance(value, int | float | np.floating) or not math.isfinite(value) or not low <= value <= high:
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
    try:
        low, high = (float(bound) for bound in value)
    except (TypeError, ValueError):
        low, high = 0.0, 0.0
    if not low < high:
        raise InputError(f"{owner}: {name} must be (low, high) with low < high, got {value!r}")
    return low, high


def text(owner: str, name: str, value: str) -> str:
    """``value`` as a string that is not empty.

    Raises:
        InputError: it is something else.
    """
    if not isinstance(value, str) or not value:
        raise InputError(f"{owner}: {name} must be a non-empty string, got {value!r}")
    return value


def check_parameter(name: str, value: Tensor, default: Tensor, num_envs: int) -> None:
    """Check that a parameter's value, for all environments or each of them, is a finite tensor like its default.

    Raises:
        InputError: it is something else.
    """
    if not isinstance(value, Tensor):
        raise InputError(f"parameter '{name}' must be a torch tensor, got {type(value).__name__}")
    single = tuple(default.shape)
    if tuple(value.shape) not in (single, (num_envs, *single)):
        raise InputError(f"parameter '{name}' must have shape {single} or {(num_envs, *single)}, got {tuple(value.shape)}")
    if value.dtype != default.dtype:
        raise InputError(f"parameter '{name}' must be {default.dtype}, got {value.dtype}")
    if not torch.isfinite(value).all():
        raise InputError(f"parameter '{name}' must be finite, got {value.detach().tolist()}")
