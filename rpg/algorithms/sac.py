"""The soft actor-critic (Haarnoja et al. 2018): off-policy reinforcement learning with two critics and an entropy bonus.

The policy is a = tanh(u), u = mean(s) + std(s) noise, with log density log pi. With a batch of steps (s, a, r, s', terminated)
from the replay buffer, an update is one gradient step on each of

    critics        E[sum_i (Q_i(s, a) - y)^2] / 2
                   y = r + (1 - terminated) discount (min_i Q'_i(s', a') - alpha log pi(a'|s'))
    actor          E[alpha log pi(a~|s) - min_i Q_i(s, a~)], with a~ and a' drawn from the policy, the gradient through a~
    temperature    E[-log alpha (log pi(a~|s) + H)], with H the target entropy of an action

after which the target critics Q' move a fraction of the way to Q. An episode cut off by a time limit is not terminated.
"""

import copy
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from rpg.algorithms.streaming import StreamingAlgorithm, StreamingConfig
from rpg.models.action_policy import ActionPolicy, ActionSample, squashed_sample
from rpg.models.latent import LatentSpace
from rpg.models.network_input import NetworkInput
from rpg.models.stacked_network import StackedNetwork
from rpg.protocol import FixedHorizonEnvironment
from rpg.settings_checks import check_fraction, check_positive
from rpg.training.collector import Choice, Situation
from rpg.training.replay_buffer import Transitions

LOG_STD_RANGE = (-20.0, 2.0)


@dataclass(frozen=True)
class SACConfig(StreamingConfig):
    """Settings of the soft actor-critic. The replay buffer is kept in the run's folder: 4 (O + A) + 42 bytes a step."""

    names: ClassVar[tuple[str, ...]] = ("sac",)

    hidden: tuple[int, ...] = (256, 256)
    """Hidden widths of the actor and of the critics."""
    learning_rate: float = 0.0003
    """Adam step of the actor, the critics and the temperature."""
    target_rate: float = 0.005
    """Fraction of the way that the target critics move to the critics with each update."""
    target_entropy: float | None = None
    """Entropy of an action that the temperature is adapted to, nats per dimension; None: -1."""
    alpha: float | None = None
    """A fixed temperature; None: adapted, from 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("learning_rate", self.learning_rate)
        check_fraction("target_rate", self.target_rate)
        if self.target_entropy is not None and not -math.inf < self.target_entropy < math.log(2):
            given = self.target_entropy
            raise ValueError(
                f"target_entropy was given {given!r}; allowed are numbers < log 2, the entropy of a uniform action"
            )
        if self.alpha is not None:
            check_positive("alpha", self.alpha)


class SquashedGaussian(ActionPolicy):
    """The actor: mean and std of u as functions of the network's input."""

    def __init__(self, inputs: NetworkInput, hidden: tuple[int, ...], action_dim: int, *, generator: torch.Generator) -> None:
        super().__init__(LatentSpace(True, 1))
        self.inputs, self.action_dim = inputs, action_dim
        self.uses_time = inputs.horizon is not None
        self.network = StackedNetwork(1, (inputs.width, *hidden, 2 * action_dim), generator=generator)

    def mean_and_log_std(self, data: Tensor) -> tuple[Tensor, Tensor]:
        """(N, A) each, for inputs (N, O)."""
        mean, log_std = self.network(data)[0].chunk(2, dim=-1)
        return mean, log_std.clamp(*LOG_STD_RANGE)

    def sampled(self, data: Tensor, noise: Tensor) -> ActionSample:
        """A differentiable sample for inputs (N, O) and standard normal `noise` (N, A)."""
        mean, log_std = self.mean_and_log_std(data)
        return squashed_sample(mean, log_std.exp(), noise)

    def forward(
        self, observation: Tensor, latent: Tensor, step: int | Tensor, std: Tensor | float, noise: Tensor
    ) -> ActionSample:
        """A sample with the actor's own std; the argument `std` is ignored."""
        age = torch.as_tensor(step, device=observation.device).expand(observation.shape[0])
        return self.sampled(self.inputs(observation, age), noise)

    def mean(self, observation: Tensor, latent: Tensor, step: int | Tensor) -> Tensor:
        age = torch.as_tensor(step, device=observation.device).expand(observation.shape[0])
        return self.mean_and_log_std(self.inputs(observation, age))[0]


class SAC(StreamingAlgorithm[SACConfig]):
    """The soft actor-critic; see the module's docstring."""

    actor: SquashedGaussian
    """What the gradient of the critics improves; the policy, unless a subclass moves its actions on."""

    def __init__(self, env: FixedHorizonEnvironment, config: SACConfig, like: Tensor) -> None:
        super().__init__(env, config, like)
        action_dim, hidden = self.spec.action_dim, config.hidden
        self.actor = SquashedGaussian(self.inputs, hidden, action_dim, generator=self.generator)
        self.policy = self.actor
        self.critics = StackedNetwork(2, (self.inputs.width + action_dim, *hidden, 1), generator=self.generator)
        self.target_critics = copy.deepcopy(self.critics).requires_grad_(False)
        self.modules = {"policy": self.actor, "critics": self.critics, "target critics": self.target_critics}
        self.log_alpha = torch.zeros((), dtype=like.dtype, device=like.device)
        if config.alpha is not None:
            self.log_alpha.fill_(math.log(config.alpha))
        for module in self.modules.values():
            module.to(like)
        self.optimizers = {
            name: torch.optim.Adam(self.modules[name].parameters(), lr=config.learning_rate, fused=True)
            for name in ("policy", "critics")
        }
        self._alpha_optimizer = torch.optim.Adam([self.log_alpha], lr=config.learning_rate, fused=True)
        self._entropy = (-1.0 if config.target_entropy is None else config.target_entropy) * action_dim

    @torch.no_grad()
    def choose(self, situation: Situation) -> Choice:
        noise = self.standard_normal(self.env.num_envs, self.spec.action_dim)
        sample = self.actor.sampled(self.inputs(situation.observation, situation.age), noise)
        return Choice(sample.action, sample.log_prob)

    def update(self, iteration: int) -> dict[str, float]:
        config = self.config
        batch = self.buffer.sample(config.batch_size, self.generator)
        now = self.inputs(batch.observation, batch.age)
        after = self.inputs(batch.next_observation, batch.age + 1)
        noise, noise_after = self.standard_normal(2, config.batch_size, self.spec.action_dim)
        alpha = self.log_alpha.exp()
        sample = self.actor.sampled(now, noise)

        with torch.no_grad():
            following = self.actor.sampled(after, noise_after)
        critic_loss = self.improve_critics(batch, now, after, following.action, following.log_prob)

        # The actor, by the gradient of the critics with respect to its actions.
        worth = self.worth(now, sample.action)
        actor_loss = (alpha * sample.log_prob - worth).mean()
        self.optimizers["policy"].zero_grad()
        actor_loss.backward()
        self.step(self.optimizers["policy"])

        entropy = -sample.log_prob.detach().mean()
        self.adapt_temperature(entropy)
        self.target_critics.follow(self.critics, config.target_rate)
        return {
            "objective": -float(actor_loss.detach()),
            "critic_loss": critic_loss,
            "value": float(worth.detach().mean()),
            "policy_entropy": float(entropy),
            "alpha": float(alpha),
        }

    def improve_critics(self, batch: Transitions, now: Tensor, after: Tensor, action: Tensor, log_prob: Tensor) -> float:
        """A step of the critics towards the soft value of the next states; their loss. `now` and `after` (N, W) are what
        networks see of the steps `batch`, `action` (N, A) and its `log_prob` (N,) are the policy's `after` them."""
        with torch.no_grad():
            value = self.target_critics(torch.cat([after, action], dim=1)).squeeze(-1).amin(0)
            value = value - self.log_alpha.exp() * log_prob
            wanted = batch.reward + self.config.discount * torch.where(batch.terminated, 0.0, value)
        guess = self.critics(torch.cat([now, batch.action], dim=1)).squeeze(-1)
        loss = 0.5 * (guess - wanted).square().mean(1).sum()
        self.optimizers["critics"].zero_grad()
        loss.backward()
        self.step(self.optimizers["critics"])
        return float(loss.detach())

    def worth(self, now: Tensor, action: Tensor) -> Tensor:
        """(N,) the lower of the critics, differentiable in `action` (N, A) alone."""
        return self.critics(torch.cat([now, action], dim=1), frozen=True).squeeze(-1).amin(0)

    def adapt_temperature(self, entropy: Tensor) -> None:
        """A step of alpha, whose gradient is the surplus of `entropy` (), unless it is fixed."""
        if self.config.alpha is None:
            self.log_alpha.grad = entropy - self._entropy
            self.step(self._alpha_optimizer)

    def extra_state(self) -> dict[str, Any]:
        return {
            **super().extra_state(),
            "log_alpha": self.log_alpha,
            "alpha_optimizer": self._alpha_optimizer.state_dict(),
        }

    def restore_extra_state(self, state: dict[str, Any]) -> None:
        super().restore_extra_state(state)
        self.log_alpha.copy_(state["log_alpha"])
        self._alpha_optimizer.load_state_dict(state["alpha_optimizer"])
