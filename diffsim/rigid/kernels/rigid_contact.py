"""Contact between sample points of one geometry and the signed distance of another; forward beside adjoint."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rigid.kernels.compliance import compliance
from diffsim.rigid.kernels.distance import distance_stage
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import (
    COLUMN,
    CUTOFF,
    DOF_AT,
    DOF_INTS,
    DOFS,
    ETA,
    ETA_BAR,
    EVENT_SHIFT,
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
    W_COLUMN_AT,
    W_DOF_AT,
    H,
    P,
    R,
)  # fmt: skip


def contact_stage(real, last_dof, event=False, further=()) -> SimpleNamespace:
    """``contacts`` and ``contacts_adjoint``; and what events share with them. With ``event``, pairs that have events are felt
    only beneath the surface."""
    vf = vector_functions(real)
    law = compliance(real)
    surfaces = distance_stage(real, further)
    vec3, mat3, load, add, frame = vf.vec3, vf.mat3, vf.load, vf.add, surfaces.frame

    @ti.func
    def mean_properties(inputs: ti.template(), a, b):
        """Friction, restitution and stiffness of a pair of geometries, given their rows of inputs."""
        ka, kb = inputs[a + 2], inputs[b + 2]
        return 0.5 * (inputs[a] + inputs[b]), 0.5 * (inputs[a + 1] + inputs[b + 1]), 2.0 * ka * kb / (ka + kb)

    @ti.func
    def apart(integers: ti.template(), reals: ti.template(), a, b, scale_a, scale_b, center):
        """Whether bounding spheres say that a pair is beyond reach; ``center`` is that of geometry a in b's frame."""
        reach = scale_a * reals[integers[R_GEOMETRY_AT] + GEOMETRY_REALS * a + 17] + CUTOFF * reals[SMOOTHING]
        return surfaces.ball_distance(integers, reals, b, scale_b, center) > reach

    @ti.func
    def last_point(integers: ti.template(), a, b):
        """One past the last point of geometry a that meets geometry b: with a plane only the corners of a's hull do."""
        row_a, row_b = integers[GEOMETRY_AT] + GEOMETRY_INTS * a, integers[GEOMETRY_AT] + GEOMETRY_INTS * b
        end = integers[row_a + 3]
        if integers[row_b + 1] == PLANE:
            end = integers[row_a + 8]
        return end

    @ti.func
    def relative_motion(work: ti.template(), at_a, at_b, arm_a, arm_b, slot: ti.template()):
        """Velocity of link a's point at ``arm_a`` against that of link b's at ``arm_b``, the same place, and the links'
        relative angular velocity. Angular velocities stand at ``slot``, the origins' velocities after them."""
        omega_a, omega_b = load(work, at_a + slot), load(work, at_b + slot)
        u = load(work, at_a + slot + 3) + omega_a.cross(arm_a) - load(work, at_b + slot + 3) - omega_b.cross(arm_b)
        return u, omega_a - omega_b

    @ti.func
    def relative_motion_adjoint(
        work: ti.template(), at_a, at_b, arm_a, arm_b, slot: ti.template(), bar_slot: ti.template(), u_bar, omega_bar
    ):
        """Added to the adjoints of the links' motions, and to their positions' at a given place."""
        add(work, at_a + bar_slot, omega_bar + arm_a.cross(u_bar))
        add(work, at_a + bar_slot + 3, u_bar)
        add(work, at_a + P_BAR, load(work, at_a + slot).cross(u_bar))
        add(work, at_b + bar_slot, u_bar.cross(arm_b) - omega_bar)
        add(work, at_b + bar_slot + 3, -1.0 * u_bar)
        add(work, at_b + P_BAR, u_bar.cross(load(work, at_b + slot)))

    @ti.func
    def felt(integers: ti.template(), pair, d, phi):
        """The gap that the compliant law sees."""
        gap = phi
        if ti.static(event):
            gap = phi + EVENT_SHIFT * d * ti.cast(integers[integers[PAIR_AT] + PAIR_INTS * pair + 2], real)
        return gap

    @ti.func
    def surface_adjoint(rot_b, n_local, g, steep, hessian, n_bar, phi_bar):
        """Of the distance and the normal: adjoint of the place, in the frame of geometry b (of the normal alone) and in the
        world."""
        n_local_bar = rot_b.transpose() @ n_bar
        g_bar = (n_local_bar - n_local * n_local.dot(n_local_bar)) / steep
        bend = hessian @ g_bar
        return bend, rot_b @ (bend + phi_bar * g)

    @ti.func
    def plus_outer(x, y, z, a, b):
        """Rows of a matrix plus a b^T."""
        return x + a[0] * b, y + a[1] * b, z + a[2] * b

    @ti.func
    def times_rows(a, x, y, z):
        return a[0] * x + a[1] * y + a[2] * z

    @ti.func
    def relative_columns(integers: ti.template(), work: ti.template(), base, link_a, link_b, place):
        """Columns of the motion of link a against link b, as seen at a place; returns how many. Their dofs descend; those that
        carry both links are left out."""
        columns, axes = base + integers[W_COLUMN_AT], base + integers[W_DOF_AT]
        a, b, total = link_a, link_b, 0
        while a != b:
            link, sign = ti.max(a, b), ti.select(a > b, ti.cast(1.0, real), ti.cast(-1.0, real))
            row = integers[LINK_AT] + LINK_INTS * link
            arm = place - load(work, base + LINK * link + P)
            first, end = integers[row + 3], last_dof(integers, link)
            for back in range(end - first):
                k, at = end - 1 - back, columns + COLUMN * total
                linear, angular = sign * load(work, axes + 3 * k), vec3(0.0, 0.0, 0.0)
                if integers[integers[DOF_AT] + DOF_INTS * k + 1] == 1:
                    angular = linear
                    linear = angular.cross(arm)
                work[at] = ti.cast(k, real)
                vf.store(work, at + 1, linear)
                vf.store(work, at + 4, angular)
                total += 1
            if a > b:
                a = integers[row]
            else:
                b = integers[row]
        return total

    @ti.func
    def contacts(
        integers: ti.template(), reals: ti.template(), grids: ti.template(), inputs: ti.template(), inputs_at,
        work: ti.template(), base, matrix: ti.template(), matrix_at, vector: ti.template(), vector_at,
    ):  # fmt: skip
        """Added to the right-hand side, and what depends on the new velocities to the matrix.

        A pair's forces and their slopes are summed about the centre of geometry a before they are seen by the joints."""
        h, d, s, eps = reals[H], reals[SMOOTHING], reals[RESTITUTION_SPEED], reals[SLIP_SPEED]
        dofs, columns = integers[DOFS], base + integers[W_COLUMN_AT]
        zero, none = vec3(0.0, 0.0, 0.0), ti.cast(0.0, real)
        for pair in range(integers[PAIRS]):
            a = integers[integers[PAIR_AT] + PAIR_INTS * pair]
            b = integers[integers[PAIR_AT] + PAIR_INTS * pair + 1]
            row_a, row_b = integers[GEOMETRY_AT] + GEOMETRY_INTS * a, integers[GEOMETRY_AT] + GEOMETRY_INTS * b
            in_a = inputs_at + integers[I_GEOMETRY_AT] + GEOMETRY_INPUTS * a
            in_b = inputs_at + integers[I_GEOMETRY_AT] + GEOMETRY_INPUTS * b
            scale_a, scale_b = inputs[in_a + 3], inputs[in_b + 3]
            at_a, center_a, _rot_a = frame(integers, reals, work, base, a)
            at_b, center_b, rot_b = frame(integers, reals, work, base, b)
            center = rot_b.transpose() @ (center_a - center_b)
            if not apart(integers, reals, a, b, scale_a, scale_b, center):
                mu, e, k = mean_properties(inputs, in_a, in_b)
                radius = scale_a * reals[integers[R_GEOMETRY_AT] + GEOMETRY_REALS * a + 16]
                from_link = scale_a * vf.load_matrix(work, at_a + R)
                to_b = rot_b.transpose() @ from_link
                arm_a, arm_b = center_a - load(work, at_a + P), center_a - load(work, at_b + P)
                u_center, omega = relative_motion(work, at_a, at_b, arm_a, arm_b, OMEGA)
                force, torque, D_sum, D_first, D_second = zero, zero, none, zero, none
                nx, ny, nz, tx, ty, tz, mx, my, mz = zero, zero, zero, zero, zero, zero, zero, zero, zero
                touching = 0
                for point in range(integers[row_a + 2], last_point(integers, a, b)):
                    own = load(reals, integers[R_POINT_AT] + POINT_REALS * point)
                    y = center + to_b @ own
                    sdf, g = y[2], vec3(0.0, 0.0, 1.0)
                    if integers[row_b + 1] != PLANE:
                        sdf, g, _hessian = surfaces.distance(integers, reals, grids, b, scale_b, y, False)
                        g = g / ti.sqrt(g.dot(g))
                    phi = felt(integers, pair, d, sdf - radius)
                    if phi < CUTOFF * d:
                        touching = 1
                        n = rot_b @ g
                        r = from_link @ own - radius * n
                        u = u_center + omega.cross(r)
                        rate = n.dot(u)
                        still, D, N = law.normal(phi, rate, k, d, e, s)
                        slip = ti.max(u.dot(u) - rate * rate, none)
                        D_t = mu * N / ti.sqrt(slip + eps * eps)
                        # force on a: still n - (D_t + (D - D_t) n n^T) u+
                        more = D - D_t
                        f = (still - more * rate) * n - D_t * u
                        force, torque = force + f, torque + r.cross(f)
                        # the slope's moments about the centre: of D_t, and of more n n^T with m = r x n
                        m, D_r = r.cross(n), D_t * r
                        D_sum, D_first, D_second = D_sum + D_t, D_first + D_r, D_second + D_r.dot(r)
                        nx, ny, nz = plus_outer(nx, ny, nz, more * n, n)
                        tx, ty, tz = plus_outer(tx, ty, tz, more * n, m)
                        mx, my, mz = plus_outer(mx, my, mz, more * m, m)
                        mx, my, mz = plus_outer(mx, my, mz, -1.0 * D_r, r)
                if touching == 1:
                    # rows of the slopes: of the force by the velocity, of the torque by the velocity (columns), by the turning
                    nx, ny, nz = nx + vec3(D_sum, 0.0, 0.0), ny + vec3(0.0, D_sum, 0.0), nz + vec3(0.0, 0.0, D_sum)
                    x, y, z = D_first[0], D_first[1], D_first[2]
                    tx, ty, tz = tx + vec3(0.0, z, -y), ty + vec3(-z, 0.0, x), tz + vec3(y, -x, 0.0)
                    mx, my, mz = mx + vec3(D_second, 0.0, 0.0), my + vec3(0.0, D_second, 0.0), mz + vec3(0.0, 0.0, D_second)
                    wx, wy, wz = vec3(tx[0], ty[0], tz[0]), vec3(tx[1], ty[1], tz[1]), vec3(tx[2], ty[2], tz[2])
                    count = relative_columns(integers, work, base, integers[row_a], integers[row_b], center_a)
                    for c in range(count):
                        at = columns + COLUMN * c
                        i, linear, angular = ti.cast(work[at], ti.i32), load(work, at + 1), load(work, at + 4)
                        vector[vector_at + i] = vector[vector_at + i] + linear.dot(force) + angular.dot(torque)
                        f = h * (times_rows(linear, nx, ny, nz) + times_rows(angular, wx, wy, wz))
                        t = h * (times_rows(linear, tx, ty, tz) + times_rows(angular, mx, my, mz))
                        for other in range(c, count):
                            at_other = columns + COLUMN * other
                            entry = matrix_at + i * dofs + ti.cast(work[at_other], ti.i32)
                            slope = f * load(work, at_other + 1) + t * load(work, at_other + 4)
                            matrix[entry] = matrix[entry] + slope.sum()

    @ti.func
    def add_properties(inputs_bar: ti.template(), at, mu_bar, e_bar, k_bar, scale_bar):
        add(inputs_bar, at, vec3(mu_bar, e_bar, k_bar))
        inputs_bar[at + 3] = inputs_bar[at + 3] + scale_bar

    @ti.func
    def contacts_adjoint(
        integers: ti.template(), reals: ti.template(), grids: ti.template(), inputs: ti.template(), inputs_at,
        work: ti.template(), base, inputs_bar: ti.template(), bar_at,
    ):  # fmt: skip
        """Adjoint of the contact forces' power under the virtual velocity; a pair's adjoints are summed, too, before they go to
        the links."""
        d, s, eps = reals[SMOOTHING], reals[RESTITUTION_SPEED], reals[SLIP_SPEED]
        zero, none = vec3(0.0, 0.0, 0.0), ti.cast(0.0, real)
        for pair in range(integers[PAIRS]):
            a = integers[integers[PAIR_AT] + PAIR_INTS * pair]
            b = integers[integers[PAIR_AT] + PAIR_INTS * pair + 1]
            row_a, row_b = integers[GEOMETRY_AT] + GEOMETRY_INTS * a, integers[GEOMETRY_AT] + GEOMETRY_INTS * b
            section = integers[I_GEOMETRY_AT]
            in_a, in_b = inputs_at + section + GEOMETRY_INPUTS * a, inputs_at + section + GEOMETRY_INPUTS * b
            scale_a, scale_b = inputs[in_a + 3], inputs[in_b + 3]
            at_a, center_a, _rot_a = frame(integers, reals, work, base, a)
            at_b, center_b, rot_b = frame(integers, reals, work, base, b)
            to_b = rot_b.transpose()
            center = to_b @ (center_a - center_b)
            if not apart(integers, reals, a, b, scale_a, scale_b, center):
                mu, e, k = mean_properties(inputs, in_a, in_b)
                plain_radius = reals[integers[R_GEOMETRY_AT] + GEOMETRY_REALS * a + 16]
                radius = scale_a * plain_radius
                link_rot = vf.load_matrix(work, at_a + R)
                arm_a, arm_b = center_a - load(work, at_a + P), center_a - load(work, at_b + P)
                u_center, omega = relative_motion(work, at_a, at_b, arm_a, arm_b, OMEGA)
                new_center, omega_new = relative_motion(work, at_a, at_b, arm_a, arm_b, OMEGA_NEW)
                w_center, eta = relative_motion(work, at_a, at_b, arm_a, arm_b, ETA)
                # sums over the points: adjoints of the motions, of the points and turns of both links, of the properties
                u_total, omega_total, new_total, omega_new_total, w_total, eta_total = zero, zero, zero, zero, zero, zero
                x_total, x_moment, y_total, y_moment = zero, zero, zero, zero
                scale_a_bar, scale_b_bar, mu_bar, e_bar, k_bar = none, none, none, none, none
                touching = 0
                for point in range(integers[row_a + 2], last_point(integers, a, b)):
                    place = link_rot @ load(reals, integers[R_POINT_AT] + POINT_REALS * point)
                    arm = scale_a * place
                    y = center + to_b @ arm
                    sdf, g, hessian = y[2], vec3(0.0, 0.0, 1.0), mat3(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
                    if integers[row_b + 1] != PLANE:
                        sdf, g, hessian = surfaces.distance(integers, reals, grids, b, scale_b, y, True)
                    phi = felt(integers, pair, d, sdf - radius)
                    if phi < CUTOFF * d:
                        touching = 1
                        steep = ti.sqrt(g.dot(g))
                        n_local = g / steep
                        n = rot_b @ n_local
                        r = arm - radius * n
                        u, new, w = u_center + omega.cross(r), new_center + omega_new.cross(r), w_center + eta.cross(r)
                        rate, new_n, w_n = n.dot(u), n.dot(new), n.dot(w)
                        still, D, N = law.normal(phi, rate, k, d, e, s)
                        slip = ti.max(u.dot(u) - rate * rate, none)
                        t = 1.0 / ti.sqrt(slip + eps * eps)
                        D_t = mu * N * t
                        # power = still w_n - (D - D_t) new_n w_n - D_t new . w
                        w_n_bar, new_n_bar = still - (D - D_t) * new_n, -(D - D_t) * w_n
                        D_t_bar = new_n * w_n - new.dot(w)
                        slip_bar = -0.5 * t * t * D_t * D_t_bar
                        phi_bar, rate_bar, own_k_bar, own_e_bar = law.normal_adjoint(
                            phi, rate, k, d, e, s, w_n, -new_n * w_n, mu * t * D_t_bar
                        )
                        rate_bar = rate_bar - 2.0 * rate * slip_bar
                        u_bar = 2.0 * slip_bar * u + rate_bar * n
                        new_bar, w_bar = new_n_bar * n - D_t * w, w_n_bar * n - D_t * new
                        u_total, omega_total = u_total + u_bar, omega_total + r.cross(u_bar)
                        new_total, omega_new_total = new_total + new_bar, omega_new_total + r.cross(new_bar)
                        w_total, eta_total = w_total + w_bar, eta_total + r.cross(w_bar)
                        # the place of contact, x - radius n
                        x_bar = u_bar.cross(omega) + new_bar.cross(omega_new) + w_bar.cross(eta)
                        radius_bar = -phi_bar - n.dot(x_bar)
                        n_bar = rate_bar * u + new_n_bar * new + w_n_bar * w - radius * x_bar
                        # the normal turns with b; the distance's gradient with y
                        bend, y_bar = surface_adjoint(rot_b, n_local, g, steep, hessian, n_bar, phi_bar)
                        x_bar = x_bar + y_bar
                        x_total, x_moment = x_total + x_bar, x_moment + arm.cross(x_bar)
                        y_total, y_moment = y_total + y_bar, y_moment + n.cross(n_bar) + y_bar.cross(arm)
                        # parameters: sdf = s sdf_1(y / s), its gradient is that of sdf_1 at y / s
                        scale_a_bar = scale_a_bar + x_bar.dot(place) + plain_radius * radius_bar
                        scale_b_bar = scale_b_bar + (phi_bar * (sdf - g.dot(y)) - bend.dot(y)) / scale_b
                        mu_bar, e_bar, k_bar = mu_bar + N * t * D_t_bar, e_bar + own_e_bar, k_bar + own_k_bar
                if touching == 1:
                    relative_motion_adjoint(work, at_a, at_b, arm_a, arm_b, OMEGA, OMEGA_BAR, u_total, omega_total)
                    relative_motion_adjoint(
                        work, at_a, at_b, arm_a, arm_b, OMEGA_NEW, OMEGA_NEW_BAR, new_total, omega_new_total
                    )
                    relative_motion_adjoint(work, at_a, at_b, arm_a, arm_b, ETA, ETA_BAR, w_total, eta_total)
                    add(work, at_a + P_BAR, x_total)
                    add(work, at_a + THETA_BAR, x_moment + arm_a.cross(x_total))
                    add(work, at_b + P_BAR, -1.0 * y_total)
                    add(work, at_b + THETA_BAR, y_moment + y_total.cross(arm_b))
                    ka, kb = inputs[in_a + 2], inputs[in_b + 2]
                    share_a, share_b = ka / (ka + kb), kb / (ka + kb)
                    k_bar = 2.0 * k_bar
                    bar_a, bar_b = bar_at + section + GEOMETRY_INPUTS * a, bar_at + section + GEOMETRY_INPUTS * b
                    add_properties(inputs_bar, bar_a, 0.5 * mu_bar, 0.5 * e_bar, k_bar * share_b * share_b, scale_a_bar)
                    add_properties(inputs_bar, bar_b, 0.5 * mu_bar, 0.5 * e_bar, k_bar * share_a * share_a, scale_b_bar)

    return SimpleNamespace(
        contacts=contacts, contacts_adjoint=contacts_adjoint, distance=surfaces.distance, last_point=last_point,
        mean_properties=mean_properties, surface_adjoint=surface_adjoint,
    )  # fmt: skip
