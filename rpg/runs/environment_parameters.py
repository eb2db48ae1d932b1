"""The parameters that a task declares: set from Python or the command line, kept with the run, part of its identity.

A task's class may have a class method ``parameter_type()``, which returns a frozen dataclass whose fields are keyword arguments
of the constructor, all with defaults.
"""

from __future__ import annotations

import os
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from rpg.protocol import ProtocolError
from rpg.runs.task_lookup import content_hash, task_name
from rpg.settings_checks import SettingError


def default_parameters(task: type[Any]) -> Any | None:
    """An instance of the dataclass of the task's parameters, or None if the task declares none.

    Raises:
        ProtocolError: what the task declares is no dataclass, or a field has no default.
    """
    declared = getattr(task, "parameter_type", None)
    if declared is None:
        return None
    kind = declared() if callable(declared) and not isinstance(declared, type) else declared
    if not (isinstance(kind, type) and is_dataclass(kind)):
        raise ProtocolError(f"{task_name(task)}.parameter_type() gave {kind!r}; expected a frozen dataclass")
    try:
        return kind()
    except TypeError as error:
        raise ProtocolError(f"the parameters of {task_name(task)} need defaults: {error}") from None


def given_parameters(task: type[Any], parameters: Any | None) -> dict[str, Any]:
    """Those of `parameters` that differ from the task's defaults: the arguments of its constructor."""
    default = default_parameters(task)
    if parameters is None or default is None:
        return {}
    values = {field.name: getattr(parameters, field.name) for field in fields(parameters)}
    return {name: value for name, value in values.items() if value != getattr(default, name)}


def plain_parameters(parameters: Any | None) -> dict[str, Any]:
    """All of them as values for JSON; paths are whole."""
    if parameters is None:
        return {}
    return {field.name: _plain(_located(parameters, field.name)) for field in fields(parameters)}


def restored_parameters(task: type[Any], values: dict[str, Any]) -> Any | None:
    """The inverse of `plain_parameters`.

    Raises:
        SettingError: the task has no such parameter.
    """
    default = default_parameters(task)
    known = set() if default is None else {field.name for field in fields(default)}
    if unknown := sorted(set(values) - known):
        own = ", ".join(sorted(known)) or "none"
        raise SettingError(f"task '{task_name(task)}' has no parameter '{unknown[0]}'; parameters: {own}")
    if default is None:
        return None
    paths = _path_fields(type(default))
    return type(default)(
        **{
            name: Path(value) if name in paths and value is not None else tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
    )


def parameter_identity(parameters: Any | None) -> dict[str, str]:
    """All of them as "task.NAME" and a text: part of a run's identity. Of a file that is its name and its content.

    Raises:
        SettingError: there is no such file.
    """
    if parameters is None:
        return {}
    return {f"task.{field.name}": _identity(parameters, field.name) for field in fields(parameters)}


def _identity(parameters: Any, name: str) -> str:
    value = _located(parameters, name)
    if name not in _path_fields(type(parameters)) or value is None:
        return str(_plain(value))
    if not Path(value).is_file():
        raise SettingError(f"task.{name} '{value}' does not exist; give the path of a file")
    return f"{Path(value).name} ({content_hash(Path(value))[:12]})"


def _located(parameters: Any, name: str) -> Any:
    """A parameter's value; a file's path as a whole one."""
    value = getattr(parameters, name)
    if name in _path_fields(type(parameters)) and isinstance(value, str | os.PathLike):
        return Path(value).absolute()
    return value


def _path_fields(kind: type[Any]) -> set[str]:
    """Names of the fields that take a path."""
    hints = get_type_hints(kind)
    return {name for name, hint in hints.items() if Path in (hint, *get_args(hint))}


def _plain(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
