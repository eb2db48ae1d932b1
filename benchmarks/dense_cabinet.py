"""A cabinet whose nearer door is worth less: whether model-based RPG leaves the local optimum, with a latent and without.

    python -m benchmarks.dense_cabinet --quick --json              one seed of 30k steps of each arm
    python -m benchmarks.dense_cabinet --row gaussian none         rows, at 800k steps; goes on where it was stopped
    python -m benchmarks.dense_cabinet --all --seeds 3 --jobs 2    every row that is missing
    python -m benchmarks.dense_cabinet --summary --json            what the stored results say; runs nothing
    python -m benchmarks.dense_cabinet --table docs/model_based_rpg.md    its table, and docs/images/dense_cabinet.png

After the ICML paper's CabinetDense, on the rigid simulator (`benchmarks.rpg.simulated_worlds.DenseCabinet`). The measure is how
often the door that is worth more is open at the end of the episodes that training collected in the last 30k steps. Settings are
the paper's for dense rewards: no novelty, no embedding, pi(z|s1) learned, and rewards whose factor rises over the run. Networks
are smaller than the paper's, as in `benchmarks.maze`. Runs are in runs/benchmarks/dense_cabinet, with checkpoints; every 30k
steps a line of JSON goes to benchmarks/results/dense_cabinet.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import tyro

from benchmarks.rpg import streaming_runs
from benchmarks.rpg.streaming_runs import Options
from benchmarks.rpg.success_runs import SuccessExperiment, main, measured
from rpg.algorithms.model_based_rpg import ModelBasedRPGConfig
from rpg.training.schedules import Schedule

BLOCK = 2500
"""Steps of an iteration."""
SMALL = ModelBasedRPGConfig(
    steps=BLOCK // 5,
    **streaming_runs.SMALL,
    novelty=0.0,
    embedding=0,
    reward_scale=Schedule(0.01, 5.0),
    learn_latent=True,
    latent_entropy=Schedule(100.0, 0.0, 0.375, 1.0),
)
"""Of all arms."""


def environment(arm: str) -> Any:
    """Five of them."""
    from benchmarks.rpg.simulated_worlds import DenseCabinet  # compiles kernels

    return DenseCabinet(5)


EXPERIMENT = SuccessExperiment(
    name="dense_cabinet",
    arms={"gaussian": SMALL, "none": replace(SMALL, latent="none")},
    environment=environment,
    measured=measured,
    summary=("gaussian", "none"),
    steps=800_000,
    quick=30_000,
    block=BLOCK,
    meaning={"gaussian": "Gaussian z of 12 dimensions, beta .005", "none": "no z: model-based SAC"},
    paper={"gaussian": 0.98, "none": 0.17},
    title="two doors, dense",
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, tyro.cli(Options, description=__doc__)))
