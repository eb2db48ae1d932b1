"""Model-based RPG: its value estimate by hand, a known value, gradients through the imagined world, novelty, resumption."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from rpg.algorithms import build_algorithm
from rpg.algorithms.model_based_rpg import ModelBasedRPGConfig
from rpg.environments.gap_maze import GapMaze
from rpg.environments.imagination import Imagination, imagination_spec
from rpg.environments.wall import PointMassWall
from rpg.models.encoded_policy import ImaginationNetworks
from rpg.models.gru_cell import GRUCell
from rpg.models.latent import LatentSpace
from rpg.models.novelty import WARM_UP, Novelty
from rpg.models.positional_embedding import REST_SCALE, PositionalEmbedding
from rpg.models.posterior import GaussianPosterior
from rpg.models.world_model import ImaginedStep, WorldModel
from rpg.protocol import Box, EnvironmentSpec, Step, check_environment
from rpg.settings_checks import SettingError
from rpg.training.schedules import Schedule
from rpg.training.trainer import Trainer
from rpg.training.windows import window_estimates
from tests.rpg.resuming import whole_and_resumed

SMALL = ModelBasedRPGConfig(
    hidden=(8,),
    memory=8,
    state_dim=4,
    novelty_hidden=(8,),
    latent_dim=2,
    num_latents=3,
    embedding=2,
    batch_size=16,
    random_steps=48,
    buffer_size=400,
    seed=1,
    iterations=5,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def started(config, env=None, iterations: int = 2):
    env = env or PointMassWall(num_envs=8, horizon=6)
    algorithm = build_algorithm(env, config, check_environment(env))
    for iteration in range(iterations):
        algorithm.iterate(iteration)
    return algorithm


# The value estimate -----------------------------------------------------------------------------------------


class Known(nn.Module):
    """A world of one number: s' = s + a, reward s a, V_1 = 10 s', V_2 = 20 s'; it terminates at s' > 2."""

    state_dim = action_dim = 1

    def begin(self, states):
        return states

    def advance(self, memory, action):
        after = memory + action
        return ImaginedStep(after, after, (memory * action).squeeze(1), after.squeeze(1) - 2)

    def value(self, states, latent, *, twins):
        return torch.stack([10 * states, 20 * states])[:twins].squeeze(-1)


class Pushing(nn.Module):
    """a = 1/2, with a std of 1e-9."""

    def mean_and_std(self, observation, latent, step):
        return torch.full_like(observation, math.atanh(0.5)), torch.full_like(observation, 1e-9)


class Sure(nn.Module):
    """log p_phi = -s."""

    def forward(self, features, latent):
        return -features[..., 0]


def test_three_imagined_steps_by_hand():
    """From s = 1: rewards .5, .75, 1 at s = 1, 1.5, 2 with a = .5, states after 1.5, 2, 2.5; log p_phi = -1, -1.5, -2. The
    third step terminates, so that nothing is earned after it."""
    config = replace(SMALL, discount=0.5, beta=0.1, trace=0.9)
    algorithm = started(config, iterations=0)
    algorithm._imagined = imagination_spec(Known(), 3, torch.float64)
    networks = ImaginationNetworks(Known(), Pushing(), Sure())
    algorithm.standard_normal = lambda *shape: torch.zeros(*shape[:-1], 1, dtype=torch.float64)
    latent = torch.zeros(1, 2, dtype=torch.float64)
    found, window = algorithm.estimates(networks, torch.ones(1, 1, dtype=torch.float64), latent, entropy=False)
    r = [0.5 - 0.1 * 1, 0.75 - 0.1 * 1.5, 1 - 0.1 * 2]  # reward + beta log p_phi
    for twin, slope in enumerate((10, 20)):
        g1 = r[0] + 0.5 * slope * 1.5
        g2 = r[0] + 0.5 * r[1] + 0.25 * slope * 2
        g3 = r[0] + 0.5 * r[1] + 0.25 * r[2]
        assert float(found[twin]) == pytest.approx((g1 + 0.9 * g2 + 0.81 * g3) / (1 + 0.9 + 0.81))
    assert window.terminated.squeeze(1).tolist() == [False, False, True]
    algorithm.config = replace(config, trace=None)  # the longest alone, with the bonus for entropy
    found, _ = algorithm.estimates(networks, torch.full((1, 1), -1.0, dtype=torch.float64), latent, entropy=True, twins=1)
    entropy = 0.5 * math.log(2 * math.pi) + math.log(1e-9) + math.log(1 - 0.25)  # of the mode, where the noise is 0
    r = [-0.5 + 0.1, -0.25 + 0.05, 0.0]
    expected = sum(0.5**t * (each + config.alpha * entropy) for t, each in enumerate(r)) + 0.5**3 * 10 * 0.5
    assert found.shape == (1, 1)
    assert float(found) == pytest.approx(expected)


def test_estimates_of_one_step_are_one_step_targets():
    rewards, values = torch.randn(4, 5, generator=generator()), torch.randn(2, 4, 5, generator=generator(1))
    nearly = window_estimates(rewards, values, discount=0.9, trace=1e-9)
    torch.testing.assert_close(nearly, rewards[0] + 0.9 * values[:, 0])


class Decay:
    """x' = 0.8 x whatever is done, the reward of a step is x: V(x) = x / (1 - 0.8 discount). An episode has 5 steps."""

    num_envs = 16
    spec = EnvironmentSpec(Box((1,)), Box((1,), -1.0, 1.0), time_limit=5)
    draws = generator()

    def reset(self, seed=None, *, state=None, where=None):
        x = 2.4 * torch.rand(16, 1, generator=self.draws) - 1.2
        return (x, 0), x  # all episodes end together

    def step(self, state, action):
        x, age = state
        ended = torch.full((16,), age == 4)
        return Step((0.8 * x, age + 1), 0.8 * x, x.squeeze(1), torch.zeros(16, dtype=torch.bool), ended)

    def snapshot(self, state):
        return list(state)

    def restore(self, snapshot):
        return tuple(snapshot), snapshot[0]


def test_the_value_of_a_known_linear_system():
    config = ModelBasedRPGConfig(
        steps=750, iterations=1, random_steps=320, batch_size=32, hidden=(32, 32), memory=32, state_dim=8, latent="none",
        novelty=0.0, embedding=0, reward_scale=Schedule.constant(1.0), discount=0.9, learning_rate=0.006, target_rate=0.05,
        alpha=1e-6, state_weight=3.0,
    )  # fmt: skip
    algorithm = started(config, Decay(), iterations=1)
    x = torch.linspace(-0.9, 0.9, 19).unsqueeze(1)
    z = torch.zeros(19, dtype=torch.int64)
    with torch.no_grad():
        states = algorithm.networks.model.encode(algorithm.seen(x, z))
        found = algorithm.estimates(algorithm.networks, states, z, entropy=False)[0].mean(0)
    expected = x.squeeze(1) / (1 - 0.8 * 0.9)
    assert float((found - expected).abs().max()) < 0.02 * float(expected.max() - expected.min())


# The imagined world -----------------------------------------------------------------------------------------


def test_imagination_is_an_environment():
    space = LatentSpace(False, 2)
    model = WorldModel(5, 2, space, state_dim=3, hidden=(8,), memory=6, generator=generator())
    starts = torch.randn(4, 3, generator=generator(1))
    world = Imagination(model, imagination_spec(model, 3, torch.float32), starts)
    torch.testing.assert_close(check_environment(world), starts)  # and the reward has a gradient
    state, _ = world.reset()
    action = torch.full((4, 2), 0.3)
    steps = [world.step(state, action)]
    steps += [world.step(steps[0].state, action)]
    steps += [world.step(steps[1].state, action)]
    assert [bool((each.truncated | each.terminated).all()) for each in steps] == [False, False, True]
    again, seen = world.restore(world.snapshot(steps[0].state))
    assert torch.equal(seen, steps[0].observation)
    assert torch.equal(world.step(again, action).observation, steps[1].observation)
    where = torch.tensor([True, False, False, True])
    part, seen = world.reset(state=steps[1].state, where=where)
    assert torch.equal(seen, torch.where(where.unsqueeze(1), starts, steps[1].observation))
    assert part.age.tolist() == [0, 2, 2, 0]


def test_the_recurrent_cell_is_torchs_and_its_adjoint_is_right():
    cell = GRUCell(3, 5, generator=generator()).double()
    theirs = nn.GRUCell(3, 5).double()
    with torch.no_grad():
        theirs.weight_ih.copy_(cell.by_input.t())
        theirs.weight_hh.copy_(cell.by_memory.t())
        theirs.bias_ih.copy_(cell.input_bias)
        theirs.bias_hh.copy_(cell.memory_bias)
    data = torch.randn(4, 3, generator=generator(1), dtype=torch.float64, requires_grad=True)
    memory = torch.randn(4, 5, generator=generator(2), dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(cell(data, memory), theirs(data, memory))
    assert torch.autograd.gradcheck(cell, (data, memory))


@pytest.mark.parametrize("latent", ["gaussian", "categorical", "none"])
def test_the_actors_gradient_agrees_with_finite_differences(latent):
    """Of the objective with all its terms, along three directions of the actor's parameters; the model's have none."""
    env = PointMassWall(num_envs=8, horizon=6, dtype=torch.float64)
    algorithm = started(replace(SMALL, latent=latent, beta=0.3, alpha=0.2), env)
    batch = algorithm.buffer.sample(16, generator())
    with torch.no_grad():
        states = algorithm.networks.model.encode(algorithm.seen(batch.observation, batch.age))

    def objective():
        algorithm.generator.manual_seed(3)
        return algorithm.estimates(algorithm.networks, states, batch.latent, entropy=True, twins=1)[0].mean()

    parameters = list(algorithm.networks.actor.parameters())
    gradients = torch.autograd.grad(objective(), parameters)
    assert max(float(each.abs().max()) for each in gradients) > 1e-4
    draws = generator(4)
    for _ in range(3):
        direction = [torch.randn(each.shape, generator=draws, dtype=each.dtype) for each in parameters]
        slope = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True))
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                for each, d in zip(parameters, direction, strict=True):
                    each.add_(sign * 1e-5 * d)
                ends.append(float(objective()))
                for each, d in zip(parameters, direction, strict=True):
                    each.sub_(sign * 1e-5 * d)
        assert slope == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5, abs=1e-9)


def test_an_update_of_the_actor_leaves_the_model_and_the_other_way_round():
    algorithm = started(SMALL)
    before = copy.deepcopy(algorithm.networks)

    def changed():
        pairs = zip(before.named_parameters(), algorithm.networks.parameters(), strict=True)
        return {name.split(".")[0] for (name, old), new in pairs if not torch.equal(old, new)}

    algorithm._improve_actor(2)
    assert changed() == {"actor", "posterior"}
    assert all(each.requires_grad for each in algorithm.networks.parameters())
    algorithm.networks.load_state_dict(before.state_dict())
    algorithm._improve_model(2)
    assert changed() == {"model"}


def test_targets_follow_and_are_not_learned():
    algorithm = started(replace(SMALL, target_rate=0.25))
    if algorithm._updates % 2 == 1:
        algorithm.update(2)
    old, _ = copy.deepcopy(algorithm.targets), algorithm.update(2)  # the actor's and the targets' turn
    for target, before, own in zip(
        algorithm.targets.parameters(), old.parameters(), algorithm.networks.parameters(), strict=True
    ):
        torch.testing.assert_close(target, torch.lerp(before, own.detach(), 0.25))
        assert not target.requires_grad
    old = copy.deepcopy(algorithm.targets)
    algorithm.update(2)
    assert all(map(torch.equal, algorithm.targets.parameters(), old.parameters()))


# Data -------------------------------------------------------------------------------------------------------


def test_segments_stay_within_episodes():
    algorithm = started(replace(SMALL, window=4, steps=5, random_steps=100), GapMaze(num_envs=3, horizon=5), iterations=8)
    drawn = []
    segments = algorithm.buffer.segments
    algorithm.buffer.segments = lambda *given, **options: drawn.append(segments(*given, **options)) or drawn[-1]
    for _ in range(20):
        algorithm._improve_model(8)
    episodes = torch.cat([each.episode for each in drawn], dim=1)
    assert episodes.shape == (4, 20 * 16)
    assert len(episodes.unique()) > 10
    assert bool((episodes == episodes[0]).all())
    ages = torch.cat([each.age for each in drawn], dim=1)
    assert torch.equal(ages, ages[0] + torch.arange(4).unsqueeze(1))
    assert ages[0].unique().tolist() == [0, 1]
    for each in drawn:
        assert torch.equal(each.observation[1:], each.next_observation[:-1])
        assert bool((each.latent == each.latent[0]).all())


def test_a_latent_lasts_for_an_episode():
    algorithm = started(SMALL, iterations=5)
    steps = algorithm.buffer.recent(5 * 8 * 6, relabel=False)
    for episode in steps.episode.unique():
        rows = steps.latent[steps.episode == episode]
        assert len(rows) == 6
        assert bool((rows == rows[0]).all())
    assert len(steps.latent.unique(dim=0)) == len(steps.episode.unique()) == 40


def test_novelty_falls_where_states_were_seen_and_not_elsewhere():
    embedding = PositionalEmbedding(2, count=2, order=6)
    novelty = Novelty(embedding.width, (64, 64), rate=0.01, generator=generator())
    optimizer = torch.optim.Adam(novelty.predictor.parameters(), lr=0.001)
    draws = generator(1)
    places = torch.rand(400, 2, generator=draws) * torch.tensor([0.9, 0.9]) - torch.tensor([1.0, 1.0])
    left, right = embedding(places), embedding(-places)
    before = float(novelty.error(left).detach().mean()), float(novelty.error(right).detach().mean())
    assert torch.equal(novelty.bonus(left), torch.zeros(400))  # it warms up
    for _ in range(WARM_UP + 300):
        optimizer.zero_grad()
        novelty.loss(left[torch.randint(400, (128,), generator=draws)]).backward()
        optimizer.step()
    after = float(novelty.error(left).detach().mean()), float(novelty.error(right).detach().mean())
    assert after[0] < 0.05 * before[0]
    assert after[1] / before[1] > 10 * after[0] / before[0]
    assert abs(float(novelty.bonus(left).mean())) < 1
    assert float(novelty.bonus(right).mean()) > 5


def test_rewards_are_scaled_and_get_the_bonus():
    algorithm = started(replace(SMALL, reward_scale=Schedule(2.0, 4.0), novelty=0.5))
    algorithm.novelty.count.fill_(WARM_UP + 50)
    algorithm.novelty.square.fill_(4.0)
    generator_state = algorithm.generator.get_state()
    plain = algorithm.buffer.sample(16, algorithm.generator, relabel=False)
    algorithm.generator.set_state(generator_state)
    drawn = algorithm.buffer.sample(16, algorithm.generator)
    error = algorithm.novelty.error(algorithm.seen(plain.next_observation, plain.age + 1)).detach()
    mean = float(algorithm.novelty.mean)
    scale = 2 + 2 * 1 / 4  # in the second of five iterations
    torch.testing.assert_close(drawn.reward, scale * plain.reward + 0.5 * (error - mean) / math.sqrt(4.0 - mean**2))


def test_the_embedding_of_coordinates():
    data = torch.tensor([[0.3, -0.7, 5.0]])
    found = PositionalEmbedding(3, count=2, order=2)(data)[0].tolist()
    waves = [f(scale * y + shift) for y in (0.3, -0.7) for f, shift in ((math.sin, 0), (math.cos, 0)) for scale in (1, 2)]
    expected = [REST_SCALE * each for each in (0.3, -0.7, 5.0)] + [0.3, -0.7] + waves
    assert found == pytest.approx(expected, abs=1e-6)
    assert torch.equal(PositionalEmbedding(3, count=2, order=0)(data), data)


def test_a_posterior_of_fixed_std():
    posterior = GaussianPosterior(3, 2, hidden=(8,), generator=generator(), std=1 / math.sqrt(2 * math.pi))
    features, latent = torch.randn(4, 5, 3, generator=generator(1)), torch.randn(5, 2, generator=generator(2))
    normal = torch.distributions.Normal(posterior.outputs(features), 1 / math.sqrt(2 * math.pi))
    torch.testing.assert_close(posterior(features, latent), normal.log_prob(latent).sum(-1))


# The latent's distribution, and the run ------------------------------------------------------------------------


def test_the_latents_distribution_prefers_what_is_worth_more():
    """With values that are 1 for z = 2 and 0 otherwise; and it stays where it is if nothing is learned or all are alike."""
    config = replace(SMALL, latent="categorical", learn_latent=True, latent_entropy=Schedule.constant(0.1), learning_rate=0.02)
    algorithm = started(config)
    start = algorithm.prior.probs(algorithm.like).detach()
    for worth, expected in ((lambda z: 0.0 * z, None), (lambda z: (z == 2).double(), 2)):
        algorithm.estimates = lambda networks, states, z, entropy, worth=worth: (worth(z).expand(2, -1), None)
        for _ in range(60):
            algorithm._improve_latent(2)
        probs = algorithm.prior.probs(algorithm.like).detach()
        if expected is None:
            torch.testing.assert_close(probs, torch.full((3,), 1 / 3), atol=0.1, rtol=0)
        else:
            assert float(probs[expected]) > 0.8 > float(start[expected])


@pytest.mark.parametrize(
    "changes",
    [
        {"latent": "gaussian", "learn_latent": True, "latent_hidden": (8,)},
        {"latent": "categorical", "learn_latent": True, "normalize_observations": True},
        {"latent": "none", "trace": None, "value_states": 3},
    ],
)
def test_a_run_resumes_bit_for_bit(tmp_path, changes):
    config = replace(SMALL, steps=9, **changes)  # iterations end within episodes

    def trainer(folder, resume=False):
        env = PointMassWall(num_envs=8, horizon=6)
        return Trainer(env, config, run_dir=tmp_path / folder, resume=resume, checkpoint_interval=1)

    whole, resumed, result = whole_and_resumed(trainer, stopped_after=2)
    assert result.history[-1].terms["value"] != result.history[-2].terms["value"]
    for name, module in whole.algorithm.modules.items():
        for a, b in zip(resumed.algorithm.modules[name].state_dict().values(), module.state_dict().values(), strict=True):
            assert torch.equal(a, b), name


def test_settings_that_do_not_fit():
    env = PointMassWall(num_envs=8, horizon=6)
    for changes, words in (
        ({"window": 7}, r"window was given 7.* 6 steps"),
        ({"embedded": 5}, r"embedded was given 5.* 4 entries"),
    ):
        with pytest.raises(SettingError, match=words):
            Trainer(env, replace(SMALL, **changes))
    for changes, words in (
        ({"value_states": 4}, r"value_states was given 4; .* <= 3"),
        ({"trace": 0.0}, "trace was given 0.0"),
        ({"novelty_hidden": ()}, "novelty_hidden was given"),
        ({"latent": "mixture"}, "latent was given 'mixture'"),
    ):
        with pytest.raises(ValueError, match=words):
            replace(SMALL, **changes)


def test_actions_depend_on_the_latent():
    algorithm = started(SMALL, iterations=1)
    seen = torch.zeros(2, 4)
    with torch.no_grad():
        means = algorithm.policy.mean(seen, torch.tensor([[0.0, 0.0], [3.0, -3.0]]), 0)
    assert not np.allclose(means[0], means[1])
