"""What the methods of a task return: shapes, determinism, labels, endings, parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from tasks.author_checks import author_classes, defined_by_author, definition_place
from tasks.checking.trial import ACTION_SIZE, AGREEMENT, Finding, Trial, wrong
from tasks.episode import Episode
from tasks.task_parameters import task_parameters


def check_shapes(trial: Trial) -> Iterator[Finding]:
    """The rollout went through `Task.step`, which checks shapes and dtypes; here the values."""
    task, played = trial.task, trial.rollouts["no-op"]
    for t, episode in enumerate(played.episodes):
        width = int(task.observe(episode).flatten(1).shape[1])
        if width != task.observation_dim:
            yield wrong(task, "shapes", "observation", f"has {width} features after step {t}, {task.observation_dim} at first")
            return
        if not bool(episode.observations[-1].isfinite().all()):
            yield wrong(task, "shapes", "observation", f"is not finite after {t} steps")
            return
    if not bool(played.rewards.isfinite().all()):
        step = int((~played.rewards.isfinite()).any(dim=1).nonzero()[0])
        yield wrong(task, "shapes", "reward", f"is not finite in step {step} without any action")
        return
    yield Finding(
        "shapes", "pass", "observation, reward, success, failure, outcome and controls have the shapes and types asked for"
    )


def check_determinism(trial: Trial) -> Iterator[Finding]:
    """The same seed and actions twice."""
    task, actions = trial.task, trial.noise(ACTION_SIZE)
    once, again = trial.played(actions), trial.played(actions)
    first, second, other = task.reset(trial.seed), task.reset(trial.seed), task.reset(trial.seed + 1)
    if different := _difference(first, second):
        yield Finding(
            "determinism",
            "fail",
            f"reset({trial.seed}) twice gave two different {different}{definition_place(type(task), 'randomize')}",
            "draw everything in randomize by self.uniform(generator, ...) or with the generator",
        )
        return
    apart = float((once.rewards - again.rewards).abs().max())
    if apart > AGREEMENT * max(1.0, float(once.rewards.abs().max())):
        yield Finding(
            "determinism",
            "fail",
            f"the same seed and actions gave rewards that differ by {apart:.3g}",
            "keep what changes in the episode, not in attributes of the task, and draw nothing at random in a step",
        )
        return
    varied = (
        "other seeds give other episodes" if _difference(first, other) else "nothing is randomised: every seed gives the same"
    )
    yield Finding("determinism", "pass", f"the same seed and actions give the same rewards; {varied}")


def check_batch_size(trial: Trial) -> Iterator[Finding]:
    """The first environment of the batch, alone."""
    task = trial.task
    alone = type(task)(1, **task.parameters)
    first, own = task.reset(trial.seed).environment(0), alone.reset(trial.seed)
    if different := _difference(first, own):
        yield Finding(
            "batch size",
            "warn",
            f"the first episode of a seed has another {different} in a batch of 1 than of {task.num_envs}"
            f"{definition_place(type(task), 'randomize')}",
            "draw by self.uniform(generator, ...), so that results do not depend on the number of environments",
        )
        return
    actions = trial.noise(ACTION_SIZE)
    many = trial.played(actions).rewards[:, 0]
    one = replace(trial, task=alone).played(actions[:, :1]).rewards[:, 0]
    apart = float((many - one).abs().max())
    if apart > AGREEMENT * max(1.0, float(many.abs().max())):
        yield Finding(
            "batch size",
            "warn",
            f"an episode's rewards differ by {apart:.3g} between a batch of 1 and one of {task.num_envs}",
            "let no method mix environments: mean(dim=1), not mean()",
        )
        return
    yield Finding("batch size", "pass", f"an episode is the same in a batch of 1 and of {task.num_envs}")


def check_labels(trial: Trial) -> Iterator[Finding]:
    """Success, failure and outcome of the first states and of the episodes without actions and with random ones."""
    task, kind = trial.task, type(trial.task)
    if not defined_by_author(kind, "success"):
        yield Finding(
            "success", "warn", f"{kind.__name__} defines no success(): every run will read 0%", "define success(episode)"
        )
    else:
        first = task.reset(trial.seed)
        rate = float(task.success(first).float().mean())
        if rate > 0.0:
            yield Finding(
                "success",
                "warn",
                f"{rate:.0%} of the first states are successes already{definition_place(kind, 'success')}",
                "ask for more in success(), or begin farther from the goal",
            )
    played = [trial.rollouts["no-op"], trial.rollouts.setdefault("random", trial.played(trial.noise()))]
    count = len(task.outcome_names)
    labels: set[int] = set()
    for each in played:
        last = each.episodes[-1]
        both = task.success(last) & task.failure(last)
        if bool(both.any()):
            yield Finding(
                "labels",
                "warn",
                "an episode is a success and a failure at once; it counts as a failure",
                "let failure() exclude success",
            )
        labels |= set(each.info["outcome"].tolist())
    if bad := sorted(label for label in labels if not -1 <= label < count):
        yield wrong(
            task,
            "labels",
            "outcome",
            f"gave the label {bad[0]}; there are {count} outcome_names, so labels are 0 to {count - 1}, and -1 for none",
        )
        return
    seen = ", ".join("none" if label < 0 else task.outcome_names[label] for label in sorted(labels))
    yield Finding("labels", "pass", f"outcomes: {', '.join(task.outcome_names)}; seen without training: {seen}")


def check_endings(trial: Trial) -> Iterator[Finding]:
    """Episodes that end before the horizon."""
    task, kind = trial.task, type(trial.task)
    if not defined_by_author(kind, "failure") and not task.ends_on_success:
        yield Finding("early ends", "pass", "no failure() and ends_on_success is False: every episode lasts to the horizon")
        return
    first = task.reset(trial.seed)
    at_once = float(task.failure(first).float().mean())
    if at_once > 0.0:
        yield Finding(
            "early ends",
            "fail",
            f"{at_once:.0%} of the first states are failures already{definition_place(kind, 'failure')}",
            "let failure() begin where an episode can no longer succeed",
        )
        return
    ended = float(trial.rollouts["random"].episodes[-1].ended.float().mean())
    idle = float(trial.rollouts["no-op"].episodes[-1].ended.float().mean())
    text = f"{ended:.0%} of the episodes of random actions end before step {trial.steps}, {idle:.0%} without action"
    if ended == 1.0:
        yield Finding("early ends", "warn", text, "an optimiser sees little of such episodes; let failure() be rarer")
        return
    if defined_by_author(kind, "failure") and float(trial.rollouts["no-op"].rewards.mean()) < 0.0:
        yield Finding(
            "early ends",
            "warn",
            "rewards without action are negative, and 0 after a failure: failing early has the better return",
            "let reward() be positive until success, for example 1 minus a share of the distance",
        )
        return
    yield Finding("early ends", "pass", text)


def check_parameters(trial: Trial) -> Iterator[Finding]:
    """What can be set."""
    fields = task_parameters(type(trial.task)).__dataclass_fields__  # type: ignore[arg-type, attr-defined]
    own, constants = [], []
    for owner in author_classes(type(trial.task)):
        own += [name for name in vars(owner).get("__annotations__", {}) if name in fields]
        plain = [name for name, value in vars(owner).items() if isinstance(value, int | float | str) and name[0] != "_"]
        constants += [name for name in plain if name not in fields and not _of_base(type(trial.task), name)]
    text = f"{len(fields)} can be set; the task's own: {', '.join(dict.fromkeys(own)) or 'none'}"
    if constants:
        text += f"; not annotated, so constants: {', '.join(constants)}"
    yield Finding("parameters", "pass", text)


def _difference(one: Episode, other: Episode) -> str:
    """The first thing in which two episodes differ; "" if there is none."""
    for name, tensor in one.state.tensors().items():
        if not torch.equal(tensor, other.state.tensors()[name]):
            return f"state.{name}"
    for group in ("values", "parameters"):
        mine, theirs = getattr(one, group) or {}, getattr(other, group) or {}
        for name, tensor in mine.items():
            if name not in theirs or not torch.equal(tensor, theirs[name]):
                return name
    return ""


def _of_base(kind: type, name: str) -> bool:
    """Whether the base class has an attribute of the name."""
    return any(name in vars(owner) for owner in kind.__mro__ if owner not in author_classes(kind))
