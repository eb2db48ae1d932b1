"""Triangles from files and arrays become solids: what is mended, in which order, and what is refused.

A mesh that needs nothing keeps its vertices and faces to the last bit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import trimesh
from scipy.spatial import cKDTree

from diffsim.errors import InputError
from diffsim.scene.meshes.closed_surface import Holes, holes_of, is_closed, net_edges
from diffsim.scene.meshes.mesh_booleans import unite
from diffsim.scene.meshes.mesh_winding import turn_outward

# the welds that are tried, as shares of the mesh's size: rounding in f32, in text of 6, 5 and 4 digits
WELDS = (1e-7, 1e-6, 1e-5, 1e-4)
SMALL_HOLE = 0.1  # width of a hole that is filled, as a share of the mesh's size
SMALL_PATCH = 0.01  # area of what fills it, as a share of the mesh's
MOST_PAIRS = 2**24  # of near vertices that are looked at
FLAT = 1e-9  # volume over area times size below which a mesh encloses none


class Mended(NamedTuple):
    mesh: trimesh.Trimesh
    done: tuple[str, ...]  # what was mended, in words; empty for a mesh that needed nothing
    closed: bool


def mended(mesh: trimesh.Trimesh) -> Mended:
    """A solid of triangles: doubled ones dropped, cracks welded, small holes filled, normals outward, overlapping parts united.

    Args:
        mesh: with merged vertices and no degenerate triangles; changed in place.
    """
    done: list[str] = []
    if not mesh.is_watertight:
        done += _drop_doubled(mesh)
        done += _weld(mesh)
    turned, patches = turn_outward(mesh)
    done += turned
    closed = is_closed(mesh)
    if not closed:
        filled = _fill_small_holes(mesh)
        if filled:
            turned, patches = turn_outward(mesh)
            done += [*filled, *(what for what in turned if what not in done)]
            closed = is_closed(mesh)
    mesh, united = unite(mesh, patches)
    return Mended(mesh, (*done, *united), closed)


def checked_arrays(vertices: np.ndarray, faces: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and faces (F, 3) as arrays.

    Raises:
        InputError: they have the wrong shape, hold non-finite numbers or indices out of range, or there is no triangle.
    """
    vertices, faces = np.asarray(vertices), np.asarray(faces)
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        raise InputError(f"mesh '{name}': vertices must be (V, 3) numbers, got shape {vertices.shape}")
    if faces.size and (faces.ndim != 2 or faces.shape[1] != 3 or not np.issubdtype(faces.dtype, np.integer)):
        raise InputError(f"mesh '{name}': faces must be (F, 3) integers, got shape {faces.shape} of {faces.dtype}")
    if not np.isfinite(vertices).all():
        raise InputError(f"mesh '{name}' has vertices that are not finite numbers")
    if faces.size == 0:
        raise InputError(f"mesh '{name}' is empty: it has no triangles")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise InputError(
            f"mesh '{name}': faces must index the {len(vertices)} vertices, got indices {faces.min()} to {faces.max()}"
        )
    return vertices, faces


def solid_mesh(vertices: np.ndarray, faces: np.ndarray, name: str, scale: np.ndarray | float = 1.0) -> Mended:
    """A mended mesh from arrays: shared vertices merged, degenerate triangles dropped, and all that `mended` does.

    Args:
        vertices: (V, 3), metres after scaling.
        faces: (F, 3) indices.
        name: for error messages.
        scale: (3,) factors of the vertices.

    Raises:
        InputError: as `checked_arrays`, or no triangle is left.
    """
    vertices, faces = checked_arrays(vertices, faces, name)
    mesh = trimesh.Trimesh(vertices=vertices * scale, faces=faces.astype(np.int64), process=True)
    turned = mirrored(mesh, np.broadcast_to(scale, 3))
    drop_degenerate(mesh)
    if len(mesh.faces) == 0:
        raise InputError(f"mesh '{name}' is empty: its triangles are all degenerate")
    solid = mended(mesh)
    return Mended(solid.mesh, (*turned, *solid.done), solid.closed)


def mirrored(mesh: trimesh.Trimesh, scale: np.ndarray) -> list[str]:
    """Turns the faces of a mesh that factors (3,) have mirrored, in place, and says so."""
    if np.prod(np.sign(scale)) > 0.0:
        return []
    mesh.faces = np.asarray(mesh.faces)[:, ::-1]
    return ["turned its normals outward, as its scale mirrors it"]


def drop_degenerate(mesh: trimesh.Trimesh) -> None:
    """Leaves out triangles with two corners in one vertex, and vertices of no triangle, in place."""
    f = mesh.faces
    mesh.update_faces((f[:, 0] != f[:, 1]) & (f[:, 1] != f[:, 2]) & (f[:, 2] != f[:, 0]))
    mesh.remove_unreferenced_vertices()


def why_no_solid(mesh: trimesh.Trimesh, closed: bool) -> str | None:
    """Why a mended mesh is no solid, and what one can do; None if it is one."""
    extents = np.asarray(mesh.extents, dtype=float)
    size = float(extents.max())
    if size <= 0.0:
        return "is empty: its triangles are points"
    spread = np.linalg.svd(np.asarray(mesh.vertices) - np.mean(mesh.vertices, axis=0), compute_uv=False)
    if len(spread) < 3 or spread[2] <= 1e-9 * spread[0]:
        return "is flat: its triangles lie in a plane and enclose no volume; give it a thickness (extrude it)"
    if closed:
        if abs(mesh.volume) <= FLAT * mesh.area * size:
            return "is empty: it encloses no volume (its triangles cancel each other); a sheet needs a thickness"
        return None
    vertices, faces = np.asarray(mesh.vertices, dtype=float), np.asarray(mesh.faces)
    _, counts, _ = net_edges(faces)
    holes = holes_of(vertices, faces)
    if not (counts % 2 == 1).any():
        return "contradicts itself: it has no rim, and yet its triangles cannot all face outward; draw its walls as solids"
    widths = [np.ptp(vertices[holes.edges[holes.hole == i]].reshape(-1, 3), axis=0).max() for i in range(min(holes.number, 50))]
    hole = f"{holes.number} holes, the widest" if holes.number > 1 else "one hole,"
    return (
        f"is not watertight: {len(holes.edges)} edges do not border two triangles ({hole} {max(widths):.3g} m wide); "
        "close it (an open vessel needs an inner wall; holes: trimesh.repair.fill_holes)"
    )


def _drop_doubled(mesh: trimesh.Trimesh) -> list[str]:
    """Triangles over the same three vertices, in place: one stays of those that face the same way; two that face each other
    cancel (a wall between two parts) if the rest is closed then, else one of them stays (a surface drawn from both sides)."""
    faces = np.asarray(mesh.faces)
    ordered = np.sort(faces, axis=1)
    base = int(faces.max()) + 1
    _, first, index, counts = np.unique(
        (ordered[:, 0] * base + ordered[:, 1]) * base + ordered[:, 2] if base < 2_000_000 else ordered,
        axis=None if base < 2_000_000 else 0,
        return_index=True, return_inverse=True, return_counts=True,
    )  # fmt: skip
    if (counts == 1).all():
        return []
    index = index.ravel()
    # whether a triangle is an even permutation of its sorted vertices
    turns = (faces[:, 0] > faces[:, 1]).astype(int) + (faces[:, 1] > faces[:, 2]) + (faces[:, 0] > faces[:, 2])
    even = turns % 2 == 0
    ups = np.bincount(index, weights=even, minlength=len(counts))
    opposed = (ups > 0) & (ups < counts)
    single = np.zeros(len(faces), dtype=bool)
    single[first] = True
    without = single & ~opposed[index]
    kept = single
    if opposed.any() and without.any():
        _, shared, net = net_edges(faces[without])
        if (shared == 2).all() or not net.any():
            kept = without
    dropped = int(len(faces) - kept.sum())
    mesh.update_faces(kept)
    mesh.remove_unreferenced_vertices()
    return [f"dropped {dropped} doubled triangles"]


def _weld(mesh: trimesh.Trimesh) -> list[str]:
    """Joins vertices of open edges that lie near each other, in place, at the smallest tolerance that closes the mesh, or else
    at that which leaves the fewest open edges."""
    faces = np.asarray(mesh.faces)
    pairs, counts, _ = net_edges(faces)
    open_now = int((counts % 2 == 1).sum())
    if open_now == 0:
        return []
    rim = np.unique(pairs[counts % 2 == 1])
    points = np.asarray(mesh.vertices, dtype=float)[rim]
    size = float(mesh.extents.max())
    best: tuple[int, float, np.ndarray] | None = None
    for weld in WELDS:
        joined = _joined(points, weld * size)
        if joined is None:
            continue
        target = np.arange(len(mesh.vertices))
        target[rim] = rim[joined]
        moved = target[faces]
        whole = (moved[:, 0] != moved[:, 1]) & (moved[:, 1] != moved[:, 2]) & (moved[:, 2] != moved[:, 0])
        if not whole.any():
            break
        left = int((net_edges(moved[whole])[1] % 2 == 1).sum())
        if left < (best[0] if best is not None else open_now):
            best = left, weld, target
        if left == 0:
            break
    if best is None:
        return []
    left, weld, target = best
    mesh.faces = target[faces]
    drop_degenerate(mesh)
    return [f"welded cracks of up to {weld * size:.2g} m", *_drop_doubled(mesh)]


def _joined(points: np.ndarray, distance: float) -> np.ndarray | None:
    """For each of points (P, 3) the first one of its cluster at a distance; None where all stay alone, or
    where they lie so dense that they are no cracks."""
    tree = cKDTree(points)
    if not len(points) < tree.count_neighbors(tree, distance) <= MOST_PAIRS:
        return None
    close = tree.query_pairs(distance, output_type="ndarray")
    joined = np.arange(len(points))
    for _ in range(8):  # chains of neighbours
        low = joined[close].min(axis=1)
        before = joined.copy()
        np.minimum.at(joined, close[:, 0], low)
        np.minimum.at(joined, close[:, 1], low)
        if (joined == before).all():
            break
    return joined


def _fill_small_holes(mesh: trimesh.Trimesh) -> list[str]:
    """Closes holes that are narrow and small beside the whole by fans, in place."""
    vertices, faces = np.asarray(mesh.vertices, dtype=float), np.asarray(mesh.faces)
    holes = holes_of(vertices, faces)
    fans = holes.fans(vertices)
    areas = 0.5 * np.linalg.norm(np.cross(fans[:, 1] - fans[:, 0], fans[:, 2] - fans[:, 0]), axis=1)
    reach = np.linalg.norm(fans[:, 0] - fans[:, 2], axis=1)
    total = np.bincount(holes.hole, weights=areas, minlength=holes.number)
    radius = np.zeros(holes.number)
    np.maximum.at(radius, holes.hole, reach)
    small = (total <= SMALL_PATCH * float(mesh.area)) & (2.0 * radius <= SMALL_HOLE * float(mesh.extents.max()))
    small |= total <= 1e-6 * float(mesh.area)  # a slit, or an edge against two shorter ones
    small &= _balanced(holes)
    if not small.any():
        return []
    number = np.full(holes.number, -1)
    number[small] = np.arange(int(small.sum()))
    rims = small[holes.hole]
    edges, centre = holes.edges[rims], len(vertices) + number[holes.hole[rims]]
    whole = trimesh.Trimesh(
        np.concatenate([vertices, holes.centres[small]]),
        np.concatenate([faces, np.column_stack([edges, centre])]),
        process=False,
    )
    mesh.vertices, mesh.faces = whole.vertices, whole.faces
    return [f"filled {int(small.sum())} small hole{'s' if small.sum() > 1 else ''}"]


def _balanced(holes: Holes) -> np.ndarray:
    """Whether each hole's rim (H,) comes to each of its vertices once, so that a fan over it has no edge of more than two."""
    starts = np.stack([holes.hole, holes.edges[:, 0]], axis=1)
    found, times = np.unique(starts, axis=0, return_counts=True)
    good = np.ones(holes.number, dtype=bool)
    good[found[times > 1, 0]] = False
    return good
