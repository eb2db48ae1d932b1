"""The maze: its walls hold, its rooms can be reached, its number is right."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from rpg.algorithms.rpg import RPGConfig
from rpg.environments.maze import (
    BAND,
    DOOR,
    MARGIN,
    ROOMS,
    Maze,
    coverage,
    moved,
    neighbours,
    shortest_paths,
    visited_cells,
    wall_segments,
)
from rpg.protocol import check_environment, check_info
from rpg.training.trainer import Trainer


def crossings(old: torch.Tensor, new: torch.Tensor, dim: int) -> int:
    """How many of the legs from `old` to `new` (B, 2), which differ in the coordinate `dim` alone, meet a wall."""
    walls = wall_segments().to(old)
    walls = walls[walls[:, 0, dim] == walls[:, 1, dim]]
    line, low, high = walls[:, 0, dim], walls[:, 0, 1 - dim], walls[:, 1, 1 - dim]
    a, b, rest = old[:, None, dim] - line, new[:, None, dim] - line, old[:, None, 1 - dim]
    return int(((a * b <= 0) & (rest >= low) & (rest <= high)).sum())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("stride", [0.2, 0.95])
def test_random_walks_never_meet_a_wall(dtype, stride):
    generator = torch.Generator().manual_seed(0)
    position = (torch.randint(0, ROOMS, (4000, 2), generator=generator) + 0.5).to(dtype)
    seen = torch.zeros(ROOMS, ROOMS, dtype=torch.bool)
    # A drift that lasts some steps presses the walk into walls, corners and doorways.
    for step in range(120):
        if step % 10 == 0:
            drift = stride * torch.empty(4000, 2, dtype=dtype).uniform_(-1, 1, generator=generator)
        by = (drift + 0.3 * stride * torch.randn(4000, 2, generator=generator, dtype=dtype)).clamp(-stride, stride)
        new = moved(position, by)
        corner = torch.stack([new[:, 0], position[:, 1]], dim=-1)
        assert crossings(position, corner, 0) == 0
        assert crossings(corner, new, 1) == 0
        # No leg is longer than asked for, or goes the other way.
        assert bool((((new - position) * by.sign() >= 0) & ((new - position).abs() <= by.abs() + 1e-6)).all())
        seen |= visited_cells(new)
        position = new
    assert bool(seen.all())
    assert float(position.min()) >= MARGIN
    assert float(position.max()) <= ROOMS - MARGIN


def test_every_room_is_reached_by_its_shortest_path():
    env = Maze(num_envs=ROOMS**2, horizon=100, spread=0.0)
    paths = shortest_paths(env.start)
    assert len(paths) == ROOMS**2
    assert env.goal == (4, 4)
    assert len(paths[env.goal]) == 11
    assert all(room in neighbours(other) for room in paths for other in neighbours(room))
    assert sum(len(neighbours(room)) for room in paths) == 2 * (ROOMS**2 - 1 + 2)  # a tree and two loops
    actions = torch.zeros(100, ROOMS**2, 2)
    for n, rooms in enumerate(paths.values()):
        for k, (a, b) in enumerate(pairwise(rooms)):
            actions[5 * k : 5 * k + 5, n] = torch.tensor(b).float() - torch.tensor(a)  # a room is five strides
    state = env.reset(0)
    for action in actions:
        state, _, info = env.step(state, action)
    check_info(info, env.num_envs)
    expected = torch.tensor(list(paths)) + 0.5
    torch.testing.assert_close(state["position"], expected, atol=1e-4, rtol=0)
    for row, rooms in zip(info["outcome_features"], paths.values(), strict=True):
        assert {(n // ROOMS, n % ROOMS) for n in row.nonzero().squeeze(1).tolist()} == set(rooms)
    assert info["success"].tolist() == [env.goal in rooms for rooms in paths.values()]


def test_stops_at_walls_and_slides_along_them():
    def go(x, y, dx, dy):
        return moved(torch.tensor([[x, y]]), torch.tensor([[dx, dy]]))[0].tolist()

    assert go(0.5, 2.2, -0.9, 0.1) == pytest.approx([MARGIN, 2.3])  # the outer wall
    assert go(1.5, 0.5, 0.9, 0.0) == pytest.approx([2 - MARGIN, 0.5])  # no door between (1, 0) and (2, 0)
    assert go(0.5, 0.5, 0.9, 0.0) == pytest.approx([1.4, 0.5])  # a door between (0, 0) and (1, 0)
    assert go(0.5, 0.5 + BAND, 0.9, 0.0) == pytest.approx([1.4, 0.5 + BAND])  # its edge
    assert go(0.5, 0.51 + BAND, 0.9, 0.0) == pytest.approx([1 - MARGIN, 0.51 + BAND])  # beside it
    assert go(1.0, 0.5, 0.0, 0.4) == pytest.approx([1.0, 0.5 + BAND])  # a jamb, from within the door
    assert BAND + MARGIN == DOOR / 2


def test_coverage_of_hand_made_paths():
    assert coverage(torch.tensor([0.5, 0.5])) == 1 / 25
    row = torch.stack([torch.linspace(0.1, 4.9, 100), torch.full((100,), 2.5)], dim=-1)
    cells = visited_cells(row)
    assert cells.sum() == 5
    assert bool(cells[:, 2].all())
    assert coverage(row) == 5 / 25
    assert coverage(row, cells_per_room=2) == 10 / 100
    column = row.flip(-1)
    assert coverage(torch.stack([row, column])) == 9 / 25
    everywhere = torch.cartesian_prod(torch.arange(10), torch.arange(10)) / 2 + 0.25
    assert coverage(everywhere.reshape(4, 25, 2), cells_per_room=2) == 1.0
    assert coverage(torch.tensor([[0.0, 0.0], [5.0, 5.0]])) == 2 / 25  # the rim belongs to the rooms


@pytest.mark.parametrize("reward", ["none", "goal", "distance"])
def test_keeps_the_protocol(reward):
    env = Maze(num_envs=6, horizon=4, reward=reward)
    observation = check_environment(env)
    assert observation.abs().max() <= 1
    torch.testing.assert_close(env.positions(observation), env.reset(0)["position"])
    assert torch.equal(env.observe(env.reset(3)), env.observe(env.reset(3)))
    assert not torch.equal(env.observe(env.reset(3)), env.observe(env.reset(4)))
    history = Trainer(env, RPGConfig(num_latents=2, iterations=2)).train().history
    assert len(history) == 2
    with pytest.raises(ValueError, match=r"reward was given 'dense'; allowed are 'none', 'goal', 'distance'"):
        replace(env, reward="dense")
    with pytest.raises(ValueError, match=r"start was given \(5, 0\)"):
        replace(env, start=(5, 0))


def test_rewards():
    values = {}
    for reward in ("none", "goal", "distance"):
        env = Maze(num_envs=2, reward=reward)
        state = env.reset(0)
        state["position"] = torch.tensor([[4.5, 4.5], [0.5, 4.5]])
        values[reward] = env.step(state, torch.zeros(2, 2))[1].tolist()
    assert values["none"] == [0, 0]
    assert values["goal"] == [1, 0]
    assert values["distance"] == pytest.approx([0, -4 / 5], abs=1e-3)


def test_gradient_flows_inside_rooms_and_along_walls():
    env = Maze(num_envs=2, reward="distance", spread=0.0, dtype=torch.float64)
    actions = torch.zeros(10, 2, 2, dtype=torch.float64)
    actions[:, 1, 1] = -1.0  # the second presses against the lower wall
    actions.requires_grad_()
    state = env.reset(0)
    for action in actions:
        state, reward, _ = env.step(state, action)
    position = env.positions(env.observe(state))
    (grad,) = torch.autograd.grad(position[0].sum() + position[1].sum(), actions, retain_graph=True)
    torch.testing.assert_close(grad[:, 0], torch.full((10, 2), env.stride, dtype=torch.float64))
    torch.testing.assert_close(grad[:, 1, 0], torch.full((10,), env.stride, dtype=torch.float64))
    assert bool((grad[:, 1, 1] == 0).all())
    (grad,) = torch.autograd.grad(reward.sum(), actions)
    assert bool((grad[:, 0] > 0).all())


def test_random_policy_covers_what_the_docstring_says():
    env = Maze()
    values = []
    for seed in range(20):
        generator, state = torch.Generator().manual_seed(seed), env.reset(seed)
        path = [state["position"]]
        for _ in range(env.horizon):
            state = env.step(state, 2 * torch.rand(env.num_envs, 2, generator=generator) - 1)[0]
            path.append(state["position"])
        values.append(coverage(torch.stack(path)))
    mean = sum(values) / len(values)
    assert f"visit {mean:.2f} of the rooms" in (Maze.__doc__ or ""), mean
