"""``diffsim-rpg new-task``: the skeleton of a task of one's own."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from rpg.cli.output import Output, OutputOptions
from rpg.cli.task_skeleton import CLASS, FILE, SKELETON
from rpg.settings_checks import SettingError

PROG = "diffsim-rpg new-task"
DESCRIPTION = """Write a file with a task that runs: a ball pushes a soft block to a goal, with a comment on everything that an
author may want to change. No file is overwritten."""


@dataclass(frozen=True)
class NewTaskOptions(OutputOptions):
    """The task."""

    name: Annotated[str, tyro.conf.Positional]
    """Name of the class, as in PourTea."""
    path: Path | None = None
    """File to write; if not given, the name in small letters in the current folder, as pour_tea.py."""


def new_task(arguments: list[str]) -> int:
    """Write the file.

    Raises:
        SettingError: the name is no class's, or the file exists.
    """
    options = tyro.cli(NewTaskOptions, args=arguments, prog=PROG, description=DESCRIPTION)
    out = Output(options)
    name = options.name
    if not name.isidentifier() or keyword.iskeyword(name) or name == "Task":
        raise SettingError(f"name was given '{name}'; allowed are names of Python classes, such as PourTea")
    path = options.path or Path(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower() + ".py")
    if path.suffix != ".py":
        raise SettingError(f"--path was given '{path}'; allowed are files whose names end in .py")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(SKELETON.replace(CLASS, name).replace(FILE, str(path)))
    except FileExistsError as error:
        raise SettingError(f"'{path}' exists; nothing was written (--path names another file)") from error
    reference = f"{path}:{name}"
    out.say(f"wrote {path}")
    out.say(f"check it:    diffsim-rpg check-task {reference}")
    out.say(f"optimise it: diffsim-rpg optimize {reference}")
    out.finish({"file": str(path), "task": reference})
    return 0
