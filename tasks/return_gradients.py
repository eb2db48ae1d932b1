"""Gradients of a task's return along its episodes, in terms of its own actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

import diffsim as ds
from diffsim.gradients.gradient_report import GradientReport, state_leaf, trajectory_report
from tasks.episode import Episode, Transition

if TYPE_CHECKING:
    from tasks.base import Task


class _Played(NamedTuple):
    """Episodes that gradients flow through: T + 1 of them, and of T steps the rewards (B,) and successes (B,)."""

    episodes: list[Episode]
    rewards: list[Tensor]
    successes: list[Tensor]


def return_gradients(task: Task, actions: Tensor, seed: int) -> GradientReport:
    """The report of `Task.gradient_report`: as `diffsim.gradient_report`, but through `Task.step`."""
    if actions.ndim != 3 or tuple(actions.shape[1:]) != (task.num_envs, task.action_dim):
        allowed = f"(steps, {task.num_envs}, {task.action_dim})"
        raise ds.InputError(f"actions must have shape {allowed} (steps, environments, action_dim), got {tuple(actions.shape)}")
    actions = actions.detach().clone().requires_grad_()
    episodes, _, successes = _played(task, task.reset(seed), actions)

    def objective(states: list[ds.State]) -> Tensor:
        total = states[0].x.new_zeros(())
        for t, success in enumerate(successes):
            after = episodes[t + 1].replace(state=states[t + 1])
            reward = task.mode_reward(Transition(states[t], actions[t], states[t + 1], after), success)
            total = total + torch.where(episodes[t].ended, torch.zeros_like(reward), reward).sum()
        return total

    return trajectory_report(task.sim, [episode.state for episode in episodes], actions, objective, {})


def state_gradients(task: Task, first: Episode, actions: Tensor) -> list[ds.State]:
    """The return's derivatives by x, tool_position and q of each of the T + 1 states of the episodes that begin with ``first``,
    through all later steps, in the places of these fields. They are 0 where no gradient flows.

    Args:
        actions: (T, B, A) in [-1, 1].
    """
    actions = actions.detach().clone().requires_grad_()  # of a task with few states the return may depend on them alone
    episodes, rewards, _ = _played(task, first, actions)
    states = [episode.state for episode in episodes]
    wanted = [getattr(state, name) for state in states for name in ("x", "tool_position", "q")]
    total = torch.stack(rewards).sum() if rewards else actions.sum()
    found: Sequence[Tensor | None] = [None] * len(wanted)
    if total.requires_grad:
        found = torch.autograd.grad(total, wanted, allow_unused=True)
    values = [torch.zeros_like(x) if g is None else g for g, x in zip(found, wanted, strict=True)]
    rows = zip(values[::3], values[1::3], values[2::3], strict=True)
    return [s.detach().replace(x=x, tool_position=tool, q=q) for s, (x, tool, q) in zip(states, rows, strict=True)]


def _played(task: Task, first: Episode, actions: Tensor) -> _Played:
    played = _Played([first.replace(state=state_leaf(first.state))], [], [])
    for action in actions:
        episode, reward, info = task.step(played.episodes[-1], action)
        played.episodes.append(episode)
        played.rewards.append(reward)
        played.successes.append(info["success"])
    return played
