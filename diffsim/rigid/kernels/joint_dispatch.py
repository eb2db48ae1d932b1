"""The joints of a scene by their kind: which device functions of `diffsim/rigid/joints` a link's joint has; forward beside
adjoint."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rigid.joints.rotation_coordinates import rotation_coordinates
from diffsim.rigid.kernels.rigid_memory import JointPlace, model_rows
from diffsim.rigid.rigid_records import Header, LinkIndices, SceneConstants, Status
from diffsim.rounding import rounded_sums


def joint_functions(real, kinds) -> SimpleNamespace:
    """``types``: number, motion and motion_adjoint of those of the kinds that have some; ``drift`` of all joints, ``integrate``
    of the joint of a link, and their adjoints; and what they and the links' kinematics have in common for quaternions."""
    rows, rotations, sums = model_rows(), rotation_coordinates(real), rounded_sums(real)
    types, integrations = [], []
    for number, kind in enumerate(kinds):
        motion, integration = kind.motion(real), kind.integration(real)
        if motion:
            types.append(SimpleNamespace(number=number, motion=motion[0], motion_adjoint=motion[1]))
        if integration:
            own = SimpleNamespace(number=number, integrate=integration[0], integrate_adjoint=integration[1])
            integrations.append(own)
    quaternions = [
        SimpleNamespace(number=number, coordinate=kind.coordinates - 4, dof=kind.dofs - 3)
        for number, kind in enumerate(kinds)
        if kind.rotates
    ]

    @ti.func
    def quaternion_part(kind):
        """Whether joints of a kind rotate, and then at which of their coordinates and dofs that part begins."""
        rotates, coordinate, dof = 0, 0, 0
        for own in ti.static(quaternions):
            if kind == own.number:
                rotates, coordinate, dof = 1, own.coordinate, own.dof
        return rotates, coordinate, dof

    @ti.func
    def joint_rows(m: ti.template(), i):
        """Of link ``i``: its joint's kind, first coordinate and first dof, and how many dofs."""
        link = rows.link_indices(m, i)
        k = m.integers[link + LinkIndices.dof]
        kind, qi = m.integers[link + LinkIndices.joint], m.integers[link + LinkIndices.coordinate]
        return kind, qi, k, rows.end_dof(m, i) - k

    @ti.func
    def threshold_of(m: ti.template(), at: ti.template()):
        """At which the sums of this substep are rounded up, in f32."""
        threshold = ti.cast(0.0, real)
        if ti.static(real == ti.f32):
            threshold = sums.threshold(m.status[at.environment * Status.SIZE + Status.clock])
        return threshold

    @ti.func
    def move(m: ti.template(), i, from_q, v, to_q, duration, threshold):
        """The coordinates of link ``i``'s joint, from the row of coordinates at ``from_q`` to that at ``to_q``, which may be
        the same, in so many seconds with the velocities in the row ``v``: plain numbers q become q + duration v."""
        kind, qi, k, dofs = joint_rows(m, i)
        rotates, first_q, first_k = quaternion_part(kind)
        q, rates, moved = from_q + qi, v + k, to_q + qi
        numbers = dofs - 3 * rotates
        j = ti.static(JointPlace(None, q, rates, None, None, None, None, None, None, moved))
        for own in ti.static(integrations):
            if kind == own.number:
                numbers = 0
                own.integrate(m, j, duration)
        for n in range(numbers):
            m.tape[moved + n] = sums.rounded_sum(m.tape[q + n], duration * m.tape[rates + n], threshold)
        if rotates == 1:
            turn_q, turn_v, turned_q = q + first_q, rates + first_k, moved + first_q
            turning = ti.static(JointPlace(None, turn_q, turn_v, None, None, None, None, None, None, turned_q))
            rotations.integrate(m, turning, duration, threshold)

    @ti.func
    def move_adjoint(m: ti.template(), at: ti.template(), i, from_q, v, duration):
        """The adjoint of the coordinates of link ``i``'s joint after `move` to that before it, in place; that of the velocities
        is added to."""
        kind, qi, k, dofs = joint_rows(m, i)
        rotates, first_q, first_k = quaternion_part(kind)
        q, rates, q_bar, v_bar = from_q + qi, v + k, at.q_bar + qi, at.v_bar + k
        if rotates == 1:
            turn_q, turn_v, turn_q_bar, turn_v_bar = q + first_q, rates + first_k, q_bar + first_q, v_bar + first_k
            turning = ti.static(JointPlace(None, turn_q, turn_v, None, None, None, None, turn_q_bar, turn_v_bar))
            rotations.integrate_adjoint(m, turning, duration)
        numbers = dofs - 3 * rotates
        j = ti.static(JointPlace(None, q, rates, None, None, None, None, q_bar, v_bar))
        for own in ti.static(integrations):
            if kind == own.number:
                numbers = 0
                own.integrate_adjoint(m, j, duration)
        for n in range(numbers):
            m.work[v_bar + n] = m.work[v_bar + n] + duration * m.work[q_bar + n]

    @ti.func
    def drift(m: ti.template(), at: ti.template()):
        """From the coordinates at the start of the substep to those in its middle, with the velocities at the start."""
        threshold = threshold_of(m, at)
        for i in range(1, m.integers[Header.links]):
            move(m, i, at.start, at.v, at.q, 0.5 * m.reals[SceneConstants.dt], threshold)

    @ti.func
    def drift_adjoint(m: ti.template(), at: ti.template()):
        for i in range(1, m.integers[Header.links]):
            move_adjoint(m, at, i, at.start, at.v, 0.5 * m.reals[SceneConstants.dt])

    @ti.func
    def integrate(m: ti.template(), at: ti.template(), i, duration):
        """Of link ``i``'s joint v+ = v + h a, and from the coordinates at which the forces acted to those after so many seconds
        with v+, in the row ``at.new``, which may be that of the start."""
        h, threshold = m.reals[SceneConstants.dt], threshold_of(m, at)
        _kind, _qi, k, dofs = joint_rows(m, i)
        new_v = at.new + m.integers[Header.coordinates]
        for n in range(k, k + dofs):
            m.tape[new_v + n] = sums.rounded_sum(m.tape[at.v + n], h * m.tape[at.a + n], threshold)
        move(m, i, at.q, new_v, at.new, duration, threshold)

    @ti.func
    def integrate_adjoint(m: ti.template(), at: ti.template(), i, duration):
        """Adjoints of q+ and v+ of link ``i``'s joint to those of q and, as a whole, of v+, in place; that of a, h times the
        latter, is set in ``at.vector``."""
        h = m.reals[SceneConstants.dt]
        _kind, _qi, k, dofs = joint_rows(m, i)
        move_adjoint(m, at, i, at.q, at.new + m.integers[Header.coordinates], duration)
        for n in range(k, k + dofs):
            m.work[at.vector + n] = h * m.work[at.v_bar + n]

    return SimpleNamespace(
        types=types, rotations=rotations, quaternion_part=quaternion_part, drift=drift, drift_adjoint=drift_adjoint,
        integrate=integrate, integrate_adjoint=integrate_adjoint, threshold_of=threshold_of,
    )  # fmt: skip
