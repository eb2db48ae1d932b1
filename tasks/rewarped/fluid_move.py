"""Carry water in an open box to a place (Rewarped's FluidMove)."""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor

import diffsim as ds
from diffsim.render import Camera, GroundMarker
from tasks.episode import Episode, Transition
from tasks.goal_markers import goal_markers
from tasks.looks import GLASS_LOOK
from tasks.measures import soft_norm
from tasks.registry import register
from tasks.rewarped.kinematic_manipulator import KinematicManipulator, z_up

INNER, THICKNESS = z_up((0.18, 0.16, 0.22)), 0.05
START = z_up((0.5, 0.15, 0.5))  # of the middle of the room inside the box
OUTER = tuple(0.5 * edge + part * THICKNESS for edge, part in zip(INNER, (1.0, 1.0, 0.5), strict=True))  # half of it
BULK = 1e5 * 0.3 / (1.3 * 0.4)  # Lame's first parameter of E = 1e5 Pa and nu = 0.3
HALF_WATER = z_up((0.08, 0.04675, 0.10))
SHARPNESS = 1e-5  # m, over which a particle goes from inside to outside


@register("FluidMove")
class FluidMove(KinematicManipulator):
    """An open box of water is carried to a place in the air.

    Task: bring the box to the goal and spill nothing. Like the original's reward, this one is 0.1 / (1 + d^2)^2 with the
        distance d in metres, twice that within 2 cm of the goal, less the share of particles outside the box.
    Randomisation: the goal is up to 20 cm aside along each axis of the ground and up to 30 cm above the start.
    Success: at the end the box is within 2 cm of the goal, with less than 2% of the water outside.
    """

    action_dim = 3
    dt = 5e-4
    gravity, ground_friction = -9.8, 0.0
    joint_limits = tuple((edge, 1.0 - edge, 0.01) for edge in INNER)
    outcome_names = ("carried",)
    optimizer_settings = MappingProxyType({"iterations": 60})
    particles: int = 8000

    def scene(self) -> ds.Scene:
        water = ds.SoftBody(
            "water",
            ds.Box(HALF_WATER),
            START,
            material=ds.Liquid(density=1e3, bulk_modulus=BULK),
            particles=self.particles,
        )
        # the walls go from the floor's lower side to the rim, so the box's middle is half a floor below that of the room inside
        outer = (OUTER[0], OUTER[1], 0.5 * (INNER[2] + THICKNESS))
        middle = (START[0], START[1], START[2] - 0.5 * THICKNESS)
        box = ds.Tool("box", ds.OpenBox(outer, THICKNESS), middle, stops_at=(), friction=0.5, **GLASS_LOOK)
        return self.box(soft_bodies=(water,), tools=(box,))

    def joints(self, state: ds.State) -> Tensor:
        """The middle of the room inside the box."""
        return state.tool_position[:, 0] + state.x.new_tensor([0.0, 0.0, 0.5 * THICKNESS])

    def twists(self, state: ds.State, joints: Tensor, moved: Tensor) -> Tensor:
        return (moved - joints) / self.sim.control_dt

    def randomize(self, generator: torch.Generator) -> Episode:
        drawn = self.uniform(generator, 3)
        offset = torch.cat([0.2 * drawn[:, :2], 0.15 * (drawn[:, 2:] + 1.0)], dim=1)
        return self.episode(self.sim.reset(), goal=self.spread * offset + offset.new_tensor(START))

    def observation(self, episode: Episode) -> Tensor:
        return torch.cat([super().observation(episode), episode["goal"]], dim=1)

    def distance(self, episode: Episode) -> Tensor:
        """From the box to the goal, m, (B,)."""
        return soft_norm(self.joints(episode.state) - episode["goal"], 1e-6)

    def spilled(self, state: ds.State) -> Tensor:
        """Share of the particles outside the box, (B,)."""
        beyond = (state.x - self.joints(state)[:, None]).abs() - state.x.new_tensor(OUTER)
        return (beyond / SHARPNESS).sigmoid().amax(dim=-1).mean(dim=-1)

    def reward(self, step: Transition) -> Tensor:
        distance = self.distance(step.episode)
        near = (1.0 / (1.0 + distance.square())).square()
        return 0.1 * torch.where(distance <= 0.02, 2.0 * near, near) - self.spilled(step.after)

    def success(self, episode: Episode) -> Tensor:
        return (self.distance(episode) < 0.02) & (self.spilled(episode.state) < 0.02)

    def camera(self) -> Camera:
        return Camera(position=(1.7, -0.6, 1.1), target=(0.5, 0.5, 0.3), vertical_fov_degrees=28)

    def markers(self, episode: Episode, environment: int) -> tuple[GroundMarker, ...]:
        return goal_markers(episode["goal"][environment, :2].tolist(), 0.05)
