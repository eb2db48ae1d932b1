"""The maze of the exploration test: its walls are the published ones and hold, and every cell can be reached in an episode."""

import math

import torch

from rpg.environments.gap_maze import CELLS, GAP, HALF, ROOMS, SIDE, STRIDE, GapMaze, moved, visited_cells, wall_segments
from rpg.protocol import check_environment


def published_solid_walls() -> set[tuple[tuple[float, float], tuple[float, float]]]:
    """The 16 walls without a gap, in the paper's world."""
    lying = ((0, 2), (1, 2), (1, 3), (3, 2), (3, 3), (4, 2))
    upright = ((1, 0), (1, 4), (2, 0), (2, 3), (2, 4), (3, 1), (3, 4), (4, 1), (4, 3), (4, 4))
    ends = [((i, j), (i + 1, j)) for i, j in lying] + [((i, j), (i, j + 1)) for i, j in upright]
    return {tuple(tuple(2.0 * u - 5.0 for u in point) for point in pair) for pair in ends}  # type: ignore[misc]


def test_the_walls_are_the_published_ones():
    pieces = {(tuple(a), tuple(b)) for a, b in wall_segments().tolist()}
    on_border = {pair for pair in pieces if any(pair[0][k] == pair[1][k] and abs(pair[0][k]) == HALF for k in (0, 1))}
    assert sum(math.dist(*pair) for pair in on_border) == 4 * ROOMS * SIDE
    inside = pieces - on_border
    assert {pair for pair in inside if math.dist(*pair) == SIDE} == published_solid_walls()
    halves = [pair for pair in inside if math.dist(*pair) < SIDE]
    assert len(halves) == 2 * (2 * ROOMS * (ROOMS - 1) - 16)  # all other walls inside, in two halves each
    assert all(math.isclose(math.dist(*pair), (SIDE - GAP) / 2) for pair in halves)
    for pair in (((-5.0, -3.0), (-4.2, -3.0)), ((1.0, 0.2), (1.0, 1.0))):  # two of the published list
        assert any(all(math.dist(a, b) < 1e-9 for a, b in zip(pair, own, strict=True)) for own in halves)


def test_random_walks_never_cross_a_wall():
    draws = torch.Generator().manual_seed(0)
    position = (torch.rand(500, 2, generator=draws, dtype=torch.float64) - 0.5) * 2 * HALF
    walls = wall_segments()
    for _ in range(60):
        after = moved(position, STRIDE * (2 * torch.rand(500, 2, generator=draws, dtype=torch.float64) - 1))
        for axis in (0, 1):
            own = walls[walls[:, 0, axis] == walls[:, 1, axis]]
            before_side, after_side = (each[:, axis, None] - own[:, 0, axis] for each in (position, after))
            assert not bool((after_side == 0).any())
            share = before_side / (before_side - after_side)
            across = position[:, 1 - axis, None] + share * (after - position)[:, 1 - axis, None]
            met = (before_side * after_side < 0) & (across >= own[:, 0, 1 - axis]) & (across <= own[:, 1, 1 - axis])
            assert not bool(met.any())
        position = after


def test_a_move_ends_just_before_the_wall_and_does_not_slide():
    start = torch.tensor([[0.9, 0.5], [0.9, 0.0], [-2.5, -2.9]], dtype=torch.float64)  # at a wall, at a gap, at a lower wall
    by = torch.tensor([[0.2, 0.1], [0.2, 0.1], [0.0, -0.2]], dtype=torch.float64)
    after = moved(start, by)
    torch.testing.assert_close(after[0], torch.tensor([1.0, 0.55], dtype=torch.float64), atol=1e-5, rtol=0)
    assert float(after[0, 0]) < 1
    assert torch.equal(after[1], start[1] + by[1])
    assert -3 < float(after[2, 1]) < -3 + 1e-5
    back = moved(after, -by)
    assert torch.equal(back, after - by)  # it is not stuck


def test_every_cell_can_be_reached_within_an_episode():
    """Breadth first, by moves of a quarter along some axes."""
    offsets = torch.tensor([-0.25, 0.0, 0.25], dtype=torch.float64)
    moves = torch.cartesian_prod(offsets, offsets)
    front, known, reached = torch.zeros(1, 2, dtype=torch.float64), {(0, 0)}, torch.zeros(CELLS, CELLS, dtype=torch.bool)
    for _ in range(GapMaze().horizon):
        ends = moved(front.repeat_interleave(len(moves), 0), moves.repeat(len(front), 1))
        reached |= visited_cells(ends)
        new = {}
        for point in ends.tolist():
            place = (round(8 * point[0]), round(8 * point[1]))
            if place not in known:
                new[place] = point
        known |= new.keys()
        if not new:
            break
        front = torch.tensor(list(new.values()), dtype=torch.float64)
    assert bool(reached.all())


def test_the_environment():
    env = GapMaze(num_envs=3)
    assert torch.equal(check_environment(env), torch.zeros(3, 2))
    state = env.reset(0)
    state, reward, info = env.step(state, torch.tensor([[1.0, 0.0], [0.0, -2.0], [0.5, 0.5]]))
    expected = torch.tensor([[0.25, 0.0], [0.0, -0.25], [0.125, 0.125]])
    torch.testing.assert_close(env.positions(env.observe(state)), expected)
    torch.testing.assert_close(info["outcome_features"], expected)
    assert torch.equal(reward, torch.zeros(3))
    cells = visited_cells(torch.tensor([[-4.5, -4.5], [4.9, -4.1], [0.0, 0.0]]))
    assert cells.nonzero().tolist() == [[0, 0], [5, 5], [9, 0]]
