"""Does a policy get round a wall? (`rpg/environments/wall.py`)

    python -m benchmarks.rpg_wall --seeds 20 --json      RPG, one Gaussian and RPG without the bonus, tables and networks
    python -m benchmarks.rpg_wall --seeds 20 --all       the other baselines, too

The wall stands across the direct way, so the reward, minus the distance, has a local optimum in front of its middle. A run
succeeds if its most probable latent does, without noise, in at least half of its episodes. 192,000 simulator steps.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import tyro

from benchmarks.rpg.methods import baselines
from benchmarks.rpg.runs import Experiment, Options, main
from rpg import RPGConfig, Schedule
from rpg.environments.wall import PointMassWall

TABLE = RPGConfig(iterations=150, policy="table")  # of 32 episodes of 40 steps
MLP = replace(TABLE, policy="mlp")
NO_BONUS = Schedule.constant(0.0)


def got_round(result: dict[str, Any]) -> float:
    """1 if the most probable latent succeeds."""
    return float(result["success"] >= 0.5)


EXPERIMENT = Experiment(
    name="rpg_wall",
    environment=PointMassWall,
    methods={
        "rpg_table": TABLE,
        "rpg_mlp": MLP,
        "gaussian_table": TABLE.gaussian(),
        "gaussian_mlp": MLP.gaussian(),
        "rpg_beta0_table": replace(TABLE, beta=NO_BONUS),
        "rpg_beta0_mlp": replace(MLP, beta=NO_BONUS),
        "reinforce_mlp": MLP.reinforce(),
        **baselines(TABLE, num_envs=PointMassWall().num_envs),
    },
    judged=("rpg_table", "rpg_mlp", "gaussian_table", "gaussian_mlp", "rpg_beta0_table", "rpg_beta0_mlp"),
    score=got_round,
)


def summary(results: dict[str, list[dict[str, Any]]]) -> dict[str, int]:
    """Successes of each method."""
    return {method: int(sum(result["score"] for result in own)) for method, own in results.items()}


if __name__ == "__main__":
    sys.exit(main("benchmarks.rpg_wall", tyro.cli(Options, description=__doc__), summary))
