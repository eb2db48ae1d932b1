"""Drive a disc between four obstacles."""

from __future__ import annotations

from types import MappingProxyType

from torch import Tensor

from tasks.episode import Episode, Transition
from tasks.registry import register
from tasks.rpg_papers.circle_world import BLUE, Disc, GoalTask
from tasks.rpg_papers.four_posts import GOAL, POSTS, ROUTES, route


@register("Move2")
class Move2(GoalTask):
    """A disc in one corner of a table with four round obstacles of 1 m radius at (+-2, +-2) m, its goal in the opposite corner.

    Task: bring the disc to the goal, 10.9 m away, within 1 s. Two obstacles stand on the straight way.
    Randomisation: the start, by 2 cm along x and y.
    Success: at the end the disc's centre is within 1 m of the goal.
    Ways: left or right of the first obstacle and of the last, or round the outside of one of the others: six.

    Huang et al.: the places, 50 actions of 20 ms that add up to 2 m/s each, the reward -distance / 20; friction as in
    Move1.

    Attributes:
        start_spread: how far a disc may start from its place along x and y, m.
        restitution: of impacts.
        multiplier: m/s that an action of 1 adds to the disc's velocity in 20 ms.
    """

    horizon, dt, substeps = 50, 2.5e-3, 8
    outcome_names = ROUTES
    optimizer_settings = MappingProxyType({"iterations": 150, "posterior_stride": 5})
    discs = (Disc("actor", 0.17, 1.0, (-3.7, -3.7), (2.0, 2.0), BLUE),)
    posts = POSTS
    goals = (GOAL,)
    deceleration, interval = 8.0, 0.02
    multiplier: float = 2.0

    def reward(self, step: Transition) -> Tensor:
        return -self.distance(step.after, GOAL) / 20.0

    def outcome(self, episode: Episode) -> Tensor:
        return route(self.path(episode))
