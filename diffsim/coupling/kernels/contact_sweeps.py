"""The impulses of the listed contacts, applied to the grid's velocities before the particles gather them; forward beside
adjoint. docs/rigid.md, "Soft bodies", has the equations.

The impulse J is spread to the grid with the particle's weights, v_i += w_i J / m_i, and -J acts on the link at the particle's
centre: linear and angular momentum are conserved. If the velocities were corrected before the transfer to the grid, the elastic
forces would move the surface afterwards: a cube of jelly crept out of a gripper at 4 cm/s. For the same reason friction depends
on the slip after the contact.

Particles share nodes, so their impulses are coupled. They are solved for by SWEEPS Jacobi sweeps: every contact computes its
impulse anew from the velocity without its own previous one, and then the grid takes all changes. A contact's response 1 / M
includes the other contacts at its nodes (the crowd); with its own response alone the sweeps would overshoot. So did
Gauss-Seidel, in the direction of its order: a cube gripped without gravity turned out of the fingers.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

from diffsim.compiler import ti
from diffsim.coupling.coupled_records import RELAXATION, SWEEPS, SWEPT, ContactWork, Listed, Shell, Swept
from diffsim.coupling.kernels.contact_law import Meeting, Scales, contact_law
from diffsim.coupling.kernels.particle_stencil import particle_stencil
from diffsim.rigid.kernels.rigid_memory import model_rows
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import GeometryIndices, LinkAdjoint, LinkInputs, LinkWork, SceneConstants, Wrench
from diffsim.soft.kernels.impulse_sums import impulse_sums
from diffsim.soft.soft_records import BOUNDS, ImpulseSum, Sizes


def contact_sweeps(real: Any, contacts: SimpleNamespace, recording: bool) -> SimpleNamespace:
    """``solve``, ``replay`` and ``solve_adjoint`` over the list of ``contacts`` (`particle_contact`); their arguments as
    there. ``recording``: the impulses on each geometry are added up (`impulse_sums`)."""
    vf, rows = vector_functions(real), model_rows()
    law, stencil, sums = contact_law(real), particle_stencil(real), impulse_sums(real, shared_grid=False)
    vec3, load, add, store = vf.vec3, vf.load, vf.add, vf.store

    @ti.func
    def node_of(notes: ti.template(), n):
        return notes.lists[contacts.listed_at(notes, n) + Listed.node]

    @ti.func
    def swept_at(notes: ti.template(), n, sweep):
        return notes.impulses_at + SWEPT * n + Swept.SIZE * sweep

    @ti.func
    def impulse(notes: ti.template(), n, sweep):
        """The nth contact's impulse after a sweep; there is none before the first."""
        J = vec3(0.0, 0.0, 0.0)
        if sweep >= 0:
            J = load(notes.impulses, swept_at(notes, n, sweep) + Swept.impulse)
        return J

    @ti.func
    def impulse_change(notes: ti.template(), n, sweep):
        return impulse(notes, n, sweep) - impulse(notes, n, sweep - 1)

    @ti.func
    def scales_of(m: ti.template(), notes: ti.template(), n):
        """The nth contact's `Scales`."""
        shell = Shell.SIZE * notes.lists[contacts.listed_at(notes, n) + Listed.body]
        h = m.reals[SceneConstants.dt]
        return (
            h, contacts.smoothing_of(m, notes.shells[shell + Shell.radius]), m.reals[SceneConstants.slip_speed],
            notes.shells[shell + Shell.stiffness], h + notes.shells[shell + Shell.delay],
        )  # fmt: skip

    @ti.func
    def response_in(notes: ti.template(), n, sweep):
        """The nth contact's response as a sweep takes it: over the relaxation, and 1 over that."""
        inverse = ti.cast(1.0, real)
        for s in ti.static(range(SWEEPS)):
            if sweep == s:
                inverse = ti.cast(1.0, real) / ti.static(RELAXATION[s])
        return inverse * notes.work[contacts.work_at(notes, n) + ContactWork.response], inverse

    @ti.func
    def meeting_of(notes: ti.template(), n, free, response):
        """The nth contact's `Meeting`, given the particle's velocity without its impulse and the response."""
        c = contacts.work_at(notes, n)
        return (
            load(notes.work, c + ContactWork.normal), free - load(notes.work, c + ContactWork.surface_velocity),
            notes.work[c + ContactWork.gap], 1.0 / response,
            notes.work[c + ContactWork.friction],
        )  # fmt: skip

    @ti.func
    def link_block(m: ti.template(), at: ti.template(), notes: ti.template(), n):
        """The link of the nth contact and its block."""
        geometry = notes.lists[contacts.listed_at(notes, n) + Listed.geometry]
        link = m.integers[rows.geometry_indices(m, geometry) + GeometryIndices.link]
        return link, rows.link_block(at, link)

    @ti.func
    def sum_of(soft: ti.template(), step: ti.template(), notes: ti.template(), n):
        """Where the sum of the impulses on the nth contact's geometry stands."""
        geometry = notes.lists[contacts.listed_at(notes, n) + Listed.geometry]
        return step.sums + ImpulseSum.SIZE * (soft.sizes[Sizes.colliders] + BOUNDS + geometry)

    @ti.func
    def mass_center(m: ti.template(), at: ti.template(), link, block):
        """A link's centre of mass from its origin."""
        center = load(m.inputs, rows.link_inputs(m, at, link) + LinkInputs.center)
        return vf.load_matrix(m.work, block + LinkWork.rotation) @ center

    # forward

    @ti.func
    def prepare(soft: ti.template(), step: ti.template(), notes: ti.template()):
        """The responses."""
        count = contacts.contact_count(notes)
        for n in range(count):
            c = contacts.work_at(notes, n)
            stencil.add_share(step, soft.boxes, notes.work, c, node_of(notes, n), notes.crowds)
        for n in range(count):
            c = contacts.work_at(notes, n)
            notes.work[c + ContactWork.response] = stencil.response(soft, step, notes.work, c, node_of(notes, n), notes.crowds)
        for n in range(count):
            stencil.clear_crowd(step, soft.boxes, node_of(notes, n), notes.crowds)

    @ti.func
    def spread(soft: ti.template(), step: ti.template(), notes: ti.template(), sweep, sign):
        """The nodes take the impulses' changes in a sweep, ``sign`` times."""
        for n in range(contacts.contact_count(notes)):
            change = sign * impulse_change(notes, n, sweep)
            if change.dot(change) > 0.0:
                stencil.add_impulse(soft, step, notes.work, contacts.work_at(notes, n), node_of(notes, n), change)

    @ti.func
    def solve(soft: ti.template(), step: ti.template(), m: ti.template(), at: ti.template(), notes: ti.template()):
        """The sweeps, after `find`; then the links get the opposite wrenches."""
        prepare(soft, step, notes)
        for sweep in range(SWEEPS):
            for n in range(contacts.contact_count(notes)):
                c = contacts.work_at(notes, n)
                response, _inverse = response_in(notes, n, sweep)
                free = stencil.gather(soft, step, notes.work, c, node_of(notes, n))
                free = free - response * impulse(notes, n, sweep - 1)
                h, d, eps, k, T = scales_of(m, notes, n)
                normal, u, gap, mass, friction = meeting_of(notes, n, free, response)
                delta, after = law.velocity_change(Meeting(normal, u, gap, mass, friction), Scales(h, d, eps, k, T))
                store(notes.impulses, swept_at(notes, n, sweep) + Swept.impulse, mass * delta)
                notes.impulses[swept_at(notes, n, sweep) + Swept.slip] = after
            spread(soft, step, notes, sweep, 1.0)
        per_time = -1.0 / m.reals[SceneConstants.dt]
        for n in range(contacts.contact_count(notes)):
            force = per_time * impulse(notes, n, SWEEPS - 1)
            arm = load(notes.work, contacts.work_at(notes, n) + ContactWork.arm)
            link, block = link_block(m, at, notes, n)
            wrench = at.wrenches + Wrench.SIZE * link
            add(m.tape, wrench + Wrench.force, force)
            add(m.tape, wrench + Wrench.torque, arm.cross(force))
            if ti.static(recording):
                arm_at_center = arm - mass_center(m, at, link, block)
                sums.add(soft.inputs, sum_of(soft, step, notes, n), arm_at_center, -1.0 * impulse(notes, n, SWEEPS - 1))

    # backward

    @ti.func
    def replay(soft: ti.template(), step: ti.template(), notes: ti.template()):
        """After `recall`: the velocities become those after `solve`."""
        prepare(soft, step, notes)
        for n in range(contacts.contact_count(notes)):
            c, largest = contacts.work_at(notes, n), ti.cast(0.0, real)
            for sweep in range(SWEEPS):
                J = impulse(notes, n, sweep)
                largest = ti.max(largest, J.dot(J))
            notes.work[c + ContactWork.pressed] = ti.select(largest > 0.0, ti.cast(1.0, real), ti.cast(0.0, real))
            if largest > 0.0:
                J = impulse(notes, n, SWEEPS - 1)
                stencil.add_impulse(soft, step, notes.work, c, node_of(notes, n), J)

    @ti.func
    def record_adjoint(
        soft: ti.template(), step: ti.template(), m: ti.template(), at: ti.template(), notes: ti.template(), n, link, block,
        arm, J,
    ):  # fmt: skip
        """Reverse of recording -J at the arm from the link's centre of mass: adds to the adjoints of the impulse, the arm, the
        link's rotation and its centre of mass."""
        c, own = contacts.work_at(notes, n), sum_of(soft, step, notes, n)
        rho = mass_center(m, at, link, block)
        arm_bar = sums.arm_bar(soft.inputs, own, -1.0 * J)
        add(notes.work, c + ContactWork.impulse_bar, -1.0 * sums.impulse_bar(soft.inputs, own, arm - rho))
        add(notes.work, c + ContactWork.arm_bar, arm_bar)
        add(m.work, block + LinkAdjoint.rotation_bar, arm_bar.cross(rho))
        center_bar = vf.load_matrix(m.work, block + LinkWork.rotation).transpose() @ arm_bar
        add(m.inputs_bar, rows.link_inputs(m, at, link) + LinkInputs.center, -1.0 * center_bar)

    @ti.func
    def wrench_adjoint(soft: ti.template(), step: ti.template(), m: ti.template(), at: ti.template(), notes: ti.template()):
        """The link got the wrench (-J / h, -arm x J / h), of which its virtual motion is the adjoint."""
        per_time = -1.0 / m.reals[SceneConstants.dt]
        for n in range(contacts.contact_count(notes)):
            c = contacts.work_at(notes, n)
            link, block = link_block(m, at, notes, n)
            arm, J = load(notes.work, c + ContactWork.arm), impulse(notes, n, SWEEPS - 1)
            eta = load(m.work, block + LinkAdjoint.virtual_angular_velocity)
            virtual = load(m.work, block + LinkAdjoint.virtual_velocity)
            store(notes.work, c + ContactWork.impulse_bar, per_time * (virtual + eta.cross(arm)))
            store(notes.work, c + ContactWork.arm_bar, per_time * J.cross(eta))
            if ti.static(recording):
                record_adjoint(soft, step, m, at, notes, n, link, block, arm, J)

    @ti.func
    def sweep_adjoint(
        soft: ti.template(), soft_bars: ti.template(), step: ti.template(), m: ti.template(), notes: ti.template(), n, sweep
    ):
        """Reverse of the nth contact's part in a sweep, given the velocities before it. The adjoint of the velocity that it
        gathered is noted, that of its impulse becomes that of the sweep before."""
        c, node = contacts.work_at(notes, n), node_of(notes, n)
        change, old = impulse_change(notes, n, sweep), impulse(notes, n, sweep - 1)
        v, change_bar, x_bar = stencil.gather_with_bars(soft, soft_bars, step, notes.work, c, node, change)
        response, inverse = response_in(notes, n, sweep)
        h, d, eps, k, T = scales_of(m, notes, n)
        normal, u, gap, mass, friction = meeting_of(notes, n, v - response * old, response)
        J_bar = load(notes.work, c + ContactWork.impulse_bar) + change_bar
        after = notes.impulses[swept_at(notes, n, sweep) + Swept.slip]
        n_bar, u_bar, gap_bar, mass_bar, friction_bar = law.velocity_change_adjoint(
            Meeting(normal, u, gap, mass, friction), Scales(h, d, eps, k, T), after, J_bar
        )
        add(notes.work, c + ContactWork.position_bar, x_bar)
        add(notes.work, c + ContactWork.normal_bar, n_bar)
        add(notes.work, c + ContactWork.surface_velocity_bar, -1.0 * u_bar)
        store(notes.work, c + ContactWork.velocity_bar, u_bar)
        # v = gathered - response * old, the change is J - old
        store(notes.work, c + ContactWork.impulse_bar, -1.0 * change_bar - response * u_bar)
        notes.work[c + ContactWork.gap_bar] = notes.work[c + ContactWork.gap_bar] + gap_bar
        notes.work[c + ContactWork.friction_bar] = notes.work[c + ContactWork.friction_bar] + friction_bar
        notes.work[c + ContactWork.response_bar] = notes.work[c + ContactWork.response_bar] - inverse * (
            mass * mass * mass_bar + old.dot(u_bar)
        )

    @ti.func
    def solve_adjoint(
        soft: ti.template(), soft_bars: ti.template(), step: ti.template(), m: ti.template(), at: ti.template(),
        notes: ti.template(),
    ):  # fmt: skip
        """Reverse of `solve`, given the velocities after it and the adjoints of those: to the adjoints of the velocities
        before it, of the masses and of what `find` noted."""
        wrench_adjoint(soft, step, m, at, notes)
        count = contacts.contact_count(notes)
        for back in range(SWEEPS):
            sweep = SWEEPS - 1 - back
            spread(soft, step, notes, sweep, -1.0)
            for n in range(count):
                if notes.work[contacts.work_at(notes, n) + ContactWork.pressed] > 0.0:
                    sweep_adjoint(soft, soft_bars, step, m, notes, n, sweep)
            for n in range(count):
                c = contacts.work_at(notes, n)
                if notes.work[c + ContactWork.pressed] > 0.0:
                    bar = load(notes.work, c + ContactWork.velocity_bar)
                    x_bar = stencil.gather_adjoint(soft, soft_bars, step, notes.work, c, node_of(notes, n), bar)
                    add(notes.work, c + ContactWork.position_bar, x_bar)
        for n in range(count):
            stencil.stop_nodes(soft, step, node_of(notes, n))
        for n in range(count):
            stencil.add_response_bar(soft, step, notes.work, contacts.work_at(notes, n), node_of(notes, n))
        for n in range(count):
            c = contacts.work_at(notes, n)
            x_bar, share_bar = stencil.response_adjoint(soft, soft_bars, step, notes.work, c, node_of(notes, n))
            add(notes.work, c + ContactWork.position_bar, x_bar)
            notes.work[c + ContactWork.share_bar] = share_bar

    return SimpleNamespace(solve=solve, replay=replay, solve_adjoint=solve_adjoint)
