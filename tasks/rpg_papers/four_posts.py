"""Four round obstacles at the corners of a square, and the ways between them from one corner of the table to the other."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tasks.rpg_papers.circle_world import Post, passing_side

GOAL = (4.0, 4.0)
POSTS = tuple(Post(f"post{n}", 1.0, (x, y)) for n, (x, y) in enumerate(((-2.0, -2.0), (2.0, 2.0), (-2.0, 2.0), (2.0, -2.0))))
SLOPE = math.sqrt(0.5)
DIAGONAL = (SLOPE, SLOPE)
ROUTES = (
    "left of the first, left of the last",
    "left of the first, right of the last",
    "right of the first, left of the last",
    "right of the first, right of the last",
    "outside on the left",
    "outside on the right",
)


def route(path: Tensor) -> Tensor:
    """Number of the route that a path (t + 1, B, 2) from the corner (-4, -4) took, int64 (B,): the sides on which it passed the
    two posts on the diagonal, or which of the others it went round the outside of; -1 if it ends before the last post."""
    first, last, middle = (passing_side(path, place, DIAGONAL) for place in ((-2.0, -2.0), (2.0, 2.0), (0.0, 0.0)))
    between = 2 * (first < 0.0).long() + (last < 0.0).long()
    outside = torch.where(middle > 0.0, 4, 5)
    taken = torch.where(middle.abs() > 2.0 / SLOPE, outside, between)
    return torch.where(path[-1] @ path.new_tensor(DIAGONAL) > 2.0 / SLOPE, taken, -1)
