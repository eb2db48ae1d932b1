"""Reach through a window with a cross in it."""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor

import diffsim as ds
from diffsim.render import Camera
from tasks.action_spaces import JointPosition
from tasks.episode import Episode, Transition
from tasks.measures import soft_norm, when_passing
from tasks.panda.panda_task import PandaTask, plain_panda
from tasks.registry import register

BASE, CROSS, GOAL = (-0.6, 0.0, 0.0), (-0.22, 0.0, 0.67), (-0.05, 0.0, 0.65)  # m
NEUTRAL = (0.0, -1.5, 0.0, -3.0, 0.0, 2.26, 2.36)  # rad; the hand is turned so that it is narrow from side to side


@register("PandaReach")
class PandaReach(PandaTask):
    """A Panda reaches past a cross of two thin bars that stands in its way.

    Task: bring the fingertips to a goal 17 cm behind the cross; straight ahead, the hand is caught by its middle. The layout is
        that of DDiffPG's Reach (arXiv 2406.00681).
    Randomisation: each joint starts up to 0.05 rad from the neutral pose.
    Success: at the end the point between the fingertips is within 10 cm of the goal.
    Ways: through any of the four quarters of the cross.

    Attributes:
        turn: rad from the neutral pose that an action of 1 tells a joint to go to.
    """

    horizon = 24
    outcome_names = ("upper left", "upper right", "lower left", "lower right")
    optimizer_settings = MappingProxyType(
        {"iterations": 60, "posterior_stride": 2, "std": (0.1, 0.01), "num_latents": 8, "beta": (0.5, 0.05), "policy": "table"}
    )
    reward_bound = 1.0
    turn: float = 1.2

    def scene(self) -> ds.Scene:
        self.robot = plain_panda(BASE, touches=("link5", "link7", "hand"), opening=0.0, friction=0.0, visuals=self.visuals)
        bars = ((ds.Box((0.02, 0.005, 0.2)), (0.0, 0.0, 0.0)), (ds.Box((0.02, 0.2, 0.005)), (0.0, 0.0, 0.0)))
        cross = ds.Obstacle("cross", ds.Compound(bars), CROSS, friction=0.0)
        return ds.Scene(articulations=(self.robot.articulation,), obstacles=(cross,), ground=ds.Ground())

    def actions(self) -> list[JointPosition]:
        return [JointPosition(self.robot.name, self.robot.arm, self.turn, NEUTRAL)]

    def randomize(self, generator: torch.Generator) -> Episode:
        state, noise = self.sim.reset(), 0.05 * self.uniform(generator, len(self.robot.arm))
        q = state.q.clone()
        for n, joint in enumerate(self.robot.arm):
            q[:, self.joint_place(joint)] = NEUTRAL[n] + noise[:, n]
        return self.episode(state.replace(q=q))

    def distance(self, state: ds.State) -> Tensor:
        """Of the fingertips from the goal, m, (B,)."""
        return soft_norm(self.hand(state) - state.q.new_tensor(GOAL))

    def reward(self, step: Transition) -> Tensor:
        return 1.0 - self.distance(step.after) / 0.4

    def success(self, episode: Episode) -> Tensor:
        return self.distance(episode.state) < 0.1

    def outcome(self, episode: Episode) -> Tensor:
        x, y, z = episode.history[..., :3].unbind(2)
        right, low = when_passing(x - CROSS[0], y) < 0.0, when_passing(x - CROSS[0], z) < CROSS[2]
        return torch.where(x.amax(dim=0) > CROSS[0], 2 * low.long() + right.long(), -1)

    def camera(self) -> Camera:
        return Camera(position=(0.75, -0.75, 1.15), target=(-0.3, 0.0, 0.55), vertical_fov_degrees=45)
