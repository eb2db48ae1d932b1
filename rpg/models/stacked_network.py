"""Several networks of one shape as one, such as the two critics of an actor-critic."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class StackedNetwork(nn.Module):
    """N multilayer perceptrons of the given widths with ReLU, evaluated together by batched products: (B, in) -> (N, B, out).

    Initialised as torch's linear layers are, uniformly within 1 / sqrt(fan-in), from `generator` alone.
    """

    def __init__(self, count: int, sizes: Sequence[int], *, generator: torch.Generator) -> None:
        super().__init__()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for fan_in, fan_out in pairwise(sizes):
            limit = 1 / math.sqrt(fan_in)
            self.weights.append(nn.Parameter(limit * (2 * torch.rand(count, fan_in, fan_out, generator=generator) - 1)))
            self.biases.append(nn.Parameter(limit * (2 * torch.rand(count, 1, fan_out, generator=generator) - 1)))

    def forward(self, data: Tensor, *, frozen: bool = False) -> Tensor:
        """(N, B, out); with `frozen`, differentiable in `data` but not in the parameters, which saves a third of backward."""
        hidden = data.expand(self.weights[0].shape[0], *data.shape)
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if layer > 0:
                hidden = hidden.relu()
            hidden = torch.baddbmm(bias.detach(), hidden, weight.detach()) if frozen else torch.baddbmm(bias, hidden, weight)
        return hidden

    @torch.no_grad()
    def follow(self, other: "StackedNetwork", rate: float) -> None:
        """Move the parameters the fraction `rate` of the way to those of `other` (Polyak averaging)."""
        torch._foreach_lerp_(list(self.parameters()), list(other.parameters()), rate)
