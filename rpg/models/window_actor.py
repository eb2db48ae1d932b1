"""The actor of SHAC, SAPO and AHAC: a tanh-squashed Gaussian, its std a parameter or a function of the state."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rpg.models.action_policy import ActionSample, MeanAt, MLPPolicy, squashed_sample
from rpg.models.latent import LatentSpace
from rpg.models.network import NetworkForm
from rpg.protocol import FixedHorizonEnvironment


class WindowActor(MLPPolicy):
    """pi(a|s,t) = tanh(N(mean, std)). It has a single latent, that is, none.

    The std is exp(log_std) with one parameter per action dimension, held to [-4.6, 0.7], or, if it depends on the state, exp of
    further outputs of the network, clamped to [-5, 2]. The time is left out where the horizon is not part of the problem.
    """

    def __init__(
        self,
        env: FixedHorizonEnvironment,
        *,
        hidden: Sequence[int],
        form: NetworkForm,
        std_start: float,
        std_of_state: bool,
        generator: torch.Generator,
    ) -> None:
        super().__init__(
            LatentSpace(True, 1),
            env.horizon,
            env.observation_dim,
            env.action_dim * (2 if std_of_state else 1),
            hidden=hidden,
            generator=generator,
            last_scale=1.0,
            form=form,
        )
        self.timed = bool(getattr(env, "finite_horizon", True))
        self.uses_time = self.timed
        self.std_of_state = std_of_state
        self.log_std_start = math.log(std_start)
        if not std_of_state:
            self.learn_std(env.action_dim, std_start)

    def mean_and_std(self, observation: Tensor, latent: Tensor, step: int | Tensor) -> tuple[Tensor, Tensor]:
        """Both before squashing: (B, A), and (B, A) or (A,)."""
        outputs = super().mean(observation, latent, step * int(self.timed))
        if not self.std_of_state:
            return outputs, torch.as_tensor(self.std(1.0))
        mean, log_std = outputs.chunk(2, dim=-1)
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
