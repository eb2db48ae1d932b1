"""Ctrl-C and SIGTERM, by which batch systems and containers end a process, as exceptions that let a run save itself.

A signal's exception may be raised between any two instructions. Where that would leave something half done, such as a lock of
the metrics' writer that nobody releases, `shielded` keeps it back until the block is done.
"""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODE = 128 + signal.SIGTERM
"""143, as shells report it."""
PARENT = "DIFFSIM_RPG_PARENT"
"""The variable that holds the number of a process with which this one shall end."""


SET_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of prctl(2)."""


class Terminated(SystemExit):
    """The process was sent SIGTERM while it trained. Where nothing catches it, the process exits with code 143."""

    def __init__(self) -> None:
        super().__init__(int(EXIT_CODE))


class _Shield:
    """How many blocks are shielded, and what was kept back."""

    depth = 0
    pending: BaseException | None = None


def _raised(error: BaseException) -> None:
    if _Shield.depth > 0:
        _Shield.pending = error
    else:
        raise error


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM raises Terminated, and Ctrl-C KeyboardInterrupt, but neither within `shielded`. Off the main thread, or for a
    signal that the program handles itself, nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not stop the saving
        _raised(Terminated())

    def interrupt(number: int, frame: FrameType | None) -> None:
        _raised(KeyboardInterrupt())

    replaced = {}
    for number, default, handler in (
        (signal.SIGTERM, signal.SIG_DFL, terminate),
        (signal.SIGINT, signal.default_int_handler, interrupt),
    ):
        if signal.getsignal(number) is default:
            replaced[number] = default
            signal.signal(number, handler)
    try:
        yield
    finally:
        for number, default in replaced.items():
            signal.signal(number, default)


def environment_of_a_child() -> dict[str, str]:
    """The variables of a process that shall end with this one; see `end_with_parent`."""
    return {**os.environ, PARENT: str(os.getpid())}


def end_with_parent() -> None:
    """Be sent SIGTERM when the process that started this one is gone, however it went, if it asked for that
    (`environment_of_a_child`): nobody would end this one then. On Linux only."""
    parent = os.environ.pop(PARENT, "")
    if not parent.isdigit() or sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(SET_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(parent):  # gone already
        os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def shielded() -> Iterator[None]:
    """What a signal raises waits for the end of the block."""
    _Shield.depth += 1
    try:
        yield
    finally:
        _Shield.depth -= 1
        if _Shield.depth == 0 and _Shield.pending is not None:
            error, _Shield.pending = _Shield.pending, None
            raise error
