"""A control step of the soft bodies as a torch autograd node.

A node saves its inputs and states, and the substeps while there is room for them (`kept_memory.py`). Where there is none,
backward recomputes them.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.autograd import Function

from diffsim.compiler import one_at_a_time
from diffsim.gradients.first_order import first_derivatives_only
from diffsim.gradients.kept_memory import differentiated, read_once
from diffsim.soft.mpm_solver import MPMSolver
from diffsim.state import Particles


class SoftStep(Function):
    """Particles -> the mean wrenches of contact (`MPMSolver.advance`) and the particles one control step later; differentiable
    in all their fields and in the inputs, what drives the step, in rows (`diffsim/soft/soft_records.py`)."""

    @staticmethod
    @one_at_a_time
    def forward(
        ctx: Any, solver: MPMSolver, keep: bool, time_step: Tensor, inputs: Tensor, *particles: Tensor
    ) -> tuple[Tensor, ...]:
        after, wrenches, box_nodes, ctx.kept = solver.advance(Particles(*particles), inputs, time_step, keep=keep)
        ctx.solver = solver
        ctx.save_for_backward(time_step, box_nodes, inputs, *particles)
        return wrenches, *after

    @staticmethod
    @first_derivatives_only
    @one_at_a_time
    def backward(ctx: Any, saved: tuple[Tensor, ...], wrench_bars: Tensor, *output_bars: Tensor) -> tuple[Tensor | None, ...]:
        time_step, box_nodes, inputs, *particles = saved
        with read_once(ctx) as kept:
            particle_bars, inputs_bar = ctx.solver.adjoint(
                Particles(*particles), inputs, time_step, box_nodes, Particles(*output_bars), wrench_bars,
                None if kept is None else kept.tape,
            )  # fmt: skip
        return None, None, None, inputs_bar, *particle_bars


def soft_step(solver: MPMSolver, time_step: Tensor, inputs: Tensor, particles: Particles) -> tuple[Particles, Tensor]:
    """Typed entry to `SoftStep`: the particles, and the wrenches."""
    keep = differentiated(inputs, *particles)
    wrenches, *after = SoftStep.apply(solver, keep, time_step, inputs, *particles)  # type: ignore[no-untyped-call]
    return Particles(*after), wrenches
