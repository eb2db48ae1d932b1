"""Contact of particles with rigid geometries, applied to the grid's velocities before the particles gather them; forward beside
adjoint. docs/rigid.md, "Soft bodies", has the equations.

A particle is a ball of the soft body's particle radius. The law (`contact_law.py`) is that of rigid contacts with e = 0, but
friction depends on the slip after the contact. The slip before it would include what the elastic forces of the substep cause,
and so weaken the friction that resists them.

The impulse J is spread to the grid with the particle's weights, v_i += w_i J / m_i, and -J acts on the link at the particle's
centre: linear and angular momentum are conserved. If the velocities were corrected before the transfer to the grid, the elastic
forces would move the surface afterwards: a cube of jelly crept out of a gripper at 4 cm/s.

Particles share nodes, so their impulses are coupled. They are solved for by SWEEPS Jacobi sweeps: every particle computes its
impulse anew from the velocity without its own previous one, and then the grid takes all changes. A particle's response 1 / M
includes the other particles in contact at its nodes (the crowd); with its own response alone the sweeps would overshoot. So did
Gauss-Seidel, in the direction of its order: a cube gripped without gravity turned out of the fingers. The impulses of several
geometries on one particle are added.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any, NamedTuple

from diffsim.compiler import compile_time, ti
from diffsim.coupling.coupled_records import SWEEPS, ContactBars, Grip, MotionBars
from diffsim.coupling.kernels.contact_law import Meeting, Scales, contact_law
from diffsim.coupling.kernels.particle_stencil import particle_stencil
from diffsim.rigid.kernels.distance import distance_stage
from diffsim.rigid.kernels.rigid_memory import model_rows
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import GeometryIndices, GeometryInputs, Header, LinkAdjoint, LinkWork, SceneConstants, Wrench
from diffsim.soft.soft_records import Component, Sizes

REACH = 24.0  # contacts beyond so many smoothing lengths are left out: their forces are below 1e-10 k d
SHARPNESS = 2.0  # of a particle's share: it is half at phi = 0.9 d, and 0.75 at phi = 0
WEAK = 1e-5  # a particle of a smaller share feels 1e-5 of a touching one's forces: the first sweep does for it
SHARES, CHANGE, MOTION_BARS, RESPONSE_BARS = range(4)  # what `spread` adds


@compile_time
class ContactNotes(NamedTuple):
    """The arrays of `diffsim.coupling.coupled_records`, and where a substep's part begins in them."""

    contacts: Any
    contacts_at: Any
    grips: Any
    bars: Any = None
    bars_at: Any = None


def particle_contact(real: Any, particles: SimpleNamespace, further: tuple[Any, ...]) -> SimpleNamespace:
    """``touch`` and ``touch_adjoint``, for tiles of the stages ``particles`` and the shapes of `distance_stage`.

    In their arguments ``m`` and ``at`` are the rigid memory and place (`diffsim.rigid.kernels.rigid_memory`), ``soft``,
    ``tile`` and ``step`` those of the soft bodies (`diffsim.soft.kernels.soft_memory`).
    """
    tiles, load_tile, store_tile = particles.tile, particles.load, particles.store
    vf, rows = vector_functions(real), model_rows()
    law, surfaces, stencil = contact_law(real), distance_stage(real, further), particle_stencil(real)
    vec3, load, add = vf.vec3, vf.load, vf.add
    vec4 = ti.types.vector(4, real)

    # what is noted of a particle

    @ti.func
    def share_of(soft: ti.template(), notes: ti.template(), particle):
        return notes.contacts_at + particle

    @ti.func
    def own_response_of(soft: ti.template(), notes: ti.template(), particle):
        return notes.contacts_at + soft.sizes[Sizes.particles] + particle

    @ti.func
    def impulse_of(soft: ti.template(), notes: ti.template(), particle, sweep):
        """Where its impulse after a sweep stands, from the first on."""
        return notes.contacts_at + (2 + 3 * (sweep - 1)) * soft.sizes[Sizes.particles] + 3 * particle

    @ti.func
    def motion_bars_of(soft: ti.template(), notes: ti.template(), particle):
        return notes.bars_at + ContactBars.SIZE * soft.sizes[Sizes.particles] + MotionBars.SIZE * particle

    @ti.func
    def impulse(soft: ti.template(), notes: ti.template(), particle, sweep):
        """A particle's impulse after a sweep; there is none before the first."""
        J = vec3(0.0, 0.0, 0.0)
        if sweep > 0:
            J = load(notes.contacts, impulse_of(soft, notes, particle, sweep))
        return J

    @ti.func
    def impulse_change(soft: ti.template(), notes: ti.template(), particle, sweep):
        return impulse(soft, notes, particle, sweep) - impulse(soft, notes, particle, sweep - 1)

    @ti.func
    def meets(notes: ti.template(), first, count):
        """Whether any of ``count`` particles has a share."""
        found = 0
        for t in range(count):
            if notes.contacts[notes.contacts_at + first + t] > 0.0:
                found = 1
        return found

    # which surfaces a particle meets

    @ti.func
    def extent(X: ti.template()):
        """Centre and radius of a ball round a tile's particles."""
        low, high = vec3(X[0][0], X[1][0], X[2][0]), vec3(X[0][0], X[1][0], X[2][0])
        for t in range(tiles.width):
            x = vec3(X[0][t], X[1][t], X[2][t])
            low = vec3(ti.min(low[0], x[0]), ti.min(low[1], x[1]), ti.min(low[2], x[2]))
            high = vec3(ti.max(high[0], x[0]), ti.max(high[1], x[1]), ti.max(high[2], x[2]))
        half = 0.5 * (high - low)
        return low + half, ti.sqrt(half.dot(half))

    @ti.func
    def coupled_geometry(m: ti.template(), n):
        """Number of the nth geometry that soft bodies touch."""
        return m.integers[m.integers[Header.coupled_geometries] + n]

    @ti.func
    def near_tile(m: ti.template(), at: ti.template(), X: ti.template(), radius):
        """Bits of the geometries that a tile's particles may touch; those from the 31st on share one."""
        middle, spread_of_tile = extent(X)
        found = 0
        for n in range(m.integers[Header.coupled]):
            geometry = coupled_geometry(m, n)
            scale = m.inputs[rows.geometry_inputs(m, at, geometry) + GeometryInputs.scale]
            _block, center, rot = surfaces.frame(m, at, geometry)
            reach = radius + REACH * m.reals[SceneConstants.smoothing] + spread_of_tile
            if surfaces.ball_distance(m, geometry, scale, rot.transpose() @ (middle - center)) < reach:
                found = found | (1 << ti.min(n, 30))
        return found

    @ti.func
    def scales_of(m: ti.template(), notes: ti.template(), body):
        """`Scales` of a body's particles."""
        grip = Grip.SIZE * body
        return (
            m.reals[SceneConstants.dt], m.reals[SceneConstants.smoothing], m.reals[SceneConstants.restitution_speed],
            m.reals[SceneConstants.slip_speed], notes.grips[grip + Grip.stiffness], notes.grips[grip + Grip.radius],
        )  # fmt: skip

    @ti.func
    def surface(m: ti.template(), at: ti.template(), geometry, x, scales: ti.template(), second: ti.template()):
        """Whether a particle at x is within REACH of a geometry; then the link's block, the geometry's rotation, x in its
        frame, and the signed distance there with gradient and, with ``second``, Hessian."""
        found, sdf, g = 0, ti.cast(0.0, real), vec3(0.0, 0.0, 1.0)
        hessian = vf.mat3(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        scale = m.inputs[rows.geometry_inputs(m, at, geometry) + GeometryInputs.scale]
        block, center, rot = surfaces.frame(m, at, geometry)
        y = rot.transpose() @ (x - center)
        if surfaces.ball_distance(m, geometry, scale, y) < scales.radius + REACH * scales.d:
            sdf, g, hessian = surfaces.distance(m, geometry, scale, y, second)
            found = ti.cast(sdf - scales.radius < REACH * scales.d, ti.i32)
        return found, block, rot, y, sdf, g, hessian

    @ti.func
    def crowding(phi, d):
        """Share of a contact, 1 - (1 - s)^SHARPNESS, its slope in phi, and softplus and its slope s at -phi / d."""
        sp, slope = law.softplus(-phi / d)
        rest = ti.exp(-SHARPNESS * sp)
        return 1.0 - rest, -SHARPNESS / d * slope * rest, sp, slope

    @ti.func
    def is_final(sweep, share):
        """Whether no later sweep changes a particle's impulse; with it the link gets the opposite wrench."""
        return sweep == SWEEPS or (sweep == 1 and share <= WEAK)

    # what particles hold goes to their nodes

    @ti.func
    def spread(
        soft: ti.template(), tile: ti.template(), step: ti.template(), notes: ti.template(), target: ti.template(),
        target_offset, kind: ti.template(), sweep, sign,
    ):  # fmt: skip
        """Adds what the particles of a tile hold to their nodes, by their weights: SHARES to the fourth component; the CHANGE
        of the impulses in a sweep, ``sign`` times, over the nodes' masses; MOTION_BARS, the adjoints of the gathered
        velocities; RESPONSE_BARS, those of the responses, over the masses, to the first component."""
        ti.static(tiles.release())
        first, count, _body, _law_index = particles.members(soft.sizes, tile.tile)
        X = ti.static(tiles.local(3))
        load_tile(soft.tape, tile.now + Component.x, X)
        for t in range(count):
            value = vec4(0.0, 0.0, 0.0, 0.0)
            if ti.static(kind == SHARES):
                value = vec4(0.0, 0.0, 0.0, notes.contacts[share_of(soft, notes, first + t)])
            elif ti.static(kind == CHANGE):
                change = sign * impulse_change(soft, notes, first + t, sweep)
                value = vec4(change[0], change[1], change[2], 0.0)
            elif ti.static(kind == MOTION_BARS):
                bar = load(notes.bars, motion_bars_of(soft, notes, first + t) + MotionBars.velocity)
                value = vec4(bar[0], bar[1], bar[2], 0.0)
            else:
                value = vec4(notes.bars[notes.bars_at + ContactBars.SIZE * (first + t) + ContactBars.response], 0.0, 0.0, 0.0)
            if value.dot(value) > 0.0:
                x = vec3(X[0][t], X[1][t], X[2][t])
                stencil.add_to_nodes(soft, step, x, target, target_offset, value, ti.static(kind in (CHANGE, RESPONSE_BARS)))

    @ti.func
    def spread_after_sweep(soft: ti.template(), tile: ti.template(), step: ti.template(), notes: ti.template(), sweep):
        """What `touch` found in a sweep goes to the velocities: the shares after sweep 0, then the impulses' changes."""
        if sweep == 0:
            spread(soft, tile, step, notes, soft.velocity, step.velocity, SHARES, 0, 1.0)
        else:
            spread(soft, tile, step, notes, soft.velocity, step.velocity, CHANGE, sweep, 1.0)

    @ti.func
    def undo_spread(soft: ti.template(), tile: ti.template(), step: ti.template(), notes: ti.template(), sweep):
        """On the way back, before `touch_adjoint`: takes a sweep's changes off the velocities again; for sweep 0, where the
        first component is empty, puts the adjoint of the crowd there."""
        if sweep > 0:
            spread(soft, tile, step, notes, soft.velocity, step.velocity, CHANGE, sweep, -1.0)
        else:
            spread(soft, tile, step, notes, soft.velocity, step.velocity, RESPONSE_BARS, 0, 1.0)

    # forward

    @ti.func
    def touch(
        soft: ti.template(), tile: ti.template(), step: ti.template(), m: ti.template(), at: ti.template(),
        notes: ti.template(), sweep,
    ):  # fmt: skip
        """Sweep 0 finds a tile's shares, each other one its impulses. With the last, the links get the opposite wrenches."""
        ti.static(tiles.release())
        first, count, body, _law_index = particles.members(soft.sizes, tile.tile)
        X = ti.static(tiles.local(3))
        load_tile(soft.tape, tile.now + Component.x, X)
        h, d, s, eps, k, radius = scales_of(m, notes, body)
        scales = ti.static(Scales(h, d, s, eps, k, radius))
        zero = ti.cast(0.0, real)
        geometries = 0
        if sweep == 0 or meets(notes, first, count) == 1:
            geometries = near_tile(m, at, X, radius)
        for t in range(count):
            particle = first + t
            share, pressed = zero, zero
            J = impulse(soft, notes, particle, sweep - 1)
            active = 0
            if sweep > 0:
                share = notes.contacts[share_of(soft, notes, particle)]
                active = ti.cast(share > ti.select(sweep == 1, zero, ti.cast(WEAK, real)), ti.i32)
            elif geometries != 0:
                active = 1
            if active == 1:
                x = vec3(X[0][t], X[1][t], X[2][t])
                v, mass = vec3(0.0, 0.0, 0.0), zero
                if sweep > 0:
                    v, response = stencil.gather(soft, step, x, notes.contacts[own_response_of(soft, notes, particle)])
                    v, mass = v - response * J, 1.0 / response
                    J = vec3(0.0, 0.0, 0.0)
                last = is_final(sweep, share)
                for n in range(m.integers[Header.coupled]):
                    if (geometries >> ti.min(n, 30)) & 1 == 1:
                        geometry = coupled_geometry(m, n)
                        found, block, rot, _y, sdf, g, _hessian = surface(m, at, geometry, x, scales, False)
                        phi = sdf - radius
                        if found == 1:
                            if sweep == 0:
                                own_share, _slope, sp, _sp_slope = crowding(phi, d)
                                share, pressed = share + own_share, pressed + sp
                            else:
                                normal = rot @ (g / ti.sqrt(g.dot(g)))
                                arm = x - load(m.work, block + LinkWork.position)
                                u = v - load(m.work, block + LinkWork.velocity)
                                u = u - load(m.work, block + LinkWork.angular_velocity).cross(arm)
                                friction = m.inputs[rows.geometry_inputs(m, at, geometry) + GeometryInputs.friction]
                                delta, _rate, _D, _along, _after, _pull = law.velocity_change(
                                    Meeting(normal, u, phi, mass, friction), scales
                                )
                                own_J = mass * delta
                                J = J + own_J
                                if last:
                                    link = m.integers[rows.geometry_indices(m, geometry) + GeometryIndices.link]
                                    wrench = at.wrenches + Wrench.SIZE * link
                                    add(m.tape, wrench + Wrench.force, -1.0 / h * own_J)
                                    add(m.tape, wrench + Wrench.torque, -1.0 / h * arm.cross(own_J))
            if sweep == 0:
                notes.contacts[share_of(soft, notes, particle)] = share
                notes.contacts[own_response_of(soft, notes, particle)] = ti.exp(-SHARPNESS * pressed)
            else:
                vf.store(notes.contacts, impulse_of(soft, notes, particle, sweep), J)

    # backward

    @ti.func
    def impulse_adjoint(m: ti.template(), block, x, c: ti.template(), scales: ti.template(), J_bar, last):
        """From the adjoint of the impulse of one contact those of n, v, phi, the arm, mass and friction; those of the link's
        motion are added to. With the last impulse a link gets the wrench (-J / h, -arm x J / h), of which the virtual motion
        is the adjoint."""
        arm = x - load(m.work, block + LinkWork.position)
        omega = load(m.work, block + LinkWork.angular_velocity)
        eta = vec3(0.0, 0.0, 0.0)
        own_J_bar = J_bar
        if last:
            eta = load(m.work, block + LinkAdjoint.virtual_angular_velocity)
            own_J_bar = own_J_bar - (load(m.work, block + LinkAdjoint.virtual_velocity) + eta.cross(arm)) / scales.h
        delta, n_bar, u_bar, phi_bar, mass_bar, friction_bar = law.velocity_change_adjoint(c, scales, own_J_bar)
        arm_bar = -c.mass / scales.h * delta.cross(eta)
        # u = v - u_link - omega x arm
        add(m.work, block + LinkAdjoint.velocity_bar, -1.0 * u_bar)
        add(m.work, block + LinkAdjoint.angular_velocity_bar, u_bar.cross(arm))
        return n_bar, u_bar, phi_bar, arm_bar + omega.cross(u_bar), mass_bar, friction_bar

    @ti.func
    def surface_adjoint(m: ti.template(), block, x, rot, g, hessian, n_bar, phi_bar, arm_bar):
        """Adjoint of x from those of the normal, the distance and the arm; those of the link's pose are added to. Also H g_bar,
        which the geometry's scale wants. The normal rot g / |g| turns with the link; the gradient changes with y."""
        steep = ti.sqrt(g.dot(g))
        n_local = g / steep
        n_local_bar = rot.transpose() @ n_bar
        bend = hessian @ ((n_local_bar - n_local * n_local.dot(n_local_bar)) / steep)
        y_bar = rot @ (bend + phi_bar * g)
        arm = x - load(m.work, block + LinkWork.position)
        add(m.work, block + LinkAdjoint.position_bar, -1.0 * (arm_bar + y_bar))
        add(m.work, block + LinkAdjoint.rotation_bar, (rot @ n_local).cross(n_bar) + y_bar.cross(arm))
        return arm_bar + y_bar, bend

    @ti.func
    def touch_adjoint(
        soft: ti.template(), soft_bars: ti.template(), tile: ti.template(), step: ti.template(), m: ti.template(),
        at: ti.template(), notes: ti.template(), sweep,
    ):  # fmt: skip
        """Reverse of a sweep, given the velocities before it. The adjoints of the velocities it gathered are noted for
        `spread`, those of its impulses become those of the sweep before; those of the masses, the particles' positions, the
        links' poses and motions, and the geometries' friction and scale are added to. For sweep 0 the first component of a
        node's velocity is the adjoint of its crowd, as the fourth is the crowd."""
        ti.static(tiles.release())
        first, count, body, _law_index = particles.members(soft.sizes, tile.tile)
        X, Xb = ti.static(tiles.local(3), tiles.local(3))
        load_tile(soft.tape, tile.now + Component.x, X)
        load_tile(soft_bars.tape, tile.bar + Component.x, Xb)
        h, d, s, eps, k, radius = scales_of(m, notes, body)
        scales = ti.static(Scales(h, d, s, eps, k, radius))
        zero = ti.cast(0.0, real)
        touched = meets(notes, first, count)
        geometries = 0
        if touched == 1:
            geometries = near_tile(m, at, X, radius)
        for t in range(count):
            particle = first + t
            share = notes.contacts[share_of(soft, notes, particle)]
            v_bar = vec3(0.0, 0.0, 0.0)
            if share > ti.select(sweep < 2, zero, ti.cast(WEAK, real)):
                bars_at = notes.bars_at + ContactBars.SIZE * particle
                own = notes.contacts[own_response_of(soft, notes, particle)]
                old = impulse(soft, notes, particle, sweep - 1)
                change = impulse_change(soft, notes, particle, sweep)
                response_bar = notes.bars[bars_at + ContactBars.response]
                x = vec3(X[0][t], X[1][t], X[2][t])
                v, response, change_bar, own_bar = stencil.gather_with_bars(soft, soft_bars, step, x, own, response_bar)
                share_bar = v[0]  # in sweep 0: what was gathered is the adjoint of the crowd
                mass = 1.0 / response
                v = v - response * old
                J_bar = load(notes.bars, bars_at + ContactBars.impulse) + change_bar
                last = is_final(sweep, share)
                mass_bar, x_bar = zero, vec3(0.0, 0.0, 0.0)
                for n in range(m.integers[Header.coupled]):
                    if (geometries >> ti.min(n, 30)) & 1 == 1:
                        geometry = coupled_geometry(m, n)
                        found, block, rot, y, sdf, g, hessian = surface(m, at, geometry, x, scales, True)
                        phi = sdf - radius
                        if found == 1:
                            own_inputs = rows.geometry_inputs(m, at, geometry)
                            phi_bar, friction_bar = zero, zero
                            n_bar, arm_bar = vec3(0.0, 0.0, 0.0), vec3(0.0, 0.0, 0.0)
                            if sweep == 0:
                                _share, share_slope, _sp, sp_slope = crowding(phi, d)
                                phi_bar = share_bar * share_slope + own_bar * own * sp_slope * SHARPNESS / d
                            else:
                                normal = rot @ (g / ti.sqrt(g.dot(g)))
                                arm = x - load(m.work, block + LinkWork.position)
                                u = v - load(m.work, block + LinkWork.velocity)
                                u = u - load(m.work, block + LinkWork.angular_velocity).cross(arm)
                                friction = m.inputs[own_inputs + GeometryInputs.friction]
                                n_bar, u_bar, phi_bar, arm_bar, own_mass_bar, friction_bar = impulse_adjoint(
                                    m, block, x, Meeting(normal, u, phi, mass, friction), scales, J_bar, last
                                )
                                mass_bar = mass_bar + own_mass_bar
                                v_bar = v_bar + u_bar
                            own_x_bar, bend = surface_adjoint(m, block, x, rot, g, hessian, n_bar, phi_bar, arm_bar)
                            x_bar = x_bar + own_x_bar
                            scale_bar = phi_bar * (sdf - g.dot(y)) - bend.dot(y)
                            scale_bar = scale_bar / m.inputs[own_inputs + GeometryInputs.scale]
                            friction_at, scale_at = own_inputs + GeometryInputs.friction, own_inputs + GeometryInputs.scale
                            m.inputs_bar[friction_at] = m.inputs_bar[friction_at] + friction_bar
                            m.inputs_bar[scale_at] = m.inputs_bar[scale_at] + scale_bar
                if sweep == 0:
                    x_bar = x_bar + stencil.response_adjoint(soft, soft_bars, step, x, own, response_bar, share)
                else:
                    x_bar = x_bar + stencil.gather_adjoint(soft, soft_bars, step, x, change, v_bar)
                for c in ti.static(range(3)):
                    Xb[c][t] = Xb[c][t] + x_bar[c]
                if sweep > 0:
                    # v = gathered - response * old, the change is J - old
                    response_bar = response_bar - mass * mass * mass_bar - old.dot(v_bar)
                    vf.store(notes.bars, bars_at + ContactBars.impulse, -1.0 * change_bar - response * v_bar)
                    notes.bars[bars_at + ContactBars.response] = response_bar
            motion = motion_bars_of(soft, notes, particle)
            vf.store(notes.bars, motion + MotionBars.velocity, v_bar)
            notes.bars[motion + MotionBars.zero] = 0.0
        if touched == 1:
            store_tile(soft_bars.tape, tile.bar + Component.x, Xb)

    @ti.func
    def spread_motion_bars(
        soft: ti.template(), soft_bars: ti.template(), tile: ti.template(), step: ti.template(), notes: ti.template()
    ):
        """What `touch_adjoint` noted for the velocities goes to their adjoints."""
        spread(soft, tile, step, notes, soft_bars.grid, step.grid_bar, MOTION_BARS, 0, 1.0)

    return SimpleNamespace(
        touch=touch, touch_adjoint=touch_adjoint, spread_after_sweep=spread_after_sweep, undo_spread=undo_spread,
        spread_motion_bars=spread_motion_bars,
    )  # fmt: skip
