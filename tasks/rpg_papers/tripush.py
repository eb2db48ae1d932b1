"""Push any of three balls to its goal."""

from __future__ import annotations

from types import MappingProxyType

from torch import Tensor

from tasks.episode import Episode, Transition
from tasks.registry import register
from tasks.rpg_papers.circle_world import BLUE, Disc, GoalTask, Post

GOALS, RADIUS = ((4.0, 0.0), (4.0, 2.0), (4.0, -2.0)), 0.8
WAITING = 0.6  # s before the distance counts


@register("Tripush")
class Tripush(GoalTask):
    """A disc thrown at the middle one of three balls, each of which has a goal straight behind it.

    Task: have a ball at its goal, 6.1 m behind it, when 1.5 s are over. A post stands beside the left ball's way.
    Randomisation: the starts of all, by 1 cm along x and y.
    Success: at the end a ball's centre is within 80 cm of its own goal.
    Ways: each ball is one.

    Huang et al.: places, masses, 50 actions of three intervals of 10 ms, and the reward, 10 times what the balls came
    nearer to their goals, minus from step 20 on the least distance of a ball to its goal; here times 0.2, and
    without the penalty of speeds. The post has a radius of 30 cm: with the original's 3 m two goals would lie within
    it. Friction and the balls' radius are those of Push1, the multiplier is ours.

    Attributes:
        start_spread: how far a disc may start from its place along x and y, m.
        restitution: of impacts.
        multiplier: m/s that an action of 1 adds to the disc's velocity in 10 ms.
    """

    horizon, dt, substeps = 50, 2.5e-3, 12
    outcome_names = ("the middle ball", "the left ball", "the right ball")
    optimizer_settings = MappingProxyType({"iterations": 120, "posterior_stride": 5})
    discs = (
        Disc("actor", 0.17, 1.0, (-4.0, 0.0), (2.0, 0.0), BLUE),
        *(Disc(f"ball{n}", 0.3, 1.0, (-2.1, y)) for n, y in enumerate((0.0, 2.0, -2.0))),
    )
    posts = (Post("post", 0.3, (2.0, 1.6)),)
    goals, wanted, radius = GOALS, (1, 2, 3), RADIUS
    deceleration, interval = 3.0, 0.01
    multiplier: float = 0.5
    start_spread: float = 0.01

    def reward(self, step: Transition) -> Tensor:
        before, after = self.distances(step.before), self.distances(step.after)
        late = step.episode.steps * self.sim.control_dt > WAITING
        return 0.2 * (10.0 * (before - after).sum(dim=1) - late * after.amin(dim=1))

    def outcome(self, episode: Episode) -> Tensor:
        return self.nearest(episode.state, within=3.0)
