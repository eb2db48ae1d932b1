"""A small rasterizer: draws triangle meshes and spheres into an image, on the CPU, without GL, EGL or Vulkan.

numpy prepares the arrays (`packing.py`), whose layout `render_records.py` declares. Three groups of Taichi kernels then find
what each sample of the image sees (`visibility_kernels.py`), what light reaches it (`light_kernels.py`), and its colour
(`shading_kernels.py`). The same input gives the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diffsim import runtime
from diffsim.compiler import one_at_a_time
from diffsim.errors import InputError
from diffsim.render.camera import Camera
from diffsim.render.geometry import Color, ColoredMesh, GroundPlane, ParticleCloud
from diffsim.render.packing import (
    bounds,
    gather_meshes,
    gather_particles,
    ground_grid,
    ground_row,
    hemisphere,
    image_spheres,
    in_maps,
    light_maps,
    marker_rows,
    palette_row,
    part,
    project,
    tone_curve,
    view_row,
)
from diffsim.render.render_records import LightMap, Particle

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
            if isinstance(value, bool) or not (isinstance(value, int) and 1 <= value <= most):
                raise InputError(f"Rasterizer: {name} must be an integer in [1, {most}], got {value!r}")
        self.width, self.height, self.samples = width, height, supersampling
        shape = (height * supersampling, width * supersampling)
        self._depth = np.empty(shape, dtype=np.float32)
        self._primitive = np.empty(shape, dtype=np.int32)
        self._sun_map = np.empty((1, SUN_MAP_SIZE, SUN_MAP_SIZE), dtype=np.float32)
        self._sky_maps = np.empty((SKY_DIRECTIONS, SKY_MAP_SIZE, SKY_MAP_SIZE), dtype=np.float32)
        self._sky_directions = hemisphere(SKY_DIRECTIONS)

    @one_at_a_time
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
            shadow_bounds: lower and upper corner, metres, of the box whose shadows are drawn; ``None`` takes the bounding box
                of the meshes and particles. Give a fixed box for a video: the edges of shadows flicker when the box moves.

        Raises:
            InputError: ``light_direction`` is not three finite numbers with z > 0.
        """
        light = np.asarray(light_direction, dtype=float)
        if light.shape != (3,) or not np.isfinite(light).all() or light[2] <= 0.0:
            raise InputError(f"Rasterizer: light_direction must be (x, y, z) with z > 0, got {light_direction!r}")
        sun = light / np.linalg.norm(light)
        runtime.start()
        from diffsim.render import light_kernels, shading_kernels, visibility_kernels

        vertices, all_faces, looks, all_shares = gather_meshes(meshes)
        balls, radii = gather_particles(particles)
        distances = camera.to_camera(part(balls, Particle, "center"))[:, 2]
        nearest_first = np.argsort(distances, kind="stable")  # less to draw over
        balls, radii = balls[nearest_first], radii[nearest_first]
        centers = part(balls, Particle, "center")
        plane = ground if ground is not None else GroundPlane()

        # what every sample sees
        pixels = (self.width * self.samples, self.height * self.samples)
        view = view_row(camera, pixels)
        points, faces, shares = project(camera, pixels, vertices, all_faces, all_shares)
        spheres = image_spheres(camera, pixels, centers, radii)
        see = runtime.compiled(visibility_kernels.camera_visibility)
        see(
            points, faces, shares, spheres, view, float(plane.height), int(ground is not None), self.samples, IMAGE_BAND,
            self._depth, self._primitive,
        )  # fmt: skip

        # depth maps from the sun and the sky, and the sky's light on particles and ground
        box = bounds(vertices, centers, radii, shadow_bounds)
        sun_places = light_maps(sun[None], box, SUN_MAP_SIZE)
        sky_places = light_maps(self._sky_directions, box, SKY_MAP_SIZE)
        cast_shadows = runtime.compiled(visibility_kernels.shadow_maps)
        for places, band, maps in ((sun_places, SUN_BAND, self._sun_map), (sky_places, SKY_BAND, self._sky_maps)):
            texels_per_metre = 1.0 / places[:, LightMap.texel]
            cast_shadows(in_maps(vertices, places), all_faces, in_maps(centers, places), radii, texels_per_metre, band, maps)
        particle_light = np.empty(len(balls), dtype=np.float32)
        runtime.compiled(light_kernels.particle_sky)(self._sky_maps, sky_places, balls, radii, particle_light)
        ground_light, grid = ground_grid(box)
        runtime.compiled(light_kernels.ground_sky)(self._sky_maps, sky_places, float(plane.height), grid, ground_light)

        image = np.empty((self.height, self.width, 3), dtype=np.uint8)
        runtime.compiled(shading_kernels.shading)(
            points, looks, faces, balls, self._depth, self._primitive, view, self.samples,
            palette_row(plane, background), ground_row(plane), marker_rows(plane.markers),
            self._sun_map, sun_places, SUN_BLUR, self._sky_maps, sky_places,
            particle_light, ground_light, grid, tone_curve(), image,
        )  # fmt: skip
        return image
