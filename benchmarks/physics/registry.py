"""What a case is, and the list of them.

A scene often answers several questions at once, so an `Experiment` is a function that yields its cases' results, one by one, as
(case, measured); those that it no longer reaches when it raises have not passed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, SupportsFloat

Results = Iterator[tuple[str, SupportsFloat]]


@dataclass(frozen=True)
class Expected:
    """The right value of a case, and how far from it is still right, in ``unit``."""

    value: float
    tolerance: float
    unit: str


@dataclass(frozen=True)
class Experiment:
    """One or more scenes, and what is expected of them.

    Attributes:
        name: of the experiment; its cases are "<name>: <case>".
        subject: the module that has it.
        point: of the list of what must hold (docs/physics.md) it belongs to.
        run: yields (case, measured).
        expected: by case.
    """

    name: str
    subject: str
    point: int
    run: Callable[[], Results]
    expected: Mapping[str, Expected]

    def records(self) -> Iterator[dict[str, Any]]:
        """Those of all cases, in the order in which they come; of what raises, or comes to nothing, with an "error"."""
        left = dict(self.expected)
        error = "the experiment does not measure it"
        try:
            for case, measured in self.run():
                yield self._record(case, left.pop(case), float(measured))
        except Exception as raised:  # whatever it is, the other cases count
            error = f"{type(raised).__name__}: {raised}".splitlines()[0]
        for case, expected in left.items():
            yield self._record(case, expected, None, error)

    def failed(self, cases: Mapping[str, Expected], error: str) -> list[dict[str, Any]]:
        """Records of cases that came to nothing."""
        return [self._record(case, expected, None, error) for case, expected in cases.items()]

    def _record(self, case: str, expected: Expected, measured: float | None, error: str = "") -> dict[str, Any]:
        if measured is not None and not math.isfinite(measured):
            measured, error = None, f"measured {measured}"
        record = {
            "name": f"{self.name}: {case}", "point": self.point, "measured": measured, "expected": float(expected.value),
            "tolerance": float(expected.tolerance), "unit": expected.unit,
            "pass": measured is not None and bool(abs(measured - expected.value) <= expected.tolerance),
        }  # fmt: skip
        return record | ({"error": error} if error else {})


EXPERIMENTS: dict[str, Experiment] = {}


def experiment(
    name: str, point: int, expected: Mapping[str, Expected]
) -> Callable[[Callable[[], Results]], Callable[[], Results]]:
    """Registers a function as the experiment ``name``."""

    def register(run: Callable[[], Results]) -> Callable[[], Results]:
        assert name not in EXPERIMENTS, name
        EXPERIMENTS[name] = Experiment(name, run.__module__.rpartition(".")[2], point, run, dict(expected))
        return run

    return register


def within(value: float, share: float, unit: str = "") -> Expected:
    """A value, to a share of itself."""
    return Expected(value, abs(value) * share, unit)


def about(value: float, tolerance: float, unit: str = "") -> Expected:
    """A value, to so much."""
    return Expected(value, tolerance, unit)


def none(limit: float, unit: str = "") -> Expected:
    """Nothing, or what is less than the limit."""
    return Expected(0.0, limit, unit)


def yes() -> Expected:
    """That something is so: 1, and 0 where it is not."""
    return Expected(1.0, 0.0, "yes")
