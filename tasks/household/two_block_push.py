"""Push two blocks to their goals with one pusher."""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor

import diffsim as ds
from diffsim.render import Camera, GroundMarker
from tasks.action_spaces import JointVelocity
from tasks.base import Task
from tasks.episode import Episode, Transition
from tasks.goal_markers import goal_markers
from tasks.household.gantry import gantry, rails
from tasks.measures import soft_norm
from tasks.registry import register

HALF, REACH = 0.2, 1.8  # half an edge of a block, and how far its centre can go, m
BLOCKS, PUSHER = ((-1.2, 0.0), (0.0, 0.0)), (0.0, -1.4)
GOALS_X = (-1.4, 0.0)
MASS, DAMPING = 0.64, 20.0  # kg, N s/m: a block that is let go stops at once
COLORS = ((0.9, 0.45, 0.2), (0.25, 0.5, 0.9))
NEAR = 0.2  # m: so far from its goal a block counts as there
BEHIND = 2.0 * HALF + 0.1  # m from a block's centre, where the pusher's must be to push it
PUSHER_COLOR = (0.4, 0.4, 0.45)
CONTACT = ds.ContactModel(stiffness=1.5e3, smoothing=0.015)


def sliding_block(name: str, start: tuple[float, float], color: tuple[float, float, float]) -> ds.Articulation:
    """A cube on rails along x and y, which does not turn, and stops when it is not pushed."""
    cube = ds.Geometry(ds.Box((HALF, HALF, HALF), rounding=0.05), friction=0.0, color=color)
    return ds.Articulation(name, rails("xy", (0.0, 0.0, HALF), (cube,), mass=MASS, damping=DAMPING, start=start))


def pusher() -> ds.Articulation:
    """A ball whose velocities along x and y are set."""
    return gantry(
        "pusher",
        "xy",
        (0.0, 0.0, HALF),
        (ds.Geometry(ds.Sphere(HALF), friction=0.0, color=PUSHER_COLOR),),
        mass=MASS,
        gain=100.0,
        force=120.0,
        start=PUSHER,
        limits={"x": (-REACH, REACH), "y": (-REACH, REACH)},
        limit_stiffness=3e3,
    )


@register("TwoBlockPush")
class TwoBlockPush(Task):
    """A ball slides on a table with two blocks, which do not turn, and stop when they are not pushed.

    Task: push each block to its own goal, one after the other. After BlockPush2 of Huang et al. (ICML 2023), with its places
        and sizes, but a round pusher of at most 2.5 m/s in place of a square one of 4 m/s, and no friction between them.
    Randomisation: blocks and pusher start up to ``spread`` off their places, along x and y.
    Success: at the end each block's centre is within 20 cm of its goal's.
    Ways: the left block first, or the right one.

    Attributes:
        spread: see above, m.
        distance: of the goals from the blocks along y, m.
    """

    horizon, dt, substeps = 60, 5e-3, 16
    outcome_names = ("the left block first", "the right block first")
    optimizer_settings = MappingProxyType({"iterations": 100, "posterior_stride": 3, "start_spread": 0.6})
    spread: float = 0.1
    distance: float = 1.4

    def scene(self) -> ds.Scene:
        blocks = [
            sliding_block(name, start, color) for name, start, color in zip(("left", "right"), BLOCKS, COLORS, strict=True)
        ]
        return ds.Scene(articulations=(*blocks, pusher()), ground=None, contact=CONTACT)

    def actions(self) -> tuple[JointVelocity, ...]:
        return (JointVelocity("pusher", limit=2.5),)

    def randomize(self, generator: torch.Generator) -> Episode:
        state = self.sim.reset()
        return self.episode(state.replace(q=state.q + self.spread * self.uniform(generator, 6)))

    @property
    def goals(self) -> tuple[tuple[float, float], ...]:
        """Of the left and the right block, m."""
        return tuple((x, self.distance) for x in GOALS_X)

    def distances(self, q: Tensor) -> Tensor:
        """Distances of the blocks to their goals, m, (..., 2), of the coordinates (..., 6)."""
        blocks = q[..., :4].unflatten(-1, (2, 2))
        return soft_norm(blocks - q.new_tensor(self.goals))

    def reward(self, step: Transition) -> Tensor:
        q = step.after.q
        blocks, pusher, distances = q[:, :4].view(-1, 2, 2), q[:, None, 4:], self.distances(q)
        push = (q.new_tensor(self.goals) - blocks) / (distances[..., None] + 0.1)
        gaps = soft_norm(blocks - BEHIND * push - pusher, 1e-2)
        # the pusher is drawn to the nearer of the blocks that are not there yet; that a block is there is worth more than the
        # way to the other one costs
        missing = distances.square() / (distances.square() + NEAR**2)
        nearer = -0.2 * torch.logsumexp(-(gaps + 4.0 * (1.0 - missing)) / 0.2, dim=1)
        return 2.0 - (0.35 * distances + 0.7 * missing).sum(dim=1) - 0.3 * nearer

    def success(self, episode: Episode) -> Tensor:
        return self.distances(episode.state.q).amax(dim=1) < NEAR

    def outcome(self, episode: Episode) -> Tensor:
        """Which block was there first; -1 if none ever was."""
        there = self.distances(episode.history[..., :6]) < 1.2 * NEAR  # (t + 1, B, 2)
        steps = len(there)
        since = torch.where(there.any(dim=0), there.int().argmax(dim=0), steps)
        return torch.where(since.amin(dim=1) < steps, since.argmin(dim=1), -1)

    def camera(self) -> Camera:
        return Camera(position=(-0.3, -4.2, 5.2), target=(-0.3, 0.1, 0.0), vertical_fov_degrees=38)

    def markers(self, episode: Episode, environment: int) -> tuple[GroundMarker, ...]:
        return tuple(mark for goal, color in zip(self.goals, COLORS, strict=True) for mark in goal_markers(goal, NEAR, color))
