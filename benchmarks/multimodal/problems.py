"""The contest's problems: how each is run, which curve an episode draws, and the archive that its solutions are filed in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rpg import Environment, FixedHorizonEnvironment
from rpg.environments.cross_reach import CrossReach
from rpg.environments.four_goals import FourGoals
from rpg.environments.point_maze import PointMaze
from rpg.environments.six_goals import SixGoals
from rpg.environments.switched_lqr import SwitchedLQR

Array = NDArray[np.float64]
NOTHING: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
CELLS = 10
"""Of an archive, along each of its two axes."""


@dataclass(frozen=True)
class Problem:
    """A problem.

    Attributes:
        make: the environment with a number of episodes side by side.
        ways: the labels there are.
        num_envs, iterations: of a run that is given environment steps; every method gets the same.
        gradient_steps: of a run that is given gradient steps.
        updates: gradient steps that streaming methods make in a round, one step of every environment, when they are given
            environment steps.
        path: the curve (T+1, D) that an episode draws, from observations (T+1, O) and actions (T, A).
        radius: two curves are one way if they are on average nearer than this (`clusters`), in units of the curve.
        measure: which point of the curve is filed: its end, or the middle of its length.
        measured: the two coordinates of that point.
        bounds: lower and upper bound of each.
        returns: worth nothing, and all there is to gain; an episode's score is where its return lies between.
        settings: of methods, beside those that they have everywhere.
        task: its name, if it is a task.
    """

    name: str
    make: Callable[[int], FixedHorizonEnvironment | Environment]
    ways: int
    num_envs: int
    iterations: int
    gradient_steps: int
    path: Callable[[Array, Array], Array]
    radius: float
    bounds: tuple[tuple[float, float], tuple[float, float]]
    returns: tuple[float, float]
    updates: int = 2
    measure: Literal["end", "middle"] = "end"
    measured: tuple[int, int] = (0, 1)
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: NOTHING)
    task: str = ""

    @property
    def setting(self) -> dict[str, Any]:
        """What a stored run must agree with to count, in plain values."""
        return {
            "num_envs": self.num_envs,
            "iterations": self.iterations,
            "gradient_steps": self.gradient_steps,
            "updates": self.updates,
            "radius": self.radius,
        }

    def scores(self, returns: Array) -> Array:
        """(N,) from 0 to 1."""
        low, high = self.returns
        return np.clip((returns - low) / (high - low), 0.0, 1.0)


def of_task(name: str) -> Callable[[int], FixedHorizonEnvironment]:
    """A task with that number of episodes, at the suite's bench setting, which is its own."""

    def make(num_envs: int) -> FixedHorizonEnvironment:
        from tasks import find_task

        return find_task(name)(num_envs)

    return make


def seen(scale: float, width: int = 2) -> Callable[[Array, Array], Array]:
    """The first entries of the observations."""
    return lambda observations, actions: scale * observations[:, :width]


def switching(observations: Array, actions: Array) -> Array:
    """(T+1, 2) steps in mode 1 less those in mode 0 so far: in the first half of the episode, and in the second."""
    sign, half = np.where(actions[:, -1] > 0, 1.0, -1.0), len(actions) // 2
    halves = np.zeros((len(actions) + 1, 2))
    halves[1 : half + 1, 0], halves[half + 1 :, 1] = sign[:half], sign[half:]
    return halves.cumsum(axis=0)


FEEDBACK = {name: {"policy": "mlp", "start_spread": 0.1} for name in ("rpg", "mixture")}
"""Where starts differ so much that no sequence of actions suits all."""

PROBLEMS: dict[str, Problem] = {
    problem.name: problem
    for problem in (
        Problem(
            "four_goals", FourGoals, 4, 32, 100, 1000, seen(1.0), radius=1.2,
            bounds=((-6.0, 6.0), (-6.0, 6.0)), returns=(-400.0, -100.0),
        ),
        Problem(
            "six_goals", SixGoals, 6, 32, 150, 1000, seen(5.0), radius=1.2,
            bounds=((-6.0, 6.0), (-6.0, 6.0)), returns=(-12.0, 4.0),
        ),
        Problem(
            "three_way_push", of_task("ThreeWayPush"), 3, 16, 50, 50, seen(1.0), radius=0.08,
            bounds=((-0.3, 0.3), (-0.3, 0.3)), returns=(0.0, 20.0), task="ThreeWayPush",
        ),
        Problem(
            "detour", of_task("Detour"), 2, 16, 90, 90, seen(1.0), radius=0.1, measure="middle",
            bounds=((0.3, 0.9), (0.2, 1.2)), returns=(0.0, 20.0), task="Detour",
        ),
        Problem(
            "maze_v1", lambda count: PointMaze(count, "v1"), 2, 32, 100, 1000, seen(10.0), radius=1.5, updates=2,
            measure="middle", bounds=((-10.0, 2.0), (-6.0, 6.0)), returns=(-32.0, 8.0),
        ),
        Problem(
            "maze_v3", lambda count: PointMaze(count, "v3", horizon=30), 4, 32, 100, 1000, seen(10.0), radius=2.0,
            measure="middle", bounds=((-14.0, 14.0), (-14.0, 14.0)), returns=(-72.0, 4.0),
        ),
        Problem(
            "cross_reach", CrossReach, 4, 32, 100, 1000, seen(0.2, 3), radius=0.03, measure="middle", measured=(1, 2),
            bounds=((-0.25, 0.25), (-0.25, 0.25)), returns=(0.0, 22.0),
        ),
        Problem(
            "switched_lqr", SwitchedLQR, 2, 32, 150, 1000, switching, radius=2.5,
            bounds=((-10.0, 10.0), (-10.0, 10.0)), returns=(-20.0, 0.0), settings=FEEDBACK,
        ),
    )
}  # fmt: skip
