"""Which pairs of segments to ask the teacher about."""

import math
from typing import Literal

import torch
from torch import Tensor

from rpg.preferences.bradley_terry import preference_logit

Selection = Literal["gradient", "disagreement", "random"]


def drawn_pairs(segments: int, count: int, generator: torch.Generator) -> Tensor:
    """(`count`, 2) int64 pairs of different ones of N `segments`; none occurs again before all have occurred, but for an odd
    one."""
    pairs = segments // 2
    orders = [torch.randperm(segments, generator=generator)[: 2 * pairs] for _ in range(math.ceil(count / pairs))]
    return torch.cat(orders).view(-1, 2)[:count]


def expected_gradient(first: Tensor, second: Tensor, first_weights: Tensor, second_weights: Tensor) -> Tensor:
    """(N,) the norm of the loss's gradient with respect to the rewards, |A (1 - P)|, as expected before the answer is known.

    An answer that had the probability P gives |A| (1 - P), with |A|^2 the sum of the squares of both segments' weights. The
    model expects the answer "the first" with probability P and "the second" with 1 - P, so the mean is 2 |A| P (1 - P). Rewards
    are (M, L, N) of the M members of an ensemble, whose probabilities are averaged; weights are (L, N).
    """
    probability = torch.sigmoid(preference_logit(first, second, first_weights, second_weights)).mean(0)
    size = (first_weights.square().sum(0) + second_weights.square().sum(0)).sqrt()
    return 2 * size * probability * (1 - probability)


def disagreement(first: Tensor, second: Tensor, first_weights: Tensor, second_weights: Tensor) -> Tensor:
    """(N,) the standard deviation of P over the M members of an ensemble, of rewards (M, L, N) and weights (L, N)."""
    return torch.sigmoid(preference_logit(first, second, first_weights, second_weights)).std(0, correction=0)


SCORES = {"gradient": expected_gradient, "disagreement": disagreement}


@torch.no_grad()
def selected(selection: Selection, pairs: Tensor, count: int, rewards: Tensor, weights: Tensor) -> Tensor:
    """(`count`, 2) of the candidates `pairs` (C, 2): those with the largest score, best first; the first ones for "random".

    `rewards` (M, L, N) and `weights` (L, N) are those of all segments, to which the pairs refer.
    """
    if selection == "random":
        return pairs[:count]
    first, second = pairs.unbind(1)
    score = SCORES[selection](rewards[..., first], rewards[..., second], weights[:, first], weights[:, second])
    return pairs[score.argsort(descending=True, stable=True)[:count]]
