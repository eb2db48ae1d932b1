"""Six unequal goals: which is the best, and which is named."""

import torch

from rpg.environments.six_goals import VALUES, SixGoals
from rpg.protocol import check_environment


def test_every_goal_is_an_outcome_and_the_farthest_is_the_best_to_stay_at():
    env = SixGoals(num_envs=6, spread=0.0, dtype=torch.float64)
    check_environment(env)
    state, returns = env.reset(0), torch.zeros(6, dtype=torch.float64)
    for _ in range(env.horizon):
        state, reward, info = env.step(state, (env.goals() - state).clamp(-1, 1))
        returns += reward
    assert info["success"].all()
    assert info["outcome"].tolist() == list(range(6))
    torch.testing.assert_close(reward, torch.tensor(VALUES).double())
    assert int(returns.argmax()) == 5
    _, reward, info = env.step(env.reset(0), torch.zeros(6, 2, dtype=torch.float64))
    assert not info["success"].any()
    assert int(info["outcome"][0]) == 0  # the nearest


def test_the_nearest_goal_draws_first():
    env = SixGoals(num_envs=1, spread=0.0)
    action = torch.zeros(1, 2, requires_grad=True)
    _, reward, _ = env.step(env.reset(0), action)
    (gradient,) = torch.autograd.grad(reward.sum(), action)
    assert float(gradient[0, 0]) > 0.0
    assert abs(float(gradient[0, 1])) < 1e-5
