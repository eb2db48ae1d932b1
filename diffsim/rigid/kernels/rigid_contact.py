"""Contact between sample points of one geometry and the signed distance of another: which points are in contact, and the
adjoint of their forces' power. `contact_newton` finds the forces."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any, NamedTuple

from diffsim.compiler import ti
from diffsim.rigid.kernels.contact_point_law import LawScales, contact_point_law
from diffsim.rigid.kernels.contact_points import point_stage
from diffsim.rigid.kernels.penetration import penetration_stage
from diffsim.rigid.kernels.rigid_memory import model_rows
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import (
    CUTOFF,
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
    PairWork,
    PointWork,
    SceneConstants,
    WorldInputs,
)

PROPERTIES = (GeometryInputs.friction, GeometryInputs.restitution, GeometryInputs.stiffness, GeometryInputs.scale)


class ContactPair(NamedTuple):
    """Two links at a place that both have: their blocks, and the place from their origins."""

    block_a: Any
    block_b: Any
    arm_a: Any
    arm_b: Any


def contact_stage(real, surfaces, *, event: bool, screws: bool, recorder=None) -> SimpleNamespace:
    """``find`` and ``power_adjoint``; and what events share with them. With ``event``, fast impacts of pairs that have
    events are left to those; ``screws`` is whether dofs may turn and slide at once; ``surfaces`` as `distance_stage`;
    ``recorder`` as `recording_stage` where forces are recorded."""
    vf, rows = vector_functions(real), model_rows()
    law, penetration = contact_point_law(real), penetration_stage(real)
    points, recording = point_stage(real), recorder is not None
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
    def acts(m: ti.template(), pair, phi, rate):
        """Whether contact has to do with a point that is in reach: in event mode fast impacts have not."""
        own = True
        if ti.static(event):  # noqa: SIM102, the compiler's if and the kernel's
            if m.integers[rows.pair_indices(m, pair) + PairIndices.events] == 1:
                own = phi < -skin(m) or rate >= -m.reals[SceneConstants.event_speed]
        return own

    @ti.func
    def skin(m: ti.template()):
        """Points so near are on the surface."""
        return ti.static(2.0**-10) * m.reals[SceneConstants.event_speed] * m.reals[SceneConstants.dt]

    @ti.func
    def relative_columns(m: ti.template(), at: ti.template(), columns, link_a, link_b, place):
        """Columns of the motion of link a against link b, as seen at a place; returns how many. Their dofs descend; those that
        carry both links are left out."""
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
    def other_motion(m: ti.template(), pair: ti.template(), link_a, link_b):
        """Relative motion at the centre that is no dof's: a tool's."""
        first = m.integers[Header.links] - m.integers[Header.tools]
        u, omega = vec3(0.0, 0.0, 0.0), vec3(0.0, 0.0, 0.0)
        if link_a >= first:
            omega = load(m.work, pair.block_a + LinkWork.angular_velocity)
            u = load(m.work, pair.block_a + LinkWork.velocity) + omega.cross(pair.arm_a)
        if link_b >= first:
            turn = load(m.work, pair.block_b + LinkWork.angular_velocity)
            u = u - load(m.work, pair.block_b + LinkWork.velocity) - turn.cross(pair.arm_b)
            omega = omega - turn
        return u, omega

    @ti.func
    def pair_margin(m: ti.template(), pair: ti.template(), reach, scales: ti.template(), gravity):
        """How far apart a pair's points can be that come into contact in the substep."""
        margin = CUTOFF * scales.d
        if scales.d == 0.0:
            u, omega = relative_motion(m, pair, MOTION)
            speed = ti.sqrt(u.dot(u)) + ti.sqrt(omega.dot(omega)) * reach
            margin = scales.h * (1.5 * speed + 4.0 * scales.h * gravity)
        return margin

    @ti.func
    def find(m: ti.template(), at: ti.template()):
        """The pairs' points that can be in contact, and their laws, for `contact_newton`."""
        h, d, s = m.reals[SceneConstants.dt], m.reals[SceneConstants.smoothing], m.reals[SceneConstants.restitution_speed]
        scales = ti.static(LawScales(h, d, s))
        gravity = load(m.inputs, at.inputs + WorldInputs.gravity)
        weight = ti.sqrt(gravity.dot(gravity))
        for pair in range(m.integers[Header.pairs]):
            indices = rows.pair_indices(m, pair)
            pair_work, columns, contact = rows.pair_places(m, at, pair)
            a, b = m.integers[indices + PairIndices.points], m.integers[indices + PairIndices.surface]
            row_a, row_b = rows.geometry_indices(m, a), rows.geometry_indices(m, b)
            in_a, in_b = rows.geometry_inputs(m, at, a), rows.geometry_inputs(m, at, b)
            scale_a, scale_b = m.inputs[in_a + GeometryInputs.scale], m.inputs[in_b + GeometryInputs.scale]
            block_a, center_a, rot_a = surfaces.place(m, at, a)
            block_b, center_b, rot_b = surfaces.place(m, at, b)
            own_b = surfaces.own_rotation(m, b)
            center = own_b.transpose() @ (rot_b.transpose() @ (center_a - center_b))
            arm_a = center_a - load(m.work, block_a + LinkWork.position)
            arm_b = center_a - load(m.work, block_b + LinkWork.position)
            links = ti.static(ContactPair(block_a, block_b, arm_a, arm_b))
            reach = scale_a * m.reals[rows.geometry_constants(m, a) + GeometryConstants.reach]
            touching = 0
            far = pair_margin(m, links, reach, scales, weight)
            if surfaces.ball_distance(m, b, scale_b, center) <= reach + far:
                mu, e, k = mean_properties(m, in_a, in_b)
                from_link = scale_a * rot_a
                frame_b = rot_b @ own_b
                to_b, is_plane = frame_b.transpose() @ from_link, m.integers[row_b + GeometryIndices.distance] == PLANE
                to_height = vec3(to_b[2, 0], to_b[2, 1], to_b[2, 2])
                u_center, omega = relative_motion(m, links, MOTION)
                view, search, reported_depth = points.ahead(), points.start(), penetration.limit(m, pair)
                for point in range(m.integers[row_a + GeometryIndices.first_point], points.end_point(m, a, b)):
                    row = points.point_row(m, point)
                    own, plain_radius = points.ball(m, a, row, view, search)
                    radius = scale_a * plain_radius
                    sdf, g = center[2] + to_height.dot(own), vec3(0.0, 0.0, 1.0)
                    if not is_plane:
                        sdf, g, _hessian = surfaces.distance(m, b, scale_b, center + to_b @ own, False)
                        g = g / ti.sqrt(g.dot(g))
                    if points.looks(m, row):
                        view = surfaces.own_rotation(m, a).transpose() @ (rot_a.transpose() @ (frame_b @ g))
                        search = points.look(m, row, search, view)
                    phi = sdf - radius
                    if -phi > reported_depth:
                        penetration.note(m, at, pair, -phi)
                    if phi < far:
                        n = frame_b @ g
                        r = from_link @ own - radius * n
                        u = u_center + omega.cross(r)
                        rate = n.dot(u)
                        if law.reaches(phi, rate, ti.sqrt(u.dot(u)), weight, scales) and acts(m, pair, phi, rate):
                            base, slope, bound = law.resolve(phi, rate, k, e, scales)
                            vf.store(m.work, contact + PointWork.arm, r)
                            vf.store(m.work, contact + PointWork.normal, n)
                            m.work[contact + PointWork.base], m.work[contact + PointWork.slope] = base, slope
                            m.work[contact + PointWork.bound], m.work[contact + PointWork.gap] = bound, phi
                            contact += PointWork.SIZE
                            touching += 1
                if touching > 0:
                    link_a, link_b = m.integers[row_a + GeometryIndices.link], m.integers[row_b + GeometryIndices.link]
                    u, turn = other_motion(m, links, link_a, link_b)
                    vf.store(m.work, pair_work + PairWork.velocity, u)
                    vf.store(m.work, pair_work + PairWork.angular_velocity, turn)
                    m.work[pair_work + PairWork.friction] = mu
                    count = relative_columns(m, at, columns, link_a, link_b, center_a)
                    m.work[pair_work + PairWork.columns] = ti.cast(count, real)
            m.work[pair_work + PairWork.contacts] = ti.cast(touching, real)

    @ti.func
    def add_properties(m: ti.template(), at, mu_bar, e_bar, k_bar, scale_bar):
        """Of a geometry, to the adjoints of its row of inputs."""
        for place, bar in ti.static(zip(PROPERTIES, (mu_bar, e_bar, k_bar, scale_bar), strict=True)):
            m.inputs_bar[at + place] = m.inputs_bar[at + place] + bar

    @ti.func
    def power_adjoint(m: ti.template(), at: ti.template()):
        """Adjoint of the contact forces' power under the virtual velocity; a pair's adjoints are summed before they go to the
        links.

        With u the velocity of a point of a against b, u+ that under the new velocities and w that under the virtual ones, and
        nu = n.u+, the power is N n.w - mu B s.w / sqrt(s^2 + eps^2), with the slip s = u+ - nu n, N = base - slope nu and the
        bound B."""
        h, d, s = m.reals[SceneConstants.dt], m.reals[SceneConstants.smoothing], m.reals[SceneConstants.restitution_speed]
        eps = m.reals[SceneConstants.slip_speed]
        scales = ti.static(LawScales(h, d, s))
        gravity = load(m.inputs, at.inputs + WorldInputs.gravity)
        weight = ti.sqrt(gravity.dot(gravity))
        zero, none = vec3(0.0, 0.0, 0.0), ti.cast(0.0, real)
        for pair in range(m.integers[Header.pairs]):
            a = m.integers[rows.pair_indices(m, pair) + PairIndices.points]
            b = m.integers[rows.pair_indices(m, pair) + PairIndices.surface]
            row_a, row_b = rows.geometry_indices(m, a), rows.geometry_indices(m, b)
            in_a, in_b = rows.geometry_inputs(m, at, a), rows.geometry_inputs(m, at, b)
            scale_a, scale_b = m.inputs[in_a + GeometryInputs.scale], m.inputs[in_b + GeometryInputs.scale]
            block_a, center_a, rot_a = surfaces.frame(m, at, a)
            block_b, center_b, rot_b = surfaces.frame(m, at, b)
            to_b = rot_b.transpose()
            center = to_b @ (center_a - center_b)
            arm_a = center_a - load(m.work, block_a + LinkWork.position)
            arm_b = center_a - load(m.work, block_b + LinkWork.position)
            links = ti.static(ContactPair(block_a, block_b, arm_a, arm_b))
            reach = scale_a * m.reals[rows.geometry_constants(m, a) + GeometryConstants.reach]
            far = pair_margin(m, links, reach, scales, weight)
            if surfaces.ball_distance(m, b, scale_b, center) <= reach + far:
                mu, e, k = mean_properties(m, in_a, in_b)
                link_rot = vf.load_matrix(m.work, block_a + LinkWork.rotation)
                u_center, omega = relative_motion(m, links, MOTION)
                new_center, omega_new = relative_motion(m, links, NEW_MOTION)
                w_center, eta = relative_motion(m, links, VIRTUAL_MOTION)
                if ti.static(recording):
                    w_own, eta_own = recorder.relative_velocity(m.controls_bar, m, at, a, b, center_a)
                    w_center, eta = w_center + w_own, eta + eta_own
                # sums over the points: adjoints of the motions, of the points and turns of both links, of the properties
                u_total, omega_total, new_total, omega_new_total, w_total, eta_total = zero, zero, zero, zero, zero, zero
                x_total, x_moment, y_total, y_moment = zero, zero, zero, zero
                scale_a_bar, scale_b_bar, mu_bar, e_bar, k_bar = none, none, none, none, none
                touching = 0
                # of the last look: the view, and the place, the arm, and the distance's derivatives there
                view, search = points.ahead(), points.start()
                y_center, arm_center, g_center = zero, zero, vec3(0.0, 0.0, 1.0)
                hessian_center = mat3(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
                for point in range(m.integers[row_a + GeometryIndices.first_point], points.end_point(m, a, b)):
                    row = points.point_row(m, point)
                    own, plain_radius = points.ball(m, a, row, view, search)
                    place, radius = link_rot @ own, scale_a * plain_radius
                    arm = scale_a * place
                    y = center + to_b @ arm
                    sdf, g, hessian = y[2], vec3(0.0, 0.0, 1.0), mat3(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
                    if m.integers[row_b + GeometryIndices.distance] != PLANE:
                        sdf, g, hessian = surfaces.distance(m, b, scale_b, y, True)
                    if points.looks(m, row):
                        view = rot_a.transpose() @ (rot_b @ (g / ti.sqrt(g.dot(g))))
                        search = points.look(m, row, search, view)
                        y_center, arm_center, g_center, hessian_center = y, arm, g, hessian
                    phi = sdf - radius
                    steep = ti.sqrt(g.dot(g))
                    n_local = g / steep
                    n = rot_b @ n_local
                    r = arm - radius * n
                    u = u_center + omega.cross(r)
                    rate = n.dot(u)
                    in_reach = phi < far
                    if in_reach:
                        in_reach = law.reaches(phi, rate, ti.sqrt(u.dot(u)), weight, scales) and acts(m, pair, phi, rate)
                    if in_reach:
                        touching = 1
                        new, w = new_center + omega_new.cross(r), w_center + eta.cross(r)
                        nu, w_n = n.dot(new), n.dot(w)
                        base, slope, bound = law.resolve(phi, rate, k, e, scales)
                        N = base - slope * nu
                        follows = bound < 0.0  # friction's bound is the force that acts
                        if follows:
                            N = ti.max(N, none)
                            bound = N
                        slip = new - nu * n
                        work, t = slip.dot(w), 1.0 / ti.sqrt(slip.dot(slip) + eps * eps)
                        drag = mu * bound * t
                        N_bar, bound_bar = w_n, -mu * work * t
                        if follows:
                            N_bar, bound_bar = w_n - mu * work * t, none
                            if N == 0.0:
                                N_bar = none
                        slip_bar = (drag * work * t * t) * slip - drag * w
                        nu_bar = drag * w_n - slope * N_bar
                        phi_bar, rate_bar, point_k_bar, point_e_bar = law.resolve_adjoint(
                            phi, rate, k, e, scales, N_bar, -nu * N_bar, bound_bar
                        )
                        u_bar, new_bar, w_bar = rate_bar * n, slip_bar + nu_bar * n, N * n - drag * slip
                        u_total, omega_total = u_total + u_bar, omega_total + r.cross(u_bar)
                        new_total, omega_new_total = new_total + new_bar, omega_new_total + r.cross(new_bar)
                        w_total, eta_total = w_total + w_bar, eta_total + r.cross(w_bar)
                        # the place of contact, x - radius n
                        x_bar = u_bar.cross(omega) + new_bar.cross(omega_new) + w_bar.cross(eta)
                        radius_bar = -phi_bar - n.dot(x_bar)
                        n_bar = rate_bar * u + nu_bar * new - nu * slip_bar + N * w - radius * x_bar
                        # the normal turns with b; the distance's gradient with y
                        bend, y_bar = surfaces.surface_adjoint(rot_b, n_local, g, steep, hessian, n_bar, phi_bar)
                        x_bar = x_bar + y_bar
                        x_total, x_moment = x_total + x_bar, x_moment + arm.cross(x_bar)
                        y_total, y_moment = y_total + y_bar, y_moment + n.cross(n_bar) + y_bar.cross(arm)
                        # parameters: sdf = s sdf_1(y / s), its gradient is that of sdf_1 at y / s
                        scale_a_bar = scale_a_bar + x_bar.dot(place) + plain_radius * radius_bar
                        scale_b_bar = scale_b_bar + (phi_bar * (sdf - g.dot(y)) - bend.dot(y)) / scale_b
                        if points.moves(m, row):
                            # by the view, which turns with both links and is the normal at the center
                            own_bar = link_rot.transpose() @ (scale_a * x_bar)
                            view_bar, slid_bar = points.ball_adjoint(m, a, row, view, own_bar, scale_a * radius_bar)
                            n_center, axis, n_bar = rot_a @ view, rot_a @ vec3(0.0, 0.0, 1.0), rot_a @ view_bar
                            steep = ti.sqrt(g_center.dot(g_center))
                            n_local = g_center / steep
                            bend, y_bar = surfaces.surface_adjoint(rot_b, n_local, g_center, steep, hessian_center, n_bar, none)
                            more, y_more = surfaces.surface_adjoint(rot_b, n_local, g_center, steep, hessian_center, axis, none)
                            slid_bar = slid_bar + scale_a * axis.dot(y_bar)
                            z_bar = points.look_adjoint(search, slid_bar, scale_a * axis.dot(y_more))
                            n_bar, bend, y_bar = n_bar + z_bar * axis, bend + z_bar * more, y_bar + z_bar * y_more
                            x_total, y_total = x_total + y_bar, y_total + y_bar
                            x_moment = x_moment + arm_center.cross(y_bar) - n_center.cross(n_bar)
                            y_moment = y_moment + y_bar.cross(arm_center) + n_center.cross(n_bar)
                            scale_a_bar = scale_a_bar + y_bar.dot(arm_center) / scale_a
                            scale_b_bar = scale_b_bar - bend.dot(y_center) / scale_b
                        mu_bar, e_bar, k_bar = mu_bar - bound * work * t, e_bar + point_e_bar, k_bar + point_k_bar
                if touching == 1:
                    relative_motion_adjoint(m, links, MOTION, MOTION_BAR, u_total, omega_total)
                    relative_motion_adjoint(m, links, NEW_MOTION, NEW_MOTION_BAR, new_total, omega_new_total)
                    relative_motion_adjoint(m, links, VIRTUAL_MOTION, VIRTUAL_MOTION_BAR, w_total, eta_total)
                    if ti.static(recording):
                        recorder.reference_adjoint(m, at, a, w_total)
                        recorder.reference_adjoint(m, at, b, -1.0 * w_total)
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
        find=find, power_adjoint=power_adjoint, distance=surfaces.distance, skin=skin,
        ball_distance=surfaces.ball_distance, points=points, mean_properties=mean_properties,
        surface_adjoint=surfaces.surface_adjoint,
        add_properties=add_properties,
    )  # fmt: skip
