"""Priors over latents: draws, densities and entropies against torch and quadrature; what they learn."""

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from rpg.models.action_policy import OpenLoopTable
from rpg.models.latent import CategoricalPrior, GaussianMixturePrior, LatentPrior, LatentSpace, ReturnsPrior, configured_prior
from rpg.training.gradient_estimators import score_function_loss
from rpg.training.rollout import latent_at, latent_steps

DOUBLE = torch.float64
KINDS = ("categorical", "gaussian", "mixture", "returns")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def first(batch: int, width: int = 3) -> torch.Tensor:
    return torch.randn(batch, width, dtype=DOUBLE, generator=generator(99))


def drawn(kind: str, *, segments: int = 1, dim: int = 2, hidden: tuple[int, ...] = (), seed: int = 0) -> LatentPrior:
    """A prior with random parameters: 4 choices, or `dim` dimensions (4 components in a mixture)."""
    prior = configured_prior(
        kind,
        num_latents=4,
        dim=dim,
        segments=segments,
        chain=False,
        observation_dim=3,
        hidden=hidden,
        generator=generator(seed),
    ).double()
    with torch.no_grad():
        for value in prior.parameters():
            value.add_(0.5 * torch.randn(value.shape, dtype=DOUBLE, generator=generator(seed + 1)))
        if isinstance(prior, ReturnsPrior):
            prior.returns.copy_(torch.randn(segments, 4, generator=generator(seed + 1)))
            prior.tried.fill_(True)
    return prior


def reference(prior: GaussianMixturePrior, segment: int) -> MixtureSameFamily:
    """The same distribution by torch, from the raw parameters."""
    values = prior.parameters_of.constant.detach().view(prior.segments, prior.components, -1)[segment]
    each = Independent(Normal(values[:, 1 : 1 + prior.space.size], values[:, 1 + prior.space.size :].exp()), 1)
    return MixtureSameFamily(Categorical(logits=values[:, 0]), each)


@pytest.mark.parametrize("hidden", [(), (8,)])
@pytest.mark.parametrize("segments", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_draws_are_reproducible_and_of_the_stated_shape(kind, segments, hidden):
    prior, observation = drawn(kind, segments=segments, hidden=hidden), first(50)
    draws = prior.sample(observation, generator(5))
    assert draws.shape == ((segments, 50) if prior.space.categorical else (segments, 50, 2))
    assert draws.dtype == (torch.int64 if prior.space.categorical else DOUBLE)
    assert not draws.requires_grad
    assert torch.equal(draws, prior.sample(observation, generator(5)))
    assert not torch.equal(draws, prior.sample(observation, generator(6)))
    assert prior.log_prob(draws, observation).shape == (segments, 50)
    assert prior.entropy(draws, observation).shape == ()
    assert float(prior.probs(observation).sum().detach()) == pytest.approx(1.0)
    parts = [
        drawn(kind, segments=segments, hidden=hidden).log_prob(draws[:, n : n + 1], observation[n : n + 1]) for n in range(3)
    ]
    torch.testing.assert_close(torch.cat(parts, dim=1), prior.log_prob(draws, observation)[:, :3])


@pytest.mark.parametrize("kind", ["categorical", "returns"])
@pytest.mark.parametrize("segments", [1, 2])
def test_choices_come_up_as_often_as_log_prob_says(kind, segments):
    prior, count = drawn(kind, segments=segments), 100_000
    observation = first(count)
    draws = prior.sample(observation, generator())
    grid = torch.cartesian_prod(*[torch.arange(4)] * segments).view(-1, segments).T
    probs = prior.log_prob(grid, first(grid.shape[1])).sum(0).exp().detach()
    assert float(probs.sum()) == pytest.approx(1.0)
    number = (draws * 4 ** torch.arange(segments - 1, -1, -1).unsqueeze(-1)).sum(0)
    frequency = torch.bincount(number, minlength=4**segments) / count
    assert bool(((frequency - probs).abs() < 4 * (probs * (1 - probs) / count).sqrt() + 1e-9).all())
    assert float(prior.entropy(draws, observation).detach()) == pytest.approx(-float((probs * probs.log()).sum()))


def test_conditional_choices_come_up_as_often_as_log_prob_says():
    prior = drawn("categorical", hidden=(8,))
    observation = first(2).repeat(50_000, 1)
    draws = prior.sample(observation, generator())[0]
    for row in range(2):
        frequency = torch.bincount(draws[row::2], minlength=4) / 50_000
        probs = prior.log_prob(torch.arange(4)[None], first(2)[row].expand(4, -1))[0].exp().detach()
        torch.testing.assert_close(frequency.double(), probs, atol=0.01, rtol=0)


@pytest.mark.parametrize("kind", ["gaussian", "mixture"])
def test_density_integrates_to_one(kind):
    prior = drawn(kind, dim=1)
    z = torch.linspace(-30, 30, 60_001, dtype=DOUBLE)
    density = prior.log_prob(z.view(1, -1, 1), first(len(z)))[0].exp().detach()
    assert float(density.sum() * (z[1] - z[0])) == pytest.approx(1.0, abs=1e-9)
    # ... and the draws follow it: the empirical distribution function, within Kolmogorov's 0.1% bound.
    draws = prior.sample(first(20_000), generator()).flatten().sort().values
    exact = density.cumsum(0) * (z[1] - z[0])
    at = exact[torch.searchsorted(z, draws).clamp_max(len(z) - 1)]
    assert float((at - torch.arange(1, 20_001) / 20_000).abs().max()) < 1.95 / math.sqrt(20_000)


@pytest.mark.parametrize("kind", ["gaussian", "mixture"])
@pytest.mark.parametrize("segments", [1, 3])
def test_density_matches_torch(kind, segments):
    prior = drawn(kind, segments=segments, dim=3)
    z = torch.randn(segments, 40, 3, dtype=DOUBLE, generator=generator(3))
    expected = torch.stack([reference(prior, s).log_prob(z[s]) for s in range(segments)])
    torch.testing.assert_close(prior.log_prob(z, first(40)), expected)


def test_entropies_of_continuous_priors():
    gaussian = drawn("gaussian", segments=2, dim=3)
    exact = sum(reference(gaussian, s).component_distribution.entropy().squeeze() for s in range(2))
    torch.testing.assert_close(gaussian.entropy(torch.zeros(2, 5, 3), first(5)), exact)

    mixture = drawn("mixture", segments=2)
    observation = first(100_000)
    sampled = -mixture.log_prob(mixture.sample(observation, generator()), observation).sum(0).detach()
    bound = float(mixture.entropy(torch.zeros(2, 1, 2), observation).detach())
    assert bound > float(sampled.mean()) + 4 * float(sampled.std()) / math.sqrt(len(sampled))
    with torch.no_grad():  # components far apart: the bound is then the entropy
        values = mixture.parameters_of.constant.view(2, 4, 5)
        values[..., 1] = torch.arange(4.0) * 100
        values[..., 3:] = -1.0
    sampled = -mixture.log_prob(mixture.sample(observation, generator()), observation).sum(0).detach()
    assert float(mixture.entropy(torch.zeros(2, 1, 2), observation).detach()) == pytest.approx(float(sampled.mean()), abs=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_adds_up_its_members(kind):
    prior, observation = drawn(kind, segments=3), first(6)
    draws = prior.sample(observation, generator())
    # Changing one member changes log pi(z) by an amount that does not depend on the others.
    other = prior.sample(observation, generator(1))
    mixed = draws.clone()
    mixed[0] = other[0]
    both = other.clone()
    both[0] = draws[0]
    torch.testing.assert_close(
        prior.log_prob(draws, observation).sum(0) + prior.log_prob(other, observation).sum(0),
        prior.log_prob(mixed, observation).sum(0) + prior.log_prob(both, observation).sum(0),
    )


@pytest.mark.parametrize(("segments", "horizon"), [(1, 7), (3, 12), (3, 10), (5, 7), (7, 7), (9, 7)])
def test_members_cover_the_steps_evenly(segments, horizon):
    latent = torch.arange(segments).unsqueeze(-1).expand(-1, 2)
    members = [int(latent_at(latent, step, horizon)[0]) for step in range(horizon)]
    assert members == sorted(members)
    assert members[0] == 0
    counts = torch.bincount(torch.tensor(members), minlength=segments)
    assert set(counts.tolist()) <= {horizon // segments, -(-horizon // segments)}
    steps = torch.arange(horizon)[::2]
    assert latent_steps(latent, steps, horizon)[:, 0].tolist() == members[::2]
    vectors = latent.unsqueeze(-1).expand(-1, -1, 4)
    assert latent_steps(vectors, steps, horizon).shape == (len(steps), 2, 4)


@pytest.mark.parametrize("kind", ["categorical", "gaussian", "mixture"])
def test_gradient_reaches_the_network_of_the_first_state(kind):
    prior, observation = drawn(kind, segments=2, hidden=(8, 8)), first(20)
    prior.log_prob(prior.sample(observation, generator()), observation).sum().backward()
    assert len(list(prior.parameters())) == 7  # a constant and three layers
    assert all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in prior.parameters())
    prior.observe(observation, torch.zeros(0), torch.zeros(0), 0.0)
    torch.testing.assert_close(prior.parameters_of.normalizer.mean, observation.mean(0))


@pytest.mark.parametrize("hidden", [(), (16,)])
def test_best_latent_can_depend_on_the_first_state(hidden):
    """REINFORCE on: choose the sign of s1. Only a network of s1 can."""
    prior = CategoricalPrior(2, observation_dim=1, hidden=hidden, generator=generator())
    optimizer = torch.optim.Adam(prior.parameters(), lr=0.03)
    numbers = generator(1)
    for _ in range(150):
        observation = torch.randn(64, 1, generator=numbers)
        latent = prior.sample(observation, numbers)
        value = (latent[0] == (observation[:, 0] > 0)).float()
        optimizer.zero_grad()
        score_function_loss(value.unsqueeze(0), prior.log_prob(latent, observation)).backward()
        optimizer.step()
        prior.observe(observation, latent, value, 0.0)
    ends = torch.tensor([[-1.0], [1.0]])
    right = prior.log_prob(torch.tensor([[0, 1]]), ends)[0].exp()
    assert bool((right > 0.9).all()) == bool(hidden)


def test_a_parameter_out_of_its_bounds_comes_back():
    prior = GaussianMixturePrior(1).double()
    with torch.no_grad():
        prior.parameters_of.constant[2] = -6.0  # the log std, held at -5
    z = torch.zeros(1, 1, 1, dtype=DOUBLE) + 0.5  # 74 standard deviations off: it wants to widen
    prior.log_prob(z, first(1)).sum().backward()
    assert float(prior.parameters_of.constant.grad[2]) > 0
    torch.testing.assert_close(prior.log_prob(z, first(1))[0], Normal(0.0, math.exp(-5)).log_prob(z.flatten()))

    policy = OpenLoopTable(1, 1, 1, generator=generator())
    policy.learn_std(1, 1e-3)
    std = policy.std(0.3)
    assert float(std.detach()) == pytest.approx(math.exp(-4.6))
    (grad,) = torch.autograd.grad(std.log().sum(), policy.log_std)
    assert float(grad) == pytest.approx(1.0)


# Running returns ----------------------------------------------------------------------------------------------


def seen(prior: ReturnsPrior, choice: int, value: float, progress: float = 0.0) -> None:
    prior.observe(first(2), torch.full((1, 2), choice), torch.full((1, 2), value), progress)


def test_returns_prior_prefers_the_better_and_cools_down():
    prior = ReturnsPrior(3)
    torch.testing.assert_close(prior.probs(first(1)), torch.full((3,), 1 / 3))
    for choice, value in ((0, 1.0), (1, 3.0), (2, 2.0)):
        seen(prior, choice, value)
    assert float(prior.temperature) == pytest.approx(prior.hot)
    hot = prior.probs(first(1))
    assert hot.argsort().tolist() == [0, 2, 1]
    spread = math.sqrt(2 / 3)
    assert float(hot[1] / hot[0]) == pytest.approx(math.exp(2 / (3 * spread)))
    seen(prior, 1, 3.0, progress=0.5)
    assert float(prior.temperature) == pytest.approx(math.sqrt(prior.hot * prior.cold))
    seen(prior, 1, 3.0, progress=1.0)
    assert float(prior.temperature) == pytest.approx(prior.cold)
    assert float(prior.probs(first(1))[1]) > 0.999
    seen(prior, 1, 4.0, progress=1.0)
    assert float(prior.returns[0, 1]) == pytest.approx(3.1)  # a running mean, rate 0.1
    assert float(prior.returns[0, 0]) == 1.0
    assert list(prior.parameters()) == []
    assert not prior.log_prob(torch.zeros(1, 4, dtype=torch.int64), first(4)).requires_grad


def test_units_and_offset_of_returns_do_not_matter():
    probs = []
    for scale, offset in ((1.0, 0.0), (1e3, -5e3)):
        prior = ReturnsPrior(3).double()
        for choice, value in enumerate((0.2, 0.9, 0.5)):
            seen(prior, choice, scale * value + offset)
        probs.append(prior.probs(first(1)))
    torch.testing.assert_close(probs[0], probs[1], rtol=1e-4, atol=0)


def test_an_untried_choice_counts_as_the_best():
    prior = ReturnsPrior(4)
    for choice, value in ((0, -3.0), (2, -1.0)):
        seen(prior, choice, value)
    probs = prior.probs(first(1))
    assert probs[1] == probs[3] == probs[2]
    assert probs[0] < probs[2]


def test_returns_prior_of_a_sequence_credits_each_member():
    prior = ReturnsPrior(2, segments=2)
    latent = torch.tensor([[0, 0, 1, 1], [0, 1, 0, 1]])
    prior.observe(first(4), latent, torch.tensor([1.0, 2.0, 3.0, 6.0]).expand(2, 4), 0.0)
    torch.testing.assert_close(prior.returns, torch.tensor([[1.5, 4.5], [2.0, 4.0]]))


def test_returns_prior_resumes():
    prior, other = ReturnsPrior(3), ReturnsPrior(3)
    seen(prior, 0, 1.0)
    seen(prior, 2, -1.0, progress=0.4)
    other.load_state_dict(prior.state_dict())
    for each in (prior, other):
        seen(each, 2, 5.0, progress=0.6)
    assert torch.equal(prior.log_probs(), other.log_probs())
    assert torch.equal(prior.sample(first(9), generator()), other.sample(first(9), generator()))


# Candidates ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["categorical", "returns"])
def test_candidates_of_a_single_choice_are_all_of_them(kind):
    prior = drawn(kind)
    latents, probs = prior.candidates(first(5), 2, generator())
    assert latents.tolist() == [[0, 1, 2, 3]]
    torch.testing.assert_close(probs, prior.probs(first(5)))


@pytest.mark.parametrize("kind", ["categorical", "returns"])
def test_candidates_of_a_sequence_are_its_commonest_draws(kind):
    prior = drawn(kind, segments=2)
    latents, probs = prior.candidates(first(5), 6, generator())
    assert latents.shape == (2, 6)
    assert latents.unique(dim=1).shape == (2, 6)
    assert probs.tolist() == sorted(probs.tolist(), reverse=True)
    assert float(probs.sum()) <= 1 + 1e-9
    exact = prior.log_prob(latents, first(6)).sum(0).exp().detach()
    torch.testing.assert_close(probs.double(), exact, atol=0.12, rtol=0)


@pytest.mark.parametrize("kind", ["gaussian", "mixture"])
@pytest.mark.parametrize("segments", [1, 2])
def test_candidates_of_a_continuous_latent_are_draws_densest_first(kind, segments):
    prior = drawn(kind, segments=segments)
    latents, probs = prior.candidates(first(5), 12, generator())
    assert latents.shape == (segments, 12, 2)
    torch.testing.assert_close(probs, torch.full((12,), 1 / 12, dtype=DOUBLE))
    density = prior.log_prob(latents, first(12)).sum(0).tolist()
    assert density == sorted(density, reverse=True)
    assert torch.equal(latents, prior.candidates(first(5), 12, generator())[0])


def test_features_for_a_network():
    like = torch.zeros(1, dtype=DOUBLE)
    assert LatentSpace(True, 3).features(torch.tensor([2, 0]), like).tolist() == [[0, 0, 1], [1, 0, 0]]
    vector = torch.randn(2, 3)
    assert torch.equal(LatentSpace(False, 3).features(vector, like), vector.double())
