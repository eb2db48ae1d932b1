"""MCMC policy optimisation: what its maps do to volumes, densities and energies; an update by hand; the divergence's
control."""

import copy
import math
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

import rpg
from benchmarks import mcmc_policies
from benchmarks.processes import append_line
from rpg.algorithms import build_algorithm
from rpg.algorithms.hmc_policy import HMCPolicyConfig
from rpg.algorithms.langevin_flow import LangevinFlowConfig
from rpg.environments.wall import PointMassWall
from rpg.models.gated_leapfrog import GatedLeapfrog, leapfrog
from rpg.models.langevin_coupling import LangevinFlow
from rpg.models.stacked_network import StackedNetwork
from rpg.protocol import check_environment
from rpg.training.multiplier import Multiplier
from rpg.training.trainer import Trainer
from tests.rpg.resuming import whole_and_resumed

SMALL = {"hidden": (8,), "batch_size": 16, "random_steps": 48, "seed": 1, "iterations": 4}
CONFIGS = {"hmc": HMCPolicyConfig(**SMALL, leapfrog_steps=2), "langevin": LangevinFlowConfig(**SMALL)}
WIDTH = 3


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=drawn(seed), dtype=torch.float64)


def awakened(transport: Any) -> Any:
    """In double precision, with all of its parameters far from where they start."""
    transport.double()
    with torch.no_grad():
        for number, each in enumerate(transport.parameters()):
            each.add_(0.4 * normal(*each.shape, seed=number))
    return transport


def bent(x: torch.Tensor) -> torch.Tensor:
    """The gradient of a function of x (N, A), with both bends and couplings."""
    return torch.sin(2 * x) + 0.3 * x.sum(1, keepdim=True).cos()


def hmc(action_dim: int) -> GatedLeapfrog:
    return awakened(GatedLeapfrog(WIDTH, action_dim, steps=4, hidden=16, generator=drawn()))


def flow(action_dim: int) -> LangevinFlow:
    return awakened(LangevinFlow(WIDTH, action_dim, layers=3, hidden=16, generator=drawn()))


def jacobian(transport, seen, start) -> torch.Tensor:
    """(D, D), of one row."""
    return torch.autograd.functional.jacobian(lambda row: transport(seen, row.unsqueeze(0), bent)[0][0], start[0])


# The maps ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action_dim", [1, 2, 3])
def test_gated_leapfrog_steps_keep_volumes_and_are_reversed_by_turning_the_momentum(action_dim):
    """The gates read the position alone, so both hold with gates, too."""
    transport, seen = hmc(action_dim), normal(5, WIDTH)
    start = normal(5, 2 * action_dim, seed=1)
    end, log_volume = transport(seen, start, bent)
    assert bool((end - start).abs().max() > 0.5)
    assert torch.equal(log_volume, torch.zeros(5))
    for row in range(3):
        determinant = torch.linalg.det(jacobian(transport, seen[row : row + 1], start[row : row + 1]))
        assert float(determinant) == pytest.approx(1.0, abs=1e-10)
    turned = torch.cat([end[:, :action_dim], -end[:, action_dim:]], dim=1)
    back, _ = transport(seen, turned, bent)
    torch.testing.assert_close(back[:, :action_dim], start[:, :action_dim], atol=1e-10, rtol=0)
    torch.testing.assert_close(-back[:, action_dim:], start[:, action_dim:], atol=1e-10, rtol=0)


def test_an_open_gate_keeps_the_energy_and_a_gate_at_work_does_not():
    def energy(x, momentum):  # U = |x|^2 / 2 - sum (-cos(2 x) / 2)
        return (0.5 * x.square() + 0.5 * torch.cos(2 * x) + 0.5 * momentum.square()).sum(1)

    def force(x):
        return x - torch.sin(2 * x)

    x, momentum, errors = normal(50, 2), normal(50, 2, seed=1), []
    for steps in (8, 16, 32):
        step_size = torch.full((2,), 1.6 / steps, dtype=torch.float64)
        end = leapfrog(x, momentum, force, step_size, steps)
        errors.append(float((energy(*end) - energy(x, momentum)).abs().mean()))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.2)  # of second order
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.2)
    transport, seen = hmc(2), normal(50, WIDTH)
    end, _ = transport(seen, torch.cat([x, momentum], 1), lambda x: torch.sin(2 * x))
    assert float((energy(*end.detach().chunk(2, 1)) - energy(x, momentum)).abs().mean()) > 10 * errors[0]


@pytest.mark.parametrize("action_dim", [1, 2, 3, 4])
def test_the_langevin_flow_is_inverted_and_its_jacobian_is_known(action_dim):
    transport, seen = flow(action_dim), normal(5, WIDTH)
    start = normal(5, action_dim + transport.extra, seed=1)
    assert start.shape[1] == max(2, action_dim)
    end, log_volume = transport(seen, start, bent)
    assert bool((end - start).abs().max() > 0.5)
    torch.testing.assert_close(transport.inverse(seen, end, bent), start, atol=1e-10, rtol=0)
    for row in range(3):
        own = jacobian(transport, seen[row : row + 1], start[row : row + 1])
        assert float(torch.linalg.slogdet(own).logabsdet) == pytest.approx(float(log_volume[row].detach()), abs=1e-10)


def test_both_halves_are_moved_uphill_at_the_start():
    transport = LangevinFlow(WIDTH, 3, layers=2, hidden=16, generator=drawn()).double()
    ahead = torch.tensor([[3.0, -2.0, 5.0]], dtype=torch.float64)
    end, log_volume = transport(normal(1, WIDTH), normal(1, 3), lambda x: ahead.expand_as(x))
    step = 0.5**2 / 2 * ahead + 0.5 * math.exp(-3)
    torch.testing.assert_close(end - normal(1, 3), step, atol=1e-6, rtol=0)
    assert float(log_volume) == 0.0


def test_the_gradient_of_a_network_in_its_inputs():
    network, data = StackedNetwork(2, (5, 7, 6, 1), generator=drawn()).double(), normal(9, 5).requires_grad_()
    (expected,) = torch.autograd.grad(network(data, count=1).sum(), data)
    torch.testing.assert_close(network.input_gradient(data, slice(2, None)), expected[:, 2:])


# The policy -------------------------------------------------------------------------------------------------------


def algorithm_of(name: str, **changes):
    env = PointMassWall(num_envs=8, horizon=6, dtype=torch.float64)
    algorithm = build_algorithm(env, replace(CONFIGS[name], **changes), check_environment(env))
    algorithm.iterate(0)  # random actions, and one update
    awakened(algorithm.modules["transport"])
    return algorithm


@pytest.mark.parametrize("name", CONFIGS)
def test_the_log_density_is_that_of_the_change_of_variables(name):
    """(a, r_K) has the density of (x_0, r_0) over |det d(a, r_K) / d(x_0, r_0)|; log q leaves out that of r_K ~ N(0, I)."""
    algorithm = algorithm_of(name)
    policy, seen = algorithm.policy, torch.cat([normal(3, 4), torch.zeros(3, 1)], 1)
    noise = normal(3, 2 + policy.extra_noise, seed=2)
    policy.transport.multiplier.fill_(0.5)

    def ends(row):
        def end(start):
            found = policy.transported(seen[row : row + 1], start.unsqueeze(0))
            return torch.cat([found.action, found.end[:, 2:]], 1)[0]

        return end

    standard = torch.distributions.Normal(0.0, 1.0)
    for row in range(3):
        determinant = torch.linalg.slogdet(torch.autograd.functional.jacobian(ends(row), noise[row])).logabsdet
        expected = standard.log_prob(noise[row]).sum() - determinant - standard.log_prob(ends(row)(noise[row])[2:]).sum()
        found = policy.transported(seen[row : row + 1], noise[row : row + 1]).log_prob
        assert float(found.detach()) == pytest.approx(float(expected.detach()), abs=1e-8)


def test_what_the_critic_is_worth_moves_the_action_uphill():
    algorithm = algorithm_of("hmc")
    policy, seen = algorithm.policy, torch.cat([normal(64, 4), torch.zeros(64, 1)], 1)
    fresh = GatedLeapfrog(5, 2, steps=2, hidden=16, generator=drawn()).double()
    policy.transport.load_state_dict(fresh.state_dict())
    gains = []
    for beta in (10.0, 0.1, 0.01):
        policy.transport.multiplier.fill_(beta)
        with torch.no_grad():
            found = policy.transported(seen, seen.new_zeros(64, 4))
            worth = [algorithm.critics(torch.cat([seen, a], 1))[0].mean() for a in (found.action, torch.tanh(found.mean))]
        gains.append(float(worth[0] - worth[1]))
    assert 0 < gains[0] < gains[1] < gains[2]


def test_divergences_are_those_of_gaussians():
    """Two normal distributions in the transport's place: the KL divergence, and the way in standard deviations."""
    count = 200_000
    start = normal(count, 2)
    mean, log_std = torch.zeros(count, 1).double(), torch.full((count, 1), math.log(0.5)).double()
    algorithm = algorithm_of("hmc")
    found = algorithm.policy.transported(normal(1, 5), normal(1, 4))
    end = torch.cat([0.3 + 1.2 * start[:, :1], start[:, 1:] / 1.2], 1)  # keeps volumes
    found = found._replace(mean=mean, log_std=log_std, start=start, end=end)
    kl = 0.5 * (1.2**2 + 0.3**2 - 1) + 0.5 * (1.2**-2 - 1)  # the logarithms of the scales cancel
    assert float(algorithm.divergence(found, mean, log_std)) == pytest.approx(kl, abs=0.01)
    way = algorithm_of("langevin").divergence(found._replace(end=start + 0.7), mean, log_std)
    assert float(way) == pytest.approx(0.7)


@pytest.mark.parametrize("name", CONFIGS)
def test_an_update_moves_actor_then_transport_uphill_and_beta_by_the_controller(name):
    algorithm = algorithm_of(name, learning_rate=1e-4, transport_interval=1)
    for optimizer in ("policy", "transport"):  # so that the next step is Adam's first
        algorithm.optimizers[optimizer].state.clear()
    old = copy.deepcopy(algorithm.policy)
    log_alpha = algorithm.log_alpha.clone()
    generator = algorithm.generator.get_state()
    before = copy.deepcopy(algorithm._multiplier)
    terms = algorithm.update(1)

    algorithm.generator.set_state(generator)
    batch = algorithm.buffer.sample(16, algorithm.generator)
    now = torch.cat([batch.observation, (2 * batch.age / 6 - 1).unsqueeze(1)], 1)
    noise = torch.randn(16, 2 + old.extra_noise, generator=algorithm.generator).double()
    old.critics.load_state_dict(algorithm.critics.state_dict())  # they are improved first

    def objective(policy, reference, alpha=0.0):
        found = policy.transported(now, noise)
        mean, log_std = (each.detach() for each in reference.actor.mean_and_log_std(now))
        worth = policy.critics(torch.cat([now, found.action], 1)).squeeze(-1).amin(0)
        divergence = algorithm.divergence(found, mean, log_std)
        return (worth - alpha * found.proposed).mean() - policy.transport.multiplier * divergence

    first = objective(old, old, alpha=log_alpha.exp())
    assert terms["objective"] == pytest.approx(float(first.detach()))
    parameters = list(old.actor.parameters())
    stepped = copy.deepcopy(old)
    for each, own, gradient in zip(
        stepped.actor.parameters(), algorithm.actor.parameters(), torch.autograd.grad(first, parameters), strict=True
    ):
        each.data.add_(1e-4 * gradient / (gradient.abs() + 1e-8))
        torch.testing.assert_close(own, each)
    parameters = list(stepped.transport.parameters())
    for each, own, gradient in zip(
        parameters,
        algorithm.policy.transport.parameters(),
        torch.autograd.grad(objective(stepped, old), parameters),
        strict=True,
    ):
        torch.testing.assert_close(own, each + 1e-4 * gradient / (gradient.abs() + 1e-8))
    before.update(terms["divergence"] / (2 * algorithm.config.divergence) - 1)
    assert algorithm.policy.transport.multiplier.item() == pytest.approx(before.value)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_run_resumes_bit_for_bit_in_the_middle_of_an_episode(tmp_path, name):
    pytest.importorskip("gymnasium")

    def trainer(folder, resume=False):
        env = rpg.from_gymnasium("Pendulum-v1", 2, time_limit=50)
        config = replace(CONFIGS[name], steps=30)
        return Trainer(env, config, run_dir=tmp_path / folder, resume=resume, checkpoint_interval=1)

    whole, resumed, result = whole_and_resumed(trainer, stopped_after=1)
    for a, b in zip(resumed.algorithm.policy.parameters(), whole.algorithm.policy.parameters(), strict=True):
        assert torch.equal(a, b)
    multiplier = resumed.algorithm.policy.transport.multiplier
    assert float(multiplier) != 1.0
    assert torch.equal(multiplier, whole.algorithm.policy.transport.multiplier)
    assert result.history[-1].terms["divergence"] > 0


# The controller ---------------------------------------------------------------------------------------------------


class Plant:
    """A divergence that answers beta as the policies' does: at once, in proportion to (scale / beta)^2, and slowly; noisy."""

    def __init__(self, seed: int) -> None:
        self.generator, self.learned = drawn(seed), 0.0

    def __call__(self, beta: float, scale: float) -> float:
        now = math.log(scale / beta) * 2 + self.learned
        self.learned -= 0.005 * (0.5 * now + self.learned)  # the networks learn to make less of more
        return math.exp(max(-8.0, min(4.0, now))) * (1 + 0.1 * float(torch.randn((), generator=self.generator)))


@pytest.mark.parametrize("target", [0.05, 0.2, 1.0])
def test_the_controller_holds_a_divergence_whose_scale_grows(target):
    config = HMCPolicyConfig()
    plant = Plant(0)
    make = partial(Multiplier, rate=config.integral, damping=config.proportional, lead=config.derivative, low=1e-4, high=1e4)
    multiplier, found = make(1.0), []
    for step in range(6000):
        scale = 3 * min(30.0, 1 + step / 60)  # values grow a hundred times
        found.append(plant(multiplier.value, scale))
        multiplier.update(found[-1] / target - 1)
    late = torch.tensor(found[3000:]).view(-1, 200).mean(1)  # as an iteration reports it
    assert float((late - target).abs().mean() / target) < 0.1


def test_the_controller_is_proportional_integral_and_derivative():
    multiplier = Multiplier(1.0, rate=0.1, damping=0.5, lead=0.25)
    multiplier.update(0.4)
    assert math.log(multiplier.value) == pytest.approx(0.04 + 0.2 + 0.1)
    multiplier.update(-0.2)
    assert math.log(multiplier.value) == pytest.approx(0.02 - 0.1 - 0.15)
    again = Multiplier(3.0, rate=0.1, damping=0.5, lead=0.25)
    again.restore(multiplier.state())
    assert again.value == multiplier.value
    again.restore([0.3, 0.2])  # of an older checkpoint
    assert math.log(again.value) == pytest.approx(0.3 + 0.1)


# The benchmark ----------------------------------------------------------------------------------------------------


def test_the_benchmark_runs_a_row_and_counts_modes(tmp_path):
    problem = mcmc_policies.PROBLEMS["four_goals"]
    each = mcmc_policies.EXPERIMENTS["four_goals"]
    arm: Any = each.arms["four_goals_hmc"]
    each = replace(each, arms={"four_goals_hmc": replace(arm, hidden=(8,), batch_size=8)}, stored=480)
    options = mcmc_policies.Options(runs=tmp_path / "runs", out=tmp_path / "out", steps=1440)
    mcmc_policies.run_single(each, "four_goals_hmc", 1, options)
    (run,) = mcmc_policies.runs_of("four_goals", "hmc", options)
    assert len(run["modes"]) == problem.modes
    assert run["target"] == pytest.approx(0.4)
    assert [row[0] for row in run["curve"]] == [480, 960, 1440]
    assert run["curve"][0][2] is None  # random actions
    assert run["curve"][-1][2] > 0


def test_the_summary_is_of_the_stored_runs(tmp_path, capsys):
    options = mcmc_policies.Options(out=tmp_path, json=True)
    assert set(mcmc_policies.summary(options).values()) == {None}
    for method, value in (("sac", 100.0), ("hmc", 125.0)):
        run = {"arm": f"hopper_{method}", "seed": 100, "steps": 300_000, "return": value, "played": 0.0, "target": 0.6}
        curve = [[300_000, value, 0.6, 1.0, 1.0, 0.0, 0.1]]
        append_line(tmp_path / f"hopper_{method}.jsonl", {**run, "curve": curve, "cpu_seconds": 1.0, "resumed_at": 0.0})
    curve = [[500 * n, 0.0, 0.3 if n < 7 else 0.22, 1.0, 1.0, 0.0, 0.1] for n in range(1, 13)]
    run = {"arm": "pendulum_hmc", "seed": 100, "steps": 6000, "return": -200.0, "played": -150.0, "curve": curve}
    append_line(tmp_path / "pendulum_hmc.jsonl", {**run, "target": 0.2, "cpu_seconds": 1.0, "resumed_at": 0.0})
    found = mcmc_policies.summary(options)
    assert found["hopper_gain"] == pytest.approx(0.25)
    assert found["ant_gain"] is found["cheetah_gain"] is None
    assert found["kl_error"] == pytest.approx(0.1)
    assert len(mcmc_policies.divergence_rows(options)) == 2
    assert mcmc_policies.main(replace(options, row=("pendulum_ppo",))) == 2
    capsys.readouterr()
