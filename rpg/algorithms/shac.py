"""Short-Horizon Actor-Critic (SHAC; Xu et al., ICLR 2022, arXiv:2204.07137), top to bottom.

An episode is divided into windows of h steps. A window is rolled out with the current actor, whose gradient comes through the
simulator within the window and through a critic for the reward after it:

    J = E[ sum_{i<h} gamma^i r_{t+i} + gamma^h V'(s_{t+h}) ] / h

The actor takes one step on J after every window, and the state is cut from the graph, so no gradient crosses from window to
window. Then the critic V is fitted to the TD(lambda) targets of the window, computed with the target critic V', and V' moves
towards V.

Differences from the paper: episodes have a fixed length, so the networks see the time and the last window ends without V'
(the paper's environments continue where the last window stopped); targets are divided by their standard deviation; all
environments are reset together at the start of an iteration, which is one batch of whole episodes.
"""

import copy
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from rpg.algorithms.algorithm import Algorithm, AlgorithmConfig, bad_indices
from rpg.models.action_policy import MLPPolicy
from rpg.models.latent import LatentSpace
from rpg.models.value import ValueFunction, td_lambda_targets
from rpg.protocol import FixedHorizonEnvironment, ProtocolError, episode_end
from rpg.settings_checks import check_fraction, check_int, check_positive, check_scale
from rpg.training.gradient_estimators import pathwise_loss, signal_to_noise
from rpg.training.metrics import IterationReport
from rpg.training.rollout import detached
from rpg.training.schedules import Schedule

BETAS = (0.7, 0.95)
"""Adam's betas, from the SHAC paper: short averages, because the objective changes with every window."""


@dataclass(frozen=True)
class SHACConfig(AlgorithmConfig):
    """Settings of Short-Horizon Actor-Critic. They assume rewards of order 1 per step."""

    names: ClassVar[tuple[str, ...]] = ("shac",)

    window: int = 16
    """h: steps after which the gradient is cut and the critic takes over."""
    discount: float = 0.99
    """gamma."""
    trace: float = 0.95
    """lambda: 0 bootstraps after one step, 1 only at the end of the window."""
    std_start: float = 0.3
    """Initial standard deviation of the action before squashing; it is learned."""
    policy_hidden: tuple[int, ...] = (64, 64)
    """Hidden widths of the actor."""
    policy_learning_rate: float = 0.005
    """Adam step of the actor."""
    value_hidden: tuple[int, ...] = (64, 64)
    """Hidden widths of the critic."""
    value_learning_rate: float = 0.002
    """Adam step of the critic."""
    value_epochs: int = 8
    """Epochs of the critic on each window."""
    value_minibatches: int = 4
    """Minibatches per epoch, one critic step each."""
    target_rate: float = 0.8
    """Fraction of the way that the target critic moves to the critic after every window."""
    rate_decay: Schedule = field(default_factory=lambda: Schedule(1.0, 0.01))
    """Factor on both Adam steps."""
    grad_clip: float = 1.0
    """Largest gradient norm, separately for the actor and the critic."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("window", "value_epochs", "value_minibatches"):
            check_int(name, getattr(self, name), at_least=1)
        for name in ("discount", "trace", "target_rate"):
            check_fraction(name, getattr(self, name))
        for name in ("std_start", "policy_learning_rate", "value_learning_rate", "grad_clip"):
            check_positive(name, getattr(self, name))
        check_scale("rate_decay", self.rate_decay)
        for name in ("policy_hidden", "value_hidden"):
            for width in getattr(self, name):
                check_int(name, width, at_least=1)


@dataclass(frozen=True)
class Window:
    """H steps of B episodes, from the step `first` on. They carry gradients until the actor's update."""

    first: int
    observations: Tensor
    """(H+1, B, O), including that of the first state."""
    log_probs: Tensor
    """(H, B) log pi(a|s)."""
    rewards: Tensor
    """(H, B)."""
    noise: Tensor
    """(H, B, A), a leaf of the graph: its gradient is the gradient of each episode with respect to its actions."""


class SHAC(Algorithm[SHACConfig]):
    """Short-Horizon Actor-Critic; see the module's docstring."""

    needs_gradients = True
    policy: MLPPolicy

    def __init__(self, env: FixedHorizonEnvironment, config: SHACConfig, like: Tensor) -> None:
        super().__init__(env, config, like)
        space = LatentSpace(True, 1)  # one latent: no latent
        self.policy = MLPPolicy(
            space, env.horizon, env.observation_dim, env.action_dim, hidden=config.policy_hidden, generator=self.generator
        )
        self.policy.learn_std(env.action_dim, config.std_start)
        self.critic = ValueFunction(
            space, env.horizon, env.observation_dim, hidden=config.value_hidden, generator=self.generator
        )
        self.target = copy.deepcopy(self.critic)  # V'
        self.modules = {"policy": self.policy.to(like), "value": self.critic.to(like), "target": self.target.to(like)}
        self._rates = {"policy": config.policy_learning_rate, "value": config.value_learning_rate}
        self.optimizers = {
            name: torch.optim.Adam(self.modules[name].parameters(), lr=rate, betas=BETAS) for name, rate in self._rates.items()
        }
        self._latent = torch.zeros(env.num_envs, dtype=torch.int64, device=like.device)

    def iterate(self, iteration: int) -> IterationReport:
        env, config = self.env, self.config
        for name, rate in self._rates.items():
            self.optimizers[name].param_groups[0]["lr"] = rate * config.rate_decay.value(self.progress(iteration))

        # One batch of episodes, window by window. The reported values belong to the actor that ran the window.
        state, info = env.reset(self.episode_seed(iteration)), dict[str, Tensor]()
        rewards, log_probs, observations, targets, gradients, rows = [], [], [], [], [], []
        for first in range(0, env.horizon, config.window):
            std = float(torch.as_tensor(self.policy.std(config.std_start)).detach().mean())
            window, state, info = self._rolled_out(state, first)
            self.check_finite("reward", window.rewards.sum(0), iteration)
            gradient, objective, grad_norm = self._improve_actor(window, iteration)
            wanted = self._targets(window)
            loss = self._fit_critic(window, wanted, iteration)
            self.target.follow(self.critic, config.target_rate)
            state = detached(state)

            rewards.append(window.rewards.detach())
            log_probs.append(window.log_probs.detach())
            observations.append(window.observations[:-1].detach())
            targets.append(wanted)
            gradients.append(gradient)
            rows.append({"objective": objective, "grad_norm": grad_norm, "value_loss": loss, "std": std})

        # The running scales change between batches of episodes only. The outputs of both critics do not change.
        seen, earned = torch.cat(observations), torch.cat(targets)
        self.policy.observe(seen)
        for critic in (self.critic, self.target):
            critic.observe(seen, earned, keep_outputs=True)

        returns, end = torch.cat(rewards).sum(0), episode_end(info, self.like)
        mean = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
        return IterationReport(
            return_mean=float(returns.mean()),
            return_best=float(returns.mean()),
            success=float(end.success.double().mean()),
            distinct_outcomes=int(end.outcome[end.success].unique().numel()),
            simulator_steps=env.num_envs * env.horizon,
            objective=mean["objective"],
            action_entropy=float(-torch.cat(log_probs).mean()),
            grad_norm=mean["grad_norm"],
            gradient_snr=signal_to_noise(torch.cat(gradients), self._latent),
            latent_probs=(1.0,),
            terms={
                "value_loss": mean["value_loss"],
                "value_target": float(earned.mean()),
                "std": mean["std"],
                "policy_rate": self.optimizers["policy"].param_groups[0]["lr"],
            },
        )

    def _rolled_out(self, state: Any, first: int) -> tuple[Window, Any, dict[str, Tensor]]:
        """Run a window from `state`, which carries no gradient. Returns the window, the state after it, and the last step's
        info."""
        env, config = self.env, self.config
        steps = range(first, min(first + config.window, env.horizon))
        noise = self.standard_normal(len(steps), env.num_envs, env.action_dim).requires_grad_()
        observations, log_probs, rewards = [env.observe(state)], [], []
        info: dict[str, Tensor] = {}
        for step, step_noise in zip(steps, noise.unbind(0), strict=True):
            sample = self.policy(observations[-1], self._latent, step, config.std_start, step_noise)
            state, reward, info = env.step(state, sample.action)
            observations.append(env.observe(state))
            log_probs.append(sample.log_prob)
            rewards.append(reward)
        return Window(first, torch.stack(observations), torch.stack(log_probs), torch.stack(rewards), noise), state, info

    def _objective(self, window: Window) -> Tensor:
        """(B,) J of each episode."""
        length = len(window.rewards)
        discounts = self.config.discount ** torch.arange(length).to(window.rewards)
        objective = (discounts.unsqueeze(-1) * window.rewards).sum(0)
        end = window.first + length
        if end < self.env.horizon:
            value = self.target.frozen(window.observations[-1], self._latent, end)
            objective = objective + self.config.discount**length * value
        return objective / length

    def _improve_actor(self, window: Window, iteration: int) -> tuple[Tensor, float, float]:
        """One step of the actor on J. Returns the gradient of h J with respect to each episode's actions before squashing,
        (H, B, A), J, and the norm of the actor's gradient.
        """
        objective = self._objective(window)
        if not objective.requires_grad:
            raise ProtocolError("reward and observe(state) have no gradient; shac needs an environment that gives one")
        scale = torch.as_tensor(self.policy.std(self.config.std_start)).detach()
        self.zero_grad()
        with torch.autograd.set_multithreading_enabled(False):  # a simulator's backward may need this thread
            pathwise_loss(objective).backward()
        grad = torch.zeros_like(window.noise) if window.noise.grad is None else window.noise.grad
        bad = bad_indices(grad.transpose(0, 1))
        norm = self.stepped("policy", iteration=iteration, limit=self.config.grad_clip, bad=bad)
        return -objective.numel() * len(grad) * grad / scale, float(objective.detach().mean()), norm

    @torch.no_grad()
    def _targets(self, window: Window) -> Tensor:
        """(H, B) TD(lambda) targets of the critic."""
        horizon, after = self.env.horizon, window.first + 1
        values = [
            self.target(o, self._latent, after + i) if after + i < horizon else torch.zeros_like(window.rewards[i])
            for i, o in enumerate(window.observations[1:])
        ]
        return td_lambda_targets(window.rewards, torch.stack(values), discount=self.config.discount, trace=self.config.trace)

    def _fit_critic(self, window: Window, targets: Tensor, iteration: int) -> float:
        """Epochs of minibatches over the window; returns the mean loss of the first epoch."""
        config = self.config
        seen = window.observations[:-1].detach()
        rows = torch.cat([self.critic.rows(o, self._latent, window.first + i) for i, o in enumerate(seen)])
        wanted, losses = targets.flatten(), []
        for _ in range(config.value_epochs):
            order = torch.randperm(len(rows), generator=self.generator).to(rows.device)
            for chosen in order.chunk(config.value_minibatches):
                self.optimizers["value"].zero_grad()
                loss = self.critic.row_loss(rows[chosen], wanted[chosen])
                loss.backward()
                self.stepped("value", iteration=iteration, limit=config.grad_clip)
                losses.append(float(loss.detach()))
        first = losses[: len(losses) // config.value_epochs]
        return sum(first) / len(first)

    def action_std(self, iteration: int) -> float:
        return self.config.std_start  # its own std is learned

    def candidates(self) -> tuple[Tensor, Tensor]:
        return self._latent[:1].unsqueeze(0), self.like.new_ones(1)
