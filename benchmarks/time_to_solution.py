"""Seconds to a solution of PlasticineLab's tasks, ours against the textbook's Taichi simulator on the same task.

    python -m benchmarks.time_to_solution [--tasks PlasticineMove] [--iterations 50] [--batch] [--resume]
                                          [--table docs/suite.md] [--json]

Both run Adam on open-loop actions (lr 0.1, actions kept within 1, starts uniform in 1e-4: PlasticineLab's settings) at the full
setting of `tasks.plasticine`, in f32, each in a process of its own with one thread. A run's seconds are processor time of the
iterations, after compiling. The solution is the first iterate whose score reaches 80% of the best of either run. With --batch
the five variants run at once, too, three of them twice from other starts, for a few iterations.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import tyro
from rich.console import Console
from torch import Tensor

import diffsim as ds
from benchmarks import processes
from diffsim.tools.tool_motion import ToolKinematics
from tasks import Variants, find_task

TASKS = ("PlasticineMove", "PlasticineRope", "PlasticineRollingPin", "PlasticineTorus")
SIDES = ("ours", "textbook")
SHARE = 0.8  # of the best score
BATCH = 8  # episodes at once
HEADINGS = (
    "task",
    "best score, ours and textbook",
    "iterations to 80%, ours and textbook",
    "s to 80%, ours and textbook",
    "ratio",
    "s an iteration, ours and textbook",
    "ratio",
)

BATCH_HEADINGS = ("task", "best scores of variants 1 1 2 2 3 3 4 5", "s an iteration", "eight runs alone over the batch")

Evaluation = Callable[[Tensor], tuple[float, Tensor, float]]
"""Actions (T, A) to the loss, its gradient and the score."""


@dataclass(frozen=True)
class Options:
    """What to run."""

    tasks: tuple[str, ...] = TASKS
    """Only these."""
    iterations: int = 50
    """Of each run."""
    cells: int = 64
    """A coarser grid, to try the script itself."""
    particles: int = 10_000
    """Fewer, likewise."""
    batch: bool = False
    """Run a batch of all variants, too."""
    batch_iterations: int = 5
    """Of a batch."""
    jobs: int = 1
    """Runs at the same time."""
    resume: bool = False
    """Keep the results that are there instead of running them again."""
    out: Path = Path("benchmarks/results/time_to_solution")
    """Folder of the single results."""
    table: Path | None = None
    """Markdown file for the table, in which it replaces an earlier one."""
    json: bool = False
    """Print one JSON object on the last line."""
    single: str = ""
    """Run one, for example "PlasticineMove:ours", in this process (what the jobs do)."""


class Motion(NamedTuple):
    """Of tools and obstacles: positions (T S + 1, K, 3), rotation matrices (T S + 1, K, 3, 3), twists (T, K, 3)."""

    place: Tensor
    turn: Tensor
    speed: Tensor
    spin: Tensor


def tool_motion(task: Any, kinematics: ToolKinematics, actions: Tensor) -> Motion:
    """How the manipulators move under actions (T, A)."""
    state = task.sim.reset()
    poses, twists = [], []
    for action in actions:
        controls = task.controls(state, action[None])
        motion, position, rotation = kinematics.motion(state.tool_position, state.tool_rotation, controls)
        state = state.replace(tool_position=position, tool_rotation=rotation)
        poses.append(motion.pose[0])
        twists.append(motion.twist[0])
    poses.append(motion.later(task.dt).pose[0, -1:])
    pose, twist = torch.cat(poses), torch.stack(twists)
    return Motion(pose[..., :3], pose[..., 3:].unflatten(-1, (3, 3)), twist[..., :3], twist[..., 3:])


def textbook_setting(task: Any) -> Any:
    """A task of `tasks.plasticine` as `benchmarks.soft.textbook_task` needs it."""
    from benchmarks.soft.problem import Problem
    from benchmarks.soft.textbook_task import TaskSetting

    scene = task.sim.scene
    (body,) = scene.soft_bodies
    x = task.sim.reset().x[0].double().numpy()
    material, dx = body.material, scene.grid_spacing
    young, nu = material.youngs_modulus, material.poissons_ratio
    volume = body.shape.volume / len(x)
    colliders = (*scene.tools, *scene.obstacles)

    def shape_row(thing: Any) -> tuple[float, ...]:
        if isinstance(thing.shape, ds.Torus):
            return (0.0, 0.0, 0.0, thing.shape.major_radius, thing.shape.minor_radius, thing.friction)
        return (*thing.shape.core, 0.0, thing.shape.radius, thing.friction)

    problem = Problem(
        x=x, mass=volume * material.density, volume=volume, mu=young / (2.0 * (1.0 + nu)),
        lam=young * nu / ((1.0 + nu) * (1.0 - 2.0 * nu)), yield_limit=material.yield_stress, dt=task.dt, substeps=task.substeps,
        control_steps=task.horizon, capsules=np.zeros((2, 6)), capsule_velocity=np.zeros((task.horizon, 2, 3)),
        ground_height=scene.ground.height + scene.ground.layer + 1e-6 * dx, ground_friction=scene.ground.friction,
        gravity=np.array(scene.gravity), weight=np.zeros_like(x),
    )  # fmt: skip
    return TaskSetting(
        body=problem,
        cells=task.cells,
        lower=scene.lower[0] + 1e-6 * dx,
        upper=scene.upper[0] - 1e-6 * dx,
        shapes=np.array([shape_row(thing) for thing in colliders]),
        manipulators=len(scene.tools),
        decay=scene.contact.grid_decay,
        layer=scene.contact.grid_layer(dx),
        particle_mass=task.mass / len(x),
        goal=task.target.mass[0].numpy(),
        distance=task.target.outside_distance[0].numpy(),
        unit=task.start_loss,
    )


def textbook_evaluation(task: Any) -> Evaluation:
    """The textbook's simulator, compiled."""
    from benchmarks.soft.textbook_task import TextbookTask

    peer = TextbookTask(textbook_setting(task))
    kinematics = ToolKinematics(task.sim.scene, dt=task.dt, substeps=task.substeps, dtype=torch.float32)

    def evaluate(actions: Tensor) -> tuple[float, Tensor, float]:
        given = actions.clone().requires_grad_()
        motion = tool_motion(task, kinematics, given)
        peer.set_motion(*(part.detach().numpy() for part in motion))
        loss, positions, gradients = peer.objective_and_gradient()
        torch.autograd.backward(list(motion), [torch.from_numpy(part) for part in gradients])
        assert given.grad is not None
        episode = task.reset(0)
        moved = torch.from_numpy(positions)[None].to(episode.state.x)
        return loss, given.grad, float(task.score(episode.replace(state=episode.state.replace(x=moved))))

    return evaluate


def our_evaluation(task: Any) -> Evaluation:
    """The task's own steps."""

    def evaluate(actions: Tensor) -> tuple[float, Tensor, float]:
        given = actions.clone().requires_grad_()
        episode, total = task.reset(0), given.new_zeros(())
        for action in given:
            episode, reward, _ = task.step(episode, action[None])
            total = total - reward.sum()
        total.backward()
        assert given.grad is not None
        return float(total.detach()), given.grad, float(task.score(episode))

    return evaluate


def adam(evaluate: Evaluation, shape: tuple[int, int], iterations: int) -> dict[str, list[float]]:
    """Adam on actions; the loss, the score and the processor seconds so far of every iteration."""
    torch.manual_seed(0)
    actions = torch.empty(shape).uniform_(-1e-4, 1e-4).requires_grad_()
    evaluate(actions.detach())  # compiles
    optimizer = torch.optim.Adam([actions], lr=0.1)
    curve: dict[str, list[float]] = {"loss": [], "score": [], "seconds": []}
    begun = time.process_time()
    for _ in range(iterations):
        loss, gradient, score = evaluate(actions.detach())
        if not torch.isfinite(gradient).all():
            raise RuntimeError(f"the gradient of iteration {len(curve['loss']) + 1} is not finite: {gradient.tolist()}")
        actions.grad = gradient
        optimizer.step()
        with torch.no_grad():
            actions.clamp_(-1.0, 1.0)
        for name, value in (("loss", loss), ("score", score), ("seconds", time.process_time() - begun)):
            curve[name].append(value)
    return curve


def batch_adam(options: Options, name: str) -> dict[str, Any]:
    """Adam on the actions of all variants at once; the scores (B,) and the processor seconds so far of every iteration."""
    sizes: dict[str, Any] = {"cells": options.cells, "particles": options.particles}
    env = Variants(find_task(name), BATCH, [{"variant": number} for number in range(1, 6)], **sizes)
    torch.manual_seed(0)
    actions = torch.empty(env.horizon, BATCH, env.action_dim).uniform_(-1e-4, 1e-4).requires_grad_()
    optimizer = torch.optim.Adam([actions], lr=0.1)
    curve: dict[str, Any] = {"score": [], "seconds": []}
    begun = None
    for _ in range(options.batch_iterations + 1):  # the first one compiles
        optimizer.zero_grad()
        episodes, total = env.reset(0), torch.zeros(BATCH)
        for action in actions:
            episodes, reward, _ = env.step(episodes, action)
            total = total - reward
        total.sum().backward()
        if begun is None:
            begun = time.process_time()
            continue
        optimizer.step()
        with torch.no_grad():
            actions.clamp_(-1.0, 1.0)
        scores = torch.cat([task.score(part) for task, part in zip(env.tasks, episodes.parts, strict=True)])  # type: ignore[attr-defined]
        curve["score"].append(scores.tolist())
        curve["seconds"].append(time.process_time() - begun)
    return curve


def run_single(options: Options) -> dict[str, Any]:
    """One task on one side, in this process."""
    torch.set_num_threads(1)
    name, side = options.single.split(":")
    if side == "batch":
        return {"task": name, "side": side, **batch_adam(options, name)}
    task = find_task(name)(1, cells=options.cells, particles=options.particles)
    evaluate = our_evaluation(task) if side == "ours" else textbook_evaluation(task)
    return {"task": name, "side": side, **adam(evaluate, (task.horizon, task.action_dim), options.iterations)}


def reached(curve: dict[str, Any], score: float) -> int | None:
    """The first iteration, from 1, whose score is that good."""
    return next((number for number, value in enumerate(curve["score"], 1) if value >= score), None)


def compared(ours: dict[str, Any], textbook: dict[str, Any]) -> dict[str, Any]:
    """Both sides of a task."""
    best = [max(side["score"]) for side in (ours, textbook)]
    counts = [reached(side, SHARE * max(best)) for side in (ours, textbook)]
    seconds = [side["seconds"][count - 1] if count else None for side, count in zip((ours, textbook), counts, strict=True)]
    each = [side["seconds"][-1] / len(side["seconds"]) for side in (ours, textbook)]
    return {
        "best": best,
        "iterations": counts,
        "seconds": seconds,
        "ratio": seconds[1] / seconds[0] if seconds[0] and seconds[1] else None,
        "seconds_an_iteration": each,
        "ratio_an_iteration": each[1] / each[0],
    }


def table_row(name: str, both: dict[str, Any]) -> tuple[str, ...]:
    """A line of the table."""

    def pair(values: list[Any], form: str) -> str:
        return ", ".join("not reached" if value is None else format(value, form) for value in values)

    ratio = "" if both["ratio"] is None else f"{both['ratio']:.1f}"
    return (
        name, pair(both["best"], ".3f"), pair(both["iterations"], "d"), pair(both["seconds"], ".0f"), ratio,
        pair(both["seconds_an_iteration"], ".2f"), f"{both['ratio_an_iteration']:.1f}",
    )  # fmt: skip


def batch_row(name: str, batch: dict[str, Any], alone: dict[str, Any]) -> tuple[str, ...]:
    """A line of the batches' table."""
    best = np.max(batch["score"], axis=0)
    each, single = (run["seconds"][-1] / len(run["seconds"]) for run in (batch, alone))
    return (name, " ".join(f"{score:.2f}" for score in best), f"{each:.1f}", f"{BATCH * single / each:.2f}")


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    if options.single:
        print(json.dumps(run_single(options)))
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    console = Console(stderr=True, highlight=False)
    arguments = [f"--iterations={options.iterations}", f"--cells={options.cells}", f"--particles={options.particles}"]
    arguments.append(f"--batch-iterations={options.batch_iterations}")

    def job(single: str) -> dict[str, Any]:
        found = processes.run_job("benchmarks.time_to_solution", single, arguments, out=options.out, resume=options.resume)
        console.print(f"{single}: best score {np.max(found['score']):.3f}, {found['seconds'][-1]:.0f} s")
        return found

    sides = (*SIDES, "batch") if options.batch else SIDES
    singles = [f"{name}:{side}" for name in options.tasks for side in sides]
    results = dict(zip(singles, processes.run_jobs(job, singles, jobs=options.jobs), strict=True))
    both = {name: compared(results[f"{name}:ours"], results[f"{name}:textbook"]) for name in options.tasks}
    rows = [table_row(name, own) for name, own in both.items()]
    processes.print_table(HEADINGS, rows, console, options.table, "time_to_solution")
    if options.batch:
        batches = [batch_row(name, results[f"{name}:batch"], results[f"{name}:ours"]) for name in options.tasks]
        processes.print_table(BATCH_HEADINGS, batches, console, options.table, "time_to_solution_batch")
    if options.json:
        print(json.dumps(both))


if __name__ == "__main__":
    main()
