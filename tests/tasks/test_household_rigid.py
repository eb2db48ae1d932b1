"""The rigid household tasks: what counts as success, and which way an episode went, in hand-made states."""

import importlib.util
import math

import pytest
import torch

import diffsim as ds
from tasks import find_task
from tasks.household import OneBlockPush, OpenDoor, TwoBlockPush
from tasks.household.open_door import GRIPS, HINGE
from tasks.household.stick_pull import GOAL_Y, GRIP_Y, GRIP_Z, STICK

pytestmark = pytest.mark.slow


def with_coordinates(task, rows):
    """Episodes of a task in states with the coordinates ``rows`` (B, n)."""
    episode = task.reset(0)
    return episode.replace(state=episode.state.replace(q=torch.tensor(rows, dtype=task.sim.dtype)))


def after(task, path):
    """Episodes of a task that went through the coordinates ``path``, a list of rows (B, n), one a step."""
    episodes = [with_coordinates(task, rows) for rows in path]
    seen = tuple(task.observation(each) for each in episodes)
    return episodes[-1].replace(observations=seen, steps=torch.full((task.num_envs,), len(path) - 1))


def test_two_blocks_count_by_who_is_there_first():
    task = TwoBlockPush(3)
    (left, right), pusher, away = [list(goal) for goal in task.goals], [0.0, 0.0], [1.0, -1.0]
    path = [
        [[*away, *away, *pusher]] * 3,
        [[*left, *away, *pusher], [*away, *right, *pusher], [*away, *away, *pusher]],
        [[*left, *right, *pusher], [*left, *right, *pusher], [*away, *away, *pusher]],
    ]
    episode = after(task, path)
    assert task.success(episode).tolist() == [True, True, False]
    assert task.outcome(episode).tolist() == [0, 1, -1]
    assert not task.success(with_coordinates(task, path[1])).any()  # one block alone is no success


def test_one_block_is_pushed_and_seen():
    """Straight on for eleven steps it gets to its goal, where it stays when the pusher goes back; pictures show it there."""
    task = OneBlockPush(2, observation_mode="image", reward_mode="sparse")
    assert task.observation_shape == (64, 64, 3)
    assert not task.differentiable
    episode = task.reset(0)
    first, rewards = task.observe(episode), []
    for t in range(24):
        action = torch.tensor([[0.0, 1.0 if t < 14 else -0.5], [0.0, 0.0]])
        episode, reward, info = task.step(episode, action)
        rewards.append(reward.tolist())
    assert float(episode.state.q[0, 1]) == pytest.approx(1.4, abs=0.2)
    assert info["success"].tolist() == [True, False]
    assert rewards[0] == [0, 0]
    assert rewards[-1] == [1, 0]
    last = task.observe(episode)
    assert last.dtype == torch.uint8
    assert torch.equal(first[1], last[1])
    warm = (last[0, ..., 0].int() - last[0, ..., 2].int() > 60).nonzero()[:, 0].float()  # rows of the orange block
    start = (first[0, ..., 0].int() - first[0, ..., 2].int() > 60).nonzero()[:, 0].float()
    assert float(start.mean() - warm.mean()) > 10  # it went up in the picture


def test_a_door_is_pulled_where_it_carries_the_grips():
    task = OpenDoor(2)
    episode = with_coordinates(task, [[0.0, 0.0, 0.0], [0.7, 0.0, 0.0]])
    for index, grip in enumerate(GRIPS):
        places = task.grips(episode.state.q)[:, index]
        closed = torch.tensor([HINGE[0] + grip[0], HINGE[1] + grip[1]])
        torch.testing.assert_close(places[0], closed)
        radius = math.hypot(*grip[:2])
        assert math.hypot(*(places[1] - torch.tensor(HINGE[:2])).tolist()) == pytest.approx(radius, abs=1e-6)
        assert places[1, 1] < places[0, 1]  # it opens towards -y, to the finger


def test_a_door_is_open_at_one_radian_and_knows_where_it_was_pulled():
    task = OpenDoor(2)
    path = []
    for angle in (0.25, 0.6, 1.01):
        grips = task.grips(torch.tensor([[angle, 0.0, 0.0]]))[0].tolist()
        path.append([[angle, *grips[0]], [angle, *grips[1]]])
    episode = after(task, path)
    assert task.success(episode).all()
    assert task.outcome(episode).tolist() == [0, 1]
    assert task.outcome(after(task, path[:1])).tolist() == [-1, -1]
    assert not task.success(with_coordinates(task, [[0.99, 0.0, 0.0]] * 2)).any()


def test_a_rod_turns_either_way_but_not_away():
    task = find_task("RodTurn")(4)
    rows = task.sim.reset().q.tolist()
    place = task.sim.joint("rod.plane").coordinates.start
    for row, (x, angle) in zip(rows, ((0.0, math.pi), (0.0, -2.9), (0.03, math.pi), (0.0, 2.0)), strict=True):
        row[place], row[place + 2] = x, angle
    episode = with_coordinates(task, rows)
    assert task.success(episode).tolist() == [True, True, False, False]
    assert task.outcome(episode).tolist() == [0, 1, 0, 0]


def test_a_ball_in_the_net():
    task = find_task("Basketball")(3)
    hoop = torch.tensor([0.0, 0.78, 0.25])
    start, bowl = [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0]
    over_board = (hoop + torch.tensor([0.0, 0.056, 0.1])).tolist()
    inside, below = (hoop - torch.tensor([0.0, 0.0, 0.05])).tolist(), (hoop - torch.tensor([0.0, 0.0, 0.2])).tolist()
    before = [[0.0, 0.5, 0.4], over_board, [0.0, 0.5, 0.4]]
    path = [[[*place, *start, *bowl] for place in places] for places in (before, [inside, inside, below])]
    episode = after(task, path)
    assert task.success(episode).tolist() == [True, True, False]
    assert task.outcome(episode).tolist() == [0, 1, 0]


def test_a_stick_must_be_in_the_handle():
    task = find_task("StickPull")(4)
    flask = [0.0, GOAL_Y - GRIP_Y]
    inside = [GOAL_Y + 0.02, GRIP_Z]
    rows = [
        [*flask, -0.5 * STICK[0], *inside],
        [*flask, 0.5 * STICK[0], *inside],
        [*flask, -1.2 * STICK[0], *inside],  # beside the handle
        [0.0, 0.15, 0.0, *inside],  # not pulled
    ]
    episode = with_coordinates(task, rows)
    assert task.success(episode).tolist() == [True, True, False, False]
    assert task.outcome(episode).tolist() == [0, 1, -1, -1]


@pytest.mark.parametrize("name", ["OpenDoor", "HammerNail", "Basketball", "StickPull"])
def test_meshes_say_what_to_install(name, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None if package == "metaworld" else real(package))
    with pytest.raises(ds.InputError, match=rf"tasks\.{name} reads .*: pip install --no-deps metaworld==3.1.1"):
        find_task(name)(1, meshes=True)


@pytest.mark.robot_models
@pytest.mark.parametrize("name", ["OpenDoor", "HammerNail", "Basketball", "StickPull"])
def test_meshes_are_drawn_and_touch_nothing(name):
    plain, drawn = (find_task(name)(1, meshes=meshes).sim.scene for meshes in (False, True))

    def touching(scene):
        return [
            geometry.shape.__class__
            for articulation in scene.articulations
            for link in articulation.links
            for geometry in link.geometries
            if geometry.collides
        ]

    assert touching(plain) == touching(drawn)


@pytest.mark.long
def test_pushing_drives_no_nail():
    task = find_task("HammerNail")(1, spread=0.0)
    episode = with_coordinates(task, [[0.17, 0.0, 0.118, 0.17]])
    for _ in range(20):
        episode, _, info = task.step(episode, torch.tensor([[1.0, 0.0]]))
    assert float(episode.state.q[0, 1]) < 2e-3
    assert not info["success"].any()
