"""How many of four equal goals does a policy cover? (`rpg/environments/multigoal.py`)

    python -m benchmarks.rpg_multigoal --seeds 20 --json      RPG, one Gaussian, RPG without the bonus
    python -m benchmarks.rpg_multigoal --seeds 20 --all       the other baselines, too

A run's score is the number of goals that its latents (starts, components) reach without noise. The bonus and the latents'
entropy stay on to the end: to cover all goals is the aim.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import tyro

from benchmarks.rpg.methods import baselines
from benchmarks.rpg.runs import Experiment, Options, main
from rpg import RPGConfig, Schedule
from rpg.environments.multigoal import MultiGoal

RPG = RPGConfig(iterations=150)


def goals_covered(result: dict[str, Any]) -> float:
    """Number of goals reached."""
    return len(result["outcomes"])


EXPERIMENT = Experiment(
    name="rpg_multigoal",
    environment=MultiGoal,
    methods={
        "rpg": RPG,
        "rpg_mlp": replace(RPG, policy="mlp"),
        "gaussian": RPG.gaussian(),
        "rpg_beta0": replace(RPG, beta=Schedule.constant(0.0)),
        "reinforce": RPG.reinforce(),
        **baselines(RPG, num_envs=MultiGoal().num_envs),
    },
    judged=("rpg", "gaussian"),
    score=goals_covered,
    counts=True,
)


def summary(results: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    """Mean number of goals of each method, and RPG's fewest."""
    means = {method: sum(result["score"] for result in own) / len(own) for method, own in results.items()}
    fewest = {f"{method}_min": min(result["score"] for result in own) for method, own in results.items()}
    return {**means, **fewest}


if __name__ == "__main__":
    sys.exit(main("benchmarks.rpg_multigoal", tyro.cli(Options, description=__doc__), summary))
