"""Estimators of the gradient of an expectation, as surrogate losses whose gradient is minus the estimate; their
signal-to-noise ratio; and the weight that mixes two of them with the least variance.

Means and variances are taken over groups of episodes, those with the same latent: `groups` (B,) int64.
"""

from collections.abc import Iterable

import torch
from torch import Tensor


def pathwise_loss(value: Tensor) -> Tensor:
    """() pathwise loss for the parameters of `value` (B,), a differentiable function of them: grad E[f] = E[grad f]."""
    return -value.mean()


def score_function_loss(value: Tensor, log_prob: Tensor) -> Tensor:
    """() REINFORCE loss for the parameters of `log_prob` (B,); the baseline is the mean of `value` (B,).

        grad E[f] = E[(f - b) grad log pi],   b = mean of f over the batch

    The mean contains the sample's own value, which shrinks the estimate by (B-1)/B; dividing by B-1 (equal to
    a leave-one-out baseline) makes it unbiased.
    """
    advantage = value.detach() - value.detach().mean()
    return -(advantage * log_prob).sum() / max(1, value.shape[0] - 1)


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


def group_spread(gradients: Tensor, groups: Tensor) -> tuple[Tensor, Tensor, int]:
    """Signal and noise of per-episode `gradients` (T, B, A), each (A,), summed over time and groups: the noise is the
    variance of the group's mean, the signal |mean|^2 minus the noise's expected contribution to it. Also the number of groups
    with at least two episodes; the others are left out.
    """
    sizes = torch.bincount(groups)
    index = groups.view(1, -1, 1).expand_as(gradients)
    shape = (len(gradients), len(sizes), gradients.shape[-1])
    counts = sizes.view(1, -1, 1).clamp_min(1)
    mean = gradients.new_zeros(shape).scatter_add(1, index, gradients) / counts
    deviation = gradients - mean.gather(1, index)
    variance = gradients.new_zeros(shape).scatter_add(1, index, deviation.square())
    variance = variance / ((counts - 1).clamp_min(1) * counts)
    used = sizes > 1
    noise = variance[:, used].sum((0, 1))
    signal = mean[:, used].square().sum((0, 1)) - noise
    return signal.clamp_min(0), noise, int(used.sum())


def signal_to_noise(gradients: Tensor, groups: Tensor) -> float:
    """sqrt(signal / noise) of the batch's mean gradient, from per-episode `gradients` (T, B, A) with respect to the actions;
    0 for pure noise, or if no group has two episodes.
    """
    signal, noise, used = group_spread(gradients.detach(), groups)
    if used == 0 or float(noise.sum()) == 0:
        return 0.0
    return float((signal.sum() / noise.sum()).sqrt())


def pathwise_weight(pathwise: Tensor, score: Tensor, groups: Tensor) -> Tensor:
    """(A,) weight of the pathwise estimate that gives its mix with the score function's the least variance, Var_s / (Var_s +
    Var_p), for each action dimension (alpha-order gradients, Suh et al. 2022); 0 where the pathwise gradient is always 0.
    Both estimates are (T, B, A). The variances are estimated from this batch, so the mix has a bias of order 1/B.
    """
    _, noise_p, _ = group_spread(pathwise, groups)
    _, noise_s, _ = group_spread(score, groups)
    weight = noise_s / (noise_s + noise_p).clamp_min(torch.finfo(noise_s.dtype).tiny)
    return torch.where((pathwise == 0).all(1).all(0), torch.zeros_like(weight), weight)


def clipped_gradient_norm(parameters: Iterable[Tensor], limit: float) -> float:
    """Scale the gradients down to norm `limit` if they exceed it; returns the norm before, which may not be finite."""
    return float(torch.nn.utils.clip_grad_norm_(list(parameters), limit))
