"""A hinge."""

# mypy: disable-error-code="valid-type,misc,no-untyped-def,no-untyped-call"
# Taichi reads the annotations of device functions at run time, in a way that mypy cannot follow.

from collections.abc import Callable
from typing import Any

import numpy as np

from diffsim.compiler import ti
from diffsim.rigid.joints.joint_type import DeclaredJoint, JointType
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import TURN, LinkConstants, SceneConstants
from diffsim.scene.rotations import axis_rotation


class RevoluteJoint(JointType):
    """Turns by the angle q, rad, about ``axis`` through the link's origin."""

    name = "revolute"
    coordinates = 1
    coordinate_names = ("position",)
    motions = (TURN,)

    def place(
        self, joint: DeclaredJoint, q: np.ndarray, position: np.ndarray, rotation: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        return position, rotation @ axis_rotation(joint.axis, q[0])

    def jacobian(self, joint: DeclaredJoint, q: np.ndarray, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((3, 1)), (rotation @ np.asarray(joint.axis))[:, None]

    def link_axis(self, joint: DeclaredJoint) -> np.ndarray:
        return np.asarray(joint.axis)

    def motion(self, real: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
        vf = vector_functions(real)

        @ti.func
        def motion(m: ti.template(), j: ti.template(), rot: ti.template(), p: ti.template(), full: ti.template()):
            zero = vf.vec3(0.0, 0.0, 0.0)
            axis = vf.load(m.reals, j.constants + LinkConstants.axis)
            turned = rot @ vf.about(axis, m.tape[j.q])
            z = turned @ axis
            vf.store(m.work, j.axes, z)
            v = m.tape[j.v]
            turn_a, turn_new, turn_virtual = zero, zero, zero
            if ti.static(full):
                a = m.tape[j.a]
                turn_a, turn_new, turn_virtual = z * a, z * (v + m.reals[SceneConstants.dt] * a), z * m.work[j.virtual]
            return turned, p, z * v, zero, turn_a, zero, turn_new, zero, turn_virtual, zero

        @ti.func
        def motion_adjoint(
            m: ti.template(), j: ti.template(), rotation_bar: ti.template(), shift_bar: ti.template(),
            turn_bar: ti.template(), slide_bar: ti.template(), turn_a_bar: ti.template(), slide_a_bar: ti.template(),
            turn_new_bar: ti.template(), slide_new_bar: ti.template(), turn_virtual_bar: ti.template(),
            slide_virtual_bar: ti.template(),
        ):  # fmt: skip
            """The axis z turns with the joint's frame: a turning theta of that changes it by theta x z."""
            z = vf.load(m.work, j.axes)
            v, a, virtual = m.tape[j.v], m.tape[j.a], m.work[j.virtual]
            new = v + m.reals[SceneConstants.dt] * a
            z_bar = v * turn_bar + a * turn_a_bar + new * turn_new_bar + virtual * turn_virtual_bar
            m.work[j.v_bar] = m.work[j.v_bar] + z.dot(turn_bar + turn_new_bar)
            m.work[j.q_bar] = m.work[j.q_bar] + z.dot(rotation_bar)
            return rotation_bar + z.cross(z_bar)

        return motion, motion_adjoint
