"""Processes that train one run together (torchrun): which one this is, and what they tell each other.

Every process has the whole learner, draws the same numbers, and so takes the same steps; they share the work by each simulating
its own part of the episodes (`rpg/environments/sharded_episodes.py`), or taking its own part of a batch. Whatever one of them
calls here, all must call, in the same order.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function

from rpg.settings_checks import SettingError


class RankError(RuntimeError):
    """Another process of the run has ended. One line."""


@dataclass(frozen=True)
class Ranks:
    """The processes of a run, of which this is number ``index`` of ``count``; number 0 writes the run's files."""

    index: int
    count: int

    @property
    def leads(self) -> bool:
        """Whether this is process 0."""
        return self.index == 0

    def part(self, size: int, name: str) -> slice:
        """This process's share of ``size`` things.

        Raises:
            SettingError: they cannot be shared evenly; ``name`` is the setting's.
        """
        if size % self.count:
            raise SettingError(f"{name} was given {size}; allowed on {self.count} processes are multiples of {self.count}")
        share = size // self.count
        return slice(self.index * share, (self.index + 1) * share)

    def gathered(self, own: Tensor) -> Tensor:
        """(count n, ...) the tensors (n, ...) of all processes, in their order. A gradient flows back to the own one."""
        return _Gathered.apply(self, own)  # type: ignore[no-untyped-call, no-any-return]

    def taken(self, whole: Tensor) -> Tensor:
        """(n, ...) this process's rows of a tensor (count n, ...) that all have. The gradient is that of all rows."""
        return _Taken.apply(self, whole)  # type: ignore[no-untyped-call, no-any-return]

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by their means over all processes, in one message."""
        own = list(tensors)
        if not own:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in own])
        with _heard(self):
            dist.all_reduce(flat)
        for tensor, mean in zip(own, (flat / self.count).split([tensor.numel() for tensor in own]), strict=True):
            tensor.copy_(mean.view_as(tensor))

    def follow(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by those of process 0, so that rounding on unlike machines does not lead apart."""
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            own = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.detach().reshape(-1) for tensor in own])
            with _heard(self):
                dist.broadcast(flat, 0)
            if not self.leads:
                for tensor, values in zip(own, flat.split([tensor.numel() for tensor in own]), strict=True):
                    tensor.detach().copy_(values.view_as(tensor))

    def any(self, flag: bool) -> bool:
        """Whether it is true in some process."""
        told = torch.tensor([float(flag)])
        with _heard(self):
            dist.all_reduce(told)
        return bool(told > 0)

    def words(self, own: str) -> list[str]:
        """What each process says."""
        said: list[Any] = [None] * self.count
        with _heard(self):
            dist.all_gather_object(said, own)
        return said


def joined_ranks() -> Ranks | None:
    """The processes that torchrun started, of which this is one; None if it is alone. Messages go through gloo, those of GPUs'
    tensors through NCCL."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return None
    if not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    return Ranks(dist.get_rank(), count)


@contextmanager
def _heard(ranks: Ranks) -> Iterator[None]:
    """A message that does not come is a `RankError`."""
    try:
        yield
    except RuntimeError as error:
        reason = " ".join(str(error).split()).rpartition("] ")[2].rstrip(".")
        raise RankError(f"another of the run's {ranks.count} processes has ended ({reason})") from error


def _all(ranks: Ranks, own: Tensor) -> Tensor:
    own = own.detach().contiguous()
    parts = [torch.empty_like(own) for _ in range(ranks.count)]
    with _heard(ranks):
        dist.all_gather(parts, own)
    return torch.cat(parts)


class _Gathered(Function):
    """All processes compute the same from what is gathered, so each has the gradient of its own part."""

    @staticmethod
    def forward(ctx: Any, ranks: Ranks, own: Tensor) -> Tensor:
        ctx.rows = slice(ranks.index * len(own), (ranks.index + 1) * len(own))
        return _all(ranks, own)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        return None, gradient[ctx.rows].clone()


class _Taken(Function):
    """All processes compute the same with the whole tensor before, so each needs the gradient of all rows."""

    @staticmethod
    def forward(ctx: Any, ranks: Ranks, whole: Tensor) -> Tensor:
        ctx.ranks = ranks
        share = len(whole) // ranks.count
        return whole[ranks.index * share : (ranks.index + 1) * share].clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        return None, _all(ctx.ranks, gradient)
