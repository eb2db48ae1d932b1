"""Taichi functions that look up how much light reaches a point, in the maps that `shadow_maps` drew.

A point is in a light's shadow where the map holds a larger q (height towards the light) than the point's own. A texel holds one
q for all the points that fall in it, so a surface could shadow itself. Where it leans by the angle t against the light, its q
changes by tan(t) texels from texel to texel; a point moved off it by s along the normal gains s / cos(t) over it, enough if
s >= sin(t) texels. Hence the offsets below: a few texels, more where the cosine of t is small. Their numbers were chosen by
eye: smaller ones speckle lit surfaces, larger ones detach shadows from what casts them.
"""

# Taichi reads its own types from the annotations:
# mypy: ignore-errors

from collections.abc import Callable
from typing import Any, NamedTuple

from diffsim.compiler import ti
from diffsim.render.kernel_arrays import Array1, Array2, Array3, vec3, vector_of
from diffsim.render.render_records import GroundGrid, LightMap, VertexLook

BLOCK = 16  # texels: edge of the blocks of a sun map whose largest q is known


class SunShadow(NamedTuple):
    """The sun's shadow maps: depth maps of what is solid and of what is see-through (2, R, R), the largest q in and round each
    block of their texels (2, R / 16, R / 16), where they look (1, LightMap), and how much of the sun see-through things keep
    off."""

    maps: Any
    tops: Any
    places: Any
    veil: Any


class SkyShadows(NamedTuple):
    """The sky's shadow maps, one for each of L directions: depth maps (L, R, R), and where they look (L, LightMap)."""

    maps: Any
    places: Any


class GroundLight(NamedTuple):
    """The sky's light on the ground: 0 to 1 at the points of a grid (rows along y, columns along x), and the GroundGrid."""

    light: Any
    grid: Any


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
def place_in_map(places: ti.template(), light: ti.i32, p: vec3):
    """Where a world point falls in a light's map: x and y, texels."""
    x = vector_of(places, light, LightMap.x_axis).dot(p) + places[light, LightMap.x_origin]
    y = vector_of(places, light, LightMap.y_axis).dot(p) + places[light, LightMap.y_origin]
    return x, y


@ti.func
def sunlit(point: vec3, normal: vec3, sun: vec3, reach: ti.i32, shadow: ti.template()) -> ti.f32:
    """Share of the sun that reaches a point (world, metres), past what is solid and through what is not.

    Args:
        sun: unit direction to the sun.
        reach: half width of the filter, texels.
        shadow: `SunShadow`.
    """
    result = sun_past(0, point, normal, sun, reach, shadow)
    if shadow.veil > 0.0 and result > 0.0:
        result *= 1.0 - shadow.veil * (1.0 - sun_past(1, point, normal, sun, reach, shadow))
    return result


@ti.func
def sun_past(which: ti.template(), point: vec3, normal: vec3, sun: vec3, reach: ti.i32, shadow: ti.template()) -> ti.f32:
    """Share of the sun that passes one of its maps: the mean of `passes` over the texels around a point.

    Percentage-closer filtering (Reeves, Salesin and Cook 1987) with tent weights: a texel d texels away along an axis weighs
    reach - d along it, and the weights of the two axes multiply.

    Args:
        which: of the maps.
        point, normal, sun, reach, shadow: as of `sunlit`.
    """
    maps, tops, places = ti.static(shadow.maps, shadow.tops, shadow.places)
    texel = places[0, LightMap.texel]
    p = point + normal * texel * (0.6 + 2.4 * (1.0 - ti.max(normal.dot(sun), 0.0)))
    u, v = place_in_map(places, 0, p)
    q = p.dot(sun) + texel
    column, line = ti.cast(ti.floor(u - 0.5), ti.i32), ti.cast(ti.floor(v - 0.5), ti.i32)
    result = 1.0
    block_x, block_y = column // BLOCK, line // BLOCK
    inside = column >= 0 and line >= 0 and block_x < tops.shape[2] and block_y < tops.shape[1]
    if inside:  # noqa: SIM102 (the blocks may be read only then)
        if tops[which, block_y, block_x] > q:
            # most points are wholly lit or wholly dark: nine texels spread over the filter's window tell
            result = 0.0
            for j in range(3):
                for i in range(3):
                    result += passes(maps, which, column + 1 + (i - 1) * reach, line + 1 + (j - 1) * reach, q)
            result /= 9.0
    if result > 0.01 and result < 0.99:
        lit, total = 0.0, 0.0
        for j in range(line - reach + 1, line + reach + 1):
            down = ti.cast(reach, ti.f32) - ti.abs(ti.cast(j, ti.f32) + 0.5 - v)
            for i in range(column - reach + 1, column + reach + 1):
                weight = down * (ti.cast(reach, ti.f32) - ti.abs(ti.cast(i, ti.f32) + 0.5 - u))
                total += weight
                lit += weight * passes(maps, which, i, j, q)
        result = lit / total
    return result


@ti.func
def sky_from(point: vec3, normal: vec3, cosine: ti.f32, k: ti.i32, sky: ti.template()) -> ti.f32:
    """Share of the light from the sky's direction ``k`` that reaches a point: `passes`, bilinear between four texels.

    Args:
        cosine: of the angle between the normal and the direction.
        sky: `SkyShadows`.
    """
    maps, places = ti.static(sky.maps, sky.places)
    texel = places[k, LightMap.texel]
    p = point + normal * texel * (0.5 + 1.5 * (1.0 - cosine))
    x, y = place_in_map(places, k, p)
    u, v = x - 0.5, y - 0.5  # texel centres lie at whole numbers
    q = vector_of(places, k, LightMap.direction).dot(p) + 0.5 * texel
    column, line = ti.cast(ti.floor(u), ti.i32), ti.cast(ti.floor(v), ti.i32)
    fu, fv = u - ti.floor(u), v - ti.floor(v)
    above, below = passes(maps, k, column, line, q), passes(maps, k, column, line + 1, q)
    above += fu * (passes(maps, k, column + 1, line, q) - above)
    below += fu * (passes(maps, k, column + 1, line + 1, q) - below)
    return (1.0 - fv) * above + fv * below


@ti.func
def skylit(point: vec3, normal: vec3, sky: ti.template()) -> ti.f32:
    """Share of the sky's light, over the normal's hemisphere, that reaches a point.

    Lambert's law: a direction at the angle t from the normal counts cos(t). The integral over the hemisphere is a sum over the
    directions of ``sky`` (`SkyShadows`), divided by the sum that nothing shadows.
    """
    arrived, total = 0.0, 0.0
    for k in range(sky.places.shape[0]):
        cosine = normal.dot(vector_of(sky.places, k, LightMap.direction))
        if cosine > 0.0:
            arrived += cosine * sky_from(point, normal, cosine, k, sky)
            total += cosine
    result = 1.0
    if total > 0.0:
        result = arrived / total
    return result


@ti.func
def particle_skylit(center: vec3, radius: ti.f32, sky: ti.template()) -> ti.f32:
    """Share of the sky's light that reaches a particle past the others, one number for the whole of it: the mean over the
    directions of ``sky`` (`SkyShadows`) of the light on the sphere where it faces each of them."""
    arrived = 0.0
    for k in range(sky.places.shape[0]):
        direction = vector_of(sky.places, k, LightMap.direction)
        arrived += sky_from(center + direction * radius, direction, 1.0, k, sky)
    return arrived / ti.cast(sky.places.shape[0], ti.f32)


@ti.func
def ground_skylit(point: vec3, ground: ti.template()) -> ti.f32:
    """The same for a point of the ground, bilinear between the points of the grid (`GroundLight`) that `ground_sky` filled."""
    light, grid = ti.static(ground.light, ground.grid)
    spacing = grid[GroundGrid.spacing]
    u = ti.min(ti.max((point[0] - grid[GroundGrid.x]) / spacing, 0.0), ti.cast(light.shape[1], ti.f32) - 1.001)
    v = ti.min(ti.max((point[1] - grid[GroundGrid.y]) / spacing, 0.0), ti.cast(light.shape[0], ti.f32) - 1.001)
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
        places: Array2,  # (L, LightMap)
        height: ti.f32,  # of the ground, metres
        grid: Array1,  # GroundGrid
        light: Array2,  # (rows along y, columns along x) out: 0 to 1
    ):
        columns = light.shape[1]
        sky = ti.static(SkyShadows(maps, places))
        for cell in range(light.shape[0] * columns):
            i, j = cell % columns, cell // columns
            x = grid[GroundGrid.x] + ti.cast(i, ti.f32) * grid[GroundGrid.spacing]
            y = grid[GroundGrid.y] + ti.cast(j, ti.f32) * grid[GroundGrid.spacing]
            light[j, i] = skylit(vec3(x, y, height), vec3(0.0, 0.0, 1.0), sky)

    return light_ground


def vertex_sky() -> Callable[..., Any]:
    """The kernel that finds how much sky the vertices of fine meshes see."""

    @ti.kernel
    def light_vertices(
        maps: Array3,
        places: Array2,  # (L, LightMap)
        points: Array2,  # (V, 3) metres
        looks: Array2,  # (V, VertexLook)
        light: Array1,  # (V,) in: -1 where it is not wanted; out: 0 to 1
    ):
        sky = ti.static(SkyShadows(maps, places))
        for v in range(points.shape[0]):
            if light[v] >= 0.0:
                point, normal = vec3(points[v, 0], points[v, 1], points[v, 2]), vector_of(looks, v, VertexLook.normal)
                light[v] = skylit(point, normal, sky)

    return light_vertices
