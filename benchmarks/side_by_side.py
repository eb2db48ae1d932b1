"""Two sides on the same problems in interleaved runs: two checkouts, or Taichi and quadrants.

    python -m benchmarks.side_by_side --other-tree PATH --table docs/versions.md       this checkout against an older one
    python -m benchmarks.side_by_side --other-compiler quadrants --table docs/compilers.md

Every problem runs in two processes, one a side, on one thread each, and the two take turns. A ratio is this side's CPU time
over the other's in the same round; the table has the median over the rounds and the quartiles. Compilation is the CPU time
until both passes have run once, with an empty kernel cache, likewise in turns. Results count as equal when all of them,
gradients included, are equal to the last bit.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro

from benchmarks.answering import AnsweringProcess
from benchmarks.sides import worker

HERE = Path(__file__).resolve().parent.parent
CASES = (
    ("soft 10k", "f32"),
    ("soft 3k", "f32"),
    ("soft 10k", "f64"),
    ("soft 3k", "f64"),
    ("arm", "f64"),
    ("box under a force", "f64"),
    ("box before a pusher", "f64"),
    ("arm", "f32"),
    ("box before a pusher", "f32"),
    ("coupled", "f64"),
)
COMPILED = (("soft 300", "f32"), ("soft 300", "f64"), ("box before a pusher", "f64"), ("coupled", "f64"))


@dataclass(frozen=True)
class Options:
    """What to compare."""

    other_tree: Path | None = None
    """Checkout of the other side; None: this one."""
    other_compiler: str = "taichi"
    """DIFFSIM_COMPILER of the other side: taichi or quadrants."""
    other_python: str = sys.executable
    """Python of the other side (one that has quadrants)."""
    rounds: int = 20
    """Interleaved runs of each problem."""
    compile_rounds: int = 3
    """Interleaved compilations with an empty cache."""
    cases: tuple[str, ...] = field(default_factory=tuple)
    """Names of the problems, all if none is named."""
    table: Path | None = None
    """Markdown file whose part after the line "<!-- table -->" is replaced by the tables."""
    json: bool = False
    """Print one JSON object on the last line."""


@dataclass(frozen=True)
class Side:
    """How to run a worker."""

    tree: Path
    compiler: str
    python: str

    def start(self, case: tuple[str, str], cache: str | None = None) -> AnsweringProcess:
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.tree),
            "DIFFSIM_COMPILER": self.compiler,
            "DIFFSIM_NUM_THREADS": "1",
        }
        if cache is not None:
            environment |= {"TI_OFFLINE_CACHE_FILE_PATH": cache, "QD_OFFLINE_CACHE_FILE_PATH": cache}
        command = [self.python, "-W", "ignore", str(Path(worker.__file__).resolve()), *case]
        return AnsweringProcess(command, environment=environment, folder=Path(tempfile.gettempdir()))


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """First quartile, median, third."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def compare(sides: tuple[Side, Side], case: tuple[str, str], rounds: int) -> list[dict[str, Any]]:
    """A row for each pass."""
    workers = [side.start(case) for side in sides]
    digests = [each.ask("digest")["digest"] for each in workers]
    rows = []
    for command in ("forward", "forward_backward"):
        times: list[list[float]] = [[], []]
        for number in range(rounds):
            for own in (0, 1) if number % 2 else (1, 0):
                times[own].append(workers[own].ask(command)["cpu"])
        low, middle, high = quartiles([a / b for a, b in zip(*times, strict=True)])
        seconds = [statistics.median(each) for each in times]
        rows.append({
            "problem": case[0], "precision": case[1], "pass": command, "ratio": middle, "low": low, "high": high,
            "seconds": seconds, "equal": digests[0] == digests[1],
        })  # fmt: skip
    for each in workers:
        each.close()
    return rows


def compilation(sides: tuple[Side, Side], case: tuple[str, str], rounds: int) -> dict[str, Any]:
    """CPU seconds of a first run with an empty cache, and then from that cache."""
    cold: list[list[float]] = [[], []]
    cached: list[list[float]] = [[], []]
    for number in range(rounds):
        for own in (0, 1) if number % 2 else (1, 0):
            with tempfile.TemporaryDirectory() as cache:
                for found in (cold, cached):
                    started = sides[own].start(case, cache)
                    started.close()
                    found[own].append(started.ready["cpu"])
    low, middle, high = min(cold[0]) / min(cold[1]), statistics.median(cold[0]) / statistics.median(cold[1]), 0.0
    high = max(cold[0]) / max(cold[1])
    return {
        "problem": case[0], "precision": case[1], "ratio": middle, "low": min(low, high), "high": max(low, high),
        "cold": [statistics.median(each) for each in cold], "cached": [statistics.median(each) for each in cached],
    }  # fmt: skip


def tables(rows: list[dict[str, Any]], compiled: list[dict[str, Any]], rounds: int) -> str:
    """Markdown."""
    lines = [
        f"Medians of {rounds} rounds, with quartiles; CPU time, one thread.",
        "",
        "| problem | precision | pass | ratio | quartiles | this, ms | other, ms | results |",
        "|--|--|--|--:|--|--:|--:|--|",
    ]
    for row in rows:
        this, other = (1e3 * seconds for seconds in row["seconds"])
        lines.append(
            f"| {row['problem']} | {row['precision']} | {row['pass'].replace('_', ' + ')} | {row['ratio']:.3f} | "
            f"{row['low']:.3f} to {row['high']:.3f} | {this:.2f} | {other:.2f} | {'equal bits' if row['equal'] else 'differ'} |"
        )
    lines += [
        "",
        "Compilation, both passes, CPU seconds with an empty cache, and from the cache (imports not counted):",
        "",
        "| problem | precision | ratio | of the extremes | this, cold | other, cold | this, cached | other, cached |",
        "|--|--|--:|--|--:|--:|--:|--:|",
    ]
    for row in compiled:
        lines.append(
            f"| {row['problem']} | {row['precision']} | {row['ratio']:.3f} | {row['low']:.3f} to {row['high']:.3f} | "
            f"{row['cold'][0]:.1f} | {row['cold'][1]:.1f} | {row['cached'][0]:.1f} | {row['cached'][1]:.1f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    options = tyro.cli(Options)
    this = Side(HERE, "taichi", sys.executable)
    other = Side((options.other_tree or HERE).resolve(), options.other_compiler, options.other_python)
    if this == other:
        raise SystemExit("name another side: --other-tree or --other-compiler")
    sides, rows, compiled = (this, other), [], []
    for case in CASES:
        if options.cases and case[0] not in options.cases:
            continue
        for row in compare(sides, case, options.rounds):
            rows.append(row)
            print(
                f"{row['problem']:20} {row['precision']} {row['pass']:16} {row['ratio']:.3f} "
                f"({row['low']:.3f} to {row['high']:.3f}), results {'equal' if row['equal'] else 'differ'}",
                flush=True,
            )
    for case in COMPILED if options.compile_rounds else ():
        row = compilation(sides, case, options.compile_rounds)
        compiled.append(row)
        print(
            f"{row['problem']:20} {row['precision']} compile {row['cold'][0]:.1f} and {row['cold'][1]:.1f} s, "
            f"cached {row['cached'][0]:.1f} and {row['cached'][1]:.1f} s",
            flush=True,
        )
    if options.table is not None:
        before = options.table.read_text().split("<!-- table -->")[0] if options.table.exists() else ""
        options.table.write_text(before + "<!-- table -->\n" + tables(rows, compiled, options.rounds))
    if options.json:
        print(json.dumps({"runs": rows, "compilation": compiled}))


if __name__ == "__main__":
    main()
