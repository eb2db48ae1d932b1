"""The registry of tasks by name."""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
from collections.abc import Callable
from typing import TypeVar

from diffsim import InputError
from tasks.base import Task

TaskClass = TypeVar("TaskClass", bound=type[Task])

_tasks: dict[str, type[Task]] = {}

DOCSTRING_HEADINGS = ("Task:", "Randomisation:", "Success:")


def register(name: str) -> Callable[[TaskClass], TaskClass]:
    """Class decorator that registers a task as ``name``, and with Gymnasium, where that is installed, as `gymnasium_id` says.

    Raises: InputError: the name is empty, the class is not a Task, its docstring lacks one of the headings "Task:",
    "Randomisation:" and "Success:", or the name is taken.
    """

    if not isinstance(name, str) or not name.strip():
        raise InputError(f"register: name must be a non-empty string, got {name!r}")

    def decorate(task: TaskClass) -> TaskClass:
        if not (inspect.isclass(task) and issubclass(task, Task)):
            raise InputError(f"register('{name}') needs a subclass of tasks.Task, got {task!r}")
        missing = [heading for heading in DOCSTRING_HEADINGS if heading not in (task.__doc__ or "")]
        if missing:
            raise InputError(
                f"task '{name}': the docstring must say what it is under {', '.join(DOCSTRING_HEADINGS)}; "
                f"missing: {', '.join(missing)}"
            )
        known = _tasks.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (task.__module__, task.__qualname__):
            raise InputError(f"task name '{name}' is taken by {known.__module__}.{known.__qualname__}")
        task.name = name
        _tasks[name] = task
        _offer_to_gymnasium(name, task)
        return task

    return decorate


def task_names() -> list[str]:
    """All registered names, sorted."""
    return sorted(_tasks)


def registered_tasks() -> dict[str, type[Task]]:
    """All registered tasks by name, sorted: what the entry point "rpg.tasks" offers the command line."""
    return dict(sorted(_tasks.items()))


def find_task(name: str) -> type[Task]:
    """The class registered as ``name``.

    Raises:
        InputError: there is none; the message lists the names and the nearest one.
    """
    if not isinstance(name, str):
        raise InputError(f"name must be a task's, got {name!r}")
    if name not in _tasks:
        near = difflib.get_close_matches(name, _tasks, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise InputError(f"unknown task '{name}'; tasks: {', '.join(task_names())}{hint}")
    return _tasks[name]


def gymnasium_id(name: str) -> str:
    """What ``gymnasium.make`` calls the task registered as ``name``: "diffsim/Detour-v0"; "-" is what it cannot hold."""
    return f"diffsim/{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)}-v0"


def _offer_to_gymnasium(name: str, task: type[Task]) -> None:
    """Make the ids of `gymnasium.make` and `make_vec` known; the environments are imported when one is made."""
    try:
        registration = importlib.import_module("gymnasium.envs.registration")
    except ImportError:
        return
    registration.registry.pop(gymnasium_id(name), None)  # a class that was defined anew
    importable = "<locals>" not in task.__qualname__
    registration.register(
        gymnasium_id(name),
        entry_point="tasks.adapters.gymnasium_env:TaskEnv",
        vector_entry_point="tasks.adapters.gymnasium_env:TaskVectorEnv",
        # plain text, so that specs can be stored, and so that a process that begins anew finds a user's class
        kwargs={"task": f"{task.__module__}:{task.__qualname__}" if importable else name},
    )
