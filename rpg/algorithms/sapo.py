"""Soft Analytic Policy Optimization (SAPO; Xing et al., ICLR 2025, arXiv:2412.12089), top to bottom.

Maximum-entropy learning through the simulator, in windows of h steps. The actor maximises, by the simulator's gradient within
the window and through the critics for the reward after it,

    J = E[ sum_{i<h} gamma^i (r_{t+i} + alpha H(pi(.|s_{t+i}))) + gamma^h V(s_{t+h}) ] / h

and takes one step after every window; the state is then cut from the graph, so no gradient crosses from window to window.
H is estimated by -log pi(a|s) of the action taken. Then alpha takes a step on alpha (H - target), so it falls while the
entropy is above its target, and the critics are fitted to the soft TD(lambda) targets of the window.

There are two critics. As in the paper, the actor uses their mean at the end of a window, because it has the better gradient;
the targets use their minimum, because overestimates would reinforce themselves; and neither has a target network, because the
targets come from the current actor. As in the paper, the std is a function of the state, and the optimiser is AdamW.

Differences from the paper: episodes have a fixed length, so the networks see the time and the last window ends without V; all
environments are reset together at the start of an iteration, which is one batch of whole episodes; entropies are not shifted
and scaled to be positive, which only matters if episodes end early; targets are divided by their standard deviation; networks
are narrow and have no LayerNorm.
"""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from rpg.algorithms.algorithm import Algorithm, AlgorithmConfig, bad_indices
from rpg.models.action_policy import ActionSample, MeanAt, MLPPolicy, squashed_sample
from rpg.models.latent import LatentSpace
from rpg.models.value import ValueFunction, td_lambda_targets
from rpg.protocol import FixedHorizonEnvironment, episode_end
from rpg.settings_checks import check_fraction, check_int, check_positive, check_scale
from rpg.training.gradient_estimators import pathwise_loss, signal_to_noise
from rpg.training.metrics import IterationReport
from rpg.training.rollout import detached
from rpg.training.schedules import Schedule

BETAS = (0.7, 0.95)
"""Betas of AdamW for the actor and the critics, from the SAPO paper, and of Adam for alpha: short averages, because the
objective changes with every window, and alpha's gradient is proportional to alpha."""
CRITICS = ("value_1", "value_2")


@dataclass(frozen=True)
class SAPOConfig(AlgorithmConfig):
    """Settings of Soft Analytic Policy Optimization. They assume rewards of order 1 per step."""

    names: ClassVar[tuple[str, ...]] = ("sapo",)

    window: int = 16
    """h: steps after which the gradient is cut and the critics take over."""
    discount: float = 0.99
    """gamma."""
    trace: float = 0.95
    """lambda: 0 bootstraps after one step, 1 only at the end of the window."""
    target_entropy: float = -0.5
    """Entropy of an action, nats per dimension, that alpha is adapted to; the paper's -A/2 in total for A dimensions."""
    alpha_start: float = 0.1
    """Initial alpha. The paper uses 1, with many more windows per run."""
    alpha_learning_rate: float = 0.02
    """Adam step of log alpha; 0 keeps alpha constant."""
    std_start: float = 0.3
    """Initial standard deviation of the action before squashing; it is learned as a function of the state."""
    policy_hidden: tuple[int, ...] = (64, 64)
    """Hidden widths of the actor."""
    policy_learning_rate: float = 0.005
    """AdamW step of the actor."""
    value_hidden: tuple[int, ...] = (64, 64)
    """Hidden widths of each critic."""
    value_learning_rate: float = 0.002
    """AdamW step of the critics."""
    value_epochs: int = 8
    """Epochs of the critics on each window."""
    value_minibatches: int = 4
    """Minibatches per epoch, one step of each critic each."""
    rate_decay: Schedule = field(default_factory=lambda: Schedule(1.0, 0.01))
    """Factor on the steps of the actor and the critics."""
    weight_decay: float = 0.01
    """Weight decay of AdamW, for the actor and the critics; 0 makes it Adam."""
    grad_clip: float = 1.0
    """Largest gradient norm, separately for the actor and each critic."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("window", "value_epochs", "value_minibatches"):
            check_int(name, getattr(self, name), at_least=1)
        for name in ("discount", "trace"):
            check_fraction(name, getattr(self, name))
        rates = ("policy_learning_rate", "value_learning_rate", "grad_clip")
        for name in ("std_start", "alpha_start", *rates):
            check_positive(name, getattr(self, name))
        for name in ("alpha_learning_rate", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} was given {getattr(self, name)!r}; allowed are finite numbers >= 0")
        if not -math.inf < self.target_entropy < math.log(2):
            allowed = "finite numbers < log 2, the entropy of uniform actions"
            raise ValueError(f"target_entropy was given {self.target_entropy!r}; allowed are {allowed}")
        check_scale("rate_decay", self.rate_decay)
        for name in ("policy_hidden", "value_hidden"):
            for width in getattr(self, name):
                check_int(name, width, at_least=1)


class SoftActor(MLPPolicy):
    """A tanh-squashed Gaussian whose mean and std are both functions of the observation and the time."""

    def __init__(self, env: FixedHorizonEnvironment, config: SAPOConfig, generator: torch.Generator) -> None:
        space, outputs = LatentSpace(True, 1), 2 * env.action_dim
        super().__init__(space, env.horizon, env.observation_dim, outputs, hidden=config.policy_hidden, generator=generator)
        self.log_std_start = math.log(config.std_start)

    def mean_and_std(self, observation: Tensor, latent: Tensor, step: int | Tensor) -> tuple[Tensor, Tensor]:
        """Both before squashing, (B, A)."""
        mean, log_std = super().mean(observation, latent, step).chunk(2, dim=-1)
        return mean, (self.log_std_start + log_std).clamp(-5, 2).exp()

    def mean(self, observation: Tensor, latent: Tensor, step: int | Tensor) -> Tensor:
        return self.mean_and_std(observation, latent, step)[0]

    def means(self, latent: Tensor, steps: range, like: Tensor) -> MeanAt:
        return lambda observation, step: self.mean(observation, latent, step)

    def forward(
        self, observation: Tensor, latent: Tensor, step: int | Tensor, std: Tensor | float, noise: Tensor
    ) -> ActionSample:
        """A sample with the actor's own std; the argument `std` is ignored."""
        return squashed_sample(*self.mean_and_std(observation, latent, step), noise)


@dataclass(frozen=True)
class Window:
    """H steps of B episodes, from the step `first` on. They carry gradients until the actor's update."""

    first: int
    observations: Tensor
    """(H+1, B, O), including that of the first state."""
    entropies: Tensor
    """(H, B) -log pi(a|s)."""
    rewards: Tensor
    """(H, B)."""
    noise: Tensor
    """(H, B, A), a leaf of the graph: its gradient is the gradient of each episode with respect to its actions."""
    stds: Tensor
    """(H, B, A) of the actions before squashing."""


class SAPO(Algorithm[SAPOConfig]):
    """Soft Analytic Policy Optimization; see the module's docstring."""

    needs_gradients = True
    policy: SoftActor

    def __init__(self, env: FixedHorizonEnvironment, config: SAPOConfig, like: Tensor) -> None:
        super().__init__(env, config, like)
        self.policy = SoftActor(env, config, self.generator)
        self.critics = [
            ValueFunction(
                self.policy.space, env.horizon, env.observation_dim, hidden=config.value_hidden, generator=self.generator
            )
            for _ in CRITICS
        ]
        self.log_alpha = nn.Parameter(torch.tensor(math.log(config.alpha_start), dtype=like.dtype, device=like.device))
        self.modules = {"policy": self.policy.to(like), "alpha": nn.ParameterDict({"log": self.log_alpha})}
        self.modules |= {name: critic.to(like) for name, critic in zip(CRITICS, self.critics, strict=True)}
        self._rates = {"policy": config.policy_learning_rate, **dict.fromkeys(CRITICS, config.value_learning_rate)}
        self.optimizers = {
            name: torch.optim.AdamW(self.modules[name].parameters(), lr=rate, betas=BETAS, weight_decay=config.weight_decay)
            for name, rate in self._rates.items()
        }
        self.optimizers["alpha"] = torch.optim.Adam([self.log_alpha], lr=config.alpha_learning_rate, betas=BETAS)
        self._latent = torch.zeros(env.num_envs, dtype=torch.int64, device=like.device)

    def iterate(self, iteration: int) -> IterationReport:
        env, config = self.env, self.config
        for name, rate in self._rates.items():
            self.optimizers[name].param_groups[0]["lr"] = rate * config.rate_decay.value(self.progress(iteration))

        # One batch of episodes, window by window. The reported values belong to the actor and the alpha that ran the window.
        state, info = env.reset(self.episode_seed(iteration)), dict[str, Tensor]()
        rewards, entropies, observations, targets, gradients, rows = [], [], [], [], [], []
        for first in range(0, env.horizon, config.window):
            alpha = float(self.log_alpha.detach().exp())
            window, state, info = self._rolled_out(state, first)
            self.check_finite("reward", window.rewards.sum(0), iteration)
            gradient, objective, grad_norm = self._improve_actor(window, alpha, iteration)
            alpha_loss = self._tune_alpha(window, iteration)
            wanted = self._targets(window, alpha)
            loss = self._fit_critics(window, wanted, iteration)
            state = detached(state)

            rewards.append(window.rewards.detach())
            entropies.append(window.entropies.detach())
            observations.append(window.observations[:-1].detach())
            targets.append(wanted)
            gradients.append(gradient)
            row = {"objective": objective, "grad_norm": grad_norm, "value_loss": loss, "alpha_loss": alpha_loss}
            rows.append({**row, "alpha": alpha, "std": float(window.stds.detach().mean())})

        # The running scales change between batches of episodes only. The outputs of the critics do not change.
        seen, earned = torch.cat(observations), torch.cat(targets)
        self.policy.observe(seen)
        for critic in self.critics:
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
            action_entropy=float(torch.cat(entropies).mean()),
            grad_norm=mean["grad_norm"],
            gradient_snr=signal_to_noise(torch.cat(gradients), self._latent),
            latent_probs=(1.0,),
            terms={
                "value_loss": mean["value_loss"],
                "value_target": float(earned.mean()),
                "alpha_loss": mean["alpha_loss"],
                "alpha": mean["alpha"],
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
        observations, entropies, rewards, stds = [env.observe(state)], [], [], []
        info: dict[str, Tensor] = {}
        for step, step_noise in zip(steps, noise.unbind(0), strict=True):
            mean, std = self.policy.mean_and_std(observations[-1], self._latent, step)
            sample = squashed_sample(mean, std, step_noise)
            state, reward, info = env.step(state, sample.action)
            observations.append(env.observe(state))
            entropies.append(-sample.log_prob)
            rewards.append(reward)
            stds.append(std)
        window = Window(
            first, torch.stack(observations), torch.stack(entropies), torch.stack(rewards), noise, torch.stack(stds)
        )
        return window, state, info

    def _objective(self, window: Window, alpha: float) -> Tensor:
        """(B,) J of each episode."""
        length = len(window.rewards)
        discounts = self.config.discount ** torch.arange(length).to(window.rewards)
        objective = (discounts.unsqueeze(-1) * (window.rewards + alpha * window.entropies)).sum(0)
        end = window.first + length
        if end < self.env.horizon:
            values = [critic.frozen(window.observations[-1], self._latent, end) for critic in self.critics]
            objective = objective + self.config.discount**length * torch.stack(values).mean(0)
        return objective / length

    def _improve_actor(self, window: Window, alpha: float, iteration: int) -> tuple[Tensor, float, float]:
        """One step of the actor on J. Returns the gradient of h J with respect to each episode's actions before squashing,
        (H, B, A), J, and the norm of the actor's gradient.
        """
        objective = self._objective(window, alpha)
        self.zero_grad()
        with torch.autograd.set_multithreading_enabled(False):  # a simulator's backward may need this thread
            pathwise_loss(objective).backward()
        grad = torch.zeros_like(window.noise) if window.noise.grad is None else window.noise.grad
        bad = bad_indices(grad.transpose(0, 1))
        norm = self.stepped("policy", iteration=iteration, limit=self.config.grad_clip, bad=bad)
        per_episode = -objective.numel() * len(grad) * grad / window.stds.detach()
        return per_episode, float(objective.detach().mean()), norm

    def _tune_alpha(self, window: Window, iteration: int) -> float:
        """One step of log alpha on alpha (H - target); returns the loss."""
        self.optimizers["alpha"].zero_grad()
        surplus = window.entropies.detach().mean() - self.config.target_entropy * self.env.action_dim
        loss = self.log_alpha.exp() * surplus
        loss.backward()
        self.stepped("alpha", iteration=iteration, limit=math.inf)
        return float(loss.detach())

    @torch.no_grad()
    def _targets(self, window: Window, alpha: float) -> Tensor:
        """(H, B) soft TD(lambda) targets of the critics, from the minimum of the two at every state."""
        horizon, values = self.env.horizon, []
        for step, observation in enumerate(window.observations[1:], start=window.first + 1):
            both = torch.stack([critic(observation, self._latent, step) for critic in self.critics])
            values.append(both.amin(0) if step < horizon else torch.zeros_like(both[0]))
        soft = window.rewards + alpha * window.entropies
        return td_lambda_targets(soft, torch.stack(values), discount=self.config.discount, trace=self.config.trace)

    def _fit_critics(self, window: Window, targets: Tensor, iteration: int) -> float:
        """Epochs of minibatches over the window, the same for both critics; returns the mean loss of the first epoch."""
        config = self.config
        seen, wanted, losses = window.observations[:-1].detach(), targets.flatten(), []
        # both have the same normaliser statistics
        rows = torch.cat([self.critics[0].rows(o, self._latent, window.first + i) for i, o in enumerate(seen)])
        for _ in range(config.value_epochs):
            order = torch.randperm(len(rows), generator=self.generator).to(rows.device)
            for chosen in order.chunk(config.value_minibatches):
                for name, critic in zip(CRITICS, self.critics, strict=True):
                    self.optimizers[name].zero_grad()
                    loss = critic.row_loss(rows[chosen], wanted[chosen])
                    loss.backward()
                    self.stepped(name, iteration=iteration, limit=config.grad_clip)
                    losses.append(float(loss.detach()))
        first = losses[: len(losses) // config.value_epochs]
        return sum(first) / len(first)

    def action_std(self, iteration: int) -> float:
        return self.config.std_start  # its own std is learned

    def candidates(self) -> tuple[Tensor, Tensor]:
        return self._latent[:1].unsqueeze(0), self.like.new_ones(1)
