"""Point 3: spins and swings keep their energy, and an integrator of second order."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch

import diffsim as ds
from benchmarks.physics.registry import Results, about, experiment, none, within
from benchmarks.physics.worlds import F64, G, mechanical_energy, rollout, simulator
from benchmarks.rigid.ours import arm_scene
from benchmarks.rigid.problems import Arm

SECOND_ORDER, FIRST_ORDER = "midpoint", "euler"
SPEEDS = (20.0, 50.0, 100.0)


def floating_box(omega: tuple[float, float, float]) -> ds.Simulator:
    body = ds.RigidBody("box", ds.Box((0.06, 0.04, 0.02)), (0.0, 0.0, 0.0), mass=1.0, angular_velocity=omega)
    return simulator(ds.Scene(rigid_bodies=(body,), ground=None, gravity=(0.0, 0.0, 0.0)))


def gained(sim: ds.Simulator, seconds: float, scale: float | None = None) -> float:
    """Energy after so many seconds over that before, minus 1; or the gain over ``scale``."""
    states = rollout(sim, seconds)
    before, after = (float(mechanical_energy(sim, state)) for state in (states[0], states[-1]))
    return (after - before) / (before if scale is None else scale)


@experiment("free box", 3, {f"{speed:g} rad/s, energy gained in 5 s": none(0.01) for speed in SPEEDS})
def free_box() -> Results:
    """About no axis of its own."""
    for speed in SPEEDS:
        part = speed / math.sqrt(3.0)
        yield f"{speed:g} rad/s, energy gained in 5 s", gained(floating_box((part, part, part)), 5.0)


@experiment("Dzhanibekov top", 3, {"energy gained in 10 s": none(1e-3), "turns over": about(1.0, 0.0, "yes")})
def dzhanibekov() -> Results:
    """About the middle axis, y, at 10 rad/s, from where it turns over again and again."""
    sim = floating_box((0.01, 10.0, 0.0))
    states = rollout(sim, 10.0)
    before, after = (float(mechanical_energy(sim, state)) for state in (states[0], states[-1]))
    yield "energy gained in 10 s", after / before - 1.0
    yield "turns over", float(min(float(state.qd[0, 4]) for state in states) < -9.0)


DISC, ARM_LENGTH, SPIN = 0.1, 0.205, 200.0
PRECESSION = G * ARM_LENGTH / (0.5 * DISC**2 * SPIN)  # m g l / I w


@experiment("gyroscope", 3, {"precession in 1 s": within(PRECESSION, 0.03, "rad")})
def gyroscope() -> Results:
    """A disc of 1 kg at the end of a level axis that turns freely about its other end, started in its steady precession about
    the vertical: there dL/dt = W I w = m g l, exactly, whatever the disc's other moments are."""
    moments = (0.5 * DISC**2, 0.25 * DISC**2, 0.25 * DISC**2)
    joint = ds.Joint("pivot", "ball", initial_velocity=(SPIN, 0.0, PRECESSION))
    disc = ds.Link("disc", joint, inertia=ds.Inertia(1.0, moments, (ARM_LENGTH, 0.0, 0.0)))
    sim = simulator(ds.Scene(articulations=(ds.Articulation("top", (disc,)),), ground=None))
    axes = torch.stack([sim.links(state).rotation[0, 1, :, 0] for state in rollout(sim, 1.0)])
    yield "precession in 1 s", np.unwrap(torch.atan2(axes[:, 1], axes[:, 0]).numpy())[-1]


def chain(kind: str, count: int, length: float, **joint: Any) -> tuple[ds.Simulator, float]:
    """Rods in a row, level at first; and their energy over that at rest below the first joint, J."""
    mass, radius = 0.1, 0.01
    across = mass * (length**2 / 12.0 + radius**2 / 4.0)
    inertia = ds.Inertia(mass, (0.5 * mass * radius**2, across, across), (0.5 * length, 0.0, 0.0))
    links = []
    for n in range(count):
        place = (length if n else 0.0, 0.0, 0.0)
        links.append(ds.Link(f"l{n}", ds.Joint(f"j{n}", kind, **joint), f"l{n - 1}" if n else None, place, inertia=inertia))
    sim = simulator(ds.Scene(articulations=(ds.Articulation("chain", tuple(links)),), ground=None))
    drop = sum((n + 0.5) * length for n in range(count)) * mass * G
    return sim, drop


@experiment("chains", 3, {"12 ball joints, energy gained in 1 s": none(0.01), "5 hinges, energy gained in 30 s": none(0.05)})
def chains() -> Results:
    """From level, as a share of the energy over that of hanging at rest. The ball joints start with a slight turn, so that the
    chain leaves its plane."""
    sim, drop = chain("ball", 12, 0.1, initial_velocity=(0.1, 0.2, 0.5))
    yield "12 ball joints, energy gained in 1 s", gained(sim, 1.0, drop)
    sim, drop = chain("revolute", 5, 0.2, axis=(0.0, 1.0, 0.0))
    yield "5 hinges, energy gained in 30 s", gained(sim, 30.0, drop)


def exact_jacobian(arm: Arm, seconds: float) -> np.ndarray:
    """d tip / d q0 (3, 7) by MuJoCo's fourth-order Runge-Kutta at 1e-4 s and central differences."""
    import mujoco

    model = mujoco.MjModel.from_xml_string(arm.mjcf)
    model.opt.timestep, model.opt.integrator = 1e-4, mujoco.mjtIntegrator.mjINT_RK4
    q0, v0 = arm.start

    def tip(q: np.ndarray) -> np.ndarray:
        data = mujoco.MjData(model)
        data.qpos, data.qvel = q, v0
        for _ in range(round(seconds / model.opt.timestep)):
            mujoco.mj_step(model, data)
        mujoco.mj_forward(model, data)
        return data.xipos[-1].copy()

    h = 1e-5
    return np.stack([(tip(q0 + h * row) - tip(q0 - h * row)) / (2.0 * h) for row in np.eye(arm.dofs)], axis=1)


def arm_simulator(integrator: str, num_envs: int = 1) -> ds.Simulator:
    return simulator(arm_scene(Arm()), num_envs=num_envs, integrator=integrator)


@experiment(
    "arm", 3, {"tip Jacobian off after 1 s, second order": none(0.01), "time of a step, second order over first": none(2.2)}
)
def arm_jacobian() -> Results:
    """Seven joints without torque, dt 1 ms: |J - exact| / |exact| of the last link's centre by the first coordinates."""
    arm = Arm()
    q0, v0 = (torch.tensor(values, dtype=F64) for values in arm.start)
    sim = arm_simulator(SECOND_ORDER, 3)  # an environment for each coordinate of the tip
    q = q0.repeat(3, 1).requires_grad_()
    end = rollout(sim, 1.0, sim.reset().replace(q=q, qd=v0.repeat(3, 1)))[-1]
    links, tip = sim.links(end), sim.link_index(f"arm.l{arm.dofs - 1}")
    places = links.position[:, tip] + links.rotation[:, tip] @ torch.tensor(arm.links[-1].center)
    (found,) = torch.autograd.grad(places.diagonal().sum(), q)
    exact = exact_jacobian(arm, 1.0)
    yield "tip Jacobian off after 1 s, second order", np.linalg.norm(found.numpy() - exact) / np.linalg.norm(exact)
    sims = [arm_simulator(integrator, 8) for integrator in (SECOND_ORDER, FIRST_ORDER)]
    times: list[list[float]] = [[], []]
    for _ in range(8):
        for own, sim in zip(times, sims, strict=True):
            begin = time.perf_counter()
            rollout(sim, 0.5)
            own.append(time.perf_counter() - begin)
    yield "time of a step, second order over first", min(times[0][1:]) / min(times[1][1:])
