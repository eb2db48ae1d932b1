"""Point 8: external forces and torques, and their derivatives."""

from __future__ import annotations

import torch

import diffsim as ds
from benchmarks.physics.impacts import bounced
from benchmarks.physics.registry import Results, experiment, within
from benchmarks.physics.worlds import F64, G, derivative, leaf, rollout, simulator

MASS, FORCE, SECONDS = 0.7, 0.9, 1.0
PATH = 0.5 * FORCE * SECONDS**2 / MASS
MODES = {"default": (1e-3, 2e-3), "event": (5e-3, 1e-9)}  # dt, s, and the tolerance: x is of first order in dt at worst


def ball(mode: str, height: float, gravity: float, e: float) -> ds.Simulator:
    body = ds.RigidBody("ball", ds.Sphere(0.1), (0.0, 0.0, height + 0.1), mass=MASS, restitution=e)
    contact = ds.ContactModel(impact="event") if mode == "event" else ds.ContactModel()
    scene = ds.Scene(rigid_bodies=(body,), ground=ds.Ground(restitution=e), gravity=(0.0, 0.0, -gravity), contact=contact)
    return simulator(scene, dt=MODES[mode][0])


@experiment(
    "force on a free body", 8,
    {
        f"{mode}: {case}": within(value, tolerance, unit)
        for mode, (_dt, tolerance) in MODES.items()
        for case, value, unit in (("x", PATH, "m"), ("dx/dF", PATH / FORCE, "m/N"), ("dx/dm", -PATH / MASS, "m/kg"))
    },
)  # fmt: skip
def free_body() -> Results:
    """x = F t^2 / 2 m."""
    for mode in MODES:
        sim = ball(mode, 1.0, 0.0, 1.0)
        force, mass = leaf(FORCE), leaf(MASS)
        push = torch.stack([force, torch.zeros((), dtype=F64), torch.zeros((), dtype=F64)])
        x = rollout(sim, SECONDS, parameters={"ball.mass": mass}, wrenches={"ball": ds.Wrench(push)})[-1].q[0, 0]
        for case, value in zip(("x", "dx/dF", "dx/dm"), (x.item(), *derivative(x, force, mass)), strict=True):
            yield f"{mode}: {case}", value


FALL, DOWN, E = 0.5, -1.4, 0.8


def pressed_bounce() -> tuple[float, float]:
    """Height, and its derivative by the force, of a ball that a force along z presses to the floor: gravity is g - F / m."""
    force = leaf(DOWN)
    z = bounced(leaf(FALL), leaf(0.0), leaf(E), 0.6, G - force / MASS)
    return z.item(), derivative(z, force)[0]


@experiment(
    "force on a bouncing ball", 8,
    {
        "event mode: height": within(pressed_bounce()[0], 1e-6, "m"),
        "event mode: d height / dF": within(pressed_bounce()[1], 1e-6, "m/N"),
    },
)  # fmt: skip
def bouncing() -> Results:
    sim = ball("event", FALL, G, E)
    force = leaf(DOWN)
    push = torch.stack([torch.zeros((), dtype=F64), torch.zeros((), dtype=F64), force])
    z = rollout(sim, 0.6, wrenches={"ball": ds.Wrench(push)})[-1].q[0, 2] - 0.1
    yield "event mode: height", z.item()
    yield "event mode: d height / dF", derivative(z, force)[0]


INERTIA, TORQUE = 0.4 * MASS * 0.1**2, 2e-3
ARM = 0.4


@experiment(
    "torques and links", 8,
    {
        "torque on a ball, its spin": within(TORQUE * SECONDS / INERTIA, 1e-3, "rad/s"),
        "force on a pendulum, its rest": within(torch.atan(torch.tensor(0.5, dtype=F64)).item(), 1e-3, "rad"),
        "force on a pendulum, d rest / dF": within(1.0 / (MASS * G) / 1.25, 1e-2, "rad/N"),
    },
)  # fmt: skip
def torques() -> Results:
    """w = T t / I. A damped pendulum under a level force F = m g / 2 at its centre of mass, which rests at atan(F / m g), with
    the derivative 1 / (m g (1 + 1/4))."""
    sim = ball("default", 1.0, 0.0, 1.0)
    end = rollout(sim, SECONDS, wrenches={"ball": ds.Wrench(torque=(0.0, 0.0, TORQUE))})[-1]
    yield "torque on a ball, its spin", end.qd[0, 5].item()
    joint = ds.Joint("pivot", "revolute", (0.0, -1.0, 0.0), damping=1.0)
    bob = ds.Link("bob", joint, inertia=ds.Inertia(MASS, (1e-3,) * 3, (0.0, 0.0, -ARM)))
    sim = simulator(ds.Scene(articulations=(ds.Articulation("pendulum", (bob,)),), ground=None))
    force = leaf(0.5 * MASS * G)
    push = torch.stack([force, torch.zeros((), dtype=F64), torch.zeros((), dtype=F64)])
    angle = rollout(sim, 6.0, wrenches={"pendulum.bob": ds.Wrench(push)})[-1].q[0, 0]
    yield "force on a pendulum, its rest", angle.item()
    yield "force on a pendulum, d rest / dF", derivative(angle, force)[0]
