"""Kernels for the poses and motions of the links at given coordinates, and their adjoint."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

from diffsim.compiler import ti
from diffsim.rigid.kernels.link_kinematics import kinematics_stage
from diffsim.rigid.kernels.rigid_memory import RigidMemory, RigidPlace, model_rows
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import Header, LinkAdjoint, LinkPose, LinkWork


def pose_kernels(precision: str, kinds: tuple) -> SimpleNamespace:
    """The kernels ``forward`` and ``adjoint`` for "f32" or "f64" and those kinds of joints."""
    real: Any = {"f32": ti.f32, "f64": ti.f64}[precision]
    vf, rows = vector_functions(real), model_rows()
    stage = kinematics_stage(real, kinds, tools=False)
    Reals = ti.types.ndarray(dtype=real, ndim=1)
    Integers = ti.types.ndarray(dtype=ti.i32, ndim=1)

    @ti.kernel
    def forward(
        environments: ti.i32, integers: Integers, reals: Reals, inputs: Reals, states: Reals, work: Reals, poses: Reals,
    ):  # fmt: skip
        """Rows of ``states`` are q and v, those of ``poses`` a `LinkPose` for each link that is no tool."""
        for e in range(environments):
            m = ti.static(RigidMemory(integers, reals, inputs, states, work))
            links = integers[Header.links] - integers[Header.tools]
            coordinates, dofs = integers[Header.coordinates], integers[Header.dofs]
            base, q, row, s = e * integers[Header.work], e * (coordinates + dofs), e * integers[Header.inputs], 0
            v = q + coordinates
            vector, q_bar, v_bar = rows.scratch_parts(m, base)
            at = ti.static(RigidPlace(row, q, v, v, base, vector, q_bar, v_bar, s))
            stage.propagate(m, at, False)
            for i in range(links):
                block, pose = rows.link_block(at, i), (e * links + i) * LinkPose.SIZE
                vf.store(poses, pose + LinkPose.position, vf.load(work, block + LinkWork.position))
                vf.store_matrix(poses, pose + LinkPose.rotation, vf.load_matrix(work, block + LinkWork.rotation))
                vf.store(poses, pose + LinkPose.velocity, vf.load(work, block + LinkWork.velocity))
                vf.store(poses, pose + LinkPose.angular_velocity, vf.load(work, block + LinkWork.angular_velocity))

    @ti.kernel
    def adjoint(
        environments: ti.i32, integers: Integers, reals: Reals, inputs: Reals, states: Reals, work: Reals,
        poses_bar: Reals, states_bar: Reals, inputs_bar: Reals,
    ):  # fmt: skip
        """Adjoints of the states, given those of the poses. ``work`` is the scratch of ``forward``."""
        for e in range(environments):
            m = ti.static(RigidMemory(integers, reals, inputs, states, work, inputs_bar=inputs_bar))
            links = integers[Header.links] - integers[Header.tools]
            coordinates, dofs = integers[Header.coordinates], integers[Header.dofs]
            base, q, row, s = e * integers[Header.work], e * (coordinates + dofs), e * integers[Header.inputs], 0
            v = q + coordinates
            vector, q_bar, v_bar = rows.scratch_parts(m, base)
            at = ti.static(RigidPlace(row, q, v, v, base, vector, q_bar, v_bar, s))
            stage.propagate(m, at, False)
            stage.clear_bars(m, at)
            for n in range(integers[Header.unknowns] + coordinates + dofs):  # virtual velocities, adjoints of q and v
                work[vector + n] = 0.0
            for i in range(links):
                block, pose = rows.link_block(at, i), (e * links + i) * LinkPose.SIZE
                rotation = vf.load_matrix(work, block + LinkWork.rotation)
                rotation_bar = vf.load_matrix(poses_bar, pose + LinkPose.rotation)
                turn = vf.vec3(0.0, 0.0, 0.0)
                for c in ti.static(range(3)):
                    column = vf.vec3(rotation[0, c], rotation[1, c], rotation[2, c])
                    turn = turn + column.cross(vf.vec3(rotation_bar[0, c], rotation_bar[1, c], rotation_bar[2, c]))
                vf.store(work, block + LinkAdjoint.rotation_bar, turn)
                vf.store(work, block + LinkAdjoint.position_bar, vf.load(poses_bar, pose + LinkPose.position))
                vf.store(work, block + LinkAdjoint.velocity_bar, vf.load(poses_bar, pose + LinkPose.velocity))
                vf.store(work, block + LinkAdjoint.angular_velocity_bar, vf.load(poses_bar, pose + LinkPose.angular_velocity))
            # the adjoints of accelerations and virtual motions are zero, and what stands in place of a plays no part
            stage.propagate_adjoint(m, at)
            for n in range(coordinates + dofs):
                states_bar[q + n] = work[q_bar + n]

    return SimpleNamespace(forward=forward, adjoint=adjoint)
