"""Particle <-> grid transfer of MLS-MPM (Hu et al. 2018) with quadratic B-splines, particle by particle; forward and adjoint.

A grid node is a vector of four: (momentum, mass) on the way in, (velocity, 1 / mass) on the way out. The 3x3x3 nodes of a
particle's stencil are unrolled: node (i, j, k) has the weight wx_i wy_j wz_k and lies at ``row + i stride_x + j stride_y +
k``. Quantities that are affine over the stencil are given as their value at node (0, 0, 0) and their increments along the
three axes.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any, NamedTuple

from diffsim.compiler import compile_time, ti

MIDDLE, LAST = 1, 2  # nodes of a stencil's line along z, from the first


@compile_time
class Stencil(NamedTuple):
    """A particle's nodes: the grid's strides, and the weights w[3 axis + i][t] of particle t of a tile; for adjoints also the
    weights' slopes by the particle's position in cells, over the weights."""

    stride_x: Any
    stride_y: Any
    weights: Any
    slopes: Any
    t: Any


@compile_time
class Affine(NamedTuple):
    """A quantity that is affine over the stencil, vectors of four: at node (0, 0, 0), and its increments along the axes."""

    value: Any
    along_x: Any
    along_y: Any
    along_z: Any


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

    # The weighted values w_x w_y w_z (q + i a_x + j a_y + k a_z) are built as w_x w_y (T_jk + i w_z a_x) with
    # T_jk = w_z (q + k a_z + j a_y): one addition and one product a node.

    @ti.func
    def weighted_line(at: ti.template(), q: ti.template(), j: ti.template()):
        """T_jk for k = 0, 1, 2."""
        w, t = ti.static((at.weights, at.t))
        a = w[6][t] * q.value
        b = w[7][t] * (q.value + q.along_z)
        c = w[8][t] * (q.value + (q.along_z + q.along_z))
        if ti.static(j > 0):
            a = a + ti.static(float(j)) * w[6][t] * q.along_y
            b = b + ti.static(float(j)) * w[7][t] * q.along_y
            c = c + ti.static(float(j)) * w[8][t] * q.along_y
        return a, b, c

    @ti.func
    def scatter(grid: ti.template(), row, at: ti.template(), q: ti.template()):
        """Add the affine quantity q, weighted, to the particle's nodes, the first of which is ``row``."""
        w, t, stride_x, stride_y = ti.static((at.weights, at.t, at.stride_x, at.stride_y))
        for j in ti.static(range(3)):
            a, b, c = weighted_line(at, q, j)
            for i in ti.static(range(3)):
                wij = w[i][t] * w[3 + j][t]
                node = row + (i * stride_x + j * stride_y)
                add(grid, node, wij * a)
                add(grid, node + MIDDLE, wij * b)
                add(grid, node + LAST, wij * c)
                if ti.static(i < 2):
                    a = a + w[6][t] * q.along_x
                    b = b + w[7][t] * q.along_x
                    c = c + w[8][t] * q.along_x

    # The derivatives by the particle's position use the same weighted values: with p_ijk = weighted value * node, the sum of
    # (d w_x / d f) w_y w_z (...) * node is sum_i r_i sum_jk p_ijk, where r_i = (d w_x / d f) / w_x.

    @ti.func
    def gather_adjoint(grid_bar: ti.template(), bar_row, grid: ti.template(), row, at: ti.template(), q: ti.template()):
        """Add the affine cotangent q, weighted, to the nodes' adjoints. Returns what the position's adjoint takes: for each
        axis the sum of (d weight / d f) * node * q, component by component."""
        w, r, t, stride_x, stride_y = ti.static((at.weights, at.slopes, at.t, at.stride_x, at.stride_y))
        slope_x, slope_y, slope_z = vec4(0.0), vec4(0.0), vec4(0.0)
        for j in ti.static(range(3)):
            a, b, c = weighted_line(at, q, j)
            line = vec4(0.0)
            for i in ti.static(range(3)):
                wij = w[i][t] * w[3 + j][t]
                node = i * stride_x + j * stride_y
                u, v, x = wij * a, wij * b, wij * c
                add(grid_bar, bar_row + node, u)
                add(grid_bar, bar_row + node + MIDDLE, v)
                add(grid_bar, bar_row + node + LAST, x)
                first, second, third = u * grid[row + node], v * grid[row + node + MIDDLE], x * grid[row + node + LAST]
                whole = first + second + third
                slope_x = slope_x + r[i][t] * whole
                slope_z = slope_z + (r[6][t] * first + r[7][t] * second + r[8][t] * third)
                line = line + whole
                if ti.static(i < 2):
                    a = a + w[6][t] * q.along_x
                    b = b + w[7][t] * q.along_x
                    c = c + w[8][t] * q.along_x
            slope_y = slope_y + r[3 + j][t] * line
        return slope_x, slope_y, slope_z

    @ti.func
    def gather(grid: ti.template(), row, at: ti.template()):
        """Weighted sum of the nodes, and their first moments: sums with the factors i, j, k."""
        w, t, stride_x, stride_y = ti.static((at.weights, at.t, at.stride_x, at.stride_y))
        total, moment_x, moment_y, moment_z = vec4(0.0), vec4(0.0), vec4(0.0), vec4(0.0)
        for i in ti.static(range(3)):
            plane, plane_y, plane_z = vec4(0.0), vec4(0.0), vec4(0.0)
            for j in ti.static(range(3)):
                node = row + (i * stride_x + j * stride_y)
                middle = w[7][t] * grid[node + MIDDLE]
                last = w[8][t] * grid[node + LAST]
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
    def scatter_adjoint(grid_bar: ti.template(), row, at: ti.template(), q: ti.template()):
        """What q's adjoint takes, the weighted sum of the nodes' adjoints and its three moments (as `gather`); and what the
        position's takes, as `gather_adjoint`."""
        w, r, t, stride_x, stride_y = ti.static((at.weights, at.slopes, at.t, at.stride_x, at.stride_y))
        total, moment_x, moment_y, moment_z = vec4(0.0), vec4(0.0), vec4(0.0), vec4(0.0)
        slope_x, slope_y, slope_z = vec4(0.0), vec4(0.0), vec4(0.0)
        for j in ti.static(range(3)):
            a, b, c = weighted_line(at, q, j)
            line, plane = vec4(0.0), vec4(0.0)
            for i in ti.static(range(3)):
                wij = w[i][t] * w[3 + j][t]
                node = row + (i * stride_x + j * stride_y)
                u, v, x = wij * grid_bar[node], wij * grid_bar[node + MIDDLE], wij * grid_bar[node + LAST]
                first, second, third = u * a, v * b, x * c
                whole = first + second + third
                slope_x = slope_x + r[i][t] * whole
                slope_z = slope_z + (r[6][t] * first + r[7][t] * second + r[8][t] * third)
                line = line + whole
                middle, last = w[7][t] * v, w[8][t] * x
                value = w[6][t] * u + middle + last
                plane = plane + value
                moment_z = moment_z + (middle + (last + last))
                if ti.static(i == 1):
                    moment_x = moment_x + value
                if ti.static(i == 2):
                    moment_x = moment_x + (value + value)
                if ti.static(i < 2):
                    a = a + w[6][t] * q.along_x
                    b = b + w[7][t] * q.along_x
                    c = c + w[8][t] * q.along_x
            slope_y = slope_y + r[3 + j][t] * line
            total = total + plane
            if ti.static(j == 1):
                moment_y = moment_y + plane
            if ti.static(j == 2):
                moment_y = moment_y + (plane + plane)
        return total, moment_x, moment_y, moment_z, slope_x, slope_y, slope_z

    return SimpleNamespace(scatter=scatter, scatter_adjoint=scatter_adjoint, gather=gather, gather_adjoint=gather_adjoint)
