"""Packs what the rasterizer draws into the arrays that its kernels read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from diffsim.render.geometry import Color, ColoredMesh, GroundMarker, GroundPlane, ParticleCloud, to_linear

# linear light of the sun, the sky and the ground's bounce on a white surface
SUN, SKY, BOUNCE = (0.98, 0.94, 0.86), (0.40, 0.43, 0.48), (0.26, 0.25, 0.24)
SHOULDER = 0.7  # linear light above which brightness is compressed
GROUND_CELLS = 128  # along the longer edge of the grid of sky light on the ground


def gather_meshes(meshes: Sequence[ColoredMesh]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All meshes as one: vertices (V, 3), faces (F, 3), normal and linear colour (V, 6), opacity (F,)."""
    vertices, faces, attributes = [np.zeros((0, 3))], [np.zeros((0, 3))], [np.zeros((0, 6))]
    share, count = [np.zeros(0)], 0
    for mesh in meshes:
        corners, indices, normals, color = mesh.corners()
        vertices.append(corners)
        faces.append(indices + count)
        attributes.append(np.concatenate([normals, to_linear(color)], axis=1))
        share.append(np.full(len(indices), mesh.opacity))
        count += len(corners)
    return (
        np.concatenate(vertices),
        np.concatenate(faces).astype(np.int32),
        np.concatenate(attributes).astype(np.float32),
        np.concatenate(share).astype(np.float32),
    )


def gather_particles(clouds: Sequence[ParticleCloud]) -> tuple[np.ndarray, np.ndarray]:
    """All clouds as one: centre and linear colour (P, 6), radii (P,), float32."""
    balls = [np.zeros((0, 6))]
    balls += [np.concatenate([cloud.positions, to_linear(cloud.color)], axis=1) for cloud in clouds]
    radii = [np.zeros(0), *(np.full(len(cloud.positions), cloud.radius) for cloud in clouds)]
    return np.concatenate(balls).astype(np.float32), np.concatenate(radii).astype(np.float32)


def bounds(
    vertices: np.ndarray,
    centres: np.ndarray,
    radii: np.ndarray,
    given: tuple[Sequence[float], Sequence[float]] | None,
) -> np.ndarray:
    """The eight corners, (8, 3), of the box whose shadows are drawn."""
    if given is not None:
        low, high = (np.asarray(corner, dtype=float) for corner in given)
    else:
        points = np.concatenate([vertices, centres - radii[:, None], centres + radii[:, None]])
        if len(points) == 0:
            points = np.zeros((1, 3))
        low, high = points.min(axis=0) - 1e-3, points.max(axis=0) + 1e-3
    return np.stack(np.meshgrid(*zip(low, high, strict=True), indexing="ij"), axis=-1).reshape(8, 3)


def places(directions: np.ndarray, corners: np.ndarray, size: int) -> np.ndarray:
    """Where each light's map looks, (L, 4, 3).

    Rows: map x and map y per metre; the direction to the light; texel in metres, offset x, offset y.
    """
    helper = np.where(np.abs(directions[:, :1]) < 0.8, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    across = np.cross(helper, directions)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    axes = np.stack([across, np.cross(directions, across)], axis=1)
    seen = corners @ axes.transpose(0, 2, 1)
    low, high = seen.min(axis=1), seen.max(axis=1)
    texel = (high - low).max(axis=1) / (size - 8)  # a margin for the filter
    table = np.empty((len(directions), 4, 3))
    table[:, :2] = axes / texel[:, None, None]
    table[:, 2] = directions
    table[:, 3, 0] = texel
    table[:, 3, 1:] = 0.5 * size - 0.5 * (low + high) / texel[:, None]
    return table.astype(np.float32)


def ground_grid(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An empty grid of points on the ground round the box, and its first x and y and spacing in metres."""
    low, high = corners.min(axis=0)[:2], corners.max(axis=0)[:2]
    margin = 0.3 * float((high - low).max())
    low, high = low - margin, high + margin
    spacing = float((high - low).max()) / GROUND_CELLS
    columns, rows = np.ceil((high - low) / spacing).astype(int) + 1
    return np.empty((rows, columns), dtype=np.float32), np.array([*low, spacing], dtype=np.float32)


def to_maps(points: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Map x, map y and height towards the light of points (N, 3) in every map, (L, N, 3)."""
    shift = np.concatenate([places[:, 3, 1:], np.zeros((len(places), 1), dtype=np.float32)], axis=1)
    mapped = points.astype(np.float32) @ places[:, :3].transpose(0, 2, 1)
    mapped += shift[:, None]
    return mapped


@lru_cache(maxsize=1)
def tone_curve() -> np.ndarray:
    """sRGB bytes for linear light 0 to 2 in even steps; a soft shoulder, no hard clip at white."""
    light = np.linspace(0.0, 2.0, 8192)
    room = 1.0 - SHOULDER
    light = np.where(light > SHOULDER, 1.0 - room * np.exp((SHOULDER - light) / room), light)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1.0 / 2.4) - 0.055)
    return np.round(255.0 * encoded).astype(np.uint8)


def before_shoulder(light: np.ndarray) -> np.ndarray:
    """The light that the tone curve turns into ``light``."""
    room = np.clip((1.0 - light) / (1.0 - SHOULDER), 0.01, 1.0)
    return np.where(light > SHOULDER, SHOULDER - (1.0 - SHOULDER) * np.log(room), light)


def hemisphere(count: int) -> np.ndarray:
    """Directions spread evenly over the upper half of the sphere, (count, 3)."""
    index = np.arange(count) + 0.5
    z = 1.0 - 0.93 * index / count
    turn = np.pi * (1.0 + 5.0**0.5) * index
    flat = np.sqrt(1.0 - z * z)
    return np.stack([flat * np.cos(turn), flat * np.sin(turn), z], axis=1)


def palette(sun: np.ndarray, plane: GroundPlane, background: Color) -> np.ndarray:
    """Rows: the sun's direction; sun, sky, bounce; linear ground, lines, background, (7, 3)."""
    ground, lines = to_linear(plane.color), to_linear(plane.line_color)
    rows: list[np.ndarray | Color] = [
        sun,
        SUN,
        SKY,
        BOUNCE,
        ground,
        lines,
        before_shoulder(to_linear(background)),
    ]
    return np.asarray(rows).astype(np.float32)


def marker_rows(markers: Sequence[GroundMarker]) -> np.ndarray:
    """x, y, inner and outer radius, linear colour, opacity of the marks on the ground, (M, 8)."""
    rows = []
    for mark in markers:
        inner = -1.0 if mark.width is None else mark.radius - mark.width
        rows.append([*mark.center, inner, mark.radius, *to_linear(mark.color), mark.opacity])
    return np.array(rows, dtype=np.float32).reshape(-1, 8)
