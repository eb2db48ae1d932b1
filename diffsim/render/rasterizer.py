"""A small rasterizer: triangle meshes and sphere splats to an image, on the CPU, with no GL, EGL or Vulkan.

Scene description in, bytes out: numpy prepares the arrays, the Taichi kernels beside this file draw them.
The same input gives the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diffsim import runtime
from diffsim.errors import InputError
from diffsim.render.camera import Camera
from diffsim.render.geometry import Color, ColoredMesh, GroundPlane, ParticleCloud
from diffsim.render.packing import (
    bounds,
    gather_meshes,
    gather_particles,
    ground_grid,
    hemisphere,
    marker_rows,
    palette,
    places,
    to_maps,
    tone_curve,
)

SUN_MAP_SIZE, SUN_BLUR = 1024, 4  # texels: edge of the map; half width of the filter
SKY_MAP_SIZE, SKY_DIRECTIONS = 160, 20
IMAGE_BAND, SUN_BAND, SKY_BAND = 32, 32, SKY_MAP_SIZE  # rows that one thread draws


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
        self._sky_directions = hemisphere(SKY_DIRECTIONS)

    def render(
        self,
        camera: Camera,
        *,
        meshes: Sequence[ColoredMesh] = (),
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
            raise InputError(f"Rasterizer: light_direction must be (x, y, z) with z > 0, got {light_direction!r}")
        sun = light / np.linalg.norm(light)
        runtime.start()
        from diffsim.render import light_kernels, shading_kernels, visibility_kernels

        vertices, all_faces, attributes, all_shares = gather_meshes(meshes)
        balls, radii = gather_particles(particles)
        nearest_first = np.argsort(camera.to_camera(balls[:, :3])[:, 2], kind="stable")  # less to draw over
        balls, radii = balls[nearest_first], radii[nearest_first]
        plane = ground if ground is not None else GroundPlane()
        plane_row = np.array([plane.height, plane.spacing, *plane.center, *plane.extent], dtype=np.float32)

        # what every sample sees
        eye = self._camera_rows(camera)
        tips, faces, shares = self._project(camera, vertices, all_faces, all_shares)
        splats = self._image_rectangles(camera, balls[:, :3], radii)
        see = runtime.compiled(visibility_kernels.camera_visibility)
        see(
            tips, faces, shares, splats, eye, plane.height, int(ground is not None), self.samples, IMAGE_BAND,
            self._depth, self._primitive,
        )  # fmt: skip

        # what the sun and the sky see
        box = bounds(vertices, balls[:, :3], radii, shadow_bounds)
        sun_place = places(sun[None], box, SUN_MAP_SIZE)
        sky_place = places(self._sky_directions, box, SKY_MAP_SIZE)
        cast_shadows = runtime.compiled(visibility_kernels.shadow_maps)
        for place, band, maps in ((sun_place, SUN_BAND, self._sun_map), (sky_place, SKY_BAND, self._sky_maps)):
            texels_per_metre = (1.0 / place[:, 3, 0]).astype(np.float32)
            tips_there, balls_there = to_maps(vertices, place), to_maps(balls[:, :3], place)
            cast_shadows(tips_there, all_faces, balls_there, radii, texels_per_metre, band, maps)
        sky = (self._sky_maps, sky_place, self._sky_directions.astype(np.float32))
        ball_light = np.empty(len(balls), dtype=np.float32)
        runtime.compiled(light_kernels.particle_sky)(*sky, balls, radii, ball_light)
        ground_light, ground_place = ground_grid(box)
        runtime.compiled(light_kernels.ground_sky)(*sky, plane.height, ground_place, ground_light)

        image = np.empty((self.height, self.width, 3), dtype=np.uint8)
        runtime.compiled(shading_kernels.shading)(
            tips, attributes, faces, balls, self._depth, self._primitive, eye, self.samples,
            palette(sun, plane, background), plane_row, marker_rows(plane.markers),
            self._sun_map, sun_place, SUN_BLUR, *sky,
            ball_light, ground_light, ground_place, tone_curve(), image,
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
