"""RPG's settings where they could be degenerate: no reward, rewards of any scale, nuisance, long episodes, sequences."""

from dataclasses import dataclass, replace

import pytest
import torch

from rpg import RPGConfig, Schedule, Trainer
from rpg.algorithms import build_algorithm
from rpg.environments.bandit import Bandit
from rpg.environments.multigoal import MultiGoal
from rpg.environments.wall import PointMassWall
from rpg.models.latent import CategoricalPrior, GaussianMixturePrior, stratified_draws
from rpg.protocol import check_environment
from rpg.training.return_scale import ReturnScale


@dataclass
class NoReward:
    """A point that actions move, if they are `visible`, and a reward of 0."""

    visible: bool
    num_envs: int = 32
    horizon: int = 6
    action_dim: int = 2
    observation_dim: int = 2

    def reset(self, seed=None):
        return torch.randn(self.num_envs, 2, generator=torch.Generator().manual_seed(seed or 0))

    def observe(self, state):
        return state

    def step(self, state, action):
        state = state + 0.3 * action if self.visible else state
        none = torch.zeros(self.num_envs, dtype=torch.int64)
        return state, 0.0 * action.sum(-1), {"success": none.bool(), "outcome": none}


@pytest.mark.parametrize("schedules", ["default", "constant"])
@pytest.mark.parametrize("visible", [False, True])
@pytest.mark.parametrize("latent", ["categorical", "gaussian", "mixture", "returns"])
def test_without_a_reward_the_latents_entropy_does_not_fall(latent, visible, schedules):
    env = NoReward(visible)
    network = latent in ("gaussian", "mixture")
    config = RPGConfig(latent=latent, policy="mlp" if network else "table", policy_hidden=(16,), iterations=100)
    if schedules == "constant":
        config = replace(config, beta=Schedule.constant(0.3), alpha_z=Schedule.constant(0.3))
    algorithm = build_algorithm(env, config, check_environment(env))
    entropy = [algorithm.iterate(n).latent_entropy for n in range(config.iterations)]
    assert min(entropy) > entropy[0] - 0.15
    assert max(entropy) < 5.0  # and does not grow without end either


@dataclass
class Times:
    """An environment with its reward times a number."""

    env: object
    factor: float

    def __getattr__(self, name):
        return getattr(self.env, name)

    def step(self, state, action):
        state, reward, info = self.env.step(state, action)
        return state, self.factor * reward, info


@pytest.mark.slow
@pytest.mark.parametrize("factor", [100.0, 1.0, 0.01])
@pytest.mark.parametrize(("env", "solutions"), [(PointMassWall(horizon=20), 2), (MultiGoal(), 4), (Bandit(num_envs=64), 1)])
def test_rewards_need_no_scaling(env, solutions, factor):
    result = Trainer(Times(env, factor), RPGConfig()).train()
    assert sum(mode.success >= 0.5 for mode in result.modes) >= solutions
    assert result.history[-1].terms["return_scale"] == pytest.approx(factor, rel=50) or factor != 1.0


def test_the_return_scale_is_the_standard_deviation_of_all_returns_and_is_one_without_any():
    scale = ReturnScale()
    assert scale.value == 1.0
    scale.update(torch.full((8,), -3.0))
    assert scale.value == 1.0
    drawn = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    scale = ReturnScale()
    for part in drawn.split(100):
        scale.update(5 * part - 40)
    assert scale.value == pytest.approx(5 * float(drawn.std()), rel=1e-3)
    before = scale.value
    scale.update(torch.tensor([1e9] + [-40.0] * 99))
    assert scale.value < 1.5 * before  # one wild return does not silence all others


@dataclass
class Nuisance:
    """The four goals, and observations of noise beside the position, of any scale."""

    scale: float
    env: MultiGoal = MultiGoal()  # noqa: RUF009, it is frozen

    def __getattr__(self, name):
        return getattr(self.env, name)

    @property
    def observation_dim(self):
        return self.env.observation_dim + 20

    def observe(self, state):
        generator = torch.Generator().manual_seed(int(1e6 * float(state.position.detach().abs().sum())) % 2**31)
        noise = self.scale * torch.randn(self.num_envs, 20, generator=generator)
        return torch.cat([self.env.observe(state), noise], dim=-1)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_nuisance_does_not_swamp_the_posterior(scale):
    trainer = Trainer(Nuisance(scale), RPGConfig(num_latents=4, beta=Schedule.constant(0.3), alpha_z=Schedule.constant(0.3)))
    history = trainer.train().history
    assert history[-1].terms["posterior_term"] > -0.7  # of -1.39 where it knows nothing


@dataclass
class Reach:
    """Many actions and a long episode: x' = x + 0.02 a in each dimension, and two places that are equally good."""

    horizon: int = 200
    num_envs: int = 16
    action_dim: int = 20
    observation_dim: int = 20

    def reset(self, seed=None):
        return torch.zeros(self.num_envs, self.action_dim)

    def observe(self, state):
        return state

    def step(self, state, action):
        state = state + 0.02 * action
        ends = torch.stack([(state - 0.5).square().mean(-1), (state + 0.5).square().mean(-1)], dim=-1)
        best = ends.min(dim=-1)
        return state, -best.values, {"success": best.values.detach() < 0.05, "outcome": best.indices}


@pytest.mark.slow
def test_long_episodes_with_many_actions():
    modes = Trainer(Reach(), RPGConfig(iterations=60)).train().modes
    assert {mode.outcome for mode in modes if mode.success >= 0.5} == {0, 1}


def test_stratified_draws_hit_every_choice_of_equal_probability_once():
    probs = torch.full((12, 12), 1 / 12)
    draws = stratified_draws(probs, torch.Generator().manual_seed(0))
    assert sorted(draws.tolist()) == list(range(12))
    assert draws.tolist() != sorted(draws.tolist())


@dataclass
class TwoChoices:
    """Two steps, a choice in each: the first earns 1 if positive; the second, if its sign is that of the first."""

    num_envs: int = 64
    horizon: int = 2
    action_dim: int = 1
    observation_dim: int = 2

    def reset(self, seed=None):
        return torch.zeros(self.num_envs, 2)

    def observe(self, state):
        return state

    def step(self, state, action):
        now = torch.tanh(4 * action.squeeze(-1))
        first = state[:, 1] == 0
        reward = torch.where(first, 0.5 * now, now * state[:, 0])
        after = torch.stack([torch.where(first, now, state[:, 0]), torch.ones(self.num_envs)], dim=-1)
        none = torch.zeros(self.num_envs, dtype=torch.int64)
        return after, reward, {"success": none.bool(), "outcome": none}


@pytest.mark.parametrize("latent", ["categorical", "gaussian"])
def test_a_chain_draws_each_member_from_the_state_then_and_the_member_before(latent):
    env = TwoChoices()
    config = RPGConfig(
        latent=latent, latent_segments=2, latent_chain=True, latent_hidden=(16,), num_latents=3, policy="mlp", iterations=8
    )
    trainer = Trainer(env, config)
    seen = []
    draw = trainer.algorithm.prior.sample_member

    def watched(member, observation, before, generator):
        seen.append((member, observation.clone(), before))
        return draw(member, observation, before, generator)

    trainer.algorithm.prior.sample_member = watched
    result = trainer.train()
    assert [member for member, _, _ in seen[:2]] == [0, 1]
    assert seen[0][2] is None
    assert seen[1][2].shape == ((64,) if latent == "categorical" else (64, 2))
    assert float(seen[1][1][:, 1].min()) == 1.0  # the state after the first step
    assert result.modes
    with pytest.raises(ValueError, match="latent_hidden"):
        Trainer(env, replace(config, latent_hidden=()))


@pytest.mark.parametrize("prior_of", [CategoricalPrior, GaussianMixturePrior])
def test_a_chains_density_depends_on_the_member_before(prior_of):
    generator = torch.Generator().manual_seed(0)
    prior = prior_of(3, segments=2, chain=True, observation_dim=2, hidden=(8,), generator=generator)
    with torch.no_grad():
        prior.parameters_of.network[-1].weight.mul_(10)
    observation = torch.randn(2, 5, 2, generator=generator)
    member = torch.arange(5) % 3 if prior.space.categorical else torch.randn(5, 3, generator=generator)
    latent = torch.stack([member, member])
    one = prior.log_prob(latent, observation)
    assert one.shape == (2, 5)
    other = prior.log_prob(torch.stack([member.flip(0), member]), observation)
    assert not torch.allclose(one[1], other[1])


def test_members_of_a_sequence_are_judged_by_what_is_still_to_come():
    """REINFORCE's variance at the last member, with much reward earned before it."""
    env = TwoChoices()
    config = RPGConfig(latent_segments=2, num_latents=2, normalize_returns=False, alpha_z=Schedule.constant(0.0))
    algorithm = build_algorithm(env, replace(config, beta=Schedule.constant(0.0)), check_environment(env))
    algorithm.iterate(0)
    first, last = algorithm._baseline.flatten().tolist()
    rewards = []
    step = env.step

    def noted(state, action):
        after, reward, info = step(state, action)
        rewards.append(float(reward.detach().mean()))
        return after, reward, info

    env.step = noted
    algorithm.iterate(1)
    first, last = algorithm._baseline.flatten().tolist()
    assert first == pytest.approx(sum(rewards) / 2, abs=1e-5)
    assert last == pytest.approx(rewards[1] / 2, abs=1e-5)


def test_returns_learn_from_rewards_alone():
    """A bonus that is large for the choice with the lowest reward."""
    env = NoReward(visible=True)
    config = RPGConfig(latent="returns", beta=Schedule.constant(100.0), iterations=3)
    algorithm = build_algorithm(env, config, check_environment(env))
    for n in range(3):
        algorithm.iterate(n)
    assert float(algorithm.prior.returns.abs().max()) == 0.0
