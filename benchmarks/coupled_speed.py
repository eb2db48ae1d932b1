"""How fast are scenes of soft and rigid bodies? Particle-substeps per CPU second on one thread; and against another checkout.

    python -m benchmarks.coupled_speed --json
    python -m benchmarks.coupled_speed --other-tree PATH --json     this checkout and another take turns

The problems (`benchmarks/sides/worker.py`):
    pouring   a cup of five boxes on a driven hinge pours 729 particles of liquid into a bowl of five boxes, 1,600 substeps
    coupled   a rigid ball falls on a jelly cube of 800 particles, 40 substeps
A ratio is the other side's time over this one's in the same round, the median over the rounds.
"""

from __future__ import annotations

import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from benchmarks.side_by_side import HERE, Side
from benchmarks.sides.worker import POURING

# particles, control steps, substeps of each
SIZES = {"pouring": POURING, "coupled": (800, 2, 20)}


@dataclass(frozen=True)
class Options:
    """What to measure."""

    other_tree: Path | None = None
    """Checkout of the other side; None: this one alone."""
    rounds: int = 7
    """Interleaved runs of each problem."""
    precisions: tuple[str, ...] = ("f64", "f32")
    """f32, f64 or both."""
    json: bool = False
    """Print one JSON object on the last line."""


def measure(sides: list[Side], problem: str, precision: str, rounds: int) -> list[dict[str, Any]]:
    """A row for each pass."""
    particles, steps, substeps = SIZES[problem]
    workers = [side.start((problem, precision)) for side in sides]
    rows = []
    for command in ("forward", "forward_backward"):
        times: list[list[float]] = [[] for _ in workers]
        for number in range(rounds):
            for own in range(len(workers))[:: -1 if number % 2 else 1]:
                times[own].append(workers[own].ask(command)["cpu"])
        row: dict[str, Any] = {"problem": problem, "precision": precision, "pass": command}
        row["millions_per_second"] = 1e-6 * particles * steps * substeps / statistics.median(times[0])
        if len(times) == 2:
            row["ratio"] = statistics.median(other / own for own, other in zip(*times, strict=True))
        rows.append(row)
    for each in workers:
        each.close()
    return rows


def main() -> None:
    options = tyro.cli(Options)
    sides = [Side(HERE, "taichi", sys.executable)]
    if options.other_tree is not None:
        sides.append(Side(options.other_tree.resolve(), "taichi", sys.executable))
    rows = []
    for problem in SIZES:
        for precision in options.precisions:
            for row in measure(sides, problem, precision, options.rounds):
                rows.append(row)
                against = f", {row['ratio']:.2f} times as fast as the other" if "ratio" in row else ""
                print(
                    f"{row['problem']:8} {row['precision']} {row['pass']:16} {row['millions_per_second']:.2f} million "
                    f"particle-substeps per CPU second{against}",
                    flush=True,
                )
    if options.json:
        print(json.dumps({"runs": rows}))


if __name__ == "__main__":
    main()
