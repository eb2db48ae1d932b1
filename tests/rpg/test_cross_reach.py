"""Reaching round a cross: bars, quarters, gradients."""

import pytest
import torch

from rpg.environments.cross_reach import ARM, CROSS, GOAL, RADIUS, START, CrossReach, outside_bar
from rpg.protocol import check_environment


def reached(env, waypoints):
    """Go straight to each waypoint (3,), m; the last info."""
    state, info = env.reset(0), {}
    for point in waypoints:
        for _ in range(8):
            way = (torch.tensor(point) - state.position) / env.stride
            state, _, info = env.step(state, way.clamp(-1, 1))
    return state, info


def test_four_quarters_lead_to_the_goal_and_straight_ahead_does_not():
    env = CrossReach(num_envs=1, spread=0.0)
    check_environment(env)
    _, info = reached(env, [GOAL, GOAL])
    assert not bool(info["success"][0])
    assert int(info["outcome"][0]) == -1
    for number, (side, height) in enumerate(((1, 1), (-1, 1), (1, -1), (-1, -1))):
        corner = (0.09 * side, CROSS[2] + 0.09 * height)
        _, info = reached(env, [(START[0], *corner), (CROSS[0] + 0.1, *corner), GOAL])
        assert bool(info["success"][0])
        assert int(info["outcome"][0]) == number


def test_no_point_is_within_a_bar():
    env, generator = CrossReach(num_envs=256, stride=0.045), torch.Generator().manual_seed(0)
    state = env.reset(0)
    for _ in range(40):
        state, _, _ = env.step(state, 2 * torch.rand(256, 3, generator=generator) - 1 + torch.tensor([0.3, 0.0, 0.0]))
        offset = state.position - torch.tensor(CROSS)
        for axis in (1, 2):
            nearest = torch.zeros_like(offset)
            nearest[:, axis] = offset[:, axis].clamp(-ARM, ARM)
            assert float((offset - nearest).norm(dim=1).min()) > 0.9 * RADIUS
    assert bool((state.quarter >= 0).any())


def test_a_bar_takes_the_gradient_along_its_normal():
    inside = (torch.tensor([CROSS], dtype=torch.float64) + torch.tensor([[-0.03, 0.1, 0.0]])).double().requires_grad_()
    out = outside_bar(inside, 1)
    assert float((out - inside)[0, 0].detach()) == pytest.approx(0.03 - RADIUS, abs=1e-6)
    jacobian = torch.stack([torch.autograd.grad(out[0, n], inside, retain_graph=True)[0][0] for n in range(3)])
    assert float(jacobian[0, 0]) == pytest.approx(0.0, abs=1e-6)
    assert float(jacobian[1, 1]) == pytest.approx(1.0)
    assert float(jacobian[2, 2]) == pytest.approx(RADIUS / 0.03)


def test_a_stride_that_passes_through_bars_is_refused():
    with pytest.raises(ValueError, match=r"stride was given 0.1; allowed are numbers > 0 and < 0.05"):
        CrossReach(stride=0.1)
