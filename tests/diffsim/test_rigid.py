"""The mechanics of rigid and articulated bodies through the public interface."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import trimesh

import diffsim as ds

F64 = torch.float64
G = 9.81


def mesh_of(mesh: trimesh.Trimesh, name: str) -> ds.TriangleMesh:
    return ds.TriangleMesh(mesh.vertices, mesh.faces, name)


BALL_MESH = mesh_of(trimesh.creation.icosphere(subdivisions=3, radius=0.1), "ball")
CUBE_MESH = mesh_of(trimesh.creation.box(extents=(0.2, 0.2, 0.2)), "cube")
SLAB_MESH = mesh_of(trimesh.creation.box(extents=(0.6, 0.6, 0.1)), "slab")
SHAPES = {
    "sphere": ds.Sphere(0.1),
    "cube": ds.Box((0.1, 0.1, 0.1)),
    "rounded box": ds.Box((0.12, 0.1, 0.08), rounding=0.02),
    "capsule": ds.Capsule(0.1, 0.06),
    "cylinder": ds.Cylinder(0.1, 0.08),
    "torus": ds.Torus(0.1, 0.03),
    "cube mesh": CUBE_MESH,
}


def run(
    scene: ds.Scene, time: float, *, dt: float = 1e-3, substeps: int = 20, **options
) -> tuple[ds.Simulator, list[ds.State]]:
    """The simulator, and its states after 0, 1, ... control steps up to a time in seconds."""
    sim = ds.Simulator(scene, dt=dt, substeps=substeps, dtype=F64, **options)
    actions = torch.zeros(round(time / sim.control_dt), sim.num_envs, sim.action_dim, dtype=F64)
    return sim, sim.rollout(sim.reset(), actions)


def momenta(sim: ds.Simulator, state: ds.State) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Linear and angular momentum about the origin, (3,), and kinetic energy of all links in the first environment."""
    links, parameters = sim.links(state), sim.parameters
    linear, angular, energy = torch.zeros(3, dtype=F64), torch.zeros(3, dtype=F64), 0.0
    for body in sim.scene.rigid_bodies:
        n, name = sim.link_index(body.name), body.name
        R, spin, mass = links.rotation[0, n], links.angular_velocity[0, n], parameters[f"{name}.mass"]
        xx, yy, zz, yz, xz, xy = parameters[f"{name}.inertia"].tolist()
        inertia = R @ torch.tensor([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]], dtype=F64) @ R.T
        arm = R @ parameters[f"{name}.center"]
        center, velocity = links.position[0, n] + arm, links.velocity[0, n] + torch.linalg.cross(spin, arm)
        linear += mass * velocity
        angular += torch.linalg.cross(center, mass * velocity) + inertia @ spin
        energy += 0.5 * float(mass * velocity @ velocity + spin @ inertia @ spin)
    return linear, angular, energy


def test_free_fall_has_its_closed_form():
    body = ds.RigidBody("ball", ds.Sphere(0.1), (0.1, 0.2, 9.0), velocity=(1.0, -2.0, 3.0))
    sim, states = run(ds.Scene(rigid_bodies=(body,), ground=None), 1.0)
    t = 1.0
    np.testing.assert_allclose(states[-1].q[0, :2], [0.1 + t, 0.2 - 2.0 * t], rtol=1e-12)
    assert float(states[-1].q[0, 2]) == pytest.approx(9.0 + 3.0 * t - G * t * t / 2, rel=1e-11)
    np.testing.assert_allclose(states[-1].qd[0], [1.0, -2.0, 3.0 - G * t, 0.0, 0.0, 0.0], atol=1e-10)
    assert states[-1].time_step.tolist() == [50]
    assert sim.num_particles == 0


def collision(one: ds.Shape, other: ds.Shape, **options) -> ds.Scene:
    """Two bodies that meet off their centres, with spin, in weightlessness."""
    way = {"velocity": (1.0, 0.1, 0.0), "angular_velocity": (-0.263, -2.237, -0.421), "mass": 1.0}
    against = {"velocity": (-1.0, 0.0, 0.1), "angular_velocity": (0.231, 2.107, 0.711), "mass": 2.0}
    bodies = (
        ds.RigidBody("a", one, (0.0, 0.0, 0.0), (1.0, 0.2, 0.1, -0.3), **way, **options),
        ds.RigidBody("b", other, (0.45, 0.06, 0.03), (1.0, -0.4, 0.2, 0.1), **against, **options),
    )
    return ds.Scene(rigid_bodies=bodies, ground=None, gravity=(0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sphere", "sphere"),
        ("cube", "capsule"),
        ("torus", "rounded box"),
        ("cube mesh", "cylinder"),
        ("cube mesh", "cube mesh"),
    ],
)
def test_collisions_conserve_momentum(one, other):
    sim, states = run(collision(SHAPES[one], SHAPES[other], restitution=0.5), 0.4, dt=2e-4)
    before, after = momenta(sim, states[0]), momenta(sim, states[-1])
    change = (states[-1].qd - states[0].qd)[0, :3].norm()
    assert float(change) > 0.3  # they have met
    assert float((after[0] - before[0]).norm()) < 1e-11
    assert after[2] < before[2]


@pytest.mark.parametrize(("one", "other"), [("sphere", "cube"), ("cube mesh", "sphere"), ("cube mesh", "cube")])
def test_collisions_of_bodies_without_gyroscopic_torque_conserve_angular_momentum(one, other):
    sim, states = run(collision(SHAPES[one], SHAPES[other]), 0.4, dt=1e-3)
    before, after = momenta(sim, states[0]), momenta(sim, states[-1])
    assert float((states[-1].qd - states[0].qd)[0, 3:6].norm()) > 0.1
    assert float((after[1] - before[1]).norm() / before[1].norm()) < 1e-9


def test_tumbling_conserves_energy_and_angular_momentum_to_second_order():
    body = ds.RigidBody("brick", ds.Box((0.05, 0.1, 0.2)), (0.0, 0.0, 0.0), angular_velocity=(0.3, 5.0, 0.2))
    scene = ds.Scene(rigid_bodies=(body,), ground=None, gravity=(0.0, 0.0, 0.0))
    errors = []
    for substeps in (20, 40, 80):
        sim, states = run(scene, 1.0, dt=0.02 / substeps, substeps=substeps)
        (_, before, energy), (_, after, later) = momenta(sim, states[0]), momenta(sim, states[-1])
        errors.append((float((after - before).norm() / before.norm()), abs(later / energy - 1.0)))
    assert max(errors[-1]) < 1e-5
    for coarse, fine in pairwise(errors):
        assert coarse[0] / fine[0] == pytest.approx(4.0, rel=0.1)
        assert coarse[1] / fine[1] == pytest.approx(4.0, rel=0.1)
    assert float((states[-1].q[0, 3:] - states[0].q[0, 3:]).norm()) > 0.5


def test_an_elastic_bounce_keeps_its_energy():
    ball = ds.RigidBody("ball", ds.Sphere(0.1), (0.0, 0.0, 0.6), mass=1.0, restitution=1.0, friction=0.0)
    scene = ds.Scene(rigid_bodies=(ball,), ground=ds.Ground(friction=0.0, restitution=1.0))
    errors = []
    for dt in (4e-4, 1e-4):
        _sim, states = run(scene, 1.2, dt=dt, substeps=round(4e-3 / dt))
        heights = torch.cat([state.q[:, 2] for state in states])
        bounce = int(heights[:150].argmin())
        errors.append(abs(float(heights[bounce:].max()) - 0.6) / 0.5)
    assert max(errors) < 1e-3


@pytest.mark.parametrize("restitution", [0.0, 0.3, 0.7])
def test_a_bounce_has_the_restitution_of_the_pair(restitution):
    ball = ds.RigidBody("ball", ds.Sphere(0.1), (0.0, 0.0, 0.13), velocity=(0.0, 0.0, -3.0), mass=1.0, restitution=restitution)
    scene = ds.Scene(
        rigid_bodies=(ball,), ground=ds.Ground(restitution=restitution), gravity=(0.0, 0.0, 0.0),
        contact=ds.ContactModel(stiffness=1e4, restitution_speed=1e-3, smoothing=1e-4),
    )  # fmt: skip
    _sim, states = run(scene, 0.3, dt=2e-5, substeps=100)
    # with e = 0 the body leaves at some multiple of the restitution speed
    assert float(states[-1].qd[0, 2]) == pytest.approx(3.0 * restitution, abs=0.04)


def pendulum(**joint) -> ds.Articulation:
    """A ball of 1 kg at 0.5 m below a hinge about y."""
    bob = ds.Link(
        "bob",
        ds.Joint("hinge", "revolute", axis=(0.0, 1.0, 0.0), **joint),
        inertia=ds.Inertia(1.0, (0.01,) * 3, (0.0, 0.0, -0.5)),
    )
    return ds.Articulation("pendulum", (bob,), position=(0.0, 0.0, 1.0))


def test_a_pendulum_swings_with_its_period_and_energy():
    scene = ds.Scene(articulations=(pendulum(initial=(0.05,)),), ground=None)
    period = 2.0 * math.pi * math.sqrt(0.26 / (G * 0.5)) * (1.0 + 0.05**2 / 16.0)
    _sim, states = run(scene, period, dt=period / 4000, substeps=40)
    assert float(states[-1].q[0, 0]) == pytest.approx(0.05, rel=1e-4)
    drifts = []
    for dt in (2e-3, 1e-3, 5e-4):
        scene = ds.Scene(articulations=(pendulum(initial=(2.0,)),), ground=None)
        _sim, states = run(scene, 2.0, dt=dt, substeps=round(0.02 / dt))
        q, v = torch.cat([s.q for s in states]), torch.cat([s.qd for s in states])
        energy = 0.5 * 0.26 * v.square() - G * 0.5 * torch.cos(q)
        drifts.append(float((energy - energy[0]).abs().max()))
    assert drifts[-1] < 1e-5
    for coarse, fine in pairwise(drifts):
        assert coarse / fine == pytest.approx(4.0, rel=0.1)


def test_a_box_rests_on_the_ground_where_its_points_carry_it():
    box = ds.RigidBody("box", ds.Box((0.1, 0.08, 0.05)), (0.2, 0.3, 0.052), mass=2.0)
    sim, states = run(ds.Scene(rigid_bodies=(box,)), 3.0)
    own, other = sim.parameters["box.stiffness"], sim.parameters["ground.stiffness"]
    k = float(2.0 * own * other / (own + other))
    assert float(states[-1].q[0, 2]) == pytest.approx(0.05 - 2.0 * G / 4.0 / k, abs=1e-12)  # four corners carry it
    assert float((states[-1].q[0, :2] - torch.tensor([0.2, 0.3], dtype=F64)).norm()) < 1e-9
    assert float(states[-1].qd.norm()) < 1e-8
    assert float(states[-1].q[0, 3]) == pytest.approx(1.0, abs=1e-12)


SLOPE = math.radians(20.0)


def slope(friction: float) -> ds.Scene:
    """A box on a plank that leans by SLOPE about y, so that down is +x."""
    half = SLOPE / 2.0
    turned = (math.cos(half), 0.0, math.sin(half), 0.0)
    up = np.array([math.sin(SLOPE), 0.0, math.cos(SLOPE)])
    plank = ds.Obstacle("plank", ds.Box((5.0, 1.0, 0.1)), tuple(-0.1 * up), turned, friction=friction)
    box = ds.RigidBody("box", ds.Box((0.1, 0.1, 0.02)), tuple(0.02 * up), turned, mass=1.0, friction=friction)
    return ds.Scene(rigid_bodies=(box,), obstacles=(plank,), ground=None)


def downhill(state: ds.State) -> float:
    return float(state.qd[0, 0] * math.cos(SLOPE) - state.qd[0, 2] * math.sin(SLOPE))


def test_a_box_sticks_to_a_slope_but_for_the_creep_of_smooth_friction():
    friction = 0.5
    sim, states = run(slope(friction), 2.0)
    share = math.tan(SLOPE) / friction
    creep = sim.contact.slip_speed * share / math.sqrt(1.0 - share**2)
    assert downhill(states[-1]) == pytest.approx(creep, rel=0.02)


def test_a_box_slides_down_a_slope():
    friction = 0.2
    sim, states = run(slope(friction), 0.6, dt=1e-4, substeps=200)  # implicit friction is too large by the share h a / u
    seen = [downhill(state) for state in states]
    acceleration = G * (math.sin(SLOPE) - friction * math.cos(SLOPE))
    assert (seen[-1] - seen[-11]) / (10 * sim.control_dt) == pytest.approx(acceleration, rel=5e-4)


def test_three_boxes_stand_on_each_other():
    sizes = (0.1, 0.09, 0.08)
    boxes = tuple(
        ds.RigidBody(f"box{n}", ds.Box((size, size, 0.05)), (0.005 * n, 0.0, 0.051 + 0.102 * n), density=500.0)
        for n, size in enumerate(sizes)
    )
    sim, states = run(ds.Scene(rigid_bodies=boxes), 2.0)
    links = sim.links(states[-1])
    for n in range(3):
        position, rotation = links.position[0, n + 1], links.rotation[0, n + 1]
        np.testing.assert_allclose(position, [0.005 * n, 0.0, 0.05 + 0.1 * n], atol=3e-3)
        assert float(rotation[2, 2]) > 0.9999
    assert float(states[-1].qd.abs().max()) < 1e-3


def test_a_ball_comes_to_rest_in_a_corner():
    walls = (
        ds.Obstacle("wall x", ds.Box((0.1, 1.0, 1.0)), (-0.1, 0.0, 0.0)),
        ds.Obstacle("wall y", ds.Box((1.0, 0.1, 1.0)), (0.0, -0.1, 0.0)),
    )
    ball = ds.RigidBody("ball", ds.Sphere(0.1), (0.3, 0.25, 0.3), mass=1.0, velocity=(-1.0, -1.0, 0.0))
    scene = ds.Scene(rigid_bodies=(ball,), obstacles=walls, gravity=(-3.0, -3.0, -6.0))
    _sim, states = run(scene, 3.0)
    np.testing.assert_allclose(states[-1].q[0, :3], [0.1] * 3, atol=2e-3)
    assert float(states[-1].qd.norm()) < 1e-2


def test_a_mesh_rests_on_the_ground_and_on_another_mesh():
    ball = ds.RigidBody("ball", BALL_MESH, (0.0, 0.0, 0.22), mass=0.5)
    slab = ds.RigidBody("slab", SLAB_MESH, (0.0, 0.0, 0.051), mass=2.0)
    alone = ds.RigidBody("cube", CUBE_MESH, (2.0, 0.0, 0.105), mass=1.0)
    sim, states = run(ds.Scene(rigid_bodies=(ball, slab, alone)), 2.0, dt=2e-3, substeps=10)
    links = sim.links(states[-1])
    heights = links.position[0, 1:, 2].tolist()
    assert heights == pytest.approx([0.2, 0.05, 0.1], abs=3e-3)
    assert float(states[-1].qd[0, 6:].abs().max()) < 1e-3


def test_a_mesh_is_an_obstacle():
    obstacle = ds.Obstacle("slab", SLAB_MESH, (0.0, 0.0, 0.3))
    box = ds.RigidBody("box", ds.Box((0.1, 0.1, 0.1)), (0.05, 0.0, 0.46), mass=1.0)
    _sim, states = run(ds.Scene(rigid_bodies=(box,), obstacles=(obstacle,)), 1.5)
    assert float(states[-1].q[0, 2]) == pytest.approx(0.45, abs=3e-3)  # points of both carry it, from some mm on
    assert float(states[-1].qd.norm()) < 1e-4


def test_joint_limits_hold():
    for stiffness in (None, 500.0):
        joint = {"initial": (1.5,), "limits": (-0.4, 1.6), "limit_stiffness": stiffness, "damping": 0.02}
        _sim, states = run(ds.Scene(articulations=(pendulum(**joint),), ground=None, gravity=(6.0, 0.0, -1.0)), 3.0)
        q = torch.cat([state.q for state in states])
        assert float(q.min()) > -0.4 - (0.03 if stiffness is None else 0.2)
        assert float(q.max()) < 1.6 + (0.03 if stiffness is None else 0.2)
        assert float(q[-1] - q[-5]) == pytest.approx(0.0, abs=1e-3)


def test_a_position_actuator_converges_to_its_target():
    carrier = pendulum()
    actuator = ds.Actuator("servo", "hinge", kind="position", gain=50.0, damping=8.0)
    arm = ds.Articulation("arm", carrier.links, (actuator,), position=(0.0, 0.0, 1.0))
    sim = ds.Simulator(ds.Scene(articulations=(arm,), ground=None), dtype=F64)
    assert sim.action_dim == 1
    target = torch.full((200, 1, 1), 0.7, dtype=F64)
    last = sim.rollout(sim.reset(), target)[-1]
    angle = float(last.q)
    assert 50.0 * (0.7 - angle) == pytest.approx(G * 0.5 * math.sin(angle), rel=1e-6)  # gravity against the spring
    still = {"gravity": torch.zeros(3, dtype=F64)}
    assert float(sim.rollout(sim.reset(), target, still)[-1].q) == pytest.approx(0.7, abs=1e-8)


def test_a_velocity_actuator_and_a_force_limit():
    links = pendulum().links
    for actuator, expected in (
        (ds.Actuator("drive", "hinge", kind="velocity", gain=5.0), 2.0),
        (
            ds.Actuator("weak", "hinge", kind="velocity", gain=5.0, force_limits=(-0.13, 0.13)),
            0.5,
        ),  # 0.13 N m / 0.26 kg m^2 for 1 s
        (ds.Actuator("torque", "hinge", gain=0.26, control_limits=(-1.0, 1.0)), 1.0),
    ):
        scene = ds.Scene(articulations=(ds.Articulation("arm", links, (actuator,)),), ground=None, gravity=(0.0, 0.0, 0.0))
        sim = ds.Simulator(scene, dtype=F64)
        last = sim.rollout(sim.reset(), torch.full((50, 1, 1), 2.0, dtype=F64))[-1]
        assert float(last.qd) == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
def test_single_precision_follows_double():
    box = ds.RigidBody("box", ds.Box((0.1, 0.08, 0.05)), (0.2, 0.3, 0.1), (1.0, 0.1, 0.2, 0.0), mass=2.0)
    ball = ds.RigidBody("ball", BALL_MESH, (0.2, 0.32, 0.3), mass=1.0)
    results = []
    for dtype in (torch.float32, F64):
        sim = ds.Simulator(ds.Scene(rigid_bodies=(box, ball)), dt=1e-3, substeps=10, dtype=dtype)
        last = sim.rollout(sim.reset(), torch.zeros(12, 1, 0, dtype=dtype))[-1]
        assert last.q.dtype == dtype
        results.append(last.q.double())
    torch.testing.assert_close(*results, rtol=0.0, atol=2e-4)
