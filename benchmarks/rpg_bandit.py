"""Does a policy find the narrow peak beside the broad hill? (`rpg/environments/bandit.py`)

    python -m benchmarks.rpg_bandit --seeds 20 --json      RPG, one Gaussian (pathwise and REINFORCE), RPG without the bonus
    python -m benchmarks.rpg_bandit --seeds 20 --all       the other baselines, too

A run succeeds if the reward of the action it would be asked to play is above 0.9: the hill is worth 0.5, the peak 1.1.
1,500 updates of 128 pulls.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import tyro

from benchmarks.rpg.methods import SAC, baselines
from benchmarks.rpg.runs import Experiment, Options, main
from rpg import RPGConfig, Schedule
from rpg.algorithms.sac import SACConfig
from rpg.environments.bandit import Bandit

UPDATES = 1500
RPG = RPGConfig(iterations=UPDATES, policy="table")  # there is nothing to observe


def found_peak(result: dict[str, Any]) -> float:
    """1 if the chosen solution's reward is above 0.9."""
    return float(result["return"] > 0.9)


def pulls_at_once(count: int) -> Bandit:
    """So many pulls side by side."""
    return Bandit(num_envs=count)


EXPERIMENT = Experiment(
    name="rpg_bandit",
    environment=Bandit,
    methods={
        "rpg": RPG,
        "gaussian": RPG.gaussian(),
        "reinforce": RPG.reinforce(),
        "rpg_beta0": replace(RPG, beta=Schedule.constant(0.0)),
        **baselines(RPG, num_envs=Bandit().num_envs),
        "sac": SACConfig(iterations=UPDATES, **SAC, updates=8),
    },
    judged=("rpg", "gaussian", "reinforce", "rpg_beta0"),
    score=found_peak,
    at_once=pulls_at_once,
)


def summary(results: dict[str, list[dict[str, Any]]]) -> dict[str, int]:
    """Successes of each method."""
    return {method: int(sum(result["score"] for result in own)) for method, own in results.items()}


if __name__ == "__main__":
    sys.exit(main("benchmarks.rpg_bandit", tyro.cli(Options, description=__doc__), summary))
