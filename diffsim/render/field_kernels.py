"""Taichi kernels that find how far the nodes of a grid are from the mean place of the particles around them."""

# Taichi reads its own types from the annotations:
# mypy: ignore-errors

from collections.abc import Callable
from typing import Any

from diffsim.compiler import ti
from diffsim.render.kernel_arrays import Array2, Array3, Array4
from diffsim.render.visibility_kernels import CPU_BLOCK


def mean_distance() -> Callable[..., Any]:
    """The kernel that fills a grid with distances; a thread fills a slab of it, particle after particle, so that the same input
    gives the same bits."""

    @ti.kernel
    def fill(
        points: Array2,  # (N, 3) in cells
        reach: ti.f32,  # radius of the weights, cells
        nothing: ti.f32,  # distance where there are no particles, cells
        rows: ti.i32,  # planes of nodes of a slab
        sums: Array4,  # (X, Y, Z, 4) work: weights, and weighted places
        distance: Array3,  # (X, Y, Z) out, cells
    ):
        size_x, size_y, size_z = distance.shape[0], distance.shape[1], distance.shape[2]
        slabs = (size_x + rows - 1) // rows
        for iteration in range(slabs * CPU_BLOCK):
            if iteration % CPU_BLOCK == 0:
                first = (iteration // CPU_BLOCK) * rows
                last = ti.min(first + rows, size_x)
                for i in range(first, last):
                    for j in range(size_y):
                        for k in range(size_z):
                            distance[i, j, k] = nothing
                            for c in ti.static(range(4)):
                                sums[i, j, k, c] = 0.0
                square = reach * reach
                for p in range(points.shape[0]):
                    x, y, z = points[p, 0], points[p, 1], points[p, 2]
                    i0, i1 = (
                        ti.max(first, ti.cast(ti.ceil(x - reach), ti.i32)),
                        ti.min(last - 1, ti.cast(ti.floor(x + reach), ti.i32)),
                    )
                    for i in range(i0, i1 + 1):
                        dx = x - ti.cast(i, ti.f32)
                        wide = ti.sqrt(ti.max(square - dx * dx, 0.0))
                        j0 = ti.max(0, ti.cast(ti.ceil(y - wide), ti.i32))
                        j1 = ti.min(size_y - 1, ti.cast(ti.floor(y + wide), ti.i32))
                        for j in range(j0, j1 + 1):
                            dy = y - ti.cast(j, ti.f32)
                            deep = ti.sqrt(ti.max(square - dx * dx - dy * dy, 0.0))
                            k0 = ti.max(0, ti.cast(ti.ceil(z - deep), ti.i32))
                            k1 = ti.min(size_z - 1, ti.cast(ti.floor(z + deep), ti.i32))
                            for k in range(k0, k1 + 1):
                                dz = z - ti.cast(k, ti.f32)
                                near = ti.max(1.0 - (dx * dx + dy * dy + dz * dz) / square, 1e-4)
                                weight = near * near * near
                                sums[i, j, k, 0] += weight
                                sums[i, j, k, 1] += weight * dx
                                sums[i, j, k, 2] += weight * dy
                                sums[i, j, k, 3] += weight * dz
                for i in range(first, last):
                    for j in range(size_y):
                        for k in range(size_z):
                            weight = sums[i, j, k, 0]
                            if weight > 0.0:
                                mx, my, mz = sums[i, j, k, 1], sums[i, j, k, 2], sums[i, j, k, 3]
                                distance[i, j, k] = ti.sqrt(mx * mx + my * my + mz * mz) / weight

    return fill
