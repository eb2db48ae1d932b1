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
from typing import Any

from diffsim.compiler import ti

CPU_BLOCK = 512  # Taichi hands out small CPU loops in blocks of this many iterations, one thread a block

Array1 = ti.types.ndarray(dtype=ti.f32, ndim=1)
Array2 = ti.types.ndarray(dtype=ti.f32, ndim=2)
Array3 = ti.types.ndarray(dtype=ti.f32, ndim=3)
Ints2 = ti.types.ndarray(dtype=ti.i32, ndim=2)
Ints3 = ti.types.ndarray(dtype=ti.i32, ndim=3)


def camera_visibility() -> Callable[..., Any]:
    """The kernel that fills the camera's depth and primitive buffers."""

    @ti.kernel
    def see(
        tips: Array2,  # (V, 3) pixel x, pixel y, q
        faces: Ints2,  # (F, 3)
        share: Array1,  # (F,) opacity
        balls: Array2,  # (P, 8) centre in camera coordinates, radius, image rectangle x0, x1, y0, y1
        camera: Array2,  # rows position, right, up, forward; right and up one sample wide at unit depth
        ground: ti.f32,  # height of the ground
        has_ground: ti.i32,
        samples: ti.i32,  # per pixel along an axis
        rows: ti.i32,  # of a band
        depth: Array2,  # (H, W) out: q
        primitive: Ints2,  # (H, W) out: face, or F + particle, or -1 background, -2 ground
    ):
        height, width = depth.shape[0], depth.shape[1]
        bands = (height + rows - 1) // rows
        for iteration in range(bands * CPU_BLOCK):
            if iteration % CPU_BLOCK == 0:
                first = (iteration // CPU_BLOCK) * rows
                last = ti.min(first + rows, height)
                for y in range(first, last):
                    for x in range(width):
                        q = 0.0
                        seen = -1
                        if has_ground == 1:
                            across = ti.cast(x, ti.f32) + 0.5 - 0.5 * ti.cast(width, ti.f32)
                            down = ti.cast(y, ti.f32) + 0.5 - 0.5 * ti.cast(height, ti.f32)
                            slope = camera[3, 2] + across * camera[1, 2] - down * camera[2, 2]
                            to_ground = slope / (ground - camera[0, 2])
                            if to_ground > 0.0:
                                q = to_ground
                                seen = -2
                        depth[y, x] = q
                        primitive[y, x] = seen
                for f in range(faces.shape[0]):
                    a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
                    ay, by, cy = tips[a, 1], tips[b, 1], tips[c, 1]
                    y0 = ti.max(first, ti.cast(ti.ceil(ti.min(ay, by, cy) - 0.5), ti.i32))
                    y1 = ti.min(last - 1, ti.cast(ti.floor(ti.max(ay, by, cy) - 0.5), ti.i32))
                    if y0 <= y1:
                        ax, bx, cx = tips[a, 0], tips[b, 0], tips[c, 0]
                        x0 = ti.max(0, ti.cast(ti.ceil(ti.min(ax, bx, cx) - 0.5), ti.i32))
                        x1 = ti.min(width - 1, ti.cast(ti.floor(ti.max(ax, bx, cx) - 0.5), ti.i32))
                        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
                        if x0 <= x1 and ti.abs(area) > 1e-9:
                            scale = 1.0 / area
                            aq, bq, cq = tips[a, 2], tips[b, 2], tips[c, 2]
                            steps_x, steps_y = (cy - ay) * scale, (ay - by) * scale
                            for y in range(y0, y1 + 1):
                                dy = ti.cast(y, ti.f32) + 0.5 - ay
                                for x in range(x0, x1 + 1):
                                    dx = ti.cast(x, ti.f32) + 0.5 - ax
                                    beta = dx * steps_x - (cx - ax) * dy * scale
                                    gamma = dx * steps_y + (bx - ax) * dy * scale
                                    if beta >= -1e-6 and gamma >= -1e-6 and beta + gamma <= 1.000001:
                                        q = aq + beta * (bq - aq) + gamma * (cq - aq)
                                        # see-through meshes cover only some of a pixel's samples
                                        rank = ti.cast((y % samples) * samples + (x + y) % samples, ti.f32) + 0.5
                                        if q > depth[y, x] and rank < share[f] * ti.cast(samples * samples, ti.f32):
                                            depth[y, x] = q
                                            primitive[y, x] = f
                for p in range(balls.shape[0]):
                    y0 = ti.max(first, ti.cast(ti.ceil(balls[p, 6] - 0.5), ti.i32))
                    y1 = ti.min(last - 1, ti.cast(ti.floor(balls[p, 7] - 0.5), ti.i32))
                    if y0 <= y1:
                        x0 = ti.max(0, ti.cast(ti.ceil(balls[p, 4] - 0.5), ti.i32))
                        x1 = ti.min(width - 1, ti.cast(ti.floor(balls[p, 5] - 0.5), ti.i32))
                        cx, cy, cz, radius = balls[p, 0], balls[p, 1], balls[p, 2], balls[p, 3]
                        unit_x = ti.sqrt(camera[1, 0] ** 2 + camera[1, 1] ** 2 + camera[1, 2] ** 2)
                        frontmost = 1.0 / (cz - radius)  # no part of the sphere has a larger q
                        for y in range(y0, y1 + 1):
                            for x in range(x0, x1 + 1):
                                if frontmost > depth[y, x]:
                                    rx = (ti.cast(x, ti.f32) + 0.5 - 0.5 * ti.cast(width, ti.f32)) * unit_x
                                    ry = (0.5 * ti.cast(height, ti.f32) - ti.cast(y, ti.f32) - 0.5) * unit_x
                                    # where the ray z (rx, ry, 1) meets the sphere
                                    rr = rx * rx + ry * ry + 1.0
                                    nearest = (rx * cx + ry * cy + cz) / rr
                                    ox, oy, oz = rx * nearest - cx, ry * nearest - cy, nearest - cz
                                    inside = radius * radius - (ox * ox + oy * oy + oz * oz)
                                    if inside > 0.0:
                                        q = 1.0 / (nearest - ti.sqrt(inside / rr))
                                        if q > depth[y, x]:
                                            depth[y, x] = q
                                            primitive[y, x] = faces.shape[0] + p

    return see


def shadow_maps() -> Callable[..., Any]:
    """The kernel that fills a stack of orthographic depth maps, one for each light."""

    @ti.kernel
    def cast_shadows(
        tips: Array3,  # (L, V, 3) map x, map y, q
        faces: Ints2,  # (F, 3)
        balls: Array3,  # (L, P, 3) map x, map y, q of the centres
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
                        maps[light, y, x] = -1e9
                for f in range(faces.shape[0]):
                    a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
                    ay, by, cy = tips[light, a, 1], tips[light, b, 1], tips[light, c, 1]
                    y0 = ti.max(first, ti.cast(ti.ceil(ti.min(ay, by, cy) - 0.5), ti.i32))
                    y1 = ti.min(last - 1, ti.cast(ti.floor(ti.max(ay, by, cy) - 0.5), ti.i32))
                    if y0 <= y1:
                        ax, bx, cx = tips[light, a, 0], tips[light, b, 0], tips[light, c, 0]
                        x0 = ti.max(0, ti.cast(ti.ceil(ti.min(ax, bx, cx) - 0.5), ti.i32))
                        x1 = ti.min(size - 1, ti.cast(ti.floor(ti.max(ax, bx, cx) - 0.5), ti.i32))
                        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
                        if x0 <= x1 and ti.abs(area) > 1e-9:
                            scale = 1.0 / area
                            aq, bq, cq = tips[light, a, 2], tips[light, b, 2], tips[light, c, 2]
                            steps_x, steps_y = (cy - ay) * scale, (ay - by) * scale
                            for y in range(y0, y1 + 1):
                                dy = ti.cast(y, ti.f32) + 0.5 - ay
                                for x in range(x0, x1 + 1):
                                    dx = ti.cast(x, ti.f32) + 0.5 - ax
                                    beta = dx * steps_x - (cx - ax) * dy * scale
                                    gamma = dx * steps_y + (bx - ax) * dy * scale
                                    if beta >= -1e-6 and gamma >= -1e-6 and beta + gamma <= 1.000001:
                                        q = aq + beta * (bq - aq) + gamma * (cq - aq)
                                        if q > maps[light, y, x]:
                                            maps[light, y, x] = q
                for p in range(balls.shape[1]):
                    cy = balls[light, p, 1]
                    reach = ti.max(radii[p] * texels[light], 0.71)
                    y0 = ti.max(first, ti.cast(ti.ceil(cy - reach - 0.5), ti.i32))
                    y1 = ti.min(last - 1, ti.cast(ti.floor(cy + reach - 0.5), ti.i32))
                    if y0 <= y1:
                        cx, cq = balls[light, p, 0], balls[light, p, 2]
                        x0 = ti.max(0, ti.cast(ti.ceil(cx - reach - 0.5), ti.i32))
                        x1 = ti.min(size - 1, ti.cast(ti.floor(cx + reach - 0.5), ti.i32))
                        for y in range(y0, y1 + 1):
                            dy = ti.cast(y, ti.f32) + 0.5 - cy
                            for x in range(x0, x1 + 1):
                                dx = ti.cast(x, ti.f32) + 0.5 - cx
                                inside = 1.0 - (dx * dx + dy * dy) / (reach * reach)
                                if inside > 0.0:
                                    q = cq + ti.sqrt(inside) * radii[p]
                                    if q > maps[light, y, x]:
                                        maps[light, y, x] = q

    return cast_shadows
