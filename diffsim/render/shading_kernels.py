"""The Taichi kernel that turns what each sample sees into colour.

A pixel whose samples all see one primitive is shaded once, in its middle; any other pixel once a sample. Light is linear; the
result is sRGB bytes. One sun with a filtered shadow map; a sky whose ambient light is shadowed through a stack of small maps
from directions all over the hemisphere; light bounced off the ground; a mild highlight and a rim.
"""

from collections.abc import Callable
from typing import Any

import taichi as ti

from diffsim.render.visibility_kernels import Array1, Array2, Array3, Ints2

Bytes3 = ti.types.ndarray(dtype=ti.u8, ndim=3)
vec3 = ti.types.vector(3, ti.f32)


@ti.func
def row(table: ti.template(), index: ti.i32) -> vec3:
    return vec3(table[index, 0], table[index, 1], table[index, 2])


@ti.func
def unit(v: vec3) -> vec3:
    return v / ti.sqrt(v.dot(v) + 1e-20)


@ti.func
def passes(maps: ti.template(), light: ti.i32, column: ti.i32, line: ti.i32, q: ti.f32) -> ti.f32:
    """1 where nothing in the light's map stands above ``q``, else 0; outside the map all is lit."""
    result = 1.0
    if column >= 0 and line >= 0 and column < maps.shape[2] and line < maps.shape[1]:
        if maps[light, line, column] > q:
            result = 0.0
    return result


@ti.func
def sunlit(point: vec3, normal: vec3, sun: vec3, maps: ti.template(), places: ti.template(), reach: ti.i32) -> ti.f32:
    """Share of the sun that reaches a point: a tent filter of half width ``reach`` texels over the comparisons."""
    texel = places[0, 3, 0]
    p = point + normal * texel * (0.6 + 2.4 * (1.0 - ti.max(normal.dot(sun), 0.0)))
    u = places[0, 0, 0] * p[0] + places[0, 0, 1] * p[1] + places[0, 0, 2] * p[2] + places[0, 3, 1]
    v = places[0, 1, 0] * p[0] + places[0, 1, 1] * p[1] + places[0, 1, 2] * p[2] + places[0, 3, 2]
    q = p.dot(sun) + texel
    column, line = ti.cast(ti.floor(u - 0.5), ti.i32), ti.cast(ti.floor(v - 0.5), ti.i32)
    # most points are wholly lit or wholly dark: nine texels spread over the filter's window tell
    result = 0.0
    for j in range(3):
        for i in range(3):
            result += passes(maps, 0, column + 1 + (i - 1) * reach, line + 1 + (j - 1) * reach, q)
    result /= 9.0
    if result > 0.01 and result < 0.99:
        lit, total = 0.0, 0.0
        for j in range(line - reach + 1, line + reach + 1):
            down = ti.cast(reach, ti.f32) - ti.abs(ti.cast(j, ti.f32) + 0.5 - v)
            for i in range(column - reach + 1, column + reach + 1):
                weight = down * (ti.cast(reach, ti.f32) - ti.abs(ti.cast(i, ti.f32) + 0.5 - u))
                total += weight
                lit += weight * passes(maps, 0, i, j, q)
        result = lit / total
    return result


@ti.func
def skylit(point: vec3, normal: vec3, maps: ti.template(), places: ti.template(), directions: ti.template()) -> ti.f32:
    """Share of the sky's light, over the normal's hemisphere, that reaches a point."""
    arrived, total = 0.0, 0.0
    for k in range(directions.shape[0]):
        direction = row(directions, k)
        weight = normal.dot(direction)
        if weight > 0.0:
            texel = places[k, 3, 0]
            p = point + normal * texel * (0.5 + 1.5 * (1.0 - weight))
            u = places[k, 0, 0] * p[0] + places[k, 0, 1] * p[1] + places[k, 0, 2] * p[2] + places[k, 3, 1] - 0.5
            v = places[k, 1, 0] * p[0] + places[k, 1, 1] * p[1] + places[k, 1, 2] * p[2] + places[k, 3, 2] - 0.5
            q = p.dot(direction) + 0.5 * texel
            column, line = ti.cast(ti.floor(u), ti.i32), ti.cast(ti.floor(v), ti.i32)
            fu, fv = u - ti.floor(u), v - ti.floor(v)
            above = (1.0 - fu) * passes(maps, k, column, line, q) + fu * passes(maps, k, column + 1, line, q)
            below = (1.0 - fu) * passes(maps, k, column, line + 1, q) + fu * passes(maps, k, column + 1, line + 1, q)
            arrived += weight * ((1.0 - fv) * above + fv * below)
            total += weight
    result = 1.0
    if total > 0.0:
        result = arrived / total
    return result


@ti.func
def ground_skylit(point: vec3, light: ti.template(), place: ti.template()) -> ti.f32:
    """The same for a point of the ground, from the grid that `ground_sky` filled."""
    u = ti.min(ti.max((point[0] - place[0]) / place[2], 0.0), ti.cast(light.shape[1], ti.f32) - 1.001)
    v = ti.min(ti.max((point[1] - place[1]) / place[2], 0.0), ti.cast(light.shape[0], ti.f32) - 1.001)
    i, j = ti.cast(u, ti.i32), ti.cast(v, ti.i32)
    fu, fv = u - ti.cast(i, ti.f32), v - ti.cast(j, ti.f32)
    low = (1.0 - fu) * light[j, i] + fu * light[j, i + 1]
    high = (1.0 - fu) * light[j + 1, i] + fu * light[j + 1, i + 1]
    return (1.0 - fv) * low + fv * high


@ti.func
def line_cover(position: ti.f32, spacing: ti.f32, half_width: ti.f32, footprint: ti.f32) -> ti.f32:
    """How much of a footprint a family of parallel lines covers."""
    away = ti.abs(position - spacing * ti.round(position / spacing))
    cover = ti.min(ti.max((half_width - away) / footprint + 0.5, 0.0), 1.0)
    return cover * ti.min(2.0 * half_width / footprint, 1.0)


@ti.func
def painted_ground(point: vec3, wide: ti.f32, deep: ti.f32, plane: ti.template(), palette: ti.template(),
                   markers: ti.template()) -> vec3:  # fmt: skip
    """Linear colour of the ground: grid lines and markers. wide, deep: a pixel's footprint along x and y, metres."""
    color = row(palette, 4)
    spacing = plane[1]
    if spacing > 0.0:
        along_x = line_cover(point[0] - plane[2], spacing, 0.0011, wide)
        along_y = line_cover(point[1] - plane[3], spacing, 0.0011, deep)
        color += (row(palette, 5) - color) * ti.max(along_x, along_y)
    for m in range(markers.shape[0]):
        dx, dy = point[0] - markers[m, 0], point[1] - markers[m, 1]
        distance = ti.sqrt(dx * dx + dy * dy + 1e-12)
        footprint = (ti.abs(dx) * wide + ti.abs(dy) * deep) / distance + 1e-6
        outer = ti.min(ti.max((markers[m, 3] - distance) / footprint + 0.5, 0.0), 1.0)
        inner = ti.min(ti.max((distance - markers[m, 2]) / footprint + 0.5, 0.0), 1.0)
        color += (vec3(markers[m, 4], markers[m, 5], markers[m, 6]) - color) * outer * inner * markers[m, 7]
    return color


@ti.func
def encoded(light: ti.f32) -> ti.u8:
    """Linear light to an sRGB byte, with a soft shoulder instead of a hard clip at white."""
    x = ti.max(light, 0.0)
    if x > 0.7:
        x = 0.7 + 0.3 * (1.0 - ti.exp((0.7 - x) / 0.3))
    result = 12.92 * x
    if x > 0.0031308:
        result = 1.055 * x ** (1.0 / 2.4) - 0.055
    return ti.cast(ti.min(ti.max(result, 0.0), 1.0) * 255.0 + 0.5, ti.u8)


def ground_sky() -> Callable[..., Any]:
    """The kernel that finds how much sky a grid of points on the ground sees."""

    @ti.kernel
    def light_ground(
        maps: Array3,
        places: Array3,
        directions: Array2,
        height: ti.f32,
        place: Array1,  # x and y of the first point, spacing, metres
        light: Array2,  # (rows along y, columns along x) out: 0 to 1
    ):
        columns = light.shape[1]
        for cell in range(light.shape[0] * columns):
            i, j = cell % columns, cell // columns
            x, y = place[0] + ti.cast(i, ti.f32) * place[2], place[1] + ti.cast(j, ti.f32) * place[2]
            light[j, i] = skylit(vec3(x, y, height), vec3(0.0, 0.0, 1.0), maps, places, directions)

    return light_ground


def shading() -> Callable[..., Any]:
    """The kernel that shades the image."""

    @ti.kernel
    def shade(
        tips: Array2,  # (V, 3) pixel x, pixel y, 1 / depth
        vertices: Array2,  # (V, 9) normal, linear colour, unused
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
        ground_light: Array2,
        ground_place: Array1,
        image: Bytes3,  # (H, W, 3) out
    ):
        height, width = image.shape[0], image.shape[1]
        middle_x, middle_y = 0.5 * ti.cast(depth.shape[1], ti.f32), 0.5 * ti.cast(depth.shape[0], ti.f32)
        eye, right, up, forward = row(camera, 0), row(camera, 1), row(camera, 2), row(camera, 3)
        sun, background = row(palette, 0), row(palette, 6)
        for pixel in range(height * width):
            py, px = pixel // width, pixel % width
            first = primitive[py * samples, px * samples]
            shots = 1
            for s in range(1, samples * samples):
                if primitive[py * samples + s // samples, px * samples + s % samples] != first:
                    shots = samples * samples
            total = vec3(0.0, 0.0, 0.0)
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
                        albedo[axis] = (
                            wa * vertices[a, 3 + axis] + wb * vertices[b, 3 + axis] + wc * vertices[c, 3 + axis]
                        )
                    normal = unit(normal)
                    facing = normal.dot(ray)
                    if facing > 0.0 and vertices[a, 6] > 0.5:  # a flat face seen from behind
                        normal = -normal
                if seen != -1 and keep > 0.0:
                    to_eye = -unit(ray)
                    cosine = normal.dot(sun)
                    light = row(palette, 3) * (0.5 - 0.5 * normal[2])
                    sky = 1.0
                    if seen == -2:
                        sky = ground_skylit(point, ground_light, ground_place)
                    else:
                        sky = skylit(point, normal, sky_maps, sky_places, sky_directions)
                    light += row(palette, 2) * (0.5 + 0.5 * normal[2]) * sky
                    # light wraps a little round the terminator of a soft material
                    wrapped = ti.max((cosine + 0.2 * gloss) / (1.0 + 0.2 * gloss), 0.0)
                    shine = vec3(0.0, 0.0, 0.0)
                    if wrapped > 0.0:
                        arrives = sunlit(point, normal, sun, sun_map, sun_place, reach)
                        light += row(palette, 1) * wrapped * arrives
                        halfway = unit(sun + to_eye)
                        gleam = ti.max(normal.dot(halfway), 0.0) ** 48.0
                        shine += row(palette, 1) * gleam * 0.16 * arrives * ti.max(cosine, 0.0)
                    grazing = 1.0 - ti.min(ti.max(normal.dot(to_eye), 0.0), 1.0)
                    shine += row(palette, 2) * 0.22 * grazing**4 * (0.6 + 0.4 * normal[2])
                    result = albedo * light + gloss * shine
                    result = background + (result - background) * keep
                total += result
            for axis in ti.static(range(3)):
                image[py, px, axis] = encoded(total[axis] / ti.cast(shots, ti.f32))

    return shade
