"""Rollouts: one batch of episodes under a policy, each member of the latent sequence used for its share of the steps."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from rpg.models.action_policy import ActionPolicy
from rpg.protocol import FixedHorizonEnvironment, ProtocolError, episode_end


@dataclass(frozen=True)
class Trajectory:
    """B episodes of T steps. Observations, actions, log_probs and rewards may carry gradients."""

    observations: Tensor
    """(T+1, B, O), including those of the first state."""
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
    outcome_features: Tensor | None
    """(B, F) the episodes' outcome features, for clustering, if the environment has them."""

    def sampled_steps(self, stride: int) -> Tensor:
        """(T',) int64: every `stride`-th step, counted back from the last."""
        horizon = len(self.rewards)
        return torch.arange(horizon - 1, -1, -stride, device=self.rewards.device).flip(0)

    def features(self, steps: Tensor, *, with_actions: bool) -> Tensor:
        """(T', B, O) the observations after `steps` (T',), or (T', B, O + A) with the actions of those steps."""
        observations = self.observations[1:][steps]
        return torch.cat([observations, self.actions[steps]], dim=-1) if with_actions else observations

    @property
    def returns(self) -> Tensor:
        """(B,) sums of the rewards, detached."""
        return self.rewards.detach().sum(0)

    def distinct_outcomes(self) -> int:
        """Number of labels among the successful episodes."""
        return int(self.outcome[self.success].unique().numel())


def latent_at(latent: Tensor, step: int, horizon: int) -> Tensor:
    """The member of the sequence `latent` (S, B, ...) used at `step` of `horizon`; each is used for T/S steps."""
    return latent[step * len(latent) // horizon]


def latent_steps(latent: Tensor, steps: Tensor, horizon: int) -> Tensor:
    """(T', B, ...) the members used at `steps` (T',)."""
    return latent[steps * len(latent) // horizon]


def rolled_out(
    env: FixedHorizonEnvironment,
    policy: ActionPolicy,
    latent: Tensor,
    *,
    state: Any,
    std: float,
    noise: Tensor,
    window: int | None = None,
    differentiable: bool = True,
) -> Trajectory:
    """Run T steps from `state`, which `reset` returned, with `latent` (S, B, ...) and `noise` (T, B, A); zero noise gives
    mean actions.

    With `window`, states are detached every so many steps: gradients flow within windows only. Without `differentiable`,
    actions are detached.
    """
    observation = env.observe(state)
    observations, actions, log_probs, rewards = [observation], [], [], []
    info: dict[str, Tensor] = {}
    horizon = len(noise)
    for step, step_noise in enumerate(noise.unbind(0)):
        sample = policy(observation, latent_at(latent, step, horizon), step, std, step_noise)
        action = sample.action if differentiable else sample.action.detach()
        state, reward, info = env.step(state, action)
        observation = env.observe(state)
        observations.append(observation)
        actions.append(action)
        log_probs.append(sample.log_prob)
        rewards.append(reward)
        if window is not None and (step + 1) % window == 0 and step + 1 < horizon:
            state = detached(state)
            observation = env.observe(state)
    end = episode_end(info, observation)
    return Trajectory(
        observations=torch.stack(observations),
        actions=torch.stack(actions),
        log_probs=torch.stack(log_probs),
        rewards=torch.stack(rewards),
        success=end.success,
        outcome=end.outcome,
        outcome_features=end.features,
    )


def detached(state: Any) -> Any:
    """The same state, detached: a tensor, a dataclass, tuple, list or dict of such, or anything with a `detach()`. Numbers,
    strings and None are kept.

    Raises ProtocolError for anything else.
    """
    if hasattr(state, "detach"):
        return state.detach()
    if is_dataclass(state) and not isinstance(state, type):
        return replace(state, **{f.name: detached(getattr(state, f.name)) for f in fields(state) if f.init})
    if isinstance(state, tuple) and hasattr(state, "_fields"):
        return type(state)(*map(detached, state))
    if isinstance(state, tuple | list):
        return type(state)(map(detached, state))
    if isinstance(state, Mapping):
        return {name: detached(value) for name, value in state.items()}
    if state is None or isinstance(state, int | float | str | bytes):
        return state
    raise ProtocolError(
        f"a state holds a {type(state).__name__}; windows need tensors, containers of tensors, or a detach() method"
    )
