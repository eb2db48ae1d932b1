"""Drag a soft body round a wall."""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor

import diffsim as ds
from diffsim.render import Camera, GroundMarker
from tasks.asset_files import asset
from tasks.base import Task
from tasks.registry import register

START, WALL_X, GOAL, MIDDLE = 0.25, 0.6, 0.95, 0.7


@register("Detour")
class Detour(Task):
    """A finger that pokes into a soft duck drags it to a goal behind a wall.

    Task: bring the duck's centre to the goal without losing it. The wall blocks the straight path, so the return has a local
        optimum in front of the wall, and there are two distinct routes round it, on the duck's left and right.
    Randomisation: the duck and the finger start together, up to 1 cm off the middle of the lane.
    Success: at the end the duck's centre is within 8 cm of the goal, on the ground plane.
    """

    horizon = 25
    dt, substeps = 8e-3, 8
    tool_speed = 1.0
    outcome_names = ("the duck's left", "the duck's right")
    optimizer_settings = MappingProxyType({"iterations": 90, "posterior_stride": 2})
    default_mesh = asset("duck.obj")

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

    def randomize(self, state: ds.State, generator: torch.Generator) -> ds.State:
        shift = torch.zeros(state.num_envs, 1, 3).to(state.x)
        shift[:, 0, :2] = 0.01 * (2.0 * torch.rand(state.num_envs, 2, generator=generator) - 1.0).to(state.x)
        return state.replace(x=state.x + shift, tool_position=state.tool_position + shift)

    def distance(self, state: ds.State) -> Tensor:
        """Distance of the duck's centre to the goal on the ground plane, m, (B,)."""
        to_goal = state.x[..., :2].mean(dim=1) - state.x.new_tensor([GOAL, MIDDLE])
        return (to_goal.square().sum(dim=1) + 1e-6).sqrt()

    def reward(self, state: ds.State, action: Tensor) -> Tensor:
        progress = 1.0 - self.distance(state) / (GOAL - START)
        gap = state.tool_position[:, 0, :2] - state.x[..., :2].mean(dim=1)
        return progress - 0.25 * (gap / 0.15).square().sum(dim=1)

    def success(self, state: ds.State) -> Tensor:
        return self.distance(state) < 0.08

    def outcome(self, observations: Tensor) -> Tensor:
        x, y = observations[..., 0], observations[..., 1]
        beside_wall = (x - WALL_X).abs().argmin(dim=0, keepdim=True)
        return (y.gather(0, beside_wall)[0] < MIDDLE).long()

    def camera(self) -> Camera:
        return Camera(position=(2.05, 0.7, 1.4), target=(0.57, 0.7, 0.08), vertical_fov_degrees=32)

    def markers(self) -> tuple[GroundMarker, ...]:
        green = (0.2, 0.75, 0.35)
        goal = (GOAL, MIDDLE)
        return (
            GroundMarker(center=goal, radius=0.1, color=green, opacity=0.25),
            GroundMarker(center=goal, radius=0.1, color=green, width=0.012),
        )
