"""``diffsim-rpg completion``: a script by which the shell completes commands and options."""

from __future__ import annotations

import sys
from dataclasses import dataclass, make_dataclass
from typing import Annotated, Any, Literal

import tyro

from rpg.cli.run_options import RunOptions

DESCRIPTION = """Print a script for the shell that completes commands and options. To use it from now on:

    bash:  diffsim-rpg completion bash > ~/.local/share/bash-completion/completions/diffsim-rpg
    zsh:   diffsim-rpg completion zsh > ~/.zfunc/_diffsim-rpg   (with fpath+=~/.zfunc before compinit in ~/.zshrc)
    tcsh:  diffsim-rpg completion tcsh > ~/.diffsim-rpg.tcsh   (and source it in ~/.tcshrc)

Of the algorithms' settings it knows those of rpg."""


@dataclass(frozen=True)
class CompletionOptions:
    """The script."""

    shell: Annotated[Literal["bash", "zsh", "tcsh"], tyro.conf.Positional]
    """The shell."""


def completion(arguments: list[str]) -> int:
    """Print the script."""
    options = tyro.cli(CompletionOptions, args=arguments, prog="diffsim-rpg completion", description=DESCRIPTION)
    try:
        tyro.extras.subcommand_cli_from_dict(
            all_commands(), prog="diffsim-rpg", args=["--tyro-print-completion", options.shell], use_underscores=False
        )
    except SystemExit as done:
        sys.stdout.flush()
        return int(done.code or 0)
    return 0


def all_commands() -> dict[str, Any]:
    """Each sub-command as a dataclass of all its options."""
    from rpg.algorithms.rpg import RPGConfig
    from rpg.cli.check_task import CheckTaskOptions
    from rpg.cli.compare import CompareOptions
    from rpg.cli.evaluate import EvaluateOptions
    from rpg.cli.listing import ListAlgorithmsOptions, ListTasksOptions
    from rpg.cli.new_task import NewTaskOptions
    from rpg.cli.render import RenderOptions
    from rpg.cli.setting_options import combined_options, setting_options
    from rpg.cli.sweep import SweepOptions
    from rpg.cli.view import ViewOptions
    from rpg.runs.task_lookup import registered_tasks
    from rpg.settings_checks import SettingError

    try:
        known = tuple(registered_tasks())
    except SettingError:
        known = ()
    name: Any = Literal[known] if known else str  # type: ignore[valid-type]
    run = type(combined_options(options=RunOptions(), settings=setting_options(RPGConfig())))
    optimize = make_dataclass(
        "Optimize", [("name", Annotated[name, tyro.conf.Positional]), ("run", Annotated[run, tyro.conf.arg(name="")])]
    )
    checked = make_dataclass(
        "CheckTask",
        [("name", Annotated[name, tyro.conf.Positional]), ("options", Annotated[CheckTaskOptions, tyro.conf.arg(name="")])],
    )
    return {
        "optimize": optimize,
        "evaluate": EvaluateOptions,
        "compare": CompareOptions,
        "sweep": SweepOptions,
        "render": RenderOptions,
        "view": ViewOptions,
        "new-task": NewTaskOptions,
        "check-task": checked,
        "tasks": ListTasksOptions,
        "algorithms": ListAlgorithmsOptions,
        "completion": CompletionOptions,
    }
