"""Turn a rod between two fingers by half a turn."""

from __future__ import annotations

import math
from types import MappingProxyType

import torch
from torch import Tensor

import diffsim as ds
from diffsim.render import Camera
from tasks.action_spaces import JointPosition, JointVelocity
from tasks.base import Task
from tasks.episode import Episode, Transition
from tasks.household.gantry import rails, velocity_drives
from tasks.registry import register

RADIUS, HALF_LENGTH = 0.015, 0.05  # of the rod, m
FINGER = (0.01, 0.02, 0.06)  # half extents, m
HEIGHT = 0.15
PINCH = 0.004  # m: how far within the rod the fingers are told to be
ANGLE, DROP = 0.3, 0.02  # what is allowed at the end: rad off half a turn, m off the place
RODS = ((0.95, 0.6, 0.15), (0.25, 0.5, 0.9))


@register("RodTurn")
class RodTurn(Task):
    """Two upright fingers pinch a rod that lies between them, and roll it as they slide past each other.

    Task: turn the rod about itself by half a turn, without losing it or carrying it away. Friction alone holds and turns it.
    Randomisation: the rod starts up to 0.3 rad turned and up to ``spread`` off the fingers' middle, along z.
    Success: at the end it is within 0.3 rad of half a turn, in either direction, and its axis within 2 cm of where it was.
    Ways: clockwise, or counter-clockwise, as seen along +y.

    Attributes:
        spread: see above, m.
    """

    horizon, dt, substeps = 30, 2e-3, 15
    outcome_names = ("clockwise", "counter-clockwise")
    optimizer_settings = MappingProxyType({"iterations": 60, "posterior_stride": 3})
    spread: float = 5e-3

    def scene(self) -> ds.Scene:
        turned = (math.sqrt(0.5), math.sqrt(0.5), 0.0, 0.0)  # along y
        shape = ds.Geometry(ds.Capsule(HALF_LENGTH, RADIUS), rotation=turned, friction=1.0, color=RODS[0])
        flag = ds.Geometry(
            ds.Box((0.004, HALF_LENGTH + 0.01, 0.5 * RADIUS)), (0.0, 0.0, 0.65 * RADIUS), collides=False, color=RODS[1]
        )
        mass = 0.05
        roll = 0.5 * mass * RADIUS**2
        across = mass * (RADIUS**2 / 4.0 + HALF_LENGTH**2 / 3.0)
        rod = ds.Link(
            "rod",
            ds.Joint("plane", "planar", (0.0, 1.0, 0.0), second_axis=(1.0, 0.0, 0.0)),
            position=(0.0, 0.0, HEIGHT),
            inertia=ds.Inertia(mass, (across, roll, across)),
            geometries=(shape, flag),
        )
        pad = ds.Geometry(ds.Box(FINGER, rounding=0.004), friction=1.0, color=(0.5, 0.6, 0.8))
        fingers, places = [], RADIUS + FINGER[0]
        for name, side in (("left", -1.0), ("right", 1.0)):
            links = rails("xz", (side * places, 0.0, HEIGHT), (pad,), mass=0.1)
            grip = ds.Actuator("x", "x", "position", gain=500.0, damping=20.0)
            fingers.append(ds.Articulation(name, links, (grip, *velocity_drives(("z",), 50.0, 5.0))))
        return ds.Scene(articulations=(ds.Articulation("rod", (rod,)), *fingers))

    def actions(self) -> tuple[JointVelocity | JointPosition, ...]:
        """Velocity of each finger along z, then how hard each presses."""
        slides = [JointVelocity(finger, ("z",), limit=0.12) for finger in ("left", "right")]
        pinches = [
            JointPosition(finger, ("x",), scale=sign * 0.5 * PINCH, centre=(sign * PINCH,))
            for finger, sign in (("left", 1.0), ("right", -1.0))
        ]
        return (*slides, *pinches)

    def randomize(self, generator: torch.Generator) -> Episode:
        state, drawn = self.sim.reset(), self.uniform(generator, 2)
        q = state.q.clone()
        place = self.sim.joint("rod.plane").coordinates
        q[:, place.stop - 1] += 0.3 * drawn[:, 0]
        for finger in ("left", "right"):
            q[:, self.sim.joint(f"{finger}.z").coordinates.start] += self.spread * drawn[:, 1]
        return self.episode(state.replace(q=q))

    def rod(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Distance of the rod from its place, m, and its angle, rad, each (...), of the coordinates (..., n)."""
        x, z, angle = q[..., self.sim.joint("rod.plane").coordinates].unbind(-1)
        return (x.square() + z.square() + 1e-8).sqrt(), angle

    def reward(self, step: Transition) -> Tensor:
        away, angle = self.rod(step.after.q)
        turned = 0.5 - 0.5 * torch.cos(angle)
        return turned - (away / 0.03).square()

    def success(self, episode: Episode) -> Tensor:
        away, angle = self.rod(episode.state.q)
        return ((angle.abs() - math.pi).abs() < ANGLE) & (away < DROP)

    def outcome(self, episode: Episode) -> Tensor:
        angle = self.rod(episode.state.q)[1]
        return torch.where(angle.abs() > 0.5 * math.pi, (angle < 0.0).long(), -1)

    def camera(self) -> Camera:
        return Camera(position=(0.08, -0.42, 0.27), target=(0.0, 0.0, HEIGHT), vertical_fov_degrees=38)
