"""Soft Q-learning: Stein's direction on known densities, V against quadrature, an update by hand, and its two worlds."""

import copy
import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch.nn import functional

from rpg import SoftQLearningConfig, Trainer
from rpg.algorithms import build_algorithm
from rpg.algorithms.soft_q_learning import SoftQLearning, soft_value
from rpg.environments.four_goals import FourGoals
from rpg.environments.hallway import LENGTH, Hallway
from rpg.environments.wall import PointMassWall
from rpg.models.stein import median_bandwidth, rbf_kernel, stein_direction
from rpg.protocol import Box, EnvironmentSpec, Step, check_environment
from rpg.training.modes import distinct_modes
from tests.rpg.resuming import whole_and_resumed

SMALL = SoftQLearningConfig(
    hidden=(8,), batch_size=16, random_steps=48, value_samples=5, particles=3, target_interval=2, seed=1, iterations=4
)


# Stein's direction ------------------------------------------------------------------------------------------------


def test_the_kernel_and_its_slope():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(2, n, 3, generator=generator, dtype=torch.float64, requires_grad=True) for n in (4, 5))
    kernel, slope = rbf_kernel(x, y)
    for n in range(2):
        squares = torch.cdist(x[n], y[n]).square()
        h = squares.flatten().detach().median() / math.log(5)
        torch.testing.assert_close(kernel[n], torch.exp(-squares / h))
    for k, m in ((0, 0), (3, 4), (1, 2)):
        (expected,) = torch.autograd.grad(kernel[1, k, m], x, retain_graph=True)  # the bandwidth is held
        torch.testing.assert_close(slope[1, k, m], expected[1, k])
    assert float(median_bandwidth(torch.zeros(3, 3))) == pytest.approx(1e-3)  # particles in one place


def test_the_direction_lowers_the_divergence_fastest():
    """Its product with any displacement of the particles is that with the gradient of sum_km [kappa s - div kappa] / K^2: the
    formula, in loops; and the divergence of a Gaussian from the target falls along it."""
    generator = torch.Generator().manual_seed(0)
    x, s, y = (torch.randn(n, 2, generator=generator, dtype=torch.float64) for n in (4, 4, 3))
    h = torch.tensor([[0.7]], dtype=torch.float64)
    found = stein_direction(x, s, y, h)
    for m in range(3):
        total = torch.zeros(2, dtype=torch.float64)
        for k in range(4):
            kappa = math.exp(-float((x[k] - y[m]).square().sum()) / 0.7)
            total += kappa * s[k] - 2 / 0.7 * kappa * (x[k] - y[m])
        torch.testing.assert_close(found[m], total / 4)

    particles = torch.linspace(-2, 2, 101, dtype=torch.float64).unsqueeze(1)  # against N(1, 0.5)

    def divergence(particles):
        """Of the normal distribution with their mean and std."""
        mean, std = particles.mean(), particles.std()
        return float((0.5 / std).log() + (std**2 + (mean - 1) ** 2) / 0.5 - 0.5)

    values = [divergence(particles)]
    for _ in range(40):
        particles = particles + 0.1 * stein_direction(particles, (1 - particles) / 0.25, particles)
        values.append(divergence(particles))
    assert all(b < a + 1e-9 for a, b in pairwise(values))
    assert values[-1] < 0.1 * values[0]


MASSES, MEANS = (0.7, 0.3), (-1.2, 1.6)
SPAN = 2.5


def log_two_modes(x, std):
    """(...) log density of the mixture."""
    each = [math.log(w) - 0.5 * ((x - m) / std).square() for w, m in zip(MASSES, MEANS, strict=True)]
    return torch.logsumexp(torch.stack(each), 0) - math.log(std * math.sqrt(2 * math.pi))


def test_particles_recover_masses_and_means_of_two_modes():
    """From a start with 0.56 of them on the left. Modes further apart would keep the masses of the start."""
    x = torch.linspace(-2.5, 2.5, 100, dtype=torch.float64).unsqueeze(1)
    for _ in range(1200):
        u = x.clone().requires_grad_()
        (scores,) = torch.autograd.grad(log_two_modes(u, 0.6).sum(), u)
        x = x + 0.3 * stein_direction(x, scores, x)
    left = x[:, 0] < 0.3
    assert float(left.double().mean()) == pytest.approx(MASSES[0], abs=0.03)
    assert float(x[left].mean()) == pytest.approx(MEANS[0], abs=0.05)
    assert float(x[~left].mean()) == pytest.approx(MEANS[1], abs=0.05)


# Values -----------------------------------------------------------------------------------------------------------


class Lever:
    """Pull a lever a in [-1, 1] and earn log p(2.5 a) of two modes; the episode terminates after one step."""

    num_envs = 16
    spec = EnvironmentSpec(Box((1,)), Box((1,), -1.0, 1.0), time_limit=1)

    def reset(self, seed=None, *, state=None, where=None):
        return 0, torch.zeros(16, 1)

    def step(self, state, action):
        ended = torch.ones(16, dtype=torch.bool)
        return Step(0, torch.zeros(16, 1), log_two_modes(SPAN * action[:, 0], 0.4), ended, ~ended)

    def snapshot(self, state):
        return 0

    def restore(self, snapshot):
        return self.reset()


def built(env, config) -> SoftQLearning:
    algorithm = build_algorithm(env, config, check_environment(env))
    assert isinstance(algorithm, SoftQLearning)
    return algorithm


@pytest.mark.parametrize("proposals", ["uniform", "sampler"])
@pytest.mark.parametrize("critics", [1, 2])
def test_v_is_the_integral(proposals, critics):
    config = replace(SMALL, value_samples=1000, proposals=proposals, alpha=0.5, hidden=(16, 16), critics=critics)
    algorithm = built(Lever(), config)
    for parameter in algorithm.critics.parameters():
        parameter.data *= 2  # so that Q is far from constant
    data = torch.linspace(-3, 3, 4).unsqueeze(1)
    found = algorithm.state_values(algorithm.critics, data.repeat(8, 1)).view(8, 4).mean(0)
    actions = torch.linspace(-1, 1, 4001).view(1, -1, 1).expand(4, -1, -1)
    with torch.no_grad():
        values = algorithm.values(algorithm.critics, data, actions)
    assert float(values.std(1).max()) > 0.1
    weights = torch.trapezoid(torch.exp(values / 0.5), actions[..., 0])
    torch.testing.assert_close(found, 0.5 * weights.log(), atol=0.03, rtol=0)


def test_the_soft_value_of_a_constant_is_exact():
    values = torch.full((3, 7), 2.0)
    torch.testing.assert_close(
        soft_value(values, torch.full_like(values, -math.log(2)), 0.5), torch.full((3,), 2 + 0.5 * math.log(2))
    )


def test_scores_are_those_of_the_density_before_squashing():
    algorithm = built(PointMassWall(num_envs=8, horizon=6, dtype=torch.float64), replace(SMALL, alpha=0.2))
    generator = torch.Generator().manual_seed(0)
    data, u = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((4, 5), (4, 3, 2)))
    scores = algorithm.scores(data, u)

    def log_density(u):
        with torch.no_grad():
            return algorithm.values(algorithm.critics, data, u.tanh()) / 0.2 + (1 - u.tanh() ** 2).log().sum(-1)

    for d in range(2):
        step = torch.zeros(2, dtype=torch.float64)
        step[d] = 1e-6
        torch.testing.assert_close(scores[..., d], (log_density(u + step) - log_density(u - step)) / 2e-6, atol=1e-5, rtol=1e-4)


# The algorithm ----------------------------------------------------------------------------------------------------


def test_an_update_is_the_one_on_paper():
    """The same step with plain torch; Adam's first step is lr sign(gradient)."""
    env = PointMassWall(num_envs=8, horizon=6, dtype=torch.float64)
    config = replace(SMALL, discount=0.9, learning_rate=0.01, policy_learning_rate=0.02, alpha=0.3, reward_scale=2.0)
    algorithm = built(env, config)
    algorithm.iterate(0)  # random actions alone: one update was made after the last
    old = {name: copy.deepcopy(module) for name, module in algorithm.modules.items()}
    for optimizer in algorithm.optimizers.values():
        optimizer.state.clear()
    generator = algorithm.generator.get_state()
    terms = algorithm.update(1)

    algorithm.generator.set_state(generator)
    batch: Any = algorithm.buffer.sample(16, algorithm.generator)
    tried = 2 * torch.rand(16, 5, 2, generator=algorithm.generator).double() - 1
    noise = torch.randn(16, 6, 2, generator=algorithm.generator).double()
    now = torch.cat([batch.observation, (2 * batch.age / 6 - 1).unsqueeze(1)], 1)
    after = torch.cat([batch.next_observation, (2 * (batch.age + 1) / 6 - 1).unsqueeze(1)], 1)

    def q(network, data, action):
        return network(torch.cat([data, action], 1)).squeeze(-1)[0]

    with torch.no_grad():
        each = torch.stack([q(old["target critics"], after, tried[:, m]) for m in range(5)], 1)
        value = 0.3 * ((each / 0.3).exp().mean(1) * 4).log()  # the square of actions has area 4
        target = 2 * batch.reward + 0.9 * (1 - batch.terminated.double()) * value
    assert bool(batch.terminated.any())
    critic_loss = 0.5 * functional.mse_loss(q(old["critics"], now, batch.action), target)
    assert terms["critic_loss"] == pytest.approx(float(critic_loss.detach()))
    gradients = torch.autograd.grad(critic_loss, list(old["critics"].parameters()))
    for new, before, gradient in zip(algorithm.critics.parameters(), old["critics"].parameters(), gradients, strict=True):
        torch.testing.assert_close(new.detach(), before.detach() - 0.01 * gradient / (gradient.abs() + 1e-8))

    rows = torch.cat([now.unsqueeze(1).expand(-1, 6, -1), noise], 2)
    u = old["policy"].network(rows.flatten(0, 1))[0].view(16, 6, 2)
    loss = torch.zeros((), dtype=torch.float64)
    for n in range(16):
        given = u[n, 3:].detach().requires_grad_()
        log_p = q(algorithm.critics, now[n].expand(3, -1), given.tanh()) / 0.3 + (1 - given.tanh() ** 2).log().sum(1)
        (scores,) = torch.autograd.grad(log_p.sum(), given)
        loss = loss - (stein_direction(given.detach(), scores, u[n, :3].detach()) * u[n, :3]).sum() / (16 * 3)
    gradients = torch.autograd.grad(loss, list(old["policy"].network.parameters()))
    for new, before, gradient in zip(algorithm.policy.parameters(), old["policy"].parameters(), gradients, strict=True):
        torch.testing.assert_close(new.detach(), before.detach() - 0.02 * gradient / (gradient.abs() + 1e-8))
    # this was the second update, after which the target is copied
    for new, target_new in zip(algorithm.critics.parameters(), algorithm.target_critics.parameters(), strict=True):
        assert torch.equal(new, target_new)


@pytest.mark.slow
def test_the_known_soft_optimum_of_one_step():
    """pi*(a) is the two modes themselves, squashed into [-1, 1]; Q is the reward and V the log of its integral."""
    config = SoftQLearningConfig(
        iterations=1, steps=900, hidden=(64, 64), random_steps=200, learning_rate=0.003, policy_learning_rate=0.003, alpha=1.0
    )
    algorithm = built(Lever(), config)
    algorithm.iterate(0)
    noise = torch.randn(1, 4000, 1, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        x = SPAN * algorithm.policy.drawn(torch.zeros(1, 1), noise).tanh().flatten()
        worth = algorithm.critics(torch.tensor([[0.0, MEANS[0] / SPAN], [0.0, MEANS[1] / SPAN]])).flatten()
    left = x < 0.3
    assert float(left.double().mean()) == pytest.approx(MASSES[0], abs=0.15)
    assert float(x[left].mean()) == pytest.approx(MEANS[0], abs=0.2)
    assert float(x[~left].mean()) == pytest.approx(MEANS[1], abs=0.2)
    torch.testing.assert_close(worth, log_two_modes(torch.tensor(MEANS), 0.4), atol=0.35, rtol=0)
    found = float(algorithm.state_values(algorithm.critics, torch.zeros(50, 1)).mean())
    assert found == pytest.approx(-math.log(SPAN), abs=0.25)  # the density hardly reaches beyond


def test_runs_resume_bit_for_bit(tmp_path):
    def trainer(folder, resume=False):
        config = replace(SMALL, steps=15)
        return Trainer(FourGoals(4, time_limit=7), config, run_dir=tmp_path / folder, resume=resume, checkpoint_interval=1)

    whole, resumed, _ = whole_and_resumed(trainer, stopped_after=1)
    for name in ("policy", "critics", "target critics"):
        for a, b in zip(resumed.algorithm.modules[name].parameters(), whole.algorithm.modules[name].parameters(), strict=True):
            assert torch.equal(a, b)


def test_settings_that_do_not_fit():
    for name, value, allowed in (
        ("alpha", 0.0, "finite numbers > 0"),
        ("reward_scale", -1.0, "finite numbers > 0"),
        ("critics", 0, "whole numbers >= 1"),
        ("value_samples", 1, "whole numbers >= 2"),
        ("particles", 1, "whole numbers >= 2"),
        ("target_interval", 0, "whole numbers >= 1"),
        ("proposals", "normal", "'uniform', 'sampler'"),
    ):
        with pytest.raises(ValueError, match=f"{name} was given .*; allowed are {allowed}"):
            replace(SMALL, **{name: value})


# The worlds -------------------------------------------------------------------------------------------------------


def test_four_goals_by_hand():
    env = FourGoals(3)
    check_environment(env)
    state, start = env.reset(5)
    assert torch.equal(start, env.reset(5)[1])
    assert not torch.equal(start, env.reset(6)[1])
    assert float(start.abs().max()) < 0.5
    at = torch.tensor([[4.3, 0.0], [1.0, 1.0], [6.9, 6.9]])
    step = env.step(state._replace(position=at), torch.tensor([[0.5, 0.0], [-1.0, 0.5], [2.0, 1.0]]))
    nearest = torch.tensor([0.2**2, 3.5**2, 2.0**2 + 7.0**2])
    effort = 30 * torch.tensor([0.25, 1.25, 2.0])
    torch.testing.assert_close(step.reward, torch.tensor([10.0, 0.0, 0.0]) - effort - nearest)
    assert step.terminated.tolist() == [True, False, False]
    assert step.info["outcome"].tolist()[:2] == [0, 1]
    torch.testing.assert_close(
        env.step(state, torch.zeros(3, 2)).reward * 0.5, FourGoals(3, reward_scale=0.5).step(state, torch.zeros(3, 2)).reward
    )
    # a reset of one environment leaves the others where they are, and what it draws does not depend on them
    again, seen = env.reset(state=step.state, where=step.terminated)
    assert torch.equal(seen[1:], step.observation[1:])
    _, drawn = env.reset(state=step.state, where=torch.tensor([True, True, False]))
    assert torch.equal(drawn[0], seen[0])
    assert not torch.equal(seen[0], start[0])
    restored, _ = env.restore(env.snapshot(again))
    assert all(torch.equal(a, b) for a, b in zip(restored, again, strict=True))
    # at the time limit episodes are cut off
    state = env.reset(0)[0]
    for _ in range(30):
        step = env.step(state, torch.zeros(3, 2))
        state = step.state
    assert bool(step.truncated.all())
    assert not bool(step.terminated.any())


def test_the_hallway_holds_and_has_one_way_out():
    actions = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    for walls, success in ((True, [True, False, False, False]), (False, [True] * 4)):
        env = Hallway(4, walls=walls)
        check_environment(env)
        state, total = env.reset(0), torch.zeros(4)
        for _ in range(env.horizon):
            state, reward, info = env.step(state, actions)
            total += reward
        assert info["success"].tolist() == success
        assert info["outcome"].tolist()[:3] == [0, 2, 1]
        if walls:
            assert float(state.position[:, 1].abs().max()) == 0.75
            assert float(state.position[0, 0]) > LENGTH > float(state.position[3, 0])
            assert 20 < float(total[0]) < 30
        else:
            assert float(total.std()) < 1e-3  # all directions are alike
            assert 30 < float(total[0]) < 40


@pytest.mark.long
def test_four_goals_are_all_reached():
    """By episodes with fresh noise, and by values of xi that are held for an episode each."""
    from benchmarks.soft_q_learning import EXPERIMENTS, goals_environment, rollouts

    config = EXPERIMENTS["four_goals"].arms["four_goals_sql"]
    trainer = Trainer(goals_environment("four_goals_sql"), replace(config, iterations=6, seed=0))
    result = trainer.train()
    counts = rollouts(trainer.algorithm, noise=True)["counts"]
    assert min(counts) > 0
    assert sum(counts) > 45
    modes = distinct_modes(result.evaluations, outcome_names=FourGoals().outcome_names)
    assert {mode.name for mode in modes if mode.success >= 0.5} == {"east", "north", "west", "south"}
