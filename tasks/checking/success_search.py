"""A short search for actions that succeed: the cross-entropy method on a few knots, then gradient ascent from its best."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from tasks.base import Task

KNOTS = 5  # of an action sequence, held between
SAMPLES, ELITE = 24, 0.25  # of an iteration, and the share of them that the next one is drawn from
ITERATIONS = 6
ASCENT_STEPS, LEARNING_RATE, LARGEST_NORM = 60, 0.1, 1.0


@dataclass
class Search:
    """How a search went.

    Attributes:
        success: share of the environments that succeeded in the first batch in which any did; 0 if none did.
        label: outcome of one that succeeded.
        steps: control steps so far, all environments counted.
        best_return: of one episode.
        method: what found it.
    """

    success: float = 0.0
    label: int | None = None
    steps: int = 0
    best_return: float = float("-inf")
    method: str = ""


def search_success(task: Task, *, seed: int, seconds: float) -> Search:
    """Search until an episode succeeds, or the methods end, or the time is over (a batch of episodes is finished)."""
    search, until = Search(), time.perf_counter() + seconds
    best = _cross_entropy(task, search, seed, until if not task.differentiable else time.perf_counter() + 0.4 * seconds)
    if not search.success and task.differentiable:
        _ascent(task, search, seed, best, until)
    return search


@torch.no_grad()
def _cross_entropy(task: Task, search: Search, seed: int, until: float) -> Tensor:
    """The best actions (T, B, A) found: knots of one sequence, held, the same in all environments. The cross-entropy method
    (Rubinstein 1999); the first iteration is random search."""
    search.method = "random actions and the cross-entropy method"
    generator = torch.Generator().manual_seed(seed)
    mean, spread = torch.zeros(KNOTS, task.action_dim), torch.full((KNOTS, task.action_dim), 0.7)
    best, best_score = mean, float("-inf")
    held = torch.arange(task.horizon) * KNOTS // task.horizon
    for _ in range(ITERATIONS):
        batches = max(1, -(-SAMPLES // task.num_envs))
        drawn, scores = [], []
        for _ in range(batches):
            knots = (mean + spread * torch.randn(task.num_envs, KNOTS, task.action_dim, generator=generator)).clamp(-1.0, 1.0)
            drawn.append(knots)
            scores.append(_returns(task, search, seed, knots[:, held].transpose(0, 1)).detach().cpu())
            if search.success or time.perf_counter() > until:
                break
        knots, score = torch.cat(drawn), torch.cat(scores)
        order = score.nan_to_num(nan=-torch.inf).argsort(descending=True)
        if float(score[order[0]]) > best_score:
            best, best_score = knots[order[0]], float(score[order[0]])
        if search.success or time.perf_counter() > until:
            break
        elite = knots[order[: max(2, int(ELITE * len(order)))]]
        mean, spread = elite.mean(dim=0), elite.std(dim=0).clamp_min(0.1)
    return best[held].unsqueeze(1).expand(-1, task.num_envs, -1).to(task.sim.device, task.sim.dtype)


def _ascent(task: Task, search: Search, seed: int, start: Tensor, until: float) -> None:
    """Adam on the actions of each environment (Kingma and Ba 2015), their gradients clipped."""
    search.method = "search and gradient ascent"
    actions = start.clamp(-0.9, 0.9).atanh().clone().requires_grad_()
    optimizer = torch.optim.Adam([actions], lr=LEARNING_RATE)
    for _ in range(ASCENT_STEPS):
        total = _returns(task, search, seed, actions.tanh())
        if search.success or time.perf_counter() > until or not total.requires_grad:
            return
        (gradient,) = torch.autograd.grad(-total.sum(), actions)
        norms = gradient.square().sum(dim=(0, 2), keepdim=True).sqrt()
        actions.grad = gradient.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0) * (LARGEST_NORM / norms.clamp_min(LARGEST_NORM))
        optimizer.step()


def _returns(task: Task, search: Search, seed: int, actions: Tensor) -> Tensor:
    """Returns (B,) of the seed's episodes under actions (T, B, A), which the search is told of."""
    episode = task.reset(seed)
    total = torch.zeros(task.num_envs, dtype=task.sim.dtype, device=task.sim.device)
    for action in actions.to(task.sim.device, task.sim.dtype):
        episode, reward, info = task.step(episode, action)
        total = total + reward
    search.steps += len(actions) * task.num_envs
    search.best_return = max(search.best_return, float(total.detach().max()))
    success = info["success"]
    if bool(success.any()):
        search.success = float(success.float().mean())
        search.label = int(info["outcome"][success][0])
    return total
