"""The stages that a tile of particles goes through: to the grid, back from the grid; forward beside adjoint.

Each loads its particles from memory, computes on the tile in vectorised loops, and accesses the grid particle by particle.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

from diffsim.compiler import ti
from diffsim.soft.kernels.constitutive import constitutive_stage
from diffsim.soft.kernels.tiles import elementary_functions, tile_arrays
from diffsim.soft.kernels.transfer import particle_grid_transfer
from diffsim.soft.soft_records import (
    AT_A,
    AT_C,
    AT_F,
    AT_STRESS,
    AT_V,
    AT_X,
    BODIES,
    BODY,
    COUNTS,
    DT,
    DX,
    INPUTS,
    LEFT_GRID,
    ORIGIN,
    RECORD,
    STATUS,
    TILE,
    TILES,
    WILD_DEFORMATION,
    WILD_VELOCITY,
)  # fmt: skip


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
    def members(sizes: ti.template(), tile_index):
        """A tile's first particle, how many, their body and its law."""
        at = TILES + TILE * tile_index
        return sizes[at], sizes[at + 1], sizes[at + 2], sizes[at + 3]

    # Lanes beyond a tile's ``count`` repeat its last particle. They go to no grid, no record and no sum.

    @ti.func
    def load(tape: ti.template(), begin, target: ti.template()):
        """Consecutive components from index ``begin`` on."""
        for c in ti.static(range(len(target))):
            lanes = tape[begin + c]
            for t in range(width):
                target[c][t] = lanes[t]

    @ti.func
    def store(tape: ti.template(), begin, source: ti.template()):
        for c in ti.static(range(len(source))):
            tape[begin + c] = source[c]

    @ti.func
    def enter(
        records: ti.template(), tape: ti.template(), frames: ti.template(), sizes: ti.template(), tile_index, record_row,
        place, frame, turn: ti.template(),
    ):  # fmt: skip
        """A tile's records onto the tape; with ``turn``, F into its frame: F R."""
        ti.static(tile.release())
        first, count, _body, _law_index = members(sizes, tile_index)
        D, R, turned = ti.static(tile.local(AT_STRESS), tile.local(9), tile.local(9))
        for t in range(width):
            n = (record_row + first + ti.min(t, count - 1)) * RECORD
            for r in ti.static(range(RECORD)):
                record = records[n + r]
                for c in ti.static(range(4)):
                    # component 15 of a record is empty
                    if ti.static(4 * r + c < 15):
                        D[4 * r + c][t] = record[c]
                    if ti.static(4 * r + c > 15 and 4 * r + c < 26):
                        D[4 * r + c - 1][t] = record[c]
        store(tape, place, D)
        if ti.static(turn):
            load(frames, frame, R)
            for t in range(width):
                for i, j in ti.static(ti.ndrange(3, 3)):
                    turned[3 * i + j][t] = (
                        D[AT_F + 3 * i][t] * R[j][t]
                        + D[AT_F + 3 * i + 1][t] * R[3 + j][t]
                        + D[AT_F + 3 * i + 2][t] * R[6 + j][t]
                    )
            store(tape, place + AT_F, turned)

    @ti.func
    def leave(
        records: ti.template(), tape: ti.template(), frames: ti.template(), sizes: ti.template(), tile_index, record_row,
        place, frame, turn: ti.template(),
    ):  # fmt: skip
        """A tile from the tape to its records; with ``turn``, F out of its frame: F R^T."""
        ti.static(tile.release())
        first, count, _body, _law_index = members(sizes, tile_index)
        D, R, G = ti.static(tile.local(AT_STRESS), tile.local(9), tile.local(9))
        load(tape, place, D)
        if ti.static(turn):
            load(frames, frame, R)
            load(tape, place + AT_F, G)
            for t in range(width):
                for i, j in ti.static(ti.ndrange(3, 3)):
                    D[AT_F + 3 * i + j][t] = (
                        G[3 * i][t] * R[3 * j][t] + G[3 * i + 1][t] * R[3 * j + 1][t] + G[3 * i + 2][t] * R[3 * j + 2][t]
                    )
        for t in range(count):
            n = (record_row + first + t) * RECORD
            for r in ti.static(range(3)):
                records[n + r] = vec4(D[4 * r][t], D[4 * r + 1][t], D[4 * r + 2][t], D[4 * r + 3][t])
            records[n + 3] = vec4(D[12][t], D[13][t], D[14][t], 0.0)
            records[n + 4] = vec4(D[15][t], D[16][t], D[17][t], D[18][t])
            records[n + 5] = vec4(D[19][t], D[20][t], D[21][t], D[22][t])
            records[n + 6] = vec4(D[23][t], D[24][t], 0.0, 0.0)

    @ti.func
    def stencil(x: ti.template(), constants: ti.template(), sizes: ti.template(), f: ti.template(), base: ti.template()):
        """Lowest node of each particle's stencil, and the position relative to it in cells (in [0.5, 1.5)). Returns how many
        particles are not on the grid; their base is held on it."""
        outside = 0
        inv_dx = 1.0 / constants[DX]
        for d in ti.static(range(3)):
            origin = constants[ORIGIN + d]
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
        tape: ti.template(), constants: ti.template(), sizes: ti.template(), boxes: ti.template(), status: ti.template(),
        status_row, tile_index, place, box,
    ):  # fmt: skip
        """Widen a box to hold the stencils of a tile's particles as they stand."""
        ti.static(tile.release())
        first, count, _body, _law_index = members(sizes, tile_index)
        X, f, base = ti.static(tile.local(3), tile.local(3), tile.local_int(3))
        load(tape, place + AT_X, X)
        if stencil(X, constants, sizes, f, base) > 0:
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
        tape: ti.template(), frames: ti.template(), constants: ti.template(), sizes: ti.template(), inputs: ti.template(),
        boxes: ti.template(), grid: ti.template(), status: ti.template(),
        tile_index, e, substep, now, new, frame, box, offset, status_row,
    ):  # fmt: skip
        """Constitutive update from place ``now`` on the tape to ``new``, and the particles' momentum and mass to the grid."""
        ti.static(tile.release())
        first, count, body, law_index = members(sizes, tile_index)
        q = e * sizes[INPUTS] + BODIES + BODY * body
        m, volume = inputs[q], inputs[q + 1]
        dt, dx = constants[DT], constants[DX]
        X, f, base, row = ti.static(tile.local(3), tile.local(3), tile.local_int(3), tile.local_int(1))
        Vp, Cp, G, ap = ti.static(tile.local(3), tile.local(9), tile.local(9), tile.local(1))
        B, U, S, V = ti.static(tile.local(9), tile.local(9), tile.local(3), tile.local(9))
        g, stress, tau, A, corner, w, R = ti.static(
            tile.local(3), tile.local(3), tile.local(9), tile.local(9), tile.local(3), tile.local(9), tile.local(9)
        )
        load(tape, now + AT_X, X)
        load(tape, now + AT_V, Vp)
        load(tape, now + AT_C, Cp)
        load(tape, now + AT_F, G)
        load(tape, now + AT_A, ap)
        inverted = law.evaluate(
            law_index, inputs[q + 2], inputs[q + 3], inputs[q + 4], inputs[q + 5], inputs[q + 6],
            dt, Cp, G, ap, B, U, S, V, g, stress, tau,
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
        store(tape, new + AT_F, G)
        store(tape, new + AT_A, ap)
        store(tape, new + AT_STRESS, stress)
        # the frame turns: R V
        if substep > 0:
            load(frames, frame, R)
        else:
            for t in range(width):
                for i, j in ti.static(ti.ndrange(3, 3)):
                    R[3 * i + j][t] = ti.cast(ti.static(1.0 if i == j else 0.0), real)
        for t in range(width):
            for i, j in ti.static(ti.ndrange(3, 3)):
                B[3 * i + j][t] = R[3 * i][t] * V[j][t] + R[3 * i + 1][t] * V[3 + j][t] + R[3 * i + 2][t] * V[6 + j][t]
        store(frames, frame, B)

        stencil(X, constants, sizes, f, base)
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
        tape: ti.template(), constants: ti.template(), sizes: ti.template(), boxes: ti.template(),
        velocity: ti.template(), status: ti.template(), tile_index, substep, now, new, box, next_box, offset, status_row,
    ):  # fmt: skip
        """Velocity and its affine field from the grid; advection. The next substep's box is widened to hold the particles."""
        ti.static(tile.release())
        first, count, _body, _law_index = members(sizes, tile_index)
        dt = constants[DT]
        scale = 4.0 / constants[DX]
        X, f, base, row, w = ti.static(tile.local(3), tile.local(3), tile.local_int(3), tile.local_int(1), tile.local(9))
        Vp, M = ti.static(tile.local(3), tile.local(9))
        load(tape, now + AT_X, X)
        stencil(X, constants, sizes, f, base)
        weigh(f, w)
        locate(base, boxes, box, row)
        stride_y = boxes[box + 5] - boxes[box + 2]
        stride_x = (boxes[box + 4] - boxes[box + 1]) * stride_y
        for t in range(width):
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
            fine = Vp[0][t] * Vp[0][t] + Vp[1][t] * Vp[1][t] + Vp[2][t] * Vp[2][t] < 1e12
            wild += ti.select(fine, 0, 1)
        if wild > 0:
            for t in range(count):
                if not Vp[0][t] * Vp[0][t] + Vp[1][t] * Vp[1][t] + Vp[2][t] * Vp[2][t] < 1e12:
                    report(status, status_row, substep, first + t, WILD_VELOCITY)
        store(tape, new + AT_X, X)
        store(tape, new + AT_V, Vp)
        store(tape, new + AT_C, M)
        if stencil(X, constants, sizes, f, base) > 0:
            for t in range(count):
                if not (ti.max(f[0][t], ti.max(f[1][t], f[2][t])) < 1.75 and ti.min(f[0][t], ti.min(f[1][t], f[2][t])) > 0.25):
                    report(status, status_row, substep, first + t, LEFT_GRID)
        enclose(base, boxes, next_box)

    @ti.func
    def from_grid_adjoint(
        tape: ti.template(), bars: ti.template(), constants: ti.template(), sizes: ti.template(), boxes: ti.template(),
        velocity: ti.template(), grid_bar: ti.template(), tile_index, now, new, bar, box, velocity_offset, bar_offset,
    ):  # fmt: skip
        """Adjoints of the new x, v and C to those of the node velocities and to their part of x_bar."""
        ti.static(tile.release())
        _first, count, _body, _law_index = members(sizes, tile_index)
        dt = constants[DT]
        inv_dx = 1.0 / constants[DX]
        X, f, base, row = ti.static(tile.local(3), tile.local(3), tile.local_int(3), tile.local_int(1))
        w, dw, Vp, slope = ti.static(tile.local(9), tile.local(9), tile.local(3), tile.local(3))
        Xb, Vb, Cb = ti.static(tile.local(3), tile.local(3), tile.local(9))
        load(tape, now + AT_X, X)
        load(tape, new + AT_V, Vp)
        load(bars, bar + AT_X, Xb)
        load(bars, bar + AT_V, Vb)
        load(bars, bar + AT_C, Cb)
        stencil(X, constants, sizes, f, base)
        weigh(f, w)
        weigh_slopes(f, w, dw)
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
            sx, sy, sz = transfer.gather_adjoint(
                grid_bar, bar_offset + row[0][t], velocity, velocity_offset + row[0][t], stride_x, stride_y, w, dw, t,
                corner, along_x, along_y, along_z,
            )  # fmt: skip
            slope[0][t] = sx[0] + sx[1] + sx[2]
            slope[1][t] = sy[0] + sy[1] + sy[2]
            slope[2][t] = sz[0] + sz[1] + sz[2]
        for t in range(width):
            for d in ti.static(range(3)):
                moved = slope[d][t] - (Cb[d][t] * Vp[0][t] + Cb[3 + d][t] * Vp[1][t] + Cb[6 + d][t] * Vp[2][t])
                Xb[d][t] = Xb[d][t] + inv_dx * moved
        store(bars, bar + AT_X, Xb)

    @ti.func
    def to_grid_adjoint(
        tape: ti.template(), bars: ti.template(), constants: ti.template(), sizes: ti.template(), inputs: ti.template(),
        inputs_bar: ti.template(), boxes: ti.template(), grid_bar: ti.template(),
        tile_index, e, now, new, bar, box, offset, bar_row,
    ):  # fmt: skip
        """Adjoint of the nodes' momentum and mass to those of the particles as they were; the inputs' are added to."""
        ti.static(tile.release())
        _first, count, body, law_index = members(sizes, tile_index)
        q = e * sizes[INPUTS] + BODIES + BODY * body
        m, volume = inputs[q], inputs[q + 1]
        dt, dx = constants[DT], constants[DX]
        inv_dx = 1.0 / dx
        k = dt * volume * 4.0 / (dx * dx)
        X, f, base, row = ti.static(tile.local(3), tile.local(3), tile.local_int(3), tile.local_int(1))
        w, dw, Vp, Cp, G, ap = ti.static(
            tile.local(9), tile.local(9), tile.local(3), tile.local(9), tile.local(9), tile.local(1)
        )
        B, U, S, V = ti.static(tile.local(9), tile.local(9), tile.local(3), tile.local(9))
        stress, tau, A, corner = ti.static(tile.local(3), tile.local(9), tile.local(9), tile.local(3))
        Xb, Vb, Cb, Gb, ab = ti.static(tile.local(3), tile.local(3), tile.local(9), tile.local(9), tile.local(1))
        total, moment, slope, q_bar = ti.static(tile.local(4), tile.local(9), tile.local(3), tile.local(6))
        load(tape, now + AT_X, X)
        load(tape, now + AT_V, Vp)
        load(tape, now + AT_C, Cp)
        load(tape, now + AT_F, G)
        load(tape, now + AT_A, ap)
        load(tape, new + AT_F, U)
        load(tape, new + AT_STRESS, stress)
        load(bars, bar + AT_X, Xb)
        load(bars, bar + AT_F, Gb)
        load(bars, bar + AT_A, ab)
        for n in ti.static(range(5)):
            for t in range(width):
                q_bar[n][t] = ti.cast(0.0, real)
        law.recall(law_index, inputs[q + 2], inputs[q + 3], inputs[q + 4], dt, Cp, G, stress, B, U, S, V, tau)
        stencil(X, constants, sizes, f, base)
        weigh(f, w)
        weigh_slopes(f, w, dw)
        locate(base, boxes, box, row)
        affine_momentum(m, k, f, Vp, Cp, tau, dx, A, corner)
        stride_y = boxes[box + 5] - boxes[box + 2]
        stride_x = (boxes[box + 4] - boxes[box + 1]) * stride_y
        for t in range(count):
            node = offset + row[0][t]
            sums, along_x, along_y, along_z, sx, sy, sz = transfer.scatter_adjoint(
                grid_bar, node, stride_x, stride_y, w, dw, t,
                vec4(corner[0][t], corner[1][t], corner[2][t], m), vec4(A[0][t], A[3][t], A[6][t], 0.0),
                vec4(A[1][t], A[4][t], A[7][t], 0.0), vec4(A[2][t], A[5][t], A[8][t], 0.0),
            )  # fmt: skip
            slope[0][t] = sx[0] + sx[1] + sx[2] + sx[3]
            slope[1][t] = sy[0] + sy[1] + sy[2] + sy[3]
            slope[2][t] = sz[0] + sz[1] + sz[2] + sz[3]
            total[3][t] = sums[3]
            for i in ti.static(range(3)):
                total[i][t] = sums[i]
                moment[3 * i][t] = along_x[i]
                moment[3 * i + 1][t] = along_y[i]
                moment[3 * i + 2][t] = along_z[i]
        # moment turns into A_bar, and tau into tau_bar = -k A_bar
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
        law.adjoint(
            law_index, inputs[q + 2], inputs[q + 3], inputs[q + 4], inputs[q + 5], inputs[q + 6],
            dt, Cp, G, ap, B, U, S, V, tau, Cb, Gb, ab, q_bar,
        )  # fmt: skip
        store(bars, bar + AT_X, Xb)
        store(bars, bar + AT_V, Vb)
        store(bars, bar + AT_C, Cb)
        store(bars, bar + AT_F, Gb)
        store(bars, bar + AT_A, ab)
        for n in ti.static(range(6)):
            entry = q + (bar_row - e) * sizes[INPUTS] + ti.static((2, 3, 4, 5, 6, 0)[n])
            summed = ti.cast(0.0, real)
            for t in range(count):
                summed = summed + q_bar[n][t]
            if ti.static(shared_grid):
                ti.atomic_add(inputs_bar[entry], summed)
            else:
                inputs_bar[entry] = inputs_bar[entry] + summed

    return SimpleNamespace(
        tile=tile,
        load=load,
        store=store,
        members=members,
        reserve=tile.reserve,
        report=report,
        enter=enter,
        leave=leave,
        measure=measure,
        to_grid=to_grid,
        from_grid=from_grid,
        from_grid_adjoint=from_grid_adjoint,
        to_grid_adjoint=to_grid_adjoint,
    )
