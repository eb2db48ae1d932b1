"""The closed forms by name: what is expected, and what the naive simulators answer.

python -m benchmarks.closed_forms.cases      prints their table
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from benchmarks.closed_forms import naive, references

Quantities = dict[str, float]


@dataclass(frozen=True)
class Case:
    """One closed form. Every simulator gives the quantities of ``expected``, by the same names, in SI units."""

    name: str
    expected: Quantities
    naive_penalty: Callable[[], Quantities]
    naive_impulse: Callable[[], Quantities]


def _case(name: str, expected: Quantities, simulate: Callable[..., Quantities], **arguments: float) -> Case:
    penalty, impulse = (partial(simulate, choice, **arguments) for choice in (False, True))
    return Case(name, expected, penalty, impulse)


CASES: dict[str, Case] = {
    case.name: case
    for case in (
        _case("wall", references.wall(), naive.wall),
        _case("bounce e=1", references.bounce(e=1.0), naive.bounce, e=1.0),
        _case("bounce e=0.6", references.bounce(e=0.6), naive.bounce, e=0.6),
        _case("slide to rest", references.slide(), naive.slide),
        _case("head-on e=1", references.head_on(e=1.0), naive.head_on, e=1.0),
        _case("head-on e=0.5", references.head_on(e=0.5), naive.head_on, e=0.5),
        Case("double pendulum", references.double_pendulum(), naive.double_pendulum, naive.double_pendulum),
        _case("billiard", references.billiard(), naive.billiard),
        _case("grasp", references.grasp(), naive.grasp),
    )
}


def main() -> None:
    print("| closed form | quantity | exact | plain penalty | naive impulse |\n|---|---|---|---|---|")
    for case in CASES.values():
        penalty, impulse = case.naive_penalty(), case.naive_impulse()
        for quantity, value in case.expected.items():
            print(f"| {case.name} | {quantity} | {value:.6g} | {penalty[quantity]:.6g} | {impulse[quantity]:.6g} |")


if __name__ == "__main__":
    main()
