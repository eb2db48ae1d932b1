"""Closed triangle meshes from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import trimesh

from diffsim.errors import InputError
from diffsim.scene.meshes.mesh_distance import open_edges, turn_outward

SUFFIXES = (".obj", ".stl", ".glb", ".gltf", ".ply", ".off")


def load_solid(path: str | Path, size: float | None = None) -> trimesh.Trimesh:
    """A closed mesh, the middle of its bounding box at the origin, its normals outward.

    Args:
        size: longest edge of the bounding box after scaling, in metres; None keeps the file's own scale.

    Raises:
        InputError: the file is missing, of an unknown kind, unreadable, empty, or not watertight.
    """
    file = Path(path)
    if file.suffix.lower() not in SUFFIXES:
        raise InputError(f"mesh '{path}' has an unknown suffix; allowed: {', '.join(SUFFIXES)}")
    if not file.is_file():
        raise InputError(f"mesh '{path}' does not exist; give a path to a closed triangle mesh")
    try:
        mesh = trimesh.load(file, force="mesh", process=True)
    except Exception as error:  # trimesh raises whatever its many readers raise
        raise InputError(f"mesh '{path}' could not be read: {str(error).splitlines()[0]}") from error
    if not isinstance(mesh, trimesh.Trimesh) or len(mesh.faces) == 0:
        raise InputError(f"mesh '{path}' is empty: it has no triangles")
    mesh.merge_vertices(merge_tex=True, merge_norm=True)
    if not np.isfinite(mesh.vertices).all():
        raise InputError(f"mesh '{path}' has vertices that are not finite numbers")
    if not mesh.is_watertight:
        raise InputError(
            f"mesh '{path}' is not watertight: {open_edges(mesh)} edges do not border two triangles; "
            "close its holes first (for example with trimesh.repair.fill_holes)"
        )
    turn_outward(mesh)
    lower, upper = mesh.bounds
    extent = float((upper - lower).max())
    if extent <= 0.0 or mesh.volume <= 0.0:
        raise InputError(f"mesh '{path}' is empty: it encloses no volume")
    mesh.apply_translation(-0.5 * (lower + upper))
    if size is not None:
        mesh.apply_scale(size / extent)
    return mesh
