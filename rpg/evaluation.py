"""What every latent does without noise."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rpg.action_policy import ActionPolicy
from rpg.protocol import Environment
from rpg.rollout import Trajectory, rolled_out

EVALUATION_SEED = 2**31 - 1
"""Beyond the seeds that training resets the environment with."""


@dataclass(frozen=True)
class LatentEvaluation:
    """The mean-action episodes of one latent."""

    latent: int
    episode_return: float
    """Mean sum of rewards."""
    success: float
    """Fraction of its episodes that succeeded."""
    outcome: int
    """The most frequent label among its successful episodes, or among all if none succeeded."""
    actions: NDArray[np.float64]
    """(T, A), of the best episode with that outcome."""
    environment: int
    """Index in the batch of that episode, to replay it from the same first state."""

    @property
    def succeeded(self) -> bool:
        """Whether at least half of the episodes did."""
        return self.success >= 0.5


@torch.no_grad()
def evaluate_latents(
    env: Environment, policy: ActionPolicy, *, seed: int = EVALUATION_SEED
) -> list[LatentEvaluation]:
    """Run the mean action of every latent, the environments dealt out over the latents; (K,) evaluations.

    With more latents than environments it takes several rounds from the same seed.
    """
    num_latents, num_envs = policy.num_latents, env.num_envs
    like = env.observe(env.reset(seed))
    noise = like.new_zeros(env.horizon, num_envs, env.action_dim)
    evaluations: list[LatentEvaluation] = []
    for first in range(0, num_latents, num_envs):
        batch = range(first, min(first + num_envs, num_latents))
        latent = first + torch.arange(num_envs, device=like.device) % len(batch)
        trajectory = rolled_out(env, policy, latent, seed=seed, std=1.0, noise=noise)
        evaluations += [_evaluation(z, trajectory, (latent == z).nonzero().squeeze(1)) for z in batch]
    return evaluations


def _evaluation(latent: int, trajectory: Trajectory, envs: Tensor) -> LatentEvaluation:
    """Sum up the episodes `envs` (n,), all of them this latent's."""
    returns, success, outcome = trajectory.rewards.sum(0), trajectory.success, trajectory.outcome
    counted = envs[success[envs]] if bool(success[envs].any()) else envs
    label = int(outcome[counted].mode().values)
    shown = counted[outcome[counted] == label]
    best = int(shown[returns[shown].argmax()])
    return LatentEvaluation(
        latent=latent,
        episode_return=float(returns[envs].mean()),
        success=float(success[envs].double().mean()),
        outcome=label,
        actions=trajectory.actions[:, best].double().cpu().numpy(),
        environment=best,
    )
