"""Push a ball round an obstacle to a goal."""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor

from tasks.episode import Episode
from tasks.registry import register
from tasks.rpg_papers.circle_world import BLUE, Disc, Post, PushTask, passing_side

GOAL = (4.0, 0.0)


@register("Push1")
class Push1(PushTask):
    """A disc behind a heavier one, the ball, and a round obstacle of 1.5 m radius between the ball and its goal.

    Task: push the ball round the obstacle to the goal, 6.1 m away, within 1 s. Straight ahead it is
        jammed against the obstacle.
    Randomisation: the starts of both, by 1 cm along x and y.
    Success: at the end the ball's centre is within 60 cm of the goal.
    Ways: round the obstacle on the left or on the right.

    Huang et al.: sizes, masses, friction of 3 m/s^2, 100 actions of 10 ms that add up to 6 m/s each, and the reward,
    10 times what the disc came nearer to the ball (while beyond 60 cm) and the ball to the goal. Left out is its
    penalty of speeds above 100 m/s.

    Attributes:
        start_spread: how far a disc may start from its place along x and y, m.
        restitution: of impacts.
        multiplier: m/s that an action of 1 adds to the disc's velocity in 10 ms.
    """

    outcome_names = ("the obstacle's left", "the obstacle's right")
    optimizer_settings = MappingProxyType({"iterations": 80, "posterior_stride": 5})
    discs = (Disc("actor", 0.17, 1.0, (-2.7, 0.0), color=BLUE), Disc("ball", 0.3, 2.7, (-2.1, 0.0)))
    posts = (Post("obstacle", 1.5, (0.0, 0.0)),)
    goals = (GOAL,)

    def outcome(self, episode: Episode) -> Tensor:
        path = self.path(episode, 1)
        left = passing_side(path, (0.0, 0.0), (1.0, 0.0))
        return torch.where(path[-1, :, 0] > 0.0, (left < 0.0).long(), -1)
