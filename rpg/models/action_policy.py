"""pi(a|s,z): tanh-squashed Gaussian policies, open-loop and closed-loop, behind one interface.

A sample is a = tanh(u), u = mean + std * noise. Given the noise, a is a function of the parameters, so E[f(a)] is
differentiated through a (the pathwise, or reparameterised, gradient).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from rpg.models.latent import LatentSpace
from rpg.models.network import PLAIN, NetworkForm, PointSetEncoder, RunningNormalizer, dense_network, held
from rpg.settings_checks import SettingError

PolicyName = Literal["table", "feedback", "mlp", "points"]
HARMONICS = (1, 2)

TABLE_RATE, NETWORK_RATE = 0.1, 0.01
"""Default Adam steps of action tables and of networks."""


class ActionSample(NamedTuple):
    """A reparameterised sample."""

    action: Tensor
    """(B, A) in (-1, 1)."""
    log_prob: Tensor
    """(B,) log pi(a|s,z), summed over the A dimensions."""
    mean: Tensor
    """(B, A) mean before the squashing; tanh(mean) is the noiseless action."""


def squashed_sample(mean: Tensor, std: Tensor | float, noise: Tensor) -> ActionSample:
    """a = tanh(mean + std * noise) and its log density (`squashed_log_prob`); `std` is a number, (A,) or (B, A)."""
    u = mean + std * noise
    return ActionSample(torch.tanh(u), squashed_log_prob(u, std, noise), mean)


def squashed_log_prob(u: Tensor, std: Tensor | float, noise: Tensor) -> Tensor:
    """(...,) log density of tanh(u) for u = mean + std * noise (..., A).

    log pi(a) = log N(u; mean, std) - sum log(1 - tanh(u)^2), where log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2u)) stays
    finite for any u. Along a reparameterised sample (u - mean) / std is the noise, a constant, so the Gaussian part is
    written as a function of the noise. This leaves out its score d log N / d mean, which has expectation zero and only adds
    variance; the gradient of E[log pi] flows through the action and the std only. The gradient with respect to `noise` flows
    through u only, too.
    """
    log_std = math.log(std) if isinstance(std, float | int) else std.log()
    gaussian = -0.5 * noise.detach().square() - log_std - 0.5 * math.log(2 * math.pi)
    return (gaussian - log_tanh_slope(u)).sum(-1)


def log_tanh_slope(u: Tensor) -> Tensor:
    """log(1 - tanh(u)^2), elementwise, finite for any u."""
    return 2 * (math.log(2) - u - functional.softplus(-2 * u))


def squashed_entropy(std: Tensor, u: Tensor) -> float:
    """Mean over steps of the entropy of tanh(u), nats, from samples `u` (T, B, A) with std `std` (T, A) before squashing.

    This is the entropy of each step's marginal distribution: correlations between steps (knots) are ignored.
    """
    gaussian = (std.log() + 0.5 * math.log(2 * math.pi * math.e)).sum(-1).mean()
    return float((gaussian + log_tanh_slope(u).sum(-1).mean()).detach())


def time_features(step: int | Tensor, horizon: int, like: Tensor) -> Tensor:
    """(..., 5) features of the times `step` (...,), for a number (B, 5) as `like` (B, ...): linear, and two harmonics; smooth,
    so that a gradient can shift events in time."""
    if isinstance(step, int):
        return time_features(like.new_tensor(float(step)), horizon, like).expand(like.shape[0], -1)
    share = step.to(like).unsqueeze(-1) / horizon
    angles = [2 * math.pi * harmonic * share for harmonic in HARMONICS]
    return torch.cat([2 * share - 1, *map(torch.sin, angles), *map(torch.cos, angles)], dim=-1)


TIME_FEATURES = 1 + 2 * len(HARMONICS)
LATENT_GAIN = 3.0
"""Factor on a network's first weights of the latent and of the time, where it is to start with different motions."""


class ActionPolicy(nn.Module, ABC):
    """The interface: the mean before squashing, as a function of the observation, the latent and the time.

    The std is an argument of each call or, after `learn_std`, a parameter per action dimension.
    """

    uses_time = True
    """Whether the mean depends on the step."""
    extra_noise = 0
    """How many standard normal numbers a sample takes beyond one for each action dimension."""

    def __init__(self, space: LatentSpace) -> None:
        super().__init__()
        self.space = space
        self.log_std: nn.Parameter | None = None

    @abstractmethod
    def mean(self, observation: Tensor, latent: Tensor, step: int | Tensor) -> Tensor:
        """(..., A) mean before squashing, of `observation` (..., O), `latent` (...,) int64 or (..., D), and `step` (...,) in
        0..T-1, or one number for all of a batch (B,).
        """

    def means(self, latent: Tensor, steps: range, like: Tensor) -> "MeanAt":
        """`mean` of episodes with `latent` (B, ...) as a function of the observation (B, O) and the step, in `steps`: what
        does not depend on the observation is computed once. `like` has the dtype and device of an observation."""
        return lambda observation, step: self.mean(observation, latent, step)

    def parameter_groups(self, rate: float | None) -> list[dict[str, Any]]:
        """The parameters for an optimiser, in groups with a "name", "table" or "network", and the Adam step "lr": `rate`, or by
        default those of tables and networks. A learned std belongs to what it is learned with."""
        own = dict(self.named_parameters())
        log_std, table = own.pop("log_std", None), own.pop("table", None)
        groups: list[dict[str, Any]] = []
        if table is not None:
            groups.append({"name": "table", "params": [table], "lr": rate or TABLE_RATE})
        if own:
            groups.append({"name": "network", "params": list(own.values()), "lr": rate or NETWORK_RATE})
        if log_std is not None:
            groups[0]["params"].append(log_std)
        return groups

    def learn_std(self, action_dim: int, start: float) -> None:
        """Make the std a parameter, independent of the state, with the initial value `start`."""
        self.log_std = nn.Parameter(torch.full((action_dim,), math.log(start)))

    def std(self, given: Tensor | float) -> Tensor | float:
        """The learned std (A,), or `given` if it is not learned."""
        return given if self.log_std is None else held(self.log_std, -4.6, 0.7).exp()

    def forward(
        self, observation: Tensor, latent: Tensor, step: int | Tensor, std: Tensor | float, noise: Tensor
    ) -> ActionSample:
        """A sample with `std` > 0 and `noise` (B, A + `extra_noise`), standard normal; zero noise gives the mean action."""
        return squashed_sample(self.mean(observation, latent, step), self.std(std), noise)

    def observe(self, observations: Tensor) -> None:
        """Update the normaliser with `observations` (..., O), between rollouts. An open-loop policy has none."""


MeanAt = Callable[[Tensor, int], Tensor]
"""The mean before squashing (B, A) of an observation (B, O) at a step."""


def knot_weights(knots: int | None, horizon: int) -> Tensor:
    """(T, N) weights that interpolate linearly from N knots, evenly spaced over an episode, to T steps. One knot is a
    constant. At most T knots are used; None means T, an independent value for each step.
    """
    count = horizon if knots is None else min(knots, horizon)
    place = torch.arange(horizon) * ((count - 1) / max(1, horizon - 1))
    return (1 - (place.unsqueeze(1) - torch.arange(count)).abs()).clamp_min(0.0)


def random_sequences(
    count: int, horizon: int, action_dim: int, scale: float, knots: int | None, generator: torch.Generator
) -> Tensor:
    """(N, T, A) random values with standard deviation `scale`, drawn for each step, or drawn at `knots` evenly spaced times and
    interpolated linearly: noise drawn anew in each step averages out and hardly moves a body."""
    weights = knot_weights(knots, horizon)
    return weights @ (scale * torch.randn(count, weights.shape[1], action_dim, generator=generator))


def sequence_means(table: Tensor, latent: Tensor, steps: range) -> MeanAt:
    """Those of the rows `latent` (B,) of action sequences `table` (N, T, A), all steps taken at once."""
    values = table[:, steps.start : steps.stop].transpose(0, 1)[:, latent].unbind(0)
    return lambda observation, step: values[step - steps.start]


class OpenLoopTable(ActionPolicy):
    """One action sequence for each of K latents, (K, T, A), independent of the observation; all start as `random_sequences`."""

    def __init__(
        self,
        num_latents: int,
        horizon: int,
        action_dim: int,
        *,
        generator: torch.Generator,
        scale: float = 0.01,
        knots: int | None = None,
    ) -> None:
        super().__init__(LatentSpace(True, num_latents))
        self.table = nn.Parameter(random_sequences(num_latents, horizon, action_dim, scale, knots, generator))

    def mean(self, observation: Tensor, latent: Tensor, step: int | Tensor) -> Tensor:
        return self.table[latent, step]

    def means(self, latent: Tensor, steps: range, like: Tensor) -> MeanAt:
        return sequence_means(self.table, latent, steps)


class MLPPolicy(ActionPolicy):
    """A network of (normalised observation, z, features of the time), starting near mean 0 for every z.

    With `points` (N, D), the first N x D entries of an observation are a set of points and are encoded as one.
    """

    def __init__(
        self,
        space: LatentSpace,
        horizon: int,
        observation_dim: int,
        action_dim: int,
        *,
        hidden: Sequence[int],
        generator: torch.Generator,
        last_scale: float = 0.1,
        spread: float | None = None,
        points: tuple[int, int] | None = None,
        form: NetworkForm = PLAIN,
    ) -> None:
        """With `spread` the mean starts with that standard deviation over latents and times, instead of near 0."""
        super().__init__(space)
        self.horizon = horizon
        self.normalizer = RunningNormalizer(observation_dim, points=points)
        self.encoder: PointSetEncoder | None = None
        width = observation_dim
        if points is not None:
            self.encoder = PointSetEncoder(observation_dim, points, generator=generator)
            width = self.encoder.width
        sizes = (width + space.size + TIME_FEATURES, *hidden, action_dim)
        self.network = dense_network(sizes, generator=generator, last_scale=last_scale, form=form)
        if spread is not None:
            self._spread_out(spread, width, generator)

    @torch.no_grad()
    def _spread_out(self, spread: float, width: int, generator: torch.Generator) -> None:
        """Make the mean depend on the latent and the time as much as `spread` says, and on the observation little."""
        first, last = self.network[0], self.network[-1]
        assert isinstance(first, nn.Linear)
        assert isinstance(last, nn.Linear)
        first.weight[:, width:] *= LATENT_GAIN
        count = 256
        steps = torch.arange(count) % self.horizon
        if self.space.categorical:
            z = torch.randint(self.space.size, (count,), generator=generator)
        else:
            z = torch.randn(count, self.space.size, generator=generator)
        seen = torch.randn(count, width, generator=generator)
        like = torch.zeros(count, 1)
        rows = torch.cat([seen, self.space.features(z, like), time_features(steps, self.horizon, like)], dim=-1)
        last.weight.mul_(spread / self.network(rows).std())

    def mean(self, observation: Tensor, latent: Tensor, step: int | Tensor) -> Tensor:
        times = time_features(step, self.horizon, observation)
        return self.network(torch.cat([self._seen(observation), self.space.features(latent, observation), times], dim=-1))

    def means(self, latent: Tensor, steps: range, like: Tensor) -> MeanAt:
        """The first layer's part of the latent and of the time, for all steps at once."""
        first, rest = self.network[0], self.network[1:]
        assert isinstance(first, nn.Linear)
        width = first.in_features - self.space.size - TIME_FEATURES
        by_seen, by_latent, by_time = first.weight.split((width, self.space.size, TIME_FEATURES), dim=1)
        times = time_features(torch.arange(steps.start, steps.stop, device=like.device), self.horizon, like)
        given = self.space.features(latent, like) @ by_latent.T
        parts = torch.addmm(first.bias, times, by_time.T).unsqueeze(1) + given
        if self.encoder is not None:
            encode = self._seen
        else:
            mean, inverse, limit = self.normalizer.mean, 1 / self.normalizer.scale(), self.normalizer.limit

            def encode(observation: Tensor) -> Tensor:
                return ((observation - mean) * inverse).clamp(-limit, limit)

        by_seen, layers = by_seen.T, parts.unbind(0)
        return lambda observation, step: rest(torch.addmm(layers[step - steps.start], encode(observation), by_seen))

    def _seen(self, observation: Tensor) -> Tensor:
        """The observation, normalised and encoded."""
        seen = self.normalizer(observation)
        return seen if self.encoder is None else self.encoder(seen)

    def observe(self, observations: Tensor) -> None:
        self.normalizer.update(observations)


class FeedbackPolicy(MLPPolicy):
    """An open-loop action sequence for each latent (`OpenLoopTable`) plus a network that corrects it by what it observes.

    The sequences are found as fast as without the network, and the network is one for all latents.
    """

    def __init__(
        self,
        space: LatentSpace,
        horizon: int,
        observation_dim: int,
        action_dim: int,
        *,
        hidden: Sequence[int],
        generator: torch.Generator,
        scale: float,
        knots: int | None,
    ) -> None:
        super().__init__(space, horizon, observation_dim, action_dim, hidden=hidden, generator=generator, last_scale=0.0)
        self.table = nn.Parameter(random_sequences(space.size, horizon, action_dim, scale, knots, generator))

    def mean(self, observation: Tensor, latent: Tensor, step: int | Tensor) -> Tensor:
        return self.table[latent, step] + super().mean(observation, latent, step)

    def means(self, latent: Tensor, steps: range, like: Tensor) -> MeanAt:
        sequence, correction = sequence_means(self.table, latent, steps), super().means(latent, steps, like)
        return lambda observation, step: sequence(observation, step) + correction(observation, step)


def configured_policy(
    name: PolicyName,
    *,
    space: LatentSpace,
    horizon: int,
    observation_dim: int,
    action_dim: int,
    hidden: Sequence[int],
    points: tuple[int, int] | None,
    generator: torch.Generator,
    start_spread: float = 0.01,
    start_knots: int | None = None,
) -> ActionPolicy:
    """The policy of that name. `points` is the environment's `observation_points`, used by "points" only; `start_spread` and
    `start_knots` say from which motions the latents start.

    Raises SettingError for a table with continuous latents, or for "points" in an environment without `observation_points`.
    """
    if name in ("table", "feedback") and not space.categorical:
        raise SettingError(f"policy was given {name!r}; allowed with continuous latents are 'mlp' and 'points'")
    if name == "table":
        return OpenLoopTable(space.size, horizon, action_dim, generator=generator, scale=start_spread, knots=start_knots)
    if name == "points" and points is None:
        raise SettingError("policy was given 'points'; allowed where the environment has observation_points (N, D)")
    sizes = (space, horizon, observation_dim, action_dim)
    if name == "feedback":
        return FeedbackPolicy(*sizes, hidden=hidden, generator=generator, scale=start_spread, knots=start_knots)
    alone = space.categorical and space.size == 1
    return MLPPolicy(
        *sizes,
        hidden=hidden,
        generator=generator,
        spread=None if alone else start_spread,
        points=points if name == "points" else None,
    )
