"""pi(z|s1), the distribution of the latent given the first state. An episode draws one latent, or a sequence of S, at its
start.

A categorical latent is a tensor (S, B) int64, a continuous one (S, B, D).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from rpg.models.network import RunningNormalizer, dense_network, held

LatentKind = Literal["categorical", "gaussian", "mixture", "returns"]


@dataclass(frozen=True)
class LatentSpace:
    """The space of a latent: one of `size` values, or a vector of `size` numbers."""

    categorical: bool
    size: int

    def features(self, latent: Tensor, like: Tensor) -> Tensor:
        """(..., size) input for a network: one-hot, or the vector itself."""
        return functional.one_hot(latent, self.size).to(like) if self.categorical else latent.to(like)


class ConditionalParameters(nn.Module):
    """The parameters of pi(z|s1): constants, or the outputs of a network of s1, (B or 1, width).

    Most tasks start from a narrow distribution, where s1 does not matter for the choice and a network would only add noise to
    the REINFORCE gradient: constants are the default.
    """

    def __init__(self, start: Tensor, *, observation_dim: int, hidden: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        self.constant = nn.Parameter(start.clone())
        self.network: nn.Module | None = None
        if hidden:
            self.normalizer = RunningNormalizer(observation_dim)
            sizes = (observation_dim, *hidden, start.numel())
            self.network = dense_network(sizes, generator=generator, last_scale=0.1)

    def forward(self, observation: Tensor) -> Tensor:
        if self.network is None:
            return self.constant.unsqueeze(0)
        return self.constant + self.network(self.normalizer(observation))

    def observe(self, observation: Tensor) -> None:
        """Update the normaliser with first observations (B, O)."""
        if self.network is not None:
            self.normalizer.update(observation)


class LatentPrior(nn.Module, ABC):
    """The interface. `observation` is that of the first state, (B, O)."""

    def __init__(self, space: LatentSpace, segments: int) -> None:
        super().__init__()
        self.space = space
        self.segments = segments

    @abstractmethod
    def sample(self, observation: Tensor, generator: torch.Generator) -> Tensor:
        """(S, B) or (S, B, D) draws. `generator` is a CPU generator, so that a seed gives the same draws on every device."""

    @abstractmethod
    def log_prob(self, latent: Tensor, observation: Tensor) -> Tensor:
        """(B,) log pi(z|s1), summed over the sequence, differentiable in the parameters."""

    @abstractmethod
    def entropy(self, observation: Tensor) -> Tensor:
        """() mean entropy of pi(z|s1), nats, summed over the sequence; an estimate for mixtures."""

    @abstractmethod
    def probs(self, observation: Tensor) -> Tensor:
        """Mean probabilities of the choices (categorical) or components at the first draw, (K,)."""

    def observe(self, observation: Tensor, latent: Tensor, value: Tensor, progress: float) -> None:
        """Learn from a batch of episodes other than by gradients: `value` (B,) is the bound of each."""

    def candidates(self, observation: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The latents to evaluate and their probabilities: (S, N) or (S, N, D), and (N,).

        Every value of a single categorical latent; else up to `count` draws without duplicates, those with the highest
        probability or density first. All draws of a continuous latent count as equally probable.
        """
        if self.space.categorical and self.segments == 1:
            probs = self.probs(observation)
            return torch.arange(len(probs), device=probs.device).unsqueeze(0), probs
        if self.space.categorical:
            rows = observation[torch.arange(256) % len(observation)]
            draws, counts = self.sample(rows, generator).unique(dim=1, return_counts=True)
            kept = counts.argsort(descending=True, stable=True)[:count]
            return draws[:, kept], counts[kept].to(observation) / len(rows)
        rows = observation[torch.arange(count) % len(observation)]
        draws = self.sample(rows, generator)
        order = self.log_prob(draws, rows).detach().argsort(descending=True, stable=True)
        return draws[:, order], observation.new_full((count,), 1 / count)


class CategoricalPrior(LatentPrior):
    """A softmax over K logits for each member of the sequence."""

    def __init__(
        self,
        num_latents: int,
        *,
        segments: int = 1,
        observation_dim: int = 1,
        hidden: Sequence[int] = (),
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(LatentSpace(True, num_latents), segments)
        self.parameters_of = ConditionalParameters(
            torch.zeros(segments * num_latents),
            observation_dim=observation_dim,
            hidden=hidden,
            generator=generator or torch.Generator(),
        )

    def log_probs(self, observation: Tensor) -> Tensor:
        """(S, B or 1, K) log pi(z|s1)."""
        logits = self.parameters_of(observation).unflatten(-1, (self.segments, self.space.size))
        return torch.log_softmax(logits, dim=-1).transpose(0, 1)

    def sample(self, observation: Tensor, generator: torch.Generator) -> Tensor:
        batch = len(observation)
        probs = self.log_probs(observation).detach().exp().cpu()
        draws = [
            torch.multinomial(rows[0], batch, replacement=True, generator=generator)
            if len(rows) == 1
            else torch.multinomial(rows, 1, generator=generator).squeeze(-1)
            for rows in probs
        ]
        return torch.stack(draws).to(observation.device)

    def log_prob(self, latent: Tensor, observation: Tensor) -> Tensor:
        log_probs = self.log_probs(observation).expand(-1, latent.shape[1], -1)
        return log_probs.gather(-1, latent.unsqueeze(-1)).squeeze(-1).sum(0)

    def entropy(self, observation: Tensor) -> Tensor:
        log_probs = self.log_probs(observation)
        return -(log_probs.exp() * log_probs).sum(-1).mean(1).sum()

    def probs(self, observation: Tensor) -> Tensor:
        return self.log_probs(observation)[0].exp().mean(0)

    def observe(self, observation: Tensor, latent: Tensor, value: Tensor, progress: float) -> None:
        self.parameters_of.observe(observation)


class GaussianMixturePrior(LatentPrior):
    """A mixture of M diagonal Gaussians in D dimensions; M = 1 is a Gaussian.

    The means start as draws from N(0, 1), and the standard deviations at 1, or at M^(-1/D) for a mixture.
    """

    def __init__(
        self,
        dim: int,
        *,
        components: int = 1,
        segments: int = 1,
        observation_dim: int = 1,
        hidden: Sequence[int] = (),
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(LatentSpace(False, dim), segments)
        generator = generator or torch.Generator()
        self.components = components
        start = torch.zeros(segments, components, 1 + 2 * dim)
        if components > 1:
            start[..., 1 : 1 + dim] = torch.randn(segments, components, dim, generator=generator)
            start[..., 1 + dim :] = -math.log(components) / dim
        self.parameters_of = ConditionalParameters(
            start.flatten(), observation_dim=observation_dim, hidden=hidden, generator=generator
        )

    def _terms(self, observation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights (S, B or 1, M), means and log stds (S, B or 1, M, D)."""
        shape = (self.segments, self.components, 1 + 2 * self.space.size)
        values = self.parameters_of(observation).unflatten(-1, shape).transpose(0, 1)
        logits, means, log_stds = values.split((1, self.space.size, self.space.size), dim=-1)
        return torch.log_softmax(logits.squeeze(-1), dim=-1), means, held(log_stds, -5, 2)

    @torch.no_grad()
    def sample(self, observation: Tensor, generator: torch.Generator) -> Tensor:
        batch = len(observation)
        log_weights, means, log_stds = (t.cpu().expand(-1, batch, *t.shape[2:]) for t in self._terms(observation))
        flat = log_weights.exp().flatten(0, 1)
        chosen = torch.multinomial(flat, 1, generator=generator).view(self.segments, batch, 1, 1)
        index = chosen.expand(-1, -1, 1, self.space.size)
        mean, log_std = means.gather(2, index).squeeze(2), log_stds.gather(2, index).squeeze(2)
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
        return (mean + log_std.exp() * noise).to(observation)

    def log_prob(self, latent: Tensor, observation: Tensor) -> Tensor:
        log_weights, means, log_stds = self._terms(observation)
        score = (latent.unsqueeze(2) - means) * (-log_stds).exp()
        each = (-0.5 * score.square() - log_stds - 0.5 * math.log(2 * math.pi)).sum(-1)
        return torch.logsumexp(log_weights + each, dim=-1).sum(0)

    def entropy(self, observation: Tensor) -> Tensor:
        """Exact for one component; for more, the upper bound H(component) + sum of weighted entropies."""
        log_weights, _, log_stds = self._terms(observation)
        weights = log_weights.exp()
        own = (log_stds + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)
        return (weights * (own - log_weights)).sum(-1).mean(1).sum()

    def probs(self, observation: Tensor) -> Tensor:
        return self._terms(observation)[0][0].exp().mean(0)

    def observe(self, observation: Tensor, latent: Tensor, value: Tensor, progress: float) -> None:
        self.parameters_of.observe(observation)


class ReturnsPrior(LatentPrior):
    """A softmax over the running mean value of each choice, divided by a temperature: nothing is learned by gradients.

    The temperature is in units of the standard deviation of those means, and falls geometrically from `hot` to `cold` over
    the run. A choice that has not been tried counts as the best.
    """

    returns: Tensor
    tried: Tensor
    temperature: Tensor

    def __init__(self, num_latents: int, *, segments: int = 1, hot: float = 3.0, cold: float = 0.05, rate: float = 0.1) -> None:
        super().__init__(LatentSpace(True, num_latents), segments)
        self.hot, self.cold, self.rate = hot, cold, rate
        self.register_buffer("returns", torch.zeros(segments, num_latents))
        self.register_buffer("tried", torch.zeros(segments, num_latents, dtype=torch.bool))
        self.register_buffer("temperature", torch.tensor(hot))

    def log_probs(self) -> Tensor:
        """(S, K)."""
        best = torch.where(self.tried, self.returns, -torch.inf).amax(-1, keepdim=True)
        values = torch.where(self.tried, self.returns, best.nan_to_num(neginf=0.0))
        spread = values.std(-1, keepdim=True, correction=0).clamp_min(1e-6)
        return torch.log_softmax((values - values.amax(-1, keepdim=True)) / (self.temperature * spread), dim=-1)

    def sample(self, observation: Tensor, generator: torch.Generator) -> Tensor:
        probs = self.log_probs().exp().cpu()
        return torch.multinomial(probs, len(observation), replacement=True, generator=generator).to(observation.device)

    def log_prob(self, latent: Tensor, observation: Tensor) -> Tensor:
        return self.log_probs().gather(1, latent).sum(0)

    def entropy(self, observation: Tensor) -> Tensor:
        log_probs = self.log_probs()
        return -(log_probs.exp() * log_probs).sum()

    def probs(self, observation: Tensor) -> Tensor:
        return self.log_probs()[0].exp()

    @torch.no_grad()
    def observe(self, observation: Tensor, latent: Tensor, value: Tensor, progress: float) -> None:
        self.temperature.fill_(self.hot * (self.cold / self.hot) ** progress)
        for segment in range(self.segments):
            for z in latent[segment].unique():
                mean = value[latent[segment] == z].mean()
                rate = self.rate if bool(self.tried[segment, z]) else 1.0
                self.returns[segment, z] += rate * (mean - self.returns[segment, z])
                self.tried[segment, z] = True


def configured_prior(
    kind: LatentKind,
    *,
    num_latents: int,
    dim: int,
    segments: int,
    observation_dim: int,
    hidden: Sequence[int],
    generator: torch.Generator,
) -> LatentPrior:
    """The prior of that kind: K choices, or D dimensions (with K components for a mixture)."""
    common: dict[str, Any] = {"observation_dim": observation_dim, "hidden": hidden, "generator": generator}
    if kind == "categorical":
        return CategoricalPrior(num_latents, segments=segments, **common)
    if kind == "returns":
        return ReturnsPrior(num_latents, segments=segments)
    components = num_latents if kind == "mixture" else 1
    return GaussianMixturePrior(dim, components=components, segments=segments, **common)
