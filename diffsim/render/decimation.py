"""Surfaces with fewer triangles, for pictures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import trimesh

from diffsim.render.geometry import smooth_normals
from diffsim.render.surfaces import split_at_creases, vertex_colors

SMALL = 200  # triangles; surfaces of at most so many stay as they are, or buttons and screws would vanish


class Surface(NamedTuple):
    """Vertices (V, 3), metres, their unit normals (V, 3), faces (F, 3), and the vertices' colours (V, 3), sRGB, if they have
    any. A vertex on a crease occurs once for each side."""

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    colors: np.ndarray | None = None


def surface_of(mesh: trimesh.Trimesh) -> Surface:
    """A mesh with its normals, smooth except across creases."""
    mesh = split_at_creases(mesh)
    vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces)
    return Surface(vertices, smooth_normals(vertices, faces), faces, vertex_colors(mesh))


def clustered(surface: Surface, cell: float) -> Surface:
    """The surface with all vertices of a cubic cell merged into one point, and without the triangles that collapse.

    The point minimizes the mean squared distance to the planes of the triangles around it (Lindstrom 2000), so
    edges and corners stay sharp. The normals are the means of the old ones over each smooth patch in the cell. Triangles that
    shared a vertex still meet there.

    Args:
        cell: edge of the cells, metres.
    """
    vertices, normals, faces, colors = surface
    places = np.floor((vertices - vertices.min(axis=0)) / cell).astype(np.int64)
    size = places.max(axis=0) + 1
    _, group = np.unique((places[:, 0] * size[1] + places[:, 1]) * size[2] + places[:, 2], return_inverse=True)
    patch = trimesh.graph.connected_component_labels(faces[:, [0, 1, 1, 2]].reshape(-1, 2), node_count=len(vertices))
    _, first, vertex = np.unique(group * (int(patch.max()) + 1) + patch, return_index=True, return_inverse=True)
    means = np.stack([np.bincount(vertex, normals[:, axis]) for axis in range(3)], axis=1)
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    new_normals = np.where(lengths > 1e-6, means / np.maximum(lengths, 1e-6), normals[first])
    new_vertices = _best_places(vertices, faces, group, cell)[group[first]]

    corners = group[faces]
    kept = (corners[:, 0] != corners[:, 1]) & (corners[:, 1] != corners[:, 2]) & (corners[:, 2] != corners[:, 0])
    # both sides of a thin sheet may fall together: of equal triangles one is enough
    _, once = np.unique(np.sort(corners[kept], axis=1), axis=0, return_index=True)
    new_faces = vertex[faces][kept][np.sort(once)]
    # some triangles turn over: their old normals tell
    tips = new_vertices[new_faces]
    across = np.cross(tips[:, 1] - tips[:, 0], tips[:, 2] - tips[:, 0])
    turned = np.einsum("fi,fi->f", across, new_normals[new_faces].sum(axis=1)) < 0.0
    new_faces[turned] = new_faces[turned][:, ::-1]
    return Surface(new_vertices, new_normals, new_faces, None if colors is None else colors[first])


def _best_places(vertices: np.ndarray, faces: np.ndarray, group: np.ndarray, cell: float) -> np.ndarray:
    """The point (G, 3) that stands for each group of vertices (V,)."""
    shares = np.bincount(group)
    count = len(shares)
    means = np.stack([np.bincount(group, vertices[:, axis]) for axis in range(3)], axis=1) / shares[:, None]
    tips = vertices[faces]
    normals = np.cross(tips[:, 1] - tips[:, 0], tips[:, 2] - tips[:, 0])
    areas = np.linalg.norm(normals, axis=1)
    normals = normals / np.maximum(areas, 1e-30)[:, None]
    weighted = normals * areas[:, None]
    matrices, sides = np.zeros((count, 3, 3)), np.zeros((count, 3))
    for corner in range(3):
        at = group[faces[:, corner]]
        height = np.einsum("fi,fi->f", normals, tips[:, 0] - means[at])
        for i in range(3):
            sides[:, i] += np.bincount(at, weighted[:, i] * height, count)
            for j in range(3):
                matrices[:, i, j] += np.bincount(at, weighted[:, i] * normals[:, j], count)
    stiffness, axes = np.linalg.eigh(matrices)
    along = np.einsum("gji,gj->gi", axes, sides)
    firm = stiffness > 1e-2 * stiffness[:, 2:] + 1e-30  # along flat directions the mean is as good as any point
    moves = np.einsum("gij,gj->gi", axes, np.where(firm, along / np.where(firm, stiffness, 1.0), 0.0))
    moves[np.linalg.norm(moves, axis=1) > cell] = 0.0
    return means + moves


def simplified(surfaces: list[Surface], uses: list[int], cell: float, budget: int) -> list[Surface]:
    """The large surfaces without details finer than ``cell`` metres, or coarser where they had more than ``budget`` triangles.

    Args:
        uses: how often a picture shows each surface.
        budget: for all large surfaces together; small ones stay as they are.
    """
    large = [i for i, surface in enumerate(surfaces) if len(surface.faces) > SMALL]
    extent = max((float(np.ptp(surfaces[i].vertices, axis=0).max()) for i in large), default=1.0)
    cell = max(cell, 1e-4 * extent)
    coarse = list(surfaces)
    for _ in range(50):
        for i in large:
            coarse[i] = clustered(surfaces[i], cell)
        count = sum(uses[i] * len(coarse[i].faces) for i in large)
        if count <= budget:
            break
        cell *= min(max(1.1, np.sqrt(count / budget)), 2.0)
    return coarse
