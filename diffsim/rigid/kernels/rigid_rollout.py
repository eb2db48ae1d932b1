"""Kernels over whole rollouts: every environment on a lane of its own, all its control steps in one launch."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

from diffsim.compiler import ti
from diffsim.rigid.kernels.rigid_substep import substep_stages
from diffsim.rigid.rigid_records import ACTUATORS, COORDINATES, DOFS, EVENTS, INPUTS, STATUS, W_VECTOR_AT, WORK


def rollout_kernels(precision: str, tools: bool, further: tuple, event: bool) -> SimpleNamespace:
    """The kernels ``forward`` and ``adjoint`` for "f32" or "f64", for scenes with or without tools, with the shapes of
    ``further`` (`diffsim.scene.shapes.distance_kinds`); with ``event``, fast impacts are events.
    """
    real: Any = {"f32": ti.f32, "f64": ti.f64}[precision]
    stages = substep_stages(real, tools=tools, event=event, further=further)
    Reals = ti.types.ndarray(dtype=real, ndim=1)
    Integers = ti.types.ndarray(dtype=ti.i32, ndim=1)

    @ti.kernel
    def forward(
        lanes: ti.i32, block: ti.i32, environments: ti.i32, steps: ti.i32, substeps: ti.i32, keep: ti.i32,
        integers: Integers, reals: Reals, grids: Reals, inputs: Reals, controls: Reals, q: Reals, v: Reals,
        tape: Reals, work: Reals, status: Integers,
    ):  # fmt: skip
        """q (steps + 1, B, coordinates) and v likewise: the first rows are given. Controls (steps, B, actuators).
        Without ``keep`` the other rows are filled and ``tape`` has one row for each lane; with it, only the tape is, with
        steps x substeps + 1 rows for each environment, every control step from its row of q and v. The inputs' motion of
        the tools is that of every control step."""
        for iteration in range(lanes * block):
            if iteration % block == 0:
                lane = iteration // block
                coordinates, dofs, actuators = integers[COORDINATES], integers[DOFS], integers[ACTUATORS]
                width = coordinates + 2 * dofs + dofs * dofs + ti.static(EVENTS if event else 0)
                base = lane * integers[WORK]
                e = lane
                while e < environments:
                    row = lane * width
                    if keep == 1:
                        row = e * (steps * substeps + 1) * width
                    for t in range(steps):
                        if t == 0 or keep == 1:
                            place = t * environments + e
                            for n in range(coordinates):
                                tape[row + n] = q[place * coordinates + n]
                            for n in range(dofs):
                                tape[row + coordinates + n] = v[place * dofs + n]
                        for s in range(substeps):
                            if status[e * STATUS] == 0:
                                stages.begin(integers, reals, inputs, e * integers[INPUTS], tape, row, work, base, s)
                                stages.finish(
                                    integers, reals, grids, inputs, e * integers[INPUTS],
                                    controls, (t * environments + e) * actuators, tape, row, row + keep * width, work, base,
                                    status, e, t, s, False,
                                )  # fmt: skip
                            row += keep * width
                        if keep == 0:
                            place = (t + 1) * environments + e
                            for n in range(coordinates):
                                q[place * coordinates + n] = tape[row + n]
                            for n in range(dofs):
                                v[place * dofs + n] = tape[row + coordinates + n]
                    e += lanes

    @ti.kernel
    def adjoint(
        lanes: ti.i32, block: ti.i32, environments: ti.i32, steps: ti.i32, substeps: ti.i32,
        integers: Integers, reals: Reals, grids: Reals, inputs: Reals, controls: Reals,
        q_bar: Reals, v_bar: Reals, inputs_bar: Reals, controls_bar: Reals, tape: Reals, work: Reals,
    ):  # fmt: skip
        """Reverse of ``forward`` over what it kept. On entry q_bar and v_bar are the adjoints of all states by themselves, on
        exit every row but the last holds the adjoint of its state by all that follows too; those of inputs and controls
        are added to."""
        for iteration in range(lanes * block):
            if iteration % block == 0:
                lane = iteration // block
                coordinates, dofs, actuators = integers[COORDINATES], integers[DOFS], integers[ACTUATORS]
                width = coordinates + 2 * dofs + dofs * dofs + ti.static(EVENTS if event else 0)
                base = lane * integers[WORK]
                bars = base + integers[W_VECTOR_AT] + dofs
                e = lane
                while e < environments:
                    row = (e + 1) * (steps * substeps + 1) * width - width
                    for reverse in range(steps):
                        t = steps - 1 - reverse
                        before, after = t * environments + e, (t + 1) * environments + e
                        for n in range(coordinates):
                            work[bars + n] = q_bar[after * coordinates + n]
                        for n in range(dofs):
                            work[bars + coordinates + n] = v_bar[after * dofs + n]
                        for back in range(substeps):
                            s = substeps - 1 - back
                            row -= width
                            stages.finish_adjoint(
                                integers, reals, grids, inputs, e * integers[INPUTS], controls, before * actuators,
                                tape, row, work, base, inputs_bar, e * integers[INPUTS], controls_bar, before * actuators,
                                s, False,
                            )  # fmt: skip
                            stages.begin_adjoint(integers, reals, tape, row, work, base, inputs_bar, e * integers[INPUTS], s)
                        for n in range(coordinates):
                            own = before * coordinates + n
                            q_bar[own] = q_bar[own] + work[bars + n]
                        for n in range(dofs):
                            own = before * dofs + n
                            v_bar[own] = v_bar[own] + work[bars + coordinates + n]
                    e += lanes

    return SimpleNamespace(forward=forward, adjoint=adjoint)
