"""What rewards and labels measure: lengths with a gradient everywhere, which of several is the largest, and what was so where a
path passes a place."""

from __future__ import annotations

import torch
from torch import Tensor


def soft_norm(vectors: Tensor, rounding: float = 1e-3) -> Tensor:
    """Lengths (...) of vectors (..., n), differentiable at 0: sqrt(|v|^2 + rounding^2)."""
    return (vectors.square().sum(dim=-1) + rounding**2).sqrt()


def which_largest(values: Tensor, above: float) -> Tensor:
    """Number of the largest of ``values`` (B, n), int64 (B,); -1 where none is ``above`` so much."""
    largest = values.max(dim=1)
    return torch.where(largest.values > above, largest.indices, -1)


def which_smallest(values: Tensor, below: float) -> Tensor:
    """Number of the smallest of ``values`` (B, n), int64 (B,); -1 where none is ``below`` so much."""
    return which_largest(-values, -below)


def when_passing(along: Tensor, values: Tensor) -> Tensor:
    """``values`` (t + 1, B) of each episode at the moment when ``along`` (t + 1, B), a distance from a place, was nearest to 0,
    (B,)."""
    return values.gather(0, along.abs().argmin(dim=0, keepdim=True))[0]
