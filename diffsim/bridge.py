"""One control step as a torch autograd node.

The node saves only its inputs: a rollout of T control steps holds T states, not T x substeps. Backward recomputes the substeps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffsim.solvers.mpm.solver import ColliderMotion, MPMSolver


class SoftStep(torch.autograd.Function):
    """x, v, C, F -> x, v, C, F over one control step; differentiable in all of them and in the colliders' motion."""

    @staticmethod
    def forward(ctx: Any, solver: MPMSolver, time_step: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.solver = solver
        ctx.save_for_backward(time_step, *tensors)
        return solver.advance(tensors[:4], ColliderMotion(*tensors[4:]), time_step)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *output_bars: Tensor) -> tuple[Tensor | None, ...]:
        time_step, *tensors = ctx.saved_tensors
        particle_bars, motion_bars = ctx.solver.adjoint(
            tuple(tensors[:4]), ColliderMotion(*tensors[4:]), time_step, output_bars
        )
        return None, None, *particle_bars, *motion_bars


def soft_step(
    solver: MPMSolver, time_step: Tensor, particles: tuple[Tensor, ...], motion: ColliderMotion
) -> tuple[Tensor, ...]:
    """Typed entry to `SoftStep`."""
    return SoftStep.apply(solver, time_step, *particles, *motion.tensors())  # type: ignore[no-untyped-call]
