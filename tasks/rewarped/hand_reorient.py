"""A hand turns a cube in its fingers."""

from __future__ import annotations

import math
from types import MappingProxyType

import torch
from torch import Tensor

import diffsim as ds
from diffsim.render import Camera
from diffsim.scene.articulation import Vector3
from diffsim.scene.rotations import quaternion_exponential, quaternion_product
from tasks.action_spaces import JointTorque
from tasks.base import Task
from tasks.episode import Episode, Transition
from tasks.measures import soft_norm
from tasks.registry import register
from tasks.robots.allegro_hand import FRICTION, allegro_hand

EDGE, DENSITY = 0.065, 1820.7  # m, kg/m^3: half a kilogramme
START, DROP = (0.0, -0.1, 0.6), 0.04  # m, of the cube, and how far below it should be held
TORQUE = 2.0  # N m
STIFFNESS, SLIP_SPEED = 1e4, 5e-3  # N/m a contact point, m/s: harder, or less slippery, gradients grow through steps of contact
REACHED, LOST = 0.1, 0.24  # rad, m
GOALS = 32  # drawn for an episode
FACES: dict[Vector3, Vector3] = {
    (1, 0, 0): (0.85, 0.2, 0.15),
    (0, 1, 0): (0.2, 0.65, 0.3),
    (0, 0, 1): (0.2, 0.35, 0.8),
}  # and paler ones opposite


@register("HandReorient")
class HandReorient(Task):
    """An Allegro hand, palm up, turns a cube that falls on its fingers, by the torques of its sixteen joints.

    Task: turn the cube as a goal says, then as the next goal says, and so on, and keep it near the hand. The reward is that of
        Rewarped's HandReorient (Xing et al., ICLR 2025), so returns compare with its published ones: -10 distance
        + 1 / (angle + 0.1) - 2e-4 |action|^2 + 250 where the angle is below 0.1 rad.
    Randomisation: the cube's place by 1 cm along each axis, its rotation and the goals by any angles about x, then y, joints by
        a fifth of a random place between their limits.
    Success: one goal or more was reached to 0.1 rad; an episode ends when the cube is 24 cm from where it should be held.

    Contact is twenty times as stiff as in Rewarped, where damped springs of 500 N/m have viscous friction. The fingers pass
    through each other.

    Attributes:
        start_turn, goal_turn: largest angle about x, and about y, of the cube at the start and of a goal, rad.
        bonus_width: of the sigmoid that stands for "below 0.1 rad" in the reward, rad; a wider one has a gradient from afar.
    """

    horizon = 600
    dt, substeps = 1.0 / 480.0, 4
    finite_horizon = False  # goals would go on
    outcome_names = ("reached",)
    optimizer_settings = MappingProxyType({"iterations": 60, "window": 32})
    start_turn: float = math.pi
    goal_turn: float = math.pi
    bonus_width: float = 1e-3

    def scene(self) -> ds.Scene:
        turn = quaternion_exponential(torch.tensor([[0.0, 0.0, 0.5], [0.0, -0.53, 0.0]], dtype=torch.float64) * math.pi)
        rotation = tuple(quaternion_product(turn[0], turn[1]).tolist())
        hand = allegro_hand(position=(0.0, 0.0, 0.5), rotation=rotation)
        return ds.Scene(
            articulations=(hand.articulation, cube()),
            ground=None,
            contact=ds.ContactModel(stiffness=STIFFNESS, slip_speed=SLIP_SPEED),
        )

    def actions(self) -> tuple[JointTorque, ...]:
        return (JointTorque("hand", limit=TORQUE),)

    def turned(self, generator: torch.Generator, largest: float, *count: int) -> Tensor:
        """Quaternions (B, *count, 4) of turns about x, then y, each by up to ``largest``, rad."""
        angles = largest * self.uniform(generator, *count, 2)
        x, y = (angles[..., n, None] * torch.eye(3, dtype=angles.dtype, device=angles.device)[n] for n in (0, 1))
        return quaternion_product(quaternion_exponential(x), quaternion_exponential(y))

    def randomize(self, generator: torch.Generator) -> Episode:
        state = self.sim.reset()
        low, high = self._limits(state)
        fingers = 0.2 * (low + (high - low) * self.uniform(generator, 16, low=0.0))
        place = state.q[:, 16:19] + 0.01 * self.uniform(generator, 3)
        q = torch.cat([fingers, place, self.turned(generator, self.start_turn)], dim=1)
        idle, hits = torch.zeros_like(fingers), torch.zeros_like(place[:, 0], dtype=torch.int64)
        held = place - place.new_tensor([0.0, 0.0, DROP])
        goals = self.turned(generator, self.goal_turn, GOALS)
        return self.episode(state.replace(q=q), held=held, goals=goals, hits=hits, reached=hits > 0, last_action=idle)

    def advance(self, step: Transition) -> dict[str, Tensor]:
        """The goal that is reached stays for the step that reaches it: goals[hits] is the one of this step."""
        reached = self.angle(step.after, self._numbered(step.episode["goals"], step.episode["hits"])) < REACHED
        return {"hits": step.episode["hits"] + reached, "reached": reached, "last_action": step.action}

    def goal(self, episode: Episode) -> Tensor:
        """The quaternion (B, 4) that the cube should have."""
        return self._numbered(episode["goals"], episode["hits"] - episode["reached"].long())

    def angle(self, state: ds.State, goal: Tensor) -> Tensor:
        """Between the cube's rotation and a goal (B, 4), rad, (B,); never quite 180 degrees, where it has no gradient."""
        sine = soft_norm(relative(state, goal)[:, 1:], 1e-6)
        return 2.0 * sine.clamp(max=1.0 - 1e-3).asin()

    def distance(self, episode: Episode) -> Tensor:
        """Of the cube's centre to where it should be held, m, (B,)."""
        return soft_norm(episode.state.q[:, 16:19] - episode["held"], 1e-6)

    def observation(self, episode: Episode) -> Tensor:
        """(B, 72): the hand's coordinates, each within [-1, 1] between its limits, and a fifth of their velocities; the cube's
        pose, velocity and a fifth of its angular velocity; the pose it should have; the rotation between; the last action."""
        state, goal = episode.state, self.goal(episode)
        low, high = self._limits(state)
        fingers = (2.0 * state.q[:, :16] - high - low) / (high - low)
        spin = self.sim.links(state).angular_velocity[:, self.sim.link_index("cube.cube")]
        seen = [fingers, 0.2 * state.qd[:, :16], state.q[:, 16:], state.qd[:, 16:19], 0.2 * spin, episode["held"], goal]
        return torch.cat([*seen, relative(state, goal), episode["last_action"]], dim=1)

    def reward(self, step: Transition) -> Tensor:
        angle = self.angle(step.after, self.goal(step.episode))
        bonus = 250.0 * torch.sigmoid((REACHED - angle) / self.bonus_width)
        return 1.0 / (angle + 0.1) - 10.0 * self.distance(step.episode) - 2e-4 * step.action.square().sum(dim=1) + bonus

    def success(self, episode: Episode) -> Tensor:
        return episode["hits"] > 0

    def failure(self, episode: Episode) -> Tensor:
        return self.distance(episode) > LOST

    def camera(self) -> Camera:
        return Camera(position=(0.36, -0.3, 0.75), target=(0.0, -0.06, 0.52), vertical_fov_degrees=30)

    def _numbered(self, goals: Tensor, number: Tensor) -> Tensor:
        return goals[torch.arange(len(goals), device=goals.device), number % GOALS]

    def _limits(self, state: ds.State) -> tuple[Tensor, Tensor]:
        """Of the hand's joints, rad, (16,) each."""
        joints = (link.joint for link in self.sim.scene.articulations[0].links)
        limits = state.q.new_tensor([joint.limits for joint in joints if joint.limits is not None])
        return limits[:, 0], limits[:, 1]


def relative(state: ds.State, goal: Tensor) -> Tensor:
    """The quaternion (B, 4) that turns a goal (B, 4) into the cube's rotation."""
    inverse = goal * goal.new_tensor([1.0, -1.0, -1.0, -1.0])
    return quaternion_product(state.q[:, 19:23], inverse)


def cube() -> ds.Articulation:
    """The cube, its faces in six colours."""
    half, mass = 0.5 * EDGE, DENSITY * EDGE**3
    body = ds.Geometry(ds.Box((half, half, half)), friction=FRICTION, visible=False)
    plates = [plate(axis, side, color) for axis, color in FACES.items() for side in (1.0, -1.0)]
    inertia = ds.Inertia(mass, (mass * EDGE**2 / 6.0,) * 3)
    link = ds.Link("cube", ds.Joint("cube", "free"), position=START, inertia=inertia, geometries=(body, *plates))
    return ds.Articulation("cube", (link,))


def plate(axis: Vector3, side: float, color: Vector3) -> ds.Geometry:
    """What is drawn of a face: in its colour, or a paler one on the side -1."""
    half, thin, (x, y, z), (red, green, blue) = 0.5 * EDGE, 1e-3, axis, color
    wide, out, pale = 0.97 * half, side * (half - thin), 0.25 * (1.0 - side)
    size = (wide + (thin - wide) * x, wide + (thin - wide) * y, wide + (thin - wide) * z)
    shade = (red + pale * (1.0 - red), green + pale * (1.0 - green), blue + pale * (1.0 - blue))
    return ds.Geometry(ds.Box(size), (out * x, out * y, out * z), collides=False, color=shade)
