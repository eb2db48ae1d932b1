"""Finds the environment class that a run is of: by name, in a module or in a file; and builds the environment."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import os
import re
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from rpg.environments.gymnasium_environment import from_gymnasium
from rpg.protocol import Environment, FixedHorizonEnvironment
from rpg.settings_checks import SettingError

ENTRY_POINT_GROUP = "rpg.tasks"
"""An entry point of this group loads an environment class, known by the entry point's name, or a function of no arguments that
returns several by name."""
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
    tasks: dict[str, type[Any]] = {}
    for offer in offers:
        try:
            loaded = offer.load()
            tasks |= {offer.name: loaded} if inspect.isclass(loaded) else loaded()
        except Exception as error:  # a package's own; the others' tasks are still there
            words = f"{type(error).__name__}: {' '.join(str(error).split())}"
            warnings.warn(f"the tasks of the entry point {offer.name} = {offer.value} are left out: {words}", stacklevel=2)
    return dict(sorted(tasks.items()))


def task_class(reference: str) -> type[Any]:
    """The environment class that `reference` names: a registered task, ``module:Class``, ``path/to/file.py:Class``, or
    ``gymnasium:id``. Of a class in a module or file its registered name does, too, and a file of one environment class needs
    none.

    Modules are looked up in the current directory first.

    Raises:
        SettingError: there is no such class, it is no environment, or its module fails.
    """
    source, separator, name = (reference, ":", "") if reference.endswith(".py") else reference.rpartition(":")
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
    own = [value for value in vars(module).values() if inspect.isclass(value) and value.__module__ == module.__name__]
    found = getattr(module, name, None) if name else _only_task(source, own)
    if not inspect.isclass(found):
        found = next((each for each in own if vars(each).get("name") == name), None)
    if found is None:
        names = ", ".join(sorted(each.__name__ for each in own)) or "none"
        near = difflib.get_close_matches(name, [each.__name__ for each in own], n=1)
        hint = f"; did you mean '{source}:{near[0]}'?" if near else ""
        raise SettingError(f"unknown task '{name}' in '{source}'; classes there: {names}{hint}")
    if missing := _missing_methods(found):
        raise SettingError(f"'{reference}' is no environment: it lacks {', '.join(missing)} (rpg.protocol.Environment)")
    return found


def _missing_methods(kind: type[Any]) -> list[str]:
    """What a class lacks to be an environment of either form."""
    needed = ("reset", "step", "snapshot", "restore") if hasattr(kind, "snapshot") else ("reset", "observe", "step")
    return [method for method in needed if not callable(getattr(kind, method, None))]


def _only_task(file: str, classes: list[type[Any]]) -> type[Any]:
    """The one environment class of a file. Raises SettingError if there are several, or none."""
    tasks = [each for each in classes if not _missing_methods(each)]
    if len(tasks) != 1:
        names = ", ".join(f"{file}:{each.__name__}" for each in tasks) or "none"
        raise SettingError(f"'{file}' was given without a class; tasks there: {names}")
    return tasks[0]


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


def built_environment(
    task: type[Any], num_envs: int, parameters: Mapping[str, Any] | None = None
) -> Environment | FixedHorizonEnvironment:
    """``task(num_envs=..., **parameters)``.

    Raises:
        SettingError: the class refuses its arguments.
    """
    with setting_errors(task):
        return task(num_envs=num_envs, **(parameters or {}))


@dataclass(frozen=True)
class TaskSource:
    """Where a task comes from, as a run's result.json keeps it."""

    reference: str
    """What `task_class` finds it by; of a file with its whole path."""
    file: str | None
    """The whole path of the file that defines it; None if it has none, as those of Gymnasium."""
    sha256: str | None
    """Of that file's content."""

    @classmethod
    def of(cls, reference: str, task: type[Any]) -> TaskSource:
        """The source of the class that `reference` named."""
        path, separator, name = reference.rpartition(":")
        if separator and path.endswith(".py"):
            reference = f"{Path(path).resolve()}:{name}"
        try:
            found = inspect.getsourcefile(task)
        except TypeError:  # made by a program
            found = None
        if found is None or path == GYMNASIUM or not Path(found).is_file():
            return cls(reference, None, None)
        return cls(reference, str(Path(found).resolve()), content_hash(Path(found)))

    def loaded(self) -> type[Any]:
        """The class, wherever the process stands. Raises SettingError if it is no longer there."""
        try:
            return task_class(self.reference)
        except SettingError:  # a module of a folder that was the current one
            source, _, name = self.reference.rpartition(":")
            if self.file is None or source.endswith(".py") or not Path(self.file).is_file():
                raise
            return task_class(f"{self.file}:{name or self.reference}")

    def changed(self) -> bool:
        """Whether the file is not what it was."""
        return self.file is not None and (not Path(self.file).is_file() or content_hash(Path(self.file)) != self.sha256)


def content_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def setting_errors(task: type[Any] | None = None) -> Iterator[None]:
    """Turn a ValueError of an environment, raised while a run is set up, into a SettingError: it is the user's mistake. So is
    any other error that the file of ``task`` raises, but those that the command line has words for itself."""
    try:
        with author_errors(task):
            yield
    except SettingError:
        raise
    except ValueError as error:
        raise SettingError(str(error)) from error


@contextmanager
def author_errors(task: type[Any] | None) -> Iterator[None]:
    """Turn an error that came through the file of ``task`` into a SettingError with the place there."""
    try:
        yield
    except (FloatingPointError, MemoryError, OSError, SettingError):
        raise
    except Exception as error:
        place = "" if task is None else _author_place(error, task)
        if not place:
            raise
        text = " ".join(str(error).split())
        text = text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"
        raise SettingError(text + ("" if ", line " in text else place)) from error


def _author_place(error: BaseException, task: type[Any]) -> str:
    """The last place of a task's own file, or of its neighbours in a plain folder, that an error came through, as
    " (file.py, line 3)"; that of a method of its own that takes other arguments than it was given; "" if there is none."""
    file = TaskSource.of("", task).file
    if file is None:
        return ""
    called = re.match(r"(\w+)\.(\w+)\(\) (missing|takes|got)", str(error)) if isinstance(error, TypeError) else None
    if called and any(called[1] == owner.__name__ and called[2] in vars(owner) for owner in task.__mro__):
        code = getattr(inspect.unwrap(getattr(task, called[2])), "__code__", None)
        if code is not None:
            return f" ({Path(code.co_filename).name}, line {code.co_firstlineno})"
    plain = not (Path(file).parent / "__init__.py").exists()
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path == Path(file) or (plain and path.parent == Path(file).parent):
            return f" ({path.name}, line {frame.lineno})"
    return ""


def _loaded_file(file: str) -> ModuleType:
    path = Path(file).resolve()
    if not path.is_file():
        raise SettingError(f"task file '{file}' does not exist")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # for its neighbours; last, so that it hides nothing
    spec = importlib.util.spec_from_file_location(f"user_task_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise SettingError(f"task file '{file}' is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a user's file can raise anything
        raise SettingError(f"task file '{file}' failed: {described_error(error, path.parent)}") from error
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
        raise SettingError(f"module '{name}' failed: {described_error(error, Path.cwd())}") from error


def described_error(error: BaseException, folder: Path) -> str:
    """An exception of the user's code in one line: its type, its message, and the last place below `folder` it came through."""
    places = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(folder)]
    where = f" ({Path(places[-1].filename).name}, line {places[-1].lineno})" if places else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{where}"
