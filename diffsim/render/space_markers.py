"""Marks in space for pictures: balls, arrows, lines and shapes, as meshes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import trimesh

from diffsim.errors import InputError
from diffsim.render.geometry import Color, ColoredMesh, table
from diffsim.render.particle_surface import particle_surface
from diffsim.render.surfaces import split_at_creases
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
    ball = trimesh.creation.icosphere(subdivisions=3, radius=radius).apply_translation(middle)
    return _marker(ball, color, opacity)


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
    head = HEAD * wide
    profile = np.array([(0.0, 0.0), (wide, 0.0), (wide, neck), (head, neck), (0.0, length)])
    arrow = trimesh.creation.revolve(profile, sections=SIDES)
    arrow.apply_transform(trimesh.geometry.align_vectors((0.0, 0.0, 1.0), tip - tail))
    arrow.apply_translation(tail)
    return _marker(arrow, color, opacity)


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
    ball = trimesh.creation.icosphere(subdivisions=1, radius=radius)
    parts = [trimesh.creation.cylinder(radius, segment=segment, sections=SIDES) for segment in pairwise(line)]
    parts += [ball.copy().apply_translation(point) for point in line]
    whole: Any = trimesh.util.concatenate(parts)
    return _marker(whole, color, opacity)


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


def _marker(mesh: trimesh.Trimesh, color: Color, opacity: float) -> ColoredMesh:
    """A mesh with sharp creases."""
    mesh = split_at_creases(mesh)
    return ColoredMesh(np.asarray(mesh.vertices), np.asarray(mesh.faces), color, opacity=opacity)
