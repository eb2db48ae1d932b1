"""Kernels for the poses and motions of the links at given coordinates, and their adjoint."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

from diffsim.compiler import ti
from diffsim.rigid.kernels.link_kinematics import kinematics_stage
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import (
    COORDINATES,
    DOFS,
    INPUTS,
    LINK,
    LINKS,
    OMEGA,
    OMEGA_BAR,
    P_BAR,
    POSE,
    THETA_BAR,
    TOOLS,
    U_BAR,
    W_VECTOR_AT,
    WORK,
    P,
    R,
    U,
)  # fmt: skip


def pose_kernels(precision: str) -> SimpleNamespace:
    """The kernels ``forward`` and ``adjoint`` for "f32" or "f64"."""
    real: Any = {"f32": ti.f32, "f64": ti.f64}[precision]
    vf = vector_functions(real)
    stage = kinematics_stage(real, tools=False)
    Reals = ti.types.ndarray(dtype=real, ndim=1)
    Integers = ti.types.ndarray(dtype=ti.i32, ndim=1)

    @ti.kernel
    def forward(
        environments: ti.i32, integers: Integers, reals: Reals, inputs: Reals, states: Reals, work: Reals, poses: Reals,
    ):  # fmt: skip
        """Rows of ``states`` are q and v, those of ``poses`` POSE numbers for each link that is no tool."""
        for e in range(environments):
            links, coordinates, dofs = integers[LINKS] - integers[TOOLS], integers[COORDINATES], integers[DOFS]
            base, row = e * integers[WORK], e * (coordinates + dofs)
            vector_at = base + integers[W_VECTOR_AT]
            stage.propagate(
                integers, reals, inputs, e * integers[INPUTS], states, row, row + coordinates, row, work, vector_at, work, base,
                0, False,
            )  # fmt: skip
            for i in range(links):
                at, out = base + LINK * i, (e * links + i) * POSE
                vf.store(poses, out, vf.load(work, at + P))
                vf.store_matrix(poses, out + 3, vf.load_matrix(work, at + R))
                vf.store(poses, out + 12, vf.load(work, at + U))
                vf.store(poses, out + 15, vf.load(work, at + OMEGA))

    @ti.kernel
    def adjoint(
        environments: ti.i32, integers: Integers, reals: Reals, inputs: Reals, states: Reals, work: Reals,
        poses_bar: Reals, states_bar: Reals, inputs_bar: Reals, zeros: Reals,
    ):  # fmt: skip
        """Adjoints of the states, added to, given those of the poses. ``work`` is the scratch of ``forward``."""
        for e in range(environments):
            links, coordinates, dofs = integers[LINKS] - integers[TOOLS], integers[COORDINATES], integers[DOFS]
            base, row = e * integers[WORK], e * (coordinates + dofs)
            vector_at = base + integers[W_VECTOR_AT]
            stage.propagate(
                integers, reals, inputs, e * integers[INPUTS], states, row, row + coordinates, row, work, vector_at, work, base,
                0, False,
            )  # fmt: skip
            stage.clear_bars(integers, work, base)
            for i in range(links):
                at, out = base + LINK * i, (e * links + i) * POSE
                rotation, rotation_bar = vf.load_matrix(work, at + R), vf.load_matrix(poses_bar, out + 3)
                turn = vf.vec3(0.0, 0.0, 0.0)
                for c in ti.static(range(3)):
                    column = vf.vec3(rotation[0, c], rotation[1, c], rotation[2, c])
                    turn = turn + column.cross(vf.vec3(rotation_bar[0, c], rotation_bar[1, c], rotation_bar[2, c]))
                vf.store(work, at + THETA_BAR, turn)
                vf.store(work, at + P_BAR, vf.load(poses_bar, out))
                vf.store(work, at + U_BAR, vf.load(poses_bar, out + 12))
                vf.store(work, at + OMEGA_BAR, vf.load(poses_bar, out + 15))
            # nobody asks for accelerations or virtual motions: their adjoints are zero, and what stands for a plays no part
            stage.propagate_adjoint(
                integers, reals, states, row, row + coordinates, row, zeros, 0, work, base,
                states_bar, row, row + coordinates, inputs_bar, e * integers[INPUTS], 0,
            )  # fmt: skip

    return SimpleNamespace(forward=forward, adjoint=adjoint)
