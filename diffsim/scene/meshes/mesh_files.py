"""Triangle meshes from files."""

from __future__ import annotations

import importlib.util
import re
from io import BytesIO
from pathlib import Path

import numpy as np
import trimesh
from scipy.spatial import cKDTree
from trimesh.visual import ColorVisuals, TextureVisuals

from diffsim.errors import InputError
from diffsim.scene.meshes.mesh_repair import Mended, drop_degenerate, mended, mirrored, why_no_solid

SUFFIXES = (".obj", ".stl", ".glb", ".gltf", ".ply", ".off", ".dae")


def read_triangles(path: Path, *, colors: bool = False) -> trimesh.Trimesh:
    """The triangles of a mesh file of any kind that trimesh reads, in metres as the file places them, vertices not merged.

    The nodes of a scene (GLB, GLTF, DAE) are placed as it says. COLLADA's unit is applied and its up axis is not: so robot
    descriptions mean it (RViz).

    Args:
        colors: whether to keep the file's colours.

    Raises:
        InputError: the file is missing, unreadable or empty.
    """
    if not path.is_file():
        raise InputError(f"mesh '{path}' does not exist; give a path to a triangle mesh")
    damage = _damage(path)
    if damage is not None:
        raise InputError(f"mesh '{path}' could not be read: {damage}")
    try:
        mesh = trimesh.load(path, force="mesh", process=False, skip_materials=not colors)
        if path.suffix.lower() == ".dae" and len(getattr(mesh, "faces", ())) == 0:
            # a node that names a material which is not there counts as broken: read without materials
            plain = re.sub(rb"<bind_material>.*?</bind_material>", b"", path.read_bytes(), flags=re.DOTALL)
            mesh = trimesh.load(BytesIO(plain), file_type="dae", force="mesh", process=False, skip_materials=True)
    except Exception as error:  # trimesh raises whatever its many readers raise
        if path.stat().st_size == 0:
            raise InputError(f"mesh '{path}' is empty: the file has no bytes") from error
        lines = str(error).splitlines() or [type(error).__name__]
        hint = ""
        if path.suffix.lower() == ".dae" and importlib.util.find_spec("collada") is None:
            hint = "; .dae files need the package pycollada: pip install diffsim-rpg[robots]"
        raise InputError(f"mesh '{path}' could not be read: {lines[0]}{hint}") from error
    if not isinstance(mesh, trimesh.Trimesh) or len(mesh.faces) == 0:
        points = len(getattr(mesh, "vertices", ()))
        raise InputError(f"mesh '{path}' is empty: it has no triangles" + (f", only {points} points" if points else ""))
    if path.suffix.lower() == ".dae":
        unit = re.search(rb"<unit[^>]*\bmeter\s*=\s*[\"']([^\"']+)", path.read_bytes()[:20000])
        mesh.apply_scale(float(unit.group(1)) if unit else 1.0)
    if colors and isinstance(mesh.visual, TextureVisuals):  # a texture's colours at the vertices, if it has one that fits
        fits = mesh.visual.uv is not None and len(mesh.visual.uv) == len(mesh.vertices)
        mesh.visual = mesh.visual.to_color() if fits else ColorVisuals(mesh)
    return mesh


def _damage(path: Path) -> str | None:
    """What is wrong with a binary STL file of a wrong length, which readers take for text without a triangle."""
    there = path.stat().st_size
    if path.suffix.lower() != ".stl" or there == 0:
        return None
    with path.open("rb") as file:
        header = file.read(84)
    if b"\0" not in header:  # text; the highest byte of a binary file's count of triangles is zero
        return None
    if there < 84:
        return f"a binary STL file begins with 84 bytes, but all of it is {there} bytes"
    count = int.from_bytes(header[80:84], "little")
    whole = 84 + 50 * count
    return None if there == whole else f"its header says {count} triangles, {whole} bytes, but it has {there} bytes"


def load_solid(path: str | Path, size: float | None = None, scale: np.ndarray | None = None) -> Mended:
    """A closed mesh, the middle of its bounding box at the origin, its normals outward.

    Args:
        size: longest edge of the bounding box after scaling, in metres; None keeps the file's own scale.
        scale: (3,) factors of the file's coordinates.

    Raises:
        InputError: the file is missing, of an unknown kind, unreadable, empty, or no solid even when mended.
    """
    file = Path(path)
    if file.suffix.lower() not in SUFFIXES:
        raise InputError(f"mesh '{path}' has an unknown suffix; allowed: {', '.join(SUFFIXES)}")
    mesh = read_triangles(file, colors=True)
    if not np.isfinite(mesh.vertices).all():
        bad = int((~np.isfinite(mesh.vertices).all(axis=1)).sum())
        raise InputError(f"mesh '{path}' has vertices that are not finite numbers ({bad} of {len(mesh.vertices)})")
    mesh.merge_vertices(merge_tex=True, merge_norm=True)
    turned = []
    if scale is not None:
        mesh.vertices = np.asarray(mesh.vertices) * scale
        turned = mirrored(mesh, scale)
    drop_degenerate(mesh)
    if len(mesh.faces) == 0:
        raise InputError(f"mesh '{path}' is empty: its triangles are all degenerate")
    vertices, visual = np.asarray(mesh.vertices, dtype=float), mesh.visual
    solid = mended(trimesh.Trimesh(vertices, mesh.faces, process=False))
    mesh = solid.mesh
    reason = why_no_solid(mesh, solid.closed)
    if reason is not None:
        raise InputError(f"mesh '{path}' {reason}")
    _carry_colors(vertices, visual, mesh)
    lower, upper = mesh.bounds
    mesh.apply_translation(-0.5 * (lower + upper))
    if size is not None:
        mesh.apply_scale(size / float((upper - lower).max()))
    return Mended(mesh, (*turned, *solid.done), solid.closed)


def _carry_colors(vertices: np.ndarray, visual: object, mesh: trimesh.Trimesh) -> None:
    """Gives a mesh's vertices the colours that they, or the nearest of those (V, 3) before it was mended, had in the file."""
    if not isinstance(visual, ColorVisuals) or visual.kind != "vertex" or len(visual.vertex_colors) != len(vertices):
        return
    same = np.array_equal(vertices, mesh.vertices)
    source = np.arange(len(vertices)) if same else cKDTree(vertices).query(mesh.vertices)[1]
    mesh.visual = ColorVisuals(mesh, vertex_colors=np.asarray(visual.vertex_colors)[source])
