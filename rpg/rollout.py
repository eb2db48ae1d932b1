"""One batch of episodes under a policy, every latent fixed for its whole episode."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rpg.action_policy import ActionPolicy
from rpg.protocol import Environment, check_last_info


@dataclass(frozen=True)
class Trajectory:
    """What happened in B episodes of T steps. Observations, actions, log_probs and rewards may carry
    gradients.
    """

    observations: Tensor
    """(T+1, B, O), the first state's included."""
    actions: Tensor
    """(T, B, A) in [-1, 1]."""
    log_probs: Tensor
    """(T, B) log pi(a|s,z)."""
    rewards: Tensor
    """(T, B)."""
    success: Tensor
    """(B,) bool."""
    outcome: Tensor
    """(B,) int64, -1 for none."""

    def sampled_observations(self, stride: int) -> Tensor:
        """(T', B, O): the observations after every `stride`-th step, counted back from the last."""
        return self.observations[1:].flip(0)[::stride].flip(0)

    def episode_metrics(self, latent: Tensor) -> dict[str, Any]:
        """What `IterationMetrics` records of the episodes, with `latent` (B,)."""
        returns = self.rewards.detach().sum(0)
        return {
            "return_mean": float(returns.mean()),
            "return_best_latent": max(float(returns[latent == z].mean()) for z in latent.unique()),
            "success": float(self.success.double().mean()),
            "distinct_outcomes": int(self.outcome[self.success].unique().numel()),
        }


def rolled_out(
    env: Environment, policy: ActionPolicy, latent: Tensor, *, seed: int, std: float, noise: Tensor
) -> Trajectory:
    """Run T steps from `reset(seed)` with `latent` (B,) and `noise` (T, B, A); no noise: mean actions."""
    state = env.reset(seed)
    observations, actions, log_probs, rewards = [env.observe(state)], [], [], []
    info: dict[str, Tensor] = {}
    for step, step_noise in enumerate(noise.unbind(0)):
        sample = policy(observations[-1], latent, step, std, step_noise)
        state, reward, info = env.step(state, sample.action)
        observations.append(env.observe(state))
        actions.append(sample.action)
        log_probs.append(sample.log_prob)
        rewards.append(reward)
    check_last_info(info, env.num_envs)
    return Trajectory(
        observations=torch.stack(observations),
        actions=torch.stack(actions),
        log_probs=torch.stack(log_probs),
        rewards=torch.stack(rewards),
        success=info["success"].detach(),
        outcome=info["outcome"].detach(),
    )
