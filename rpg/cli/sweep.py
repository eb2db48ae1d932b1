"""``diffsim-rpg sweep``: many runs, one process and one folder each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import tyro

from rpg.cli.output import Output, OutputOptions
from rpg.settings_checks import SettingError

PROG = "diffsim-rpg sweep"
DESCRIPTION = """Run `optimize` over seeds and settings, several processes at once, a folder for each run.

All other options are those of `diffsim-rpg optimize TASK`, the same for all runs (without a video, unless --video is given):

    diffsim-rpg sweep Detour --seeds 0 1 2 --vary num-latents 4 16 --vary beta 0 0.3 --iterations 60

sweep.json in the folder has the results so far, after every run. The same command goes on with a sweep that was ended: runs
that are done stay, the others are resumed. At the end come a table and the curves, as of `diffsim-rpg compare`."""
LOG_NAME, SWEEP_NAME, PLOT_NAME = "log.txt", "sweep.json", "compare.png"
RESERVED = ("--seed", "--out", "--resume", "--branch-from", "--quiet", "--json", "--threads")


@dataclass(frozen=True)
class SweepOptions(OutputOptions):
    """The sweep."""

    task: Annotated[str, tyro.conf.Positional]
    """The task, as for optimize."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds of every combination of settings."""
    vary: tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]] = ()
    """A setting without its dashes, and its values; one with several numbers in quotes: --vary std "0.1 0.01" "0.3 0.1". May be
    given several times, for all combinations."""
    jobs: int | None = None
    """Processes at once; one for each core if not given."""
    threads: int | None = None
    """Threads of each process's simulator; the cores divided by the processes if not given."""
    out: Path | None = None
    """Folder of the sweep; runs/TASK/sweep if not given."""


@dataclass(frozen=True)
class SweptRun:
    """One of the runs."""

    name: str
    """Of its folder, below the sweep's."""
    folder: Path
    arguments: tuple[str, ...]
    """Of optimize, but for the folder."""
    config: dict[str, Any]
    """Its settings, as in result.json."""
    identity: dict[str, str]

    def stored(self) -> dict[str, Any]:
        """Its result so far; empty if it has not begun.

        Raises:
            SettingError: the folder holds a run with other settings.
        """
        from rpg.runs.run_result import read_result

        result = read_result(self.folder)
        for name, wanted in {**self.config, **self.identity}.items():
            found = result.get("config", {}).get(name, result.get(name))
            if result and name != "iterations" and found != wanted:
                raise SettingError(f"the run in '{self.folder}' has {name} {found}, this sweep {wanted}; choose another --out")
        return result

    def is_done(self) -> bool:
        """Whether all iterations of this sweep are done and evaluated."""
        result = self.stored()
        return result.get("status") == "done" and result["iterations"] >= self.config["iterations"]


def sweep(arguments: list[str]) -> Callable[[], int]:
    """Read the arguments; what is to be done then."""
    options, others = tyro.cli(SweepOptions, args=arguments, prog=PROG, description=DESCRIPTION, return_unknown_args=True)
    for given in others:
        if given.split("=")[0] in RESERVED:
            raise SettingError(f"{given} was given; a sweep sets it for every run")
    for name in ("jobs", "threads"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise SettingError(f"--{name} was given {value}; allowed are whole numbers >= 1")
    runs = list(swept_runs(options, others))
    import_module_of_results()
    return partial(_swept, options, runs, Output(options))


def import_module_of_results() -> None:
    """What the end needs, loaded at the start."""
    import rpg.runs.comparison  # noqa: F401


def swept_runs(options: SweepOptions, others: list[str]) -> Iterator[SweptRun]:
    """All runs of a sweep.

    Raises:
        SettingError: a setting is wrong, or given twice.
    """
    from rpg.cli.run_command import run_command
    from rpg.runs.task_lookup import task_name

    names = [setting[0].lstrip("-") if setting else "" for setting in options.vary]
    for setting, name in zip(options.vary, names, strict=True):
        if len(setting) < 2:
            raise SettingError(f"--vary was given {' '.join(setting)!r}; allowed are a setting and its values")
        if name == "seed" or names.count(name) > 1:
            raise SettingError(f"--vary was given {name!r}, which is set by --seeds or given twice")
    if not options.seeds or len(set(options.seeds)) < len(options.seeds):
        raise SettingError(f"--seeds was given {' '.join(map(str, options.seeds))}; allowed are different numbers")
    video = [] if {"--video", "--no-video"} & set(others) else ["--no-video"]
    for values in product(*(setting[1:] for setting in options.vary)):
        varied = [text for name, value in zip(names, values, strict=True) for text in (f"--{name}", *value.split())]
        label = ",".join(f"{name}={'_'.join(value.split())}" for name, value in zip(names, values, strict=True))
        for seed in options.seeds:
            given = [options.task, *others, *varied, *video, "--seed", str(seed)]
            command = run_command([*given, "--quiet"])
            out = options.out or Path("runs") / task_name(command.task).replace(":", "-").replace("/", "-") / "sweep"
            name = "/".join(filter(None, (label.replace("/", "-"), f"seed{seed}")))
            settings = command.settings
            yield SweptRun(
                name,
                out / name,
                tuple(given),
                json.loads(json.dumps(settings.config.to_dict())),
                settings.identity(command.task),
            )


def _swept(options: SweepOptions, runs: list[SweptRun], out: Output) -> int:
    from rpg.cli.compare import plot_groups, print_groups
    from rpg.runs.comparison import grouped_runs
    from rpg.runs.run_folder import check_writable
    from rpg.training.checkpoint import CHECKPOINT_NAME
    from rpg.training.run_lock import RunLock

    folder = _common_folder(runs)
    check_writable(folder)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    jobs = min(options.jobs or cores, len(runs))
    threads = options.threads or max(1, cores // jobs)
    with RunLock(folder):
        left = [run for run in runs if not run.is_done()]
        out.say(f"{len(runs)} runs, {len(left)} left, {jobs} at once -> {folder}")
        failures = _all_run(runs, left, folder, out, jobs=jobs, threads=threads)
        begun = [run.folder for run in runs if (run.folder / CHECKPOINT_NAME).exists()]
        rows = []
        if begun:
            groups = grouped_runs(begun)
            print_groups(out, groups)
            plot_groups(groups, folder / PLOT_NAME, "return_mean")
            rows = [group.row() for group in groups]
            out.say(f"wrote {folder}/: {SWEEP_NAME}, {PLOT_NAME}, and a folder for each run")
    out.finish({"sweep": str(folder), "runs": len(runs), "failed": failures, "groups": rows})
    return 1 if failures else 0


def _common_folder(runs: list[SweptRun]) -> Path:
    first = runs[0]
    return first.folder.parents[first.name.count("/")]


def _all_run(
    runs: list[SweptRun], left: list[SweptRun], folder: Path, out: Output, *, jobs: int, threads: int
) -> dict[str, str]:
    """Run what is left; what failed, by name. Ctrl-C and SIGTERM end the processes, which save themselves, and go on up."""
    processes: dict[str, subprocess.Popen[bytes]] = {}
    failures: dict[str, str] = {}
    stopping: list[bool] = []

    def one(run: SweptRun) -> str | None:
        if stopping:
            return None
        run.folder.mkdir(parents=True, exist_ok=True)
        with (run.folder / LOG_NAME).open("ab") as log:
            process = subprocess.Popen(_command(run, threads), stdout=log, stderr=log, start_new_session=True)
            processes[run.name] = process
            code = process.wait()
        del processes[run.name]
        if code == 0 or stopping:
            return None
        lines = (run.folder / LOG_NAME).read_text(errors="replace").strip().splitlines()
        told = [line for line in lines if not line.startswith("{")]
        return f"exit code {code}: {told[-1] if told else 'no message'} ({run.folder / LOG_NAME})"

    _write_results(runs, failures, folder)
    with ThreadPoolExecutor(jobs) as pool:
        try:
            futures = {pool.submit(one, run): run for run in left}
            for done, future in enumerate(as_completed(futures), start=len(runs) - len(left) + 1):
                run, failure = futures[future], future.result()
                if failure is not None:
                    failures[run.name] = failure
                _write_results(runs, failures, folder)
                out.say(f"{done}/{len(runs)} {run.name}: " + (failure or _in_short(run)))
        except BaseException:
            stopping.append(True)
            for process in list(processes.values()):
                process.terminate()
            out.say("ending the runs, which save themselves; the same command goes on with them")
            raise
    return failures


def _command(run: SweptRun, threads: int) -> list[str]:
    from rpg.training.checkpoint import CHECKPOINT_NAME

    resume = ["--resume"] if (run.folder / CHECKPOINT_NAME).exists() else []
    extra = ["--out", str(run.folder), "--threads", str(threads), "--quiet", "--json", *resume]
    return [sys.executable, "-m", "rpg.cli.main", "optimize", *run.arguments, *extra]


def _in_short(run: SweptRun) -> str:
    result = run.stored()
    return f"success {result['policy_success']:.0%}, return {result['return']:.2f}, {result['seconds']:.0f} s"


def _write_results(runs: list[SweptRun], failures: dict[str, str], folder: Path) -> None:
    from rpg.cli.run_report import summary
    from rpg.training.whole_files import whole_file

    rows = [{"name": run.name, **summary(run.stored(), run.folder)} for run in runs if run.is_done()]
    with whole_file(folder / SWEEP_NAME) as partial_file:
        partial_file.write_text(json.dumps({"runs": rows, "failed": failures, "total": len(runs)}, indent=1) + "\n")
