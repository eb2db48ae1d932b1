"""RPG's estimators of the policy's gradient against exact gradients, its windows, its entropy target, and the
signal-to-noise ratio.
"""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from rpg.algorithms import build_algorithm
from rpg.algorithms.rpg import RPGConfig
from rpg.environments.bandit import bandit_reward
from rpg.environments.wall import PointMassWall
from rpg.protocol import check_environment
from rpg.training.gradient_estimators import signal_to_noise
from rpg.training.schedules import Schedule
from rpg.training.trainer import Trainer

ONE_LATENT = RPGConfig(num_latents=1, policy="table").gaussian()
STILL = {"policy_learning_rate": 1e-30, "grad_clip": 1e9}  # the gradient stays, the policy does too


class Bandit:
    """One step. The reward is, of the action before squashing u, -(u0 - 0.3)^2 - 0.5 (u1 + 0.2)^2 + 0.1 sin(30 u1).

    The sine makes the pathwise gradient of the second dimension noisy. `cut` keeps the gradient from that dimension.
    """

    num_envs, horizon, action_dim, observation_dim = 256, 1, 2, 1
    spike = 30.0

    def __init__(self, cut: bool = False) -> None:
        self.cut = cut

    def reset(self, seed=None):
        return torch.zeros(self.num_envs, 1, dtype=torch.float64)

    def observe(self, state):
        return state

    def step(self, state, action):
        u = torch.atanh(action)
        first, second = u[:, 0], u[:, 1].detach() if self.cut else u[:, 1]
        reward = -(first - 0.3).square() - 0.5 * (second + 0.2).square() + 0.1 * torch.sin(self.spike * second)
        label = torch.zeros(self.num_envs, dtype=torch.int64)
        return state, reward, {"success": label.bool(), "outcome": label}

    def exact_gradient(self, mean: Tensor, std: Tensor, alpha: float) -> Tensor:
        """(4,) of E[reward] + alpha H by the mean and the log std: closed forms, and quadrature for tanh's part of H."""
        spike, damped = self.spike, 0.1 * math.exp(-((self.spike * float(std[1])) ** 2) / 2)
        by_mean = torch.stack([-2 * (mean[0] - 0.3), -(mean[1] + 0.2) + damped * spike * torch.cos(spike * mean[1])])
        by_log_std = torch.stack([-2 * std[0] ** 2, -(std[1] ** 2) * (1 + damped * spike**2 * torch.sin(spike * mean[1]))])
        nodes, weights = (torch.from_numpy(x) for x in np.polynomial.hermite_e.hermegauss(60))
        slope = -2 * torch.tanh(mean[:, None] + std[:, None] * nodes) * weights / weights.sum()
        by_mean = by_mean + alpha * slope.sum(-1)
        by_log_std = by_log_std + alpha * (1 + std * (slope * nodes).sum(-1))
        return torch.cat([by_mean, by_log_std])


def estimates(env: Bandit, count: int, *, alpha: float, **settings) -> tuple[Tensor, Tensor, list]:
    """(count, 4) estimated gradients by mean and log std, the exact one, and the reports."""
    config = replace(
        ONE_LATENT, learn_std=True, std=Schedule.constant(0.2), alpha=Schedule.constant(alpha), normalize_returns=False,
        **STILL, **settings,
    )  # fmt: skip
    algorithm = build_algorithm(env, config, check_environment(env))
    with torch.no_grad():
        algorithm.policy.table.copy_(torch.tensor([[[0.1, 0.25]]]))
        algorithm.policy.log_std.copy_(torch.tensor([0.2, 0.15]).log())
    exact = env.exact_gradient(algorithm.policy.table[0, 0].detach(), algorithm.policy.log_std.detach().exp(), alpha)
    grads, reports = [], []
    for iteration in range(count):
        reports.append(algorithm.iterate(iteration))
        grads.append(-torch.cat([algorithm.policy.table.grad.flatten(), algorithm.policy.log_std.grad]))
    return torch.stack(grads), exact, reports


def assert_unbiased(grads: Tensor, exact: Tensor, bias: float = 0.0) -> None:
    """Within 4 standard errors, beside a relative `bias`."""
    error = (grads.mean(0) - exact).abs() - bias * exact.abs()
    assert (error < 4 * grads.std(0) / math.sqrt(len(grads))).all(), (grads.mean(0), exact)


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_pathwise_score_and_mixed_gradients_are_the_exact_one_on_average(alpha):
    variance = {}
    for kind in ("pathwise", "score", "mixed"):
        grads, exact, reports = estimates(Bandit(), 200, alpha=alpha, action_gradient=kind)
        # the mix's weight is of the same batches: a bias of order 1/B
        assert_unbiased(grads, exact, bias=0.02 if kind == "mixed" else 0.0)
        variance[kind] = grads.var(0)
    assert 0.05 < reports[-1].terms["pathwise_share"] < 0.95
    by_mean = {kind: v[:2] for kind, v in variance.items()}
    if alpha == 0:  # each estimator is the better one somewhere
        assert by_mean["pathwise"][0] < by_mean["score"][0]
        assert by_mean["score"][1] < by_mean["pathwise"][1]
    assert (by_mean["mixed"] < 1.6 * torch.minimum(by_mean["pathwise"], by_mean["score"])).all()


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_dimensions_without_a_gradient_fall_back_to_the_score_function(alpha):
    grads, exact, reports = estimates(Bandit(cut=True), 200, alpha=alpha)
    assert_unbiased(grads, exact)
    assert all(report.terms["pathwise_share"] == 0.5 for report in reports)
    # the dimension that has one is treated as if nothing were cut
    whole = estimates(Bandit(), 200, alpha=alpha)[0]
    torch.testing.assert_close(grads[:, [0, 2]], whole[:, [0, 2]])


class Line:
    """x' = 0.9 x + 0.5 a from x0 ~ N(0, 1), reward -x'^2 - 0.1 a^2, T = 6."""

    num_envs, horizon, action_dim, observation_dim = 5, 6, 1, 1

    def reset(self, seed=None):
        generator = torch.Generator().manual_seed(seed or 0)
        return torch.randn(self.num_envs, 1, generator=generator, dtype=torch.float64)

    def observe(self, state):
        return state

    def step(self, state, action):
        state = 0.9 * state + 0.5 * action
        label = torch.zeros(self.num_envs, dtype=torch.int64)
        reward = -(state.square() + 0.1 * action.square()).sum(-1)
        return state, reward, {"success": label.bool(), "outcome": label}


def test_a_window_cuts_the_gradient_and_ends_in_the_value():
    env = Line()
    config = replace(ONE_LATENT, policy="mlp", policy_hidden=(8,), window=4, normalize_returns=False, **STILL)
    algorithm = build_algorithm(env, config, check_environment(env))
    policy, value = copy.deepcopy(algorithm.policy), copy.deepcopy(algorithm.value)
    drawn = []
    draw = algorithm.standard_normal
    algorithm.standard_normal = lambda *shape: drawn.append(draw(*shape)) or drawn[-1]
    algorithm.iterate(0)

    z, x, total = torch.zeros(5, dtype=torch.int64), env.reset(algorithm.episode_seed(0)), 0.0
    for t in range(6):
        if t == 4:
            total = total + value(x, z, 4)
            x = x.detach()
        a = torch.tanh(policy.mean(x, z, t) + 0.1 * drawn[0][t].detach())
        x = 0.9 * x + 0.5 * a
        total = total - (x.square() + 0.1 * a.square()).sum(-1) / 6
    expected = torch.autograd.grad(-total.mean(), list(policy.parameters()))
    for parameter, grad in zip(algorithm.policy.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, grad)


def test_a_window_of_a_whole_episode_is_no_window():
    env = PointMassWall(num_envs=8, horizon=6)
    config = RPGConfig(num_latents=3, iterations=4, policy="mlp", policy_hidden=(8,), posterior_hidden=(8,))
    runs = []
    for window in (None, 6, 9):
        trainer = Trainer(env, replace(config, window=window))
        history = [replace(row, seconds=0.0) for row in trainer.train().history]
        runs.append((history, list(trainer.algorithm.policy.state_dict().values())))
    for history, weights in runs[1:]:
        assert history == runs[0][0]
        assert all(torch.equal(a, b) for a, b in zip(weights, runs[0][1], strict=True))
    cut = Trainer(env, replace(config, window=3))
    assert [row.return_mean for row in cut.train().history] != [row.return_mean for row in runs[0][0]]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pathwise", "score"])
@pytest.mark.parametrize("target", [-1.0, 0.4])
def test_a_learned_std_meets_its_entropy_target_within_a_run_of_the_usual_length(kind, target):
    env = Bandit()
    env.spike = 0.0
    config = replace(
        ONE_LATENT, learn_std=True, target_entropy=target, std=Schedule.constant(0.3), policy_learning_rate=0.03,
        action_gradient=kind,
    )  # fmt: skip
    history = Trainer(env, config).train().history
    entropies = [row.action_entropy / env.action_dim for row in history]
    assert abs(entropies[0] - target) > 0.2
    assert sum(entropies[-20:]) / 20 == pytest.approx(target, abs=0.1)


class Cliff(Bandit):
    """One step, one action: the hill of the bandit up to its cliff."""

    action_dim = 1

    def step(self, state, action):
        label = torch.zeros(self.num_envs, dtype=torch.int64)
        return state, bandit_reward(action.squeeze(-1)), {"success": label.bool(), "outcome": label}


@pytest.mark.parametrize(("arm", "std"), [(0.80, 0.2), (0.86, 0.1)])
def test_a_mixed_gradient_sees_a_jump_that_the_pathwise_one_misses(arm, std):
    """Suh et al. 2022: where the reward jumps, the pathwise estimate is biased and has little variance."""
    env = Cliff()
    mean = math.atanh(arm)
    nodes = torch.linspace(-9, 9, 400_001, dtype=torch.float64)
    density = torch.exp(-0.5 * nodes.square()) / math.sqrt(2 * math.pi) * (nodes[1] - nodes[0])
    exact = float((density * bandit_reward(torch.tanh(mean + std * nodes)) * nodes).sum() / std)
    found = {}
    for kind in ("pathwise", "mixed"):
        config = replace(
            ONE_LATENT, std=Schedule.constant(std), action_gradient=kind, normalize_returns=False, **STILL
        )  # fmt: skip
        algorithm = build_algorithm(env, config, check_environment(env))
        with torch.no_grad():
            algorithm.policy.table.fill_(mean)
        grads = []
        for iteration in range(60):
            algorithm.iterate(iteration)
            grads.append(-float(algorithm.policy.table.grad))
        found[kind] = sum(grads) / len(grads)
    assert exact < -0.1
    assert found["pathwise"] > 0.0
    assert found["mixed"] == pytest.approx(exact, rel=0.15)


def test_signal_to_noise():
    generator = torch.Generator().manual_seed(0)
    steps, batch, dim, sigma = 4, 4000, 3, 2.0
    mean = torch.linspace(-0.1, 0.1, steps * dim).reshape(steps, 1, dim)
    noise = sigma * torch.randn(steps, batch, dim, generator=generator)
    groups = torch.zeros(batch, dtype=torch.int64)
    expected = math.sqrt(float(mean.square().sum()) / (steps * dim * sigma**2 / batch))
    assert signal_to_noise(mean + noise, groups) == pytest.approx(expected, rel=0.25)
    assert signal_to_noise(noise, groups) < 0.6
    # two groups whose means differ are two signals, not noise
    halves = (torch.arange(batch) % 2).sub(0.5).sign().view(1, -1, 1)
    opposed = signal_to_noise(halves * mean + noise, (torch.arange(batch) % 2))
    assert opposed == pytest.approx(expected / math.sqrt(2), rel=0.25)
    assert signal_to_noise(halves * mean + noise, groups) < 0.6
    assert signal_to_noise(noise[:, :3], torch.arange(3)) == 0  # nothing to compare with
    assert signal_to_noise(torch.ones(2, 5, 1), torch.zeros(5, dtype=torch.int64)) == 0  # no noise: no ratio
