"""Quality-diversity methods through pyribs: MAP-Elites and CMA-ME over sequences of actions.

A solution is an action at each of ten knots, before squashing, as CEM has it. Each iteration plays one solution in every
environment; the archive is the grid that all methods are judged by, so these two are told what the others have to find.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.multimodal.archive import Played, first, joined, measures
from benchmarks.multimodal.playing import rolled
from benchmarks.multimodal.problems import CELLS, Problem
from rpg import FixedHorizonEnvironment
from rpg.environments.whole_episodes import whole_episodes
from rpg.models.action_policy import knot_weights
from rpg.training.evaluation import EVALUATION_SEED

QUALITY_DIVERSITY = ("map_elites", "cma_me")
KNOTS = 10
SPREAD = 1.0
"""Standard deviation of the first solutions."""
Array = NDArray[np.float64]


class Found(NamedTuple):
    """What a run ends with."""

    elites: Played
    """All of the archive, played again."""
    success: float
    """Of the best, from all first states."""
    chosen_return: float
    steps: int


def found_by(problem: Problem, env: Any, method: str, *, iterations: int, seed: int) -> Found:
    """Run a method with a batch of `env` in each iteration."""
    whole = whole_episodes(env)
    scheduler, archive = _scheduler(problem, whole, method, seed)
    for iteration in range(iterations):
        solutions = scheduler.ask()
        played = _played(problem, whole, solutions, seed=_episode_seed(seed, iteration))
        scheduler.tell(played.returns, measures(problem, played.paths))
    elites = archive.data()
    solutions, worth = elites["solution"], elites["objective"]
    best = solutions[int(np.argmax(worth))]
    chosen = _played(problem, whole, np.tile(best, (whole.num_envs, 1)), seed=EVALUATION_SEED)
    batches = []
    for begin in range(0, len(solutions), whole.num_envs):
        some = solutions[begin : begin + whole.num_envs]
        filled = np.concatenate([some, np.tile(best, (whole.num_envs - len(some), 1))])
        batches.append(first(_played(problem, whole, filled, seed=EVALUATION_SEED), len(some)))
    steps = iterations * whole.num_envs * whole.horizon
    return Found(joined(batches), float(chosen.success.mean()), float(chosen.returns.mean()), steps)


def _scheduler(problem: Problem, env: FixedHorizonEnvironment, method: str, seed: int) -> tuple[Any, Any]:
    from ribs.archives import GridArchive
    from ribs.emitters import EvolutionStrategyEmitter, GaussianEmitter, IsoLineEmitter
    from ribs.schedulers import Scheduler

    size, half = KNOTS * env.action_dim, env.num_envs // 2
    archive = GridArchive(solution_dim=size, dims=(CELLS, CELLS), ranges=problem.bounds, seed=seed)
    start, shares = np.zeros(size), (half, env.num_envs - half)
    if method == "map_elites":
        starts = SPREAD * np.random.default_rng(seed).standard_normal((env.num_envs, size))  # all are played at once
        own: list[dict[str, Any]] = [{"initial_solutions": some, "seed": seed} for some in (starts[:half], starts[half:])]
        emitters = [
            GaussianEmitter(archive, sigma=0.3, batch_size=shares[0], **own[0]),
            IsoLineEmitter(archive, iso_sigma=0.1, line_sigma=0.3, batch_size=shares[1], **own[1]),
        ]
    else:
        emitters = [
            EvolutionStrategyEmitter(archive, x0=start, sigma0=SPREAD, ranker="2imp", batch_size=share, seed=seed + 1000 * n)
            for n, share in enumerate(shares)
        ]
    return Scheduler(archive, emitters), archive


def _episode_seed(seed: int, iteration: int) -> int:
    return (seed * 1_000_003 + iteration) % (2**31 - 3)


def _played(problem: Problem, env: FixedHorizonEnvironment, solutions: Array, *, seed: int) -> Played:
    """One solution (K A,) of `solutions` (B, K A) in each environment."""
    knots = torch.from_numpy(solutions).view(env.num_envs, KNOTS, env.action_dim)
    weights = knot_weights(KNOTS, env.horizon).double()
    state = env.reset(seed)
    actions = torch.tanh(torch.einsum("tk,bka->tba", weights, knots[:, : weights.shape[1]])).to(env.observe(state))
    return rolled(problem, env, lambda observation, step: actions[step], state)
