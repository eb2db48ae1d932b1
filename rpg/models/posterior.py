"""p_phi(z|tau): infers the latent of an episode from its trajectory.

Its log probability is the bonus for latents whose trajectories differ, which keeps the policy exploring. A trajectory's log
probability is the mean over its sampled steps,

    log p_phi(z|tau) = 1/T' sum_t log p_phi(z_t|x_t),

where x_t is the state, or the state and the action that led to it, and z_t is the latent used at that step.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from rpg.models.latent import LatentSpace
from rpg.models.network import PointSetEncoder, RunningNormalizer, dense_network
from rpg.settings_checks import SettingError

PosteriorInput = Literal["states", "state_actions", "points"]


class Posterior(nn.Module):
    """The interface, and the network: normalised features -> parameters of a distribution over z.

    Features are normalised by their running mean and std, because a simulator's features may vary by centimetres only.
    """

    def __init__(
        self,
        feature_dim: int,
        outputs: int,
        *,
        hidden: Sequence[int],
        generator: torch.Generator,
        points: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.normalizer = RunningNormalizer(feature_dim, points=points)
        self.encoder: PointSetEncoder | None = None
        if points is not None:
            self.encoder = PointSetEncoder(feature_dim, points, generator=generator)
            feature_dim = self.encoder.width
        self.network = dense_network((feature_dim, *hidden, outputs), generator=generator)

    def outputs(self, features: Tensor) -> Tensor:
        """(T', B, outputs) of `features` (T', B, F)."""
        normal = self.normalizer(features)
        return self.network(normal if self.encoder is None else self.encoder(normal))

    @abstractmethod
    def step_log_prob(self, features: Tensor, latent: Tensor) -> Tensor:
        """(T', B) log p_phi(z_t|x_t) of `latent` (T', B) or (T', B, D) given `features` (T', B, F)."""

    def forward(self, features: Tensor, latent: Tensor) -> Tensor:
        return self.step_log_prob(features, latent)

    def log_prob(self, features: Tensor, latent: Tensor) -> Tensor:
        """(T', B) the policy's bonus at each sampled step: differentiable in `features` but not in this
        network's parameters.
        """
        frozen = {name: parameter.detach() for name, parameter in self.named_parameters()}
        return torch.func.functional_call(self, frozen, (features, latent))

    def training_loss(self, features: Tensor, latent: Tensor) -> Tensor:
        """() cross entropy on detached `features`: differentiable in this network's parameters and
        nothing else.
        """
        return -self(features.detach(), latent).mean()

    def observe(self, features: Tensor) -> None:
        """Update the normaliser with `features` (..., F)."""
        self.normalizer.update(features)


class CategoricalPosterior(Posterior):
    """A classifier of K latents."""

    def __init__(
        self,
        feature_dim: int,
        num_latents: int,
        *,
        hidden: Sequence[int],
        generator: torch.Generator,
        points: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(feature_dim, num_latents, hidden=hidden, generator=generator, points=points)

    def step_log_prob(self, features: Tensor, latent: Tensor) -> Tensor:
        log_probs = torch.log_softmax(self.outputs(features), dim=-1)
        return log_probs.gather(-1, latent.expand(features.shape[:-1]).unsqueeze(-1)).squeeze(-1)


class GaussianPosterior(Posterior):
    """A diagonal Gaussian over continuous latents. Its std is learned, and at least 0.05, which bounds the bonus; or it is
    `std`, the same for all."""

    def __init__(
        self,
        feature_dim: int,
        latent_dim: int,
        *,
        hidden: Sequence[int],
        generator: torch.Generator,
        points: tuple[int, int] | None = None,
        std: float | None = None,
    ) -> None:
        outputs = latent_dim if std is not None else 2 * latent_dim
        super().__init__(feature_dim, outputs, hidden=hidden, generator=generator, points=points)
        self.std = std

    def step_log_prob(self, features: Tensor, latent: Tensor) -> Tensor:
        if self.std is not None:
            score = (latent - self.outputs(features)) / self.std
            return (-0.5 * score.square() - math.log(self.std * math.sqrt(2 * math.pi))).sum(-1)
        mean, raw = self.outputs(features).chunk(2, dim=-1)
        std = 0.05 + functional.softplus(raw + 0.5)
        score = (latent.expand_as(mean) - mean) / std
        return (-0.5 * score.square() - std.log() - 0.5 * math.log(2 * math.pi)).sum(-1)


def configured_posterior(
    kind: PosteriorInput,
    *,
    space: LatentSpace,
    observation_dim: int,
    action_dim: int,
    hidden: Sequence[int],
    points: tuple[int, int] | None,
    generator: torch.Generator,
) -> Posterior:
    """The posterior for that latent space and those inputs. Raises SettingError for "points" in an environment without
    `observation_points`.
    """
    if kind == "points" and points is None:
        raise SettingError("posterior_input was given 'points'; allowed where the environment has observation_points (N, D)")
    feature_dim = observation_dim + (action_dim if kind == "state_actions" else 0)
    build = CategoricalPosterior if space.categorical else GaussianPosterior
    return build(feature_dim, space.size, hidden=hidden, generator=generator, points=points if kind == "points" else None)


def posterior_of_steps(space: LatentSpace, width: int, *, hidden: Sequence[int], generator: torch.Generator) -> Posterior:
    """p_phi(z|s,a), given steps of that width; of continuous latents with a std at which log p_phi is at most 0."""
    if space.categorical:
        return CategoricalPosterior(width, space.size, hidden=hidden, generator=generator)
    return GaussianPosterior(width, space.size, hidden=hidden, generator=generator, std=1 / math.sqrt(2 * math.pi))
