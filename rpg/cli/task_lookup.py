"""Finds the environment class that the user named, and lists tasks and algorithms."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console

from rpg.algorithms import CONFIGS
from rpg.environments.gymnasium_environment import from_gymnasium
from rpg.protocol import Environment, FixedHorizonEnvironment
from rpg.settings_checks import SettingError

ENTRY_POINT_GROUP = "rpg.tasks"
"""An entry point of this group loads a function of no arguments that returns the package's environment classes by name."""
GYMNASIUM = "gymnasium"
"""Environments registered with Gymnasium are named with this prefix, as in "gymnasium:Hopper-v5"."""


def registered_tasks() -> dict[str, type[Any]]:
    """The environment classes that installed packages offer, by name, sorted.

    Raises:
        SettingError: no package offers any.
    """
    offers = entry_points(group=ENTRY_POINT_GROUP)
    if not offers:
        raise SettingError(
            f"no installed package offers tasks (entry points of the group '{ENTRY_POINT_GROUP}'): this installation of "
            "diffsim-rpg is older than its source; reinstall it with pip install -e ."
        )
    tasks = {name: task for offer in offers for name, task in offer.load()().items()}
    return dict(sorted(tasks.items()))


def task_class(reference: str) -> type[Any]:
    """The environment class that `reference` names: a registered task, ``module:Class``, ``path/to/file.py:Class``, or
    ``gymnasium:id``.

    Modules are looked up in the current directory first.

    Raises:
        SettingError: there is no such class, it is no environment, or its module fails.
    """
    source, separator, name = reference.rpartition(":")
    if not separator:
        tasks = registered_tasks()
        if reference not in tasks:
            near = difflib.get_close_matches(reference, tasks, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise SettingError(
                f"unknown task '{reference}'; tasks: {', '.join(tasks)}{hint} (your own: module:Class or path/to/file.py:Class)"
            )
        return tasks[reference]
    if source == GYMNASIUM:
        return gymnasium_task(name)
    module = _loaded_file(source) if source.endswith(".py") else _loaded_module(source)
    found = getattr(module, name, None)
    if not inspect.isclass(found):
        own = [n for n, value in vars(module).items() if inspect.isclass(value) and value.__module__ == module.__name__]
        raise SettingError(f"unknown task '{name}' in '{source}'; classes there: {', '.join(sorted(own)) or 'none'}")
    needed = ("reset", "step", "snapshot", "restore") if hasattr(found, "snapshot") else ("reset", "observe", "step")
    if missing := [method for method in needed if not callable(getattr(found, method, None))]:
        raise SettingError(f"'{reference}' is no environment: it lacks {', '.join(missing)} (rpg.protocol.Environment)")
    return found


def gymnasium_task(name: str) -> type[Any]:
    """A class whose instances are the environments that Gymnasium knows by `name`."""

    class GymnasiumTask:
        def __new__(cls, num_envs: int) -> Any:
            return from_gymnasium(name, num_envs)

    GymnasiumTask.name = f"{GYMNASIUM}:{name}"  # type: ignore[attr-defined]
    return GymnasiumTask


def task_name(task: type[Any]) -> str:
    """The name a run is known by: the class's `name`, if it has one, else the class's own."""
    name = getattr(task, "name", "")
    return name if isinstance(name, str) and name else task.__name__


def built_environment(task: type[Any], num_envs: int, *, mesh: Path | None) -> Environment | FixedHorizonEnvironment:
    """An instance of `task`, with `mesh` if one is given.

    Raises:
        SettingError: the class refuses its arguments.
    """
    if mesh is not None and "mesh" not in inspect.signature(task).parameters:
        raise SettingError(f"task '{task_name(task)}' takes no mesh, got '{mesh}'")
    with setting_errors():
        return task(num_envs=num_envs) if mesh is None else task(num_envs=num_envs, mesh=mesh)


@contextmanager
def setting_errors() -> Iterator[None]:
    """Turn a ValueError of an environment, raised while a run is set up, into a SettingError: it is the user's mistake."""
    try:
        yield
    except ValueError as error:
        raise SettingError(str(error)) from error


def list_tasks() -> int:
    """List the tasks: what is to be done, what is randomised, what counts as success."""
    console = Console(highlight=False)
    for name, task in registered_tasks().items():
        console.print(f"[bold]{name}[/bold]")
        console.print(inspect.cleandoc(task.__doc__ or ""), markup=False)
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


def _loaded_file(file: str) -> ModuleType:
    path = Path(file)
    if not path.is_file():
        raise SettingError(f"task file '{file}' does not exist")
    spec = importlib.util.spec_from_file_location(f"user_task_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise SettingError(f"task file '{file}' is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a user's file can raise anything
        raise SettingError(f"task file '{file}' failed: {type(error).__name__}: {error}") from error
    return module


def _loaded_module(name: str) -> ModuleType:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except Exception as error:  # a user's module can raise anything
        missing = isinstance(error, ModuleNotFoundError) and error.name is not None and f"{name}.".startswith(f"{error.name}.")
        if missing:
            raise SettingError(f"there is no module '{name}', here or installed (a task's file ends in .py)") from error
        raise SettingError(f"module '{name}' failed: {type(error).__name__}: {error}") from error
