"""A surface round particles that no mesh can follow: liquids, snow, dough that was cut."""

from __future__ import annotations

import math
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter

from diffsim.errors import InputError
from diffsim.render.geometry import table
from diffsim.scene.validation import check_length

CELL, BLUR, RADIUS = 0.5, 0.8, 0.7  # over the particles' spacing: edge of the grid's cells, its blur, distance of the surface
REACH = 3.0  # of the blur, in its own widths
MARGIN = math.ceil((REACH * BLUR + RADIUS) / CELL) + 1  # cells round the particles
MOST_NODES = 3_000_000  # of a grid
NOTHING = 1e-5  # blurred particles a node below which it is outside


class ParticleSurface(NamedTuple):
    """Vertices (V, 3), metres, faces (F, 3), and unit normals (V, 3), outward."""

    vertices: np.ndarray
    faces: np.ndarray
    normals: np.ndarray


def particle_surface(particles: np.ndarray, spacing: float) -> ParticleSurface:
    """The surface of what particles (N, 3) fill, each about a cube of edge ``spacing`` (metres).

    A point is outside where it is farther than a particle's radius from the mean place of the particles around it (Zhu and
    Bridson 2005), here with Gaussian weights. So a surface is flat where particles lie evenly, and a ball round one that is
    alone. Marching cubes (Lewiner et al. 2003, as in scikit-image) finds it.

    Raises:
        InputError: ``particles`` are no finite points, or ``spacing`` is no length.
    """
    points = table("particle_surface", "particles", particles, np.float64)
    check_length("particle_surface: spacing", spacing)
    if not np.isfinite(points).all():
        raise InputError(f"particle_surface: {int((~np.isfinite(points).all(axis=1)).sum())} particles are not finite numbers")
    parts = [_surface(part, spacing) for part in _apart(points, spacing)]
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


def _surface(points: np.ndarray, spacing: float) -> ParticleSurface:
    """Of points (N, 3) on one grid. Where that would be too large, all becomes coarser, the drops too."""
    from skimage.measure import marching_cubes

    cell = CELL * spacing
    while _nodes(points, cell) > MOST_NODES:
        cell *= 1.1
    origin = points.min(axis=0) - MARGIN * cell
    shape = tuple((np.ceil(np.ptp(points, axis=0) / cell) + 2 * MARGIN + 1).astype(int).tolist())
    distance = _distance_to_mean((points - origin) / cell, shape, BLUR / CELL)
    vertices, faces, normals, _ = marching_cubes(distance, RADIUS / CELL, gradient_direction="ascent")
    return ParticleSurface(vertices * cell + origin, faces[:, ::-1].astype(np.int64), -normals)


def _distance_to_mean(points: np.ndarray, shape: tuple[int, ...], width: float) -> np.ndarray:
    """From each node of a grid of this shape to the mean of the points (N, 3) around it, in cells; large where there are none.

    Args:
        width: standard deviation of the weights, cells.
    """
    corner = np.floor(points).astype(np.int64)
    share = points - corner
    places, weights = [], []
    for step in product((0, 1), repeat=3):  # each point is shared by the eight nodes around it
        places.append(np.ravel_multi_index((corner + step).T, shape))
        weights.append(np.where(step, share, 1.0 - share).prod(axis=1))
    place, weight, nodes = np.concatenate(places), np.concatenate(weights), int(np.prod(shape))

    def blurred(value: np.ndarray | float) -> np.ndarray:
        total = np.bincount(place, weight * value, nodes).reshape(shape).astype(np.float32)
        return gaussian_filter(total, width, mode="constant", truncate=REACH)

    count = blurred(1.0)
    filled = count > NOTHING
    square = np.zeros(shape, dtype=np.float32)
    for axis, size in enumerate(shape):
        node = np.arange(size, dtype=np.float32).reshape([-1 if k == axis else 1 for k in range(3)])
        mean = blurred(np.tile(points[:, axis], 8)) / np.where(filled, count, 1.0)
        square += np.square(mean - node)
    return np.where(filled, np.sqrt(square), 10.0 * width)
