"""Evaluation of every candidate (a latent, a start, a component) without noise."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rpg.models.action_policy import ActionPolicy
from rpg.protocol import FixedHorizonEnvironment
from rpg.training.rollout import Trajectory, rolled_out

EVALUATION_SEED = 2**31 - 1
"""A seed that training does not use."""


@dataclass(frozen=True)
class LatentEvaluation:
    """The mean-action episodes of one candidate."""

    latent: int
    """Its index."""
    probability: float
    """Its probability under the policy."""
    episode_return: float
    """Mean sum of rewards."""
    success: float
    """Fraction of its episodes that succeeded."""
    outcome: int
    """The most frequent label among its successful episodes, or among all if none succeeded."""
    outcome_features: NDArray[np.float64] | None
    """(F,) the outcome features of the recorded episode, if the environment has them."""
    actions: NDArray[np.float64]
    """(T, A), of the recorded episode: the best one with that outcome."""
    observations: NDArray[np.float64]
    """(T+1, O), of the recorded episode."""
    environment: int
    """Index of the recorded episode in the batch, to replay it from the same first state."""
    seed: int
    """Seed of the episodes."""

    @property
    def succeeded(self) -> bool:
        """Whether at least half of the episodes succeeded."""
        return self.success >= 0.5


@torch.no_grad()
def evaluate_latents(
    env: FixedHorizonEnvironment, policy: ActionPolicy, latents: Tensor, probs: Tensor, *, seed: int = EVALUATION_SEED
) -> list[LatentEvaluation]:
    """Run the mean actions of each of `latents` (S, N) or (S, N, D), with the environments divided among them; N evaluations.

    `probs` (N,) are their probabilities. More latents than environments take several rounds from the same seed.
    """
    count, num_envs = latents.shape[1], env.num_envs
    like = env.observe(env.reset(seed))
    noise = like.new_zeros(env.horizon, num_envs, env.action_dim)
    evaluations: list[LatentEvaluation] = []
    for first in range(0, count, num_envs):
        batch = range(first, min(first + num_envs, count))
        chosen = first + torch.arange(num_envs, device=like.device) % len(batch)
        trajectory = rolled_out(env, policy, latents[:, chosen], state=env.reset(seed), std=1.0, noise=noise)
        evaluations += [_evaluation(n, float(probs[n]), trajectory, (chosen == n).nonzero().squeeze(1), seed) for n in batch]
    return evaluations


def _evaluation(latent: int, probability: float, trajectory: Trajectory, envs: Tensor, seed: int) -> LatentEvaluation:
    """Summarise the episodes `envs` (n,), all with this latent."""
    returns, success, outcome = trajectory.rewards.sum(0), trajectory.success, trajectory.outcome
    counted = envs[success[envs]] if bool(success[envs].any()) else envs
    label = int(outcome[counted].mode().values)
    shown = counted[outcome[counted] == label]
    best = int(shown[returns[shown].argmax()])
    features = trajectory.outcome_features
    return LatentEvaluation(
        latent=latent,
        probability=probability,
        episode_return=float(returns[envs].mean()),
        success=float(success[envs].double().mean()),
        outcome=label,
        outcome_features=None if features is None else features[best].double().cpu().numpy(),
        actions=trajectory.actions[:, best].double().cpu().numpy(),
        observations=trajectory.observations[:, best].double().cpu().numpy(),
        environment=best,
        seed=seed,
    )
