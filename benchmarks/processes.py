"""Runs in processes of their own, one thread each, whose results are written as they end; and tables of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

from rpg.training.whole_files import whole_file

Single = TypeVar("Single")
Result = TypeVar("Result")


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write a file of JSON, whole or not at all, and its folder if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_text(json.dumps(result) + "\n")


def read_result(path: Path) -> dict[str, Any] | None:
    """What `write_result` wrote, or None."""
    return json.loads(path.read_text()) if path.exists() else None


def append_line(path: Path, values: dict[str, Any]) -> None:
    """Add a line of JSON, and the file's folder if it is not there; in one write, so that processes side by side do not mix
    their lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = (json.dumps(values) + "\n").encode()
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """What `append_line` wrote, if anything; without a line that was cut off."""
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def one_thread() -> dict[str, str]:
    """The variables of a process that shares the machine with others: one thread each for the simulator and for torch."""
    return {**os.environ, "DIFFSIM_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def run_streamed(module: str, arguments: Sequence[str], on_result: Callable[[dict[str, Any]], None]) -> str:
    """Run ``python -m module arguments``, and give each line of JSON that it prints to ``on_result`` as it comes; the end of
    what it says on its standard error if it fails, else ""."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, env=one_thread(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if line.startswith("{"):
                on_result(json.loads(line))
        error = process.stderr.read()
    return error[-1500:] if process.returncode else ""


def run_job(module: str, single: str, arguments: Sequence[str], *, out: Path, resume: bool) -> dict[str, Any]:
    """What ``python -m module --single single arguments`` prints on its last line, or with ``resume`` what an earlier one
    left in ``out``.

    Raises:
        RuntimeError: the process failed.
    """
    path = out / f"{single.replace(':', '-')}.json"
    if not (resume and path.exists()):
        command = [sys.executable, "-m", module, "--single", single, *arguments]
        environment = {**os.environ, "DIFFSIM_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{single} failed:\n{done.stderr[-2000:]}")
        write_result(path, json.loads(done.stdout.strip().splitlines()[-1]))
    return json.loads(path.read_text())


def run_jobs(job: Callable[[Single], Result], singles: Sequence[Single], *, jobs: int) -> list[Result]:
    """The results of all, ``jobs`` at a time. Ctrl-C, or a run that fails, starts no more."""
    with ThreadPoolExecutor(jobs) as pool:
        try:
            return list(pool.map(job, singles))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def run_until(job: Callable[[Single], None], singles: Sequence[Single], *, jobs: int, hours: float) -> None:
    """As `run_jobs`; after so many hours none is begun."""
    begun = time.monotonic()

    def timed(single: Single) -> None:
        if time.monotonic() - begun < 3600.0 * hours:
            job(single)

    run_jobs(timed, singles, jobs=jobs)


def write_between(path: Path, name: str, text: str) -> bool:
    """Between the lines ``<!-- name -->`` and ``<!-- end -->`` of a file; whether it has them."""
    before, begin, after = (path.read_text() if path.exists() else "").partition(f"<!-- {name} -->\n")
    if begin:
        path.write_text(before + begin + text + "<!-- end -->" + after.partition("<!-- end -->")[2])
    return bool(begin)


def write_part(path: Path, name: str, text: str) -> None:
    """Between the lines ``<!-- name -->`` and ``<!-- end -->`` of the file if it has them; else as the file."""
    if not write_between(path, name, text):
        path.write_text(text)


def write_table(path: Path, name: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """As Markdown, where `write_part` writes."""
    lines = ["| " + " | ".join(row) + " |" for row in (headings, ("---",) * len(headings), *rows)]
    write_part(path, name, "\n".join(lines) + "\n")


def read_table(path: Path, name: str) -> list[list[str]]:
    """The headings and the rows of a table that `write_table` wrote between the file's marks; none if it has no such marks."""
    _, begin, after = (path.read_text() if path.exists() else "").partition(f"<!-- {name} -->\n")
    lines = after.partition("<!-- end -->")[0].splitlines() if begin else []
    rows = [[cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")] for line in lines]
    return [*rows[:1], *rows[2:]]


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], console: Console, path: Path | None, name: str) -> None:
    """On the console, and in the file if there is one (`write_table`)."""
    table = Table(*headings)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    if path is not None:
        write_table(path, name, headings, rows)
