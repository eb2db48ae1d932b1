"""The ant of Rewarped runs."""

from __future__ import annotations

import math
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn.functional import normalize

import diffsim as ds
from diffsim.render import GroundMarker, LinkCamera
from diffsim.scene.rotations import quaternion_exponential, quaternion_product, quaternion_to_matrix
from tasks.action_spaces import JointTorque
from tasks.base import Task
from tasks.episode import Episode, Transition
from tasks.goal_markers import goal_markers
from tasks.registry import register
from tasks.robots.rewarped_ant import FRICTION, rewarped_ant

TARGET = 1e4  # m along x, where it runs to
FALLEN = 0.27  # m, height of the torso
TORQUE = 200.0  # N m
STIFFNESS, SLIP_SPEED = 4e5, 0.01  # N/m a contact point, m/s: harder, or less slippery, gradients grow through steps of the ant


@register("AntRun")
class AntRun(Task):
    """A heavy ant of four legs runs by the torques of its eight joints.

    Task: run along x, upright and facing ahead. The reward is that of Rewarped's AntRun (Xing et al., ICLR 2025), so returns
        compare with its published ones: v_x + 0.1 up_z + heading + height - 0.27 m.
    Randomisation: the torso's place by 10 cm along each axis, its rotation by 7.5 degrees, joints by 0.2 rad, all velocities by
        0.25 m/s or rad/s.
    Success: at the end the torso has come as far as ``pace`` takes it; lower than 27 cm it has fallen, which ends an episode.

    The ant weighs 182 kg. It stands 1 mm deep in the ground here, which neither rebounds nor lets feet creep; Rewarped's is a
    damped spring of 4 kN/m a point of contact with viscous friction, in which the ant stands 11 cm deep.

    Attributes:
        pace: mean speed along x that counts as running, m/s.
    """

    horizon = 1000
    dt, substeps = 1.0 / 240.0, 4
    finite_horizon = False  # the ant would run on
    outcome_names = ("ran",)
    reward_bound = 5.0
    optimizer_settings = MappingProxyType({"iterations": 60, "window": 32})
    pace: float = 1.0

    def scene(self) -> ds.Scene:
        ant, ground = rewarped_ant().articulation, ds.Ground(friction=FRICTION)
        contact = ds.ContactModel(stiffness=STIFFNESS, slip_speed=SLIP_SPEED)
        return ds.Scene(articulations=(ant,), ground=ground, contact=contact)

    def actions(self) -> tuple[JointTorque, ...]:
        return (JointTorque("ant", limit=TORQUE),)

    def randomize(self, generator: torch.Generator) -> Episode:
        state = self.sim.reset()
        place = state.q[:, :3] + 0.1 * self.uniform(generator, 3)
        axis = normalize(self.uniform(generator, 3), dim=1)
        turn = quaternion_exponential(math.radians(7.5) * self.uniform(generator, 1) * axis)
        joints = state.q[:, 7:] + 0.2 * self.uniform(generator, 8)
        q = torch.cat([place, quaternion_product(turn, state.q[:, 3:7]), joints], dim=1)
        qd = 0.25 * self.uniform(generator, 14)
        return self.episode(state.replace(q=q, qd=qd), first_x=place[:, 0], last_action=torch.zeros_like(joints))

    def advance(self, step: Transition) -> dict[str, Tensor]:
        return {"last_action": step.action}

    def cosines(self, state: ds.State) -> tuple[Tensor, Tensor]:
        """Of the torso's up with the vertical, and of its front with the level way to the target, (B,) each."""
        torso = quaternion_to_matrix(state.q[:, 3:7])
        way = normalize(state.q.new_tensor([TARGET, 0.0]) - state.q[:, :2], dim=1)
        return torso[:, 2, 2], (torso[:, :2, 0] * way).sum(dim=1)

    def observation(self, episode: Episode) -> Tensor:
        """(B, 37): the torso's height, quaternion (w, x, y, z), velocity and angular velocity in the world; joints' coordinates
        and a tenth of their velocities; both cosines; the last action."""
        q, qd = episode.state.q, episode.state.qd
        spin = (quaternion_to_matrix(q[:, 3:7]) @ qd[:, 3:6, None])[..., 0]
        cosines = torch.stack(self.cosines(episode.state), dim=1)
        return torch.cat([q[:, 2:7], qd[:, :3], spin, q[:, 7:], 0.1 * qd[:, 6:], cosines, episode["last_action"]], dim=1)

    def reward(self, step: Transition) -> Tensor:
        up, heading = self.cosines(step.after)
        return step.after.qd[:, 0] + 0.1 * up + heading + step.after.q[:, 2] - FALLEN

    @property
    def distance(self) -> float:
        """That must be run, m."""
        return self.pace * self.horizon * self.sim.control_dt

    def success(self, episode: Episode) -> Tensor:
        return episode.state.q[:, 0] - episode["first_x"] > self.distance

    def failure(self, episode: Episode) -> Tensor:
        return episode.state.q[:, 2] < FALLEN

    def camera(self) -> LinkCamera:
        return LinkCamera("ant.torso", (-1.5, -3.2, 1.4), (0.3, 0.0, -0.1), vertical_fov_degrees=40, turns=False)

    def markers(self, episode: Episode, environment: int) -> tuple[GroundMarker, ...]:
        return goal_markers((float(episode["first_x"][environment]) + self.distance, 0.0), 0.2)
