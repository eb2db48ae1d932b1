"""The evidence identity, bound + divergence = log evidence (docs/rpg.md), by quadrature through the code's own terms.

The evidence and the divergence are computed without `rpg`, from torch.distributions and scipy.
"""

import math
from dataclasses import dataclass
from itertools import product

import pytest
import torch
from scipy.integrate import dblquad, quad
from torch import Tensor
from torch.distributions import Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from rpg.models.action_policy import MLPPolicy, squashed_sample
from rpg.models.latent import CategoricalPrior, LatentSpace
from rpg.models.posterior import CategoricalPosterior
from rpg.training.objective import BoundWeights, bound_terms
from rpg.training.rollout import latent_steps, rolled_out

TEMPERATURE = 0.15  # exp(r / TEMPERATURE) is 0.02 between the two optima
DOUBLE = torch.float64


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def squashed(mean: Tensor, std: float) -> TransformedDistribution:
    return TransformedDistribution(Normal(mean, std), [TanhTransform()])


def normal_nodes(count: int, limit: float) -> tuple[Tensor, Tensor]:
    """Noises and their weights: the trapezoidal rule for expectations under N(0, 1)."""
    noise = torch.linspace(-limit, limit, count, dtype=DOUBLE)
    weight = Normal(torch.zeros((), dtype=DOUBLE), 1.0).log_prob(noise).exp() * (noise[1] - noise[0])
    return noise, weight


def reward(x: Tensor) -> Tensor:
    return torch.maximum(-((x + 0.6) ** 2), -3 * (x - 0.6) ** 2)


def log_evidence() -> float:
    """log integral of exp(r(x) / TEMPERATURE) over (-1, 1)."""
    edge = 0.6 * (math.sqrt(3) - 1) / (math.sqrt(3) + 1)  # where the two parabolas meet
    halves = (
        quad(lambda x: math.exp(-((x + 0.6) ** 2) / TEMPERATURE), -1, edge, epsabs=1e-12)[0],
        quad(lambda x: math.exp(-3 * (x - 0.6) ** 2 / TEMPERATURE), edge, 1, epsabs=1e-12)[0],
    )
    return math.log(sum(halves))


@dataclass
class Bandit:
    """One step, action x: a prior over K latents, a squashed Gaussian for each, and a posterior network."""

    prior: CategoricalPrior
    mean: Tensor
    std: float
    posterior: CategoricalPosterior

    @classmethod
    def drawn(cls, latents: int, seed: int) -> "Bandit":
        numbers = generator(seed)
        prior = CategoricalPrior(latents).double()
        with torch.no_grad():
            prior.parameters_of.constant.copy_(torch.randn(latents, generator=numbers))
        posterior = CategoricalPosterior(1, latents, hidden=(16,), generator=numbers).double()
        mean = torch.randn(latents, dtype=DOUBLE, generator=numbers)
        return cls(prior, mean, float(torch.empty(()).uniform_(0.15, 0.8, generator=numbers)), posterior)

    def bound(self, latent: Tensor, noise: Tensor, *, exact_posterior: bool = False) -> Tensor:
        """(N,) the bound in units of the temperature, of `latent` (N,) and `noise` (N,), as `rpg` computes it."""
        sample = squashed_sample(self.mean[latent].unsqueeze(-1), self.std, noise.unsqueeze(-1))
        if exact_posterior:
            log_posterior = self.exact_log_posterior(sample.action.squeeze(-1)).gather(1, latent.unsqueeze(-1)).squeeze(-1)
        else:
            log_posterior = self.posterior.log_prob(sample.action.unsqueeze(0), latent.unsqueeze(0)).squeeze(0)
        terms = bound_terms(
            rewards=reward(sample.action).T,
            action_log_probs=sample.log_prob.unsqueeze(0),
            latent_log_prob=self.prior.log_prob(latent.unsqueeze(0), torch.zeros(1, 1, dtype=DOUBLE)),
            latent_reference=self.prior.reference_log_prob(latent.unsqueeze(0)),
            posterior_log_prob=log_posterior.unsqueeze(0),
            posterior_steps=torch.tensor([0]),
        )
        return (terms.total(BoundWeights(beta=TEMPERATURE, alpha=TEMPERATURE, alpha_z=0.0)) / TEMPERATURE).detach()

    def expected_bound(self, *, exact_posterior: bool = False) -> float:
        noise, weight = normal_nodes(20_001, 10.0)
        each = [
            (weight * self.bound(torch.full((len(noise),), z), noise, exact_posterior=exact_posterior)).sum()
            for z in range(len(self.mean))
        ]
        return float((self.probs * torch.stack(each)).sum())

    @property
    def probs(self) -> Tensor:
        return torch.softmax(self.prior.parameters_of.constant.detach(), dim=0)

    def log_joint(self, x: Tensor) -> Tensor:
        """(N, K) log pi(z) pi(x|z)."""
        return self.probs.log() + squashed(self.mean, self.std).log_prob(x.unsqueeze(-1))

    def exact_log_posterior(self, x: Tensor) -> Tensor:
        return torch.log_softmax(self.log_joint(x), dim=-1)

    def expected(self, integrand) -> float:
        """sum_z integral q(x, z) integrand (N, K), over x = tanh(u)."""
        u = torch.linspace(-12, 12, 48_001, dtype=DOUBLE)
        x = torch.tanh(u)
        keep = x.abs() < 1 - 1e-12  # beyond, torch's atanh loses the digits, and q is below 1e-40
        u, x = u[keep], x[keep]
        slope = (1 - x) * (1 + x)
        joint = self.log_joint(x)
        return float((joint.exp() * integrand(x, joint)).sum(-1).mul(slope).sum() * (u[1] - u[0]))

    def divergence(self) -> float:
        """KL(q(x, z) || p*(x) p_phi(z|x)), with p*(x) = exp(r(x) / TEMPERATURE) / evidence."""

        def integrand(x: Tensor, joint: Tensor) -> Tensor:
            log_posterior = torch.log_softmax(self.posterior.outputs(x.unsqueeze(-1)), dim=-1).detach()
            return joint - (reward(x) / TEMPERATURE - log_evidence()).unsqueeze(-1) - log_posterior

        return self.expected(integrand)


@pytest.mark.parametrize("latents", [1, 2, 5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_bound_and_divergence_make_the_evidence(latents, seed):
    bandit = Bandit.drawn(latents, seed)
    divergence = bandit.divergence()
    assert divergence > 0.01
    assert bandit.expected_bound() + divergence == pytest.approx(log_evidence(), abs=1e-6)


@pytest.mark.parametrize("latents", [1, 2, 5])
def test_with_the_exact_posterior_the_bound_is_that_of_the_marginal_policy(latents):
    bandit = Bandit.drawn(latents, 3)
    marginal = bandit.expected(
        lambda x, joint: (reward(x) / TEMPERATURE - torch.logsumexp(joint, dim=-1)).unsqueeze(-1).expand_as(joint)
    )
    best = bandit.expected_bound(exact_posterior=True)
    assert best == pytest.approx(marginal, abs=1e-6)
    if latents > 1:
        assert best > bandit.expected_bound()  # no other posterior does better


def test_two_modes_are_worth_a_second_latent():
    """Both optima matter: the best mixture of two comes far nearer to the evidence than the best single Gaussian."""

    def best(latents: int) -> float:
        bandit = Bandit.drawn(latents, 0)
        starts = [[-0.7, 0.7]] if latents == 2 else [[m] for m in (-1.0, -0.7, 0.0, 0.7)]
        values = []
        for start, std, share in product(starts, (0.2, 0.4, 0.7, 1.0), (0.5, 0.6, 0.7) if latents == 2 else (1.0,)):
            bandit.mean, bandit.std = torch.tensor(start, dtype=DOUBLE), std
            with torch.no_grad():
                probs = torch.tensor([share, 1 - share][:latents], dtype=DOUBLE)
                bandit.prior.parameters_of.constant.copy_(probs.log())
            values.append(bandit.expected_bound(exact_posterior=True))
        return max(values)

    assert log_evidence() - best(2) < 0.15
    assert log_evidence() - best(1) > 0.25


def test_sampled_terms_have_that_mean():
    bandit, count = Bandit.drawn(4, 5), 200_000
    first = torch.zeros(count, 1, dtype=DOUBLE)
    latent = bandit.prior.sample(first, generator(6))[0]
    values = bandit.bound(latent, torch.randn(count, dtype=DOUBLE, generator=generator(7)))
    error = float(values.std()) / math.sqrt(count)
    assert abs(float(values.mean()) - bandit.expected_bound()) < 4 * error


@dataclass
class TwoSteps:
    """s' = s + a from 0, with a reward that is smooth in both actions: as many episodes as there are nodes."""

    num_envs: int
    horizon: int = 2
    action_dim: int = 1
    observation_dim: int = 1

    def reset(self, seed=None):
        return torch.zeros(self.num_envs, 1, dtype=DOUBLE)

    def observe(self, state):
        return state

    def step(self, state, action):
        state = state + action
        info = {"success": torch.ones(self.num_envs, dtype=torch.bool), "outcome": torch.zeros(self.num_envs).long()}
        return state, -((state.squeeze(-1) - 0.3) ** 2), info


@pytest.mark.parametrize("segments", [1, 2])
def test_over_two_steps_and_a_sequence_of_latents(segments):
    """alpha = c T, alpha_z = 0, beta = c S. p_phi(z|tau), a geometric mean over steps, has a sum of at most 1 over z,
    so that the divergence from it is not negative either.
    """
    c, std, choices, horizon = 0.2, 0.4, 2, 2
    noise, weight = normal_nodes(121, 9.0)
    pairs = torch.cartesian_prod(noise, noise)
    env = TwoSteps(len(pairs))
    policy = MLPPolicy(LatentSpace(True, choices), 2, 1, 1, hidden=(8,), generator=generator(0), last_scale=2.0).double()
    posterior = CategoricalPosterior(1, choices, hidden=(8,), generator=generator(1)).double()
    prior = CategoricalPrior(choices, segments=segments).double()
    with torch.no_grad():
        prior.parameters_of.constant.copy_(torch.randn(segments * choices, generator=generator(2)))
    prior_probs = torch.softmax(prior.parameters_of.constant.detach().view(segments, choices), dim=-1)

    def log_likelihood(b: float, a: float) -> float:
        return -((a - 0.3) ** 2 + (a + b - 0.3) ** 2) / (c * horizon)

    evidence = math.log(dblquad(lambda b, a: math.exp(log_likelihood(b, a)), -1, 1, -1, 1, epsabs=1e-10)[0])

    bound = divergence = 0.0
    masses = torch.zeros(len(pairs), dtype=DOUBLE)
    for chosen in product(range(choices), repeat=segments):
        latent = torch.tensor(chosen).unsqueeze(-1).expand(-1, len(pairs))
        with torch.no_grad():
            trajectory = rolled_out(env, policy, latent, state=env.reset(0), std=std, noise=pairs.T.unsqueeze(-1))
            steps = trajectory.sampled_steps(1)
            log_posterior = posterior.log_prob(trajectory.features(steps, with_actions=False), latent_steps(latent, steps, 2))
            terms = bound_terms(
                rewards=trajectory.rewards,
                action_log_probs=trajectory.log_probs,
                latent_log_prob=prior.log_prob(latent, trajectory.observations[0]),
                latent_reference=prior.reference_log_prob(latent),
                posterior_log_prob=log_posterior,
                posterior_steps=steps,
            )
            value = terms.total(BoundWeights(beta=c * segments, alpha=c * horizon, alpha_z=0.0)) / c

            # The divergence, from torch.distributions and the network's logits alone.
            a, b = trajectory.actions.squeeze(-1)
            log_q = math.log(math.prod(float(prior_probs[s, z]) for s, z in enumerate(chosen)))
            for step, action in enumerate((a, b)):
                z = latent[step * segments // 2]
                mean = policy.mean(trajectory.observations[step], z, step).squeeze(-1)
                log_q = log_q + squashed(mean, std).log_prob(action)
            logits = [torch.log_softmax(posterior.outputs(x.unsqueeze(-1)), dim=-1) for x in (a, a + b)]
            log_g = (logits[0][:, chosen[0]] + logits[1][:, chosen[-1]]) / (2 if segments == 1 else 1)
            log_p = -((a - 0.3) ** 2 + (a + b - 0.3) ** 2) / (c * horizon) - evidence
            weights = torch.cartesian_prod(weight, weight).prod(-1) * math.prod(
                float(prior_probs[s, z]) for s, z in enumerate(chosen)
            )
            bound += float((weights * value).sum())
            divergence += float((weights * (log_q - log_p - log_g)).sum())
            # The same paths under every latent: how much p_phi hands out at all.
            if chosen == (0,) * segments:
                share = torch.stack(logits)
                masses = share.mean(0).exp().sum(-1) if segments == 1 else share.exp().sum(-1).prod(0)
    assert bound + divergence == pytest.approx(evidence, abs=1e-6)
    assert divergence > 0
    assert float(masses.max()) <= 1 + 1e-12


def test_gradient_by_the_noise_is_that_by_the_action():
    """The policy's gradient is assembled from gradients by the noise, which must therefore not hold the noise's own
    density: else the entropy of a learned std counts twice wherever pathwise and score gradients are mixed.
    """
    noise = torch.randn(9, 2, dtype=DOUBLE, generator=generator(0)).requires_grad_()
    sample = squashed_sample(torch.full((9, 2), 0.4, dtype=DOUBLE), 0.3, noise)
    (grad,) = torch.autograd.grad(sample.log_prob.sum(), noise)
    torch.testing.assert_close(grad, 0.3 * 2 * sample.action.detach())
