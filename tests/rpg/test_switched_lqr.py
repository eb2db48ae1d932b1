"""Switched linear quadratic control: the Riccati regulator has its closed-form cost, and switching beats it."""

import numpy as np
import pytest
import torch
from scipy.linalg import solve_discrete_are

from rpg.environments.switched_lqr import INPUT_COST, SwitchedLQR
from rpg.protocol import check_environment

ENV = SwitchedLQR(num_envs=64, dtype=torch.float64)


def rolled(env, control):
    """The last state, the returns and the last info under `control(x, step)`, which gives inputs (B, n) and modes (B,)."""
    state, total, info = env.reset(0), torch.zeros(env.num_envs, dtype=env.dtype), {}
    for step in range(env.horizon):
        u, mode = control(state.position, step)
        choice = (2.0 * mode - 1.0).to(u).unsqueeze(1)
        state, reward, info = env.step(state, torch.cat([u / env.gain, choice], dim=1))
        total = total + reward
    return state, total, info


@pytest.mark.parametrize("mode", [0, 1])
def test_the_riccati_gain_costs_what_the_closed_form_says(mode):
    gains, values = ENV.riccati(mode)
    modes = torch.full((64,), mode)
    state, total, info = rolled(ENV, lambda x, step: (-x @ gains[step].T, modes))
    expected = torch.einsum("bi,ij,bj->b", state.first, values[0], state.first)
    torch.testing.assert_close(state.cost, expected)
    torch.testing.assert_close(total, -expected / ENV.cost_unit)
    assert info["outcome"].tolist() == [mode] * 64
    better = state.cost <= 1.2 * ENV.reference_cost(state.first)
    assert torch.equal(info["success"], better)
    # and no other gain is as cheap
    other, _, _ = rolled(ENV, lambda x, step: (-1.02 * x @ gains[step].T, modes))
    assert bool((other.cost > state.cost).all())


def test_a_long_horizon_has_scipys_solution():
    env = SwitchedLQR(num_envs=1, horizon=80)
    a, inputs = (each.numpy() for each in env.matrices)
    for mode in (0, 1):
        value = solve_discrete_are(a, inputs[mode], np.eye(3), INPUT_COST * np.eye(3))
        np.testing.assert_allclose(env.riccati(mode)[1][0].numpy(), value, rtol=1e-9)


def test_switching_beats_the_better_mode():
    """One step ahead: the mode whose successor is the cheaper one to regulate."""
    plans = [ENV.riccati(mode) for mode in (0, 1)]
    a, inputs = ENV.matrices

    def control(x, step):
        inputs_of, costs = [], []
        for mode, (gains, _) in enumerate(plans):
            u = -x @ gains[step].T
            after = x @ a.T + u @ inputs[mode].T
            to_go = torch.stack([torch.einsum("bi,ij,bj->b", after, values[step + 1], after) for _, values in plans]).amin(0)
            inputs_of.append(u)
            costs.append(INPUT_COST * u.square().sum(1) + to_go)
        mode = (costs[1] < costs[0]).long()
        return torch.where(mode.bool().unsqueeze(1), inputs_of[1], inputs_of[0]), mode

    state, _, info = rolled(ENV, control)
    assert bool(info["success"].all())
    assert float((state.cost / ENV.reference_cost(state.first)).mean()) < 0.9
    assert 0.0 < float(info["outcome"].double().mean()) < 1.0


def test_gradients_reach_the_input_and_not_the_choice():
    env = SwitchedLQR(num_envs=4)
    check_environment(env)
    action = (0.1 * torch.randn(4, 4, generator=torch.Generator().manual_seed(0))).requires_grad_()
    state, first, _ = env.step(env.reset(0), action)
    _, second, _ = env.step(state, torch.zeros(4, 4))
    (gradient,) = torch.autograd.grad((first + second).sum(), action)
    assert bool((gradient[:, :3] != 0).all())
    assert bool((gradient[:, 3] == 0).all())
