"""Problems with several solutions, drawn from a seed, that nobody tuned an optimiser on.

    env = generated_problem(1000, num_envs=32)

A seed decides the family and everything in it: walls with doors, scattered walls, cups, unequal goals, and bandits of 1 to 8
dimensions. The first three have closed-loop variants, with random starts and random pushes that an open-loop plan cannot
know. Each problem has labelled outcomes, more or less rewarding, and local optima on the way to them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from rpg.environments.seeding import episode_generator
from rpg.settings_checks import LARGEST_SEED, check_batch, check_int

FAMILIES = ("doors", "walls", "cup", "goals", "bandit")
RADIUS = 0.08  # of the walls, m
ACCELERATION, DRAG = 5.0, 4.0  # m/s^2 at a full action, 1/s
STEP = 0.05  # s; at the 1.25 m/s that an action leads to, no step gets half way through a wall
TOLERANCE = 0.1  # m to the goal that count as success
ARENA = 1.5  # m, how far from the origin the point gets


def generated_problem(seed: int, *, num_envs: int = 32, dtype: torch.dtype = torch.float32) -> PointAmongWalls | Goals | Peaks:
    """The problem of that seed; seeds count on through the families, every other one of a point among walls in closed loop."""
    check_int("seed", seed, at_least=0, at_most=LARGEST_SEED)
    generator = torch.Generator().manual_seed(seed)
    family = FAMILIES[seed % len(FAMILIES)]
    if family == "bandit":
        return Peaks.drawn(seed, generator, num_envs, dtype)
    if family == "goals":
        return Goals.drawn(seed, generator, num_envs, dtype)
    closed_loop = seed // len(FAMILIES) % 2 == 1
    layout = {"doors": doors, "walls": scattered_walls, "cup": cup}[family](generator)
    return PointAmongWalls(seed=seed, family=family, num_envs=num_envs, dtype=dtype, closed_loop=closed_loop, layout=layout)


@dataclass(frozen=True, kw_only=True)
class GeneratedProblem:
    """What the problems share; see `rpg.protocol.Environment`."""

    seed: int
    family: str
    num_envs: int
    dtype: torch.dtype
    closed_loop: bool = False
    """Whether starts and pushes are random."""

    def __post_init__(self) -> None:
        check_batch(self.num_envs, self.dtype)


def uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> Any:
    """A number, or a tensor of that shape."""
    drawn = low + (high - low) * torch.rand(shape or (1,), generator=generator, dtype=torch.float64)
    return drawn if shape else float(drawn)


# A point among walls ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """Walls, capsules from one end to the other, between the start (0, 0) and the goal (0, 1); m."""

    ends: tuple[tuple[float, float, float, float], ...]
    """x0, y0, x1, y1 of each wall's axis."""
    gates: tuple[float, ...]
    """Where the line y = height is crossed decides the outcome: how many of these x lie to the left of the crossing."""
    height: float
    names: tuple[str, ...]


def doors(generator: torch.Generator) -> Layout:
    """A wall across the whole arena with two to four doors, none straight ahead, and an outcome for each door."""
    count = int(torch.randint(2, 5, (1,), generator=generator))
    height = uniform(generator, 0.4, 0.6)
    width = 0.25
    while True:
        centres = sorted(uniform(generator, -0.9, 0.9, count).tolist())
        spaced = all(b - a > width + 0.3 for a, b in pairwise(centres))
        if spaced and all(abs(c) > 0.25 for c in centres):
            break
    edges = [-ARENA, *[c + side * (0.5 * width + RADIUS) for c in centres for side in (-1, 1)], ARENA]
    ends = tuple((edges[i], height, edges[i + 1], height) for i in range(0, len(edges), 2))
    gates = tuple(0.5 * (a + b) for a, b in pairwise(centres))
    return Layout(ends, gates, height, tuple(f"door {n}" for n in range(count)))


def scattered_walls(generator: torch.Generator) -> Layout:
    """One to three tilted walls side by side across the straight way, with gaps between them; an outcome for each gap."""
    count = int(torch.randint(1, 4, (1,), generator=generator))
    height = uniform(generator, 0.4, 0.6)
    gaps = uniform(generator, 0.2, 0.3, count + 1).tolist()
    lengths = uniform(generator, 0.25, 0.5, count).tolist()
    covered = uniform(generator, 0.25, 0.75)  # where in its wall the straight way ends
    middle = int(torch.randint(count, (1,), generator=generator))
    left = -sum(lengths[:middle]) - sum(gaps[1 : middle + 1]) - covered * lengths[middle]
    ends, x = [], left
    for n, length in enumerate(lengths):
        tilt = uniform(generator, -0.35, 0.35)
        centre, half = x + 0.5 * length, 0.5 * length - RADIUS
        ends.append(
            (centre - half * math.cos(tilt), height - half * math.sin(tilt), centre + half * math.cos(tilt),
             height + half * math.sin(tilt))
        )  # fmt: skip
        x += length + gaps[n + 1]
    gates = tuple(0.5 * (a[0] + a[2]) for a in ends)
    return Layout(tuple(ends), gates, height, tuple(f"gap {n}" for n in range(count + 1)))


def cup(generator: torch.Generator) -> Layout:
    """A cup open towards the start, in which every straight way to the goal ends; left and right round it."""
    height, half = uniform(generator, 0.45, 0.6), uniform(generator, 0.25, 0.4)
    depth, shift = uniform(generator, 0.15, 0.3), uniform(generator, -0.1, 0.1)
    left, right = shift - half, shift + half
    ends = (
        (left, height, right, height),
        (left, height - depth, left, height),
        (right, height - depth, right, height),
    )
    return Layout(ends, (shift,), height, ("left", "right"))


@dataclass(frozen=True, kw_only=True)
class PointAmongWalls(GeneratedProblem):
    """A point mass whose reward is minus its distance to the goal, m; see `Layout`.

    An action is an acceleration. In closed loop the start is normally distributed, and in each step the velocity is pushed by
    a normally distributed amount.
    """

    layout: Layout
    horizon: int = 50
    action_dim: int = 2
    observation_dim: int = 4

    @property
    def outcome_names(self) -> Sequence[str]:
        return self.layout.names

    def reset(self, seed: int | None = None) -> dict[str, Any]:
        generator = episode_generator(seed)
        spread, push = (0.1, 0.1) if self.closed_loop else (0.02, 0.0)
        position = spread * torch.randn(self.num_envs, 2, generator=generator)
        pushes = push * torch.randn(self.horizon, self.num_envs, 2, generator=generator)
        return {
            "position": position.to(self.dtype),
            "velocity": torch.zeros(self.num_envs, 2, dtype=self.dtype),
            "outcome": torch.full((self.num_envs,), -1, dtype=torch.int64),
            "pushes": pushes.to(self.dtype),
            "step": 0,
        }

    def observe(self, state: dict[str, Any]) -> Tensor:
        return torch.cat([state["position"], state["velocity"]], dim=-1)

    def step(self, state: dict[str, Any], action: Tensor) -> tuple[dict[str, Any], Tensor, dict[str, Tensor]]:
        old = state["position"]
        velocity = (state["velocity"] + STEP * ACCELERATION * action) / (1 + STEP * DRAG)
        if self.closed_loop:
            velocity = velocity + state["pushes"][state["step"]]
        position, velocity = self._outside_walls(old + STEP * velocity, velocity)
        with torch.no_grad():
            crosses = (old[:, 1] < self.layout.height) & (position[:, 1] >= self.layout.height)
            through = (position[:, :1] > self._gates).sum(1)
            outcome = torch.where(crosses, through, state["outcome"])
        distance = ((position - self._goal).square().sum(-1) + 1e-6).sqrt()
        after = {**state, "position": position, "velocity": velocity, "outcome": outcome, "step": state["step"] + 1}
        return after, -distance, {"success": distance.detach() < TOLERANCE, "outcome": outcome}

    @cached_property
    def _gates(self) -> Tensor:
        return torch.tensor(self.layout.gates, dtype=self.dtype)

    @cached_property
    def _goal(self) -> Tensor:
        return torch.tensor([0.0, 1.0], dtype=self.dtype)

    @cached_property
    def _walls(self) -> tuple[Tensor, Tensor, Tensor]:
        """One end of each wall's axis, the axis (W, 2), and the axis over its squared length."""
        ends = torch.tensor(self.layout.ends, dtype=self.dtype)
        along = ends[:, 2:] - ends[:, :2]
        return ends[:, :2], along, along / along.square().sum(-1, keepdim=True)

    def _outside_walls(self, position: Tensor, velocity: Tensor) -> tuple[Tensor, Tensor]:
        """Project positions out of the wall that they are deepest in, and hold them in the arena; remove the velocity into what
        they touch."""
        start, along, inverse = self._walls
        arm = position.unsqueeze(1) - start
        offset = arm - (arm * inverse).sum(-1, keepdim=True).clamp(0, 1) * along
        squares = offset.square().sum(-1)
        nearest = squares.argmin(1)
        rows = torch.arange(len(position))
        gap = (squares[rows, nearest] + 1e-12).sqrt().unsqueeze(-1)
        normal = offset[rows, nearest] / gap
        depth = (RADIUS - gap).clamp(min=0.0)
        inward = (velocity * normal).sum(-1, keepdim=True).clamp(max=0.0)
        velocity = velocity - torch.where(depth > 0, inward, torch.zeros_like(inward)) * normal
        position = position + depth * normal
        held = position.clamp(-ARENA, ARENA)
        return held, torch.where(held == position, velocity, torch.zeros_like(velocity))


# Goals and peaks --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Goals(GeneratedProblem):
    """A point in the plane, whose action is its velocity, and three to six goals that are worth more or less.

    The reward of a step is that of the best goal, its value minus the squared distance to it in units of 5 m, minus 0.1 |a|^2
    / T. Success is an end within 1 m of a goal, and that goal is the outcome.
    """

    places: tuple[tuple[float, float], ...]
    values: tuple[float, ...]
    horizon: int = 15
    action_dim: int = 2
    observation_dim: int = 2

    @classmethod
    def drawn(cls, seed: int, generator: torch.Generator, num_envs: int, dtype: torch.dtype) -> Goals:
        """Goals 3 to 6 m from the start, in different directions."""
        count = int(torch.randint(3, 7, (1,), generator=generator))
        turn = uniform(generator, 0.0, 2 * math.pi)
        angles = turn + 2 * math.pi * (torch.arange(count) + uniform(generator, -0.25, 0.25, count)) / count
        reach = uniform(generator, 3.0, 6.0, count)
        places = torch.stack([reach * torch.cos(angles), reach * torch.sin(angles)], dim=-1).tolist()
        values = uniform(generator, 0.0, 0.3, count).tolist()
        return cls(
            seed=seed, family="goals", num_envs=num_envs, dtype=dtype, places=tuple(map(tuple, places)), values=tuple(values)
        )

    @property
    def outcome_names(self) -> Sequence[str]:
        return tuple(f"goal {n}" for n in range(len(self.places)))

    def reset(self, seed: int | None = None) -> Tensor:
        generator = episode_generator(seed)
        return 0.1 * torch.randn(self.num_envs, 2, generator=generator).to(self.dtype)

    def observe(self, state: Tensor) -> Tensor:
        return state / 5

    def step(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        position = state + action
        squares = (position.unsqueeze(1) - position.new_tensor(self.places)).square().sum(-1)
        best = (position.new_tensor(self.values) - squares / 25).max(dim=1)
        near = squares.min(dim=1)
        reward = best.values - 0.1 * action.square().sum(-1) / self.horizon
        return position, reward, {"success": near.values.detach() < 1.0, "outcome": near.indices}


@dataclass(frozen=True, kw_only=True)
class Peaks(GeneratedProblem):
    """A bandit: one pull of 1 to 8 numbers, and peaks of different heights and widths.

    The reward is the greatest of height - (distance / width)^2 of each peak, but at least a tenth of the slope that leads up to
    the broadest one. Success is a reward within a tenth of a peak's height of its top, and that peak is the outcome.
    """

    centres: tuple[tuple[float, ...], ...]
    heights: tuple[float, ...]
    widths: tuple[float, ...]
    horizon: int = 1

    @classmethod
    def drawn(cls, seed: int, generator: torch.Generator, num_envs: int, dtype: torch.dtype) -> Peaks:
        """Three to six peaks, of which the broad ones are low."""
        dim = int(torch.randint(1, 9, (1,), generator=generator))
        count = 3 if dim == 1 else int(torch.randint(3, 7, (1,), generator=generator))
        while True:
            centres = uniform(generator, -0.8, 0.8, count, dim)
            apart = torch.pdist(centres)
            if float(apart.min()) > 0.45:
                break
        sharp = uniform(generator, 0.0, 1.0, count)
        heights = (0.5 + 0.6 * sharp + uniform(generator, -0.1, 0.1, count)).tolist()
        widths = (math.sqrt(dim) * (0.7 - 0.45 * sharp)).tolist()
        return cls(
            seed=seed, family="bandit", num_envs=num_envs, dtype=dtype, centres=tuple(map(tuple, centres.tolist())),
            heights=tuple(heights), widths=tuple(widths),
        )  # fmt: skip

    @property
    def action_dim(self) -> int:
        return len(self.centres[0])

    @property
    def observation_dim(self) -> int:
        return len(self.centres[0])

    @property
    def outcome_names(self) -> Sequence[str]:
        return tuple(f"peak {n}" for n in range(len(self.heights)))

    def reset(self, seed: int | None = None) -> Tensor:
        return torch.zeros(self.num_envs, self.action_dim, dtype=self.dtype)

    def observe(self, state: Tensor) -> Tensor:
        return state

    def step(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        squares = (action.unsqueeze(1) - action.new_tensor(self.centres)).square().sum(-1)
        heights, widths = action.new_tensor(self.heights), action.new_tensor(self.widths)
        hills = heights - squares / widths.square()
        best = hills.max(dim=1)
        reached = best.values.detach() > 0.9 * heights[best.indices]
        return action, best.values, {"success": reached, "outcome": best.indices}
