"""Push a ball between four obstacles to a goal."""

from __future__ import annotations

from types import MappingProxyType

from torch import Tensor

from diffsim.render import GroundMarker
from tasks.episode import Episode, Transition
from tasks.goal_markers import goal_markers
from tasks.registry import register
from tasks.rpg_papers.circle_world import BLUE, CircleTask, Disc
from tasks.rpg_papers.four_posts import GOAL, POSTS, ROUTES, route

RADIUS = 0.6


@register("Push2")
class Push2(CircleTask):
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

    horizon, dt, substeps = 100, 2.5e-3, 4
    outcome_names = ROUTES
    optimizer_settings = MappingProxyType({"iterations": 100, "posterior_stride": 5})
    discs = (Disc("actor", 0.17, 1.0, (-3.5, -3.5), (1.4, 1.4), BLUE), Disc("ball", 0.3, 2.7, (-3.1, -3.1)))
    posts = POSTS
    deceleration, interval = 3.0, 0.01
    multiplier: float = 6.0
    start_spread: float = 0.01

    def reward(self, step: Transition) -> Tensor:
        return self.pushing_reward(step, GOAL)

    def success(self, episode: Episode) -> Tensor:
        return self.distance(episode.state, GOAL, 1) < RADIUS

    def outcome(self, episode: Episode) -> Tensor:
        return route(self.path(episode, 1))

    def markers(self, episode: Episode, environment: int) -> tuple[GroundMarker, ...]:
        return goal_markers(GOAL, RADIUS)
