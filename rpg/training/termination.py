"""SIGTERM, by which batch systems and containers end a process, as an exception that lets a run save itself."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODE = 128 + signal.SIGTERM
"""143, as shells report it."""


class Terminated(SystemExit):
    """The process was sent SIGTERM while it trained. Where nothing catches it, the process exits with code 143."""

    def __init__(self) -> None:
        super().__init__(int(EXIT_CODE))


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM raises Terminated. Off the main thread, or where the program handles SIGTERM itself, nothing changes."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not stop the saving
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
