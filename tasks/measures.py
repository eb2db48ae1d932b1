"""What rewards and labels measure: lengths with a gradient everywhere, and what was so where a path passes a place."""

from __future__ import annotations

from torch import Tensor


def soft_norm(vectors: Tensor, rounding: float = 1e-3) -> Tensor:
    """Lengths (...) of vectors (..., n), differentiable at 0: sqrt(|v|^2 + rounding^2)."""
    return (vectors.square().sum(dim=-1) + rounding**2).sqrt()


def when_passing(along: Tensor, values: Tensor) -> Tensor:
    """``values`` (t + 1, B) of each episode at the moment when ``along`` (t + 1, B), a distance from a place, was nearest to 0,
    (B,)."""
    return values.gather(0, along.abs().argmin(dim=0, keepdim=True))[0]
