"""Packs what the rasterizer draws into the arrays that its kernels read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.ndimage import maximum_filter

from diffsim.records import Record
from diffsim.render.camera import Camera
from diffsim.render.geometry import ColoredMesh, GroundMarker, GroundPlane, ParticleCloud, to_linear
from diffsim.render.lighting import Lighting
from diffsim.render.render_records import (
    Ground,
    GroundGrid,
    ImagePoint,
    ImageSphere,
    LightMap,
    Marker,
    Palette,
    Particle,
    VertexLook,
    View,
)

SHOULDER = 0.7  # linear light above which brightness is compressed
FINE = 16.0  # samples: the largest edge of a face whose sky light is interpolated between its vertices
SHADOW_MARGIN = 12  # texels: more than a shadow's soft edge is wide, and than a place is moved before it is looked up
GRAZING, FAR_AWAY = 1e-3, 1e9  # cosine between a light and the vertical; metres
GROUND_CELLS = 72  # along the longer edge of the grid of sky light on the ground


def part(table: np.ndarray, record: type[Record], name: str) -> np.ndarray:
    """A view of the columns of a table (..., record.SIZE) that hold a field."""
    columns = record.columns(name)
    return table[..., columns.start : columns.stop]


def records(record: type[Record], count: int, **values: np.ndarray) -> np.ndarray:
    """A table (count, record.SIZE), float32, of values by field: (count,) or (count, numbers of the field) each."""
    table = np.zeros((count, record.SIZE), dtype=np.float32)
    for name, value in values.items():
        columns = part(table, record, name)
        columns[:] = value.reshape(columns.shape)
    return table


def record_row(record: type[Record], **values: object) -> np.ndarray:
    """One record (record.SIZE,), float32, of values by field."""
    return np.array(record.row(**values), dtype=np.float32)


class GatheredMeshes(NamedTuple):
    """All meshes as one: vertices (V, 3), metres; faces (F, Face); looks (V, VertexLook); opacity (F,); which mesh (F,)."""

    vertices: np.ndarray
    faces: np.ndarray
    looks: np.ndarray
    opacity: np.ndarray
    source: np.ndarray


class GatheredParticles(NamedTuple):
    """All clouds as one: (P, Particle); radii (P,), metres; opacity (P,); which cloud (P,)."""

    particles: np.ndarray
    radii: np.ndarray
    opacity: np.ndarray
    source: np.ndarray


def gather_meshes(meshes: Sequence[ColoredMesh]) -> GatheredMeshes:
    """The meshes one after the other."""
    vertices, faces = [np.zeros((0, 3))], [np.zeros((0, 3), dtype=np.int32)]
    looks, opacity, source, count = [records(VertexLook, 0)], [np.zeros(0)], [np.zeros(0)], 0
    for number, mesh in enumerate(meshes):
        corners, indices, normals, color = mesh.corners()
        vertices.append(corners)
        faces.append((indices + count).astype(np.int32))
        looks.append(records(VertexLook, len(corners), normal=normals, color=to_linear(color)))
        opacity.append(np.full(len(indices), mesh.opacity))
        source.append(np.full(len(indices), number))
        count += len(corners)
    return GatheredMeshes(
        np.concatenate(vertices), np.concatenate(faces), np.concatenate(looks),
        np.concatenate(opacity).astype(np.float32), np.concatenate(source).astype(np.int32),
    )  # fmt: skip


def gather_particles(clouds: Sequence[ParticleCloud]) -> GatheredParticles:
    """The clouds one after the other."""
    particles = [records(Particle, 0)]
    particles += [
        records(Particle, len(cloud.positions), center=cloud.positions, color=to_linear(cloud.color)) for cloud in clouds
    ]

    def each(values: Sequence[float], kind: type) -> np.ndarray:
        return np.repeat(np.asarray(values, dtype=kind), [len(cloud.positions) for cloud in clouds])

    return GatheredParticles(
        np.concatenate(particles),
        each([cloud.radius for cloud in clouds], np.float32),
        each([cloud.opacity for cloud in clouds], np.float32),
        each(range(len(clouds)), np.int32),
    )


def solid_first(opacity: np.ndarray) -> np.ndarray:
    """Indices of things by opacity (N,), those that hide what is behind them first; otherwise in their order."""
    clear = opacity < 1.0
    return np.concatenate([np.flatnonzero(~clear), np.flatnonzero(clear)])


def view_row(camera: Camera, pixels: tuple[int, int]) -> np.ndarray:
    """The camera of an image of (width, height) samples, (View,)."""
    right, up, forward = camera.axes
    step = 2.0 * camera.half_height / pixels[1]
    return record_row(View, position=camera.position, right=step * right, up=step * up, forward=forward)


def project(camera: Camera, pixels: tuple[int, int], vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The vertices (V, 3) in an image of (width, height) samples, (V, ImagePoint).

    Returns:
        The vertices; which faces (F, Face) are wholly in front of the eye, (F,).
    """
    local = camera.to_camera(vertices)
    front = local[:, 2] > camera.near
    depth = np.where(front, local[:, 2], 1.0)
    homogeneous = local @ camera.projection(*pixels).T
    points = records(ImagePoint, len(local), x=homogeneous[:, 0] / depth, y=homogeneous[:, 1] / depth, q=1.0 / depth)
    return points, np.ones(len(faces), dtype=bool) if front.all() else front[faces].all(axis=1)


def fine_vertices(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Which vertices (V, ImagePoint) belong to small faces (F, Face) alone, whose light may be known at the vertices, (V,)."""
    places = points[:, [ImagePoint.x, ImagePoint.y]][faces]
    longest = np.abs(places - places[:, [1, 2, 0]]).max(axis=(1, 2))
    fine = np.ones(len(points), dtype=bool)
    fine[faces[longest > FINE].ravel()] = False
    return fine


def image_spheres(camera: Camera, pixels: tuple[int, int], centers: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Spheres as an image of (width, height) samples sees them, (P, ImageSphere); behind the eye their rectangles are empty.

    In the plane of the viewing direction and an image axis, the circle of radius r at the distance d spreads by
    asin(r / d) to both sides of its centre's angle; its image ends where rays at these angles meet unit depth.
    """
    local = camera.to_camera(centers)
    step = 2.0 * camera.half_height / pixels[1]
    behind = local[:, 2] - radii <= camera.near
    edges = []
    for axis, (size, sign) in enumerate(zip(pixels, (1.0, -1.0), strict=True)):
        angle = np.arctan2(sign * local[:, axis], local[:, 2])
        distance = np.hypot(local[:, axis], local[:, 2])
        spread = np.arcsin(np.minimum(radii / np.maximum(distance, 1e-9), 1.0))
        low, high = (np.tan(np.clip(angle + side * spread, -1.55, 1.55)) / step for side in (-1, 1))
        edges += [np.where(behind, 1.0, 0.5 * size + low), np.where(behind, 0.0, 0.5 * size + high)]
    left, right, top, bottom = edges
    return records(ImageSphere, len(local), center=local, radius=radii, left=left, right=right, top=top, bottom=bottom)


def bounds(vertices: np.ndarray, centres: np.ndarray, radii: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper corner, (3,) each, of the bounding box of vertices (V, 3) and particles (P, 3), (P,); of the origin where
    there are none."""
    seen = [(points, off) for points, off in ((vertices, 0.0), (centres, radii.max(initial=0.0))) if len(points)]
    low = np.min([points.min(axis=0) - off for points, off in seen] or np.zeros((1, 3)), axis=0)
    high = np.max([points.max(axis=0) + off for points, off in seen] or np.zeros((1, 3)), axis=0)
    return low - 1e-3, high + 1e-3


def box_corners(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The eight corners of a box, (8, 3), from its lower and its upper one."""
    return np.stack(np.meshgrid(*zip(low, high, strict=True), indexing="ij"), axis=-1).reshape(8, 3)


def light_maps(directions: np.ndarray, corners: np.ndarray, size: int) -> np.ndarray:
    """Where the lights' maps look, (L, LightMap): each sees the box of these corners (8, 3) along its direction (L, 3).

    The texels of boxes of one size lie alike in the world wherever the box is, so shadows do not flicker when it moves.

    Args:
        size: edge of the maps, texels.
    """
    helper = np.where(np.abs(directions[:, :1]) < 0.8, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    across = np.cross(helper, directions)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    axes = np.stack([across, np.cross(directions, across)], axis=1)
    seen = corners @ axes.transpose(0, 2, 1)
    low, high = seen.min(axis=1), seen.max(axis=1)
    texel = (high - low).max(axis=1) / (size - 8)  # the longer side fits, with a margin of 4 texels for the filter
    x_axis, y_axis = (axes / texel[:, None, None]).transpose(1, 0, 2)
    x_origin, y_origin = np.round(0.5 * size - 0.5 * (low + high) / texel[:, None]).T
    return records(
        LightMap,
        len(directions),
        x_axis=x_axis,
        y_axis=y_axis,
        direction=directions,
        texel=texel,
        x_origin=x_origin,
        y_origin=y_origin,
    )


def ground_grid(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A grid of points on the ground round a box: an unfilled array (rows along y, columns along x) and its (GroundGrid,)."""
    low, high = corners.min(axis=0)[:2], corners.max(axis=0)[:2]
    margin = 0.3 * float((high - low).max())
    low, high = low - margin, high + margin
    spacing = float((high - low).max()) / GROUND_CELLS
    columns, rows = np.ceil((high - low) / spacing).astype(int) + 1
    return np.empty((rows, columns), dtype=np.float32), record_row(GroundGrid, x=low[0], y=low[1], spacing=spacing)


def in_maps(points: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """World points (N, 3) in every light's map (L, LightMap): (L, N, ImagePoint), q their height towards the light."""
    axes = np.empty((len(maps), ImagePoint.SIZE, 3), dtype=np.float32)
    axes[:, ImagePoint.x] = part(maps, LightMap, "x_axis")
    axes[:, ImagePoint.y] = part(maps, LightMap, "y_axis")
    axes[:, ImagePoint.q] = part(maps, LightMap, "direction")
    mapped = points.astype(np.float32) @ axes.transpose(0, 2, 1)
    part(mapped, ImagePoint, "x")[:] += part(maps, LightMap, "x_origin")[:, None]
    part(mapped, ImagePoint, "y")[:] += part(maps, LightMap, "y_origin")[:, None]
    return mapped


def block_tops(maps: np.ndarray, block: int) -> np.ndarray:
    """The largest q in each block of texels of maps (L, R, R) and in the eight blocks around it, (L, R / block, R / block)."""
    count, size = len(maps), maps.shape[1] // block
    tops = maps.reshape(count, size, block, size * block).max(axis=2).reshape(count, size, size, block).max(axis=3)
    return maximum_filter(tops, size=(1, 3, 3), mode="nearest")


@lru_cache(maxsize=1)
def tone_curve() -> np.ndarray:
    """sRGB bytes for linear light 0 to 2 in even steps.

    Light above s = `SHOULDER` becomes 1 - (1 - s) exp((s - light) / (1 - s)): it leaves s with the slope 1 and tends to 1, so
    bright colours are not cut off at white. Then the encoding of the sRGB standard (IEC 61966-2-1).
    """
    light = np.linspace(0.0, 2.0, 8192)
    room = 1.0 - SHOULDER
    light = np.where(light > SHOULDER, 1.0 - room * np.exp((SHOULDER - light) / room), light)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1.0 / 2.4) - 0.055)
    return np.round(255.0 * encoded).astype(np.uint8)


def before_shoulder(light: np.ndarray) -> np.ndarray:
    """The light that `tone_curve` turns into ``light``: the inverse of its shoulder."""
    room = np.clip((1.0 - light) / (1.0 - SHOULDER), 0.01, 1.0)
    return np.where(light > SHOULDER, SHOULDER - (1.0 - SHOULDER) * np.log(room), light)


def hemisphere(count: int) -> np.ndarray:
    """Directions spread evenly over the upper half of the sphere, (count, 3).

    A Fibonacci lattice: equal steps in z, which cut a sphere into rings of equal area, and steps of the golden angle round z.
    z ends at 0.07: lower light would be shadowed by everything on the ground.
    """
    index = np.arange(count) + 0.5
    z = 1.0 - 0.93 * index / count
    turn = np.pi * (1.0 + 5.0**0.5) * index
    flat = np.sqrt(1.0 - z * z)
    return np.stack([flat * np.cos(turn), flat * np.sin(turn), z], axis=1)


def palette_row(plane: GroundPlane, lighting: Lighting) -> np.ndarray:
    """The colours, (Palette,)."""
    zenith = lighting.background if lighting.zenith is None else lighting.zenith
    return record_row(
        Palette,
        sun=lighting.sun,
        sky=lighting.sky,
        bounce=lighting.bounce,
        ground=to_linear(plane.color),
        lines=to_linear(plane.line_color),
        background=before_shoulder(to_linear(lighting.background)),
        zenith=before_shoulder(to_linear(zenith)),
    )


def ground_row(plane: GroundPlane, sun_map: np.ndarray, casters: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The ground, (Ground,), under the sun's map (LightMap,), and casters between lower and upper corners (3,)."""
    (x, y), (wide, deep) = plane.center, plane.extent
    low, high = shadow_on_ground(sun_map, casters, plane.height)
    return record_row(
        Ground, height=plane.height, spacing=plane.spacing, center_x=x, center_y=y, extent_x=wide, extent_y=deep,
        shade_low_x=low[0], shade_low_y=low[1], shade_high_x=high[0], shade_high_y=high[1],
    )  # fmt: skip


def shadow_on_ground(
    light_map: np.ndarray, casters: tuple[np.ndarray, np.ndarray], height: float
) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper corner, (2,) each, of a rectangle outside which nothing in a box shades the ground: the box's corners
    moved along the light, and a margin for soft edges. It is without bounds where the light grazes the ground.

    Args:
        light_map: (LightMap,).
        casters: lower and upper corner of the box, (3,) each, metres.
        height: of the ground, metres.
    """
    x, y, z = part(light_map, LightMap, "direction").astype(float)
    if z < GRAZING:
        return np.full(2, -FAR_AWAY), np.full(2, FAR_AWAY)
    box = box_corners(*casters)
    points = box[:, :2] - (box[:, 2:] - height) / z * (x, y)
    margin = SHADOW_MARGIN * float(light_map[LightMap.texel]) / z
    return points.min(axis=0) - margin, points.max(axis=0) + margin


def marker_rows(markers: Sequence[GroundMarker]) -> np.ndarray:
    """The marks on the ground, (M, Marker)."""
    table = np.zeros((len(markers), Marker.SIZE), dtype=np.float32)
    for i, mark in enumerate(markers):
        (x, y), color = mark.center, to_linear(mark.color)
        inner = -1.0 if mark.width is None else mark.radius - mark.width
        table[i] = Marker.row(x=x, y=y, inner_radius=inner, outer_radius=mark.radius, color=color, opacity=mark.opacity)
    return table
