"""Masses that a model file leaves to its meshes: exact ones, of the mended mesh; and questions about the meshes' units.

By default ("legacy") MuJoCo adds up the volumes under a mesh's triangles without their signs, which is too much where the mesh
is hollow or bends round: three times the mass of a ball with a cavity of 80% of its radius. A mesh that asks for its hull or
its shell gets it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from diffsim.errors import InputError
from diffsim.robots.mujoco_import import Notes
from diffsim.scene.articulation import Link
from diffsim.scene.meshes.closed_surface import net_edges
from diffsim.scene.meshes.mesh_booleans import manifold_of, trimesh_of
from diffsim.scene.meshes.mesh_files import read_triangles
from diffsim.scene.meshes.mesh_repair import solid_mesh


def meshes_with_mass(spec: Any) -> set[str]:
    """Names of the meshes from which MuJoCo infers masses."""
    import mujoco

    always = spec.compiler.inertiafromgeom == mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_TRUE
    never = spec.compiler.inertiafromgeom == mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_FALSE
    low, high = spec.compiler.inertiagrouprange
    return {
        geom.meshname
        for body in spec.bodies
        if always or not (never or body.explicitinertial)
        for geom in body.geoms
        if geom.type == mujoco.mjtGeom.mjGEOM_MESH and low <= geom.group <= high and geom.mass != 0.0 and geom.density != 0.0
    }


def make_exact(mesh: Any, path: Path | None, notes: Notes) -> None:
    """Lets MuJoCo integrate over the inside of a mesh, whose triangles it gets mended where they need it.

    Args:
        mesh: of a spec; one that asks for another inertia than the default stays as it is.
        path: of its file; None where the triangles are in the spec.
    """
    import mujoco

    if mesh.inertia != mujoco.mjtMeshInertia.mjMESH_INERTIA_LEGACY:
        return
    try:
        if path is not None:
            triangles = read_triangles(path)
            vertices, faces = np.asarray(triangles.vertices, dtype=float), np.asarray(triangles.faces)
        else:
            vertices, faces = np.reshape(mesh.uservert, (-1, 3)).astype(float), np.reshape(mesh.userface, (-1, 3))
        solid = solid_mesh(vertices, faces.astype(int), mesh.name)
    except InputError:  # MuJoCo says what is wrong, or makes the hull of its vertices
        return
    if not solid.closed:
        notes.add("mass of an open mesh is MuJoCo's estimate", mesh.name)
        return
    own = _with_edges_of_two(solid.mesh)
    if own is None:
        notes.add("mass of a mesh that touches itself is MuJoCo's estimate", mesh.name)
        return
    mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_EXACT
    if solid.done:
        notes.add(f"mesh {', '.join(solid.done)}, for its mass", mesh.name)
    if solid.done or len(own.faces) != len(faces) or len(own.vertices) != len(solid.mesh.vertices):
        mesh.uservert = np.asarray(own.vertices, dtype=np.float32).ravel()
        mesh.userface = np.asarray(own.faces, dtype=np.int32).ravel()
        mesh.usernormal, mesh.usertexcoord = [], []
        mesh.file = ""


def _with_edges_of_two(mesh: trimesh.Trimesh) -> trimesh.Trimesh | None:
    """The mesh with two vertices in one place where surfaces touch along an edge, as MuJoCo wants it for the exact inertia;
    None where Manifold cannot split them."""
    if (net_edges(np.asarray(mesh.faces))[1] == 2).all():
        return mesh
    solid = manifold_of(mesh)
    split = trimesh_of(solid) if solid is not None else None
    return split if split is not None and (net_edges(np.asarray(split.faces))[1] == 2).all() else None


def ask_about_units(links: Sequence[Link], notes: Notes) -> None:
    """Notes the meshes of moving links whose size looks like that of a drawing in other units."""
    moving: set[str] = set()
    for link in links:
        if link.joint.type.dofs or link.parent in moving:
            moving.add(link.name)
            for geometry in link.geometries:
                doubt = geometry.shape.doubtful_size(link.inertia.mass if link.inertia is not None else 0.0)
                if doubt is not None:
                    notes.add(doubt, f"{link.name}: {getattr(geometry.shape, 'name', 'mesh')}")
