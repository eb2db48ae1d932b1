"""Contact between sample points of one geometry and the signed distance of another; forward beside adjoint."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

import taichi as ti

from diffsim.solvers.rigid.compliance import compliance
from diffsim.solvers.rigid.distance import distance_stage
from diffsim.solvers.rigid.memory import (
    COLUMN,
    CUTOFF,
    DOF_AT,
    DOF_INTS,
    DOFS,
    ETA,
    ETA_BAR,
    GEOMETRY_AT,
    GEOMETRY_INPUTS,
    GEOMETRY_INTS,
    GEOMETRY_REALS,
    I_GEOMETRY_AT,
    LINK,
    LINK_AT,
    LINK_INTS,
    OMEGA,
    OMEGA_BAR,
    OMEGA_NEW,
    OMEGA_NEW_BAR,
    P_BAR,
    PAIR_AT,
    PAIR_INTS,
    PAIRS,
    PLANE,
    POINT_REALS,
    R_GEOMETRY_AT,
    R_POINT_AT,
    RESTITUTION_SPEED,
    SLIP_SPEED,
    SMOOTHING,
    THETA_BAR,
    U_NEW,
    W_COLUMN_AT,
    W_DOF_AT,
    H,
    P,
    R,
    U,
    W,
)  # fmt: skip
from diffsim.solvers.rigid.vectors import vector_functions


def contact_stage(real, last_dof) -> SimpleNamespace:
    """``contacts`` and ``contacts_adjoint``."""
    vf = vector_functions(real)
    law = compliance(real)
    surfaces = distance_stage(real)
    load, add = vf.load, vf.add

    @ti.func
    def mean_properties(inputs: ti.template(), a, b):
        """Friction, restitution and stiffness of a pair of geometries, given their rows of inputs."""
        ka, kb = inputs[a + 2], inputs[b + 2]
        return 0.5 * (inputs[a] + inputs[b]), 0.5 * (inputs[a + 1] + inputs[b + 1]), 2.0 * ka * kb / (ka + kb)

    @ti.func
    def apart(integers: ti.template(), reals: ti.template(), a, b, scale_a, scale_b, center):
        """Whether bounding spheres say that a pair is beyond reach; ``center`` is that of geometry a in b's frame."""
        own_a, own_b = integers[R_GEOMETRY_AT] + GEOMETRY_REALS * a, integers[R_GEOMETRY_AT] + GEOMETRY_REALS * b
        away = center[2]
        if integers[integers[GEOMETRY_AT] + GEOMETRY_INTS * b + 1] != PLANE:
            away = ti.sqrt(center.dot(center)) - scale_b * reals[own_b + 17]
        return away - scale_a * reals[own_a + 17] > CUTOFF * reals[SMOOTHING]

    @ti.func
    def frame(integers: ti.template(), reals: ti.template(), work: ti.template(), base, geometry):
        """A geometry's link block, and the geometry's position and rotation in the world."""
        at = base + LINK * integers[integers[GEOMETRY_AT] + GEOMETRY_INTS * geometry]
        own = integers[R_GEOMETRY_AT] + GEOMETRY_REALS * geometry
        rot = vf.load_matrix(work, at + R)
        return at, load(work, at + P) + rot @ load(reals, own), rot @ vf.load_matrix(reals, own + 3)

    @ti.func
    def add_columns(integers: ti.template(), work: ti.template(), base, link, point, sign, count):
        """Columns of the velocity of a link's point after ``count`` others; returns how many there are then."""
        columns, axes = base + integers[W_COLUMN_AT], base + integers[W_DOF_AT]
        total = count
        j = link
        while j > 0:
            arm = point - load(work, base + LINK * j + P)
            for k in range(integers[integers[LINK_AT] + LINK_INTS * j + 3], last_dof(integers, j)):
                z = load(work, axes + 3 * k)
                column = sign * z
                if integers[integers[DOF_AT] + DOF_INTS * k + 1] == 1:
                    column = sign * z.cross(arm)
                work[columns + COLUMN * total] = ti.cast(k, real)
                vf.store(work, columns + COLUMN * total + 1, column)
                total += 1
            j = integers[integers[LINK_AT] + LINK_INTS * j]
        return total

    @ti.func
    def contacts(
        integers: ti.template(), reals: ti.template(), grids: ti.template(), inputs: ti.template(), inputs_at,
        work: ti.template(), base, matrix: ti.template(), matrix_at, vector: ti.template(), vector_at,
    ):  # fmt: skip
        """Added to the right-hand side, and what depends on the new velocities to the matrix."""
        h, d, s, eps = reals[H], reals[SMOOTHING], reals[RESTITUTION_SPEED], reals[SLIP_SPEED]
        dofs, columns = integers[DOFS], base + integers[W_COLUMN_AT]
        for pair in range(integers[PAIRS]):
            a = integers[integers[PAIR_AT] + PAIR_INTS * pair]
            b = integers[integers[PAIR_AT] + PAIR_INTS * pair + 1]
            row_a, row_b = integers[GEOMETRY_AT] + GEOMETRY_INTS * a, integers[GEOMETRY_AT] + GEOMETRY_INTS * b
            in_a = inputs_at + integers[I_GEOMETRY_AT] + GEOMETRY_INPUTS * a
            in_b = inputs_at + integers[I_GEOMETRY_AT] + GEOMETRY_INPUTS * b
            scale_a, scale_b = inputs[in_a + 3], inputs[in_b + 3]
            at_a, center_a, _rot_a = frame(integers, reals, work, base, a)
            at_b, center_b, rot_b = frame(integers, reals, work, base, b)
            if not apart(integers, reals, a, b, scale_a, scale_b, rot_b.transpose() @ (center_a - center_b)):
                mu, e, k = mean_properties(inputs, in_a, in_b)
                radius = scale_a * reals[integers[R_GEOMETRY_AT] + GEOMETRY_REALS * a + 16]
                link_rot = vf.load_matrix(work, at_a + R)
                for point in range(integers[row_a + 2], integers[row_a + 3]):
                    x = center_a + link_rot @ (scale_a * load(reals, integers[R_POINT_AT] + POINT_REALS * point))
                    sdf, g, _hessian = surfaces.distance(
                        integers, reals, grids, b, scale_b, rot_b.transpose() @ (x - center_b), False
                    )
                    phi = sdf - radius
                    if phi < CUTOFF * d:
                        n = rot_b @ (g / ti.sqrt(g.dot(g)))
                        x_c = x - radius * n
                        u = (
                            load(work, at_a + U) + load(work, at_a + OMEGA).cross(x_c - load(work, at_a + P))
                            - load(work, at_b + U) - load(work, at_b + OMEGA).cross(x_c - load(work, at_b + P))
                        )  # fmt: skip
                        rate = n.dot(u)
                        still, D, N = law.normal(phi, rate, k, d, e, s)
                        slip = ti.max(u.dot(u) - rate * rate, ti.cast(0.0, real))
                        D_t = mu * N / ti.sqrt(slip + eps * eps)
                        # force on a: still n - (D_t + (D - D_t) n n^T) u+
                        force = (still - (D - D_t) * rate) * n - D_t * u
                        count = add_columns(integers, work, base, integers[row_a], x_c, 1.0, 0)
                        count = add_columns(integers, work, base, integers[row_b], x_c, -1.0, count)
                        for c in range(count):
                            J = load(work, columns + COLUMN * c + 1)
                            i = ti.cast(work[columns + COLUMN * c], ti.i32)
                            vector[vector_at + i] += J.dot(force)
                            DJ = h * (D_t * J + ((D - D_t) * n.dot(J)) * n)
                            for other in range(count):
                                j = ti.cast(work[columns + COLUMN * other], ti.i32)
                                if j <= i:
                                    matrix[matrix_at + i * dofs + j] += DJ.dot(load(work, columns + COLUMN * other + 1))

    @ti.func
    def point_velocity_adjoint(work: ti.template(), at, omega_slot: ti.template(), omega_bar_slot: ti.template(), arm, bar):
        """Adjoint of u + omega x arm for a link; u's adjoint stands after omega's. Returns that of the arm."""
        add(work, at + omega_bar_slot, arm.cross(bar))
        add(work, at + omega_bar_slot + 3, bar)
        return bar.cross(load(work, at + omega_slot))

    @ti.func
    def contacts_adjoint(
        integers: ti.template(), reals: ti.template(), grids: ti.template(), inputs: ti.template(), inputs_at,
        work: ti.template(), base, inputs_bar: ti.template(), bar_at,
    ):  # fmt: skip
        """Adjoint of the contact forces' power under the virtual velocity."""
        d, s, eps = reals[SMOOTHING], reals[RESTITUTION_SPEED], reals[SLIP_SPEED]
        for pair in range(integers[PAIRS]):
            a = integers[integers[PAIR_AT] + PAIR_INTS * pair]
            b = integers[integers[PAIR_AT] + PAIR_INTS * pair + 1]
            row_a = integers[GEOMETRY_AT] + GEOMETRY_INTS * a
            section = integers[I_GEOMETRY_AT]
            in_a, in_b = inputs_at + section + GEOMETRY_INPUTS * a, inputs_at + section + GEOMETRY_INPUTS * b
            bar_a, bar_b = bar_at + section + GEOMETRY_INPUTS * a, bar_at + section + GEOMETRY_INPUTS * b
            scale_a, scale_b = inputs[in_a + 3], inputs[in_b + 3]
            at_a, center_a, _rot_a = frame(integers, reals, work, base, a)
            at_b, center_b, rot_b = frame(integers, reals, work, base, b)
            if not apart(integers, reals, a, b, scale_a, scale_b, rot_b.transpose() @ (center_a - center_b)):
                mu, e, k = mean_properties(inputs, in_a, in_b)
                plain_radius = reals[integers[R_GEOMETRY_AT] + GEOMETRY_REALS * a + 16]
                radius = scale_a * plain_radius
                link_rot = vf.load_matrix(work, at_a + R)
                p_a, p_b = load(work, at_a + P), load(work, at_b + P)
                for point in range(integers[row_a + 2], integers[row_a + 3]):
                    place = link_rot @ load(reals, integers[R_POINT_AT] + POINT_REALS * point)
                    x = center_a + scale_a * place
                    y = rot_b.transpose() @ (x - center_b)
                    sdf, g, hessian = surfaces.distance(integers, reals, grids, b, scale_b, y, True)
                    phi = sdf - radius
                    if phi < CUTOFF * d:
                        steep = ti.sqrt(g.dot(g))
                        n_local = g / steep
                        n = rot_b @ n_local
                        x_c = x - radius * n
                        arm_a, arm_b = x_c - p_a, x_c - p_b
                        u = (
                            load(work, at_a + U) + load(work, at_a + OMEGA).cross(arm_a)
                            - load(work, at_b + U) - load(work, at_b + OMEGA).cross(arm_b)
                        )  # fmt: skip
                        new = (
                            load(work, at_a + U_NEW) + load(work, at_a + OMEGA_NEW).cross(arm_a)
                            - load(work, at_b + U_NEW) - load(work, at_b + OMEGA_NEW).cross(arm_b)
                        )  # fmt: skip
                        w = (
                            load(work, at_a + W) + load(work, at_a + ETA).cross(arm_a)
                            - load(work, at_b + W) - load(work, at_b + ETA).cross(arm_b)
                        )  # fmt: skip
                        rate, new_n, w_n = n.dot(u), n.dot(new), n.dot(w)
                        still, D, N = law.normal(phi, rate, k, d, e, s)
                        slip = ti.max(u.dot(u) - rate * rate, ti.cast(0.0, real))
                        t = 1.0 / ti.sqrt(slip + eps * eps)
                        D_t = mu * N * t
                        # power = still w_n - (D - D_t) new_n w_n - D_t new . w
                        w_bar, new_bar = -D_t * new, -D_t * w
                        w_n_bar, new_n_bar = still - (D - D_t) * new_n, -(D - D_t) * w_n
                        D_t_bar = new_n * w_n - new.dot(w)
                        slip_bar = -0.5 * t * t * D_t * D_t_bar
                        phi_bar, rate_bar, k_bar, e_bar = law.normal_adjoint(
                            phi, rate, k, d, e, s, w_n, -new_n * w_n, mu * t * D_t_bar
                        )
                        mu_bar = N * t * D_t_bar
                        rate_bar = rate_bar - 2.0 * rate * slip_bar
                        u_bar = 2.0 * slip_bar * u + rate_bar * n
                        new_bar = new_bar + new_n_bar * n
                        w_bar = w_bar + w_n_bar * n
                        n_bar = rate_bar * u + new_n_bar * new + w_n_bar * w
                        # the links' motions, and the place of contact
                        arm_a_bar = (
                            point_velocity_adjoint(work, at_a, OMEGA, OMEGA_BAR, arm_a, u_bar)
                            + point_velocity_adjoint(work, at_a, OMEGA_NEW, OMEGA_NEW_BAR, arm_a, new_bar)
                            + point_velocity_adjoint(work, at_a, ETA, ETA_BAR, arm_a, w_bar)
                        )  # fmt: skip
                        arm_b_bar = (
                            point_velocity_adjoint(work, at_b, OMEGA, OMEGA_BAR, arm_b, -1.0 * u_bar)
                            + point_velocity_adjoint(work, at_b, OMEGA_NEW, OMEGA_NEW_BAR, arm_b, -1.0 * new_bar)
                            + point_velocity_adjoint(work, at_b, ETA, ETA_BAR, arm_b, -1.0 * w_bar)
                        )  # fmt: skip
                        add(work, at_a + P_BAR, -1.0 * arm_a_bar)
                        add(work, at_b + P_BAR, -1.0 * arm_b_bar)
                        x_bar = arm_a_bar + arm_b_bar
                        radius_bar = -phi_bar - n.dot(x_bar)
                        n_bar = n_bar - radius * x_bar
                        # the normal turns with b; the distance's gradient with y
                        n_local_bar = rot_b.transpose() @ n_bar
                        g_bar = (n_local_bar - n_local * n_local.dot(n_local_bar)) / steep
                        bend = hessian @ g_bar
                        y_bar = rot_b @ (bend + phi_bar * g)
                        x_bar = x_bar + y_bar
                        add(work, at_b + P_BAR, -1.0 * y_bar)
                        add(work, at_b + THETA_BAR, n.cross(n_bar) + y_bar.cross(x - p_b))
                        add(work, at_a + P_BAR, x_bar)
                        add(work, at_a + THETA_BAR, (x - p_a).cross(x_bar))
                        # parameters: sdf = s sdf_1(y / s), its gradient is that of sdf_1 at y / s
                        inputs_bar[bar_a + 3] += x_bar.dot(place) + plain_radius * radius_bar
                        inputs_bar[bar_b + 3] += (phi_bar * (sdf - g.dot(y)) - bend.dot(y)) / scale_b
                        inputs_bar[bar_a] += 0.5 * mu_bar
                        inputs_bar[bar_b] += 0.5 * mu_bar
                        inputs_bar[bar_a + 1] += 0.5 * e_bar
                        inputs_bar[bar_b + 1] += 0.5 * e_bar
                        ka, kb = inputs[in_a + 2], inputs[in_b + 2]
                        inputs_bar[bar_a + 2] += 2.0 * k_bar * (kb / (ka + kb)) * (kb / (ka + kb))
                        inputs_bar[bar_b + 2] += 2.0 * k_bar * (ka / (ka + kb)) * (ka / (ka + kb))

    return SimpleNamespace(contacts=contacts, contacts_adjoint=contacts_adjoint)
