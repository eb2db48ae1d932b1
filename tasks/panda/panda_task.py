"""What the tasks of a Panda share: an arm that is cheap to touch with, its first poses, and what it sees."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

import diffsim as ds
from diffsim.scene.articulation import Vector3
from tasks.action_spaces import EndEffectorDelta
from tasks.base import Task
from tasks.episode import Episode
from tasks.robots.panda import FINGERS, panda
from tasks.robots.reworking import at_home, mapped
from tasks.robots.robot import Robot

SIDEWAYS = (0.5**0.5, 0.5**0.5, 0.0, 0.0)  # turns a capsule's axis from z to y
# capsules about the links that get near to things: half length and radius, place, whether along the link's y; m
CAPSULES: dict[str, tuple[tuple[float, float, Vector3, bool], ...]] = {
    "link5": ((0.06, 0.06, (0.0, 0.0, -0.24), False), (0.07, 0.035, (0.0, 0.07, -0.12), False)),
    "link7": ((0.05, 0.045, (0.0, 0.0, 0.04), False),),
    "hand": ((0.06, 0.032, (0.0, 0.0, 0.034), True),),
}
CLOSED_FINGERS = (0.03, 0.012, (0.0, 0.0, 0.0704), False)  # both as one capsule, on the hand
FINGER = ds.Box((0.009, 0.006, 0.016), rounding=0.003)  # the lower half of a finger, its pad included
FINGER_PLACE = (0.0, 0.0062, 0.0378)  # of the left one; 0.2 mm of play when closed
STIFFNESS = 1e6  # of a fingertip's contact points, N/m: of the arm behind it, not of the light finger
START_ITERATIONS = 60  # of inverse kinematics from the ready pose: the slowest start, beside a cabinet, takes 48


def plain_panda(
    position: Vector3 = (0.0, 0.0, 0.0), *, touches: tuple[str, ...] = ("hand",), friction: float = 1.0,
    opening: float = 0.04, visuals: bool = True,
) -> Robot:  # fmt: skip
    """`tasks.robots.panda` that touches with a box for each fingertip, and a few capsules; with one more for both fingers where
    it starts with them closed, which they then have to stay.

    Args:
        position: of the base, m.
        touches: links that touch beside the fingertips, out of CAPSULES.
        friction: of all of it.
        opening: of each finger from the middle at the start, which it keeps if no action drives it, m.
        visuals: whether to read the shapes that are only drawn.

    Raises:
        InputError: the package example-robot-data is not installed.
    """
    robot = panda(position=position, touches=(), visuals=visuals)

    def touching(link: ds.Link) -> ds.Link:
        shapes: list[ds.Geometry] = []
        if link.name in touches:
            closed = (CLOSED_FINGERS,) if link.name == "hand" and not opening else ()
            for half, radius, place, along_y in (*CAPSULES[link.name], *closed):
                turn = SIDEWAYS if along_y else (1.0, 0.0, 0.0, 0.0)
                capsule = ds.Capsule(half, radius)
                shapes.append(ds.Geometry(capsule, place, turn, friction=friction, visible=False))
        if opening and link.name in ("leftfinger", "rightfinger"):
            side = 1.0 if link.name == "leftfinger" else -1.0
            x, y, z = FINGER_PLACE
            tip = ds.Geometry(FINGER, (x, side * y, z), friction=friction, visible=False, contact_points=8, stiffness=STIFFNESS)
            shapes.append(tip)
        return dataclasses.replace(link, geometries=(*link.geometries, *shapes))

    return dataclasses.replace(
        robot, articulation=at_home(mapped(robot.articulation, touching), dict.fromkeys(FINGERS, opening))
    )


class PandaTask(Task):
    """A task of one Panda, called "panda", which a subclass's `scene` keeps as ``self.robot``.

    Features are the hand's position, 3 numbers, then coordinates and velocities of everything, then the episode's values.

    Attributes:
        visuals: whether the robot's meshes are read, which only pictures show.
    """

    dt, substeps = 5e-3, 10
    visuals: bool = True
    robot: Robot

    def place(self, state: ds.State, link: str) -> Tensor:
        """Position of a link or body in the world, m, (B, 3)."""
        return self.sim.links(state).position[:, self.sim.link_index(link)]

    def hand(self, state: ds.State) -> Tensor:
        """The point between the fingertips, m, (B, 3)."""
        return self.place(state, self.robot.end_effector_link)

    def observation(self, episode: Episode) -> Tensor:
        state = episode.state
        values = [value.flatten(1).to(state.q) for value in episode.values.values()]
        return torch.cat([self.hand(state), state.q, state.qd, *values], dim=1)

    def posed(self, state: ds.State, hand: Tensor, rotation: Tensor, opening: float = 0.04) -> ds.State:
        """With the hand at (B, 3), m, turned by matrices (B, 3, 3), and each finger ``opening`` m from the middle."""
        arm = ds.EndEffector(self.sim, self.robot.end_effector_link, self.robot.arm, iterations=START_ITERATIONS)
        joints = arm.solve(state, hand, rotation)
        q = state.q.clone()
        for joint, values in zip(self.robot.arm, joints.unbind(1), strict=True):
            q[:, self.joint_place(joint)] = values
        for joint in FINGERS:
            q[:, self.joint_place(joint)] = opening
        return state.replace(q=q)

    def joint_place(self, joint: str) -> int:
        """Which entry of ``state.q`` a joint of the robot has."""
        return self.sim.joint(f"{self.robot.name}.{joint}").coordinates.start


class PandaHandTask(PandaTask):
    """A task in which the hand moves along all axes without turning, and no action drives the fingers.

    Attributes:
        reach: m a control step along each axis that an action of 1 stands for.
    """

    reach: float = 0.04

    def actions(self) -> list[EndEffectorDelta]:
        return [EndEffectorDelta(self.robot.end_effector_link, self.reach, joints=self.robot.arm)]


def tilted(like: Tensor, angle: float = 0.0, turn: float = 0.0) -> Tensor:
    """Rotations of the hand, a matrix for each row of ``like``, (B, 3, 3): looking down and opening along y, then raised by
    ``angle`` rad to look ahead, along x; before both, turned by ``turn`` rad about its own axis."""
    raised, about = math.pi - angle, turn
    pitch = [[-math.cos(raised), 0.0, math.sin(raised)], [0.0, -1.0, 0.0], [math.sin(raised), 0.0, math.cos(raised)]]
    own = [[math.cos(about), -math.sin(about), 0.0], [math.sin(about), math.cos(about), 0.0], [0.0, 0.0, 1.0]]
    return (like.new_tensor(pitch) @ like.new_tensor(own)).expand(len(like), 3, 3)
