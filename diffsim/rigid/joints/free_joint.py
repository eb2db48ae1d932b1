"""The joint of a free body."""

# mypy: disable-error-code="valid-type,misc,no-untyped-def,no-untyped-call"
# Taichi reads the annotations of device functions at run time, in a way that mypy cannot follow.

from collections.abc import Callable
from typing import Any

import numpy as np

from diffsim.compiler import ti
from diffsim.rigid.joints.joint_type import DeclaredJoint, JointType
from diffsim.rigid.joints.rotation_coordinates import rotation_coordinates, rotation_of
from diffsim.rigid.kernels.rigid_memory import JointPlace
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import SLIDE, TURN, DofWork, SceneConstants
from diffsim.scene.rotations import quaternion_of
from diffsim.scene.validation import unit


class FreeJoint(JointType):
    """Moves freely in the world: position, m, and quaternion (w, x, y, z) in the world's frame; velocity of the link's origin in the
    world's frame and angular velocity in the link's."""

    name = "free"
    coordinates = 7
    motions = (SLIDE,) * 3 + (TURN,) * 3
    root_only = True

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
        vf, rotations = vector_functions(real), rotation_coordinates(real)

        @ti.func
        def motion(m: ti.template(), j: ti.template(), rot, p, full: ti.template()):
            zero = vf.vec3(0.0, 0.0, 0.0)
            q, v, a, axes, virtual = j.q + 3, j.v + 3, j.a + 3, j.axes + ti.static(3 * DofWork.SIZE), j.virtual + 3
            turning = ti.static(JointPlace(j.constants, q, v, a, j.block, axes, virtual, None, None))
            place = vf.load(m.tape, j.q)
            turned = vf.rotation(vf.load_quaternion(m.tape, q))
            slide = vf.load(m.tape, j.v)
            for n in ti.static(range(3)):
                vf.store(m.work, j.axes + ti.static(DofWork.SIZE * n), vf.vec3(*[1.0 if n == i else 0.0 for i in range(3)]))
            slide_a, slide_new, slide_virtual = zero, zero, zero
            if ti.static(full):
                slide_a = vf.load(m.tape, j.a)
                slide_new = slide + m.reals[SceneConstants.dt] * slide_a
                slide_virtual = vf.load(m.work, j.virtual)
            turn, turn_a, turn_new, turn_virtual = rotations.spin(m, turning, turned, full)
            return turned, place, turn, slide, turn_a, slide_a, turn_new, slide_new, turn_virtual, slide_virtual

        @ti.func
        def motion_adjoint(
            m: ti.template(), j: ti.template(), rotation_bar, shift_bar, turn_bar, slide_bar, turn_a_bar, slide_a_bar,
            turn_new_bar, slide_new_bar, turn_virtual_bar, slide_virtual_bar,
        ):  # fmt: skip
            q, v, a, virtual, q_bar, v_bar = j.q + 3, j.v + 3, j.a + 3, j.virtual + 3, j.q_bar + 3, j.v_bar + 3
            turning = ti.static(JointPlace(j.constants, q, v, a, j.block, j.axes, virtual, q_bar, v_bar))
            slide = vf.load(m.tape, j.v)
            vf.add(m.work, j.v_bar, slide_bar + slide_new_bar)
            vf.add(m.work, j.q_bar, shift_bar)
            whole_bar, turn = rotations.spin_adjoint(
                m, turning, rotation_bar, turn_bar, turn_a_bar, turn_new_bar, turn_virtual_bar
            )
            return whole_bar, turn, slide

        return motion, motion_adjoint

    def integration(self, real: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
        vf, rotations = vector_functions(real), rotation_coordinates(real)

        @ti.func
        def integrate(m: ti.template(), j: ti.template()):
            h = m.reals[SceneConstants.dt]
            q, v, a, new_q, new_v = j.q + 3, j.v + 3, j.a + 3, j.new_q + 3, j.new_v + 3
            turning = ti.static(JointPlace(None, q, v, a, None, None, None, None, None, new_q, new_v))
            vf.store(m.tape, j.new_q, vf.load(m.tape, j.q) + h * vf.load(m.tape, j.new_v))
            rotations.integrate(m, turning)

        @ti.func
        def integrate_adjoint(m: ti.template(), j: ti.template()):
            h = m.reals[SceneConstants.dt]
            q, v, a, q_bar, v_bar = j.q + 3, j.v + 3, j.a + 3, j.q_bar + 3, j.v_bar + 3
            turning = ti.static(JointPlace(None, q, v, a, None, None, None, q_bar, v_bar))
            vf.add(m.work, j.v_bar, h * vf.load(m.work, j.q_bar))
            rotations.integrate_adjoint(m, turning)

        return integrate, integrate_adjoint
