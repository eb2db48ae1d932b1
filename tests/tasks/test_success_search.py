"""The search of check-task ends, and says so, where something is not finite."""

from types import SimpleNamespace

import pytest
import torch

from tasks.checking.success_search import search_success
from tasks.checking.trial import Rollout


def trial(reward):
    """Two episodes of five steps that never succeed, with a ``reward`` of the action alone."""
    never = torch.zeros(2, dtype=torch.bool)
    task = SimpleNamespace(
        num_envs=2, action_dim=1, horizon=5, differentiable=True, sim=SimpleNamespace(device="cpu", dtype=torch.float64)
    )

    def rolled_out(actions):
        return Rollout([], reward(actions[..., 0]), {"success": never, "outcome": never.long()})

    return SimpleNamespace(task=task, seed=0, search_seconds=5.0, rolled_out=rolled_out)


@pytest.mark.parametrize(
    ("reward", "words"),
    [
        (lambda x: x.log(), "the return in environments"),
        (lambda x: torch.where(x.abs() < 2.0, x, (0.0 * x).sqrt()), "the return's gradient in environments [0, 1]"),
        (lambda x: x, ""),
    ],
)
def test_what_is_not_finite_ends_the_search(reward, words):
    search = search_success(trial(reward))
    assert search.not_finite.startswith(words)
    assert bool(search.not_finite) == bool(words)
    assert search.success == 0.0
