"""A short search for actions that succeed: the cross-entropy method on a few knots, then gradient ascent from its best."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from tasks.checking.trial import Trial

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
        not_finite: what was not finite, and where, at which the search ended; "" if nothing.
    """

    success: float = 0.0
    label: int | None = None
    steps: int = 0
    best_return: float = float("-inf")
    method: str = ""
    not_finite: str = ""

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to look for."""
        return self.success > 0.0 or bool(self.not_finite)


def search_success(trial: Trial) -> Search:
    """Search until an episode succeeds, something is not finite, the methods end, or the time is over (a batch of episodes is
    finished)."""
    search, differentiable, seconds = Search(), trial.task.differentiable, trial.search_seconds
    began = time.perf_counter()
    best = _cross_entropy(trial, search, began + (0.4 * seconds if differentiable else seconds))
    if not search.ended and differentiable:
        _ascent(trial, search, best, began + seconds)
    return search


@torch.no_grad()
def _cross_entropy(trial: Trial, search: Search, until: float) -> Tensor:
    """The best actions (T, B, A) found: knots of one sequence, held, the same in all environments. The cross-entropy method
    (Rubinstein 1999); the first iteration is random search."""
    task = trial.task
    search.method = "random actions and the cross-entropy method"
    generator = torch.Generator().manual_seed(trial.seed)
    mean, spread = torch.zeros(KNOTS, task.action_dim), torch.full((KNOTS, task.action_dim), 0.7)
    best, best_score = mean, float("-inf")
    held = torch.arange(task.horizon) * KNOTS // task.horizon
    for _ in range(ITERATIONS):
        batches = max(1, -(-SAMPLES // task.num_envs))
        drawn, scores = [], []
        for _ in range(batches):
            knots = (mean + spread * torch.randn(task.num_envs, KNOTS, task.action_dim, generator=generator)).clamp(-1.0, 1.0)
            drawn.append(knots)
            scores.append(_returns(trial, search, knots[:, held].transpose(0, 1)).cpu())
            if search.ended or time.perf_counter() > until:
                break
        knots, score = torch.cat(drawn), torch.cat(scores)
        if search.not_finite:
            break
        order = score.argsort(descending=True)
        if float(score[order[0]]) > best_score:
            best, best_score = knots[order[0]], float(score[order[0]])
        if search.ended or time.perf_counter() > until:
            break
        elite = knots[order[: max(2, int(ELITE * len(order)))]]
        mean, spread = elite.mean(dim=0), elite.std(dim=0).clamp_min(0.1)
    return best[held].unsqueeze(1).expand(-1, task.num_envs, -1).to(task.sim.device, task.sim.dtype)


def _ascent(trial: Trial, search: Search, start: Tensor, until: float) -> None:
    """Adam on the actions of each environment (Kingma and Ba 2015), their gradients clipped."""
    search.method = "search and gradient ascent"
    actions = start.clamp(-0.9, 0.9).atanh().clone().requires_grad_()
    optimizer = torch.optim.Adam([actions], lr=LEARNING_RATE)
    for _ in range(ASCENT_STEPS):
        total = _returns(trial, search, actions.tanh())
        if search.ended or time.perf_counter() > until or not total.requires_grad:
            return
        (gradient,) = torch.autograd.grad(-total.sum(), actions)
        if bad := (~gradient.isfinite()).flatten(2).any(dim=2).any(dim=0).nonzero().flatten().tolist():
            search.not_finite = f"the return's gradient in environments {bad}"
            return
        norms = gradient.square().sum(dim=(0, 2), keepdim=True).sqrt()
        actions.grad = gradient * (LARGEST_NORM / norms.clamp_min(LARGEST_NORM))
        optimizer.step()


def _returns(trial: Trial, search: Search, actions: Tensor) -> Tensor:
    """Returns (B,) of the seed's episodes under actions (T, B, A), which the search is told of."""
    task = trial.task
    rollout = trial.rolled_out(actions.to(task.sim.device, task.sim.dtype))
    total = rollout.rewards.sum(dim=0)
    search.steps += len(actions) * task.num_envs
    if bad := (~total.isfinite()).nonzero().flatten().tolist():
        search.not_finite = f"the return in environments {bad}"
        return total
    search.best_return = max(search.best_return, float(total.detach().max()))
    success = rollout.info["success"]
    if bool(success.any()):
        search.success = float(success.float().mean())
        search.label = int(rollout.info["outcome"][success][0])
    return total
