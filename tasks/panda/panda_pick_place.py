"""Carry a block round a wall."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import MappingProxyType

import torch
from torch import Tensor

import diffsim as ds
from diffsim.render import Camera, GroundMarker
from tasks.action_spaces import ActionSpace, EndEffectorDelta, Gripper
from tasks.episode import Episode, Transition
from tasks.goal_markers import goal_markers
from tasks.measures import soft_norm, when_passing
from tasks.panda.panda_task import PandaTask, plain_panda, tilted
from tasks.registry import register

HALF = 0.022  # of the block's edge, m
START, GOAL = (0.42, 0.0), (0.68, 0.0)  # of the block, on the ground plane, m
GRIP = (0.012, 0.026)  # targets of a finger from the middle, closed and open, m: 15 N at most
WALL, WALL_X = (0.015, 0.09, 0.06), 0.55  # half sizes of the wall, and where it stands, m


@register("PandaPickPlace")
class PandaPickPlace(PandaTask):
    """A Panda takes a block and places it behind a wall.

    Task: bring the block to the goal. The wall blocks the straight path, so there is a local optimum in front of it.
    Randomisation: block and open hand start together up to 2 cm from their place, along x and y; so does the goal.
    Success: at the end the block's centre is within 3 cm of the goal, on the ground.
    Ways: round the wall on the left, on the right, or over it.

    Attributes:
        reach: m a control step along each axis that an action of 1 stands for.
    """

    horizon = 30
    outcome_names = ("left", "right", "over")
    optimizer_settings = MappingProxyType(
        {"iterations": 60, "posterior_stride": 2, "std": (0.15, 0.01), "policy": "table", "num_latents": 8, "beta": (0.5, 0.05)}
    )
    reward_bound = 1.0
    reach: float = 0.035

    def scene(self) -> ds.Scene:
        self.robot = plain_panda(opening=0.026, visuals=self.visuals)
        block = ds.RigidBody("block", ds.Box((HALF,) * 3), (*START, HALF), mass=0.08, friction=0.5, color=(0.95, 0.6, 0.15))
        wall = ds.Obstacle("wall", ds.Box(WALL, rounding=0.005), (WALL_X, 0.0, WALL[2]), friction=0.1)
        ground = ds.Ground(friction=0.2)
        return ds.Scene(
            rigid_bodies=(block,),
            articulations=(self.robot.articulation,),
            obstacles=(wall,),
            ground=ground,
            contact=ds.ContactModel(slip_speed=2e-3),  # a held block creeps by a mm or two, and gradients stay tame
        )

    def actions(self) -> list[ActionSpace]:
        move = EndEffectorDelta(self.robot.end_effector_link, self.reach, joints=self.robot.arm)
        return [move, Gripper(self.robot.name, self.robot.gripper, *GRIP)]

    def randomize(self, generator: torch.Generator) -> Episode:
        state = self.sim.reset()
        shift, moved = 0.02 * self.uniform(generator, 2), 0.02 * self.uniform(generator, 2)
        q = state.q.clone()
        q[:, self.sim.joint("block").coordinates][:, :2] += shift
        hand = torch.cat([shift + shift.new_tensor(START), shift.new_full((len(shift), 1), HALF + 0.008)], dim=1)
        state = self.posed(state.replace(q=q), hand, tilted(hand, turn=0.5 * math.pi), opening=0.026)
        return self.episode(state, goal=moved + moved.new_tensor(GOAL))

    def distance(self, episode: Episode) -> Tensor:
        """Of the block's centre from its place at the goal, m, (B,)."""
        goal = episode["goal"]
        return soft_norm(self.place(episode.state, "block") - torch.cat([goal, goal.new_full((len(goal), 1), HALF)], dim=1))

    def reward(self, step: Transition) -> Tensor:
        apart = (self.hand(step.after) - self.place(step.after, "block")).square().sum(dim=1)
        return 1.0 - self.distance(step.episode) / 0.3 - 0.5 * apart / (apart + 0.05**2)

    def success(self, episode: Episode) -> Tensor:
        return self.distance(episode) < 0.03

    def outcome(self, episode: Episode) -> Tensor:
        x, y, z = episode.history[..., 3:6].unbind(2)
        aside, height = when_passing(x - WALL_X, y), when_passing(x - WALL_X, z)
        over = (aside.abs() < WALL[1]) & (height > 2.0 * WALL[2])
        way = torch.where(over, 2, (aside < 0.0).long())
        return torch.where(x.amax(dim=0) > WALL_X, way, -1)

    def camera(self) -> Camera:
        return Camera(position=(1.35, -0.75, 0.8), target=(0.42, 0.0, 0.15), vertical_fov_degrees=42)

    def markers(self, episode: Episode, environment: int) -> Sequence[GroundMarker]:
        return goal_markers(episode["goal"][environment].tolist(), 0.03)
