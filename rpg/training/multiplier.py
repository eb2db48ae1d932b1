"""Lagrange multipliers that hold a quantity at its target while a run goes on."""

import math


class Multiplier:
    """A positive weight that rises while a quantity lacks something of its target (dual ascent of its logarithm).

        log m = integral of rate * lack + damping * lack + lead * (lack - lack before)

    The second, proportional, part keeps the pair of weight and quantity from swinging; with the third, of the change, it is a
    PID controller (Stooke et al., ICML 2020). The lack is held to [-1, 1], and m to [`low`, `high`].
    """

    def __init__(
        self,
        start: float,
        *,
        rate: float = 0.2,
        damping: float = 3.0,
        lead: float = 0.0,
        low: float = 1e-3,
        high: float = 1e2,
    ) -> None:
        self.rate, self.damping, self.lead = rate, damping, lead
        self.low, self.high = math.log(low), math.log(high)
        self.integral = min(max(math.log(max(start, low)), self.low), self.high)
        self.lack, self.change = 0.0, 0.0

    @property
    def value(self) -> float:
        """m."""
        wanted = self.integral + self.damping * self.lack + self.lead * self.change
        return math.exp(min(max(wanted, self.low), self.high))

    def update(self, lack: float) -> None:
        """Learn that the quantity lacks so much: target minus value."""
        before, self.lack = self.lack, max(-1.0, min(1.0, lack))
        self.change = self.lack - before
        self.integral = min(max(self.integral + self.rate * self.lack, self.low), self.high)

    def state(self) -> list[float]:
        """What `restore` takes."""
        return [self.integral, self.lack, self.change]

    def restore(self, state: list[float]) -> None:
        """The inverse of `state`; the change, which old checkpoints lack, is 0 there."""
        self.integral, self.lack, self.change = [*state, 0.0][:3]
