"""pi(a|s,z): tanh-squashed Gaussian policies, open-loop and closed-loop, behind one interface.

A sample is a = tanh(u), u = mean + std * noise. Given the noise, a is a function of the parameters, so E[f(a)] is
differentiated through a (the pathwise, or reparameterised, gradient).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from rpg.models.latent import LatentSpace
from rpg.models.network import PointSetEncoder, RunningNormalizer, dense_network, held
from rpg.settings_checks import SettingError

PolicyName = Literal["table", "mlp", "points"]
HARMONICS = (1, 2)

POLICY_LEARNING_RATES: dict[str, float] = {"table": 0.1, "mlp": 0.01, "points": 0.01}
"""Default Adam steps, by policy."""


class ActionSample(NamedTuple):
    """A reparameterised sample."""

    action: Tensor
    """(B, A) in (-1, 1)."""
    log_prob: Tensor
    """(B,) log pi(a|s,z), summed over the A dimensions."""
    mean: Tensor
    """(B, A) mean before the squashing; tanh(mean) is the noiseless action."""


def squashed_sample(mean: Tensor, std: Tensor | float, noise: Tensor) -> ActionSample:
    """a = tanh(mean + std * noise) and its log density; `std` is a number, (A,) or (B, A).

    log pi(a) = log N(u; mean, std) - sum log(1 - tanh(u)^2), where log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2u)) stays
    finite for any u. Along a reparameterised sample (u - mean) / std is the noise, a constant, so the Gaussian part is
    written as a function of the noise. This leaves out its score d log N / d mean, which has expectation zero and only adds
    variance; the gradient of E[log pi] flows through the action and the std only. The gradient with respect to `noise` flows
    through u only, too.
    """
    u = mean + std * noise
    log_std = math.log(std) if isinstance(std, float | int) else std.log()
    gaussian = -0.5 * noise.detach().square() - log_std - 0.5 * math.log(2 * math.pi)
    return ActionSample(torch.tanh(u), (gaussian - log_tanh_slope(u)).sum(-1), mean)


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


class ActionPolicy(nn.Module, ABC):
    """The interface: the mean before squashing, as a function of the observation, the latent and the time.

    The std is an argument of each call or, after `learn_std`, a parameter per action dimension.
    """

    uses_time = True
    """Whether the mean depends on the step."""

    def __init__(self, space: LatentSpace) -> None:
        super().__init__()
        self.space = space
        self.log_std: nn.Parameter | None = None

    @abstractmethod
    def mean(self, observation: Tensor, latent: Tensor, step: int | Tensor) -> Tensor:
        """(..., A) mean before squashing, of `observation` (..., O), `latent` (...,) int64 or (..., D), and `step` (...,) in
        0..T-1, or one number for all of a batch (B,).
        """

    def learn_std(self, action_dim: int, start: float) -> None:
        """Make the std a parameter, independent of the state, with the initial value `start`."""
        self.log_std = nn.Parameter(torch.full((action_dim,), math.log(start)))

    def std(self, given: Tensor | float) -> Tensor | float:
        """The learned std (A,), or `given` if it is not learned."""
        return given if self.log_std is None else held(self.log_std, -4.6, 0.7).exp()

    def forward(
        self, observation: Tensor, latent: Tensor, step: int | Tensor, std: Tensor | float, noise: Tensor
    ) -> ActionSample:
        """A sample with `std` > 0 and `noise` (B, A), standard normal; zero noise gives the mean action."""
        return squashed_sample(self.mean(observation, latent, step), self.std(std), noise)

    def observe(self, observations: Tensor) -> None:
        """Update the normaliser with `observations` (..., O), between rollouts. An open-loop policy has none."""


def knot_weights(knots: int | None, horizon: int) -> Tensor:
    """(T, N) weights that interpolate linearly from N knots, evenly spaced over an episode, to T steps. One knot is a
    constant. At most T knots are used; None means T, an independent value for each step.
    """
    count = horizon if knots is None else min(knots, horizon)
    place = torch.arange(horizon) * ((count - 1) / max(1, horizon - 1))
    return (1 - (place.unsqueeze(1) - torch.arange(count)).abs()).clamp_min(0.0)


class OpenLoopTable(ActionPolicy):
    """One action sequence for each of K latents, (K, T, A), independent of the observation.

    They start as random values with standard deviation `scale`, drawn for each step, or drawn at `knots` evenly spaced times
    and interpolated linearly: noise drawn anew in each step averages out and hardly moves a body.
    """

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
        weights = knot_weights(knots, horizon)
        self.table = nn.Parameter(
            weights @ (scale * torch.randn(num_latents, weights.shape[1], action_dim, generator=generator))
        )

    def mean(self, observation: Tensor, latent: Tensor, step: int | Tensor) -> Tensor:
        return self.table[latent, step]


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
        points: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(space)
        self.horizon = horizon
        self.normalizer = RunningNormalizer(observation_dim, points=points)
        self.encoder: PointSetEncoder | None = None
        width = observation_dim
        if points is not None:
            self.encoder = PointSetEncoder(observation_dim, points, generator=generator)
            width = self.encoder.width
        sizes = (width + space.size + TIME_FEATURES, *hidden, action_dim)
        self.network = dense_network(sizes, generator=generator, last_scale=last_scale)

    def mean(self, observation: Tensor, latent: Tensor, step: int | Tensor) -> Tensor:
        seen = self.normalizer(observation)
        if self.encoder is not None:
            seen = self.encoder(seen)
        times = time_features(step, self.horizon, observation)
        return self.network(torch.cat([seen, self.space.features(latent, observation), times], dim=-1))

    def observe(self, observations: Tensor) -> None:
        self.normalizer.update(observations)


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
    table_spread: float = 0.01,
    table_knots: int | None = None,
) -> ActionPolicy:
    """The policy of that name. `points` is the environment's `observation_points`, used by "points" only; `table_spread` and
    `table_knots` are the `scale` and the `knots` of an `OpenLoopTable`.

    Raises SettingError for a table with continuous latents, or for "points" in an environment without `observation_points`.
    """
    if name == "table":
        if not space.categorical:
            raise SettingError("policy was given 'table'; allowed with continuous latents are 'mlp' and 'points'")
        return OpenLoopTable(space.size, horizon, action_dim, generator=generator, scale=table_spread, knots=table_knots)
    if name == "points" and points is None:
        raise SettingError("policy was given 'points'; allowed where the environment has observation_points (N, D)")
    return MLPPolicy(
        space,
        horizon,
        observation_dim,
        action_dim,
        hidden=hidden,
        generator=generator,
        points=points if name == "points" else None,
    )
