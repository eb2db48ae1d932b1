"""Shapes made of several placed ones: a knife of a blade and a handle, an open box of five boards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import trimesh

from diffsim.errors import InputError
from diffsim.scene.meshes.closed_surface import side_by_side
from diffsim.scene.rotations import quaternion_of, rotation_matrix
from diffsim.scene.shapes.rounded_box import Box
from diffsim.scene.shapes.shape import Part, Shape
from diffsim.scene.validation import check_length, instance, unit, vector

SHARED_CELLS = 24  # along each edge of the box in which two parts overlap, where what they share is measured


@dataclass(frozen=True)
class Compound(Shape):
    """Several shapes as one, each with contact of its own: ``Compound(((shape, position, rotation), ...))``.

    Its distance is that of the nearest part. Its mass is the sum of its parts' where these do not overlap, and exact then; what
    several share counts once, to about a percent of it. Contact of rigid things and of particles is with every part by itself,
    so a particle between two parts that overlap feels both.

    Args:
        pieces: shapes with a position in the compound's frame, m, and a rotation, a quaternion (w, x, y, z), which may be left
            out. A compound among them stands for its parts.

    Raises:
        InputError: there is no piece, or one is no bounded shape.
    """

    pieces: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.pieces, tuple | list) or not self.pieces:
            raise InputError(f"Compound: pieces must hold one or more (shape, position, rotation), got {self.pieces!r}")
        found: list[Part] = []
        for number, piece in enumerate(self.pieces):
            owner = f"Compound: piece {number}"
            if not isinstance(piece, tuple | list) or not 2 <= len(piece) <= 3:
                raise InputError(f"{owner} must be (shape, position) or (shape, position, rotation), got {piece!r}")
            shape, place, *turn = piece
            instance(owner, "shape", shape, Shape, "a diffsim shape")
            if not shape.bounded:
                raise InputError(f"{owner}: shape must have an end, got {shape!r}")
            position = vector(owner, "position", place)
            rotation = unit(owner, "rotation", turn[0], 4) if turn else (1.0, 0.0, 0.0, 0.0)
            found += [placed_part(part, position, rotation) for part in shape.parts]  # type: ignore[arg-type]
        object.__setattr__(self, "pieces", tuple(found))

    @property
    def parts(self) -> tuple[Part, ...]:
        return self.pieces

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        points = np.asarray(points, dtype=float)
        return np.min([part.shape.signed_distance(_within(part, points)) for part in self.parts], axis=0)

    def contains(self, points: np.ndarray) -> np.ndarray:
        points = np.asarray(points, dtype=float)
        return np.any([part.shape.contains(_within(part, points)) for part in self.parts], axis=0)

    def surface_mesh(self) -> trimesh.Trimesh:
        """Those of the parts, side by side: what lies within another part is in it too."""
        return _joined([part.shape.surface_mesh() for part in self.parts], self.parts)

    def fine_mesh(self, faces: int) -> trimesh.Trimesh:
        return _joined([part.shape.fine_mesh(max(faces // len(self.parts), 1)) for part in self.parts], self.parts)

    @property
    def bounding_radius(self) -> float:
        return max(float(np.linalg.norm(part.position)) + part.shape.bounding_radius for part in self.parts)

    @property
    def thickness(self) -> float:
        return min(part.shape.thickness for part in self.parts)

    @property
    def volume(self) -> float:
        return self.mass_properties()[0]

    def mass_properties(self) -> tuple[float, np.ndarray, np.ndarray]:
        volume, first, second = 0.0, np.zeros(3), np.zeros((3, 3))  # moments about the frame's origin
        for part in self.parts:
            own, center, inertia = part.shape.mass_properties()
            turn = rotation_matrix(part.rotation)
            place = np.asarray(part.position) + turn @ center
            volume, first = volume + own, first + own * place
            second += turn @ (0.5 * np.trace(inertia) * np.eye(3) - inertia) @ turn.T + own * np.outer(place, place)
        points, weights = self._shared()
        volume, first = volume - weights.sum(), first - weights @ points
        second -= (weights[:, None] * points).T @ points
        center = first / volume
        second -= volume * np.outer(center, center)
        return float(volume), center, np.trace(second) * np.eye(3) - second

    def _shared(self) -> tuple[np.ndarray, np.ndarray]:
        """Points (P, 3) of what several parts share, with its volumes (P,), once for each part beyond the first."""
        boxes = [_joined([part.shape.surface_mesh()], [part]).bounds for part in self.parts]
        points, weights = [np.zeros((0, 3))], [np.zeros(0)]
        for (i, one), (j, other) in combinations(enumerate(self.parts), 2):
            low, high = np.maximum(boxes[i][0], boxes[j][0]), np.minimum(boxes[i][1], boxes[j][1])
            if (high - low <= 1e-9 * self.bounding_radius).any():
                continue
            cell = (high - low) / SHARED_CELLS
            index = np.stack(np.meshgrid(*[np.arange(SHARED_CELLS) + 0.5] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
            inside = low + cell * index
            inside = inside[one.shape.contains(_within(one, inside))]
            inside = inside[other.shape.contains(_within(other, inside))] if len(inside) else inside
            for third in self.parts[:i]:  # there the volume was taken off with the pairs before
                inside = inside[~third.shape.contains(_within(third, inside))] if len(inside) else inside
            points.append(inside)
            weights.append(np.full(len(inside), float(np.prod(cell))))
        return np.concatenate(points), np.concatenate(weights)


class OpenBox(Compound):
    """A box without a lid, of five boards that do not overlap: a tray, a drawer, a bin. The origin is in its middle.

    Args:
        half_extents: outer, along local x, y and z, which is up, metres.
        thickness: of its floor and walls, metres.

    Raises:
        InputError: a size is wrong, or the walls leave no room.
    """

    def __init__(self, half_extents: tuple[float, float, float], thickness: float):
        x, y, z = vector("OpenBox", "half_extents", half_extents)
        for extent in (x, y, z):
            check_length("half_extents", extent)
        check_length("thickness", thickness)
        if not thickness < min(x, y, 2.0 * z):
            raise InputError(f"OpenBox: thickness must be less than {min(x, y, 2.0 * z):g}, got {thickness!r}")
        h = 0.5 * thickness
        side, front = Box((h, y, z - h)), Box((x - thickness, h, z - h))
        super().__init__(
            (
                (Box((x, y, h)), (0.0, 0.0, h - z)),
                (side, (h - x, 0.0, h)), (side, (x - h, 0.0, h)),
                (front, (0.0, h - y, h)), (front, (0.0, y - h, h)),
            )
        )  # fmt: skip


def placed_part(part: Part, position: Sequence[float], rotation: Sequence[float]) -> Part:
    """A part of a shape that stands at this position, turned by this unit quaternion."""
    turn = rotation_matrix(tuple(rotation))  # type: ignore[arg-type]
    place = np.asarray(position) + turn @ np.asarray(part.position)
    own = quaternion_of(turn @ rotation_matrix(part.rotation))
    return Part(part.shape, tuple(place.tolist()), own)


def _within(part: Part, points: np.ndarray) -> np.ndarray:
    """Points (N, 3) in the part's own frame."""
    return (points - np.asarray(part.position)) @ rotation_matrix(part.rotation)


def _joined(meshes: Sequence[trimesh.Trimesh], parts: Sequence[Part]) -> trimesh.Trimesh:
    placed = [
        trimesh.Trimesh(mesh.vertices @ rotation_matrix(part.rotation).T + part.position, mesh.faces, process=False)
        for mesh, part in zip(meshes, parts, strict=True)
    ]
    return side_by_side(placed)
