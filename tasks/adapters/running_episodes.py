"""Episodes of a task that end and begin one by one, with seeds of their own: what the adapters to RL libraries share."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import diffsim as ds
from tasks.base import Task
from tasks.observation_modes import Pictures
from tasks.registry import find_task
from tasks.variants import Variants

TimeLimitMode = Literal["truncation", "termination"]


class Stepped(NamedTuple):
    """What a step of `RunningEpisodes` gave."""

    reward: Tensor
    """(B,), differentiable."""
    terminated: Tensor
    """(B,) bool: nothing more can be earned."""
    truncated: Tensor
    """(B,) bool: cut off by the time limit, and not terminated."""
    success: Tensor
    """(B,) bool, as if the episodes ended here."""
    outcome: Tensor
    """(B,) int64, likewise."""


class RunningEpisodes:
    """B running episodes of a task, any of which can begin anew while the others go on.

    Every environment has a generator of its own, from which the seed of its next episode is drawn: an episode of environment n
    is row n of ``task.reset(seed)``. So what an environment does in its k-th episode depends on its generator and on n alone,
    not on when the others end.

    Args:
        task: a `Task` or `Variants`.
        time_limit: whether an episode that reaches the horizon is cut off ("truncation") or over ("termination").

    Raises:
        InputError: ``time_limit`` is something else.
    """

    def __init__(self, task: Any, time_limit: TimeLimitMode = "truncation") -> None:
        if time_limit not in get_args(TimeLimitMode):
            raise ds.InputError(f"time_limit is {time_limit!r}; allowed are 'truncation' and 'termination'")
        self.task, self.num_envs = task, int(task.num_envs)
        self.episode: Any = None
        """The `Episode`, or `VariantEpisodes`; None before the first `begin`."""
        self.seeds = np.zeros(self.num_envs, dtype=np.int64)
        """(B,) what ``task.reset`` was given for each present episode."""
        self._time_limit = time_limit

    def begin(self, where: NDArray[np.bool_], generators: Sequence[np.random.Generator]) -> None:
        """New episodes in the environments ``where`` (B,), all of them the first time; B ``generators`` draw their seeds. It
        takes as many resets of the task as there are different seeds: one, if all generators were seeded alike."""
        for n in np.flatnonzero(where).tolist():
            self.seeds[n] = generators[n].integers(2**31)
        for seed in np.unique(self.seeds[where]).tolist():
            begun, rows = self.task.reset(seed), where & (self.seeds == seed)
            self.episode = begun if self.episode is None or rows.all() else begun.merged(torch.from_numpy(rows), self.episode)

    def step(self, action: Tensor) -> Stepped:
        """One control step under ``action`` (B, A), which is clamped to [-1, 1]."""
        self.episode, reward, info = self.task.step(self.episode, action.clamp(-1.0, 1.0))
        terminated, truncated = info["terminated"], info["truncated"]
        if self._time_limit == "termination":
            terminated, truncated = terminated | truncated, torch.zeros_like(truncated)
        return Stepped(reward, terminated, truncated, info["success"], info["outcome"])

    def observed(self) -> dict[str, Tensor]:
        """What the task's observation mode shows: "state" (B, O), "points" (B, n, 3) and "state", or "image" (B, H, W, 3)."""
        seen = self.task.observe(self.episode)
        if getattr(self.task, "observation_shape", None) is not None:
            return {"image": seen}
        points = getattr(self.task, "observation_points", None)
        if points is None:
            return {"state": seen}
        width = points[0] * points[1]
        return {"points": seen[:, :width].unflatten(1, points), "state": seen[:, width:]}


class EpisodePictures:
    """Pictures of running episodes, from each task's camera.

    Args:
        task: a `Task` or `Variants`.
        size: height and width, pixels.

    Raises:
        InputError: the size is wrong, or the task cannot be drawn; a first picture is drawn at once.
    """

    def __init__(self, task: Any, size: tuple[int, int]) -> None:
        self._pictures = [Pictures(each, size) for each in getattr(task, "tasks", [task])]
        task.check_rendering()

    def __call__(self, episode: Any) -> NDArray[np.uint8]:
        """sRGB bytes (B, H, W, 3)."""
        parts = zip(self._pictures, getattr(episode, "parts", [episode]), strict=True)
        return torch.cat([draw(part) for draw, part in parts]).cpu().numpy()


def made_task(task: Any, num_envs: int | None, parameters: Mapping[str, Any]) -> Any:
    """The task that ``task`` means: itself, if it is one; else one of ``num_envs`` (1 if None) environments with ``parameters``
    of a class, a function that makes one, a registered name, or a class by "module:name".

    Raises:
        InputError: parameters or another number of environments are given with a task that is there, or the name is unknown.
    """
    if isinstance(task, Task | Variants):
        if parameters or num_envs not in (None, task.num_envs):
            given = f"a task of {task.num_envs} environments with num_envs={num_envs}, parameters {sorted(parameters)}"
            raise ds.InputError(f"given was {given}; allowed is the task alone, or its class with num_envs and parameters")
        return task
    kind: Callable[..., Any] = _named_task(task) if isinstance(task, str) else task
    if not callable(kind):
        raise ds.InputError(f"task is a {type(task).__name__}; allowed are a task, its class, and its name")
    return kind(1 if num_envs is None else num_envs, **parameters)


def _named_task(name: str) -> type[Task]:
    """The class registered as ``name``, or that of "module:name"; the module is imported, which registers it in a process that
    begins anew."""
    module, _, inner = name.rpartition(":")
    if not module:
        return find_task(name)
    try:
        found: Any = importlib.import_module(module)
        for part in inner.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ds.InputError(f"task '{name}' cannot be imported: {error}") from error
    return found
