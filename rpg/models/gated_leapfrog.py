"""Hamiltonian steps whose gradient is gated by learned networks (MCMC policy optimisation, eq. 13, 18 and 19).

With the energy U(x) = |x|^2 / 2 - Q / beta, g = grad U, and a step size eps for each dimension, a leapfrog step of the
position x and the momentum r is

    r~ = r - eps/2 F(x),    x' = x + eps r~,    r' = r~ - eps/2 F(x'),    F = sigma_h g + (1 - sigma_h) T_h

sigma_h(s, x, g) in (0, 1) is the gate, T_h(s, x, g) in (-1, 1)^A a direction of the networks' own. Each part shears space
along one of x and r by a function of the other, so the step keeps volumes, whatever F is; and as F does not depend on r, it
is reversed by turning the momentum round, whatever F is. That |r|^2 / 2 + U is kept needs a gradient for F: it holds for an
open gate alone.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from rpg.models.stacked_network import StackedNetwork
from rpg.models.transport import Ascent, Transport

OPEN_GATE = 2.0
"""Added to the gate's logit: it starts at 0.88, near to plain Hamiltonian steps."""
STEP_SIZE = 0.2
"""At the start, in units of the base policy's std."""


def leapfrog(
    position: Tensor, momentum: Tensor, force: Callable[[Tensor], Tensor], step_size: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    """Position and momentum (N, A) after so many steps with `step_size` (A,); `force` (N, A) of a position is F, what the
    momentum loses. The half steps of successive steps are joined."""
    momentum = momentum - 0.5 * step_size * force(position)
    for step in range(steps):
        position = position + step_size * momentum
        share = 0.5 if step == steps - 1 else 1.0
        momentum = momentum - share * step_size * force(position)
    return position, momentum


class GatedLeapfrog(Transport):
    """K gated leapfrog steps of the position and the momentum, (N, 2 A); sigma_h, T_h and eps are learned."""

    def __init__(self, width: int, action_dim: int, *, steps: int, hidden: int, generator: torch.Generator) -> None:
        """`width` is W, `hidden` that of the networks' only hidden layer."""
        super().__init__()
        self.extra, self.steps = action_dim, steps
        inputs = width + 2 * action_dim
        self.gate = StackedNetwork(1, (inputs, hidden, 1), generator=generator)
        self.direction = StackedNetwork(1, (inputs, hidden, action_dim), generator=generator)
        self.log_step = nn.Parameter(torch.full((action_dim,), math.log(STEP_SIZE)))

    def gated(self, seen: Tensor, position: Tensor, gradient: Tensor) -> Tensor:
        """F (N, A) where the energy's gradient is `gradient` (N, A)."""
        inputs = torch.cat([seen, position, gradient], dim=1)
        gate = torch.sigmoid(OPEN_GATE + self.gate.alone(inputs))
        return gate * gradient + (1 - gate) * torch.tanh(self.direction.alone(inputs))

    def forward(self, seen: Tensor, start: Tensor, ascent: Ascent) -> tuple[Tensor, Tensor]:
        def force(position: Tensor) -> Tensor:
            return self.gated(seen, position, position - ascent(position))

        position, momentum = start.chunk(2, dim=1)
        end = leapfrog(position, momentum, force, self.log_step.exp(), self.steps)
        return torch.cat(end, dim=1), torch.zeros_like(start[:, 0])
