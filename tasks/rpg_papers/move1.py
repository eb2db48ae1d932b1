"""Drive a disc round an obstacle."""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor

from tasks.episode import Episode, Transition
from tasks.registry import register
from tasks.rpg_papers.circle_world import BLUE, Disc, GoalTask, Post, passing_side

GOAL, RADIUS = (4.0, 0.0), 0.75


@register("Move1")
class Move1(GoalTask):
    """A disc, thrown at a round obstacle of 1.5 m radius between it and its goal.

    Task: bring the disc to the goal, 7.7 m away, within 0.8 s. Straight ahead it bounces off the obstacle.
    Randomisation: the start, by 2 cm along x and y.
    Success: at the end the disc's centre is within 75 cm of the goal.
    Ways: round the obstacle on the left or on the right.

    Huang et al.: sizes, a friction of 8 m/s^2, eight actions of five intervals of 20 ms (a frame skip of 4), and the
    reward, -distance / 10. Left out is the penalty of speeds above 50 m/s. The multiplier is twice the original's,
    whose actions have no bound.

    Attributes:
        start_spread: how far a disc may start from its place along x and y, m.
        restitution: of impacts.
        multiplier: m/s that an action of 1 adds to the disc's velocity in 20 ms.
    """

    horizon, dt, substeps = 8, 2.5e-3, 40
    outcome_names = ("the obstacle's left", "the obstacle's right")
    optimizer_settings = MappingProxyType({"iterations": 100, "posterior_stride": 2})
    discs = (Disc("actor", 0.17, 1.0, (-3.7, 0.0), (2.0, 0.0), BLUE),)
    posts = (Post("obstacle", 1.5, (0.0, 0.0)),)
    goals, radius = (GOAL,), RADIUS
    deceleration, interval = 8.0, 0.02
    multiplier: float = 2.0

    def reward(self, step: Transition) -> Tensor:
        return -self.distance(step.after, GOAL) / 10.0

    def outcome(self, episode: Episode) -> Tensor:
        path = self.path(episode)
        left = passing_side(path, (0.0, 0.0), (1.0, 0.0))
        return torch.where(path[-1, :, 0] > 0.0, (left < 0.0).long(), -1)
