"""Taichi kernels that find what each sample of an image sees.

An image is cut into bands of rows. One thread draws one band, primitive after primitive, so there are no
atomics and no races, and the same input gives the same bits. Every band looks at every primitive: few bands
are less work, many bands keep more threads busy. The depth buffer holds ``q``, which is linear
across the image of a triangle and larger for what is nearer: 1 / depth under a perspective camera, height
along the direction to the light in a shadow map.
"""

# Taichi reads its own types from the annotations:
# mypy: ignore-errors

from collections.abc import Callable
from typing import Any, NamedTuple

from diffsim.compiler import ti
from diffsim.render.kernel_arrays import Array1, Array2, Array3, Ints1, Ints2, vec3, vector_at, vector_of
from diffsim.render.render_records import SEES_BACKGROUND, SEES_GROUND, SEES_NOTHING, Face, ImagePoint, ImageSphere, Range, View

CPU_BLOCK = 512  # Taichi hands out small CPU loops in blocks of this many iterations, one thread a block
SMALLEST_AREA = 1e-9  # square samples, twice the area: thinner triangles are seen edge-on and not drawn
EDGE_SLACK = 1e-6  # of barycentric coordinates: rounding leaves no gap between triangles that share an edge
BEHIND = 1.0 - 1e-6  # of q: rounding does not show a surface again in the next layer
FARTHEST = -1e9  # q of an empty shadow map
SMALLEST_REACH = 0.71  # texels, half a texel's diagonal: a smaller sphere could miss every texel's centre


class Buffers(NamedTuple):
    """What an image's samples see: q and primitive, (H, W) each; ``before``: only what is behind this q counts, (H, W)."""

    depth: Any
    primitive: Any
    before: Any


class ScreenTriangle(NamedTuple):
    """A triangle in an image: its vertices (x, y, q), and 1 over twice its signed area."""

    a: Any
    b: Any
    c: Any
    scale: Any


@ti.func
def samples_between(low: ti.f32, high: ti.f32, first: ti.i32, last: ti.i32):
    """First and last of the samples ``first`` to ``last`` whose centres, at their index + 1/2, lie from ``low`` to ``high``."""
    return ti.max(first, ti.cast(ti.ceil(low - 0.5), ti.i32)), ti.min(last, ti.cast(ti.floor(high - 0.5), ti.i32))


@ti.func
def twice_area(a: vec3, b: vec3, c: vec3) -> ti.f32:
    """Twice a triangle's area in the image, its sign telling which side is seen: the cross product of two edges."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])


@ti.func
def depth_within(triangle: ti.template(), x: ti.i32, y: ti.i32):
    """Whether a triangle covers the centre of a sample, and its q there.

    The centre p = a + beta (b - a) + gamma (c - a). With u x v = u_x v_y - v_x u_y for vectors of the image,
    Cramer's rule gives beta = (p - a) x (c - a) / area and gamma = (b - a) x (p - a) / area, where
    area = (b - a) x (c - a). The centre lies inside where beta, gamma and 1 - beta - gamma are not negative.
    """
    a, b, c, scale = triangle.a, triangle.b, triangle.c, triangle.scale
    dx, dy = ti.cast(x, ti.f32) + 0.5 - a[0], ti.cast(y, ti.f32) + 0.5 - a[1]
    beta = dx * ((c[1] - a[1]) * scale) - (c[0] - a[0]) * dy * scale
    gamma = dx * ((a[1] - b[1]) * scale) + (b[0] - a[0]) * dy * scale
    inside = beta >= -EDGE_SLACK and gamma >= -EDGE_SLACK and beta + gamma <= 1.0 + EDGE_SLACK
    return inside, a[2] + beta * (b[2] - a[2]) + gamma * (c[2] - a[2])


@ti.func
def nearer(buffers: ti.template(), q: ti.f32, x: ti.i32, y: ti.i32, peeled: ti.template()) -> bool:
    """Whether a sample sees what lies at ``q`` before what it saw so far; of a layer, behind the layer before it."""
    result = q > buffers.depth[y, x]
    if ti.static(peeled):
        result = result and q < buffers.before[y, x] * BEHIND
    return result


@ti.func
def image_point(points: ti.template(), index: ti.i32) -> vec3:
    """A point's (x, y, q) in the image."""
    return vec3(points[index, ImagePoint.x], points[index, ImagePoint.y], points[index, ImagePoint.q])


@ti.func
def draw_behind(buffers: ti.template(), view: ti.template(), ground: ti.f32, has_ground: ti.i32, y: ti.i32):
    """Let the samples of a row see the ground where their rays meet it, and else the background.

    The eye e plus depth t times the ray r is as high as the ground where 1 / t = r_z / (height - e_z); the ray's
    part along forward is 1, so t is the depth. Along a row 1 / t is linear.
    """
    start, slope = 0.0, 0.0
    if has_ground == 1:
        down = ti.cast(y, ti.f32) + 0.5 - 0.5 * ti.cast(buffers.depth.shape[0], ti.f32)
        across = 0.5 - 0.5 * ti.cast(buffers.depth.shape[1], ti.f32)  # of the row's first sample
        rise = ground - vector_at(view, View.position)[2]
        slope = vector_at(view, View.right)[2] / rise
        start = (vector_at(view, View.forward)[2] - down * vector_at(view, View.up)[2]) / rise + across * slope
    for x in range(buffers.depth.shape[1]):
        q = start + ti.cast(x, ti.f32) * slope
        buffers.depth[y, x] = ti.max(q, 0.0)
        buffers.primitive[y, x] = ti.select(q > 0.0, SEES_GROUND, SEES_BACKGROUND)


@ti.func
def draw_sphere(
    buffers: ti.template(),
    sphere: vec3,
    radius: ti.f32,
    pitch: ti.f32,
    seen: ti.i32,
    x: ti.i32,
    y: ti.i32,
    peeled: ti.template(),
):
    """Let a sample see a sphere, if its ray meets it before what the sample saw so far.

    Args:
        sphere: centre c along the camera's axes.
        pitch: width of a sample at unit depth.

    The ray is z r with r = (r_x, r_y, 1) and z the depth. |z r - c|^2 is least at z_0 = r . c / |r|^2, and there it is
    |o|^2 with o = z_0 r - c, which is square to r. So |z r - c|^2 = |o|^2 + (z - z_0)^2 |r|^2, which is the squared radius R^2
    at z = z_0 - sqrt((R^2 - |o|^2) / |r|^2), where the ray enters the sphere.
    """
    rx = (ti.cast(x, ti.f32) + 0.5 - 0.5 * ti.cast(buffers.depth.shape[1], ti.f32)) * pitch
    ry = (0.5 * ti.cast(buffers.depth.shape[0], ti.f32) - ti.cast(y, ti.f32) - 0.5) * pitch
    rr = rx * rx + ry * ry + 1.0
    nearest = (rx * sphere[0] + ry * sphere[1] + sphere[2]) / rr
    ox, oy, oz = rx * nearest - sphere[0], ry * nearest - sphere[1], nearest - sphere[2]
    inside = radius * radius - (ox * ox + oy * oy + oz * oz)
    if inside > 0.0:
        q = 1.0 / (nearest - ti.sqrt(inside / rr))
        if nearer(buffers, q, x, y, peeled):
            buffers.depth[y, x] = q
            buffers.primitive[y, x] = seen


def camera_visibility(peeled: bool) -> Callable[..., Any]:
    """The kernel that fills the depth and primitive buffers of a camera.

    Args:
        peeled: of a layer of see-through things (depth peeling, Everitt 2001): those nearest to the eye behind the layer
            before it, and in front of all that is opaque; of meshes their outside alone, or water would count twice. Otherwise
            of the opaque things, the ground and the background.
    """

    @ti.kernel
    def see(
        points: Array2,  # (V, ImagePoint)
        faces: Ints2,  # (F, Face)
        spheres: Array2,  # (P, ImageSphere)
        drawn: Ints1,  # Range
        view: Array1,  # View
        ground: ti.f32,  # height of the ground, metres
        has_ground: ti.i32,
        rows: ti.i32,  # of a band
        window: Ints1,  # first and last row, without the last one, first and last column to draw
        opaque: Array2,  # (H, W) q of the opaque things, of a layer
        before: Array2,  # (H, W) q of the layer before it
        depth: Array2,  # (H, W) out: q
        primitive: Ints2,  # (H, W) out: face, or F + particle, or SEES_BACKGROUND, SEES_GROUND or SEES_NOTHING
    ):
        left, right_end = window[2], window[3]
        bands = (window[1] - window[0] + rows - 1) // rows
        buffers = ti.static(Buffers(depth, primitive, before))
        for iteration in range(bands * CPU_BLOCK):
            if iteration % CPU_BLOCK == 0:
                first = window[0] + (iteration // CPU_BLOCK) * rows
                last = ti.min(first + rows, window[1])
                for y in range(first, last):
                    if ti.static(peeled):
                        for x in range(left, right_end):
                            depth[y, x] = opaque[y, x]
                            primitive[y, x] = SEES_NOTHING
                    else:
                        draw_behind(buffers, view, ground, has_ground, y)
                for f in range(drawn[Range.first_face], drawn[Range.last_face]):
                    a = image_point(points, faces[f, Face.a])
                    b = image_point(points, faces[f, Face.b])
                    c = image_point(points, faces[f, Face.c])
                    y0, y1 = samples_between(ti.min(a[1], b[1], c[1]), ti.max(a[1], b[1], c[1]), first, last - 1)
                    if y0 <= y1:
                        x0, x1 = samples_between(ti.min(a[0], b[0], c[0]), ti.max(a[0], b[0], c[0]), left, right_end - 1)
                        area = twice_area(a, b, c)
                        if ti.static(peeled):  # y goes down in the image: the outside has a negative area
                            area = ti.min(area, 0.0)
                        if x0 <= x1 and ti.abs(area) > SMALLEST_AREA:
                            scale = 1.0 / area
                            triangle = ti.static(ScreenTriangle(a, b, c, scale))
                            for y in range(y0, y1 + 1):
                                for x in range(x0, x1 + 1):
                                    inside, q = depth_within(triangle, x, y)
                                    if inside and nearer(buffers, q, x, y, peeled):
                                        depth[y, x] = q
                                        primitive[y, x] = f
                right = vector_at(view, View.right)
                pitch = ti.sqrt(right.dot(right))
                for p in range(drawn[Range.first_particle], drawn[Range.last_particle]):
                    y0, y1 = samples_between(spheres[p, ImageSphere.top], spheres[p, ImageSphere.bottom], first, last - 1)
                    if y0 <= y1:
                        x0, x1 = samples_between(
                            spheres[p, ImageSphere.left], spheres[p, ImageSphere.right], left, right_end - 1
                        )
                        sphere, radius = vector_of(spheres, p, ImageSphere.center), spheres[p, ImageSphere.radius]
                        frontmost = 1.0 / (sphere[2] - radius)  # no part of the sphere has a larger q
                        for y in range(y0, y1 + 1):
                            for x in range(x0, x1 + 1):
                                if frontmost > depth[y, x]:
                                    draw_sphere(buffers, sphere, radius, pitch, faces.shape[0] + p, x, y, peeled)

    return see


@ti.func
def point_in_map(points: ti.template(), light: ti.i32, index: ti.i32) -> vec3:
    """A point's (x, y, q) in a light's map."""
    return vec3(points[light, index, ImagePoint.x], points[light, index, ImagePoint.y], points[light, index, ImagePoint.q])


def shadow_maps() -> Callable[..., Any]:
    """The kernel that fills a stack of orthographic depth maps, one for each light."""

    @ti.kernel
    def cast_shadows(
        points: Array3,  # (L, V, ImagePoint)
        faces: Ints2,  # (F, Face)
        drawn: Ints1,  # Range of what casts these shadows
        balls: Array3,  # (L, P, ImagePoint) of the centres
        radii: Array1,  # (P,) metres
        texels: Array1,  # (L,) texels per metre
        rows: ti.i32,  # of a band
        maps: Array3,  # (L, R, R) out: q of the nearest surface
    ):
        size = maps.shape[1]
        bands = (size + rows - 1) // rows
        for iteration in range(maps.shape[0] * bands * CPU_BLOCK):
            if iteration % CPU_BLOCK == 0:
                light = (iteration // CPU_BLOCK) // bands
                first = (iteration // CPU_BLOCK) % bands * rows
                last = ti.min(first + rows, size)
                for y in range(first, last):
                    for x in range(size):
                        maps[light, y, x] = FARTHEST
                for f in range(drawn[Range.first_face], drawn[Range.last_face]):
                    a = point_in_map(points, light, faces[f, Face.a])
                    b = point_in_map(points, light, faces[f, Face.b])
                    c = point_in_map(points, light, faces[f, Face.c])
                    y0, y1 = samples_between(ti.min(a[1], b[1], c[1]), ti.max(a[1], b[1], c[1]), first, last - 1)
                    if y0 <= y1:
                        x0, x1 = samples_between(ti.min(a[0], b[0], c[0]), ti.max(a[0], b[0], c[0]), 0, size - 1)
                        area = twice_area(a, b, c)
                        if x0 <= x1 and ti.abs(area) > SMALLEST_AREA:
                            scale = 1.0 / area
                            triangle = ti.static(ScreenTriangle(a, b, c, scale))
                            for y in range(y0, y1 + 1):
                                for x in range(x0, x1 + 1):
                                    inside, q = depth_within(triangle, x, y)
                                    if inside and q > maps[light, y, x]:
                                        maps[light, y, x] = q
                for p in range(drawn[Range.first_particle], drawn[Range.last_particle]):
                    center = point_in_map(balls, light, p)
                    reach = ti.max(radii[p] * texels[light], SMALLEST_REACH)
                    y0, y1 = samples_between(center[1] - reach, center[1] + reach, first, last - 1)
                    if y0 <= y1:
                        x0, x1 = samples_between(center[0] - reach, center[0] + reach, 0, size - 1)
                        radius, shrink = radii[p], 1.0 / (reach * reach)
                        top = center[2] + radius  # no part of the sphere has a larger q
                        for y in range(y0, y1 + 1):
                            dy = ti.cast(y, ti.f32) + 0.5 - center[1]
                            for x in range(x0, x1 + 1):
                                if top > maps[light, y, x]:
                                    dx = ti.cast(x, ti.f32) + 0.5 - center[0]
                                    # a sphere of radius R rises R sqrt(1 - (d / reach)^2) above its centre at the distance d
                                    inside = 1.0 - (dx * dx + dy * dy) * shrink
                                    if inside > 0.0:
                                        q = center[2] + ti.sqrt(inside) * radius
                                        if q > maps[light, y, x]:
                                            maps[light, y, x] = q

    return cast_shadows
