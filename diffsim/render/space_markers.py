"""Marks in space for pictures: balls, arrows, lines and shapes, as meshes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import trimesh

from diffsim.errors import InputError
from diffsim.render.geometry import Color, ColoredMesh, table
from diffsim.render.particle_surface import particle_surface
from diffsim.scene.validation import check_length, vector

SIDES = 16  # of round marks
INSIDE = 0.4  # radius of a ghost's particles over their spacing
HEAD = 2.4  # radius of an arrow's head over that of its shaft
Point = Sequence[float]


def ball_marker(center: Point, radius: float, color: Color = (0.16, 0.62, 0.38), *, opacity: float = 1.0) -> ColoredMesh:
    """A ball: a goal in space.

    Args:
        center: world (x, y, z), metres.
        radius: metres.
    """
    check_length("ball_marker: radius", radius)
    middle = np.asarray(vector("ball_marker", "center", center))
    ball = trimesh.creation.icosphere(subdivisions=3, radius=radius)
    return ColoredMesh(np.asarray(ball.vertices) + middle, np.asarray(ball.faces), color, opacity=opacity)


def arrow_marker(
    start: Point, end: Point, color: Color = (0.85, 0.25, 0.2), *, radius: float | None = None, opacity: float = 1.0
) -> ColoredMesh:
    """An arrow: a force, a gradient, a velocity.

    Args:
        start, end: world (x, y, z), metres.
        radius: of the shaft, metres; ``None``: a fortieth of the length.

    Raises:
        InputError: the arrow has no length.
    """
    tail, tip = (np.asarray(vector("arrow_marker", name, value)) for name, value in (("start", start), ("end", end)))
    length = float(np.linalg.norm(tip - tail))
    if length == 0.0:
        raise InputError(f"arrow_marker: end must differ from start, got {tip.tolist()} for both")
    if radius is not None:
        check_length("arrow_marker: radius", radius)
    wide = 0.025 * length if radius is None else radius
    neck = max(length - 3.0 * HEAD * wide, 0.0)
    # the profile, turned about the axis; corners stand twice so that they stay sharp
    head = HEAD * wide
    profile = [(0.0, 0.0), (wide, 0.0), (wide, 0.0), (wide, neck), (wide, neck), (head, neck), (head, neck), (0.0, length)]
    vertices, faces = _turned(profile)
    return ColoredMesh(vertices @ _towards(tip - tail) + tail, faces, color, opacity=opacity)


def path_marker(
    points: np.ndarray, color: Color = (0.2, 0.4, 0.85), *, radius: float = 0.003, opacity: float = 1.0
) -> ColoredMesh:
    """A line through points (N, 3), metres: where something went.

    Raises:
        InputError: fewer than two different points.
    """
    line = table("path_marker", "points", points, np.float64)
    check_length("path_marker: radius", radius)
    moved = np.linalg.norm(np.diff(line, axis=0), axis=1) > 1e-9
    line = np.concatenate([line[:1], line[1:][moved]])
    if len(line) < 2:
        raise InputError(f"path_marker: points must hold at least two different ones, got {len(line)}")
    vertices, faces, count = [], [], 0
    for tail, tip in pairwise(line):
        tube, sides = _turned([(radius, 0.0), (radius, float(np.linalg.norm(tip - tail)))])
        vertices.append(tube @ _towards(tip - tail) + tail)
        faces.append(sides + count)
        count += len(tube)
    ball = trimesh.creation.icosphere(subdivisions=1, radius=radius)
    for point in line:
        vertices.append(np.asarray(ball.vertices) + point)
        faces.append(np.asarray(ball.faces) + count)
        count += len(ball.vertices)
    return ColoredMesh(np.concatenate(vertices), np.concatenate(faces), color, opacity=opacity)


def surface_marker(
    particles: np.ndarray, spacing: float, color: Color = (0.16, 0.62, 0.38), *, opacity: float = 0.3
) -> ColoredMesh:
    """A see-through surface round particles, a little inside of them: the ghost of a target shape. So it does not flicker on a
    body that has the shape already.

    Args:
        particles: (N, 3), metres.
        spacing: edge of the cube that each fills, metres.
    """
    vertices, faces, normals = particle_surface(particles, spacing, radius=INSIDE)
    return ColoredMesh(vertices, faces, color, normals=normals, opacity=opacity)


def _turned(profile: Sequence[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and faces (F, 3) of a profile of (radius, height) turned about the z axis, outward."""
    angle = 2.0 * np.pi * np.arange(SIDES) / SIDES
    rings = [np.stack([r * np.cos(angle), r * np.sin(angle), np.full(SIDES, z)], axis=1) for r, z in profile]
    here, there = np.arange(SIDES), np.roll(np.arange(SIDES), -1)
    faces = []
    for k in range(len(profile) - 1):
        if profile[k] != profile[k + 1]:
            low, high = k * SIDES, (k + 1) * SIDES
            faces += [
                np.stack([low + here, low + there, high + there], 1),
                np.stack([low + here, high + there, high + here], 1),
            ]
    return np.concatenate(rings), np.concatenate(faces)


def _towards(direction: np.ndarray) -> np.ndarray:
    """Rows: a frame whose z axis points along a direction (3,)."""
    z = direction / np.linalg.norm(direction)
    helper = np.eye(3)[np.argmin(np.abs(z))]
    x = np.cross(helper, z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z])
