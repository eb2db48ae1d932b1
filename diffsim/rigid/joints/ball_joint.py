"""A ball and socket."""

# mypy: disable-error-code="valid-type,misc,no-untyped-def,no-untyped-call"
# Taichi reads the annotations of device functions at run time, in a way that mypy cannot follow.

from collections.abc import Callable
from typing import Any

import numpy as np

from diffsim.compiler import ti
from diffsim.rigid.joints.joint_type import DeclaredJoint, JointType
from diffsim.rigid.joints.rotation_coordinates import rotation_coordinates, rotation_of
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import TURN
from diffsim.scene.validation import unit


class BallJoint(JointType):
    """Turns freely about the link's origin: a quaternion (w, x, y, z) against the joint's frame, and the angular velocity in the
    link's frame."""

    name = "ball"
    coordinates = 4
    motions = (TURN,) * 3

    def zero(self, position: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        return np.array([1.0, 0.0, 0.0, 0.0])

    def checked(self, owner: str, q: tuple[float, ...]) -> tuple[float, ...]:
        return unit(owner, "initial rotation", q, 4)

    def place(
        self, joint: DeclaredJoint, q: np.ndarray, position: np.ndarray, rotation: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        return position, rotation @ rotation_of(q)

    def jacobian(self, joint: DeclaredJoint, q: np.ndarray, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((3, 3)), rotation

    def motion(self, real: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
        vf, rotations = vector_functions(real), rotation_coordinates(real)

        @ti.func
        def motion(m: ti.template(), j: ti.template(), rot, p, full: ti.template()):
            zero = vf.vec3(0.0, 0.0, 0.0)
            turned = rot @ vf.rotation(vf.load_quaternion(m.tape, j.q))
            turn, turn_a, turn_new, turn_virtual = rotations.spin(m, j, turned, full)
            return turned, p, turn, zero, turn_a, zero, turn_new, zero, turn_virtual, zero

        @ti.func
        def motion_adjoint(
            m: ti.template(), j: ti.template(), rotation_bar, shift_bar, turn_bar, slide_bar, turn_a_bar, slide_a_bar,
            turn_new_bar, slide_new_bar, turn_virtual_bar, slide_virtual_bar,
        ):  # fmt: skip
            whole_bar, turn = rotations.spin_adjoint(m, j, rotation_bar, turn_bar, turn_a_bar, turn_new_bar, turn_virtual_bar)
            return whole_bar, turn, vf.vec3(0.0, 0.0, 0.0)

        return motion, motion_adjoint

    def integration(self, real: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
        rotations = rotation_coordinates(real)
        return rotations.integrate, rotations.integrate_adjoint
