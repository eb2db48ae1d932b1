"""A task's parameters: its annotated class attributes of plain types, set by keyword when a task is made."""

from __future__ import annotations

import difflib
import inspect
import re
import sys
import types
from dataclasses import field, make_dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, Union, get_args, get_origin

import diffsim as ds

PLAIN = (bool, int, float, str, Path, type(None))


@cache
def task_parameters(task: type) -> type:
    """A frozen dataclass type with a field for each parameter of a task class, in the order of declaration, the base class's
    first. Its docstring says what they are, as far as the docstrings of the classes do under "Attributes".

    Parameters are the class attributes that have an annotation (their own, or that of a base class), not a ClassVar, of a plain
    type: int, float, bool, str, Path, None, Literal, tuples and unions of these. ``goal: tuple[float, float] = (0.6, 0.4)`` is
    one; ``goal = (0.6, 0.4)`` is a constant.

    Raises:
        InputError: the annotation of a parameter cannot be read, or its default is of another type.
    """
    kinds: dict[str, Any] = {}
    for owner in reversed(task.__mro__):
        for name, kind in _annotations(owner).items():
            if _is_plain(kind) and not name.startswith("_"):
                kinds[name] = kind
    texts = _descriptions(task)
    fields = []
    for name, kind in kinds.items():
        if not hasattr(task, name) or isinstance(getattr(task, name), property):
            continue
        default = checked_parameter(task, name, kind, getattr(task, name))
        fields.append((name, kind, field(default=default, metadata={"help": texts.get(name, "")})))
    made = make_dataclass(f"{task.__name__}Parameters", fields, frozen=True)
    lines = [f"    {name}: {texts[name]}" for name, *_ in fields if name in texts]
    made.__doc__ = "\n".join([f"Parameters of the task {task.__name__}.", "", "Attributes:", *lines])
    return made


def given_parameters(task: type, given: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments as values of a task's parameters: those that differ from the defaults.

    Raises:
        InputError: there is no parameter of a name, or a value is of another type.
    """
    known = task_parameters(task).__dataclass_fields__  # type: ignore[attr-defined]
    values = {}
    for name, value in given.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise ds.InputError(f"task {task.__name__} has no parameter '{name}'; parameters: {', '.join(known)}{hint}")
        checked = checked_parameter(task, name, known[name].type, value)
        if checked != known[name].default or type(checked) is not type(known[name].default):
            values[name] = checked
    return values


def checked_parameter(task: type, name: str, kind: Any, value: Any) -> Any:
    """``value`` as a parameter's type: an int may stand for a float, a list for a tuple.

    Raises:
        InputError: it is of another type.
    """
    found = _converted(kind, value)
    if found is _WRONG:
        raise ds.InputError(f"task {task.__name__}: {name} must be {type_name(kind)}, got {value!r}")
    return found


def type_name(kind: Any) -> str:
    """A plain type in words."""
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(repr(choice) for choice in get_args(kind))
    if _is_union(kind):
        return " or ".join(type_name(part) for part in get_args(kind))
    if kind is type(None) or kind is None:
        return "None"
    return kind.__name__ if isinstance(kind, type) and get_origin(kind) is None else str(kind)


_WRONG = object()


def _converted(kind: Any, value: Any) -> Any:
    """``value`` as ``kind``, or _WRONG."""
    if get_origin(kind) is Literal:
        return value if any(value == choice and type(value) is type(choice) for choice in get_args(kind)) else _WRONG
    if _is_union(kind):
        parts = [_converted(part, value) for part in get_args(kind)]
        exact = [part for part in parts if part is not _WRONG and type(part) is type(value)]
        return next((part for part in [*exact, *parts] if part is not _WRONG), _WRONG)
    if kind is tuple or get_origin(kind) is tuple:
        if not isinstance(value, tuple | list):
            return _WRONG
        inner = get_args(kind)
        inner = (inner[0],) * len(value) if len(inner) == 2 and inner[1] is Ellipsis else inner
        if len(inner) != len(value):
            return _WRONG
        parts = [_converted(part, each) for part, each in zip(inner, value, strict=True)]
        return _WRONG if any(part is _WRONG for part in parts) else tuple(parts)
    if kind in (None, type(None)):
        return None if value is None else _WRONG
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    wrong = not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
    return _WRONG if wrong else value


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, types.UnionType)


def _is_plain(kind: Any) -> bool:
    if kind in PLAIN or kind is None or get_origin(kind) is Literal:
        return True
    if _is_union(kind) or get_origin(kind) is tuple:
        return all(part is Ellipsis or _is_plain(part) for part in get_args(kind))
    return False


def _annotations(owner: type) -> dict[str, Any]:
    """Annotations of a class's own body, but those of class variables."""
    found = {}
    for name, kind in inspect.get_annotations(owner).items():
        if isinstance(kind, str):
            if "ClassVar" in kind:
                continue
            try:
                kind = eval(kind, vars(sys.modules[owner.__module__]), dict(vars(owner)))  # what a postponed one means
            except Exception as error:
                given = f"the annotation {kind!r} of {name}, which cannot be read: {error}"
                raise ds.InputError(f"task {owner.__name__} has {given}") from error
        if kind is not ClassVar and get_origin(kind) is not ClassVar:
            found[name] = kind
    return found


def _descriptions(task: type) -> dict[str, str]:
    """What docstrings say of attributes, by name: lines "name, other: text" under a heading that begins with "Attributes"."""
    found: dict[str, str] = {}
    for owner in reversed(task.__mro__):
        section = re.search(r"^Attributes[^\n]*:\n((?:[ \t]+\S[^\n]*\n?|\n(?=[ \t]))+)", _docstring(owner), flags=re.MULTILINE)
        if section is None:
            continue
        names: list[str] = []
        for line in inspect.cleandoc("\n" + section[1]).splitlines():
            start = re.match(r"(\w+(?:, \w+)*): (.*)", line)
            if start is not None:
                names = start[1].split(", ")
            for name in names:
                found[name] = start[2] if start is not None else f"{found[name]} {line.strip()}"
    return found


def _docstring(owner: type) -> str:
    return inspect.cleandoc(owner.__doc__ or "") if "__doc__" in vars(owner) else ""
