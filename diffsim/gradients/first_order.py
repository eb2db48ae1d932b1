"""Autograd nodes that have first derivatives only: a second derivative is refused instead of being zero in silence."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from diffsim.errors import InputError


class _FirstDerivative(Function):
    """``count`` adjoints -> the same, as values that hang on all ``tensors``, and whose derivative is an error."""

    @staticmethod
    def forward(ctx: Any, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tensors[:count]

    @staticmethod
    def backward(ctx: Any, *bars: Tensor) -> None:
        raise InputError(
            "diffsim's steps have first derivatives only, and so do some losses of tasks.losses; a gradient through one was "
            "differentiated once more, as torch.autograd.functional.hessian does. Difference gradients instead, or leave the "
            "step out with detach()"
        )


def _detached(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(None if tensor is None else tensor.detach() for tensor in tensors)  # type: ignore[misc]


def first_derivatives_only(backward: Callable[..., tuple[Tensor | None, ...]]) -> Callable[..., Any]:
    """A ``backward(ctx, saved, *output_bars)`` of an autograd node, with the node's saved tensors, which need no graph: all are
    detached.

    Torch's `once_differentiable` refuses only what depends on ``output_bars``. The adjoints depend on the saved tensors too:
    where the loss is linear in the outputs, on these alone, and torch would take them for constants.
    """

    @wraps(backward)
    def wrapped(ctx: Any, *output_bars: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # once: a checkpoint recomputes them for the first reader only
        with torch.no_grad():  # and detached: Taichi compiles a kernel anew for a tensor that wants a gradient
            bars = backward(ctx, _detached(saved), *_detached(output_bars))
        if not torch.is_grad_enabled():  # no create_graph
            return bars
        given = [bar for bar in bars if bar is not None]
        checked = iter(_FirstDerivative.apply(len(given), *given, *output_bars, *saved))  # type: ignore[no-untyped-call]
        return tuple(None if bar is None else next(checked) for bar in bars)

    return wrapped
