"""The estimators and densities against exact answers."""

import math

import pytest
import torch
from torch.distributions import Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform
from torch.nn import functional

from rpg.models.action_policy import MLPPolicy, OpenLoopTable, squashed_sample, time_features
from rpg.models.latent import CategoricalPrior, LatentSpace
from rpg.models.posterior import CategoricalPosterior
from rpg.training.gradient_estimators import pathwise_loss, score_function_loss
from rpg.training.objective import BoundWeights, bound_terms


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_score_gradient_equals_enumeration_over_latents():
    """grad of sum_z pi(z) (f(z) - alpha_z log pi(z)), enumerated, against the mean of many REINFORCE
    estimates.
    """
    latent, first = CategoricalPrior(4).double(), torch.zeros(1, 1, dtype=torch.float64)
    with torch.no_grad():
        latent.parameters_of.constant.copy_(torch.tensor([0.3, -0.5, 1.0, 0.1]))
    rewards, alpha_z = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64), 0.3
    probs = latent.probs(first)
    (exact,) = torch.autograd.grad(
        (probs * rewards).sum() + alpha_z * latent.entropy(torch.zeros(1, 1), first), latent.parameters_of.constant
    )

    batch, rounds = 8, 20_000  # a small batch, so that a biased baseline would show
    draws = torch.multinomial(probs.detach(), batch * rounds, replacement=True, generator=generator()).reshape(rounds, batch)
    log_probs = latent.log_prob(draws.reshape(1, -1), first)[0].reshape(rounds, batch)
    value = (rewards[draws] - alpha_z * log_probs).detach()
    advantage = value - value.mean(1, keepdim=True)
    (estimate,) = torch.autograd.grad((advantage * log_probs).sum(1).mean() / (batch - 1), latent.parameters_of.constant)
    torch.testing.assert_close(estimate, exact, atol=0.01, rtol=0)

    # ... and the function itself computes just that on one batch.
    loss = -score_function_loss(value[:1], latent.log_prob(draws[:1], first))
    (one,) = torch.autograd.grad(loss, latent.parameters_of.constant)
    score = torch.nn.functional.one_hot(draws[0], 4) - latent.probs(first).detach()
    torch.testing.assert_close(one, (advantage[0, :, None] * score).sum(0) / (batch - 1))


def test_stratified_draws_are_unbiased_with_a_baseline_from_elsewhere():
    """Enumerated: the mean over many stratified batches of the REINFORCE estimate."""
    latent, first = CategoricalPrior(4).double(), torch.zeros(8, 1, dtype=torch.float64)
    with torch.no_grad():
        latent.parameters_of.constant.copy_(torch.tensor([0.3, -0.5, 1.0, 0.1]))
    rewards = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    (exact,) = torch.autograd.grad((latent.probs(first) * rewards).sum(), latent.parameters_of.constant)
    numbers, baseline = generator(3), torch.tensor([[5.0]], dtype=torch.float64)
    estimates = []
    for _ in range(4000):
        draws = latent.sample(first, numbers)
        loss = -score_function_loss(rewards[draws], latent.log_prob(draws, first), baseline)
        estimates.append(torch.autograd.grad(loss, latent.parameters_of.constant)[0])
    each = torch.stack(estimates)
    assert bool(((each.mean(0) - exact).abs() < 4 * each.std(0) / len(each) ** 0.5 + 1e-9).all())


@pytest.mark.parametrize("std", [0.05, 0.3, 1.0])
def test_log_prob_matches_torch(std):
    mean = torch.linspace(-3, 3, 24, dtype=torch.float64).reshape(8, 3)
    noise = torch.randn(8, 3, generator=generator(), dtype=torch.float64)
    sample = squashed_sample(mean, std, noise)
    expected = TransformedDistribution(Normal(mean, std), [TanhTransform(cache_size=1)])
    torch.testing.assert_close(sample.log_prob, expected.log_prob(sample.action).sum(-1), atol=1e-6, rtol=1e-6)


def test_log_prob_is_finite_when_saturated():
    mean = torch.full((2, 1), 60.0, requires_grad=True)
    sample = squashed_sample(mean, 0.1, torch.zeros(2, 1))
    sample.log_prob.sum().backward()
    assert sample.log_prob.isfinite().all()
    torch.testing.assert_close(mean.grad, torch.full((2, 1), 2.0))  # d/du -log(1 - tanh(u)^2) = 2 tanh(u)


def test_no_score_gradient_through_a_reparameterised_sample():
    """The gradient is the Jacobian's, 2 tanh(u), sample by sample; the score noise / std is not in it."""
    mean = torch.zeros(1000, 1, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(1000, 1, generator=generator(), dtype=torch.float64)
    sample = squashed_sample(mean, 0.3, noise)
    sample.log_prob.sum().backward()
    torch.testing.assert_close(mean.grad, 2 * sample.action.detach())
    # It is right on average: the entropy of the squashed Gaussian by quadrature, differentiated numerically.
    u = torch.linspace(-8, 8, 200_001, dtype=torch.float64)

    def expected_log_prob(centre: float) -> float:
        density = Normal(torch.tensor(centre, dtype=torch.float64), 0.3).log_prob(u)
        log_prob = density - torch.log1p(-torch.tanh(u).square())
        return float(torch.trapezoid((density.exp() * log_prob).where(density > -50, torch.zeros_like(u)), u))

    centre, h = 0.5, 1e-4
    slope = (expected_log_prob(centre + h) - expected_log_prob(centre - h)) / (2 * h)
    noise = torch.linspace(-3, 3, 7, dtype=torch.float64)[:, None]
    means = (torch.full_like(noise, c) for c in (centre - h, centre, centre + h))
    below, at, above = (squashed_sample(mean, 0.3, noise) for mean in means)
    torch.testing.assert_close(at.action, torch.tanh(centre + 0.3 * noise))
    torch.testing.assert_close((above.log_prob - below.log_prob) / (2 * h), 2 * at.action.squeeze(-1), atol=1e-7, rtol=0)
    big = torch.randn(400_000, generator=generator(1), dtype=torch.float64)
    assert float((2 * torch.tanh(centre + 0.3 * big)).mean()) == pytest.approx(slope, abs=2e-3)


def test_posterior_loss_and_bonus_keep_apart():
    """The posterior's loss never reaches the policy, and the bonus never trains the posterior; both gradients are those of
    finite differences.
    """
    policy = OpenLoopTable(3, 4, 2, generator=generator(), scale=0.5).double()
    posterior = CategoricalPosterior(2, 3, hidden=(8,), generator=generator(1)).double()
    latent = torch.tensor([0, 1, 2, 0, 1])

    def visited() -> torch.Tensor:
        zeros = torch.zeros(5, 2, dtype=torch.float64)
        return torch.stack([policy(zeros, latent, t, 0.3, zeros).action for t in range(4)]).cumsum(0)

    def slope(parameter: torch.Tensor, function) -> torch.Tensor:
        """d function / d parameter, entry by entry."""
        found, flat = torch.zeros_like(parameter), parameter.detach().view(-1)
        for i, value in enumerate(flat.tolist()):
            flat[i] = value + 1e-6
            above = function()
            flat[i] = value - 1e-6
            found.view(-1)[i] = (above - function()).detach() / 2e-6
            flat[i] = value
        return found

    observations = visited()
    cross_entropy = posterior.training_loss(observations, latent)
    torch.testing.assert_close(cross_entropy, -posterior(observations, latent).mean())
    cross_entropy.backward()
    assert policy.table.grad is None
    for parameter in posterior.parameters():
        expected = slope(parameter, lambda: posterior.training_loss(observations, latent))
        torch.testing.assert_close(parameter.grad, expected, atol=1e-8, rtol=1e-6)

    posterior.zero_grad(set_to_none=True)
    pathwise_loss(posterior.log_prob(observations, latent).mean(0)).backward()
    assert all(p.grad is None for p in posterior.parameters())
    expected = slope(policy.table, lambda: pathwise_loss(posterior(visited(), latent).mean(0)))
    torch.testing.assert_close(policy.table.grad, expected, atol=1e-8, rtol=1e-6)
    torch.testing.assert_close(posterior.log_prob(observations, latent), posterior(observations, latent))


def test_bound_carries_no_gradient_of_the_logits():
    latent = CategoricalPrior(3)
    terms = bound_terms(
        rewards=torch.ones(4, 3),
        action_log_probs=torch.full((4, 3), -0.5),
        latent_log_prob=latent.log_prob(torch.arange(3)[None], torch.zeros(3, 1)),
        latent_reference=latent.reference_log_prob(torch.arange(3)[None]),
        posterior_log_prob=torch.full((2, 3), -2.0),
        posterior_steps=torch.tensor([1, 3]),
    )
    total = terms.total(BoundWeights(beta=0.5, alpha=2.0, alpha_z=0.1))
    assert not total.requires_grad
    torch.testing.assert_close(total, torch.full((3,), 1 - 1 + 1 + 0.5 * torch.log(torch.tensor(3.0)).item()))


def test_policies_start_near_zero_and_share_an_interface():
    """A noiseless action is tanh of the mean, and its density the Gaussian's peak over the slope of tanh."""
    observation, latent, step, std = torch.randn(6, 5, generator=generator()), torch.arange(6) % 3, 6, 0.3
    table = OpenLoopTable(3, 7, 2, generator=generator())
    network = MLPPolicy(LatentSpace(True, 3), 7, 5, 2, hidden=(16,), generator=generator())
    times = time_features(step, 7, observation)
    inputs = torch.cat([network.normalizer(observation), functional.one_hot(latent, 3), times], dim=1)
    for policy, mean in ((table, table.table[latent, step]), (network, network.network(inputs))):
        sample = policy(observation, latent, step, std, torch.zeros(6, 2))
        torch.testing.assert_close(sample.mean, mean)
        torch.testing.assert_close(sample.action, torch.tanh(mean))
        peak = 2 * math.log(1 / (std * math.sqrt(2 * math.pi)))
        torch.testing.assert_close(sample.log_prob, peak - (1 - torch.tanh(mean).square()).log().sum(1))
        assert 0 < sample.mean.abs().max() < 0.3
        assert not torch.equal(sample.mean[0], sample.mean[1])  # another latent, another action
