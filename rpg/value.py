"""V(s, z, t): what an episode still earns from a state on, learned by regression."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rpg.action_policy import TIME_FEATURES, time_features
from rpg.latent import LatentSpace
from rpg.network import RunningNormalizer, dense_network


class ValueFunction(nn.Module):
    """A network of (normalised observation, z, features of the time); targets are learned in units of their spread."""

    spread: Tensor
    center: Tensor

    def __init__(
        self,
        space: LatentSpace,
        horizon: int,
        observation_dim: int,
        *,
        hidden: Sequence[int],
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.space, self.horizon = space, horizon
        self.normalizer = RunningNormalizer(observation_dim)
        self.network = dense_network(
            (observation_dim + space.size + TIME_FEATURES, *hidden, 1), generator=generator, last_scale=0.1
        )
        self.register_buffer("center", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))

    def _normal(self, observation: Tensor, latent: Tensor, step: int) -> Tensor:
        seen, times = self.normalizer(observation), time_features(step, self.horizon, observation)
        return self.network(torch.cat([seen, self.space.features(latent, observation), times], dim=-1)).squeeze(-1)

    def forward(self, observation: Tensor, latent: Tensor, step: int) -> Tensor:
        """(B,) value of `observation` (B, O) at `step` in 0..T, with the latent in force."""
        return self.center + self.spread * self._normal(observation, latent, step)

    def frozen(self, observation: Tensor, latent: Tensor, step: int) -> Tensor:
        """The same, differentiable in the observation but not in this network's parameters."""
        frozen = {name: parameter.detach() for name, parameter in self.named_parameters()}
        return torch.func.functional_call(self, frozen, (observation, latent, step))

    def loss(self, observations: Tensor, latents: Sequence[Tensor], targets: Tensor) -> Tensor:
        """() mean squared error, in units of the targets' spread, over steps 0..T-1: `observations` (T, B, O), a
        latent for each step, `targets` (T, B); all detached.
        """
        wanted = ((targets - self.center) / self.spread).detach()
        guesses = [self._normal(o.detach(), z, t) for t, (o, z) in enumerate(zip(observations, latents, strict=True))]
        return (torch.stack(guesses) - wanted).square().mean()

    @torch.no_grad()
    def observe(self, observations: Tensor, targets: Tensor) -> None:
        """Learn the scales of observations (..., O) and targets."""
        self.normalizer.update(observations)
        self.center.lerp_(targets.mean(), 0.1 if float(self.normalizer.count) > targets.numel() else 1.0)
        self.spread.copy_((targets - self.center).square().mean().sqrt().clamp_min(1e-3))
