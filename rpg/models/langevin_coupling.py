"""Langevin steps as coupling layers (MCMC policy optimisation, eq. 9, with the signs and masks that docs/mcmc_policies.md
derives).

A layer keeps one half of x, m x, and moves the other; with m' = 1 - m, and S, T, sigma networks of the state and m x,

    y = m x + m' [ (x + eps^2/2 G + eps exp(sigma)) exp(S) + T ],        G = ascent at m x,    log |dy/dx| = sum m' S

G is the gradient of Q / beta where the moved half is at the actor's mean, so that it depends on m x alone, and the layer is
inverted in closed form. S is held to (-1, 1), sigma and T to `REACH` from where they start: nothing else keeps them finite
where the critics grow. Layers keep and move the halves in turn.
"""

import math

import torch
from torch import Tensor, nn

from rpg.models.stacked_network import StackedNetwork
from rpg.models.transport import Ascent, Transport

STEP_SIZE = 0.5
"""eps at the start, in units of the base policy's std."""
LITTLE = -3.0
"""sigma at the start, so that layers begin as Langevin steps without noise."""
REACH = 4.0
"""How far sigma, and the shift T in units of the base policy's std, can go from there."""


class Coupling(nn.Module):
    """A layer on x (N, D); see the module's docstring."""

    keep: Tensor

    def __init__(self, width: int, keep: Tensor, action_dim: int, *, hidden: int, generator: torch.Generator) -> None:
        """`keep` (D,) is m; the first `action_dim` of x are an action's."""
        super().__init__()
        size = len(keep)
        self.register_buffer("keep", keep)
        self.action_dim = action_dim
        self.networks = StackedNetwork(3, (width + size, hidden, size), generator=generator)
        self.log_step = nn.Parameter(torch.full((size,), math.log(STEP_SIZE)))
        with torch.no_grad():
            *_, (weight, bias) = self.networks.layers()
            weight.zero_()
            bias.zero_()
            bias[0] = LITTLE

    def parts(self, seen: Tensor, values: Tensor, ascent: Ascent) -> tuple[Tensor, Tensor, Tensor]:
        """(N, D) each, 0 where x is kept: shift before scaling, S, and T; `values` is x or y, whose kept half is the same."""
        kept, moved = self.keep * values, 1 - self.keep
        sigma, scale, shift = self.networks(torch.cat([seen, kept], dim=1))
        gradient = nn.functional.pad(ascent(kept[:, : self.action_dim]), (0, len(self.keep) - self.action_dim))
        sigma, shift = LITTLE + _held(sigma - LITTLE), _held(shift)
        step = self.log_step.exp()
        before = 0.5 * step.square() * gradient + step * sigma.exp()
        return moved * before, moved * torch.tanh(scale), moved * shift

    def forward(self, seen: Tensor, values: Tensor, ascent: Ascent) -> tuple[Tensor, Tensor]:
        """y (N, D) and log |dy/dx| (N,)."""
        before, scale, shift = self.parts(seen, values, ascent)
        return (values + before) * scale.exp() + shift, scale.sum(-1)

    def inverse(self, seen: Tensor, moved: Tensor, ascent: Ascent) -> Tensor:
        """x (N, D) of y."""
        before, scale, shift = self.parts(seen, moved, ascent)
        return (moved - shift) * (-scale).exp() - before


def _held(values: Tensor) -> Tensor:
    """Values within `REACH`, the same near 0."""
    return REACH * torch.tanh(values / REACH)


class LangevinFlow(Transport):
    """Coupling layers one after the other. A single action dimension gets an auxiliary one beside it, for a half to keep; of
    an odd number one half is longer by one."""

    def __init__(self, width: int, action_dim: int, *, layers: int, hidden: int, generator: torch.Generator) -> None:
        """`width` is W, `hidden` that of the networks' only hidden layer."""
        super().__init__()
        self.extra = 1 if action_dim == 1 else 0
        place = torch.arange(action_dim + self.extra)
        self.layers = nn.ModuleList(
            Coupling(width, ((place + layer) % 2).float(), action_dim, hidden=hidden, generator=generator)
            for layer in range(layers)
        )

    def forward(self, seen: Tensor, start: Tensor, ascent: Ascent) -> tuple[Tensor, Tensor]:
        values, volume = start, torch.zeros_like(start[:, 0])
        for layer in self.layers:
            values, grown = layer(seen, values, ascent)
            volume = volume + grown
        return values, volume

    def inverse(self, seen: Tensor, end: Tensor, ascent: Ascent) -> Tensor:
        """The start (N, D) of `end`."""
        for layer in reversed(self.layers):
            end = layer.inverse(seen, end, ascent)  # type: ignore[operator]
        return end
