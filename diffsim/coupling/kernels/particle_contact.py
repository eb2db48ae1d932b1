"""Contact of particles with the rigid geometries on the velocities that the grid is about to give them; forward beside adjoint.

A particle is a ball of the soft body's particle radius. The law is that of the rigid contacts (docs/rigid.md) with e = 0, but
for the slip that friction depends on: here it is that after the contact. With the slip before it, that which the elastic
forces of the substep are about to cause would weaken the friction that is to prevent it.

The impulse J goes to the grid with the particle's weights, v_i += w_i J / m_i, and -J to the link at the particle's centre:
momentum and angular momentum are conserved. Were the velocities corrected before the transfer to the grid, the elastic forces
would move the surface afterwards: a cube of jelly crept out of a gripper at 4 cm/s.

Particles share nodes, so each impulse depends on all others. SWEEPS times, all particles find theirs anew from the velocities
without their own, and then the grid takes the changes. A particle's response 1 / M to its impulse counts the crowd: the
particles in contact push together, and a response to its own impulse alone would overshoot. (One after the other, each with its
own response, they overshot too, in the direction of the order: a cube gripped without gravity turned out of the fingers.)
Several geometries act on a particle side by side.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any, NamedTuple

from diffsim.compiler import ti
from diffsim.coupling.coupled_records import SWEEPS, ContactSections, Grip, ImpulseBar, MotionBar
from diffsim.rigid.kernels.compliance import compliance
from diffsim.rigid.kernels.distance import distance_stage
from diffsim.rigid.kernels.rigid_memory import model_rows
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import (
    GeometryIndices,
    GeometryInputs,
    Header,
    LinkAdjoint,
    LinkWork,
    SceneConstants,
    Wrench,
)
from diffsim.soft.kernels.boxes import low, strides
from diffsim.soft.soft_records import Component, Constants, Sizes

REACH = 24.0  # contacts beyond so many smoothing lengths are left out: their forces are below 1e-10 k d
SHARPNESS = 2.0  # of a particle's share: it is half at phi = 0.9 d, and 0.75 at phi = 0
WEAK = 1e-5  # a particle of a smaller share feels 1e-5 of a touching one's forces: the first sweep does for it
NEWTON = 16  # steps at most for the slip after contact: 9 do where friction can take off 1e3 slip speeds, 15 for 1e6
SHARES, CHANGE, MOTION_BARS, RESPONSE_BARS = range(4)  # what `spread` adds


class ContactMemory(NamedTuple):
    """The arrays of `coupled_records`."""

    grips: Any
    contacts: Any
    bars: Any = None


class ContactPlace(NamedTuple):
    """Where a substep's part begins in contacts, and a lane's in the adjoints."""

    contacts: Any
    bars: Any = None


def particle_contact(real: Any, particles: SimpleNamespace, further: tuple = ()) -> SimpleNamespace:
    """``touch``, ``touch_adjoint``, ``spread`` and ``spread_sweep``, for tiles of the stages ``particles``."""
    tile, load_tile, store_tile = particles.tile, particles.load, particles.store
    vf, rows = vector_functions(real), model_rows()
    law = compliance(real)
    surfaces = distance_stage(real, further)
    vec3, mat3, load, add = vf.vec3, vf.mat3, vf.load, vf.add
    vec4 = ti.types.vector(4, real)

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
    def coupled_geometry(rigid: ti.template(), n):
        """Number of the n-th geometry that soft bodies touch."""
        return rigid.integers[rigid.integers[Header.coupled_geometries] + n]

    @ti.func
    def add_bar(rigid: ti.template(), place, x):
        rigid.inputs_bar[place] = rigid.inputs_bar[place] + x

    @ti.func
    def contact_scales(rigid: ti.template()):
        """Substep h, smoothing length d, restitution speed s and slip speed eps."""
        h, d = rigid.reals[SceneConstants.dt], rigid.reals[SceneConstants.smoothing]
        return h, d, rigid.reals[SceneConstants.restitution_speed], rigid.reals[SceneConstants.slip_speed]

    @ti.func
    def near_tile(rigid: ti.template(), rigid_at: ti.template(), X: ti.template(), radius):
        """Bits of the geometries that a tile's particles may touch; those from the 31st on share one."""
        middle, spread = extent(X)
        found = 0
        for n in range(rigid.integers[Header.coupled]):
            geometry = coupled_geometry(rigid, n)
            scale = rigid.inputs[rows.geometry_inputs(rigid, rigid_at, geometry) + GeometryInputs.scale]
            _block, center, rot = surfaces.frame(rigid, rigid_at, geometry)
            reach = radius + REACH * rigid.reals[SceneConstants.smoothing] + spread
            if surfaces.ball_distance(rigid, geometry, scale, rot.transpose() @ (middle - center)) < reach:
                found = found | (1 << ti.min(n, 30))
        return found

    @ti.func
    def weights(x, constants: ti.template(), sizes: ti.template(), boxes: ti.template(), box):
        """The first node of a particle's stencil within the box, the strides, and per axis the weights and their slopes."""
        W1, S1 = mat3(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), mat3(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        stride_x, stride_y = strides(boxes, box)
        steps = ti.Vector([stride_x, stride_y, 1])
        node = 0
        inverse = 1.0 / constants[Constants.dx]
        for i in ti.static(range(3)):
            scaled = (x[i] - constants[Constants.origin + i]) * inverse
            base_node = ti.max(ti.min(ti.cast(ti.max(scaled, 0.5) - 0.5, ti.i32), sizes[Sizes.counts + i] - 3), 0)
            node += (base_node - low(boxes, box, i)) * steps[i]
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
        """The slip w >= 0 after contact, w + grip w / sqrt(w^2 + eps^2) = slip; ``grip`` is what friction can take off.

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
    def spread(
        soft: ti.template(), step: ti.template(), place: ti.template(), target: ti.template(), target_offset,
        source: ti.template(), source_at, kind: ti.template(), sweep, sign,
    ):  # fmt: skip
        """Adds what the particles of a tile hold to their nodes, by their weights: SHARES to the fourth component; the CHANGE
        of the impulses in a sweep, ``sign`` times, over the nodes' masses; where ``source`` are adjoints, those of
        the gathered velocities, or those of the responses over the masses, to the first component."""
        ti.static(tile.release())
        first, count, _body, _law_index = particles.members(soft.sizes, place.tile)
        X = ti.static(tile.local(3))
        load_tile(soft.tape, place.now + Component.x, X)
        total = soft.sizes[Sizes.particles]
        for t in range(count):
            value = vec4(0.0, 0.0, 0.0, 0.0)
            if ti.static(kind == SHARES):
                value = vec4(0.0, 0.0, 0.0, source[source_at + first + t])
            elif ti.static(kind == CHANGE):
                change = sign * impulse_change(source, source_at, total, first + t, sweep)
                value = vec4(change[0], change[1], change[2], 0.0)
            elif ti.static(kind == MOTION_BARS):
                bar = load(source, source_at + motion_bar(total, first + t) + MotionBar.velocity)
                value = vec4(bar[0], bar[1], bar[2], 0.0)
            else:
                value = vec4(source[source_at + ImpulseBar.SIZE * (first + t) + ImpulseBar.response], 0.0, 0.0, 0.0)
            if value.dot(value) > 0.0:
                x = vec3(X[0][t], X[1][t], X[2][t])
                node, stride_x, stride_y, W1, _S1 = weights(x, soft.constants, soft.sizes, soft.boxes, step.box)
                for line in range(9):
                    i, j = line // 3, line % 3
                    wxy = pick(W1, 0, i) * pick(W1, 1, j)
                    for l in ti.static(range(3)):
                        at = node + i * stride_x + j * stride_y + l
                        w = wxy * W1[2, l]
                        if ti.static(kind == CHANGE or kind == RESPONSE_BARS):
                            w = w * reciprocal(soft.grid[step.grid + at][3])
                        target[target_offset + at] = target[target_offset + at] + w * value

    @ti.func
    def spread_sweep(
        soft: ti.template(), step: ti.template(), place: ti.template(), contacts: ti.template(), contacts_at, sweep
    ):
        """`spread` of what a sweep found, to the velocities: the shares after sweep 0, then the changes of the impulses."""
        if sweep == 0:
            spread(soft, step, place, soft.velocity, step.velocity, contacts, contacts_at, SHARES, 0, 1.0)
        else:
            spread(soft, step, place, soft.velocity, step.velocity, contacts, contacts_at, CHANGE, sweep, 1.0)

    @ti.func
    def own_part(total, particle):
        """Where a particle's own part of its response stands among a substep's contacts."""
        return ContactSections.own_part * total + particle

    @ti.func
    def impulse_place(total, particle, sweep):
        """Where a particle's impulse after a sweep stands among a substep's contacts; sweeps count from 1."""
        return (ContactSections.impulses + 3 * (sweep - 1)) * total + 3 * particle

    @ti.func
    def motion_bar(total, particle):
        """Where a particle's MotionBar stands among a lane's adjoints."""
        return ImpulseBar.SIZE * total + MotionBar.SIZE * particle

    @ti.func
    def impulse(contacts: ti.template(), at, total, particle, sweep):
        """A particle's impulse after a sweep; there is none before the first."""
        J = vec3(0.0, 0.0, 0.0)
        if sweep > 0:
            J = load(contacts, at + impulse_place(total, particle, sweep))
        return J

    @ti.func
    def impulse_change(contacts: ti.template(), at, total, particle, sweep):
        return impulse(contacts, at, total, particle, sweep) - impulse(contacts, at, total, particle, sweep - 1)

    @ti.func
    def meets(contacts: ti.template(), at, count):
        """Whether any of ``count`` particles has a share."""
        found = 0
        for t in range(count):
            if contacts[at + t] > 0.0:
                found = 1
        return found

    @ti.func
    def crowding(phi, d):
        """Share of a contact, 1 - (1 - s)^SHARPNESS, its slope in phi, and softplus and its slope s at -phi / d."""
        sp, slope = law.softplus(-phi / d)
        rest = ti.exp(-SHARPNESS * sp)
        return 1.0 - rest, -SHARPNESS / d * slope * rest, sp, slope

    @ti.func
    def touch(
        soft: ti.template(), step: ti.template(), place: ti.template(), held: ti.template(), held_at: ti.template(), sweep,
        rigid: ti.template(), rigid_at: ti.template(),
    ):  # fmt: skip
        """Sweep 0 finds a tile's shares, each other one its impulses. With the last, the links get the opposite wrenches."""
        ti.static(tile.release())
        first, count, body, _law_index = particles.members(soft.sizes, place.tile)
        X = ti.static(tile.local(3))
        load_tile(soft.tape, place.now + Component.x, X)
        grip_row = Grip.SIZE * body
        k, radius = held.grips[grip_row + Grip.stiffness], held.grips[grip_row + Grip.radius]
        h, d, s, eps = contact_scales(rigid)
        reach = radius + REACH * d
        zero, total = ti.cast(0.0, real), soft.sizes[Sizes.particles]
        geometries = 0
        if sweep == 0 or meets(held.contacts, held_at.contacts + first, count) == 1:
            geometries = near_tile(rigid, rigid_at, X, radius)
        for t in range(count):
            particle = first + t
            share, pressed = zero, zero
            J = impulse(held.contacts, held_at.contacts, total, particle, sweep - 1)
            active = 0
            if sweep > 0:
                share = held.contacts[held_at.contacts + particle]
                active = ti.cast(share > ti.select(sweep == 1, zero, ti.cast(WEAK, real)), ti.i32)
            elif geometries != 0:
                active = 1
            if active == 1:
                x = vec3(X[0][t], X[1][t], X[2][t])
                v, m = vec3(0.0, 0.0, 0.0), zero
                if sweep > 0:
                    node, stride_x, stride_y, W1, _S1 = weights(x, soft.constants, soft.sizes, soft.boxes, step.box)
                    own, response = held.contacts[held_at.contacts + own_part(total, particle)], zero
                    for line in range(9):
                        i, j = line // 3, line % 3
                        wxy = pick(W1, 0, i) * pick(W1, 1, j)
                        for l in ti.static(range(3)):
                            at = node + i * stride_x + j * stride_y + l
                            w, there = wxy * W1[2, l], soft.velocity[step.velocity + at]
                            v = v + w * vec3(there[0], there[1], there[2])
                            response = response + w * (own * w + there[3]) * reciprocal(soft.grid[step.grid + at][3])
                    v, m = v - response * J, 1.0 / response
                    J = vec3(0.0, 0.0, 0.0)
                final = ti.cast(sweep == SWEEPS or (sweep == 1 and share <= WEAK), ti.i32)  # no sweep will change it
                for n in range(rigid.integers[Header.coupled]):
                    if (geometries >> ti.min(n, 30)) & 1 == 1:
                        geometry = coupled_geometry(rigid, n)
                        in_g = rows.geometry_inputs(rigid, rigid_at, geometry)
                        block, center, rot = surfaces.frame(rigid, rigid_at, geometry)
                        y = rot.transpose() @ (x - center)
                        scale = rigid.inputs[in_g + GeometryInputs.scale]
                        if surfaces.ball_distance(rigid, geometry, scale, y) < reach:
                            sdf, g, _hessian = surfaces.distance(rigid, geometry, scale, y, False)
                            phi = sdf - radius
                            if phi < REACH * d:
                                if sweep == 0:
                                    own_share, _slope, sp, _sp_slope = crowding(phi, d)
                                    share, pressed = share + own_share, pressed + sp
                                else:
                                    normal = rot @ (g / ti.sqrt(g.dot(g)))
                                    arm = x - load(rigid.work, block + LinkWork.position)
                                    omega = load(rigid.work, block + LinkWork.angular_velocity)
                                    u = v - load(rigid.work, block + LinkWork.velocity) - omega.cross(arm)
                                    rate = normal.dot(u)
                                    _still, D, N = law.normal(phi, rate, k, d, zero, s)
                                    slip = ti.sqrt(ti.max(u.dot(u) - rate * rate, zero))
                                    # m (v+ - v) = (h N - h D (v+ - v) . n) n - m pull (slip of v+)
                                    along = h * N / (m + h * D)
                                    grip = rigid.inputs[in_g + GeometryInputs.friction] * along
                                    after = slip_after(slip, grip, eps)
                                    pull = grip / ti.sqrt(after * after + eps * eps)
                                    own_J = m * (along * normal - pull / (1.0 + pull) * (u - rate * normal))
                                    J = J + own_J
                                    if final == 1:
                                        link = rigid.integers[rows.geometry_indices(rigid, geometry) + GeometryIndices.link]
                                        wrench = rigid_at.wrenches + Wrench.SIZE * link
                                        add(rigid.tape, wrench + Wrench.force, -1.0 / h * own_J)
                                        add(rigid.tape, wrench + Wrench.torque, -1.0 / h * arm.cross(own_J))
            if sweep == 0:
                held.contacts[held_at.contacts + particle] = share
                held.contacts[held_at.contacts + own_part(total, particle)] = ti.exp(-SHARPNESS * pressed)
            else:
                vf.store(held.contacts, held_at.contacts + impulse_place(total, particle, sweep), J)

    @ti.func
    def touch_adjoint(
        soft: ti.template(), soft_bars: ti.template(), step: ti.template(), place: ti.template(), held: ti.template(),
        held_at: ti.template(), sweep, rigid: ti.template(), rigid_at: ti.template(),
    ):  # fmt: skip
        """Reverse of a sweep, given the velocities before it. The adjoints of the velocities it gathered are kept for
        `spread`, those of its impulses become those of the sweep before; those of the masses, the particles' positions, the
        links' poses and motions, and the geometries' friction and scale are added to. For sweep 0 the first component of a
        node's velocity is the adjoint of its crowd, as the fourth is the crowd."""
        ti.static(tile.release())
        first, count, body, _law_index = particles.members(soft.sizes, place.tile)
        X, Xb = ti.static(tile.local(3), tile.local(3))
        load_tile(soft.tape, place.now + Component.x, X)
        load_tile(soft_bars.tape, place.bar + Component.x, Xb)
        grip_row = Grip.SIZE * body
        k, radius = held.grips[grip_row + Grip.stiffness], held.grips[grip_row + Grip.radius]
        h, d, s, eps = contact_scales(rigid)
        reach = radius + REACH * d
        zero, total = ti.cast(0.0, real), soft.sizes[Sizes.particles]
        touched = meets(held.contacts, held_at.contacts + first, count)
        geometries = 0
        if touched == 1:
            geometries = near_tile(rigid, rigid_at, X, radius)
        for t in range(count):
            particle = first + t
            share = held.contacts[held_at.contacts + particle]
            at_bars = held_at.bars + motion_bar(total, particle)
            impulse_bar = held_at.bars + ImpulseBar.SIZE * particle
            v_bar = vec3(0.0, 0.0, 0.0)
            if share > ti.select(sweep < 2, zero, ti.cast(WEAK, real)):
                own = held.contacts[held_at.contacts + own_part(total, particle)]
                old = impulse(held.contacts, held_at.contacts, total, particle, sweep - 1)
                change = impulse_change(held.contacts, held_at.contacts, total, particle, sweep)
                J_bar = load(held.bars, impulse_bar + ImpulseBar.impulse)
                response_bar = held.bars[impulse_bar + ImpulseBar.response]
                x = vec3(X[0][t], X[1][t], X[2][t])
                node, stride_x, stride_y, W1, S1 = weights(x, soft.constants, soft.sizes, soft.boxes, step.box)
                v, response, change_bar, share_bar, own_bar = vec3(0.0, 0.0, 0.0), zero, vec3(0.0, 0.0, 0.0), zero, zero
                for line in range(9):
                    i, j = line // 3, line % 3
                    wxy = pick(W1, 0, i) * pick(W1, 1, j)
                    for l in ti.static(range(3)):
                        at = node + i * stride_x + j * stride_y + l
                        w, inverse = wxy * W1[2, l], reciprocal(soft.grid[step.grid + at][3])
                        there, there_bar = soft.velocity[step.velocity + at], soft_bars.grid[step.grid_bar + at]
                        v = v + w * vec3(there[0], there[1], there[2])
                        response = response + w * (own * w + there[3]) * inverse
                        change_bar = change_bar + w * inverse * vec3(there_bar[0], there_bar[1], there_bar[2])
                        own_bar = own_bar + w * w * inverse * response_bar
                share_bar = v[0]  # in sweep 0: what was gathered is the adjoint of the crowd
                m = 1.0 / response
                v = v - response * old
                J_bar = J_bar + change_bar
                final = ti.cast(sweep == SWEEPS or (sweep == 1 and share <= WEAK), ti.i32)
                m_bar, x_bar = zero, vec3(0.0, 0.0, 0.0)
                for n in range(rigid.integers[Header.coupled]):
                    if (geometries >> ti.min(n, 30)) & 1 == 1:
                        geometry = coupled_geometry(rigid, n)
                        in_g = rows.geometry_inputs(rigid, rigid_at, geometry)
                        mu, scale = rigid.inputs[in_g + GeometryInputs.friction], rigid.inputs[in_g + GeometryInputs.scale]
                        block, center, rot = surfaces.frame(rigid, rigid_at, geometry)
                        y = rot.transpose() @ (x - center)
                        if surfaces.ball_distance(rigid, geometry, scale, y) < reach:
                            sdf, g, hessian = surfaces.distance(rigid, geometry, scale, y, True)
                            phi = sdf - radius
                            if phi < REACH * d:
                                steep = ti.sqrt(g.dot(g))
                                n_local = g / steep
                                normal = rot @ n_local
                                arm = x - load(rigid.work, block + LinkWork.position)
                                phi_bar, mu_bar = zero, zero
                                n_bar, arm_bar, u_bar = vec3(0.0, 0.0, 0.0), vec3(0.0, 0.0, 0.0), vec3(0.0, 0.0, 0.0)
                                if sweep == 0:
                                    _share, share_slope, _sp, sp_slope = crowding(phi, d)
                                    phi_bar = share_bar * share_slope + own_bar * own * sp_slope * SHARPNESS / d
                                else:
                                    omega = load(rigid.work, block + LinkWork.angular_velocity)
                                    u = v - load(rigid.work, block + LinkWork.velocity) - omega.cross(arm)
                                    rate = normal.dot(u)
                                    _still, D, N = law.normal(phi, rate, k, d, zero, s)
                                    slip = ti.sqrt(ti.max(u.dot(u) - rate * rate, zero))
                                    along = h * N / (m + h * D)
                                    grip = mu * along
                                    after = slip_after(slip, grip, eps)
                                    fade = 1.0 / ti.sqrt(after * after + eps * eps)
                                    pull = grip * fade
                                    across = -pull / (1.0 + pull)
                                    delta = along * normal + across * (u - rate * normal)
                                    # J = m delta; the wrench (-J / h, -arm x J / h) has the adjoint (w, eta)
                                    own_J_bar = J_bar
                                    if final == 1:
                                        eta = load(rigid.work, block + LinkAdjoint.virtual_angular_velocity)
                                        w_link = load(rigid.work, block + LinkAdjoint.virtual_velocity)
                                        own_J_bar = own_J_bar - (w_link + eta.cross(arm)) / h
                                        arm_bar = -m / h * delta.cross(eta)
                                    delta_bar = m * own_J_bar
                                    along_bar = normal.dot(delta_bar)
                                    across_bar = delta_bar.dot(u) - rate * along_bar
                                    u_bar = across * (delta_bar - along_bar * normal)
                                    n_bar = along * delta_bar - across * (rate * delta_bar + along_bar * u)
                                    pull_bar = -across_bar / ((1.0 + pull) * (1.0 + pull))
                                    # of the slip after contact, squared: to the slip before, squared, and to grip
                                    after_bar = -0.5 * fade * fade * pull * pull_bar
                                    after_bar = after_bar / (1.0 + pull * eps * eps * fade * fade)
                                    slip_bar = after_bar / (1.0 + pull)
                                    grip_bar = fade * pull_bar - 2.0 * after * after * fade * after_bar
                                    mu_bar = along * grip_bar
                                    along_bar = (along_bar + mu * grip_bar) / (m + h * D)
                                    m_bar = m_bar + delta.dot(own_J_bar) - along * along_bar
                                    D_bar, N_bar = -h * along * along_bar, h * along_bar
                                    of_phi, rate_bar, _k_bar, _e_bar = law.normal_adjoint(
                                        phi, rate, k, d, zero, s, zero, D_bar, N_bar
                                    )
                                    phi_bar = of_phi
                                    rate_bar = rate_bar - 2.0 * rate * slip_bar
                                    u_bar = u_bar + 2.0 * slip_bar * u + rate_bar * normal
                                    n_bar = n_bar + rate_bar * u
                                    # u = v - u_link - omega x arm
                                    v_bar = v_bar + u_bar
                                    add(rigid.work, block + LinkAdjoint.velocity_bar, -1.0 * u_bar)
                                    add(rigid.work, block + LinkAdjoint.angular_velocity_bar, u_bar.cross(arm))
                                    arm_bar = arm_bar + omega.cross(u_bar)
                                # the normal turns with the link; the distance's gradient with y
                                n_local_bar = rot.transpose() @ n_bar
                                g_bar = (n_local_bar - n_local * n_local.dot(n_local_bar)) / steep
                                bend = hessian @ g_bar
                                y_bar = rot @ (bend + phi_bar * g)
                                add(rigid.work, block + LinkAdjoint.position_bar, -1.0 * (arm_bar + y_bar))
                                add(rigid.work, block + LinkAdjoint.rotation_bar, normal.cross(n_bar) + y_bar.cross(arm))
                                x_bar = x_bar + arm_bar + y_bar
                                add_bar(rigid, in_g + GeometryInputs.friction, mu_bar)
                                scale_bar = (phi_bar * (sdf - g.dot(y)) - bend.dot(y)) / scale
                                add_bar(rigid, in_g + GeometryInputs.scale, scale_bar)
                # through the gathered velocity and the shares of the change (sweep 0: the response and the crowd), to the
                # nodes' masses and the weights
                for corner in range(27):
                    i, j, l = corner // 9, corner // 3 % 3, corner % 3
                    at = node + i * stride_x + j * stride_y + l
                    wx, wy, wz = pick(W1, 0, i), pick(W1, 1, j), pick(W1, 2, l)
                    w, inverse = wx * wy * wz, reciprocal(soft.grid[step.grid + at][3])
                    there, there_bar = soft.velocity[step.velocity + at], soft_bars.grid[step.grid_bar + at]
                    w_bar, shared = zero, zero
                    if sweep == 0:
                        shared = inverse * (own * w + there[3]) * response_bar
                        w_bar = shared + own * w * inverse * response_bar + share * there[0]
                    else:
                        shared = inverse * (there_bar[0] * change[0] + there_bar[1] * change[1] + there_bar[2] * change[2])
                        w_bar = shared + there[0] * v_bar[0] + there[1] * v_bar[1] + there[2] * v_bar[2]
                    soft_bars.grid[step.grid_bar + at] = there_bar + vec4(0.0, 0.0, 0.0, -inverse * w * shared)
                    sx, sy, sz = pick(S1, 0, i), pick(S1, 1, j), pick(S1, 2, l)
                    x_bar = x_bar + w_bar * vec3(sx * wy * wz, wx * sy * wz, wx * wy * sz)
                for c in ti.static(range(3)):
                    Xb[c][t] = Xb[c][t] + x_bar[c]
                if sweep > 0:
                    # v = gathered - response * old, the change is J - old
                    response_bar = response_bar - m * m * m_bar - old.dot(v_bar)
                    vf.store(held.bars, impulse_bar + ImpulseBar.impulse, -1.0 * change_bar - response * v_bar)
                    held.bars[impulse_bar + ImpulseBar.response] = response_bar
            vf.store(held.bars, at_bars + MotionBar.velocity, v_bar)
            held.bars[at_bars + MotionBar.unused] = 0.0
        if touched == 1:
            store_tile(soft_bars.tape, place.bar + Component.x, Xb)

    return SimpleNamespace(touch=touch, touch_adjoint=touch_adjoint, spread=spread, spread_sweep=spread_sweep)
