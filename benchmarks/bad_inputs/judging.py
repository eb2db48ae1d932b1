"""One wrong argument, and the rules by which its refusal is judged."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

VERDICTS = ("clear", "silent", "ugly", "hang")
# what is missing, too large or already there is said by the standard library's own kinds
KINDS = (ValueError, TypeError, FileNotFoundError, FileExistsError)


class Lazy(NamedTuple):
    """An argument that is made when it is needed, in the process that needs it."""

    make: Callable[[], Any]


class Named(NamedTuple):
    """A wrong value, and what a message about it may say in place of the argument's name or of the value."""

    value: Any
    name: str = ""
    given: str = ""
    warned: bool = False  # whether it is accepted with a warning of one line


@dataclass(frozen=True)
class Trial:
    """A call with one wrong argument, whose others are right."""

    target: str
    argument: str
    call: Callable[[], Any]
    value: Any
    name: str = ""
    given: str = ""
    warned: bool = False

    @property
    def label(self) -> str:
        """For people: `Sphere(radius='a')`."""
        shown = " ".join(repr(self.value).split())
        return f"{self.target}({self.argument}={shown[:60]})"


class Verdict(NamedTuple):
    """Of one trial: one of `VERDICTS`, and what was said."""

    verdict: str
    said: str


def trials(
    target: str, call: Callable[..., Any], right: Mapping[str, Any], /, **wrong: list[Any]
) -> tuple[Callable[[], Any], list[Trial]]:
    """The call with right arguments, and a trial for each wrong value of each of the named arguments."""

    def called(**changes: Any) -> Any:
        values = {**right, **changes}
        return call(**{name: value.make() if isinstance(value, Lazy) else value for name, value in values.items()})

    found = []
    for argument, values in wrong.items():
        for value in values:
            named = value if isinstance(value, Named) else Named(value)
            given = named.value

            def bad(argument: str = argument, given: Any = given) -> Any:
                return called(**{argument: given})

            found.append(Trial(target, argument, bad, given, named.name, named.given, named.warned))
    return called, found


def judged(trial: Trial) -> Verdict:
    """How a trial is refused.

    Clear is an error of the kinds for wrong arguments, in one line that has the argument's name and says what was given, or
    for a trial that may be warned of such a warning. Silent is no error, and ugly any other.
    """
    with logged_warnings() as warned:
        try:
            trial.call()
        except (Exception, SystemExit) as error:
            said = f"{type(error).__name__}: {error}"
            return Verdict("clear" if isinstance(error, KINDS) and _is_clear(trial, str(error)) else "ugly", said)
    if trial.warned and warned:
        clear = any(_is_clear(trial, each) for each in warned)
        return Verdict("clear" if clear else "ugly", f"warning: {' | '.join(warned)}")
    return Verdict("silent", "accepted")


def _is_clear(trial: Trial, message: str) -> bool:
    if "\n" in message or not message:
        return False
    named = any(_has(message, name) for name in (trial.argument, trial.name) if name)
    given = [trial.given] if trial.given else spellings(trial.value)
    return named and any(_has(message, each) for each in given)


def _has(message: str, word: str) -> bool:
    """Whether a word stands in a message, not as a part of another."""
    return re.search(rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])", message) is not None


def spellings(value: Any) -> list[str]:
    """How a message may say what was given."""
    found = [repr(value), type(value).__name__]
    if isinstance(value, str):
        found = [repr(value), *([value] if value.strip() else [])]
    elif isinstance(value, float) and not math.isnan(value):
        found = [repr(value), f"{value:g}", f"{value:.3g}"]
    elif isinstance(value, int | float | None):
        found = [repr(value)]
    elif isinstance(value, torch.Tensor):
        finite = bool(torch.isfinite(value).all()) if value.dtype.is_floating_point else True
        found += [str(tuple(value.shape)), str(value.dtype), str(value.tolist()), *([] if finite else ["nan", "inf"])]
        found += [repr(float(each)) for each in value.flatten()[:4]]
    elif isinstance(value, np.ndarray):
        found += [str(value.shape), str(value.dtype), str(value.tolist())]
    elif isinstance(value, tuple | list):
        found += [
            repr(tuple(value)),
            repr(list(value)),
            *(repr(each) for each in value),
            *(type(each).__name__ for each in value),
        ]
    elif isinstance(value, Mapping):
        found += [text for given in value.values() for text in spellings(given)]
        found += [text for key in value for text in spellings(key)] * (len(value) == 1)
    return found


@contextmanager
def logged_warnings() -> Iterator[list[str]]:
    """The lines of warnings logged by the packages meanwhile."""
    lines: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    listener = Listener(logging.WARNING)
    loggers = [logging.getLogger(name) for name in ("diffsim", "rpg", "tasks")]
    for logger in loggers:
        logger.addHandler(listener)
        logger.propagate = False
    try:
        yield lines
    finally:
        for logger in loggers:
            logger.removeHandler(listener)
