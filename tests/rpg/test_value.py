"""Values: TD(lambda) targets against explicit sums and the published loop; running scales that leave values as they are."""

import copy
from itertools import pairwise

import pytest
import torch

from rpg.models.latent import LatentSpace
from rpg.models.network import NetworkForm, dense_network
from rpg.models.value import ValueEnsemble, ValueFunction, td_lambda_targets

NORMED = NetworkForm("elu", layer_norm=True, gain=2.0**0.5)


def window(ends: bool):
    """Rewards, values and ends of a window, (6, 3)."""
    generator = torch.Generator().manual_seed(0)
    rewards, values = torch.randn(2, 6, 3, generator=generator, dtype=torch.float64).unbind(0)
    ended = torch.zeros(6, 3, dtype=torch.bool)
    if ends:
        ended[2, 0] = ended[0, 1] = ended[4, 1] = ended[5, 1] = True
    return rewards, values, ended


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize(("discount", "trace"), [(0.9, 0.7), (1.0, 1.0), (0.95, 0.0)])
def test_td_lambda_targets_are_the_weighted_n_step_returns(discount, trace, ends):
    rewards, values, ended = window(ends)
    targets = td_lambda_targets(rewards, values, discount=discount, trace=trace, ended=ended if ends else None)
    for b in range(3):
        for t in range(6):
            left = 1 + next((n for n in range(6 - t) if ended[t + n, b]), 5 - t)  # steps to the end of the episode or window
            expected, returns = 0.0, 0.0
            for n in range(1, left + 1):  # the n-step return, and its weight
                returns = returns + discount ** (n - 1) * rewards[t + n - 1, b]
                weight = (1 - trace) * trace ** (n - 1) if n < left else trace ** (n - 1)
                expected = expected + weight * (returns + discount**n * values[t + n - 1, b])
            torch.testing.assert_close(targets[t, b], expected)


def test_td_lambda_targets_are_those_of_the_published_loop():
    """A, B and l of the official code, with d = 1 at ends and at the window's last step."""
    rewards, values, ended = window(ends=True)
    discount, trace = 0.99, 0.95
    over = ended.double()
    over[-1] = 1.0
    a, b, weight = torch.zeros(3).double(), torch.zeros(3).double(), torch.ones(3).double()
    expected = []
    for r, v, d in zip(rewards.flip(0), values.flip(0), over.flip(0), strict=True):
        weight = weight * trace * (1 - d) + d
        a = (1 - d) * (trace * discount * a + discount * v + (1 - weight) / (1 - trace) * r)
        b = discount * (v * d + b * (1 - d)) + r
        expected.append((1 - trace) * a + weight * b)
    targets = td_lambda_targets(rewards, values, discount=discount, trace=trace, ended=ended)
    torch.testing.assert_close(targets, torch.stack(expected[::-1]))


@pytest.mark.parametrize("form", [NetworkForm(), NORMED])
def test_new_scales_leave_values_as_they_are(form):
    generator = torch.Generator().manual_seed(0)
    value = ValueFunction(LatentSpace(True, 1), 5, 3, hidden=(8, 8), generator=generator, last_scale=1.0, form=form).double()
    sizes = torch.tensor([1.0, 1e-3, 50.0], dtype=torch.float64)
    seen = sizes * torch.randn(5, 9, 3, generator=generator).double()
    z = torch.zeros(9, dtype=torch.int64)
    value.observe(seen, torch.zeros(5, 9).double(), keep_outputs=True)
    inputs, before = value.rows(seen[0], z, 0), value(seen[0], z, 0)
    moved = 2.0 * sizes + 3.0 * sizes * torch.randn(20, 9, 3, generator=generator).double()
    value.observe(moved, 30 + 4 * torch.randn(5, 9, generator=generator).double(), keep_outputs=True)
    assert (value.rows(seen[0], z, 0) - inputs).abs().max() > 0.5  # both scales did move
    assert float(value.spread) > 3
    torch.testing.assert_close(value(seen[0], z, 0), before)
    rows = torch.cat([value.rows(o, z, t) for t, o in enumerate(seen)])
    targets = torch.randn(5, 9, generator=generator).double()
    torch.testing.assert_close(value.row_loss(rows, targets.flatten()), value.loss(seen, [z] * 5, targets))


def test_a_feature_that_begins_to_vary_does_not_blow_up():
    """A constant has next to no scale. What follows is clamped before and after, and the weights stay of their order."""
    generator = torch.Generator().manual_seed(0)
    value = ValueFunction(LatentSpace(True, 1), 5, 2, hidden=(8,), generator=generator)
    z = torch.zeros(9, dtype=torch.int64)
    seen = torch.randn(5, 9, 2, generator=generator)
    seen[..., 1] = 0
    value.observe(seen, torch.zeros(5, 9), keep_outputs=True)
    before = value(seen[0], z, 0)
    seen[..., 1] = torch.randn(5, 9, generator=generator)
    weights = value.network[0].weight.abs().max()
    value.observe(seen, None, keep_outputs=True)
    assert value.network[0].weight.abs().max() <= 10 * weights
    assert (value(seen[0], z, 0) - before).abs().max() < 20


def test_a_target_follows():
    generator = torch.Generator().manual_seed(0)
    value = ValueEnsemble(2, 5, 2, hidden=(8,), generator=generator)
    target = copy.deepcopy(value)
    start = [p.detach().clone() for p in target.parameters()]
    with torch.no_grad():
        for parameter in value.parameters():
            parameter.add_(1.0)
    target.follow(value, 0.25)
    for old, new in zip(start, target.parameters(), strict=True):
        torch.testing.assert_close(new.detach(), old + 0.25)


@pytest.mark.parametrize("timed", [True, False])
def test_an_ensemble_is_its_members_side_by_side(timed):
    generator = torch.Generator().manual_seed(0)
    value = ValueEnsemble(2, 5, 2, hidden=(8,), generator=generator, form=NORMED, timed=timed)
    seen = torch.randn(3, 4, 2, generator=generator, requires_grad=True)
    values = value.frozen(seen, 2)
    assert values.shape == (2, 3, 4)
    z = torch.zeros(4, dtype=torch.int64)
    for critic, of_critic in zip(value.members, values, strict=True):
        for step, (observation, got) in enumerate(zip(seen, of_critic, strict=True)):
            torch.testing.assert_close(got, critic(observation, z, 2 + step if timed else 0))
    assert not torch.allclose(values[0], values[1])
    values.sum().backward()
    assert seen.grad.abs().min() > 0
    assert all(p.grad is None for p in value.parameters())


def test_networks_have_the_form_asked_for():
    generator = torch.Generator().manual_seed(0)
    network = dense_network((6, 16, 8, 1), generator=generator, form=NORMED)
    kinds = [type(layer).__name__ for layer in network]
    assert kinds == ["Linear", "LayerNorm", "ELU", "Linear", "LayerNorm", "ELU", "Linear"]
    for layer, (fan_in, fan_out) in zip(list(network)[::3], pairwise((6, 16, 8, 1)), strict=True):
        weight = layer.weight.detach() if fan_out < fan_in else layer.weight.detach().T
        torch.testing.assert_close(weight @ weight.T, 2 * torch.eye(len(weight)), atol=1e-5, rtol=1e-5)
        assert not layer.bias.any()
    kinds = [type(layer).__name__ for layer in dense_network((6, 16, 1), generator=generator)]
    assert kinds == ["Linear", "SiLU", "Linear"]
