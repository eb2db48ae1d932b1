"""Drag a soft puck to any of three goals."""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn.functional import pad

import diffsim as ds
from diffsim.render import Camera, GroundMarker
from tasks.base import Task
from tasks.episode import Episode, Transition
from tasks.registry import register
from tasks.small.three_goals import ThreeGoals

CENTER, HALF_HEIGHT = (0.6, 0.6), 0.08


@register("TripleMove")
class TripleMove(Task):
    """A finger that pokes into a soft puck drags it to one of three goals.

    Task: bring the puck's centre to any of three goals without losing it. The goals are equally near and equally good, so
        there are three distinct optima.
    Randomisation: the puck and the finger start together, up to 1 cm off the middle of the goals.
    Success: at the end the puck's centre is within 6 cm of a goal, on the ground plane.
    """

    horizon = 16
    dt, substeps = 8e-3, 8
    tool_speed = 0.8
    goals = ThreeGoals(CENTER, radius=0.3)
    outcome_names = tuple(f"the goal {name}" for name in goals.names)
    optimizer_settings = MappingProxyType({"iterations": 70, "posterior_stride": 2})

    def scene(self) -> ds.Scene:
        puck = ds.SoftBody(
            "puck",
            ds.Cylinder(half_length=HALF_HEIGHT, radius=0.13),
            position=(*CENTER, HALF_HEIGHT + 0.001),
            material=ds.Elastic(youngs_modulus=6e3, poissons_ratio=0.3),
            particles=80,
        )
        finger = ds.Tool(
            "finger",
            ds.Capsule(half_length=0.1, radius=0.065),
            position=(*CENTER, 0.165),
            control=("x", "y"),
            friction=3.0,
        )
        return ds.Scene(
            soft_bodies=(puck,),
            tools=(finger,),
            ground=ds.Ground(friction=0.1),
            upper=(1.2, 1.2, 0.4),
            grid_spacing=0.05,
        )

    def randomize(self, generator: torch.Generator) -> Episode:
        state = self.sim.reset()
        shift = pad(self.uniform(generator, 1, 2, low=-0.01, high=0.01), (0, 1))
        return self.episode(state.replace(x=state.x + shift, tool_position=state.tool_position + shift))

    def reward(self, step: Transition) -> Tensor:
        center = step.after.x[..., :2].mean(dim=1)
        gap = step.after.tool_position[:, 0, :2] - center
        return self.goals.reward(center) - 0.25 * (gap / 0.15).square().sum(dim=1)

    def success(self, episode: Episode) -> Tensor:
        return self.goals.distances(episode.state.x[..., :2].mean(dim=1)).amin(dim=1) < 0.06

    def outcome(self, episode: Episode) -> Tensor:
        return self.goals.nearest(episode.state.x[..., :2].mean(dim=1))

    def camera(self) -> Camera:
        return Camera(position=(0.6, -0.75, 1.35), target=(0.6, 0.7, 0.12), vertical_fov_degrees=35)

    def markers(self, episode: Episode, environment: int) -> tuple[GroundMarker, ...]:
        return self.goals.markers(radius=0.06)
