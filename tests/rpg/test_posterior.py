"""Posteriors learn what can be known of z; point sets have no order; bonus and loss keep apart."""

import math

import pytest
import torch
from torch.distributions import Normal

from rpg.algorithms.rpg import RPGConfig
from rpg.models.action_policy import MLPPolicy
from rpg.models.latent import LatentSpace
from rpg.models.network import PointSetEncoder, RunningNormalizer
from rpg.models.posterior import CategoricalPosterior, GaussianPosterior, Posterior, configured_posterior
from rpg.training.schedules import Schedule
from rpg.training.trainer import Trainer

POINTS = (6, 2)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def built(kind: str, *, categorical: bool, size: int = 3) -> Posterior:
    """A posterior over observations of six points in the plane and two numbers more, with actions of width 2."""
    return configured_posterior(
        kind,
        space=LatentSpace(categorical, size),
        observation_dim=14,
        action_dim=2,
        hidden=(16,),
        points=POINTS,
        generator=generator(),
    )


def latents(categorical: bool, *shape: int, size: int = 3) -> torch.Tensor:
    if categorical:
        return torch.randint(0, size, shape, generator=generator(1))
    return torch.randn(*shape, size, generator=generator(1))


def trained(posterior: Posterior, batch, rounds: int = 400) -> None:
    """Adam on fresh batches (features (1, B, F), latent (1, B, ...))."""
    optimizer = torch.optim.Adam(posterior.parameters(), lr=0.01)
    for n in range(rounds):
        features, latent = batch(256, generator(n + 10))
        posterior.observe(features)
        optimizer.zero_grad()
        posterior.training_loss(features, latent).backward()
        optimizer.step()


def test_categorical_posterior_learns_the_exact_one():
    """z in three Gaussian heaps on a line, not equally likely: Bayes' rule is known."""
    probs, means, std = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([-1.0, 0.0, 1.5]), 0.6

    def batch(count, numbers):
        latent = torch.multinomial(probs, count, replacement=True, generator=numbers)
        return (means[latent] + std * torch.randn(count, generator=numbers)).view(1, -1, 1) * 1e-2, latent.unsqueeze(0)

    posterior = CategoricalPosterior(1, 3, hidden=(32, 32), generator=generator())
    trained(posterior, batch)
    features, latent = batch(20_000, generator(1))
    exact = torch.log_softmax(probs.log() + Normal(means, std).log_prob(features * 1e2), dim=-1)
    best = -float(exact.gather(-1, latent.unsqueeze(-1)).mean())
    loss = float(posterior.training_loss(features, latent).detach())
    assert 0.4 < best < 0.8 < -float((probs * probs.log()).sum())  # z is neither plain nor hidden
    assert best - 0.01 < loss < best + 0.02


def test_gaussian_posterior_learns_the_exact_one():
    """z ~ N(0, 1), x = z + noise: p(z|x) = N(x / (1 + s^2), s^2 / (1 + s^2))."""
    noise = 0.5

    def batch(count, numbers):
        latent = torch.randn(1, count, 2, generator=numbers)
        return latent + noise * torch.randn(1, count, 2, generator=numbers), latent

    posterior = GaussianPosterior(2, 2, hidden=(32, 32), generator=generator())
    trained(posterior, batch)
    features, latent = batch(20_000, generator(1))
    exact = Normal(features / (1 + noise**2), noise / math.sqrt(1 + noise**2))
    best = -float(exact.log_prob(latent).sum(-1).mean())
    loss = float(posterior.training_loss(features, latent).detach())
    assert best - 0.01 < loss < best + 0.03


def test_an_exact_guess_is_not_paid_without_bound():
    posterior = GaussianPosterior(2, 2, hidden=(32,), generator=generator())

    def batch(count, numbers):
        latent = torch.randn(1, count, 2, generator=numbers)
        return latent, latent

    trained(posterior, batch, rounds=100)
    with torch.no_grad():
        posterior.network[-1].bias[2:] = -50.0
        features, latent = batch(100, generator(1))
        most = -2 * math.log(0.05 * math.sqrt(2 * math.pi))
        assert float(posterior.log_prob(features, latent).max()) <= most + 1e-4


@pytest.mark.parametrize("categorical", [True, False])
@pytest.mark.parametrize(("kind", "width"), [("states", 14), ("state_actions", 16), ("points", 14)])
def test_every_input_and_latent_gives_a_number_a_step(kind, width, categorical):
    posterior = built(kind, categorical=categorical)
    features = torch.randn(5, 7, width, generator=generator(), requires_grad=True)
    posterior.observe(features)
    fixed, per_step = latents(categorical, 7), latents(categorical, 5, 7)
    assert posterior.log_prob(features, per_step).shape == (5, 7)
    value = posterior.log_prob(features, fixed)  # one latent for all steps
    assert value.shape == (5, 7)
    torch.testing.assert_close(value[2], posterior.log_prob(features[2:3], fixed.unsqueeze(0))[0])

    # The bonus reaches the features alone, the loss the parameters alone.
    value.sum().backward()
    assert all(p.grad is None for p in posterior.parameters())
    assert bool((features.grad.abs().sum((0, 1)) > 0).all())
    features.grad = None
    posterior.training_loss(features, fixed).backward()
    assert features.grad is None
    assert all(p.grad is not None for p in posterior.parameters())
    torch.testing.assert_close(posterior(features, fixed), posterior.log_prob(features, fixed))


def test_probabilities_of_all_choices_sum_to_one():
    posterior = built("states", categorical=True)
    features = torch.randn(2, 4, 14, generator=generator())
    total = sum(posterior.log_prob(features, torch.full((4,), z)).exp() for z in range(3))
    torch.testing.assert_close(total, torch.ones(2, 4))


def test_points_without_points_are_refused():
    with pytest.raises(ValueError, match=r"posterior_input was given 'points'; allowed where .* observation_points"):
        configured_posterior(
            "points",
            space=LatentSpace(True, 2),
            observation_dim=4,
            action_dim=1,
            hidden=(8,),
            points=None,
            generator=generator(),
        )
    with pytest.raises(ValueError, match=r"points was given \(6, 2\); allowed are at most 11 numbers"):
        PointSetEncoder(11, POINTS, generator=generator())


# Sets of points -----------------------------------------------------------------------------------------------


def shuffled(observation: torch.Tensor, seed: int = 3) -> torch.Tensor:
    order = torch.randperm(POINTS[0], generator=generator(seed))
    points = observation[..., :12].unflatten(-1, POINTS)[..., order, :].flatten(-2)
    return torch.cat([points, observation[..., 12:]], dim=-1)


def cloud(*batch: int) -> torch.Tensor:
    """Observations whose points differ in place and spread from one to the next, as a real set's may."""
    observation = torch.randn(*batch, 14, generator=generator())
    return observation * torch.linspace(0.1, 3.0, 14) + torch.linspace(-4, 4, 14)


def test_the_order_of_points_means_nothing():
    """Also to what was learned of their scale: the set is normalised as one."""
    data = cloud(200)
    encoder = PointSetEncoder(14, POINTS, generator=generator())
    torch.testing.assert_close(encoder(shuffled(data)), encoder(data))
    assert encoder(data).shape == (200, encoder.width)

    normalizer, other = RunningNormalizer(14, points=POINTS), RunningNormalizer(14, points=POINTS)
    for part in data.split([50, 150]):
        normalizer.update(part)
        other.update(shuffled(part))
    torch.testing.assert_close(normalizer(shuffled(data)), shuffled(normalizer(data)))
    torch.testing.assert_close(other(data), normalizer(data))
    pooled = data[:, :12].reshape(-1, 2)
    torch.testing.assert_close(normalizer.mean[:4], pooled.mean(0).repeat(2))
    torch.testing.assert_close(normalizer.variance[10:12], pooled.var(0, correction=0))
    torch.testing.assert_close(normalizer.mean[12:], data[:, 12:].mean(0))

    policy = MLPPolicy(LatentSpace(True, 2), 5, 14, 3, hidden=(8,), generator=generator(), points=POINTS)
    policy.observe(data)
    latent = torch.arange(200) % 2
    torch.testing.assert_close(policy.mean(shuffled(data), latent, 2), policy.mean(data, latent, 2))
    for categorical in (True, False):
        posterior = built("points", categorical=categorical)
        posterior.observe(data)
        latent = latents(categorical, 200)
        given = posterior.log_prob(data.unsqueeze(0), latent)
        torch.testing.assert_close(posterior.log_prob(shuffled(data).unsqueeze(0), latent), given)


def test_an_encoder_sees_place_and_shape_and_passes_gradients_to_every_point():
    encoder, data = PointSetEncoder(14, POINTS, generator=generator()), cloud(8).requires_grad_()
    encoder(data).square().sum().backward()
    assert bool((data.grad.abs() > 0).all())
    moved = data.detach().clone()
    moved[:, 0:12:2] += 1.0  # the whole set, along x
    before, after = encoder(data.detach()), encoder(moved)
    center = slice(encoder.width - 4, encoder.width - 2)
    torch.testing.assert_close(after[:, : encoder.width - 4], before[:, : encoder.width - 4], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(after[:, center] - before[:, center], torch.tensor([1.0, 0.0]).expand(8, 2))
    doubled = torch.cat([data[:, :12].repeat(1, 2), data[:, 12:]], dim=-1).detach()  # the same set, each point twice
    twice = PointSetEncoder(26, (12, 2), generator=generator())
    twice.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(twice(doubled), before)


class Herd:
    """Six points in the plane that an action moves all together; each batch member has them in another order. The task:
    bring their centre to +1 or to -1 along x.
    """

    num_envs, horizon, action_dim, observation_dim = 32, 6, 2, 12
    observation_points = POINTS
    outcome_names = ("left", "right")

    def reset(self, seed=None):
        shape = torch.randn(self.num_envs, *POINTS, generator=generator(seed or 0))
        return 0.3 * (shape - shape.mean(1, keepdim=True))

    def observe(self, state):
        return state.flatten(1)

    def step(self, state, action):
        state = state + 0.3 * action.unsqueeze(1)
        x, y = state.mean(1).unbind(-1)
        off = (x.abs() - 1).square() + y.square()
        return state, -off, {"success": (off < 0.04).detach(), "outcome": (x > 0).long()}


def test_a_policy_of_point_sets_learns():
    config = RPGConfig(
        num_latents=4,
        iterations=50,
        policy="points",
        policy_hidden=(32,),
        posterior_input="points",
        posterior_stride=2,
        beta=Schedule(0.3, 0.0, 0.3, 0.6),
    )
    trainer = Trainer(Herd(), config)
    result = trainer.train()
    assert result.history[-1].success > result.history[0].success + 0.5
    assert all(mode.success == 1.0 and mode.name in Herd.outcome_names for mode in result.modes)
    losses = [row.terms["posterior_loss"] for row in result.history]
    assert min(losses) < losses[0] - 0.2
