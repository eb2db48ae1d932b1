"""Drag a soft body round a wall."""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn.functional import pad

import diffsim as ds
from diffsim.render import Camera, GroundMarker
from tasks.asset_files import asset
from tasks.base import Task
from tasks.episode import Episode, Transition
from tasks.goal_markers import goal_markers
from tasks.measures import soft_norm, when_passing
from tasks.registry import register

START, WALL_X, GOAL, MIDDLE = 0.25, 0.6, 0.95, 0.7


@register("Detour")
class Detour(Task):
    """A finger that pokes into a soft duck drags it to a goal behind a wall.

    Task: bring the duck's centre to the goal without losing it. The wall blocks the straight path, so the return has a local
        optimum in front of the wall, and there are two distinct routes round it, on the duck's left and right.
    Randomisation: the duck and the finger start together, up to 1 cm off the middle of the lane.
    Success: at the end the duck's centre is within 8 cm of the goal, on the ground plane.

    Attributes:
        goal_spread: how far the goal, drawn anew in each episode, may lie from its place along x and y, m.
    """

    horizon = 25
    dt, substeps = 8e-3, 8
    tool_speed = 1.0
    outcome_names = ("the duck's left", "the duck's right")
    optimizer_settings = MappingProxyType({"iterations": 90, "posterior_stride": 2})
    mesh = asset("duck.obj")
    goal_spread: float = 0.0

    def scene(self) -> ds.Scene:
        shape = ds.TriangleMesh.from_file(self.mesh or "", size=0.28)
        height = float(shape.surface_mesh().extents[2])
        duck = ds.SoftBody(
            "duck",
            shape,
            position=(START, MIDDLE, 0.5 * height + 0.001),
            material=ds.Elastic(youngs_modulus=6e3, poissons_ratio=0.3),
            particles=120,
        )
        finger = ds.Tool(
            "finger",
            ds.Capsule(half_length=0.15, radius=0.065),
            position=(START, MIDDLE, 0.4 * height + 0.15),
            control=("x", "y"),
            friction=3.0,
        )
        wall = ds.Obstacle(
            "wall",
            ds.Box((0.06, 0.25, 0.1), rounding=0.03),
            position=(WALL_X, MIDDLE, 0.1),
            friction=0.2,
        )
        return ds.Scene(
            soft_bodies=(duck,),
            tools=(finger,),
            obstacles=(wall,),
            ground=ds.Ground(friction=0.1),
            upper=(1.3, 1.4, 0.4),
            grid_spacing=0.05,
        )

    def randomize(self, generator: torch.Generator) -> Episode:
        state = self.sim.reset()
        shift = pad(self.uniform(generator, 1, 2, low=-0.01, high=0.01), (0, 1))
        goal = state.x.new_tensor([GOAL, MIDDLE]) + self.goal_spread * self.uniform(generator, 2)
        return self.episode(state.replace(x=state.x + shift, tool_position=state.tool_position + shift), goal=goal)

    def observation(self, episode: Episode) -> Tensor:
        return super().observation(episode if self.goal_spread else episode.replace(values={}))

    def distance(self, episode: Episode) -> Tensor:
        """Distance of the duck's centre to the goal on the ground plane, m, (B,)."""
        to_goal = episode.state.x[..., :2].mean(dim=1) - episode["goal"]
        return soft_norm(to_goal)

    def reward(self, step: Transition) -> Tensor:
        progress = 1.0 - self.distance(step.episode) / (GOAL - START)
        gap = step.after.tool_position[:, 0, :2] - step.after.x[..., :2].mean(dim=1)
        return progress - 0.25 * (gap / 0.15).square().sum(dim=1)

    def success(self, episode: Episode) -> Tensor:
        return self.distance(episode) < 0.08

    def outcome(self, episode: Episode) -> Tensor:
        x, y = episode.history[..., :2].unbind(2)
        beside_wall = when_passing(x - WALL_X, y)
        return torch.where(x.amax(dim=0) > WALL_X, (beside_wall < MIDDLE).long(), -1)

    def camera(self) -> Camera:
        return Camera(position=(2.05, 0.7, 1.4), target=(0.57, 0.7, 0.08), vertical_fov_degrees=32)

    def markers(self, episode: Episode, environment: int) -> tuple[GroundMarker, ...]:
        return goal_markers(episode["goal"][environment].tolist(), 0.1)
