"""Random action sequences: smooth in time through knots, and the entropy of the squashed actions that come of them.

White noise averages out where an action is an acceleration: only what lasts for several steps moves anything far.
"""

import math

import torch
from torch import Tensor

from rpg.action_policy import log_tanh_slope


def knot_weights(knots: int | None, horizon: int) -> Tensor:
    """(T, N) weights that turn values at N knots, evenly spaced over an episode, into T values: straight lines between.

    One knot is a constant. At most T knots are used; None means T, a value of its own for each step.
    """
    count = horizon if knots is None else min(knots, horizon)
    place = torch.arange(horizon) * ((count - 1) / max(1, horizon - 1))
    return (1 - (place.unsqueeze(1) - torch.arange(count)).abs()).clamp_min(0.0)


def squashed_entropy(std: Tensor, u: Tensor) -> float:
    """Mean over steps of the entropy of tanh(u), nats, from samples `u` (T, B, A) with std `std` (T, A) before squashing.

    The steps are taken one by one: what they have in common through knots is not counted.
    """
    gaussian = (std.log() + 0.5 * math.log(2 * math.pi * math.e)).sum(-1).mean()
    return float((gaussian + log_tanh_slope(u).sum(-1).mean()).detach())
