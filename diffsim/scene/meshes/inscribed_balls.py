"""Balls within a solid that touch its surface from within, and few of them that stand for a mesh in contact.

At a point of the surface the largest such ball is the one of the medial axis (Ma, Bae and Choi 2012 find it by shrinking a
ball; here it is bisected, as the balls that touch at a point are nested). Corners and sharp edges have balls without extent,
rounded ones have the ball of their rounding, and all points of a sphere have the same ball.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import trimesh

from diffsim.scene.meshes.mesh_cache import cached

CANDIDATES = 600  # surface points among which balls are chosen, or more where many are asked for
SMOOTH = np.radians(30.0)  # a mesh stands for a smooth surface where its triangles meet at less
LOOSE = 1e-2  # at most so far, as a share of the mesh's size, balls stick out of the facets of a smooth surface
CLOSE = 1e-3  # a ball stands for what is so near to its surface, as a share of the mesh's size
FLUSH = 1e-4  # planes meet the balls so near to where they meet the surface, as a share of the mesh's size
DIRECTIONS = 2000  # of planes
ROUNDS = 18  # of bisection


def inscribed_radii(
    distance: Callable[[np.ndarray], np.ndarray],
    points: np.ndarray,
    normals: np.ndarray,
    most: float,
    tolerances: np.ndarray | float = 0.0,
) -> np.ndarray:
    """Radii (P,) of the largest balls within a solid that touch its surface at points (P, 3) with outward normals (P, 3).

    Args:
        distance: signed distance of points (P, 3), in metres, negative inside.
        most: no ball is larger.
        tolerances: (P,) by how much a ball may stick out elsewhere.
    """
    low, high = np.zeros(len(points)), np.full(len(points), float(most))
    for _ in range(ROUNDS):
        radii = 0.5 * (low + high)
        within = -distance(points - radii[:, None] * normals) >= radii - tolerances - 1e-9 * most
        low, high = np.where(within, radii, low), np.where(within, high, radii)
    return np.where(low > 1e-6 * most, low, 0.0)


def covering_balls(
    mesh: trimesh.Trimesh, distance: Callable[[np.ndarray], np.ndarray], count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """At most ``count`` balls that stand for a mesh: centres (P, 3), radii (P,), and which of them (P,) a plane may meet first.

    They are computed once and cached (`diffsim.scene.meshes.mesh_cache`).

    Args:
        distance: signed distance of points (P, 3) to the mesh, in metres, negative inside.
    """

    def compute() -> np.ndarray:
        centers, radii, first = _covering_balls(mesh, distance, count)
        return np.column_stack([centers, radii, first])

    table = cached("balls", mesh, str(count), compute, lambda values: values.ndim == 2 and values.shape[1] == 5)
    return table[:, :3], table[:, 3], table[:, 4] > 0.0


def _covering_balls(
    mesh: trimesh.Trimesh, distance: Callable[[np.ndarray], np.ndarray], count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`covering_balls`, computed.

    First, up to three quarters of them, those that planes meet, each where the others stand back most; then those that cover
    most of the rest of the surface, or are farthest from the others. Deterministic.
    """
    points, normals, tolerances = _candidates(mesh, count)
    size = 0.5 * float(np.linalg.norm(mesh.extents))
    near = CLOSE * size + tolerances
    fitted, covered = _fitted(distance, points, np.ones(len(points), dtype=bool), near)
    if fitted is not None and covered.all():
        return fitted[:3][None], fitted[3:], np.ones(1, dtype=bool)
    radii = inscribed_radii(distance, points, normals, size, tolerances)
    balls = np.concatenate([points - radii[:, None] * normals, radii[:, None]], axis=1)
    covers = np.abs(np.linalg.norm(points - balls[:, None, :3], axis=2) - radii[:, None]) <= near
    directions = np.concatenate([_directions(), normals])
    heights = balls[:, :3] @ directions.T + radii[:, None]
    covered, highest = np.zeros(len(points), dtype=bool), np.full(len(directions), -np.inf)
    apart = np.linalg.norm(points - points.mean(axis=0), axis=1)
    found: list[np.ndarray] = []
    while len(found) < count and not covered.all():
        missing = heights.max(axis=0) - highest
        if len(found) <= 0.75 * count and missing.max() > FLUSH * size:
            chosen = int(np.argmax(heights[:, np.argmax(missing)]))
        else:
            gain = np.where(covered, 0, covers[:, ~covered].sum(axis=1))
            best = np.flatnonzero(gain >= 0.8 * gain.max())
            chosen = int(best[np.argmax(apart[best])])
        fitted, covering = _fitted(distance, points, covers[chosen], near)
        found.append(balls[chosen] if fitted is None else fitted)
        covered |= covering
        covered[chosen] = True
        highest = np.maximum(highest, heights[chosen])
        away = np.linalg.norm(points - points[chosen], axis=1)
        apart = np.minimum(apart, away) if len(found) > 1 else away
    chosen_balls = np.array(found)
    steps = np.round((chosen_balls[:, :3] @ directions.T + chosen_balls[:, 3:]) / (1e-6 * size))  # so that ties are ties
    first = np.unique(np.argmax(steps, axis=0))
    return chosen_balls[:, :3], chosen_balls[:, 3], np.isin(np.arange(len(chosen_balls)), first)


def _candidates(mesh: trimesh.Trimesh, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points of the surface (C, 3), the vertices among them if they are few; their normals; and by how much balls that touch
    there may stick out elsewhere (C,)."""
    fine = mesh
    if len(mesh.vertices) <= count:
        vertices, faces = np.asarray(mesh.vertices, dtype=float), np.asarray(mesh.faces)
        while len(vertices) < 4 * count:
            vertices, faces = trimesh.remesh.subdivide(vertices, faces)
        fine = trimesh.Trimesh(vertices, faces, process=False)
    vertices, normals = np.asarray(fine.vertices, dtype=float), np.asarray(fine.vertex_normals)
    # the arc over an edge of length l, between triangles that meet at an angle t, is l t / 8 high; normals are inexact, too
    angles, edges = fine.face_adjacency_angles, fine.face_adjacency_edges
    lengths = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    arcs, sharpest = np.zeros(len(vertices)), np.zeros(len(vertices))
    for end in (0, 1):
        np.maximum.at(arcs, edges[:, end], 0.25 * lengths * angles)
        np.maximum.at(sharpest, edges[:, end], angles)
    size = 0.5 * float(np.linalg.norm(mesh.extents))
    tolerances = np.where(sharpest < SMOOTH, np.minimum(arcs, LOOSE * size), 0.0)
    kept = np.arange(len(vertices))
    most = max(CANDIDATES, 2 * count)
    if len(kept) > most:
        kept = kept[:: max(len(kept) // (20 * most), 1)]
        kept = kept[_spread(vertices[kept], most)]
    return vertices[kept], normals[kept], tolerances[kept]


def _spread(points: np.ndarray, count: int) -> np.ndarray:
    """Numbers of ``count`` points spread out by farthest-point selection."""
    chosen = [int(np.argmax(np.linalg.norm(points - points.mean(axis=0), axis=1)))]
    apart = np.linalg.norm(points - points[chosen[0]], axis=1)
    while len(chosen) < count:
        chosen.append(int(np.argmax(apart)))
        apart = np.minimum(apart, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.array(chosen)


def _fitted(
    distance: Callable[[np.ndarray], np.ndarray], points: np.ndarray, covered: np.ndarray, near: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray]:
    """The sphere nearest to those of points (C, 3) that a ball covers (C,), as centre and radius (4,), and what it covers; None
    where it is worse than the ball."""
    own = points[covered]
    if len(own) >= 12:
        system = np.concatenate([2.0 * own, np.ones((len(own), 1))], axis=1)
        solution, _residual, rank, _singular = np.linalg.lstsq(system, (own**2).sum(axis=1), rcond=1e-6)
        square = solution[3] + solution[:3] @ solution[:3]
        if rank == 4 and square > 0.0:
            fitted = np.append(solution[:3], np.sqrt(square))
            covers = np.abs(np.linalg.norm(points - fitted[:3], axis=1) - fitted[3]) <= near
            within = -distance(fitted[None, :3])[0] >= fitted[3] - near[covered].max()
            if within and covers.sum() >= covered.sum():
                return fitted, covers
    return None, covered


def _directions() -> np.ndarray:
    """Unit vectors spread evenly (Fibonacci's lattice), (DIRECTIONS, 3)."""
    number = np.arange(DIRECTIONS)
    turn, height = number * (3.0 - np.sqrt(5.0)) * np.pi, 1.0 - (2.0 * number + 1.0) / DIRECTIONS
    level = np.sqrt(1.0 - height**2)
    return np.stack([level * np.cos(turn), level * np.sin(turn), height], axis=1)
