"""Opening a run for the sub-commands that look at one: its options, and its environment."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from rpg.cli.output import Output, OutputOptions

if TYPE_CHECKING:
    from rpg.runs.run import Run


@dataclass(frozen=True)
class StoredRunOptions(OutputOptions):
    """The run."""

    run: Annotated[Path, tyro.conf.Positional] = Path("runs/latest")
    """Folder of the run."""
    task: str | None = None
    """Another task than the run's own: a registered one, module:Class or path/to/file.py:Class."""
    best: bool = False
    """Take best.pt, the best iteration, in place of the last one."""
    threads: int | None = None
    """Threads of the simulator (DIFFSIM_NUM_THREADS)."""


def opened(options: StoredRunOptions, out: Output) -> Run:
    """The run."""
    from rpg.cli.run_command import set_simulator_threads

    with out.step(f"loading torch and the run in {options.run}"):
        set_simulator_threads(options.threads)
        from rpg.runs.run import open_run

        return open_run(options.run, "best" if options.best else "last")


def named_task(run: Run, options: StoredRunOptions) -> type[Any]:
    """The class of the task that was named, or else of the run's own."""
    from rpg.runs.task_lookup import task_class

    return run.task() if options.task is None else task_class(options.task)


def built(run: Run, options: StoredRunOptions, out: Output, num_envs: int | None = None, parameters: Any | None = None) -> Any:
    """The environment of that task, with the run's parameters unless others are given."""
    from rpg.runs.environment_parameters import given_parameters
    from rpg.runs.task_lookup import built_environment

    with out.step("building the environment"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        kind = named_task(run, options)
        if parameters is None:
            environment = run.environment(num_envs, task=kind)
        else:
            count = int(run.identity["num_envs"]) if num_envs is None else num_envs
            environment = built_environment(kind, count, given_parameters(kind, parameters))
    for each in caught:
        out.say(f"note: {each.message}")
    return environment
