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
        for layer, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            for name, rows in (("weight", fan_in), ("bias", 1)):
                drawn = (2 * torch.rand(count, rows, fan_out, generator=generator) - 1) / math.sqrt(fan_in)
                self.register_parameter(f"{name}{layer}", nn.Parameter(drawn))

    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """The weights (N, fan-in, fan-out) and biases (N, 1, fan-out) of each layer."""
        parameters = iter(self._parameters.values())  # in the order of registration; an nn.ParameterList is slow to walk
        return list(zip(parameters, parameters, strict=True))  # type: ignore[arg-type]

    def forward(self, data: Tensor, *, frozen: bool = False) -> Tensor:
        """(N, B, out); with `frozen`, differentiable in `data` but not in the parameters, which saves a third of backward."""
        layers = self.layers()
        hidden = data.expand(len(layers[0][0]), *data.shape)
        for number, (weight, bias) in enumerate(layers):
            if number > 0:
                hidden = hidden.relu()
            hidden = torch.baddbmm(bias.detach(), hidden, weight.detach()) if frozen else torch.baddbmm(bias, hidden, weight)
        return hidden

    @torch.no_grad()
    def follow(self, other: "StackedNetwork", rate: float) -> None:
        """Move the parameters the fraction `rate` of the way to those of `other` (Polyak averaging)."""
        torch._foreach_lerp_(list(self.parameters()), list(other.parameters()), rate)
