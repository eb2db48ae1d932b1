"""Particle <-> grid transfer of MLS-MPM (Hu et al. 2018) with quadratic B-splines, particle by particle; forward and adjoint.

A grid node is a vector of four: (momentum, mass) on the way in, (velocity, 0) on the way out. The 3x3x3 nodes of a particle's
stencil are unrolled: node (i, j, k) has the weight wx_i wy_j wz_k and lies at ``row + i stride_x + j stride_y + k``. Quantities
that are affine over the stencil are given as their value at node (0, 0, 0) and their increments along the three axes.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

import taichi as ti


def particle_grid_transfer(real: Any, *, shared_grid: bool) -> SimpleNamespace:
    """The transfer's device functions. ``shared_grid``: several threads add to one grid, so that adding must be atomic."""
    vec4 = ti.types.vector(4, real)

    @ti.func
    def add(grid: ti.template(), node, value: vec4):
        if ti.static(shared_grid):
            for c in ti.static(range(4)):
                ti.atomic_add(grid[node][c], value[c])
        else:
            grid[node] = grid[node] + value  # a plain read and write: `+=` would be atomic

    @ti.func
    def line_start(q: vec4, along_x: vec4, along_y: vec4, i: ti.template(), j: ti.template()):
        """An affine quantity at node (i, j, 0)."""
        result = q
        if ti.static(i == 1):
            result = result + along_x
        if ti.static(i == 2):
            result = result + (along_x + along_x)
        if ti.static(j == 1):
            result = result + along_y
        if ti.static(j == 2):
            result = result + (along_y + along_y)
        return result

    @ti.func
    def scatter(
        grid: ti.template(), row, stride_x, stride_y, w: ti.template(), t, q: vec4, along_x: vec4, along_y: vec4, along_z: vec4
    ):
        """Add the affine quantity q, weighted, to the particle's nodes. w[3 axis + i][t] are the weights."""
        for i, j in ti.static(ti.ndrange(3, 3)):
            wij = w[i][t] * w[3 + j][t]
            first = line_start(q, along_x, along_y, i, j)
            second = first + along_z
            node = row + (i * stride_x + j * stride_y)
            add(grid, node, (wij * w[6][t]) * first)
            add(grid, node + 1, (wij * w[7][t]) * second)
            add(grid, node + 2, (wij * w[8][t]) * (second + along_z))

    @ti.func
    def scatter_adjoint(
        grid_bar: ti.template(), row, stride_x, stride_y, w: ti.template(), dw: ti.template(), t,
        q: vec4, along_x: vec4, along_y: vec4, along_z: vec4,
    ):  # fmt: skip
        """What q's adjoint takes: the weighted sum of the nodes' adjoints and its three moments (as `gather`). And what the
        position's takes: for each axis the sum of (d weight / d f) * node * q, component by component."""
        total, moment_x, moment_y, moment_z = vec4(0.0), vec4(0.0), vec4(0.0), vec4(0.0)
        slope_x, slope_y, slope_z = vec4(0.0), vec4(0.0), vec4(0.0)
        for i in ti.static(range(3)):
            plane, plane_y, plane_z = vec4(0.0), vec4(0.0), vec4(0.0)
            steep, steep_y, steep_z = vec4(0.0), vec4(0.0), vec4(0.0)
            for j in ti.static(range(3)):
                node = row + (i * stride_x + j * stride_y)
                a, b, c = grid_bar[node], grid_bar[node + 1], grid_bar[node + 2]
                middle = w[7][t] * b
                last = w[8][t] * c
                line = w[3 + j][t] * (w[6][t] * a + middle + last)
                plane = plane + line
                plane_z = plane_z + w[3 + j][t] * (middle + (last + last))
                if ti.static(j == 1):
                    plane_y = plane_y + line
                if ti.static(j == 2):
                    plane_y = plane_y + (line + line)
                first = line_start(q, along_x, along_y, i, j)
                second = first + along_z
                p, q1, r = first * a, second * b, (second + along_z) * c
                product = w[6][t] * p + w[7][t] * q1 + w[8][t] * r
                steep = steep + w[3 + j][t] * product
                steep_y = steep_y + dw[3 + j][t] * product
                steep_z = steep_z + w[3 + j][t] * (dw[6][t] * p + dw[7][t] * q1 + dw[8][t] * r)
            weighted = w[i][t] * plane
            total = total + weighted
            moment_y = moment_y + w[i][t] * plane_y
            moment_z = moment_z + w[i][t] * plane_z
            if ti.static(i == 1):
                moment_x = moment_x + weighted
            if ti.static(i == 2):
                moment_x = moment_x + (weighted + weighted)
            slope_x = slope_x + dw[i][t] * steep
            slope_y = slope_y + w[i][t] * steep_y
            slope_z = slope_z + w[i][t] * steep_z
        return total, moment_x, moment_y, moment_z, slope_x, slope_y, slope_z

    @ti.func
    def gather(grid: ti.template(), row, stride_x, stride_y, w: ti.template(), t):
        """Weighted sum of the nodes, and their first moments: sums with the factors i, j, k."""
        total, moment_x, moment_y, moment_z = vec4(0.0), vec4(0.0), vec4(0.0), vec4(0.0)
        for i in ti.static(range(3)):
            plane, plane_y, plane_z = vec4(0.0), vec4(0.0), vec4(0.0)
            for j in ti.static(range(3)):
                node = row + (i * stride_x + j * stride_y)
                middle = w[7][t] * grid[node + 1]
                last = w[8][t] * grid[node + 2]
                line = w[3 + j][t] * (w[6][t] * grid[node] + middle + last)
                plane = plane + line
                plane_z = plane_z + w[3 + j][t] * (middle + (last + last))
                if ti.static(j == 1):
                    plane_y = plane_y + line
                if ti.static(j == 2):
                    plane_y = plane_y + (line + line)
            weighted = w[i][t] * plane
            total = total + weighted
            moment_y = moment_y + w[i][t] * plane_y
            moment_z = moment_z + w[i][t] * plane_z
            if ti.static(i == 1):
                moment_x = moment_x + weighted
            if ti.static(i == 2):
                moment_x = moment_x + (weighted + weighted)
        return total, moment_x, moment_y, moment_z

    @ti.func
    def gather_adjoint(
        grid_bar: ti.template(), bar_row, grid: ti.template(), row, stride_x, stride_y, w: ti.template(), dw: ti.template(), t,
        q: vec4, along_x: vec4, along_y: vec4, along_z: vec4,
    ):  # fmt: skip
        """Add the affine cotangent q, weighted, to the nodes' adjoints; returns the slopes as `scatter_adjoint`."""
        slope_x, slope_y, slope_z = vec4(0.0), vec4(0.0), vec4(0.0)
        for i in ti.static(range(3)):
            steep, steep_y, steep_z = vec4(0.0), vec4(0.0), vec4(0.0)
            for j in ti.static(range(3)):
                node = i * stride_x + j * stride_y
                wij = w[i][t] * w[3 + j][t]
                first = line_start(q, along_x, along_y, i, j)
                second = first + along_z
                third = second + along_z
                add(grid_bar, bar_row + node, (wij * w[6][t]) * first)
                add(grid_bar, bar_row + node + 1, (wij * w[7][t]) * second)
                add(grid_bar, bar_row + node + 2, (wij * w[8][t]) * third)
                a, b, c = first * grid[row + node], second * grid[row + node + 1], third * grid[row + node + 2]
                product = w[6][t] * a + w[7][t] * b + w[8][t] * c
                steep = steep + w[3 + j][t] * product
                steep_y = steep_y + dw[3 + j][t] * product
                steep_z = steep_z + w[3 + j][t] * (dw[6][t] * a + dw[7][t] * b + dw[8][t] * c)
            slope_x = slope_x + dw[i][t] * steep
            slope_y = slope_y + w[i][t] * steep_y
            slope_z = slope_z + w[i][t] * steep_z
        return slope_x, slope_y, slope_z

    return SimpleNamespace(scatter=scatter, scatter_adjoint=scatter_adjoint, gather=gather, gather_adjoint=gather_adjoint)
