"""The equations of motion M a + c = tau: bias forces and mass matrix down and up the tree; and the adjoint of their power."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rigid.kernels.external_wrenches import wrench_stage
from diffsim.rigid.kernels.rigid_memory import model_rows
from diffsim.rigid.kernels.vectors import ENTRIES, vector_functions
from diffsim.rigid.rigid_records import (
    SCREW,
    TURN,
    DofIndices,
    DofWork,
    Header,
    LinkAdjoint,
    LinkForward,
    LinkIndices,
    LinkInputs,
    Wrench,
)


def dynamics_stage(real, *, screws: bool) -> SimpleNamespace:
    """``equations`` and ``power_adjoint``; with or without the code for dofs that turn and slide at once."""
    vf, rows, external = vector_functions(real), model_rows(), wrench_stage(real)
    load, store, add = vf.load, vf.store, vf.add

    @ti.func
    def bias(m: ti.template(), at: ti.template(), i, loaded: ti.template()):
        """Wrench and inertia of a link alone, about its origin, at a = 0. With the centre of mass rho from the origin,
        f = m (a + alpha x rho + omega x (omega x rho)) and n = I alpha + omega x I omega + rho x f."""
        block, own = rows.link_block(at, i), rows.link_inputs(m, at, i)
        mass = m.inputs[own + LinkInputs.mass]
        rot = vf.load_matrix(m.work, block + LinkForward.rotation)
        rho = rot @ load(m.inputs, own + LinkInputs.center)
        omega = load(m.work, block + LinkForward.angular_velocity)
        alpha = load(m.work, block + LinkForward.angular_acceleration)
        inertia = rot @ vf.symmetric(m.inputs, own + LinkInputs.inertia) @ rot.transpose()
        f = mass * (load(m.work, block + LinkForward.acceleration) + alpha.cross(rho) + omega.cross(omega.cross(rho)))
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
    def equations(m: ti.template(), at: ti.template(), loaded: ti.template()):
        """The mass matrix with armatures (lower triangle, rows of the number of dofs; composite rigid bodies) and -c
        (recursive Newton-Euler), gravity and external wrenches included (Featherstone 2008, chapters 5 and 6); if
        ``loaded``, also those of contact with soft bodies."""
        links, dofs = m.integers[Header.links], m.integers[Header.dofs]
        for k in range(dofs * dofs):
            m.tape[at.matrix + k] = 0.0
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
            for k in range(first, end):
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
                m.work[at.vector + k] = -power(m, at, k, f_bias, n_bias)
                for other in range(first, k + 1):
                    m.tape[at.matrix + k * dofs + other] = power(m, at, other, f, n)
                diagonal = at.matrix + k * dofs + k
                m.tape[diagonal] = m.tape[diagonal] + m.inputs[rows.link_inputs(m, at, i) + LinkInputs.armature]
                # the same wrench, seen by the dofs of the ancestors
                ancestor, point = parent, p
                while ancestor > 0:
                    ancestor_p = load(m.work, rows.link_block(at, ancestor) + LinkForward.position)
                    n = n + (point - ancestor_p).cross(f)
                    point = ancestor_p
                    row = rows.link_indices(m, ancestor)
                    for other in range(m.integers[row + LinkIndices.dof], rows.end_dof(m, ancestor)):
                        m.tape[at.matrix + k * dofs + other] = power(m, at, other, f, n)
                    ancestor = m.integers[row + LinkIndices.parent]
            if parent > 0:
                up = rows.link_block(at, parent)
                r = p - load(m.work, up + LinkForward.position)
                add(m.work, up + LinkForward.force, f_bias)
                add(m.work, up + LinkForward.torque, n_bias + r.cross(f_bias))
                m.work[up + LinkForward.mass] = m.work[up + LinkForward.mass] + mass
                add(m.work, up + LinkForward.moment, moment + mass * r)
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
        links' motions' are added to, and those of mass, centre, inertia and armature. The adjoint of a wrench is the
        link's virtual motion.

        That power is m a_c . w_c + (I alpha) . eta + (omega x I omega) . eta, with the accelerations a_c and virtual velocities
        w_c of the centres of mass; the last term is (I omega) . (eta x omega)."""
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
            swirl = omega.cross(rho)
            a_c = load(m.work, block + LinkAdjoint.acceleration) + alpha.cross(rho) + omega.cross(swirl)
            w_c = load(m.work, block + LinkAdjoint.virtual_velocity) + eta.cross(rho)
            a_c_bar, w_c_bar = -mass * w_c, -mass * a_c
            swirl_bar = a_c_bar.cross(omega)
            rho_bar = w_c_bar.cross(eta) + a_c_bar.cross(alpha) + swirl_bar.cross(omega)
            # (I alpha) . eta + (I omega) . y with y = eta x omega
            y = eta.cross(omega)
            y_bar = -1.0 * (inertia @ omega)
            I_alpha, I_eta, I_y = inertia @ alpha, inertia @ eta, inertia @ y
            turned = I_alpha.cross(eta) + I_eta.cross(alpha) + I_y.cross(omega) - y_bar.cross(y)
            if ti.static(loaded):
                wrench = at.wrenches + Wrench.SIZE * i
                add(m.work, block + LinkAdjoint.virtual_velocity_bar, load(m.tape, wrench + Wrench.force))
                add(m.work, block + LinkAdjoint.virtual_angular_velocity_bar, load(m.tape, wrench + Wrench.torque))
            add(m.work, block + LinkAdjoint.virtual_velocity_bar, w_c_bar)
            add(m.work, block + LinkAdjoint.acceleration_bar, a_c_bar)
            add(m.work, block + LinkAdjoint.virtual_angular_velocity_bar, rho.cross(w_c_bar) - I_alpha + omega.cross(y_bar))
            add(m.work, block + LinkAdjoint.angular_acceleration_bar, rho.cross(a_c_bar) - I_eta)
            add(
                m.work, block + LinkAdjoint.angular_velocity_bar,
                swirl.cross(a_c_bar) + rho.cross(swirl_bar) - I_y + y_bar.cross(eta),
            )  # fmt: skip
            add(m.work, block + LinkAdjoint.rotation_bar, rho.cross(rho_bar) - turned)
            m.inputs_bar[own + LinkInputs.mass] = m.inputs_bar[own + LinkInputs.mass] - a_c.dot(w_c)
            add(m.inputs_bar, own + LinkInputs.center, rot.transpose() @ rho_bar)
            # in the link's axes
            al, et, om, yl = rot.transpose() @ alpha, rot.transpose() @ eta, rot.transpose() @ omega, rot.transpose() @ y
            for c in ti.static(range(6)):
                i1, i2 = ti.static(ENTRIES[c])
                entry = al[i1] * et[i2] + om[i1] * yl[i2]
                if ti.static(c >= 3):
                    entry = entry + al[i2] * et[i1] + om[i2] * yl[i1]
                place = own + ti.static(LinkInputs.inertia + c)
                m.inputs_bar[place] = m.inputs_bar[place] - entry
        external.act_adjoint(m, at)

    return SimpleNamespace(equations=equations, power_adjoint=power_adjoint)
