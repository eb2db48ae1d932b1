"""Tasks of a Panda: where things stand at the start, and labels and success on states made by hand."""

from __future__ import annotations

import pytest
import torch

import tasks
from tasks import Episode
from tasks.panda import PandaCabinet, PandaSoftGrasp
from tasks.panda.panda_drawer import CENTRE, OPEN
from tasks.panda.panda_peg_insertion import ASIDE, BOARD_X, BOTTOM, LENGTH
from tasks.panda.panda_pick_place import WALL_X
from tasks.panda.panda_reach import CROSS
from tasks.panda.panda_task import tilted

pytest.importorskip("mujoco")
pytestmark = [pytest.mark.slow, pytest.mark.robot_models]


@pytest.fixture(scope="module")
def drawer() -> tasks.Task:
    return tasks.find_task("PandaDrawer")(4, visuals=False)


@pytest.fixture(scope="module")
def peg() -> tasks.Task:
    return tasks.find_task("PandaPegInsertion")(2, visuals=False)


def test_each_drawer_has_its_own_label(drawer):
    episode = drawer.reset(0)
    q = episode.state.q.clone()
    assert ((q[:, drawer.drawers] > OPEN - 0.025) & (q[:, drawer.drawers] <= OPEN)).all()
    for environment, place in enumerate(drawer.drawers):
        q[environment, place] = 0.02
    shut = episode.replace(state=episode.state.replace(q=q))
    assert drawer.outcome(shut).tolist() == [0, 1, 2, 3]
    assert drawer.success(shut).all()
    assert not drawer.success(episode).any()
    assert (drawer.outcome(episode) == -1).all()
    upper_left = drawer.place(shut.state, "chest.upper left")[0]
    assert upper_left[1] > 0.1
    assert upper_left[2] > CENTRE[2]
    assert upper_left[0] == pytest.approx(CENTRE[0] - 0.02, abs=1e-5)


def test_the_peg_is_in_a_hole_where_its_tip_is_at_the_bottom(peg):
    episode = peg.reset(0)
    tip, hand = peg.tip(episode.state), peg.hand(episode.state)
    assert torch.allclose(hand - tip, torch.tensor([0.0, 0.0, LENGTH]).expand(2, 3), atol=2e-3)
    goal = torch.tensor([[BOARD_X, ASIDE, BOTTOM + LENGTH], [BOARD_X, -ASIDE, BOTTOM + LENGTH]])
    placed = episode.replace(state=peg.posed(episode.state, goal, tilted(goal)))
    assert peg.success(placed).all()
    assert peg.outcome(placed).tolist() == [0, 1]
    assert not peg.success(episode).any()
    deepest = max(float(depth.max()) for depth in peg.sim.penetration(placed.state).values())
    assert deepest < 1e-3  # the holes are wide enough


def test_the_soft_cube_is_as_wide_as_at_rest_and_lies_on_the_ground():
    grasp = PandaSoftGrasp(2, visuals=False, particles=64, grid_spacing=0.025)
    episode = grasp.reset(0)
    # of n layers of particles in a cube, the deviation is sqrt(1 - 1/n^2) of the solid cube's
    assert torch.allclose(grasp.width(episode.state), torch.ones(2), atol=0.04)
    assert not grasp.success(episode).any()
    x = episode.state.x.clone()
    x[..., 2] += 0.08
    lifted = episode.replace(state=episode.state.replace(x=x))
    assert grasp.success(lifted).all()
    x[0, :, 1] = 0.7 * x[0, :, 1]
    assert grasp.success(lifted).tolist() == [False, True]


def with_path(task: tasks.Task, paths: list[list[tuple[float, float, float]]], first: int) -> Episode:
    """An episode whose features from ``first`` went along these points, a path for each environment."""
    episode = task.reset(0)
    seen = []
    for points in zip(*paths, strict=True):
        features = episode.observations[0].clone()
        features[:, first : first + 3] = torch.tensor(points)
        seen.append(features)
    return episode.replace(observations=tuple(seen))


def test_quarters_of_the_cross_have_their_labels():
    reach = tasks.find_task("PandaReach")(5, visuals=False)
    x, _, z = CROSS
    ends = [(x + 0.1, 0.0, z)] * 4 + [(x - 0.05, 0.0, z)]
    middles = [(x, side * 0.1, z + 0.1 * up) for up in (1.0, -1.0) for side in (1.0, -1.0)] + [(x - 0.1, 0.1, z)]
    paths = [[(x - 0.2, 0.0, z), middle, end] for middle, end in zip(middles, ends, strict=True)]
    assert reach.outcome(with_path(reach, paths, 0)).tolist() == [0, 1, 2, 3, -1]


def test_the_block_goes_round_the_wall_or_over_it():
    carry = tasks.find_task("PandaPickPlace")(4, visuals=False)
    middles = [(WALL_X, 0.15, 0.03), (WALL_X, -0.15, 0.03), (WALL_X, 0.02, 0.2), (WALL_X - 0.1, 0.0, 0.2)]
    ends = [(WALL_X + 0.1, 0.0, 0.03)] * 3 + [(WALL_X - 0.05, 0.0, 0.03)]
    paths = [[(WALL_X - 0.2, 0.0, 0.03), middle, end] for middle, end in zip(middles, ends, strict=True)]
    assert carry.outcome(with_path(carry, paths, 3)).tolist() == [0, 1, 2, -1]


def test_doors_open_towards_the_robot_and_the_left_one_is_worth_more():
    cabinet = PandaCabinet(2, visuals=False)
    episode = cabinet.reset(0)
    closed = cabinet.handle_distances(episode.state)
    assert torch.allclose(closed[:, 0] + closed[:, 1], torch.tensor(0.1), atol=0.06)
    q = episode.state.q.clone()
    for environment, name in enumerate(("left", "right")):
        q[environment, cabinet.sim.joint(f"cabinet.{name}").coordinates] = 1.4
    opened = episode.replace(state=episode.state.replace(q=q))
    assert cabinet.outcome(opened).tolist() == [0, 1]
    assert cabinet.success(opened).all()
    assert not cabinet.success(episode).any()
    rewards = cabinet.reward(tasks.Transition(episode.state, episode.state.q[:, :3], opened.state, opened))
    assert float(rewards[0] - rewards[1]) == pytest.approx(1.0, abs=0.15)
