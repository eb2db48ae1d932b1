"""A control step of soft and rigid bodies together as a torch autograd node.

A node saves its inputs and states, and the substeps while there is room for them (`kept_memory.py`). Where there is none,
backward recomputes them.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.autograd import Function

from diffsim.compiler import one_at_a_time
from diffsim.coupling.coupled_solver import CoupledSolver, Inputs, Wrenches
from diffsim.gradients.first_order import first_derivatives_only
from diffsim.gradients.kept_memory import differentiated, read_once
from diffsim.state import Particles


class CoupledStep(Function):
    """Soft inputs, rigid inputs, controls, q, v, and the particles -> q, v, the contact wrenches (`Wrenches`) and the particles
    one control step later."""

    @staticmethod
    @one_at_a_time
    def forward(ctx: Any, solver: CoupledSolver, keep: bool, time_step: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        inputs, (q, v, *particles) = Inputs(*(tensor.detach() for tensor in tensors[:3])), tensors[3:]
        after, new_q, new_v, wrenches, sizes, ctx.kept = solver.advance(
            Particles(*particles), q, v, inputs, time_step, keep=keep
        )
        ctx.solver, ctx.contact = solver, solver.rigid.model.contact
        ctx.save_for_backward(time_step, sizes, *tensors)
        return new_q, new_v, *wrenches, *after

    @staticmethod
    @first_derivatives_only
    @one_at_a_time
    def backward(
        ctx: Any, saved: tuple[Tensor, ...], q_bar: Tensor, v_bar: Tensor, rigid: Tensor, soft: Tensor, *particle_bars: Tensor
    ) -> tuple[Tensor | None, ...]:
        ctx.solver.rigid.check_contact(ctx.contact)
        time_step, sizes, *tensors = saved
        inputs, (q, v, *particles) = Inputs(*tensors[:3]), tensors[3:]
        with read_once(ctx) as kept:
            bars, q_bar, v_bar, input_bars = ctx.solver.adjoint(
                Particles(*particles), q, v, inputs, time_step, sizes, Particles(*particle_bars), q_bar, v_bar,
                Wrenches(rigid, soft), kept,
            )  # fmt: skip
        return None, None, None, *input_bars, q_bar, v_bar, *bars


def coupled_step(
    solver: CoupledSolver, time_step: Tensor, inputs: Inputs, q: Tensor, v: Tensor, particles: Particles
) -> tuple[Tensor, Tensor, Wrenches, Particles]:
    """Typed entry to `CoupledStep`."""
    keep = differentiated(*inputs, q, v, *particles)
    q, v, rigid, soft, *after = CoupledStep.apply(solver, keep, time_step, *inputs, q, v, *particles)  # type: ignore[no-untyped-call]
    return q, v, Wrenches(rigid, soft), Particles(*after)
