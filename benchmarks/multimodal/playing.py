"""Episodes that a trained method offers as its solutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.multimodal.archive import Played
from benchmarks.multimodal.problems import Problem
from rpg import FixedHorizonEnvironment, LatentEvaluation, TrainedPolicy, Trainer
from rpg.protocol import episode_end
from rpg.training.evaluation import EVALUATION_SEED


def played_by(problem: Problem, trainer: Trainer, evaluations: list[LatentEvaluation]) -> Played:
    """An episode of each of several candidates (latents, starts, components), without noise; or, of a method that has one
    candidate, a batch of episodes as its policy draws them."""
    if len(evaluations) == 1:
        return drawn(problem, trainer.env, trainer.policy())
    return Played(
        paths=[problem.path(each.observations, each.actions) for each in evaluations],
        success=np.array([each.succeeded for each in evaluations]),
        outcome=np.array([each.outcome for each in evaluations]),
        returns=np.array([each.episode_return for each in evaluations]),
    )


@torch.no_grad()
def drawn(problem: Problem, env: FixedHorizonEnvironment, policy: TrainedPolicy) -> Played:
    """Episodes from the first states that all methods are judged on, with the noise of the policy."""
    generator = torch.Generator().manual_seed(0)
    state = env.reset(EVALUATION_SEED)
    z = policy.sample_latent(env.observe(state), generator)

    def act(observation: Tensor, step: int) -> Tensor:
        return policy.act(observation, z, step, deterministic=False, generator=generator)  # type: ignore[no-any-return]

    return rolled(problem, env, act, state)


@torch.no_grad()
def rolled(problem: Problem, env: FixedHorizonEnvironment, act: Callable[[Tensor, int], Tensor], state: Any) -> Played:
    """The episodes from `state` under `act(observation (B, O), step)`, which gives actions (B, A)."""
    observations, actions, total = [env.observe(state)], [], torch.zeros(env.num_envs)
    info: dict[str, Any] = {}
    for step in range(env.horizon):
        action = act(observations[-1], step)
        state, reward, info = env.step(state, action)
        observations.append(env.observe(state))
        actions.append(action)
        total = total + reward.detach().cpu()
    end = episode_end(info, total)
    rows, moves = (torch.stack(each).double().cpu().numpy() for each in (observations, actions))
    return Played(
        paths=[problem.path(rows[:, n], moves[:, n]) for n in range(env.num_envs)],
        success=end.success.cpu().numpy(),
        outcome=end.outcome.cpu().numpy(),
        returns=total.double().numpy(),
    )
