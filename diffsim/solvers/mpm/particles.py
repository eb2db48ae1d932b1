"""The stages that a tile of particles goes through: to the grid, back from the grid; forward beside adjoint.

Each loads its particles from memory, does the tile's arithmetic in vectorised loops, and meets the grid particle by particle.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

import taichi as ti

from diffsim.solvers.mpm.constitutive import constitutive_stage
from diffsim.solvers.mpm.memory import (
    BODIES,
    COUNTS,
    DT,
    DX,
    LEFT_GRID,
    ORIGIN,
    PARAMETERS,
    PARTICLES,
    STATUS,
    WILD_DEFORMATION,
    WILD_VELOCITY,
)  # fmt: skip
from diffsim.solvers.mpm.tiles import elementary_functions, tile_arrays
from diffsim.solvers.mpm.transfer import particle_grid_transfer


def particle_stages(real: Any, *, width: int, shared_grid: bool) -> SimpleNamespace:
    """The stages' device functions for scalar type ``real`` and tiles of ``width`` particles."""
    tile = tile_arrays(real, width)
    law = constitutive_stage(real, tile, elementary_functions(real))
    transfer = particle_grid_transfer(real, shared_grid=shared_grid)
    vec4 = ti.types.vector(4, real)

    @ti.func
    def report(status: ti.template(), row, substep, particle, quantity):
        """Keep the first failure of a row."""
        if status[row * STATUS] == 0:
            status[row * STATUS] = quantity
            status[row * STATUS + 1] = substep
            status[row * STATUS + 2] = particle

    @ti.func
    def load(source: ti.template(), row, first, count, components: ti.template(), target: ti.template()):
        """Lanes beyond ``count`` repeat the last particle."""
        for t in range(width):
            p = (row + first + ti.min(t, count - 1)) * components
            for c in ti.static(range(components)):
                target[c][t] = source[p + c]

    @ti.func
    def load_bar(source: ti.template(), row, first, count, components: ti.template(), target: ti.template()):
        """Lanes beyond ``count`` are zero, so that sums over the tile are right."""
        for t in range(count):
            p = (row + first + t) * components
            for c in ti.static(range(components)):
                target[c][t] = source[p + c]

    @ti.func
    def store(target: ti.template(), row, first, count, components: ti.template(), source: ti.template()):
        for t in range(count):
            p = (row + first + t) * components
            for c in ti.static(range(components)):
                target[p + c] = source[c][t]

    @ti.func
    def stencil(x: ti.template(), domain: ti.template(), sizes: ti.template(), f: ti.template(), base: ti.template()):
        """Lowest node of each particle's stencil, and the position relative to it in cells (in [0.5, 1.5)). Returns how many
        particles are not on the grid; their base is held on it."""
        outside = 0
        inv_dx = 1.0 / domain[DX]
        for d in ti.static(range(3)):
            origin = domain[ORIGIN + d]
            last = sizes[COUNTS + d] - 3
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
    def weigh(f: ti.template(), w: ti.template()):
        for d in ti.static(range(3)):
            for t in range(width):
                w[3 * d][t] = 0.5 * (1.5 - f[d][t]) * (1.5 - f[d][t])
                w[3 * d + 1][t] = 0.75 - (f[d][t] - 1.0) * (f[d][t] - 1.0)
                w[3 * d + 2][t] = 0.5 * (f[d][t] - 0.5) * (f[d][t] - 0.5)

    @ti.func
    def weigh_slopes(f: ti.template(), dw: ti.template()):
        """Derivatives of the weights by f."""
        for d in ti.static(range(3)):
            for t in range(width):
                dw[3 * d][t] = f[d][t] - 1.5
                dw[3 * d + 1][t] = 2.0 - 2.0 * f[d][t]
                dw[3 * d + 2][t] = f[d][t] - 0.5

    @ti.func
    def locate(base: ti.template(), boxes: ti.template(), box, row: ti.template()):
        """Index of each stencil's first node in the box."""
        stride_y = boxes[box + 5] - boxes[box + 2]
        stride_x = (boxes[box + 4] - boxes[box + 1]) * stride_y
        low0, low1, low2 = boxes[box], boxes[box + 1], boxes[box + 2]
        for t in range(width):
            row[0][t] = (base[0][t] - low0) * stride_x + (base[1][t] - low1) * stride_y + (base[2][t] - low2)

    @ti.func
    def enclose(base: ti.template(), boxes: ti.template(), box):
        """Widen a box to hold the tile's stencils."""
        for d in ti.static(range(3)):
            low, high = boxes[box + d], boxes[box + 3 + d]
            for t in range(width):
                low = ti.min(low, base[d][t])
                high = ti.max(high, base[d][t] + 3)
            boxes[box + d] = low
            boxes[box + 3 + d] = high

    @ti.func
    def measure(
        x: ti.template(), domain: ti.template(), sizes: ti.template(), tiles: ti.template(), boxes: ti.template(),
        status: ti.template(), status_row, tile_index, row, box,
    ):  # fmt: skip
        """Widen a box to hold the stencils of a tile's particles as they stand."""
        first, count = tiles[3 * tile_index], tiles[3 * tile_index + 1]
        X, f, base = ti.static(tile.local(3), tile.local(3), tile.local_int(3))
        load(x, row, first, count, 3, X)
        if stencil(X, domain, sizes, f, base) > 0:
            for t in range(count):
                if not (ti.max(f[0][t], ti.max(f[1][t], f[2][t])) < 1.75 and ti.min(f[0][t], ti.min(f[1][t], f[2][t])) > 0.25):
                    report(status, status_row, 0, first + t, LEFT_GRID)
        enclose(base, boxes, box)

    @ti.func
    def affine_momentum(m, k, X_f: ti.template(), v: ti.template(), C: ti.template(), tau: ti.template(), dx,
                        A: ti.template(), corner: ti.template()):  # fmt: skip
        """A dx with A = m C - k tau, and the momentum m v - A dx f of the stencil's first node."""
        for t in range(width):
            for c in ti.static(range(9)):
                A[c][t] = dx * (m * C[c][t] - k * tau[c][t])
        for t in range(width):
            for i in ti.static(range(3)):
                corner[i][t] = m * v[i][t] - (
                    A[3 * i][t] * X_f[0][t] + A[3 * i + 1][t] * X_f[1][t] + A[3 * i + 2][t] * X_f[2][t]
                )

    @ti.func
    def to_grid(
        x: ti.template(), v: ti.template(), C: ti.template(), F: ti.template(), a: ti.template(), frame: ti.template(),
        domain: ti.template(), sizes: ti.template(), tiles: ti.template(), laws: ti.template(), parameters: ti.template(),
        boxes: ti.template(), grid: ti.template(), status: ti.template(),
        tile_index, e, substep, now, new, box, offset, status_row,
    ):  # fmt: skip
        """Constitutive update from row ``now`` to row ``new``, and the particles' momentum and mass to the grid."""
        first, count, body = tiles[3 * tile_index], tiles[3 * tile_index + 1], tiles[3 * tile_index + 2]
        q = (e * sizes[BODIES] + body) * PARAMETERS
        m, volume = parameters[q], parameters[q + 1]
        dt, dx = domain[DT], domain[DX]
        X, f, base, row = ti.static(tile.local(3), tile.local(3), tile.local_int(3), tile.local_int(1))
        Vp, Cp, G, ap = ti.static(tile.local(3), tile.local(9), tile.local(9), tile.local(1))
        B, U, S, V = ti.static(tile.local(9), tile.local(9), tile.local(3), tile.local(9))
        g, tau, A, corner, w, R = ti.static(
            tile.local(3), tile.local(9), tile.local(9), tile.local(3), tile.local(9), tile.local(9)
        )
        load(C, now, first, count, 9, Cp)
        load(F, now, first, count, 9, G)
        load(a, now, first, count, 1, ap)
        inverted = law.evaluate(
            laws[body], parameters[q + 2], parameters[q + 3], parameters[q + 4], parameters[q + 5], parameters[q + 6],
            dt, Cp, G, ap, B, U, S, V, g, tau,
        )  # fmt: skip
        if inverted > 0:
            status[status_row * STATUS + 3] = status[status_row * STATUS + 3] + inverted
        wild = 0
        for t in range(width):
            size = ti.cast(0.0, real)
            for i, j in ti.static(ti.ndrange(3, 3)):
                G[3 * i + j][t] = U[3 * i + j][t] * g[j][t]
                size = size + G[3 * i + j][t] * G[3 * i + j][t] + 0.0 * tau[3 * i + j][t]
            wild += ti.select(size < 1e12, 0, 1)
        if wild > 0:
            for t in range(count):
                size = ti.cast(0.0, real)
                for c in ti.static(range(9)):
                    size = size + G[c][t] * G[c][t] + 0.0 * tau[c][t]
                if not size < 1e12:
                    report(status, status_row, substep, first + t, WILD_DEFORMATION)
        store(F, new, first, count, 9, G)
        store(a, new, first, count, 1, ap)
        # the frame turns: R V
        frame_row = e * sizes[PARTICLES]
        load(frame, frame_row, first, count, 9, R)
        for t in range(width):
            for i, j in ti.static(ti.ndrange(3, 3)):
                B[3 * i + j][t] = R[3 * i][t] * V[j][t] + R[3 * i + 1][t] * V[3 + j][t] + R[3 * i + 2][t] * V[6 + j][t]
        store(frame, frame_row, first, count, 9, B)

        load(x, now, first, count, 3, X)
        load(v, now, first, count, 3, Vp)
        stencil(X, domain, sizes, f, base)
        weigh(f, w)
        locate(base, boxes, box, row)
        affine_momentum(m, dt * volume * 4.0 / (dx * dx), f, Vp, Cp, tau, dx, A, corner)
        stride_y = boxes[box + 5] - boxes[box + 2]
        stride_x = (boxes[box + 4] - boxes[box + 1]) * stride_y
        for t in range(count):
            transfer.scatter(
                grid, offset + row[0][t], stride_x, stride_y, w, t,
                vec4(corner[0][t], corner[1][t], corner[2][t], m), vec4(A[0][t], A[3][t], A[6][t], 0.0),
                vec4(A[1][t], A[4][t], A[7][t], 0.0), vec4(A[2][t], A[5][t], A[8][t], 0.0),
            )  # fmt: skip

    @ti.func
    def from_grid(
        x: ti.template(), v: ti.template(), C: ti.template(), domain: ti.template(), sizes: ti.template(),
        tiles: ti.template(), boxes: ti.template(), velocity: ti.template(), status: ti.template(),
        tile_index, substep, now, new, box, next_box, offset, status_row,
    ):  # fmt: skip
        """Velocity and its affine field from the grid; advection. The next substep's box is widened to hold the particles."""
        first, count = tiles[3 * tile_index], tiles[3 * tile_index + 1]
        dt = domain[DT]
        scale = 4.0 / domain[DX]
        X, f, base, row, w = ti.static(tile.local(3), tile.local(3), tile.local_int(3), tile.local_int(1), tile.local(9))
        Vp, M = ti.static(tile.local(3), tile.local(9))
        load(x, now, first, count, 3, X)
        stencil(X, domain, sizes, f, base)
        weigh(f, w)
        locate(base, boxes, box, row)
        stride_y = boxes[box + 5] - boxes[box + 2]
        stride_x = (boxes[box + 4] - boxes[box + 1]) * stride_y
        for t in range(count):
            total, along_x, along_y, along_z = transfer.gather(velocity, offset + row[0][t], stride_x, stride_y, w, t)
            for i in ti.static(range(3)):
                Vp[i][t] = total[i]
                M[3 * i][t] = along_x[i]
                M[3 * i + 1][t] = along_y[i]
                M[3 * i + 2][t] = along_z[i]
        wild = 0
        for t in range(width):
            for i, j in ti.static(ti.ndrange(3, 3)):
                M[3 * i + j][t] = scale * (M[3 * i + j][t] - Vp[i][t] * f[j][t])
            for i in ti.static(range(3)):
                X[i][t] = X[i][t] + dt * Vp[i][t]
            wild += ti.select(Vp[0][t] * Vp[0][t] + Vp[1][t] * Vp[1][t] + Vp[2][t] * Vp[2][t] < 1e12, 0, 1)
        if wild > 0:
            for t in range(count):
                if not Vp[0][t] * Vp[0][t] + Vp[1][t] * Vp[1][t] + Vp[2][t] * Vp[2][t] < 1e12:
                    report(status, status_row, substep, first + t, WILD_VELOCITY)
        store(x, new, first, count, 3, X)
        store(v, new, first, count, 3, Vp)
        store(C, new, first, count, 9, M)
        for t in range(width):
            for i in ti.static(range(3)):
                X[i][t] = X[i][ti.min(t, count - 1)]
        if stencil(X, domain, sizes, f, base) > 0:
            for t in range(count):
                if not (ti.max(f[0][t], ti.max(f[1][t], f[2][t])) < 1.75 and ti.min(f[0][t], ti.min(f[1][t], f[2][t])) > 0.25):
                    report(status, status_row, substep, first + t, LEFT_GRID)
        enclose(base, boxes, next_box)

    @ti.func
    def from_grid_adjoint(
        x: ti.template(), v: ti.template(), x_bar: ti.template(), v_bar: ti.template(), C_bar: ti.template(),
        domain: ti.template(), sizes: ti.template(), tiles: ti.template(), boxes: ti.template(), velocity: ti.template(),
        grid_bar: ti.template(), tile_index, now, new, bar, box, velocity_offset, bar_offset,
    ):  # fmt: skip
        """Adjoints of the new x, v and C to those of the node velocities and to their part of x_bar."""
        first, count = tiles[3 * tile_index], tiles[3 * tile_index + 1]
        dt = domain[DT]
        inv_dx = 1.0 / domain[DX]
        X, f, base, row = ti.static(tile.local(3), tile.local(3), tile.local_int(3), tile.local_int(1))
        w, dw, Vp, slope = ti.static(tile.local(9), tile.local(9), tile.local(3), tile.local(3))
        Xb, Vb, Cb = ti.static(tile.local(3), tile.local(3), tile.local(9))
        load(x, now, first, count, 3, X)
        load(v, new, first, count, 3, Vp)
        load_bar(x_bar, bar, first, count, 3, Xb)
        load_bar(v_bar, bar, first, count, 3, Vb)
        load_bar(C_bar, bar, first, count, 9, Cb)
        stencil(X, domain, sizes, f, base)
        weigh(f, w)
        weigh_slopes(f, dw)
        locate(base, boxes, box, row)
        # C = 4 / dx (moments - v f): the cotangent of a node's velocity is Vb + columns (node - f)
        for t in range(width):
            for c in ti.static(range(9)):
                Cb[c][t] = 4.0 * inv_dx * Cb[c][t]
        for t in range(width):
            for i in ti.static(range(3)):
                Vb[i][t] = (
                    Vb[i][t] + dt * Xb[i][t]
                    - (Cb[3 * i][t] * f[0][t] + Cb[3 * i + 1][t] * f[1][t] + Cb[3 * i + 2][t] * f[2][t])
                )  # fmt: skip
        stride_y = boxes[box + 5] - boxes[box + 2]
        stride_x = (boxes[box + 4] - boxes[box + 1]) * stride_y
        for t in range(count):
            corner = vec4(Vb[0][t], Vb[1][t], Vb[2][t], 0.0)
            along_x = vec4(Cb[0][t], Cb[3][t], Cb[6][t], 0.0)
            along_y = vec4(Cb[1][t], Cb[4][t], Cb[7][t], 0.0)
            along_z = vec4(Cb[2][t], Cb[5][t], Cb[8][t], 0.0)
            transfer.scatter(grid_bar, bar_offset + row[0][t], stride_x, stride_y, w, t, corner, along_x, along_y, along_z)
            sx, sy, sz = transfer.slope_sums(
                velocity, velocity_offset + row[0][t], stride_x, stride_y, w, dw, t, corner, along_x, along_y, along_z
            )
            slope[0][t] = sx[0] + sx[1] + sx[2]
            slope[1][t] = sy[0] + sy[1] + sy[2]
            slope[2][t] = sz[0] + sz[1] + sz[2]
        for t in range(width):
            for d in ti.static(range(3)):
                moved = slope[d][t] - (Cb[d][t] * Vp[0][t] + Cb[3 + d][t] * Vp[1][t] + Cb[6 + d][t] * Vp[2][t])
                Xb[d][t] = Xb[d][t] + inv_dx * moved
        store(x_bar, bar, first, count, 3, Xb)

    @ti.func
    def to_grid_adjoint(
        x: ti.template(), v: ti.template(), C: ti.template(), F: ti.template(), a: ti.template(),
        x_bar: ti.template(), v_bar: ti.template(), C_bar: ti.template(), F_bar: ti.template(), a_bar: ti.template(),
        domain: ti.template(), sizes: ti.template(), tiles: ti.template(), laws: ti.template(), parameters: ti.template(),
        parameters_bar: ti.template(), boxes: ti.template(), grid_bar: ti.template(),
        tile_index, e, now, bar, box, offset, parameters_row,
    ):  # fmt: skip
        """Adjoint of the nodes' momentum and mass to those of the particles as they were; the parameters' are added to."""
        first, count, body = tiles[3 * tile_index], tiles[3 * tile_index + 1], tiles[3 * tile_index + 2]
        q = (e * sizes[BODIES] + body) * PARAMETERS
        m, volume = parameters[q], parameters[q + 1]
        dt, dx = domain[DT], domain[DX]
        inv_dx = 1.0 / dx
        k = dt * volume * 4.0 / (dx * dx)
        X, f, base, row = ti.static(tile.local(3), tile.local(3), tile.local_int(3), tile.local_int(1))
        w, dw, Vp, Cp, G, ap = ti.static(
            tile.local(9), tile.local(9), tile.local(3), tile.local(9), tile.local(9), tile.local(1)
        )
        B, U, S, V = ti.static(tile.local(9), tile.local(9), tile.local(3), tile.local(9))
        g, tau, A, corner = ti.static(tile.local(3), tile.local(9), tile.local(9), tile.local(3))
        Xb, Vb, Cb, Gb, ab = ti.static(tile.local(3), tile.local(3), tile.local(9), tile.local(9), tile.local(1))
        total, moment, slope, q_bar = ti.static(tile.local(4), tile.local(9), tile.local(3), tile.local(6))
        load(x, now, first, count, 3, X)
        load(v, now, first, count, 3, Vp)
        load(C, now, first, count, 9, Cp)
        load(F, now, first, count, 9, G)
        load(a, now, first, count, 1, ap)
        load_bar(x_bar, bar, first, count, 3, Xb)
        load_bar(F_bar, bar, first, count, 9, Gb)
        load_bar(a_bar, bar, first, count, 1, ab)
        law.evaluate(
            laws[body], parameters[q + 2], parameters[q + 3], parameters[q + 4], parameters[q + 5], parameters[q + 6],
            dt, Cp, G, ap, B, U, S, V, g, tau,
        )  # fmt: skip
        stencil(X, domain, sizes, f, base)
        weigh(f, w)
        weigh_slopes(f, dw)
        locate(base, boxes, box, row)
        affine_momentum(m, k, f, Vp, Cp, tau, dx, A, corner)
        stride_y = boxes[box + 5] - boxes[box + 2]
        stride_x = (boxes[box + 4] - boxes[box + 1]) * stride_y
        for t in range(count):
            node = offset + row[0][t]
            sx, sy, sz = transfer.slope_sums(
                grid_bar, node, stride_x, stride_y, w, dw, t,
                vec4(corner[0][t], corner[1][t], corner[2][t], m), vec4(A[0][t], A[3][t], A[6][t], 0.0),
                vec4(A[1][t], A[4][t], A[7][t], 0.0), vec4(A[2][t], A[5][t], A[8][t], 0.0),
            )  # fmt: skip
            slope[0][t] = sx[0] + sx[1] + sx[2] + sx[3]
            slope[1][t] = sy[0] + sy[1] + sy[2] + sy[3]
            slope[2][t] = sz[0] + sz[1] + sz[2] + sz[3]
            sums, along_x, along_y, along_z = transfer.gather(grid_bar, node, stride_x, stride_y, w, t)
            total[3][t] = sums[3]
            for i in ti.static(range(3)):
                total[i][t] = sums[i]
                moment[3 * i][t] = along_x[i]
                moment[3 * i + 1][t] = along_y[i]
                moment[3 * i + 2][t] = along_z[i]
        # moment becomes A_bar, then -k A_bar = tau_bar in U's place is not free: tau serves for tau_bar
        for t in range(width):
            for i, j in ti.static(ti.ndrange(3, 3)):
                moment[3 * i + j][t] = dx * (moment[3 * i + j][t] - total[i][t] * f[j][t])
        for t in range(width):
            m_bar = total[0][t] * Vp[0][t] + total[1][t] * Vp[1][t] + total[2][t] * Vp[2][t] + total[3][t]
            for c in ti.static(range(9)):
                m_bar = m_bar + moment[c][t] * Cp[c][t]
                tau[c][t] = -k * moment[c][t]
                Cb[c][t] = m * moment[c][t]
            q_bar[5][t] = m_bar
            for d in ti.static(range(3)):
                moved = slope[d][t] - (A[d][t] * total[0][t] + A[3 + d][t] * total[1][t] + A[6 + d][t] * total[2][t])
                Xb[d][t] = Xb[d][t] + inv_dx * moved
                Vb[d][t] = m * total[d][t]
        load(a, now, first, count, 1, ap)
        law.adjoint(
            laws[body], parameters[q + 2], parameters[q + 3], parameters[q + 4], parameters[q + 5], parameters[q + 6],
            dt, Cp, G, ap, B, U, S, V, tau, Cb, Gb, ab, q_bar,
        )  # fmt: skip
        store(x_bar, bar, first, count, 3, Xb)
        store(v_bar, bar, first, count, 3, Vb)
        store(C_bar, bar, first, count, 9, Cb)
        store(F_bar, bar, first, count, 9, Gb)
        store(a_bar, bar, first, count, 1, ab)
        for n in ti.static(range(6)):
            entry = (parameters_row * sizes[BODIES] + body) * PARAMETERS + ti.static((2, 3, 4, 5, 6, 0)[n])
            summed = ti.cast(0.0, real)
            for t in range(count):
                summed = summed + q_bar[n][t]
            if ti.static(shared_grid):
                ti.atomic_add(parameters_bar[entry], summed)
            else:
                parameters_bar[entry] = parameters_bar[entry] + summed

    return SimpleNamespace(
        measure=measure, to_grid=to_grid, from_grid=from_grid, from_grid_adjoint=from_grid_adjoint,
        to_grid_adjoint=to_grid_adjoint,
    )  # fmt: skip
