"""The Bradley-Terry model of preferences (Bradley and Terry 1952), with importance weights.

Of segments 1 and 2, rewards r_t of their steps and weights A_t, the probability that 1 is preferred is

    P = exp(sum_t A_1t r_1t) / (exp(sum_t A_1t r_1t) + exp(sum_t A_2t r_2t))

and the loss of an answer that says so is L = -log P, whose gradient is

    dL/dr_1t = -A_1t (1 - P)        dL/dr_2t = +A_2t (1 - P)

With A = 1 this is the usual model. With A = pi / pi_b, the ratio of the present policy's density of an action to that of the
policy that drew it, the sums estimate what the segments would earn if the present policy acted in their states.
"""

import torch
from torch import Tensor
from torch.nn import functional


def preference_logit(first: Tensor, second: Tensor, first_weights: Tensor, second_weights: Tensor) -> Tensor:
    """(..., N) log P / (1 - P), of rewards (..., L, N) of the first and the second segments with weights (L, N)."""
    return (first_weights * first).sum(-2) - (second_weights * second).sum(-2)


def preference_loss(
    first: Tensor, second: Tensor, answers: Tensor, *, first_weights: Tensor | None = None, second_weights: Tensor | None = None
) -> Tensor:
    """(..., N) cross entropy, nats, of `answers` (N,): 1 where the first is preferred, 0 where the second, 0.5 where neither.

    `first` and `second` are rewards (..., L, N); weights (L, N) are 1 if not given.
    """
    ones = torch.ones_like(first)
    logit = preference_logit(
        first,
        second,
        ones if first_weights is None else first_weights,
        ones if second_weights is None else second_weights,
    )
    return functional.binary_cross_entropy_with_logits(logit, answers.expand_as(logit), reduction="none")
