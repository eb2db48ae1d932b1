"""Convex decomposition of triangle meshes."""

from __future__ import annotations

import numpy as np
import trimesh

from diffsim.errors import InputError

METHODS = ("coacd", "hull")


def convex_parts(
    mesh: trimesh.Trimesh, method: str = "coacd", threshold: float = 0.05, max_parts: int | None = None, seed: int = 0
) -> list[trimesh.Trimesh]:
    """Convex meshes that together approximate a mesh, in its frame. The same arguments give the same parts.

    Args:
        mesh: need not be watertight.
        method: "coacd" (collision-aware decomposition, Wei et al. 2022) or "hull" (the one convex hull).
        threshold: of "coacd": concavity that stays, 0.01 to 1; smaller gives more parts.
        max_parts: of "coacd": most parts, at least 1. None: as many as the threshold asks for.
        seed: of the search of "coacd".

    Raises:
        InputError: an argument is wrong, the mesh is flat, coacd is not installed, or it finds no parts.
    """
    if method not in METHODS:
        raise InputError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if not isinstance(mesh, trimesh.Trimesh) or len(mesh.faces) == 0:
        raise InputError(f"mesh must be a trimesh.Trimesh with triangles, got {mesh!r}")
    if not 0.01 <= threshold <= 1.0:
        raise InputError(f"threshold must lie between 0.01 and 1, got {threshold!r}")
    if max_parts is not None and (not isinstance(max_parts, int) or max_parts < 1):
        raise InputError(f"max_parts must be a positive integer or None, got {max_parts!r}")
    centred = np.asarray(mesh.vertices) - np.mean(mesh.vertices, axis=0)
    spread = np.linalg.svd(centred, compute_uv=False)
    if len(spread) < 3 or spread[2] <= 1e-9 * spread[0]:
        raise InputError(f"mesh is flat: its {len(centred)} vertices lie in a plane, so it has no convex solid")
    if method == "hull":
        return [mesh.convex_hull]
    try:
        import coacd
    except ImportError as error:
        raise InputError("method 'coacd' needs the package coacd: pip install diffsim-rpg[robots]") from error
    coacd.set_log_level("off")
    parts = coacd.run_coacd(
        coacd.Mesh(np.asarray(mesh.vertices, dtype=float), np.asarray(mesh.faces, dtype=np.int32)),
        threshold=float(threshold),
        max_convex_hull=-1 if max_parts is None else max_parts,
        seed=seed,
    )
    if not parts:
        raise InputError(f"method 'coacd' found no parts of a mesh of {len(mesh.faces)} triangles; method 'hull' always does")
    return [trimesh.Trimesh(vertices=vertices, faces=faces, process=True).convex_hull for vertices, faces in parts]
