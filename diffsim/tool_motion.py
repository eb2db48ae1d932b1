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
from diffsim.scene.shapes import RoundedBox, Shape
from diffsim.scene.shapes.rounded_box import rounded_box_distance


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


def _rounded(shape: Shape) -> RoundedBox:
    if not isinstance(shape, RoundedBox):
        raise TypeError(f"a collider's shape is a RoundedBox, got {shape!r}")
    return shape


class ToolKinematics:
    """Maps an action (B, A) and the tools' poses to the motion of all colliders of the scene."""

    def __init__(self, scene: Scene, *, dt: float, substeps: int, dtype: torch.dtype, device: str = "cpu"):
        self._scene = scene
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
        signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=dtype)] * 3)

        def real(values: object) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=device)

        self._tool_corners = [
            torch.unique(signs * torch.tensor(_rounded(tool.shape).core, dtype=dtype), dim=0).to(device) for tool in scene.tools
        ]
        self._tool_radius = [_rounded(tool.shape).radius for tool in scene.tools]
        obstacles = scene.grid_obstacles
        self._obstacle_shapes = [(real(_rounded(o.shape).core), real(_rounded(o.shape).radius)) for o in obstacles]
        self._obstacle_position = real([o.position for o in obstacles]).reshape(-1, 3)
        self._obstacle_rotation = real([rotation_matrix(o.rotation).tolist() for o in obstacles]).reshape(-1, 3, 3)
        self._obstacle_pose = torch.cat([self._obstacle_position, self._obstacle_rotation.flatten(-2)], dim=-1)

    def _permitted(self, position: Tensor, rotation: Tensor, displacement: Tensor) -> Tensor:
        """Displacements (B, M, 3) without the parts that would end inside an obstacle.

        A tool is held against an obstacle at the corners of its core, grown by its radius: exact for spheres, and for
        capsules and boxes wherever the obstacle's surface is flat. Rotation matrices are (B, M, 3, 3).
        """
        kept = []
        for index, tool in enumerate(self._scene.tools):
            moved = displacement[:, index]
            if tool.stops_at_obstacles:
                corners = (rotation[:, index] @ self._tool_corners[index].T).transpose(1, 2)
                for obstacle, (core, radius) in enumerate(self._obstacle_shapes):
                    frame = self._obstacle_rotation[obstacle]
                    arm = (position[:, index] + moved).unsqueeze(1) + corners - self._obstacle_position[obstacle]
                    distance, normal = rounded_box_distance(arm @ frame, core, radius)
                    depth, corner = (self._tool_radius[index] - distance).max(dim=1)
                    deepest = normal.gather(1, corner[:, None, None].expand(-1, 1, 3)).squeeze(1) @ frame.T
                    moved = moved + depth.clamp_min(0.0).unsqueeze(-1) * deepest
            kept.append(moved)
        return torch.stack(kept, dim=1) if kept else displacement

    def motion(self, position: Tensor, rotation: Tensor, action: Tensor) -> tuple[ColliderMotion, Tensor, Tensor]:
        """position (B, M, 3), rotation (B, M, 4), action (B, A) -> the motion, and the poses after the control step."""
        batch, substeps = action.shape[0], len(self._times) - 1
        if self._scene.moving_articulations:  # their adjoint knows rotations only, so quaternions may have any length but zero
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
        if self._obstacle_shapes:
            velocity = self._permitted(position, rotations[:, -1], self._duration * velocity) / self._duration
            twist = torch.cat([velocity, angular_velocity], dim=-1)
        positions = position[:, None] + times * velocity[:, None]
        pose = torch.cat([positions, rotations.flatten(-2)], dim=-1)[:, :-1]
        if self._obstacle_shapes:
            fixed = self._obstacle_pose.expand(batch, substeps, *self._obstacle_pose.shape)
            pose = torch.cat([pose, fixed], dim=2)
            twist = torch.cat([twist, twist.new_zeros((batch, len(self._obstacle_pose), 6))], dim=1)
        return ColliderMotion(pose, twist), positions[:, -1], final_rotation
