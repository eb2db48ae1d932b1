"""Three equally good goals in a triangle round a start."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffsim.render import GroundMarker
from tasks.goal_markers import goal_markers
from tasks.measures import soft_norm, which_smallest

# In radians from +x; videos look along +y.
ANGLES = {"ahead": math.pi / 2, "left": 7 * math.pi / 6, "right": -math.pi / 6}
COLORS = ((0.2, 0.75, 0.35), (0.25, 0.5, 0.9), (0.9, 0.45, 0.2))


class ThreeGoals:
    """Goals at ``radius`` metres from ``center`` (x, y), ahead, on the left and on the right."""

    names = tuple(ANGLES)

    def __init__(self, center: tuple[float, float], radius: float) -> None:
        self.radius = radius
        self.points = tuple((center[0] + radius * math.cos(a), center[1] + radius * math.sin(a)) for a in ANGLES.values())

    def distances(self, position: Tensor) -> Tensor:
        """Distances of ``position`` (B, 2) to each goal, m, (B, 3)."""
        to_goals = position[:, None] - position.new_tensor(self.points)
        return soft_norm(to_goals)

    def nearest(self, position: Tensor) -> Tensor:
        """Number of the goal that ``position`` (B, 2) is closest to, int64 (B,); -1 if it is not even half-way to one."""
        return which_smallest(self.distances(position), 0.5 * self.radius)

    def reward(self, position: Tensor) -> Tensor:
        """0 at the centre and 1 at each goal, (B,): decreases with a smooth minimum of the distances to the goals."""
        width = 0.1 * self.radius
        nearest = -width * torch.logsumexp(-self.distances(position) / width, dim=1)
        return 1.0 - nearest / (self.radius - width * math.log(3.0))

    def markers(self, radius: float) -> tuple[GroundMarker, ...]:
        """Discs of ``radius`` for a video, one colour for each goal."""
        return tuple(mark for p, c in zip(self.points, COLORS, strict=True) for mark in goal_markers(p, radius, c))
