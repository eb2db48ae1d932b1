"""A joint that keeps a link in a plane."""

# mypy: disable-error-code="valid-type,misc,no-untyped-def,no-untyped-call"
# Taichi reads the annotations of device functions at run time, in a way that mypy cannot follow.

from collections.abc import Callable
from typing import Any

import numpy as np

from diffsim.compiler import ti
from diffsim.rigid.joints.joint_type import DeclaredJoint, JointType
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import SLIDE, TURN, DofWork, LinkConstants, SceneConstants
from diffsim.scene.rotations import axis_rotation

X, Y, ANGLE = range(3)  # its coordinates and dofs


class PlanarJoint(JointType):
    """Slides by q[0] along ``second_axis`` and by q[1] along axis x second_axis, m, both fixed in the parent, and turns by
    q[2], rad, about ``axis``, the plane's normal, through the link's origin.

    Each coordinate can have limits; actuators drive "<joint>.x", "<joint>.y" and "<joint>.angle". Damping, armature, dry
    friction, the spring's stiffness and rest, and the stiffness of limits are the same numbers for all three, each in its units
    (as damping of a free joint): for a spring on one coordinate alone use an actuator of the kind "position".
    """

    name = "planar"
    coordinates = 3
    motions = (SLIDE, SLIDE, TURN)
    coordinate_names = ("x", "y", "angle")
    has_second_axis = True

    def place(
        self, joint: DeclaredJoint, q: np.ndarray, position: np.ndarray, rotation: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        axis, x = np.asarray(joint.axis), np.asarray(joint.second_axis)
        return position + rotation @ (q[0] * x + q[1] * np.cross(axis, x)), rotation @ axis_rotation(joint.axis, q[2])

    def jacobian(self, joint: DeclaredJoint, q: np.ndarray, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        axis, x = np.asarray(joint.axis), np.asarray(joint.second_axis)
        frame, none = rotation @ axis_rotation(joint.axis, -q[2]), np.zeros(3)
        linear = np.stack([frame @ x, frame @ np.cross(axis, x), none], axis=1)
        return linear, np.stack([none, none, frame @ axis], axis=1)

    def motion(self, real: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
        vf = vector_functions(real)

        @ti.func
        def motion(m: ti.template(), j: ti.template(), rot: ti.template(), p: ti.template(), full: ti.template()):
            zero, h = vf.vec3(0.0, 0.0, 0.0), m.reals[SceneConstants.dt]
            axis = vf.load(m.reals, j.constants + LinkConstants.axis)
            x = rot @ vf.load(m.reals, j.constants + LinkConstants.second_axis)
            z = rot @ axis
            y = z.cross(x)
            vf.store(m.work, j.axes, x)
            vf.store(m.work, j.axes + DofWork.SIZE, y)
            vf.store(m.work, j.axes + ti.static(2 * DofWork.SIZE), z)
            v = vf.load(m.tape, j.v)
            turn_a, turn_new, turn_virtual, slide_a, slide_new, slide_virtual = zero, zero, zero, zero, zero, zero
            if ti.static(full):
                a, virtual = vf.load(m.tape, j.a), vf.load(m.work, j.virtual)
                new = v + h * a
                turn_a, turn_new, turn_virtual = z * a[ANGLE], z * new[ANGLE], z * virtual[ANGLE]
                slide_a, slide_new = x * a[X] + y * a[Y], x * new[X] + y * new[Y]
                slide_virtual = x * virtual[X] + y * virtual[Y]
            place = p + x * m.tape[j.q + X] + y * m.tape[j.q + Y]
            turned = rot @ vf.about(axis, m.tape[j.q + ANGLE])
            slide = x * v[X] + y * v[Y]
            return turned, place, z * v[ANGLE], slide, turn_a, slide_a, turn_new, slide_new, turn_virtual, slide_virtual

        @ti.func
        def motion_adjoint(
            m: ti.template(), j: ti.template(), rotation_bar: ti.template(), shift_bar: ti.template(),
            turn_bar: ti.template(), slide_bar: ti.template(), turn_a_bar: ti.template(), slide_a_bar: ti.template(),
            turn_new_bar: ti.template(), slide_new_bar: ti.template(), turn_virtual_bar: ti.template(),
            slide_virtual_bar: ti.template(),
        ):  # fmt: skip
            """The three axes turn with the joint's frame, as that of a revolute and of a prismatic joint."""
            x, y = vf.load(m.work, j.axes), vf.load(m.work, j.axes + DofWork.SIZE)
            z = vf.load(m.work, j.axes + ti.static(2 * DofWork.SIZE))
            v, a, virtual = vf.load(m.tape, j.v), vf.load(m.tape, j.a), vf.load(m.work, j.virtual)
            new = v + m.reals[SceneConstants.dt] * a
            x_bar = v[X] * slide_bar + a[X] * slide_a_bar + new[X] * slide_new_bar + virtual[X] * slide_virtual_bar
            y_bar = v[Y] * slide_bar + a[Y] * slide_a_bar + new[Y] * slide_new_bar + virtual[Y] * slide_virtual_bar
            z_bar = v[ANGLE] * turn_bar + a[ANGLE] * turn_a_bar + new[ANGLE] * turn_new_bar + virtual[ANGLE] * turn_virtual_bar
            moved, turned = slide_bar + slide_new_bar, turn_bar + turn_new_bar
            vf.add(m.work, j.v_bar, vf.vec3(x.dot(moved), y.dot(moved), z.dot(turned)))
            vf.add(m.work, j.q_bar, vf.vec3(x.dot(shift_bar), y.dot(shift_bar), z.dot(rotation_bar)))
            return rotation_bar + x.cross(x_bar) + y.cross(y_bar) + z.cross(z_bar)

        return motion, motion_adjoint
