"""Surface meshes to draw: with even, small triangles where a body deforms, and with sharp creases."""

from __future__ import annotations

import numpy as np
import trimesh
from trimesh.visual import ColorVisuals

from diffsim.scene.shapes import Shape

SOFT_FACES = 3000  # about as many triangles as a deforming surface needs
CREASE = np.radians(50.0)  # neighbouring faces that meet at a larger angle share no normals


def rigid_surface(shape: Shape) -> trimesh.Trimesh:
    """The shape's surface, its vertices split along creases."""
    return split_at_creases(shape.surface_mesh())


def soft_surface(shape: Shape) -> trimesh.Trimesh:
    """The shape's surface in triangles small enough to bend, its vertices split along creases."""
    return split_at_creases(shape.fine_mesh(SOFT_FACES))


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
