"""The equations of motion M a + c = tau: bias forces and mass matrix down and up the tree; and the adjoint of their power."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import (
    A_BAR,
    ALPHA,
    ALPHA_BAR,
    ARMATURE,
    C_FIRST,
    C_INERTIA,
    C_MASS,
    CENTER,
    DOF_AT,
    DOF_INTS,
    DOFS,
    ETA,
    ETA_BAR,
    I_LINK_AT,
    INERTIA,
    LINK,
    LINK_AT,
    LINK_INPUTS,
    LINK_INTS,
    LINKS,
    MASS,
    OMEGA,
    OMEGA_BAR,
    THETA_BAR,
    W_BAR,
    W_DOF_AT,
    A,
    F,
    N,
    P,
    R,
    W,
)  # fmt: skip

ENTRIES = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))  # of a symmetric matrix, in the order in which it is stored


def dynamics_stage(real) -> SimpleNamespace:
    """``equations`` and ``power_adjoint``."""
    vf = vector_functions(real)
    load, store, add = vf.load, vf.store, vf.add

    @ti.func
    def last_dof(integers: ti.template(), i):
        """One past the last dof of link ``i``."""
        end = integers[DOFS]
        if i + 1 < integers[LINKS]:
            end = integers[integers[LINK_AT] + LINK_INTS * (i + 1) + 3]
        return end

    @ti.func
    def bias(
        inputs: ti.template(), inputs_at, work: ti.template(), base, i, wrenches: ti.template(), wrenches_at,
        loaded: ti.template(),
    ):  # fmt: skip
        """Wrench and inertia of a link alone, about its origin, at a = 0."""
        at = base + LINK * i
        own = inputs_at + LINK_INPUTS * i
        m = inputs[own + MASS]
        rot = vf.load_matrix(work, at + R)
        rho = rot @ load(inputs, own + CENTER)
        omega, alpha = load(work, at + OMEGA), load(work, at + ALPHA)
        inertia = rot @ vf.symmetric(inputs, own + INERTIA) @ rot.transpose()
        f = m * (load(work, at + A) + alpha.cross(rho) + omega.cross(omega.cross(rho)))
        n = inertia @ alpha + omega.cross(inertia @ omega) + rho.cross(f)
        if ti.static(loaded):
            f = f - load(wrenches, wrenches_at + 6 * i)
            n = n - load(wrenches, wrenches_at + 6 * i + 3)
        store(work, at + F, f)
        store(work, at + N, n)
        work[at + C_MASS] = m
        store(work, at + C_FIRST, m * rho)
        rho2 = rho.dot(rho)
        for c in ti.static(range(6)):
            i1, i2 = ti.static(ENTRIES[c])
            work[at + C_INERTIA + c] = inertia[i1, i2] + m * (ti.static(1.0 if c < 3 else 0.0) * rho2 - rho[i1] * rho[i2])

    @ti.func
    def equations(
        integers: ti.template(), inputs: ti.template(), inputs_at, work: ti.template(), base,
        matrix: ti.template(), matrix_at, vector: ti.template(), vector_at, wrenches: ti.template(), wrenches_at,
        loaded: ti.template(),
    ):  # fmt: skip
        """The mass matrix with armatures (lower triangle, rows of the number of dofs; composite rigid bodies) and -c
        (recursive Newton-Euler), gravity included (Featherstone 2008, chapters 5 and 6); if ``loaded``, with the external
        wrenches (force, torque about the origin) on the links."""
        links, dofs = integers[LINKS], integers[DOFS]
        link_at, dof_table, axes = integers[LINK_AT], integers[DOF_AT], base + integers[W_DOF_AT]
        links_in = inputs_at + integers[I_LINK_AT]
        for k in range(dofs * dofs):
            matrix[matrix_at + k] = 0.0
        for i in range(1, links):
            bias(inputs, links_in, work, base, i, wrenches, wrenches_at, loaded)
        for reverse in range(1, links):
            i = links - reverse
            at = base + LINK * i
            parent = integers[link_at + LINK_INTS * i]
            first, end = integers[link_at + LINK_INTS * i + 3], last_dof(integers, i)
            mass, moment = work[at + C_MASS], load(work, at + C_FIRST)
            inertia = vf.symmetric(work, at + C_INERTIA)
            f_bias, n_bias = load(work, at + F), load(work, at + N)
            p = load(work, at + P)
            for k in range(first, end):
                z = load(work, axes + 3 * k)
                f, n = mass * z, moment.cross(z)
                power = z.dot(f_bias)
                if integers[dof_table + DOF_INTS * k + 1] == 1:
                    f, n = z.cross(moment), inertia @ z
                    power = z.dot(n_bias)
                vector[vector_at + k] = -power
                for other in range(first, k + 1):
                    z_other = load(work, axes + 3 * other)
                    along = z_other.dot(f)
                    if integers[dof_table + DOF_INTS * other + 1] == 1:
                        along = z_other.dot(n)
                    matrix[matrix_at + k * dofs + other] = along
                diagonal = matrix_at + k * dofs + k
                matrix[diagonal] = matrix[diagonal] + inputs[links_in + LINK_INPUTS * i + ARMATURE]
                # the same wrench, seen by the dofs of the ancestors
                j, point = parent, p
                while j > 0:
                    p_j = load(work, base + LINK * j + P)
                    n = n + (point - p_j).cross(f)
                    point = p_j
                    for other in range(integers[link_at + LINK_INTS * j + 3], last_dof(integers, j)):
                        z_other = load(work, axes + 3 * other)
                        along = z_other.dot(f)
                        if integers[dof_table + DOF_INTS * other + 1] == 1:
                            along = z_other.dot(n)
                        matrix[matrix_at + k * dofs + other] = along
                    j = integers[link_at + LINK_INTS * j]
            if parent > 0:
                up = base + LINK * parent
                r = p - load(work, up + P)
                add(work, up + F, f_bias)
                add(work, up + N, n_bias + r.cross(f_bias))
                work[up + C_MASS] = work[up + C_MASS] + mass
                add(work, up + C_FIRST, moment + mass * r)
                trace = 2.0 * r.dot(moment) + mass * r.dot(r)
                for c in ti.static(range(6)):
                    i1, i2 = ti.static(ENTRIES[c])
                    work[up + C_INERTIA + c] = work[up + C_INERTIA + c] + (
                        inertia[i1, i2] + ti.static(1.0 if c < 3 else 0.0) * trace
                        - r[i1] * moment[i2] - moment[i1] * r[i2] - mass * r[i1] * r[i2]
                    )  # fmt: skip

    @ti.func
    def power_adjoint(
        integers: ti.template(), inputs: ti.template(), inputs_at, row: ti.template(), a_at,
        virtual: ti.template(), virtual_at, work: ti.template(), base, inputs_bar: ti.template(), bar_at,
        wrenches: ti.template(), wrenches_at, loaded: ti.template(),
    ):  # fmt: skip
        """Adjoint of -(the power of inertial and gravity forces under the virtual velocity), and of the external wrenches': the
        links' motions' are added to, and those of mass, centre, inertia and armature. The adjoint of a wrench is the
        link's virtual motion."""
        links_in, links_bar = inputs_at + integers[I_LINK_AT], bar_at + integers[I_LINK_AT]
        for k in range(integers[DOFS]):
            i = integers[integers[DOF_AT] + DOF_INTS * k]
            armature = links_bar + LINK_INPUTS * i + ARMATURE
            inputs_bar[armature] = inputs_bar[armature] - virtual[virtual_at + k] * row[a_at + k]
        for i in range(1, integers[LINKS]):
            at = base + LINK * i
            own, bar = links_in + LINK_INPUTS * i, links_bar + LINK_INPUTS * i
            m = inputs[own + MASS]
            rot = vf.load_matrix(work, at + R)
            rho = rot @ load(inputs, own + CENTER)
            omega, alpha, eta = load(work, at + OMEGA), load(work, at + ALPHA), load(work, at + ETA)
            inertia = rot @ vf.symmetric(inputs, own + INERTIA) @ rot.transpose()
            # m a_c . w_c
            swirl = omega.cross(rho)
            a_c = load(work, at + A) + alpha.cross(rho) + omega.cross(swirl)
            w_c = load(work, at + W) + eta.cross(rho)
            a_c_bar, w_c_bar = -m * w_c, -m * a_c
            swirl_bar = a_c_bar.cross(omega)
            rho_bar = w_c_bar.cross(eta) + a_c_bar.cross(alpha) + swirl_bar.cross(omega)
            # (I alpha) . eta + (I omega) . y with y = eta x omega
            y = eta.cross(omega)
            y_bar = -1.0 * (inertia @ omega)
            I_alpha, I_eta, I_y = inertia @ alpha, inertia @ eta, inertia @ y
            turned = I_alpha.cross(eta) + I_eta.cross(alpha) + I_y.cross(omega) - y_bar.cross(y)
            if ti.static(loaded):
                add(work, at + W_BAR, load(wrenches, wrenches_at + 6 * i))
                add(work, at + ETA_BAR, load(wrenches, wrenches_at + 6 * i + 3))
            add(work, at + W_BAR, w_c_bar)
            add(work, at + A_BAR, a_c_bar)
            add(work, at + ETA_BAR, rho.cross(w_c_bar) - I_alpha + omega.cross(y_bar))
            add(work, at + ALPHA_BAR, rho.cross(a_c_bar) - I_eta)
            add(work, at + OMEGA_BAR, swirl.cross(a_c_bar) + rho.cross(swirl_bar) - I_y + y_bar.cross(eta))
            add(work, at + THETA_BAR, rho.cross(rho_bar) - turned)
            inputs_bar[bar + MASS] = inputs_bar[bar + MASS] - a_c.dot(w_c)
            add(inputs_bar, bar + CENTER, rot.transpose() @ rho_bar)
            # in the link's axes
            al, et, om, yl = rot.transpose() @ alpha, rot.transpose() @ eta, rot.transpose() @ omega, rot.transpose() @ y
            for c in ti.static(range(6)):
                i1, i2 = ti.static(ENTRIES[c])
                entry = al[i1] * et[i2] + om[i1] * yl[i2]
                if ti.static(c >= 3):
                    entry = entry + al[i2] * et[i1] + om[i2] * yl[i1]
                inputs_bar[bar + INERTIA + c] = inputs_bar[bar + INERTIA + c] - entry

    return SimpleNamespace(equations=equations, power_adjoint=power_adjoint, last_dof=last_dof)
