"""The distinct ways to succeed that a policy has found, counted by outcome: entropy of z is not diversity."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rpg.evaluation import LatentEvaluation


@dataclass(frozen=True)
class Mode:
    """All the latents that reach one outcome, shown by the best of them."""

    outcome: int
    """The environment's label, -1 for none."""
    name: str
    """The environment's name of it."""
    latent: int
    """The representative: the latent with the highest return."""
    probability: float
    """Sum of pi(z) over the latents with this outcome."""
    episode_return: float
    """The representative's mean sum of rewards."""
    success: float
    """Fraction of the representative's episodes that succeeded."""
    actions: NDArray[np.float64]
    """(T, A), the representative's best episode."""
    environment: int
    """Index in the evaluation's batch of that episode, to replay it from the same first state."""


def distinct_modes(
    evaluations: Sequence[LatentEvaluation], probs: Sequence[float], *, outcome_names: Sequence[str] = ()
) -> list[Mode]:
    """One mode a distinct successful outcome, best return first; if none succeeded, the best latent's failed
    one.

    `probs` (K,) is pi(z). Latents that fail are not counted in the probability of a successful mode.
    """
    pool = [e for e in evaluations if e.succeeded]
    if not pool:
        best = max(evaluations, key=lambda e: e.episode_return)
        pool = [e for e in evaluations if e.outcome == best.outcome]
    modes = []
    for outcome in {e.outcome for e in pool}:
        members = [e for e in pool if e.outcome == outcome]
        best = max(members, key=lambda e: e.episode_return)
        modes.append(
            Mode(
                outcome=outcome,
                name=_name(outcome, outcome_names),
                latent=best.latent,
                probability=float(sum(probs[e.latent] for e in members)),
                episode_return=best.episode_return,
                success=best.success,
                actions=best.actions,
                environment=best.environment,
            )
        )
    return sorted(modes, key=lambda mode: mode.episode_return, reverse=True)


def policy_success(evaluations: Sequence[LatentEvaluation], probs: Sequence[float]) -> float:
    """Success of the most probable latent's mean action: what a run is judged by."""
    return max(evaluations, key=lambda e: probs[e.latent]).success


def expected_success(evaluations: Sequence[LatentEvaluation], probs: Sequence[float]) -> float:
    """E_pi(z)[success of the mean action]."""
    return float(sum(probs[e.latent] * e.success for e in evaluations))


def _name(outcome: int, names: Sequence[str]) -> str:
    if outcome < 0:
        return "unlabelled"
    return names[outcome] if outcome < len(names) else f"outcome {outcome}"
