"""The world of the rigid plane tasks: discs that slide on a table with dry friction, and collide without loss.

In the original each action a is added to the actor's velocity, times a multiplier, at the beginning of every
interval; friction takes a constant deceleration from any motion; impacts of circles exchange momentum in an instant.
Here the action is a force that does as much over an interval, friction is the same to rounding, and an impact is
compliant: it lasts about four substeps and begins over a few centimetres, so that gradients see it coming and know
its time (docs/rigid.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

import diffsim as ds
from diffsim.render import Camera, GroundMarker
from tasks.action_spaces import AllControls
from tasks.base import Task
from tasks.episode import Episode, Transition
from tasks.goal_markers import goal_markers
from tasks.measures import soft_norm, when_passing, which_smallest

CENTRE = 0.3  # height of all discs' centres over the table, m: circles meet in one plane
FOOT = 0.05  # radius of the invisible ball on which a disc slides, m
NEAR = 0.6  # distance at which an actor is near enough to what it pushes, m
HARD = 1e12  # stiffness of the table, N/m: a foot's own then counts twice (a pair takes the harmonic mean)
STIFFNESS = 0.75  # of an impact: its frequency in rad a substep
FASTEST = 12.0  # m/s, the speed up to which contact does not set in within a substep
THICKNESS = 0.1  # half of a disc's, as drawn
BLUE, ORANGE = (0.25, 0.45, 0.85), (0.95, 0.6, 0.15)


@dataclass(frozen=True)
class Disc:
    """A disc that slides: radius (m), mass (kg), place and velocity at the start (m, m/s)."""

    name: str
    radius: float
    mass: float
    place: tuple[float, float]
    velocity: tuple[float, float] = (0.0, 0.0)
    color: tuple[float, float, float] = ORANGE


@dataclass(frozen=True)
class Post:
    """A round obstacle: radius and place, m."""

    name: str
    radius: float
    place: tuple[float, float]


@dataclass(frozen=True)
class Impact:
    """How discs collide: restitution, stiffness per mass (1/s^2) and the length over which contact sets in, m."""

    restitution: float
    stiffness: float
    length: float


def _articulation(disc: Disc, deceleration: float, impact: Impact, *, driven: bool) -> ds.Articulation:
    """A disc on two slides, with a force on each if ``driven``.

    Its foot stands on the table under a constant normal force, the weight, since the slides keep its height.
    """
    pressure = 9.81 * disc.mass / (impact.length * math.log(2.0))  # of a foot that just touches, docs/rigid.md with e = 0
    foot = ds.Geometry(
        ds.Sphere(FOOT), (0.0, 0.0, FOOT - CENTRE), friction=2.0 * deceleration / 9.81, stiffness=pressure, visible=False
    )
    rim = ds.Geometry(
        ds.Sphere(disc.radius),
        friction=0.0,
        restitution=impact.restitution,
        stiffness=impact.stiffness * disc.mass,
        visible=False,
    )
    look = ds.Geometry(ds.Cylinder(THICKNESS, disc.radius), (0.0, 0.0, THICKNESS - CENTRE), collides=False, color=disc.color)
    moment = 0.4 * disc.mass * disc.radius**2
    body = ds.Inertia(disc.mass, (moment, moment, moment))
    joints = [
        ds.Joint(axis, "prismatic", axis=direction, initial=(at,), initial_velocity=(speed,))
        for axis, direction, at, speed in zip("xy", ((1, 0, 0), (0, 1, 0)), disc.place, disc.velocity, strict=True)
    ]
    links = (
        ds.Link("slide", joints[0], position=(0.0, 0.0, CENTRE)),
        ds.Link("disc", joints[1], "slide", inertia=body, geometries=(foot, rim, look)),
    )
    return ds.Articulation(disc.name, links, tuple(ds.Actuator(f"push_{axis}", axis) for axis in "xy") if driven else ())


class CircleTask(Task):
    """Discs on a table, the first of which is pushed by the action.

    Constants of a class: ``discs``, the actor first; ``posts``; ``deceleration`` by friction, m/s^2; ``interval``, s.

    Attributes:
        start_spread: how far a disc may start from its place along x and y, m.
        restitution: of the discs' impacts.
        multiplier: m/s that an action of 1 adds to the actor's velocity in each ``interval``.
    """

    discs: Sequence[Disc] = ()
    posts: Sequence[Post] = ()
    deceleration, interval = 8.0, 0.02
    multiplier: float = 1.0
    start_spread: float = 0.02
    restitution: float = 1.0

    def scene(self) -> ds.Scene:
        impact = Impact(self.restitution, (STIFFNESS / self.dt) ** 2, FASTEST * self.dt)
        articulations = [_articulation(disc, self.deceleration, impact, driven=disc is self.discs[0]) for disc in self.discs]
        obstacles = [
            ds.Obstacle(
                post.name, ds.Cylinder(CENTRE, post.radius), (*post.place, CENTRE), friction=0.0, restitution=self.restitution,
                stiffness=impact.stiffness,
            )
            for post in self.posts
        ]  # fmt: skip
        return ds.Scene(
            articulations=tuple(articulations), obstacles=tuple(obstacles), ground=ds.Ground(friction=0.0, stiffness=HARD),
            gravity=(0.0, 0.0, 0.0), contact=ds.ContactModel(smoothing=impact.length, restitution_speed=0.5),
        )  # fmt: skip

    def actions(self) -> Sequence[AllControls]:
        return (AllControls(self.discs[0].mass * self.multiplier / self.interval),)

    def randomize(self, generator: torch.Generator) -> Episode:
        state = self.sim.reset()
        return self.episode(state.replace(q=state.q + self.start_spread * self.uniform(generator, state.q.shape[1])))

    def place(self, state: ds.State, disc: int = 0) -> Tensor:
        """Centre of a disc on the table, m, (B, 2)."""
        return state.q[:, 2 * disc : 2 * disc + 2]

    def distance(self, state: ds.State, goal: Sequence[float], disc: int = 0) -> Tensor:
        """Distance of a disc's centre to a point, m, (B,)."""
        return soft_norm(self.place(state, disc) - state.q.new_tensor(goal))

    def path(self, episode: Episode, disc: int = 0) -> Tensor:
        """Where a disc has been, m, (t + 1, B, 2)."""
        return episode.history[..., 2 * disc : 2 * disc + 2]

    def camera(self) -> Camera:
        return Camera(position=(0.0, -7.5, 11.0), target=(0.0, -0.4, 0.0), vertical_fov_degrees=34)


class GoalTask(CircleTask):
    """Discs that are wanted at goals: it succeeds with any of them there.

    Constants of a class: ``goals``, places in m, the disc ``wanted`` at each, and the ``radius`` within which it is there, m.
    """

    goals: ClassVar[Sequence[tuple[float, float]]] = ()
    wanted: ClassVar[Sequence[int]] = (0,)
    radius: ClassVar[float] = 1.0

    def distances(self, state: ds.State) -> Tensor:
        """Of the discs from their goals, m, (B, goals)."""
        pairs = zip(self.goals, self.wanted, strict=True)
        return torch.stack([self.distance(state, goal, disc) for goal, disc in pairs], dim=1)

    def nearest(self, state: ds.State, within: float) -> Tensor:
        """Number of the goal whose disc is nearest to it, int64 (B,); -1 where none is ``within`` so many m."""
        return which_smallest(self.distances(state), within)

    def success(self, episode: Episode) -> Tensor:
        return self.distances(episode.state).amin(dim=1) < self.radius

    def markers(self, episode: Episode, environment: int) -> tuple[GroundMarker, ...]:
        return tuple(mark for goal in self.goals for mark in goal_markers(goal, self.radius))


class PushTask(GoalTask):
    """The actor pushes a ball, disc 1, to a goal: 100 actions of 10 ms that add up to 6 m/s each."""

    horizon, dt, substeps = 100, 2.5e-3, 4
    deceleration, interval = 3.0, 0.01
    wanted, radius = (1,), 0.6
    multiplier: float = 6.0
    start_spread: float = 0.01

    def reward(self, step: Transition) -> Tensor:
        """10 times what the actor came nearer to the ball, while beyond 60 cm, and the ball to its goal."""
        progress = self.distances(step.before)[:, 0] - self.distances(step.after)[:, 0]
        return 10.0 * (progress + self._reach(step.before) - self._reach(step.after))

    def _reach(self, state: ds.State) -> Tensor:
        return soft_norm(self.place(state, 0) - self.place(state, 1)).clamp(min=NEAR)


def passing_side(path: Tensor, place: Sequence[float], heading: Sequence[float]) -> Tensor:
    """How far to the left of ``place`` (x, y) a ``path`` (t + 1, B, 2) passes it on its way along the unit vector
    ``heading``, m, (B,): where it is level with it, or nearest to being so."""
    gap = path - path.new_tensor(place)
    along = gap @ path.new_tensor(heading)
    left = gap @ path.new_tensor([-heading[1], heading[0]])
    return when_passing(along, left)
