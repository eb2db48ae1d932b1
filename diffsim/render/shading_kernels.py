"""The Taichi kernel that turns what each sample sees into colour.

A pixel whose samples all see one primitive is shaded once, in its middle; any other pixel once a sample.
Light is linear; the result is sRGB bytes. One sun with a filtered shadow map; a sky whose ambient light is
shadowed through a stack of small maps from directions all over the hemisphere; light bounced off the ground;
a mild highlight and a rim.
"""

# Taichi reads its own types from the annotations:
# mypy: ignore-errors

from collections.abc import Callable
from typing import Any

from diffsim.compiler import ti
from diffsim.render.light_kernels import ground_skylit, row, skylit, sunlit, unit, vec3
from diffsim.render.visibility_kernels import Array1, Array2, Array3, Ints2

Bytes1 = ti.types.ndarray(dtype=ti.u8, ndim=1)
Bytes3 = ti.types.ndarray(dtype=ti.u8, ndim=3)


@ti.func
def line_cover(position: ti.f32, spacing: ti.f32, half_width: ti.f32, footprint: ti.f32) -> ti.f32:
    """How much of a footprint a family of parallel lines covers."""
    away = ti.abs(position - spacing * ti.round(position / spacing))
    cover = ti.min(ti.max((half_width - away) / footprint + 0.5, 0.0), 1.0)
    return cover * ti.min(2.0 * half_width / footprint, 1.0)


@ti.func
def painted_ground(point: vec3, wide: ti.f32, deep: ti.f32, plane: ti.template(), palette: ti.template(),
                   markers: ti.template()) -> vec3:  # fmt: skip
    """Linear colour of the ground with lines and markers. wide, deep: a pixel's footprint in x and y, m."""
    color = row(palette, 4)
    spacing = plane[1]
    if spacing > 0.0:
        along_x = line_cover(point[0] - plane[2], spacing, 0.0014, wide)
        along_y = line_cover(point[1] - plane[3], spacing, 0.0014, deep)
        color += (row(palette, 5) - color) * ti.max(along_x, along_y)
    for m in range(markers.shape[0]):
        dx, dy = point[0] - markers[m, 0], point[1] - markers[m, 1]
        distance = ti.sqrt(dx * dx + dy * dy + 1e-12)
        footprint = (ti.abs(dx) * wide + ti.abs(dy) * deep) / distance + 1e-6
        outer = ti.min(ti.max((markers[m, 3] - distance) / footprint + 0.5, 0.0), 1.0)
        inner = ti.min(ti.max((distance - markers[m, 2]) / footprint + 0.5, 0.0), 1.0)
        color += (vec3(markers[m, 4], markers[m, 5], markers[m, 6]) - color) * outer * inner * markers[m, 7]
    return color


def shading() -> Callable[..., Any]:
    """The kernel that shades the image."""

    @ti.kernel
    def shade(
        tips: Array2,  # (V, 3) pixel x, pixel y, 1 / depth
        vertices: Array2,  # (V, 6) normal, linear colour
        faces: Ints2,  # (F, 3)
        balls: Array2,  # (P, 6) world centre, linear colour
        depth: Array2,  # (H s, W s)
        primitive: Ints2,  # (H s, W s)
        camera: Array2,  # as in camera_visibility
        samples: ti.i32,
        palette: Array2,  # rows: sun's direction, sun, sky, bounce, ground, lines, background (linear)
        plane: Array1,  # height, spacing, centre x, y, extent x, y
        markers: Array2,  # (M, 8) x, y, inner radius, outer radius, linear colour, opacity
        sun_map: Array3,
        sun_place: Array3,  # (1, 4, 3): rows u, v, direction; then texel in metres, offset u, offset v
        reach: ti.i32,  # of the sun's shadow filter, texels
        sky_maps: Array3,
        sky_places: Array3,
        sky_directions: Array2,
        ball_light: Array1,  # (P,) share of the sky
        ground_light: Array2,
        ground_place: Array1,
        tones: Bytes1,  # sRGB bytes for linear light 0 to 2
        image: Bytes3,  # (H, W, 3) out
    ):
        height, width = image.shape[0], image.shape[1]
        middle_x, middle_y = 0.5 * ti.cast(depth.shape[1], ti.f32), 0.5 * ti.cast(depth.shape[0], ti.f32)
        eye, right, up, forward = row(camera, 0), row(camera, 1), row(camera, 2), row(camera, 3)
        sun, background = row(palette, 0), row(palette, 6)
        pitch = ti.sqrt(right.dot(right))  # width of a sample at unit depth
        for pixel in range(height * width):
            py, px = pixel // width, pixel % width
            first = primitive[py * samples, px * samples]
            shots = 1
            for s in range(1, samples * samples):
                if primitive[py * samples + s // samples, px * samples + s % samples] != first:
                    shots = samples * samples
            total = vec3(0.0, 0.0, 0.0)
            # samples of one smooth patch of surface share one look at the shadow maps
            known_point, known_normal = vec3(1e9, 1e9, 1e9), vec3(0.0, 0.0, 1.0)
            known_sky, known_sun = 1.0, 1.0
            for s in range(shots):
                row_index, column = py * samples + s // samples, px * samples + s % samples
                x, y, size = ti.cast(column, ti.f32) + 0.5, ti.cast(row_index, ti.f32) + 0.5, 1.0
                if shots == 1:
                    size = ti.cast(samples, ti.f32)
                    x, y = (ti.cast(px, ti.f32) + 0.5) * size, (ti.cast(py, ti.f32) + 0.5) * size
                seen = primitive[row_index, column]
                ray = forward + (x - middle_x) * right - (y - middle_y) * up
                result = background
                point, normal, albedo = eye, vec3(0.0, 0.0, 1.0), background
                keep = 1.0  # of the surface against the background
                gloss = 1.0
                if seen == -2:
                    q = ray[2] / (plane[0] - eye[2])
                    point = eye + ray / q
                    ray_x, ray_y = ray + size * right, ray - size * up
                    step_x = eye + ray_x * ((plane[0] - eye[2]) / ray_x[2]) - point
                    step_y = eye + ray_y * ((plane[0] - eye[2]) / ray_y[2]) - point
                    wide, deep = ti.abs(step_x[0]) + ti.abs(step_y[0]), ti.abs(step_x[1]) + ti.abs(step_y[1])
                    albedo = painted_ground(point, wide, deep, plane, palette, markers)
                    out_x = ti.max(ti.abs(point[0] - plane[2]) - plane[4], 0.0) / plane[4]
                    out_y = ti.max(ti.abs(point[1] - plane[3]) - plane[5], 0.0) / plane[5]
                    away = ti.min(ti.sqrt(out_x * out_x + out_y * out_y), 1.0)
                    keep = 1.0 - away * away * (3.0 - 2.0 * away)
                    gloss = 0.0
                elif seen >= faces.shape[0]:
                    ball = seen - faces.shape[0]
                    point = eye + ray / depth[row_index, column]
                    normal = unit(point - row(balls, ball))
                    albedo = vec3(balls[ball, 3], balls[ball, 4], balls[ball, 5])
                elif seen >= 0:
                    a, b, c = faces[seen, 0], faces[seen, 1], faces[seen, 2]
                    bx, by = tips[b, 0] - tips[a, 0], tips[b, 1] - tips[a, 1]
                    cx, cy = tips[c, 0] - tips[a, 0], tips[c, 1] - tips[a, 1]
                    dx, dy = x - tips[a, 0], y - tips[a, 1]
                    scale = 1.0 / (bx * cy - cx * by)
                    beta = ti.min(ti.max((dx * cy - cx * dy) * scale, 0.0), 1.0)
                    gamma = ti.min(ti.max((bx * dy - dx * by) * scale, 0.0), 1.0 - beta)
                    wa, wb, wc = (1.0 - beta - gamma) * tips[a, 2], beta * tips[b, 2], gamma * tips[c, 2]
                    q = wa + wb + wc
                    wa, wb, wc = wa / q, wb / q, wc / q  # perspective-correct
                    point = eye + ray / q
                    for axis in ti.static(range(3)):
                        normal[axis] = wa * vertices[a, axis] + wb * vertices[b, axis] + wc * vertices[c, axis]
                        albedo[axis] = wa * vertices[a, 3 + axis] + wb * vertices[b, 3 + axis] + wc * vertices[c, 3 + axis]
                    normal = unit(normal)
                    if scale > 0.0:  # the face is seen from behind: y goes down in the image
                        normal = -normal
                if seen != -1 and keep > 0.0:
                    to_eye = -unit(ray)
                    cosine = normal.dot(sun)
                    light = row(palette, 3) * (0.5 - 0.5 * normal[2])
                    sky, arrives = known_sky, known_sun
                    if seen == -2:
                        sky = ground_skylit(point, ground_light, ground_place)
                        arrives = sunlit(point, normal, sun, sun_map, sun_place, reach)
                    else:
                        apart = point - known_point
                        patch = 2.0 * ti.cast(samples, ti.f32) * pitch / depth[row_index, column]
                        if seen >= faces.shape[0]:
                            sky = ball_light[seen - faces.shape[0]]
                            if apart.dot(apart) > patch * patch or normal.dot(known_normal) < 0.5:
                                arrives = sunlit(point, normal, sun, sun_map, sun_place, reach)
                                known_point, known_normal, known_sun = point, normal, arrives
                        elif apart.dot(apart) > patch * patch or normal.dot(known_normal) < 0.9:
                            sky = skylit(point, normal, sky_maps, sky_places, sky_directions)
                            arrives = sunlit(point, normal, sun, sun_map, sun_place, reach)
                            known_point, known_normal, known_sky, known_sun = point, normal, sky, arrives
                    light += row(palette, 2) * (0.5 + 0.5 * normal[2]) * sky
                    # light wraps a little round the terminator of a soft material
                    wrapped = ti.max((cosine + 0.2 * gloss) / (1.0 + 0.2 * gloss), 0.0)
                    light += row(palette, 1) * wrapped * arrives
                    shine = vec3(0.0, 0.0, 0.0)
                    if gloss > 0.0:
                        gleam = ti.max(normal.dot(unit(sun + to_eye)), 0.0)
                        for _ in ti.static(range(5)):
                            gleam *= gleam  # to the power of 32
                        shine += row(palette, 1) * gleam * 0.15 * arrives * ti.max(cosine, 0.0)
                        grazing = 1.0 - ti.min(ti.max(normal.dot(to_eye), 0.0), 1.0)
                        grazing *= grazing
                        shine += row(palette, 2) * 0.22 * grazing * grazing * (0.6 + 0.4 * normal[2])
                    result = albedo * light + shine
                    result = background + (result - background) * keep
                total += result
            for axis in ti.static(range(3)):
                mean = ti.min(ti.max(total[axis] / ti.cast(shots, ti.f32), 0.0), 2.0)
                step = ti.cast(mean * 0.5 * ti.cast(tones.shape[0] - 1, ti.f32) + 0.5, ti.i32)
                image[py, px, axis] = tones[step]

    return shade
