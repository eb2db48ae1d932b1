"""Checks of a whole task, as its author would make them: what it returns, how it learns, what it costs. In plain words."""

from __future__ import annotations

import logging
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

import diffsim as ds
from tasks.author_checks import author_file, definition_place
from tasks.episode import Episode
from tasks.start_checks import start_scene
from tasks.success_search import Search, search_success
from tasks.task_parameters import task_parameters

if TYPE_CHECKING:
    from tasks.base import Task

Verdict = Literal["pass", "warn", "fail"]

QUICK_STEPS = 5  # control steps of a rollout in a quick check
STEEP = 100.0  # norm of the return's gradient by the actions above which a plain optimiser leaves its way
LARGE_REWARD = 100.0
AGREEMENT = 1e-4  # of two episodes that should be the same, relative: rounding, no more
ACTION_SIZE = 0.5  # of the random actions that gradients are taken at


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: name of the check.
        verdict: "fail": the task cannot be optimised as it is; "warn": it can, but something is odd.
        text: what was found, one line.
        advice: what to do about it; "" where nothing is to be done.
    """

    check: str
    verdict: Verdict
    text: str
    advice: str = ""


@dataclass(frozen=True)
class Rollout:
    """An episode's course in B environments: T rewards (T, B), the last info, and the episodes (T + 1)."""

    episodes: list[Episode]
    rewards: Tensor
    info: dict[str, Tensor]

    @property
    def returns(self) -> Tensor:
        """(B,)."""
        return self.rewards.detach().sum(dim=0)

    def words(self) -> str:
        """Return and success rate."""
        success = float(self.info["success"].float().mean())
        return f"return {float(self.returns.mean()):.3g} (success {success:.0%})"


@dataclass
class Trial:
    """The task under check, and the episodes that several checks look at."""

    task: Task
    seed: int
    steps: int
    search_seconds: float
    seconds: dict[str, float] = field(default_factory=dict)
    found: dict[str, Rollout] = field(default_factory=dict)
    search: Search | None = None

    def rolled_out(self, actions: Tensor) -> Rollout:
        """The episodes of the seed under actions (T, B, A)."""
        episode = self.task.reset(self.seed)
        episodes, rewards, info = [episode], [], {}
        for action in actions:
            episode, reward, info = self.task.step(episode, action)
            episodes.append(episode)
            rewards.append(reward)
        return Rollout(episodes, torch.stack(rewards), info)

    def noise(self, size: float = 1.0, seed: int = 1) -> Tensor:
        """Uniform actions (T, B, A) in [-size, size]."""
        task, generator = self.task, torch.Generator().manual_seed(seed)
        drawn = 2.0 * torch.rand(self.steps, task.num_envs, task.action_dim, generator=generator) - 1.0
        return (size * drawn).to(task.sim.device, task.sim.dtype)


Check = Callable[[Trial], Iterator[Finding]]


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
        with _overheard() as heard:
            task = kind(num_envs, **parameters)
            trial = Trial(task, seed, min(task.horizon, QUICK_STEPS) if quick else task.horizon, search_seconds)
            trial.found["no-op"] = _without_gradient(trial, torch.zeros_like(trial.noise()))
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
    yield from _told(heard, "scene")
    for name, check in {**QUICK_CHECKS, **({} if quick else LONG_CHECKS)}.items():
        heard = []
        try:
            with _overheard() as heard:
                found = list(check(trial))
        except Exception as error:
            found = [Finding(name, "fail", error_in_words(error, kind), "")]
        yield from found
        yield from _told(heard, name)


# What the methods return -----------------------------------------------------------------------------------------


def check_shapes(trial: Trial) -> Iterator[Finding]:
    """The rollout went through `Task.step`, which checks shapes and dtypes; here the values."""
    task, played = trial.task, trial.found["no-op"]
    for t, episode in enumerate(played.episodes):
        width = int(task.observe(episode).flatten(1).shape[1])
        if width != task.observation_dim:
            yield _failed(
                task, "shapes", "observation", f"has {width} features after step {t}, {task.observation_dim} at first"
            )
            return
        if not bool(episode.observations[-1].isfinite().all()):
            yield _failed(task, "shapes", "observation", f"is not finite after {t} steps")
            return
    if not bool(played.rewards.isfinite().all()):
        step = int((~played.rewards.isfinite()).any(dim=1).nonzero()[0])
        yield _failed(task, "shapes", "reward", f"is not finite in step {step} without any action")
        return
    yield Finding(
        "shapes", "pass", "observation, reward, success, failure, outcome and controls have the shapes and types asked for"
    )


def check_determinism(trial: Trial) -> Iterator[Finding]:
    """The same seed and actions twice."""
    task, actions = trial.task, trial.noise(ACTION_SIZE)
    once, again = _without_gradient(trial, actions), _without_gradient(trial, actions)
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
    alone = type(task)(1, dtype=task.sim.dtype, device=task.sim.device, **task.parameters)
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
    many = _without_gradient(trial, actions).rewards[:, 0]
    one = _without_gradient(replace(trial, task=alone), actions[:, :1]).rewards[:, 0]
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
    from tasks.base import Task

    task, kind = trial.task, type(trial.task)
    if kind.success is Task.success:
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
    played = [trial.found["no-op"], trial.found.setdefault("random", _without_gradient(trial, trial.noise()))]
    count, labels = len(task.outcome_names), set()
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
    if wrong := sorted(label for label in labels if not -1 <= label < count):
        yield _failed(
            task,
            "labels",
            "outcome",
            f"gave the label {wrong[0]}; there are {count} outcome_names, so labels are 0 to {count - 1}, and -1 for none",
        )
        return
    seen = ", ".join("none" if label < 0 else task.outcome_names[label] for label in sorted(labels))
    yield Finding("labels", "pass", f"{count} outcomes ({', '.join(task.outcome_names)}); seen without training: {seen}")


def check_endings(trial: Trial) -> Iterator[Finding]:
    """Episodes that end before the horizon."""
    from tasks.base import Task

    task, kind = trial.task, type(trial.task)
    if kind.failure is Task.failure and not task.ends_on_success:
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
    ended = float(trial.found["random"].episodes[-1].ended.float().mean())
    idle = float(trial.found["no-op"].episodes[-1].ended.float().mean())
    text = f"{ended:.0%} of the episodes of random actions end before step {trial.steps}, {idle:.0%} without action"
    if ended == 1.0:
        yield Finding("early ends", "warn", text, "an optimiser sees little of such episodes; let failure() be rarer")
        return
    yield Finding("early ends", "pass", text)


# What can be learnt -----------------------------------------------------------------------------------------------


def check_actions(trial: Trial) -> Iterator[Finding]:
    """Which components of an action matter to the reward, by its gradient or by trying."""
    task = trial.task
    actions = trial.noise(ACTION_SIZE)
    base = _without_gradient(trial, actions)
    gradient = torch.zeros_like(actions)
    if task.differentiable:
        leaf = actions.clone().requires_grad_()
        begun = time.perf_counter()
        total = trial.rolled_out(leaf).rewards.sum()
        middle = time.perf_counter()
        if not total.requires_grad:
            yield _failed(task, "reward", "reward", "has no gradient: it does not come from the state by torch alone")
            return
        (gradient,) = torch.autograd.grad(total, leaf, allow_unused=True)
        trial.seconds["backward"] = (time.perf_counter() - middle) / trial.steps
        trial.seconds["forward with gradients"] = (middle - begun) / trial.steps
        gradient = torch.zeros_like(actions) if gradient is None else gradient
        if not bool(gradient.isfinite().all()):
            step = int((~gradient.isfinite()).flatten(1).any(dim=1).nonzero()[-1])
            yield Finding(
                "gradients",
                "fail",
                f"the return's gradient is not finite from action {step} back",
                "look for sqrt, norm, division or log at 0 in reward() and observation(); add 1e-6 within",
            )
            return
    idle, unused, flat = [], [], []
    for k in range(task.action_dim):
        if bool((gradient[..., k] != 0.0).any()):
            continue
        tried = actions.clone()
        tried[..., k] = ACTION_SIZE * torch.where(tried[..., k] > 0.0, -1.0, 1.0)
        other = _without_gradient(trial, tried)
        if not torch.equal(other.rewards, base.rewards):
            flat += [k] if task.differentiable else []
        else:
            (idle if _same(other.episodes[-1].state, base.episodes[-1].state) else unused).append(k)
    words = f"in {trial.steps} steps"
    if len(idle) + len(unused) == task.action_dim:
        why = (
            "nor the state: the actions do nothing" if len(idle) == task.action_dim else f"{words}, though they move something"
        )
        yield Finding(
            "reward",
            "fail",
            f"no action component changes the reward {why}{definition_place(type(task), 'reward')}",
            "let reward() use step.after, and let it grow on the way to the goal",
        )
        return
    if idle:
        yield Finding(
            "actions",
            "warn",
            f"{_components(idle)} changes neither the state nor the reward {words}",
            "leave it out, or see controls()",
        )
    if unused:
        yield Finding(
            "actions",
            "warn",
            f"{_components(unused)} moves something, but changes no reward {words}",
            "it may matter later in an episode",
        )
    if flat:
        yield Finding(
            "actions",
            "warn",
            f"{_components(flat)} changes the reward, but no gradient flows to it",
            "look for detach, round, comparisons or numpy on the way, or set differentiable = False",
        )
    if not (idle or unused or flat):
        yield Finding("actions", "pass", f"all {task.action_dim} components of an action change the reward")
    if task.differentiable:
        yield from _gradient_size(trial, gradient)
    else:
        yield Finding("gradients", "pass", "none: differentiable is False")


def _gradient_size(trial: Trial, gradient: Tensor) -> Iterator[Finding]:
    norms = gradient.flatten(2).norm(dim=2).square().sum(dim=0).sqrt()
    largest, middle = float(norms.max()), float(norms.median())
    text = f"finite; the return's gradient by an episode's actions has norm {middle:.2g}, at most {largest:.2g}"
    if largest > STEEP:
        yield Finding(
            "gradients",
            "warn",
            text,
            "clip them (torch.nn.utils.clip_grad_norm_); task.gradient_report(actions) says where they grow",
        )
        return
    yield Finding("gradients", "pass", text)


def check_growth(trial: Trial) -> Iterator[Finding]:
    """Where gradients grow."""
    task = trial.task
    if not task.differentiable:
        return
    report = task.gradient_report(trial.noise(ACTION_SIZE), seed=trial.seed)
    jump = report.jump
    if jump is None:
        yield Finding(
            "gradient growth", "warn", "no gradient flows through any step", "the reward may only see the present action"
        )
        return
    text = f"at most {jump.growth:.3g} times in a step, through step {jump.step}, most of it at '{jump.part}'"
    if not jump.growth <= STEEP:
        yield Finding("gradient growth", "warn", text, "clip gradients; softer contact, a smaller dt or a shorter horizon help")
        return
    yield Finding("gradient growth", "pass", text)


def check_returns(trial: Trial) -> Iterator[Finding]:
    """Doing nothing and random actions."""
    idle, random = trial.found["no-op"], trial.found["random"]
    size = max(float(each.rewards.abs().max()) for each in (idle, random))
    text = f"without action {idle.words()}, with random actions {random.words()}; the largest |reward| of a step is {size:.3g}"
    if float(idle.info["success"].float().mean()) >= 0.5:
        yield Finding("returns", "warn", text, "doing nothing succeeds: ask for more in success()")
    elif size > LARGE_REWARD:
        yield Finding("returns", "warn", text, "divide the reward: optimisers here expect one of order 1")
    else:
        yield Finding("returns", "pass", text)
    bound, task = task_bound(trial), trial.task
    if bound is None:
        yield Finding(
            "reward bound", "pass", f"no reward_bound; set it (to {size:.2g} or more) for --task.reward-mode normalised"
        )
        return
    size *= bound if task.reward_mode == "normalised" else 1.0
    text = f"reward_bound is {bound:g}, the largest |reward| seen {size:.3g}"
    good = task.reward_mode == "sparse" or size <= bound
    yield Finding("reward bound", "pass" if good else "warn", text, "" if good else "raise reward_bound")


def task_bound(trial: Trial) -> float | None:
    """What the class says of its reward's size."""
    return None if trial.task.reward_bound is None else float(trial.task.reward_bound)


def check_reachable(trial: Trial) -> Iterator[Finding]:
    """Whether some actions succeed."""
    from tasks.base import Task

    task = trial.task
    if type(task).success is Task.success:
        return
    trial.search = search = search_success(task, seed=trial.seed, seconds=trial.search_seconds)
    label = search.label
    if search.success > 0.0:
        if label is not None and label < 0:
            yield Finding(
                "labels",
                "warn",
                "a successful episode was labelled -1",
                "let outcome() give every success one of outcome_names",
            )
        yield Finding(
            "reachable",
            "pass",
            f"success in {search.success:.0%} of the episodes after {search.steps} control steps of {search.method}",
        )
        return
    yield Finding(
        "reachable",
        "warn",
        f"success was not reached within {search.steps} control steps of search (best return {search.best_return:.3g}, "
        f"without action {float(trial.found['no-op'].returns.max()):.3g}); that proves nothing, a longer optimisation may",
        "if optimize fails too: a longer horizon, faster actions, or a reward that leads there",
    )


# What it stands on, and what it costs -------------------------------------------------------------------------------


def check_start(trial: Trial) -> Iterator[Finding]:
    """Resolution of the scene; and the scene as an episode begins, through the simulator's own checks of scenes."""
    task, scene = trial.task, trial.task.sim.scene
    for body in scene.soft_bodies:
        count = len(body.rest_particles)
        per_cell = count * scene.grid_spacing**3 / body.shape.volume
        if per_cell >= 1.0:  # fewer are warned of by the simulator
            yield Finding("resolution", "pass", f"SoftBody '{body.name}': {count} particles, {per_cell:.2g} in a grid cell")
    first, told = task.reset(trial.seed), set()
    for environment in range(min(task.num_envs, 2)):
        with _overheard() as heard:
            ds.Simulator(start_scene(task.sim, first.state, environment), dt=task.dt, substeps=task.substeps)
        told |= set(heard)
    with _overheard() as declared:
        ds.Simulator(scene, dt=task.dt, substeps=task.substeps)
    own = sorted(told - set(declared))
    for text in own:
        yield Finding("start", "warn", text, "")
    if not own:
        yield Finding("start", "pass", "first states have no overlaps but those named above, and everything is in the domain")


def check_speed(trial: Trial) -> Iterator[Finding]:
    """Seconds a control step."""
    task = trial.task
    begun = time.perf_counter()
    _without_gradient(trial, trial.noise(ACTION_SIZE))
    forward = (time.perf_counter() - begun) / trial.steps
    text = f"{forward:.2g} s a control step forward"
    if "backward" in trial.seconds:
        text += f", {trial.seconds['backward']:.2g} s backward"
    total = forward + trial.seconds.get("backward", 0.0)
    iteration = total * task.horizon
    yield Finding(
        "speed",
        "pass",
        f"{text}, for {task.num_envs} environments: {task.num_envs / forward:.3g} environment steps a second; an episode with its "
        f"gradient takes {iteration:.2g} s",
    )


def check_rendering(trial: Trial) -> Iterator[Finding]:
    """One small picture."""
    begun = time.perf_counter()
    trial.task.check_rendering()
    yield Finding("rendering", "pass", f"a small frame drawn in {time.perf_counter() - begun:.2g} s")


def check_parameters(trial: Trial) -> Iterator[Finding]:
    """What can be set."""
    fields = task_parameters(type(trial.task)).__dataclass_fields__  # type: ignore[attr-defined]
    own = [
        name for owner in _author_classes(type(trial.task)) for name in vars(owner).get("__annotations__", {}) if name in fields
    ]
    constants = [
        name
        for owner in _author_classes(type(trial.task))
        for name, value in vars(owner).items()
        if isinstance(value, int | float | str)
        and not name.startswith("_")
        and name not in fields
        and not hasattr(_base(), name)
    ]
    text = f"{len(fields)} can be set; the task's own: {', '.join(dict.fromkeys(own)) or 'none'}"
    if constants:
        text += f"; not annotated, so constants: {', '.join(constants)}"
    yield Finding("parameters", "pass", text)


QUICK_CHECKS: dict[str, Check] = {
    "shapes": check_shapes,
    "determinism": check_determinism,
    "labels": check_labels,
    "early ends": check_endings,
    "actions": check_actions,
    "returns": check_returns,
    "start": check_start,
    "rendering": check_rendering,
    "parameters": check_parameters,
    "speed": check_speed,
}
LONG_CHECKS: dict[str, Check] = {
    "batch size": check_batch_size,
    "gradient growth": check_growth,
    "reachable": check_reachable,
}


# Words ----------------------------------------------------------------------------------------------------------------


def error_in_words(error: Exception, kind: type) -> str:
    """An exception in one line: what it says, and the last place of the author's files that it came through."""
    text = " ".join(str(error).split())
    text = text if isinstance(error, ds.InputError | ds.SimulationError) else f"{type(error).__name__}: {text}"
    files = {author_file(owner) for owner in _author_classes(kind)}
    folders = {Path(file).parent for file in files if file} - {Path(__file__).parent}
    frames = traceback.extract_tb(error.__traceback__)
    places = [frame for frame in frames if frame.filename in files or Path(frame.filename).parent in folders]
    if not places or ", line " in text:
        return text
    return f"{text} ({Path(places[-1].filename).name}, line {places[-1].lineno})"


def _author_classes(kind: type) -> list[type]:
    """The classes of a task that are not the base class."""
    return [owner for owner in kind.__mro__ if owner is not _base() and issubclass(owner, _base())]


def _base() -> type:
    from tasks.base import Task

    return Task


def _failed(task: Task, check: str, method: str, what: str) -> Finding:
    return Finding(check, "fail", f"{method}() of task {type(task).__name__} {what}{definition_place(type(task), method)}", "")


def _components(numbers: list[int]) -> str:
    return ("action component " if len(numbers) == 1 else "each of the action components ") + ", ".join(map(str, numbers))


def _told(heard: list[str], check: str) -> Iterator[Finding]:
    for text in dict.fromkeys(heard):
        if "does not define success()" not in text:  # a check of its own
            yield Finding(check, "warn", text, "")


@torch.no_grad()
def _without_gradient(trial: Trial, actions: Tensor) -> Rollout:
    return trial.rolled_out(actions)


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


def _same(one: ds.State, other: ds.State) -> bool:
    return all(torch.equal(tensor, other.tensors()[name]) for name, tensor in one.tensors().items())


class _Ear(logging.Handler):
    """Keeps the messages of warnings."""

    def __init__(self, heard: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(" ".join(record.getMessage().split()))


@contextmanager
def _overheard() -> Iterator[list[str]]:
    """The warnings of the simulator and of Python meanwhile, which are then not printed."""
    heard: list[str] = []
    logger, ear = logging.getLogger("diffsim"), _Ear(heard)
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(ear)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            warnings.simplefilter("always", RuntimeWarning)
            yield heard
    finally:
        logger.removeHandler(ear)
        logger.propagate = propagate
        heard += [
            " ".join(str(each.message).split()) for each in caught if issubclass(each.category, UserWarning | RuntimeWarning)
        ]
