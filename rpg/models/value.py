"""V(s, z, t): the value function, the expected reward to go from a state, learned by regression; and ensembles of V(s, t)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rpg.models.action_policy import TIME_FEATURES, time_features
from rpg.models.latent import LatentSpace
from rpg.models.network import PLAIN, NetworkForm, RunningNormalizer, dense_network


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
        last_scale: float = 0.1,
        form: NetworkForm = PLAIN,
    ) -> None:
        super().__init__()
        self.space, self.horizon = space, horizon
        self.normalizer = RunningNormalizer(observation_dim)
        sizes = (observation_dim + space.size + TIME_FEATURES, *hidden, 1)
        self.network = dense_network(sizes, generator=generator, last_scale=last_scale, form=form)
        self.register_buffer("center", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))

    def rows(self, observation: Tensor, latent: Tensor, step: int | Tensor) -> Tensor:
        """(B, W) the network's input for `observation` (B, O) at `step`, a number or (B,), with `latent`."""
        seen, times = self.normalizer(observation), time_features(step, self.horizon, observation)
        return torch.cat([seen, self.space.features(latent, observation), times], dim=-1)

    def _normal(self, observation: Tensor, latent: Tensor, step: int | Tensor) -> Tensor:
        return self.network(self.rows(observation, latent, step)).squeeze(-1)

    def forward(self, observation: Tensor, latent: Tensor, step: int | Tensor) -> Tensor:
        """(B,) value of `observation` (B, O) at `step` in 0..T, a number or (B,), with `latent`."""
        return self.center + self.spread * self._normal(observation, latent, step)

    def frozen(self, observation: Tensor, latent: Tensor, step: int | Tensor) -> Tensor:
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
    def observe(self, observations: Tensor, targets: Tensor | None, *, keep_outputs: bool = False) -> None:
        """Update the scales of observations (..., O) and of targets, whose scale stays without `targets`.

        With `keep_outputs`, for networks trained with the old scales, the first and the last layer are changed so that the
        values stay: V of an observation before and after is the same, up to rounding. The last layer does what Pop-Art does
        (van Hasselt et al. 2016), the first layer the same for the inputs. Two cases are left out. The first update of the
        inputs' scale changes the values, because there was none before. And where inputs were clamped, or become less so, the
        values change; a feature whose scale grows by more than the clamp in one update is one of these.
        """
        first, last = self.network[0], self.network[-1]
        assert isinstance(first, nn.Linear)
        assert isinstance(last, nn.Linear)

        known = float(self.normalizer.count) > 0
        mean, scale = self.normalizer.mean.clone(), self.normalizer.scale()
        self.normalizer.update(observations)
        if keep_outputs and known:  # (x - mean) / scale = growth (x - new mean) / new scale + shift
            limit = self.normalizer.limit
            growth = (self.normalizer.scale() / scale).clamp_max(limit)
            shift = ((self.normalizer.mean - mean) / scale).clamp(-limit, limit)
            width = len(mean)
            first.bias.add_(first.weight[:, :width] @ shift)
            first.weight[:, :width] *= growth

        if targets is None:
            return
        center, spread = self.center.clone(), self.spread.clone()
        self.center.lerp_(targets.mean(), 0.1 if float(self.normalizer.count) > targets.numel() else 1.0)
        self.spread.copy_((targets - self.center).square().mean().sqrt().clamp_min(1e-3))
        if keep_outputs:
            last.weight.mul_(spread / self.spread)
            last.bias.mul_(spread / self.spread).add_((center - self.center) / self.spread)


class ValueEnsemble(nn.Module):
    """C critics V(s, t), which start differently and are fitted to the same targets. Without `timed` the time plays no part."""

    def __init__(
        self,
        count: int,
        horizon: int,
        observation_dim: int,
        *,
        hidden: Sequence[int],
        generator: torch.Generator,
        form: NetworkForm = PLAIN,
        timed: bool = True,
    ) -> None:
        super().__init__()
        self.timed = timed
        space = LatentSpace(True, 1)  # one latent: no latent
        self.members = nn.ModuleList(
            ValueFunction(space, horizon, observation_dim, hidden=hidden, generator=generator, last_scale=1.0, form=form)
            for _ in range(count)
        )

    def _inputs(self, observations: Tensor, first: int) -> tuple[Tensor, Tensor, Tensor]:
        """Of `observations` (H, B, O) at the steps from `first` on: (HB, O), no latent, and the times (HB,)."""
        steps = torch.arange(first, first + len(observations), device=observations.device)
        steps = steps.repeat_interleave(observations.shape[1]) * int(self.timed)
        return observations.flatten(0, 1), torch.zeros_like(steps), steps

    def frozen(self, observations: Tensor, first: int) -> Tensor:
        """(C, H, B) values of `observations` (H, B, O) at the steps `first`, `first` + 1, ...; differentiable in the
        observations but not in the critics' parameters."""
        inputs, shape = self._inputs(observations, first), observations.shape[:2]
        return torch.stack([each.frozen(*inputs).view(shape) for each in self.members])  # type: ignore[operator]

    def rows(self, observations: Tensor, first: int) -> Tensor:
        """(HB, W) inputs of the networks, for `row_loss`; all critics have the same."""
        return self.members[0].rows(*self._inputs(observations, first))  # type: ignore[operator]

    def row_loss(self, rows: Tensor, targets: Tensor) -> Tensor:
        """() the critics' mean error (`ValueFunction.row_loss`)."""
        return torch.stack([each.row_loss(rows, targets) for each in self.members]).mean()  # type: ignore[operator]

    def observe(self, observations: Tensor, targets: Tensor | None) -> None:
        """Update the scales and keep the values (`ValueFunction.observe`)."""
        for each in self.members:
            each.observe(observations, targets, keep_outputs=True)  # type: ignore[operator]

    @torch.no_grad()
    def follow(self, other: "ValueEnsemble", rate: float) -> None:
        """Move the parameters the fraction `rate` of the way to those of `other` (Polyak averaging)."""
        for mine, its in zip(self.parameters(), other.parameters(), strict=True):
            mine.lerp_(its, rate)


def td_lambda_targets(
    rewards: Tensor, next_values: Tensor, *, discount: float, trace: float, ended: Tensor | None = None
) -> Tensor:
    """(H, B) TD(lambda) targets of a window of H steps, from `rewards` (H, B) and the values of the states after them (H, B).

        G_t = r_t + discount ((1 - trace) V(s_t+1) + trace G_t+1)
        G_t = r_t + discount V(s_t+1)    where an episode has `ended` (H, B) with step t, and at the window's last step

    This is the mean of the n-step returns with weights (1 - trace) trace^(n-1), the rest of the weight on the longest. After an
    end for good the value must be given as 0; after a time-out it is that of the final state.
    """
    target, targets = next_values[-1], []
    for step in reversed(range(len(rewards))):
        target = torch.lerp(next_values[step], target, trace)
        if ended is not None:
            target = torch.where(ended[step], next_values[step], target)
        target = rewards[step] + discount * target
        targets.append(target)
    return torch.stack(targets[::-1])
