"""Point 2: round things roll, on planes, boxes, spheres and each other."""

from __future__ import annotations

import math

import torch
import trimesh
from scipy.integrate import solve_ivp

import diffsim as ds
from benchmarks.physics.registry import Results, experiment, within
from benchmarks.physics.worlds import ALONG_Y, F64, G, rollout, simulator, tilted

RADIUS, SPEED = 0.05, 0.5
SLOPE = 15.0
# a solid cylinder that rolls has 3/2 of its mass to accelerate: x = (2/3) g sin a t^2 / 2
DOWN = 0.5 * (2.0 / 3.0) * G * math.sin(math.radians(SLOPE))


def cylinder(rounding: float = 0.0) -> ds.Cylinder:
    return ds.Cylinder(0.04, RADIUS, rounding=rounding)


def ball_mesh() -> ds.TriangleMesh:
    """2,562 vertices."""
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=RADIUS)
    return ds.TriangleMesh(mesh.vertices, mesh.faces, "ball")


WHEELS: dict[str, ds.Shape] = {
    "cylinder": cylinder(), "rounded cylinder": cylinder(0.01), "torus": ds.Torus(0.04, 0.01), "sphere": ds.Sphere(RADIUS),
}  # fmt: skip


def rolled(
    shape: ds.Shape, seconds: float, *, speed: float = 0.0, degrees: float = 0.0, floor: float = 0.0, **scene: object
) -> float:
    """How far along x a shape of the radius RADIUS goes, its axis along y, from the height ``floor`` on."""
    turning = (0.0, speed / RADIUS, 0.0)
    body = ds.RigidBody(
        "body", shape, (0.0, 0.0, floor + RADIUS), ALONG_Y, velocity=(speed, 0.0, 0.0), angular_velocity=turning
    )
    sim = simulator(ds.Scene(rigid_bodies=(body,), **scene))  # type: ignore[arg-type]
    end = rollout(sim, seconds, parameters={"gravity": tilted(degrees)[0]})[-1]
    return end.q[0, 0].item()


def down_from_rest(shape: ds.Shape) -> float:
    """x = g sin a t^2 / 2 / (1 + I / m r^2) after 1 s, with the moment I about the shape's z axis."""
    volume, _center, inertia = shape.mass_properties()
    return 0.5 * G * math.sin(math.radians(SLOPE)) / (1.0 + inertia[2, 2] / (volume * RADIUS**2))


@experiment(
    "down 15 deg", 2,
    {"cylinder, in 1 s": within(DOWN, 0.01, "m")}
    | {f"{name}, in 1 s": within(down_from_rest(WHEELS[name]), 0.01, "m") for name in ("rounded cylinder", "torus", "sphere")},
)  # fmt: skip
def down() -> Results:
    """From rest, on the ground. A mesh of a cylinder is left out: a prism of n sides loses 4 pi / 3 n of its energy a radian,
    which is 3.3% for 128 sides."""
    for name, shape in WHEELS.items():
        yield f"{name}, in 1 s", rolled(shape, 1.0, degrees=SLOPE)


@experiment("on the level", 2, {f"{name}, in 2 s": within(1.0, 0.01, "m") for name in (*WHEELS, "2,562-vertex ball")})
def level() -> Results:
    """At .5 m/s, rolling."""
    for name, shape in (WHEELS | {"2,562-vertex ball": ball_mesh()}).items():
        yield f"{name}, in 2 s", rolled(shape, 2.0, speed=SPEED)


@experiment(
    "on a box", 2,
    {
        "cylinder, down 15 deg in 1 s": within(DOWN, 0.01, "m"),
        "torus, on the level in 2 s": within(1.0, 0.01, "m"),
        "2,562-vertex ball, on the level in 2 s": within(1.0, 0.01, "m"),
    },
)  # fmt: skip
def on_a_box() -> Results:
    """The same on an obstacle in place of the ground."""
    plank = ds.Obstacle("plank", ds.Box((1.5, 0.2, 0.02)), (1.0, 0.0, 0.28))
    world = {"obstacles": (plank,), "ground": None, "lower": (-1.0, -1.0, 0.0), "upper": (3.0, 1.0, 1.0), "floor": 0.3}
    yield "cylinder, down 15 deg in 1 s", rolled(cylinder(), 1.0, degrees=SLOPE, **world)  # type: ignore[arg-type]
    yield "torus, on the level in 2 s", rolled(WHEELS["torus"], 2.0, speed=SPEED, **world)  # type: ignore[arg-type]
    yield "2,562-vertex ball, on the level in 2 s", rolled(ball_mesh(), 2.0, speed=SPEED, **world)  # type: ignore[arg-type]


BIG = 0.5
LEANS, OFF_SECONDS = 0.2, 0.5


def off_a_round_top() -> float:
    """Angle after OFF_SECONDS of a cylinder that rolls from rest off a round top: (3/2) (R + r) phi'' = g sin phi."""
    stiffness = G / (1.5 * (BIG + RADIUS))
    found = solve_ivp(
        lambda _t, y: (y[1], stiffness * math.sin(y[0])), (0.0, OFF_SECONDS), (LEANS, 0.0), rtol=1e-10, atol=1e-12
    )
    return float(found.y[0, -1])


@experiment(
    "on each other", 2,
    {
        "cylinder off a sphere, angle gained": within(off_a_round_top() - LEANS, 0.01, "rad"),
        "cylinder across a lying cylinder, in 2 s": within(1.0, 0.01, "m"),
        "sphere along a lying cylinder, in 2 s": within(1.0, 0.01, "m"),
    },
)  # fmt: skip
def on_each_other() -> Results:
    """A wheel off the top of a fixed sphere; a wheel along the ridge of a fixed cylinder, which is steady there, having the
    smaller radius; and a ball there, which would leave the ridge only if something pushed it aside."""
    world = {"lower": (-2.0,) * 3, "upper": (3.0,) * 3, "ground": None}
    top = ds.Obstacle("top", ds.Sphere(BIG), (0.0, 0.0, 0.0))
    start = ((BIG + RADIUS) * math.sin(LEANS), 0.0, (BIG + RADIUS) * math.cos(LEANS))
    sim = simulator(ds.Scene(rigid_bodies=(ds.RigidBody("body", cylinder(), start, ALONG_Y),), obstacles=(top,), **world))  # type: ignore[arg-type]
    end = rollout(sim, OFF_SECONDS)[-1].q[0]
    yield "cylinder off a sphere, angle gained", math.atan2(float(end[0]), float(end[2])) - LEANS
    along_x = (math.sqrt(0.5), 0.0, math.sqrt(0.5), 0.0)
    ridge = ds.Obstacle("ridge", ds.Cylinder(1.5, 0.2), (1.0, 0.0, 0.1), along_x)
    ridge_world = {**world, "obstacles": (ridge,), "floor": 0.3}
    yield "cylinder across a lying cylinder, in 2 s", rolled(cylinder(), 2.0, speed=SPEED, **ridge_world)  # type: ignore[arg-type]
    yield "sphere along a lying cylinder, in 2 s", rolled(ds.Sphere(RADIUS), 2.0, speed=SPEED, **ridge_world)  # type: ignore[arg-type]


@experiment(
    "rolling gradient", 2, {"cylinder, d x / d gravity's slope": within(DOWN / math.tan(math.radians(SLOPE)), 0.02, "m/rad")}
)
def rolling_gradient() -> Results:
    """dx/da of x = (1/3) g sin a t^2 is (1/3) g cos a t^2."""
    body = ds.RigidBody("body", cylinder(), (0.0, 0.0, RADIUS), ALONG_Y)
    sim = simulator(ds.Scene(rigid_bodies=(body,)))
    angle = torch.tensor(math.radians(SLOPE), dtype=F64, requires_grad=True)
    gravity = G * torch.stack([torch.sin(angle), torch.zeros((), dtype=F64), -torch.cos(angle)])
    (by_angle,) = torch.autograd.grad(rollout(sim, 1.0, parameters={"gravity": gravity})[-1].q[0, 0], angle)
    yield "cylinder, d x / d gravity's slope", by_angle.item()
