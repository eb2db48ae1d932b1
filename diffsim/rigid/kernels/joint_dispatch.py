"""The joints of a scene by their kind: which device functions of `diffsim/rigid/joints` a link's joint has; forward beside adjoint."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rigid.kernels.rigid_memory import JointPlace, model_rows
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import Header, LinkIndices, SceneConstants


def joint_functions(real, kinds) -> SimpleNamespace:
    """``motion`` and ``motion_adjoint`` as `JointType.motion`, and ``integrate`` and ``integrate_adjoint`` of the joint of a link, for
    the kinds (those of no dofs need none)."""
    vf, rows = vector_functions(real), model_rows()
    types = [
        SimpleNamespace(number=number, **vars(kind.device_functions(real))) for number, kind in enumerate(kinds) if kind.dofs
    ]

    @ti.func
    def motion(m: ti.template(), j: ti.template(), kind, rot, p, full: ti.template()):
        zero = vf.vec3(0.0, 0.0, 0.0)
        link_rot, link_p = rot, p
        turn, slide, turn_a, slide_a = zero, zero, zero, zero
        turn_new, slide_new, turn_virtual, slide_virtual = zero, zero, zero, zero
        for joint in ti.static(types):
            if kind == joint.number:
                link_rot, link_p, turn, slide, turn_a, slide_a, turn_new, slide_new, turn_virtual, slide_virtual = joint.motion(
                    m, j, rot, p, full
                )
        return link_rot, link_p, turn, slide, turn_a, slide_a, turn_new, slide_new, turn_virtual, slide_virtual

    @ti.func
    def integrate(m: ti.template(), at: ti.template(), i):
        """From q and v of link ``i``'s joint to v+ = v + h a and q+ = q (+) h v+ in the row ``at.new``, which may be the same."""
        h = m.reals[SceneConstants.dt]
        link = rows.link_indices(m, i)
        kind, qi, k = m.integers[link + LinkIndices.joint], m.integers[link + LinkIndices.coordinate], m.integers[link + LinkIndices.dof]
        new_v = at.new + m.integers[Header.coordinates] + k
        for n in range(rows.end_dof(m, i) - k):
            m.tape[new_v + n] = m.tape[at.v + k + n] + h * m.tape[at.a + k + n]
        q, v, a, new_q = at.q + qi, at.v + k, at.a + k, at.new + qi
        j = ti.static(JointPlace(None, q, v, a, None, None, None, None, None, new_q, new_v))
        for joint in ti.static(types):
            if kind == joint.number:
                joint.integrate(m, j)

    @ti.func
    def integrate_adjoint(m: ti.template(), at: ti.template(), i):
        """Adjoints of q+ and v+ of link ``i``'s joint to those of q and, as a whole, of v+, in place; that of a, h times the latter,
        is set in ``at.vector``."""
        h = m.reals[SceneConstants.dt]
        link = rows.link_indices(m, i)
        kind, qi, k = m.integers[link + LinkIndices.joint], m.integers[link + LinkIndices.coordinate], m.integers[link + LinkIndices.dof]
        q, v, a, q_bar, v_bar = at.q + qi, at.v + k, at.a + k, at.q_bar + qi, at.v_bar + k
        j = ti.static(JointPlace(None, q, v, a, None, None, None, q_bar, v_bar))
        for joint in ti.static(types):
            if kind == joint.number:
                joint.integrate_adjoint(m, j)
        for n in range(rows.end_dof(m, i) - k):
            m.work[at.vector + k + n] = h * m.work[v_bar + n]

    return SimpleNamespace(motion=motion, types=types, integrate=integrate, integrate_adjoint=integrate_adjoint)
