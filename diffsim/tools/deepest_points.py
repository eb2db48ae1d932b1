"""Where two placed shapes are deepest in each other, in torch: the points of either against the distance of the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffsim.scene.rotations import rotation_matrix
from diffsim.scene.shapes import ContactPoints, Part, Shape
from diffsim.scene.shapes.contact_balls import BALL, CENTER, DEEPEST, FLAT, SPOKE
from diffsim.tools.surface_distance import SurfaceDistance


class Pose(NamedTuple):
    """Position of the origin in the world, m (B, 3), and the rotation matrix to the world's frame (B, 3, 3)."""

    position: Tensor
    rotation: Tensor


class Contact(NamedTuple):
    """Where one thing is deepest in another.

    Attributes:
        depth: m (B,), negative where they are apart.
        normal: the way out of the other for the one, (B, 3).
        place: in the world, m (B, 3).
    """

    depth: Tensor
    normal: Tensor
    place: Tensor


class TorchBalls:
    """A shape's contact points as tensors. Those that move go where the other surface's normal, taken at their center, says, as
    in `ContactPoints.placed`; those that slide along an axis are left out."""

    def __init__(self, points: ContactPoints, *, dtype: torch.dtype, device: str):
        kinds = points.kinds
        centers = np.maximum.accumulate(np.where(np.isin(kinds, (CENTER,)), np.arange(len(kinds)), -1))
        starts = np.maximum.accumulate(np.where(np.isin(kinds, (BALL, DEEPEST, SPOKE)), -1, np.arange(len(kinds))))
        kept = np.isin(kinds, (BALL,)) | (np.isin(kinds, (DEEPEST, SPOKE)) & (centers >= 0) & (centers == starts))

        def real(values: np.ndarray) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=device)

        chosen = points.chosen(kept)
        self.count = len(chosen)
        self._positions, self._radii = real(chosen.positions), real(chosen.radii)
        self._extents, self._retreats, self._shrinkages = real(chosen.extents), real(chosen.retreats), real(chosen.shrinkages)
        self._moves = torch.tensor(chosen.kinds == DEEPEST, device=device)
        self._spokes = torch.tensor(chosen.kinds == SPOKE, device=device)
        self._still = not bool(self._moves.any() or self._spokes.any())
        self.centers = self._positions  # the center of a point that moves stands in its place

    def placed(self, normals: Tensor | None) -> tuple[Tensor, Tensor]:
        """Centres (B, P, 3) or (P, 3) and radii (B, P) or (P,) of the balls, against surfaces of these normals at the centers,
        (B, P, 3) in the shape's frame, which `moving` shapes need."""
        if self._still or normals is None:
            return self._positions, self._radii
        square = self._extents.square()
        h = ((square * normals.square()).sum(-1) + 1e-30).sqrt()
        longest = self._extents.max(dim=-1).values
        flat = torch.where(longest > 0.0, FLAT * longest, torch.ones_like(longest))
        inverse = torch.where(h > flat, 1.0 / h, (1.5 - 0.5 * (h / flat).square()) / flat)
        deepest = -square * normals * inverse.unsqueeze(-1)
        aslant = normals[..., :2].square().sum(-1)
        spoke = (1.0 - self._retreats * aslant).unsqueeze(-1) * self._extents
        nothing = torch.zeros_like(deepest)
        offset = torch.where(self._moves.unsqueeze(-1), deepest, torch.where(self._spokes.unsqueeze(-1), spoke, nothing))
        share = torch.where(self._moves, 1.0 - (h * inverse).square(), torch.where(self._spokes, aslant, torch.zeros_like(h)))
        return self._positions + offset, self._radii - self._shrinkages * share

    @property
    def moving(self) -> bool:
        """Whether any point moves."""
        return not self._still


class Solid:
    """A part of a thing: its distance, its points, and where it stands in the thing's frame."""

    def __init__(self, part: Part, points: ContactPoints, *, dtype: torch.dtype, device: str):
        self.bounded, self.is_sphere = part.shape.bounded, part.shape.is_sphere
        self.reach = part.shape.bounding_radius if self.bounded else part.shape.top
        self.thickness = part.shape.thickness
        self.distance = SurfaceDistance(part.shape, dtype=dtype, device=device)
        self.balls = TorchBalls(points, dtype=dtype, device=device)
        self.position = torch.tensor(part.position, dtype=dtype, device=device)
        self.rotation = torch.tensor(rotation_matrix(part.rotation), dtype=dtype, device=device)

    def placed(self, pose: Pose) -> Pose:
        """In the world, where the thing has this pose."""
        return Pose(pose.position + pose.rotation @ self.position, pose.rotation @ self.rotation)


def solids_of(shape: Shape, *, dtype: torch.dtype, device: str) -> list[Solid]:
    """The parts of a shape, with the points that a tool is stopped at."""
    return [Solid(part, part.shape.stopping_points(), dtype=dtype, device=device) for part in shape.parts]


def deepest(one: Solid, one_pose: Pose, other: Solid, other_pose: Pose) -> Contact:
    """Of two parts at these poses in the world: by the points of either against the distance of the other, of spheres alone
    where there is one."""
    found = []
    if one.bounded and not (other.is_sphere and not one.is_sphere):
        found.append(_points_in(one, one_pose, other, other_pose))
    if other.bounded and not one.is_sphere:
        contact = _points_in(other, other_pose, one, one_pose)
        found.append(Contact(contact.depth, -1.0 * contact.normal, contact.place))
    if len(found) == 1:
        return found[0]
    first = found[0].depth >= found[1].depth
    return Contact(*(torch.where(first if a.ndim == 1 else first[:, None], a, b) for a, b in zip(*found, strict=True)))


def _points_in(one: Solid, one_pose: Pose, other: Solid, other_pose: Pose) -> Contact:
    """The deepest of the points of one in the other."""

    def in_other(local: Tensor) -> Tensor:
        world = one_pose.position.unsqueeze(1) + local @ one_pose.rotation.transpose(1, 2)
        return (world - other_pose.position.unsqueeze(1)) @ other_pose.rotation

    normals = None
    if one.balls.moving:
        _, at_centers = other.distance(in_other(one.balls.centers))
        normals = at_centers @ other_pose.rotation.transpose(1, 2) @ one_pose.rotation
    places, radii = one.balls.placed(normals)
    inside = in_other(places)
    phi, normal = other.distance(inside)
    depth, point = (radii - phi).max(dim=1)
    index = point[:, None, None].expand(-1, 1, 3)
    out = (other_pose.rotation @ normal.gather(1, index).transpose(1, 2)).squeeze(2)
    place = other_pose.position + (other_pose.rotation @ inside.gather(1, index).transpose(1, 2)).squeeze(2)
    return Contact(depth, out, place)


def stacked(poses: Sequence[Pose]) -> Pose:
    """Poses of M things: position (B, M, 3), rotation (B, M, 3, 3)."""
    return Pose(*(torch.stack(list(each), dim=1) for each in zip(*poses, strict=True)))
