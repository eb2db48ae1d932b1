"""One implementation of the benchmark's problem in a process of its own, which answers commands on its standard input.

Each line "forward" or "forward_backward" is answered by one JSON line {"cpu": s, "wall": s}, process CPU time of one rollout;
"result" by the final positions and the gradient. The first line of output says that kernels are compiled:
{"particle_substeps": n, "compile": s}.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import tyro

from benchmarks.soft.problem import problem


@dataclass(frozen=True)
class Options:
    """What to run."""

    implementation: str
    """ours, textbook, tuned (the textbook without atomics), warp, or limit (C++, forward only)."""
    particles: int = 10_000
    """About how many."""
    precision: str = "f32"
    """f32 or f64."""
    num_envs: int = 1
    """Environments (ours only)."""
    threads: int = 1
    """Threads (ours only; the peers use one)."""
    control_steps: int = 2
    """Of 20 substeps each."""


def make(options: Options) -> Any:
    case = problem(options.particles, control_steps=options.control_steps)
    if options.implementation == "ours":
        os.environ["DIFFSIM_NUM_THREADS"] = str(options.threads)
        import torch

        from benchmarks.soft.ours import Diffsim

        torch.set_num_threads(1)  # the threads of torch spin after its operations, on the cores that the lanes need
        return Diffsim(case, precision=options.precision, num_envs=options.num_envs)
    if options.implementation in ("textbook", "tuned"):
        from benchmarks.soft.textbook import Textbook

        return Textbook(case, precision=options.precision, tuned=options.implementation == "tuned")
    if options.implementation == "warp":
        from benchmarks.soft.warp_peer import WarpPeer

        return WarpPeer(case, precision=options.precision)
    if options.implementation == "limit":
        from benchmarks.soft.limit import Limit

        return Limit(case)
    raise SystemExit(f"implementation must be ours, textbook, tuned, warp or limit, got '{options.implementation}'")


def main() -> None:
    options = tyro.cli(Options)
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries may print what they like
    begin = time.perf_counter()
    implementation = make(options)
    if options.implementation == "limit":
        x, gradient = implementation.forward(), np.zeros(0)
    else:
        x, gradient = implementation.forward_backward()
    compiled = time.perf_counter() - begin

    def answer(**values: Any) -> None:
        print(json.dumps(values), file=answers, flush=True)

    answer(particle_substeps=len(x) * 20 * options.control_steps * options.num_envs, compile=compiled)
    for line in sys.stdin:
        if line.strip() == "result":
            answer(x=x.tolist(), gradient=gradient.tolist())
            continue
        run = getattr(implementation, line.strip())
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        answer(cpu=time.process_time() - cpu, wall=time.perf_counter() - wall)


if __name__ == "__main__":
    main()
