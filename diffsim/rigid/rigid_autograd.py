"""Rollouts of the rigid bodies, and the poses of their links, as torch autograd nodes.

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
from diffsim.rigid.multibody_solver import RigidSolver


class RigidRollout(Function):
    """q, v, controls, inputs -> all states of T control steps, those before the first included, and contact wrenches."""

    @staticmethod
    @one_at_a_time
    def forward(
        ctx: Any, solver: RigidSolver, keep: bool, time_step: Tensor, q: Tensor, v: Tensor, controls: Tensor, inputs: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        states_q, states_v, wrenches, ctx.kept = solver.advance(q, v, controls, inputs, time_step, keep=keep)
        ctx.solver, ctx.contact = solver, solver.model.contact
        ctx.save_for_backward(time_step, states_q, states_v, controls, inputs)
        return states_q, states_v, wrenches

    @staticmethod
    @first_derivatives_only
    @one_at_a_time
    def backward(ctx: Any, saved: tuple[Tensor, ...], *bars: Tensor) -> tuple[Tensor | None, ...]:
        ctx.solver.check_contact(ctx.contact)
        time_step, states_q, states_v, controls, inputs = saved
        with read_once(ctx) as kept:
            q_bar, v_bar, controls_bar, inputs_bar = ctx.solver.adjoint(
                states_q, states_v, controls, inputs, time_step, *bars, kept=kept
            )
        return None, None, None, q_bar[0], v_bar[0], controls_bar, inputs_bar


def rigid_rollout(
    solver: RigidSolver, time_step: Tensor, q: Tensor, v: Tensor, controls: Tensor, inputs: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Typed entry to `RigidRollout`."""
    keep = differentiated(q, v, controls, inputs)
    return RigidRollout.apply(solver, keep, time_step, q, v, controls, inputs)  # type: ignore[no-untyped-call]


class LinkPoses(Function):
    """q, v, inputs -> poses and motions of the links (B, links, 18), see `diffsim/rigid/kernels/link_poses.py`."""

    @staticmethod
    @one_at_a_time
    def forward(ctx: Any, solver: RigidSolver, q: Tensor, v: Tensor, inputs: Tensor) -> Tensor:
        ctx.solver = solver
        ctx.save_for_backward(q, v, inputs)
        return solver.poses(q, v, inputs)

    @staticmethod
    @first_derivatives_only
    @one_at_a_time
    def backward(ctx: Any, saved: tuple[Tensor, ...], *bars: Tensor) -> tuple[Tensor | None, ...]:
        q_bar, v_bar = ctx.solver.poses_adjoint(*saved, *bars)
        return None, q_bar, v_bar, None


def link_poses(solver: RigidSolver, q: Tensor, v: Tensor, inputs: Tensor) -> Tensor:
    """Typed entry to `LinkPoses`."""
    return LinkPoses.apply(solver, q, v, inputs)  # type: ignore[no-untyped-call]
