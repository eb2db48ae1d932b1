"""The objective that the Reparameterized Policy Gradient maximises (Huang et al., ICML 2023).

    E[ R/T + beta (log p_phi(z|tau) - log pi(z|s1)) - alpha 1/T sum_t log pi(a_t|s_t,z) + alpha_z (log p0(z) - log pi(z|s1)) ]

The sums over time are divided by T, so that the weights do not depend on the horizon, and those over a sequence's S members,
in the term of beta, by S. beta weighs the information that a trajectory has about its latent (a lower bound of it), which is
greatest where latents are told apart and all in use; a bonus log p_phi(z|tau) alone would be greatest for a single latent.
alpha_z holds pi(z|s1) near p0, equally probable choices or N(0, 1): its term is minus their divergence.

With alpha = c T, alpha_z = 0 and beta = c S it is c times an evidence lower bound of log integral exp(R / (c T)) over the
actions; the gap is c times the divergence of the policy from the distribution of optimal trajectories (docs/rpg.md derives it;
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
    """The terms of the objective before weighting."""

    reward: Tensor
    """(T, B) r_t / T, in units of the returns' spread."""
    posterior: Tensor
    """(T, B) log p_phi(z_t|x_t) / T' at the T' sampled steps, 0 elsewhere."""
    action_entropy: Tensor | None
    """(T, B) -log pi(a_t|s_t,z) / T, if it is asked for."""
    latent_surprise: Tensor
    """(S, B) -log pi(z|s1) of each member, detached, because its own gradient has expectation zero; it enters through
    REINFORCE."""
    latent_reference: Tensor
    """(S, B) log p0(z) - log pi(z|s1) of each member, detached."""

    def steps(self, weights: BoundWeights) -> Tensor:
        """(T, B) the objective by step, without what depends on the latent's own probability."""
        total = self.reward
        if weights.beta > 0:
            total = total + weights.beta * self.posterior
        if weights.alpha > 0 and self.action_entropy is not None:
            total = total + weights.alpha * self.action_entropy
        return total

    def latent_members(self, weights: BoundWeights) -> Tensor:
        """(S, B) what depends on the latent's own probability, by member."""
        return weights.beta / len(self.latent_surprise) * self.latent_surprise + weights.alpha_z * self.latent_reference

    def total(self, weights: BoundWeights) -> Tensor:
        """(B,) the objective of each episode."""
        return self.steps(weights).sum(0) + self.latent_members(weights).sum(0)

    def still_to_come(self, weights: BoundWeights) -> Tensor:
        """(S, B) the part of the objective that a member of the sequence can have a share in, detached: from its first step on,
        and its own and later members' terms."""
        members = self.latent_members(weights)
        later = members.flip(0).cumsum(0).flip(0)
        if len(members) == 1:
            return self.steps(weights).detach().sum(0, keepdim=True) + later
        steps = self.steps(weights).detach()
        return steps.flip(0).cumsum(0).flip(0)[member_starts(len(members), len(steps))] + later

    def named(self) -> dict[str, Tensor]:
        """The terms of whole episodes by name, (B,)."""
        terms = {
            "reward": self.reward.sum(0),
            "posterior": self.posterior.sum(0),
            "latent_surprise": self.latent_surprise.sum(0),
            "latent_reference": self.latent_reference.sum(0),
        }
        if self.action_entropy is not None:
            terms["action_entropy"] = self.action_entropy.sum(0)
        return terms


def member_starts(segments: int, horizon: int) -> list[int]:
    """The first step of each of S members of a sequence; each is used for T/S steps."""
    return [-(-member * horizon // segments) for member in range(segments)]


def bound_terms(
    *,
    rewards: Tensor,
    action_log_probs: Tensor | None,
    latent_log_prob: Tensor,
    latent_reference: Tensor,
    posterior_log_prob: Tensor | None = None,
    posterior_steps: Tensor | None = None,
) -> BoundTerms:
    """The terms from `rewards` (T, B), `action_log_probs` (T, B), `latent_log_prob` and `latent_reference` (S, B), the log
    densities of pi and p0, and, at the steps `posterior_steps` (T',) int64, `posterior_log_prob` (T', B).

    No posterior (None) counts as log p = 0: with a single latent there is nothing to infer.
    """
    horizon = len(rewards)
    posterior = torch.zeros_like(rewards)
    if posterior_log_prob is not None and posterior_steps is not None:
        posterior = posterior.index_copy(0, posterior_steps, posterior_log_prob / len(posterior_steps))
    surprise = -latent_log_prob.detach()
    return BoundTerms(
        reward=rewards / horizon,
        posterior=posterior,
        action_entropy=None if action_log_probs is None else -action_log_probs / horizon,
        latent_surprise=surprise,
        latent_reference=latent_reference.detach() + surprise,
    )
