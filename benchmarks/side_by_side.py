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

RUNS, COMPILATION = "<!-- runs -->", "<!-- compilation -->"
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
    ("pouring", "f64"),
    ("pouring", "f32"),
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
    """Interleaved runs of each problem; 0 for none."""
    compile_rounds: int = 3
    """Interleaved compilations with an empty cache; 0 for none."""
    cases: tuple[str, ...] = field(default_factory=tuple)
    """Names of the problems, all if none is named."""
    table: Path | None = None
    """Markdown file whose parts behind the marks <!-- runs --> and <!-- compilation --> are replaced by what was measured."""
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
    ratios = [a / b for a, b in zip(*cold, strict=True)]
    return {
        "problem": case[0], "precision": case[1], "ratio": statistics.median(ratios), "low": min(ratios), "high": max(ratios),
        "cold": [statistics.median(each) for each in cold], "cached": [statistics.median(each) for each in cached],
    }  # fmt: skip


def run_table(rows: list[dict[str, Any]], rounds: int) -> str:
    """Markdown of the runs."""
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
    return "\n".join(lines) + "\n"


def compilation_table(rows: list[dict[str, Any]], rounds: int) -> str:
    """Markdown of the compilations."""
    lines = [
        "Compilation of both passes, CPU seconds with an empty cache, and from the cache (imports not counted);",
        f"{rounds} rounds, medians, and the lowest and highest ratio of a round:",
        "",
        "| problem | precision | ratio | of all rounds | this, cold | other, cold | this, cached | other, cached |",
        "|--|--|--:|--|--:|--:|--:|--:|",
    ]
    for row in rows:
        lines.append(
            f"| {row['problem']} | {row['precision']} | {row['ratio']:.3f} | {row['low']:.3f} to {row['high']:.3f} | "
            f"{row['cold'][0]:.1f} | {row['cold'][1]:.1f} | {row['cached'][0]:.1f} | {row['cached'][1]:.1f} |"
        )
    return "\n".join(lines) + "\n"


def write_tables(path: Path, runs: str | None, compilations: str | None) -> None:
    """Replace what stands behind the marks RUNS and COMPILATION of a page; None keeps it."""
    text = path.read_text() if path.exists() else ""
    page, _, rest = text.partition(RUNS)
    old_runs, _, old_compilations = rest.partition(COMPILATION)
    runs = old_runs.strip("\n") if runs is None else runs.strip("\n")
    compilations = old_compilations.strip("\n") if compilations is None else compilations.strip("\n")
    path.write_text(f"{page}{RUNS}\n{runs}\n\n{COMPILATION}\n{compilations}\n")


def main() -> None:
    options = tyro.cli(Options)
    this = Side(HERE, "taichi", sys.executable)
    other = Side((options.other_tree or HERE).resolve(), options.other_compiler, options.other_python)
    if this == other:
        raise SystemExit("name another side: --other-tree or --other-compiler")
    sides, rows, compiled = (this, other), [], []
    for case in CASES if options.rounds else ():
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
        runs = run_table(rows, options.rounds) if options.rounds else None
        compilations = compilation_table(compiled, options.compile_rounds) if options.compile_rounds else None
        write_tables(options.table, runs, compilations)
    if options.json:
        print(json.dumps({"runs": rows, "compilation": compiled}))


if __name__ == "__main__":
    main()
