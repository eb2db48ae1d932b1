"""Does the simulator do what is known to be right, at its default settings? Scenes with closed forms, conserved quantities and
references from experiments; docs/physics.md says what each point is.

    python -m benchmarks.physics                          a line for each case
    python -m benchmarks.physics --json                   {"cases": [...], "passed", "of"} on the last line
    python -m benchmarks.physics --list                   the experiments and their cases; nothing is run
    python -m benchmarks.physics --only gyroscope tower   these experiments, or all of a subject
    python -m benchmarks.physics --table docs/physics.md  the tables of that file anew

Each subject runs in a process of its own, so that one that fails, hangs or dies takes no other's results with it.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from benchmarks.physics import worker
from benchmarks.physics.physics_table import write_table
from benchmarks.physics.registry import EXPERIMENTS, Experiment

SUBJECTS = (
    "friction", "rolling", "spins", "scaling", "impacts", "soft_rigid", "liquids", "precision", "forces", "solids",
)  # fmt: skip

Record = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """What to run and print."""

    json: bool = False
    """One JSON object on the last line: "cases", each with name, point, measured, expected, tolerance, unit, pass and, where it
    came to nothing, error; then "passed" and "of"."""
    list: bool = False
    """Only name the experiments and their cases."""
    only: tuple[str, ...] = ()
    """Experiments or subjects; all if empty."""
    table: Path | None = None
    """Markdown file whose table is written anew whenever a subject is done."""
    jobs: int = 2
    """Subjects at a time, each on one thread."""
    limit: float = 1800.0
    """Seconds that a subject may take."""


def registered() -> dict[str, Experiment]:
    """All experiments, by subject in the order of SUBJECTS."""
    for subject in SUBJECTS:
        importlib.import_module(f"benchmarks.physics.{subject}")
    return {each.name: each for subject in SUBJECTS for each in EXPERIMENTS.values() if each.subject == subject}


def chosen(only: Sequence[str]) -> list[Experiment]:
    """Those of these names or subjects.

    Raises:
        SystemExit: a name is neither.
    """
    known = registered()
    wrong = [name for name in only if name not in known and name not in SUBJECTS]
    if wrong:
        there_are = f"experiments: {', '.join(known)}; subjects: {', '.join(SUBJECTS)}"
        raise SystemExit(f"there is no experiment or subject {', '.join(wrong)}; {there_are}")
    return [each for each in known.values() if not only or each.name in only or each.subject in only]


def subject_records(subject: str, experiments: Sequence[Experiment], limit: float) -> Iterator[Record]:
    """Of all cases of a subject's experiments, from a process of their own; of those that it does not come to, an error."""
    command = [sys.executable, "-W", "ignore", "-m", worker.__name__, subject, *(each.name for each in experiments)]
    threads = {"DIFFSIM_NUM_THREADS": os.environ.get("DIFFSIM_NUM_THREADS", "1")}
    process = subprocess.Popen(
        command, env={**os.environ, **threads}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None  # noqa: PT018
    timer = threading.Timer(limit, process.kill)
    timer.start()
    left = {f"{each.name}: {case}": (each, case) for each in experiments for case in each.expected}
    tail: list[str] = []
    reader = threading.Thread(target=lambda: tail.extend(process.stderr or ()))  # its warnings, which nobody waits for
    reader.start()
    begin = time.monotonic()
    for line in process.stdout:
        if line.startswith("{"):
            record = json.loads(line)
            left.pop(record["name"])
            yield record
    process.wait()
    reader.join()
    timer.cancel()
    error = f"its process ended with {process.returncode} after {time.monotonic() - begin:.0f} s"
    error += f": {tail[-1].strip()}" if tail and process.returncode > 0 else ""
    for owner, case in left.values():
        yield from owner.failed({case: owner.expected[case]}, error)


def run(experiments: Sequence[Experiment], jobs: int, limit: float) -> Iterator[Record]:
    """Records as they come, of several subjects at a time."""
    waiting: queue.Queue[str] = queue.Queue()
    done: queue.Queue[Record | None] = queue.Queue()
    for subject in SUBJECTS:
        if any(each.subject == subject for each in experiments):
            waiting.put(subject)

    def work() -> None:
        while True:
            try:
                subject = waiting.get_nowait()
            except queue.Empty:
                break
            for record in subject_records(subject, [each for each in experiments if each.subject == subject], limit):
                done.put(record)
        done.put(None)

    workers = [threading.Thread(target=work) for _ in range(max(jobs, 1))]
    for each in workers:
        each.start()
    at_work = len(workers)
    while at_work:
        record = done.get()
        if record is None:
            at_work -= 1
        else:
            yield record


def shown(record: Record) -> str:
    measured = "nothing" if record["measured"] is None else f"{record['measured']:.6g}"
    line = f"{'pass' if record['pass'] else 'FAIL'}  {record['name']}: {measured}, expected {record['expected']:.6g} "
    return line + f"+- {record['tolerance']:.2g} {record['unit']}" + (f"  ({record['error']})" if "error" in record else "")


def main() -> None:
    options = tyro.cli(Options)
    experiments = chosen(options.only)
    if options.list:
        for each in experiments:
            print(f"{each.subject}  point {each.point}  {each.name}")
            for case, expected in each.expected.items():
                print(f"    {case}: {expected.value:.6g} +- {expected.tolerance:.2g} {expected.unit}")
        return
    order = {
        f"{each.name}: {case}": n
        for n, (each, case) in enumerate((each, case) for each in experiments for case in each.expected)
    }
    records: list[Record] = []
    for record in run(experiments, options.jobs, options.limit):
        records.append(record)
        print(shown(record), flush=True)
        if options.table is not None:
            write_table(options.table, sorted(records, key=lambda each: order[each["name"]]))
    records.sort(key=lambda each: order[each["name"]])
    passed = sum(record["pass"] for record in records)
    print(f"{passed} of {len(records)} pass")
    if options.json:
        print(json.dumps({"cases": records, "passed": passed, "of": len(records)}))


if __name__ == "__main__":
    main()
