"""Rollouts that keep one state in several and recompute the others in backward (Griewank 1992)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from diffsim.state import State

Rollout = Callable[[State, Tensor, Mapping[str, Tensor] | None, Tensor | None], list[State]]


def observed_in_windows(
    rollout: Rollout,
    state: State,
    actions: Tensor,
    parameters: Mapping[str, Tensor] | None,
    loads: Tensor | None,
    observe: Callable[[State], Tensor],
    window: int,
) -> tuple[State, Tensor]:
    """The last state, and the observations of the T states after the first, stacked (T, ...).

    Args:
        rollout: states before and after each of some actions, under parameters and rows of external wrenches.
        actions: (T, B, action_dim), at least one.
        loads: rows of external wrenches (T, B, ...), or None.
        window: control steps between two states that are kept.
    """
    names, values = list(parameters or {}), list((parameters or {}).values())
    fields = list(state.tensors())

    def run(actions: Tensor, loads: Tensor | None, *tensors: Tensor) -> tuple[Tensor, ...]:
        first = State(**dict(zip(fields, tensors, strict=False)))
        states = rollout(first, actions, dict(zip(names, tensors[len(fields) :], strict=True)), loads)[1:]
        return (torch.stack([observe(each) for each in states]), *states[-1].tensors().values())

    observations = []
    for begin in range(0, len(actions), window):
        part = slice(begin, begin + window)
        own_loads = None if loads is None else loads[part]
        observed, *tensors = checkpoint(run, actions[part], own_loads, *state.tensors().values(), *values, use_reentrant=False)
        observations.append(observed)
        state = State(**dict(zip(fields, tensors, strict=True)))
    return state, torch.cat(observations)
