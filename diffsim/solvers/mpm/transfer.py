"""Particle <-> grid transfer of MLS-MPM (Hu et al. 2018) with quadratic B-splines; forward beside adjoint.

One particle at a time, on one environment's private grid: nothing here is atomic, and nothing runs in parallel.
A grid node holds (momentum, mass); A is the affine momentum matrix m C - dt V0 4/dx^2 tau.
"""

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
    def weights(fx: vec3):
        """B-spline weights, (3 stencil columns) x (3 axes)."""
        a = 1.5 - fx
        b = fx - 1.0
        c = fx - 0.5
        w = mat3(0.0)
        for k in ti.static(range(3)):
            w[0, k] = 0.5 * a[k] * a[k]
            w[1, k] = 0.75 - b[k] * b[k]
            w[2, k] = 0.5 * c[k] * c[k]
        return w

    @ti.func
    def weight_slopes(fx: vec3, inv_dx: real):
        """Derivatives of `weights` with respect to x."""
        d = mat3(0.0)
        for k in ti.static(range(3)):
            d[0, k] = (fx[k] - 1.5) * inv_dx
            d[1, k] = (2.0 - 2.0 * fx[k]) * inv_dx
            d[2, k] = (fx[k] - 0.5) * inv_dx
        return d

    @ti.func
    def node_index(base: ivec3, i, j, k, counts: ivec3):
        return ((base[0] + i) * counts[1] + base[1] + j) * counts[2] + base[2] + k

    @ti.func
    def particle_to_grid(grid: ti.template(), lane, base: ivec3, fx: vec3, counts: ivec3, dx: real, mass: real, v: vec3, A: mat3):
        w = weights(fx)
        momentum = mass * v - A @ (fx * dx)
        columns = A * dx
        for i, j in ti.static(ti.ndrange(3, 3)):
            row = node_index(base, i, j, 0, counts)
            for k in ti.static(range(3)):
                weight = w[i, 0] * w[j, 1] * w[k, 2]
                q = momentum + columns @ vec3(i, j, k)
                # plain read and write: `+=` would be an atomic
                grid[lane, row + k] = grid[lane, row + k] + weight * vec4(q[0], q[1], q[2], mass)

    @ti.func
    def grid_to_particle(velocity: ti.template(), lane, base: ivec3, fx: vec3, counts: ivec3, inv_dx: real):
        """New particle velocity and its affine field C."""
        w = weights(fx)
        v = vec3(0.0)
        moment = mat3(0.0)
        for i, j in ti.static(ti.ndrange(3, 3)):
            row = node_index(base, i, j, 0, counts)
            for k in ti.static(range(3)):
                wv = w[i, 0] * w[j, 1] * w[k, 2] * velocity[lane, row + k]
                v += wv
                moment += wv.outer_product(vec3(i, j, k))
        return v, 4.0 * inv_dx * (moment - v.outer_product(fx))

    @ti.func
    def grid_to_particle_adjoint(
        grid_bar: ti.template(), velocity: ti.template(), lane, base: ivec3, fx: vec3, counts: ivec3, inv_dx: real, v_bar: vec3, C_bar: mat3
    ):
        """Scatter the adjoints of the new v and C onto the nodes; returns their part of x_bar."""
        w = weights(fx)
        d = weight_slopes(fx, inv_dx)
        scale = 4.0 * inv_dx
        at_zero = v_bar - scale * (C_bar @ fx)
        columns = scale * C_bar
        x_bar = vec3(0.0)
        v = vec3(0.0)
        for i, j in ti.static(ti.ndrange(3, 3)):
            row = node_index(base, i, j, 0, counts)
            for k in ti.static(range(3)):
                weight = w[i, 0] * w[j, 1] * w[k, 2]
                cotangent = at_zero + columns @ vec3(i, j, k)
                node = velocity[lane, row + k]
                grid_bar[lane, row + k] = grid_bar[lane, row + k] + weight * vec4(
                    cotangent[0], cotangent[1], cotangent[2], 0.0
                )
                slope = cotangent.dot(node)
                x_bar += slope * vec3(
                    d[i, 0] * w[j, 1] * w[k, 2], w[i, 0] * d[j, 1] * w[k, 2], w[i, 0] * w[j, 1] * d[k, 2]
                )
                v += weight * node
        # the stencil offsets (node - x) / dx move with x as well
        return x_bar - inv_dx * (columns.transpose() @ v)

    @ti.func
    def particle_to_grid_adjoint(
        grid_bar: ti.template(), lane, base: ivec3, fx: vec3, counts: ivec3, dx: real, inv_dx: real, mass: real, v: vec3, A: mat3
    ):
        """Gather the adjoints of the nodes' (momentum, mass); returns x_bar, v_bar and A_bar."""
        w = weights(fx)
        d = weight_slopes(fx, inv_dx)
        momentum = mass * v - A @ (fx * dx)
        columns = A * dx
        x_bar = vec3(0.0)
        total = vec3(0.0)
        moment = mat3(0.0)
        for i, j in ti.static(ti.ndrange(3, 3)):
            row = node_index(base, i, j, 0, counts)
            for k in ti.static(range(3)):
                node = grid_bar[lane, row + k]
                node_momentum = vec3(node[0], node[1], node[2])
                q = momentum + columns @ vec3(i, j, k)
                slope = node_momentum.dot(q) + node[3] * mass
                x_bar += slope * vec3(
                    d[i, 0] * w[j, 1] * w[k, 2], w[i, 0] * d[j, 1] * w[k, 2], w[i, 0] * w[j, 1] * d[k, 2]
                )
                weighted = w[i, 0] * w[j, 1] * w[k, 2] * node_momentum
                total += weighted
                moment += weighted.outer_product(vec3(i, j, k))
        A_bar = dx * (moment - total.outer_product(fx))
        return x_bar - A.transpose() @ total, mass * total, A_bar

    return SimpleNamespace(
        base_node=base_node,
        particle_to_grid=particle_to_grid,
        grid_to_particle=grid_to_particle,
        grid_to_particle_adjoint=grid_to_particle_adjoint,
        particle_to_grid_adjoint=particle_to_grid_adjoint,
    )
