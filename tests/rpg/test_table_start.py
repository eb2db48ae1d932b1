"""Where an open-loop table starts from."""

import pytest
import torch

from rpg.algorithms.rpg import RPG, RPGConfig
from rpg.environments.wall import PointMassWall
from rpg.models.action_policy import OpenLoopTable, knot_weights


def table(**options):
    return OpenLoopTable(400, 21, 2, generator=torch.Generator().manual_seed(0), **options).table.detach()


def test_knots_are_met_and_joined_by_straight_lines():
    weights = knot_weights(5, 21)
    assert weights.shape == (21, 5)
    torch.testing.assert_close(weights.sum(1), torch.ones(21))
    torch.testing.assert_close(weights[::5], torch.eye(5))
    values = weights @ torch.tensor([0.0, 1.0, -1.0, 2.0, 2.0])
    assert values[[0, 1, 5, 6, 10, 20]].tolist() == pytest.approx([0.0, 0.2, 1.0, 0.6, -1.0, 2.0])
    assert knot_weights(1, 4).tolist() == [[1.0]] * 4
    assert knot_weights(9, 4).shape == (4, 4)
    torch.testing.assert_close(knot_weights(None, 7), torch.eye(7))


def test_a_smooth_start_moves_a_body_farther_than_one_drawn_anew_in_each_step():
    smooth, rough = table(scale=0.5, knots=5), table(scale=0.5)
    for knot in (0, 5, 20):
        assert float(smooth[:, knot].std()) == pytest.approx(0.5, rel=0.1)
    assert float(rough.std()) == pytest.approx(0.5, rel=0.05)
    assert float(smooth.sum(1).std()) > 1.5 * float(rough.sum(1).std())


def test_the_settings_reach_the_table():
    env = PointMassWall(num_envs=4, horizon=10)
    like = env.observe(env.reset(0))
    wide = RPG(env, RPGConfig(start_knots=2), like).policy.table.detach()
    narrow = RPG(env, RPGConfig(start_spread=0.01), like).policy.table.detach()
    assert float(narrow.abs().max()) < 0.05
    assert float(wide.std()) > 0.5
    torch.testing.assert_close(wide.diff(n=2, dim=1), torch.zeros_like(wide[:, 2:]), atol=1e-6, rtol=0.0)
    for bad in ({"start_spread": 0.0}, {"start_knots": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            RPGConfig(**bad)
