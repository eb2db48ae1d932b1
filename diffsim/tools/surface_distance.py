"""Signed distances of shapes in torch: in closed form where a shape has one, else by the kernels' own distance as an autograd
node, so that any shape stops tools and shows how deep others are in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

from diffsim import runtime
from diffsim.compiler import one_at_a_time
from diffsim.gradients.first_order import first_derivatives_only
from diffsim.scene.shapes import Shape
from diffsim.scene.shapes.distance_kinds import distance_class


class SurfaceDistance:
    """Maps points (..., 3) of a shape's frame to its signed distance, m (...), and the unit normal (..., 3), differentiably.

    A compound has none of its own: ask its parts.
    """

    def __init__(self, shape: Shape, *, dtype: torch.dtype, device: str):
        self._closed = shape.torch_distance
        if self._closed is None:
            from diffsim.tools.distance_kernels import distance_kernels  # starts the compiler

            self._kernel = runtime.compiled(distance_kernels, distance_class(shape), runtime.precision(dtype))
            numbers = np.concatenate([[0.0], np.asarray(shape.kernel_numbers(), dtype=float)])
            self._numbers = torch.tensor(numbers, dtype=dtype, device=device)

    def __call__(self, points: Tensor) -> tuple[Tensor, Tensor]:
        if self._closed is not None:
            return self._closed(points)
        phi, normal = _KernelDistance.apply(self._kernel, self._numbers, points.reshape(-1, 3))  # type: ignore[no-untyped-call]
        return phi.reshape(points.shape[:-1]), normal.reshape(points.shape)


class _KernelDistance(Function):
    """Points (N, 3) -> distance (N,) and normal (N, 3). With the gradient g and the Hessian H of the distance, the normal is
    n = g / |g|, and dn = (1 - n n^T) H dy / |g|."""

    @staticmethod
    @one_at_a_time
    def forward(ctx: Any, kernel: Any, numbers: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        count = len(points)
        phi, gradient, hessian = (points.new_zeros(count * size) for size in (1, 3, 9))
        if count:
            kernel(count, numbers, points.detach().reshape(-1).contiguous(), phi, gradient, hessian)
        gradient = gradient.view(-1, 3)
        steep = gradient.norm(dim=1, keepdim=True).clamp_min(1e-30)
        ctx.save_for_backward(gradient, hessian.view(-1, 3, 3), points)
        return phi, gradient / steep

    @staticmethod
    @first_derivatives_only
    @one_at_a_time
    def backward(ctx: Any, saved: tuple[Tensor, ...], phi_bar: Tensor, normal_bar: Tensor) -> tuple[Tensor | None, ...]:
        gradient, hessian, _points = saved
        steep = gradient.norm(dim=1, keepdim=True).clamp_min(1e-30)
        normal = gradient / steep
        across = (normal_bar - normal * (normal * normal_bar).sum(1, keepdim=True)) / steep
        return None, None, phi_bar[:, None] * gradient + (hessian @ across[:, :, None]).squeeze(2)
