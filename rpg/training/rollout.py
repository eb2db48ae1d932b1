"""Rollouts: one batch of episodes under a policy, each member of the latent sequence used for its share of the steps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from rpg.models.action_policy import ActionPolicy, squashed_log_prob
from rpg.protocol import FixedHorizonEnvironment, ProtocolError, episode_end
from rpg.training.objective import member_starts

DrawMember = Callable[[int, Tensor, Tensor | None], Tensor]
"""Draws a member of a chain of latents (B, ...) from its number, the observation (B, O) and the member before."""


@dataclass(frozen=True)
class Trajectory:
    """B episodes of T steps. Observations, actions, log_probs and rewards may carry gradients."""

    observations: Tensor
    """(T+1, B, O), including those of the first state."""
    actions: Tensor
    """(T, B, A) in [-1, 1]."""
    log_probs: Tensor | None
    """(T, B) log pi(a|s,z), if asked for."""
    rewards: Tensor
    """(T, B)."""
    success: Tensor
    """(B,) bool."""
    outcome: Tensor
    """(B,) int64, -1 for none."""
    outcome_features: Tensor | None
    """(B, F) the episodes' outcome features, for clustering, if the environment has them."""
    latent: Tensor
    """(S, B) or (S, B, D)."""

    def member_observations(self) -> Tensor:
        """(S, B, O) the observations at the first step of each member of the latent, detached."""
        return self.observations.detach()[member_starts(len(self.latent), len(self.rewards))]

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
    latent: Tensor | DrawMember,
    *,
    state: Any,
    std: float,
    noise: Tensor,
    segments: int = 1,
    window: int | None = None,
    differentiable: bool = True,
    log_probs: bool = True,
) -> Trajectory:
    """Run T steps from `state`, which `reset` returned, with `latent` (S, B, ...) and `noise` (T, B, A); zero noise gives
    mean actions.

    A `latent` that is a function draws each of `segments` members when its turn comes. With `window`, states are detached
    every so many steps: gradients flow within windows only. Without `differentiable`, actions are detached; without
    `log_probs`, their density is not computed.
    """
    observation = env.observe(state)
    observations, before_squashing, actions, rewards = [observation], [], [], []
    info: dict[str, Tensor] = {}
    horizon = len(noise)
    spread = policy.std(std)
    shifts = (spread * noise).unbind(0)
    segments = len(latent) if isinstance(latent, Tensor) else segments
    starts = [*member_starts(segments, horizon), horizon]
    members: list[Tensor] = []
    for number in range(segments):
        first, last = starts[number], starts[number + 1]
        if isinstance(latent, Tensor):
            member = latent[number]
        else:
            member = latent(number, observation, members[-1] if members else None)
        members.append(member)
        mean_at = policy.means(member, range(first, last), observation)
        for step in range(first, last):
            u = mean_at(observation, step) + shifts[step]
            action = torch.tanh(u) if differentiable else torch.tanh(u).detach()
            state, reward, info = env.step(state, action)
            observation = env.observe(state)
            observations.append(observation)
            before_squashing.append(u)
            actions.append(action)
            rewards.append(reward)
            if window is not None and (step + 1) % window == 0 and step + 1 < horizon:
                state = detached(state)
                observation = env.observe(state)
    end = episode_end(info, observation)
    return Trajectory(
        observations=torch.stack(observations),
        actions=torch.stack(actions),
        log_probs=squashed_log_prob(torch.stack(before_squashing), spread, noise) if log_probs else None,
        rewards=torch.stack(rewards),
        success=end.success,
        outcome=end.outcome,
        outcome_features=end.features,
        latent=torch.stack(members),
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
