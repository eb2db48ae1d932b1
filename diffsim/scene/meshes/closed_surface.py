"""Triangles as a closed surface: edges that are open, fans that close its holes, and the integrals over what it encloses.

A surface is closed here if every edge is passed as often in one direction as in the other. That allows for edges of four
triangles, where parts touch, which a manifold has not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
import trimesh
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


class MassIntegrals(NamedTuple):
    """Of a solid at 1 kg/m^3."""

    volume: float  # m^3
    center: np.ndarray  # (3,) centre of mass, m
    inertia: np.ndarray  # (3, 3) about the centre of mass, kg m^2


def net_edges(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The edges of faces (F, 3): vertices (E, 2) in ascending order, how many triangles share each (E,), and how much more
    often it is passed upward than downward (E,)."""
    edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    up = edges[:, 0] < edges[:, 1]
    low, high = np.where(up, edges[:, 0], edges[:, 1]), np.where(up, edges[:, 1], edges[:, 0])
    base = int(faces.max()) + 1 if len(faces) else 1
    keys, index, counts = np.unique(low * base + high, return_inverse=True, return_counts=True)
    net = np.bincount(index.ravel(), weights=np.where(up, 1, -1), minlength=len(keys)).astype(int)
    return np.stack([keys // base, keys % base], axis=1), counts, net


def is_closed(mesh: trimesh.Trimesh) -> bool:
    """Whether the triangles, as they are wound, enclose something without a hole."""
    if mesh.is_watertight and mesh.is_winding_consistent:
        return True
    return not net_edges(np.asarray(mesh.faces))[2].any()


def open_edges(mesh: trimesh.Trimesh) -> int:
    """Number of edges that are not passed as often in one direction as in the other."""
    return int((net_edges(np.asarray(mesh.faces))[2] != 0).sum())


class Holes(NamedTuple):
    """What is missing to a closed surface."""

    edges: np.ndarray  # (R, 2) vertices of the rims' edges, directed so that triangles over them continue the surface
    hole: np.ndarray  # (R,) which hole each edge belongs to
    centres: np.ndarray  # (H, 3) middle of each hole's rim

    @property
    def number(self) -> int:
        return len(self.centres)

    def fans(self, vertices: np.ndarray) -> np.ndarray:
        """Triangles (R, 3, 3) from each rim's middle to its edges: with them the surface is closed."""
        return np.stack([vertices[self.edges[:, 0]], vertices[self.edges[:, 1]], self.centres[self.hole]], axis=1)


def holes_of(vertices: np.ndarray, faces: np.ndarray) -> Holes:
    """The holes of a surface (V, 3), (F, 3), one for each connected rim."""
    pairs, _, net = net_edges(faces)
    rim = net != 0
    start, end = pairs[rim].T
    forward = net[rim] > 0
    times = np.abs(net[rim])
    edges = np.where(forward[:, None], pairs[rim][:, ::-1], pairs[rim])
    size = len(vertices)
    labels = connected_components(coo_array((np.ones(len(start)), (start, end)), shape=(size, size)), directed=False)[1]
    found, hole = np.unique(labels[start], return_inverse=True)
    middle = 0.5 * (vertices[start] + vertices[end])
    share = np.maximum(np.bincount(hole, minlength=len(found)), 1)
    centres = np.stack([np.bincount(hole, weights=middle[:, i], minlength=len(found)) / share for i in range(3)], axis=1)
    return Holes(np.repeat(edges, times, axis=0), np.repeat(hole, times), centres.reshape(-1, 3))


def side_by_side(meshes: Sequence[trimesh.Trimesh]) -> trimesh.Trimesh:
    """One mesh of the triangles of all, whose vertices stay as they are."""
    return cast(trimesh.Trimesh, trimesh.util.concatenate(list(meshes)))


def closed_triangles(mesh: trimesh.Trimesh) -> np.ndarray:
    """The triangles' corners (F', 3, 3), with a fan about the middle of its rim over each hole."""
    triangles = np.asarray(mesh.triangles)
    if is_closed(mesh):
        return triangles
    vertices = np.asarray(mesh.vertices, dtype=float)
    return np.concatenate([triangles, holes_of(vertices, np.asarray(mesh.faces)).fans(vertices)])


def enclosed_volume(mesh: trimesh.Trimesh) -> float:
    """Signed volume in cubic metres; a fan about the middle of its rim closes each hole."""
    triangles = closed_triangles(mesh)
    return float(np.linalg.det(triangles - np.asarray(mesh.vertices).mean(axis=0)).sum()) / 6.0


def mass_integrals(mesh: trimesh.Trimesh) -> MassIntegrals:
    """Volume, centre and inertia of the solid, by the divergence theorem: exact for any shape, concave and hollow ones too.

    Each triangle spans a tetrahedron with one common point, whose volume has the sign of the triangle's side (Mirtich 1996,
    "Fast and accurate computation of polyhedral mass properties", in the tetrahedra's form). Holes are closed by fans.
    """
    middle = 0.5 * (mesh.bounds[0] + mesh.bounds[1])
    corners = closed_triangles(mesh) - middle
    volumes = np.linalg.det(corners) / 6.0
    volume = float(volumes.sum())
    if volume == 0.0:
        return MassIntegrals(0.0, middle, np.zeros((3, 3)))
    sums = corners.sum(axis=1)
    first = volumes @ sums / 4.0 / volume
    second = np.einsum("f,fci,fcj->ij", volumes, corners, corners, optimize=True)
    second = (second + np.einsum("f,fi,fj->ij", volumes, sums, sums, optimize=True)) / 20.0
    second = 0.5 * (second + second.T) - volume * np.outer(first, first)
    return MassIntegrals(volume, middle + first, np.trace(second) * np.eye(3) - second)
