"""The networks and the normaliser that policies, posteriors and values are built from."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn


class NetworkForm(NamedTuple):
    """What is between a multilayer perceptron's layers, and what its weights start from."""

    activation: Literal["silu", "elu"] = "silu"
    """Both are smooth, because pathwise gradients pass through them."""
    layer_norm: bool = False
    """Whether hidden layers are normalised (LayerNorm) before the activation."""
    gain: float | None = None
    """Gain of orthogonal first weights; None draws them by Xavier's uniform rule."""


PLAIN = NetworkForm()
"""SiLU alone."""


def dense_network(
    sizes: Sequence[int], *, generator: torch.Generator, last_scale: float = 1.0, form: NetworkForm = PLAIN
) -> nn.Sequential:
    """A multilayer perceptron of the given widths.

    Weights are drawn from `generator` alone, never from torch's global one; biases are zero; the last layer's
    weights are multiplied by `last_scale`.
    """
    layers: list[nn.Module] = []
    for index, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        linear = nn.Linear(fan_in, fan_out)
        if form.gain is None:
            nn.init.xavier_uniform_(linear.weight, generator=generator)
        else:
            nn.init.orthogonal_(linear.weight, form.gain, generator=generator)
        nn.init.zeros_(linear.bias)
        layers.append(linear)
        if index < len(sizes) - 2:
            if form.layer_norm:
                layers.append(nn.LayerNorm(fan_out))
            layers.append(nn.SiLU() if form.activation == "silu" else nn.ELU())
    with torch.no_grad():
        linear.weight.mul_(last_scale)
    return nn.Sequential(*layers)


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Within it what the modules give is differentiable in their inputs but not in their parameters, which saves a third of
    backward."""
    parameters = [each for module in modules for each in module.parameters()]
    for each in parameters:
        each.requires_grad_(False)
    try:
        yield
    finally:
        for each in parameters:
            each.requires_grad_(True)


class PointSetEncoder(nn.Module):
    """Observations whose first N x D entries are a set of N points, in any order: (..., O) -> (..., width).

    A shared network is applied to each point, and its features are pooled by the mean and a smooth maximum (log-mean-exp;
    PointNet, Qi et al. 2017); the rest of the observation is passed on. Points are centred, and their centre is a further
    feature, so that shape and position are separate inputs.
    """

    def __init__(self, observation_dim: int, points: tuple[int, int], *, hidden: int = 32, generator: torch.Generator) -> None:
        super().__init__()
        self.count, self.dim = points
        rest = observation_dim - self.count * self.dim
        if rest < 0:
            raise ValueError(f"points was given {points}; allowed are at most {observation_dim} numbers in all")
        self.network = dense_network((self.dim, hidden, hidden), generator=generator)
        self.width = 2 * hidden + self.dim + rest

    def forward(self, observation: Tensor) -> Tensor:
        points, rest = observation.split((self.count * self.dim, observation.shape[-1] - self.count * self.dim), dim=-1)
        points = points.unflatten(-1, (self.count, self.dim))
        center = points.mean(-2, keepdim=True)
        features = self.network(points - center)
        top = torch.logsumexp(features, dim=-2) - math.log(self.count)
        return torch.cat([features.mean(-2), top, center.squeeze(-2), rest], dim=-1)


def held(value: Tensor, low: float, high: float) -> Tensor:
    """`value` clamped to [low, high], with the gradient of the identity (a straight-through estimator): with a plain clamp a
    parameter outside would have no gradient and stay there.
    """
    return value + (value.clamp(low, high) - value).detach()


class RunningNormalizer(nn.Module):
    """x -> (x - mean) / std, with the mean and the std of all data passed to `update` so far.

    The statistics are buffers, so they are checkpointed, and they change only in `update`, so a rollout sees one fixed affine
    map. Before the first update it is the identity. Each feature has its own scale, whatever the others' are: one of metres
    does not hide one of millimetres. Only what varies by less than `rounding` of its own size is not blown up. With `points`
    (N, D) the first N x D features are a set of points and share D statistics, so that the result does not depend on their
    order.
    """

    count: Tensor
    mean: Tensor
    variance: Tensor

    def __init__(
        self, size: int, *, points: tuple[int, int] | None = None, rounding: float = 1e-5, limit: float = 10.0
    ) -> None:
        super().__init__()
        self.points = points
        self.rounding = rounding
        self.limit = limit
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("variance", torch.ones(size))

    @torch.no_grad()
    def update(self, data: Tensor) -> None:
        """Update the statistics with `data` (..., size)."""
        data = data.detach().reshape(-1, self.mean.numel())
        old, new = self.count, torch.full_like(self.count, float(data.shape[0]))
        weight = new / (old + new)
        mean, spread = data.mean(0), data.var(0, correction=0)
        if self.points is not None:
            size = self.points[0] * self.points[1]
            means = mean[:size].view(self.points)
            spread[:size] = (spread[:size].view(self.points).mean(0) + means.var(0, correction=0)).repeat(self.points[0])
            mean[:size] = means.mean(0).repeat(self.points[0])
        shift = mean - self.mean
        variance = torch.lerp(self.variance, spread, weight)
        self.variance.copy_(variance + weight * (1 - weight) * shift.square())
        self.mean.add_(weight * shift)
        self.count.add_(new)

    def scale(self) -> Tensor:
        """(size,) what a deviation from the mean is divided by."""
        floor = (self.rounding * self.mean).square() + 1e-16
        return (self.variance + floor).sqrt()

    def forward(self, data: Tensor) -> Tensor:
        """Normalised `data` (..., size), clamped to +-`limit`."""
        return ((data - self.mean) / self.scale()).clamp(-self.limit, self.limit)
