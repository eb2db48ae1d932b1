"""A small rasterizer: draws triangle meshes and spheres into an image, on the CPU, without GL, EGL or Vulkan.

numpy prepares the arrays (`packing.py`), whose layout `render_records.py` declares. Three groups of Taichi kernels then find
what each sample of the image sees (`visibility_kernels.py`), what light reaches it (`light_kernels.py`), and its colour
(`shading_kernels.py`). What is see-through is drawn in layers, from the eye on. The same input gives the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from diffsim import runtime
from diffsim.compiler import one_at_a_time
from diffsim.errors import InputError
from diffsim.render.camera import Camera
from diffsim.render.geometry import ColoredMesh, GroundPlane, ParticleCloud
from diffsim.render.lighting import DAYLIGHT, Lighting
from diffsim.render.packing import (
    block_tops,
    bounds,
    box_corners,
    fine_vertices,
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
    solid_first,
    tone_curve,
    view_row,
)
from diffsim.render.render_records import SEES_GROUND, SEES_NOTHING, LightMap, Particle, Range

SUN_MAP_SIZE, SKY_MAP_SIZE, SKY_DIRECTIONS = 1024, 160, 20  # texels: edges of the maps; maps of the sky
IMAGE_BAND, SUN_BAND, SKY_BAND = 32, 32, SKY_MAP_SIZE  # rows that one thread draws
LAYERS = 3  # of see-through things, counted from the eye; what is behind so many of them is not seen


class _Shapes(NamedTuple):
    """What is drawn, the solid things first.

    Attributes:
        vertices: (V, 3), of all meshes.
        faces: (F, Face) of all.
        seen: (F', Face) those in front of the eye; source: the mesh of each, (F',).
        points, looks: (V, ImagePoint), (V, VertexLook).
        balls, radii, spheres: (P, Particle), (P,), (P, ImageSphere).
        cloud: of each particle, (P,).
        opacity: (F' + P,).
        solid, clear: `Range` of what hides all behind it, and of the rest, among those seen.
        solid_caster, clear_caster: likewise among all.
    """

    vertices: np.ndarray
    faces: np.ndarray
    seen: np.ndarray
    source: np.ndarray
    points: np.ndarray
    looks: np.ndarray
    balls: np.ndarray
    radii: np.ndarray
    spheres: np.ndarray
    cloud: np.ndarray
    opacity: np.ndarray
    solid: np.ndarray
    clear: np.ndarray
    solid_caster: np.ndarray
    clear_caster: np.ndarray


class Visibility(NamedTuple):
    """What the middle of each pixel sees, things that are see-through included.

    Attributes:
        depth: metres along the viewing direction, infinite for the background, (H, W).
        mesh, cloud: number of the mesh, or of the particle cloud, that is seen, or -1, (H, W).
        ground: whether the ground is, (H, W).
    """

    depth: np.ndarray
    mesh: np.ndarray
    cloud: np.ndarray
    ground: np.ndarray


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
        # light of the layers in front, and the share that they let through
        self._nothing_in_front = np.full((height, width, 4), (0.0, 0.0, 0.0, 1.0), dtype=np.float32)
        self._sun_maps = np.empty((2, SUN_MAP_SIZE, SUN_MAP_SIZE), dtype=np.float32)  # of what is solid, and see-through
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
        lighting: Lighting = DAYLIGHT,
        shadow_bounds: tuple[Sequence[float], Sequence[float]] | None = None,
    ) -> np.ndarray:
        """The picture, sRGB uint8 (height, width, 3).

        Args:
            shadow_bounds: lower and upper corner, metres, of the box whose shadows are drawn; ``None`` takes the bounding box
                of the meshes and particles. Give a fixed box for a video: the edges of shadows flicker when the box moves.
        """
        runtime.start()
        from diffsim.render import light_kernels, shading_kernels, visibility_kernels

        shapes = self._gathered(camera, meshes, particles)
        plane = ground if ground is not None else GroundPlane()
        balls, centers = shapes.balls, part(shapes.balls, Particle, "center")

        # depth maps from the sun and the sky, and the sky's light on vertices and ground
        occupied = bounds(shapes.vertices, centers, shapes.radii)
        given = occupied if shadow_bounds is None else shadow_bounds
        box = box_corners(*(np.asarray(corner, dtype=float) for corner in given))
        sun_places = light_maps(lighting.to_sun[None], box, SUN_MAP_SIZE)
        sky_places = light_maps(self._sky_directions, box, SKY_MAP_SIZE)
        cast_shadows = runtime.compiled(visibility_kernels.shadow_maps)
        # the lights stand above the scene: from the top down there is less to draw over
        highest = np.argsort(-centers[:, 2], kind="stable")
        top_down = highest[solid_first(shapes.opacity[len(shapes.seen) :][highest])]
        casters_at, casters_radii = centers[top_down], shapes.radii[top_down]

        clear = shapes.opacity[shapes.opacity < 1.0]
        veil = float(clear.mean()) if len(clear) else 0.0
        sun_maps = self._sun_maps[: 2 if veil else 1]
        sun_casters = (shapes.solid_caster, shapes.clear_caster)
        for places, band, casts in (
            (sun_places, SUN_BAND, [(who, sun_maps[n : n + 1]) for n, who in enumerate(sun_casters[: len(sun_maps)])]),
            (sky_places, SKY_BAND, [(shapes.solid_caster, self._sky_maps)]),
        ):
            mapped, centres = in_maps(shapes.vertices, places), in_maps(casters_at, places)
            texels_per_metre = 1.0 / places[:, LightMap.texel]
            for casters, maps in casts:
                cast_shadows(mapped, shapes.faces, casters, centres, casters_radii, texels_per_metre, band, maps)
        sun_tops = block_tops(sun_maps, light_kernels.BLOCK)
        particle_light = np.full(len(balls), -1.0, dtype=np.float32)
        vertex_light = np.where(fine_vertices(shapes.points, shapes.seen), 0.0, -1.0).astype(np.float32)
        corners = shapes.vertices.astype(np.float32)
        runtime.compiled(light_kernels.vertex_sky)(self._sky_maps, sky_places, corners, shapes.looks, vertex_light)
        ground_light, grid = ground_grid(box)
        runtime.compiled(light_kernels.ground_sky)(self._sky_maps, sky_places, float(plane.height), grid, ground_light)

        view = view_row(camera, (self.width * self.samples, self.height * self.samples))
        image = np.empty((self.height, self.width, 3), dtype=np.uint8)
        layered = self._nothing_in_front.copy() if veil else self._nothing_in_front
        shade = runtime.compiled(shading_kernels.shading, self.samples)
        palette, marks, tones = palette_row(plane, lighting), marker_rows(plane.markers), tone_curve()
        floor = ground_row(plane, sun_places[0], occupied)

        def shaded(depth: np.ndarray, primitive: np.ndarray, layer: bool, window: np.ndarray) -> None:
            shade(
                shapes.points, shapes.looks, vertex_light, shapes.seen, balls, shapes.radii, shapes.opacity, depth, primitive,
                view, palette, floor, marks, sun_maps, sun_tops, sun_places, veil,
                self._sky_maps, sky_places, particle_light, ground_light, grid, tones, layered, int(layer), window, image,
            )  # fmt: skip

        self._see(shapes, view, ground)
        for depth, primitive, window in self._layers(shapes, view):
            shaded(depth, primitive, True, window)
        shaded(self._depth, self._primitive, False, _window(0, self.height, 0, self.width))
        return image

    @one_at_a_time
    def visibility(
        self,
        camera: Camera,
        *,
        meshes: Sequence[ColoredMesh] = (),
        particles: Sequence[ParticleCloud] = (),
        ground: GroundPlane | None = None,
    ) -> Visibility:
        """What each pixel sees.

        Raises:
            InputError: the rasterizer takes several samples a pixel.
        """
        if self.samples != 1:
            raise InputError(f"Rasterizer: supersampling must be 1 for what pixels see, got {self.samples}")
        runtime.start()
        shapes = self._gathered(camera, meshes, particles)
        view = view_row(camera, (self.width, self.height))
        self._see(shapes._replace(solid=_range(0, len(shapes.seen), 0, len(shapes.balls))), view, ground)
        number, faces = self._primitive, len(shapes.seen)
        with np.errstate(divide="ignore"):
            depth = np.where(self._depth > 0.0, 1.0 / self._depth, np.inf).astype(np.float32)
        is_face, is_ball = (number >= 0) & (number < faces), number >= faces
        mesh, cloud = np.full(number.shape, -1, dtype=np.int32), np.full(number.shape, -1, dtype=np.int32)
        mesh[is_face] = shapes.source[number[is_face]]
        cloud[is_ball] = shapes.cloud[number[is_ball] - faces]
        return Visibility(depth, mesh, cloud, number == SEES_GROUND)

    def _gathered(self, camera: Camera, meshes: Sequence[ColoredMesh], clouds: Sequence[ParticleCloud]) -> _Shapes:
        pixels = (self.width * self.samples, self.height * self.samples)
        every, cloud = gather_meshes(meshes), gather_particles(clouds)
        order = solid_first(every.opacity)
        faces, opacity, source = every.faces[order], every.opacity[order], every.source[order]
        points, front = project(camera, pixels, every.vertices, faces)
        solid, solid_seen = int((opacity >= 1.0).sum()), int((opacity[front] >= 1.0).sum())
        seen = np.ascontiguousarray(faces[front])
        distances = camera.to_camera(part(cloud.particles, Particle, "center"))[:, 2]
        nearest = np.argsort(distances, kind="stable")  # less to draw over
        order = nearest[solid_first(cloud.opacity[nearest])]
        balls, radii = cloud.particles[order], cloud.radii[order]
        solid_balls = int((cloud.opacity >= 1.0).sum())
        return _Shapes(
            vertices=every.vertices, faces=faces, seen=seen, source=source[front], points=points, looks=every.looks,
            balls=balls, radii=radii, spheres=image_spheres(camera, pixels, part(balls, Particle, "center"), radii),
            cloud=cloud.source[order], opacity=np.concatenate([opacity[front], cloud.opacity[order]]),
            solid=_range(0, solid_seen, 0, solid_balls), clear=_range(solid_seen, len(seen), solid_balls, len(balls)),
            solid_caster=_range(0, solid, 0, solid_balls), clear_caster=_range(solid, len(faces), solid_balls, len(balls)),
        )  # fmt: skip

    def _see(self, shapes: _Shapes, view: np.ndarray, ground: GroundPlane | None) -> None:
        """Fills the buffers with what is solid."""
        from diffsim.render import visibility_kernels

        height = ground.height if ground is not None else 0.0
        see = runtime.compiled(visibility_kernels.camera_visibility, False)
        unused = np.zeros((1, 1), dtype=np.float32)
        see(
            shapes.points, shapes.seen, shapes.spheres, shapes.solid, view, float(height), int(ground is not None), IMAGE_BAND,
            _window(0, self._depth.shape[0], 0, self._depth.shape[1]), unused, unused, self._depth, self._primitive,
        )  # fmt: skip

    def _layers(self, shapes: _Shapes, view: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Depth and primitive buffers of the see-through things in front of what is solid, from the eye on, and the window of
        pixels that they cover."""
        from diffsim.render import visibility_kernels

        clear = shapes.clear
        if clear[Range.first_face] == clear[Range.last_face] and clear[Range.first_particle] == clear[Range.last_particle]:
            return
        see = runtime.compiled(visibility_kernels.camera_visibility, True)
        before = np.full(self._depth.shape, np.inf, dtype=np.float32)
        primitive = np.full(self._primitive.shape, SEES_NOTHING, dtype=np.int32)
        window = _window(0, self.height, 0, self.width)
        for _ in range(LAYERS):
            depth = np.empty_like(before)
            see(
                shapes.points, shapes.seen, shapes.spheres, clear, view, 0.0, 0, IMAGE_BAND, window * self.samples,
                self._depth, before, depth, primitive,
            )  # fmt: skip
            top, bottom, left, right = window * self.samples
            inside = slice(top, bottom), slice(left, right)
            covered = primitive[inside] != SEES_NOTHING
            if not covered.any():
                return
            rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
            # where this layer has nothing, nor have those behind it
            before[inside] = np.where(covered, depth[inside], 0.0)
            first, last = (rows[0] + top, columns[0] + left), (rows[-1] + top, columns[-1] + left)
            (y0, x0), (y1, x1) = (np.array(corner) // self.samples for corner in (first, last))
            window = _window(int(y0), int(y1) + 1, int(x0), int(x1) + 1)
            yield depth, primitive, window


def _window(top: int, bottom: int, left: int, right: int) -> np.ndarray:
    """Rows and columns from first ones to last ones, without these, (4,)."""
    return np.array([top, bottom, left, right], dtype=np.int32)


def _range(first_face: int, last_face: int, first_particle: int, last_particle: int) -> np.ndarray:
    """Of faces and particles, (Range,)."""
    values = {"first_face": first_face, "last_face": last_face, "first_particle": first_particle}
    return np.array(Range.row(**values, last_particle=last_particle), dtype=np.int32)
