"""Gradients of a task's return along its episodes, in terms of its own actions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

import diffsim as ds
from diffsim.gradients.gradient_report import GradientReport, state_leaf, trajectory_report
from tasks.episode import Transition

if TYPE_CHECKING:
    from tasks.base import Task


def return_gradients(task: Task, actions: Tensor, seed: int) -> GradientReport:
    """The report of `Task.gradient_report`: as `diffsim.gradient_report`, but through `Task.step`."""
    if actions.ndim != 3 or tuple(actions.shape[1:]) != (task.num_envs, task.action_dim):
        allowed = f"(steps, {task.num_envs}, {task.action_dim})"
        raise ds.InputError(f"actions must have shape {allowed} (steps, environments, action_dim), got {tuple(actions.shape)}")
    actions = actions.detach().clone().requires_grad_()
    first = task.reset(seed)
    episodes, successes = [first.replace(state=state_leaf(first.state))], []
    for action in actions:
        episode, _, info = task.step(episodes[-1], action)
        episodes.append(episode)
        successes.append(info["success"])

    def objective(states: list[ds.State]) -> Tensor:
        total = states[0].x.new_zeros(())
        for t, success in enumerate(successes):
            after = episodes[t + 1].replace(state=states[t + 1])
            reward = task.mode_reward(Transition(states[t], actions[t], states[t + 1], after), success)
            total = total + torch.where(episodes[t].ended, torch.zeros_like(reward), reward).sum()
        return total

    return trajectory_report(task.sim, [episode.state for episode in episodes], actions, objective, {})
