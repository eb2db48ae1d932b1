"""The diffusion policy: its schedule, a density with two modes that it must recover, actions that climb Q, and resumed runs."""

from dataclasses import replace

import pytest
import torch

from rpg.algorithms import build_algorithm
from rpg.algorithms.diffusion_policy import DiffusionPolicy, DiffusionPolicyConfig, kept_shares
from rpg.environments.wall import PointMassWall
from rpg.models.network_input import NetworkInput
from rpg.protocol import Box, EnvironmentSpec, check_environment
from rpg.settings_checks import SettingError
from rpg.training.trainer import Trainer
from tests.rpg.resuming import whole_and_resumed

SMALL = DiffusionPolicyConfig(hidden=(16,), batch_size=32, random_steps=48, action_steps=5, seed=1, iterations=3)


def policy_of(steps=5, hidden=(32, 32)):
    spec = EnvironmentSpec(Box((1,)), Box((1,), -1.0, 1.0), time_limit=1)
    inputs = NetworkInput(spec, normalize=False)
    return DiffusionPolicy(inputs, hidden, 1, steps, generator=torch.Generator().manual_seed(0))


def test_the_schedule_ends_in_noise_alone():
    kept = kept_shares(5)
    assert kept[0] == 1.0
    assert kept[-1] == 0.0
    assert bool((kept.diff() < 0).all())
    share = 0.6467  # cos^2(pi/2 (k/5 + s)/(1 + s)) over that of k = 0, by hand for k = 2
    assert float(kept[2]) == pytest.approx(share / (share + (1 - share) / 9), abs=1e-3)


def test_a_perfect_guess_is_drawn_from_any_noise():
    """If the network knows the action, every z leads to it; and z = 0 and z stay in the bounds whatever it says."""
    policy = policy_of()
    policy.guessed = lambda data, noisy, number: torch.full_like(noisy, 0.3)
    z = torch.linspace(-3, 3, 7).unsqueeze(1)
    torch.testing.assert_close(policy.drawn(torch.zeros(7, 1), z), torch.full((7, 1), 0.3))
    policy.guessed = lambda data, noisy, number: torch.full_like(noisy, 9.0)
    assert torch.equal(policy.drawn(torch.zeros(7, 1), z), torch.ones(7, 1))
    assert bool(policy.mean(torch.zeros(7, 1), z, 0).isfinite().all())


def test_two_modes_are_recovered_with_their_masses_and_means():
    """0.3 N(-0.6, 0.1) + 0.7 N(0.5, 0.1) where s = 1, and the mirror image where s = -1."""
    generator = torch.Generator().manual_seed(0)
    policy = policy_of(hidden=(64, 64))
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.005)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 2500)
    for _ in range(2500):
        side = 2 * torch.randint(2, (256, 1), generator=generator) - 1.0
        left = torch.rand(256, 1, generator=generator) < 0.3
        action = side * (torch.where(left, -0.6, 0.5) + 0.1 * torch.randn(256, 1, generator=generator))
        number = torch.randint(1, 6, (256,), generator=generator)
        loss = policy.loss(side, action, number, torch.randn(256, 1, generator=generator))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rates.step()
    z = torch.randn(4000, 1, generator=generator)
    for sign in (1.0, -1.0):
        with torch.no_grad():
            drawn = sign * policy.drawn(torch.full((4000, 1), sign), z)
        left = drawn < 0
        assert float(left.double().mean()) == pytest.approx(0.3, abs=0.08)  # the sampler's own error is 0.04
        assert float(drawn[left].mean()) == pytest.approx(-0.6, abs=0.15)
        assert float(drawn[~left].mean()) == pytest.approx(0.5, abs=0.15)
        assert float(((drawn > -0.25) & (drawn < 0.15)).double().mean()) < 0.12  # a Gaussian has a third there


def algorithm_of(config=SMALL):
    env = PointMassWall(num_envs=8, horizon=6)
    algorithm = build_algorithm(env, config, check_environment(env))
    algorithm.iterate(0)
    return algorithm


def test_actions_climb_q_to_the_summit_next_to_them():
    algorithm = algorithm_of(replace(SMALL, action_steps=40))

    class TwoSummits(torch.nn.Module):
        """Q_1 = -(a_1^2 - 0.25)^2 - a_2^2, and Q_2 a little more."""

        def forward(self, rows, frozen=False):
            first, second = rows[:, -2], rows[:, -1]
            worth = -(first.square() - 0.25).square() - second.square()
            return torch.stack([worth, worth + 0.1]).unsqueeze(-1)

    action = 2 * torch.rand(200, 2, generator=torch.Generator().manual_seed(0)) - 1
    critics, algorithm.critics = algorithm.critics, TwoSummits()
    moved = algorithm.improved(torch.zeros(200, 5), action)
    assert bool((moved.abs() <= 1).all())
    far = action[:, 0].abs() > 0.05
    assert torch.equal(moved[far, 0].sign(), action[far, 0].sign())
    summit = torch.stack([0.5 * action[:, 0].sign(), torch.zeros(200)], dim=1)
    assert float((moved - summit)[far].norm(dim=1).mean()) < 0.1
    # and with the networks: the mean worth rises, the batch's actions stay as they are
    algorithm.critics = critics
    data, before = torch.randn(64, 5, generator=torch.Generator().manual_seed(1)), action[:64].clone()
    moved = algorithm.improved(data, action[:64])
    assert torch.equal(action[:64], before)
    with torch.no_grad():
        old, new = (critics(torch.cat([data, each], 1)).squeeze(-1).amin(0) for each in (before, moved))
    assert float((new - old).mean()) > 0.0
    assert all(parameter.grad is None or bool(parameter.grad.isfinite().all()) for parameter in critics.parameters())
    assert torch.equal(algorithm_of(replace(SMALL, action_steps=0)).improved(data, before), before)


def test_environments_explore_with_different_noise_and_z_decides_the_action():
    algorithm = algorithm_of()
    stds = algorithm._exploration.squeeze(1)
    assert float(stds[0]) == pytest.approx(0.05)
    assert float(stds[-1]) == pytest.approx(0.6)
    latents, probs = algorithm.candidates()
    assert latents.shape == (1, 16, 2)
    assert float(probs.sum()) == pytest.approx(1.0)
    seen = torch.zeros(16, 4)
    actions = torch.tanh(algorithm.policy.mean(seen, latents[0], 0))
    assert float(actions.std(0).min().detach()) > 1e-3
    torch.testing.assert_close(algorithm.policy(seen, 0 * latents[0], 0, 1.0, latents[0]).action, actions)


def test_a_resumed_run_is_the_same_bit_for_bit(tmp_path):
    def trainer(folder, resume=False):
        env = PointMassWall(num_envs=8, horizon=6)
        return Trainer(env, SMALL, run_dir=tmp_path / folder, resume=resume, checkpoint_interval=1)

    whole, resumed, _ = whole_and_resumed(trainer, stopped_after=1)
    for a, b in zip(resumed.algorithm.policy.parameters(), whole.algorithm.policy.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"denoising_steps": 0}, ("denoising_steps", "0", ">= 1")),
        ({"action_steps": -1}, ("action_steps", "-1", ">= 0")),
        ({"action_rate": 0.0}, ("action_rate", "0.0", "> 0")),
        ({"exploration_low": -0.1}, ("exploration_low", "-0.1", ">= 0")),
        ({"exploration_high": 0.01}, ("exploration_high", "0.01", "exploration_low, here 0.05")),
        ({"candidates": 0}, ("candidates", "0", ">= 1")),
    ],
)
def test_settings_that_cannot_be(settings, words):
    with pytest.raises(ValueError, match=words[0]) as error:
        DiffusionPolicyConfig(**settings)
    assert all(word in str(error.value) for word in words), error.value


def test_the_error_is_that_of_settings():
    with pytest.raises(SettingError):
        DiffusionPolicyConfig(exploration_low=0.0, exploration_high=0.0)
