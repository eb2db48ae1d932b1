"""A checkpoint: everything that a bit-identical continuation of a run needs, in one file, written atomically.

A run's folder holds two: `checkpoint.pt` of its last iteration, and `best.pt` of its best one (`RunRecord.best_score`).
"""

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import torch

from rpg.settings_checks import checked_path
from rpg.training.whole_files import whole_file

CHECKPOINT_NAME, BEST_NAME = "checkpoint.pt", "best.pt"
_FORMAT = 3


class CheckpointError(ValueError):
    """The file cannot be read as a checkpoint."""


class CheckpointMismatch(ValueError):
    """The checkpoint belongs to another task or has other settings than the run that would continue from it."""


@dataclass(frozen=True)
class RunRecord:
    """What happened to a run so far, and where its schedules stand."""

    schedule_iterations: int
    """Number of iterations that schedules are fractions of: those that the run was first started with."""
    schedule_start: int = 0
    """The iteration at which schedules begin."""
    running_return: float | None = None
    """Exponential mean of the batches' returns."""
    best_score: float | None = None
    """The best score so far: the return of the most probable latent in held-out evaluations, else the running return."""
    best_iteration: int = 0
    """Number of completed iterations at the best score."""
    best_by: str = ""
    """Which of the two scores that is: "evaluation" or "running return"."""
    evaluation_interval: int | None = None
    """Iterations from one held-out evaluation to the next; None for none."""
    evaluation_steps: int = 0
    """Environment steps of evaluations."""
    attempt: int = 0
    """How often the next iteration has been tried in vain."""
    step_scale: float = 1.0
    """Factor on all learning rates."""
    events: tuple[tuple[int, str], ...] = ()
    """What happened, with the number of iterations completed before: extensions, branches, attempts in vain."""

    def with_event(self, iteration: int, text: str) -> tuple[tuple[int, str], ...]:
        """The events and one more."""
        return (*self.events, (iteration, text))


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
    environment: dict[str, Any]
    """Dimensions, horizon and dtype of the environment: what a policy needs to be built without it."""
    state: dict[str, Any]
    """Parameters, running normalisers, optimisers and random generators."""
    record: RunRecord
    """What happened to the run."""

    def check_matches(self, *, config: dict[str, Any], identity: dict[str, str]) -> None:
        """Raise CheckpointMismatch at the first difference, in one line that names both values, the number of iterations
        excepted, which may be any that are not done yet.
        """
        _check_same("identity", self.identity, identity)
        _check_same("config", {**self.config, "iterations": None}, {**config, "iterations": None})
        self.check_iterations(config["iterations"])

    def check_iterations(self, iterations: int) -> None:
        """Raise CheckpointMismatch if more than `iterations` are done."""
        if iterations < self.iteration:
            raise CheckpointMismatch(f"iterations was given {iterations}; the checkpoint has {self.iteration} done")

    def changes(self, *, config: dict[str, Any], identity: dict[str, str]) -> str:
        """What differs in another run's settings and identity, in words."""
        old, new = {**self.config, **self.identity}, {**config, **identity}
        names = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
        return ", ".join(f"{name} {_short(old.get(name))} -> {_short(new.get(name))}" for name in names) or "nothing changed"


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write it whole or not at all. Raises OSError, which names `path`."""
    with whole_file(path) as partial, partial.open("wb") as file:
        torch.save({"format": _FORMAT, **vars(checkpoint), "record": vars(checkpoint.record)}, file)
        file.flush()
        os.fsync(file.fileno())


def file_content(path: Path, what: str) -> Any:
    """What `torch.save` wrote, on the CPU, without running code from the file; `what` it should hold is named in errors.

    Raises FileNotFoundError or CheckpointError, in one line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no {what} at {path}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds on a damaged file
        reason = str(error).strip().splitlines()[:1]
        raise CheckpointError(f"{path} is no readable {what} ({' '.join(reason)[:120]})") from None


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint onto the CPU, without running code from the file.

    Raises FileNotFoundError or CheckpointError, in one line.
    """
    path = checked_path("path", path)
    content = file_content(path, "checkpoint")
    found = content.get("format") if isinstance(content, dict) else None
    if found != _FORMAT:
        raise CheckpointError(f"{path} has checkpoint format {found!r}; expected {_FORMAT}")
    names = [field.name for field in fields(Checkpoint)]
    if missing := [name for name in names if name not in content]:
        raise CheckpointError(f"{path} lacks {', '.join(missing)}")
    try:
        record = RunRecord(**content["record"])
    except TypeError as error:
        raise CheckpointError(f"{path} has a record of another version ({error})") from None
    return Checkpoint(**{name: content[name] for name in names if name != "record"}, record=record)


def checkpoint_path(path: Path, which: Literal["last", "best"] = "last") -> Path:
    """The file that `path` names: a run's folder, with `which` of its two checkpoints, or a file of either kind."""
    return path / {"last": CHECKPOINT_NAME, "best": BEST_NAME}[which] if path.is_dir() else path


def _check_same(what: str, saved: dict[str, Any], given: dict[str, Any]) -> None:
    for name in sorted(saved.keys() | given.keys()):
        old, new = saved.get(name), given.get(name)
        if old != new:
            raise CheckpointMismatch(f"{what} {name!r}: the checkpoint has {old!r}, this run was given {new!r}")


def _short(value: object) -> str:
    """A setting in words: a schedule as its four numbers."""
    return ",".join(str(each) for each in value.values()) if isinstance(value, dict) else str(value)
