"""Surface meshes to draw: with even, small triangles where a body deforms, and with sharp creases."""

from __future__ import annotations

import numpy as np
import trimesh
from trimesh.visual import ColorVisuals

from diffsim.scene.shapes import RoundedBox, Shape

SOFT_FACES = 3000  # about as many triangles as a deforming surface needs
CREASE = np.radians(50.0)  # neighbouring faces that meet at a larger angle share no normals


def rigid_surface(shape: Shape) -> trimesh.Trimesh:
    """The shape's surface, its vertices split along creases."""
    return split_at_creases(shape.surface_mesh())


def soft_surface(shape: Shape) -> trimesh.Trimesh:
    """The shape's surface in triangles small enough to bend, its vertices split along creases."""
    if isinstance(shape, RoundedBox):
        return rounded_box(shape)
    mesh = shape.surface_mesh()
    while len(mesh.faces) < SOFT_FACES / 2:
        mesh = mesh.subdivide()
    return split_at_creases(mesh)


def vertex_colors(mesh: trimesh.Trimesh) -> np.ndarray | None:
    """The colours that the mesh's file gave its vertices, sRGB in [0, 1], (V, 3), if it did."""
    visual = mesh.visual
    if not isinstance(visual, ColorVisuals) or visual.kind != "vertex":
        return None
    return np.asarray(visual.vertex_colors)[:, :3] / 255.0


def split_at_creases(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """The mesh with its own vertices for every smooth patch."""
    if not (mesh.face_adjacency_angles > CREASE).any():
        return mesh
    return trimesh.graph.smooth_shade(mesh, angle=CREASE, facet_minarea=None)


def rounded_box(shape: RoundedBox) -> trimesh.Trimesh:
    """An even grid on a rounded box: the points of a box's surface, projected onto the rounded one.

    Where the edges are sharp (radius 0), neighbouring sides share no vertices.
    """
    core, radius = np.asarray(shape.core), shape.radius
    outer = core + radius
    area = 8.0 * (outer[0] * outer[1] + outer[1] * outer[2] + outer[2] * outer[0])
    edge = float(np.sqrt(2.0 * area / SOFT_FACES))
    lines = [_grid_line(float(core[axis]), radius, edge) for axis in range(3)]
    vertices, faces, count = [], [], 0
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        for side in (-1.0, 1.0):
            grid = np.empty((len(lines[u]), len(lines[v]), 3))
            grid[..., axis] = side * outer[axis]
            grid[..., u], grid[..., v] = np.meshgrid(lines[u], lines[v], indexing="ij")
            index = count + np.arange(grid[..., 0].size).reshape(grid.shape[:2])
            a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]))
            quads = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
            faces.append(quads if side > 0.0 else quads[:, ::-1])
            vertices.append(grid.reshape(-1, 3))
            count += len(vertices[-1])
    points = np.concatenate(vertices)
    if radius > 0.0:
        inner = np.clip(points, -core, core)
        away = points - inner
        points = inner + radius * away / np.linalg.norm(away, axis=1, keepdims=True)
    mesh = trimesh.Trimesh(points, np.concatenate(faces), process=False)
    if radius > 0.0:
        mesh.merge_vertices()
    return mesh


def _grid_line(core: float, radius: float, edge: float) -> np.ndarray:
    """Coordinates along one axis: the rounded end, the flat middle, the rounded end."""
    round_steps = max(3, int(np.ceil(radius / edge))) if radius > 0.0 else 0
    flat_steps = max(1, int(np.ceil(2.0 * core / edge))) if core > 0.0 else 0
    # equal angles, so that a sphere's triangles come out even
    bend = radius * np.tan(np.linspace(0.0, np.pi / 4.0, round_steps + 1))
    flat = np.linspace(-core, core, flat_steps + 1) if flat_steps else np.zeros(1)
    return np.concatenate([-core - bend[:0:-1], flat, core + bend[1:]])
