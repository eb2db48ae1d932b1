"""Evaluation of every candidate (a latent, a start, a component) without noise, all on the same first states."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rpg.models.action_policy import ActionPolicy
from rpg.protocol import FixedHorizonEnvironment
from rpg.training.rollout import Trajectory, rolled_out

EVALUATION_SEED = 2**31 - 1
"""Seed of the final evaluation's episodes, which training does not use."""
HELD_OUT_SEED = 2**31 - 2
"""Seed of the evaluations during a run, by which the best checkpoint is chosen: neither training nor the final one uses it."""


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
    """Fraction of its episodes that succeeded; 0 if the environment has no notion of success."""
    outcome: int
    """The most frequent label among its successful episodes, or among all if none succeeded; -1 for none."""
    outcome_features: NDArray[np.float64] | None
    """(F,) the outcome features of the recorded episode, if the environment has them."""
    shown_return: float
    """Sum of rewards of the recorded episode: the best one with that outcome."""
    actions: NDArray[np.float64]
    """(T, A), of the recorded episode."""
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
    """Run the mean actions of each of `latents` (S, N) or (S, N, D) in all environments; N evaluations.

    `probs` (N,) are their probabilities. Every latent gets the B first states of `seed`, so they differ by what they do and
    not by where they start. This takes N x B x T environment steps.
    """
    like = env.observe(env.reset(seed))
    noise = like.new_zeros(env.horizon, env.num_envs, env.action_dim)
    evaluations = []
    for n, probability in enumerate(probs.tolist()):
        latent = latents[:, n : n + 1].expand(-1, env.num_envs, *latents.shape[2:])
        trajectory = rolled_out(env, policy, latent, state=env.reset(seed), std=1.0, noise=noise)
        evaluations.append(_evaluation(n, probability, trajectory, seed))
    return evaluations


def evaluation_steps(env: FixedHorizonEnvironment, evaluations: Sequence[LatentEvaluation]) -> int:
    """Environment steps that `evaluations` took."""
    return len(evaluations) * env.num_envs * env.horizon


def chosen_latent(evaluations: Sequence[LatentEvaluation]) -> LatentEvaluation:
    """The most probable latent, which a run is judged by."""
    return max(evaluations, key=lambda e: e.probability)


def _evaluation(latent: int, probability: float, trajectory: Trajectory, seed: int) -> LatentEvaluation:
    """Summarise the episodes, all with this latent."""
    returns, success, outcome = trajectory.rewards.sum(0), trajectory.success, trajectory.outcome
    counted = (success if bool(success.any()) else torch.ones_like(success)).nonzero().squeeze(1)
    label = int(outcome[counted].mode().values)
    shown = counted[outcome[counted] == label]
    best = int(shown[returns[shown].argmax()])
    features = trajectory.outcome_features
    return LatentEvaluation(
        latent=latent,
        probability=probability,
        episode_return=float(returns.mean()),
        success=float(success.double().mean()),
        outcome=label,
        outcome_features=None if features is None else features[best].double().cpu().numpy(),
        shown_return=float(returns[best]),
        actions=trajectory.actions[:, best].double().cpu().numpy(),
        observations=trajectory.observations[:, best].double().cpu().numpy(),
        environment=best,
        seed=seed,
    )
