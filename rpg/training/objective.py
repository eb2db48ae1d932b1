"""The variational bound that the Reparameterized Policy Gradient maximises (Huang et al., ICML 2023).

    E[ R/T + beta log p_phi(z|tau) - alpha 1/T sum_t log pi(a_t|s_t,z) - alpha_z log pi(z|s1) ]

The sums over time are divided by T, so that the weights do not depend on the horizon. With alpha = c T, alpha_z = c and beta
= c S (S latents in a sequence) it is c times an evidence lower bound of log integral exp(R / (c T)) over the actions; the gap
is c times the divergence of the policy from the distribution of optimal trajectories (docs/rpg.md derives it;
tests/rpg/test_bound.py checks it by quadrature). With other weights it is no longer a bound.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class BoundWeights:
    """The weights beta, alpha and alpha_z of one iteration."""

    beta: float
    alpha: float
    alpha_z: float


@dataclass(frozen=True)
class BoundTerms:
    """The terms of the bound before weighting, by step, (T, B)."""

    reward: Tensor
    """r_t / T."""
    posterior: Tensor
    """log p_phi(z_t|x_t) / T' at the T' sampled steps, 0 elsewhere."""
    action_entropy: Tensor
    """-log pi(a_t|s_t,z) / T."""
    latent_entropy: Tensor
    """(B,) -log pi(z|s1), detached, because its own gradient has expectation zero; it enters through REINFORCE."""

    def steps(self, weights: BoundWeights) -> Tensor:
        """(T, B) the bound by step, without the latent's entropy."""
        return self.reward + weights.beta * self.posterior + weights.alpha * self.action_entropy

    def total(self, weights: BoundWeights) -> Tensor:
        """(B,) the bound of each episode."""
        return self.steps(weights).sum(0) + weights.alpha_z * self.latent_entropy

    def named(self) -> dict[str, Tensor]:
        """The terms of whole episodes by name, (B,)."""
        return {
            "reward": self.reward.sum(0),
            "posterior": self.posterior.sum(0),
            "action_entropy": self.action_entropy.sum(0),
            "latent_entropy": self.latent_entropy,
        }


def bound_terms(
    *,
    rewards: Tensor,
    action_log_probs: Tensor,
    latent_log_prob: Tensor,
    posterior_log_prob: Tensor | None = None,
    posterior_steps: Tensor | None = None,
) -> BoundTerms:
    """The terms from `rewards` (T, B), `action_log_probs` (T, B), `latent_log_prob` (B,) and, at the steps
    `posterior_steps` (T',) int64, `posterior_log_prob` (T', B).

    No posterior (None) counts as log p = 0: with a single latent there is nothing to infer.
    """
    horizon = len(rewards)
    posterior = torch.zeros_like(rewards)
    if posterior_log_prob is not None and posterior_steps is not None:
        posterior = posterior.index_copy(0, posterior_steps, posterior_log_prob / len(posterior_steps))
    return BoundTerms(
        reward=rewards / horizon,
        posterior=posterior,
        action_entropy=-action_log_probs / horizon,
        latent_entropy=-latent_log_prob.detach(),
    )
