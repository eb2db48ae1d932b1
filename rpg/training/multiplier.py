"""Lagrange multipliers that hold a quantity at its target while a run goes on."""

import math


class Multiplier:
    """A positive weight that rises while a quantity lacks something of its target (dual ascent of its logarithm).

        log m = integral of rate * lack + damping * lack

    The second, proportional, part keeps the pair of weight and quantity from swinging (Stooke et al., ICML 2020). The lack is
    held to [-1, 1], and m to [`low`, `high`].
    """

    def __init__(self, start: float, *, rate: float = 0.2, damping: float = 3.0, low: float = 1e-3, high: float = 1e2) -> None:
        self.rate, self.damping = rate, damping
        self.low, self.high = math.log(low), math.log(high)
        self.integral = min(max(math.log(max(start, low)), self.low), self.high)
        self.lack = 0.0

    @property
    def value(self) -> float:
        """m."""
        return math.exp(min(max(self.integral + self.damping * self.lack, self.low), self.high))

    def update(self, lack: float) -> None:
        """Learn that the quantity lacks so much: target minus value."""
        self.lack = max(-1.0, min(1.0, lack))
        self.integral = min(max(self.integral + self.rate * self.lack, self.low), self.high)

    def state(self) -> list[float]:
        """What `restore` takes."""
        return [self.integral, self.lack]

    def restore(self, state: list[float]) -> None:
        """The inverse of `state`."""
        self.integral, self.lack = state
