"""A surface round particles that no mesh can follow: liquids, snow, dough that was cut."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from diffsim import runtime
from diffsim.errors import InputError
from diffsim.render.geometry import table
from diffsim.scene.validation import check_length, number

CELL, REACH, RADIUS = 0.6, 2.3, 0.7  # over the particles' spacing: edge of the grid's cells, of the weights, of a lone particle
MARGIN = math.ceil(REACH / CELL) + 1  # cells round the particles
MOST_NODES = 3_000_000  # of a grid
SLAB = 16  # planes of nodes that one thread fills


class ParticleSurface(NamedTuple):
    """Vertices (V, 3), metres, faces (F, 3), and unit normals (V, 3), outward."""

    vertices: np.ndarray
    faces: np.ndarray
    normals: np.ndarray


def particle_surface(particles: np.ndarray, spacing: float, *, radius: float = RADIUS) -> ParticleSurface:
    """The surface of what particles (N, 3) fill, each about a cube of edge ``spacing`` (metres).

    A point is outside where it is farther than ``radius`` from the mean place of the particles around it, with weights
    (1 - (d / 2.3 spacing)^2)^3 (Zhu and Bridson 2005). So a surface is flat where particles lie evenly, and a ball round one
    that is alone. Marching cubes (Lewiner et al. 2003, as in scikit-image) finds it.

    Args:
        radius: over the spacing; less than the default lies inside of what the particles fill.

    Raises:
        InputError: ``particles`` are no finite points, or ``spacing`` is no length.
    """
    points = table("particle_surface", "particles", particles, np.float64)
    check_length("particle_surface: spacing", spacing)
    number("particle_surface", "radius", radius, 0.1, 2.0)
    if not np.isfinite(points).all():
        raise InputError(f"particle_surface: {int((~np.isfinite(points).all(axis=1)).sum())} particles are not finite numbers")
    parts = [_surface(part, spacing, radius) for part in _apart(points, spacing)]
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    return ParticleSurface(
        np.concatenate([np.zeros((0, 3)), *(part.vertices for part in parts)]),
        np.concatenate([np.zeros((0, 3), int), *(part.faces + start for part, start in zip(parts, starts[:-1], strict=True))]),
        np.concatenate([np.zeros((0, 3)), *(part.normals for part in parts)]),
    )


def _apart(points: np.ndarray, spacing: float) -> list[np.ndarray]:
    """Points (N, 3) in groups whose grids are small enough, split where there is a gap that no surface bridges."""
    if not len(points):
        return []
    axis = int(np.ptp(points, axis=0).argmax())
    if _nodes(points, CELL * spacing) <= MOST_NODES:
        return [points]
    order = points[np.argsort(points[:, axis], kind="stable")]
    gaps = np.diff(order[:, axis])
    widest = int(gaps.argmax())
    if gaps[widest] <= 2 * MARGIN * CELL * spacing:
        return [points]
    return [*_apart(order[: widest + 1], spacing), *_apart(order[widest + 1 :], spacing)]


def _nodes(points: np.ndarray, cell: float) -> int:
    return int(np.prod(np.ceil(np.ptp(points, axis=0) / cell) + 2 * MARGIN + 1))


def _surface(points: np.ndarray, spacing: float, radius: float) -> ParticleSurface:
    """Of points (N, 3) on one grid. Where that would be too large, all becomes coarser, the drops too."""
    from skimage.measure import marching_cubes

    cell = CELL * spacing
    while _nodes(points, cell) > MOST_NODES:
        cell *= 1.1
    origin = points.min(axis=0) - MARGIN * cell
    shape = tuple((np.ceil(np.ptp(points, axis=0) / cell) + 2 * MARGIN + 1).astype(int).tolist())
    places = ((points - origin) / cell).astype(np.float32)
    sums, distance = np.empty((*shape, 4), dtype=np.float32), np.empty(shape, dtype=np.float32)
    runtime.start()
    from diffsim.render import field_kernels

    runtime.compiled(field_kernels.mean_distance)(places, REACH / CELL, 2.0 * radius / CELL, SLAB, sums, distance)
    vertices, faces, normals, _ = marching_cubes(distance, radius / CELL, gradient_direction="ascent")
    return ParticleSurface(vertices * cell + origin, faces[:, ::-1].astype(np.int64), -normals)
