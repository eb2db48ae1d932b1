"""Meshes of metaworld's household things, drawn in the place of the plain shapes that touch."""

from __future__ import annotations

from typing import Any

import trimesh

import diffsim as ds
from tasks.robots.model_packages import package_file

AS_DRAWN = (1.0, 0.0, 0.0, 0.0)
AROUND_X, AROUND_Y = (0.5**0.5, 0.5**0.5, 0.0, 0.0), (0.5**0.5, 0.0, 0.5**0.5, 0.0)  # quarter turns


def package_mesh(
    task: str,
    file: str,
    position: tuple[float, float, float] = (0.0, 0.0, 0.0),
    rotation: tuple[float, float, float, float] = AS_DRAWN,
    *,
    color: tuple[float, float, float],
    scale: float = 1.0,
) -> ds.Geometry:
    """What is drawn and touches nothing: a mesh of metaworld, whose frame is that of its file.

    Args:
        task: whose mesh it is, for the error.
        file: below metaworld's ``assets/objects/meshes``.
        position, rotation: of the file's frame in the link's, m and quaternion (w, x, y, z).
        color: RGB in 0 to 1.
        scale: of the mesh.

    Raises:
        InputError: metaworld is not there; says what to install.
    """
    mesh: Any = trimesh.load(package_file(f"tasks.{task}", "metaworld", f"assets/objects/meshes/{file}"), force="mesh")
    shape = ds.TriangleMesh(mesh.vertices, mesh.faces, name=file.split("/")[-1], scale=scale)
    return ds.Geometry(shape, position, rotation, collides=False, color=color)
