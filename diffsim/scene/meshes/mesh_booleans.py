"""What Manifold (manifold3d) does for us: parts of a mesh that overlap or touch become one, since surfaces within a solid are
no surfaces; and large meshes become coarser."""

from __future__ import annotations

from typing import Any

import numpy as np
import trimesh
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from diffsim.scene.meshes.closed_surface import side_by_side
from diffsim.scene.meshes.mesh_winding import Patches, solid_patches

MOST_PARTS = 4000  # whose boxes are compared pair by pair
SLIVER = 1e-6  # of the mesh's size: edges of a union that are shorter collapse, so that its triangles survive rounding to f32
NOTICEABLE = 1e-7  # share of volume and area by which parts overlap or touch


def unite(mesh: trimesh.Trimesh, labels: np.ndarray) -> tuple[trimesh.Trimesh, list[str]]:
    """The mesh with its closed parts united where they overlap or share a wall, and what was done, in words.

    Parts that stand apart stay as they are, to the last bit; cavities belong to the part around them. Parts that are open have
    no inside that could be united.

    Args:
        labels: (F,) the patch of each triangle, as of `diffsim.scene.meshes.mesh_winding.turn_outward`.
    """
    if labels.max() == 0:
        return mesh, []
    labels = solid_patches(mesh, labels)
    patches = Patches.of(mesh, labels)
    solids = np.flatnonzero(patches.closed & (patches.volumes > 0.0))
    if len(solids) < 2 or len(solids) > MOST_PARTS:
        too_many = [f"left its {len(solids)} parts as they are, overlapping or not"] if len(solids) > MOST_PARTS else []
        return mesh, too_many
    lower, upper = patches.lower[solids], patches.upper[solids]
    meet = ((lower[:, None] <= upper[None]) & (upper[:, None] >= lower[None])).all(axis=2)
    cluster = connected_components(csr_array(meet), directed=False)[1]
    if len(np.unique(cluster)) == len(solids):
        return mesh, []
    owner = np.full(len(patches.volumes), -1)  # the solid that each patch belongs to
    owner[solids] = np.arange(len(solids))
    for cavity in np.flatnonzero(patches.closed & (patches.volumes < 0.0)):
        around = (lower < patches.lower[cavity]).all(axis=1) & (upper > patches.upper[cavity]).all(axis=1)
        if around.any():
            owner[cavity] = np.flatnonzero(around)[np.argmin(patches.volumes[solids][around])]
    part = owner[labels]
    kept, united, merged = [part < 0], [], 0
    for number in np.unique(cluster):
        members = np.flatnonzero(cluster == number)
        union = _union(mesh, [np.flatnonzero(part == member) for member in members]) if len(members) > 1 else None
        if union is None:
            kept.append(np.isin(part, members))
        else:
            united.append(union)
            merged += len(members)
    if not united:
        return mesh, []
    apart = np.any(kept, axis=0)
    if apart.any():
        used, faces = np.unique(np.asarray(mesh.faces)[apart], return_inverse=True)
        united.append(trimesh.Trimesh(np.asarray(mesh.vertices)[used], faces.reshape(-1, 3), process=False))
    return side_by_side(united), [f"united {merged} parts that overlap or touch"]


def _union(mesh: trimesh.Trimesh, parts: list[np.ndarray]) -> trimesh.Trimesh | None:
    """The union of parts, each given by its triangles' numbers; None where they neither overlap nor touch, or cannot be
    united."""
    import manifold3d

    solids = []
    for triangles in parts:
        used, faces = np.unique(np.asarray(mesh.faces)[triangles], return_inverse=True)
        solid = manifold_of(trimesh.Trimesh(np.asarray(mesh.vertices)[used], faces.reshape(-1, 3), process=False))
        if solid is None:
            return None
        solids.append(solid)
    union = manifold3d.Manifold.batch_boolean(solids, manifold3d.OpType.Add)
    if union.status() != manifold3d.Error.NoError or union.is_empty():
        return None
    volume, area = (sum(values) for values in zip(*((s.volume(), s.surface_area()) for s in solids), strict=True))
    if union.volume() > volume * (1.0 - NOTICEABLE) and union.surface_area() > area * (1.0 - NOTICEABLE):
        return None
    return trimesh_of(union.simplify(SLIVER * float(mesh.extents.max())))


def manifold_of(mesh: trimesh.Trimesh) -> Any:
    """A `manifold3d.Manifold` of a closed mesh, or None where it is none."""
    import manifold3d

    vertices = np.ascontiguousarray(mesh.vertices, dtype=float)
    solid = manifold3d.Manifold(manifold3d.Mesh64(vertices, np.ascontiguousarray(mesh.faces, dtype=np.uint64)))
    return solid if solid.status() == manifold3d.Error.NoError and not solid.is_empty() else None


def trimesh_of(solid: Any) -> trimesh.Trimesh:
    """The mesh of a `manifold3d.Manifold`."""
    mesh = solid.to_mesh64()
    vertices = np.asarray(mesh.vert_properties, dtype=float)[:, :3]
    return trimesh.Trimesh(vertices, np.asarray(mesh.tri_verts, dtype=np.int64), process=False)


def coarsened(mesh: trimesh.Trimesh, tolerance: float) -> trimesh.Trimesh:
    """A mesh of fewer triangles that lies within ``tolerance`` metres of a closed mesh (edges collapse); the mesh itself where
    it cannot be made coarser."""
    solid = manifold_of(mesh)
    coarse = solid.simplify(tolerance) if solid is not None else None
    return mesh if coarse is None or coarse.is_empty() else trimesh_of(coarse)
