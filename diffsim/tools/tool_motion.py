"""Motion of kinematic tools over one control step, in torch: constant twist, exact poses at every substep.

Autograd differentiates this part; the solver only sees poses and twists.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffsim.scene.bodies import TOOL_AXES
from diffsim.scene.rotations import quaternion_exponential, quaternion_product, quaternion_to_matrix, rotation_matrix
from diffsim.scene.scene import Scene
from diffsim.tools.tool_stops import ToolStops


@dataclass(frozen=True)
class ColliderMotion:
    """Poses of all colliders (tools, then obstacles) at each substep, and their twists over the control step.

    Attributes:
        pose: (B, S, M, 12): position of the origin in the world, m (3), rotation matrix to the world's frame, by rows (9).
        twist: (B, M, 6): velocity of the origin, m/s (3), angular velocity, rad/s (3), both in the world's frame.
    """

    pose: Tensor
    twist: Tensor

    @property
    def position(self) -> Tensor:
        return self.pose[..., :3]

    @property
    def rotation(self) -> Tensor:
        return self.pose[..., 3:].unflatten(-1, (3, 3))

    @property
    def velocity(self) -> Tensor:
        return self.twist[..., :3]

    @property
    def angular_velocity(self) -> Tensor:
        return self.twist[..., 3:]

    def later(self, duration: float) -> ColliderMotion:
        """With the poses so many seconds after those of the substeps, under the same twists."""
        position = self.position + duration * self.velocity[:, None]
        turn = quaternion_to_matrix(quaternion_exponential(duration * self.angular_velocity))[:, None]
        return ColliderMotion(torch.cat([position, (turn @ self.rotation).flatten(-2)], dim=-1), self.twist)


class ToolKinematics:
    """Maps an action (B, A) and the tools' poses to the motion of all colliders of the scene."""

    def __init__(self, scene: Scene, *, dt: float, substeps: int, dtype: torch.dtype, device: str = "cpu"):
        self._normalised = bool(scene.moving_articulations) or len(scene.grid_tools) < len(scene.tools)
        self._count = len(scene.tools)
        self._duration = dt * substeps
        self._times = torch.arange(substeps + 1, dtype=dtype, device=device) * dt  # of the substeps, and the end
        selection = torch.zeros((scene.tool_action_dim, self._count * 6), dtype=dtype)
        row = 0
        for index, tool in enumerate(scene.tools):
            for axis in tool.control:
                selection[row, 6 * index + TOOL_AXES.index(axis)] = 1.0
                row += 1
        self._selection = selection.to(device)
        self._rotates = any(axis.startswith("r") for tool in scene.tools for axis in tool.control)
        self._stops = ToolStops(scene, dtype=dtype, device=device)

        def real(values: object) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=device)

        obstacles = scene.grid_obstacles
        self._obstacle_position = real([o.position for o in obstacles]).reshape(-1, 3)
        self._obstacle_rotation = real([rotation_matrix(o.rotation).tolist() for o in obstacles]).reshape(-1, 3, 3)
        self._obstacle_pose = torch.cat([self._obstacle_position, self._obstacle_rotation.flatten(-2)], dim=-1)

    def motion(self, position: Tensor, rotation: Tensor, action: Tensor) -> tuple[ColliderMotion, Tensor, Tensor]:
        """position (B, M, 3), rotation (B, M, 4), action (B, A) -> the motion, and the poses after the control step."""
        batch, substeps = action.shape[0], len(self._times) - 1
        if self._normalised:  # the adjoint of rigid contact knows rotations only, so quaternions may have any length but zero
            rotation = rotation / rotation.norm(dim=-1, keepdim=True)
        twist = (action @ self._selection).reshape(batch, self._count, 6)
        velocity, angular_velocity = twist[..., :3], twist[..., 3:]
        times = self._times[None, :, None, None]
        final_rotation = rotation
        if self._rotates:
            turned = quaternion_product(quaternion_exponential(times * angular_velocity[:, None]), rotation[:, None])
            final_rotation = turned[:, -1] / turned[:, -1].norm(dim=-1, keepdim=True)
            rotations = quaternion_to_matrix(turned)
        else:
            rotations = quaternion_to_matrix(rotation)[:, None].expand(batch, substeps + 1, self._count, 3, 3)
        if self._stops.any:
            duration = self._duration

            def rotations_after(share: Tensor) -> Tensor:
                if not self._rotates:
                    return rotations[:, 0]
                turn = quaternion_exponential(duration * share[:, None, None] * angular_velocity)
                return quaternion_to_matrix(quaternion_product(turn, rotation))

            asked, turn = duration * velocity, duration * angular_velocity.norm(dim=-1)
            velocity = self._stops.permitted(position, asked, turn, rotations_after) / duration
            twist = torch.cat([velocity, angular_velocity], dim=-1)
        positions = position[:, None] + times * velocity[:, None]
        pose = torch.cat([positions, rotations.flatten(-2)], dim=-1)[:, :-1]
        if len(self._obstacle_pose):
            fixed = self._obstacle_pose.expand(batch, substeps, *self._obstacle_pose.shape)
            pose = torch.cat([pose, fixed], dim=2)
            twist = torch.cat([twist, twist.new_zeros((batch, len(self._obstacle_pose), 6))], dim=1)
        return ColliderMotion(pose, twist), positions[:, -1], final_rotation
