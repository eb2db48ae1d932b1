"""The tasks with known outcomes: scripted actions reach each of them, and a trap holds what goes straight."""

import math

import pytest
import torch

from rpg.protocol import check_environment
from tasks import CupTrap, ThreeWayPush, TripleMove
from tasks.small.three_goals import ANGLES, ThreeGoals

pytestmark = pytest.mark.slow


def script(horizon, *parts):
    """(T, 2): `parts` are (steps, x, y) one after the other, then rest."""
    rows = [(x, y) for steps, x, y in parts for _ in range(steps)]
    return torch.tensor([*rows, *[(0.0, 0.0)] * horizon][:horizon])


def played(task, scripts):
    """Sums of rewards (B,) and the last info, one script (T, A) in each environment."""
    actions = torch.stack(scripts, dim=1).requires_grad_()
    episode, total, info = task.reset(0), torch.zeros(len(scripts)), {}
    for action in actions:
        episode, reward, info = task.step(episode, action)
        total = total + reward
    return actions, total, info


@pytest.mark.parametrize(("kind", "steps"), [(TripleMove, 7), (ThreeWayPush, 12)])
def test_each_goal_is_reached_and_is_named(kind, steps):
    ways = [script(kind.horizon, (steps, 0.92 * math.cos(a), 0.92 * math.sin(a))) for a in ANGLES.values()]
    task = kind(4)
    check_environment(task)
    actions, total, info = played(task, [*ways, script(kind.horizon)])
    assert info["success"].tolist() == [True, True, True, False]
    assert info["outcome"].tolist() == [0, 1, 2, -1]
    reached, rest = total[:3].detach(), float(total[3].detach())
    assert float(reached.max() - reached.min()) < 0.1 * float(reached.mean()) - rest  # no goal is better than the others
    total[:3].sum().backward()
    gradient = actions.grad[:steps, :3]
    assert torch.isfinite(actions.grad).all()
    assert float(gradient.norm(dim=2).min()) > 1e-3


def test_rewards_of_three_goals():
    goals = ThreeGoals((1.0, 2.0), radius=0.3)
    at_goals = goals.reward(torch.tensor(goals.points, dtype=torch.float64))
    assert at_goals.tolist() == pytest.approx([1.0] * 3, abs=0.01)
    assert float(goals.reward(torch.tensor([[1.0, 2.0]], dtype=torch.float64))) == pytest.approx(0.0, abs=1e-4)
    ahead, left, right = goals.points
    assert ahead == pytest.approx((1.0, 2.3))
    assert left[0] < 1.0 < right[0]


def test_the_cup_traps_what_goes_straight_and_a_detour_is_worth_more():
    task = CupTrap(4)
    check_environment(task)
    straight = script(task.horizon, (task.horizon, 0.9, 0.0))
    left, right = (script(task.horizon, (6, 0.1, side * 0.98), (8, 0.98, 0.0), (6, 0.8, -side * 0.98)) for side in (1.0, -1.0))
    wavering = script(task.horizon, (10, 0.9, 0.6), (10, 0.9, -0.6), (20, 0.9, 0.6))  # within the cup it finds no way out
    actions, total, info = played(task, [straight, left, right, wavering])
    assert info["success"].tolist() == [False, True, True, False]
    assert info["outcome"].tolist() == [-1, 0, 1, -1]
    assert float(total[1:3].detach().min()) > 1.3 * float(total[[0, 3]].detach().max())
    total.sum().backward()
    assert torch.isfinite(actions.grad).all()
    assert float(actions.grad[0].norm(dim=1).min()) > 0.01


def test_the_cup_is_a_local_optimum():
    """Uphill in the return from the straight way, the ball stays in the cup."""
    task = CupTrap(2)
    actions = torch.zeros(task.horizon, 2, 2).requires_grad_()
    optimizer = torch.optim.Adam([actions], lr=0.1)
    for _ in range(12):
        episode, total = task.reset(0), torch.zeros(())
        for action in torch.tanh(actions):
            episode, reward, info = task.step(episode, action)
            total = total + reward.sum()
        optimizer.zero_grad()
        (-total).backward()
        optimizer.step()
    assert not info["success"].any()
    assert float(task.distance(episode.state.detach()).max()) < 0.6  # at the bottom


def test_a_ring_that_jams_against_the_rod_stays_finite():
    """Corrections by factors that lead away from the solution are given up: here they grew to 1e15 m/s in single precision."""
    task = ThreeWayPush(64)
    start = task.sim.reset()
    q = start.q.clone()
    q[:, :3] = torch.tensor([0.0024321924429386854, -0.003217129735276103, 0.024])
    q[:, 3:] = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.004004461225122213, -0.0047444491647183895])
    nearby = 1e-4 * torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    nearby[0] = 0.0
    action = torch.tensor([0.4404331147670746, -0.3744857907295227]) + nearby
    states = task.sim.rollout(start.replace(q=q), action.expand(3, 64, 2))
    assert max(float(state.qd.abs().max()) for state in states) < 2.0
