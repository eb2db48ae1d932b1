"""Records the wrench of contact on each body, that is each thing that can be touched; forward beside adjoint.

A contact force f at x adds f and (x - c) x f to the body's wrench, about its reference c: the centre of mass of a link, the
origin of a tool, the place of a geometry that never moves. With the adjoint (F_bar, T_bar) of that wrench, the objective gets
f . (F_bar + T_bar x (x - c)), the power of f under a virtual motion of the body. So `rigid_contact` adds that motion to the
virtual motion of the adjoint's solve, which takes care of all that the force depends on at a constant acceleration a (and of
x; c comes here). What depends on a is an adjoint of a before the solve,

    a_bar += h J^T (df/du)^T w,      w: the bodies' relative virtual motion at the point

found where the contact's points are known: in the forward pass that keeps the tape, whose rows of controls hold the wrenches'
adjoints. Row by row it stands on the tape.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rigid.kernels.rigid_memory import model_rows
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import (
    EVENTS_LENGTH,
    ContactColumn,
    ContactWrench,
    GeometryConstants,
    GeometryIndices,
    Header,
    LinkAdjoint,
    LinkInputs,
    LinkWork,
    PairIndices,
    PairWork,
    PointWork,
    SceneConstants,
)


def recording_stage(real, surfaces, newton, *, event: bool) -> SimpleNamespace:
    """``record`` and ``acceleration_adjoint``, once a substep; for all that touches a body ``add_force``, ``virtual_velocity``,
    ``relative_velocity``, and of the reference ``offset``, its adjoint, and ``reference_adjoint``. surfaces: `distance_stage`;
    newton: `newton_stage`."""
    vf, rows = vector_functions(real), model_rows()
    vec3, load, add = vf.vec3, vf.load, vf.add

    @ti.func
    def wrench_of(m: ti.template(), at: ti.template(), geometry):
        """Where the wrench of a geometry's body stands in controls, and its adjoint in theirs."""
        body = m.integers[rows.geometry_indices(m, geometry) + GeometryIndices.body]
        return at.controls + m.integers[Header.contact_wrenches] + ContactWrench.SIZE * body

    @ti.func
    def offset(m: ti.template(), at: ti.template(), geometry, link_rot):
        """Of the reference from the link's origin, in the world's axes."""
        link = m.integers[rows.geometry_indices(m, geometry) + GeometryIndices.link]
        away = load(m.reals, rows.geometry_constants(m, geometry) + GeometryConstants.position)
        if link > 0:
            away = link_rot @ load(m.inputs, rows.link_inputs(m, at, link) + LinkInputs.center)
        return away

    @ti.func
    def offset_adjoint(m: ti.template(), at: ti.template(), geometry, link_rot, away_bar):
        """Adjoint of the link's turn; that of its centre of mass is added to."""
        link = m.integers[rows.geometry_indices(m, geometry) + GeometryIndices.link]
        turn_bar = vec3(0.0, 0.0, 0.0)
        if link > 0:
            turn_bar = offset(m, at, geometry, link_rot).cross(away_bar)
            add(m.inputs_bar, rows.link_inputs(m, at, link) + LinkInputs.center, link_rot.transpose() @ away_bar)
        return turn_bar

    @ti.func
    def arm(m: ti.template(), at: ti.template(), geometry, place):
        """From the reference of a geometry's body to a place in the world."""
        block, _position, link_rot = surfaces.place(m, at, geometry)
        return place - load(m.work, block + LinkWork.position) - offset(m, at, geometry, link_rot)

    @ti.func
    def add_force(m: ti.template(), at: ti.template(), geometry, force, torque):
        """A force on a geometry's body, and its torque about the reference."""
        wrench = wrench_of(m, at, geometry)
        add(m.controls, wrench + ContactWrench.force, force)
        add(m.controls, wrench + ContactWrench.torque, torque)

    @ti.func
    def virtual_velocity(bars: ti.template(), m: ti.template(), at: ti.template(), geometry, own_arm):
        """The body's virtual velocity at an arm from the reference, and its virtual angular velocity: the adjoints of forces
        there and of torques. bars: the rows of controls that hold the wrenches' adjoints."""
        wrench = wrench_of(m, at, geometry)
        eta = load(bars, wrench + ContactWrench.torque)
        return load(bars, wrench + ContactWrench.force) + eta.cross(own_arm), eta

    @ti.func
    def relative_velocity(bars: ti.template(), m: ti.template(), at: ti.template(), a, b, place):
        """Virtual velocity of the body of geometry a against that of b at a place, and the angular one."""
        w_a, eta_a = virtual_velocity(bars, m, at, a, arm(m, at, a, place))
        w_b, eta_b = virtual_velocity(bars, m, at, b, arm(m, at, b, place))
        return w_a - w_b, eta_a - eta_b

    @ti.func
    def reference_adjoint(m: ti.template(), at: ti.template(), geometry, force):
        """Adjoint of where the reference is, by a force on the body."""
        block, _position, link_rot = surfaces.place(m, at, geometry)
        place_bar = load(m.controls_bar, wrench_of(m, at, geometry) + ContactWrench.torque).cross(force)
        add(m.work, block + LinkAdjoint.position_bar, place_bar)
        add(m.work, block + LinkAdjoint.rotation_bar, offset_adjoint(m, at, geometry, link_rot, place_bar))

    @ti.func
    def contact_force(m: ti.template(), contact, n, u, mu, eps):
        """Of a point, at its new relative velocity."""
        N, bound = m.work[contact + PointWork.base], m.work[contact + PointWork.bound]
        N = N - m.work[contact + PointWork.slope] * n.dot(u)
        if bound < 0.0:
            N = ti.max(N, ti.cast(0.0, real))
            bound = N
        slip = u - n.dot(u) * n
        return N * n - (mu * bound / ti.sqrt(slip.dot(slip) + eps * eps)) * slip

    @ti.func
    def contact_force_adjoint(m: ti.template(), contact, n, u, mu, eps, w):
        """Adjoint of the new relative velocity, by the force's power under w."""
        slope, bound = m.work[contact + PointWork.slope], m.work[contact + PointWork.bound]
        N = m.work[contact + PointWork.base] - slope * n.dot(u)
        slip = u - n.dot(u) * n
        work, t = slip.dot(w), 1.0 / ti.sqrt(slip.dot(slip) + eps * eps)
        N_bar = n.dot(w)
        if bound < 0.0:
            bound = ti.max(N, ti.cast(0.0, real))
            N_bar = ti.select(N > 0.0, N_bar - mu * work * t, ti.cast(0.0, real))
        drag = mu * bound * t
        return (drag * work * t * t) * slip - drag * w + (drag * n.dot(w) - slope * N_bar) * n

    @ti.func
    def record(m: ti.template(), at: ti.template()):
        """After the solve: adds the substep's contact forces to the wrenches; or, in the pass that keeps the tape, puts the
        adjoint of the acceleration there."""
        h, eps, keep = m.reals[SceneConstants.dt], m.reals[SceneConstants.slip_speed], at.new != at.start
        a_bar, zero = accelerations_bar(at), vec3(0.0, 0.0, 0.0)
        if keep:
            for k in range(m.integers[Header.dofs]):
                m.tape[a_bar + k] = 0.0
        for pair in range(m.integers[Header.pairs]):
            indices = rows.pair_indices(m, pair)
            pair_work, columns, contact = rows.pair_places(m, at, pair)
            contacts = ti.cast(m.work[pair_work + PairWork.contacts], ti.i32)
            if contacts > 0:
                a, b = m.integers[indices + PairIndices.points], m.integers[indices + PairIndices.surface]
                mu = m.work[pair_work + PairWork.friction]
                _block, center, _rot = surfaces.place(m, at, a)
                u_center, omega = newton.pair_motion(m, at, pair_work, columns, False)
                w_center, eta = zero, zero
                if keep:
                    w_own, eta_own = relative_velocity(m.controls, m, at, a, b, center)
                    w_center, eta = w_own, eta_own
                # sums about the centre: of forces and torques, or of adjoints of the velocities
                total, moment = zero, zero
                for _n in range(contacts):
                    r, n = load(m.work, contact + PointWork.arm), load(m.work, contact + PointWork.normal)
                    u, each = u_center + omega.cross(r), zero
                    if keep:
                        each = contact_force_adjoint(m, contact, n, u, mu, eps, w_center + eta.cross(r))
                    else:
                        each = contact_force(m, contact, n, u, mu, eps)
                    total, moment = total + each, moment + r.cross(each)
                    contact += PointWork.SIZE
                if keep:
                    for c in range(ti.cast(m.work[pair_work + PairWork.columns], ti.i32)):
                        column = columns + ContactColumn.SIZE * c
                        entry = a_bar + ti.cast(m.work[column + ContactColumn.dof], ti.i32)
                        slide, turn = load(m.work, column + ContactColumn.linear), load(m.work, column + ContactColumn.angular)
                        m.tape[entry] = m.tape[entry] + h * (slide.dot(total) + turn.dot(moment))
                else:
                    add_force(m, at, a, total, moment + arm(m, at, a, center).cross(total))
                    add_force(m, at, b, -1.0 * total, -1.0 * (moment + arm(m, at, b, center).cross(total)))

    @ti.func
    def accelerations_bar(at: ti.template()):
        """Where the wrenches' adjoints of the acceleration stand in the tape."""
        return at.events + ti.static(EVENTS_LENGTH if event else 0)

    @ti.func
    def acceleration_adjoint(m: ti.template(), at: ti.template()):
        """Added to the adjoint of the acceleration before the solve."""
        for k in range(m.integers[Header.dofs]):
            m.work[at.vector + k] = m.work[at.vector + k] + m.tape[accelerations_bar(at) + k]

    return SimpleNamespace(
        record=record, acceleration_adjoint=acceleration_adjoint, add_force=add_force, virtual_velocity=virtual_velocity,
        relative_velocity=relative_velocity, reference_adjoint=reference_adjoint, offset=offset, offset_adjoint=offset_adjoint,
    )  # fmt: skip
