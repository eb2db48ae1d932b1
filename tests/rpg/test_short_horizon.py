"""SHAC, SAPO and AHAC: windows, objectives and gradients against plain references, known optima, and their runs."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rpg.algorithms import build_algorithm, config_from_dict
from rpg.algorithms.ahac import AHACConfig
from rpg.algorithms.sapo import SAPOConfig
from rpg.algorithms.shac import SHACConfig
from rpg.environments.wall import PointMassWall
from rpg.models.value import td_lambda_targets
from rpg.protocol import Box, EnvironmentSpec, ProtocolError, Step, check_environment
from rpg.training.checkpoint import CHECKPOINT_NAME, load_checkpoint
from rpg.training.trainer import Trainer
from rpg.training.windows import Window, action_response, values_after, window_objective

ALL = pytest.mark.parametrize("kind", [SHACConfig, SAPOConfig, AHACConfig])
ENV = PointMassWall(num_envs=8, horizon=7)


def small(kind, window=3, **changes):
    """Settings with windows of that length."""
    length = {"window_start": window, "window_min": 1} if kind is AHACConfig else {"window": window}
    return kind(**{"policy_hidden": (8,), "value_hidden": (8,), "value_epochs": 2, "seed": 1, **length, **changes})


class PointMass(PointMassWall):
    """No wall."""

    def _outside_wall(self, position, velocity):
        return position, velocity


class Line:
    """x' = 0.9 x + 0.5 a from x0 ~ N(0, 1), reward -x'^2 - 0.1 a^2, T = 5. It notes which states carry gradients."""

    num_envs, horizon, action_dim, observation_dim = 6, 5, 1, 1
    spread = 1.0

    def __init__(self, **changes):
        self.carried: list[bool] = []
        vars(self).update(changes)

    def reset(self, seed=None):
        generator = torch.Generator().manual_seed(seed or 0)
        return self.spread * torch.randn(self.num_envs, 1, generator=generator, dtype=torch.float64)

    def observe(self, state):
        return state

    def step(self, state, action):
        self.carried.append(state.requires_grad)
        state = 0.9 * state + 0.5 * action
        label = torch.zeros(self.num_envs, dtype=torch.int64)
        reward = -(state.square() + 0.1 * action.square()).sum(-1)
        return state, reward, {"success": label.bool(), "outcome": label}


class KnownValues:
    """V(x, t) = -p x^2 for each p, in place of critics."""

    def __init__(self, *ps: float) -> None:
        self.ps = ps

    def frozen(self, observations: Tensor, first: int) -> Tensor:
        return torch.stack([-p * observations.square().sum(-1) for p in self.ps])

    def follow(self, other, rate):
        """It stays as it is."""


def same_state(a: Trainer, b: Trainer) -> bool:
    a, b = a.algorithm.modules, b.algorithm.modules
    pairs = [zip(a[n].state_dict().values(), b[n].state_dict().values(), strict=True) for n in a]
    return a.keys() == b.keys() and all(torch.equal(x, y) for pair in pairs for x, y in pair)


def without_time(rows):
    return [replace(row, seconds=0.0) for row in rows]


# The form ---------------------------------------------------------------------------------------------------


@ALL
def test_networks_and_optimisers_have_the_official_form(kind):
    algorithm = build_algorithm(ENV, kind(policy_hidden=(16, 8), value_hidden=(8,)), check_environment(ENV))
    soft = kind is SAPOConfig
    activation, square = ("SiLU", 1.0) if soft else ("ELU", 2.0)
    networks = [algorithm.policy.network, *(critic.network for critic in algorithm.critics.members)]
    assert len(networks) == (2 if kind is SHACConfig else 3)
    for network in networks:
        assert {type(layer).__name__ for layer in network} == {"Linear", "LayerNorm", activation}
        last = network[-1].weight.detach()
        torch.testing.assert_close(last @ last.T, square * torch.eye(len(last)), atol=1e-5, rtol=1e-5)
    assert ("target" in algorithm.modules) == (kind is SHACConfig)
    for name, optimizer in algorithm.optimizers.items():
        decayed = soft and name != "alpha"
        assert type(optimizer) is (torch.optim.AdamW if decayed else torch.optim.Adam)
        assert optimizer.defaults["betas"] == (0.7, 0.95)
    if soft:
        assert algorithm.policy.log_std is None
        observation = torch.tensor([[0.0, 0, 0, 0], [1.0, -1, 1, 1]])
        _, std = algorithm.policy.mean_and_std(observation, torch.zeros(2, dtype=torch.int64), 0)
        assert not torch.allclose(std[0], std[1])
        with torch.no_grad():
            algorithm.policy.network[-1].bias[2:] = torch.tensor([100.0, -100.0])
        _, std = algorithm.policy.mean_and_std(observation, torch.zeros(2, dtype=torch.int64), 0)
        torch.testing.assert_close(std.log(), torch.tensor([[2.0, -5.0]]).expand(2, 2))
    else:
        torch.testing.assert_close(algorithm.policy.log_std.detach(), -torch.ones(2))


def test_official_values():
    shac, wide = SHACConfig.official(iterations=3), SHACConfig.official("other")
    assert (shac.policy_hidden, shac.value_hidden) == ((128, 64, 32), (64, 64))
    assert (wide.policy_hidden, wide.value_hidden) == ((512, 256), (256, 256))
    assert (shac.window, shac.discount, shac.trace, shac.grad_clip, shac.iterations) == (32, 0.99, 0.95, 1.0, 3)
    assert (shac.value_epochs, shac.value_minibatches, shac.final_learning_rate) == (16, 4, 1e-5)
    assert (shac.policy_learning_rate, shac.value_learning_rate, wide.value_learning_rate) == (2e-3, 2e-3, 5e-4)
    assert (shac.target_rate, wide.target_rate) == (pytest.approx(0.8), pytest.approx(0.005))
    sapo = SAPOConfig.official("other")
    assert (sapo.policy_hidden, sapo.value_hidden) == (wide.policy_hidden, wide.value_hidden)
    assert (sapo.policy_learning_rate, sapo.value_learning_rate, sapo.alpha_learning_rate) == (2e-3, 5e-4, 5e-3)
    assert (sapo.grad_clip, sapo.alpha_start, sapo.target_entropy, sapo.normalize_entropy) == (0.5, 1.0, -0.5, True)
    assert (sapo.window, sapo.value_epochs, sapo.value_minibatches, sapo.std_start) == (32, 16, 4, 1.0)
    ahac = AHACConfig.official()
    assert (ahac.window_start, ahac.window_min, ahac.window_max) == (8, 8, 64)
    assert (ahac.stiffness_limit, ahac.multiplier_rate, ahac.published_sign) == (500, 5e-4, True)
    assert (ahac.value_epochs, ahac.value_minibatches, ahac.value_settled) == (64, 4, 0.2)
    assert (ahac.policy_learning_rate, ahac.value_learning_rate, ahac.grad_clip) == (2e-3, 5e-4, 1.0)
    assert (ahac.policy_hidden, ahac.value_hidden) == ((400, 200, 100), (400, 200, 100))


@ALL
def test_learning_rates_fall_linearly(kind):
    config = small(kind, policy_learning_rate=2e-3, value_learning_rate=5e-4, iterations=5)
    algorithm = build_algorithm(ENV, config, check_environment(ENV))
    for iteration in range(5):
        algorithm.iterate(iteration)
        for name, rate in (("policy", 2e-3), ("value", 5e-4)):
            group = algorithm.optimizers[name].param_groups[0]
            assert group["lr"] == pytest.approx(rate + (1e-5 - rate) * iteration / 4)


# Windows ----------------------------------------------------------------------------------------------------


def bare_window(rewards, after, terminated, truncated) -> Window:
    empty, counted = torch.zeros_like(rewards), torch.ones_like(rewards, dtype=torch.bool)
    return Window(0, after, after, rewards, empty, terminated, truncated, counted, None, empty, empty, empty)


def test_an_objective_with_ends_is_the_sum_of_its_pieces():
    """Three environments over three steps: no end, an end for good after the first step, a time-out after the second."""
    rewards = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]], dtype=torch.float64)
    after = torch.ones(3, 3, 1, dtype=torch.float64)
    terminated, truncated = torch.zeros(2, 3, 3, dtype=torch.bool)
    terminated[0, 1] = truncated[1, 2] = True
    window = bare_window(rewards, after, terminated, truncated)
    (values,) = values_after(KnownValues(-10.0), window)  # V = 10
    assert values[0].tolist() == [10, 0, 10]
    objective = window_objective(window, rewards, values, discount=0.5)
    expected = [1 + 4 / 2 + 7 / 4 + 10 / 8, 2 + (5 + 8 / 2 + 10 / 4), (3 + 6 / 2 + 10 / 4) + (9 + 10 / 2)]
    assert (3 * objective).tolist() == pytest.approx(expected)


def test_a_failed_state_has_no_value_and_no_gradient():
    after = torch.tensor([[[1.0], [math.nan], [math.inf], [2e6]]], dtype=torch.float64, requires_grad=True)
    ends = torch.zeros(1, 4, dtype=torch.bool)
    (values,) = values_after(KnownValues(1.0), bare_window(torch.zeros(1, 4).double(), after, ends, ends))
    assert values.tolist() == [[-1, 0, 0, 0]]
    values.sum().backward()
    assert after.grad.flatten().tolist() == [-2, 0, 0, 0]


@ALL
def test_the_end_of_an_episode_is_as_the_environment_says(kind):
    """Part of the problem: an end for good. Otherwise a time-out, with a value, and the networks do not see the time."""
    for finite in (True, False):
        env = Line(finite_horizon=finite)
        algorithm = build_algorithm(env, small(kind), check_environment(env))
        window, state, _ = algorithm.rolled_out(env.reset(0), 3)
        assert window.rewards.shape == (2, 6)
        assert window.terminated.all(1).tolist() == [False, finite]
        assert window.truncated.all(1).tolist() == [False, not finite]
        assert bool((values_after(KnownValues(1.0), window)[0, -1] == 0).all()) == finite
        z = torch.zeros(6, dtype=torch.int64)
        assert torch.equal(algorithm.policy.mean(state, z, 0), algorithm.policy.mean(state, z, 4)) == (not finite)

    class Falling(Line):
        def step(self, state, action):
            state, reward, info = super().step(state, action)
            return state, reward, {**info, "terminated": state.squeeze(-1) < 0}

    env = Falling()
    window, _, _ = build_algorithm(env, small(kind), check_environment(env)).rolled_out(env.reset(0), 0)
    torch.testing.assert_close(window.terminated, window.after.squeeze(-1) < 0)
    assert 0 < window.terminated.sum() < window.terminated.numel()


class Cut(Line):
    """Environment 0 is cut off after the second step, environment 1 ends for good after the third; they then stay."""

    def reset(self, seed=None):
        return super().reset(seed), torch.zeros(self.num_envs, dtype=torch.int64)

    def observe(self, state):
        return state[0]

    def step(self, state, action):
        x, count = state
        ends = torch.tensor([2, 3, 9, 9, 9, 9])
        running, ended = count < ends, count + 1 == ends
        new, reward, info = super().step(x, action)
        new, reward = torch.where(running.unsqueeze(1), new, x), torch.where(running, reward, torch.zeros_like(reward))
        cut = torch.arange(self.num_envs) == 0
        flags = {"running": running, "terminated": ended & ~cut, "truncated": ended & cut}
        return (new, count + 1), reward, {**info, **flags}


@ALL
def test_steps_after_an_episodes_end_do_not_count(kind):
    env = Cut()
    algorithm = build_algorithm(env, small(kind, window=5, discount=0.9, trace=0.5), check_environment(env))
    window, _, _ = algorithm.rolled_out(env.reset(0), 0)
    assert window.counted.sum(0).tolist() == [2, 3, 5, 5, 5, 5]
    assert window.truncated.nonzero().tolist()[0] == [1, 0]
    (values,) = values_after(KnownValues(-1.0), window)  # x^2
    assert values[1, 0] > 0
    assert not values[2:, 0].any()
    assert not values[2:, 1].any()
    objective = window_objective(window, window.rewards + 7 * (~window.counted), values, discount=0.9)
    r, x = window.rewards, window.after.squeeze(-1)
    torch.testing.assert_close(5 * objective[0], r[0, 0] + 0.9 * r[1, 0] + 0.81 * x[1, 0].square())
    torch.testing.assert_close(5 * objective[1], r[0, 1] + 0.9 * r[1, 1] + 0.81 * r[2, 1])

    fitted = []
    algorithm.critics.row_loss = lambda rows, targets: fitted.append(targets) or rows.new_zeros((), requires_grad=True)
    targets, _ = algorithm.learn(window, 0)
    per_pass = int(window.counted.sum())
    assert torch.cat(fitted)[:per_pass].sort().values.tolist() == targets[window.counted].sort().values.tolist()


class Leaving:
    """`Line` in the general form, with a time limit of 5 that only truncates. An episode ends for good at |x| > 0.5."""

    num_envs = 6
    spec = EnvironmentSpec(
        observation=Box((1,), dtype=torch.float64), action=Box((1,), -1.0, 1.0), time_limit=5, differentiable=True
    )

    def reset(self, seed=None, *, state=None, where=None):
        x = torch.linspace(0.0, 0.6, self.num_envs, dtype=torch.float64).unsqueeze(1)
        return (x, 0), x

    def step(self, state, action):
        x = 1.1 * state[0] + 0.01 * action
        terminated = x.squeeze(-1).abs() > 0.5
        truncated = ~terminated & (state[1] + 1 == 5)
        stiffness = torch.full((self.num_envs,), 3.0 + state[1], dtype=torch.float64)
        return Step((x, state[1] + 1), x, -x.square().sum(-1), terminated, truncated, {"stiffness": stiffness})


@ALL
def test_episodes_of_the_general_form_end_as_they_say(kind):
    env = Leaving()
    algorithm = build_algorithm(env, small(kind, window=5), check_environment(env))
    window, _, _ = algorithm.rolled_out(algorithm.env.reset(0), 0)
    left = window.after.squeeze(-1).abs() > 0.5
    assert window.terminated.any(0).tolist() == left.any(0).tolist()
    assert 0 < left.any(0).sum() < 6
    assert torch.equal(window.counted.sum(0), 5 - left.sum(0) + left.any(0).long())
    assert torch.equal(window.truncated[-1] & window.counted[-1], ~left.any(0))
    if kind is AHACConfig:
        assert window.stiffness[:, 0].tolist() == [3, 4, 5, 6, 7]
    report = algorithm.iterate(0)
    assert report.simulator_steps == 30
    assert math.isfinite(report.terms["value_loss"])


@ALL
def test_the_actors_gradient_and_the_targets_of_a_window(kind):
    env = Line()
    config = small(kind, window=2, discount=0.9, trace=0.8, grad_clip=1e9)
    algorithm = build_algorithm(env, config, check_environment(env))
    algorithm.fit_critics = lambda *given, **options: {}
    algorithm.critics = KnownValues(1.0) if kind is SHACConfig else KnownValues(1.0, 2.0)
    algorithm.target = KnownValues(1.5)
    actors, targets_use = {SHACConfig: (1.5, 1.5), SAPOConfig: (1.5, 2.0), AHACConfig: (2.0, 2.0)}[kind]
    z, start = torch.zeros(6, dtype=torch.int64), env.reset(3)
    for first, length in ((0, 2), (2, 2), (4, 1)):  # the last ends with the episode, without a value
        policy = copy.deepcopy(algorithm.policy)
        alpha = float(algorithm.log_alpha.detach().exp()) if kind is SAPOConfig else 0.0
        random = algorithm.generator.get_state()
        window, _, _ = algorithm.rolled_out(start, first)
        algorithm.generator.set_state(random)
        noise, second = algorithm.standard_normal(length, 6, 1), algorithm.standard_normal(length, 6, 1)
        targets, row = algorithm.learn(window, 0)

        x, total, us, rewards, values = start, 0.0, [], [], []
        for i in range(length):
            mean, std = policy.mean_and_std(x, z, first + i)
            us.append(mean + std * noise[i])
            us[-1].retain_grad()
            action = torch.tanh(us[-1])
            x = 0.9 * x + 0.5 * action
            reward = -(x.square() + 0.1 * action.square()).sum(-1)
            if kind is SAPOConfig:  # Hbar = -1/2 for one dimension
                other = torch.tanh(mean + std * second[i])
                normal = torch.distributions.Normal(mean, std).log_prob(mean + std * second[i])
                entropy = -(normal - (1 - other.square()).log()).sum(-1)
                reward = reward + alpha * (entropy + 0.5) / 2 / 0.5
            total = total + 0.9**i * reward
            rewards.append(reward.detach())
            values.append(x.detach().square().sum(-1))
        ends = first + length == env.horizon
        if not ends:
            total = total - 0.9**length * actors * x.square().sum(-1)
        (-total.mean() / length).backward()
        for got, expected in zip(algorithm.policy.parameters(), policy.parameters(), strict=True):
            torch.testing.assert_close(got.grad, expected.grad)
        assert row["objective"] == pytest.approx(float(total.detach().mean() / length))
        assert row["grad_norm"] == pytest.approx(float(torch.stack([p.grad.norm() for p in policy.parameters()]).norm()))
        known = -targets_use * torch.stack(values)
        if ends:
            known[-1] = 0
        torch.testing.assert_close(targets, td_lambda_targets(torch.stack(rewards), known, discount=0.9, trace=0.8))
        if kind is not SAPOConfig:  # whose entropy has a gradient that does not pass through the action
            torch.testing.assert_close(window.action_gradients(), torch.stack([-6 * length * u.grad for u in us]))


@ALL
def test_no_gradient_crosses_windows_and_every_step_is_counted(kind):
    env = Line()
    algorithm = build_algorithm(env, small(kind, window=2), check_environment(env))
    env.carried.clear()
    before = [p.detach().clone() for p in algorithm.policy.parameters()]
    report = algorithm.iterate(0)
    assert env.carried == [False, True, False, True, False]
    assert report.simulator_steps == len(env.carried) * env.num_envs
    assert not any(torch.equal(a, b) for a, b in zip(before, algorithm.policy.parameters(), strict=True))
    assert report.latent_probs == (1.0,)
    assert report.grad_norm > 0
    assert {"value_loss", "value_target", "std", "window"} <= report.terms.keys()
    latents, probs = algorithm.candidates()
    assert latents.tolist() == [[0]]
    assert probs.tolist() == [1.0]


class NoisySlopes:
    """Reward k_b a with k_b = mean +- spread, each in half of the environments: the gradient by the action is k_b tanh'(u)."""

    num_envs, horizon, action_dim, observation_dim = 6, 5, 1, 1

    def __init__(self, mean: float, spread: float) -> None:
        self.slopes = mean + spread * torch.tensor([1.0, -1.0]).repeat(3).double()

    def reset(self, seed=None):
        return torch.zeros(self.num_envs, 1, dtype=torch.float64)

    def observe(self, state):
        return state

    def step(self, state, action):
        label = torch.zeros(self.num_envs, dtype=torch.int64)
        return state, self.slopes * action.squeeze(-1), {"success": label.bool(), "outcome": label}


@ALL
@pytest.mark.parametrize(("mean", "spread"), [(1.0, 0.5), (-3.0, 4.0), (0.0, 1.0)])
def test_the_reported_snr_is_that_of_known_noise(kind, mean, spread):
    """The mean of B slopes has the standard error s / sqrt(B - 1) for deviations +-s; its square comes off |mean|^2."""
    env = NoisySlopes(mean, spread)
    # actions of almost no noise, and hardly any bonus for it: the slopes are all that differs
    options = {"alpha_start": 1e-9} if kind is SAPOConfig else {}
    config = small(kind, window=5, std_start=1e-4 if kind is SAPOConfig else 0.011, **options)
    algorithm = build_algorithm(env, config, check_environment(env))
    report = algorithm.iterate(0)
    noise = spread**2 / (env.num_envs - 1)
    assert report.gradient_snr == pytest.approx(math.sqrt(max(0.0, mean**2 - noise) / noise), rel=0.02, abs=0.02)


# SAPO's entropy, AHAC's horizon -------------------------------------------------------------------------------


def test_the_entropy_bonus_and_the_loss_of_alpha_against_numbers():
    """Two dimensions: Hbar = -1. H = 0.4 gives h = 1.4 / 2 = 0.7, and H = -1 gives 0. Not normalised, h is H."""
    algorithm = build_algorithm(ENV, SAPOConfig(alpha_start=0.5), check_environment(ENV))
    assert algorithm.target_entropy == -1
    assert algorithm.bonus(torch.tensor([0.4, -1.0, -3.0])).tolist() == pytest.approx([0.7, 0.0, -1.0])
    loss = algorithm.tune_alpha(torch.tensor([[0.4, 0.8], [0.0, -0.4]]), 0)  # mean 0.2
    assert loss == pytest.approx(0.5 * 1.0 * (0.2 + 1.0))
    assert float(algorithm.log_alpha.grad) == pytest.approx(0.5, abs=1e-4)  # 0.6, clipped
    assert float(algorithm.log_alpha.detach()) == pytest.approx(math.log(0.5) - 0.02, abs=1e-4)  # Adam's first step is its rate

    algorithm = build_algorithm(ENV, SAPOConfig(target_entropy=-1.5), check_environment(ENV))  # Hbar = -3
    assert algorithm.bonus(torch.tensor([0.0, 3.0])).tolist() == pytest.approx([0.5, 1.0])
    assert algorithm.tune_alpha(torch.tensor([[-4.0]]), 0) == pytest.approx(1.0 * 3.0 * (-4.0 + 3.0))
    assert float(algorithm.log_alpha.detach()) == pytest.approx(0.02, abs=1e-4)  # below the target alpha rises

    plain = build_algorithm(ENV, SAPOConfig(target_entropy=-1.5, normalize_entropy=False), check_environment(ENV))
    assert plain.bonus(torch.tensor([0.4])).tolist() == pytest.approx([0.4])
    assert plain.tune_alpha(torch.tensor([[-4.0]]), 0) == pytest.approx(-1.0)


@pytest.mark.parametrize(("published", "sign"), [(False, -1), (True, 1)])
def test_the_horizon_takes_the_dual_steps(published, sign):
    """With eta = 1/2 and C = 4: lambda <- lambda - (4 - c) / 2, and H changes by half of its sum."""
    config = AHACConfig(window_start=3.5, window_min=2, window_max=6, stiffness_limit=4.0, published_sign=published)
    algorithm = build_algorithm(ENV, config, check_environment(ENV))
    assert algorithm.window_length() == 3
    algorithm.adapt(torch.tensor([6.0, 4.0, 5.0]), 0.5)
    assert algorithm.multipliers.tolist() == [1.0, 0.0, 0.5, 0, 0, 0]
    assert algorithm.length == pytest.approx(3.5 + sign * 0.75)
    algorithm.adapt(torch.tensor([1.0, 3.0]), 0.5)  # the third step was not reached, and stays
    assert algorithm.multipliers.tolist() == [-0.5, -0.5, 0.5, 0, 0, 0]
    assert algorithm.length == pytest.approx(3.5 + sign * (0.75 - 0.5))
    for stiffness in (100.0, -100.0):  # within the limits
        algorithm.adapt(torch.tensor([stiffness] * 2), 0.5)
        assert algorithm.length == (6 if (stiffness > 0) == published else 2)


class Stiff(Line):
    """Reports how stiff it is: 2 at even steps, 9 at odd ones, and twice that in the first half of the environments."""

    stiff = 1.0

    def step(self, state, action):
        number = len(self.carried)
        state, reward, info = super().step(state, action)
        level = torch.tensor([2.0] * 3 + [1.0] * 3, dtype=torch.float64)
        return state, reward, {**info, "stiffness": self.stiff * level * (9 if number % 2 else 2)}


def test_stiffness_comes_from_the_environment_or_from_its_gradient():
    env = Stiff()
    config = small(AHACConfig, window=3)
    algorithm = build_algorithm(env, config, check_environment(env))
    env.carried.clear()
    window, _, _ = algorithm.rolled_out(env.reset(0), 0)
    assert window.stiffness[:, 0].tolist() == [4, 18, 4]
    assert window.stiffness.mean(1).tolist() == pytest.approx([3, 13.5, 3])

    line = Line()
    algorithm = build_algorithm(line, config, check_environment(line))
    algorithm.policy.observe(0.25 * torch.tensor([[-1.0], [1.0]], dtype=torch.float64))  # std 1/4, so a step moves it by two
    window, _, _ = algorithm.rolled_out(line.reset(0), 0)
    torch.testing.assert_close(window.stiffness, torch.full((3, 6), 2.0, dtype=torch.float64))
    assert not window.stiffness.requires_grad
    window.rewards.sum().backward()  # the graph is still there
    algorithm = build_algorithm(line, config, check_environment(line))
    algorithm.policy.observe(torch.full((9, 1), 7.0, dtype=torch.float64))  # it has not varied yet
    window, _, _ = algorithm.rolled_out(line.reset(0), 0)
    torch.testing.assert_close(window.stiffness, torch.full((3, 6), 0.5, dtype=torch.float64))

    action = torch.zeros(4, 2, dtype=torch.float64, requires_grad=True)
    matrix = torch.tensor([[3.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
    signs = torch.tensor([[1.0, -1.0]], dtype=torch.float64).expand(4, 2)
    torch.testing.assert_close(action_response(action @ matrix, action, signs), torch.full((4,), 5.0, dtype=torch.float64))
    assert not action_response(torch.ones(4, 2), action, signs).any()


@pytest.mark.parametrize(("stiff", "longer"), [(0.1, True), (3.0, False)])
def test_windows_grow_in_smooth_dynamics_and_shrink_in_stiff_ones(stiff, longer):
    env = Stiff(stiff=stiff, horizon=12)
    config = small(AHACConfig, window=4, stiffness_limit=8.0, multiplier_rate=0.04, iterations=12, value_epochs=1)
    window = Trainer(env, config).train().history[-1].terms["window"]
    assert window >= 6 if longer else window < 3


def test_stiffness_that_is_not_finite_names_the_environments():
    class Unstable(Stiff):
        def step(self, state, action):
            state, reward, info = super().step(state, action)
            info["stiffness"][[1, 4]] = math.inf
            return state, reward, info

    with pytest.raises(FloatingPointError, match=r"iteration 0: the stiffness .* environments \[1, 4\]"):
        Trainer(Unstable(), small(AHACConfig)).train()


def test_critics_stop_once_their_loss_has_settled():
    env = Line(horizon=8)
    for settled, passes in ((1e9, 5), (1e-12, 40)):
        config = small(AHACConfig, window=8, value_settled=settled, value_epochs=40)
        report = build_algorithm(env, config, check_environment(env)).iterate(0)
        assert report.terms["value_passes"] == passes


# Known values -------------------------------------------------------------------------------------------------


def riccati(steps: int) -> float:
    """p of the least cost p x^2 of `Line` with so many steps to go: p = 0.81 q - (0.45 q)^2 / (0.25 q + 0.1), q = 1 + the p of
    one step fewer."""
    if steps == 0:
        return 0.0
    q = 1 + riccati(steps - 1)
    return 0.81 * q - (0.45 * q) ** 2 / (0.25 * q + 0.1)


@ALL
def test_they_find_the_optimum_of_a_linear_quadratic_problem(kind):
    """The cost is within 8% of the least, where standing still costs eleven times as much. The critics know, within a quarter,
    the cost of each start under the actor, p x^2 and what the noise of the actions adds."""
    env = Line(num_envs=32, horizon=6, spread=0.15)  # the best actions are far from +-1
    options = {"alpha_start": 1e-6, "alpha_learning_rate": 0.0} if kind is SAPOConfig else {}
    config = small(
        kind, iterations=120, discount=1.0, std_start=0.02, policy_hidden=(32, 32), policy_learning_rate=0.01,
        value_hidden=(32, 32), value_learning_rate=0.01, value_epochs=3, **options,
    )  # fmt: skip
    trainer = Trainer(env, config)
    trainer.train()
    (evaluation,) = trainer.evaluate()
    start = env.reset(evaluation.seed)
    assert evaluation.episode_return == pytest.approx(-riccati(6) * float(start.square().mean()), rel=0.08)

    policy, z = trainer.algorithm.policy, torch.zeros(32, dtype=torch.int64)
    variance = float(policy.mean_and_std(start, z, 0)[1].detach().square().mean())
    noise = sum(0.25 * (1 + riccati(steps)) + 0.1 for steps in range(6)) * variance
    known = -riccati(6) * start.square().squeeze(-1) - noise
    for values in trainer.algorithm.critics.frozen(start.unsqueeze(0), 0)[:, 0]:
        assert float((values - known).abs().mean()) < 0.25 * float(known.abs().mean())


# Runs -------------------------------------------------------------------------------------------------------


@ALL
def test_same_seed_same_run(kind):
    config = small(kind, iterations=4)
    torch.manual_seed(0)
    first = Trainer(ENV, config)
    a = first.train()
    torch.manual_seed(99)  # the global generator plays no part
    second = Trainer(ENV, config)
    b = second.train()
    assert without_time(a.history) == without_time(b.history)
    assert same_state(first, second)
    assert without_time(Trainer(ENV, replace(config, seed=2)).train().history) != without_time(a.history)
    assert config_from_dict(config.to_dict()) == config


@ALL
def test_interrupted_and_resumed_run_is_bit_identical(tmp_path, kind):
    config = small(kind, iterations=6)
    whole = Trainer(ENV, config, run_dir=tmp_path / "whole")
    expected = whole.train()

    class Interrupting(PointMassWall):
        def step(self, state, action):  # in the second window of the fourth episode
            object.__setattr__(self, "count", getattr(self, "count", 0) + 1)
            if self.count == 1 + 3 * 7 + 5:
                raise KeyboardInterrupt
            return super().step(state, action)

    broken = Trainer(Interrupting(num_envs=8, horizon=7), config, run_dir=tmp_path / "broken")
    assert broken.train().interrupted
    assert load_checkpoint(tmp_path / "broken" / CHECKPOINT_NAME).iteration == 3
    resumed = Trainer(ENV, config, run_dir=tmp_path / "broken", resume=True)
    result = resumed.train()
    assert without_time(result.history) == without_time(expected.history)
    assert same_state(resumed, whole)


@ALL
@pytest.mark.parametrize("what", ["reward", "gradient"])
def test_not_finite_names_iteration_and_environments(kind, what):
    class Broken(PointMassWall):
        def step(self, state, action):
            object.__setattr__(self, "count", getattr(self, "count", 0) + 1)
            state, reward, info = super().step(state, action)
            if self.count == 1 + 2 * 7 + 5:
                factor = torch.ones_like(reward)
                factor[[2, 5]] = torch.nan
                if what == "reward":
                    return state, reward * factor, info
                action.register_hook(lambda grad: grad * factor[:, None])
            return state, reward, info

    words = "the reward" if what == "reward" else "the gradient of the policy"
    with pytest.raises(FloatingPointError, match=rf"iteration 2: {words}.* environments \[2, 5\]"):
        Trainer(Broken(num_envs=8, horizon=7), small(kind, iterations=4)).train()


def test_an_environment_without_a_gradient_is_refused():
    class Cut(PointMassWall):
        def step(self, state, action):
            return super().step(state, action.detach())

    with pytest.raises(ProtocolError, match="shac needs an environment that gives one"):
        Trainer(Cut(num_envs=8, horizon=7), small(SHACConfig)).train()


@pytest.mark.parametrize(
    ("kind", "arguments", "words"),
    [
        (SHACConfig, {"window": 0}, ("window", "0", ">= 1")),
        (SHACConfig, {"discount": 1.2}, ("discount", "1.2", "from 0 to 1")),
        (SHACConfig, {"trace": -0.1}, ("trace", "-0.1", "from 0 to 1")),
        (SHACConfig, {"target_rate": 2}, ("target_rate", "2", "from 0 to 1")),
        (SHACConfig, {"value_minibatches": 1.5}, ("value_minibatches", "1.5", ">= 1")),
        (SHACConfig, {"value_hidden": (8, 0)}, ("value_hidden", "0", ">= 1")),
        (SHACConfig, {"grad_clip": math.nan}, ("grad_clip", "nan", "finite")),
        (SHACConfig, {"final_learning_rate": 0.0}, ("final_learning_rate", "0.0", "> 0")),
        (AHACConfig, {"window_start": 7}, ("window_start", "7", "from window_min, 8, to window_max, 64")),
        (AHACConfig, {"window_min": 0}, ("window_min", "0", ">= 1")),
        (AHACConfig, {"stiffness_limit": -1.0}, ("stiffness_limit", "-1.0", "> 0")),
        (SAPOConfig, {"target_entropy": 0.0}, ("target_entropy", "0.0", "other than 0")),
        (SAPOConfig, {"grad_clip": 0.0}, ("grad_clip", "0.0", "> 0")),
        (SHACConfig, {"algorithm": "sapo"}, ("algorithm", "'sapo'", "'shac'")),
        (SAPOConfig, {"alpha_start": 0.0}, ("alpha_start", "0.0", "> 0")),
        (SAPOConfig, {"alpha_learning_rate": -1.0}, ("alpha_learning_rate", "-1.0", ">= 0")),
        (SAPOConfig, {"weight_decay": math.inf}, ("weight_decay", "inf", "finite")),
        (SAPOConfig, {"target_entropy": 0.8}, ("target_entropy", "0.8", "< log 2")),
        (SAPOConfig, {"std_start": -0.3}, ("std_start", "-0.3", "> 0")),
        (SAPOConfig, {"value_epochs": 0}, ("value_epochs", "0", ">= 1")),
    ],
)
def test_errors_name_argument_value_and_allowed(kind, arguments, words):
    with pytest.raises(ValueError, match=words[0]) as error:
        kind(**arguments)
    assert "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.slow
@ALL
@pytest.mark.parametrize("wall", [False, True])
def test_they_learn(kind, wall):
    """Without a wall they reach the goal; with one they end in front of it. Standing still returns -20."""
    env = (PointMassWall if wall else PointMass)(num_envs=16, horizon=20)
    length = {"window_start": 10} if kind is AHACConfig else {"window": 10}
    trainer = Trainer(env, kind(iterations=20 if wall else 30, value_epochs=4, value_minibatches=2, **length))
    trainer.train()
    (evaluation,) = trainer.evaluate()
    if wall:
        assert evaluation.episode_return > -16
    else:
        assert evaluation.episode_return > -7
        assert evaluation.success == 1.0


class Bandit:
    """One step, reward -(a - 0.2)^2: with none at all any alpha > 0 would make the actions uniform."""

    num_envs, horizon, action_dim, observation_dim = 32, 1, 2, 1

    def reset(self, seed=None):
        return torch.zeros(self.num_envs, 1)

    def observe(self, state):
        return state

    def step(self, state, action):
        label = torch.zeros(self.num_envs, dtype=torch.int64)
        return state, -(action - 0.2).square().sum(-1), {"success": label.bool(), "outcome": label}


@pytest.mark.slow
@pytest.mark.parametrize("target", [-0.5, -1.2])
def test_alpha_drives_the_entropy_to_its_target(target):
    config = SAPOConfig(
        iterations=300, target_entropy=target, value_epochs=1, value_minibatches=1, policy_hidden=(8,), value_hidden=(8,),
        policy_learning_rate=0.01, final_learning_rate=0.001, alpha_start=0.1,
    )  # fmt: skip
    history = Trainer(Bandit(), config).train().history
    entropy = sum(row.action_entropy for row in history[-50:]) / 50 / Bandit.action_dim
    assert entropy == pytest.approx(target, abs=0.15)
    assert abs(history[0].action_entropy / Bandit.action_dim - target) > 0.3
