"""The distinct solutions (modes) of a policy, counted by outcome: the entropy of z does not measure diversity."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from rpg.settings_checks import check_positive
from rpg.training.evaluation import LatentEvaluation, chosen_latent


@dataclass(frozen=True)
class Mode:
    """The latents that reach one outcome, represented by the best of them."""

    outcome: int
    """The environment's label, -1 for none."""
    name: str
    """The environment's name for it."""
    latent: int
    """The representative: the latent with the highest return."""
    latents: tuple[int, ...]
    """All latents with this outcome."""
    probability: float
    """Sum of pi(z) over them."""
    episode_return: float
    """The representative's mean sum of rewards."""
    success: float
    """Fraction of the representative's episodes that succeeded."""
    shown_return: float
    """Sum of rewards of the recorded episode: the representative's best with this outcome."""
    actions: NDArray[np.float64]
    """(T, A), of the recorded episode."""
    observations: NDArray[np.float64]
    """(T+1, O), of the same episode."""
    environment: int
    """Index in the evaluation's batch of that episode, to replay it from the same first state."""
    seed: int
    """Seed of the evaluation's `reset`, for the same purpose."""


def distinct_modes(
    evaluations: Sequence[LatentEvaluation],
    *,
    outcome_names: Sequence[str] = (),
    outcome_radius: float | None = None,
) -> list[Mode]:
    """One mode for each distinct outcome of the latents that succeed, best return first. If none does, as in an
    environment without a notion of success, one for each distinct outcome of all latents.

    Outcomes are the same if their labels are. Without labels (-1) they are the same if the outcome features are in one
    cluster of average-linkage clustering with radius `outcome_radius`. The probability of a successful mode does not include
    latents that fail.
    """
    if not isinstance(evaluations, list | tuple) or not all(isinstance(e, LatentEvaluation) for e in evaluations):
        raise ValueError(f"evaluations was given {evaluations!r}; expected a list of rpg.LatentEvaluation")
    if outcome_radius is not None:
        check_positive("outcome_radius", outcome_radius)
    pool = [e for e in evaluations if e.succeeded] or list(evaluations)
    modes = []
    for members in _labelled(pool) + _clustered([e for e in pool if e.outcome < 0], outcome_radius):
        best = max(members, key=lambda e: e.episode_return)
        modes.append(
            Mode(
                outcome=best.outcome,
                name=_name(best.outcome, outcome_names),
                latent=best.latent,
                latents=tuple(e.latent for e in members),
                probability=float(sum(e.probability for e in members)),
                episode_return=best.episode_return,
                success=best.success,
                shown_return=best.shown_return,
                actions=best.actions,
                observations=best.observations,
                environment=best.environment,
                seed=best.seed,
            )
        )
    return sorted(modes, key=lambda mode: mode.episode_return, reverse=True)


def policy_success(evaluations: Sequence[LatentEvaluation]) -> float:
    """Success of the most probable latent without noise, by which a run is judged."""
    return chosen_latent(evaluations).success


def expected_success(evaluations: Sequence[LatentEvaluation]) -> float:
    """Mean success under pi(z), without noise."""
    return float(sum(e.probability * e.success for e in evaluations))


def _labelled(pool: Sequence[LatentEvaluation]) -> list[list[LatentEvaluation]]:
    labels = sorted({e.outcome for e in pool if e.outcome >= 0})
    return [[e for e in pool if e.outcome == label] for label in labels]


def _clustered(pool: Sequence[LatentEvaluation], radius: float | None) -> list[list[LatentEvaluation]]:
    """Average-linkage clusters of the unlabelled evaluations; a single one without features or a radius."""
    features = [e.outcome_features for e in pool if e.outcome_features is not None]
    if len(pool) < 2 or radius is None or len(features) < len(pool):
        return [list(pool)] if pool else []
    numbers = fcluster(linkage(np.stack(features), method="average"), radius, criterion="distance")
    return [[e for e, n in zip(pool, numbers, strict=True) if n == number] for number in sorted(set(numbers))]


def _name(outcome: int, names: Sequence[str]) -> str:
    if outcome < 0:
        return "unlabelled"
    return names[outcome] if outcome < len(names) else f"outcome {outcome}"
