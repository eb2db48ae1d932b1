"""Two blocks, two goals, and a reward only when both are there: what a latent and curiosity find that curiosity alone does not.

    python -m benchmarks.sparse_push --quick --json                one seed of 30k steps of each arm of the summary
    python -m benchmarks.sparse_push --row gaussian none           rows, at 600k steps; goes on where it was stopped
    python -m benchmarks.sparse_push --all --seeds 3 --jobs 2      every row that is missing
    python -m benchmarks.sparse_push --summary --json              what the stored results say; runs nothing
    python -m benchmarks.sparse_push --table docs/model_based_rpg.md    its table, and docs/images/sparse_push.png

After the ICML paper's BlockPush2, in closed form (`rpg.environments.block_push`) and on the rigid simulator
(`benchmarks.rpg.simulated_worlds`). The measure is the success of the episodes that training collected in the last 30k steps,
at their ends. Networks are smaller than the paper's, as in `benchmarks.maze`. Runs are in runs/benchmarks/sparse_push, with
checkpoints; every 30k steps a line of JSON goes to benchmarks/results/sparse_push.
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
from rpg.environments.block_push import BlockPush

BLOCK = 3000
"""Steps of an iteration: 50 episodes."""
SMALL = ModelBasedRPGConfig(
    steps=BLOCK // 5,
    **streaming_runs.SMALL,
    novelty_hidden=(96, 96),
    embedding=5,
    embedded=6,
)
"""Of all arms; the coordinates of blocks and pusher are embedded."""
NONE = replace(SMALL, latent="none")


def environment(arm: str) -> Any:
    """Five of them."""
    if not arm.startswith("simulated"):
        return BlockPush()
    from benchmarks.rpg.simulated_worlds import SparseBlockPush  # compiles kernels

    return SparseBlockPush(5)


EXPERIMENT = SuccessExperiment(
    name="sparse_push",
    arms={"gaussian": SMALL, "none": NONE, "simulated_gaussian": SMALL, "simulated_none": NONE},
    environment=environment,
    measured=measured,
    summary=("gaussian", "none"),
    steps=600_000,
    quick=30_000,
    block=BLOCK,
    meaning={
        "gaussian": "Gaussian z of 12 dimensions, beta .005; closed form",
        "none": "no z: model-based SAC; closed form",
        "simulated_gaussian": "as gaussian; rigid simulator",
        "simulated_none": "as none; rigid simulator",
    },
    paper={"gaussian": 1.0, "none": 0.34, "simulated_gaussian": 1.0, "simulated_none": 0.34},
    title="two blocks, sparse",
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, tyro.cli(Options, description=__doc__)))
