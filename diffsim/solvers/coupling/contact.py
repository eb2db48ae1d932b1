"""Contact of a tile's particles with the rigid geometries: velocities one way, wrenches the other; forward beside adjoint.

A particle is a ball of the soft body's particle radius. The law is that of the rigid contacts (docs/rigid.md) with e = 0,
implicit in the particle's own new velocity. The force acts on the link at the particle's centre, equal and opposite, so that
momentum and angular momentum are conserved. Several geometries act on a particle side by side.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

import taichi as ti

from diffsim.solvers.mpm.memory import AT_V, AT_X, BODIES, BODY
from diffsim.solvers.mpm.memory import INPUTS as SOFT_INPUTS
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


def particle_contact(real: Any, particles: SimpleNamespace) -> SimpleNamespace:
    """``touch`` and ``touch_adjoint``, on tiles of the stages ``particles``."""
    tile, load_tile, store_tile = particles.tile, particles.load, particles.store
    vf = vector_functions(real)
    law = compliance(real)
    surfaces = distance_stage(real)
    vec3, load, add = vf.vec3, vf.load, vf.add

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
    def change(m, h, D, N, D_t):
        """Implicit change of a particle's velocity: along the normal, and of each unit of slip."""
        return h * N / (m + h * D), -h * D_t / (m + h * D_t)

    @ti.func
    def touch(
        tape: ti.template(), sizes: ti.template(), soft_inputs: ti.template(), grips: ti.template(), tile_index, e, place,
        kept: ti.template(), kept_at,
        integers: ti.template(), reals: ti.template(), grids: ti.template(), inputs: ti.template(), inputs_at,
        work: ti.template(), base, wrenches: ti.template(), wrenches_at,
    ):  # fmt: skip
        """The particles' velocities after contact, on the tape in place of those before, which are kept; and the links'
        wrenches, added to."""
        ti.static(tile.release())
        _first, count, body, _law_index = particles.members(sizes, tile_index)
        X, V, new = ti.static(tile.local(3), tile.local(3), tile.local(3))
        load_tile(tape, place + AT_X, X)
        load_tile(tape, place + AT_V, V)
        load_tile(tape, place + AT_V, new)
        store_tile(kept, kept_at, V)
        m = soft_inputs[e * sizes[SOFT_INPUTS] + BODIES + BODY * body]
        k, radius = grips[GRIP * body], grips[GRIP * body + 1]
        h, d, s, eps = reals[H], reals[SMOOTHING], reals[RESTITUTION_SPEED], reals[SLIP_SPEED]
        middle, spread = extent(X)
        touched = 0
        for n in range(integers[COUPLED]):
            geometry = integers[integers[COUPLED_AT] + n]
            in_g = inputs_at + integers[I_GEOMETRY_AT] + GEOMETRY_INPUTS * geometry
            link, center, rot = frame(integers, reals, work, base, geometry)
            reach = radius + CUTOFF * d
            if near(integers, reals, geometry, inputs[in_g + 3], rot.transpose() @ (middle - center), reach + spread):
                at = base + LINK * link
                p, u_link, omega = load(work, at + P), load(work, at + U), load(work, at + OMEGA)
                force, torque = vec3(0.0, 0.0, 0.0), vec3(0.0, 0.0, 0.0)
                for t in range(count):
                    x = vec3(X[0][t], X[1][t], X[2][t])
                    y = rot.transpose() @ (x - center)
                    if near(integers, reals, geometry, inputs[in_g + 3], y, reach):
                        sdf, g, _hessian = surfaces.distance(integers, reals, grids, geometry, inputs[in_g + 3], y, False)
                        phi = sdf - radius
                        if phi < CUTOFF * d:
                            normal = rot @ (g / ti.sqrt(g.dot(g)))
                            arm = x - p
                            u = vec3(V[0][t], V[1][t], V[2][t]) - u_link - omega.cross(arm)
                            rate = normal.dot(u)
                            _still, D, N = law.normal(phi, rate, k, d, ti.cast(0.0, real), s)
                            slip = ti.max(u.dot(u) - rate * rate, ti.cast(0.0, real))
                            along, across = change(m, h, D, N, inputs[in_g] * N / ti.sqrt(slip + eps * eps))
                            delta = along * normal + across * (u - rate * normal)
                            for i in ti.static(range(3)):
                                new[i][t] = new[i][t] + delta[i]
                            force = force - (m / h) * delta
                            torque = torque - arm.cross((m / h) * delta)
                            touched = 1
                add(wrenches, wrenches_at + 6 * link, force)
                add(wrenches, wrenches_at + 6 * link + 3, torque)
        if touched == 1:
            store_tile(tape, place + AT_V, new)

    @ti.func
    def restore(tape: ti.template(), place, kept: ti.template(), kept_at):
        """The velocities that ``touch`` kept, back onto the tape."""
        for c in ti.static(range(3)):
            tape[place + AT_V + c] = kept[kept_at + c]

    @ti.func
    def touch_adjoint(
        tape: ti.template(), bars: ti.template(), sizes: ti.template(), soft_inputs: ti.template(),
        soft_inputs_bar: ti.template(), grips: ti.template(), tile_index, e, place, bar,
        integers: ti.template(), reals: ti.template(), grids: ti.template(), inputs: ti.template(), inputs_at,
        inputs_bar: ti.template(), work: ti.template(), base,
    ):  # fmt: skip
        """From the adjoints of the velocities after contact, and those of the wrenches (the links' virtual motions), to the
        adjoints of positions and velocities before; those of the links' poses and motions are added to."""
        ti.static(tile.release())
        _first, count, body, _law_index = particles.members(sizes, tile_index)
        X, V, Xb, Vb, new_bar = ti.static(tile.local(3), tile.local(3), tile.local(3), tile.local(3), tile.local(3))
        load_tile(tape, place + AT_X, X)
        load_tile(tape, place + AT_V, V)
        load_tile(bars, bar + AT_X, Xb)
        load_tile(bars, bar + AT_V, Vb)
        load_tile(bars, bar + AT_V, new_bar)
        mass_at = e * sizes[SOFT_INPUTS] + BODIES + BODY * body
        m = soft_inputs[mass_at]
        k, radius = grips[GRIP * body], grips[GRIP * body + 1]
        h, d, s, eps = reals[H], reals[SMOOTHING], reals[RESTITUTION_SPEED], reals[SLIP_SPEED]
        zero = ti.cast(0.0, real)
        middle, spread = extent(X)
        touched = 0
        for n in range(integers[COUPLED]):
            geometry = integers[integers[COUPLED_AT] + n]
            in_g = inputs_at + integers[I_GEOMETRY_AT] + GEOMETRY_INPUTS * geometry
            mu, scale = inputs[in_g], inputs[in_g + 3]
            link, center, rot = frame(integers, reals, work, base, geometry)
            reach = radius + CUTOFF * d
            if near(integers, reals, geometry, scale, rot.transpose() @ (middle - center), reach + spread):
                at = base + LINK * link
                p, u_link, omega = load(work, at + P), load(work, at + U), load(work, at + OMEGA)
                w_link, eta = load(work, at + W), load(work, at + ETA)
                for t in range(count):
                    x = vec3(X[0][t], X[1][t], X[2][t])
                    y = rot.transpose() @ (x - center)
                    if near(integers, reals, geometry, scale, y, reach):
                        sdf, g, hessian = surfaces.distance(integers, reals, grids, geometry, scale, y, True)
                        phi = sdf - radius
                        if phi < CUTOFF * d:
                            steep = ti.sqrt(g.dot(g))
                            n_local = g / steep
                            normal = rot @ n_local
                            arm = x - p
                            u = vec3(V[0][t], V[1][t], V[2][t]) - u_link - omega.cross(arm)
                            rate = normal.dot(u)
                            _still, D, N = law.normal(phi, rate, k, d, zero, s)
                            slip = ti.max(u.dot(u) - rate * rate, zero)
                            fade = 1.0 / ti.sqrt(slip + eps * eps)
                            D_t = mu * N * fade
                            along, across = change(m, h, D, N, D_t)
                            delta = along * normal + across * (u - rate * normal)
                            # the force on the link, -m delta / h, has the adjoint w + eta x arm
                            virtual = w_link + eta.cross(arm)
                            delta_bar = vec3(new_bar[0][t], new_bar[1][t], new_bar[2][t]) - (m / h) * virtual
                            arm_bar = -(m / h) * delta.cross(eta)
                            m_bar = -delta.dot(virtual) / h
                            along_n = normal.dot(delta_bar)
                            across_bar = delta_bar.dot(u) - rate * along_n
                            u_bar = across * (delta_bar - along_n * normal)
                            n_bar = along * delta_bar - across * (rate * delta_bar + along_n * u)
                            # along = h N / (m + h D), across = -h D_t / (m + h D_t)
                            N_bar = along_n * h / (m + h * D)
                            D_bar = -along_n * along * h / (m + h * D)
                            D_t_bar = -across_bar * h * m / ((m + h * D_t) * (m + h * D_t))
                            m_bar = m_bar - along_n * along / (m + h * D) - across_bar * across / (m + h * D_t)
                            N_bar = N_bar + mu * fade * D_t_bar
                            slip_bar = -0.5 * fade * fade * D_t * D_t_bar
                            phi_bar, rate_bar, _k_bar, _e_bar = law.normal_adjoint(
                                phi, rate, k, d, zero, s, zero, D_bar, N_bar
                            )
                            rate_bar = rate_bar - 2.0 * rate * slip_bar
                            u_bar = u_bar + 2.0 * slip_bar * u + rate_bar * normal
                            n_bar = n_bar + rate_bar * u
                            # u = v - u_link - omega x arm
                            add(work, at + U_BAR, -1.0 * u_bar)
                            add(work, at + OMEGA_BAR, u_bar.cross(arm))
                            arm_bar = arm_bar + omega.cross(u_bar)
                            # the normal turns with the link; the distance's gradient with y
                            n_local_bar = rot.transpose() @ n_bar
                            g_bar = (n_local_bar - n_local * n_local.dot(n_local_bar)) / steep
                            bend = hessian @ g_bar
                            y_bar = rot @ (bend + phi_bar * g)
                            x_bar = arm_bar + y_bar
                            add(work, at + P_BAR, -1.0 * x_bar)
                            add(work, at + THETA_BAR, normal.cross(n_bar) + y_bar.cross(arm))
                            for i in ti.static(range(3)):
                                Xb[i][t] = Xb[i][t] + x_bar[i]
                                Vb[i][t] = Vb[i][t] + u_bar[i]
                            soft_inputs_bar[mass_at] += m_bar
                            inputs_bar[in_g] += N * fade * D_t_bar
                            inputs_bar[in_g + 3] += (phi_bar * (sdf - g.dot(y)) - bend.dot(y)) / scale
                            touched = 1
        if touched == 1:
            store_tile(bars, bar + AT_X, Xb)
            store_tile(bars, bar + AT_V, Vb)

    return SimpleNamespace(touch=touch, restore=restore, touch_adjoint=touch_adjoint)
