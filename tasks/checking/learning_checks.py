"""What can be learnt from a task's reward: by which actions, by what gradients, and whether success is in reach."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

import diffsim as ds
from tasks.author_checks import defined_by_author, definition_place
from tasks.checking.success_search import search_success
from tasks.checking.trial import ACTION_SIZE, Finding, Trial, wrong

STEEP = 100.0  # norm of the return's gradient by the actions above which a plain optimiser leaves its way
LARGE_REWARD = 100.0


def check_actions(trial: Trial) -> Iterator[Finding]:
    """Which components of an action matter to the reward, by its gradient or by trying."""
    task = trial.task
    actions = trial.noise(ACTION_SIZE)
    base = trial.played(actions)
    gradient = torch.zeros_like(actions)
    if task.differentiable:
        leaf = actions.clone().requires_grad_()
        total = trial.rolled_out(leaf).rewards.sum()
        if not total.requires_grad:
            yield wrong(task, "reward", "reward", "has no gradient: it does not come from the state by torch alone")
            return
        (gradient,) = torch.autograd.grad(total, leaf, allow_unused=True)
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
    idle: list[int] = []
    unused: list[int] = []
    flat: list[int] = []
    for k in range(task.action_dim):
        if bool((gradient[..., k] != 0.0).any()):
            continue
        tried = actions.clone()
        tried[..., k] = ACTION_SIZE * torch.where(tried[..., k] > 0.0, -1.0, 1.0)
        other = trial.played(tried)
        if not torch.equal(other.rewards, base.rewards):
            flat += [k] if task.differentiable else []
        else:
            (idle if _same(other.episodes[-1].state, base.episodes[-1].state) else unused).append(k)
    words = f"in {trial.steps} steps"
    if len(idle) + len(unused) == task.action_dim:
        why = "nor the state: they do nothing" if len(idle) == task.action_dim else f"{words}, though they move something"
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
    idle, random = trial.rollouts["no-op"], trial.rollouts["random"]
    size = max(float(each.rewards.abs().max()) for each in (idle, random))
    text = f"without action {idle.words()}, with random actions {random.words()}; the largest |reward| of a step is {size:.3g}"
    if float(idle.info["success"].float().mean()) >= 0.5:
        yield Finding("returns", "warn", text, "doing nothing succeeds: ask for more in success()")
    elif size > LARGE_REWARD:
        yield Finding("returns", "warn", text, "divide the reward: optimisers here expect one of order 1")
    else:
        yield Finding("returns", "pass", text)
    task = trial.task
    bound = task.reward_bound
    if bound is None:
        yield Finding(
            "reward bound", "pass", f"no reward_bound; set it (to {size:.2g} or more) for --task.reward-mode normalised"
        )
        return
    size *= bound if task.reward_mode == "normalised" else 1.0
    text = f"reward_bound is {bound:g}, the largest |reward| seen {size:.3g}"
    good = task.reward_mode == "sparse" or size <= bound
    yield Finding("reward bound", "pass" if good else "warn", text, "" if good else "raise reward_bound")


def check_reachable(trial: Trial) -> Iterator[Finding]:
    """Whether some actions succeed."""
    task = trial.task
    if not defined_by_author(type(task), "success"):
        return
    search = search_success(trial)
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
    if search.not_finite:
        yield Finding(
            "reachable",
            "fail",
            f"{search.not_finite} is not finite, after {search.steps} control steps of {search.method}",
            "look for sqrt, norm, division or log at 0 in reward() and observation(); add 1e-6 within",
        )
        return
    yield Finding(
        "reachable",
        "warn",
        f"success was not reached within {search.steps} control steps of search (best return {search.best_return:.3g}, "
        f"without action {float(trial.rollouts['no-op'].returns.max()):.3g}); that proves nothing, a longer optimisation may",
        "if optimize fails too: a longer horizon, faster actions, or a reward that leads there",
    )


def _components(numbers: list[int]) -> str:
    return ("action component " if len(numbers) == 1 else "each of the action components ") + ", ".join(map(str, numbers))


def _same(one: ds.State, other: ds.State) -> bool:
    return all(torch.equal(tensor, other.tensors()[name]) for name, tensor in one.tensors().items())
