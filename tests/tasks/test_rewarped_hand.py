"""HandReorient: Rewarped's cube, reward, observation, goals and ends."""

from __future__ import annotations

import math

import pytest
import torch

from tasks.rewarped import HandReorient

pytest.importorskip("mujoco")
pytestmark = pytest.mark.robot_models


@pytest.fixture(scope="module")
def task() -> HandReorient:
    return HandReorient(2, horizon=4)


def about_z(angle: float) -> torch.Tensor:
    return torch.tensor([math.cos(angle / 2), 0.0, 0.0, math.sin(angle / 2)])


def placed(task, turns, lift=(0.0, 0.0)):
    """Episodes whose cubes hang above the hand, turned from the goal about z, and lifted by so much."""
    episode = task.reset(0)
    q, qd = episode.state.q.clone(), torch.zeros_like(episode.state.qd)
    q[:, 16:19] = episode["held"] + torch.tensor([0.0, 0.0, 0.2])
    q[:, 18] += torch.tensor(lift)
    q[:, 19:23] = torch.stack([about_z(turn) for turn in turns])
    goals = about_z(0.0).expand_as(episode["goals"]).clone()
    goals[:, 1] = about_z(1.0)
    return episode.replace(state=episode.state.replace(q=q, qd=qd), values={**episode.values, "goals": goals})


def test_the_hand_and_the_cube_are_rewarped_s(task):
    hand, cube = task.sim.scene.articulations
    assert sum(link.inertia.mass for link in cube.links) == pytest.approx(0.5, abs=1e-4)
    assert sum(link.inertia.mass for link in hand.links) == pytest.approx(0.96, abs=0.03)
    assert {(link.joint.damping, link.joint.armature) for link in hand.links if link.joint.limits} == {(1.0, 1e-3)}
    assert (task.action_dim, task.observation_dim) == (16, 72)
    links = task.sim.links(task.sim.reset())
    reach = links.position[0, task.sim.link_index("hand.link_7_tip")] - links.position[0, task.sim.link_index("hand.palm_link")]
    assert reach.tolist() == pytest.approx([0.0, -0.136, -0.012], abs=2e-3)  # along -y, sloping by 5 degrees
    torch.testing.assert_close(task.controls(task.sim.reset(), torch.ones(2, 16))[:, :16], torch.full((2, 16), 2.0))


def test_the_reward_is_angle_distance_effort_and_bonus(task):
    _, reward, info = task.step(placed(task, (0.3, 0.05)), torch.full((2, 16), 0.5))
    fallen = 0.2 - 0.5 * 9.81 * task.sim.control_dt**2
    common = -10.0 * fallen - 2e-4 * 16 * 0.25
    expected = [1.0 / 0.4 + common, 1.0 / 0.15 + 250.0 + common]
    assert reward.tolist() == pytest.approx(expected, abs=2e-3)
    assert info["success"].tolist() == [False, True]


def test_a_goal_that_is_reached_gives_way_to_the_next(task):
    episode, _, _ = task.step(placed(task, (0.3, 0.05)), torch.zeros(2, 16))
    assert episode["hits"].tolist() == [0, 1]
    torch.testing.assert_close(task.goal(episode), about_z(0.0).expand(2, 4))  # for the step that reached it
    episode, reward, _ = task.step(episode, torch.zeros(2, 16))
    torch.testing.assert_close(task.goal(episode), torch.stack([about_z(0.0), about_z(1.0)]))
    assert float(task.angle(episode.state, task.goal(episode))[1]) == pytest.approx(0.95, abs=1e-3)
    assert float(reward[1]) < 0.0
    assert episode["hits"].tolist() == [0, 1]


def test_a_cube_too_far_from_its_place_is_lost(task):
    following, _, info = task.step(placed(task, (1.0, 1.0), lift=(0.045, 0.03)), torch.zeros(2, 16))
    assert info["terminated"].tolist() == [True, False]
    features = task.observe(following)
    assert features.shape == (2, 72)
    torch.testing.assert_close(features[:, 32:39], following.state.q[:, 16:])
    torch.testing.assert_close(features[:, 45:48], following["held"])
    torch.testing.assert_close(features[:, 52:56].abs(), about_z(1.0).expand(2, 4).abs(), atol=1e-5, rtol=0.0)
    low, high = following.state.q.new_tensor([[-0.47, 0.47], [-0.196, 1.61]]).unbind(1)
    torch.testing.assert_close(features[:, :2], (2.0 * following.state.q[:, :2] - low - high) / (high - low))
