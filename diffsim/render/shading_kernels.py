"""The Taichi kernel that turns what each sample sees into colour.

A pixel whose samples all see one primitive is shaded once, in its middle; any other pixel once a sample. See-through layers
are shaded before what is behind them, front to back. Light is linear; the result is sRGB bytes. One sun with a filtered shadow
map; a sky whose ambient light is shadowed through a stack of small maps from directions all over the hemisphere; light bounced
off the ground; a mild highlight and a rim.
"""

# Taichi reads its own types from the annotations:
# mypy: ignore-errors

from collections.abc import Callable
from typing import Any, NamedTuple

from diffsim.compiler import ti
from diffsim.render.kernel_arrays import Array1, Array2, Array3, Bytes1, Bytes3, Ints1, Ints2, unit, vec3, vector_at, vector_of
from diffsim.render.light_kernels import GroundLight, SkyShadows, SunShadow, ground_skylit, particle_skylit, skylit, sunlit
from diffsim.render.render_records import (
    SEES_BACKGROUND,
    SEES_GROUND,
    SEES_NOTHING,
    Face,
    Ground,
    ImagePoint,
    LightMap,
    Marker,
    Palette,
    Particle,
    VertexLook,
    View,
)

HALF_LINE = 0.0044  # half the width of the ground's grid lines where they are 1 m apart, m; it grows with the root of that
WRAP = 0.2  # how far light reaches round the terminator, as a cosine
HIGHLIGHT, RIM = 0.15, 0.22  # strengths
SUN_BLUR, PARTICLE_BLUR = 4, 2  # half width of the filter of shadows, texels of the sun's map: of all else, and of particles
EDGES = 0.5  # how much a see-through surface hides where it is seen edge-on


class Shapes(NamedTuple):
    """What is drawn: ImagePoint (V,), VertexLook (V,), share of the sky (V,) or -1, Face (F,), Particle (P,), radius (P,)."""

    points: Any
    vertices: Any
    vertex_light: Any
    faces: Any
    particles: Any
    radii: Any


class Painting(NamedTuple):
    """The ground and its paint: Ground, Palette, Marker (M,)."""

    ground: Any
    palette: Any
    markers: Any


class Lights(NamedTuple):
    """Where light arrives: `SunShadow`, `SkyShadows`, `GroundLight`, `Ground`, sky share at particles (P,), or -1 where none
    was seen yet, direction to the sun."""

    sun: Any
    sky: Any
    ground: Any
    floor: Any
    particles: Any
    sun_direction: Any


class Ray(NamedTuple):
    """The line along which a place in the image sees: eye + depth * direction, in the world.

    x, y: the place, in samples; size: edge of the square to shade, in samples; right, up: change of direction a sample.
    """

    eye: Any
    direction: Any
    right: Any
    up: Any
    x: Any
    y: Any
    size: Any


class Seen(NamedTuple):
    """A place on a surface: what primitive it is, world point, unit normal, linear colour, gloss (1, or 0 on the ground), and
    the share of the sky, where it is known, or -1."""

    primitive: Any
    point: Any
    normal: Any
    albedo: Any
    gloss: Any
    sky: Any


class Known(NamedTuple):
    """The last place of a pixel at which the shadow maps were looked up, and the share of the sky and of the sun there."""

    point: Any
    normal: Any
    sky: Any
    sun: Any


@ti.func
def line_cover(position: ti.f32, spacing: ti.f32, half_width: ti.f32, footprint: ti.f32) -> ti.f32:
    """How much of a footprint parallel lines cover, all in metres.

    The nearest line lies at the nearest multiple of the spacing. Its edge at the signed distance d covers the share
    d / footprint + 1/2, between 0 and 1; a line thinner than the footprint covers at most their ratio.
    """
    away = ti.abs(position - spacing * ti.floor(position / spacing + 0.5))
    cover = ti.min(ti.max((half_width - away) / footprint + 0.5, 0.0), 1.0)
    return cover * ti.min(2.0 * half_width / footprint, 1.0)


@ti.func
def painted_ground(point: vec3, wide: ti.f32, deep: ti.f32, painting: ti.template()) -> vec3:
    """Linear colour of the ground with lines and markers.

    An edge at the signed distance d covers the share d / footprint + 1/2 of a pixel, between 0 and 1.

    Args:
        wide, deep: a pixel's footprint in x and y, metres.
    """
    ground, palette, markers = ti.static(painting.ground, painting.palette, painting.markers)
    color = vector_at(palette, Palette.ground)
    spacing = ground[Ground.spacing]
    if spacing > 0.0:
        half = HALF_LINE * ti.sqrt(spacing)
        along_x = line_cover(point[0] - ground[Ground.center_x], spacing, half, wide)
        along_y = line_cover(point[1] - ground[Ground.center_y], spacing, half, deep)
        color += (vector_at(palette, Palette.lines) - color) * ti.max(along_x, along_y)
    for m in range(markers.shape[0]):
        dx, dy = point[0] - markers[m, Marker.x], point[1] - markers[m, Marker.y]
        distance = ti.sqrt(dx * dx + dy * dy + 1e-12)
        footprint = (ti.abs(dx) * wide + ti.abs(dy) * deep) / distance + 1e-6
        outer = ti.min(ti.max((markers[m, Marker.outer_radius] - distance) / footprint + 0.5, 0.0), 1.0)
        inner = ti.min(ti.max((distance - markers[m, Marker.inner_radius]) / footprint + 0.5, 0.0), 1.0)
        color += (vector_of(markers, m, Marker.color) - color) * outer * inner * markers[m, Marker.opacity]
    return color


@ti.func
def seen_ground(ray: ti.template(), painting: ti.template()):
    """Point, linear colour, and how much of it shows against the background, where a ray meets the ground.

    The ray from the eye e along r meets the height h at the depth (h - e_z) / r_z. The rays one sample to the right and one
    below meet it one footprint away. Away from its visible part the ground fades by the smoothstep 1 - t^2 (3 - 2 t).
    """
    ground = ti.static(painting.ground)
    eye = ray.eye
    rise = ground[Ground.height] - eye[2]
    q = ray.direction[2] / rise
    point = eye + ray.direction / q
    right, down = ray.direction + ray.size * ray.right, ray.direction - ray.size * ray.up
    step_x, step_y = eye + right * (rise / right[2]) - point, eye + down * (rise / down[2]) - point
    wide, deep = ti.abs(step_x[0]) + ti.abs(step_y[0]), ti.abs(step_x[1]) + ti.abs(step_y[1])
    extent_x, extent_y = ground[Ground.extent_x], ground[Ground.extent_y]
    out_x = ti.max(ti.abs(point[0] - ground[Ground.center_x]) - extent_x, 0.0) / extent_x
    out_y = ti.max(ti.abs(point[1] - ground[Ground.center_y]) - extent_y, 0.0) / extent_y
    away = ti.min(ti.sqrt(out_x * out_x + out_y * out_y), 1.0)
    return point, painted_ground(point, wide, deep, painting), 1.0 - away * away * (3.0 - 2.0 * away)


@ti.func
def seen_particle(ray: ti.template(), q: ti.f32, p: ti.i32, shapes: ti.template()):
    """Point, unit normal and linear colour where a ray meets the particle ``p`` at the depth 1 / q."""
    point = ray.eye + ray.direction / q
    normal = unit(point - vector_of(shapes.particles, p, Particle.center))
    return point, normal, vector_of(shapes.particles, p, Particle.color)


@ti.func
def seen_face(ray: ti.template(), f: ti.i32, shapes: ti.template()):
    """Point, unit normal towards the eye, linear colour and share of the sky, or -1, where a ray meets the face ``f``.

    beta and gamma are the barycentric coordinates in the image (`depth_within` derives them), kept inside the face, for the
    middle of a pixel may lie beside it. In the image q = 1 / depth is linear, and so is value * q, but the value itself is not:
    hence the weights w_a = (1 - beta - gamma) q_a / q, w_b = beta q_b / q and w_c = gamma q_c / q, where q is the sum of the
    numerators.
    """
    points, vertices, faces = ti.static(shapes.points, shapes.vertices, shapes.faces)
    i, j, k = faces[f, Face.a], faces[f, Face.b], faces[f, Face.c]
    ax, ay = points[i, ImagePoint.x], points[i, ImagePoint.y]
    bx, by = points[j, ImagePoint.x] - ax, points[j, ImagePoint.y] - ay
    cx, cy = points[k, ImagePoint.x] - ax, points[k, ImagePoint.y] - ay
    dx, dy = ray.x - ax, ray.y - ay
    scale = 1.0 / (bx * cy - cx * by)
    beta = ti.min(ti.max((dx * cy - cx * dy) * scale, 0.0), 1.0)
    gamma = ti.min(ti.max((bx * dy - dx * by) * scale, 0.0), 1.0 - beta)
    wa = (1.0 - beta - gamma) * points[i, ImagePoint.q]
    wb, wc = beta * points[j, ImagePoint.q], gamma * points[k, ImagePoint.q]
    q = wa + wb + wc
    wa, wb, wc = wa / q, wb / q, wc / q
    normal = wa * vector_of(vertices, i, VertexLook.normal)
    normal = normal + wb * vector_of(vertices, j, VertexLook.normal) + wc * vector_of(vertices, k, VertexLook.normal)
    albedo = wa * vector_of(vertices, i, VertexLook.color)
    albedo = albedo + wb * vector_of(vertices, j, VertexLook.color) + wc * vector_of(vertices, k, VertexLook.color)
    normal = unit(normal)
    light = ti.static(shapes.vertex_light)
    sky = -1.0
    if ti.min(light[i], light[j], light[k]) >= 0.0:
        sky = wa * light[i] + wb * light[j] + wc * light[k]
    if scale > 0.0:  # the face is seen from behind: y goes down in the image
        normal, sky = -normal, -1.0
    return ray.eye + ray.direction / q, normal, albedo, sky


@ti.func
def arriving(seen: ti.template(), known: ti.template(), near: ti.f32, shapes: ti.template(), lights: ti.template()):
    """Shares of the sky's and of the sun's light that reach a place.

    Samples of one smooth patch of surface share one look at the shadow maps: ``known`` is taken over, or renewed. All samples
    of a particle share one look at the sky's; threads that meet it at once all find the same number.

    Args:
        seen, known, shapes, lights: `Seen`, `Known`, `Shapes`, `Lights`.
        near: how close to the known point a place must lie to share its light, metres.
    """
    first_particle = shapes.faces.shape[0]
    sky, sun = known.sky, known.sun
    fresh, reach = True, SUN_BLUR
    if seen.primitive == SEES_GROUND:
        sky, sun = ground_skylit(seen.point, lights.ground), 1.0
        ground = ti.static(lights.floor)
        x, y = seen.point[0], seen.point[1]
        within_x = x > ground[Ground.shade_low_x] and x < ground[Ground.shade_high_x]
        fresh = within_x and y > ground[Ground.shade_low_y] and y < ground[Ground.shade_high_y]
    else:
        apart = seen.point - known.point
        alike = seen.normal.dot(known.normal)
        fresh = apart.dot(apart) > near * near
        if seen.primitive >= first_particle:
            p = seen.primitive - first_particle
            sky = lights.particles[p]
            if sky < 0.0:
                sky = particle_skylit(vector_of(shapes.particles, p, Particle.center), shapes.radii[p], lights.sky)
                lights.particles[p] = sky
            reach = PARTICLE_BLUR
            fresh = fresh or alike < 0.5
        else:
            fresh = fresh or alike < 0.9
            if seen.sky >= 0.0:
                sky = seen.sky
            elif fresh:
                sky = skylit(seen.point, seen.normal, lights.sky)
                known.sky = sky
    if fresh:
        sun = sunlit(seen.point, seen.normal, lights.sun_direction, reach, lights.sun)
        if seen.primitive != SEES_GROUND:
            known.point, known.normal, known.sun = seen.point, seen.normal, sun
    return sky, sun


@ti.func
def reflected(seen: ti.template(), to_eye: vec3, sky: ti.f32, sun: ti.f32, sun_direction: vec3, palette: ti.template()) -> vec3:
    """Linear light that a place sends to the eye: what its colour scatters, and what shines on it whatever its colour.

    - Diffuse: the sky from above and the ground's bounce from below, weighted (1 + n_z) / 2 and (1 - n_z) / 2, the shares of
      the hemisphere round the normal n that lie above and below the horizon. For the sun, Lambert's cosine; on glossy surfaces
      (cos + w) / (1 + w) with w = `WRAP`, as soft materials scatter some light past the terminator.
    - Highlight: the cosine between the normal and the half vector of sun and eye, to the power of 32 (Blinn 1977).
    - Rim: grows at grazing angles as (1 - cos)^4, like Schlick's approximation of Fresnel's law (1994), whose power is 5.

    Strengths and powers were chosen by eye.

    Args:
        seen: `Seen`.
        to_eye: unit vector.
        sky, sun: shares of their light that reach the place.
        sun_direction: unit vector.
    """
    normal, gloss = seen.normal, seen.gloss
    sun_color, sky_color = vector_at(palette, Palette.sun), vector_at(palette, Palette.sky)
    cosine = normal.dot(sun_direction)
    light = vector_at(palette, Palette.bounce) * (0.5 - 0.5 * normal[2])
    light += sky_color * (0.5 + 0.5 * normal[2]) * sky
    light += sun_color * ti.max((cosine + WRAP * gloss) / (1.0 + WRAP * gloss), 0.0) * sun
    shine = vec3(0.0, 0.0, 0.0)
    if gloss > 0.0:
        gleam = ti.max(normal.dot(unit(sun_direction + to_eye)), 0.0)
        for _ in ti.static(range(5)):
            gleam *= gleam  # to the power of 32
        shine += sun_color * gleam * HIGHLIGHT * sun * ti.max(cosine, 0.0)
        grazing = 1.0 - ti.min(ti.max(normal.dot(to_eye), 0.0), 1.0)
        grazing *= grazing
        shine += sky_color * RIM * grazing * grazing * (0.6 + 0.4 * normal[2])
    return seen.albedo * light, shine


@ti.func
def hidden_share(opacity: ti.f32, normal: vec3, to_eye: vec3) -> ti.f32:
    """How much a surface hides of what is behind it: more at grazing angles, like `reflected`'s rim, so that glass has
    edges."""
    grazing = 1.0 - ti.min(ti.max(normal.dot(to_eye), 0.0), 1.0)
    grazing *= grazing
    return opacity + (1.0 - opacity) * EDGES * grazing * grazing


@ti.func
def background_color(toward: vec3, palette: ti.template()) -> vec3:
    """Linear colour of the background along a unit direction: from that at the horizon to that at the zenith."""
    low, high = vector_at(palette, Palette.background), vector_at(palette, Palette.zenith)
    return low + (high - low) * ti.max(toward[2], 0.0)


@ti.func
def looks_needed(primitive: ti.template(), px: ti.i32, py: ti.i32, samples: ti.template()) -> ti.i32:
    """How often a pixel is shaded: once if all its samples see one primitive, else once a sample."""
    top, left = py * samples, px * samples
    first = primitive[top, left]
    looks = 1
    for j in ti.static(range(samples)):
        for i in ti.static(range(samples)):
            if primitive[top + j, left + i] != first:
                looks = samples * samples
    return looks


def shading(samples: int) -> Callable[..., Any]:
    """The kernel that shades an image of so many samples a pixel along each axis."""

    @ti.kernel
    def shade(
        points: Array2,  # (V, ImagePoint)
        vertices: Array2,  # (V, VertexLook)
        vertex_light: Array1,  # (V,) share of the sky, or -1
        faces: Ints2,  # (F, Face)
        particles: Array2,  # (P, Particle)
        radii: Array1,  # (P,) metres
        opacity: Array1,  # (F + P,)
        depth: Array2,  # (H samples, W samples)
        primitive: Ints2,  # (H samples, W samples)
        view: Array1,  # View
        palette: Array1,  # Palette
        ground: Array1,  # Ground
        markers: Array2,  # (M, Marker)
        sun_maps: Array3,  # (2, R, R), or (1, R, R) where nothing is see-through
        sun_tops: Array3,  # (2, R / 16, R / 16) likewise
        sun_places: Array2,  # (1, LightMap)
        veil: ti.f32,  # how much of the sun see-through things keep off
        sky_maps: Array3,  # (L, R, R)
        sky_places: Array2,  # (L, LightMap)
        particle_light: Array1,  # (P,) share of the sky; -1 is filled where the particle is seen
        ground_light: Array2,  # (rows, columns) share of the sky
        ground_grid: Array1,  # GroundGrid
        tones: Bytes1,  # sRGB bytes for linear light 0 to 2
        layered: Array3,  # (H, W, 4) light of the layers in front, and the share that they let through
        is_layer: ti.i32,  # 1: adds to ``layered``, 0: writes the image
        window: Ints1,  # first and last row, first and last column to shade, without the last ones
        image: Bytes3,  # (H, W, 3) out
    ):
        first_particle = faces.shape[0]
        middle_x, middle_y = 0.5 * ti.cast(depth.shape[1], ti.f32), 0.5 * ti.cast(depth.shape[0], ti.f32)
        eye, forward = vector_at(view, View.position), vector_at(view, View.forward)
        right, up = vector_at(view, View.right), vector_at(view, View.up)
        sun_direction = vector_of(sun_places, 0, LightMap.direction)
        pitch = ti.sqrt(right.dot(right))  # width of a sample at unit depth
        shapes = ti.static(Shapes(points, vertices, vertex_light, faces, particles, radii))
        painting = ti.static(Painting(ground, palette, markers))
        sun, sky = ti.static(SunShadow(sun_maps, sun_tops, sun_places, veil), SkyShadows(sky_maps, sky_places))
        lights = ti.static(Lights(sun, sky, GroundLight(ground_light, ground_grid), ground, particle_light, sun_direction))
        columns = window[3] - window[2]
        for pixel in range((window[1] - window[0]) * columns):
            row = pixel // columns
            py, px = window[0] + row, window[2] + pixel - row * columns
            looks = looks_needed(primitive, px, py, samples)
            if looks == 1 and primitive[py * samples, px * samples] == SEES_NOTHING:
                continue
            total = vec3(0.0, 0.0, 0.0)
            known_point, known_normal = vec3(1e9, 1e9, 1e9), vec3(0.0, 0.0, 1.0)
            known_sky, known_sun = 1.0, 1.0
            known = ti.static(Known(known_point, known_normal, known_sky, known_sun))
            covered = 0.0
            for s in range(looks):
                j = s // samples
                line, column = py * samples + j, px * samples + s - j * samples
                number = primitive[line, column]
                if number == SEES_NOTHING:
                    continue
                x, y, size = ti.cast(column, ti.f32) + 0.5, ti.cast(line, ti.f32) + 0.5, 1.0
                if looks == 1:
                    size = ti.cast(samples, ti.f32)
                    x, y = (ti.cast(px, ti.f32) + 0.5) * size, (ti.cast(py, ti.f32) + 0.5) * size
                direction = forward + (x - middle_x) * right - (y - middle_y) * up
                ray = ti.static(Ray(eye, direction, right, up, x, y, size))
                point, normal, albedo = eye, vec3(0.0, 0.0, 1.0), vec3(0.0, 0.0, 0.0)
                to_eye, background = normal, albedo
                keep, gloss, hides, sky_known = 1.0, 1.0, 1.0, -1.0  # keep: of the surface against the background
                if number == SEES_GROUND:
                    point, albedo, keep = seen_ground(ray, painting)
                    gloss = 0.0
                elif number >= first_particle:
                    point, normal, albedo = seen_particle(ray, depth[line, column], number - first_particle, shapes)
                elif number >= 0:
                    point, normal, albedo, sky_known = seen_face(ray, number, shapes)
                if number != SEES_GROUND or keep < 1.0:  # the ground alone is neither glossy nor see-through
                    to_eye = -unit(direction)
                    background = background_color(-to_eye, palette)
                result = background
                if number != SEES_BACKGROUND and keep > 0.0:
                    seen = ti.static(Seen(number, point, normal, albedo, gloss, sky_known))
                    near = 2.0 * ti.cast(samples, ti.f32) * pitch / depth[line, column]
                    sky_share, sun_share = arriving(seen, known, near, shapes, lights)
                    scattered, shine = reflected(seen, to_eye, sky_share, sun_share, sun_direction, palette)
                    if is_layer == 1:
                        hides = hidden_share(opacity[number], normal, to_eye)
                    result = hides * scattered + shine
                    result = background + (result - background) * keep
                total += result
                covered += hides
            for axis in ti.static(range(3)):
                total[axis] *= layered[py, px, 3] / ti.cast(looks, ti.f32)
                total[axis] += layered[py, px, axis]
            if is_layer == 1:
                for axis in ti.static(range(3)):
                    layered[py, px, axis] = total[axis]
                layered[py, px, 3] *= 1.0 - covered / ti.cast(looks, ti.f32)
            else:
                for axis in ti.static(range(3)):
                    mean = ti.min(ti.max(total[axis], 0.0), 2.0)
                    step = ti.cast(mean * 0.5 * ti.cast(tones.shape[0] - 1, ti.f32) + 0.5, ti.i32)
                    image[py, px, axis] = tones[step]

    return shade
