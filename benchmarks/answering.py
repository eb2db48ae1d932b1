"""A process that answers each line on its standard input with a line of JSON."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class AnsweringProcess:
    """The other end of such a process; its first line says what it has to say when it is ready.

    Attributes:
        ready: that first answer.

    Raises:
        SystemExit: the process ended without an answer.
    """

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str] | None = None, folder: Path | None = None):
        self._process = subprocess.Popen(
            list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=None if environment is None else dict(environment), cwd=folder,
        )  # fmt: skip
        self.ready = self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the worker failed: {' '.join(map(str, self._process.args))}")  # type: ignore[arg-type]
        return json.loads(line)  # type: ignore[no-any-return]

    def ask(self, command: str) -> dict[str, Any]:
        """The answer to a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
