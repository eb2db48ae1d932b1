"""A checkpoint: everything that a bit-identical continuation of a run needs, in one file, written atomically."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

CHECKPOINT_NAME = "checkpoint.pt"
_FORMAT = 2


class CheckpointError(ValueError):
    """The file cannot be read as a checkpoint."""


class CheckpointMismatch(ValueError):
    """The checkpoint belongs to another task or has other settings than the run that would continue from it."""


@dataclass(frozen=True)
class Checkpoint:
    """A run after a whole number of iterations."""

    iteration: int
    """Number of completed iterations, which is also the number of metrics lines."""
    seconds: float
    """Wall time so far."""
    config: dict[str, Any]
    """The settings' `to_dict()`."""
    identity: dict[str, str]
    """What is optimised, such as the task's name."""
    state: dict[str, Any]
    """Parameters, running normalisers, optimisers and random generators."""

    def check_matches(self, *, config: dict[str, Any], identity: dict[str, str]) -> None:
        """Raise CheckpointMismatch at the first difference, in one line that names both values."""
        _check_same("identity", self.identity, identity)
        _check_same("config", self.config, config)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a temporary file and move it to `path`, so that a crash leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".tmp")
    with partial.open("wb") as file:
        torch.save({"format": _FORMAT, **vars(checkpoint)}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint onto the CPU, without running code from the file.

    Raises FileNotFoundError or CheckpointError, in one line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds on a damaged file
        reason = str(error).strip().splitlines()[:1]
        raise CheckpointError(f"{path} is no readable checkpoint ({' '.join(reason)[:120]})") from None
    found = content.get("format") if isinstance(content, dict) else None
    if found != _FORMAT:
        raise CheckpointError(f"{path} has checkpoint format {found!r}; expected {_FORMAT}")
    names = Checkpoint.__dataclass_fields__
    if missing := [name for name in names if name not in content]:
        raise CheckpointError(f"{path} lacks {', '.join(missing)}")
    return Checkpoint(**{name: content[name] for name in names})


def _check_same(what: str, saved: dict[str, Any], given: dict[str, Any]) -> None:
    for name in sorted(saved.keys() | given.keys()):
        old, new = saved.get(name), given.get(name)
        if old != new:
            raise CheckpointMismatch(f"{what} {name!r}: the checkpoint has {old!r}, this run was given {new!r}")
