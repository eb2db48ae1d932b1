"""Estimators of the gradient of an expectation, as surrogate losses whose gradient is minus the estimate; their
signal-to-noise ratio; and the weight that mixes two of them with the least error.

Means and variances are taken over groups of episodes, those with the same latent: `groups` (B,) int64.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor


def pathwise_loss(value: Tensor) -> Tensor:
    """() pathwise loss for the parameters of `value` (B,), a differentiable function of them: grad E[f] = E[grad f]."""
    return -value.mean()


def score_function_loss(value: Tensor, log_prob: Tensor, baseline: Tensor | None = None) -> Tensor:
    """() REINFORCE loss for the parameters of `log_prob` (B,) or (S, B), with `value` of the same shape.

        grad E[f] = E[(f - b) grad log pi]

    Without a `baseline` b () or (S, 1), it is the mean of `value` over the batch. That contains the sample's own value, which
    shrinks the estimate by (B-1)/B; dividing by B-1 (equal to a leave-one-out baseline) makes it unbiased for independent
    draws. For draws that depend on each other, as stratified ones, b must come from elsewhere, as from the batch before.
    """
    value, batch = value.detach(), value.shape[-1]
    if baseline is not None:
        return -((value - baseline) * log_prob).sum() / batch
    advantage = value - value.mean(-1, keepdim=True)
    return -(advantage * log_prob).sum() / max(1, batch - 1)


def to_go(steps: Tensor) -> Tensor:
    """(T, B) sums from each step to the last (rewards to go) of `steps` (T, B); detached."""
    return steps.detach().flip(0).cumsum(0).flip(0)


def latent_groups(latent: Tensor) -> Tensor:
    """(B,) int64 numbers of the distinct columns of `latent` (S, B) or (S, B, D)."""
    columns = latent.movedim(1, 0).flatten(1)
    return columns.unique(dim=0, return_inverse=True)[1]


def repeated_groups(groups: Tensor) -> Tensor:
    """(B,) `groups`, or a single group of all episodes if no group has two (continuous latents), so that there is a variance
    to measure.
    """
    return groups if bool((torch.bincount(groups) > 1).any()) else torch.zeros_like(groups)


def advantages(value: Tensor, groups: Tensor) -> Tensor:
    """(..., B) `value` (..., B) minus the mean over the other episodes of its group, or over all others for a group of one.

    A leave-one-out baseline does not depend on an episode's own noise, so score estimates stay unbiased.
    """
    batch = len(groups)
    sizes = torch.bincount(groups)[groups]
    sums = value.new_zeros(*value.shape[:-1], int(groups.max()) + 1).index_add(-1, groups, value)[..., groups]
    others = (value.sum(-1, keepdim=True) - value) / max(1, batch - 1)
    own = (sums - value) / (sizes - 1).clamp_min(1)
    return value - torch.where(sizes > 1, own, others)


class GroupMoments(NamedTuple):
    """Of the groups' mean gradients, by action dimension, summed over time and groups; (A,) each."""

    square: Tensor
    """|mean|^2, to which the noise contributes as well."""
    noise: Tensor
    """Variance of the mean."""
    groups: int
    """Number of groups with at least two episodes; the others are left out."""


def group_moments(gradients: Tensor, groups: Tensor) -> GroupMoments:
    """Moments of per-episode `gradients` (T, B, A), each episode's (A,) at each step."""
    sizes = torch.bincount(groups)
    index = groups.view(1, -1, 1).expand_as(gradients)
    shape = (len(gradients), len(sizes), gradients.shape[-1])
    counts = sizes.view(1, -1, 1).clamp_min(1)
    mean = gradients.new_zeros(shape).scatter_add(1, index, gradients) / counts
    deviation = gradients - mean.gather(1, index)
    variance = gradients.new_zeros(shape).scatter_add(1, index, deviation.square())
    variance = variance / ((counts - 1).clamp_min(1) * counts)
    used = sizes > 1
    return GroupMoments(mean[:, used].square().sum((0, 1)), variance[:, used].sum((0, 1)), int(used.sum()))


def signal_to_noise(gradients: Tensor, groups: Tensor) -> float:
    """sqrt(signal / noise) of the batch's mean gradient, from per-episode `gradients` (T, B, A) with respect to the actions;
    0 for pure noise, or if no group has two episodes.
    """
    square, noise, used = group_moments(gradients.detach(), groups)
    if used == 0 or float(noise.sum()) == 0:
        return 0.0
    return float(((square - noise).clamp_min(0).sum() / noise.sum()).sqrt())


def limited_episodes(gradients: Tensor, multiple: float) -> tuple[Tensor, Tensor]:
    """Per-episode `gradients` (T, B, A), those of a norm above `multiple` times the median scaled down to it, and which these
    are, (B,) bool. All others are returned as they are, bit for bit.

    The median, unlike a mean, is not moved by the outliers themselves. It is over the episodes that have a gradient: where most
    have none, the few that do are not outliers. Norms that overflow count as infinite.
    """
    norms = torch.linalg.vector_norm(gradients, dim=(0, 2))
    given = norms[norms > 0]
    if len(given) == 0:
        return gradients, torch.zeros_like(norms, dtype=torch.bool)
    limit = multiple * given.median()
    outliers = norms > limit
    factors = torch.where(outliers, limit / norms, 1.0).unsqueeze(-1)
    return torch.where(outliers.unsqueeze(-1), gradients * factors, gradients), outliers


class MixingMoments(NamedTuple):
    """What the weight of a mix follows from, by action dimension; (A,) each."""

    pathwise: Tensor
    """Variance of the pathwise estimate."""
    score: Tensor
    """Variance of the score function's."""
    bias: Tensor
    """Square of the difference of their expectations, an unbiased estimate that may be negative."""

    def averaged(self, before: "MixingMoments | None", rate: float) -> "MixingMoments":
        """A running mean, in which these have the weight `rate`."""
        if before is None:
            return self
        return MixingMoments(*(torch.lerp(old, new, rate) for old, new in zip(before, self, strict=True)))

    def pathwise_weight(self) -> Tensor:
        """(A,) weight w of the pathwise estimate that gives w p + (1 - w) s the least mean squared error, with p's bias
        against s, which has none: Var_s / (Var_s + Var_p + bias^2).

        The variances alone would trust an estimate that misses a jump of the reward, since it hardly varies (Suh et al. 2022,
        "Do differentiable simulators give better policy gradients?", who bound the bias instead)."""
        total = self.score + self.pathwise + self.bias.clamp_min(0)
        return self.score / total.clamp_min(torch.finfo(total.dtype).tiny)


def mixing_moments(pathwise: Tensor, score: Tensor, groups: Tensor) -> MixingMoments:
    """Of per-episode estimates of the same gradient, (T, B, A) each."""
    difference = group_moments(pathwise - score, groups)
    return MixingMoments(
        group_moments(pathwise, groups).noise, group_moments(score, groups).noise, difference.square - difference.noise
    )


def clipped_gradient_norm(parameters: Iterable[Tensor], limit: float) -> float:
    """Scale the gradients down to norm `limit` if they exceed it; returns the norm before, which may not be finite."""
    return float(torch.nn.utils.clip_grad_norm_(list(parameters), limit))
