"""pi(z|s1), the distribution of the latent given the first state. An episode draws one latent, or a sequence of S: all at its
start, or, as a chain, each when its turn comes, from pi(z_k|s, z_before) given the state then and the member before.

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
from rpg.settings_checks import SettingError

LatentKind = Literal["categorical", "gaussian", "mixture", "returns"]


@dataclass(frozen=True)
class LatentSpace:
    """The space of a latent: one of `size` values, or a vector of `size` numbers."""

    categorical: bool
    size: int

    def features(self, latent: Tensor, like: Tensor) -> Tensor:
        """(..., size) input for a network: one-hot, or the vector itself."""
        return functional.one_hot(latent, self.size).to(like) if self.categorical else latent.to(like)


def stratified_draws(probs: Tensor, generator: torch.Generator) -> Tensor:
    """(B,) draws, one from each row of `probs` (B, K), a CPU tensor: systematic samples in random order.

    Each draw has its row's distribution. Together they hit equal rows' choices in proportion: with K = B equally probable
    choices each is drawn once. So averages over z vary less than with independent draws.
    """
    batch = len(probs)
    order = torch.randperm(batch, generator=generator)
    points = (order + torch.rand(1, generator=generator, dtype=torch.float64)) / batch
    edges = probs.double().cumsum(-1)
    chosen = torch.searchsorted(edges / edges[:, -1:], points.unsqueeze(-1), right=True).squeeze(-1)
    return chosen.clamp(max=probs.shape[-1] - 1)


class ConditionalParameters(nn.Module):
    """The parameters of pi(z|s1): constants, or the outputs of a network of s1, (B or 1, width).

    Most tasks start from a narrow distribution, where s1 does not matter for the choice and a network would only add noise to
    the REINFORCE gradient: constants are the default. `further` inputs of the network stand beside the observation.
    """

    def __init__(
        self, start: Tensor, *, observation_dim: int, hidden: Sequence[int], generator: torch.Generator, further: int = 0
    ) -> None:
        super().__init__()
        self.constant = nn.Parameter(start.clone())
        self.network: nn.Module | None = None
        if hidden:
            self.normalizer = RunningNormalizer(observation_dim)
            sizes = (observation_dim + further, *hidden, start.numel())
            self.network = dense_network(sizes, generator=generator, last_scale=0.1)

    def forward(self, observation: Tensor, further: Tensor | None = None) -> Tensor:
        if self.network is None:
            return self.constant.unsqueeze(0)
        seen = self.normalizer(observation)
        return self.constant + self.network(seen if further is None else torch.cat([seen, further], dim=-1))

    def observe(self, observation: Tensor) -> None:
        """Update the normaliser with observations (..., O)."""
        if self.network is not None:
            self.normalizer.update(observation)


class LatentPrior(nn.Module, ABC):
    """The interface. `observation` is that of the first state, (B, O); of a chain, that at the start of a member."""

    def __init__(self, space: LatentSpace, segments: int, *, chain: bool = False) -> None:
        super().__init__()
        self.space = space
        self.segments = segments
        self.chain = chain

    @abstractmethod
    def sample_member(self, member: int, observation: Tensor, before: Tensor | None, generator: torch.Generator) -> Tensor:
        """(B,) or (B, D) draws of one member of the sequence; `before` is the member before it, if there is one, and counts
        in chains only. `generator` is a CPU generator, so that a seed gives the same draws on every device."""

    @abstractmethod
    def member_log_prob(self, member: int, latent: Tensor, observation: Tensor, before: Tensor | None) -> Tensor:
        """(B,) log pi of one member, differentiable in the parameters."""

    @abstractmethod
    def member_entropy(self, member: int, observation: Tensor, before: Tensor | None) -> Tensor:
        """() its mean entropy, nats; an upper bound for mixtures."""

    @abstractmethod
    def probs(self, observation: Tensor) -> Tensor:
        """Mean probabilities of the choices (categorical) or components at the first draw, (K,)."""

    @abstractmethod
    def reference_log_prob(self, latent: Tensor) -> Tensor:
        """(S, B) log density of the members under what pi is held to when nothing is learned: equally probable choices, or
        N(0, 1) in each dimension."""

    def sample(self, observation: Tensor, generator: torch.Generator) -> Tensor:
        """(S, B) or (S, B, D) draws of whole sequences, from the first state. Not for chains."""
        return torch.stack([self.sample_member(n, observation, None, generator) for n in range(self.segments)])

    def log_prob(self, latent: Tensor, observations: Tensor) -> Tensor:
        """(S, B) log pi(z|s1) of each member, differentiable in the parameters; `observations` is (B, O), of a chain (S, B, O),
        those at the start of each member."""
        return torch.stack([self.member_log_prob(n, z, *self._given(n, latent, observations)) for n, z in enumerate(latent)])

    def entropy(self, latent: Tensor, observations: Tensor) -> Tensor:
        """() mean entropy, nats, summed over the sequence; `latent` counts in chains only."""
        return torch.stack([self.member_entropy(n, *self._given(n, latent, observations)) for n in range(self.segments)]).sum()

    def observe(self, observations: Tensor, latent: Tensor, value: Tensor, progress: float) -> None:
        """Learn from a batch of episodes other than by gradients: `value` (S, B) are the rewards still to come at the start of
        each member."""

    def candidates(self, observation: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The latents to evaluate and their probabilities: (S, N) or (S, N, D), and (N,). Not for chains.

        Every value of a single categorical latent; else up to `count` draws without duplicates, those with the highest
        probability or density first. All draws of a continuous latent count as equally probable.
        """
        if self.space.categorical and self.segments == 1:
            probs = self.probs(observation)
            return torch.arange(len(probs), device=probs.device).unsqueeze(0), probs
        if self.space.categorical:
            rows = observation[torch.arange(256) % len(observation)]
            return frequent(self.sample(rows, generator), count)
        rows = observation[torch.arange(count) % len(observation)]
        draws = self.sample(rows, generator)
        order = self.log_prob(draws, rows).detach().sum(0).argsort(descending=True, stable=True)
        return draws[:, order], observation.new_full((count,), 1 / count)

    def _given(self, member: int, latent: Tensor, observations: Tensor) -> tuple[Tensor, Tensor | None]:
        """What a member depends on: the observation, and in a chain the member before."""
        if not self.chain:
            return observations, None
        return observations[member], latent[member - 1] if member > 0 else None


def frequent(draws: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The most frequent of the sequences `draws` (S, N, ...), at most `count`, and their frequencies."""
    distinct, counts = draws.unique(dim=1, return_counts=True)
    kept = counts.argsort(descending=True, stable=True)[:count]
    return distinct[:, kept], counts[kept].double() / draws.shape[1]


class LearnedPrior(LatentPrior):
    """A prior with parameters, constants or outputs of a network, which REINFORCE learns.

    Of sequences drawn at the start each member has `width` parameters of its own; in a chain the members share a network of
    the state, the member before and the member's number.
    """

    def __init__(
        self,
        space: LatentSpace,
        start: Tensor,
        *,
        chain: bool,
        observation_dim: int,
        hidden: Sequence[int],
        generator: torch.Generator,
    ) -> None:
        """`start` (S, width) are the parameters at the start."""
        super().__init__(space, len(start), chain=chain)
        if chain and not hidden:
            raise SettingError("latent_chain was given True with latent_hidden (); allowed are hidden widths, as (64, 64)")
        self.width = start.shape[1]
        self.parameters_of = ConditionalParameters(
            start[0] if chain else start.flatten(), observation_dim=observation_dim, hidden=hidden, generator=generator,
            further=space.size + len(start) if chain else 0,
        )  # fmt: skip

    def member_parameters(self, member: int, observation: Tensor, before: Tensor | None) -> Tensor:
        """(B or 1, width)."""
        if not self.chain:
            return self.parameters_of(observation)[..., member * self.width : (member + 1) * self.width]
        number = observation.new_zeros(len(observation), self.segments)
        number[:, member] = 1.0
        known = observation.new_zeros(len(observation), self.space.size)
        if before is not None:
            known = self.space.features(before, observation)
        return self.parameters_of(observation, torch.cat([known, number], dim=-1))

    def observe(self, observations: Tensor, latent: Tensor, value: Tensor, progress: float) -> None:
        self.parameters_of.observe(observations)


class CategoricalPrior(LearnedPrior):
    """A softmax over K logits for each member of the sequence."""

    def __init__(
        self,
        num_latents: int,
        *,
        segments: int = 1,
        chain: bool = False,
        observation_dim: int = 1,
        hidden: Sequence[int] = (),
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(
            LatentSpace(True, num_latents), torch.zeros(segments, num_latents), chain=chain,
            observation_dim=observation_dim, hidden=hidden, generator=generator or torch.Generator(),
        )  # fmt: skip

    def member_log_probs(self, member: int, observation: Tensor, before: Tensor | None = None) -> Tensor:
        """(B or 1, K) log probabilities of one member's choices."""
        return torch.log_softmax(self.member_parameters(member, observation, before), dim=-1)

    @torch.no_grad()
    def sample_member(self, member: int, observation: Tensor, before: Tensor | None, generator: torch.Generator) -> Tensor:
        probs = self.member_log_probs(member, observation, before).exp().cpu()
        return stratified_draws(probs.expand(len(observation), -1), generator).to(observation.device)

    def member_log_prob(self, member: int, latent: Tensor, observation: Tensor, before: Tensor | None) -> Tensor:
        log_probs = self.member_log_probs(member, observation, before).expand(len(latent), -1)
        return log_probs.gather(-1, latent.unsqueeze(-1)).squeeze(-1)

    def member_entropy(self, member: int, observation: Tensor, before: Tensor | None) -> Tensor:
        log_probs = self.member_log_probs(member, observation, before)
        return -(log_probs.exp() * log_probs).sum(-1).mean()

    def probs(self, observation: Tensor) -> Tensor:
        return self.member_log_probs(0, observation).exp().mean(0)

    def reference_log_prob(self, latent: Tensor) -> Tensor:
        return self.parameters_of.constant.new_full(latent.shape, -math.log(self.space.size))


class GaussianMixturePrior(LearnedPrior):
    """A mixture of M diagonal Gaussians in D dimensions; M = 1 is a Gaussian.

    The means start as draws from N(0, 1), and the standard deviations at 1, or at M^(-1/D) for a mixture.
    """

    def __init__(
        self,
        dim: int,
        *,
        components: int = 1,
        segments: int = 1,
        chain: bool = False,
        observation_dim: int = 1,
        hidden: Sequence[int] = (),
        generator: torch.Generator | None = None,
    ) -> None:
        generator = generator or torch.Generator()
        start = torch.zeros(segments, components, 1 + 2 * dim)
        if components > 1:
            start[..., 1 : 1 + dim] = torch.randn(segments, components, dim, generator=generator)
            start[..., 1 + dim :] = -math.log(components) / dim
        super().__init__(
            LatentSpace(False, dim), start.flatten(1), chain=chain,
            observation_dim=observation_dim, hidden=hidden, generator=generator,
        )  # fmt: skip
        self.components = components

    def _terms(self, member: int, observation: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights (B or 1, M), means and log stds (B or 1, M, D)."""
        values = self.member_parameters(member, observation, before)
        logits, means, log_stds = values.unflatten(-1, (self.components, 1 + 2 * self.space.size)).split(
            (1, self.space.size, self.space.size), dim=-1
        )
        return torch.log_softmax(logits.squeeze(-1), dim=-1), means, held(log_stds, -5, 2)

    @torch.no_grad()
    def sample_member(self, member: int, observation: Tensor, before: Tensor | None, generator: torch.Generator) -> Tensor:
        batch = len(observation)
        log_weights, means, log_stds = (t.cpu().expand(batch, *t.shape[1:]) for t in self._terms(member, observation, before))
        chosen = torch.multinomial(log_weights.exp(), 1, generator=generator).view(batch, 1, 1)
        index = chosen.expand(-1, 1, self.space.size)
        mean, log_std = means.gather(1, index).squeeze(1), log_stds.gather(1, index).squeeze(1)
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
        return (mean + log_std.exp() * noise).to(observation)

    def member_log_prob(self, member: int, latent: Tensor, observation: Tensor, before: Tensor | None) -> Tensor:
        log_weights, means, log_stds = self._terms(member, observation, before)
        score = (latent.unsqueeze(1) - means) * (-log_stds).exp()
        each = (-0.5 * score.square() - log_stds - 0.5 * math.log(2 * math.pi)).sum(-1)
        return torch.logsumexp(log_weights + each, dim=-1)

    def member_entropy(self, member: int, observation: Tensor, before: Tensor | None) -> Tensor:
        """Exact for one component; for more, the upper bound H(component) + sum of weighted entropies."""
        log_weights, _, log_stds = self._terms(member, observation, before)
        own = (log_stds + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)
        return (log_weights.exp() * (own - log_weights)).sum(-1).mean()

    def probs(self, observation: Tensor) -> Tensor:
        return self._terms(0, observation, None)[0].exp().mean(0)

    def reference_log_prob(self, latent: Tensor) -> Tensor:
        return (-0.5 * latent.square() - 0.5 * math.log(2 * math.pi)).sum(-1)


class ReturnsPrior(LatentPrior):
    """A softmax over the running mean reward still to come of each choice, divided by a temperature: nothing is learned by
    gradients.

    The temperature is in units of the standard deviation of those means, and falls geometrically from `hot` to `cold` over
    the run. A choice that has not been tried counts as the best. Where all choices do equally well they are equally probable.
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
        values = torch.where(self.tried, self.returns, torch.where(best.isinf(), torch.zeros_like(best), best))
        spread = values.std(-1, keepdim=True, correction=0)
        spread = torch.where(spread > 1e-6 * values.abs().amax(-1, keepdim=True), spread, torch.inf)
        return torch.log_softmax((values - values.amax(-1, keepdim=True)) / (self.temperature * spread), dim=-1)

    def sample_member(self, member: int, observation: Tensor, before: Tensor | None, generator: torch.Generator) -> Tensor:
        probs = self.log_probs()[member].exp().cpu()
        return stratified_draws(probs.expand(len(observation), -1), generator).to(observation.device)

    def member_log_prob(self, member: int, latent: Tensor, observation: Tensor, before: Tensor | None) -> Tensor:
        return self.log_probs()[member][latent]

    def member_entropy(self, member: int, observation: Tensor, before: Tensor | None) -> Tensor:
        log_probs = self.log_probs()[member]
        return -(log_probs.exp() * log_probs).sum()

    def probs(self, observation: Tensor) -> Tensor:
        return self.log_probs()[0].exp()

    def reference_log_prob(self, latent: Tensor) -> Tensor:
        return self.returns.new_full(latent.shape, -math.log(self.space.size))

    @torch.no_grad()
    def observe(self, observations: Tensor, latent: Tensor, value: Tensor, progress: float) -> None:
        self.temperature.fill_(self.hot * (self.cold / self.hot) ** progress)
        for segment in range(self.segments):
            for z in latent[segment].unique():
                mean = value[segment][latent[segment] == z].mean()
                rate = self.rate if bool(self.tried[segment, z]) else 1.0
                self.returns[segment, z] += rate * (mean - self.returns[segment, z])
                self.tried[segment, z] = True


def configured_prior(
    kind: LatentKind,
    *,
    num_latents: int,
    dim: int,
    segments: int = 1,
    chain: bool = False,
    observation_dim: int,
    hidden: Sequence[int],
    generator: torch.Generator,
) -> LatentPrior:
    """The prior of that kind: K choices, or D dimensions (with K components for a mixture).

    Raises SettingError for a chain without hidden widths, or of running returns.
    """
    common: dict[str, Any] = {
        "chain": chain, "observation_dim": observation_dim, "hidden": hidden, "generator": generator
    }  # fmt: skip
    if kind == "categorical":
        return CategoricalPrior(num_latents, segments=segments, **common)
    if kind == "returns":
        if chain:
            raise SettingError("latent_chain was given True with latent 'returns'; allowed are the kinds that learn a network")
        return ReturnsPrior(num_latents, segments=segments)
    components = num_latents if kind == "mixture" else 1
    return GaussianMixturePrior(dim, components=components, segments=segments, **common)
