"""Parts of a mesh that overlap or touch become one (Manifold's Boolean union): surfaces within a solid are no surfaces."""

from __future__ import annotations

import numpy as np
import trimesh
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from diffsim.scene.meshes.mesh_winding import Patches, solid_patches

MOST_PARTS = 4000  # whose boxes are compared pair by pair
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
    starts = np.cumsum([0, *(len(part.vertices) for part in united[:-1])])
    whole = trimesh.Trimesh(
        np.concatenate([part.vertices for part in united]),
        np.concatenate([part.faces + start for part, start in zip(united, starts, strict=True)]),
        process=False,
    )
    return whole, [f"united {merged} parts that overlap or touch"]


def _union(mesh: trimesh.Trimesh, parts: list[np.ndarray]) -> trimesh.Trimesh | None:
    """The union of parts, each given by its triangles' numbers; None where they neither overlap nor touch, or cannot be
    united."""
    import manifold3d

    solids = []
    for triangles in parts:
        used, faces = np.unique(np.asarray(mesh.faces)[triangles], return_inverse=True)
        vertices = np.ascontiguousarray(np.asarray(mesh.vertices, dtype=float)[used])
        solid = manifold3d.Manifold(manifold3d.Mesh64(vertices, np.ascontiguousarray(faces.reshape(-1, 3), dtype=np.uint64)))
        if solid.status() != manifold3d.Error.NoError:
            return None
        solids.append(solid)
    union = manifold3d.Manifold.batch_boolean(solids, manifold3d.OpType.Add)
    if union.status() != manifold3d.Error.NoError or union.is_empty():
        return None
    volume, area = (sum(values) for values in zip(*((s.volume(), s.surface_area()) for s in solids), strict=True))
    if union.volume() > volume * (1.0 - NOTICEABLE) and union.surface_area() > area * (1.0 - NOTICEABLE):
        return None
    result = union.to_mesh64()
    return trimesh.Trimesh(
        np.asarray(result.vert_properties, dtype=float)[:, :3], np.asarray(result.tri_verts, dtype=np.int64), process=False
    )
