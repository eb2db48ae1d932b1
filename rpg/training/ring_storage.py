"""Rows of tensors in a ring in memory, and in files that are only ever appended to."""

import json
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


class RingStorage:
    """The last `size` of the rows added so far, in the CPU's memory. A row is a tensor for each name, and never changes.

    Rows are numbered from 0, those that were overwritten included. In a `folder` there is one file for each name, with all of
    them. The last `slack` rows can be taken back without a folder.
    """

    def __init__(self, name: str, size: int, *, slack: int) -> None:
        """`name` is what the names of its files begin with."""
        self.name, self.size, self.slack = name, size, slack
        self.total = 0
        """Number of rows added so far."""
        self.folder: Path | None = None
        self.columns: dict[str, Tensor] = {}
        self._flushed = 0

    def append(self, rows: dict[str, Tensor]) -> None:
        """Add n rows, (n, ...) each."""
        count = len(next(iter(rows.values())))
        if not self.columns:
            self.columns = {name: torch.empty(self.size, *each.shape[1:], dtype=each.dtype) for name, each in rows.items()}
        if self.folder is not None and self.total + count - self._flushed > self.size:
            self.flush()  # before they are overwritten
        first = self.total % self.size
        place = slice(first, first + count)
        if first + count > self.size:
            place = torch.arange(self.total, self.total + count) % self.size  # type: ignore[assignment]
        for name, each in rows.items():
            self.columns[name][place] = each.to(self.columns[name].device)
        self.total += count

    def at(self, number: Tensor, names: list[str] | None = None) -> dict[str, Tensor]:
        """The rows with these numbers (n,); `names` only, or all."""
        place = number % self.size
        return {name: self.columns[name].index_select(0, place) for name in names or self.columns}

    def flush(self) -> None:
        """Append to the files what they lack; what they hold of rows that were taken back is cut off."""
        if self.folder is None or not self.columns:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        layout = {name: [str(each.dtype), list(each.shape[1:])] for name, each in self.columns.items()}
        (self.folder / f"{self.name}.json").write_text(json.dumps(layout) + "\n")
        rows = torch.arange(self._flushed, self.total) % self.size
        for name, each in self.columns.items():
            path = self._path(name)
            with path.open("r+b" if path.exists() else "w+b") as file:
                file.truncate(self._flushed * _row_bytes(each))
                file.seek(0, os.SEEK_END)
                for part in rows.split(65536):
                    file.write(each[part].numpy().tobytes())
                file.flush()
                os.fsync(file.fileno())
        self._flushed = self.total

    def restore(self, total: int) -> None:
        """Go back, or forward, to when there were `total` rows: in memory if that is recent, else from the files.

        Raises FileNotFoundError, naming the file that lacks rows.
        """
        recent = 0 <= self.total - total <= self.slack and bool(self.columns)
        if total > 0 and not recent:
            self._read(total)
        self.total = total
        self._flushed = min(self._flushed, total)

    def _read(self, total: int) -> None:
        if self.folder is None:
            raise FileNotFoundError(f"the replay buffer's first {total} steps are gone: it is not attached to a folder")
        layout = self.folder / f"{self.name}.json"
        if not layout.exists():
            raise FileNotFoundError(f"no replay buffer at {layout}")
        first = max(0, total - self.size)
        rows = torch.arange(first, total) % self.size
        for name, (dtype, shape) in json.loads(layout.read_text()).items():
            column = torch.empty(self.size, *shape, dtype=getattr(torch, dtype.removeprefix("torch.")))
            size, path = _row_bytes(column), self._path(name)
            if not path.exists() or path.stat().st_size < total * size:
                raise FileNotFoundError(f"{path} holds fewer than the checkpoint's {total} rows")
            with path.open("rb") as file:
                file.seek(first * size)
                for part in rows.split(65536):
                    data = np.frombuffer(bytearray(file.read(len(part) * size)), dtype=column.numpy().dtype)
                    column[part] = torch.from_numpy(data.reshape(len(part), *shape))
            self.columns[name] = column
        self._flushed = total

    def _path(self, name: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{self.name}.{name.replace('/', '.')}.bin"


def _row_bytes(column: Tensor) -> int:
    return column.element_size() * int(np.prod(column.shape[1:], dtype=np.int64))
