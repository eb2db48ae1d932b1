"""SoftJumper: the original's body, muscles, start and reward, by number."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import diffsim as ds
from tasks.episode import Transition
from tasks.rewarped.soft_jumper import SoftJumper, compact_groups

BENCH = {"muscles": 16, "particles": 400, "grid_spacing": 0.28, "seen_particles": 24}


@pytest.fixture(scope="module")
def jumper() -> SoftJumper:
    return SoftJumper(64, **BENCH)


def test_the_table_is_the_originals():
    task = SoftJumper(1)
    (table,) = task.sim.scene.soft_bodies
    assert table.shape.volume == pytest.approx(4.898, rel=2e-3)  # of its 444 tetrahedra; the density is 1
    size = np.ptp(np.asarray(table.shape.surface_mesh().vertices), axis=0)
    np.testing.assert_allclose(size, [2.481, 2.481, 1.772], rtol=1e-3)
    assert isinstance(table.material, ds.KelvinVoigt)
    assert isinstance(table.material.elastic, ds.NeoHookean)
    assert table.material.elastic.lame == pytest.approx((1e3, 1e3))
    assert task.sim.control_dt == pytest.approx(1.0 / 60.0)
    assert (task.action_dim, task.observation_dim) == (222, 8 + 1 + 3 + 3 + 204 * 6)


def test_muscles_are_compact_and_of_one_size(jumper):
    points = jumper.sim.scene.soft_bodies[0].rest_particles
    groups = compact_groups(points, 16)
    assert sorted(number for group in groups for number in group) == list(range(len(points)))
    assert {len(group) for group in groups} <= {len(points) // 16, len(points) // 16 + 1}
    assert max(np.ptp(points[list(group)], axis=0).max() for group in groups) < 1.8


def test_episodes_start_aside_and_strained(jumper):
    state = jumper.reset(0).state
    size = state.F[:, 0, 0, 0]
    assert 0.9 <= float(size.min()) < 0.93
    assert 1.07 < float(size.max()) <= 1.1
    shift = state.x.mean(dim=1) / size[:, None] - jumper.sim.reset().x.mean(dim=1)
    assert float(shift[:, :2].abs().max()) <= 0.8
    assert float(shift[:, 2].min()) >= -1e-5
    assert float(shift[:, 2].max()) <= 0.4 + 1e-5
    wide = state.x.amax(dim=1) - state.x.amin(dim=1)
    torch.testing.assert_close(wide, size[:, None] * wide.new_tensor(np.ptp(jumper.sim.reset().x[0].numpy(), axis=0)))


def test_the_reward_and_success(jumper):
    episode, rest = jumper.reset(0), jumper.sim.reset()
    after = rest.replace(x=rest.x + torch.tensor([0.0, 0.0, 0.5]), v=rest.v + torch.tensor([2.0, 1.0, 1.0]))
    action = torch.full((64, 16), 0.5)
    reward = jumper.reward(Transition(rest, action, after, episode.replace(state=after)))
    torch.testing.assert_close(reward, torch.full((64,), 2.0 + 3.0 * 0.5 - 1e-3 * 16 * 0.25))
    assert not jumper.success(episode).any()
    ahead = torch.linspace(3.0, 5.0, 64)
    moved = episode.state.x + torch.stack([ahead, 0.0 * ahead, 0.0 * ahead], dim=1)[:, None]
    assert torch.equal(jumper.success(episode.replace(state=episode.state.replace(x=moved))), ahead > 4.0)
