"""Checks of a whole task, as its author would make them: what it returns, how it learns, what it costs. In plain words."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import diffsim as ds
from tasks.author_checks import author_classes, author_file, definition_place
from tasks.checking import contract_checks, learning_checks, scene_checks
from tasks.checking.trial import Finding, Trial, overheard, without_numbers

if TYPE_CHECKING:
    from tasks.base import Task

QUICK_STEPS = 5  # control steps of a rollout in a quick check

Check = Callable[[Trial], Iterator[Finding]]

QUICK_CHECKS: dict[str, Check] = {
    "shapes": contract_checks.check_shapes,
    "determinism": contract_checks.check_determinism,
    "labels": contract_checks.check_labels,
    "early ends": contract_checks.check_endings,
    "parameters": contract_checks.check_parameters,
    "actions": learning_checks.check_actions,
    "returns": learning_checks.check_returns,
    "start": scene_checks.check_start,
    "rendering": scene_checks.check_rendering,
    "speed": scene_checks.check_speed,
}
LONG_CHECKS: dict[str, Check] = {
    "batch size": contract_checks.check_batch_size,
    "gradient growth": learning_checks.check_growth,
    "reachable": learning_checks.check_reachable,
}


def check_task(
    kind: type[Task], *, quick: bool = False, num_envs: int = 4, seed: int = 0, search_seconds: float = 60.0, **parameters: Any
) -> Iterator[Finding]:
    """Check a task class; each finding comes as soon as it is made.

    Args:
        quick: short episodes, and no check that takes long.
        num_envs: environments of the episodes that are tried.
        seed: of their first states.
        search_seconds: how long a success is searched for.
        parameters: of the task that differ from its defaults.
    """
    begun = time.perf_counter()
    try:
        with overheard() as heard:
            task = kind(num_envs, **parameters)
            trial = Trial(task, seed, min(task.horizon, QUICK_STEPS) if quick else task.horizon, search_seconds)
            trial.rollouts["no-op"] = trial.played(torch.zeros_like(trial.noise()))
    except Exception as error:  # the author's code can raise anything
        yield Finding("build", "fail", error_in_words(error, kind), "mend this first; nothing else was checked")
        return
    bodies = f"{task.sim.num_particles} particles, " if task.sim.num_particles else ""
    yield Finding(
        "build",
        "pass",
        f"{bodies}{task.action_dim} action components, {task.observation_dim} observation features, horizon {task.horizon}; "
        f"built and compiled in {time.perf_counter() - begun:.1f} s",
    )
    said: set[str] = set()
    yield from _new(_told(heard, "scene"), said)
    for name, check in {**QUICK_CHECKS, **({} if quick else LONG_CHECKS)}.items():
        heard = []
        try:
            with overheard() as heard:
                found = list(check(trial))
        except Exception as error:
            found = [Finding(name, "fail", error_in_words(error, kind))]
        yield from _new([*found, *_told(heard, "physics")], said)


def error_in_words(error: Exception, kind: type) -> str:
    """An exception in one line: what it says, and the last place of the author's files that it came through."""
    text = " ".join(str(error).split())
    text = text if isinstance(error, ds.InputError | ds.SimulationError) else f"{type(error).__name__}: {text}"
    files = {author_file(owner) for owner in author_classes(kind)}
    folders = {Path(file).parent for file in files if file} - {Path(__file__).parents[1]}
    frames = traceback.extract_tb(error.__traceback__)
    places = [frame for frame in frames if frame.filename in files or Path(frame.filename).parent in folders]
    called = re.match(r"\w+\.(\w+)\(\) (missing|takes|got)", str(error)) if isinstance(error, TypeError) else None
    if called and called[1] in dir(kind):  # with other arguments than it takes
        return text + definition_place(kind, called[1])
    if not places or ", line " in text:
        return text
    return f"{text} ({Path(places[-1].filename).name}, line {places[-1].lineno})"


def _told(heard: list[str], check: str) -> Iterator[Finding]:
    for text in dict.fromkeys(heard):
        if "does not define success()" not in text:  # a check of its own
            yield Finding(check, "warn", text)


def _new(findings: Iterable[Finding], said: set[str]) -> Iterator[Finding]:
    """Findings but those that differ from earlier ones in numbers alone, and errors that several checks run into."""
    for finding in findings:
        words = without_numbers(finding.text) if finding.verdict == "warn" else finding.text
        if words not in said:
            said.add(words)
            yield finding
