"""What every algorithm must keep: determinism, resumption, counting, errors; and that each one optimises."""

import importlib
import random
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from rpg.algorithms import CONFIGS, build_algorithm, config_from_dict
from rpg.algorithms.adam import AdamConfig, MultistartConfig
from rpg.algorithms.ahac import AHACConfig
from rpg.algorithms.cem import CEMConfig
from rpg.algorithms.diffusion_policy import DiffusionPolicyConfig
from rpg.algorithms.hmc_policy import HMCPolicyConfig
from rpg.algorithms.langevin_flow import LangevinFlowConfig
from rpg.algorithms.mixture import MixtureConfig
from rpg.algorithms.model_based_rpg import ModelBasedRPGConfig
from rpg.algorithms.mppi import MPPIConfig
from rpg.algorithms.ppo import PPOConfig
from rpg.algorithms.rpg import RPGConfig
from rpg.algorithms.sac import SACConfig
from rpg.algorithms.sapo import SAPOConfig
from rpg.algorithms.shac import SHACConfig
from rpg.algorithms.soft_q_learning import SoftQLearningConfig
from rpg.environments.wall import PointMassWall
from rpg.models.action_policy import knot_weights, squashed_entropy
from rpg.protocol import check_environment
from rpg.settings_checks import SettingError
from rpg.training.evaluation import evaluate_latents
from rpg.training.metrics import read_metrics
from rpg.training.schedules import Schedule
from rpg.training.trainer import Trainer


class Open(PointMassWall):
    """The point mass without the wall."""

    def _outside_wall(self, position, velocity):
        return position, velocity


class Blunt(PointMassWall):
    """An environment without gradients."""

    def step(self, state, action):
        return super().step(state, action.detach())


class Torn(PointMassWall):
    """Loses its numbers in the environments 2 and 5."""

    def step(self, state, action):
        state, reward, info = super().step(state, action)
        reward = reward.clone()
        reward[[2, 5]] = torch.nan
        return state, reward, info


ENV = PointMassWall(num_envs=8, horizon=6)
SMALL = {
    "rpg": RPGConfig(num_latents=3, policy_hidden=(8,), posterior_hidden=(8,)),
    "gaussian": RPGConfig().gaussian(),
    "reinforce": RPGConfig().reinforce(),
    "adam": AdamConfig(noise=0.1),
    "multistart": MultistartConfig(num_starts=3),
    "cem": CEMConfig(batches=2),
    "mppi": MPPIConfig(batches=2),
    "mixture": MixtureConfig(num_latents=3, policy="mlp", policy_hidden=(8,)),
    "shac": SHACConfig(window=3, policy_hidden=(8,), value_hidden=(8,), value_epochs=2),
    "sapo": SAPOConfig(window=3, policy_hidden=(8,), value_hidden=(8,), value_epochs=2),
    "ahac": AHACConfig(window_start=2, window_min=1, policy_hidden=(8,), value_hidden=(8,), value_epochs=5),
    "ppo": PPOConfig(policy_hidden=(8,), epochs=2),
    "sac": SACConfig(hidden=(8,), random_steps=48, update_interval=3, updates=2, batch_size=16),
    "sql": SoftQLearningConfig(
        hidden=(8,), random_steps=48, update_interval=3, updates=2, batch_size=16, value_samples=5, particles=3
    ),
    "hmc": HMCPolicyConfig(hidden=(8,), random_steps=48, update_interval=3, updates=2, batch_size=16, leapfrog_steps=2),
    "langevin": LangevinFlowConfig(hidden=(8,), random_steps=48, update_interval=3, updates=2, batch_size=16),
    "diffusion": DiffusionPolicyConfig(
        hidden=(8,), random_steps=48, update_interval=3, updates=2, batch_size=16, action_steps=3, candidates=4
    ),
    "mbrpg": ModelBasedRPGConfig(
        latent="categorical",
        num_latents=3,
        hidden=(8,),
        memory=8,
        state_dim=4,
        novelty_hidden=(8,),
        random_steps=48,
        update_interval=3,
        updates=2,
        batch_size=16,
    ),
}
ITERATIONS = 5
BATCHES = {"cem": 2, "mppi": 2}


def small(name: str, **changes):
    if name == "ppo":
        pytest.importorskip("stable_baselines3")
    return replace(SMALL[name], iterations=ITERATIONS, seed=1, **changes)


def without_time(rows):
    return [replace(row, seconds=0.0) for row in rows]


def assert_same(a, b, where="state"):
    """Equal bit for bit, through dicts, lists and tensors."""
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for n, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}[{n}]")
    elif isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype, where
        assert torch.equal(a, b), where
    else:
        assert a == b, where


def test_all_algorithms_are_here():
    assert SMALL.keys() == CONFIGS.keys()


@pytest.mark.parametrize("name", CONFIGS)
def test_same_seed_same_run_whatever_the_global_generators(name):
    config = small(name)
    rows, states = [], []
    for start in (0, 99):
        for seed_globally in (random.seed, np.random.seed, torch.manual_seed):
            seed_globally(start)
        before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
        trainer = Trainer(ENV, config)
        rows.append(without_time(trainer.train().history))
        states.append(trainer.algorithm.state())
        if name == "ppo":  # what draws from the global generators puts them back
            assert random.getstate() == before[0]
            assert np.array_equal(np.random.get_state()[1], before[1])
            assert torch.equal(torch.get_rng_state(), before[2])
    assert rows[0] == rows[1]
    assert_same(*states)
    assert without_time(Trainer(ENV, replace(config, seed=2)).train().history) != rows[0]


@pytest.mark.parametrize("name", CONFIGS)
def test_interrupted_and_resumed_run_is_bit_identical(tmp_path, name):
    config = small(name)
    whole = Trainer(ENV, config, run_dir=tmp_path / "whole")
    expected = whole.train()

    def interrupt(metrics):
        if metrics.iteration == 2:
            raise KeyboardInterrupt

    assert Trainer(ENV, config, run_dir=tmp_path / "broken").train(interrupt).interrupted
    resumed = Trainer(ENV, config, run_dir=tmp_path / "broken", resume=True)
    assert resumed.iteration == 3
    result = resumed.train()
    assert without_time(result.history) == without_time(expected.history)
    assert without_time(read_metrics(tmp_path / "broken")) == without_time(read_metrics(tmp_path / "whole"))
    assert_same(resumed.algorithm.state(), whole.algorithm.state())
    for a, b in zip(resumed.evaluate(), whole.evaluate(), strict=True):
        assert a.episode_return == b.episode_return
        assert np.array_equal(a.actions, b.actions)


@pytest.mark.parametrize("name", ["adam", "cem", "mppi", "ppo", "sac", "sql", "hmc", "diffusion", "mbrpg"])
def test_an_interrupted_iteration_is_undone(name):
    """The same trainer goes on as if it had not been stopped in the middle of an episode."""

    class Stopped(PointMassWall):
        left = 1 << 30

        def step(self, state, action):
            Stopped.left -= 1
            if Stopped.left == 0:
                raise KeyboardInterrupt
            return super().step(state, action)

    config = small(name)
    expected = Trainer(ENV, config).train()
    trainer = Trainer(Stopped(num_envs=8, horizon=6), config)
    Stopped.left = 3 * BATCHES.get(name, 1) * 6 + 3
    stopped = trainer.train()
    assert stopped.interrupted
    assert len(stopped.history) == 3
    Stopped.left = 1 << 30
    assert without_time(trainer.train().history) == without_time(expected.history)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_environment_step_is_counted(name):
    taken = 0

    class Counting(PointMassWall):
        def step(self, state, action):
            nonlocal taken
            taken += self.num_envs
            return super().step(state, action)

    env = Counting(num_envs=8, horizon=6)
    algorithm = build_algorithm(env, small(name), check_environment(env))
    taken = 0
    reports = [algorithm.iterate(n) for n in range(2)]
    assert sum(report.simulator_steps for report in reports) == taken
    assert all(report.simulator_steps == BATCHES.get(name, 1) * 48 for report in reports)


@pytest.mark.parametrize("name", CONFIGS)
def test_double_precision_candidates_and_round_trip(name):
    config = small(name)
    assert config_from_dict(config.to_dict()) == config
    env = PointMassWall(num_envs=8, horizon=6, dtype=torch.float64)
    algorithm = build_algorithm(env, config, check_environment(env))
    report = algorithm.iterate(0)
    latents, probs = algorithm.candidates()
    assert latents.shape[1] == len(probs)
    assert len(report.latent_probs) == (len(probs) if algorithm.policy.space.categorical else 1)
    assert float(probs.sum()) == pytest.approx(1.0)
    evaluations = evaluate_latents(env, algorithm.policy, latents, probs)
    assert np.isfinite([e.episode_return for e in evaluations]).all()
    assert np.isfinite([report.objective, report.action_entropy, report.grad_norm, report.gradient_snr]).all()


@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in ("rpg", "gaussian", "reinforce")])
def test_not_finite_names_iteration_and_environments(name):
    env = Torn(num_envs=8, horizon=6)
    algorithm = build_algorithm(env, small(name), check_environment(env))
    with pytest.raises(FloatingPointError, match=r"iteration 3: the reward is not finite in environments \[2, 5\]"):
        algorithm.iterate(3)


@pytest.mark.parametrize(
    ("kind", "arguments", "words"),
    [
        (AdamConfig, {"num_starts": 2}, ("num_starts", "2", "1")),
        (AdamConfig, {"noise": -0.1}, ("noise", "-0.1", ">= 0")),
        (AdamConfig, {"return_rate": 1.5}, ("return_rate", "1.5", "0 to 1")),
        (AdamConfig, {"algorithm": "multistart"}, ("algorithm", "'multistart'", "'adam'")),
        (MultistartConfig, {"num_starts": 0}, ("num_starts", "0", ">= 1")),
        (MultistartConfig, {"start_knots": 0}, ("start_knots", "0", ">= 1")),
        (MultistartConfig, {"start_spread": float("inf")}, ("start_spread", "inf", "finite")),
        (CEMConfig, {"batches": 0}, ("batches", "0", ">= 1")),
        (CEMConfig, {"elite_fraction": -1.0}, ("elite_fraction", "-1.0", "0 to 1")),
        (CEMConfig, {"start_std": 0.0}, ("start_std", "0.0", "> 0")),
        (CEMConfig, {"min_std": -1.0}, ("min_std", "-1.0", ">= 0")),
        (MPPIConfig, {"temperature": 0.0}, ("temperature", "0.0", "> 0")),
        (MPPIConfig, {"noise": Schedule(0.5, 0.0)}, ("noise.end", "0.0", "> 0")),
        (MPPIConfig, {"noise_knots": 2.5}, ("noise_knots", "2.5", ">= 1")),
        (MixtureConfig, {"policy": "lstm"}, ("policy", "'lstm'", "'table'")),
        (MixtureConfig, {"num_latents": 0}, ("num_latents", "0", ">= 1")),
        (MixtureConfig, {"alpha_z": Schedule(-1.0, 0.0)}, ("alpha_z", "-1.0", ">= 0")),
        (PPOConfig, {"epochs": 0}, ("epochs", "0", ">= 1")),
        (PPOConfig, {"discount": 1.1}, ("discount", "1.1", "0 to 1")),
        (PPOConfig, {"clip_range": 0.0}, ("clip_range", "0.0", "> 0")),
        (SACConfig, {"updates": 0}, ("updates", "0", ">= 1")),
        (SACConfig, {"random_steps": -1}, ("random_steps", "-1", ">= 0")),
        (SACConfig, {"hidden": (0,)}, ("hidden", "0", ">= 1")),
        (SACConfig, {"discount": 0.0}, ("discount", "0.0", "> 0")),
        (SACConfig, {"target_entropy": 1.0}, ("target_entropy", "1.0", "< log 2")),
        (HMCPolicyConfig, {"leapfrog_steps": 0}, ("leapfrog_steps", "0", ">= 1")),
        (HMCPolicyConfig, {"divergence": 0.0}, ("divergence", "0.0", "> 0")),
        (HMCPolicyConfig, {"derivative": -1.0}, ("derivative", "-1.0", ">= 0")),
        (LangevinFlowConfig, {"coupling_layers": 101}, ("coupling_layers", "101", "<= 100")),
        (LangevinFlowConfig, {"transport_interval": 0}, ("transport_interval", "0", ">= 1")),
    ],
)
def test_errors_name_argument_value_and_allowed(kind, arguments, words):
    with pytest.raises(ValueError, match=words[0]) as error:
        kind(**arguments)
    message = str(error.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("config", "num_envs", "words"),
    [
        (MultistartConfig(num_starts=9), 8, ("num_starts", "9", "1 to 8")),
        (CEMConfig(), 2, ("elite_fraction", "0.2", "population, here 2")),
        (CEMConfig(elite_fraction=1.0), 8, ("elite_fraction", "1.0", "population, here 8")),
        (MPPIConfig(), 1, ("batches", "1", ">= 2")),
        (SACConfig(update_interval=4), 8, ("update_interval", "4", "divisors of the 6 steps")),
    ],
)
def test_settings_that_do_not_fit_the_environment(config, num_envs, words):
    with pytest.raises(SettingError) as error:
        Trainer(PointMassWall(num_envs=num_envs, horizon=6), config)
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize("name", ["adam", "multistart", "mixture"])
def test_gradients_are_needed(name):
    with pytest.raises(SettingError, match=f"algorithm was given '{name}'"):
        Trainer(Blunt(num_envs=8, horizon=6), small(name)).train()


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(SettingError, match=r"needs stable_baselines3.*diffsim-rpg\[baselines\]"):
        Trainer(ENV, PPOConfig())


@pytest.mark.slow
def test_one_sequence_stays_behind_the_wall_where_several_starts_go_round_it():
    env = PointMassWall(horizon=20)
    stuck = Trainer(env, AdamConfig(iterations=40))
    assert stuck.train().modes[0].success == 0.0
    solved = Trainer(env, MultistartConfig(iterations=60))
    modes = solved.train().modes
    assert modes[0].success >= 0.5
    best = int(solved.algorithm.candidates()[1].argmax())
    evaluations = solved.evaluate()
    assert evaluations[best].episode_return == pytest.approx(max(e.episode_return for e in evaluations), abs=0.5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "gain"),
    [
        (AdamConfig(iterations=30), 10.0),
        (CEMConfig(iterations=30), 10.0),
        (MPPIConfig(iterations=30), 10.0),
        (MixtureConfig(iterations=30, num_latents=3), 10.0),
        (PPOConfig(iterations=20, learning_rate=0.003), 8.0),
        (SACConfig(iterations=15, learning_rate=0.003, hidden=(64, 64), updates=2, batch_size=128), 6.0),
    ],
    ids=lambda value: value.algorithm if hasattr(value, "algorithm") else "",
)
def test_return_grows_where_nothing_is_in_the_way(config, gain):
    if isinstance(config, PPOConfig):
        pytest.importorskip("stable_baselines3")
    env = Open(num_envs=16, horizon=20)
    trainer = Trainer(env, config)
    before = max(e.episode_return for e in trainer.evaluate())
    trainer.train()
    assert max(e.episode_return for e in trainer.evaluate()) > before + gain


def test_cem_and_mppi_find_a_way_round_without_gradients():
    env = PointMassWall(horizon=20)
    for config in (CEMConfig(iterations=40), MPPIConfig(iterations=40)):
        trainer = Trainer(env, config)
        trainer.train()
        assert max(e.episode_return for e in trainer.evaluate()) > -10  # behind the wall it is -12.8


def test_mixture_is_rpg_with_beta_zero_when_there_is_one_component():
    zero = Schedule.constant(0.0)
    a = Trainer(ENV, RPGConfig(iterations=4, policy="table", start_knots=None).gaussian()).train().history
    b = Trainer(ENV, MixtureConfig(iterations=4, num_latents=1, alpha_z=zero, std=RPGConfig().std)).train().history
    # a draw from one component takes the same numbers of the generator in both
    assert [row.return_mean for row in a] == pytest.approx([row.return_mean for row in b], rel=1e-5)
    assert [row.gradient_snr for row in a] == pytest.approx([row.gradient_snr for row in b], rel=1e-4)


def test_knots_and_entropy():
    weights = knot_weights(3, 5)
    expected = [[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0.5, 0.5], [0, 0, 1]]
    torch.testing.assert_close(weights, torch.tensor(expected))
    torch.testing.assert_close(knot_weights(None, 4), torch.eye(4))
    torch.testing.assert_close(knot_weights(9, 4), torch.eye(4))
    torch.testing.assert_close(knot_weights(1, 4), torch.ones(4, 1))
    torch.testing.assert_close(knot_weights(7, 1), torch.ones(1, 1))

    # tanh of a wide Gaussian against the histogram's entropy
    u = 0.7 * torch.randn(1, 400_000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    counts = torch.histc(torch.tanh(u), bins=200, min=-1, max=1)
    p = counts[counts > 0] / counts.sum()
    histogram = float(-(p * (p / 0.01).log()).sum())
    assert squashed_entropy(torch.full((1, 1), 0.7, dtype=torch.float64), u) == pytest.approx(histogram, abs=0.01)


def test_vector_env_starts_anew_with_the_seeds_of_the_run():
    pytest.importorskip("stable_baselines3")
    vector_env = importlib.import_module("rpg.training.vector_env")
    seeds = []

    def seed(batch):
        seeds.append(batch)
        return 10 + batch

    env = vector_env.VectorEnv(ENV, seed)
    first = env.reset()
    assert first.shape == (8, 5)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first[:, :4], ENV.observe(ENV.reset(10)).numpy())
    np.testing.assert_array_equal(env.reset(), first)
    total = np.zeros(8)
    for step in range(6):
        seen, reward, done, infos = env.step(np.full((8, 2), 0.5, np.float32))
        total += reward
        assert done.tolist() == [step == 5] * 8
        time = infos[0]["terminal_observation"][4] if step == 5 else seen[0, 4]
        assert time == pytest.approx(2 * (step + 1) / 6 - 1)
    assert {"success", "outcome"} <= infos[0].keys()
    assert seen[0, 4] == -1
    np.testing.assert_array_equal(seen[:, :4], ENV.observe(ENV.reset(11)).numpy())
    np.testing.assert_allclose(env.last_returns.numpy(), total, rtol=1e-5)
    env.reset()  # has just begun
    assert seeds == [0, 1]
    env.start(0)
    np.testing.assert_array_equal(env.reset(), first)
