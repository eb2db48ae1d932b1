"""Impacts: bounces at default settings and in event mode, Newton's cradle, thin blades (points 4 and 10)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

import diffsim as ds
from benchmarks.physics.registry import Expected, Results, experiment, none, within, yes
from benchmarks.physics.worlds import F64, G, derivative, leaf, mechanical_energy, rollout, simulator, warnings_heard

Tensor = torch.Tensor
RADIUS = 0.05
EVENT = ds.ContactModel(impact="event")


def bounced(z: Tensor, v: Tensor, e: Tensor, seconds: float, g: Tensor | float = G) -> Tensor:
    """Height of a point above the floor after so many seconds, in free flight between impacts that reverse e of its speed: each
    impact is at the root of z + v t - g t^2 / 2 = 0, which torch differentiates."""
    left = torch.tensor(seconds, dtype=F64)
    while True:
        flight = (v + torch.sqrt(v * v + 2.0 * g * z)) / g if g else -z / v
        if not 0.0 < float(flight.detach()) < float(left.detach()):
            return z + v * left - 0.5 * g * left**2
        v, z, left = -e * (v - g * flight), torch.zeros((), dtype=F64), left - flight


def exact(z0: float, v0: float, e: float, seconds: float, g: float = G) -> dict[str, float]:
    """Height, and its derivatives by z0, v0 and e."""
    z, v, restitution = leaf(z0), leaf(v0), leaf(e)
    end = bounced(z, v, restitution, seconds, g)
    return {"y(T)": end.item()} | dict(zip(("dy/dy0", "dy/dv0", "dy/de"), derivative(end, z, v, restitution), strict=True))


def simulated(z0: float, v0: float, e: float, seconds: float, g: float = G, **options: Any) -> dict[str, float]:
    """Of a ball, its lowest point in the point's place."""
    contact = {"contact": options.pop("contact")} if "contact" in options else {}
    ball = ds.RigidBody("ball", ds.Sphere(RADIUS), (0.0, 0.0, z0 + RADIUS), restitution=e)
    scene = ds.Scene(rigid_bodies=(ball,), ground=ds.Ground(restitution=e), gravity=(0.0, 0.0, -g), **contact)  # type: ignore[arg-type]
    sim = simulator(scene, **options)
    z, v, restitution = leaf(z0), leaf(v0), leaf(e)
    state, zero = sim.reset(), torch.zeros(3, dtype=F64)
    q = torch.cat([zero[:2], (z + RADIUS)[None], state.q[0, 3:]])[None]
    qd = torch.cat([zero[:2], v[None], zero])[None]
    parameters = {"ball.restitution": restitution, "ground.restitution": restitution}
    end = rollout(sim, seconds, state.replace(q=q, qd=qd), parameters=parameters)[-1].q[0, 2] - RADIUS
    return {"y(T)": end.item()} | dict(zip(("dy/dy0", "dy/dv0", "dy/de"), derivative(end, z, v, restitution), strict=True))


def expected(values: Mapping[str, float], share: float, names: tuple[str, ...], unit: str = "SI") -> dict[str, Expected]:
    return {name: within(values[name], share, unit) for name in names}


THROW, FALL = (0.5005, -1.0, 1.0, 1.0, 0.0), (1.0, -1.0, 1.0, 0.8)
PLAIN = ("y(T)", "dy/dy0")


@experiment("default ball thrown at the floor", 4, expected(exact(*THROW), 0.02, PLAIN))
def default_throw() -> Results:
    """At 1 m/s without gravity, e = 1: y = -(y0 + v0 T) and dy/dy0 = -1."""
    found = simulated(*THROW)
    for name in PLAIN:
        yield name, found[name]


@experiment("default falling ball", 4, expected(exact(*FALL), 0.02, PLAIN))
def default_fall() -> Results:
    """With gravity, e = 1, one bounce."""
    found = simulated(*FALL)
    for name in PLAIN:
        yield name, found[name]


MANY = {0.9: ("y(T)", "dy/dy0", "dy/dv0", "dy/de"), 1.0: ("y(T)", "dy/dy0", "dy/dv0")}
MANY_EXACT = {e: exact(1.0, 0.0, e, 3.0) for e in MANY}


@experiment(
    "many_bounces", 10,
    {f"event mode, e = {e:g}: {name}": within(MANY_EXACT[e][name], 1e-6, "SI") for e, names in MANY.items() for name in names}
    | {f"smooth, dt .1 ms, e = .9: {name}": within(MANY_EXACT[0.9][name], 0.05, "SI") for name in PLAIN}
    | {"16 bounces in event mode, dy/dy0 against finite differences": within(1.0, 1e-5)},
)  # fmt: skip
def many_bounces() -> Results:
    """From 1 m for 3 s: 4 bounces at e = .9, 3 at e = 1; event mode at 5 ms."""
    for e, names in MANY.items():
        found = simulated(1.0, 0.0, e, 3.0, contact=EVENT, dt=5e-3, substeps=20)
        for name in names:
            yield f"event mode, e = {e:g}: {name}", found[name]
    found = simulated(1.0, 0.0, 0.9, 3.0, dt=1e-4, substeps=200)
    for name in PLAIN:
        yield f"smooth, dt .1 ms, e = .9: {name}", found[name]
    long = (0.0, 0.95, 10.0)
    options: dict[str, Any] = {"contact": EVENT, "dt": 5e-3, "substeps": 20}
    slope = simulated(1.0, *long, **options)["dy/dy0"]
    h = 1e-6
    above, below = (simulated(1.0 + d, *long, **options)["y(T)"] for d in (h, -h))
    yield "16 bounces in event mode, dy/dy0 against finite differences", slope / ((above - below) / (2.0 * h))


@experiment("Newton's cradle", 4, {"energy gained in 2 s": none(1e-3)})
def cradle() -> Results:
    """Five pendulums whose balls (e = 1) just touch, the first let go at 30 deg. What must not be is a gain: which ball
    leaves with how much is a matter of how simultaneous impacts are resolved."""
    length, radius = 0.5, 0.02
    ball = ds.Geometry(ds.Sphere(radius), (0.0, 0.0, -length), restitution=1.0, friction=0.0)
    mass = ds.Inertia(0.1, (0.4 * 0.1 * radius**2,) * 3, (0.0, 0.0, -length))
    lean = math.radians(30.0)
    pendulums = tuple(
        ds.Articulation(
            f"p{n}",
            (
                ds.Link(
                    "ball", ds.Joint("pivot", "revolute", (0.0, 1.0, 0.0), initial=(0.0 if n else lean,)),
                    inertia=mass, geometries=(ball,),
                ),
            ),
            position=(2.0 * radius * n, 0.0, 0.0),
        )
        for n in range(5)
    )  # fmt: skip
    sim = simulator(ds.Scene(articulations=pendulums, ground=None, lower=(-2.0,) * 3, upper=(2.0,) * 3))
    states = rollout(sim, 2.0)
    rest = -5.0 * 0.1 * G * length
    energies = [float(mechanical_energy(sim, state)) - rest for state in states]
    yield "energy gained in 2 s", max(energies) / energies[0] - 1.0


BLADE_SPEEDS = (0.5, 5.0, 50.0)
THICKNESSES = (0.001, 0.05)


def blade(half: float, at: float = 0.2) -> ds.Tool:
    return ds.Tool("blade", ds.Box((half, 0.1, 0.1)), (at, 0.5, 0.5), control=("x",))


def rigid_case(half: float, speed: float) -> str:
    return f"rigid box before {2e3 * half:g} mm at {speed:g} m/s, its speed or a warning"


def swept(sim: ds.Simulator, speed: float) -> ds.State:
    """After the blade has gone from .2 to .8 m, in whole control steps and at the dt of the scene."""
    return rollout(sim, max(round(0.6 / speed / sim.control_dt), 1) * sim.control_dt, actions=(speed,))[-1]


@experiment(
    "fast_thin_blade", 10,
    {rigid_case(half, speed): within(speed, 0.05, "m/s") for half in THICKNESSES for speed in BLADE_SPEEDS}
    | {f"jelly before 2 mm at {speed:g} m/s, moved or warned of": yes() for speed in BLADE_SPEEDS},
)  # fmt: skip
def blades() -> Results:
    """A body of 12 cm without gravity, dt 2 ms, 10 substeps. A blade with e = 0 makes a rigid box as fast as itself, whatever
    its thickness; where it is too fast for that, a warning names it, which counts as the right speed. A soft body moves, or
    the warning names tool and speed."""
    for half in THICKNESSES:
        for speed in BLADE_SPEEDS:
            box = ds.RigidBody("box", ds.Box((0.06,) * 3), (0.5, 0.5, 0.5), mass=1.0)
            scene = ds.Scene(
                rigid_bodies=(box,), tools=(blade(half),), ground=None, gravity=(0.0, 0.0, 0.0), upper=(2.0, 1.0, 1.0)
            )
            with warnings_heard() as messages:
                end = swept(simulator(scene, dt=2e-3, substeps=10 if speed < 10.0 else 1), speed)
            warned = any("blade" in each for each in messages)
            yield rigid_case(half, speed), speed if warned else end.qd[0, 0].item()
    for speed in BLADE_SPEEDS:
        jelly = ds.SoftBody("jelly", ds.Box((0.06,) * 3), (0.5, 0.5, 0.5), material=ds.Elastic(1e4), particles=1000)
        scene = ds.Scene((jelly,), tools=(blade(0.001),), ground=None, gravity=(0.0, 0.0, 0.0), grid_spacing=1.0 / 32.0)
        with warnings_heard() as messages:
            end = swept(simulator(scene, dt=2e-3, substeps=10 if speed < 10.0 else 1), speed)
        moved = end.x[0, :, 0].mean().item() - 0.5
        yield (
            f"jelly before 2 mm at {speed:g} m/s, moved or warned of",
            float(moved > 0.05 or any("blade" in each for each in messages)),
        )
