"""The variational bound that the Reparameterized Policy Gradient maximises (Huang et al., ICML 2023).

    E[ R/T + beta log p_phi(z|tau) - alpha 1/T sum_t log pi(a_t|s_t,z) - alpha_z log pi(z|s1) ]

The sums over time are divided by T, so that the weights mean the same at every horizon.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class BoundWeights:
    """The weights beta, alpha and alpha_z at one point of a run."""

    beta: float
    alpha: float
    alpha_z: float


@dataclass(frozen=True)
class BoundTerms:
    """The terms of the bound before weighting, each (B,)."""

    reward: Tensor
    """R/T, the mean reward of a step."""
    posterior: Tensor
    """log p_phi(z|tau), at most 0."""
    action_entropy: Tensor
    """-1/T sum_t log pi(a_t|s_t,z)."""
    latent_entropy: Tensor
    """-log pi(z|s1), detached: its own gradient has expectation zero, REINFORCE carries it."""

    def total(self, weights: BoundWeights) -> Tensor:
        """(B,) the bound of each episode."""
        return (
            self.reward
            + weights.beta * self.posterior
            + weights.alpha * self.action_entropy
            + weights.alpha_z * self.latent_entropy
        )

    def named(self) -> dict[str, Tensor]:
        """The terms by name."""
        return {
            "reward": self.reward,
            "posterior": self.posterior,
            "action_entropy": self.action_entropy,
            "latent_entropy": self.latent_entropy,
        }


def bound_terms(
    *, rewards: Tensor, action_log_probs: Tensor, latent_log_prob: Tensor, posterior_log_prob: Tensor | None
) -> BoundTerms:
    """The terms from `rewards` (T, B), `action_log_probs` (T, B), `latent_log_prob` (B,) and
    `posterior_log_prob` (B,).

    No posterior (None) counts as log p = 0: with a single latent there is nothing to guess.
    """
    reward = rewards.mean(0)
    return BoundTerms(
        reward=reward,
        posterior=torch.zeros_like(reward) if posterior_log_prob is None else posterior_log_prob,
        action_entropy=-action_log_probs.mean(0),
        latent_entropy=-latent_log_prob.detach(),
    )
