"""Shapes: signed distance, surface mesh and volume sampling, all in the shape's own frame.

Sphere, Capsule and Box are one family, the rounded box: a core box of half extents ``core`` grown by ``radius``.
The solver's collider kernel knows only that family (`diffsim/solvers/mpm/contact.py`), so every primitive is exact there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import trimesh

from diffsim.errors import InputError

MESH_SUFFIXES = (".obj", ".stl", ".glb", ".gltf", ".ply", ".off")


def _positive(name: str, value: float) -> None:
    if not (np.isfinite(value) and value > 0.0):
        raise InputError(f"{name} must be a positive number of metres, got {value!r}")


class Shape:
    """What a body or a collider looks like, centred in its own frame."""

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        """Distance to the surface in metres, negative inside. points (N, 3) -> (N,)."""
        raise TypeError(f"{type(self).__name__} defines no signed distance")

    def surface_mesh(self) -> trimesh.Trimesh:
        """Closed triangle mesh of the surface, outward normals."""
        raise TypeError(f"{type(self).__name__} defines no surface mesh")

    @property
    def volume(self) -> float:
        """Enclosed volume in cubic metres."""
        return float(self.surface_mesh().volume)

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Whether each point lies inside. points (N, 3) -> bool (N,)."""
        return self.signed_distance(points) < 0.0

    def volume_samples(self, count: int) -> np.ndarray:
        """About ``count`` points on a cubic lattice inside the shape, (N, 3).

        A lattice, not uniform random points: MPM integrates the body with these as quadrature points, and clumps of
        random points break apart numerically at the particle counts of a laptop.

        Raises:
            InputError: no lattice point falls inside (the shape is thinner than the lattice at this count).
        """
        if count < 1:
            raise InputError(f"particles must be at least 1, got {count}")
        lower, upper = self.surface_mesh().bounds
        spacing = (self.volume / count) ** (1.0 / 3.0)
        # centred, so that a symmetric shape gives a symmetric body
        cells = np.maximum(np.ceil((upper - lower) / spacing).astype(int), 1)
        centre = 0.5 * (lower + upper)
        axes = [centre[i] + (np.arange(cells[i]) - 0.5 * (cells[i] - 1)) * spacing for i in range(3)]
        lattice = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        inside = lattice[self.contains(lattice)]
        if len(inside) == 0:
            raise InputError(
                f"particles={count} is too few for {self!r}: no sample fell inside; ask for more particles"
            )
        return inside


@dataclass(frozen=True)
class RoundedBox(Shape):
    """A box of half extents ``core`` grown by ``radius``: the common family of the primitives."""

    core: tuple[float, float, float]
    radius: float

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        outside = np.abs(np.asarray(points, dtype=float)) - np.asarray(self.core)
        return (
            np.linalg.norm(np.maximum(outside, 0.0), axis=-1)
            + np.minimum(outside.max(axis=-1), 0.0)
            - self.radius
        )

    def surface_mesh(self) -> trimesh.Trimesh:
        core = np.asarray(self.core)
        if self.radius == 0.0:
            return trimesh.creation.box(extents=2.0 * core)
        # the Minkowski sum of the core box and a sphere is the convex hull of eight spheres
        ball = trimesh.creation.icosphere(subdivisions=3, radius=self.radius).vertices
        corners = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T * core
        return trimesh.Trimesh(
            vertices=(corners[:, None, :] + ball[None]).reshape(-1, 3), process=True
        ).convex_hull


class Sphere(RoundedBox):
    """Sphere of ``radius`` metres."""

    def __init__(self, radius: float):
        _positive("radius", radius)
        super().__init__(core=(0.0, 0.0, 0.0), radius=float(radius))


class Capsule(RoundedBox):
    """Segment of ``half_length`` along local z, grown by ``radius`` (metres)."""

    def __init__(self, half_length: float, radius: float):
        _positive("half_length", half_length)
        _positive("radius", radius)
        super().__init__(core=(0.0, 0.0, float(half_length)), radius=float(radius))


class Box(RoundedBox):
    """Box of outer ``half_extents`` (metres), its edges rounded by ``rounding``."""

    def __init__(self, half_extents: tuple[float, float, float], rounding: float = 0.0):
        if len(half_extents) != 3:
            raise InputError(f"half_extents must be three lengths, got {half_extents!r}")
        for extent in half_extents:
            _positive("half_extents", extent)
        if not 0.0 <= rounding <= min(half_extents):
            raise InputError(
                f"rounding must lie between 0 and the smallest half extent {min(half_extents)}, got {rounding}"
            )
        core = tuple(float(extent) - rounding for extent in half_extents)
        super().__init__(core=core, radius=float(rounding))  # type: ignore[arg-type]


class MeshShape(Shape):
    """A closed triangle mesh from a file, for the volume of a soft body.

    Args:
        path: OBJ, STL, GLB, GLTF, PLY or OFF file.
        size: longest edge of the bounding box after scaling, in metres; ``None`` keeps the file's own scale.

    The mesh is centred: the middle of its bounding box is the origin of its frame.

    Raises:
        InputError: the file is missing, of an unknown kind, unreadable, empty, or not watertight.
    """

    def __init__(self, path: str | Path, size: float | None = None):
        self.path = Path(path)
        self.size = size
        if size is not None:
            _positive("size", size)
        if self.path.suffix.lower() not in MESH_SUFFIXES:
            raise InputError(f"mesh '{path}' has an unknown suffix; allowed: {', '.join(MESH_SUFFIXES)}")
        if not self.path.is_file():
            raise InputError(f"mesh '{path}' does not exist; give a path to a closed triangle mesh")
        self.mesh = self._load()

    def _load(self) -> trimesh.Trimesh:
        try:
            mesh = trimesh.load(self.path, force="mesh", process=True)
        except Exception as error:  # trimesh raises whatever its many readers raise
            raise InputError(f"mesh '{self.path}' could not be read: {str(error).splitlines()[0]}") from error
        if not isinstance(mesh, trimesh.Trimesh) or len(mesh.faces) == 0:
            raise InputError(f"mesh '{self.path}' is empty: it has no triangles")
        mesh.merge_vertices(merge_tex=True, merge_norm=True)
        if not np.isfinite(mesh.vertices).all():
            raise InputError(f"mesh '{self.path}' has vertices that are not finite numbers")
        if not mesh.is_watertight:
            edges = np.sort(mesh.edges, axis=1)
            counts = np.unique(edges, axis=0, return_counts=True)[1]
            raise InputError(
                f"mesh '{self.path}' is not watertight: {int((counts != 2).sum())} edges do not border two triangles; "
                "close its holes first (for example with trimesh.repair.fill_holes)"
            )
        if mesh.volume < 0.0:
            mesh.invert()
        lower, upper = mesh.bounds
        extent = float((upper - lower).max())
        if extent <= 0.0 or mesh.volume <= 0.0:
            raise InputError(f"mesh '{self.path}' is empty: it encloses no volume")
        mesh.apply_translation(-0.5 * (lower + upper))
        if self.size is not None:
            mesh.apply_scale(self.size / extent)
        return mesh

    def __repr__(self) -> str:
        return f"MeshShape({str(self.path)!r}, size={self.size})"

    @cached_property
    def _query(self) -> trimesh.proximity.ProximityQuery:
        return trimesh.proximity.ProximityQuery(self.mesh)

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        return -self._query.signed_distance(np.asarray(points, dtype=float))

    def contains(self, points: np.ndarray) -> np.ndarray:
        return self.mesh.contains(np.asarray(points, dtype=float))

    def surface_mesh(self) -> trimesh.Trimesh:
        return self.mesh
