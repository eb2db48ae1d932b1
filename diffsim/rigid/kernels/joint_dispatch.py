"""The joints of a scene by their kind: which device functions of `diffsim/rigid/joints` a link's joint has; forward beside
adjoint."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rigid.joints.rotation_coordinates import rotation_coordinates
from diffsim.rigid.kernels.rigid_memory import JointPlace, model_rows
from diffsim.rigid.rigid_records import Header, LinkIndices, SceneConstants


def joint_functions(real, kinds) -> SimpleNamespace:
    """``types``: number, motion and motion_adjoint of those of the kinds that have some; ``integrate`` and
    ``integrate_adjoint`` of the joint of a link; and what they and the links' kinematics have in common for quaternions."""
    rows, rotations = model_rows(), rotation_coordinates(real)
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
    def integrate(m: ti.template(), at: ti.template(), i):
        """From q and v of link ``i``'s joint to v+ = v + h a and q+ = q (+) h v+ in the row ``at.new``, which may be the same:
        for plain numbers (+) is the sum."""
        h = m.reals[SceneConstants.dt]
        kind, qi, k, dofs = joint_rows(m, i)
        rotates, first_q, first_k = quaternion_part(kind)
        q, v, a, new_q, new_v = at.q + qi, at.v + k, at.a + k, at.new + qi, at.new + m.integers[Header.coordinates] + k
        numbers = dofs - 3 * rotates
        for own in ti.static(integrations):
            if kind == own.number:
                numbers = 0
        for n in range(dofs):
            m.tape[new_v + n] = m.tape[v + n] + h * m.tape[a + n]
            if n < numbers:
                m.tape[new_q + n] = m.tape[q + n] + h * m.tape[new_v + n]
        if rotates == 1:
            turn_q, turn_v, turn_a, turned_q, turned_v = q + first_q, v + first_k, a + first_k, new_q + first_q, new_v + first_k
            rotations.integrate(
                m, ti.static(JointPlace(None, turn_q, turn_v, turn_a, None, None, None, None, None, turned_q, turned_v))
            )
        j = ti.static(JointPlace(None, q, v, a, None, None, None, None, None, new_q, new_v))
        for own in ti.static(integrations):
            if kind == own.number:
                own.integrate(m, j)

    @ti.func
    def integrate_adjoint(m: ti.template(), at: ti.template(), i):
        """Adjoints of q+ and v+ of link ``i``'s joint to those of q and, as a whole, of v+, in place; that of a, h times the
        latter, is set in ``at.vector``."""
        h = m.reals[SceneConstants.dt]
        kind, qi, k, dofs = joint_rows(m, i)
        rotates, first_q, first_k = quaternion_part(kind)
        q, v, a, q_bar, v_bar = at.q + qi, at.v + k, at.a + k, at.q_bar + qi, at.v_bar + k
        if rotates == 1:
            turn_q, turn_v, turn_a = q + first_q, v + first_k, a + first_k
            turn_q_bar, turn_v_bar = q_bar + first_q, v_bar + first_k
            rotations.integrate_adjoint(
                m, ti.static(JointPlace(None, turn_q, turn_v, turn_a, None, None, None, turn_q_bar, turn_v_bar))
            )
        numbers = dofs - 3 * rotates
        j = ti.static(JointPlace(None, q, v, a, None, None, None, q_bar, v_bar))
        for own in ti.static(integrations):
            if kind == own.number:
                numbers = 0
                own.integrate_adjoint(m, j)
        for n in range(dofs):
            if n < numbers:
                m.work[v_bar + n] = m.work[v_bar + n] + h * m.work[q_bar + n]
            m.work[at.vector + k + n] = h * m.work[v_bar + n]

    return SimpleNamespace(
        types=types, rotations=rotations, quaternion_part=quaternion_part, integrate=integrate,
        integrate_adjoint=integrate_adjoint,
    )  # fmt: skip
