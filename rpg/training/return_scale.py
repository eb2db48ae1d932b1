"""The unit in which an optimiser measures returns, so that its settings do not depend on the reward's."""

import torch
from torch import Tensor, nn

OUTLIER = 10.0  # spreads from the mean, beyond which a return counts as no more


class ReturnScale(nn.Module):
    """The running spread (standard deviation) of the returns of all episodes so far.

    All count alike: a spread of recent ones would shrink as the solutions become alike, and raise the reward against all
    other terms. It is 1 before there is a spread.
    """

    count: Tensor
    mean: Tensor
    variance: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros((), dtype=torch.float64))
        self.register_buffer("variance", torch.zeros((), dtype=torch.float64))

    @torch.no_grad()
    def update(self, returns: Tensor) -> None:
        """Take in the returns (B,) of a batch of episodes."""
        values = returns.detach().double()
        if float(self.count) > 0 and float(self.variance) > 0:
            reach = OUTLIER * self.variance.sqrt()
            values = values.clamp(self.mean - reach, self.mean + reach)
        new = torch.full_like(self.count, float(len(values)))
        weight = new / (self.count + new)
        shift = values.mean() - self.mean
        self.variance.lerp_(values.var(correction=0), weight).add_(weight * (1 - weight) * shift.square())
        self.mean.add_(weight * shift)
        self.count.add_(new)

    @property
    def value(self) -> float:
        """The spread; 1 if all returns so far are equal, to rounding."""
        spread = float(self.variance.sqrt())
        return spread if spread > 1e-7 * abs(float(self.mean)) and spread > 1e-30 else 1.0
