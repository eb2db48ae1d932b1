"""Rewarped's three tasks on particles: rewards, limits, sizes and motions as published. Nothing is simulated here."""

from __future__ import annotations

import math

import pytest
import torch

import diffsim as ds
from diffsim.tools.tool_motion import ToolKinematics
from tasks import Episode, Task, Transition, find_task
from tasks.rewarped.kinematic_manipulator import z_up

COARSE = {"cells": 24, "particles": 300}


def reward(task: Task, state: ds.State, **values: torch.Tensor) -> torch.Tensor:
    """Of a step that ends in a state."""
    return task.reward(Transition(state, torch.zeros(task.num_envs, task.action_dim), state, task.episode(state, **values)))


def moved(task: Task, episode: Episode, action: float) -> ds.State:
    """The tools' poses after a step with every component of the action the same."""
    state = episode.state
    controls = task.controls(state, torch.full((task.num_envs, task.action_dim), action))
    kinematics = ToolKinematics(task.sim.scene, dt=task.dt, substeps=task.substeps, dtype=task.sim.dtype)
    _, position, rotation = kinematics.motion(state.tool_position, state.tool_rotation, controls)
    return state.replace(tool_position=position, tool_rotation=rotation)


def at_heights(state: ds.State, low: float, high: float) -> ds.State:
    """Half of the particles at each height, m."""
    x = state.x.clone()
    half = x.shape[1] // 2
    x[:, :half, 2], x[:, half:, 2] = low, high
    return state.replace(x=x)


def test_axes_keep_a_right_hand():
    axes = torch.tensor([z_up(tuple(row)) for row in torch.eye(3).tolist()])
    assert torch.linalg.det(axes) == 1.0
    assert z_up((0.0, 1.0, 0.0)) == (0.0, 0.0, 1.0)


@pytest.fixture(scope="module")
def rolling() -> Task:
    return find_task("RollingFlat")(2, **COARSE)


def test_rolling_flat_rewards_low_and_even_dough(rolling):
    state = rolling.reset(0).state
    assert reward(rolling, at_heights(state, 0.125, 0.125)) == pytest.approx([0.25, 0.25])
    assert reward(rolling, at_heights(state, 0.04, 0.04)) == pytest.approx([2.0 / 1.32**2] * 2)  # below a third
    assert reward(rolling, at_heights(state, 0.0, 0.0)) == pytest.approx([2.0, 2.0])  # the scale's end
    count = state.x.shape[1]
    spread = 0.05**2 * count / (count - 1)
    assert reward(rolling, at_heights(state, 0.075, 0.175)) == pytest.approx([0.25 - spread] * 2)
    assert rolling.success(rolling.episode(at_heights(state, 0.1, 0.1))).all()


def test_rolling_flat_begins_and_is_seen_as_published(rolling):
    episode = rolling.reset(0)
    assert rolling.observe(episode).shape == (2, 250 * 3 + 3 + 3)
    assert (rolling.horizon, rolling.action_dim, rolling.dt * rolling.substeps) == (300, 3, pytest.approx(2e-3))
    assert rolling.joints(episode.state)[0].tolist() == pytest.approx([0.5, 0.0625 + 0.06 + 0.66 * 0.25, 0.0])
    assert not rolling.success(episode).any()


def test_the_pin_turns_about_its_distant_axis(rolling):
    after = moved(rolling, rolling.reset(0), 1.0)
    angle = math.pi / 60.0
    assert rolling.joints(after)[0].tolist() == pytest.approx([0.51, 0.2975, angle], abs=1e-6)
    expected = [0.5 * math.cos(angle), 0.51 + 0.5 * math.sin(angle), 0.2975]
    assert after.tool_position[0, 0].tolist() == pytest.approx(expected, abs=1e-6)


def test_the_pin_stops_at_its_limits(rolling):
    state = rolling.reset(0).state
    for action, limits in ((-1.0, (0.12, 0.1225, -0.66 * math.pi)), (1.0, (0.88, 0.3725, 0.66 * math.pi))):
        after = state
        for _ in range(50):
            after = moved(rolling, rolling.episode(after), action)
        assert rolling.joints(after)[0].tolist() == pytest.approx(limits, abs=1e-5)


@pytest.fixture(scope="module")
def carrying() -> Task:
    return find_task("FluidMove")(2, **COARSE)


def test_fluid_move_rewards_nearness_and_no_spill(carrying):
    state = carrying.reset(0).state
    box = carrying.joints(state)
    assert reward(carrying, state, goal=box) == pytest.approx([0.2, 0.2])  # the scale's end
    away = box + box.new_tensor([0.0, 0.3, 0.0])
    assert reward(carrying, state, goal=away) == pytest.approx([0.1 / 1.09**2] * 2)
    x = state.x.clone()
    x[:, ::2, 2] += 1.0
    share = math.ceil(x.shape[1] / 2) / x.shape[1]
    assert reward(carrying, state.replace(x=x), goal=box) == pytest.approx([0.2 - share] * 2)


def test_the_box_is_the_published_one(carrying):
    episode = carrying.reset(0)
    assert carrying.observe(episode).shape == (2, 250 * 3 + 3 + 3 + 3)
    assert carrying.joints(episode.state)[0].tolist() == pytest.approx(z_up((0.5, 0.15, 0.5)))
    tool = carrying.sim.scene.tools[0]
    low = torch.tensor([part.position[2] - part.shape.core[2] for part in tool.shape.parts]).min() + tool.position[2]
    assert float(low) == pytest.approx(0.15 - 0.08 - 0.05)  # the floor is as thick as the walls
    # it starts below its lowest place, so that the first step lifts it to there
    assert carrying.joints(moved(carrying, episode, 0.0))[0].tolist() == pytest.approx(z_up((0.5, 0.16, 0.5)), abs=1e-6)
    offset = episode["goal"] - carrying.joints(episode.state)
    assert (offset[:, :2].abs() <= 0.2).all()
    assert ((offset[:, 2] >= 0.0) & (offset[:, 2] <= 0.3)).all()


@pytest.fixture(scope="module")
def folding() -> Task:
    pytest.importorskip("mujoco")
    return find_task("HandFlip")(2, **COARSE)


@pytest.mark.robot_models
def test_hand_flip_rewards_the_fold(folding):
    episode = folding.reset(0)
    x = episode.state.x.clone()
    x[:, folding.half] = x[:, folding.partners]
    assert reward(folding, episode.state, flat=episode["flat"]) == pytest.approx([0.0, 0.0], abs=1e-6)
    assert reward(folding, episode.state.replace(x=x), flat=episode["flat"]) == pytest.approx([1.0, 1.0], abs=1e-3)
    assert reward(folding, episode.state.replace(x=5.0 * episode.state.x), flat=episode["flat"]).tolist() == [-1.0, -1.0]
    rest = folding.sim.reset().x[0]
    middle = z_up((0.5, 0.38, 0.6))[0]
    mirrored = rest[folding.partners] * rest.new_tensor([-1.0, 1.0, 1.0]) + rest.new_tensor([2.0 * middle, 0.0, 0.0])
    assert mirrored == pytest.approx(rest[folding.half], abs=1e-6)


@pytest.mark.robot_models
def test_the_hand_lies_on_its_back_under_the_disk(folding):
    episode = folding.reset(0)
    assert folding.observe(episode).shape == (2, 250 * 3 + 3 + 24)
    tools = {tool.name: tool for tool in folding.sim.scene.tools}
    assert len(tools) == 18
    palm, flat = torch.tensor(tools["shape0"].position), torch.tensor(z_up((0.5, 0.38, 0.6)))
    assert palm[2] < flat[2]
    assert (palm - flat)[:2].norm() < 0.2


@pytest.mark.robot_models
def test_joints_follow_from_the_tools(folding):
    episode = folding.reset(0)
    home, limits = torch.tensor(folding.hand.home), torch.tensor(folding.hand.limits)
    assert folding.joints(episode.state)[0] == pytest.approx(home, abs=1e-6)
    after = moved(folding, episode, 1.0)
    expected = torch.minimum(home + 0.0264, limits[:, 1])
    assert folding.joints(after)[0] == pytest.approx(expected, abs=2e-6)
    position, _ = folding.hand.poses(expected[None])
    assert after.tool_position[0] == pytest.approx(position[0], abs=2e-6)
    actions = torch.zeros(2, 24, requires_grad=True)
    folding.controls(episode.state, actions).square().sum().backward()
    assert torch.isfinite(actions.grad).all()
