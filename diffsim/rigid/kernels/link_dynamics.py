"""The equations of motion M a + c = tau: bias forces and mass matrix down and up the tree; and the adjoint of their power.

The bias is polarised: c(v, v+) with v+ = v + h a, bilinear, symmetric, and c(v, v) = c(v); so M a + c(v, v + h a) = M a + c(v)
+ h C a with C w = c(v, w). A particle of the mass that moves with u(v) has, if all else lasts, the acceleration
(du(v')/dt along v + du(v)/dt along v') / 2, hence C = sum over the mass of J^T dJ/dt, with J its Jacobian and axes that turn as
`DofWork` says. With psi the motion (angular z, linear s) of a composite body of mass m, moment h, inertia I, momentum p and
flux G per unit of a dof, and psi' its rate (Echeandia and Wensing 2021),

    C_ij = psi_i . (I6 psi'_j + B psi_j),    C_ji = psi'_i . I6 psi_j + psi_i . B^T psi_j     for i an ancestor of j
    B (z, s) = (torque tr(G) z - G z, force -p x z)

as sum over the mass of r x (z x u) is tr(G) z - G z with the flux G = sum of u r^T, and that of z x u is z x p.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any, NamedTuple

from diffsim.compiler import ti
from diffsim.rigid.kernels.external_wrenches import wrench_stage
from diffsim.rigid.kernels.rigid_memory import model_rows
from diffsim.rigid.kernels.vectors import ENTRIES, vector_functions
from diffsim.rigid.rigid_records import (
    MOTION,
    MOTION_BAR,
    NEW_MOTION,
    NEW_MOTION_BAR,
    SCREW,
    SLIDE,
    TURN,
    DofIndices,
    DofWork,
    Header,
    LinkAdjoint,
    LinkForward,
    LinkIndices,
    LinkInputs,
    LinkWork,
    SceneConstants,
    WorldInputs,
    Wrench,
)


class UnitWrenches(NamedTuple):
    """What a composite body of the chosen dof, h C included, asks of others: `dynamics_stage.entries`."""

    f: Any  # force and torque of M
    n: Any
    f_later: Any  # and of M + h C above the diagonal
    n_later: Any
    n_turned: Any  # h B^T


class Composite(NamedTuple):
    """Of a composite body about the origin of its link, as `LinkForward`; ``spread`` is the trace of the flux."""

    mass: Any
    moment: Any
    inertia: Any
    momentum: Any
    flux: Any
    spread: Any
    force: Any
    torque: Any


FREE_SLIDES = 3  # of a free joint, before its turns


def dynamics_stage(real, *, screws: bool, polarised: bool, free: int = -1) -> SimpleNamespace:
    """``equations`` and ``power_adjoint``; with or without the code for dofs that turn and slide at once, and with
    polarised bias forces or those at v. ``free`` is the number of the free joint's kind."""
    vf, rows, external = vector_functions(real), model_rows(), wrench_stage(real)
    load, store, add = vf.load, vf.store, vf.add
    # where the other factor of products of velocities stands, and its adjoint
    omega_ahead, omega_ahead_bar = (NEW_MOTION[0], NEW_MOTION_BAR[0]) if polarised else (MOTION[0], MOTION_BAR[0])

    @ti.func
    def bias(m: ti.template(), at: ti.template(), i, loaded: ti.template()):
        """Wrench and inertia of a link alone, about its origin, at a = 0. With the centre of mass rho from the origin,
        f = m (a + alpha x rho + omega x (omega x rho)) and n = I alpha + omega x I omega + rho x f. a has -g in it, of which
        the share c that is carried is taken back: a + c g."""
        block, own = rows.link_block(at, i), rows.link_inputs(m, at, i)
        mass = m.inputs[own + LinkInputs.mass]
        rot = vf.load_matrix(m.work, block + LinkForward.rotation)
        rho = rot @ load(m.inputs, own + LinkInputs.center)
        omega = load(m.work, block + LinkForward.angular_velocity)
        alpha = load(m.work, block + LinkForward.angular_acceleration)
        inertia = rot @ vf.symmetric(m.inputs, own + LinkInputs.inertia) @ rot.transpose()
        carried = m.inputs[own + LinkInputs.gravity_compensation] * load(m.inputs, at.inputs + WorldInputs.gravity)
        a_c = load(m.work, block + LinkForward.acceleration) + alpha.cross(rho) + omega.cross(omega.cross(rho))
        f = mass * (a_c + carried)
        n = inertia @ alpha + omega.cross(inertia @ omega) + rho.cross(f)
        if ti.static(loaded):
            wrench = at.wrenches + Wrench.SIZE * i
            f = f - load(m.tape, wrench + Wrench.force)
            n = n - load(m.tape, wrench + Wrench.torque)
        store(m.work, block + LinkForward.force, f)
        store(m.work, block + LinkForward.torque, n)
        m.work[block + LinkForward.mass] = mass
        store(m.work, block + LinkForward.moment, mass * rho)
        rho2 = rho.dot(rho)
        for c in ti.static(range(6)):
            i1, i2 = ti.static(ENTRIES[c])
            entry = inertia[i1, i2] + mass * (ti.static(1.0 if c < 3 else 0.0) * rho2 - rho[i1] * rho[i2])
            m.work[block + ti.static(LinkForward.inertia + c)] = entry
        if ti.static(polarised):
            # about the centre of mass sum of (omega x r) r^T is [omega]x S with S = tr(I) / 2 - I
            p = mass * (load(m.work, block + LinkWork.velocity) + omega.cross(rho))
            store(m.work, block + LinkForward.momentum, p)
            half = 0.5 * inertia.trace()
            for c in ti.static(range(3)):
                column = omega.cross(vf.vec3(*[ti.static(1.0 if r == c else 0.0) * half - inertia[r, c] for r in range(3)]))
                for r in ti.static(range(3)):
                    m.work[block + ti.static(LinkForward.flux + 3 * r + c)] = column[r] + p[r] * rho[c]

    @ti.func
    def power(m: ti.template(), at: ti.template(), k, f, n):
        """Of a wrench (force f, torque n about the origin of the dof's link) per unit of a dof's rate."""
        axes, motion = rows.dof_work(m, at, k), m.integers[rows.dof_indices(m, k) + DofIndices.motion]
        z = load(m.work, axes + DofWork.axis)
        along = z.dot(f)
        if motion == TURN:
            along = z.dot(n)
        if ti.static(screws):  # noqa: SIM102, the compiler's if and the kernel's
            if motion == SCREW:
                along = z.dot(n) + load(m.work, axes + DofWork.slide).dot(f)
        return along

    @ti.func
    def entries(m: ti.template(), at: ti.template(), matrix, k, other, unit: ti.template()):
        """Of the ``matrix`` in work, for dof ``k`` and one of its own link or an ancestor: below the diagonal, and by how much
        more above it. ``unit``: `UnitWrenches` about the origin of the other's link."""
        size, low = m.integers[Header.unknowns], ti.cast(0.0, real)
        if ti.static(polarised):
            axes, motion = rows.dof_work(m, at, other), m.integers[rows.dof_indices(m, other) + DofIndices.motion]
            z, up = load(m.work, axes + DofWork.axis), ti.cast(0.0, real)
            along = load(m.work, axes + DofWork.later_linear) * unit.f
            if motion == SLIDE:
                up = z.dot(unit.f_later)
            else:
                up = z.dot(unit.n_later)
                along = along + load(m.work, axes + DofWork.later_angular) * unit.n + z * unit.n_turned
            low = along.sum()
            if ti.static(screws):  # noqa: SIM102, the compiler's if and the kernel's
                if motion == SCREW:
                    up = up + load(m.work, axes + DofWork.slide).dot(unit.f_later)
            m.work[matrix + other * size + k] = up - low
        else:
            low = power(m, at, other, unit.f, unit.n)
        m.work[matrix + k * size + other] = low

    @ti.func
    def free_entries(m: ti.template(), at: ti.template(), matrix, first, body: ti.template()):
        """What `entries` gives for the dofs of a free joint, three slides along the world's axes and three turns that nothing
        carries: most of it vanishes. And minus their bias forces."""
        h, size, turns = m.reals[SceneConstants.dt], m.integers[Header.unknowns], first + FREE_SLIDES
        for n in ti.static(range(3)):
            m.work[at.vector + first + n] = -body.force[n]
            m.work[matrix + (first + n) * size + first + n] = body.mass
        for n in range(3):
            axes, k = rows.dof_work(m, at, turns + n), turns + n
            z = load(m.work, axes + DofWork.axis)
            f, torque = z.cross(body.moment), body.inertia @ z
            m.work[at.vector + k] = -z.dot(body.torque)
            for o in ti.static(range(3)):
                m.work[matrix + k * size + first + o] = f[o]
            f_later, n_later, n_turned = f, torque, torque
            if ti.static(polarised):
                angular, linear = load(m.work, axes + DofWork.later_angular), load(m.work, axes + DofWork.later_linear)
                whole = body.spread * z
                f_later = body.mass * linear + angular.cross(body.moment) + h * z.cross(body.momentum)
                n_later = body.moment.cross(linear) + body.inertia @ angular + h * (whole - body.flux @ z)
                n_turned = h * (whole - body.flux.transpose() @ z)
                for o in ti.static(range(3)):
                    m.work[matrix + (first + o) * size + k] = f_later[o] - f[o]
            unit = ti.static(UnitWrenches(f, torque, f_later, n_later, n_turned))
            for other in range(turns, k + 1):
                entries(m, at, matrix, k, other, unit)

    @ti.func
    def equations(m: ti.template(), at: ti.template(), loaded: ti.template()):
        """The matrix M + h C with armatures (its lower triangle and, above the diagonal, by how much the entry exceeds its
        mirror image; composite rigid bodies) and -c (recursive Newton-Euler), gravity and external wrenches included
        (Featherstone 2008, chapters 5 and 6); if ``loaded``, also those of contact with soft bodies."""
        h = m.reals[SceneConstants.dt]
        links, size, matrix = m.integers[Header.links], m.integers[Header.unknowns], rows.smooth_matrix(m, at)
        for k in range(size * size):
            m.work[matrix + k] = 0.0
        for i in range(1, links):
            bias(m, at, i, loaded)
        external.act(m, at)
        for reverse in range(1, links):
            i = links - reverse
            link, block = rows.link_indices(m, i), rows.link_block(at, i)
            parent = m.integers[link + LinkIndices.parent]
            first, end = m.integers[link + LinkIndices.dof], rows.end_dof(m, i)
            mass, moment = m.work[block + LinkForward.mass], load(m.work, block + LinkForward.moment)
            inertia = vf.symmetric(m.work, block + LinkForward.inertia)
            f_bias, n_bias = load(m.work, block + LinkForward.force), load(m.work, block + LinkForward.torque)
            p = load(m.work, block + LinkForward.position)
            momentum, flux, spread = f_bias, inertia, mass
            if ti.static(polarised):
                momentum, flux = load(m.work, block + LinkForward.momentum), vf.load_matrix(m.work, block + LinkForward.flux)
                spread = flux.trace()
            loop = first
            if ti.static(free >= 0):  # noqa: SIM102, the compiler's if and the kernel's
                if m.integers[link + LinkIndices.joint] == free:
                    body = ti.static(Composite(mass, moment, inertia, momentum, flux, spread, f_bias, n_bias))
                    free_entries(m, at, matrix, first, body)
                    loop = end
            for k in range(loop, end):
                axes, motion = rows.dof_work(m, at, k), m.integers[rows.dof_indices(m, k) + DofIndices.motion]
                z = load(m.work, axes + DofWork.axis)
                # the wrench that accelerates the composite body by one unit of the dof
                f, n = mass * z, moment.cross(z)
                if motion == TURN:
                    f, n = z.cross(moment), inertia @ z
                if ti.static(screws):  # noqa: SIM102, the compiler's if and the kernel's
                    if motion == SCREW:
                        slide = load(m.work, axes + DofWork.slide)
                        f, n = mass * slide + z.cross(moment), moment.cross(slide) + inertia @ z
                f_later, n_later, n_turned = f, n, n
                if ti.static(polarised):
                    angular, linear = load(m.work, axes + DofWork.later_angular), load(m.work, axes + DofWork.later_linear)
                    f_later, n_later = mass * linear, moment.cross(linear)
                    if motion == SLIDE:
                        n_turned = h * momentum.cross(z)
                    else:
                        whole = spread * z
                        f_later = f_later + angular.cross(moment) + h * z.cross(momentum)
                        n_later = n_later + inertia @ angular + h * (whole - flux @ z)
                        n_turned = h * (whole - flux.transpose() @ z)
                    if ti.static(screws):  # noqa: SIM102, the compiler's if and the kernel's
                        if motion == SCREW:
                            n_turned = n_turned + h * momentum.cross(load(m.work, axes + DofWork.slide))
                m.work[at.vector + k] = -power(m, at, k, f_bias, n_bias)
                unit = ti.static(UnitWrenches(f, n, f_later, n_later, n_turned))
                # the same wrenches, seen by the link's dofs up to this one and by those of its ancestors
                seen, point = i, p
                while seen > 0:
                    row = rows.link_indices(m, seen)
                    for other in range(m.integers[row + LinkIndices.dof], ti.min(rows.end_dof(m, seen), k + 1)):
                        entries(m, at, matrix, k, other, unit)
                    seen = m.integers[row + LinkIndices.parent]
                    if seen > 0:
                        origin = load(m.work, rows.link_block(at, seen) + LinkForward.position)
                        arm = point - origin
                        point = origin
                        n = n + arm.cross(f)
                        if ti.static(polarised):
                            n_later = n_later + arm.cross(f_later)
            for k in range(first, end):
                diagonal = matrix + k * size + k
                m.work[diagonal] = m.work[diagonal] + m.inputs[rows.link_inputs(m, at, i) + LinkInputs.armature]
            if parent > 0:
                up = rows.link_block(at, parent)
                r = p - load(m.work, up + LinkForward.position)
                add(m.work, up + LinkForward.force, f_bias)
                add(m.work, up + LinkForward.torque, n_bias + r.cross(f_bias))
                m.work[up + LinkForward.mass] = m.work[up + LinkForward.mass] + mass
                add(m.work, up + LinkForward.moment, moment + mass * r)
                if ti.static(polarised):
                    add(m.work, up + LinkForward.momentum, momentum)
                    for c, d in ti.static(ti.ndrange(3, 3)):
                        entry = ti.static(LinkForward.flux + 3 * c + d)
                        m.work[up + entry] = m.work[up + entry] + flux[c, d] + momentum[c] * r[d]
                trace = 2.0 * r.dot(moment) + mass * r.dot(r)
                for c in ti.static(range(6)):
                    i1, i2 = ti.static(ENTRIES[c])
                    entry = up + ti.static(LinkForward.inertia + c)
                    m.work[entry] = m.work[entry] + (
                        inertia[i1, i2] + ti.static(1.0 if c < 3 else 0.0) * trace
                        - r[i1] * moment[i2] - moment[i1] * r[i2] - mass * r[i1] * r[i2]
                    )  # fmt: skip

    @ti.func
    def power_adjoint(m: ti.template(), at: ti.template(), loaded: ti.template()):
        """Adjoint of -(the power of inertial and gravity forces under the virtual velocity), and of the external wrenches': the
        links' motions' are added to, and those of mass, centre, inertia, armature and gravity compensation. The adjoint of a
        wrench is the link's virtual motion.

        That power is m a_c . w_c + (I alpha) . eta + (omega x I omega) . eta, with the accelerations a_c and virtual velocities
        w_c of the centres of mass; the last term is (I omega) . (eta x omega). Of a product of velocities one factor is at v,
        the other (..._ahead) at v + h a, as `polarised` says; the form is symmetric in them."""
        for k in range(m.integers[Header.dofs]):
            i = m.integers[rows.dof_indices(m, k) + DofIndices.link]
            armature = rows.link_inputs(m, at, i) + LinkInputs.armature
            m.inputs_bar[armature] = m.inputs_bar[armature] - m.work[at.vector + k] * m.tape[at.a + k]
        for i in range(1, m.integers[Header.links]):
            block, own = rows.link_block(at, i), rows.link_inputs(m, at, i)
            mass = m.inputs[own + LinkInputs.mass]
            rot = vf.load_matrix(m.work, block + LinkAdjoint.rotation)
            rho = rot @ load(m.inputs, own + LinkInputs.center)
            omega = load(m.work, block + LinkAdjoint.angular_velocity)
            alpha = load(m.work, block + LinkAdjoint.angular_acceleration)
            eta = load(m.work, block + LinkAdjoint.virtual_angular_velocity)
            inertia = rot @ vf.symmetric(m.inputs, own + LinkInputs.inertia) @ rot.transpose()
            # m a_c . w_c
            ahead = load(m.work, block + omega_ahead)
            swirl, swirl_ahead = omega.cross(rho), ahead.cross(rho)
            a_c = load(m.work, block + LinkAdjoint.acceleration) + alpha.cross(rho)
            a_c = a_c + 0.5 * (omega.cross(swirl_ahead) + ahead.cross(swirl))
            gravity, share = load(m.inputs, at.inputs + WorldInputs.gravity), m.inputs[own + LinkInputs.gravity_compensation]
            a_c = a_c + share * gravity
            w_c = load(m.work, block + LinkAdjoint.virtual_velocity) + eta.cross(rho)
            a_c_bar, w_c_bar = -mass * w_c, -mass * a_c
            swirl_bar, swirl_ahead_bar = 0.5 * a_c_bar.cross(ahead), 0.5 * a_c_bar.cross(omega)
            rho_bar = w_c_bar.cross(eta) + a_c_bar.cross(alpha) + swirl_bar.cross(omega) + swirl_ahead_bar.cross(ahead)
            # (I alpha) . eta + ((I omega_ahead) . y + (I omega) . y_ahead) / 2 with y = eta x omega
            y, y_ahead = eta.cross(omega), eta.cross(ahead)
            y_bar, y_ahead_bar = -0.5 * (inertia @ ahead), -0.5 * (inertia @ omega)
            I_alpha, I_eta, I_y, I_y_ahead = inertia @ alpha, inertia @ eta, inertia @ y, inertia @ y_ahead
            turned = (
                I_alpha.cross(eta) + I_eta.cross(alpha) + 0.5 * (I_y.cross(ahead) + I_y_ahead.cross(omega))
                - y_bar.cross(y) - y_ahead_bar.cross(y_ahead)
            )  # fmt: skip
            if ti.static(loaded):
                wrench = at.wrenches + Wrench.SIZE * i
                add(m.work, block + LinkAdjoint.virtual_velocity_bar, load(m.tape, wrench + Wrench.force))
                add(m.work, block + LinkAdjoint.virtual_angular_velocity_bar, load(m.tape, wrench + Wrench.torque))
            add(m.work, block + LinkAdjoint.virtual_velocity_bar, w_c_bar)
            add(m.work, block + LinkAdjoint.acceleration_bar, a_c_bar)
            add(
                m.work, block + LinkAdjoint.virtual_angular_velocity_bar,
                rho.cross(w_c_bar) - I_alpha + omega.cross(y_bar) + ahead.cross(y_ahead_bar),
            )  # fmt: skip
            add(m.work, block + LinkAdjoint.angular_acceleration_bar, rho.cross(a_c_bar) - I_eta)
            add(
                m.work, block + LinkAdjoint.angular_velocity_bar,
                0.5 * swirl_ahead.cross(a_c_bar) + rho.cross(swirl_bar) - 0.5 * I_y_ahead + y_bar.cross(eta),
            )  # fmt: skip
            add(
                m.work, block + omega_ahead_bar,
                0.5 * swirl.cross(a_c_bar) + rho.cross(swirl_ahead_bar) - 0.5 * I_y + y_ahead_bar.cross(eta),
            )  # fmt: skip
            add(m.work, block + LinkAdjoint.rotation_bar, rho.cross(rho_bar) - turned)
            m.inputs_bar[own + LinkInputs.mass] = m.inputs_bar[own + LinkInputs.mass] - a_c.dot(w_c)
            add(m.inputs_bar, at.inputs + WorldInputs.gravity, share * a_c_bar)
            carried = own + LinkInputs.gravity_compensation
            m.inputs_bar[carried] = m.inputs_bar[carried] + gravity.dot(a_c_bar)
            add(m.inputs_bar, own + LinkInputs.center, rot.transpose() @ rho_bar)
            # in the link's axes
            back = rot.transpose()
            al, et, om, yl = back @ alpha, back @ eta, back @ omega, back @ y
            om_ahead, yl_ahead = back @ (0.5 * ahead), back @ (0.5 * y_ahead)
            for c in ti.static(range(6)):
                i1, i2 = ti.static(ENTRIES[c])
                entry = al[i1] * et[i2] + om_ahead[i1] * yl[i2] + om[i1] * yl_ahead[i2]
                if ti.static(c >= 3):
                    entry = entry + al[i2] * et[i1] + om_ahead[i2] * yl[i1] + om[i2] * yl_ahead[i1]
                place = own + ti.static(LinkInputs.inertia + c)
                m.inputs_bar[place] = m.inputs_bar[place] - entry
        external.act_adjoint(m, at)

    return SimpleNamespace(equations=equations, power_adjoint=power_adjoint)
