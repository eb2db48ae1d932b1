"""Several networks of one shape as one, such as the two critics of an actor-critic."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

_IN_PLACE: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu_,
    "leaky_relu": lambda hidden: functional.leaky_relu(hidden, inplace=True),
    "silu": lambda hidden: functional.silu(hidden, inplace=not hidden.requires_grad),
}
Activation = Literal["relu", "leaky_relu", "silu"]


class StackedNetwork(nn.Module):
    """N multilayer perceptrons of the given widths, evaluated together by batched products: (B, in) -> (N, B, out).

    Initialised as torch's linear layers are, uniformly within 1 / sqrt(fan-in), from `generator` alone.
    """

    def __init__(
        self, count: int, sizes: Sequence[int], *, generator: torch.Generator, activation: Activation = "relu"
    ) -> None:
        super().__init__()
        self._activated = _IN_PLACE[activation]
        for layer, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            for name, rows in (("weight", fan_in), ("bias", 1)):
                drawn = (2 * torch.rand(count, rows, fan_out, generator=generator) - 1) / math.sqrt(fan_in)
                self.register_parameter(f"{name}{layer}", nn.Parameter(drawn))

    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """The weights (N, fan-in, fan-out) and biases (N, 1, fan-out) of each layer."""
        parameters = iter(self._parameters.values())  # in the order of registration; an nn.ParameterList is slow to walk
        return list(zip(parameters, parameters, strict=True))  # type: ignore[arg-type]

    def forward(self, data: Tensor, *, frozen: bool = False, count: int | None = None) -> Tensor:
        """(N, B, out), or (`count`, B, out) of the first networks alone; with `frozen`, differentiable in `data` but not in
        the parameters, which saves a third of backward."""
        layers = self.layers()
        if count is not None:
            layers = [(weight[:count], bias[:count]) for weight, bias in layers]
        hidden = data.expand(len(layers[0][0]), *data.shape)
        for number, (weight, bias) in enumerate(layers):
            if number > 0:
                hidden = self._activated(hidden)  # in place: the layer's product is not needed again
            hidden = torch.baddbmm(bias.detach(), hidden, weight.detach()) if frozen else torch.baddbmm(bias, hidden, weight)
        return hidden

    def alone(self, data: Tensor) -> Tensor:
        """(B, out) of the only network, without the products' batch, whose views cost time in backward."""
        hidden = data
        for number, (weight, bias) in enumerate(self.layers()):
            if number > 0:
                hidden = self._activated(hidden)
            hidden = torch.addmm(bias.view(-1), hidden, weight.squeeze(0))
        return hidden

    @torch.no_grad()
    def input_gradient(self, data: Tensor, columns: slice) -> Tensor:
        """(B, C): the gradient of the first network's only output with respect to `columns` of `data` (B, in), for "relu". It
        is constant within a linear piece, so that its own derivative is 0 almost everywhere."""
        layers, hidden, active = [(weight[0], bias[0]) for weight, bias in self.layers()], data, []
        for weight, bias in layers[:-1]:
            hidden = torch.addmm(bias, hidden, weight).relu_()
            active.append(hidden > 0)
        gradient = layers[-1][0].t()
        for (weight, _), on in zip([(layers[0][0][columns], None), *layers[1:-1]][::-1], active[::-1], strict=True):
            gradient = (gradient * on) @ weight.t()
        return gradient

    @torch.no_grad()
    def follow(self, other: "StackedNetwork", rate: float) -> None:
        """Move the parameters the fraction `rate` of the way to those of `other` (Polyak averaging)."""
        torch._foreach_lerp_(list(self.parameters()), list(other.parameters()), rate)
