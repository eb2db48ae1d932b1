"""How much faster several processes train one run: seconds of an iteration with one and with more, in turns.

    python -m benchmarks.data_parallel [--json] [--table docs/scaling.md]

Each process has one thread for the simulator and one for torch. RPG and SHAC learn Detour with 32 environments of 118
particles, and RPG learns PlasticineMove with 4 environments of 10,000, where nearly all time goes into simulating; model-based
RPG has networks of width 256 and batches of 512 in the maze of its exploration test, where nearly all time goes into learning.
A time is the median over a run's iterations after the first two, which compile; a speed-up is the median over the rounds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
import tyro
from rich.console import Console

from benchmarks.processes import one_thread, print_table
from rpg import ModelBasedRPGConfig, RPGConfig, SHACConfig, Trainer, joined_ranks, read_metrics
from rpg.algorithms.algorithm import AlgorithmConfig
from rpg.environments.gap_maze import GapMaze
from tasks import find_task

NUM_ENVS, LARGE_ENVS, FIRST = 32, 4, 2
CONFIGS: Mapping[str, AlgorithmConfig] = {
    "rpg": RPGConfig(posterior_stride=2, iterations=10),
    "rpg_large": RPGConfig(posterior_stride=2, iterations=5),
    "shac": SHACConfig(iterations=8),
    "mbrpg": ModelBasedRPGConfig(steps=50, iterations=8, random_steps=500, buffer_size=20_000),
}
ENVIRONMENTS: Mapping[str, Callable[[], Any]] = {
    "rpg": lambda: find_task("Detour")(NUM_ENVS),
    "rpg_large": lambda: find_task("PlasticineMove")(LARGE_ENVS),
    "shac": lambda: find_task("Detour")(NUM_ENVS),
    "mbrpg": GapMaze,
}
WHAT = {
    "rpg": f"RPG, Detour, {NUM_ENVS} environments",
    "rpg_large": f"RPG, PlasticineMove, {LARGE_ENVS} environments",
    "shac": f"SHAC, Detour, {NUM_ENVS} environments",
    "mbrpg": "model-based RPG, the maze, width 256, batch 512",
}
HEADINGS = ("what", "processes", "s an iteration, one process", "s an iteration, all", "speed-up", "worst round")


@dataclass(frozen=True)
class Options:
    """What to measure."""

    methods: tuple[str, ...] = tuple(CONFIGS)
    processes: int = 2
    rounds: int = 3
    table: Path | None = None
    """Markdown file for the table."""
    json: bool = False
    """Print one JSON object on the last line."""
    worker: str = ""
    """Be a process of this method's run."""
    out: Path = Path("run")
    """That run's folder."""


def seconds_of_an_iteration(method: str, processes: int) -> float:
    """Of a run with so many processes."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        several = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes))
        command = [sys.executable, *(several if processes > 1 else ()), "-m", "benchmarks.data_parallel"]
        command += ["--worker", method, "--out", str(out)]
        subprocess.run(command, check=True, env=one_thread(), stdout=sys.stderr)
        at = [each.seconds for each in read_metrics(out)]
        return median(b - a for a, b in zip(at[FIRST - 1 :], at[FIRST:], strict=False))


def train(method: str, out: Path) -> None:
    """The worker."""
    torch.set_num_threads(1)
    ranks = joined_ranks()
    config = CONFIGS[method]
    trainer = Trainer(ENVIRONMENTS[method](), replace(config, seed=1), run_dir=out, ranks=ranks, checkpoint_interval=1000)
    trainer.train()


def main(options: Options) -> int:
    if options.worker:
        train(options.worker, options.out)
        return 0
    found: dict[str, Any] = {}
    for method in options.methods:
        times = []
        for number in range(options.rounds):
            counts = (1, options.processes) if number % 2 == 0 else (options.processes, 1)
            pair = {count: seconds_of_an_iteration(method, count) for count in counts}
            times.append((pair[1], pair[options.processes]))
        ratios = [one / several for one, several in times]
        one, several = (median(each) for each in zip(*times, strict=True))
        found[method] = {"one": one, "several": several, "speed_up": median(ratios), "worst": min(ratios)}
    columns = ("one", "several", "speed_up", "worst")
    rows = [(WHAT[name], str(options.processes), *(f"{row[column]:.2f}" for column in columns)) for name, row in found.items()]
    print_table(HEADINGS, rows, Console(stderr=True, highlight=False), options.table, "data_parallel")
    if options.json:
        print(json.dumps({"processes": options.processes, "cores": os.cpu_count(), **found}))
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
