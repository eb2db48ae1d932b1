"""A lock on a run's folder: one process at a time may write a run.

The kernel holds it (flock on the file .lock), so it ends with its holder, however that one ends; the file stays.
"""

import os
from pathlib import Path
from types import TracebackType

try:
    import fcntl
except ImportError:  # not on Windows, where a folder is not locked
    fcntl = None  # type: ignore[assignment]

LOCK_NAME = ".lock"


class RunLockedError(RuntimeError):
    """Another process, or another trainer in this one, is writing a run to the folder. One line: names both."""


class RunLock:
    """A context manager that locks `folder`, which is made if it does not exist. It may be entered again while it is held.

    Raises RunLockedError if someone else holds the lock, at once.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._depth = 0
        self._file = -1

    def __enter__(self) -> "RunLock":
        if self._depth == 0:
            self._acquire()
        self._depth += 1
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._depth -= 1
        if self._depth == 0 and self._file >= 0:
            fcntl.flock(self._file, fcntl.LOCK_UN)  # a forked child may have the file open, too
            os.close(self._file)
            self._file = -1

    def _acquire(self) -> None:
        if fcntl is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        file = os.open(self.folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(file, 32).decode(errors="replace").strip()
            os.close(file)
            where = "another trainer of this process" if holder == str(os.getpid()) else f"process {holder or 'unknown'}"
            raise RunLockedError(f"{self.folder} is in use by {where}, which is writing a run to it") from None
        except BaseException:
            os.close(file)
            raise
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self._file = file
