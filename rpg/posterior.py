"""p_phi(z|s): guesses from what an episode did which latent it followed.

Its log probability rewards the latents for doing visibly different things, which is what keeps the policy
exploring.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rpg.network import RunningNormalizer, dense_network


class CategoricalPosterior(nn.Module):
    """A classifier of single observations; a trajectory's log probability is the mean over its observations.

        log p_phi(z|tau) = 1/T' sum_t log p_phi(z|s_t)

    Observations are normalised by the running mean and std of those seen so far: a simulator's move by
    centimetres.
    """

    def __init__(
        self, observation_dim: int, num_latents: int, *, hidden: Sequence[int], generator: torch.Generator
    ) -> None:
        super().__init__()
        self.normalizer = RunningNormalizer(observation_dim)
        self.network = dense_network((observation_dim, *hidden, num_latents), generator=generator)

    def forward(self, observations: Tensor, latent: Tensor) -> Tensor:
        """(B,) log p_phi(z|tau) of `latent` (B,) given `observations` (T', B, O)."""
        log_probs = torch.log_softmax(self.network(self.normalizer(observations)), dim=-1)
        index = latent.expand(observations.shape[0], -1).unsqueeze(-1)
        return log_probs.gather(-1, index).squeeze(-1).mean(0)

    def log_prob(self, observations: Tensor, latent: Tensor) -> Tensor:
        """(B,) the policy's bonus: differentiable in `observations` (T', B, O) but not in this network's
        parameters.
        """
        frozen = {name: parameter.detach() for name, parameter in self.named_parameters()}
        return torch.func.functional_call(self, frozen, (observations, latent))

    def training_loss(self, observations: Tensor, latent: Tensor) -> Tensor:
        """() cross entropy on detached `observations`: differentiable in this network's parameters and
        nothing else.
        """
        return -self(observations.detach(), latent).mean()

    def observe(self, observations: Tensor) -> None:
        """Learn the scale of `observations` (..., O)."""
        self.normalizer.update(observations)
