"""pi(a|s,z) on the encoded states of a world model, and as a policy of observations."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rpg.models.action_policy import ActionPolicy, ActionSample, squashed_sample
from rpg.models.latent import LatentSpace
from rpg.models.network_input import NetworkInput
from rpg.models.positional_embedding import PositionalEmbedding
from rpg.models.posterior import Posterior
from rpg.models.stacked_network import StackedNetwork
from rpg.models.world_model import WorldModel

LOG_STD_RANGE = (-5.0, 1.0)


class LatentActor(nn.Module):
    """A tanh-squashed Gaussian whose mean and std are functions of an encoded state and the latent."""

    def __init__(
        self,
        state_dim: int,
        action_dim: int,
        space: LatentSpace,
        *,
        hidden: Sequence[int],
        std_start: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.space, self.log_std_start = space, math.log(std_start)
        sizes = (state_dim + space.size, *hidden, 2 * action_dim)
        self.network = StackedNetwork(1, sizes, generator=generator, activation="silu")

    def mean_and_std(self, observation: Tensor, latent: Tensor, step: int | Tensor = 0) -> tuple[Tensor, Tensor]:
        """(N, A) each, before squashing, of encoded states (N, E); the step plays no part."""
        outputs = self.network.alone(torch.cat([observation, self.space.features(latent, observation)], dim=-1))
        mean, log_std = outputs.chunk(2, dim=-1)
        return mean, (self.log_std_start + log_std).clamp(*LOG_STD_RANGE).exp()

    def sampled(self, states: Tensor, latent: Tensor, noise: Tensor) -> ActionSample:
        """A differentiable sample for states (N, E) and standard normal `noise` (N, A)."""
        return squashed_sample(*self.mean_and_std(states, latent), noise)


class ImaginationNetworks(nn.Module):
    """What imagining needs: a world model, pi(a|s,z) and p_phi."""

    def __init__(self, model: WorldModel, actor: LatentActor, posterior: Posterior) -> None:
        super().__init__()
        self.model, self.actor, self.posterior = model, actor, posterior


class EncodedPolicy(ActionPolicy):
    """A `LatentActor` on the states that the encoder of `model` makes of observations."""

    def __init__(self, inputs: NetworkInput, embedding: PositionalEmbedding, model: WorldModel, actor: LatentActor) -> None:
        super().__init__(actor.space)
        self.inputs, self.embedding, self.model, self.actor = inputs, embedding, model, actor
        self.uses_time = inputs.horizon is not None

    def _states(self, observation: Tensor, step: int | Tensor) -> Tensor:
        """(..., E) of observations (..., O) at steps (...)."""
        age = torch.as_tensor(step, device=observation.device).expand(observation.shape[:-1])
        rows = self.inputs(observation.flatten(0, -2), age.flatten())
        return self.model.encode(self.embedding(rows)).view(*observation.shape[:-1], -1)

    def mean(self, observation: Tensor, latent: Tensor, step: int | Tensor) -> Tensor:
        return self.actor.mean_and_std(self._states(observation, step), latent)[0]

    def forward(
        self, observation: Tensor, latent: Tensor, step: int | Tensor, std: Tensor | float, noise: Tensor
    ) -> ActionSample:
        """A sample with the actor's own std; the argument `std` is ignored."""
        return self.actor.sampled(self._states(observation, step), latent, noise)
