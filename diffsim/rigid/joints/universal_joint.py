"""A Cardan joint."""

# mypy: disable-error-code="valid-type,misc,no-untyped-def,no-untyped-call"
# Taichi reads the annotations of device functions at run time, in a way that mypy cannot follow.

from collections.abc import Callable
from typing import Any

import numpy as np

from diffsim.compiler import ti
from diffsim.rigid.joints.joint_type import DeclaredJoint, JointType
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import TURN, DofWork, LinkConstants, SceneConstants
from diffsim.scene.rotations import axis_rotation

FIRST, SECOND = range(2)  # its coordinates and dofs


class UniversalJoint(JointType):
    """Turns by q[0] about ``axis``, fixed in the parent, then by q[1] about ``second_axis``, fixed in the link, rad; the axes
    are perpendicular and meet at the link's origin. It is two hinges with nothing between them.

    Both angles can have limits and springs; actuators drive "<joint>.first" and "<joint>.second". Damping, armature, dry
    friction, the spring's stiffness and rest, and the stiffness of limits are the same for both.
    """

    name = "universal"
    coordinates = 2
    motions = (TURN, TURN)
    coordinate_names = ("first", "second")
    has_second_axis = True

    def place(
        self, joint: DeclaredJoint, q: np.ndarray, position: np.ndarray, rotation: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        return position, rotation @ axis_rotation(joint.axis, q[0]) @ axis_rotation(joint.second_axis, q[1])

    def jacobian(self, joint: DeclaredJoint, q: np.ndarray, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first = axis_rotation(joint.second_axis, -q[1]) @ np.asarray(joint.axis)
        return np.zeros((3, 2)), rotation @ np.stack([first, np.asarray(joint.second_axis)], axis=1)

    def motion(self, real: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
        vf = vector_functions(real)

        @ti.func
        def motion(m: ti.template(), j: ti.template(), rot: ti.template(), p: ti.template(), full: ti.template()):
            """The second axis turns with the first one's angular velocity: hence the cross product in the acceleration, of
            which one factor is at v, the other at the velocities that are ahead."""
            zero, h = vf.vec3(0.0, 0.0, 0.0), m.reals[SceneConstants.dt]
            axis = vf.load(m.reals, j.constants + LinkConstants.axis)
            second_axis = vf.load(m.reals, j.constants + LinkConstants.second_axis)
            middle = rot @ vf.about(axis, m.tape[j.q + FIRST])
            z1, z2 = middle @ axis, middle @ second_axis
            vf.store(m.work, j.axes, z1)
            vf.store(m.work, j.axes + DofWork.SIZE, z2)
            v1, v2 = m.tape[j.v + FIRST], m.tape[j.v + SECOND]
            vf.store(m.work, j.axes + ti.static(DofWork.SIZE + DofWork.axis_rate), (z1 * v1).cross(z2))
            turn_a, turn_new, turn_virtual = (z1 * v1).cross(z2 * v2), zero, zero
            if ti.static(full):
                a1, a2 = m.tape[j.a + FIRST], m.tape[j.a + SECOND]
                turn_new = z1 * (v1 + h * a1) + z2 * (v2 + h * a2)
                turn_virtual = z1 * m.work[j.virtual + FIRST] + z2 * m.work[j.virtual + SECOND]
                ahead1, ahead2 = v1 + j.ahead * a1, v2 + j.ahead * a2
                turn_a = z1 * a1 + z2 * a2 + (0.5 * (v1 * ahead2 + ahead1 * v2)) * z1.cross(z2)
            turned = middle @ vf.about(second_axis, m.tape[j.q + SECOND])
            return turned, p, z1 * v1 + z2 * v2, zero, turn_a, zero, turn_new, zero, turn_virtual, zero

        @ti.func
        def motion_adjoint(
            m: ti.template(), j: ti.template(), rotation_bar: ti.template(), shift_bar: ti.template(),
            turn_bar: ti.template(), slide_bar: ti.template(), turn_a_bar: ti.template(), slide_a_bar: ti.template(),
            turn_new_bar: ti.template(), slide_new_bar: ti.template(), turn_virtual_bar: ti.template(),
            slide_virtual_bar: ti.template(),
        ):  # fmt: skip
            """From the link inwards, each hinge as a revolute joint. The acceleration has s z1 x z2 besides, with
            s = (v1 v2' + v1' v2) / 2 and v' = v + ahead a."""
            h = m.reals[SceneConstants.dt]
            z1, z2 = vf.load(m.work, j.axes), vf.load(m.work, j.axes + DofWork.SIZE)
            v1, v2, a1, a2 = m.tape[j.v + FIRST], m.tape[j.v + SECOND], m.tape[j.a + FIRST], m.tape[j.a + SECOND]
            virtual1, virtual2 = m.work[j.virtual + FIRST], m.work[j.virtual + SECOND]
            ahead1, ahead2 = v1 + j.ahead * a1, v2 + j.ahead * a2
            s, s_bar = 0.5 * (v1 * ahead2 + ahead1 * v2), 0.5 * turn_a_bar.dot(z1.cross(z2))
            z1_bar = v1 * turn_bar + a1 * turn_a_bar + (v1 + h * a1) * turn_new_bar + virtual1 * turn_virtual_bar
            z2_bar = v2 * turn_bar + a2 * turn_a_bar + (v2 + h * a2) * turn_new_bar + virtual2 * turn_virtual_bar
            z1_bar, z2_bar = z1_bar + s * z2.cross(turn_a_bar), z2_bar + s * turn_a_bar.cross(z1)
            moved = turn_bar + turn_new_bar
            m.work[j.v_bar + FIRST] = m.work[j.v_bar + FIRST] + z1.dot(moved) + s_bar * (v2 + ahead2)
            m.work[j.v_bar + SECOND] = m.work[j.v_bar + SECOND] + z2.dot(moved) + s_bar * (v1 + ahead1)
            m.work[j.q_bar + SECOND] = m.work[j.q_bar + SECOND] + z2.dot(rotation_bar)
            middle_bar = rotation_bar + z2.cross(z2_bar)
            m.work[j.q_bar + FIRST] = m.work[j.q_bar + FIRST] + z1.dot(middle_bar)
            return middle_bar + z1.cross(z1_bar)

        return motion, motion_adjoint
