"""Push one block to its goal, to be learned from pictures and a sparse reward."""

from __future__ import annotations

import torch
from torch import Tensor

import diffsim as ds
from diffsim.render import Camera, GroundMarker
from tasks.action_spaces import JointVelocity
from tasks.base import Task
from tasks.episode import Episode, Transition
from tasks.goal_markers import goal_markers
from tasks.household.two_block_push import BEHIND, COLORS, CONTACT, NEAR, pusher, sliding_block
from tasks.measures import soft_norm


class OneBlockPush(Task):
    """A ball slides on a table with a block, which does not turn, and stops when it is not pushed.

    Task: push the block to its goal. After the visual block push of Huang et al. (ICML 2023), whose layout is not published:
        the right half of TwoBlockPush. It is not registered: benchmarks.visual_push learns it from pictures.
    Randomisation: block and pusher start up to ``spread`` off their places, along x and y.
    Success: at the end the block's centre is within 20 cm of its goal's.

    Attributes:
        spread: see above, m.
        distance: of the goal from the block along y, m.
    """

    horizon, dt, substeps = 60, 5e-3, 16
    finite_horizon = False
    spread: float = 0.0
    distance: float = 1.4

    def scene(self) -> ds.Scene:
        block = sliding_block("block", (0.0, 0.0), COLORS[0])
        return ds.Scene(articulations=(block, pusher()), ground=None, contact=CONTACT)

    def actions(self) -> tuple[JointVelocity, ...]:
        return (JointVelocity("pusher", limit=2.5),)

    def randomize(self, generator: torch.Generator) -> Episode:
        state = self.sim.reset()
        return self.episode(state.replace(q=state.q + self.spread * self.uniform(generator, 4)))

    def gap(self, q: Tensor) -> Tensor:
        """(..., 2) from the block to its goal, m, of the coordinates (..., 4)."""
        return q.new_tensor((0.0, self.distance)) - q[..., :2]

    def reward(self, step: Transition) -> Tensor:
        q = step.after.q
        gap = self.gap(q)
        distance = soft_norm(gap)
        behind = q[:, :2] - BEHIND * gap / (distance[:, None] + 0.1)
        return 1.0 - 0.7 * distance - 0.3 * soft_norm(behind - q[:, 2:], 1e-2)

    def success(self, episode: Episode) -> Tensor:
        return self.gap(episode.state.q).norm(dim=1) < NEAR

    def camera(self) -> Camera:
        return Camera(position=(0.0, -0.01, 6.5), target=(0.0, 0.0, 0.0), vertical_fov_degrees=40)

    def markers(self, episode: Episode, environment: int) -> tuple[GroundMarker, ...]:
        return tuple(goal_markers((0.0, self.distance), NEAR, COLORS[0]))
