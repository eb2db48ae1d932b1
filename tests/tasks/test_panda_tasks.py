"""Tasks of a Panda: where things stand at the start, and labels and success on states made by hand."""

from __future__ import annotations

import pytest
import torch

import tasks
from tasks.panda.panda_drawer import CENTRE, OPEN
from tasks.panda.panda_peg_insertion import ASIDE, BOARD_X, BOTTOM, LENGTH
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
    grasp = tasks.find_task("PandaSoftGrasp")(2, visuals=False, particles=64, grid_spacing=0.025)
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
