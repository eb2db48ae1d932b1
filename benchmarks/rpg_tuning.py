"""Settings of the baselines, tried on the wall: what `benchmarks/rpg/methods.py` uses came out of this.

    python -m benchmarks.rpg_tuning --seeds 2 --first 0

Three or four settings each, the first the method's defaults, as many as RPG's own were given. The score is the success of the
noiseless episodes.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import tyro

from benchmarks.rpg.methods import SAC, baselines
from benchmarks.rpg.runs import Experiment, Options, main
from benchmarks.rpg_wall import TABLE
from rpg import AlgorithmConfig, Schedule
from rpg.environments.wall import PointMassWall

VARIANTS: dict[str, tuple[dict[str, Any], ...]] = {
    "adam": ({}, {"learning_rate": 0.03}, {"noise": 0.3}),
    "multistart": ({}, {"num_starts": 16}, {"num_starts": 32}, {"start_spread": 2.0}),
    "cem": ({}, {"min_std": 0.02, "elite_fraction": 0.1}, {"knots": 5}, {"smoothing": 0.5}),
    "mppi": ({}, {"noise": Schedule(1.0, 0.03)}, {"noise_knots": 5}, {"temperature": 0.1, "noise": Schedule(1.0, 0.03)}),
    "shac": ({}, {"std_start": 1.0}, {"window": 40, "std_start": 0.6, "policy_learning_rate": 0.01}),
    "sapo": ({}, {"alpha_start": 0.1}, {"window": 40, "alpha_learning_rate": 0.005}),
    "ahac": ({}, {"std_start": 1.0}, {"stiffness_limit": 3.0}),
    "ppo": ({}, {"learning_rate": 0.003}, {"learning_rate": 0.0003}),
    "sac": (SAC, {**SAC, "learning_rate": 0.003}, {**SAC, "discount": 1.0}),
}  # fmt: skip


def variants() -> dict[str, AlgorithmConfig]:
    """Every setting of every method, by the method's name and a number."""
    chosen = baselines(TABLE, num_envs=PointMassWall().num_envs)
    own = {name: type(config)(iterations=config.iterations) for name, config in chosen.items()}
    return {
        f"{name}_{number}": replace(own[name], **changes)
        for name, several in VARIANTS.items()
        for number, changes in enumerate(several)
    }


def succeeded(result: dict[str, Any]) -> float:
    """1 if the noiseless episodes do."""
    return float(result["success"] >= 0.5)


EXPERIMENT = Experiment(
    name="rpg_tuning",
    environment=PointMassWall,
    methods=variants(),
    judged=tuple(variants()),
    score=succeeded,
)


if __name__ == "__main__":
    sys.exit(main("benchmarks.rpg_tuning", tyro.cli(Options, description=__doc__), lambda results: {}))
