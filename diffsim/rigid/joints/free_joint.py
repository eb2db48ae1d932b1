"""The joint of a free body."""

# mypy: disable-error-code="valid-type,misc,no-untyped-def,no-untyped-call"
# Taichi reads the annotations of device functions at run time, in a way that mypy cannot follow.

from collections.abc import Callable
from typing import Any

import numpy as np

from diffsim.compiler import ti
from diffsim.rigid.joints.joint_type import DeclaredJoint, JointType
from diffsim.rigid.joints.rotation_coordinates import rotation_of
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import SLIDE, TURN, DofWork, SceneConstants
from diffsim.scene.rotations import quaternion_of
from diffsim.scene.validation import unit


class FreeJoint(JointType):
    """Moves freely in the world: position, m, and quaternion (w, x, y, z) in the world's frame; velocity of the link's origin
    in the world's frame and angular velocity in the link's."""

    name = "free"
    coordinates = 7
    motions = (SLIDE,) * 3 + (TURN,) * 3
    root_only = True
    rotates = True

    def zero(self, position: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        return np.array([*position, *quaternion_of(rotation)])

    def checked(self, owner: str, q: tuple[float, ...]) -> tuple[float, ...]:
        return (*q[:3], *unit(owner, "initial rotation", q[3:], 4))

    def place(
        self, joint: DeclaredJoint, q: np.ndarray, position: np.ndarray, rotation: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        return q[:3], rotation_of(q[3:7])

    def jacobian(self, joint: DeclaredJoint, q: np.ndarray, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        none = np.zeros((3, 3))
        return np.hstack([np.eye(3), none]), np.hstack([none, rotation])

    def motion(self, real: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
        vf = vector_functions(real)

        @ti.func
        def motion(m: ti.template(), j: ti.template(), rot: ti.template(), p: ti.template(), full: ti.template()):
            zero = vf.vec3(0.0, 0.0, 0.0)
            slide = vf.load(m.tape, j.v)
            for n in ti.static(range(3)):
                vf.store(m.work, j.axes + ti.static(DofWork.SIZE * n), vf.vec3(*[1.0 if n == i else 0.0 for i in range(3)]))
            slide_a, slide_new, slide_virtual = zero, zero, zero
            if ti.static(full):
                slide_a = vf.load(m.tape, j.a)
                slide_new = slide + m.reals[SceneConstants.dt] * slide_a
                slide_virtual = vf.load(m.work, j.virtual)
            world = vf.mat3(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
            return world, vf.load(m.tape, j.q), zero, slide, zero, slide_a, zero, slide_new, zero, slide_virtual

        @ti.func
        def motion_adjoint(
            m: ti.template(), j: ti.template(), rotation_bar: ti.template(), shift_bar: ti.template(),
            turn_bar: ti.template(), slide_bar: ti.template(), turn_a_bar: ti.template(), slide_a_bar: ti.template(),
            turn_new_bar: ti.template(), slide_new_bar: ti.template(), turn_virtual_bar: ti.template(),
            slide_virtual_bar: ti.template(),
        ):  # fmt: skip
            """The axes are the world's, which never turn."""
            vf.add(m.work, j.v_bar, slide_bar + slide_new_bar)
            vf.add(m.work, j.q_bar, shift_bar)
            return rotation_bar

        return motion, motion_adjoint
