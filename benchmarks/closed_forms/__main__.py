"""Do contact, friction and joints do what they must, and are their derivatives those of the closed forms?

python -m benchmarks.closed_forms              a table: exact, ours, ours in event mode, and two naive differentiable simulators
python -m benchmarks.closed_forms --json       expected, obtained and relative error of every quantity, on the last line
python -m benchmarks.closed_forms --refine     our largest error of each form as the contacts get stiffer
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import torch
import tyro

from benchmarks.closed_forms import ours
from benchmarks.closed_forms.cases import CASES, Quantities


@dataclass(frozen=True)
class Options:
    """What to print."""

    json: bool = False
    """One JSON object on the last line, {form: {quantity: {expected, obtained, relative_error}}}, in place of the table. Forms
    that event mode gives too stand there once more as "<form>, event mode"."""
    refine: bool = False
    """The largest relative error at contacts twice as long, as they are, and half as long, in place of the table."""
    refinement: float = 1.0
    """Contacts so many times as short as `ours.FORMS` has them."""


def relative_error(expected: float, obtained: float) -> float:
    """|obtained - expected| / |expected|; the error itself where 0 is expected."""
    return abs(obtained - expected) / (abs(expected) or 1.0)


def compared(expected: Quantities, obtained: Quantities) -> dict[str, dict[str, float]]:
    return {
        name: {"expected": value, "obtained": obtained[name], "relative_error": relative_error(value, obtained[name])}
        for name, value in expected.items()
    }


def worst(name: str, refinement: float) -> float:
    """Our largest relative error in a closed form."""
    rows = compared(CASES[name].expected, ours.simulate(name, refinement))
    return max(row["relative_error"] for row in rows.values())


def settings_of(name: str, refinement: float) -> str:
    settings = ours.FORMS[name][1].refined(refinement)
    if name == "double pendulum":
        return f"dt {settings.dt:g} s"
    return (
        f"dt {settings.dt:g} s, stiffness {settings.stiffness:g} N/m, smoothing {settings.smoothing:g} m, "
        f"restitution_speed {settings.restitution_speed:g} m/s, slip_speed {settings.slip_speed:g} m/s"
    )


def print_table(results: dict[str, Quantities], events: dict[str, Quantities]) -> None:
    heads = ("exact", "ours", "ours, event mode", "plain penalty", "naive impulse")
    print(f"| closed form | quantity | {' | '.join(heads)} |\n|---|---|--:|--:|--:|--:|--:|")
    for name, case in CASES.items():
        penalty, impulse = case.naive_penalty(), case.naive_impulse()
        for quantity, value in case.expected.items():
            answers = (value, results[name][quantity], events.get(name, {}).get(quantity), penalty[quantity], impulse[quantity])
            print(f"| {name} | {quantity} | " + " | ".join(shown(answer) for answer in answers) + " |")


def shown(value: float | None) -> str:
    if value is None:
        return ""
    return "0" if abs(value) < 1e-12 else f"{value:.4g}"


def print_refinement() -> None:
    factors = (0.5, 1.0, 2.0)
    heads = ("contacts twice as long", "as above", "half as long")
    print(f"| closed form | {' | '.join(heads)} |\n|---|--:|--:|--:|")
    for name in CASES:
        print(f"| {name} | " + " | ".join(f"{100.0 * worst(name, factor):.2f}%" for factor in factors) + " |", flush=True)


def main() -> None:
    options = tyro.cli(Options)
    torch.set_num_threads(1)
    if options.refine:
        print_refinement()
        return
    results = {}
    for name in CASES:
        results[name] = ours.simulate(name, options.refinement)
        assert all(math.isfinite(value) for value in results[name].values()), f"{name}: {results[name]}"
        print(f"{name}: {settings_of(name, options.refinement)}", flush=True)
    events = {name: ours.simulate_events(name) for name in ours.EVENT_FORMS}
    rows = {name: compared(CASES[name].expected, found) for name, found in results.items()}
    event_rows = {name: compared(CASES[name].expected, found) for name, found in events.items()}
    worst_event = max(row["relative_error"] for form in event_rows.values() for row in form.values())
    print(f"event mode: dt {ours.EVENT.dt:g} s, largest relative error {worst_event:.1e}")
    if options.json:
        print(json.dumps(rows | {f"{name}, event mode": form for name, form in event_rows.items()}))
    else:
        print()
        print_table(results, events)


if __name__ == "__main__":
    main()
