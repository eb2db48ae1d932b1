"""Pour water from a cup into either of two glasses."""

from __future__ import annotations

import math
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn.functional import pad

import diffsim as ds
from diffsim.render import Camera
from tasks.action_spaces import ToolVelocity
from tasks.base import Task
from tasks.episode import Episode, Transition
from tasks.looks import GLASS_LOOK
from tasks.measures import which_largest
from tasks.registry import register

MIDDLE, HEIGHT, ASIDE = (0.5, 0.2), 0.36, 0.19  # of the cup, m, and of the glasses from it along x
GLASS, WALL = 0.09, 0.02  # outer radius, and thickness, m
TALL = 0.06  # half a glass's height, m


@register("PourLiquid")
class PourLiquid(Task):
    """A cup of water hangs over the space between two glasses; it moves along x and z, and tilts.

    Task: pour the water into either glass. They are equally near; a half in each, or what falls between them, does not count.
    Randomisation: the cup starts up to 1.5 cm off its place along x and z, and the water's viscosity varies by a factor of 2.
    Success: at the end 70% of the water is in one glass.

    Attributes:
        particles: number of particles of the water.
        grid_spacing: of the background grid, m.
    """

    horizon = 36
    dt, substeps = 1e-3, 25
    tool_speed = 0.5
    particles: int = 3000
    grid_spacing: float = 0.015
    outcome_names = ("the left glass", "the right glass")
    optimizer_settings = MappingProxyType({"iterations": 60, "posterior_stride": 2})

    def scene(self) -> ds.Scene:
        x, y = MIDDLE
        liquid = ds.Liquid(bulk_modulus=1e4, viscosity=1.0)
        water = ds.SoftBody("water", ds.Cylinder(0.045, 0.05), (x, y, HEIGHT - 0.01), material=liquid, particles=self.particles)
        cup = ds.Tool(
            "cup", ds.Cup(0.08, 0.075, WALL), (x, y, HEIGHT), control=("x", "z", "ry"), friction=0.0, **GLASS_LOOK,
            lower=(0.3, None, 0.25), upper=(0.7, None, 0.45),
        )  # fmt: skip
        glasses = tuple(
            ds.Obstacle(name, ds.Cup(TALL, GLASS, WALL), (x + side * ASIDE, y, TALL), friction=0.1, **GLASS_LOOK)
            for name, side in (("left_glass", -1.0), ("right_glass", 1.0))
        )
        return ds.Scene((water,), tools=(cup,), obstacles=glasses, upper=(1.0, 0.4, 0.6), grid_spacing=self.grid_spacing)

    def actions(self) -> list[ToolVelocity]:
        return [
            ToolVelocity("cup", speed=self.tool_speed, axes=("x", "z")),
            ToolVelocity("cup", speed=8.0 * self.tool_speed, axes=("ry",)),
        ]

    def randomize(self, generator: torch.Generator) -> Episode:
        state = self.sim.reset()
        shift = pad(self.uniform(generator, 1, 2, low=-0.015, high=0.015), (0, 1))[..., [0, 2, 1]]
        viscosity = torch.exp(self.uniform(generator, low=-math.log(2.0), high=math.log(2.0)))
        state = state.replace(x=state.x + shift, tool_position=state.tool_position + shift)
        return self.episode(state, parameters={"water.viscosity": viscosity})

    def from_glasses(self, state: ds.State) -> Tensor:
        """Of each particle from the middle of each glass's inside, m, (B, 2, N, 3)."""
        x, y = MIDDLE
        return state.x[:, None] - state.x.new_tensor([(x + side * ASIDE, y, TALL) for side in (-1.0, 1.0)])[:, None]

    def shares_in(self, state: ds.State) -> Tensor:
        """Of the water in each glass, (B, 2)."""
        away = self.from_glasses(state)
        inside = (away[..., :2].norm(dim=3) < GLASS) & (away[..., 2].abs() < TALL)
        return inside.to(state.x).mean(dim=2)

    def reward(self, step: Transition) -> Tensor:
        distance = (self.from_glasses(step.after).square().sum(dim=3) + 1e-5).sqrt().mean(dim=2)
        return 1.0 + 0.02 * torch.logsumexp(-distance / 0.02, dim=1) / 0.3

    def success(self, episode: Episode) -> Tensor:
        return self.shares_in(episode.state).amax(dim=1) >= 0.7

    def outcome(self, episode: Episode) -> Tensor:
        return which_largest(self.shares_in(episode.state), 0.5)

    def camera(self) -> Camera:
        return Camera(position=(0.5, -0.8, 0.65), target=(0.5, 0.2, 0.2), vertical_fov_degrees=38)
