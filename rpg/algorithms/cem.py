"""The cross-entropy method over open-loop action sequences: no gradient is used.

An iteration draws a sequence for each environment from a diagonal Gaussian (before squashing), rolls them out, and moves the
Gaussian's mean and standard deviation to those of the elites, the sequences with the best returns. The Gaussian is a
distribution of values at knots; actions are interpolated linearly between them. The result is the mean.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from rpg.algorithms.algorithm import Algorithm, AlgorithmConfig
from rpg.models.action_policy import OpenLoopTable, knot_weights, squashed_entropy
from rpg.protocol import FixedHorizonEnvironment
from rpg.settings_checks import SettingError, check_fraction, check_int, check_not_negative, check_positive
from rpg.training.metrics import IterationReport
from rpg.training.rollout import rolled_out


@dataclass(frozen=True)
class CEMConfig(AlgorithmConfig):
    """Settings of the cross-entropy method."""

    names: ClassVar[tuple[str, ...]] = ("cem",)

    batches: int = 1
    """Batches per iteration: the population is this number times the number of environments."""
    knots: int | None = 10
    """Number of knots, evenly spaced over the episode, at which actions are drawn; None draws each step independently."""
    elite_fraction: float = 0.2
    """Fraction of the population that are elites; at least two of them."""
    smoothing: float = 0.1
    """Weight of the old mean and standard deviation in the new ones."""
    start_std: float = 1.0
    """Standard deviation before squashing, at the start."""
    min_std: float = 0.05
    """Lower bound of the standard deviation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("batches", self.batches, at_least=1)
        if self.knots is not None:
            check_int("knots", self.knots, at_least=1)
        check_fraction("elite_fraction", self.elite_fraction)
        check_fraction("smoothing", self.smoothing)
        check_positive("start_std", self.start_std)
        check_not_negative("min_std", self.min_std)


class CEM(Algorithm[CEMConfig]):
    """The cross-entropy method; see the module's docstring."""

    policy: OpenLoopTable

    def __init__(self, env: FixedHorizonEnvironment, config: CEMConfig, like: Tensor) -> None:
        super().__init__(env, config, like)
        population = config.batches * env.num_envs
        self._elites = max(2, round(config.elite_fraction * population))
        if self._elites >= population:
            raise SettingError(
                f"elite_fraction was given {config.elite_fraction} and batches {config.batches}; allowed are those that "
                f"make the elites at least 2 and fewer than the population, here {population}"
            )
        self.policy = OpenLoopTable(1, env.horizon, env.action_dim, generator=self.generator, scale=0.0).to(like)
        self.modules["policy"] = self.policy
        self._weights = knot_weights(config.knots, env.horizon).to(like)  # (T, N)
        self._mean = like.new_zeros(self._weights.shape[1], env.action_dim)  # (N, A)
        self._std = torch.full_like(self._mean, config.start_std)

    @torch.no_grad()
    def iterate(self, iteration: int) -> IterationReport:
        env, config = self.env, self.config
        latent = torch.zeros(1, env.num_envs, dtype=torch.int64, device=self.like.device)

        # The population, batch by batch: knot values (P, N, A), and their returns (P,).
        knots, trajectories = [], []
        for _ in range(config.batches):
            drawn = self._std * self.standard_normal(env.num_envs, *self._mean.shape)
            noise = torch.einsum("tn,bna->tba", self._weights, drawn)
            trajectory = rolled_out(
                env, self.policy, latent, state=env.reset(self.episode_seed(iteration)), std=1.0, noise=noise
            )
            self.check_finite("reward", trajectory.rewards.sum(0), iteration)
            knots.append(self._mean + drawn)
            trajectories.append(trajectory)
        returns = torch.cat([trajectory.returns for trajectory in trajectories])
        success = torch.cat([trajectory.success for trajectory in trajectories])
        outcome = torch.cat([trajectory.outcome for trajectory in trajectories])

        std = self.action_std(iteration)
        entropy = squashed_entropy(std, self.policy.table[0].unsqueeze(1) + noise)

        # The Gaussian moves to the elites.
        best, chosen = returns.topk(self._elites)
        elites = torch.cat(knots)[chosen]
        self._mean = elites.mean(0).lerp(self._mean, config.smoothing)
        self._std = elites.std(0).lerp(self._std, config.smoothing).clamp_min(config.min_std)
        self.policy.table.copy_((self._weights @ self._mean).unsqueeze(0))

        return IterationReport(
            return_mean=float(returns.mean()),
            return_best=float(best[0]),
            success=float(success.double().mean()),
            distinct_outcomes=int(outcome[success].unique().numel()),
            simulator_steps=config.batches * env.num_envs * env.horizon,
            objective=float(returns.mean()) / env.horizon,
            action_entropy=entropy,
            latent_probs=(1.0,),
            terms={"elite_return": float(best.mean()), "std": float(std.mean())},
        )

    def candidates(self) -> tuple[Tensor, Tensor]:
        """The mean only."""
        return torch.zeros(1, 1, dtype=torch.int64, device=self.like.device), self.like.new_ones(1)

    def action_std(self, iteration: int) -> Tensor:
        """(T, A) of each step's marginal distribution."""
        return (self._weights.square() @ self._std.square()).sqrt()

    def extra_state(self) -> dict[str, Any]:
        return {"mean": self._mean, "std": self._std}

    def restore_extra_state(self, state: dict[str, Any]) -> None:
        self._mean, self._std = state["mean"].to(self.like), state["std"].to(self.like)
