"""The modes of a run on a page: the judged episodes, their forces and gradients, and other parameters."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rpg import ViewerEnvironment
from rpg.runs.task_lookup import task_class
from tasks.mode_viewer import _number_parameters, _resimulation, mode_tracks
from tests.tasks.small_task import write_task

pytest.importorskip("viser")
pytestmark = pytest.mark.slow
STEPS = 6


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    old = "tool_speed = 6, 4e-3, 4, 1.5"
    file = write_task(tmp_path_factory.mktemp("task"), old, f"{old}\n    weight: float = 10.0")
    file.write_text(file.read_text().replace("10.0 * (step", "self.weight * (step"))
    return task_class(f"{file}:Push")(2)


@pytest.fixture(scope="module")
def mode(task):
    actions = np.ones((STEPS, 1))
    episode, total = task.reset(3), 0.0
    with torch.no_grad():
        for action in actions:
            both = torch.zeros(2, 1)
            both[1] = float(action[0])
            episode, reward, _ = task.step(episode, both)
            total += float(reward[1])
    return SimpleNamespace(
        name="right",
        episode_return=total,
        shown_return=total,
        success=1.0,
        probability=0.5,
        actions=actions,
        environment=1,
        seed=3,
    )


@pytest.fixture(scope="module")
def track(task, mode):
    return mode_tracks(task, [mode])[0]


def test_a_track_is_the_judged_episode(task, mode, track):
    assert track.rewards.sum() == pytest.approx(mode.shown_return, rel=1e-6)
    assert len(track.states) == STEPS + 1
    assert track.title == "right"
    assert track.duration == pytest.approx(STEPS * task.sim.control_dt)
    assert isinstance(task, ViewerEnvironment)


def test_forces_push_the_block_and_gradients_point_along_its_way(task, track):
    forces = track.forces()
    assert len(forces) == STEPS + 1
    assert len(forces[0].starts) == 0 or forces[0].sizes.max() < forces[-2].sizes.max()  # the ball comes to the block
    assert forces[-2].vectors[:, 0].sum() > 0.0
    gradients = track.gradients()
    particles = task.sim.num_particles
    for each in gradients[1:-1]:
        assert (each.vectors[:particles, 0] > 0.0).mean() > 0.9  # the reward is how far the block is along x
    assert np.abs(gradients[0].vectors[-1]).max() > 0.0  # the ball's place counts, too


def test_other_parameters_play_the_same_actions_again(task, mode, track):
    again = _resimulation(task, [mode], [track])
    values = {each.name: each.value for each in again.parameters}
    assert values["weight"] == 10.0
    assert values["horizon"] == STEPS
    assert "reward_mode" not in values
    for each in again.parameters:
        assert each.low <= each.value <= each.high
        assert each.step > 0
    assert again.tracks(values) == [track]
    [doubled] = again.tracks({**values, "weight": 20.0})
    np.testing.assert_allclose(doubled.rewards, 2.0 * track.rewards, rtol=1e-4, atol=1e-6)
    [slower] = again.tracks({**values, "tool_speed": 0.5, "horizon": 4})
    assert len(slower.states) == 5
    moved = [float(each.states[4].tool_position[0, 0, 0] - each.states[0].tool_position[0, 0, 0]) for each in (slower, track)]
    assert moved[0] == pytest.approx(moved[1] / 3.0, rel=1e-3)
    with pytest.raises(ValueError, match="dt"):
        again.tracks({**values, "dt": -1.0})


def test_ranges_hold_the_values_and_end_at_the_stored_actions(task):
    found = {each.name: each for each in _number_parameters(task, STEPS)}
    assert found["horizon"].high == STEPS
    assert found["substeps"].step == 1
    assert isinstance(found["substeps"].low, int)
    assert found["tool_speed"].low < 1.5 < found["tool_speed"].high


def test_a_task_writes_and_serves_its_page(task, mode, tmp_path):
    target = tmp_path / "modes.html"
    task.write_viewer_page([mode], target, arrows=False)
    assert f"of {mode.shown_return:.2f}" in target.read_text()
    urls: list[str] = []

    class Enough(Exception):
        pass

    def ready(url):
        urls.append(url)
        raise Enough

    with pytest.raises(Enough):
        task.serve_viewer([mode], port=0, ready=ready)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", urls[0])
