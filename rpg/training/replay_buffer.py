"""The memory of streaming algorithms: steps of B environments in a ring, drawn one by one or as segments of episodes, and
saved to files that are only ever appended to."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rpg.protocol import Observation

FOLDER_NAME = "replay"
_LAYOUT_NAME = "layout.json"


class Transitions(NamedTuple):
    """Steps, with any leading dimensions (...): (N,) of single ones, (K, N) of segments."""

    observation: Observation
    """(..., *shape)."""
    action: Tensor
    """(..., A) in [-1, 1]."""
    reward: Tensor
    """(...)."""
    next_observation: Observation
    """(..., *shape): at an episode's end the final one."""
    terminated: Tensor
    """(...) bool."""
    truncated: Tensor
    """(...) bool."""
    latent: Tensor
    """(...) int64 or (..., D): z, under which the action was chosen."""
    episode: Tensor
    """(...) int64, the episode's number: different for each episode of each environment."""
    age: Tensor
    """(...) int64, steps since the episode began."""
    log_prob: Tensor
    """(...) log density of the action under the policy that chose it, pi_b."""


Relabel = Callable[[Transitions], Tensor]
"""The rewards (...) to learn from instead of those that the environment gave."""


class ReplayBuffer:
    """The last `capacity` steps of `num_envs` environments.

    `relabels` are applied to the rewards of all that is drawn, in this order: a novelty bonus, a learned reward. What is stored
    never changes, so a file can be appended to: after `attach(folder)`, `flush` writes what has been added since, and `restore`
    reads it again. Without a folder, `restore` can go back by `slack` steps at most.
    """

    def __init__(self, capacity: int, *, num_envs: int, slack: int, device: torch.device | str = "cpu") -> None:
        """`slack` is the number of steps that may be undone; both are rounded up to whole steps of all environments. What is
        drawn comes to `device`; the buffer itself is in the CPU's memory.
        """
        self.num_envs, self.device = num_envs, torch.device(device)
        self.capacity = -(-capacity // num_envs) * num_envs
        self._rows = self.capacity + -(-slack // num_envs) * num_envs
        self.total = 0
        """Steps added so far, those that were overwritten included; row n of all is at n modulo the number of rows."""
        self.relabels: list[Relabel] = []
        self._columns: dict[str, Tensor] = {}
        self._folder: Path | None = None
        self._flushed = 0

    def __len__(self) -> int:
        return min(self.total, self.capacity)

    # Adding and drawing -------------------------------------------------------------------------------------------

    def add(self, transitions: Transitions) -> None:
        """Append one step of every environment, (B, ...), detached."""
        flat = _flat(transitions)
        if not self._columns:
            self._columns = {name: torch.empty(self._rows, *each.shape[1:], dtype=each.dtype) for name, each in flat.items()}
        if self._folder is not None and self.total + self.num_envs - self._flushed > self._rows:
            self.flush()  # before it is overwritten
        first = self.total % self._rows
        for name, each in flat.items():
            self._columns[name][first : first + self.num_envs] = each
        self.total += self.num_envs

    def sample(self, count: int, generator: torch.Generator) -> Transitions:
        """`count` steps (N,), drawn uniformly with replacement."""
        place = torch.randint(len(self), (count,), generator=generator) + (self.total - len(self))
        return self._relabelled(self._at(place))

    def segments(self, length: int, count: int, generator: torch.Generator) -> Transitions:
        """`count` runs of `length` successive steps of one episode, (K, N), uniformly among all there are.

        Raises ValueError if there is none.
        """
        oldest, steps = self.total - len(self), len(self) - (length - 1) * self.num_envs
        found = torch.empty(0, dtype=torch.int64)
        for _ in range(8):  # most starts are good, unless episodes are hardly longer than segments
            if steps > 0 and len(found) < count:
                drawn = torch.randint(steps, (2 * (count - len(found)),), generator=generator) + oldest
                found = torch.cat([found, drawn[self._whole(drawn, length)]])
        if len(found) < count:
            starts = torch.arange(oldest, oldest + max(steps, 0))
            starts = starts[self._whole(starts, length)]
            if not len(starts):
                raise ValueError(f"length was given {length}; allowed are lengths that an episode in the buffer reaches")
            found = starts[torch.randint(len(starts), (count,), generator=generator)]
        place = found[:count] + torch.arange(length).unsqueeze(1) * self.num_envs
        return self._relabelled(self._at(place))

    def recent(self, count: int) -> Transitions:
        """The last `count` steps, (N,), oldest first, or all if there are fewer."""
        return self._relabelled(self._at(torch.arange(self.total - min(count, len(self)), self.total)))

    def _whole(self, place: Tensor, length: int) -> Tensor:
        """Whether the segments from `place` on stay within their episodes."""
        episode = self._columns["episode"]
        last = place + (length - 1) * self.num_envs
        return episode[place % self._rows] == episode[last % self._rows]

    def _at(self, place: Tensor) -> Transitions:
        row = (place % self._rows).flatten()
        drawn = {name: each.index_select(0, row).to(self.device) for name, each in self._columns.items()}
        if place.ndim > 1:
            drawn = {name: each.unflatten(0, place.shape) for name, each in drawn.items()}
        return _unflat(drawn)

    def _relabelled(self, drawn: Transitions) -> Transitions:
        for relabel in self.relabels:
            drawn = drawn._replace(reward=relabel(drawn))
        return drawn

    # Files --------------------------------------------------------------------------------------------------------

    def attach(self, run_dir: Path, *, source: Path | None = None) -> None:
        """Keep the steps in files of `run_dir`/replay from now on, one for each quantity, without end; begin with a copy of
        those of the run in `source`."""
        self._folder = run_dir / FOLDER_NAME
        if source is not None and (source / FOLDER_NAME).exists():
            shutil.copytree(source / FOLDER_NAME, self._folder, dirs_exist_ok=True)

    def flush(self) -> None:
        """Append what has been added since the last time to the files; what they hold beyond that is cut off."""
        if self._folder is None or not self._columns:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        layout = {name: [str(each.dtype), list(each.shape[1:])] for name, each in self._columns.items()}
        (self._folder / _LAYOUT_NAME).write_text(json.dumps(layout) + "\n")
        rows = torch.arange(self._flushed, self.total) % self._rows
        for name, each in self._columns.items():
            path = self._path(name)
            with path.open("r+b" if path.exists() else "w+b") as file:
                file.truncate(self._flushed * _row_bytes(each))
                file.seek(0, os.SEEK_END)
                for part in rows.split(65536):
                    file.write(each[part].numpy().tobytes())
                file.flush()
                os.fsync(file.fileno())
        self._flushed = self.total

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds: the number of steps; the steps are in the files or, for a short while, in memory."""
        return {"total": self.total}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to `state`, in memory if it is recent, else from the files.

        Raises FileNotFoundError, naming it, if a file lacks steps.
        """
        total = int(state["total"])
        recent = 0 <= self.total - total <= self._rows - self.capacity
        if total > 0 and not (recent and self._columns):
            self._read(total)
        self.total = total
        self._flushed = min(self._flushed, total)

    def _read(self, total: int) -> None:
        if self._folder is None:
            raise FileNotFoundError(f"the replay buffer's steps before {total} are gone: it is not attached to a folder")
        path = self._folder / _LAYOUT_NAME
        if not path.exists():
            raise FileNotFoundError(f"no replay buffer at {path}")
        first = max(0, total - self._rows)
        rows = torch.arange(first, total) % self._rows
        for name, (dtype, shape) in json.loads(path.read_text()).items():
            column = torch.empty(self._rows, *shape, dtype=getattr(torch, dtype.removeprefix("torch.")))
            size, file = _row_bytes(column), self._path(name)
            if not file.exists() or file.stat().st_size < total * size:
                raise FileNotFoundError(f"{file} holds fewer than the checkpoint's {total} steps")
            with file.open("rb") as opened:
                opened.seek(first * size)
                data = np.frombuffer(bytearray(opened.read((total - first) * size)), dtype=column.numpy().dtype)
            column[rows] = torch.from_numpy(data.reshape(total - first, *shape))
            self._columns[name] = column
        self._flushed = total

    def _path(self, name: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{name.replace('/', '.')}.bin"


def _flat(transitions: Transitions) -> dict[str, Tensor]:
    """The tensors by name, those of dict observations as "observation/key"."""
    flat: dict[str, Tensor] = {}
    for name, each in transitions._asdict().items():
        flat |= {f"{name}/{key}": value for key, value in each.items()} if isinstance(each, dict) else {name: each}
    return flat


def _unflat(flat: dict[str, Tensor]) -> Transitions:
    """The inverse."""
    values: dict[str, Any] = {}
    for name, each in flat.items():
        own, slash, key = name.partition("/")
        if slash:
            values.setdefault(own, {})[key] = each
        else:
            values[own] = each
    return Transitions(**values)


def _row_bytes(column: Tensor) -> int:
    return column.element_size() * int(np.prod(column.shape[1:], dtype=np.int64))
