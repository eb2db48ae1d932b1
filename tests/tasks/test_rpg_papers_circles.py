"""The discs of `tasks.rpg_papers`: friction, impacts, sides of obstacles, rewards by the papers' formulas."""

import itertools

import pytest
import torch

from tasks.rpg_papers import Move3, Push1, Tripush
from tasks.rpg_papers.circle_world import passing_side
from tasks.rpg_papers.four_posts import ROUTES, route


def moving(task, state, place, velocity):
    """A state with the first discs at ``place``, m, each at one of the velocities (B,) along x, m/s."""
    q, qd = state.q.clone(), state.qd.clone()
    q[:, :2] = torch.tensor(place, dtype=q.dtype)
    qd[:, 0], qd[:, 1] = torch.tensor(velocity, dtype=q.dtype), 0.0
    return state.replace(q=q, qd=qd)


def test_friction_decelerates_by_the_same_in_every_direction():
    task = Move3(3, substeps=4, start_spread=0.0)
    angles = torch.tensor([0.0, 0.5, 2.2])
    state = task.reset(0).state.replace(qd=5.0 * torch.stack([angles.cos(), angles.sin()], dim=1))
    for _ in range(10):  # 0.1 s at 8 m/s^2
        state = task.sim.step(state, torch.zeros(3, 2))
    assert torch.allclose(state.qd.norm(dim=1), torch.full((3,), 4.2), atol=1e-4)


def test_discs_of_the_same_mass_exchange_their_velocities():
    task = Tripush(2, start_spread=0.0)
    state = moving(task, task.reset(0).state, (-2.9, 0.0), (6.0, 12.0))
    for _ in range(4):  # 0.12 s
        state = task.sim.step(state, torch.zeros(2, 2))
    assert state.qd[:, 0].abs().max() < 0.1
    assert state.qd[:, 2] == pytest.approx(torch.tensor([6.0, 12.0]) - 3.0 * 0.12, rel=0.02)


@pytest.mark.parametrize(("places", "way"), [(((-4, -4), (-3, -1), (1, 3), (4, 4)), 0), (((-4, -4), (-3.8, 3.8), (4, 4)), 4)])
def test_route_between_the_posts(places, way):
    corners = torch.tensor(places)
    share = torch.linspace(0.0, 1.0, 40)[:, None]
    path = torch.cat([a + share * (b - a) for a, b in itertools.pairwise(corners)])[:, None]
    mirrored = path.flip(2)  # about the diagonal: left becomes right
    assert route(path).item() == way
    assert ROUTES[route(mirrored)] == ROUTES[way].replace("left", "right")
    assert route(path[:45]).item() == -1


def test_side_on_which_an_obstacle_is_passed():
    path = torch.tensor([[[-1.0, 0.2]], [[0.1, 0.7]], [[1.0, 0.0]]])
    assert passing_side(path, (0.0, 0.0), (1.0, 0.0)).item() == pytest.approx(0.7)
    assert passing_side(path, (0.0, 1.0), (-1.0, 0.0)).item() == pytest.approx(0.3)


def test_rewards_are_what_the_distances_fell():
    task = Push1(1, start_spread=0.0, multiplier=1.0)
    episode, total, start = task.reset(0), 0.0, task.reset(0).state
    for _ in range(12):
        episode, reward, _info = task.step(episode, torch.tensor([[-0.5, 0.3]]))
        total += reward.item()
    actor, ball = episode.state.q[0, :2], episode.state.q[0, 2:]
    away = (actor - ball).norm().item()
    pushed = (start.q[0, 2:] - torch.tensor([4.0, 0.0])).norm() - (ball - torch.tensor([4.0, 0.0])).norm()
    assert away > 0.6
    assert total == pytest.approx(10.0 * (0.6 - away + pushed.item()), abs=1e-3)


def test_the_nearest_ball_names_the_outcome():
    task = Tripush(2, start_spread=0.0)
    episode = task.reset(0)
    q = episode.state.q.clone()
    q[1, 4:6] = torch.tensor([3.8, 2.1])
    episode = episode.replace(state=episode.state.replace(q=q))
    assert task.outcome(episode).tolist() == [-1, 1]
    assert task.success(episode).tolist() == [False, True]
