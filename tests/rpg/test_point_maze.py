"""The point in DDiffPG's mazes: maps, walls, ends, gates, gradients."""

import pytest
import torch

import rpg
from rpg.environments.point_maze import CELL, MARGIN, PointMaze
from rpg.protocol import check_environment


def walked(env, moves, state=None):
    """The end of a walk by displacements (x, y), the rewards and the last info, of one point."""
    state, rewards, info = env.reset(0) if state is None else state, [], {}
    for move in moves:
        state, reward, info = env.step(state, torch.tensor([move], dtype=env.dtype) / env.stride)
        rewards.append(float(reward[0]))
    return state, rewards, info


def still(maze, **settings):
    return PointMaze(num_envs=1, maze=maze, spread=0.0, stride=1.0, **settings)


def test_goals_lie_where_the_paper_has_them():
    assert still("v1").goals().tolist() == [[-8.0, 0.0]]
    assert still("v3").goals().tolist() == [[-12.0, 12.0], [12.0, -12.0]]
    for maze in ("v1", "v3"):
        check_environment(PointMaze(num_envs=3, maze=maze))


def test_both_ways_round_the_block():
    for turn, name in ((-1, "above"), (1, "below")):
        moves = [(0, turn)] * 4 + [(-1, 0)] * 8 + [(0, -turn)] * 4
        state, rewards, info = walked(still("v1"), moves)
        assert bool(info["success"][0])
        assert bool(info["terminated"][0])
        assert still("v1").outcome_names[int(info["outcome"][0])] == name
        assert state.position[0].tolist() == [-8.0, 0.0]
        assert rewards[-1] == pytest.approx(10.0, abs=1e-3)
        assert rewards[0] == pytest.approx(-(3 + 12) / 10, abs=1e-3)  # 3 m to the next cell's middle, 12 m from there


def test_four_ways_to_two_goals():
    right, left, up, down = (1, 0), (-1, 0), (0, -1), (0, 1)
    walks = (
        [up] * 8 + [right] * 12 + [up] * 4,
        [right] * 12 + [up] * 12,
        [left] * 4 + [down] * 4 + [left] * 8 + [down] * 8,
        [down] * 12 + [left] * 12,
    )
    for number, moves in enumerate(walks):
        _, _, info = walked(still("v3"), moves)
        assert bool(info["success"][0])
        assert int(info["outcome"][0]) == number


def test_the_way_is_as_long_as_it_is():
    env = PointMaze(num_envs=4, maze="v3", dtype=torch.float64)
    places = torch.tensor([[0.0, 0.0], [0.0, -8.0], [12.0, -11.0], [-12.0, 8.0]], dtype=torch.float64, requires_grad=True)
    length = env.geodesic(places)
    torch.testing.assert_close(length.detach(), torch.tensor([24.0, 16.0, 1.0, 4.0], dtype=torch.float64), atol=1e-3, rtol=0)
    (gradient,) = torch.autograd.grad(length.sum(), places)
    assert gradient[1].tolist() == pytest.approx([-1.0, 0.0], abs=1e-3)  # to the right
    assert gradient[2].tolist() == pytest.approx([0.0, 1.0], abs=1e-3)


def test_walls_stop_a_point_and_let_it_slide():
    env = still("v1")
    # the block begins 2 m to the left of the start
    state, _, _ = walked(env, [(-1.0, 0.25)] * 4)
    assert state.position[0].tolist() == [-(CELL / 2 - MARGIN), 1.0]
    # random walks never enter a wall, not even by a corner
    for maze in ("v1", "v3"):
        env, generator = PointMaze(num_envs=64, maze=maze, stride=3.7), torch.Generator().manual_seed(0)
        state = env.reset(1)
        for _ in range(60):
            state, _, _ = env.step(state, 2 * torch.rand(64, 2, generator=generator) - 1)
            cells = env.cells(state.position)
            assert all(env.layout.rows[j][i] != "#" for i, j in cells.tolist())


def test_the_gradient_is_one_for_a_free_axis_and_zero_at_a_wall():
    env = PointMaze(num_envs=1, spread=0.0, stride=1.0, dtype=torch.float64)
    state, action = env.reset(0), torch.tensor([[-0.5, 0.25]], dtype=torch.float64, requires_grad=True)
    for _ in range(6):
        state, _, _ = env.step(state, action)
    (gradient,) = torch.autograd.grad(state.position.sum(), action)
    assert gradient.tolist() == [[0.0, 6.0]]
    assert PointMaze(reward="sparse").differentiable is False
    _, rewards, _ = walked(still("v1", reward="sparse"), [(0, -1)] * 4)
    assert rewards == [0.0] * 4


def test_an_ended_episode_earns_nothing_more():
    _, rewards, info = walked(still("v1"), [(0, -1)] * 4 + [(-1, 0)] * 8 + [(0, 1)] * 4 + [(1, 1)] * 3)
    assert rewards[-3:] == [0.0] * 3
    assert bool(info["success"][0])
    assert not bool(info["terminated"][0])
    env = rpg.from_fixed_horizon(still("v1"))
    state, _ = env.reset(0)
    moves = torch.tensor([[0.0, -1.0]] * 4 + [[-1.0, 0.0]] * 8 + [[0.0, 1.0]] * 4)
    for n, move in enumerate(moves):
        step = env.step(state, move.unsqueeze(0))
        state = step.state
        assert bool(step.terminated[0]) == (n == 15)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"maze": "v2"}, ("maze", "'v2'", "'v1'")),
        ({"reward": "dense"}, ("reward", "'dense'", "'sparse'")),
        ({"stride": 4.0}, ("stride", "4.0", "< 3.75")),
        ({"horizon": 0}, ("horizon", "0", ">= 1")),
    ],
)
def test_settings_that_cannot_be(settings, words):
    with pytest.raises(ValueError, match=words[0]) as error:
        PointMaze(**settings)
    assert all(word in str(error.value) for word in words), error.value
