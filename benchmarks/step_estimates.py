"""What `diffsim.check` estimates that control steps cost, beside what they do: `python -m benchmarks.step_estimates`.

CPU seconds of a control step on one thread, forward and with the gradient, best of some; the scenes of our tasks as episodes
begin, and others that tell the constants of `diffsim/checks/cost_estimate.py` apart. Memory is that of the solvers' buffers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ["DIFFSIM_NUM_THREADS"] = "1"

import torch
import tyro
from rich.console import Console

import diffsim as ds
from benchmarks.processes import print_table
from benchmarks.rigid.ours import arm_scene, box_scene
from benchmarks.rigid.problems import BOXES, Arm
from diffsim.checks.cost_estimate import machine_factor
from tasks.registry import registered_tasks

DT = 1e-3


@dataclass(frozen=True)
class Options:
    """What to measure."""

    only: str = ""
    """Cases whose names contain this."""
    steps: int = 5
    """Control steps of a rollout."""
    rounds: int = 3
    """Rollouts, of which the fastest counts."""
    table: Path | None = None
    """Markdown file for the table."""


@dataclass(frozen=True)
class Case:
    """A scene and how it is stepped."""

    scene: ds.Scene
    dt: float = DT
    substeps: int = 20
    num_envs: int = 1
    dtype: torch.dtype = torch.float32


def blocks(material: ds.Material, particles: int, dtype: torch.dtype = torch.float32) -> Case:
    """A block of eight particles a cell on the ground."""
    half = 0.2
    spacing = 2.0 * half * (8.0 / particles) ** (1.0 / 3.0)
    block = ds.SoftBody("block", ds.Box((half,) * 3), (0.5, 0.5, half + 0.01), material=material, particles=particles)
    return Case(ds.Scene((block,), grid_spacing=spacing), dt=2e-4, dtype=dtype)


def chain(links: int) -> Case:
    """Of hinges, without contact."""
    inertia = ds.Inertia(0.2, (1e-3,) * 3, (0.0, 0.0, -0.05))
    parts = tuple(
        ds.Link(
            f"l{n}", ds.Joint(f"j{n}", "revolute", (1.0, float(n % 2), 0.0), damping=0.01), f"l{n - 1}" if n else None,
            (0.0, 0.0, -0.1 if n else 3.0), inertia=inertia,
        )
        for n in range(links)
    )  # fmt: skip
    return Case(ds.Scene(articulations=(ds.Articulation("chain", parts),), ground=None))


def tower(boxes: int) -> Case:
    """Of boxes."""
    bodies = tuple(ds.RigidBody(f"box{n}", ds.Box((0.05,) * 3), (0.0, 0.0, 0.05 + 0.1 * n), mass=1.0) for n in range(boxes))
    return Case(ds.Scene(rigid_bodies=bodies))


def pressed(particles: int) -> Case:
    """A soft block under a rigid plate."""
    own = blocks(ds.Elastic(2e4), particles).scene
    plate = ds.RigidBody("plate", ds.Box((0.22, 0.22, 0.02)), (0.5, 0.5, 0.435), mass=20.0)
    return Case(ds.Scene(own.soft_bodies, rigid_bodies=(plate,), grid_spacing=own.grid_spacing), dt=2e-4)


def cases() -> dict[str, Callable[[], Case]]:
    """By name."""
    found: dict[str, Callable[[], Case]] = {}
    for name, kind in registered_tasks().items():

        def of_task(kind: type = kind) -> Case:
            sim = kind(4).sim
            return Case(sim.scene, sim.dt, sim.substeps, 4, sim.dtype)

        found[name] = of_task
    return found | {
        "elastic, 1k": lambda: blocks(ds.Elastic(2e4), 1000),
        "elastic, 8k": lambda: blocks(ds.Elastic(2e4), 8000),
        "elastic, 8k, f64": lambda: blocks(ds.Elastic(2e4), 8000, torch.float64),
        "liquid, 8k": lambda: blocks(ds.Liquid(), 8000),
        "arm of 7 hinges": lambda: Case(arm_scene(Arm())),
        "chain of 20 hinges": lambda: chain(20),
        "box and pusher": lambda: Case(box_scene(BOXES["box before a pusher"])),
        "tower of 5 boxes": lambda: tower(5),
        "plate on 1k": lambda: pressed(1000),
        "plate on 4k": lambda: pressed(4000),
    }


def measure(case: Case, options: Options) -> tuple[float, float, int]:
    """CPU seconds of a control step forward and with its gradient, and bytes of the solvers' buffers."""
    sim = ds.Simulator(case.scene, num_envs=case.num_envs, dt=case.dt, substeps=case.substeps, dtype=case.dtype)
    start = sim.reset()
    actions = torch.zeros(options.steps, case.num_envs, sim.action_dim, dtype=case.dtype)

    def forward(actions: torch.Tensor) -> None:
        with torch.no_grad():
            sim.rollout(start, actions)

    def backward(actions: torch.Tensor) -> None:
        leaves = {name: value.clone().requires_grad_() for name, value in (("v", start.v), ("qd", start.qd))}
        end = sim.rollout(start.replace(**leaves), actions)[-1]
        (end.x.sum() + end.q.sum() + end.v.sum() + end.qd.sum()).backward()

    backward(actions[:1])
    held, best = held_bytes(sim), []
    for run in (forward, backward):
        run(actions)
        times = []
        for _ in range(options.rounds):
            begin = time.process_time()
            run(actions)
            times.append((time.process_time() - begin) / options.steps)
        best.append(min(times))
    return best[0], best[1], held


def held_bytes(sim: ds.Simulator) -> int:
    """Of the buffers that a simulator's solvers keep."""
    held = []
    if sim._soft is not None:
        buffers = sim._coupled._buffers if sim._coupled is not None else sim._soft.solver._schedule._buffers  # type: ignore[attr-defined]
        held += list(buffers._held.values())
    if sim._rigid is not None:
        held += list(sim._rigid.solver._held.values())
    return sum(each.numel() * each.element_size() for each in held)


def main() -> None:
    options = tyro.cli(Options)
    torch.set_num_threads(1)
    print(f"this machine takes {machine_factor():.2f} times as long as that of the constants")
    rows = []
    for name, make in cases().items():
        if options.only not in name:
            continue
        case = make()
        costs = ds.check(case.scene, case.dt, case.substeps, case.num_envs, case.dtype).costs
        forward, backward, held = measure(case, options)
        pairs = ((costs.forward_seconds, forward), (costs.backward_seconds, backward))
        cells = [f"{1e3 * number:.3g}" for pair in pairs for number in pair]
        ratios = [f"{estimate / measured:.2f}" for estimate, measured in pairs]
        memory = [f"{size / 1e6:.3g}" for size in (costs.backward_bytes, held)]
        rows.append([name, *cells[:2], ratios[0], *cells[2:], ratios[1], *memory])
        print(rows[-1], flush=True)
    headings = ("case", "forward, ms", "measured", "ratio", "with gradient, ms", "measured", "ratio", "MB", "held")
    print_table(headings, rows, Console(width=140), options.table, "table")


if __name__ == "__main__":
    main()
