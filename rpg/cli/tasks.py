"""``diffsim-rpg tasks`` and ``diffsim-rpg algorithms``, and finding a task by what the user typed."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from dataclasses import fields
from pathlib import Path

from rich.console import Console

from diffsim import InputError
from rpg.algorithms import CONFIGS
from tasks import Task, find_task, task_names


def task_class(reference: str) -> type[Task]:
    """The task that ``reference`` names: a registered name, or ``path/to/file.py:Name`` for a task of the user's own.

    Raises:
        InputError: there is no such task, or the file is missing or fails.
    """
    file, separator, name = reference.rpartition(":")
    if not separator:
        return find_task(reference)
    path = Path(file)
    if not path.is_file():
        raise InputError(
            f"task file '{file}' does not exist (a task is a registered name or path/to/file.py:Name)"
        )
    spec = importlib.util.spec_from_file_location(f"user_task_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"task file '{file}' is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except InputError:
        raise
    except Exception as error:  # a user's file can raise anything
        raise InputError(f"task file '{file}' failed: {type(error).__name__}: {error}") from error
    return find_task(name)


def list_tasks() -> int:
    """List the tasks: what is to be done, what is randomised, what counts as success."""
    console = Console(highlight=False)
    for name in task_names():
        console.print(f"[bold]{name}[/bold]")
        console.print(inspect.cleandoc(find_task(name).__doc__ or ""), markup=False)
        console.print()
    return 0


def list_algorithms() -> int:
    """List the algorithms: what they are, and what can be set."""
    console = Console(highlight=False)
    for kind in dict.fromkeys(CONFIGS.values()):
        console.print(f"[bold]{', '.join(kind.names)}[/bold]")
        console.print(inspect.cleandoc(sys.modules[kind.__module__].__doc__ or "").splitlines()[0], markup=False)
        settings = ", ".join(field.name for field in fields(kind) if field.name != "algorithm")
        console.print(f"settings: {settings}", markup=False)
        console.print()
    return 0
