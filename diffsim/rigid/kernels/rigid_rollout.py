"""Kernels over whole rollouts: every environment on a lane of its own, all its control steps in one launch."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

from diffsim.compiler import ti
from diffsim.rigid.kernels.rigid_memory import RigidMemory, RigidPlace, model_rows
from diffsim.rigid.kernels.rigid_substep import substep_stages
from diffsim.rigid.rigid_records import Header, Status
from diffsim.rigid.time_stepping import TimeStepping


def rollout_kernels(
    precision: str, kinds: tuple, tools: bool, further: tuple, constrained: bool, stepping: TimeStepping
) -> SimpleNamespace:
    """The kernels ``forward`` and ``adjoint`` for "f32" or "f64", those kinds of joints, scenes with or without tools, the
    shapes of ``further`` (`diffsim.scene.shapes.distance_kinds`), and scenes with or without constraints and tendons.
    """
    real: Any = {"f32": ti.f32, "f64": ti.f64}[precision]
    stages = substep_stages(real, kinds, tools=tools, stepping=stepping, further=further, constrained=constrained)
    rows = model_rows()
    Reals = ti.types.ndarray(dtype=real, ndim=1)
    Integers = ti.types.ndarray(dtype=ti.i32, ndim=1)

    @ti.kernel
    def forward(
        lanes: ti.i32, block: ti.i32, environments: ti.i32, steps: ti.i32, substeps: ti.i32, keep: ti.i32,
        integers: Integers, reals: Reals, grids: Reals, inputs: Reals, controls: Reals, q: Reals, v: Reals,
        tape: Reals, work: Reals, status: Integers,
    ):  # fmt: skip
        """q (steps + 1, B, coordinates) and v likewise: the first rows are read. Controls (steps, B, Header.controls).
        ``keep`` is 0: the other rows are filled, and ``tape`` has one row for each lane. 1: only the tape is, with
        steps x substeps + 1 rows for each environment, every control step from its row of q and v. 2: both are. Behind the
        rows that are kept, ``tape`` has room for the factors of each lane (`chord_place`). The inputs' motion of the tools is
        that of every control step."""
        for iteration in range(lanes * block):
            if iteration % block == 0:
                m = ti.static(RigidMemory(integers, reals, inputs, tape, work, grids, controls, status))
                lane = iteration // block
                coordinates, dofs, controls_row = integers[Header.coordinates], integers[Header.dofs], integers[Header.controls]
                width = rows.row_length(m, False, stepping)
                base, stride = lane * integers[Header.work], ti.min(keep, 1) * width
                vector, q_bar, v_bar = rows.scratch_parts(m, base)
                e = lane
                while e < environments:
                    row, own = lane * width, e * integers[Header.inputs]
                    if keep > 0:
                        row = e * (steps * substeps + 1) * width
                    for t in range(steps):
                        control = (t * environments + e) * controls_row
                        if t == 0 or keep == 1:
                            place = t * environments + e
                            for n in range(coordinates):
                                tape[row + n] = q[place * coordinates + n]
                            for n in range(dofs):
                                tape[row + coordinates + n] = v[place * dofs + n]
                        for s in range(substeps):
                            if status[e * Status.SIZE + Status.kind] == 0:
                                q_at, v_at, a, matrix, wrenches, events = rows.row_parts(m, row, False, stepping.middle)
                                new = row + stride
                                chord = rows.chord_place(m, matrix, keep, environments * (steps * substeps + 1) * width, lane)
                                at = ti.static(
                                    RigidPlace(
                                        own, q_at, v_at, a, base, vector, q_bar, v_bar, s, control, matrix, wrenches, events,
                                        new, e, t, row, chord,
                                    )
                                )  # fmt: skip
                                stages.begin(m, at)
                                stages.finish(m, at, False)
                            row += stride
                        if keep != 1:
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
                m = ti.static(
                    RigidMemory(
                        integers, reals, inputs, tape, work, grids, controls, inputs_bar=inputs_bar, controls_bar=controls_bar
                    )
                )
                lane = iteration // block
                coordinates, dofs, controls_row = integers[Header.coordinates], integers[Header.dofs], integers[Header.controls]
                width = rows.row_length(m, False, stepping)
                base = lane * integers[Header.work]
                vector, running_q, running_v = rows.scratch_parts(m, base)
                e = lane
                while e < environments:
                    row, own = (e + 1) * (steps * substeps + 1) * width - width, e * integers[Header.inputs]
                    for reverse in range(steps):
                        t = steps - 1 - reverse
                        before, after = t * environments + e, (t + 1) * environments + e
                        control = before * controls_row
                        for n in range(coordinates):
                            work[running_q + n] = q_bar[after * coordinates + n]
                        for n in range(dofs):
                            work[running_v + n] = v_bar[after * dofs + n]
                        for back in range(substeps):
                            s = substeps - 1 - back
                            row -= width
                            q_at, v_at, a, matrix, wrenches, events = rows.row_parts(m, row, False, stepping.middle)
                            new = row + width
                            at = ti.static(
                                RigidPlace(
                                    own, q_at, v_at, a, base, vector, running_q, running_v, s, control, matrix, wrenches,
                                    events, new, e, t, row,
                                )
                            )  # fmt: skip
                            stages.finish_adjoint(m, at, False)
                            stages.begin_adjoint(m, at)
                        for n in range(coordinates):
                            entry = before * coordinates + n
                            q_bar[entry] = q_bar[entry] + work[running_q + n]
                        for n in range(dofs):
                            entry = before * dofs + n
                            v_bar[entry] = v_bar[entry] + work[running_v + n]
                    e += lanes

    return SimpleNamespace(forward=forward, adjoint=adjoint)
