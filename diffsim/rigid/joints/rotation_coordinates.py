"""A quaternion as the last coordinates of a joint, with the angular velocity in the link's frame as its last velocities: what
the ball joint is, and the half of the free one."""

# mypy: disable-error-code="valid-type,misc,no-untyped-def,no-untyped-call"
# Taichi reads the annotations of device functions at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

import numpy as np

from diffsim.compiler import ti
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import DofWork, LinkWork, SceneConstants
from diffsim.scene.rotations import rotation_matrix


def rotation_of(quaternion: np.ndarray) -> np.ndarray:
    """The rotation matrix of a quaternion (4,) of any length but zero."""
    w, x, y, z = (quaternion / np.linalg.norm(quaternion)).tolist()
    return rotation_matrix((w, x, y, z))


def rotation_coordinates(real: Any) -> SimpleNamespace:
    """Device functions; places ``j`` are those of the quaternion and of its three dofs."""
    vf = vector_functions(real)

    @ti.func
    def spin(m: ti.template(), j: ti.template(), rot: ti.template(), full: ti.template()):
        """The angular velocity, R v, its acceleration, and those under the new and the virtual velocities. (The derivative of R
        adds nothing to the acceleration: omega x omega = 0.)

        The axes turn with R, by omega x e. Of that the products of velocities feel the symmetric half, as x x y + y x x = 0:
        their axes turn by (omega x e) / 2."""
        zero = vf.vec3(0.0, 0.0, 0.0)
        turn = rot @ vf.load(m.tape, j.v)
        for n in ti.static(range(3)):
            place, axis = j.axes + ti.static(DofWork.SIZE * n), vf.vec3(rot[0, n], rot[1, n], rot[2, n])
            vf.store(m.work, place, axis)
            if ti.static(not full):
                vf.store(m.work, place + DofWork.axis_rate, 0.5 * turn.cross(axis))
        turn_a, turn_new, turn_virtual = zero, zero, zero
        if ti.static(full):
            turn_a = rot @ vf.load(m.tape, j.a)
            turn_new = turn + m.reals[SceneConstants.dt] * turn_a
            turn_virtual = rot @ vf.load(m.work, j.virtual)
        return turn, turn_a, turn_new, turn_virtual

    @ti.func
    def spin_adjoint(
        m: ti.template(), j: ti.template(), rotation_bar: ti.template(), turn_bar: ti.template(), turn_a_bar: ti.template(),
        turn_new_bar: ti.template(), turn_virtual_bar: ti.template(),
    ):  # fmt: skip
        """Adds to the adjoints of the quaternion and of v; returns the adjoint of the link's whole rotation, with which R v
        turns."""
        h = m.reals[SceneConstants.dt]
        rot = vf.load_matrix(m.work, j.block + LinkWork.rotation)
        v, a, virtual = vf.load(m.tape, j.v), vf.load(m.tape, j.a), vf.load(m.work, j.virtual)
        turn = rot @ v
        vf.add(m.work, j.v_bar, rot.transpose() @ (turn_bar + turn_new_bar))
        whole_bar = (
            rotation_bar + turn.cross(turn_bar) + (rot @ a).cross(turn_a_bar)
            + (rot @ (v + h * a)).cross(turn_new_bar) + (rot @ virtual).cross(turn_virtual_bar)
        )  # fmt: skip
        Q_bar = vf.rotation_adjoint(vf.load_quaternion(m.tape, j.q), rot.transpose() @ whole_bar)
        for n in ti.static(range(4)):
            m.work[j.q_bar + n] = m.work[j.q_bar + n] + Q_bar[n]
        return whole_bar

    @ti.func
    def integrate(m: ti.template(), j: ti.template(), duration, threshold):
        """Q exp(duration v), its sums rounded up at the threshold."""
        Q = vf.turned(vf.load_quaternion(m.tape, j.q), duration * vf.load(m.tape, j.v), threshold)
        for n in ti.static(range(4)):
            m.tape[j.new_q + n] = Q[n]

    @ti.func
    def integrate_adjoint(m: ti.template(), j: ti.template(), duration):
        turn = duration * vf.load(m.tape, j.v)
        Q_bar, turn_bar = vf.turned_adjoint(vf.load_quaternion(m.tape, j.q), turn, vf.load_quaternion(m.work, j.q_bar))
        for n in ti.static(range(4)):
            m.work[j.q_bar + n] = Q_bar[n]
        vf.add(m.work, j.v_bar, duration * turn_bar)

    return SimpleNamespace(spin=spin, spin_adjoint=spin_adjoint, integrate=integrate, integrate_adjoint=integrate_adjoint)
