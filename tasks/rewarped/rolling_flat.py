"""Flatten dough with a rolling pin (Rewarped's RollingFlat)."""

from __future__ import annotations

import math
from types import MappingProxyType

import torch
from torch import Tensor

import diffsim as ds
from diffsim.render import Camera
from tasks.episode import Episode, Transition
from tasks.registry import register
from tasks.rewarped.kinematic_manipulator import FLOOR, KinematicManipulator, z_up

HEIGHT, EDGE = 0.125, 0.3  # of the dough, m
RADIUS, LENGTH, ARM = 0.03, 0.4, 0.5  # of the pin, and from the upright axis that it turns about to its middle, m
LOWEST = FLOOR + 2.0 * RADIUS


@register("RollingFlat")
class RollingFlat(KinematicManipulator):
    """A rolling pin on an upright axis flattens a block of dough.

    Task: bring the dough's particles down. The pin's axis slides along the box and up and down, and turns; the pin's middle is
        half a metre from it. Like the original's reward, this one is (1 / (1 + h / 12.5 cm))^2 with the particles' mean height
        h, less their heights' variance. It is doubled where h is below a third of 12.5 cm; but the dough rests on a ground at
        6.25 cm, so that it never is.
    Randomisation: the dough is shifted by up to 10 cm along the ground and 5 cm up, and then all its coordinates are scaled by
        up to a tenth.
    Success: at the end the particles' mean height is below 10.5 cm, 4.25 cm above the ground; untouched it is 11.5 cm or more.

    The pin's thin handles are left out, and its contact sets in over a cell, not exponentially as the original's.
    """

    action_dim = 3
    joint_limits = ((4.0 * RADIUS, 1.0 - 4.0 * RADIUS, 0.01), (LOWEST, LOWEST + 0.25, 0.01),
                    (-0.66 * math.pi, 0.66 * math.pi, math.pi / 60.0))  # fmt: skip
    outcome_names = ("flattened",)
    optimizer_settings = MappingProxyType({"iterations": 60})

    def scene(self) -> ds.Scene:
        dough = ds.SoftBody(
            "dough",
            ds.Box(z_up((0.5 * EDGE, 0.5 * HEIGHT, 0.5 * EDGE))),
            z_up((0.5, FLOOR + 0.7 * HEIGHT, 0.5)),
            material=ds.ElastoPlastic(5000.0, 0.2, density=1.0, yield_stress=50.0),
            particles=self.particles,
        )
        pin = ds.Tool(  # a capsule along the axis from which it is held
            "pin",
            ds.Box(z_up((RADIUS, RADIUS, 0.5 * LENGTH + RADIUS)), rounding=RADIUS),
            z_up((0.5, LOWEST + 0.66 * 0.25, ARM)),
            control=("x", "y", "z", "rz"),
            stops_at=(),
            friction=0.9,
        )
        return self.box(soft_bodies=(dough,), tools=(pin,))

    def joints(self, state: ds.State) -> Tensor:
        """The axis' place along the box, its height, and the pin's angle."""
        turned = state.tool_rotation[:, 0]
        angle = 2.0 * torch.atan2(turned[:, 3], turned[:, 0])
        along, height = state.tool_position[:, 0, 1:].unbind(dim=1)
        return torch.stack([along - ARM * angle.sin(), height, angle], dim=1)

    def twists(self, state: ds.State, joints: Tensor, moved: Tensor) -> Tensor:
        place, height, angle = moved.unbind(dim=1)
        middle = torch.stack([ARM * angle.cos(), place + ARM * angle.sin(), height], dim=1)
        motion = torch.cat([middle - state.tool_position[:, 0], moved[:, 2:] - joints[:, 2:]], dim=1)
        return motion / self.sim.control_dt

    def randomize(self, generator: torch.Generator) -> Episode:
        return self.episode(self.scattered(self.sim.reset(), self.uniform(generator, 1, 4), up=0.05, scale=0.1))

    def reward(self, step: Transition) -> Tensor:
        height = step.after.x[..., 2]
        relative = height.mean(dim=1) / HEIGHT
        low = (1.0 / (1.0 + relative)).square()
        return torch.where(relative <= 0.33, 2.0 * low, low) - height.var(dim=1)

    def success(self, episode: Episode) -> Tensor:
        return episode.state.x[..., 2].mean(dim=1) < 0.105

    def camera(self) -> Camera:
        return Camera(position=(1.45, -0.55, 0.95), target=(0.5, 0.5, 0.15), vertical_fov_degrees=25)
