"""Drive a disc to any of three goals."""

from __future__ import annotations

import math
from types import MappingProxyType

from torch import Tensor

from tasks.episode import Episode, Transition
from tasks.registry import register
from tasks.rpg_papers.circle_world import BLUE, Disc, GoalTask

DISTANCE, RADIUS = 4.0, 0.3
HALF, LONG = 0.5 * DISTANCE, math.sqrt(0.75) * DISTANCE
GOALS = ((0.0, -DISTANCE), (LONG, HALF), (-LONG, HALF))


@register("Move3")
class Move3(GoalTask):
    """A disc at rest in the middle of three goals, 4 m from each.

    Task: be at any of the goals when 0.8 s are over. What counts is where it ends.
    Randomisation: the start, by 2 cm along x and y.
    Success: at the end the disc's centre is within 30 cm of a goal.
    Ways: each goal is one.

    Huang et al.: three goals at a radius of 4, eight actions, a reward of minus the squared distance to the nearest
    goal at the last step. Here each step is rewarded by what that fell in it, divided by 16, so that a goal is worth 1.

    Attributes:
        start_spread: how far a disc may start from its place along x and y, m.
        restitution: of impacts.
        multiplier: m/s that an action of 1 adds to the disc's velocity in 20 ms.
    """

    horizon, dt, substeps = 8, 2.5e-3, 40
    outcome_names = ("the goal in front", "the goal on the right", "the goal on the left")
    optimizer_settings = MappingProxyType({"iterations": 60, "posterior_stride": 2})
    discs = (Disc("actor", 0.17, 1.0, (0.0, 0.0), color=BLUE),)
    goals, wanted, radius = GOALS, (0, 0, 0), RADIUS
    deceleration, interval = 8.0, 0.02

    def reward(self, step: Transition) -> Tensor:
        before, after = (self.distances(state).amin(dim=1) / DISTANCE for state in (step.before, step.after))
        return before.square() - after.square()

    def outcome(self, episode: Episode) -> Tensor:
        return self.nearest(episode.state, within=0.5 * DISTANCE)
