"""Taichi functions that look up how much light reaches a point, in the maps that `shadow_maps` drew.

A place is a table (4, 3): the map's x and y axes in texels per metre; the direction to its light; its
texel in metres and the map x and y of the world's origin.
"""

# Taichi reads its own types from the annotations:
# mypy: ignore-errors

from collections.abc import Callable
from typing import Any

from diffsim.compiler import ti
from diffsim.render.visibility_kernels import Array1, Array2, Array3

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
    inside = column >= 0 and line >= 0 and column < maps.shape[2] and line < maps.shape[1]
    if inside:  # noqa: SIM102 (the map may be read only then)
        if maps[light, line, column] > q:
            result = 0.0
    return result


@ti.func
def sunlit(point: vec3, normal: vec3, sun: vec3, maps: ti.template(), places: ti.template(), reach: ti.i32) -> ti.f32:
    """Share of the sun that reaches a point, through a tent filter of half width ``reach`` texels."""
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
def sky_from(point: vec3, normal: vec3, cosine: ti.f32, k: ti.i32, maps: ti.template(), places: ti.template()) -> ti.f32:
    """Share of the light from the sky's direction ``k`` that reaches a point. cosine: normal to direction."""
    texel = places[k, 3, 0]
    p = point + normal * texel * (0.5 + 1.5 * (1.0 - cosine))
    u = places[k, 0, 0] * p[0] + places[k, 0, 1] * p[1] + places[k, 0, 2] * p[2] + places[k, 3, 1] - 0.5
    v = places[k, 1, 0] * p[0] + places[k, 1, 1] * p[1] + places[k, 1, 2] * p[2] + places[k, 3, 2] - 0.5
    q = places[k, 2, 0] * p[0] + places[k, 2, 1] * p[1] + places[k, 2, 2] * p[2] + 0.5 * texel
    column, line = ti.cast(ti.floor(u), ti.i32), ti.cast(ti.floor(v), ti.i32)
    fu, fv = u - ti.floor(u), v - ti.floor(v)
    above, below = passes(maps, k, column, line, q), passes(maps, k, column, line + 1, q)
    above += fu * (passes(maps, k, column + 1, line, q) - above)
    below += fu * (passes(maps, k, column + 1, line + 1, q) - below)
    return (1.0 - fv) * above + fv * below


@ti.func
def skylit(point: vec3, normal: vec3, maps: ti.template(), places: ti.template(), directions: ti.template()) -> ti.f32:
    """Share of the sky's light, over the normal's hemisphere, that reaches a point."""
    arrived, total = 0.0, 0.0
    for k in range(directions.shape[0]):
        cosine = normal.dot(row(directions, k))
        if cosine > 0.0:
            arrived += cosine * sky_from(point, normal, cosine, k, maps, places)
            total += cosine
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


def particle_sky() -> Callable[..., Any]:
    """The kernel that finds how much sky each particle sees past the others, one number a particle."""

    @ti.kernel
    def light_particles(
        maps: Array3,
        places: Array3,
        directions: Array2,
        balls: Array2,  # (P, 6) world centre, linear colour
        radii: Array1,  # (P,) metres
        light: Array1,  # (P,) out: 0 to 1
    ):
        for ball in range(balls.shape[0]):
            arrived = 0.0
            for k in range(directions.shape[0]):
                direction = row(directions, k)
                outside = row(balls, ball) + direction * radii[ball]
                arrived += sky_from(outside, direction, 1.0, k, maps, places)
            light[ball] = arrived / ti.cast(directions.shape[0], ti.f32)

    return light_particles
