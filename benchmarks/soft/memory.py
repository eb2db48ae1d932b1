"""Extra memory of a differentiable rollout, forward and backward: the growth of the process's peak resident memory.

    python -m benchmarks.soft.memory --substeps 1000 [--window 25]
prints {"rss_gb": extra, "substeps": n, "particles": n}. The kernels are compiled, and one control step run, before it counts.
"""

from __future__ import annotations

import ctypes
import gc
import json
import re
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from benchmarks.soft.ours import Diffsim
from benchmarks.soft.problem import problem


@dataclass(frozen=True)
class Options:
    """What to measure."""

    particles: int = 10_000
    """About how many."""
    substeps: int = 1000
    """Of the whole rollout; a multiple of 20."""
    window: int = 0
    """Keep one state for so many control steps (0: keep all)."""


def resident(what: str) -> float:
    """``VmRSS`` or its peak ``VmHWM``, GB."""
    match = re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match is not None
    return int(match[1]) * 1024 / 1e9


def main() -> None:
    options = tyro.cli(Options)
    warm = Diffsim(problem(options.particles, control_steps=1), precision="f32")
    warm.forward_backward()
    sim, start = warm.simulator, warm.start
    steps = options.substeps // 20
    # the capsules press for the first 40 control steps and then hold
    actions = torch.zeros(steps, 1, sim.action_dim)
    actions[:40] = 0.1 * warm.actions[0]
    actions.requires_grad_()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what the compiler gave back counts no more
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = resident("VmRSS")
    if options.window:
        state, _ = sim.windowed_rollout(start, actions, lambda state: state.x.mean(dim=1), window=options.window)
    else:
        state = sim.rollout(start, actions)[-1]
    state.x.square().sum().backward()
    assert actions.grad is not None
    assert torch.isfinite(actions.grad).all()
    print(json.dumps({"rss_gb": resident("VmHWM") - before, "substeps": steps * 20, "particles": sim.num_particles}))


if __name__ == "__main__":
    main()
