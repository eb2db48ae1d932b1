"""Model predictive path integral control, as an offline optimiser of one open-loop action sequence: no gradient is used.

An iteration adds noise to the sequence (before squashing), a draw for each environment, rolls them out, and moves the
sequence by the mean of the noise weighted with exp((R - max R) / temperature) (Williams et al. 2017, with the whole episode
as the horizon and without the control cost). The temperature is in units of the standard deviation of the returns, so it does
not depend on the scale of the rewards.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from rpg.algorithms.algorithm import Algorithm, AlgorithmConfig
from rpg.models.action_policy import OpenLoopTable, knot_weights, squashed_entropy
from rpg.protocol import FixedHorizonEnvironment
from rpg.settings_checks import SettingError, check_fraction, check_int, check_positive, check_scale
from rpg.training.metrics import IterationReport
from rpg.training.rollout import rolled_out
from rpg.training.schedules import Schedule


@dataclass(frozen=True)
class MPPIConfig(AlgorithmConfig):
    """Settings of model predictive path integral control."""

    names: ClassVar[tuple[str, ...]] = ("mppi",)

    batches: int = 1
    """Batches per iteration: the population is this number times the number of environments."""
    noise: Schedule = field(default_factory=lambda: Schedule(1.0, 0.1))
    """Standard deviation of the noise before squashing."""
    noise_knots: int | None = 10
    """Number of knots at which noise is drawn, interpolated linearly; None draws each step independently."""
    temperature: float = 0.3
    """In units of the standard deviation of the population's returns; a small value uses the best episodes only."""
    rate: float = 1.0
    """Fraction of the way that the sequence moves to the weighted mean."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("batches", self.batches, at_least=1)
        check_scale("noise", self.noise)
        if self.noise_knots is not None:
            check_int("noise_knots", self.noise_knots, at_least=1)
        check_positive("temperature", self.temperature)
        check_fraction("rate", self.rate)


class MPPI(Algorithm[MPPIConfig]):
    """Model predictive path integral control; see the module's docstring."""

    policy: OpenLoopTable

    def __init__(self, env: FixedHorizonEnvironment, config: MPPIConfig, like: Tensor) -> None:
        super().__init__(env, config, like)
        if config.batches * env.num_envs < 2:
            raise SettingError(f"batches was given {config.batches}; allowed with 1 environment are whole numbers >= 2")
        self.policy = OpenLoopTable(1, env.horizon, env.action_dim, generator=self.generator, scale=0.0).to(like)
        self.modules["policy"] = self.policy
        self._weights = knot_weights(config.noise_knots, env.horizon).to(like)  # (T, N)

    @torch.no_grad()
    def iterate(self, iteration: int) -> IterationReport:
        env, config = self.env, self.config
        latent = torch.zeros(1, env.num_envs, dtype=torch.int64, device=self.like.device)
        std = config.noise.value(self.progress(iteration))

        # The population of P episodes, batch by batch.
        noises, trajectories = [], []
        for _ in range(config.batches):
            drawn = std * self.standard_normal(env.num_envs, self._weights.shape[1], env.action_dim)
            noise = torch.einsum("tn,bna->tba", self._weights, drawn)
            trajectory = rolled_out(
                env, self.policy, latent, state=env.reset(self.episode_seed(iteration)), std=1.0, noise=noise
            )
            self.check_finite("reward", trajectory.rewards.sum(0), iteration)
            noises.append(noise)
            trajectories.append(trajectory)
        noise = torch.cat(noises, dim=1)  # (T, P, A)
        returns = torch.cat([trajectory.returns for trajectory in trajectories])
        success = torch.cat([trajectory.success for trajectory in trajectories])
        outcome = torch.cat([trajectory.outcome for trajectory in trajectories])

        step_std = self.action_std(iteration).expand(-1, env.action_dim)
        entropy = squashed_entropy(step_std, self.policy.table[0].unsqueeze(1) + noise)

        # The sequence moves to the weighted mean.
        temperature = config.temperature * returns.std().clamp_min(torch.finfo(returns.dtype).tiny)
        weights = torch.softmax((returns - returns.max()) / temperature, dim=0)
        self.policy.table.add_(config.rate * torch.einsum("p,tpa->ta", weights, noise))

        return IterationReport(
            return_mean=float(returns.mean()),
            return_best=float(returns.max()),
            success=float(success.double().mean()),
            distinct_outcomes=int(outcome[success].unique().numel()),
            simulator_steps=config.batches * env.num_envs * env.horizon,
            objective=float(returns.mean()) / env.horizon,
            action_entropy=entropy,
            latent_probs=(1.0,),
            terms={
                "weighted_return": float(weights @ returns),
                "effective_samples": float(1 / weights.square().sum()),
                "std": std,
            },
        )

    def candidates(self) -> tuple[Tensor, Tensor]:
        """The sequence only."""
        return torch.zeros(1, 1, dtype=torch.int64, device=self.like.device), self.like.new_ones(1)

    def action_std(self, iteration: int) -> Tensor:
        """(T, 1) of each step's marginal distribution."""
        return self.config.noise.value(self.progress(iteration)) * self._weights.norm(dim=1, keepdim=True)
