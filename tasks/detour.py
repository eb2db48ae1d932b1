"""Drag a soft body round a wall."""

from __future__ import annotations

import torch
from torch import Tensor

import diffsim as ds
from diffsim.render import Camera, GroundMarker
from tasks.assets import asset
from tasks.base import Task
from tasks.registry import register

START, GOAL, WALL_X, MIDDLE = 0.25, 0.95, 0.6, 0.6
WALL_HALF_WIDTH = 0.2


@register("Detour")
class Detour(Task):
    """A finger that pokes into a soft duck drags it to a goal behind a wall.

    Task: bring the duck's centre to the goal. The wall stands across the straight way, so the return has a local optimum in
        front of the wall, and two distinct ways round it, left and right.
    Randomisation: the duck and the finger start together up to 1 cm off the middle of the lane.
    Success: at the end, the duck's centre is within 6 cm of the goal, on the ground plane.
    """

    horizon = 24
    dt, substeps = 6e-3, 10
    tool_speed = 1.2
    outcome_names = ("left", "right")
    default_mesh = asset("duck.obj")
    wanted_particles = 160

    def scene(self) -> ds.Scene:
        duck = ds.MeshShape(self.mesh, size=0.18)
        bottom = duck.surface_mesh().bounds[0, 2]
        top = duck.surface_mesh().extents[2]
        return ds.Scene(
            soft_bodies=(
                ds.SoftBody(
                    "duck",
                    duck,
                    (START, MIDDLE, 0.001 - bottom),
                    material=ds.Elastic(youngs_modulus=6e3, poissons_ratio=0.3),
                    particles=self.wanted_particles,
                ),
            ),
            tools=(ds.Tool("finger", ds.Capsule(0.15, 0.045), (START, MIDDLE, 0.5 * top + 0.15), control=("x", "y"), friction=3.0),),
            obstacles=(ds.Obstacle("wall", ds.Box((0.04, WALL_HALF_WIDTH, 0.1), rounding=0.02), (WALL_X, MIDDLE, 0.1), friction=0.2),),
            ground=ds.Ground(friction=0.1),
            upper=(1.2, 1.2, 0.4),
            grid_spacing=0.04,
        )

    def randomize(self, state: ds.State, generator: torch.Generator) -> ds.State:
        shift = torch.zeros(state.num_envs, 1, 3, dtype=state.x.dtype)
        shift[:, 0, :2] = 0.01 * (2.0 * torch.rand(state.num_envs, 2, generator=generator) - 1.0)
        return state.replace(x=state.x + shift, tool_position=state.tool_position + shift)

    def distance(self, state: ds.State) -> Tensor:
        """Of the duck's centre to the goal on the ground plane, m, (B,)."""
        goal = state.x.new_tensor([GOAL, MIDDLE])
        return ((state.x[..., :2].mean(dim=1) - goal).square().sum(dim=1) + 1e-6).sqrt()

    def reward(self, state: ds.State, action: Tensor) -> Tensor:
        return 1.0 - self.distance(state) / (GOAL - START)

    def success(self, state: ds.State) -> Tensor:
        return self.distance(state) < 0.06

    def outcome(self, observations: Tensor) -> Tensor:
        x, y = observations[..., 0], observations[..., 1]
        beside_wall = (x - WALL_X).abs().argmin(dim=0, keepdim=True)
        return (y.gather(0, beside_wall)[0] < MIDDLE).long()

    def camera(self) -> Camera:
        return Camera(position=(-0.35, 0.6, 1.05), target=(0.62, 0.6, 0.0), vertical_fov_degrees=42)

    def markers(self) -> tuple[GroundMarker, ...]:
        return (GroundMarker(center=(GOAL, MIDDLE), radius=0.1, color=(0.2, 0.75, 0.35)),)
