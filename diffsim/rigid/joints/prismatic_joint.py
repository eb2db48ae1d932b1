"""A slide."""

# mypy: disable-error-code="valid-type,misc,no-untyped-def,no-untyped-call"
# Taichi reads the annotations of device functions at run time, in a way that mypy cannot follow.

from collections.abc import Callable
from typing import Any

import numpy as np

from diffsim.compiler import ti
from diffsim.rigid.joints.joint_type import DeclaredJoint, JointType
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import SLIDE, LinkConstants, SceneConstants


class PrismaticJoint(JointType):
    """Slides by q, m, along ``axis``."""

    name = "prismatic"
    coordinates = 1
    coordinate_names = ("position",)
    motions = (SLIDE,)

    def place(
        self, joint: DeclaredJoint, q: np.ndarray, position: np.ndarray, rotation: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        return position + rotation @ np.asarray(joint.axis) * q[0], rotation

    def jacobian(self, joint: DeclaredJoint, q: np.ndarray, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (rotation @ np.asarray(joint.axis))[:, None], np.zeros((3, 1))

    def link_axis(self, joint: DeclaredJoint) -> np.ndarray:
        return np.asarray(joint.axis)

    def motion(self, real: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
        vf = vector_functions(real)

        @ti.func
        def motion(m: ti.template(), j: ti.template(), rot: ti.template(), p: ti.template(), full: ti.template()):
            zero = vf.vec3(0.0, 0.0, 0.0)
            z = rot @ vf.load(m.reals, j.constants + LinkConstants.axis)
            vf.store(m.work, j.axes, z)
            v = m.tape[j.v]
            slide_a, slide_new, slide_virtual = zero, zero, zero
            if ti.static(full):
                a = m.tape[j.a]
                slide_a, slide_new, slide_virtual = z * a, z * (v + m.reals[SceneConstants.dt] * a), z * m.work[j.virtual]
            return rot, p + z * m.tape[j.q], zero, z * v, zero, slide_a, zero, slide_new, zero, slide_virtual

        @ti.func
        def motion_adjoint(
            m: ti.template(), j: ti.template(), rotation_bar: ti.template(), shift_bar: ti.template(),
            turn_bar: ti.template(), slide_bar: ti.template(), turn_a_bar: ti.template(), slide_a_bar: ti.template(),
            turn_new_bar: ti.template(), slide_new_bar: ti.template(), turn_virtual_bar: ti.template(),
            slide_virtual_bar: ti.template(),
        ):  # fmt: skip
            """As of a revolute joint. That the shift z q turns with the joint's frame is the caller's part."""
            z = vf.load(m.work, j.axes)
            v, a, virtual = m.tape[j.v], m.tape[j.a], m.work[j.virtual]
            new = v + m.reals[SceneConstants.dt] * a
            z_bar = v * slide_bar + a * slide_a_bar + new * slide_new_bar + virtual * slide_virtual_bar
            m.work[j.v_bar] = m.work[j.v_bar] + z.dot(slide_bar + slide_new_bar)
            m.work[j.q_bar] = m.work[j.q_bar] + z.dot(shift_bar)
            return rotation_bar + z.cross(z_bar)

        return motion, motion_adjoint
