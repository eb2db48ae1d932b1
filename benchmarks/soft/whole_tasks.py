"""Speed of whole tasks on one thread: rollouts with their gradient, scenes of soft and rigid bodies, compilation.

    python -m benchmarks.soft.whole_tasks                            prints one JSON object
    python -m benchmarks.soft.whole_tasks --cold soft rigid coupled  with the seconds to the first gradient

rollout_detour, rollout_three_way_push
    32 environments, forward and backward: control step by control step with nothing kept (`DIFFSIM_KEPT_MB=0`), over
    `Simulator.rollout`, which keeps what fits. The median of interleaved rounds, CPU time.
coupled_share
    Particle-substeps a CPU second of the tasks PourLiquid and ScoopSand, one environment forward in f32, over those of the same
    particles in a scene without tools and obstacles, where the solver is the soft one; the smaller of the two.
cold, cached
    CPU seconds from the making of a task to its first gradient, in a new process, with an empty cache of kernels and with what
    that left there: of Detour, ThreeWayPush and PourLiquid.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal
from unittest.mock import patch

os.environ["DIFFSIM_NUM_THREADS"] = "1"

import torch
import tyro

import diffsim as ds
from tasks import Task
from tasks.registry import find_task

ENVIRONMENTS, ROUNDS = 32, 7
ROLLOUTS = {"rollout_detour": "Detour", "rollout_three_way_push": "ThreeWayPush"}
COUPLED = ("PourLiquid", "ScoopSand")
COUPLED_STEPS = 4
SCENES = {"soft": "Detour", "rigid": "ThreeWayPush", "coupled": "PourLiquid"}


@dataclass(frozen=True)
class Options:
    """What to measure."""

    rollouts: tuple[str, ...] = tuple(ROLLOUTS)
    """Which to measure."""
    share: bool = True
    """Measure coupled scenes."""
    cold: tuple[Literal["soft", "rigid", "coupled"], ...] = ()
    """Kinds of scenes whose compilation is measured."""
    first_gradient: str | None = None
    """Of this task alone: make it, a control step and its gradient, and print the seconds."""


def made(name: str, kept: int) -> Task:
    """A task whose simulator keeps so many megabytes."""
    with patch.dict(os.environ, {"DIFFSIM_KEPT_MB": str(kept)}):
        return find_task(name)(num_envs=ENVIRONMENTS)


def seconds(work: Callable[[], object]) -> float:
    """CPU time."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def rollout_ratio(name: str) -> float:
    """Step by step with nothing kept over a whole rollout."""
    recomputing, keeping = made(name, 0), made(name, 256)
    episode = recomputing.reset(seed=0)
    generator = torch.Generator().manual_seed(0)
    shape = (recomputing.horizon, ENVIRONMENTS, recomputing.action_dim)
    actions = 0.3 * torch.randn(shape, generator=generator, dtype=recomputing.sim.dtype)
    controls = torch.stack([recomputing.controls(episode.state, action) for action in actions])

    def by_steps() -> torch.Tensor:
        given, state = controls.clone().requires_grad_(), episode.state
        for control in given:
            state = recomputing.sim.step(state, control)
        return gradient(state, given)

    def at_once() -> torch.Tensor:
        given = controls.clone().requires_grad_()
        return gradient(keeping.sim.rollout(episode.state, given)[-1], given)

    if not torch.equal(by_steps(), at_once()):  # and the kernels are compiled
        raise SystemExit(f"{name}: a rollout's gradient is not that of its steps")
    at_once()  # the memory has been touched
    return statistics.median(seconds(by_steps) / seconds(at_once) for _ in range(ROUNDS))


def gradient(state: ds.State, controls: torch.Tensor) -> torch.Tensor:
    """Of where everything ends, by the controls."""
    return torch.autograd.grad(state.x.square().sum() + state.q.square().sum(), controls)[0]


def coupled_share(name: str) -> float:
    """Speed of the coupled task over that of its particles alone."""
    task = find_task(name)(num_envs=1)
    sim, state = task.sim, task.reset(seed=0).state
    alone = ds.Simulator(
        replace(sim.scene, tools=(), obstacles=(), rigid_bodies=(), articulations=()), dt=sim.dt, substeps=sim.substeps
    )
    still, none = (torch.zeros(COUPLED_STEPS, 1, each.action_dim) for each in (sim, alone))
    first = alone.reset().replace(x=state.x, v=state.v)

    def both(steps: Callable[[], object], others: Callable[[], object]) -> float:
        steps(), others()  # compiled
        return statistics.median(seconds(others) / seconds(steps) for _ in range(ROUNDS))

    with torch.no_grad():
        return both(lambda: sim.rollout(state, still), lambda: alone.rollout(first, none))


def first_gradient(name: str) -> None:
    """A task of one environment, a control step and its gradient."""
    task = find_task(name)(num_envs=1)
    state = task.reset(seed=0).state
    controls = torch.zeros(1, task.sim.action_dim, requires_grad=True)
    gradient(task.sim.step(state, controls), controls)


def compile_seconds(name: str) -> dict[str, float]:
    """To the first gradient in a new process: with an empty cache, and with what that left there."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.soft.whole_tasks", "--first-gradient", name]
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "TI_OFFLINE_CACHE_FILE_PATH": folder}
        found = []
        for _ in range(2):
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            found.append(float(json.loads(done.stdout.splitlines()[-1])))
    return {"cold": round(found[0], 1), "cached": round(found[1], 1)}


def main(options: Options) -> None:
    torch.set_num_threads(1)
    if (name := options.first_gradient) is not None:
        print(json.dumps(seconds(lambda: first_gradient(name))))
        return
    found: dict[str, Any] = {key: round(rollout_ratio(ROLLOUTS[key]), 2) for key in options.rollouts}
    if options.share:
        found["coupled_share"] = round(min(map(coupled_share, COUPLED)), 2)
    for kind in options.cold:
        found[kind] = compile_seconds(SCENES[kind])
    print(json.dumps(found))


def measured(*, rollouts: Sequence[str] = tuple(ROLLOUTS), share: bool = True, cold: Sequence[str] = ()) -> dict[str, Any]:
    """What a process of this module prints."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.soft.whole_tasks"]
    command += ["--rollouts", *rollouts, "--share" if share else "--no-share"] + (["--cold", *cold] if cold else [])
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
