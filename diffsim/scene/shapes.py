"""Shapes: signed distance, surface mesh, contact points and volume sampling, all in the shape's own frame.

Sphere, Capsule and Box are one family, the rounded box: a core box of half extents ``core`` grown by ``radius``.
The solver's collider kernel knows only that family (`diffsim/soft/kernels/grid_contact.py`), so every primitive is exact there.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
import trimesh

from diffsim.errors import InputError
from diffsim.scene.meshes.mesh_distance import (
    DistanceGrid,
    distance_grid,
    enclosed_volume,
    open_edges,
    signed_distance,
    solid_mesh,
    spread_points,
    turn_outward,
)

logger = logging.getLogger(__name__)

SHARP_EDGE = 0.04  # radius of the contact balls of a sharp box, of its smallest half extent
PLANE_HALF_EDGE = 10.0  # of a plane's picture, metres
MESH_SUFFIXES = (".obj", ".stl", ".glb", ".gltf", ".ply", ".off")


def _positive(name: str, value: float) -> None:
    if not (np.isfinite(value) and value > 0.0):
        raise InputError(f"{name} must be a positive number of metres, got {value!r}")


def _count(name: str, value: int, least: int) -> None:
    if not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"{name} must be an integer >= {least}, got {value!r}")


class Shape:
    """What a body or a collider looks like, centred in its own frame."""

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        """Distance to the surface in metres, negative inside. points (N, 3) -> (N,)."""
        raise TypeError(f"{type(self).__name__} defines no signed distance")

    def surface_mesh(self) -> trimesh.Trimesh:
        """Closed triangle mesh of the surface, outward normals."""
        raise TypeError(f"{type(self).__name__} defines no surface mesh")

    def contact_points(self) -> tuple[np.ndarray, float]:
        """Points (P, 3) and a radius in metres: spheres of that radius about them stand for the shape in contact.

        The signed distance of each point is minus the radius: the spheres touch the surface from within.
        """
        raise TypeError(f"{type(self).__name__} defines no contact points")

    @property
    def bounding_radius(self) -> float:
        """Radius in metres of the smallest sphere about the shape's origin that holds the shape."""
        return float(np.linalg.norm(self.surface_mesh().vertices, axis=1).max())

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
            InputError: the shape has no volume, or no lattice point falls inside (the shape is thinner than the lattice at
                this count).
        """
        if count < 1:
            raise InputError(f"particles must be at least 1, got {count}")
        volume = self.volume
        if not volume > 0.0:
            raise InputError(f"{self!r} encloses no volume, so no particles fit inside")
        lower, upper = self.surface_mesh().bounds
        spacing = (volume / count) ** (1.0 / 3.0)
        # centred, so that a symmetric shape gives a symmetric body
        cells = np.maximum(np.ceil((upper - lower) / spacing).astype(int), 1)
        centre = 0.5 * (lower + upper)
        axes = [centre[i] + (np.arange(cells[i]) - 0.5 * (cells[i] - 1)) * spacing for i in range(3)]
        lattice = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        inside = lattice[self.contains(lattice)]
        if len(inside) == 0:
            raise InputError(f"particles={count} is too few for {self!r}: no sample fell inside; ask for more particles")
        return inside


@dataclass(frozen=True)
class RoundedBox(Shape):
    """A box of half extents ``core`` grown by ``radius``: the common family of the primitives."""

    core: tuple[float, float, float]
    radius: float

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        outside = np.abs(np.asarray(points, dtype=float)) - np.asarray(self.core)
        return np.linalg.norm(np.maximum(outside, 0.0), axis=-1) + np.minimum(outside.max(axis=-1), 0.0) - self.radius

    def surface_mesh(self) -> trimesh.Trimesh:
        core = np.asarray(self.core)
        if self.radius == 0.0:
            return trimesh.creation.box(extents=2.0 * core)
        # the Minkowski sum of the core box and a sphere is the convex hull of eight spheres
        ball = trimesh.creation.icosphere(subdivisions=3, radius=self.radius).vertices
        corners = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T * core
        return trimesh.Trimesh(vertices=(corners[:, None, :] + ball[None]).reshape(-1, 3), process=True).convex_hull

    @property
    def bounding_radius(self) -> float:
        return float(np.linalg.norm(self.core)) + self.radius

    def contact_points(self, edge_points: int | None = None) -> tuple[np.ndarray, float]:
        """The corners of the core and ``edge_points`` points between them on each of its edges.

        A sharp box gets small balls inside its edges, touching the faces: a point right on an edge would meet a box of the same
        size whose sides are in line from aside.

        Args:
            edge_points: None: one; for a capsule as many as make neighbours no farther apart than the radius.
        """
        radius = self.radius or SHARP_EDGE * min(self.core)
        core = np.asarray(self.core) + (self.radius - radius)
        axes = np.flatnonzero(core > 0.0)
        if edge_points is None:
            slender = len(axes) == 1
            edge_points = int(np.ceil(2.0 * core[axes[0]] / radius - 1e-9)) - 1 if slender else 1
        _count("edge_points", edge_points, 0)
        points = [np.array(list(product(*([-1.0, 1.0] if half > 0.0 else [0.0] for half in core))))]
        between = np.linspace(-1.0, 1.0, edge_points + 2)[1:-1]
        for axis in axes:
            ends = [between if i == axis else ([-1.0, 1.0] if core[i] > 0.0 else [0.0]) for i in range(3)]
            points.append(np.array(list(product(*ends))).reshape(-1, 3))
        return np.concatenate(points) * core, radius


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
            raise InputError(f"rounding must lie between 0 and the smallest half extent {min(half_extents)}, got {rounding}")
        core = tuple(float(extent) - rounding for extent in half_extents)
        super().__init__(core=core, radius=float(rounding))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Cylinder(Shape):
    """Cylinder of outer ``half_length`` along local z and outer ``radius`` (metres), its rims rounded by ``rounding``."""

    half_length: float
    radius: float
    rounding: float = 0.0

    def __post_init__(self) -> None:
        _positive("half_length", self.half_length)
        _positive("radius", self.radius)
        least = min(self.half_length, self.radius)
        if not 0.0 <= self.rounding <= least:
            raise InputError(
                f"rounding must lie between 0 and the smaller of half_length and radius, {least}, got {self.rounding!r}"
            )

    @property
    def _core(self) -> tuple[float, float]:
        """Half length and radius of the cylinder that grows by ``rounding``."""
        return self.half_length - self.rounding, self.radius - self.rounding

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        points = np.asarray(points, dtype=float)
        half, radius = self._core
        outside = np.stack([np.hypot(points[..., 0], points[..., 1]) - radius, np.abs(points[..., 2]) - half], axis=-1)
        return np.linalg.norm(np.maximum(outside, 0.0), axis=-1) + np.minimum(outside.max(axis=-1), 0.0) - self.rounding

    def surface_mesh(self) -> trimesh.Trimesh:
        half, radius = self._core
        arc = np.linspace(0.0, 0.5 * np.pi, 9 if self.rounding > 0.0 else 1)
        top = np.stack([radius + self.rounding * np.sin(arc), half + self.rounding * np.cos(arc)], axis=1)
        if radius > 0.0:
            top = np.concatenate([[[0.0, self.half_length]], top])
        top[0, 0] = 0.0  # on the axis
        bottom = top * (1.0, -1.0)
        if half == 0.0:
            bottom = bottom[:-1]  # the two arcs share their last point
        profile = np.concatenate([bottom, top[::-1]])
        return trimesh.creation.revolve(profile, sections=64)

    @property
    def volume(self) -> float:
        h, a = self._core
        r = self.rounding  # Steiner's formula for the core grown by r
        surface, curvature = 2.0 * np.pi * a * (a + 2.0 * h), np.pi * (2.0 * h + np.pi * a)
        return float(2.0 * np.pi * a**2 * h + surface * r + curvature * r**2 + 4.0 / 3.0 * np.pi * r**3)

    @property
    def bounding_radius(self) -> float:
        return float(np.hypot(*self._core)) + self.rounding

    def contact_points(self, rim: int = 8, rings: int | None = None) -> tuple[np.ndarray, float]:
        """Rings of ``rim`` points round the core, the outermost at its rims, and the centres of its caps.

        Args:
            rim: points per ring, at least 3.
            rings: at least 2. None: two, and one midway where the cylinder is longer than wide.
        """
        half, radius = self._core
        if rings is None:
            rings = 3 if half > radius else 2
        _count("rim", rim, 3)
        _count("rings", rings, 2)
        angles = 2.0 * np.pi * np.arange(rim) / rim
        circle = np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)
        points = [(0.0, 0.0, z) for z in (-half, half)]
        points += [(x, y, z) for z in np.linspace(-half, half, rings) for x, y in circle]
        return np.unique(np.array(points), axis=0), float(self.rounding)


@dataclass(frozen=True)
class Torus(Shape):
    """Tube of ``minor_radius`` about a circle of ``major_radius`` round local z (metres)."""

    major_radius: float
    minor_radius: float

    def __post_init__(self) -> None:
        _positive("major_radius", self.major_radius)
        _positive("minor_radius", self.minor_radius)
        if not self.minor_radius < self.major_radius:
            raise InputError(f"minor_radius must be less than major_radius={self.major_radius}, got {self.minor_radius}")

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        points = np.asarray(points, dtype=float)
        off_circle = np.hypot(points[..., 0], points[..., 1]) - self.major_radius
        return np.hypot(off_circle, points[..., 2]) - self.minor_radius

    def surface_mesh(self) -> trimesh.Trimesh:
        return trimesh.creation.torus(self.major_radius, self.minor_radius, major_sections=64, minor_sections=32)

    @property
    def volume(self) -> float:
        return float(2.0 * np.pi**2 * self.major_radius * self.minor_radius**2)

    @property
    def bounding_radius(self) -> float:
        return self.major_radius + self.minor_radius

    def contact_points(self, count: int | None = None) -> tuple[np.ndarray, float]:
        """``count`` points on the centre circle. None: at least 8, no farther apart than the minor radius."""
        if count is None:
            count = max(8, int(np.ceil(2.0 * np.pi * self.major_radius / self.minor_radius)))
        _count("count", count, 3)
        angles = 2.0 * np.pi * np.arange(count) / count
        circle = np.stack([np.cos(angles), np.sin(angles), np.zeros(count)], axis=1)
        return self.major_radius * circle, float(self.minor_radius)


@dataclass(frozen=True)
class Plane(Shape):
    """The half space z < 0, for geometry that stands still."""

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        return np.array(np.asarray(points, dtype=float)[..., 2])

    def surface_mesh(self) -> trimesh.Trimesh:
        """A square for pictures: the plane itself has no end."""
        corners = [(x * PLANE_HALF_EDGE, y * PLANE_HALF_EDGE, 0.0) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        return trimesh.Trimesh(vertices=corners, faces=[(0, 1, 2), (0, 2, 3)], process=False)

    @property
    def volume(self) -> float:
        return float("inf")

    @property
    def bounding_radius(self) -> float:
        return float("inf")

    def volume_samples(self, count: int) -> np.ndarray:
        raise TypeError("Plane is unbounded: it cannot be filled with particles")

    def contact_points(self) -> tuple[np.ndarray, float]:
        """None: other shapes' points meet the plane."""
        return np.zeros((0, 3)), 0.0


class TriangleMesh(Shape):
    """A triangle mesh, closed or not, for rigid contact and pictures.

    Normals are turned outward. A mesh that is not watertight loads with a warning; its inside is where the winding number
    exceeds one half, and its volume is that with every hole closed by a fan.

    Args:
        vertices: (V, 3), metres after scaling.
        faces: (F, 3) indices of vertices.
        name: for messages.
        scale: of the vertices, a number or three; a negative one mirrors.

    Raises:
        InputError: an argument is wrong, or no triangle is left.
    """

    mesh: trimesh.Trimesh

    def __init__(self, vertices: np.ndarray, faces: np.ndarray, name: str = "mesh", scale: float | Sequence[float] = 1.0):
        self.name = name
        try:
            factors = np.broadcast_to(np.asarray(scale, dtype=float), 3)
        except (TypeError, ValueError):
            factors = np.zeros(3)
        if not np.isfinite(factors).all() or (factors == 0.0).any():
            raise InputError(f"mesh '{name}': scale must be one or three numbers other than zero, got {scale!r}")
        self.mesh = solid_mesh(vertices, faces, name, factors)
        if not self.mesh.is_watertight:
            logger.warning(
                "mesh '%s' is not watertight: %d edges do not border two triangles; winding numbers tell its inside",
                name,
                open_edges(self.mesh),
            )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {len(self.mesh.vertices)} vertices, {len(self.mesh.faces)} faces)"

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        return signed_distance(self.mesh, points, self.name)

    def contains(self, points: np.ndarray) -> np.ndarray:
        if self.mesh.is_watertight:
            return self.mesh.contains(np.asarray(points, dtype=float))
        return super().contains(points)

    def surface_mesh(self) -> trimesh.Trimesh:
        return self.mesh

    @property
    def volume(self) -> float:
        return float(self.mesh.volume) if self.mesh.is_watertight else enclosed_volume(self.mesh)

    @cached_property
    def distance_grid(self) -> DistanceGrid:
        """The baked distance at the default resolution and padding (`diffsim.scene.meshes.mesh_distance.distance_grid`)."""
        return distance_grid(self.mesh, name=self.name)

    def contact_points(self, count: int = 64) -> tuple[np.ndarray, float]:
        """``count`` points of the surface, vertices first, spread out (`diffsim.scene.meshes.mesh_distance.spread_points`)."""
        _count("count", count, 1)
        return spread_points(self.mesh, count), 0.0


class MeshShape(TriangleMesh):
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
        self.name = self.path.name
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
            raise InputError(
                f"mesh '{self.path}' is not watertight: {open_edges(mesh)} edges do not border two triangles; "
                "close its holes first (for example with trimesh.repair.fill_holes)"
            )
        turn_outward(mesh)
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
