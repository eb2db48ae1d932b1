"""Tasks as torchrl's environments, and gradients through a rollout."""

import numpy as np
import pytest
import torch

from tests.tasks.ball import Ball

pytest.importorskip("torchrl")
from torchrl.envs.utils import check_env_specs

from tasks.adapters.torchrl_env import TaskTorchRLEnv

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("options", [{}, {"observation_mode": "image", "image_size": (24, 32)}], ids=["state", "image"])
def test_specs_hold(options):
    env = TaskTorchRLEnv(Ball, 2, horizon=2, **options)
    check_env_specs(env, break_when_any_done="both")
    assert env.batch_size == (2,)


def test_gradients_of_a_rollout_are_those_of_the_task():
    env, task = TaskTorchRLEnv(Ball, 3, dtype=torch.float64), Ball(3, dtype=torch.float64)
    env.set_seed(4)
    actions = torch.linspace(-0.9, 0.9, 6 * 3 * 2, dtype=torch.float64).reshape(6, 3, 2).requires_grad_()
    steps = iter(actions)
    rollout = env.rollout(6, lambda tensordict: tensordict.set("action", next(steps)))
    (gradient,) = torch.autograd.grad(rollout["next", "reward"].sum(), actions)

    (seed,) = np.unique(env.episode_seeds)
    episode, rewards = task.reset(int(seed)), []
    for action in actions:
        episode, reward, _info = task.step(episode, action)
        rewards.append(reward)
    (expected,) = torch.autograd.grad(torch.stack(rewards).sum(), actions)
    assert torch.equal(rollout["next", "reward"].squeeze(-1).T, torch.stack(rewards))
    assert torch.allclose(gradient, expected, rtol=1e-12, atol=1e-14)
    assert float(gradient.abs().min()) > 1e-4


def test_environments_begin_anew_one_by_one():
    env = TaskTorchRLEnv(Ball, 2, ends_on_success=True, spread=0.0, horizon=4, start=(0.2, 0.0))
    forward, backward = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 0.0])
    both = torch.stack([forward, backward])
    rollout = env.rollout(8, lambda tensordict: tensordict.set("action", both), break_when_any_done=False)
    terminated, truncated = rollout["next", "terminated"].squeeze(-1), rollout["next", "truncated"].squeeze(-1)
    assert terminated[0].nonzero().flatten().tolist() == [2, 5]
    assert not truncated[0].any()
    assert not terminated[1].any()
    assert truncated[1].nonzero().flatten().tolist() == [3, 7]
    after = rollout["observation"][0, 1:][terminated[0, :-1]]
    assert torch.allclose(after[:, 0], torch.tensor(0.2))
