"""The stages that a tile of particles goes through: to the grid, back from the grid; forward beside adjoint.

Each loads its particles from memory, computes on the tile in vectorised loops, and accesses the grid particle by particle.

Particles of flowing bodies keep part of what the grid does not see of their velocities (FLIP: Brackbill and Ruppel 1986;
blended: Zhu and Bridson 2005):
    v_new = gathered v + share (v_old - gathered prior)
where the prior field is that of the flowing bodies before any force, in a second layer of nodes. A particle has the weight
share * mass in it, so that what all particles keep has no momentum, whatever their shares are. Positions follow the gathered
velocities.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any, NamedTuple

from diffsim.compiler import compile_time, ti
from diffsim.rounding import rounded_sums
from diffsim.soft.kernels.active_stress import MUSCLE_ARRAYS, active_stress
from diffsim.soft.kernels.boxes import node_count, strides
from diffsim.soft.kernels.constitutive import Decomposition, Law, Response, Strain, StrainBars, constitutive_stage
from diffsim.soft.kernels.tile_memory import tile_memory
from diffsim.soft.kernels.tile_stencil import tile_stencil
from diffsim.soft.kernels.tiles import elementary_functions, tile_arrays
from diffsim.soft.kernels.transfer import Affine, Stencil, particle_grid_transfer
from diffsim.soft.soft_features import SoftFeatures
from diffsim.soft.soft_records import (
    LEFT_GRID,
    WILD,
    WILD_DEFORMATION,
    WILD_VELOCITY,
    BodyInputs,
    Component,
    Constants,
    Frame,
    Sizes,
    Status,
)

WILD_SQUARED = WILD * WILD


@compile_time
class Scattered(NamedTuple):
    """What particles bring to their nodes: tile arrays A dx (9) and the momentum of the first node (3); the mass of each."""

    A: Any
    corner: Any
    mass: Any


@compile_time
class ScatteredBars(NamedTuple):
    """Of the nodes' adjoints the weighted sums (4), the first moments (9), and the slopes by the position in cells (3)."""

    total: Any
    moment: Any
    slope: Any


def particle_stages(real: Any, features: SoftFeatures, *, width: int, shared_grid: bool) -> SimpleNamespace:
    """The stages' device functions for scalar type ``real`` and tiles of ``width`` particles."""
    flowing, muscled = features.flowing, features.muscled
    single = real == ti.f32
    tile = tile_arrays(real, width, MUSCLE_ARRAYS if muscled else 0)
    memory = tile_memory(real, tile)
    report, members, load, store = memory.report, memory.members, memory.load, memory.store
    body_inputs, law_inputs = memory.body_inputs, memory.law_inputs
    law = constitutive_stage(real, tile, elementary_functions(real), features.laws, features.viscous)
    muscles = active_stress(real, tile, memory, muscled, shared_grid=shared_grid)
    sums = rounded_sums(real)
    places = tile_stencil(real, width)
    stencil, left_grid, locate, enclose = places.stencil, places.left_grid, places.locate, places.enclose
    weigh, weigh_slopes = places.weigh, places.weigh_slopes
    transfer = particle_grid_transfer(real, shared_grid=shared_grid)
    vec4 = ti.types.vector(4, real)
    # the body's inputs that have adjoints
    with_adjoint = [BodyInputs.mass, *BodyInputs.columns("parameters")]
    if features.viscous:
        with_adjoint += [BodyInputs.shear_viscosity, BodyInputs.bulk_viscosity]
    if flowing:
        with_adjoint += [BodyInputs.velocity_share]

    @ti.func
    def substep_threshold(soft: ti.template(), step: ti.template()):
        """The threshold at which the sums of this substep are rounded up."""
        steps_before = soft.status[step.environment * Status.SIZE + Status.time_step]
        return sums.threshold(steps_before * soft.sizes[Sizes.substeps] + step.substep)

    @ti.func
    def measure(soft: ti.template(), tile_index, environment, place, box):
        """Widen a box to hold the stencils of a tile's particles as they stand at a place on the tape."""
        ti.static(tile.release())
        first, count, _body, _law_index = members(soft.sizes, tile_index)
        X, f, base = ti.static(tile.local(3), tile.local(3), tile.local_int(3))
        load(soft.tape, place + Component.x, X)
        if stencil(X, soft.constants, soft.sizes, f, base) > 0:
            for t in range(count):
                if left_grid(f, t):
                    report(soft.status, environment, 0, first + t, LEFT_GRID)
        enclose(base, soft.boxes, box)

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
    def to_grid(soft: ti.template(), at: ti.template(), step: ti.template()):
        """Constitutive update from place ``now`` on the tape to ``new``, and the particles' momentum and mass to the grid."""
        ti.static(tile.release())
        tape, constants, sizes, inputs = ti.static(soft.tape, soft.constants, soft.sizes, soft.inputs)
        first, count, body, law_index = members(sizes, at.tile)
        own = body_inputs(sizes, step.environment, body)
        m, volume = inputs[own + BodyInputs.mass], inputs[own + BodyInputs.volume]
        dt, dx = constants[Constants.dt], constants[Constants.dx]
        X, f, base, row = ti.static(tile.local(3), tile.local(3), tile.local_int(3), tile.local_int(1))
        Vp, Cp, G, ap = ti.static(tile.local(3), tile.local(9), tile.local(9), tile.local(1))
        B, U, S, V = ti.static(tile.local(9), tile.local(9), tile.local(3), tile.local(9))
        g, stress, tau, A, corner, w, R = ti.static(
            tile.local(3), tile.local(3), tile.local(9), tile.local(9), tile.local(3), tile.local(9), tile.local(9)
        )
        F, a_new = ti.static(tile.local(9), tile.local(1))
        load(tape, at.now + Component.x, X)
        load(tape, at.now + Component.v, Vp)
        load(tape, at.now + Component.C, Cp)
        load(tape, at.now + Component.internal, ap)
        if step.substep > 0:
            load(soft.frames, at.frame + Frame.rotation, R)
        else:
            for t in range(width):
                for i, j in ti.static(ti.ndrange(3, 3)):
                    R[3 * i + j][t] = ti.cast(ti.static(1.0 if i == j else 0.0), real)
        threshold = substep_threshold(soft, step)
        if ti.static(single):
            # F itself goes from substep to substep, and G is made of it, so that errors of the frame do not add up
            load(soft.frames, at.frame + Frame.F, G)
            law.trial_deformation(dt, Cp, G, F, threshold)
            law.product(F, R, B)
        else:
            load(tape, at.now + Component.F, G)
            law.trial_deformation(dt, Cp, G, B, threshold)
        parameters, shear_viscosity, bulk_viscosity = law_inputs(inputs, own)
        trial = ti.static(Decomposition(B, U, S, V))
        own_law = ti.static(Law(law_index, parameters, shear_viscosity, bulk_viscosity))
        inverted = law.evaluate(
            own_law, dt, threshold, Strain(Cp, G, ap), trial, Response(g, a_new, stress, tau),
        )  # fmt: skip
        if inverted > 0:
            noted = step.environment * Status.SIZE + Status.inverted
            soft.status[noted] = soft.status[noted] + inverted
        law.recompose(own_law, trial, g, R, G, F)
        # 0 tau is 0 unless the stress is not finite, and what is not a number is not below the limit
        wild = 0
        for t in range(width):
            size = g[0][t] * g[0][t] + g[1][t] * g[1][t] + g[2][t] * g[2][t] + 0.0 * (tau[0][t] + tau[4][t] + tau[8][t])
            wild += ti.select(size < WILD_SQUARED, 0, 1)
        if wild > 0:
            for t in range(count):
                size = g[0][t] * g[0][t] + g[1][t] * g[1][t] + g[2][t] * g[2][t] + 0.0 * (tau[0][t] + tau[4][t] + tau[8][t])
                if not size < WILD_SQUARED:
                    report(soft.status, step.environment, step.substep, first + t, WILD_DEFORMATION)
        store(tape, at.new + Component.internal, a_new)
        store(soft.frames, at.frame + Frame.rotation, R)
        if ti.static(single):
            store(soft.frames, at.frame + Frame.F, F)
        if ti.static(not single) or at.new != at.now:  # else the tape is not kept, and nobody reads them
            store(tape, at.new + Component.F, G)
            store(tape, at.new + Component.stress, stress)
        if ti.static(muscled):
            muscles.contract(soft, at, step, G, R, tau)

        stencil(X, constants, sizes, f, base)
        weigh(f, w)
        locate(base, soft.boxes, step.box, row)
        affine_momentum(m, dt * volume * 4.0 / (dx * dx), f, Vp, Cp, tau, dx, A, corner)
        stride_x, stride_y = strides(soft.boxes, step.box)
        for t in range(count):
            node = step.grid + row[0][t]
            value, along_x = vec4(corner[0][t], corner[1][t], corner[2][t], m), vec4(A[0][t], A[3][t], A[6][t], 0.0)
            along_y, along_z = vec4(A[1][t], A[4][t], A[7][t], 0.0), vec4(A[2][t], A[5][t], A[8][t], 0.0)
            transfer.scatter(soft.grid, node, Stencil(stride_x, stride_y, w, None, t), Affine(value, along_x, along_y, along_z))
        if ti.static(flowing):
            weight = m * inputs[own + BodyInputs.velocity_share]
            if weight > 0.0:
                affine_momentum(weight, 0.0, f, Vp, Cp, tau, dx, A, corner)
                behind = step.grid + node_count(soft.boxes, step.box)
                for t in range(count):
                    value, along_x = (
                        vec4(corner[0][t], corner[1][t], corner[2][t], weight),
                        vec4(A[0][t], A[3][t], A[6][t], 0.0),
                    )
                    along_y, along_z = vec4(A[1][t], A[4][t], A[7][t], 0.0), vec4(A[2][t], A[5][t], A[8][t], 0.0)
                    transfer.scatter(
                        soft.grid, behind + row[0][t], Stencil(stride_x, stride_y, w, None, t),
                        Affine(value, along_x, along_y, along_z),
                    )  # fmt: skip

    @ti.func
    def kept_velocity(soft: ti.template(), at: ti.template(), step: ti.template(), row: ti.template(), w: ti.template(),
                      kept: ti.template()):  # fmt: skip
        """What the grid does not see of the particles' velocities before the substep."""
        load(soft.tape, at.now + Component.v, kept)
        behind = step.velocity + node_count(soft.boxes, step.box)
        stride_x, stride_y = strides(soft.boxes, step.box)
        for t in range(width):
            prior, _x, _y, _z = transfer.gather(soft.velocity, behind + row[0][t], Stencil(stride_x, stride_y, w, None, t))
            for i in ti.static(range(3)):
                kept[i][t] = kept[i][t] - prior[i]

    @ti.func
    def from_grid(soft: ti.template(), at: ti.template(), step: ti.template()):
        """Velocity and its affine field from the grid; advection. The next substep's box is widened to hold the particles."""
        ti.static(tile.release())
        tape, constants, sizes, status = ti.static(soft.tape, soft.constants, soft.sizes, soft.status)
        first, count, body, _law_index = members(sizes, at.tile)
        dt = constants[Constants.dt]
        scale = 4.0 / constants[Constants.dx]
        X, f, base, row, w = ti.static(tile.local(3), tile.local(3), tile.local_int(3), tile.local_int(1), tile.local(9))
        Vp, M = ti.static(tile.local(3), tile.local(9))
        load(tape, at.now + Component.x, X)
        stencil(X, constants, sizes, f, base)
        weigh(f, w)
        locate(base, soft.boxes, step.box, row)
        stride_x, stride_y = strides(soft.boxes, step.box)
        for t in range(width):
            node = step.velocity + row[0][t]
            total, along_x, along_y, along_z = transfer.gather(soft.velocity, node, Stencil(stride_x, stride_y, w, None, t))
            for i in ti.static(range(3)):
                Vp[i][t] = total[i]
                M[3 * i][t] = along_x[i]
                M[3 * i + 1][t] = along_y[i]
                M[3 * i + 2][t] = along_z[i]
        wild = 0
        threshold = substep_threshold(soft, step)
        for t in range(width):
            for i, j in ti.static(ti.ndrange(3, 3)):
                M[3 * i + j][t] = scale * (M[3 * i + j][t] - Vp[i][t] * f[j][t])
            for i in ti.static(range(3)):
                X[i][t] = sums.rounded_sum(X[i][t], dt * Vp[i][t], threshold)
            fine = Vp[0][t] * Vp[0][t] + Vp[1][t] * Vp[1][t] + Vp[2][t] * Vp[2][t] < WILD_SQUARED
            wild += ti.select(fine, 0, 1)
        if wild > 0:
            for t in range(count):
                if not Vp[0][t] * Vp[0][t] + Vp[1][t] * Vp[1][t] + Vp[2][t] * Vp[2][t] < WILD_SQUARED:
                    report(status, step.environment, step.substep, first + t, WILD_VELOCITY)
        if ti.static(flowing):
            share = soft.inputs[body_inputs(sizes, step.environment, body) + BodyInputs.velocity_share]
            if share > 0.0:
                kept = ti.static(tile.local(3))
                kept_velocity(soft, at, step, row, w, kept)
                for t in range(width):
                    for i in ti.static(range(3)):
                        Vp[i][t] = Vp[i][t] + share * kept[i][t]
        store(tape, at.new + Component.x, X)
        store(tape, at.new + Component.v, Vp)
        store(tape, at.new + Component.C, M)
        if stencil(X, constants, sizes, f, base) > 0:
            for t in range(count):
                if left_grid(f, t):
                    report(status, step.environment, step.substep, first + t, LEFT_GRID)
        enclose(base, soft.boxes, step.next_box)

    @ti.func
    def from_grid_adjoint(soft: ti.template(), bars: ti.template(), at: ti.template(), step: ti.template()):
        """Adjoints of the new x, v and C to those of the node velocities and to their part of x_bar; of flowing bodies also to
        those of the share and, in place of v_bar, to the part of the old v_bar that is kept."""
        ti.static(tile.release())
        tape, constants, sizes = ti.static(soft.tape, soft.constants, soft.sizes)
        _first, count, body, _law_index = members(sizes, at.tile)
        dt = constants[Constants.dt]
        inv_dx = 1.0 / constants[Constants.dx]
        X, f, base, row = ti.static(tile.local(3), tile.local(3), tile.local_int(3), tile.local_int(1))
        w, dw, Vp, slope = ti.static(tile.local(9), tile.local(9), tile.local(3), tile.local(3))
        Xb, Vb, Cb = ti.static(tile.local(3), tile.local(3), tile.local(9))
        load(tape, at.now + Component.x, X)
        load(tape, at.new + Component.v, Vp)
        load(bars.tape, at.bar + Component.x, Xb)
        load(bars.tape, at.bar + Component.v, Vb)
        load(bars.tape, at.bar + Component.C, Cb)
        stencil(X, constants, sizes, f, base)
        weigh(f, w)
        weigh_slopes(f, w, dw)
        locate(base, soft.boxes, step.box, row)
        stride_x, stride_y = strides(soft.boxes, step.box)
        kept, kept_bar = ti.static(tile.local(3), tile.local(3))
        share = ti.cast(0.0, real)
        if ti.static(flowing):
            share = soft.inputs[body_inputs(sizes, step.environment, body) + BodyInputs.velocity_share]
            if share > 0.0:
                kept_velocity(soft, at, step, row, w, kept)
                share_bar = ti.cast(0.0, real)
                for t in range(count):
                    share_bar = share_bar + Vb[0][t] * kept[0][t] + Vb[1][t] * kept[1][t] + Vb[2][t] * kept[2][t]
                at_share = body_inputs(sizes, step.inputs_bar, body) + BodyInputs.velocity_share
                if ti.static(shared_grid):
                    ti.atomic_add(bars.inputs[at_share], share_bar)
                else:
                    bars.inputs[at_share] = bars.inputs[at_share] + share_bar
                for t in range(width):
                    for i in ti.static(range(3)):
                        kept_bar[i][t] = share * Vb[i][t]
                        Vp[i][t] = Vp[i][t] - share * kept[i][t]
                store(bars.tape, at.bar + Component.v, kept_bar)
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
        for t in range(count):
            value, along_x = vec4(Vb[0][t], Vb[1][t], Vb[2][t], 0.0), vec4(Cb[0][t], Cb[3][t], Cb[6][t], 0.0)
            along_y, along_z = vec4(Cb[1][t], Cb[4][t], Cb[7][t], 0.0), vec4(Cb[2][t], Cb[5][t], Cb[8][t], 0.0)
            sx, sy, sz = transfer.gather_adjoint(
                bars.grid, step.grid_bar + row[0][t], soft.velocity, step.velocity + row[0][t],
                Stencil(stride_x, stride_y, w, dw, t), Affine(value, along_x, along_y, along_z),
            )  # fmt: skip
            slope[0][t] = sx[0] + sx[1] + sx[2]
            slope[1][t] = sy[0] + sy[1] + sy[2]
            slope[2][t] = sz[0] + sz[1] + sz[2]
        for t in range(width):
            for d in ti.static(range(3)):
                moved = slope[d][t] - (Cb[d][t] * Vp[0][t] + Cb[3 + d][t] * Vp[1][t] + Cb[6 + d][t] * Vp[2][t])
                Xb[d][t] = Xb[d][t] + inv_dx * moved
        if ti.static(flowing):
            behind = node_count(soft.boxes, step.box)
            zero = vec4(0.0)
            if share > 0.0:
                for t in range(count):
                    value = vec4(-kept_bar[0][t], -kept_bar[1][t], -kept_bar[2][t], 0.0)
                    sx, sy, sz = transfer.gather_adjoint(
                        bars.grid, step.grid_bar + behind + row[0][t], soft.velocity, step.velocity + behind + row[0][t],
                        Stencil(stride_x, stride_y, w, dw, t), Affine(value, zero, zero, zero),
                    )  # fmt: skip
                    Xb[0][t] = Xb[0][t] + inv_dx * (sx[0] + sx[1] + sx[2])
                    Xb[1][t] = Xb[1][t] + inv_dx * (sy[0] + sy[1] + sy[2])
                    Xb[2][t] = Xb[2][t] + inv_dx * (sz[0] + sz[1] + sz[2])
        store(bars.tape, at.bar + Component.x, Xb)

    @ti.func
    def scatter_bars(
        soft: ti.template(), bars: ti.template(), step: ti.template(), begin, count, row: ti.template(), w: ti.template(),
        dw: ti.template(), q: ti.template(), result: ti.template(),
    ):  # fmt: skip
        """`Scattered` particles' part in the adjoints of the nodes from ``begin`` on, as `ScatteredBars`."""
        A, corner, total, moment, slope = ti.static(q.A, q.corner, result.total, result.moment, result.slope)
        stride_x, stride_y = strides(soft.boxes, step.box)
        for t in range(count):
            node = begin + row[0][t]
            value, along_x = vec4(corner[0][t], corner[1][t], corner[2][t], q.mass), vec4(A[0][t], A[3][t], A[6][t], 0.0)
            along_y, along_z = vec4(A[1][t], A[4][t], A[7][t], 0.0), vec4(A[2][t], A[5][t], A[8][t], 0.0)
            sums, moment_x, moment_y, moment_z, sx, sy, sz = transfer.scatter_adjoint(
                bars.grid, node, Stencil(stride_x, stride_y, w, dw, t), Affine(value, along_x, along_y, along_z)
            )
            slope[0][t] = sx[0] + sx[1] + sx[2] + sx[3]
            slope[1][t] = sy[0] + sy[1] + sy[2] + sy[3]
            slope[2][t] = sz[0] + sz[1] + sz[2] + sz[3]
            total[3][t] = sums[3]
            for i in ti.static(range(3)):
                total[i][t] = sums[i]
                moment[3 * i][t] = moment_x[i]
                moment[3 * i + 1][t] = moment_y[i]
                moment[3 * i + 2][t] = moment_z[i]

    @ti.func
    def to_grid_adjoint(soft: ti.template(), bars: ti.template(), at: ti.template(), step: ti.template()):
        """Adjoint of the nodes' momentum and mass to those of the particles as they were; the inputs' are added to."""
        ti.static(tile.release())
        tape, constants, sizes, inputs = ti.static(soft.tape, soft.constants, soft.sizes, soft.inputs)
        _first, count, body, law_index = members(sizes, at.tile)
        own = body_inputs(sizes, step.environment, body)
        own_bar = body_inputs(sizes, step.inputs_bar, body)
        m, volume = inputs[own + BodyInputs.mass], inputs[own + BodyInputs.volume]
        dt, dx = constants[Constants.dt], constants[Constants.dx]
        inv_dx = 1.0 / dx
        k = dt * volume * 4.0 / (dx * dx)
        X, f, base, row = ti.static(tile.local(3), tile.local(3), tile.local_int(3), tile.local_int(1))
        w, dw, Vp, Cp, G, ap = ti.static(
            tile.local(9), tile.local(9), tile.local(3), tile.local(9), tile.local(9), tile.local(1)
        )
        B, U, S, V = ti.static(tile.local(9), tile.local(9), tile.local(3), tile.local(9))
        stress, tau, A, corner, a_new = ti.static(tile.local(3), tile.local(9), tile.local(9), tile.local(3), tile.local(1))
        Xb, Vb, Cb, Gb, ab = ti.static(tile.local(3), tile.local(3), tile.local(9), tile.local(9), tile.local(1))
        total, moment, slope, q_bar = ti.static(tile.local(4), tile.local(9), tile.local(3), tile.local(BodyInputs.SIZE))
        load(tape, at.now + Component.x, X)
        load(tape, at.now + Component.v, Vp)
        load(tape, at.now + Component.C, Cp)
        load(tape, at.now + Component.F, G)
        load(tape, at.now + Component.internal, ap)
        load(tape, at.new + Component.F, U)
        load(tape, at.new + Component.stress, stress)
        load(bars.tape, at.bar + Component.x, Xb)
        load(bars.tape, at.bar + Component.F, Gb)
        load(bars.tape, at.bar + Component.internal, ab)
        for n in ti.static(BodyInputs.columns("parameters")):
            for t in range(width):
                q_bar[n][t] = ti.cast(0.0, real)
        parameters, shear_viscosity, bulk_viscosity = law_inputs(inputs, own)
        own_law = ti.static(Law(law_index, parameters, shear_viscosity, bulk_viscosity))
        old, trial, new = ti.static(Strain(Cp, G, ap), Decomposition(B, U, S, V), Response(S, a_new, stress, tau))
        law.recall(own_law, dt, old, trial, new)
        contracting = 0
        contraction = ti.static(muscles.contraction())
        if ti.static(muscled):
            contracting = muscles.recall(soft, bars, at, step, contraction, tau)
        stencil(X, constants, sizes, f, base)
        weigh(f, w)
        weigh_slopes(f, w, dw)
        locate(base, soft.boxes, step.box, row)
        affine_momentum(m, k, f, Vp, Cp, tau, dx, A, corner)
        own_places = step.grid_bar
        scatter_bars(
            soft, bars, step, own_places, count, row, w, dw, Scattered(A, corner, m), ScatteredBars(total, moment, slope)
        )
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
            q_bar[BodyInputs.mass][t] = m_bar
            for d in ti.static(range(3)):
                moved = slope[d][t] - (A[d][t] * total[0][t] + A[3 + d][t] * total[1][t] + A[6 + d][t] * total[2][t])
                Xb[d][t] = Xb[d][t] + inv_dx * moved
                Vb[d][t] = m * total[d][t]
        if ti.static(flowing):
            share = inputs[own + BodyInputs.velocity_share]
            weight = share * m
            for t in range(width):
                q_bar[BodyInputs.velocity_share][t] = ti.cast(0.0, real)
            if weight > 0.0:
                kept_bar = ti.static(tile.local(3))
                load(bars.tape, at.bar + Component.v, kept_bar)
                affine_momentum(weight, 0.0, f, Vp, Cp, tau, dx, A, corner)
                behind = step.grid_bar + node_count(soft.boxes, step.box)
                scatter_bars(
                    soft, bars, step, behind, count, row, w, dw, Scattered(A, corner, weight),
                    ScatteredBars(total, moment, slope),
                )  # fmt: skip
                for t in range(width):
                    for i, j in ti.static(ti.ndrange(3, 3)):
                        moment[3 * i + j][t] = dx * (moment[3 * i + j][t] - total[i][t] * f[j][t])
                for t in range(width):
                    weight_bar = total[0][t] * Vp[0][t] + total[1][t] * Vp[1][t] + total[2][t] * Vp[2][t] + total[3][t]
                    for c in ti.static(range(9)):
                        weight_bar = weight_bar + moment[c][t] * Cp[c][t]
                        Cb[c][t] = Cb[c][t] + weight * moment[c][t]
                    q_bar[BodyInputs.mass][t] = q_bar[BodyInputs.mass][t] + share * weight_bar
                    q_bar[BodyInputs.velocity_share][t] = m * weight_bar
                    for d in ti.static(range(3)):
                        moved = slope[d][t] - (A[d][t] * total[0][t] + A[3 + d][t] * total[1][t] + A[6 + d][t] * total[2][t])
                        Xb[d][t] = Xb[d][t] + inv_dx * moved
                        Vb[d][t] = Vb[d][t] + weight * total[d][t] + kept_bar[d][t]
        if ti.static(muscled):  # noqa: SIM102
            if contracting > 0:
                muscles.adjoint(soft, bars, at, step, contraction, V, tau, Gb)
        law.adjoint(own_law, dt, old, trial, StrainBars(tau, Cb, Gb, ab, q_bar))
        store(bars.tape, at.bar + Component.x, Xb)
        store(bars.tape, at.bar + Component.v, Vb)
        store(bars.tape, at.bar + Component.C, Cb)
        store(bars.tape, at.bar + Component.F, Gb)
        store(bars.tape, at.bar + Component.internal, ab)
        for n in ti.static(with_adjoint):
            summed = ti.cast(0.0, real)
            for t in range(count):
                summed = summed + q_bar[n][t]
            if ti.static(shared_grid):
                ti.atomic_add(bars.inputs[own_bar + n], summed)
            else:
                bars.inputs[own_bar + n] = bars.inputs[own_bar + n] + summed

    return SimpleNamespace(
        tile=tile, load=load, store=store, members=members, reserve=tile.reserve, report=report, enter=memory.enter,
        leave=memory.leave, orient=muscles.orient, measure=measure, to_grid=to_grid, from_grid=from_grid,
        from_grid_adjoint=from_grid_adjoint, to_grid_adjoint=to_grid_adjoint,
    )  # fmt: skip
