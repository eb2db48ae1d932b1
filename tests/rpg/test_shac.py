"""SHAC and SAPO: their targets and gradients against plain references, their runs, and that they learn."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rpg.algorithms import build_algorithm, config_from_dict
from rpg.algorithms.sapo import SAPOConfig
from rpg.algorithms.shac import SHACConfig
from rpg.environments.wall import PointMassWall
from rpg.models.latent import LatentSpace
from rpg.models.value import ValueFunction, td_lambda_targets
from rpg.protocol import ProtocolError, check_environment
from rpg.training.checkpoint import CHECKPOINT_NAME, load_checkpoint
from rpg.training.schedules import Schedule
from rpg.training.trainer import Trainer

BOTH = pytest.mark.parametrize("kind", [SHACConfig, SAPOConfig])
ENV = PointMassWall(num_envs=8, horizon=7)
SMALL = {"window": 3, "policy_hidden": (8,), "value_hidden": (8,), "value_epochs": 2, "seed": 1}


class PointMass(PointMassWall):
    """No wall."""

    def _outside_wall(self, position, velocity):
        return position, velocity


class Line:
    """x' = 0.9 x + 0.5 a from x0 ~ N(0, 1), reward -x'^2 - 0.1 a^2, T = 5. It notes which states carry gradients."""

    num_envs, horizon, action_dim, observation_dim = 6, 5, 1, 1

    def __init__(self):
        self.carried: list[bool] = []

    def reset(self, seed=None):
        generator = torch.Generator().manual_seed(seed or 0)
        return torch.randn(self.num_envs, 1, generator=generator, dtype=torch.float64)

    def observe(self, state):
        return state

    def step(self, state, action):
        self.carried.append(state.requires_grad)
        state = 0.9 * state + 0.5 * action
        label = torch.zeros(self.num_envs, dtype=torch.int64)
        reward = -(state.square() + 0.1 * action.square()).sum(-1)
        return state, reward, {"success": label.bool(), "outcome": label}


class KnownValue:
    """V(x, t) = -p x^2, in place of a critic."""

    def __init__(self, p: float) -> None:
        self.p = p

    def __call__(self, observation: Tensor, latent: Tensor, step: int) -> Tensor:
        return -self.p * observation.square().sum(-1)

    frozen = __call__


def same_state(a: Trainer, b: Trainer) -> bool:
    a, b = a.algorithm.modules, b.algorithm.modules
    pairs = [zip(a[n].state_dict().values(), b[n].state_dict().values(), strict=True) for n in a]
    return a.keys() == b.keys() and all(torch.equal(x, y) for pair in pairs for x, y in pair)


def without_time(rows):
    return [replace(row, seconds=0.0) for row in rows]


@pytest.mark.parametrize(("discount", "trace"), [(0.9, 0.7), (1.0, 1.0), (0.95, 0.0)])
def test_td_lambda_targets_are_the_weighted_n_step_returns(discount, trace):
    generator = torch.Generator().manual_seed(0)
    rewards, values = torch.randn(2, 6, 3, generator=generator, dtype=torch.float64).unbind(0)
    targets = td_lambda_targets(rewards, values, discount=discount, trace=trace)
    for t in range(6):
        expected, returns, left = 0.0, 0.0, 6 - t
        for n in range(1, left + 1):  # the n-step return, and its weight
            returns = returns + discount ** (n - 1) * rewards[t + n - 1]
            weight = (1 - trace) * trace ** (n - 1) if n < left else trace ** (n - 1)
            expected = expected + weight * (returns + discount**n * values[t + n - 1])
        torch.testing.assert_close(targets[t], expected)


@BOTH
def test_the_actors_gradient_of_a_window_is_that_of_its_objective(kind):
    env = Line()
    config = kind(window=2, policy_hidden=(8,), discount=0.9, grad_clip=1e9)
    algorithm = build_algorithm(env, config, check_environment(env))
    alpha = 0.0
    if kind is SHACConfig:
        algorithm.target = KnownValue(1.5)
    else:  # the actor looks at the mean of its critics
        algorithm.critics, alpha = [KnownValue(1.0), KnownValue(2.0)], 0.3
    z, start = torch.zeros(6, dtype=torch.int64), env.reset(3)
    for first, length in ((0, 2), (2, 2), (4, 1)):  # the last ends with the episode, without a value
        policy = copy.deepcopy(algorithm.policy)
        window, _, _ = algorithm._rolled_out(start, first)
        options = (alpha,) if kind is SAPOConfig else ()
        gradients, objective, norm = algorithm._improve_actor(window, *options, 0)

        x, total, actions = start, 0.0, []
        for i in range(length):
            if kind is SAPOConfig:
                mean, std = policy.mean_and_std(x, z, first + i)
            else:
                mean, std = policy.mean(x, z, first + i), policy.log_std.exp()
            actions.append(mean + std * window.noise[i].detach())
            actions[-1].retain_grad()
            action = torch.tanh(actions[-1])
            log_prob = -0.5 * window.noise[i].detach().square() - std.log() - 0.5 * math.log(2 * math.pi)
            log_prob = (log_prob - (1 - action.square()).log()).sum(-1)
            x = 0.9 * x + 0.5 * action
            total = total + 0.9**i * (-(x.square() + 0.1 * action.square()).sum(-1) - alpha * log_prob)
        if first + length < env.horizon:
            total = total - 0.9**length * 1.5 * x.square().sum(-1)
        (-total.mean() / length).backward()
        for got, expected in zip(algorithm.policy.parameters(), policy.parameters(), strict=True):
            torch.testing.assert_close(got.grad, expected.grad)
        torch.testing.assert_close(gradients, torch.stack([-6 * length * u.grad for u in actions]))
        assert objective == pytest.approx(float(total.detach().mean() / length))
        assert norm == pytest.approx(float(torch.stack([p.grad.norm() for p in policy.parameters()]).norm()))


@BOTH
def test_no_gradient_crosses_windows_and_every_step_is_counted(kind):
    env = Line()
    algorithm = build_algorithm(env, kind(window=2, policy_hidden=(8,), value_epochs=1), check_environment(env))
    env.carried.clear()
    before = [p.detach().clone() for p in algorithm.policy.parameters()]
    report = algorithm.iterate(0)
    assert env.carried == [False, True, False, True, False]
    assert report.simulator_steps == len(env.carried) * env.num_envs
    assert not any(torch.equal(a, b) for a, b in zip(before, algorithm.policy.parameters(), strict=True))
    assert report.latent_probs == (1.0,)
    assert report.grad_norm > 0
    assert {"value_loss", "value_target", "std"} <= report.terms.keys()
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


@BOTH
@pytest.mark.parametrize(("mean", "spread"), [(1.0, 0.5), (-3.0, 4.0), (0.0, 1.0)])
def test_the_reported_snr_is_that_of_known_noise(kind, mean, spread):
    """The mean of B slopes has the standard error s / sqrt(B - 1) for deviations +-s; its square comes off |mean|^2."""
    env = NoisySlopes(mean, spread)
    # actions of almost no noise, and hardly any bonus for it: the slopes are all that differs
    options = {"alpha_start": 1e-9} if kind is SAPOConfig else {}
    config = kind(window=5, policy_hidden=(8,), value_epochs=1, std_start=0.011, **options)
    report = build_algorithm(env, config, check_environment(env)).iterate(0)
    noise = spread**2 / (env.num_envs - 1)
    assert report.gradient_snr == pytest.approx(math.sqrt(max(0.0, mean**2 - noise) / noise), rel=0.01, abs=0.01)


def test_critics_take_the_minimum_for_targets_and_no_value_after_the_end():
    env = Line()
    algorithm = build_algorithm(env, SAPOConfig(window=3, discount=0.9, trace=0.8), check_environment(env))
    algorithm.critics = [KnownValue(1.0), KnownValue(2.0)]
    window, state, _ = algorithm._rolled_out(env.reset(0), 0)
    soft = (window.rewards + 0.3 * window.entropies).detach()
    values = -2 * window.observations[1:].detach().square().sum(-1)
    expected = td_lambda_targets(soft, values, discount=0.9, trace=0.8)
    torch.testing.assert_close(algorithm._targets(window, 0.3), expected)
    last, _, _ = algorithm._rolled_out(state.detach(), 3)
    soft = (last.rewards + 0.3 * last.entropies).detach()
    values = -2 * last.observations[1:].detach().square().sum(-1)
    values[-1] = 0
    torch.testing.assert_close(algorithm._targets(last, 0.3), td_lambda_targets(soft, values, discount=0.9, trace=0.8))


def test_new_scales_leave_values_as_they_are_and_a_target_follows():
    generator = torch.Generator().manual_seed(0)
    value = ValueFunction(LatentSpace(True, 1), 5, 2, hidden=(8,), generator=generator)
    seen, z = torch.randn(5, 9, 2, generator=generator), torch.zeros(9, dtype=torch.int64)
    value.observe(seen, torch.zeros(5, 9))
    before, targets = value(seen[0], z, 0), 30 + 4 * torch.randn(5, 9, generator=generator)
    value.observe(seen, targets, keep_outputs=True)  # the same observations, hence the same inputs
    torch.testing.assert_close(value(seen[0], z, 0), before, atol=1e-4, rtol=1e-4)
    assert float(value.spread) > 3
    rows = torch.cat([value.rows(o, z, t) for t, o in enumerate(seen)])
    torch.testing.assert_close(value.row_loss(rows, targets.flatten()), value.loss(seen, [z] * 5, targets))

    target = copy.deepcopy(value)
    start = [p.detach().clone() for p in target.parameters()]
    with torch.no_grad():
        for parameter in value.parameters():
            parameter.add_(1.0)
    target.follow(value, 0.25)
    for old, new in zip(start, target.parameters(), strict=True):
        torch.testing.assert_close(new.detach(), old + 0.25)


@BOTH
def test_same_seed_same_run(kind):
    config = kind(iterations=4, **SMALL)
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


@BOTH
def test_interrupted_and_resumed_run_is_bit_identical(tmp_path, kind):
    config = kind(iterations=6, **SMALL)
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


@BOTH
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
        Trainer(Broken(num_envs=8, horizon=7), kind(iterations=4, **SMALL)).train()


def test_an_environment_without_a_gradient_is_refused():
    class Cut(PointMassWall):
        def step(self, state, action):
            return super().step(state, action.detach())

    with pytest.raises(ProtocolError, match="shac needs an environment that gives one"):
        Trainer(Cut(num_envs=8, horizon=7), SHACConfig(**SMALL)).train()


@pytest.mark.parametrize(
    ("kind", "arguments", "words"),
    [
        (SHACConfig, {"window": 0}, ("window", "0", ">= 1")),
        (SHACConfig, {"discount": 1.2}, ("discount", "1.2", "from 0 to 1")),
        (SHACConfig, {"trace": -0.1}, ("trace", "-0.1", "from 0 to 1")),
        (SHACConfig, {"target_rate": 2}, ("target_rate", "2", "from 0 to 1")),
        (SHACConfig, {"value_minibatches": 1.5}, ("value_minibatches", "1.5", ">= 1")),
        (SHACConfig, {"value_hidden": (8, 0)}, ("value_hidden", "0", ">= 1")),
        (SHACConfig, {"grad_clip": math.nan}, ("grad_clip", "nan", "> 0")),
        (SHACConfig, {"rate_decay": Schedule(1.0, 0.0)}, ("rate_decay.end", "0.0", "> 0")),
        (SHACConfig, {"algorithm": "sapo"}, ("algorithm", "'sapo'", "'shac'")),
        (SAPOConfig, {"alpha_start": 0.0}, ("alpha_start", "0.0", "> 0")),
        (SAPOConfig, {"alpha_learning_rate": -1.0}, ("alpha_learning_rate", "-1.0", ">= 0")),
        (SAPOConfig, {"weight_decay": math.inf}, ("weight_decay", "inf", ">= 0")),
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
@BOTH
@pytest.mark.parametrize("wall", [False, True])
def test_they_learn(kind, wall):
    """Without a wall they reach the goal; with one they end behind it, which still beats standing still."""
    env = (PointMassWall if wall else PointMass)(num_envs=16, horizon=20)
    trainer = Trainer(env, kind(iterations=20 if wall else 30, window=10, value_epochs=2, value_minibatches=2))
    history = trainer.train().history
    (evaluation,) = trainer.evaluate()
    assert history[0].return_mean == pytest.approx(-20, abs=2)  # that of standing still
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
        policy_learning_rate=0.01, rate_decay=Schedule(1.0, 0.1),
    )  # fmt: skip
    history = Trainer(Bandit(), config).train().history
    entropy = sum(row.action_entropy for row in history[-50:]) / 50 / Bandit.action_dim
    assert entropy == pytest.approx(target, abs=0.15)
    assert abs(history[0].action_entropy / Bandit.action_dim - target) > 0.3
