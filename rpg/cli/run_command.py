"""``diffsim-rpg optimize``: from its arguments to a run, that is a task, options and settings.

The options depend on the task (its parameters, its settings of the algorithm) and on the algorithm, and their defaults on the
run that is continued. So the arguments are read twice: first the options that every run has, then all of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

import tyro

from rpg.cli.output import Output
from rpg.cli.run_options import RunOptions
from rpg.settings_checks import SettingError

PROG = "diffsim-rpg optimize"
DESCRIPTION = """Optimise a task and write metrics, checkpoints, plot and video to a folder.

TASK is a registered task (see `diffsim-rpg tasks`), one of your own: module:Class or path/to/file.py:Class, or one of
Gymnasium's: gymnasium:Hopper-v5. It comes before the settings of the algorithm and of the task, which
`diffsim-rpg optimize TASK --help` lists (and those of another algorithm, `diffsim-rpg optimize TASK --algo sac --help`). The
most used ones: --seed, --iterations, --num-latents, --beta, --policy, and --task.NAME of the task's own.

The folder receives metrics.jsonl, tensorboard/, checkpoint.pt, best.pt, result.json, plot.png, modes.mp4 and modes.png.
Ctrl-C and SIGTERM leave a usable run: --resume continues from its last complete iteration."""


class RunCommand(NamedTuple):
    """What the user wants."""

    task: type[Any]
    source: Any
    """`rpg.runs.task_lookup.TaskSource`."""
    options: RunOptions
    settings: Any
    """`rpg.runs.run_settings.RunSettings`."""


def optimize(arguments: list[str]) -> Callable[[], int]:
    """Read the arguments; what is to be done then."""
    command = run_command(arguments)
    from rpg.cli.training_run import train

    return partial(train, command)


def run_command(arguments: list[str]) -> RunCommand:
    """The command. A parser's error, and ``--help``, end the process.

    Raises:
        SettingError: an option or a setting is wrong, or there is no such task.
    """
    wants_help = any(argument in ("-h", "--help") for argument in arguments)
    given = [argument for argument in arguments if argument not in ("-h", "--help")]
    _check_no_repetition(given)
    prog = f"{PROG} TASK"
    options, others = tyro.cli(RunOptions, args=given, prog=prog, description=DESCRIPTION, return_unknown_args=True)
    reference = others[0] if others and not others[0].startswith("-") else None
    if reference is None and wants_help and options.algo is None:
        tyro.cli(RunOptions, args=["--help"], prog=prog, description=DESCRIPTION)
    if reference is None and not wants_help:
        raise SettingError(
            "no task was given; it comes before the algorithm's settings: diffsim-rpg optimize TASK [options] "
            "(`diffsim-rpg tasks` lists the tasks)"
        )
    if reference is not None:
        given = _without(given, reference)
    options.check()
    with Output(options).step(f"loading torch and {'the settings' if reference is None else reference}"):
        set_simulator_threads(options.threads)
        import_module("rpg.runs.run_settings")
        import_module("rpg.cli.setting_options")
    return _whole_command(given, options, reference, wants_help=wants_help)


def _whole_command(given: list[str], options: RunOptions, reference: str | None, *, wants_help: bool) -> RunCommand:
    """The second reading."""
    from rpg.cli.setting_options import chosen_config, combined_options, parsed_options, setting_options
    from rpg.runs.run_folder import latest_run
    from rpg.runs.run_settings import RunSettings, branched_run, check_resumed, new_run, resumed_run
    from rpg.runs.task_lookup import TaskSource, task_class

    kind = task_class(reference) if reference is not None else object
    folder = latest_run() if options.resume and options.out is None else options.out
    if options.resume and folder is not None:
        own = resumed_run(folder, kind, options.algo)
    elif options.branch_from is not None:
        own = branched_run(options.branch_from, kind, options.algo)
    else:
        own = new_run(kind, options.algo)
    default = combined_options(
        options=replace(RunOptions(), num_envs=own.num_envs),
        settings=setting_options(own.config),
        parameters=own.parameters,
    )
    prog = f"{PROG} {reference or 'TASK'}"
    chosen = parsed_options(default, given + ["--help"] * wants_help, prog=prog, description=DESCRIPTION)
    assert reference is not None  # else it was for help
    config = chosen_config(own.config, chosen.settings)
    settings = RunSettings(config, chosen.options.num_envs, getattr(chosen, "parameters", None))
    settings.identity(kind)  # which checks them
    if options.resume and folder is not None:
        check_resumed(folder, kind, own, settings)
    return RunCommand(kind, TaskSource.of(reference, kind), replace(chosen.options, out=folder), settings)


def set_simulator_threads(threads: int | None) -> None:
    """Before a simulator starts: how many threads it takes. Torch takes one: its tensors are small, so that more only wait for
    each other, and a simulator wants the cores."""
    if threads is not None:
        os.environ["DIFFSIM_NUM_THREADS"] = str(threads)
    import torch

    torch.set_num_threads(1)


def _check_no_repetition(arguments: list[str]) -> None:
    """Raise SettingError if an option is given twice, of which only the last one would count."""
    names = [text.partition("=")[0].replace("_", "-") for text in arguments if text.startswith("--")]
    if repeated := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise SettingError(f"{repeated[0]} was given {names.count(repeated[0])} times; allowed is once")


def _without(arguments: list[str], task: str) -> list[str]:
    """`arguments` but for the task: the first of that text, unless an option with a value stands before it."""
    at = [index for index, text in enumerate(arguments) if text == task]
    alone = [index for index in at if index == 0 or not arguments[index - 1].startswith("--")]
    drop = (alone or at)[0]
    return arguments[:drop] + arguments[drop + 1 :]
