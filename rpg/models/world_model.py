"""A learned world: states are encodings of observations, a recurrent network says what actions make of them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rpg.models.gru_cell import GRUCell
from rpg.models.image_encoder import ImageEncoder
from rpg.models.latent import LatentSpace
from rpg.models.stacked_network import StackedNetwork

UNLIKELY = -5.0
"""Log odds of an end before anything is learned."""
VALUES = 2
"""Value networks, of which the lower value is a target."""


class ImaginedStep(NamedTuple):
    """What follows from an action, of N states."""

    memory: Tensor
    """(N, H) of the recurrent network."""
    state: Tensor
    """(N, E)."""
    reward: Tensor
    """(N,)."""
    end: Tensor
    """(N,) log odds that the episode has terminated."""


class WorldModel(nn.Module):
    """Encoder s = f(x); memory h_0 = g(s_0), h_t+1 = GRU(h_t, a_t); of h_t+1 the state s_t+1, the reward r_t and whether the
    episode terminates; twin values V(s, z)."""

    def __init__(
        self,
        seen: int | tuple[int, ...],
        action_dim: int,
        space: LatentSpace,
        *,
        state_dim: int,
        hidden: Sequence[int],
        memory: int,
        generator: torch.Generator,
        channels: int = 32,
    ) -> None:
        """`seen` is the width W of an encoder's input x, or (H, W, C) of images, whose convolutions have so many `channels`;
        `memory` is the width H of the GRU."""
        super().__init__()
        self.space, self.state_dim, self.action_dim = space, state_dim, action_dim

        def network(*sizes: int, count: int = 1) -> StackedNetwork:
            return StackedNetwork(count, sizes, generator=generator, activation="silu")

        self.encoder: StackedNetwork | ImageEncoder
        if isinstance(seen, int):
            self.encoder = network(seen, *hidden, state_dim)
        else:
            self.encoder = ImageEncoder(seen, channels, (*hidden, state_dim), generator=generator)
        self.opening = network(state_dim, memory)
        self.dynamics = GRUCell(action_dim, memory, generator=generator)
        self.following = network(memory, state_dim)
        self.earned = network(memory, hidden[-1], 2)
        with torch.no_grad():
            self.earned.layers()[-1][1][..., 1] = UNLIKELY
        self.values = network(state_dim + space.size, *hidden, 1, count=VALUES)

    def encode(self, data: Tensor) -> Tensor:
        """(N, E) states of inputs (N, W) or images (N, H, W, C)."""
        return self.encoder.alone(data)

    def begin(self, states: Tensor) -> Tensor:
        """(N, H) memory of states (N, E)."""
        return self.opening.alone(states).tanh()

    def advance(self, memory: Tensor, action: Tensor) -> ImaginedStep:
        """One step under actions (N, A)."""
        memory = self.dynamics(action, memory)
        reward, end = self.earned.alone(memory).unbind(1)
        return ImaginedStep(memory, self.following.alone(memory), reward, end)

    def value(self, states: Tensor, latent: Tensor, *, twins: int = VALUES) -> Tensor:
        """(2, ...) values of states (..., E) under latents (...,) or (..., D), or those of the first of the `twins` alone."""
        rows = torch.cat([states, self.space.features(latent, states)], dim=-1)
        return self.values(rows.flatten(0, -2), count=twins).view(twins, *states.shape[:-1])
