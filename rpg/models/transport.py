"""Maps that move Gaussian samples of actions on, along a critic's gradient and by learned networks, with known changes of
volume.

Positions x are actions in an actor's own units: u = mean(s) + std(s) x before squashing, so what it draws is N(0, I).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

Ascent = Callable[[Tensor], Tensor]
"""(N, A) of x (N, A): the gradient of Q(s, tanh(mean + std x)) / beta with respect to x."""


class Transport(nn.Module, ABC):
    """An invertible map of (x, auxiliary numbers), (N, A + extra), that depends on what networks see of the state, (N, W)."""

    extra: int
    """How many auxiliary numbers there are, standard normal at the start."""
    multiplier: Tensor
    """() beta: what the critics are divided by, and the weight of the divergence."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("multiplier", torch.ones(()))

    @abstractmethod
    def forward(self, seen: Tensor, start: Tensor, ascent: Ascent) -> tuple[Tensor, Tensor]:
        """The end (N, A + extra) of `start` (N, A + extra), and the logarithm (N,) of the factor by which volumes grow."""


def standard_log_density(values: Tensor) -> Tensor:
    """(N,) log N(values; 0, I) of `values` (N, D), without the constant -D log(2 pi) / 2, which cancels in differences."""
    return -0.5 * values.square().sum(-1)
