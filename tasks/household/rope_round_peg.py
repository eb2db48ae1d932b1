"""Lay a rope round a peg."""

from __future__ import annotations

import math
from functools import cached_property
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

import diffsim as ds
from diffsim.render import Camera
from tasks.action_spaces import ToolVelocity
from tasks.base import Task
from tasks.episode import Episode, Transition
from tasks.measures import soft_norm
from tasks.registry import register

LENGTH, RADIUS, HEIGHT = 0.56, 0.02, 0.022  # of the rope and its middle line, m
TAIL, MIDDLE, PEG = 0.12, 0.45, 0.8  # of the rope's end along x, of the table along y, of the peg along x, m
TURN, WANTED = math.radians(290.0), math.radians(210.0)  # that the reward asks for, and that success does
POINTS = 14  # along the rope


@register("RopeRoundPeg")
class RopeRoundPeg(Task):
    """A rope lies straight on a table and ends before a peg; two hands hold its ends.

    Task: lay the rope round the peg. The head's hand goes round the peg and the tail's hand gives way; clockwise and
        counter-clockwise are equally good, and where the rope is pulled straight on, the peg stands in its way.
    Randomisation: the peg stands up to 3 cm off its place along x and y; rope and hands lie up to 1 cm off theirs.
    Success: at the end the rope, from its tail to its head, turns round the peg by at least 210 degrees as seen from it, and is
        stretched by less than 20%.

    Attributes:
        particles: number of particles of the rope.
        grid_spacing: of the background grid, m.
    """

    horizon = 30
    dt, substeps = 1e-3, 20
    tool_speed = 1.0
    particles: int = 1500
    grid_spacing: float = 0.016
    outcome_names = ("counter-clockwise", "clockwise")
    optimizer_settings = MappingProxyType({"iterations": 80, "posterior_stride": 2})

    def scene(self) -> ds.Scene:
        rubber, middle = ds.Elastic(youngs_modulus=2e4, poissons_ratio=0.3), (TAIL + 0.5 * LENGTH, MIDDLE, HEIGHT)
        lying = (0.5**0.5, 0.0, 0.5**0.5, 0.0)
        shape = ds.Capsule(0.5 * LENGTH - RADIUS, RADIUS)
        rope = ds.SoftBody("rope", shape, middle, lying, material=rubber, particles=self.particles)
        ends = (("head", TAIL + LENGTH - RADIUS), ("tail", TAIL + RADIUS))
        ball, grip = ds.Sphere(0.028), ds.Sphere(1.4 * RADIUS)
        low, high = (0.06, 0.06, None), (1.14, 0.84, None)
        hands = tuple(
            ds.Tool(f"{name}_hand", ball, (x, MIDDLE, 0.03), control=("x", "y"), lower=low, upper=high) for name, x in ends
        )
        grips = tuple(
            ds.Attachment(f"{name}_grip", "rope", f"{name}_hand", where=grip, position=(x, MIDDLE, HEIGHT)) for name, x in ends
        )
        # nothing drives the peg; as a tool it can stand elsewhere in each episode
        peg = ds.Tool("peg", ds.Capsule(0.06, 0.045), (PEG, MIDDLE, 0.08), control=("x",), friction=0.2, stops_at=())
        return ds.Scene(
            (rope,), tools=(*hands, peg), attachments=grips, ground=ds.Ground(friction=0.2), upper=(1.2, 0.9, 0.3),
            grid_spacing=self.grid_spacing,
        )  # fmt: skip

    def actions(self) -> list[ToolVelocity]:
        return [ToolVelocity(f"{name}_hand", speed=self.tool_speed) for name in ("head", "tail")]

    def randomize(self, generator: torch.Generator) -> Episode:
        state = self.sim.reset()
        aside = pad(self.uniform(generator, 1, 2, low=-0.01, high=0.01), (0, 1))
        peg = pad(self.uniform(generator, 1, 2, low=-0.03, high=0.03), (0, 1))
        tools = state.tool_position + torch.cat([aside, aside, peg], dim=1)
        return self.episode(state.replace(x=state.x + aside, tool_position=tools))

    @cached_property
    def shares(self) -> Tensor:
        """Of the particles (N,) in the rope's points, which are means of pieces from the tail to the head, (POINTS, N)."""
        along = self.sim.scene.soft_bodies[0].rest_particles[:, 0]
        piece = np.minimum((along - TAIL) / LENGTH * POINTS, POINTS - 1).astype(int)
        shares = torch.nn.functional.one_hot(torch.from_numpy(piece), POINTS).T.to(self.sim.device, self.sim.dtype)
        return shares / shares.sum(dim=1, keepdim=True)

    def stretch(self, state: ds.State) -> Tensor:
        """By which share the line through the rope's points is longer than at first, (B,)."""
        points = self.shares @ state.x[..., :2]
        length = soft_norm(points[:, 1:] - points[:, :-1], 1e-4).sum(dim=1)
        return length / (LENGTH * (POINTS - 1) / POINTS) - 1.0

    def turn(self, state: ds.State) -> Tensor:
        """Angle by which the rope goes round the peg from its tail to its head, rad, counter-clockwise, (B,)."""
        seen = (self.shares @ state.x[..., :2]) - state.tool_position[:, 2:3, :2]
        ahead, behind = seen[:, 1:], seen[:, :-1]
        cross = behind[..., 0] * ahead[..., 1] - behind[..., 1] * ahead[..., 0]
        return torch.atan2(cross, (behind * ahead).sum(dim=2)).sum(dim=1)

    def reward(self, step: Transition) -> Tensor:
        turned = (self.turn(step.after).square() + 1e-3).sqrt() / TURN
        return 1.0 - (1.0 - turned).clamp(min=0.0).square() - 5.0 * self.stretch(step.after).clamp(min=0.0).square()

    def success(self, episode: Episode) -> Tensor:
        return (self.turn(episode.state).abs() > WANTED) & (self.stretch(episode.state) < 0.2)

    def outcome(self, episode: Episode) -> Tensor:
        turn = self.turn(episode.state)
        return torch.where(turn.abs() > 0.5 * WANTED, (turn < 0.0).long(), -1)

    def camera(self) -> Camera:
        return Camera(position=(0.62, -0.35, 0.95), target=(0.62, 0.45, 0.0), vertical_fov_degrees=40)
