"""Memory in which a forward pass keeps its substeps for backward, which otherwise recomputes them.

Each solver has a budget of it. Backward gives it back once it has read it; so does a result that is gone and that nobody
differentiated. What does not fit in the budget is recomputed, with the same bits.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from diffsim.errors import InputError

VARIABLE, MEGABYTES = "DIFFSIM_KEPT_MB", 256


def kept_budget() -> int:
    """Bytes: ``DIFFSIM_KEPT_MB``, 256 by default; 0 keeps nothing.

    Raises:
        InputError: ``DIFFSIM_KEPT_MB`` is not a whole number of megabytes, 0 or more.
    """
    value = os.environ.get(VARIABLE, str(MEGABYTES))
    if not value.isdecimal():
        raise InputError(f"{VARIABLE} must be a whole number of megabytes, 0 or more, got '{value}'")
    return int(value) * 2**20


Tape = TypeVar("Tape")


class Kept:
    """A piece of memory, flat, until it is released or gone."""

    def __init__(self, memory: Tensor, give_back: Callable[[Tensor], None]):
        self.memory = memory
        self._return = weakref.finalize(self, give_back, memory)
        self._return.atexit = False

    def release(self) -> None:
        """Others may write to the memory from now on."""
        self._return()


@dataclass(frozen=True)
class KeptStep(Generic[Tape]):
    """What a forward pass left of a control step's substeps, and the memory that it is in."""

    tape: Tape
    memory: Kept

    def release(self) -> None:
        """Others may write to the memory from now on."""
        self.memory.release()


def differentiated(*tensors: Tensor) -> bool:
    """Whether autograd will ask for a gradient by one of these."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


@contextmanager
def read_once(ctx: Any) -> Iterator[Any]:
    """What a node keeps as ``ctx.kept``, for its first backward pass, which releases it, or None; later ones
    (``retain_graph=True``) recompute."""
    kept, ctx.kept = ctx.kept, None
    yield kept
    if kept is not None:
        kept.release()


class KeptMemory:
    """A solver's budget. Memory that was given back is taken again: fresh pages cost as much as a substep."""

    def __init__(self, *, dtype: torch.dtype, device: str):
        self._dtype, self._device = dtype, device
        self._budget = kept_budget()
        self._allocated = 0  # bytes
        self._free: list[Tensor] = []

    def take(self, size: int) -> Kept | None:
        """At least so many numbers, or None where the budget does not allow it."""
        fitting = [place for place, memory in enumerate(self._free) if len(memory) >= size]
        if fitting:
            memory = self._free.pop(min(fitting, key=lambda place: len(self._free[place])))
            return Kept(memory, self._free.append)
        needed = size * self._dtype.itemsize
        while self._free and self._allocated + needed > self._budget:
            self._allocated -= self._free.pop().nbytes
        if self._allocated + needed > self._budget:
            return None
        self._allocated += needed
        return Kept(torch.empty(size, dtype=self._dtype, device=self._device), self._free.append)
