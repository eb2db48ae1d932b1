"""Checks of what a task's author wrote: one line names the class, the method, what it gave and what is allowed."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

import diffsim as ds
from tasks.episode import Episode

BASE = "tasks.base"  # the module of `Task`
DTYPES = {torch.bool: "torch.bool", torch.int64: "torch.int64"}


def refused(owner: object, method: str, given: str, allowed: str) -> ds.InputError:
    """The error of a method of ``owner`` that gave something else than it may."""
    place = definition_place(type(owner), method)
    return ds.InputError(f"{method}() of task {type(owner).__name__} gave {given}; allowed is {allowed}{place}")


def author_classes(kind: type) -> list[type]:
    """Of a task class and its bases those that an author wrote, the class first."""
    return [owner for owner in kind.__mro__ if owner is not object and owner.__module__ != BASE]


def defined_by_author(kind: type, method: str) -> bool:
    """Whether a task class has a method of its author's, not the base class's."""
    return any(method in vars(owner) for owner in author_classes(kind))


def definition_place(kind: type, method: str) -> str:
    """Where the author of a task class defined a method, as " (file.py, line 12)"; "" if nowhere."""
    for owner in author_classes(kind):
        code = getattr(inspect.unwrap(vars(owner).get(method, len)), "__code__", None)
        if code is not None:
            return f" ({Path(code.co_filename).name}, line {code.co_firstlineno})"
    return ""


def author_file(kind: type) -> str | None:
    """The file that a class was written in, or None if it has none."""
    try:
        return inspect.getsourcefile(kind)
    except TypeError:
        return None


def described(value: object) -> str:
    """What something is, in a few words."""
    if isinstance(value, Tensor):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    return "None (is a return missing?)" if value is None else f"a {type(value).__name__}"


def check_first_episode(owner: object, episode: object, num_envs: int) -> Episode:
    """What `Task.randomize` returned.

    Raises:
        InputError: it is no Episode, or one of another number of environments.
    """
    if isinstance(episode, Episode) and episode.num_envs == episode.state.num_envs == num_envs:
        return episode
    given = f"an Episode of {episode.num_envs} environments" if isinstance(episode, Episode) else described(episode)
    raise refused(owner, "randomize", given, f"an Episode of {num_envs} environments: return self.episode(state)")


def check_values(owner: object, values: Mapping[str, object], num_envs: int) -> None:
    """The author's own values of an episode.

    Raises:
        InputError: one is no tensor (B, ...).
    """
    for name, value in values.items():
        if not isinstance(value, Tensor) or value.ndim < 1 or len(value) != num_envs:
            allowed = f"a tensor with a row for each of the {num_envs} environments"
            raise ds.InputError(
                f"episode() of task {type(owner).__name__} got {name}: {described(value)}; allowed is {allowed}"
            )


def check_advance(owner: object, changed: object, values: Mapping[str, Tensor]) -> None:
    """What `Task.advance` returned, beside the episodes' ``values``.

    Raises:
        InputError: it is no mapping, or holds another value than these, or one of another shape or dtype.
    """
    if not isinstance(changed, Mapping):
        raise refused(owner, "advance", described(changed), "a dict of the values that changed")
    for name, value in changed.items():
        if name not in values:
            raise refused(
                owner, "advance", f"'{name}'", f"what randomize() gave to episode(): {', '.join(values) or 'nothing'}"
            )
        old = values[name]
        if not isinstance(value, Tensor) or value.shape != old.shape or value.dtype != old.dtype:
            raise refused(owner, "advance", f"{name}: {described(value)}", f"{old.dtype} of shape {tuple(old.shape)}")


def check_observation(owner: object, value: object, num_envs: int, width: int | None = None) -> None:
    """What `Task.observation` returned.

    Raises:
        InputError: it is no floating tensor (B, O), or O changed.
    """
    good = isinstance(value, Tensor) and value.ndim == 2 and len(value) == num_envs and value.is_floating_point()
    if not good or (width is not None and value.shape[1] != width):  # type: ignore[attr-defined]
        raise refused(owner, "observation", described(value), f"floating point of shape ({num_envs}, {width or 'features'})")


def check_reward(owner: object, value: object, like: Tensor, *, needs_gradient: bool) -> Tensor:
    """What `Task.reward` returned.

    Raises:
        InputError: it is no tensor (B,) of the dtype of ``like``, or has no gradient where ``needs_gradient``.
    """
    if not isinstance(value, Tensor) or value.shape != like.shape[:1] or value.dtype != like.dtype:
        raise refused(owner, "reward", described(value), f"{like.dtype} of shape {tuple(like.shape[:1])}")
    if needs_gradient and not value.requires_grad:
        raise refused(
            owner,
            "reward",
            "a tensor without a gradient",
            "one computed from the state by torch alone (no detach, item, tolist or numpy); a task that cannot do that says "
            "differentiable = False",
        )
    return value


def check_labels(owner: object, method: str, value: object, dtype: torch.dtype, num_envs: int) -> Tensor:
    """What `Task.success`, `failure` (bool) or `outcome` (int64) returned.

    Raises:
        InputError: it is no tensor (B,) of that dtype.
    """
    if not isinstance(value, Tensor) or value.dtype != dtype or value.ndim != 1 or len(value) != num_envs:
        raise refused(owner, method, described(value), f"{DTYPES[dtype]} of shape ({num_envs},)")
    return value


def check_controls(owner: object, value: object, num_envs: int, width: int) -> Tensor:
    """What `Task.controls` returned.

    Raises:
        InputError: it is not (B, action_dim of the simulator).
    """
    if not isinstance(value, Tensor) or value.ndim != 2 or value.shape[0] != num_envs or value.shape[1] != width:
        raise refused(owner, "controls", described(value), f"({num_envs}, {width}): a number for each control of the simulator")
    return value


def check_seed(seed: object) -> None:
    """The seed of `Task.reset`.

    Raises:
        InputError: it is neither None nor a whole number from 0 to 2^63 - 1.
    """
    whole = isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**63
    if seed is not None and not whole:
        raise ds.InputError(f"reset: seed must be None or a whole number from 0 to 2**63 - 1, got {seed!r}")


def check_action(owner: object, action: object, shape: tuple[int, int]) -> None:
    """The action of `Task.step`.

    Raises:
        InputError: it is no tensor (B, A) of that ``shape``.
    """
    if not isinstance(action, Tensor) or action.shape != shape:
        given = f"has shape {tuple(action.shape)}" if isinstance(action, Tensor) else f"is {action!r}"
        raise ds.InputError(f"action of task {type(owner).__name__} {given}; allowed is {shape}")
