"""Soft Q-learning (Haarnoja et al. 2017): the policy exp((Q - V) / alpha) with all its modes, drawn by a learned sampler.

The best policy for rewards plus alpha times entropy is pi(a|s) = exp((Q(s, a) - V(s)) / alpha), whatever shape Q gives it. With
a batch of steps (s, a, r, s', terminated) from the replay buffer, an update is one gradient step on each of

    Q          E[sum_i (Q_i(s, a) - y)^2] / 2          y = scale r + (1 - terminated) discount V'(s')           (eq. 7, 11)
               V'(s) = alpha log mean_m exp(min_i Q'_i(s, a_m) / alpha) / q(a_m),  a_m drawn from q             (eq. 10)
    sampler    u = f(xi; s), xi standard normal, moved along the Stein variational gradient (eq. 13, 14)
               mean_k [kappa(u_k, u) grad log p(u_k) + grad_{u_k} kappa(u_k, u)]

and every so many updates the target Q' becomes a copy of Q. Actions are a = tanh(u), and the sampler's particles live before
the squashing, where the density is p(u) = exp(Q(s, tanh u) / alpha) prod (1 - tanh(u)^2), up to a factor. Q is one network, as
in the paper, unless `critics` asks for more. An episode cut off by a time limit is not terminated.

In training xi is drawn anew in every step. As a policy with a latent, xi is the latent: held for a whole episode it makes the
motion reproducible, and different xi are different solutions, which is how a run is evaluated.
"""

import copy
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from rpg.algorithms.streaming import StreamingAlgorithm, StreamingConfig
from rpg.models.action_policy import ActionPolicy, ActionSample, log_tanh_slope
from rpg.models.latent import GaussianMixturePrior, LatentSpace
from rpg.models.network_input import NetworkInput
from rpg.models.stacked_network import StackedNetwork
from rpg.models.stein import stein_direction
from rpg.protocol import FixedHorizonEnvironment
from rpg.settings_checks import check_int, check_positive
from rpg.training.collector import Choice, Situation

EVALUATED = 32
"""Values of xi that a run is evaluated with."""
PROPOSAL_STD = 0.3
"""Of the proposals about the sampler's actions, before squashing."""


@dataclass(frozen=True)
class SoftQLearningConfig(StreamingConfig):
    """Settings of soft Q-learning. The replay buffer is kept in the run's folder: 4 (O + A) + 42 bytes a step."""

    names: ClassVar[tuple[str, ...]] = ("sql",)

    batch_size: int = 64
    """Steps drawn from the replay buffer for each gradient step; each has many actions evaluated."""
    hidden: tuple[int, ...] = (256, 256)
    """Hidden widths of the sampler and of Q."""
    learning_rate: float = 0.001
    """Adam step of Q."""
    policy_learning_rate: float = 0.0003
    """Adam step of the sampler."""
    alpha: float = 1.0
    """Temperature, in units of scaled rewards: how much worse an action may be for the policy to take it 1/e as often."""
    reward_scale: float = 1.0
    """Factor on rewards. With alpha multiplied by it, too, the policy stays the same; the values that Q learns do not."""
    critics: int = 1
    """Networks of Q, of which the least counts; 2 or more against overestimation."""
    target_interval: int = 1000
    """Updates from one copy of Q to the next."""
    value_samples: int = 50
    """Actions that V is estimated from."""
    proposals: Literal["uniform", "sampler"] = "uniform"
    """Where they come from: all uniform, as the released code has it, or half of them about the sampler's actions, for many
    action dimensions; the other half is uniform still, so that no mode is out of reach."""
    particles: int = 16
    """Actions of the sampler in each state that the Stein gradient is estimated from, and as many that it moves."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("learning_rate", "policy_learning_rate", "alpha", "reward_scale"):
            check_positive(name, getattr(self, name))
        for name in ("critics", "target_interval"):
            check_int(name, getattr(self, name), at_least=1)
        for name in ("value_samples", "particles"):
            check_int(name, getattr(self, name), at_least=2)


def soft_value(values: Tensor, log_proposal: Tensor, alpha: float) -> Tensor:
    """(...) V = alpha log of the integral of exp(Q / alpha), estimated from M actions with `values` Q (..., M) that were drawn
    with log density `log_proposal` (..., M); biased low, less so for more actions (eq. 10)."""
    return alpha * (torch.logsumexp(values / alpha - log_proposal, dim=-1) - math.log(values.shape[-1]))


class AmortisedSampler(ActionPolicy):
    """u = f(xi; s), with as many dimensions of xi as of actions. The latent is xi."""

    def __init__(self, inputs: NetworkInput, hidden: tuple[int, ...], action_dim: int, *, generator: torch.Generator) -> None:
        super().__init__(LatentSpace(False, action_dim))
        self.inputs = inputs
        self.uses_time = inputs.horizon is not None
        self.network = StackedNetwork(1, (inputs.width + action_dim, *hidden, action_dim), generator=generator)

    def drawn(self, data: Tensor, noise: Tensor) -> Tensor:
        """(N, M, A) u for inputs (N, W) and standard normal `noise` (N, M, A)."""
        rows = torch.cat([data.unsqueeze(1).expand(-1, noise.shape[1], -1), noise], dim=-1)
        return self.network.alone(rows.flatten(0, 1)).view_as(noise)

    def mean(self, observation: Tensor, latent: Tensor, step: int | Tensor) -> Tensor:
        age = torch.as_tensor(step, device=observation.device).expand(observation.shape[:-1])
        data = self.inputs(observation.flatten(0, -2), age.flatten())
        return self.drawn(data, latent.reshape(data.shape[0], 1, -1)).view(*observation.shape[:-1], -1)

    def forward(
        self, observation: Tensor, latent: Tensor, step: int | Tensor, std: Tensor | float, noise: Tensor
    ) -> ActionSample:
        """A draw with xi = `noise`, as in training; `latent` and `std` play no part, and the log density is not known (nan)."""
        u = self.mean(observation, noise, step)
        return ActionSample(torch.tanh(u), torch.full_like(u[..., 0], torch.nan), u)


class SoftQLearning(StreamingAlgorithm[SoftQLearningConfig]):
    """Soft Q-learning; see the module's docstring."""

    policy: AmortisedSampler

    def __init__(self, env: FixedHorizonEnvironment, config: SoftQLearningConfig, like: Tensor) -> None:
        super().__init__(env, config, like)
        action_dim, hidden = self.spec.action_dim, config.hidden
        self.policy = AmortisedSampler(self.inputs, hidden, action_dim, generator=self.generator)
        sizes = (self.inputs.width + action_dim, *hidden, 1)
        self.critics = StackedNetwork(config.critics, sizes, generator=self.generator)
        self.target_critics = copy.deepcopy(self.critics).requires_grad_(False)
        self.modules = {"policy": self.policy, "critics": self.critics, "target critics": self.target_critics}
        for module in self.modules.values():
            module.to(like)
        rates = {"policy": config.policy_learning_rate, "critics": config.learning_rate}
        self.optimizers = {
            name: torch.optim.Adam(self.modules[name].parameters(), lr=rate, fused=True) for name, rate in rates.items()
        }
        self.prior = GaussianMixturePrior(action_dim, generator=self.generator).to(like)  # N(0, 1), never learned
        self._updates = 0

    # Acting -------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def choose(self, situation: Situation) -> Choice:
        """A fresh draw. Its log density is that of exp((Q - V) / alpha), which the sampler stands for; its own is not known."""
        data = self.inputs(situation.observation, situation.age)
        action = torch.tanh(self.policy.drawn(data, self.standard_normal(len(data), 1, self.spec.action_dim)))
        gain = self.values(self.critics, data, action).squeeze(1) - self.state_values(self.critics, data)
        return Choice(action.squeeze(1), gain / self.config.alpha)

    def candidates(self) -> tuple[Tensor, Tensor]:
        """Draws of xi, equally probable, to be held for an episode each."""
        assert self.prior is not None
        return self.prior.candidates(self.like[:1], EVALUATED, torch.Generator().manual_seed(self.config.seed))

    # Values -------------------------------------------------------------------------------------------------------

    def values(self, critics: StackedNetwork, data: Tensor, actions: Tensor) -> Tensor:
        """(N, M) Q, the least of the networks', of inputs (N, W) and actions (N, M, A); differentiable in the actions alone."""
        rows = torch.cat([data.unsqueeze(1).expand(-1, actions.shape[1], -1), actions], dim=-1).flatten(0, 1)
        return critics(rows, frozen=True).squeeze(-1).amin(0).view(actions.shape[:2])

    @torch.no_grad()
    def state_values(self, critics: StackedNetwork, data: Tensor) -> Tensor:
        """(N,) V of inputs (N, W)."""
        actions, log_proposal = self._proposed(data)
        return soft_value(self.values(critics, data, actions), log_proposal, self.config.alpha)

    def _proposed(self, data: Tensor) -> tuple[Tensor, Tensor]:
        """(N, M, A) actions and the log density (N, M) that they were drawn with."""
        count, dims = self.config.value_samples, self.spec.action_dim
        drawn = 2 * torch.rand(len(data), count, dims, generator=self.generator) - 1
        uniform, flat = drawn.to(self.like), -dims * math.log(2)
        if self.config.proposals == "uniform":
            return uniform, torch.full_like(uniform[..., 0], flat)
        half = count // 2
        noise = self.standard_normal(2, len(data), half, dims)
        centres = self.policy.drawn(data, noise[0])
        wide = uniform[:, half:].clamp(-1 + 1e-6, 1 - 1e-6).atanh()
        u = torch.cat([centres + PROPOSAL_STD * noise[1], wide], dim=1)
        offset = (u.unsqueeze(2) - centres.unsqueeze(1)) / PROPOSAL_STD
        each = (-0.5 * offset.square() - math.log(PROPOSAL_STD) - 0.5 * math.log(2 * math.pi)).sum(-1)
        near = torch.logsumexp(each, dim=-1) - math.log(count) - log_tanh_slope(u).sum(-1)
        share = torch.full_like(near, flat + math.log((count - half) / count))
        return torch.tanh(u), torch.logaddexp(near, share)

    # Learning -----------------------------------------------------------------------------------------------------

    def update(self, iteration: int) -> dict[str, float]:
        config = self.config
        batch = self.buffer.sample(config.batch_size, self.generator)
        now = self.inputs(batch.observation, batch.age)
        after = self.inputs(batch.next_observation, batch.age + 1)

        # Q, towards the soft value of the next states.
        value = self.state_values(self.target_critics, after)
        wanted = config.reward_scale * batch.reward + config.discount * torch.where(batch.terminated, 0.0, value)
        guess = self.critics(torch.cat([now, batch.action], dim=1)).squeeze(-1)
        critic_loss = 0.5 * (guess - wanted).square().mean(1).sum()
        self.optimizers["critics"].zero_grad()
        critic_loss.backward()
        self.step(self.optimizers["critics"])

        # The sampler: half of its particles say where the others are to go.
        noise = self.standard_normal(config.batch_size, 2 * config.particles, self.spec.action_dim)
        u = self.policy.drawn(now, noise)
        moved, others = u[:, : config.particles], u[:, config.particles :].detach()
        direction = stein_direction(others, self.scores(now, others), moved.detach())
        sampler_loss = -(direction * moved).sum(-1).mean()
        self.optimizers["policy"].zero_grad()
        sampler_loss.backward()
        self.step(self.optimizers["policy"])

        self._updates += 1
        if self._updates % config.target_interval == 0:
            self.target_critics.follow(self.critics, 1.0)
        return {
            "objective": float(value.mean()),
            "critic_loss": float(critic_loss.detach()),
            "value": float(value.mean()),
            "stein_norm": float(direction.norm(dim=-1).mean()),
        }

    def scores(self, data: Tensor, u: Tensor) -> Tensor:
        """(N, M, A) grad log p(u) of the density before squashing, with inputs (N, W) and u (N, M, A)."""
        with torch.enable_grad():
            u = u.detach().requires_grad_()
            worth = self.values(self.critics, data, torch.tanh(u))
            log_density = worth.sum() / self.config.alpha + log_tanh_slope(u).sum()
            return torch.autograd.grad(log_density, u)[0]

    # What a checkpoint needs --------------------------------------------------------------------------------------

    def extra_state(self) -> dict[str, Any]:
        return {**super().extra_state(), "updates": self._updates}

    def restore_extra_state(self, state: dict[str, Any]) -> None:
        super().restore_extra_state(state)
        self._updates = state["updates"]
