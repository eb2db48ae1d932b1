"""Which nodes a tile's particles meet, and with which weights: quadratic B-splines."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

from diffsim.compiler import ti
from diffsim.soft.kernels.boxes import low, strides
from diffsim.soft.soft_records import Box, Constants, Sizes


def tile_stencil(real: Any, width: int) -> SimpleNamespace:
    """The device functions for scalar type ``real`` and tiles of ``width`` particles."""

    @ti.func
    def stencil(x: ti.template(), constants: ti.template(), sizes: ti.template(), f: ti.template(), base: ti.template()):
        """Lowest node of each particle's stencil, and the position relative to it in cells (in [0.5, 1.5)). Returns how many
        particles are not on the grid; their base is held on it."""
        outside = 0
        inv_dx = 1.0 / constants[Constants.dx]
        for d in ti.static(range(3)):
            origin = constants[Constants.origin + d]
            last = sizes[Sizes.counts + d] - 3
            for t in range(width):
                scaled = (x[d][t] - origin) * inv_dx
                cell = ti.cast(ti.max(ti.min(scaled, 1e6), 0.5) - 0.5, ti.i32)
                held = ti.max(ti.min(cell, last), 0)
                base[d][t] = held
                offset = scaled - ti.cast(held, real)
                f[d][t] = offset
                outside += ti.select((offset > 0.25) & (offset < 1.75), 0, 1)
        return outside

    @ti.func
    def left_grid(f: ti.template(), t):
        """Whether a particle is not on the grid, given its position in its stencil; true also of what is not finite."""
        highest, lowest = ti.max(f[0][t], ti.max(f[1][t], f[2][t])), ti.min(f[0][t], ti.min(f[1][t], f[2][t]))
        return not (highest < 1.75 and lowest > 0.25)

    @ti.func
    def weigh(f: ti.template(), w: ti.template()):
        """Quadratic B-splines at the three nodes of each axis."""
        for d in ti.static(range(3)):
            for t in range(width):
                w[3 * d][t] = 0.5 * (1.5 - f[d][t]) * (1.5 - f[d][t])
                w[3 * d + 1][t] = 0.75 - (f[d][t] - 1.0) * (f[d][t] - 1.0)
                w[3 * d + 2][t] = 0.5 * (f[d][t] - 0.5) * (f[d][t] - 0.5)

    @ti.func
    def weigh_slopes(f: ti.template(), w: ti.template(), r: ti.template()):
        """Derivatives of the weights by f, over the weights."""
        for d in ti.static(range(3)):
            for t in range(width):
                r[3 * d][t] = (f[d][t] - 1.5) / ti.max(w[3 * d][t], 1e-30)
                r[3 * d + 1][t] = (2.0 - 2.0 * f[d][t]) / w[3 * d + 1][t]
                r[3 * d + 2][t] = (f[d][t] - 0.5) / ti.max(w[3 * d + 2][t], 1e-30)

    @ti.func
    def locate(base: ti.template(), boxes: ti.template(), box, row: ti.template()):
        """Index of each stencil's first node in the box."""
        stride_x, stride_y = strides(boxes, box)
        low0, low1, low2 = low(boxes, box, 0), low(boxes, box, 1), low(boxes, box, 2)
        for t in range(width):
            row[0][t] = (base[0][t] - low0) * stride_x + (base[1][t] - low1) * stride_y + (base[2][t] - low2)

    @ti.func
    def enclose(base: ti.template(), boxes: ti.template(), box):
        """Widen a box to hold the tile's stencils."""
        for d in ti.static(range(3)):
            lowest, highest = boxes[box + Box.low + d], boxes[box + Box.high + d]
            for t in range(width):
                lowest = ti.min(lowest, base[d][t])
                highest = ti.max(highest, base[d][t] + 3)
            boxes[box + Box.low + d] = lowest
            boxes[box + Box.high + d] = highest

    return SimpleNamespace(
        stencil=stencil, left_grid=left_grid, weigh=weigh, weigh_slopes=weigh_slopes, locate=locate, enclose=enclose
    )
