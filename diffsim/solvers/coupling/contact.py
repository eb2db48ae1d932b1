"""Contact of particles with the rigid geometries on the velocities that the grid is about to give them; forward beside adjoint.

A particle is a ball of the soft body's particle radius. The law is that of the rigid contacts (docs/rigid.md) with e = 0, but
for the slip that friction depends on: here it is that after the contact. With the slip before it, that which the elastic
forces of the substep are about to cause would weaken the friction that is to prevent it: a held body crept. The law's
impulse J goes to the grid with the particle's weights, v_i += w_i J / m_i, and -J to the link at the particle's centre:
momentum and angular momentum are conserved. Particles come one after the other, each implicitly in its own response
1 / M = sum of w_i^2 / m_i (a projected Gauss-Seidel sweep), so that friction holds what the elastic forces of the substep pull.
Were the velocities corrected before the transfer to the grid, those forces would move the surface afterwards: a cube of jelly
crept out of a gripper at 4 cm/s. Several geometries act on a particle side by side.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

import taichi as ti

from diffsim.solvers.mpm.memory import AT_X, COUNTS, DX, ORIGIN
from diffsim.solvers.rigid.compliance import compliance
from diffsim.solvers.rigid.distance import distance_stage
from diffsim.solvers.rigid.memory import (
    COUPLED,
    COUPLED_AT,
    CUTOFF,
    ETA,
    GEOMETRY_AT,
    GEOMETRY_INPUTS,
    GEOMETRY_INTS,
    GEOMETRY_REALS,
    I_GEOMETRY_AT,
    LINK,
    OMEGA,
    OMEGA_BAR,
    P_BAR,
    PLANE,
    R_GEOMETRY_AT,
    RESTITUTION_SPEED,
    SLIP_SPEED,
    SMOOTHING,
    THETA_BAR,
    U_BAR,
    H,
    P,
    R,
    U,
    W,
)  # fmt: skip
from diffsim.solvers.rigid.vectors import vector_functions

GRIP = 2  # of a soft body: stiffness of a particle's contact (N/m), radius of a particle (m)
NEWTON = 16  # steps at most for the slip after contact: 9 do for h mu N / (m eps) up to 1e3, 15 up to 1e6


def particle_contact(real: Any, particles: SimpleNamespace) -> SimpleNamespace:
    """``touch`` and ``touch_adjoint``, for tiles of the stages ``particles``."""
    tile, load_tile, store_tile = particles.tile, particles.load, particles.store
    vf = vector_functions(real)
    law = compliance(real)
    surfaces = distance_stage(real)
    vec3, mat3, load, add = vf.vec3, vf.mat3, vf.load, vf.add
    vec4 = ti.types.vector(4, real)

    @ti.func
    def frame(integers: ti.template(), reals: ti.template(), work: ti.template(), base, geometry):
        """Number of a geometry's link, and the geometry's position and rotation in the world."""
        link = integers[integers[GEOMETRY_AT] + GEOMETRY_INTS * geometry]
        own = integers[R_GEOMETRY_AT] + GEOMETRY_REALS * geometry
        rot = vf.load_matrix(work, base + LINK * link + R)
        position = load(work, base + LINK * link + P) + rot @ load(reals, own)
        return link, position, rot @ vf.load_matrix(reals, own + 3)

    @ti.func
    def extent(X: ti.template()):
        """Centre and radius of a ball round a tile's particles."""
        low, high = vec3(X[0][0], X[1][0], X[2][0]), vec3(X[0][0], X[1][0], X[2][0])
        for t in range(tile.width):
            x = vec3(X[0][t], X[1][t], X[2][t])
            low = vec3(ti.min(low[0], x[0]), ti.min(low[1], x[1]), ti.min(low[2], x[2]))
            high = vec3(ti.max(high[0], x[0]), ti.max(high[1], x[1]), ti.max(high[2], x[2]))
        half = 0.5 * (high - low)
        return low + half, ti.sqrt(half.dot(half))

    @ti.func
    def near(integers: ti.template(), reals: ti.template(), geometry, scale, center, reach):
        """Whether a ball round ``center`` of the geometry's frame may touch it."""
        away = center[2]
        if integers[integers[GEOMETRY_AT] + GEOMETRY_INTS * geometry + 1] != PLANE:
            own = integers[R_GEOMETRY_AT] + GEOMETRY_REALS * geometry
            away = ti.sqrt(center.dot(center)) - scale * reals[own + 17]
        return away < reach

    @ti.func
    def near_tile(
        integers: ti.template(), reals: ti.template(), inputs: ti.template(), inputs_at, work: ti.template(), base,
        X: ti.template(), radius,
    ):  # fmt: skip
        """Bits of the geometries that a tile's particles may touch; those from the 31st on share one."""
        middle, spread = extent(X)
        found = 0
        for n in range(integers[COUPLED]):
            geometry = integers[integers[COUPLED_AT] + n]
            scale = inputs[inputs_at + integers[I_GEOMETRY_AT] + GEOMETRY_INPUTS * geometry + 3]
            _link, center, rot = frame(integers, reals, work, base, geometry)
            reach = radius + CUTOFF * reals[SMOOTHING] + spread
            if near(integers, reals, geometry, scale, rot.transpose() @ (middle - center), reach):
                found = found | (1 << ti.min(n, 30))
        return found

    @ti.func
    def weights(x, constants: ti.template(), sizes: ti.template(), boxes: ti.template(), box):
        """The first node of a particle's stencil within the box, the strides, and per axis the weights and their slopes."""
        W1, S1 = mat3(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), mat3(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        stride_y = boxes[box + 5] - boxes[box + 2]
        stride_x = (boxes[box + 4] - boxes[box + 1]) * stride_y
        strides = ti.Vector([stride_x, stride_y, 1])
        node = 0
        inverse = 1.0 / constants[DX]
        for i in ti.static(range(3)):
            scaled = (x[i] - constants[ORIGIN + i]) * inverse
            base_node = ti.max(ti.min(ti.cast(ti.max(scaled, 0.5) - 0.5, ti.i32), sizes[COUNTS + i] - 3), 0)
            node += (base_node - boxes[box + i]) * strides[i]
            f = scaled - ti.cast(base_node, real)
            W1[i, 0], W1[i, 2] = 0.5 * (1.5 - f) * (1.5 - f), 0.5 * (f - 0.5) * (f - 0.5)
            W1[i, 1] = 0.75 - (f - 1.0) * (f - 1.0)
            S1[i, 0], S1[i, 1], S1[i, 2] = (f - 1.5) * inverse, (2.0 - 2.0 * f) * inverse, (f - 0.5) * inverse
        return node, stride_x, stride_y, W1, S1

    @ti.func
    def pick(W1, axis: ti.template(), i):
        return ti.select(i == 0, W1[axis, 0], ti.select(i == 1, W1[axis, 1], W1[axis, 2]))

    @ti.func
    def reciprocal(mass):
        """1 / mass, or 0 for a node that no particle gives any."""
        return ti.select(mass > 0.0, 1.0 / ti.max(mass, ti.cast(1e-37, real)), ti.cast(0.0, real))

    @ti.func
    def slip_after(slip, grip, eps):
        """The slip w >= 0 after contact, w + grip w / sqrt(w^2 + eps^2) = slip.

        The left side grows and is concave, so that Newton's steps from a w that is too small rise to the root."""
        w = ti.max(slip - grip, slip * eps / (eps + grip))
        rising = 1
        for _step in range(NEWTON):
            if rising == 1:
                fade = 1.0 / ti.sqrt(w * w + eps * eps)
                step = (slip - w - grip * w * fade) / (1.0 + grip * eps * eps * fade * fade * fade)
                w = ti.max(w + step, ti.cast(0.0, real))
                rising = ti.select(step > 1e-9 * w, 1, 0)
        return w

    # Loops over a stencil stay loops: unrolled, they would compile for a minute.

    @ti.func
    def give(grid: ti.template(), offset, velocity: ti.template(), velocity_offset, node, stride_x, stride_y, W1, J):
        """The impulse J to the grid's velocities."""
        for corner in range(27):
            i, j, l = corner // 9, corner // 3 % 3, corner % 3
            at = node + i * stride_x + j * stride_y + l
            share = pick(W1, 0, i) * pick(W1, 1, j) * pick(W1, 2, l) * reciprocal(grid[offset + at][3])
            there = velocity[velocity_offset + at]
            velocity[velocity_offset + at] = there + vec4(share * J[0], share * J[1], share * J[2], 0.0)

    @ti.func
    def touch(
        tape: ti.template(), constants: ti.template(), sizes: ti.template(), boxes: ti.template(), box,
        grid: ti.template(), offset, velocity: ti.template(), velocity_offset, grips: ti.template(), tile_index, place,
        impulses: ti.template(), impulses_at,
        integers: ti.template(), reals: ti.template(), grids: ti.template(), inputs: ti.template(), inputs_at,
        work: ti.template(), base, wrenches: ti.template(), wrenches_at,
    ):  # fmt: skip
        """A tile's impulses: to the grid's velocities, and opposite to the links' wrenches; noted for each particle."""
        ti.static(tile.release())
        first, count, body, _law_index = particles.members(sizes, tile_index)
        X = ti.static(tile.local(3))
        load_tile(tape, place + AT_X, X)
        k, radius = grips[GRIP * body], grips[GRIP * body + 1]
        h, d, s, eps = reals[H], reals[SMOOTHING], reals[RESTITUTION_SPEED], reals[SLIP_SPEED]
        reach = radius + CUTOFF * d
        zero = ti.cast(0.0, real)
        geometries = near_tile(integers, reals, inputs, inputs_at, work, base, X, radius)
        for t in range(count):
            total = vec3(0.0, 0.0, 0.0)
            if geometries != 0:
                x = vec3(X[0][t], X[1][t], X[2][t])
                node, stride_x, stride_y, W1, _S1 = weights(x, constants, sizes, boxes, box)
                v, response = vec3(0.0, 0.0, 0.0), zero  # of the particle, gathered when the first geometry is met
                for n in range(integers[COUPLED]):
                    if (geometries >> ti.min(n, 30)) & 1 == 1:
                        geometry = integers[integers[COUPLED_AT] + n]
                        in_g = inputs_at + integers[I_GEOMETRY_AT] + GEOMETRY_INPUTS * geometry
                        link, center, rot = frame(integers, reals, work, base, geometry)
                        y = rot.transpose() @ (x - center)
                        if near(integers, reals, geometry, inputs[in_g + 3], y, reach):
                            sdf, g, _hessian = surfaces.distance(integers, reals, grids, geometry, inputs[in_g + 3], y, False)
                            phi = sdf - radius
                            if phi < CUTOFF * d:
                                if response == 0.0:
                                    for corner in range(27):
                                        i, j, l = corner // 9, corner // 3 % 3, corner % 3
                                        at = node + i * stride_x + j * stride_y + l
                                        w = pick(W1, 0, i) * pick(W1, 1, j) * pick(W1, 2, l)
                                        there = velocity[velocity_offset + at]
                                        v = v + w * vec3(there[0], there[1], there[2])
                                        response = response + w * w * reciprocal(grid[offset + at][3])
                                m = 1.0 / response
                                at_link = base + LINK * link
                                normal = rot @ (g / ti.sqrt(g.dot(g)))
                                arm = x - load(work, at_link + P)
                                u = v - load(work, at_link + U) - load(work, at_link + OMEGA).cross(arm)
                                rate = normal.dot(u)
                                _still, D, N = law.normal(phi, rate, k, d, zero, s)
                                slip = ti.sqrt(ti.max(u.dot(u) - rate * rate, zero))
                                limit = inputs[in_g] * N
                                after = slip_after(slip, h * limit / m, eps)
                                D_t = limit / ti.sqrt(after * after + eps * eps)
                                # m (v+ - v) = h (N - D (v+ - v) . n) n - h D_t (slip of v+)
                                J = m * h * (N / (m + h * D) * normal - D_t / (m + h * D_t) * (u - rate * normal))
                                total = total + J
                                add(wrenches, wrenches_at + 6 * link, -1.0 / h * J)
                                add(wrenches, wrenches_at + 6 * link + 3, -1.0 / h * arm.cross(J))
                if response > 0.0:
                    give(grid, offset, velocity, velocity_offset, node, stride_x, stride_y, W1, total)
            vf.store(impulses, impulses_at + 3 * (first + t), total)

    @ti.func
    def touch_adjoint(
        tape: ti.template(), bars: ti.template(), constants: ti.template(), sizes: ti.template(), boxes: ti.template(), box,
        grid: ti.template(), offset, velocity: ti.template(), velocity_offset, grid_bar: ti.template(), bar_offset,
        grips: ti.template(), tile_index, place, bar, impulses: ti.template(), impulses_at,
        integers: ti.template(), reals: ti.template(), grids: ti.template(), inputs: ti.template(), inputs_at,
        inputs_bar: ti.template(), work: ti.template(), base,
    ):  # fmt: skip
        """Reverse of ``touch``: takes the impulses back off the velocities, and turns the adjoint of the velocities after them
        (and the wrenches' adjoints, the links' virtual motions) into that of the velocities before; those of the masses, the
        particles' positions, the links' poses and motions, and the geometries' friction and scale are added to."""
        ti.static(tile.release())
        first, count, body, _law_index = particles.members(sizes, tile_index)
        X, Xb = ti.static(tile.local(3), tile.local(3))
        load_tile(tape, place + AT_X, X)
        load_tile(bars, bar + AT_X, Xb)
        k, radius = grips[GRIP * body], grips[GRIP * body + 1]
        h, d, s, eps = reals[H], reals[SMOOTHING], reals[RESTITUTION_SPEED], reals[SLIP_SPEED]
        reach = radius + CUTOFF * d
        zero = ti.cast(0.0, real)
        geometries = near_tile(integers, reals, inputs, inputs_at, work, base, X, radius)
        touched = 0
        for back in range(count):
            t = count - 1 - back
            total = load(impulses, impulses_at + 3 * (first + t))
            if total.dot(total) > 0.0:
                touched = 1
                x = vec3(X[0][t], X[1][t], X[2][t])
                node, stride_x, stride_y, W1, S1 = weights(x, constants, sizes, boxes, box)
                give(grid, offset, velocity, velocity_offset, node, stride_x, stride_y, W1, -1.0 * total)
                v, response, total_bar = vec3(0.0, 0.0, 0.0), zero, vec3(0.0, 0.0, 0.0)
                for corner in range(27):
                    i, j, l = corner // 9, corner // 3 % 3, corner % 3
                    at = node + i * stride_x + j * stride_y + l
                    wx, wy, wz = pick(W1, 0, i), pick(W1, 1, j), pick(W1, 2, l)
                    w, inverse = wx * wy * wz, reciprocal(grid[offset + at][3])
                    there, there_bar = velocity[velocity_offset + at], grid_bar[bar_offset + at]
                    v = v + w * vec3(there[0], there[1], there[2])
                    response = response + w * w * inverse
                    total_bar = total_bar + w * inverse * vec3(there_bar[0], there_bar[1], there_bar[2])
                m = 1.0 / response
                m_bar, v_bar, x_bar = zero, vec3(0.0, 0.0, 0.0), vec3(0.0, 0.0, 0.0)
                for n in range(integers[COUPLED]):
                    if (geometries >> ti.min(n, 30)) & 1 == 1:
                        geometry = integers[integers[COUPLED_AT] + n]
                        in_g = inputs_at + integers[I_GEOMETRY_AT] + GEOMETRY_INPUTS * geometry
                        mu, scale = inputs[in_g], inputs[in_g + 3]
                        link, center, rot = frame(integers, reals, work, base, geometry)
                        y = rot.transpose() @ (x - center)
                        if near(integers, reals, geometry, scale, y, reach):
                            sdf, g, hessian = surfaces.distance(integers, reals, grids, geometry, scale, y, True)
                            phi = sdf - radius
                            if phi < CUTOFF * d:
                                at_link = base + LINK * link
                                steep = ti.sqrt(g.dot(g))
                                n_local = g / steep
                                normal = rot @ n_local
                                arm = x - load(work, at_link + P)
                                omega, eta = load(work, at_link + OMEGA), load(work, at_link + ETA)
                                u = v - load(work, at_link + U) - omega.cross(arm)
                                rate = normal.dot(u)
                                _still, D, N = law.normal(phi, rate, k, d, zero, s)
                                slip = ti.sqrt(ti.max(u.dot(u) - rate * rate, zero))
                                grip = h * mu * N / m
                                after = slip_after(slip, grip, eps)
                                fade = 1.0 / ti.sqrt(after * after + eps * eps)
                                D_t = mu * N * fade
                                along, across = h * N / (m + h * D), -h * D_t / (m + h * D_t)
                                delta = along * normal + across * (u - rate * normal)
                                # J = m delta; the wrench (-J / h, -arm x J / h) has the adjoint (w, eta)
                                J_bar = total_bar - (load(work, at_link + W) + eta.cross(arm)) / h
                                arm_bar = -m / h * delta.cross(eta)
                                delta_bar = m * J_bar
                                along_bar = normal.dot(delta_bar)
                                across_bar = delta_bar.dot(u) - rate * along_bar
                                m_bar = m_bar + delta.dot(J_bar) - along_bar * along / (m + h * D)
                                m_bar = m_bar - across_bar * across / (m + h * D_t)
                                u_bar = across * (delta_bar - along_bar * normal)
                                n_bar = along * delta_bar - across * (rate * delta_bar + along_bar * u)
                                D_t_bar = -across_bar * h * m / ((m + h * D_t) * (m + h * D_t))
                                # of the slip after contact, squared: to the slip before, squared, and to grip
                                after_bar = -0.5 * fade * fade * D_t * D_t_bar
                                after_bar = after_bar / (1.0 + grip * eps * eps * fade * fade * fade)
                                slip_bar = after_bar / (1.0 + grip * fade)
                                grip_bar = -2.0 * after * after * fade * after_bar
                                limit_bar = fade * D_t_bar + h / m * grip_bar  # of mu N
                                m_bar = m_bar - grip_bar * grip / m
                                N_bar = along_bar * h / (m + h * D) + mu * limit_bar
                                D_bar = -along_bar * along * h / (m + h * D)
                                phi_bar, rate_bar, _k_bar, _e_bar = law.normal_adjoint(
                                    phi, rate, k, d, zero, s, zero, D_bar, N_bar
                                )
                                rate_bar = rate_bar - 2.0 * rate * slip_bar
                                u_bar = u_bar + 2.0 * slip_bar * u + rate_bar * normal
                                n_bar = n_bar + rate_bar * u
                                # u = v - u_link - omega x arm
                                v_bar = v_bar + u_bar
                                add(work, at_link + U_BAR, -1.0 * u_bar)
                                add(work, at_link + OMEGA_BAR, u_bar.cross(arm))
                                arm_bar = arm_bar + omega.cross(u_bar)
                                # the normal turns with the link; the distance's gradient with y
                                n_local_bar = rot.transpose() @ n_bar
                                g_bar = (n_local_bar - n_local * n_local.dot(n_local_bar)) / steep
                                bend = hessian @ g_bar
                                y_bar = rot @ (bend + phi_bar * g)
                                add(work, at_link + P_BAR, -1.0 * (arm_bar + y_bar))
                                add(work, at_link + THETA_BAR, normal.cross(n_bar) + y_bar.cross(arm))
                                x_bar = x_bar + arm_bar + y_bar
                                inputs_bar[in_g] = inputs_bar[in_g] + N * limit_bar
                                scale_bar = (phi_bar * (sdf - g.dot(y)) - bend.dot(y)) / scale
                                inputs_bar[in_g + 3] = inputs_bar[in_g + 3] + scale_bar
                # through the gathered velocity, the response and the shares, to the nodes and the weights
                response_bar = -m * m * m_bar
                for corner in range(27):
                    i, j, l = corner // 9, corner // 3 % 3, corner % 3
                    at = node + i * stride_x + j * stride_y + l
                    wx, wy, wz = pick(W1, 0, i), pick(W1, 1, j), pick(W1, 2, l)
                    w, inverse = wx * wy * wz, reciprocal(grid[offset + at][3])
                    there, there_bar = velocity[velocity_offset + at], grid_bar[bar_offset + at]
                    given = inverse * (there_bar[0] * total[0] + there_bar[1] * total[1] + there_bar[2] * total[2])
                    w_bar = given + 2.0 * w * inverse * response_bar
                    w_bar = w_bar + there[0] * v_bar[0] + there[1] * v_bar[1] + there[2] * v_bar[2]
                    mass_bar = -inverse * w * (given + w * inverse * response_bar)
                    grid_bar[bar_offset + at] = there_bar + vec4(w * v_bar[0], w * v_bar[1], w * v_bar[2], mass_bar)
                    sx, sy, sz = pick(S1, 0, i), pick(S1, 1, j), pick(S1, 2, l)
                    x_bar = x_bar + w_bar * vec3(sx * wy * wz, wx * sy * wz, wx * wy * sz)
                for c in ti.static(range(3)):
                    Xb[c][t] = Xb[c][t] + x_bar[c]
        if touched == 1:
            store_tile(bars, bar + AT_X, Xb)

    return SimpleNamespace(touch=touch, touch_adjoint=touch_adjoint)
