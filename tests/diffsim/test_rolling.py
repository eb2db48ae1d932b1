"""Round things roll: closed forms of motion, on planes, faces and each other, and the gradients of where they touch.

Nothing here asks a shape for its contact points. Contacts are stiff and set in over 0.1 mm, so that geometry is what counts.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

import diffsim as ds
from diffsim.scene.rotations import rotation_matrix

pytestmark = pytest.mark.slow

F64 = torch.float64
G = 9.81
R = 0.05
STIFF = ds.ContactModel(stiffness=1e5, smoothing=1e-4, slip_speed=1e-4)
BALL = trimesh.creation.icosphere(subdivisions=4, radius=R)
ROUND = {
    "cylinder": ds.Cylinder(0.05, R),
    "rounded cylinder": ds.Cylinder(0.05, R, 0.01),
    "disc": ds.Cylinder(0.01, R, 0.01),
    "torus": ds.Torus(0.04, 0.01),
    "cone": ds.Cone(0.05, R, R),
    "ellipsoid": ds.Ellipsoid((R, R, 0.08)),
    "ball of 2562 vertices": ds.TriangleMesh(BALL.vertices, BALL.faces, "ball"),
}
LYING = (math.sqrt(0.5), -math.sqrt(0.5), 0.0, 0.0)  # its axis along the world's y


def turned(q, p):
    """The product of two quaternions (w, x, y, z)."""
    q, p = np.asarray(q), np.asarray(p)
    return tuple(np.append(q[0] * p[0] - q[1:] @ p[1:], q[0] * p[1:] + p[0] * q[1:] + np.cross(q[1:], p[1:])))


def rolling(shape: ds.Shape, *, speed: float = 0.0, start: float = 0.0, height: float = 0.0) -> ds.RigidBody:
    """On its side, turned by an angle about its axis, rolling along x."""
    rotation = turned(LYING, (math.cos(0.5 * start), 0.0, 0.0, math.sin(0.5 * start)))
    way = {"velocity": (speed, 0.0, 0.0), "angular_velocity": (0.0, speed / R, 0.0)}
    return ds.RigidBody("it", shape, (0.0, 0.0, height + R), rotation, mass=1.0, **way)


def moved(scene: ds.Scene, time: float, **options) -> tuple[np.ndarray, ds.Simulator, list[ds.State]]:
    """By how much body "it" has moved."""
    sim = ds.Simulator(scene, dt=5e-4, substeps=20, dtype=F64, **options)
    states = sim.rollout(sim.reset(), torch.zeros(round(time / sim.control_dt), 1, 0, dtype=F64))
    n = sim.link_index("it")
    return (sim.links(states[-1]).position - sim.links(states[0]).position)[0, n].numpy(), sim, states


def slope(degrees: float) -> tuple[float, float, float]:
    """Gravity on a slope down along x."""
    angle = math.radians(degrees)
    return (G * math.sin(angle), 0.0, -G * math.cos(angle))


def inertia_share(shape: ds.Shape) -> float:
    """I / (m R^2) about the axis of rolling."""
    volume, _center, inertia = shape.mass_properties()
    return inertia[2, 2] / volume / R**2


@pytest.mark.parametrize("start", [0.0, math.pi / 8, 1.0])
@pytest.mark.parametrize("name", ROUND)
def test_down_a_slope(name, start):
    """a = g sin / (1 + I / m R^2): a cylinder goes .846 m in 1 s at 15 degrees, from whatever angle it starts."""
    shape = ROUND[name]
    scene = ds.Scene(rigid_bodies=(rolling(shape, start=start),), gravity=slope(15.0), contact=STIFF)
    change = moved(scene, 1.0)[0]
    assert change[0] == pytest.approx(0.5 * slope(15.0)[0] / (1.0 + inertia_share(shape)), rel=2e-3)
    assert abs(change[1]) < 1e-3
    assert abs(change[2]) < 1e-3


@pytest.mark.parametrize("name", ROUND)
def test_on_the_level(name):
    scene = ds.Scene(rigid_bodies=(rolling(ROUND[name], speed=0.5),), contact=STIFF)
    change = moved(scene, 2.0)[0]
    np.testing.assert_allclose(change, [1.0, 0.0, 0.0], atol=2e-3)


@pytest.mark.parametrize("name", ["cylinder", "rounded cylinder", "torus", "ellipsoid", "ball of 2562 vertices"])
def test_on_a_face_of_a_box(name):
    """As on a plane, though the box has edges near the rims."""
    shape = ROUND[name]
    plank = ds.Obstacle("plank", ds.Box((0.6, 0.06, 0.05)), (0.5, 0.0, -0.05))
    body = rolling(shape, start=0.3)
    scene = ds.Scene(rigid_bodies=(body,), obstacles=(plank,), ground=None, gravity=slope(15.0), contact=STIFF)
    change = moved(scene, 1.0)[0]
    assert change[0] == pytest.approx(0.5 * slope(15.0)[0] / (1.0 + inertia_share(shape)), rel=5e-3)


def around(share: float, radius: float, angle: float, time: float) -> float:
    """Angle on a circle of a radius down which something rolls from rest: angle'' = g sin(angle) / ((1 + share) radius)."""
    rate, h = 0.0, 1e-4
    for _ in range(round(time / h)):
        rate += h * G * math.sin(angle) / ((1.0 + share) * radius)
        angle += h * rate
    return angle


@pytest.mark.parametrize(
    ("shape", "under"),
    [
        (ds.Cylinder(0.05, R), ds.Cylinder(0.2, 0.3)),
        (ds.Cylinder(0.05, R), ds.Sphere(0.3)),
        (ds.Torus(0.04, 0.01), ds.Cylinder(0.2, 0.3)),
        (ds.Ellipsoid((R, R, 0.08)), ds.Cylinder(0.2, 0.3)),
        (ds.TriangleMesh(BALL.vertices, BALL.faces, "ball"), ds.Sphere(0.3)),
    ],
    ids=["cylinder on cylinder", "cylinder on sphere", "torus on cylinder", "ellipsoid on cylinder", "mesh on sphere"],
)
def test_round_on_round(shape, under):
    """From rest a little beside the top of what is round, axes parallel."""
    angle = 0.3
    place = (0.3 + R) * np.array([math.sin(angle), 0.0, math.cos(angle)])
    body = replace(rolling(shape), position=tuple(place), friction=1.0)
    obstacle = ds.Obstacle("hill", under, (0.0, 0.0, 0.0), LYING, friction=1.0)
    _change, sim, states = moved(ds.Scene(rigid_bodies=(body,), obstacles=(obstacle,), ground=None, contact=STIFF), 0.25)
    end = sim.links(states[-1]).position[0, sim.link_index("it")].numpy()
    assert np.linalg.norm(end) == pytest.approx(0.3 + R, abs=5e-4)
    turn = math.atan2(end[0], end[2]) - angle
    assert turn > 0.04
    assert turn == pytest.approx(around(inertia_share(shape), 0.3 + R, angle, 0.25) - angle, rel=0.01)


@pytest.mark.parametrize("offset", [0.0, 0.013, 0.031])
def test_crossed_cylinders_touch_where_they_cross(offset):
    """One lies across another, wherever along their axes, held upright by its joint: its height is the sum of their radii."""
    half = 0.2
    rod = ds.Geometry(ds.Cylinder(half, R), rotation=LYING)
    joint = ds.Joint("lift", "prismatic", axis=(0.0, 0.0, 1.0), damping=20.0)
    link = ds.Link("it", joint, None, (0.0, offset, 2.0 * R), inertia=ds.Inertia(1.0, (0.01, 0.01, 0.01)), geometries=(rod,))
    across = (math.sqrt(0.5), 0.0, math.sqrt(0.5), 0.0)
    obstacle = ds.Obstacle("under", ds.Cylinder(half, R), (1.4 * offset, 0.0, 0.0), across)
    scene = ds.Scene(articulations=(ds.Articulation("a", (link,)),), obstacles=(obstacle,), ground=None, contact=STIFF)
    sim = ds.Simulator(scene, dt=5e-4, substeps=20, dtype=F64)
    states = sim.rollout(sim.reset(), torch.zeros(50, 1, 0, dtype=F64))
    assert abs(float(states[-1].q[0, 0])) < 3e-4


def test_a_cylinder_stands():
    """On its cap, where a wheel's moving ball has no direction; pushed over by less than its rim bears it stays."""
    body = ds.RigidBody("it", ds.Cylinder(0.1, R), (0.0, 0.0, 0.1), mass=1.0, friction=2.0)
    for tilt, stays in ((0.0, True), (0.85, True), (1.1, False)):  # of the direction of gravity, over that to the rim
        angle = math.atan(tilt * R / 0.1)
        gravity = (G * math.sin(angle), 0.0, -G * math.cos(angle))
        scene = ds.Scene(rigid_bodies=(body,), gravity=gravity, ground=ds.Ground(0.0, 2.0), contact=STIFF)
        _change, sim, states = moved(scene, 1.0)
        upright = sim.links(states[-1]).rotation[0, sim.link_index("it"), 2, 2]
        assert (float(upright) > 0.9999) == stays


def test_the_number_of_points_is_the_users():
    """A cylinder's mesh is a prism: with few of its vertices it rocks, with all of them it rolls as far as a prism does."""
    prism = trimesh.creation.cylinder(R, 0.1, sections=96)
    shape = ds.TriangleMesh(prism.vertices, prism.faces, "prism")
    ways = []
    for count in (24, 200):
        body = replace(rolling(shape), contact_points=count)
        ways.append(moved(ds.Scene(rigid_bodies=(body,), gravity=slope(15.0), contact=STIFF), 1.0)[0][0])
    exact = 0.5 * slope(15.0)[0] / 1.5
    assert abs(ways[1] / exact - 1.0) < 0.03
    assert abs(ways[1] / exact - 1.0) < 0.5 * abs(ways[0] / exact - 1.0)


def test_a_leaning_disc_rolls_round_and_keeps_its_energy():
    """A coin that leans by .6 rad rolls in a circle of its own size, so its rim touches all the way round."""
    lean, shape = 0.6, ds.Cylinder(0.002, R)
    rotation = turned((math.cos(0.5 * lean), math.sin(0.5 * lean), 0.0, 0.0), LYING)
    spin = tuple(rotation_matrix(rotation)[:, 2] / R)
    body = ds.RigidBody(
        "it", shape, (0.0, 0.0, lowest(shape, rotation)), rotation, velocity=(1.0, 0.0, 0.0), angular_velocity=spin, mass=1.0,
        friction=1.0,
    )  # fmt: skip
    _change, sim, states = moved(ds.Scene(rigid_bodies=(body,), ground=ds.Ground(0.0, 1.0), contact=STIFF), 1.0)
    volume, _center, inertia = shape.mass_properties()
    energies, way = [], 0.0
    for state in states:
        links, n = sim.links(state), sim.link_index("it")
        position, turn = links.position[0, n].numpy(), links.rotation[0, n].numpy()
        velocity, rate = links.velocity[0, n].numpy(), turn.T @ links.angular_velocity[0, n].numpy()
        energies.append(0.5 * velocity @ velocity + 0.5 * rate @ inertia @ rate / volume + G * position[2])
        way += sim.control_dt * float(np.linalg.norm(velocity))
        assert abs(position[2] - lowest(shape, state.q[0, 3:].numpy())) < 5e-4
    assert np.linalg.norm(position[:2]) < 0.4 * way
    np.testing.assert_allclose(energies, energies[0], rtol=0.01)


LESS = [pytest.param(name, marks=pytest.mark.long) for name in ("cylinder", "rounded cylinder")]


@pytest.mark.parametrize("name", [*LESS, "torus"])
def test_the_derivatives_of_rolling_by_its_speeds(name):
    """A body that slips for a moment rolls on at (v + c R w) / (1 + c), c its share of inertia; where it starts in its turn
    changes nothing."""
    shape, time = ROUND[name], 0.5
    sim = ds.Simulator(ds.Scene(rigid_bodies=(rolling(shape, speed=0.5),), contact=STIFF), dt=5e-4, substeps=20, dtype=F64)
    start, share = sim.reset(), inertia_share(shape)
    q, qd = start.q.clone().requires_grad_(), start.qd.clone().requires_grad_()
    sim.rollout(replace(start, q=q, qd=qd), torch.zeros(50, 1, 0, dtype=F64))[-1].q[0, 0].backward()
    assert float(qd.grad[0, 0]) == pytest.approx(time / (1.0 + share), rel=2e-3)
    assert float(qd.grad[0, 5]) == pytest.approx(time * share * R / (1.0 + share), rel=2e-3)
    w, x, y, z = start.q[0, 3:]
    by_turn = 0.5 * torch.stack([-z, y, -x, w])  # of the quaternion, by a turn about its own axis
    assert float(q.grad[0, 0]) == pytest.approx(1.0, rel=1e-6)
    assert abs(float(q.grad[0, 3:] @ by_turn)) < 5e-3 * R


TILTED = (1.0, 0.4, 0.2, 0.1)
LEANING = (1.0, 1.0, 0.1, 0.05)
STANDING = (1.0, 0.001, 0.002, 0.1)
CASES = {
    "cylinder on a plane": (ds.Cylinder(0.06, R), LEANING, None),
    "tilted cylinder on a plane": (ds.Cylinder(0.06, R), TILTED, None),
    "standing cylinder on a plane": (ds.Cylinder(0.06, R), STANDING, None),
    "torus on a plane": (ds.Torus(R, 0.015), LEANING, None),
    "torus flat on a plane": (ds.Torus(R, 0.015), STANDING, None),
    "ellipsoid on a plane": (ds.Ellipsoid((0.07, 0.05, 0.04)), TILTED, None),
    "cylinder on a box": (ds.Cylinder(0.06, R), LEANING, ds.Box((0.3, 0.3, 0.3))),
    "torus on a box": (ds.Torus(R, 0.015), LEANING, ds.Box((0.3, 0.3, 0.3))),
    "ellipsoid on a box": (ds.Ellipsoid((0.07, 0.05, 0.04)), TILTED, ds.Box((0.3, 0.3, 0.3))),
    "cylinder on an ellipsoid": (ds.Cylinder(0.06, R), LEANING, ds.Ellipsoid((0.4, 0.35, 0.3))),
    "cylinder across a cylinder": (ds.Cylinder(0.06, R, 0.01), (1.0, 0.4, 1.0, 0.2), ds.Cylinder(0.4, 0.3)),
    "torus on a cylinder": (ds.Torus(R, 0.015), LEANING, ds.Cylinder(0.4, 0.3)),
}


def lowest(shape: ds.Shape, rotation) -> float:
    """By how much the shape reaches below its origin."""
    return -float((shape.surface_mesh().vertices @ rotation_matrix(rotation / np.linalg.norm(rotation)).T)[:, 2].min())


def gradients(name: str, impact: str):
    shape, rotation, under = CASES[name]
    event = impact == "event"
    height = lowest(shape, rotation) + (2e-3 if event else -1e-3) + (0.3 if under else 0.0)
    body = ds.RigidBody(
        "it", shape, (0.5, 0.5, height), rotation, velocity=(0.3, 0.1, -0.8 if event else -0.1),
        angular_velocity=(1.0, 3.0, 0.5), mass=0.5, restitution=0.4,
    )  # fmt: skip
    obstacles = (ds.Obstacle("under", under, (0.5, 0.5, 0.0), LYING),) if under else ()
    contact = ds.ContactModel(impact="event") if event else ds.ContactModel(stiffness=3e3, smoothing=1e-3)
    sim = ds.Simulator(ds.Scene(rigid_bodies=(body,), obstacles=obstacles, contact=contact), dt=1e-3, substeps=4, dtype=F64)
    start, declared = sim.reset(), sim.parameters
    weights = torch.tensor(np.random.default_rng(1).normal(size=13))

    def final(q, qd, scale, under=None):
        state = replace(start, q=q, qd=qd)
        given = {**declared, "it.scale": scale, **({} if under is None else {"under.scale": under})}
        for _ in range(3):
            state = sim.step(state, torch.zeros((1, 0), dtype=F64), parameters=given)
        return torch.cat([state.q, 0.1 * state.qd], dim=1)[0] @ weights

    inputs = {"q": start.q, "qd": start.qd, "scale": declared["it.scale"]}
    if under:
        inputs["under"] = declared["under.scale"]
    still = sim.step(start, torch.zeros((1, 0), dtype=F64))
    assert float((still.qd - start.qd)[0, 3:].norm()) > 1e-3  # it has been touched
    ds.gradcheck(final, inputs)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name.startswith("ellipsoid") else name for name in CASES]
)
def test_gradients(name):
    gradients(name, "smooth")


@pytest.mark.long
@pytest.mark.parametrize("name", ["cylinder on a plane", "tilted cylinder on a plane", "torus flat on a plane"])
def test_gradients_of_impacts(name):
    gradients(name, "event")
