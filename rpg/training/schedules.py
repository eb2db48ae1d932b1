"""Settings that change linearly over a run."""

from dataclasses import dataclass

from rpg.settings_checks import is_number


@dataclass(frozen=True)
class Schedule:
    """`start` until the fraction `begin` of the run, a straight line to `end` at `finish`, then `end`."""

    start: float
    """Value up to `begin`."""
    end: float
    """Value from `finish` on."""
    begin: float = 0.0
    """Fraction of the run at which the change begins."""
    finish: float = 1.0
    """Fraction of the run at which the change is complete."""

    def __post_init__(self) -> None:
        for name in ("start", "end", "begin", "finish"):
            if not is_number(getattr(self, name)):
                raise ValueError(f"Schedule.{name} was given {getattr(self, name)!r}; allowed are finite numbers")
        if not 0.0 <= self.begin <= self.finish <= 1.0:
            given = f"begin={self.begin}, finish={self.finish}"
            raise ValueError(f"Schedule was given {given}; allowed is 0 <= begin <= finish <= 1")

    @classmethod
    def constant(cls, value: float) -> "Schedule":
        """The same value throughout."""
        return cls(start=value, end=value)

    def value(self, progress: float) -> float:
        """The value at the fraction `progress` of the run, 0 to 1."""
        if progress <= self.begin:
            return self.start
        if progress >= self.finish:
            return self.end
        return self.start + (self.end - self.start) * (progress - self.begin) / (self.finish - self.begin)
