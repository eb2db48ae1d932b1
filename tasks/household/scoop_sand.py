"""Scoop sand out of a bin and lift it."""

from __future__ import annotations

import math
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn.functional import pad

import diffsim as ds
from diffsim.render import Camera
from diffsim.scene.rotations import quaternion_to_matrix
from tasks.action_spaces import ToolVelocity
from tasks.base import Task
from tasks.episode import Episode, Transition
from tasks.measures import soft_norm
from tasks.registry import register

MIDDLE, BIN, FLOOR = (0.5, 0.2), (0.22, 0.13, 0.08), 0.02  # of the bin: half its outer sizes, and its boards, m
HALF, SURFACE = (0.18, 0.105, 0.045), 0.11  # of the sand, and the height of its surface, m
RADIUS, WALL, RIM = 0.09, 0.02, 0.04  # of the bowl, and the height of its rim over its middle, m
START, LIFTED = 0.24, 0.28  # heights of its middle, m
WANTED = 0.05  # share of the sand


@register("ScoopSand")
class ScoopSand(Task):
    """A bowl hangs upright over a bin of sand; it moves along x and z, and tilts.

    Task: scoop up some of the sand and lift it. Upright the bowl only presses the sand down: it has to be tilted, drawn through
        the sand towards its mouth, and turned back, from the left to the right or from the right to the left.
    Randomisation: the sand lies up to 1.5 cm off its place along x, and its friction angle is between 25 and 35 degrees.
    Success: at the end 5% of the sand is in the bowl, the middle of which is higher than 26 cm.

    Attributes:
        particles: number of particles of the sand.
        grid_spacing: of the background grid, m.
    """

    horizon = 48
    dt, substeps = 1e-3, 25
    tool_speed = 0.7
    particles: int = 4000
    grid_spacing: float = 0.015
    outcome_names = ("towards the left", "towards the right")
    optimizer_settings = MappingProxyType({"iterations": 60, "posterior_stride": 2})

    def scene(self) -> ds.Scene:
        x, y = MIDDLE
        bank = ds.Box(HALF)
        sand = ds.SoftBody(
            "sand", bank, (x, y, FLOOR + HALF[2] + 0.001), material=ds.Sand(youngs_modulus=2e4), particles=self.particles
        )
        bowl = ds.Tool(
            "bowl", ds.Bowl(RADIUS, WALL), (x, y, START), control=("x", "z", "ry"), friction=0.3, stops_at=("obstacles",),
            lower=(x - 0.12, None, 0.08), upper=(x + 0.12, None, 0.35),
        )  # fmt: skip
        bin_ = ds.Obstacle("bin", ds.OpenBox(BIN, FLOOR), (x, y, BIN[2]), friction=0.6)
        return ds.Scene((sand,), tools=(bowl,), obstacles=(bin_,), upper=(1.0, 0.4, 0.45), grid_spacing=self.grid_spacing)

    def actions(self) -> list[ToolVelocity]:
        return [
            ToolVelocity("bowl", speed=self.tool_speed, axes=("x", "z")),
            ToolVelocity("bowl", speed=6.0 * self.tool_speed, axes=("ry",)),
        ]

    def randomize(self, generator: torch.Generator) -> Episode:
        state = self.sim.reset()
        shift = pad(self.uniform(generator, 1, 1, low=-0.015, high=0.015), (0, 2))
        angle = self.uniform(generator, low=math.radians(25.0), high=math.radians(35.0))
        return self.episode(state.replace(x=state.x + shift), parameters={"sand.friction_angle": angle})

    def inside(self, state: ds.State) -> Tensor:
        """How deep each particle is within the half ball that the bowl bounds, m, (B, N)."""
        turn = quaternion_to_matrix(state.tool_rotation[:, 0])
        away = (state.x - state.tool_position[:, :1]) @ turn  # in the bowl's frame, with its axis along z
        from_middle = soft_norm(away - away.new_tensor([0.0, 0.0, RIM]), 1e-4)
        return torch.minimum(RADIUS - from_middle, RIM - away[..., 2])

    def held(self, state: ds.State) -> Tensor:
        """Share of the sand in the bowl, (B,)."""
        return (self.inside(state) > 0.0).to(state.x).mean(dim=1)

    def tilt(self, state: ds.State) -> Tensor:
        """Angle by which the bowl's mouth is turned to the right, rad, (B,)."""
        return 2.0 * torch.atan2(state.tool_rotation[:, 0, 2], state.tool_rotation[:, 0, 0])

    def observation(self, episode: Episode) -> Tensor:
        return torch.cat([super().observation(episode), self.tilt(episode.state)[:, None]], dim=1)

    def reward(self, step: Transition) -> Tensor:
        kept = ((self.inside(step.after) - WALL) / 0.01).sigmoid()
        share, count = kept.mean(dim=1) / WANTED, round(WANTED * kept.shape[1])
        lifted = (kept * (step.after.x[..., 2] - SURFACE).clamp(0.0, LIFTED - SURFACE)).topk(count, dim=1).values.mean(dim=1)
        return 0.3 * share.clamp(max=1.5) + lifted / (LIFTED - SURFACE)

    def success(self, episode: Episode) -> Tensor:
        return (self.held(episode.state) >= WANTED) & (episode.state.tool_position[:, 0, 2] > 0.26)

    def outcome(self, episode: Episode) -> Tensor:
        tilts = episode.history[..., -1]
        most = tilts.gather(0, tilts.abs().argmax(dim=0, keepdim=True))[0]
        return torch.where(self.held(episode.state) > 0.5 * WANTED, (most > 0.0).long(), -1)

    def camera(self) -> Camera:
        return Camera(position=(0.5, -0.75, 0.5), target=(0.5, 0.2, 0.1), vertical_fov_degrees=38)
