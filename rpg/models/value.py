"""V(s, z, t): the value function, the expected reward to go from a state, learned by regression."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rpg.models.action_policy import TIME_FEATURES, time_features
from rpg.models.latent import LatentSpace
from rpg.models.network import RunningNormalizer, dense_network


class ValueFunction(nn.Module):
    """A network of (normalised observation, z, features of the time); targets are divided by their standard deviation."""

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

    def rows(self, observation: Tensor, latent: Tensor, step: int) -> Tensor:
        """(B, W) the network's input for `observation` (B, O) at `step` with `latent`."""
        seen, times = self.normalizer(observation), time_features(step, self.horizon, observation)
        return torch.cat([seen, self.space.features(latent, observation), times], dim=-1)

    def _normal(self, observation: Tensor, latent: Tensor, step: int) -> Tensor:
        return self.network(self.rows(observation, latent, step)).squeeze(-1)

    def forward(self, observation: Tensor, latent: Tensor, step: int) -> Tensor:
        """(B,) value of `observation` (B, O) at `step` in 0..T with `latent`."""
        return self.center + self.spread * self._normal(observation, latent, step)

    def frozen(self, observation: Tensor, latent: Tensor, step: int) -> Tensor:
        """The same, differentiable in the observation but not in this network's parameters."""
        frozen = {name: parameter.detach() for name, parameter in self.named_parameters()}
        return torch.func.functional_call(self, frozen, (observation, latent, step))

    def loss(self, observations: Tensor, latents: Sequence[Tensor], targets: Tensor) -> Tensor:
        """() mean squared error, in units of the targets' standard deviation, over steps 0..T-1: `observations` (T, B, O), a
        latent for each step, `targets` (T, B); all detached.
        """
        wanted = ((targets - self.center) / self.spread).detach()
        guesses = [self._normal(o.detach(), z, t) for t, (o, z) in enumerate(zip(observations, latents, strict=True))]
        return (torch.stack(guesses) - wanted).square().mean()

    def row_loss(self, rows: Tensor, targets: Tensor) -> Tensor:
        """() the same error for detached `rows` (N, W) of any steps and `targets` (N,), for minibatches."""
        return (self.network(rows).squeeze(-1) - (targets - self.center) / self.spread).square().mean()

    @torch.no_grad()
    def observe(self, observations: Tensor, targets: Tensor, *, keep_outputs: bool = False) -> None:
        """Update the scales of observations (..., O) and targets.

        With `keep_outputs` the last layer is rescaled so that the values do not change (Pop-Art, van Hasselt et al. 2016),
        for networks trained with the old scale.
        """
        self.normalizer.update(observations)
        center, spread = self.center.clone(), self.spread.clone()
        self.center.lerp_(targets.mean(), 0.1 if float(self.normalizer.count) > targets.numel() else 1.0)
        self.spread.copy_((targets - self.center).square().mean().sqrt().clamp_min(1e-3))
        if keep_outputs:
            last = self.network[-1]
            assert isinstance(last, nn.Linear)
            last.weight.mul_(spread / self.spread)
            last.bias.mul_(spread / self.spread).add_((center - self.center) / self.spread)

    @torch.no_grad()
    def follow(self, other: "ValueFunction", rate: float) -> None:
        """Move the parameters the fraction `rate` of the way to those of `other` (Polyak averaging)."""
        for mine, its in zip(self.parameters(), other.parameters(), strict=True):
            mine.lerp_(its, rate)


def td_lambda_targets(rewards: Tensor, next_values: Tensor, *, discount: float, trace: float) -> Tensor:
    """(H, B) TD(lambda) targets of a window of H steps, from `rewards` (H, B) and the values of the states after them (H, B).

        G_t = r_t + discount ((1 - trace) V(s_t+1) + trace G_t+1),   G_H = V(s_H)

    An episode that ends with the window has V(s_H) = 0.
    """
    target, targets = next_values[-1], []
    for reward, value in zip(rewards.flip(0), next_values.flip(0), strict=True):
        target = reward + discount * torch.lerp(value, target, trace)
        targets.append(target)
    return torch.stack(targets[::-1])
