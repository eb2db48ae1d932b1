"""Control steps as torch autograd nodes.

A node saves only its inputs and states: a rollout of T control steps holds T states, not T x substeps. Backward recomputes the
substeps.
"""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffsim.articulation import ContactModel
from diffsim.errors import InputError
from diffsim.solvers.coupling.solver import CoupledSolver, Inputs
from diffsim.solvers.mpm.solver import MPMSolver
from diffsim.solvers.rigid.solver import RigidSolver


def _same_contact(used: ContactModel, solver: RigidSolver) -> None:
    if solver.model.contact is not used:
        raise InputError(
            "simulator.contact was changed between a rollout and its backward(), which recomputes it; call backward() first"
        )


def _on_main_thread() -> None:
    if threading.current_thread() is not threading.main_thread():
        raise InputError(
            "backward() ran off the main thread, where Taichi cannot launch kernels; put it under "
            "`with torch.autograd.set_multithreading_enabled(False):`"
        )


class SoftStep(torch.autograd.Function):
    """x, v, C, F, plastic strain -> the same one control step later; differentiable in all of them and in the inputs,
    what drives the step, in rows (`diffsim/solvers/mpm/memory.py`)."""

    @staticmethod
    def forward(ctx: Any, solver: MPMSolver, time_step: Tensor, inputs: Tensor, *particles: Tensor) -> tuple[Tensor, ...]:
        after, box_nodes = solver.advance(particles, inputs, time_step)
        ctx.solver = solver
        ctx.save_for_backward(time_step, box_nodes, inputs, *particles)
        return after

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *output_bars: Tensor) -> tuple[Tensor | None, ...]:
        _on_main_thread()
        time_step, box_nodes, inputs, *particles = ctx.saved_tensors
        particle_bars, inputs_bar = ctx.solver.adjoint(tuple(particles), inputs, time_step, box_nodes, output_bars)
        return None, None, inputs_bar, *particle_bars


def soft_step(solver: MPMSolver, time_step: Tensor, inputs: Tensor, particles: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Typed entry to `SoftStep`."""
    return SoftStep.apply(solver, time_step, inputs, *particles)  # type: ignore[no-untyped-call]


class RigidRollout(torch.autograd.Function):
    """q, v, controls, inputs -> all states of T control steps, those before the first included."""

    @staticmethod
    def forward(
        ctx: Any, solver: RigidSolver, time_step: Tensor, q: Tensor, v: Tensor, controls: Tensor, inputs: Tensor
    ) -> tuple[Tensor, Tensor]:
        states_q, states_v = solver.advance(q, v, controls, inputs, time_step)
        ctx.solver, ctx.contact = solver, solver.model.contact
        ctx.save_for_backward(states_q, states_v, controls, inputs)
        return states_q, states_v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *bars: Tensor) -> tuple[Tensor | None, ...]:
        _on_main_thread()
        _same_contact(ctx.contact, ctx.solver)
        states_q, states_v, controls, inputs = ctx.saved_tensors
        q_bar, v_bar, controls_bar, inputs_bar = ctx.solver.adjoint(states_q, states_v, controls, inputs, *bars)
        return None, None, q_bar[0], v_bar[0], controls_bar, inputs_bar


def rigid_rollout(
    solver: RigidSolver, time_step: Tensor, q: Tensor, v: Tensor, controls: Tensor, inputs: Tensor
) -> tuple[Tensor, Tensor]:
    """Typed entry to `RigidRollout`."""
    return RigidRollout.apply(solver, time_step, q, v, controls, inputs)  # type: ignore[no-untyped-call]


class LinkPoses(torch.autograd.Function):
    """q, v, inputs -> poses and motions of the links (B, links, 18), see `diffsim/solvers/rigid/poses.py`."""

    @staticmethod
    def forward(ctx: Any, solver: RigidSolver, q: Tensor, v: Tensor, inputs: Tensor) -> Tensor:
        ctx.solver = solver
        ctx.save_for_backward(q, v, inputs)
        return solver.poses(q, v, inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *bars: Tensor) -> tuple[Tensor | None, ...]:
        _on_main_thread()
        q_bar, v_bar = ctx.solver.poses_adjoint(*ctx.saved_tensors, *bars)
        return None, q_bar, v_bar, None


def link_poses(solver: RigidSolver, q: Tensor, v: Tensor, inputs: Tensor) -> Tensor:
    """Typed entry to `LinkPoses`."""
    return LinkPoses.apply(solver, q, v, inputs)  # type: ignore[no-untyped-call]


class CoupledStep(torch.autograd.Function):
    """Soft inputs, rigid inputs, controls, q, v, and x, v, C, F, plastic strain -> q, v and the particles one control step
    later."""

    @staticmethod
    def forward(ctx: Any, solver: CoupledSolver, time_step: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        inputs, (q, v, *particles) = Inputs(*(tensor.detach() for tensor in tensors[:3])), tensors[3:]
        after, new_q, new_v, box_nodes = solver.advance(tuple(particles), q, v, inputs, time_step)
        ctx.solver, ctx.contact = solver, solver.rigid.model.contact
        ctx.save_for_backward(box_nodes, *tensors)
        return new_q, new_v, *after

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, q_bar: Tensor, v_bar: Tensor, *particle_bars: Tensor) -> tuple[Tensor | None, ...]:
        _on_main_thread()
        _same_contact(ctx.contact, ctx.solver.rigid)
        box_nodes, *tensors = ctx.saved_tensors
        inputs, (q, v, *particles) = Inputs(*tensors[:3]), tensors[3:]
        bars, q_bar, v_bar, input_bars = ctx.solver.adjoint(
            tuple(particles), q, v, inputs, box_nodes, particle_bars, q_bar, v_bar
        )
        return None, None, *input_bars, q_bar, v_bar, *bars


def coupled_step(
    solver: CoupledSolver, time_step: Tensor, inputs: Inputs, q: Tensor, v: Tensor, particles: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """Typed entry to `CoupledStep`."""
    return CoupledStep.apply(solver, time_step, *inputs, q, v, *particles)  # type: ignore[no-untyped-call]
