"""Segments: short pieces of episodes that a teacher compares, each step with the log density that it was drawn with."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from rpg.algorithms.rpg import RPG
from rpg.models.action_policy import ActionPolicy, squashed_log_prob
from rpg.protocol import FixedHorizonEnvironment
from rpg.training.rollout import latent_at


@dataclass(frozen=True)
class Segments:
    """N segments of L steps each; everything detached."""

    observations: Tensor
    """(L, N, O) before each step, what the policy saw."""
    after: Tensor
    """(L, N, O) after each step, what the reward sees."""
    unsquashed: Tensor
    """(L, N, A) the actions before squashing."""
    log_probs: Tensor
    """(L, N) log pi_b(a|s, z) of the policy that acted, when it acted."""
    latents: Tensor
    """(L, N) int64 or (L, N, D): z, which is a part of what the policy saw."""
    steps: Tensor
    """(L, N) int64: number of each step in its episode."""
    counted: Tensor
    """(L, N) bool: whether the step belongs to an episode, rather than to the time after its end."""
    true_rewards: Tensor
    """(L, N) the environment's own, which only a scripted teacher may look at."""

    def __len__(self) -> int:
        """N."""
        return self.log_probs.shape[1]

    @property
    def actions(self) -> Tensor:
        """(L, N, A) in [-1, 1]."""
        return torch.tanh(self.unsquashed)

    @property
    def true_returns(self) -> Tensor:
        """(N,) sums of the environment's own rewards."""
        return self.true_rewards.sum(0)

    def chosen(self, index: Tensor) -> "Segments":
        """The segments `index` (M,) int64."""
        return Segments(**{name: each[:, index] for name, each in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """All fields by name, for a file."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


def joined(parts: Sequence[Segments]) -> Segments:
    """All segments of several batches of equal length, in their order."""
    return Segments(**{name: torch.cat([part.tensors()[name] for part in parts], dim=1) for name in parts[0].tensors()})


@torch.no_grad()
def collected_segments(
    env: FixedHorizonEnvironment, algorithm: RPG, *, iteration: int, seed: int, length: int, generator: torch.Generator
) -> Segments:
    """Episodes of `algorithm`'s policy in `env` with first states of `seed`, cut into as many segments of `length` steps as fit
    one after the other; the first begins at a random step, so that all steps are seen.

    The actions are drawn with the std of `iteration`.
    """
    policy, horizon, count = algorithm.policy, env.horizon, env.num_envs
    state = env.reset(seed)
    observation = env.observe(state)
    latent = algorithm.sample_latent(observation, generator)
    std = policy.std(algorithm.action_std(iteration))
    noise = torch.randn(horizon, count, env.action_dim, generator=generator).to(observation)
    never_ended = torch.ones(count, dtype=torch.bool, device=observation.device)
    rows: dict[str, list[Tensor]] = {each.name: [] for each in fields(Segments)}
    for step in range(horizon):
        own = latent_at(latent, step, horizon)
        unsquashed = policy.mean(observation, own, step) + std * noise[step]
        state, reward, info = env.step(state, torch.tanh(unsquashed))
        after = env.observe(state)
        row: dict[str, Any] = {
            "observations": observation,
            "after": after,
            "unsquashed": unsquashed,
            "log_probs": squashed_log_prob(unsquashed, std, noise[step]),
            "latents": own,
            "steps": torch.full((count,), step, device=observation.device),
            "counted": info.get("running", never_ended),
            "true_rewards": reward,
        }
        for name, value in row.items():
            rows[name].append(value)
        observation = after
    pieces = horizon // length
    first = int(torch.randint(horizon - pieces * length + 1, (), generator=generator))

    def cut(values: list[Tensor]) -> Tensor:
        """(T, B, ...) -> (L, pieces * B, ...)."""
        stacked = torch.stack(values)[first : first + pieces * length]
        return stacked.unflatten(0, (pieces, length)).transpose(0, 1).flatten(1, 2)

    return Segments(**{name: cut(values) for name, values in rows.items()})


@torch.no_grad()
def importance_weights(
    segments: Segments, policy: ActionPolicy, std: Tensor | float, *, log_ratio_range: tuple[float, float]
) -> Tensor:
    """(L, N) A = pi / pi_b = exp(log pi(a|s, z) - log pi_b(a|s, z)) of each step under `policy` with `std`, the difference of
    logs clipped to `log_ratio_range`. 0 for steps after an episode's end.

    Each step has a ratio of its own, rather than the product over the steps so far, whose variance grows without bound: this
    takes the states as they are, as if both policies visited them equally often.
    """
    spread = policy.std(std)
    mean = policy.mean(segments.observations, segments.latents, segments.steps)
    log_probs = squashed_log_prob(segments.unsquashed, spread, (segments.unsquashed - mean) / spread)
    weights = (log_probs - segments.log_probs).clamp(*log_ratio_range).exp()
    return torch.where(segments.counted, weights, torch.zeros_like(weights))
