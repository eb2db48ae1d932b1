"""``diffsim-rpg sweep``: many runs, one process and one folder each."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Annotated

import tyro

from rpg.cli.output import Output, OutputOptions
from rpg.cli.swept_run import SweptRun, ended_badly
from rpg.settings_checks import SettingError
from rpg.training.termination import environment_of_a_child

PROG = "diffsim-rpg sweep"
DESCRIPTION = """Run `optimize` over seeds and settings, several processes at once, a folder for each run.

All other options are those of `diffsim-rpg optimize TASK`, the same for all runs (without a video, unless --video is given):

    diffsim-rpg sweep Detour --seeds 0 1 2 --vary num-latents 4 16 --vary beta 0 0.3 --iterations 60

sweep.json in the folder has the results so far, after every run. The same command goes on with a sweep that was ended: runs
that are done stay, the others are resumed. At the end come a table and the curves, as of `diffsim-rpg compare`."""
SWEEP_NAME, PLOT_NAME = "sweep.json", "compare.png"
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
    ray: str | None = None
    """Run on Ray (extra ray): "local", or the address of a cluster, "auto" on one of its machines. All machines must see the
    sweep's folder."""
    asha: int | None = None
    """With --ray: iterations that each run may do before the worse two thirds, by their return, are ended early."""
    retries: int = 2
    """With --ray: how often a run is begun again whose process or machine died."""


def sweep(arguments: list[str]) -> Callable[[], int]:
    """Read the arguments; what is to be done then."""
    options, others = tyro.cli(SweepOptions, args=arguments, prog=PROG, description=DESCRIPTION, return_unknown_args=True)
    for given in others:
        if given.split("=")[0] in RESERVED:
            raise SettingError(f"{given} was given; a sweep sets it for every run")
    for name in ("jobs", "threads", "asha"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise SettingError(f"--{name} was given {value}; allowed are whole numbers >= 1")
    if options.retries < 0:
        raise SettingError(f"--retries was given {options.retries}; allowed are whole numbers >= 0")
    if options.asha is not None and options.ray is None:
        raise SettingError(f"--asha was given {options.asha} without --ray; allowed with --ray")
    if options.ray is not None and find_spec("ray") is None:
        raise SettingError("--ray needs the package ray; install it by: pip install 'diffsim-rpg[ray]'")
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
    from rpg.training.run_lock import RunLock

    folder = _common_folder(runs)
    check_writable(folder)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    jobs = min(options.jobs or cores, len(runs))
    threads = options.threads or max(1, cores // jobs)
    with RunLock(folder):
        early = _ended_early(folder) if options.asha is not None else []
        left = [run for run in runs if not run.is_done() and run.name not in early]
        if options.ray is None:
            out.say(f"{len(runs)} runs, {len(left)} left, {jobs} at once -> {folder}")
            failures = _all_run(runs, left, folder, out, jobs=jobs, threads=threads)
        else:
            out.say(f"{len(runs)} runs, {len(left)} left, on Ray ({options.ray}) -> {folder}")
            failures = _all_run_on_ray(options, runs, left, early, folder, out)
        begun = [run.folder for run in runs if run.is_begun()]
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
        with run.log.open("ab") as log:
            process = subprocess.Popen(
                run.command(threads, resumes=run.is_begun()), stdout=log, stderr=log, start_new_session=True,
                env=environment_of_a_child(),
            )  # fmt: skip
            processes[run.name] = process
            code = process.wait()
        del processes[run.name]
        if code == 0 or stopping:
            return None
        return ended_badly(code, run.log)

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


def _all_run_on_ray(
    options: SweepOptions, runs: list[SweptRun], left: list[SweptRun], early: list[str], folder: Path, out: Output
) -> dict[str, str]:
    """Run what is left as trials of Ray Tune, after those that were ended ``early``, which others may join; what failed, by
    name."""
    from rpg.cli.ray_sweep import Trial, run_trials

    failures: dict[str, str] = {}
    by_name, threads = {run.name: run for run in runs}, options.threads or 1
    done = len(runs) - len(left)

    def ended(name: str, failure: str | None, was_early: bool) -> None:
        nonlocal done
        done += 1
        if failure is not None:
            failures[name] = failure
        if was_early:
            early.append(name)
        _write_results(runs, failures, folder, early)
        out.say(f"{done}/{len(runs)} {name}: " + (failure or ("ended early" if was_early else _in_short(by_name[name]))))

    _write_results(runs, failures, folder, early)
    trials = [
        Trial(
            run.name,
            str(run.folder.resolve()),
            tuple(replace(run, folder=run.folder.resolve()).command(threads, resumes=False)),
            str(Path.cwd()),
            run.config["iterations"],
        )
        for run in left
    ]
    if trials:
        run_trials(
            trials,
            ended,
            address=options.ray or "",
            folder=folder,
            jobs=options.jobs,
            threads=threads,
            retries=options.retries,
            asha=options.asha,
        )
        _write_results(runs, failures, folder, early)  # all have ended now
    if done < len(runs):
        raise KeyboardInterrupt  # which Ray caught
    return failures


def _ended_early(folder: Path) -> list[str]:
    """The runs that ASHA ended, in this sweep so far."""
    path = folder / SWEEP_NAME
    return json.loads(path.read_text()).get("ended_early", []) if path.exists() else []


def _in_short(run: SweptRun) -> str:
    result = run.stored()
    return f"success {result['policy_success']:.0%}, return {result['return']:.2f}, {result['seconds']:.0f} s"


def _write_results(runs: list[SweptRun], failures: dict[str, str], folder: Path, early: Sequence[str] = ()) -> None:
    from rpg.cli.run_report import summary
    from rpg.training.whole_files import whole_file

    done = {run.name: run for run in runs if run.is_done()}
    rows = [{"name": name, **summary(run.stored(), run.folder)} for name, run in done.items()]
    early = [name for name in early if name not in done]  # which may have got to their end before the signal
    with whole_file(folder / SWEEP_NAME) as partial_file:
        content = {"runs": rows, "failed": failures, "ended_early": early, "total": len(runs)}
        partial_file.write_text(json.dumps(content, indent=1) + "\n")
