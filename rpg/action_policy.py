"""pi(a|s,z): tanh-squashed Gaussian policies, open-loop and closed-loop, behind one interface.

A sample is a = tanh(u), u = mean + std * noise. With noise given from outside, a is a function of the
parameters, so E[f(a)] is differentiated through a (the pathwise, or reparameterised, gradient).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from rpg.config import RPGConfig
from rpg.network import RunningNormalizer, dense_network


class ActionSample(NamedTuple):
    """A reparameterised sample."""

    action: Tensor
    """(B, A) in (-1, 1)."""
    log_prob: Tensor
    """(B,) log pi(a|s,z), summed over the A dimensions."""
    mean: Tensor
    """(B, A) mean before the squashing; tanh(mean) is the noiseless action."""


def squashed_sample(mean: Tensor, std: float, noise: Tensor) -> ActionSample:
    """a = tanh(mean + std * noise) and its log density.

    log pi(a) = log N(u; mean, std) - sum log(1 - tanh(u)^2), where log(1 - tanh(u)^2) = 2 (log 2 - u -
    softplus(-2u)) stays finite for any u. Along a reparameterised sample (u - mean) / std is the noise, a
    constant, so the Gaussian part is written in the noise: its score d log N / d mean, which has expectation
    zero and only adds variance when it is left in, never enters, and the gradient of E[log pi] flows through
    the action alone.
    """
    u = mean + std * noise
    gaussian = -0.5 * noise.square() - math.log(std) - 0.5 * math.log(2 * math.pi)
    jacobian = 2 * (math.log(2) - u - functional.softplus(-2 * u))
    return ActionSample(torch.tanh(u), (gaussian - jacobian).sum(-1), mean)


class ActionPolicy(nn.Module, ABC):
    """The interface: the mean before squashing, as a function of the observation, the latent and the time."""

    def __init__(self, num_latents: int) -> None:
        super().__init__()
        self.num_latents = num_latents

    @abstractmethod
    def mean(self, observation: Tensor, latent: Tensor, step: int) -> Tensor:
        """(B, A) mean before squashing, of `observation` (B, O), `latent` (B,) int64, `step` in 0..T-1."""

    def forward(
        self, observation: Tensor, latent: Tensor, step: int, std: float, noise: Tensor
    ) -> ActionSample:
        """A sample at `std` > 0 from `noise` (B, A), standard normal; zero noise gives the mean action."""
        return squashed_sample(self.mean(observation, latent, step), std, noise)

    def observe(self, observations: Tensor) -> None:
        """Learn the scale of `observations` (..., O), between rollouts. A blind policy learns nothing."""


class OpenLoopTable(ActionPolicy):
    """One action sequence a latent, (K, T, A), blind to the observation."""

    def __init__(
        self,
        num_latents: int,
        horizon: int,
        action_dim: int,
        *,
        generator: torch.Generator,
        scale: float = 0.01,
    ) -> None:
        super().__init__(num_latents)
        self.table = nn.Parameter(scale * torch.randn(num_latents, horizon, action_dim, generator=generator))

    def mean(self, observation: Tensor, latent: Tensor, step: int) -> Tensor:
        return self.table[latent, step]


class MLPPolicy(ActionPolicy):
    """A network of (normalised observation, one-hot z, features of the time), starting near mean 0 for every
    z.
    """

    harmonics = (1, 2)

    def __init__(
        self,
        num_latents: int,
        horizon: int,
        observation_dim: int,
        action_dim: int,
        *,
        hidden: Sequence[int],
        generator: torch.Generator,
        last_scale: float = 0.1,
    ) -> None:
        super().__init__(num_latents)
        self.horizon = horizon
        self.normalizer = RunningNormalizer(observation_dim)
        width = observation_dim + num_latents + 1 + 2 * len(self.harmonics)
        self.network = dense_network((width, *hidden, action_dim), generator=generator, last_scale=last_scale)

    def mean(self, observation: Tensor, latent: Tensor, step: int) -> Tensor:
        one_hot = functional.one_hot(latent, self.num_latents).to(observation)
        angles = [2 * math.pi * harmonic * step / self.horizon for harmonic in self.harmonics]
        time = [2 * step / self.horizon - 1, *map(math.sin, angles), *map(math.cos, angles)]
        times = observation.new_tensor(time).expand(observation.shape[0], -1)
        return self.network(torch.cat([self.normalizer(observation), one_hot, times], dim=-1))

    def observe(self, observations: Tensor) -> None:
        self.normalizer.update(observations)


def configured_policy(
    config: RPGConfig, *, horizon: int, observation_dim: int, action_dim: int, generator: torch.Generator
) -> ActionPolicy:
    """The policy that `config` asks for."""
    if config.policy == "table":
        return OpenLoopTable(config.num_latents, horizon, action_dim, generator=generator)
    return MLPPolicy(
        config.num_latents,
        horizon,
        observation_dim,
        action_dim,
        hidden=config.policy_hidden,
        generator=generator,
    )
