"""Carry a cup of water past a post without spilling it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn.functional import pad

import diffsim as ds
from diffsim.render import Camera, GroundMarker
from tasks.action_spaces import ActionSpace, Drive, ToolVelocity
from tasks.base import Task
from tasks.episode import Episode, Transition
from tasks.goal_markers import goal_markers
from tasks.looks import GLASS_LOOK
from tasks.measures import soft_norm, when_passing
from tasks.registry import register

START, POST, GOAL, MIDDLE = 0.65, 1.0, 1.35, 0.9  # along x, and of all along y, m
TALL, RADIUS, WALL, HEIGHT = 0.075, 0.09, 0.02, 0.15  # half the cup's height, its outer radius and wall, its middle, m
REACH = 0.1  # of the goal, m


@dataclass(frozen=True)
class LaggedVelocity(ActionSpace):
    """Velocity of a tool, which each step gains a ``share`` of what it lacks to the action times ``speed``, m/s."""

    tool: str
    speed: float
    share: float

    def bound(self, simulator: ds.Simulator) -> Drive:
        velocity = ToolVelocity(self.tool).bound(simulator)

        def controls(state: ds.State, action: Tensor, last: Tensor) -> Tensor:
            return last + self.share * (self.speed * action - last)

        return Drive(velocity.dim, velocity.places, controls, held=lambda state: state.x.new_zeros(len(state.x), velocity.dim))


@register("TransportLiquid")
class TransportLiquid(Task):
    """A cup of water hangs before a post, behind which it is wanted.

    Task: carry the cup to a goal behind the post, on the post's left or on its right; the cup stops at it. It is slow to
        follow the action, but where this changes too fast it still spills.
    Randomisation: the post stands up to 3 cm off its place along x and y, the goal lies up to 5 cm off its own, and the water's
        viscosity varies by a factor of 2.
    Success: at the end the cup's middle is within 10 cm of the goal on the ground plane, and 90% of the water is in the cup.

    Attributes:
        particles: number of particles of the water.
        grid_spacing: of the background grid, m.
    """

    horizon = 48
    dt, substeps = 1e-3, 30
    particles: int = 3000
    grid_spacing: float = 0.015
    outcome_names = ("past the post's left", "past the post's right")
    optimizer_settings = MappingProxyType({"iterations": 60, "posterior_stride": 2})

    def scene(self) -> ds.Scene:
        liquid = ds.Liquid(bulk_modulus=5e3, viscosity=1.0)
        inside = (START, MIDDLE, HEIGHT)
        water = ds.SoftBody("water", ds.Cylinder(0.05, 0.06), inside, material=liquid, particles=self.particles)
        cup = ds.Tool(
            "cup", ds.Cup(TALL, RADIUS, WALL), (START, MIDDLE, HEIGHT), control=("x", "y"), friction=0.0, **GLASS_LOOK,
            lower=(0.5, 0.5, None), upper=(1.5, 1.3, None),
        )  # fmt: skip
        # nothing drives the post; as a tool it can stand elsewhere in each episode
        post = ds.Tool("post", ds.Capsule(0.1, 0.06), (POST, MIDDLE, 0.165), control=("x",), stops_at=())
        # room around, as a drop that hits an edge of the domain is thrown back fast
        return ds.Scene(
            (water,), tools=(cup, post), ground=ds.Ground(friction=0.8), upper=(2.0, 1.8, 0.8), grid_spacing=self.grid_spacing
        )

    def actions(self) -> list[ActionSpace]:
        return [LaggedVelocity("cup", speed=1.0, share=0.35)]

    def randomize(self, generator: torch.Generator) -> Episode:
        state = self.sim.reset()
        post = pad(self.uniform(generator, 1, 2, low=-0.03, high=0.03), (0, 1, 1, 0))
        goal = state.x.new_tensor([GOAL, MIDDLE]) + self.uniform(generator, 2, low=-0.05, high=0.05)
        viscosity = torch.exp(self.uniform(generator, low=-math.log(2.0), high=math.log(2.0)))
        state = state.replace(tool_position=state.tool_position + post)
        return self.episode(state, parameters={"water.viscosity": viscosity}, goal=goal)

    def distance(self, episode: Episode) -> Tensor:
        """Of the cup's middle to the goal on the ground plane, m, (B,)."""
        to_goal = episode.state.tool_position[:, 0, :2] - episode["goal"]
        return soft_norm(to_goal, 1e-2)

    def from_cup(self, state: ds.State) -> Tensor:
        """Of each particle from the middle of the cup, m, (B, N, 3)."""
        return state.x - state.tool_position[:, :1]

    def held(self, state: ds.State) -> Tensor:
        """Share of the water in the cup, (B,)."""
        away = self.from_cup(state)
        return ((away[..., :2].norm(dim=2) < RADIUS) & (away[..., 2].abs() < TALL)).to(state.x).mean(dim=1)

    def reward(self, step: Transition) -> Tensor:
        away = self.from_cup(step.after)
        aside = (soft_norm(away[..., :2]) - (RADIUS - WALL)).clamp(min=0.0)
        out = aside + (away[..., 2] - 0.5 * TALL).clamp(min=0.0)
        spilled = (1.0 - torch.exp(-out / 0.03)).mean(dim=1)
        return 1.0 - self.distance(step.episode) / (GOAL - START) - 2.0 * spilled

    def success(self, episode: Episode) -> Tensor:
        return (self.distance(episode) < REACH) & (self.held(episode.state) >= 0.9)

    def outcome(self, episode: Episode) -> Tensor:
        x, y = episode.history[..., :2].unbind(2)
        beside = when_passing(x - POST, y)
        return torch.where(x.amax(dim=0) > POST, (beside < MIDDLE).long(), -1)

    def camera(self) -> Camera:
        return Camera(position=(0.5, 0.0, 0.9), target=(1.0, 0.88, 0.1), vertical_fov_degrees=40)

    def markers(self, episode: Episode, environment: int) -> tuple[GroundMarker, ...]:
        return goal_markers(episode["goal"][environment].tolist(), REACH)
