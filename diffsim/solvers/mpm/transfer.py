"""Particle <-> grid transfer of MLS-MPM (Hu et al. 2018) with quadratic B-splines; forward beside adjoint.

One particle at a time, on one environment's private grid: nothing here is atomic, and nothing runs in parallel.
A grid node holds (momentum, mass); A is the affine momentum matrix m C - dt V0 4/dx^2 tau.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

import taichi as ti


def particle_grid_transfer(real: Any) -> SimpleNamespace:
    """The transfer's device functions for scalar type ``real``."""
    vec3 = ti.types.vector(3, real)
    vec4 = ti.types.vector(4, real)
    mat3 = ti.types.matrix(3, 3, real)
    ivec3 = ti.types.vector(3, ti.i32)

    @ti.func
    def base_node(x: vec3, lower: vec3, inv_dx: real, counts: ivec3):
        """Lowest node of the 3x3x3 stencil, and x relative to it in cells (in [0.5, 1.5))."""
        scaled = (x - lower) * inv_dx
        base = ivec3(0)
        for i in ti.static(range(3)):
            # the clamp only ever acts on a particle that is already reported as out of the domain
            cell = ti.cast(ti.floor(ti.max(ti.min(scaled[i], 1e6), 0.0) - 0.5), ti.i32)
            base[i] = ti.max(0, ti.min(cell, counts[i] - 3))
        return base, scaled - ti.cast(base, real)

    @ti.func
    def weight(f: real, i):
        """B-spline weight of stencil column i (0, 1, 2) for a particle f cells from the stencil's first node."""
        edge = 1.5 - ti.abs(f - ti.cast(i, real))
        middle = f - 1.0
        return ti.select(i == 1, 0.75 - middle * middle, 0.5 * edge * edge)

    @ti.func
    def weight_slope(f: real, i):
        """Derivative of `weight` with respect to f."""
        return ti.select(i == 1, 2.0 - 2.0 * f, f - 1.5 + 0.5 * ti.cast(i, real))

    @ti.func
    def node_row(base: ivec3, i, j, counts: ivec3):
        """Index of the first of the three nodes in stencil column (i, j)."""
        return ((base[0] + i) * counts[1] + base[1] + j) * counts[2] + base[2]

    # The stencil loops run over i and j at run time and unroll k: unrolling all 27 nodes takes Taichi a minute to compile
    # and runs no faster. Vectors are never changed in place there: Taichi 1.7.4 reads stale components afterwards.

    @ti.func
    def particle_to_grid(
        grid: ti.template(), lane, base: ivec3, fx: vec3, counts: ivec3, dx: real, mass: real, v: vec3, A: mat3
    ):
        corner = mass * v - A @ (fx * dx)
        columns = A * dx
        last_column = vec3(columns[0, 2], columns[1, 2], columns[2, 2])
        for i in range(3):
            for j in range(3):
                w = weight(fx[0], i) * weight(fx[1], j)
                row = node_row(base, i, j, counts)
                first = corner + columns @ vec3(i, j, 0.0)
                for k in ti.static(range(3)):
                    wk = w * weight(fx[2], k)
                    q = first + k * last_column
                    # plain read and write: `+=` would be an atomic
                    grid[lane, row + k] = grid[lane, row + k] + wk * vec4(q[0], q[1], q[2], mass)

    @ti.func
    def grid_to_particle(velocity: ti.template(), lane, base: ivec3, fx: vec3, counts: ivec3, inv_dx: real):
        """New particle velocity and its affine field C."""
        v = vec3(0.0)
        moment = mat3(0.0)
        for i in range(3):
            for j in range(3):
                w = weight(fx[0], i) * weight(fx[1], j)
                row = node_row(base, i, j, counts)
                row_v = vec3(0.0)
                row_moment = vec3(0.0)
                for k in ti.static(range(3)):
                    wv = weight(fx[2], k) * velocity[lane, row + k]
                    row_v += wv
                    row_moment += ti.cast(k, real) * wv
                v += w * row_v
                moment += w * ti.Matrix.cols([ti.cast(i, real) * row_v, ti.cast(j, real) * row_v, row_moment])
        return v, 4.0 * inv_dx * (moment - v.outer_product(fx))

    @ti.func
    def grid_to_particle_adjoint(
        grid_bar: ti.template(), velocity: ti.template(), lane, base: ivec3, fx: vec3, counts: ivec3, inv_dx: real,
        v_bar: vec3, C_bar: mat3,
    ):  # fmt: skip
        """Scatter the adjoints of the new v and C onto the nodes; returns their part of x_bar."""
        scale = 4.0 * inv_dx
        corner = v_bar - scale * (C_bar @ fx)
        columns = scale * C_bar
        last_column = vec3(columns[0, 2], columns[1, 2], columns[2, 2])
        f_bar = vec3(0.0)
        v = vec3(0.0)
        for i in range(3):
            for j in range(3):
                wi, wj = weight(fx[0], i), weight(fx[1], j)
                row = node_row(base, i, j, counts)
                first = corner + columns @ vec3(i, j, 0.0)
                inner = ti.cast(0.0, real)
                for k in ti.static(range(3)):
                    wk = weight(fx[2], k)
                    w = wi * wj * wk
                    node = velocity[lane, row + k]
                    cotangent = first + k * last_column
                    grid_bar[lane, row + k] = grid_bar[lane, row + k] + w * vec4(
                        cotangent[0], cotangent[1], cotangent[2], 0.0
                    )
                    slope = cotangent.dot(node)
                    inner += wk * slope
                    f_bar[2] += wi * wj * weight_slope(fx[2], k) * slope
                    v += w * node
                f_bar[0] += weight_slope(fx[0], i) * wj * inner
                f_bar[1] += wi * weight_slope(fx[1], j) * inner
        # the stencil offsets (node - x) / dx move with x as well
        return inv_dx * (f_bar - columns.transpose() @ v)

    @ti.func
    def particle_to_grid_adjoint(
        grid_bar: ti.template(), lane, base: ivec3, fx: vec3, counts: ivec3, dx: real, inv_dx: real, mass: real,
        v: vec3, A: mat3,
    ):  # fmt: skip
        """Gather the adjoints of the nodes' (momentum, mass); returns x_bar, v_bar and A_bar."""
        corner = mass * v - A @ (fx * dx)
        columns = A * dx
        last_column = vec3(columns[0, 2], columns[1, 2], columns[2, 2])
        f_bar = vec3(0.0)
        total = vec3(0.0)
        moment = mat3(0.0)
        for i in range(3):
            for j in range(3):
                wi, wj = weight(fx[0], i), weight(fx[1], j)
                row = node_row(base, i, j, counts)
                first = corner + columns @ vec3(i, j, 0.0)
                inner = ti.cast(0.0, real)
                row_total = vec3(0.0)
                row_moment = vec3(0.0)
                for k in ti.static(range(3)):
                    wk = weight(fx[2], k)
                    node = grid_bar[lane, row + k]
                    q = first + k * last_column
                    momentum = vec3(node[0], node[1], node[2])
                    slope = momentum.dot(q) + node[3] * mass
                    inner += wk * slope
                    f_bar[2] += wi * wj * weight_slope(fx[2], k) * slope
                    row_total += wk * momentum
                    row_moment += (ti.cast(k, real) * wk) * momentum
                f_bar[0] += weight_slope(fx[0], i) * wj * inner
                f_bar[1] += wi * weight_slope(fx[1], j) * inner
                row_total *= wi * wj
                total += row_total
                moment += ti.Matrix.cols(
                    [ti.cast(i, real) * row_total, ti.cast(j, real) * row_total, wi * wj * row_moment]
                )
        A_bar = dx * (moment - total.outer_product(fx))
        return inv_dx * f_bar - A.transpose() @ total, mass * total, A_bar

    return SimpleNamespace(
        base_node=base_node,
        particle_to_grid=particle_to_grid,
        grid_to_particle=grid_to_particle,
        grid_to_particle_adjoint=grid_to_particle_adjoint,
        particle_to_grid_adjoint=particle_to_grid_adjoint,
    )
