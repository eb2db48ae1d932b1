"""Contact between sample points of one geometry and the signed distance of another; forward beside adjoint."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any, NamedTuple

from diffsim.compiler import ti
from diffsim.rigid.kernels.compliance import compliance
from diffsim.rigid.kernels.distance import distance_stage
from diffsim.rigid.kernels.penetration import penetration_stage
from diffsim.rigid.kernels.rigid_memory import model_rows
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import (
    CUTOFF,
    EVENT_SHIFT,
    MOTION,
    MOTION_BAR,
    NEW_MOTION,
    NEW_MOTION_BAR,
    PLANE,
    SCREW,
    SLIDE,
    VIRTUAL_MOTION,
    VIRTUAL_MOTION_BAR,
    ContactColumn,
    DofIndices,
    DofWork,
    GeometryConstants,
    GeometryIndices,
    GeometryInputs,
    Header,
    LinkAdjoint,
    LinkIndices,
    LinkWork,
    PairIndices,
    Point,
    SceneConstants,
)

PROPERTIES = (GeometryInputs.friction, GeometryInputs.restitution, GeometryInputs.stiffness, GeometryInputs.scale)


class ContactPair(NamedTuple):
    """Two links at a place that both have: their blocks, and the place from their origins."""

    block_a: Any
    block_b: Any
    arm_a: Any
    arm_b: Any


def contact_stage(real, *, event: bool, screws: bool, further=()) -> SimpleNamespace:
    """``contacts`` and ``contacts_adjoint``; and what events share with them. With ``event``, pairs that have events feel the
    compliant law only beneath the surface; ``screws`` is whether dofs may turn and slide at once; ``further`` are shapes as of
    `distance_stage`."""
    vf, rows = vector_functions(real), model_rows()
    law = compliance(real)
    surfaces, penetration = distance_stage(real, further), penetration_stage(real)
    vec3, mat3, load, add = vf.vec3, vf.mat3, vf.load, vf.add

    @ti.func
    def mean_properties(m: ti.template(), a, b):
        """Friction, restitution and stiffness of a pair of geometries, at their rows of inputs: arithmetic means, and the
        harmonic one of the stiffnesses."""
        ka, kb = m.inputs[a + GeometryInputs.stiffness], m.inputs[b + GeometryInputs.stiffness]
        mu = 0.5 * (m.inputs[a + GeometryInputs.friction] + m.inputs[b + GeometryInputs.friction])
        e = 0.5 * (m.inputs[a + GeometryInputs.restitution] + m.inputs[b + GeometryInputs.restitution])
        return mu, e, 2.0 * ka * kb / (ka + kb)

    @ti.func
    def apart(m: ti.template(), a, b, scale_a, scale_b, center):
        """Whether bounding spheres say that a pair is beyond reach; ``center`` is that of geometry a in b's frame."""
        reach = scale_a * m.reals[rows.geometry_constants(m, a) + GeometryConstants.reach]
        return surfaces.ball_distance(m, b, scale_b, center) > reach + CUTOFF * m.reals[SceneConstants.smoothing]

    @ti.func
    def end_point(m: ti.template(), a, b):
        """One past the last point of geometry a that meets geometry b: with a plane only the corners of a's hull do."""
        indices = rows.geometry_indices(m, a)
        end = m.integers[indices + GeometryIndices.end_point]
        if m.integers[rows.geometry_indices(m, b) + GeometryIndices.distance] == PLANE:
            end = m.integers[indices + GeometryIndices.end_plane_point]
        return end

    @ti.func
    def sample_point(m: ti.template(), point):
        return load(m.reals, m.integers[Header.points] + Point.SIZE * point)

    @ti.func
    def relative_motion(m: ti.template(), pair: ti.template(), motion: ti.template()):
        """Velocity of link a at the place against that of link b, and the links' relative angular velocity, for a motion that
        stands at those slots of the links' blocks."""
        omega_a, omega_b = load(m.work, pair.block_a + motion[0]), load(m.work, pair.block_b + motion[0])
        u = (
            load(m.work, pair.block_a + motion[1]) + omega_a.cross(pair.arm_a)
            - load(m.work, pair.block_b + motion[1]) - omega_b.cross(pair.arm_b)
        )  # fmt: skip
        return u, omega_a - omega_b

    @ti.func
    def relative_motion_adjoint(
        m: ti.template(), pair: ti.template(), motion: ti.template(), motion_bar: ti.template(), u_bar, omega_bar
    ):
        """Added to the adjoints of the links' motions, and to their positions' at a given place."""
        add(m.work, pair.block_a + motion_bar[0], omega_bar + pair.arm_a.cross(u_bar))
        add(m.work, pair.block_a + motion_bar[1], u_bar)
        add(m.work, pair.block_a + LinkAdjoint.position_bar, load(m.work, pair.block_a + motion[0]).cross(u_bar))
        add(m.work, pair.block_b + motion_bar[0], u_bar.cross(pair.arm_b) - omega_bar)
        add(m.work, pair.block_b + motion_bar[1], -1.0 * u_bar)
        add(m.work, pair.block_b + LinkAdjoint.position_bar, u_bar.cross(load(m.work, pair.block_b + motion[0])))

    @ti.func
    def compliant_gap(m: ti.template(), pair, d, phi):
        """The gap that the compliant law sees."""
        gap = phi
        if ti.static(event):
            events = m.integers[rows.pair_indices(m, pair) + PairIndices.events]
            gap = phi + EVENT_SHIFT * d * ti.cast(events, real)
        return gap

    @ti.func
    def surface_adjoint(rot_b, n_local, g, steep, hessian, n_bar, phi_bar):
        """Of the distance and the normal n = R_b g / |g|: adjoint of the place, in the frame of geometry b (of the normal
        alone) and in the world. The normal's is that of g without its part along g, and dg = hessian dy."""
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
    def relative_columns(m: ti.template(), at: ti.template(), link_a, link_b, place):
        """Columns of the motion of link a against link b, as seen at a place; returns how many. Their dofs descend; those that
        carry both links are left out."""
        columns = at.work + m.integers[Header.contact_columns]
        a, b, total = link_a, link_b, 0
        while a != b:
            link, sign = ti.max(a, b), ti.select(a > b, ti.cast(1.0, real), ti.cast(-1.0, real))
            indices = rows.link_indices(m, link)
            arm = place - load(m.work, rows.link_block(at, link) + LinkWork.position)
            first, end = m.integers[indices + LinkIndices.dof], rows.end_dof(m, link)
            for back in range(end - first):
                k, column = end - 1 - back, columns + ContactColumn.SIZE * total
                axes, motion = rows.dof_work(m, at, k), m.integers[rows.dof_indices(m, k) + DofIndices.motion]
                linear, angular = sign * load(m.work, axes + DofWork.axis), vec3(0.0, 0.0, 0.0)
                if motion != SLIDE:
                    angular = linear
                    linear = angular.cross(arm)
                if ti.static(screws):  # noqa: SIM102, the compiler's if and the kernel's
                    if motion == SCREW:
                        linear = linear + sign * load(m.work, axes + DofWork.slide)
                m.work[column + ContactColumn.dof] = ti.cast(k, real)
                vf.store(m.work, column + ContactColumn.linear, linear)
                vf.store(m.work, column + ContactColumn.angular, angular)
                total += 1
            if a > b:
                a = m.integers[indices + LinkIndices.parent]
            else:
                b = m.integers[indices + LinkIndices.parent]
        return total

    @ti.func
    def contacts(m: ti.template(), at: ti.template()):
        """Added to the right-hand side, and what depends on the new velocities to the matrix.

        A pair's forces and their slopes are summed about the centre of geometry a before they are seen by the joints."""
        h, d = m.reals[SceneConstants.dt], m.reals[SceneConstants.smoothing]
        s, eps = m.reals[SceneConstants.restitution_speed], m.reals[SceneConstants.slip_speed]
        dofs, columns = m.integers[Header.dofs], at.work + m.integers[Header.contact_columns]
        zero, none = vec3(0.0, 0.0, 0.0), ti.cast(0.0, real)
        for pair in range(m.integers[Header.pairs]):
            a = m.integers[rows.pair_indices(m, pair) + PairIndices.points]
            b = m.integers[rows.pair_indices(m, pair) + PairIndices.surface]
            row_a, row_b = rows.geometry_indices(m, a), rows.geometry_indices(m, b)
            in_a, in_b = rows.geometry_inputs(m, at, a), rows.geometry_inputs(m, at, b)
            scale_a, scale_b = m.inputs[in_a + GeometryInputs.scale], m.inputs[in_b + GeometryInputs.scale]
            block_a, center_a, _rot_a = surfaces.frame(m, at, a)
            block_b, center_b, rot_b = surfaces.frame(m, at, b)
            center = rot_b.transpose() @ (center_a - center_b)
            if not apart(m, a, b, scale_a, scale_b, center):
                mu, e, k = mean_properties(m, in_a, in_b)
                radius = scale_a * m.reals[rows.geometry_constants(m, a) + GeometryConstants.point_radius]
                from_link = scale_a * vf.load_matrix(m.work, block_a + LinkWork.rotation)
                to_b = rot_b.transpose() @ from_link
                arm_a = center_a - load(m.work, block_a + LinkWork.position)
                arm_b = center_a - load(m.work, block_b + LinkWork.position)
                links = ti.static(ContactPair(block_a, block_b, arm_a, arm_b))
                u_center, omega = relative_motion(m, links, MOTION)
                force, torque, D_sum, D_first, D_second = zero, zero, none, zero, none
                nx, ny, nz, tx, ty, tz, mx, my, mz = zero, zero, zero, zero, zero, zero, zero, zero, zero
                touching, reported_depth = 0, penetration.limit(m, pair)
                for point in range(m.integers[row_a + GeometryIndices.first_point], end_point(m, a, b)):
                    own = sample_point(m, point)
                    y = center + to_b @ own
                    sdf, g = y[2], vec3(0.0, 0.0, 1.0)
                    if m.integers[row_b + GeometryIndices.distance] != PLANE:
                        sdf, g, _hessian = surfaces.distance(m, b, scale_b, y, False)
                        g = g / ti.sqrt(g.dot(g))
                    phi = compliant_gap(m, pair, d, sdf - radius)
                    if radius - sdf > reported_depth:
                        penetration.note(m, at, pair, radius - sdf)
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
                        # the slope's moments about the centre: of D_t, and of more n n^T with its moment r x n
                        moment, D_r = r.cross(n), D_t * r
                        D_sum, D_first, D_second = D_sum + D_t, D_first + D_r, D_second + D_r.dot(r)
                        nx, ny, nz = plus_outer(nx, ny, nz, more * n, n)
                        tx, ty, tz = plus_outer(tx, ty, tz, more * n, moment)
                        mx, my, mz = plus_outer(mx, my, mz, more * moment, moment)
                        mx, my, mz = plus_outer(mx, my, mz, -1.0 * D_r, r)
                if touching == 1:
                    # rows of the slopes: of the force by the velocity, of the torque by the velocity (columns), by the turning
                    nx, ny, nz = nx + vec3(D_sum, 0.0, 0.0), ny + vec3(0.0, D_sum, 0.0), nz + vec3(0.0, 0.0, D_sum)
                    x, y, z = D_first[0], D_first[1], D_first[2]
                    tx, ty, tz = tx + vec3(0.0, z, -y), ty + vec3(-z, 0.0, x), tz + vec3(y, -x, 0.0)
                    mx, my, mz = mx + vec3(D_second, 0.0, 0.0), my + vec3(0.0, D_second, 0.0), mz + vec3(0.0, 0.0, D_second)
                    wx, wy, wz = vec3(tx[0], ty[0], tz[0]), vec3(tx[1], ty[1], tz[1]), vec3(tx[2], ty[2], tz[2])
                    link_a, link_b = m.integers[row_a + GeometryIndices.link], m.integers[row_b + GeometryIndices.link]
                    count = relative_columns(m, at, link_a, link_b, center_a)
                    for c in range(count):
                        column = columns + ContactColumn.SIZE * c
                        i = ti.cast(m.work[column + ContactColumn.dof], ti.i32)
                        linear = load(m.work, column + ContactColumn.linear)
                        angular = load(m.work, column + ContactColumn.angular)
                        m.work[at.vector + i] = m.work[at.vector + i] + linear.dot(force) + angular.dot(torque)
                        f = h * (times_rows(linear, nx, ny, nz) + times_rows(angular, wx, wy, wz))
                        t = h * (times_rows(linear, tx, ty, tz) + times_rows(angular, mx, my, mz))
                        for other in range(c, count):
                            column_other = columns + ContactColumn.SIZE * other
                            entry = at.matrix + i * dofs + ti.cast(m.work[column_other + ContactColumn.dof], ti.i32)
                            slope = f * load(m.work, column_other + ContactColumn.linear) + t * load(
                                m.work, column_other + ContactColumn.angular
                            )
                            m.tape[entry] = m.tape[entry] + slope.sum()

    @ti.func
    def add_properties(m: ti.template(), at, mu_bar, e_bar, k_bar, scale_bar):
        """Of a geometry, to the adjoints of its row of inputs."""
        for place, bar in ti.static(zip(PROPERTIES, (mu_bar, e_bar, k_bar, scale_bar), strict=True)):
            m.inputs_bar[at + place] = m.inputs_bar[at + place] + bar

    @ti.func
    def contacts_adjoint(m: ti.template(), at: ti.template()):
        """Adjoint of the contact forces' power under the virtual velocity; a pair's adjoints are summed, too, before they go to
        the links.

        With u the velocity of a point of a against b, u+ that under the new velocities and w that under the virtual ones, the
        power is still n.w - (D - D_t) (n.u+) (n.w) - D_t u+.w, where still, D and N are functions of the gap and of n.u, and
        D_t = mu N / sqrt(slip^2 + eps^2)."""
        d, s = m.reals[SceneConstants.smoothing], m.reals[SceneConstants.restitution_speed]
        eps = m.reals[SceneConstants.slip_speed]
        zero, none = vec3(0.0, 0.0, 0.0), ti.cast(0.0, real)
        for pair in range(m.integers[Header.pairs]):
            a = m.integers[rows.pair_indices(m, pair) + PairIndices.points]
            b = m.integers[rows.pair_indices(m, pair) + PairIndices.surface]
            row_a, row_b = rows.geometry_indices(m, a), rows.geometry_indices(m, b)
            in_a, in_b = rows.geometry_inputs(m, at, a), rows.geometry_inputs(m, at, b)
            scale_a, scale_b = m.inputs[in_a + GeometryInputs.scale], m.inputs[in_b + GeometryInputs.scale]
            block_a, center_a, _rot_a = surfaces.frame(m, at, a)
            block_b, center_b, rot_b = surfaces.frame(m, at, b)
            to_b = rot_b.transpose()
            center = to_b @ (center_a - center_b)
            if not apart(m, a, b, scale_a, scale_b, center):
                mu, e, k = mean_properties(m, in_a, in_b)
                plain_radius = m.reals[rows.geometry_constants(m, a) + GeometryConstants.point_radius]
                radius = scale_a * plain_radius
                link_rot = vf.load_matrix(m.work, block_a + LinkWork.rotation)
                arm_a = center_a - load(m.work, block_a + LinkWork.position)
                arm_b = center_a - load(m.work, block_b + LinkWork.position)
                links = ti.static(ContactPair(block_a, block_b, arm_a, arm_b))
                u_center, omega = relative_motion(m, links, MOTION)
                new_center, omega_new = relative_motion(m, links, NEW_MOTION)
                w_center, eta = relative_motion(m, links, VIRTUAL_MOTION)
                # sums over the points: adjoints of the motions, of the points and turns of both links, of the properties
                u_total, omega_total, new_total, omega_new_total, w_total, eta_total = zero, zero, zero, zero, zero, zero
                x_total, x_moment, y_total, y_moment = zero, zero, zero, zero
                scale_a_bar, scale_b_bar, mu_bar, e_bar, k_bar = none, none, none, none, none
                touching = 0
                for point in range(m.integers[row_a + GeometryIndices.first_point], end_point(m, a, b)):
                    place = link_rot @ sample_point(m, point)
                    arm = scale_a * place
                    y = center + to_b @ arm
                    sdf, g, hessian = y[2], vec3(0.0, 0.0, 1.0), mat3(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
                    if m.integers[row_b + GeometryIndices.distance] != PLANE:
                        sdf, g, hessian = surfaces.distance(m, b, scale_b, y, True)
                    phi = compliant_gap(m, pair, d, sdf - radius)
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
                        phi_bar, rate_bar, point_k_bar, point_e_bar = law.normal_adjoint(
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
                        mu_bar, e_bar, k_bar = mu_bar + N * t * D_t_bar, e_bar + point_e_bar, k_bar + point_k_bar
                if touching == 1:
                    relative_motion_adjoint(m, links, MOTION, MOTION_BAR, u_total, omega_total)
                    relative_motion_adjoint(m, links, NEW_MOTION, NEW_MOTION_BAR, new_total, omega_new_total)
                    relative_motion_adjoint(m, links, VIRTUAL_MOTION, VIRTUAL_MOTION_BAR, w_total, eta_total)
                    add(m.work, block_a + LinkAdjoint.position_bar, x_total)
                    add(m.work, block_a + LinkAdjoint.rotation_bar, x_moment + arm_a.cross(x_total))
                    add(m.work, block_b + LinkAdjoint.position_bar, -1.0 * y_total)
                    add(m.work, block_b + LinkAdjoint.rotation_bar, y_moment + y_total.cross(arm_b))
                    # k = 2 ka kb / (ka + kb), so dk / dka = 2 (kb / (ka + kb))^2
                    ka, kb = m.inputs[in_a + GeometryInputs.stiffness], m.inputs[in_b + GeometryInputs.stiffness]
                    share_a, share_b = ka / (ka + kb), kb / (ka + kb)
                    k_bar = 2.0 * k_bar
                    add_properties(m, in_a, 0.5 * mu_bar, 0.5 * e_bar, k_bar * share_b * share_b, scale_a_bar)
                    add_properties(m, in_b, 0.5 * mu_bar, 0.5 * e_bar, k_bar * share_a * share_a, scale_b_bar)

    return SimpleNamespace(
        contacts=contacts, contacts_adjoint=contacts_adjoint, distance=surfaces.distance,
        ball_distance=surfaces.ball_distance, end_point=end_point,
        sample_point=sample_point, mean_properties=mean_properties, surface_adjoint=surface_adjoint,
        add_properties=add_properties,
    )  # fmt: skip
