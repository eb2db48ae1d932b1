"""Coordinates as sines and cosines of several wavelengths, in which places that are near each other differ."""

import math

import torch
from torch import Tensor, nn

REST_SCALE = 0.05
"""Factor on the observation itself beside its embedded coordinates, so that these matter most."""


class PositionalEmbedding(nn.Module):
    """(..., W) -> (..., width): 0.05 x, and y, sin(2^k y), cos(2^k y) for k = 0 .. `order` - 1 of the first `count` entries y,
    coordinates of order 1. Without an order it is the identity.

    A network of raw coordinates is smooth: what it learns about a place it also believes about the places around. In the
    embedding, places 2^-k apart look different, so that their novelty is learned separately.
    """

    frequencies: Tensor

    def __init__(self, size: int, *, count: int, order: int) -> None:
        super().__init__()
        self.count = count if order > 0 else 0
        self.register_buffer("frequencies", 2.0 ** torch.arange(order).repeat(2), persistent=False)
        phases = torch.tensor([0.0, math.pi / 2]).repeat_interleave(order)  # cos y = sin(y + pi/2)
        self.register_buffer("phases", phases, persistent=False)
        self.width = size + self.count * (1 + 2 * order) if self.count else size

    def forward(self, data: Tensor) -> Tensor:
        if not self.count:
            return data
        chosen = data[..., : self.count]
        waves = torch.addcmul(self.phases, chosen.unsqueeze(-1), self.frequencies).sin()  # type: ignore[arg-type]
        return torch.cat([REST_SCALE * data, chosen, waves.flatten(-2)], dim=-1)
