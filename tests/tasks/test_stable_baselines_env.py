"""stable-baselines3 trains on tasks, all environments in one simulator."""

import numpy as np
import pytest

from tests.tasks.ball import Ball

sb3 = pytest.importorskip("stable_baselines3")
from stable_baselines3.common.vec_env import VecMonitor  # noqa: E402

from tasks.adapters.stable_baselines_env import TaskVecEnv  # noqa: E402

pytestmark = pytest.mark.slow


def test_an_end_is_told_as_stable_baselines_expects():
    envs = TaskVecEnv(Ball, 2, horizon=2, render_mode="rgb_array", render_size=(24, 32))
    envs.seed(3)
    first = envs.reset()
    envs.step(np.ones((2, 2), np.float32))
    seen, _rewards, dones, infos = envs.step(np.ones((2, 2), np.float32))
    assert dones.tolist() == [True, True]
    for n, info in enumerate(infos):
        assert info["TimeLimit.truncated"] is True
        assert info["terminal_observation"][0] > 0.02
        assert info["is_success"] is False
        assert seen[n, 0] == 0.0
    assert envs.render("rgb_array").shape[2] == 3
    envs.seed(3)
    assert np.array_equal(envs.reset(), first)


def test_ppo_learns_in_two_thousand_steps():
    envs = VecMonitor(TaskVecEnv(Ball, 8, dt=0.02))
    settings = {"n_steps": 12, "batch_size": 96, "learning_rate": 3e-2, "n_epochs": 5, "policy_kwargs": {"net_arch": [16]}}
    model = sb3.PPO("MlpPolicy", envs, seed=0, device="cpu", **settings)
    model.learn(96)
    before = np.mean([row["r"] for row in model.ep_info_buffer])
    model.learn(1920)
    after = np.mean([row["r"] for row in list(model.ep_info_buffer)[-16:]])
    assert after > before + 0.5
