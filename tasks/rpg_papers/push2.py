"""Push a ball between four obstacles to a goal."""

from __future__ import annotations

from types import MappingProxyType

from torch import Tensor

from tasks.episode import Episode
from tasks.registry import register
from tasks.rpg_papers.circle_world import BLUE, Disc, PushTask
from tasks.rpg_papers.four_posts import GOAL, POSTS, ROUTES, route


@register("Push2")
class Push2(PushTask):
    """A disc behind a ball in one corner of a table with four round obstacles of 1 m radius at (+-2, +-2) m.

    Task: push the ball to the goal in the opposite corner, 10 m away, within 1 s. Two obstacles stand on the straight way.
    Randomisation: the starts of both, by 1 cm along x and y.
    Success: at the end the ball's centre is within 60 cm of the goal.
    Ways: left or right of the first obstacle and of the last, or round the outside of one of the others: six.

    Huang et al.: the places, the start's velocity of 1.4 m/s along x and y, 100 actions. The ball, friction,
    multiplier, interval and reward are those of Push1.

    Attributes:
        start_spread: how far a disc may start from its place along x and y, m.
        restitution: of impacts.
        multiplier: m/s that an action of 1 adds to the disc's velocity in 10 ms.
    """

    outcome_names = ROUTES
    optimizer_settings = MappingProxyType({"iterations": 100, "posterior_stride": 5})
    discs = (Disc("actor", 0.17, 1.0, (-3.5, -3.5), (1.4, 1.4), BLUE), Disc("ball", 0.3, 2.7, (-3.1, -3.1)))
    posts = POSTS
    goals = (GOAL,)

    def outcome(self, episode: Episode) -> Tensor:
        return route(self.path(episode, 1))
