"""The soft actor-critic: an update by hand, a problem whose soft values are known, ends and time limits, and Gymnasium."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

import rpg
from rpg.algorithms import build_algorithm
from rpg.algorithms.sac import SACConfig
from rpg.environments.wall import PointMassWall
from rpg.models.stacked_network import StackedNetwork
from rpg.protocol import Box, EnvironmentSpec, Step, check_environment
from rpg.settings_checks import SettingError
from rpg.training.trainer import Trainer
from tests.rpg.resuming import whole_and_resumed

SMALL = SACConfig(hidden=(8,), batch_size=16, random_steps=48, seed=1, iterations=4)


def test_stacked_networks_are_so_many_networks():
    stacked = StackedNetwork(2, (3, 5, 4, 1), generator=torch.Generator().manual_seed(0))
    data = torch.randn(7, 3, requires_grad=True)
    out = stacked(data)
    for n in range(2):
        hidden = data
        for layer, (weight, bias) in enumerate(stacked.layers()):
            hidden = functional.linear(hidden.relu() if layer else hidden, weight[n].t(), bias[n, 0])
        torch.testing.assert_close(out[n], hidden)
    assert all(float(w.detach().abs().max()) <= 1 / math.sqrt(w.shape[1]) for w, _ in stacked.layers())
    frozen = stacked(data, frozen=True)
    assert torch.equal(frozen, out)
    frozen.sum().backward()
    assert data.grad is not None
    assert all(p.grad is None for p in stacked.parameters())
    torch.testing.assert_close(stacked(data, count=1), out[:1])


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "silu"])
def test_a_stack_of_one_is_a_network(activation):
    single = StackedNetwork(1, (3, 5, 4, 2), generator=torch.Generator().manual_seed(0), activation=activation)
    data = torch.randn(7, 3)
    hidden = data
    for layer, (weight, bias) in enumerate(single.layers()):
        hidden = functional.linear(getattr(functional, activation)(hidden) if layer else hidden, weight[0].t(), bias[0, 0])
    torch.testing.assert_close(single.alone(data), hidden)
    torch.testing.assert_close(single(data)[0], hidden)
    ours, theirs = (
        torch.autograd.grad(each.square().sum(), list(single.parameters())) for each in (single.alone(data), hidden)
    )
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_an_update_is_the_one_on_paper():
    """The same step with plain torch: each loss differentiated on its own, Adam's first step is lr sign(gradient)."""
    env = PointMassWall(num_envs=8, horizon=6, dtype=torch.float64)
    algorithm = build_algorithm(env, replace(SMALL, discount=0.9, target_rate=0.25, learning_rate=0.01), check_environment(env))
    algorithm.iterate(0)  # random actions alone: one update was made after the last
    old = {name: copy.deepcopy(module) for name, module in algorithm.modules.items()}
    for name in ("policy", "critics"):  # so that the next step is Adam's first
        algorithm.optimizers[name].state.clear()
    algorithm._alpha_optimizer.state.clear()
    algorithm.log_alpha.fill_(-0.5)
    generator = algorithm.generator.get_state()
    terms = algorithm.update(1)

    algorithm.generator.set_state(generator)
    batch = algorithm.buffer.sample(16, algorithm.generator)
    noise = torch.randn(2, 16, 2, generator=algorithm.generator).double()
    now = torch.cat([batch.observation, (2 * batch.age / 6 - 1).unsqueeze(1)], 1)
    after = torch.cat([batch.next_observation, (2 * (batch.age + 1) / 6 - 1).unsqueeze(1)], 1)

    def drawn(data, noise):
        mean, log_std = old["policy"].network(data)[0].chunk(2, -1)
        u = mean + log_std.exp() * noise
        log_prob = torch.distributions.Normal(mean, log_std.exp()).log_prob(u) - (1 - u.tanh() ** 2).log()
        return u.tanh(), log_prob.sum(-1)

    alpha = math.exp(-0.5)
    with torch.no_grad():
        action, log_prob = drawn(after, noise[1])
        value = old["target critics"](torch.cat([after, action], 1)).squeeze(-1).min(0).values - alpha * log_prob
        target = batch.reward + 0.9 * (1 - batch.terminated.double()) * value
    assert bool(batch.terminated.any())
    q = old["critics"](torch.cat([now, batch.action], 1)).squeeze(-1)
    critic_loss = 0.5 * sum(functional.mse_loss(each, target) for each in q)
    assert terms["critic_loss"] == pytest.approx(float(critic_loss.detach()))
    critic_gradients = torch.autograd.grad(critic_loss, list(old["critics"].parameters()))
    for new, before, gradient, target_new, target_old in zip(
        algorithm.critics.parameters(),
        old["critics"].parameters(),
        critic_gradients,
        algorithm.target_critics.parameters(),
        old["target critics"].parameters(),
        strict=True,
    ):
        expected = before.detach() - 0.01 * gradient / (gradient.abs() + 1e-8)
        torch.testing.assert_close(new.detach(), expected)
        torch.testing.assert_close(target_new, 0.75 * target_old + 0.25 * expected)

    action, log_prob = drawn(now, noise[0])
    worth = algorithm.critics(torch.cat([now, action], 1)).squeeze(-1).min(0).values
    actor_loss = (alpha * log_prob - worth).mean()
    assert terms["objective"] == pytest.approx(-float(actor_loss.detach()))
    for new, before, gradient in zip(
        algorithm.policy.parameters(),
        old["policy"].parameters(),
        torch.autograd.grad(actor_loss, list(old["policy"].parameters())),
        strict=True,
    ):
        torch.testing.assert_close(new.detach(), before.detach() - 0.01 * gradient / (gradient.abs() + 1e-8))
    surplus = float(-log_prob.detach().mean()) + 2  # target: -1 for each of 2 dimensions
    assert float(algorithm.log_alpha) == pytest.approx(-0.5 - 0.01 * np.sign(surplus))


class Choice:
    """Pull a lever a and earn -(a - 0.3)^2 / 0.02; the episode terminates, or is cut off, after one step."""

    num_envs = 16

    def __init__(self, terminates=True):
        self.terminates = terminates
        self.spec = EnvironmentSpec(Box((1,)), Box((1,), -1.0, 1.0), time_limit=1)

    def reset(self, seed=None, *, state=None, where=None):
        return 0, torch.zeros(16, 1)

    def step(self, state, action):
        ended = torch.ones(16, dtype=torch.bool)
        reward = -(action[:, 0] - 0.3).square() / 0.02
        terminated = ended if self.terminates else ~ended
        return Step(0, torch.zeros(16, 1), reward, terminated, ~terminated)

    def snapshot(self, state):
        return 0

    def restore(self, snapshot):
        return self.reset()


@pytest.mark.slow
@pytest.mark.parametrize("terminates", [True, False])
def test_the_known_soft_optimum_of_one_step(terminates):
    """pi*(a) = exp(r(a) / alpha) / Z is N(0.3, 0.1) at alpha = 1; squashing hardly matters there. If it is cut off, not
    terminated, each step is worth V = log Z + discount V more: Q = r + discount V."""
    env, discount = Choice(terminates), 0.5
    config = SACConfig(
        iterations=1,
        steps=1500,
        alpha=1.0,
        hidden=(32, 32),
        learning_rate=0.003,
        discount=discount,
        random_steps=200,
        batch_size=128,
    )
    algorithm = build_algorithm(env, config, check_environment(env))
    algorithm.iterate(0)
    noise = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        action = algorithm.policy.sampled(torch.zeros(4000, 1), noise).action
        found = algorithm.critics(torch.tensor([[0.0, 0.3], [0.0, 0.2]])).squeeze(-1).mean(0)
    assert float(action.mean()) == pytest.approx(0.3, abs=0.03)
    assert float(action.std()) == pytest.approx(0.1, abs=0.025)
    value = 0.5 * math.log(2 * math.pi * 0.01) / (1 - discount)  # log Z, once or for ever
    expected = 0.0 if terminates else discount * value
    assert float(found[0]) == pytest.approx(expected, abs=0.2)
    assert float(found[1]) == pytest.approx(expected - 0.5, abs=0.3)


def test_observations_are_normalised_and_the_policy_stands_alone():
    class Far(PointMassWall):
        def observe(self, state):
            return 1000 + 50 * super().observe(state)

    env = Far(num_envs=8, horizon=6)
    trainer = Trainer(env, replace(SMALL, normalize_observations=True))
    trainer.train()
    seen = trainer.algorithm.buffer.recent(8 * 6 * 4).observation
    normal = trainer.algorithm.policy.inputs(seen, torch.zeros(len(seen)))
    assert normal.shape == (192, 5)
    assert float(normal[:, :4].mean(0).abs().max()) < 1e-3
    torch.testing.assert_close(normal[:, 1:4].std(0), torch.ones(3), atol=0.05, rtol=0)
    policy, alone = trainer.algorithm.policy, copy.deepcopy(trainer.algorithm.policy)
    latent = torch.zeros(2, dtype=torch.int64)
    assert torch.equal(alone.mean(seen[:2], latent, 3), policy.mean(seen[:2], latent, torch.tensor([3, 3])))
    assert not torch.equal(alone.mean(seen[:2], latent, 3), alone.mean(seen[:2], latent, 4))


def test_settings_that_do_not_fit():
    env = Choice()
    env.spec = replace(env.spec, time_limit=None)
    with pytest.raises(SettingError, match=r"without a time limit; allowed .* time_limit=1000"):
        Trainer(env, SMALL)


def test_gymnasium_run_resumes_bit_for_bit_in_the_middle_of_an_episode(tmp_path):
    pytest.importorskip("gymnasium")
    config = replace(SMALL, steps=30)

    def trainer(folder, resume=False):
        env = rpg.from_gymnasium("Pendulum-v1", 2, time_limit=50)
        return Trainer(env, config, run_dir=tmp_path / folder, resume=resume, checkpoint_interval=1)

    whole, resumed, _ = whole_and_resumed(trainer, stopped_after=1)
    for a, b in zip(resumed.algorithm.policy.parameters(), whole.algorithm.policy.parameters(), strict=True):
        assert torch.equal(a, b)
    for name in ("broken", "whole"):
        assert (tmp_path / name / "replay" / "steps.reward.bin").stat().st_size == 4 * 30 * 2 * 4
    assert (tmp_path / "broken/replay/steps.action.bin").read_bytes() == (
        tmp_path / "whole/replay/steps.action.bin"
    ).read_bytes()


@pytest.mark.slow
def test_pendulum_swings_up():
    pytest.importorskip("gymnasium")
    env = rpg.from_gymnasium("Pendulum-v1", 1)
    config = SACConfig(iterations=25, hidden=(64, 64), learning_rate=0.002, seed=0)
    result = Trainer(env, config).train()
    assert result.history[0].return_mean < -700
    assert np.mean([row.return_mean for row in result.history[-3:]]) > -500
