"""Gradient ascent by Adam on open-loop action sequences: one (`adam`), or several from random starts (`multistart`).

An iteration rolls every sequence out in its share of the environments, differentiates the mean reward R/T through the
simulator, and takes one Adam step. The sequences are optimised independently. The result is the one with the best return.
"""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from rpg.algorithms.algorithm import Algorithm, AlgorithmConfig, bad_indices
from rpg.models.action_policy import OpenLoopTable, knot_weights, squashed_entropy
from rpg.protocol import FixedHorizonEnvironment
from rpg.settings_checks import (
    MOST_LATENTS,
    SettingError,
    check_fraction,
    check_int,
    check_not_negative,
    check_positive,
    check_scale,
)
from rpg.training.gradient_estimators import signal_to_noise
from rpg.training.metrics import IterationReport
from rpg.training.rollout import rolled_out
from rpg.training.schedules import Schedule


@dataclass(frozen=True)
class AdamConfig(AlgorithmConfig):
    """Settings of Adam on one action sequence. They assume rewards of order 1 per step."""

    names: ClassVar[tuple[str, ...]] = ("adam",)

    num_starts: int = 1
    """N, the number of action sequences; the environments are divided among them."""
    start_spread: float = 0.0
    """Standard deviation, before squashing, of the actions that a sequence starts from."""
    start_knots: int | None = None
    """Number of knots of a start: random values at knots, interpolated linearly; None draws each step independently."""
    noise: float = 0.0
    """Standard deviation, before squashing, of fixed Gaussian noise on the actions; 0 is deterministic."""
    learning_rate: float = 0.1
    """Adam step of the actions before squashing."""
    rate_decay: Schedule = field(default_factory=lambda: Schedule(1.0, 0.1, 0.6, 1.0))
    """Factor on the Adam step."""
    return_rate: float = 0.3
    """Weight of the newest batch in the running mean return, by which the best start is chosen."""
    grad_clip: float = 1.0
    """Largest gradient norm of each sequence."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("num_starts", self.num_starts, at_least=1, at_most=MOST_LATENTS)
        if self.algorithm == "adam" and self.num_starts != 1:
            raise ValueError(f"num_starts was given {self.num_starts}; allowed with algorithm='adam' is 1")
        check_not_negative("start_spread", self.start_spread)
        check_not_negative("noise", self.noise)
        if self.start_knots is not None:
            check_int("start_knots", self.start_knots, at_least=1)
        check_positive("learning_rate", self.learning_rate)
        check_positive("grad_clip", self.grad_clip)
        check_scale("rate_decay", self.rate_decay)
        check_fraction("return_rate", self.return_rate)


@dataclass(frozen=True)
class MultistartConfig(AdamConfig):
    """Settings of Adam on several action sequences from random smooth starts."""

    names: ClassVar[tuple[str, ...]] = ("multistart",)

    num_starts: int = 8
    """N, the number of action sequences; the environments are divided among them."""
    start_spread: float = 1.0
    """Standard deviation, before squashing, of the actions that a sequence starts from."""
    start_knots: int | None = 6
    """Number of knots of a start: random values at knots, interpolated linearly; None draws each step independently."""


class Adam(Algorithm[AdamConfig]):
    """One or several action sequences, optimised by Adam; see the module's docstring."""

    needs_gradients = True
    policy: OpenLoopTable

    def __init__(self, env: FixedHorizonEnvironment, config: AdamConfig, like: Tensor) -> None:
        super().__init__(env, config, like)
        if config.num_starts > env.num_envs:
            raise SettingError(
                f"num_starts was given {config.num_starts}; allowed with {env.num_envs} environments are 1 to {env.num_envs}"
            )
        self.policy = OpenLoopTable(config.num_starts, env.horizon, env.action_dim, generator=self.generator, scale=0.0).to(
            like
        )
        weights = knot_weights(config.start_knots, env.horizon).to(like)
        starts = config.start_spread * self.standard_normal(config.num_starts, weights.shape[1], env.action_dim)
        with torch.no_grad():
            self.policy.table.copy_(weights @ starts)
        self.modules["policy"] = self.policy
        self.optimizers["policy"] = torch.optim.Adam(self.policy.parameters(), lr=config.learning_rate)
        self._running: Tensor | None = None  # (N,) running return of each start, once there is one

    def iterate(self, iteration: int) -> IterationReport:
        env, config = self.env, self.config

        # The episodes of every start. The noise is added before squashing even if it is zero: its gradient is the gradient of
        # each episode with respect to its actions.
        start = torch.arange(env.num_envs, device=self.like.device) % config.num_starts
        count = torch.bincount(start)
        noise = config.noise * self.standard_normal(env.horizon, env.num_envs, env.action_dim)
        noise.requires_grad_()
        trajectory = rolled_out(
            env, self.policy, start.unsqueeze(0), state=env.reset(self.episode_seed(iteration)), std=1.0, noise=noise
        )
        self.check_finite("reward", trajectory.rewards.sum(0), iteration)
        self.check_differentiable(trajectory.rewards)

        # Each start ascends the mean of R/T over its own episodes.
        self.zero_grad()
        objective = trajectory.rewards.mean(0)
        with torch.autograd.set_multithreading_enabled(False):  # a simulator's backward may need this thread
            (-(objective / count[start]).sum()).backward()
        assert noise.grad is not None
        assert self.policy.table.grad is not None
        action_gradient = -noise.grad * count[start].unsqueeze(-1)
        means = self.policy.table.detach()[start].transpose(0, 1)
        entropy = 0.0
        if config.noise > 0:
            entropy = squashed_entropy(self.like.new_full((env.horizon, env.action_dim), config.noise), means + noise)

        # Clipped for each start separately, so that an exploding gradient of one does not slow down the others.
        gradient = self.policy.table.grad
        norms = gradient.flatten(1).norm(dim=1)
        gradient.mul_((config.grad_clip / (norms + 1e-6)).clamp(max=1.0).view(-1, 1, 1))
        rate = config.learning_rate * config.rate_decay.value(self.progress(iteration))
        self.optimizers["policy"].param_groups[0]["lr"] = rate
        bad = bad_indices(noise.grad.permute(1, 0, 2))
        self.stepped("policy", iteration=iteration, limit=math.inf, bad=bad)

        returns = torch.zeros_like(count, dtype=self.like.dtype).index_add(0, start, trajectory.returns) / count
        self._running = returns if self._running is None else self._running.lerp(returns, config.return_rate)
        return IterationReport(
            return_mean=float(trajectory.returns.mean()),
            return_best=float(returns.max()),
            success=float(trajectory.success.double().mean()),
            distinct_outcomes=trajectory.distinct_outcomes(),
            simulator_steps=env.num_envs * env.horizon,
            backward_steps=env.num_envs * env.horizon,
            objective=float(objective.detach().mean()),
            action_entropy=entropy,
            grad_norm=float(norms.norm()),
            gradient_snr=signal_to_noise(action_gradient, start),
            latent_probs=tuple(self.candidates()[1].tolist()),
            terms={"learning_rate": rate},
        )

    def candidates(self) -> tuple[Tensor, Tensor]:
        """Every start; the one with the best running return has probability 1."""
        starts = torch.arange(self.config.num_starts, device=self.like.device)
        best = starts[0] if self._running is None else self._running.argmax()
        return starts.unsqueeze(0), one_hot(best, self.config.num_starts).to(self.like)

    def action_std(self, iteration: int) -> float:
        return self.config.noise

    def extra_state(self) -> dict[str, Any]:
        return {"running": self._running}

    def restore_extra_state(self, state: dict[str, Any]) -> None:
        self._running = None if state["running"] is None else state["running"].to(self.like)
