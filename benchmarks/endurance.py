"""Does a run hold up: hours of work, kills, full disks, memory that is not there, clocks that jump?

    python -m benchmarks.endurance --json                     everything, about an hour
    python -m benchmarks.endurance --parts kills --kills 20
    python -m benchmarks.endurance --table docs/running.md    its table, from what was measured before

soak    One process simulates, optimises, renders and views Detour, again and again for `--minutes`. Its resident memory and
        open files after the first fifth of that time and at the end.
kills   A run is killed by SIGKILL at `--kills` random moments and goes on with --resume. How much of its work is lost each
        time, at most, and whether it ends with the metrics of a run that nobody killed.
faults  A run whose disk is full, whose folder is read-only, that gets no memory, and whose clock jumps back by a day: how many
        lines it says, and whether what it had saved goes on.

Each part is written to benchmarks/results/endurance.json when it is done. Full and read-only disks are file systems in memory,
which only root can mount; elsewhere they are left out.
"""

from __future__ import annotations

import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from rich.console import Console

from benchmarks.processes import one_thread, print_table, read_result, write_result

STORE = Path(__file__).parent / "results" / "endurance.json"
RUN = ("Detour", "--seed", "0", "--no-video", "--out")
FEW, MANY = 4, 100_000  # environments
COMMAND = "import sys; from rpg.cli.main import main; sys.exit(main())"
CLOCK_BACK = "import time; now = time.time; begun = now(); time.time = lambda: now() - 86400 * (now() > begun + 6); "
"""Begins a program whose clock jumps back by a day after 6 s."""
ITERATIONS = 400
EARLY, KILLED_AFTER = 0.2, (0.0, 6.0)  # share of kills while a run starts; s, of the others after its first iteration
ADDRESS_SPACE = 3 * 2**29  # bytes: less than torch and the compiled kernels need
PARTS = ("soak", "kills", "faults")
HEADINGS = ("what", "measured")


@dataclass(frozen=True)
class Options:
    """What to try."""

    parts: tuple[Literal["soak", "kills", "faults"], ...] = PARTS  # type: ignore[assignment]
    minutes: float = 30.0
    """Of the soak."""
    kills: int = 20
    table: Path | None = None
    """Markdown file for the table; nothing is run."""
    json: bool = False
    """Print one JSON object on the last line."""
    soaking: bool = False
    """Be the process of the soak."""


def optimize(folder: Path, *more: str, environments: int = FEW, before: str = "", **options: Any) -> subprocess.Popen[str]:
    """The command line's own process."""
    more = ("--num-envs", str(environments), *more)
    arguments = [sys.executable, "-W", "ignore", "-c", before + COMMAND, "optimize", *RUN, str(folder), *more]
    pipe = subprocess.PIPE
    return subprocess.Popen(arguments, env=one_thread(), stdout=pipe, stderr=pipe, text=True, **options)


def onwards(folder: Path) -> tuple[str, ...]:
    """The option with which a run goes on, if there is something to go on from."""
    return ("--resume",) if (folder / "checkpoint.pt").exists() else ()


def metrics(folder: Path) -> list[float]:
    """The returns of a run's iterations."""
    return [json.loads(line)["return_mean"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


# The soak ---------------------------------------------------------------------------------------------------


def soaking(minutes: float) -> None:
    """Works on, and prints memory (MB), open files and seconds after each round."""
    import torch

    from rpg import RPGConfig, Trainer
    from tasks import find_task

    torch.set_num_threads(1)
    task = find_task("Detour")(num_envs=4)
    begun = time.monotonic()
    while time.monotonic() - begun < 60.0 * minutes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            trainer = Trainer(task, RPGConfig(iterations=4, posterior_stride=2), run_dir=folder / "run")
            modes = trainer.train().modes
            if modes:
                task.write_video(modes[:1], folder / "modes.mp4")
                task.write_viewer_page(modes[:1], folder / "modes.html", say=lambda text: None)
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
        files = len(os.listdir("/proc/self/fd"))
        print(json.dumps([time.monotonic() - begun, resident, files]), flush=True)


def soak(options: Options) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.endurance", "--soaking", "--minutes", str(options.minutes)]
    done = subprocess.run(command, env=one_thread(), stdout=subprocess.PIPE, text=True, check=True)
    rounds = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    settled = next(each for each in rounds if each[0] > 12.0 * options.minutes)
    last = rounds[-1]
    return {
        "minutes": round(last[0] / 60.0, 1),
        "rounds": len(rounds),
        "memory_mb": [round(settled[1]), round(last[1])],
        "open_files": [settled[2], last[2]],
    }


# Kills ------------------------------------------------------------------------------------------------------


def until_iterating(process: subprocess.Popen[str], folder: Path) -> None:
    """Waits until a run has written an iteration's metrics, or is done."""

    def size() -> int:
        file = folder / "metrics.jsonl"
        return file.stat().st_size if file.exists() else 0

    before = size()
    while process.poll() is None and size() <= before:
        time.sleep(0.02)


def kills(options: Options) -> dict[str, Any]:
    moments = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        whole, killed = Path(name) / "whole", Path(name) / "killed"
        iterations = ("--iterations", str(ITERATIONS))
        if optimize(whole, *iterations).wait():
            raise SystemExit("the run that nobody kills has failed")
        lost, done = [], 0
        while done < options.kills:
            process, begun = optimize(killed, *iterations, *onwards(killed)), time.time()
            if moments.random() > EARLY:
                until_iterating(process, killed)
            time.sleep(moments.uniform(*KILLED_AFTER))
            if process.poll() is not None:  # it is done
                break
            process.send_signal(signal.SIGKILL)
            at = time.time()
            process.communicate()
            done += 1
            saved = killed / "checkpoint.pt"
            lost.append(at - (saved.stat().st_mtime if saved.exists() else begun))
        process = optimize(killed, *iterations, *onwards(killed))
        _, error = process.communicate()
        same = metrics(whole) == metrics(killed)
        if process.returncode:
            raise SystemExit(f"after {done} kills: {error}")
    return {"kills": done, "most_seconds_lost": round(max(lost, default=0.0), 1), "same_metrics": same}


# Faults -----------------------------------------------------------------------------------------------------


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[bool]:
    """A file system in memory; false where it cannot be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)], capture_output=True, check=False
    )
    try:
        yield done.returncode == 0
    finally:
        if not done.returncode:
            subprocess.run(["umount", "-l", str(folder)], check=False)


def said(process: subprocess.Popen[str]) -> dict[str, Any]:
    """How a run ended: its exit code, the last line of its errors, and whether there is a traceback."""
    _, error = process.communicate()
    lines = [line for line in error.splitlines() if line.strip()]
    last = re.sub(rf"{tempfile.gettempdir()}/\w+/", "", lines[-1]) if lines else ""
    return {"code": process.returncode, "said": last, "traceback": "Traceback" in error}


def faults(options: Options) -> dict[str, Any]:
    found: dict[str, Any] = {}
    short = ("--iterations", "12")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with mounted(folder / "small", "size=120k") as there:
            if there:
                found["disk full"] = said(optimize(folder / "small" / "run", *short))
        with mounted(folder / "sealed", "ro") as there:
            if there:
                found["read-only"] = said(optimize(folder / "sealed" / "run", *short))

        def little() -> None:
            resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))

        found["no memory"] = said(optimize(folder / "poor", *short, environments=MANY, preexec_fn=little))
        found["clock back"] = said(optimize(folder / "late", *short, before=CLOCK_BACK))
        found["clock back, resumed"] = said(optimize(folder / "late", "--iterations", "14", "--resume"))
        # a disk that has room again
        with mounted(folder / "again", "size=120k") as there:
            if there:
                place = folder / "again" / "run"
                said(optimize(place, *short))
                subprocess.run(["mount", "-o", "remount,size=50m", str(folder / "again")], check=True)
                found["disk full, then not"] = said(optimize(place, *short, *onwards(place)))
    return found


# Results ----------------------------------------------------------------------------------------------------


def rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Of the table."""
    lines = []
    if "soak" in found:
        each = found["soak"]
        (before, after), (files, later) = each["memory_mb"], each["open_files"]
        text = f"{before} and {after} MB resident, {files} and {later} open files, after a fifth of the time and at its end"
        lines.append((f"{each['minutes']} minutes of optimising, rendering and viewing, {each['rounds']} rounds", text))
    if "kills" in found:
        each = found["kills"]
        same = (
            "the metrics of a run that nobody killed" if each["same_metrics"] else "other metrics than a run that nobody killed"
        )
        lines.append((f"{each['kills']} kills by SIGKILL", f"at most {each['most_seconds_lost']} s lost; at the end {same}"))
    for name, each in found.get("faults", {}).items():
        text = f"exit code {each['code']}" + (f": `{each['said']}`" if each["said"] else "")
        lines.append((name, text + (", with a traceback" if each["traceback"] else "")))
    return lines


def main(options: Options) -> int:
    if options.soaking:
        soaking(options.minutes)
        return 0
    found = read_result(STORE) or {}
    for part in options.parts if options.table is None else ():
        found[part] = {"soak": soak, "kills": kills, "faults": faults}[part](options)
        write_result(STORE, found)
    print_table(HEADINGS, rows(found), Console(stderr=True, highlight=False), options.table, "endurance")
    if options.json:
        print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
