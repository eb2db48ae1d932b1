"""A small rasterizer: triangle meshes and sphere splats to an image, on the CPU, with no GL, EGL or Vulkan.

Scene description in, bytes out: numpy prepares the arrays, the Taichi kernels beside this file draw them.
The same input gives the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from diffsim import runtime
from diffsim.errors import InputError
from diffsim.render.camera import Camera
from diffsim.render.geometry import Color, GroundPlane, ParticleCloud, TriangleMesh, to_linear

SUN, SKY, BOUNCE = (
    (0.98, 0.94, 0.86),
    (0.40, 0.43, 0.48),
    (0.26, 0.25, 0.24),
)  # linear light on a white surface
SUN_MAP_SIZE, SUN_BLUR = 1024, 4  # texels: edge of the map; half width of the filter
SKY_MAP_SIZE, SKY_DIRECTIONS = 160, 20
SHOULDER = 0.7  # linear light above which brightness is compressed
GROUND_CELLS = 128  # along the longer edge of the grid of sky light on the ground


class Rasterizer:
    """Draws images of one size.

    Args:
        width, height: of the image, pixels.
        supersampling: samples a pixel along each axis.
    """

    def __init__(self, width: int, height: int, supersampling: int = 2):
        for name, value, most in (
            ("width", width, 8192),
            ("height", height, 8192),
            ("supersampling", supersampling, 4),
        ):
            if not (isinstance(value, int) and 1 <= value <= most):
                raise InputError(f"Rasterizer: {name} must be an integer in [1, {most}], got {value!r}")
        self.width, self.height, self.samples = width, height, supersampling
        shape = (height * supersampling, width * supersampling)
        self._depth = np.empty(shape, dtype=np.float32)
        self._primitive = np.empty(shape, dtype=np.int32)
        self._sun_map = np.empty((1, SUN_MAP_SIZE, SUN_MAP_SIZE), dtype=np.float32)
        self._sky_maps = np.empty((SKY_DIRECTIONS, SKY_MAP_SIZE, SKY_MAP_SIZE), dtype=np.float32)
        self._sky_directions = _hemisphere(SKY_DIRECTIONS)

    def render(
        self,
        camera: Camera,
        *,
        meshes: Sequence[TriangleMesh] = (),
        particles: Sequence[ParticleCloud] = (),
        ground: GroundPlane | None = None,
        light_direction: Sequence[float] = (-0.45, -0.5, 1.0),
        background: Color = (0.93, 0.94, 0.955),
        shadow_bounds: tuple[Sequence[float], Sequence[float]] | None = None,
    ) -> np.ndarray:
        """The picture, sRGB uint8 (height, width, 3).

        Args:
            light_direction: from the scene towards the sun, (x, y, z) with z > 0.
            shadow_bounds: lower and upper corner, metres, of the box whose shadows are drawn; ``None`` takes
                what is drawn. Give it for a video: a box that moves with the scene lets the shadows' edges
                crawl.
        """
        light = np.asarray(light_direction, dtype=float)
        if light.shape != (3,) or not np.isfinite(light).all() or light[2] <= 0.0:
            raise InputError(
                f"Rasterizer: light_direction must be (x, y, z) with z > 0, got {light_direction!r}"
            )
        sun = light / np.linalg.norm(light)
        runtime.start(runtime._started or "cpu")  # beside a simulator on a GPU, the kernels run there too
        from diffsim.render import light_kernels, shading_kernels, visibility_kernels

        see = runtime.compiled(visibility_kernels.camera_visibility)
        cast_shadows = runtime.compiled(visibility_kernels.shadow_maps)
        shade = runtime.compiled(shading_kernels.shading)

        vertices, faces, attributes, share = _gather_meshes(meshes)
        centres, radii, ball_colors = _gather_particles(particles)
        eye = self._camera_rows(camera)
        tips, faces, share = self._project(camera, vertices, faces, share)
        balls = self._image_rectangles(camera, centres, radii)
        height = ground.height if ground is not None else 0.0
        see(
            tips, faces, share, balls, eye, height, int(ground is not None), self.samples,
            self._depth, self._primitive,
        )  # fmt: skip

        bounds = _bounds(vertices, centres, radii, shadow_bounds)

        sun_place = _places(sun[None], bounds, SUN_MAP_SIZE)
        sky_places = _places(self._sky_directions, bounds, SKY_MAP_SIZE)
        for places, maps in ((sun_place, self._sun_map), (sky_places, self._sky_maps)):
            cast_shadows(
                _to_maps(vertices, places),
                faces,
                _to_maps(centres, places),
                radii,
                (1.0 / places[:, 3, 0]).astype(np.float32),
                maps,
            )

        plane = ground if ground is not None else GroundPlane()
        palette = np.stack(
            [
                sun,
                SUN,
                SKY,
                BOUNCE,
                to_linear(plane.color),
                to_linear(plane.line_color),
                _before_shoulder(to_linear(background)),
            ]
        ).astype(np.float32)
        plane_row = np.array([height, plane.spacing, *plane.center, *plane.extent], dtype=np.float32)
        markers = np.array(
            [
                [
                    *marker.center,
                    -1.0 if marker.width is None else marker.radius - marker.width,
                    marker.radius,
                    *to_linear(marker.color),
                    marker.opacity,
                ]
                for marker in plane.markers
            ],
            dtype=np.float32,
        ).reshape(-1, 8)
        light_ground = runtime.compiled(light_kernels.ground_sky)
        ground_light, ground_place = _ground_grid(bounds)
        sky_directions = self._sky_directions.astype(np.float32)
        light_ground(self._sky_maps, sky_places, sky_directions, height, ground_place, ground_light)
        image = np.empty((self.height, self.width, 3), dtype=np.uint8)
        shade(
            tips, attributes, faces, np.concatenate([centres, ball_colors], axis=1),
            self._depth, self._primitive,
            eye, self.samples, palette, plane_row, markers, self._sun_map, sun_place, SUN_BLUR,
            self._sky_maps, sky_places, sky_directions, ground_light, ground_place, _tone_curve(), image,
        )  # fmt: skip
        return image

    def _camera_rows(self, camera: Camera) -> np.ndarray:
        """Rows position, right, up, forward, (4, 3); right and up are one sample wide at unit depth."""
        step = 2.0 * camera.half_height / (self.height * self.samples)
        scales = np.array([[step], [step], [1.0]])
        return np.concatenate([[camera.position], camera.axes * scales]).astype(np.float32)

    def _project(
        self, camera: Camera, vertices: np.ndarray, faces: np.ndarray, share: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Image x, y and inverse depth of the vertices (V, 3), and the faces wholly in front of the eye."""
        local = camera.to_camera(vertices)
        front = local[:, 2] > camera.near
        depth = np.where(front, local[:, 2], 1.0)
        pixels = local @ camera.projection(self.width * self.samples, self.height * self.samples).T
        tips = np.stack([pixels[:, 0] / depth, pixels[:, 1] / depth, 1.0 / depth], axis=1)
        if not front.all():
            whole = front[faces].all(axis=1)
            faces, share = np.ascontiguousarray(faces[whole]), share[whole]
        return tips.astype(np.float32), faces, share

    def _image_rectangles(self, camera: Camera, centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
        """Camera coordinates, radii and exact image rectangles of spheres, (P, 8); behind the eye empty."""
        local = camera.to_camera(centres)
        balls = np.zeros((len(local), 8))
        balls[:, :3], balls[:, 3] = local, radii
        step = 2.0 * camera.half_height / (self.height * self.samples)
        for axis, (size, sign) in enumerate(((self.width, 1.0), (self.height, -1.0))):
            angle = np.arctan2(sign * local[:, axis], local[:, 2])
            distance = np.hypot(local[:, axis], local[:, 2])
            spread = np.arcsin(np.minimum(radii / np.maximum(distance, 1e-9), 1.0))
            for side in (0, 1):
                edge = np.tan(np.clip(angle + (2 * side - 1) * spread, -1.55, 1.55)) / step
                balls[:, 4 + 2 * axis + side] = 0.5 * size * self.samples + edge
        behind = local[:, 2] - radii <= camera.near
        balls[behind, 4:] = (1.0, 0.0, 1.0, 0.0)
        return balls.astype(np.float32)


def _gather_meshes(meshes: Sequence[TriangleMesh]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All meshes as one: vertices (V, 3), faces (F, 3), normal, linear colour, flatness (V, 9), opacity."""
    vertices, faces, attributes = [np.zeros((0, 3))], [np.zeros((0, 3))], [np.zeros((0, 9))]
    share, count = [np.zeros(0)], 0
    for mesh in meshes:
        corners, indices, normals, color = mesh.corners()
        flatness = np.full((len(corners), 3), 0.0 if mesh.smooth else 1.0)
        vertices.append(corners)
        faces.append(indices + count)
        attributes.append(np.concatenate([normals, to_linear(color), flatness], axis=1))
        share.append(np.full(len(indices), mesh.opacity))
        count += len(corners)
    return (
        np.concatenate(vertices),
        np.concatenate(faces).astype(np.int32),
        np.concatenate(attributes).astype(np.float32),
        np.concatenate(share).astype(np.float32),
    )


def _gather_particles(clouds: Sequence[ParticleCloud]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All clouds as one: centres (P, 3), radii (P,), linear colours (P, 3), float32."""
    centres = [np.zeros((0, 3)), *(cloud.positions for cloud in clouds)]
    radii = [np.zeros(0), *(np.full(len(cloud.positions), cloud.radius) for cloud in clouds)]
    colors = [np.zeros((0, 3)), *(to_linear(cloud.color) for cloud in clouds)]
    return (
        np.concatenate(centres).astype(np.float32),
        np.concatenate(radii).astype(np.float32),
        np.concatenate(colors).astype(np.float32),
    )


def _bounds(
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


def _places(directions: np.ndarray, corners: np.ndarray, size: int) -> np.ndarray:
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
    places = np.empty((len(directions), 4, 3))
    places[:, :2] = axes / texel[:, None, None]
    places[:, 2] = directions
    places[:, 3, 0] = texel
    places[:, 3, 1:] = 0.5 * size - 0.5 * (low + high) / texel[:, None]
    return places.astype(np.float32)


def _ground_grid(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An empty grid of points on the ground round the box, and its first x and y and spacing in metres."""
    low, high = corners.min(axis=0)[:2], corners.max(axis=0)[:2]
    margin = 0.3 * float((high - low).max())
    low, high = low - margin, high + margin
    spacing = float((high - low).max()) / GROUND_CELLS
    columns, rows = np.ceil((high - low) / spacing).astype(int) + 1
    return np.empty((rows, columns), dtype=np.float32), np.array([*low, spacing], dtype=np.float32)


def _to_maps(points: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Map x, map y and height towards the light of points (N, 3) in every map, (L, N, 3)."""
    shift = np.concatenate([places[:, 3, 1:], np.zeros((len(places), 1), dtype=np.float32)], axis=1)
    mapped = points.astype(np.float32) @ places[:, :3].transpose(0, 2, 1)
    mapped += shift[:, None]
    return mapped


@lru_cache(maxsize=1)
def _tone_curve() -> np.ndarray:
    """sRGB bytes for linear light 0 to 2 in even steps; a soft shoulder, no hard clip at white."""
    light = np.linspace(0.0, 2.0, 8192)
    light = np.where(
        light > SHOULDER, 1.0 - (1.0 - SHOULDER) * np.exp((SHOULDER - light) / (1.0 - SHOULDER)), light
    )
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1.0 / 2.4) - 0.055)
    return np.round(255.0 * encoded).astype(np.uint8)


def _before_shoulder(light: np.ndarray) -> np.ndarray:
    """The light that the tone curve turns into ``light``."""
    room = np.clip((1.0 - light) / (1.0 - SHOULDER), 0.01, 1.0)
    return np.where(light > SHOULDER, SHOULDER - (1.0 - SHOULDER) * np.log(room), light)


def _hemisphere(count: int) -> np.ndarray:
    """Directions spread evenly over the upper half of the sphere, (count, 3)."""
    index = np.arange(count) + 0.5
    z = 1.0 - 0.93 * index / count
    turn = np.pi * (1.0 + 5.0**0.5) * index
    flat = np.sqrt(1.0 - z * z)
    return np.stack([flat * np.cos(turn), flat * np.sin(turn), z], axis=1)
