"""What a task stands on and costs: its scene as declared and as episodes begin, pictures of it, seconds a step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

import diffsim as ds
from tasks.checking.trial import ACTION_SIZE, Finding, Trial, without_numbers

FREE = 7  # coordinates of a rigid body: its origin and its quaternion


def check_start(trial: Trial) -> Iterator[Finding]:
    """`diffsim.check` of the scene, and of the scene as episodes begin."""
    task, sim = trial.task, trial.task.sim
    report = _report(sim, sim.scene)
    for body in sim.scene.soft_bodies:
        name = f"SoftBody '{body.name}'"
        for found in report.of("particles a cell"):
            if found.name == name and found.severity == "fine":  # fewer are warned of by the simulator
                text = f"{name}: {len(body.rest_particles)} particles, {found.value:.2g} in a grid cell"
                yield Finding("resolution", "pass", text)
    if all(found.severity == "fine" for found in report.of("time step")) and np.isfinite(report.largest_dt):
        yield Finding("time step", "pass", f"dt is {sim.dt:.2g} s; up to {report.largest_dt:.2g} s is stable")
    yield Finding("memory", "pass", report.costs.memory())
    known = {without_numbers(str(found)) for found in report.findings}
    first, told = task.reset(trial.seed), dict[str, str]()
    for environment in range(min(task.num_envs, 2)):
        for found in _report(sim, start_scene(sim, first.state, environment)).findings:
            if found.severity in ("warning", "error"):
                told.setdefault(without_numbers(str(found)), str(found))
    own = [text for words, text in sorted(told.items()) if words not in known]
    for text in own:
        yield Finding("start", "warn", text)
    if not own:
        yield Finding("start", "pass", "first states are as sound as the scene as declared: in the domain, no further overlaps")


def _report(sim: ds.Simulator, scene: ds.Scene) -> ds.SceneReport:
    return ds.check(
        scene, dt=sim.dt, substeps=sim.substeps, num_envs=sim.num_envs, dtype=sim.dtype, integrator=sim.integrator
    )  # fmt: skip


def check_speed(trial: Trial) -> Iterator[Finding]:
    """Seconds a control step, everything compiled."""
    task, actions = trial.task, trial.noise(ACTION_SIZE)
    begun = time.perf_counter()
    trial.played(actions)
    forward = total = (time.perf_counter() - begun) / trial.steps
    text = f"{forward:.2g} s a control step forward"
    if task.differentiable:
        leaf = actions.clone().requires_grad_()
        begun = time.perf_counter()
        torch.autograd.grad(trial.rolled_out(leaf).rewards.sum(), leaf, allow_unused=True)
        total = (time.perf_counter() - begun) / trial.steps
        text += f", {max(0.0, total - forward):.2g} s backward"
    yield Finding(
        "speed",
        "pass",
        f"{text}, for {task.num_envs} environments: {task.num_envs / forward:.3g} steps of an environment a second; an episode "
        f"{'with its gradient ' if task.differentiable else ''}takes {total * task.horizon:.2g} s",
    )


def check_rendering(trial: Trial) -> Iterator[Finding]:
    """One small picture."""
    begun = time.perf_counter()
    trial.task.check_rendering()
    yield Finding("rendering", "pass", f"a small frame drawn in {time.perf_counter() - begun:.2g} s")


def start_scene(simulator: ds.Simulator, state: ds.State, environment: int) -> ds.Scene:
    """The scene with its bodies, articulations and tools where one environment's first state has them.

    A soft body is moved as a whole, by the mean displacement of its particles.
    """
    scene = simulator.scene
    soft = []
    for body in scene.soft_bodies:
        particles = state.x[environment, simulator.particle_slice(body.name)].double().cpu().numpy()
        soft.append(replace(body, position=_vector(np.asarray(body.position) + (particles - body.rest_particles).mean(axis=0))))
    rigid = [
        replace(body, position=_vector(pose[:3]), rotation=_vector(pose[3:]))
        for body, pose in zip(scene.rigid_bodies, _rows(state.q[environment], len(scene.rigid_bodies)), strict=True)
    ]
    tools = [
        # without the limits: of a state in f32, a tool may be a rounding beyond one
        replace(tool, position=_vector(position), rotation=_vector(rotation / np.linalg.norm(rotation)), lower=None, upper=None)
        for tool, position, rotation in zip(
            scene.tools,
            state.tool_position[environment].double().cpu().numpy(),
            state.tool_rotation[environment].double().cpu().numpy(),
            strict=True,
        )
    ]
    articulations = [_started(each, simulator, state.q[environment]) for each in scene.articulations]
    return replace(
        scene,
        soft_bodies=tuple(soft),
        rigid_bodies=tuple(rigid),
        articulations=tuple(articulations),
        tools=tuple(tools),
    )


def _started(articulation: ds.Articulation, simulator: ds.Simulator, q: torch.Tensor) -> ds.Articulation:
    """The articulation with the coordinates ``q`` at reset."""

    def started(link: ds.Link) -> ds.Link:
        if link.joint.type.coordinates == 0:
            return link
        own = q[simulator.joint(f"{articulation.name}.{link.joint.name}").coordinates]
        return replace(link, joint=replace(link.joint, initial=_vector(own.double().cpu().numpy())))

    return replace(articulation, links=tuple(started(link) for link in articulation.links))


def _rows(q: torch.Tensor, count: int) -> np.ndarray:
    """Poses (count, 7) of the rigid bodies, which come first."""
    rows = q[: FREE * count].double().cpu().numpy().reshape(count, FREE).copy()
    rows[:, 3:] /= np.linalg.norm(rows[:, 3:], axis=1, keepdims=True)
    return rows


def _vector(values: np.ndarray) -> tuple:
    return tuple(float(value) for value in values)
