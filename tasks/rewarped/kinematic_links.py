"""Links on revolute joints as kinematic tools: forward kinematics, and the joints' coordinates from the tools' rotations."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

import diffsim as ds
from diffsim.scene.articulation import Vector3
from diffsim.scene.rotations import quaternion_of, quaternion_to_matrix, rotation_matrix, rotation_vectors
from diffsim.scene.shapes.rounded_box import RoundedBox


@dataclass(frozen=True)
class _Frame:
    """A link against its parent: the parent's number or -1, its place, m, its rotation at the joint's zero, and the joint's
    number and axis, of a link on a joint."""

    parent: int
    place: np.ndarray
    rotation: np.ndarray
    joint: int
    axis: np.ndarray


class KinematicLinks:
    """An articulation on revolute joints that moves as it is told: each of its shapes is a tool whose pose follows from the
    joints' coordinates, so contact does not act back.

    A state holds the tools' poses alone; the coordinates follow from their rotations. So between a link with a shape and the
    next one above it there are at most two joints, whose axes are at right angles.

    Args:
        articulation: its fixed and revolute joints, limits and shapes; spheres, capsules and boxes that are not turned in their
            links' frames.
        scale: factor on all lengths.
        position, rotation: of its frame in the world, m and a matrix (3, 3).
        untouched: links whose shapes are left out.
    """

    def __init__(
        self, articulation: ds.Articulation, scale: float, position: Vector3, rotation: np.ndarray, untouched: tuple[str, ...]
    ) -> None:
        names = [link.name for link in articulation.links]
        self._frames: list[_Frame] = []
        self.home: list[float] = []
        self.limits: list[tuple[float, float]] = []
        self._shapes: list[tuple[int, ds.Geometry]] = []
        for number, link in enumerate(articulation.links):
            place, turn = scale * np.asarray(link.position), rotation_matrix(link.rotation)
            if link.parent is None:
                place, turn = np.asarray(position) + rotation @ place, rotation @ turn
            joint = -1
            if link.joint.kind == "revolute":
                joint = len(self.home)
                self.home.append(float((link.joint.initial or (0.0,))[0]))
                self.limits.append(link.joint.limits)  # type: ignore[arg-type]
            parent = -1 if link.parent is None else names.index(link.parent)
            self._frames.append(_Frame(parent, place, turn, joint, np.asarray(link.joint.axis)))
            if link.name not in untouched:
                self._shapes += [(number, _scaled(each, scale)) for each in link.geometries if each.collides]
        self._find_joints()

    def _find_joints(self) -> None:
        """For each link with shapes: its first tool, that of the link above it, what is fixed between them, and the joints."""
        first: dict[int, int] = {}
        for tool, (link, _) in enumerate(self._shapes):
            first.setdefault(link, tool)
        rows: list[tuple[int, int, np.ndarray, np.ndarray, np.ndarray]] = []
        self._order: list[tuple[int, int]] = [(0, 0)] * len(self.home)  # of a joint: the row, and whether it is the second
        for link, tool in first.items():
            chain: list[_Frame] = []
            turn, above = np.eye(3), link
            while above >= 0 and (above == link or above not in first):
                frame = self._frames[above]
                if frame.joint >= 0:
                    chain.insert(0, frame)
                    turn = np.eye(3)
                turn = frame.rotation @ turn
                above = frame.parent
            axes = [frame.axis for frame in chain]
            if len(axes) == 1:
                axes.append(np.linalg.svd(axes[0][None])[2][1])
            if len(axes) != 2 or abs(axes[0] @ axes[1]) > 1e-6:
                raise ds.InputError("KinematicLinks: links with shapes must be one joint apart, or two at right angles")
            for second, frame in enumerate(chain):
                self._order[frame.joint] = (len(rows), second)
            rows.append((tool, first.get(above, -1), turn, axes[0], axes[1]))
        self._tool, self._above = [row[0] for row in rows], [row[1] for row in rows]
        self._turn, self._u, self._v = (torch.tensor(np.stack([row[n] for row in rows])) for n in (2, 3, 4))

    def tools(self, friction: float) -> tuple[ds.Tool, ...]:
        """The shapes as tools, at home."""
        position, rotation = self.poses(torch.tensor([self.home], dtype=torch.float64))
        return tuple(
            ds.Tool(
                f"shape{number}", shape.shape, tuple(position[0, number].tolist()), quaternion_of(rotation[0, number].numpy()),
                control=("x", "y", "z", "rx", "ry", "rz"), stops_at=(), friction=friction,
            )
            for number, (_, shape) in enumerate(self._shapes)
        )  # fmt: skip

    def poses(self, joints: Tensor) -> tuple[Tensor, Tensor]:
        """Positions (B, M, 3) and rotation matrices (B, M, 3, 3) of the tools at coordinates (B, J)."""
        sine, cosine = joints.sin()[..., None, None], joints.cos()[..., None, None]
        places: list[Tensor] = []
        turns: list[Tensor] = []
        for frame in self._frames:
            place, turn = joints.new_tensor(frame.place), joints.new_tensor(frame.rotation).expand(len(joints), 3, 3)
            if frame.joint >= 0:
                cross = joints.new_tensor(np.cross(frame.axis, np.eye(3)).T)  # of the axis and a vector
                turn = turn + turn @ (sine[:, frame.joint] * cross + (1.0 - cosine[:, frame.joint]) * (cross @ cross))
            if frame.parent >= 0:
                place = places[frame.parent] + turns[frame.parent] @ place
                turn = turns[frame.parent] @ turn
            places.append(place.expand(len(joints), 3))
            turns.append(turn)
        rotation = torch.stack([turns[link] for link, _ in self._shapes], dim=1)
        offsets = joints.new_tensor([shape.position for _, shape in self._shapes])
        position = torch.stack([places[link] for link, _ in self._shapes], dim=1)
        return position + (rotation @ offsets[..., None]).squeeze(-1), rotation

    def joints(self, tool_rotation: Tensor) -> Tensor:
        """Coordinates (B, J), rad, of the tools' quaternions (B, M, 4).

        With R = exp(a u) exp(b v): R v is v turned about u by a, and R^T u is u turned about v by -b.
        """
        rotation = quaternion_to_matrix(tool_rotation)
        rotation = torch.cat([rotation, torch.eye(3, dtype=rotation.dtype).expand(len(rotation), 1, 3, 3)], dim=1)
        turn, u, v = (each.to(rotation) for each in (self._turn, self._u, self._v))
        between = (rotation[:, self._above] @ turn).transpose(-1, -2) @ rotation[:, self._tool]
        third = torch.linalg.cross(u, v)
        turned, back = (between @ v[..., None]).squeeze(-1), (between.transpose(-1, -2) @ u[..., None]).squeeze(-1)
        a = torch.atan2((third * turned).sum(-1), (v * turned).sum(-1))
        b = torch.atan2((third * back).sum(-1), (u * back).sum(-1))
        return torch.stack([(a, b)[second][:, row] for row, second in self._order], dim=1)

    def twists(self, state: ds.State, moved: Tensor, seconds: float) -> Tensor:
        """Velocities and angular velocities (B, 6 M) of the tools that take them to coordinates (B, J) in this time."""
        position, rotation = self.poses(moved)
        turn = rotation @ quaternion_to_matrix(state.tool_rotation).transpose(-1, -2)
        vectors = rotation_vectors(turn.flatten(0, 1)).unflatten(0, turn.shape[:2])
        return torch.cat([position - state.tool_position, vectors], dim=-1).flatten(1) / seconds


def _scaled(geometry: ds.Geometry, scale: float) -> ds.Geometry:
    """A larger sphere, capsule or box."""
    shape = geometry.shape
    if not isinstance(shape, RoundedBox):
        raise ds.InputError(f"KinematicLinks: shapes must be spheres, capsules or boxes, got {shape!r}")
    core = tuple(scale * half for half in shape.core)
    place = tuple(scale * component for component in geometry.position)
    return replace(geometry, shape=RoundedBox(core, scale * shape.radius), position=place)  # type: ignore[arg-type]
