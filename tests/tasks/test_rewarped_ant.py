"""AntRun: Rewarped's masses, reward, observation and ends."""

from __future__ import annotations

import math

import pytest
import torch

from tasks.rewarped import AntRun
from tasks.rewarped.ant_run import FALLEN

pytest.importorskip("mujoco")
pytestmark = pytest.mark.robot_models


@pytest.fixture(scope="module")
def task() -> AntRun:
    return AntRun(2, horizon=4)


def test_links_are_solid_and_dense_as_water(task):
    (ant,) = task.sim.scene.articulations
    cylinder, ball = math.pi * 0.08**2, 4.0 / 3.0 * math.pi
    capsule = cylinder * math.hypot(0.2, 0.2) + ball * 0.08**3
    foot = cylinder * math.hypot(0.4, 0.4) + ball * 0.08**3
    masses = [link.inertia.mass for link in ant.links]
    assert masses[0] == pytest.approx(1e3 * (ball * 0.25**3 + 4.0 * capsule))
    assert masses[1:3] == pytest.approx([1e3 * capsule, 1e3 * foot])
    assert sum(masses) == pytest.approx(182.2, abs=0.05)
    assert {link.joint.armature for link in ant.links[1:]} == {5e-3}


def test_the_reward_is_speed_upright_heading_and_height(task):
    episode = task.reset(0)
    q, qd = task.sim.reset().q.clone(), torch.zeros_like(episode.state.qd)
    q[:, :3] = torch.tensor([0.0, 0.0, 0.6])
    q[1, 3:7] = torch.tensor([math.cos(math.pi / 6), 0.0, 0.0, math.sin(math.pi / 6)])  # 60 degrees to the left
    qd[:, 0] = torch.tensor([2.0, -1.0])
    following, reward, _ = task.step(episode.replace(state=episode.state.replace(q=q, qd=qd)), torch.zeros(2, 8))
    state = following.state
    up = 1.0 - 2.0 * (state.q[:, 4] ** 2 + state.q[:, 5] ** 2)
    w, x, y, z = state.q[:, 3:7].unbind(1)
    front = torch.stack([1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z)], dim=1)
    way = torch.stack([1e4 - state.q[:, 0], -state.q[:, 1]], dim=1)
    heading = (front * way).sum(1) / way.norm(dim=1)
    torch.testing.assert_close(reward, state.qd[:, 0] + 0.1 * up + heading + state.q[:, 2] - 0.27)
    torch.testing.assert_close(heading, torch.tensor([1.0, 0.5]), atol=0.02, rtol=0.0)
    assert float(reward[0]) == pytest.approx(2.0 + 0.1 + 1.0 + 0.33, abs=0.05)


def test_it_sees_the_last_action_and_starts_within_the_noise(task):
    episode = task.reset(3)
    assert task.observation_dim == 37
    assert not task.observe(episode)[:, 29:].any()
    rest = task.sim.reset().q
    assert float((episode.state.q - rest)[:, :3].abs().max()) <= 0.1
    assert float((episode.state.q - rest)[:, 7:].abs().max()) <= 0.2
    assert float(episode.state.q[:, 3].min()) >= math.cos(math.radians(3.75))
    assert float(episode.state.qd.abs().max()) <= 0.25
    action = torch.linspace(-1.0, 1.0, 16).view(2, 8)
    following, _, _ = task.step(episode, action)
    torch.testing.assert_close(task.observe(following)[:, 29:], action)
    torch.testing.assert_close(task.controls(episode.state, action), 200.0 * action)


def test_a_low_torso_has_fallen_and_a_long_way_is_success(task):
    episode = task.reset(0)
    q = episode.state.q.clone()
    q[0, 2], q[1, 0] = FALLEN - 0.01, q[1, 0] + 0.1
    moved = episode.replace(state=episode.state.replace(q=q))
    assert task.failure(moved).tolist() == [True, False]
    assert task.success(moved).tolist() == [False, True]  # 1 m/s for four steps is 7 cm
    ended = episode.replace(ended=torch.tensor([True, False]))
    following, reward, _ = task.step(ended, torch.ones(2, 8))
    assert float(reward[0]) == 0.0
    assert following["last_action"].mean(dim=1).tolist() == [0.0, 1.0]  # an episode that has ended keeps its values
