"""A gated recurrent unit (Cho et al. 2014) with a hand-written adjoint, which needs half as many passes over memory."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class GRUCell(nn.Module):
    """h' = (1 - u) n + u h of inputs x (N, I) and memories h (N, H), with

    r, u = sigmoid(W_i x + b_i + W_h h + b_h)      n = tanh(V_i x + c_i + r (V_h h + c_h))
    """

    def __init__(self, inputs: int, memory: int, *, generator: torch.Generator) -> None:
        super().__init__()

        def drawn(*shape: int) -> nn.Parameter:
            return nn.Parameter((2 * torch.rand(shape, generator=generator) - 1) / math.sqrt(memory))

        self.by_input, self.by_memory = drawn(inputs, 3 * memory), drawn(memory, 3 * memory)
        self.input_bias, self.memory_bias = drawn(3 * memory), drawn(3 * memory)

    def forward(self, data: Tensor, memory: Tensor) -> Tensor:
        given = torch.addmm(self.input_bias, data, self.by_input)
        kept = torch.addmm(self.memory_bias, memory, self.by_memory)
        return _Gates.apply(given, kept, memory)


class _Gates(torch.autograd.Function):
    """h' of the linear parts (N, 3 H) each, for r, u and n, and h (N, H)."""

    @staticmethod
    def forward(ctx: Any, given: Tensor, kept: Tensor, memory: Tensor) -> Tensor:
        size = memory.shape[1]
        gates = torch.add(given[:, : 2 * size], kept[:, : 2 * size]).sigmoid_()
        reset, update = gates.chunk(2, dim=1)
        fresh = torch.addcmul(given[:, 2 * size :], reset, kept[:, 2 * size :])
        fresh.mul_(2).sigmoid_().mul_(2).sub_(1)  # tanh, which itself takes ten times as long as the sigmoid on a CPU
        ctx.save_for_backward(gates, fresh, kept, memory)
        return torch.lerp(fresh, memory, update)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        gates, fresh, kept, memory = ctx.saved_tensors
        size = memory.shape[1]
        reset, update = gates.chunk(2, dim=1)
        to_memory = grad * update
        to_given = torch.empty_like(kept)
        by_reset, by_update, by_fresh = to_given.chunk(3, dim=1)
        torch.mul(grad - to_memory, torch.addcmul(torch.ones_like(fresh), fresh, fresh, value=-1), out=by_fresh)
        torch.mul(by_fresh, kept[:, 2 * size :], out=by_reset)
        torch.mul(grad, memory - fresh, out=by_update)
        to_given[:, : 2 * size].mul_(torch.addcmul(gates, gates, gates, value=-1))
        to_kept = to_given.clone()
        to_kept[:, 2 * size :].mul_(reset)
        return to_given, to_kept, to_memory
