"""Estimators of the gradient of an expectation, as surrogate losses whose gradient is minus the estimate."""

from collections.abc import Iterable

import torch
from torch import Tensor


def pathwise_loss(value: Tensor) -> Tensor:
    """() loss for parameters that `value` (B,) is a differentiable function of: grad E[f] = E[grad f]."""
    return -value.mean()


def score_function_loss(value: Tensor, log_prob: Tensor) -> Tensor:
    """() REINFORCE loss for the parameters of `log_prob` (B,); the baseline is the mean of `value` (B,).

        grad E[f] = E[(f - b) grad log pi],   b = mean of f over the batch

    The mean contains the sample's own value, which shrinks the estimate by (B-1)/B; dividing by B-1 (equal to
    a leave-one-out baseline) makes it unbiased.
    """
    advantage = value.detach() - value.detach().mean()
    return -(advantage * log_prob).sum() / max(1, value.shape[0] - 1)


def clipped_gradient_norm(parameters: Iterable[Tensor], limit: float) -> float:
    """Scale the gradients down to norm `limit` if they exceed it; the norm before, possibly not finite."""
    return float(torch.nn.utils.clip_grad_norm_(list(parameters), limit))
