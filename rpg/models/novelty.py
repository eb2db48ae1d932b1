"""Novelty of states by random network distillation (Burda et al. 2019): a network learns to predict the outputs of another one
that stays random; where it has seen little its error is large, and the error is the bonus."""

import torch
from torch import Tensor, nn

from rpg.models.stacked_network import StackedNetwork

WARM_UP = 100
"""Updates of the predictor before its errors count."""
LARGEST = 100.0
"""Largest size of a bonus."""


class Novelty(nn.Module):
    """The bonus (error - mean) / std of network inputs (..., W); the error is the squared distance of the predictor's outputs
    from the random network's, mean and std are running ones of the errors met in `learn`."""

    count: Tensor
    mean: Tensor
    square: Tensor

    def __init__(self, size: int, hidden: tuple[int, ...], *, rate: float, generator: torch.Generator) -> None:
        """`rate` is the weight of the newest batch of errors in their running mean and std."""
        super().__init__()
        sizes = (size, *hidden, hidden[-1])
        self.target = StackedNetwork(1, sizes, generator=generator, activation="leaky_relu").requires_grad_(False)
        self.predictor = StackedNetwork(1, sizes, generator=generator, activation="leaky_relu")
        self.rate = rate
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("square", torch.zeros(()))

    def error(self, data: Tensor) -> Tensor:
        """(...) of `data` (..., W)."""
        flat = data.flatten(0, -2)
        return (self.predictor.alone(flat) - self.target.alone(flat)).square().sum(-1).view(data.shape[:-1])

    def loss(self, data: Tensor) -> Tensor:
        """() the mean error on `data` (N, W), whose errors enter the running mean and std."""
        error = self.error(data)
        with torch.no_grad():
            self.count += 1
            if int(self.count) > WARM_UP:
                rate = max(self.rate, 1 / (int(self.count) - WARM_UP))
                self.mean.lerp_(error.mean(), rate)
                self.square.lerp_(error.square().mean(), rate)
        return error.mean()

    @torch.no_grad()
    def bonus(self, data: Tensor) -> Tensor:
        """(...) of `data` (..., W); 0 during the warm-up."""
        if int(self.count) <= WARM_UP:
            return data.new_zeros(data.shape[:-1])
        std = (self.square - self.mean.square()).clamp_min(1e-12).sqrt()
        return ((self.error(data) - self.mean) / std).clamp(-LARGEST, LARGEST)
