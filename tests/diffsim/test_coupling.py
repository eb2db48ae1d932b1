"""Soft and rigid bodies together: conservation, friction, rest, gradients, batches, and whole scenes with robots."""

from __future__ import annotations

import importlib.util
import math
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import trimesh

import diffsim as ds
from diffsim.coupling import coupled_solver as solver
from tests.diffsim.test_inputs import refused
from tests.diffsim.test_physics import momenta, no_action

pytestmark = pytest.mark.slow

F64 = torch.float64
G = 9.81
URDF = "cmeel.prefix/share/example-robot-data/robots/panda_description/urdf/panda.urdf"
BALL = trimesh.creation.icosphere(subdivisions=2, radius=0.06)
SHAPES = {
    "sphere": ds.Sphere(0.06),
    "capsule": ds.Capsule(0.04, 0.03),
    "box": ds.Box((0.06, 0.05, 0.04)),
    "rounded box": ds.Box((0.06, 0.05, 0.04), rounding=0.015),
    "cylinder": ds.Cylinder(0.05, 0.05, rounding=0.01),
    "torus": ds.Torus(0.05, 0.02),
    "mesh": ds.TriangleMesh(BALL.vertices, BALL.faces, "ball"),
}


def jelly(at: tuple[float, float, float], half: tuple[float, float, float] = (0.06, 0.05, 0.04), **fields) -> ds.SoftBody:
    material = fields.pop("material", ds.Elastic(youngs_modulus=2e4))
    return ds.SoftBody("jelly", ds.Box(half), at, material=material, **{"particles": 60, **fields})


def box_mesh(extents: tuple[float, float, float], name: str = "block") -> ds.TriangleMesh:
    mesh = trimesh.creation.box(extents=extents)
    return ds.TriangleMesh(mesh.vertices, mesh.faces, name)


def slider(shape: ds.Shape, at: tuple[float, float, float], *, axis=(1.0, 0.0, 0.0), mass: float = 0.2) -> ds.Articulation:
    """A shape on a rail, driven by a position actuator."""
    inertia = ds.Inertia(mass, (1e-3, 1e-3, 1e-3))
    joint = ds.Joint("rail", "prismatic", axis=axis, damping=0.1)
    link = ds.Link("head", joint, position=at, inertia=inertia, geometries=(ds.Geometry(shape, friction=0.4),))
    return ds.Articulation("pusher", (link,), (ds.Actuator("drive", "rail", kind="position", gain=200.0, damping=5.0),))


# conservation


def collision(shape: ds.Shape, *, dt: float = 1e-3) -> ds.Simulator:
    """A block and a spinning body, about to meet off centre, far from everything else."""
    scene = ds.Scene(
        soft_bodies=(jelly((0.5, 0.5, 0.34), velocity=(0.2, 0.0, -1.0)),),
        rigid_bodies=(
            ds.RigidBody(
                "body",
                shape,
                (0.52, 0.51, 0.2),
                (0.9, 0.1, 0.2, 0.3),
                mass=0.5,
                velocity=(0.1, 0.0, 0.3),
                angular_velocity=(0.116, 2.126, 1.211),
            ),
        ),
        ground=None,
        gravity=(0.0, 0.0, 0.0),
        grid_spacing=1.0 / 16.0,
        contact=ds.ContactModel(smoothing=2e-3),
    )
    return ds.Simulator(scene, dt=dt, substeps=round(0.01 / dt), dtype=F64)


def rigid_momenta(sim: ds.Simulator, state: ds.State) -> tuple[torch.Tensor, torch.Tensor]:
    """Linear and angular momentum, about the origin, of the body named "body"."""
    given = sim.parameters
    links, number = sim.links(state), sim.link_index("body")
    rotation, spin = links.rotation[:, number], links.angular_velocity[:, number]
    arm = rotation @ given["body.center"]
    linear = given["body.mass"] * (links.velocity[:, number] + torch.linalg.cross(spin, arm))
    inertia = given["body.inertia"][torch.tensor([[0, 5, 4], [5, 1, 3], [4, 3, 2]])]
    own = (rotation @ inertia @ rotation.mT @ spin[..., None])[..., 0]
    return linear, torch.linalg.cross(links.position[:, number] + arm, linear) + own


def exchanged(sim: ds.Simulator, steps: int = 12) -> tuple[torch.Tensor, ...]:
    """Changes of the soft body's and of the rigid body's linear and angular momentum in a collision."""
    # APIC keeps the angular momentum of affine fields that it has transferred once
    start = sim.step(sim.reset(), no_action(sim, 1)[0])
    end = sim.rollout(start, no_action(sim, steps))[-1]
    soft = [after - before for before, after in zip(momenta(sim, start), momenta(sim, end), strict=True)]
    rigid = [after - before for before, after in zip(rigid_momenta(sim, start), rigid_momenta(sim, end), strict=True)]
    return (*soft, *rigid)


@pytest.mark.parametrize("name", SHAPES)
def test_what_a_collision_gives_one_it_takes_from_the_other(name):
    linear, angular, rigid_linear, rigid_angular = exchanged(collision(SHAPES[name]))
    assert float(linear.norm()) > 0.4  # they met: the block of 0.96 kg came at 1.3 m/s
    assert float((linear + rigid_linear).norm()) < 1e-13
    # the rigid integrator turns a body that is no ball with an error of first order in dt; the contact itself has none
    bound = 1e-13 if name in ("sphere", "mesh") else 1e-5
    assert float(angular.norm()) > 0.3
    assert float((angular + rigid_angular).norm()) < bound


def test_angular_momentum_converges_with_the_time_step():
    def error(dt: float) -> float:
        _, angular, _, rigid_angular = exchanged(collision(SHAPES["torus"], dt=dt))
        return float((angular + rigid_angular).norm())

    assert error(5e-4) == pytest.approx(0.25 * error(1e-3), rel=0.3)  # the integrator is of second order


# gradients

REGIMES = {"sticking": (2.0, 0.0, 0.2), "sliding": (0.3, 1.0, 0.02)}  # friction, speed along the contact, slip speed


def squeezed(shape: ds.Shape, regime: str, **options) -> ds.Simulator:
    """A block lands on a free body that stands on the ground, while a driven ball pushes it from the side."""
    friction, speed, slip_speed = REGIMES[regime]
    clay = ds.ElastoPlastic(youngs_modulus=2e4, yield_stress=500.0)
    scene = ds.Scene(
        soft_bodies=(jelly((0.5, 0.5, 0.255), (0.05, 0.05, 0.05), velocity=(speed, 0.05, -0.8), material=clay),),
        rigid_bodies=(
            ds.RigidBody(
                "body", shape, (0.505, 0.49, 0.155), (0.99, 0.02, 0.03, 0.05), mass=0.5, friction=friction,
                velocity=(0.0, 0.0, 0.2), angular_velocity=(0.31, 0.023, 0.182),
            ),
        ),
        articulations=(slider(ds.Sphere(0.04), (0.408, 0.51, 0.26)),),
        ground=ds.Ground(0.1, friction=0.6),
        grid_spacing=1.0 / 16.0,
        contact=ds.ContactModel(smoothing=5e-3, stiffness=2e3, slip_speed=slip_speed),
    )  # fmt: skip
    return ds.Simulator(scene, **{"dt": 1e-3, "substeps": 4, "dtype": F64, **options})


def tray(regime: str) -> ds.Simulator:
    """A block that slides over the floor of a driven tray into its wall: its edge touches both."""
    friction, speed, slip_speed = REGIMES[regime]
    floor = ds.Geometry(ds.Box((0.12, 0.1, 0.03), rounding=0.01), (0.0, 0.0, -0.03), friction=friction)
    wall = ds.Geometry(ds.Box((0.03, 0.1, 0.08), rounding=0.01), (0.1, 0.0, 0.05), friction=0.5 * friction)
    joint = ds.Joint("rail", "prismatic", axis=(1.0, 0.2, 0.1), damping=0.1)
    link = ds.Link("body", joint, position=(0.5, 0.5, 0.3), inertia=ds.Inertia(0.5, (1e-3,) * 3), geometries=(floor, wall))
    drive = ds.Actuator("drive", "rail", kind="position", gain=200.0, damping=5.0)
    scene = ds.Scene(
        soft_bodies=(jelly((0.523, 0.51, 0.346), (0.05, 0.05, 0.05), velocity=(0.5, speed, -0.6)),),
        articulations=(ds.Articulation("tray", (link,), (drive,)),),
        ground=ds.Ground(0.1, friction=0.6),
        grid_spacing=1.0 / 16.0,
        contact=ds.ContactModel(smoothing=5e-3, slip_speed=slip_speed),
    )
    return ds.Simulator(scene, dt=1e-3, substeps=4, dtype=F64)


def touching(sim: ds.Simulator, state: ds.State, link: str, geometry: ds.Geometry, body: int = 0) -> np.ndarray:
    """Which particles of environment 0 are nearer to a geometry of a link than the contact's smoothing length."""
    links, number = sim.links(state), sim.link_index(link)
    local = (state.x[0] - links.position[0, number]) @ links.rotation[0, number]
    radius = 0.5 * float(sim.particle_volume[0]) ** (1.0 / 3.0)
    return geometry.shape.signed_distance(local.numpy() - np.asarray(geometry.position)) < radius + sim.contact.smoothing


def check_gradients(sim: ds.Simulator, control: float, names: tuple[str, ...], *, warm: int = 2) -> None:
    """Of a random functional of everything two control steps on, by the state, the control and the parameters ``names``."""
    action = torch.full((1, sim.action_dim), control, dtype=F64)
    state = sim.rollout(sim.reset(), action.expand(warm, *action.shape))[-1]
    generator = torch.Generator().manual_seed(0)

    def noise(like: torch.Tensor) -> torch.Tensor:
        return torch.randn(like.shape, generator=generator, dtype=F64)

    state = state.replace(F=state.F + 0.02 * noise(state.F))
    fields = {name: getattr(state, name) for name in ("x", "v", "C", "F", "q", "qd")}
    weights = {name: noise(value) for name, value in fields.items() if name != "C"}
    units = {"C": 100.0, "control": 10.0}  # derivatives by these, as they are, drown in what the differences round off
    sizes = {"density": 1e4, "youngs_modulus": 1e5, "friction": 50.0, "gain": 1e3}
    units |= {name: size for name in names for field, size in sizes.items() if name.endswith(field)}
    inputs = {**fields, "control": action, **{name: sim.parameters[name] for name in names}}

    def functional(**scaled: torch.Tensor) -> torch.Tensor:
        given = {name: units.get(name, 1.0) * value for name, value in scaled.items()}
        control = given.pop("control")
        end = state.replace(**{name: given.pop(name) for name in fields})
        for _ in range(2):
            end = sim.step(end, control, given)
        return sum((weight * getattr(end, name)).sum() for name, weight in weights.items())

    checks = ds.gradcheck(functional, {name: value / units.get(name, 1.0) for name, value in inputs.items()}, directions=2)
    for name in inputs:
        assert any(abs(check.adjoint) > 1e-6 for check in checks if check.name == name), f"{name} changes nothing"


PARAMETERS = ("body.mass", "jelly.density", "jelly.youngs_modulus", "body.friction", "body.scale", "ground.friction", "gravity")
PUSHER = ("pusher.head.friction", "pusher.head.scale", "pusher.head.mass", "pusher.drive.gain")


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("name", [pytest.param("sphere", marks=pytest.mark.long), "rounded box", "mesh"])
def test_gradients_of_a_block_between_a_free_body_and_a_pusher(name, regime):
    check_gradients(squeezed(SHAPES[name], regime), 0.05, (*PARAMETERS, *PUSHER))


@pytest.mark.parametrize("regime", REGIMES)
def test_gradients_where_a_particle_touches_two_geometries(regime):
    sim = tray(regime)
    state = sim.rollout(sim.reset(), no_action(sim, 2))[-1]
    floor, wall = (touching(sim, state, "tray.body", each) for each in sim.scene.articulations[0].links[0].geometries)
    assert (floor & wall).sum() >= 3
    names = ("tray.body.mass", "jelly.density", "tray.body.friction", "tray.body.scale", "gravity")
    check_gradients(sim, 0.02, names)


# batches and memory


def loss_gradients(sim: ds.Simulator, state: ds.State, actions: torch.Tensor) -> tuple[ds.State, tuple[torch.Tensor, ...]]:
    """The last state of a rollout, and gradients of a functional of it by the first state and the actions."""
    leaves = [value.clone().requires_grad_() for value in (state.x, state.F, state.q, state.qd, actions)]
    end = sim.rollout(state.replace(x=leaves[0], F=leaves[1], q=leaves[2], qd=leaves[3]), leaves[4])[-1]
    seen = torch.cat([value.flatten(1) for value in (end.x, end.q, end.qd)], dim=1)
    loss = (seen * torch.linspace(-1.0, 1.0, seen.shape[1], dtype=sim.dtype)).sum()
    return end.detach(), torch.autograd.grad(loss, leaves)


def varied(sim: ds.Simulator, *, steps: int = 2) -> tuple[ds.State, torch.Tensor]:
    """Environments that differ, and actions."""
    generator = torch.Generator().manual_seed(2)
    state = sim.rollout(sim.reset(), no_action(sim, 2, sim.num_envs))[-1]
    speeds = state.v + 0.2 * torch.randn(sim.num_envs, 1, 3, generator=generator, dtype=sim.dtype)
    moves = 0.1 * torch.randn(steps, sim.num_envs, sim.action_dim, generator=generator, dtype=sim.dtype)
    return state.replace(v=speeds), moves


def test_a_batch_is_its_environments_bit_for_bit():
    sim = squeezed(SHAPES["rounded box"], "sliding", num_envs=3)
    state, actions = varied(sim)
    end, gradients = loss_gradients(sim, state, actions)
    for n in range(3):
        single, own = loss_gradients(sim, state[n], actions[:, n : n + 1])
        for name, value in single.tensors().items():
            assert torch.equal(value[0], getattr(end, name)[n]), name
        for whole, part in zip(gradients[:-1], own[:-1], strict=True):
            assert torch.equal(whole[n], part[0])
        assert torch.equal(gradients[-1][:, n], own[-1][:, 0])
    assert not torch.equal(end.q[0], end.q[1])


def test_recomputing_in_chunks_changes_nothing(monkeypatch):
    sim = squeezed(SHAPES["sphere"], "sliding", num_envs=5, substeps=60)
    state, actions = varied(sim)
    _, whole = loss_gradients(sim, state, actions)
    monkeypatch.setattr(solver, "TRAJECTORY_BYTES", 1)  # as many environments at a time as there are threads
    _, parts = loss_gradients(sim, state, actions)
    for one, other in zip(whole, parts, strict=True):
        assert torch.isfinite(one).all()
        assert torch.equal(one, other)


def test_single_precision_agrees_with_double():
    ends = []
    for dtype in (torch.float32, F64):
        sim = squeezed(SHAPES["cylinder"], "sliding", dtype=dtype)
        ends.append(sim.rollout(sim.reset(), no_action(sim, 4))[-1])
    for name in ("x", "v", "q", "qd"):
        one, other = (getattr(end, name).double() for end in ends)
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}")


# rest


def test_a_spring_balance_under_jelly_shows_both_weights():
    plate = ds.Geometry(ds.Box((0.15, 0.15, 0.04), rounding=0.005), (0.0, 0.0, -0.04))
    joint = ds.Joint("balance", "prismatic", spring_stiffness=2000.0, damping=60.0)
    link = ds.Link("plate", joint, position=(0.5, 0.5, 0.3), inertia=ds.Inertia(1.0, (1e-2,) * 3), geometries=(plate,))
    scene = ds.Scene(
        soft_bodies=(jelly((0.5, 0.5, 0.3425), particles=120),),
        articulations=(ds.Articulation("balance", (link,)),),
        ground=None,
        grid_spacing=1.0 / 24.0,
    )
    sim = ds.Simulator(scene, dt=1e-3, substeps=20, dtype=F64)
    end = sim.rollout(sim.reset(), no_action(sim, 60))[-1]
    weight = (1.0 + float(sim.particle_mass.sum())) * G
    assert float(-2000.0 * end.q) == pytest.approx(weight, rel=1e-5)
    assert float(end.v.abs().max()) < 1e-3
    radius = 0.5 * float(sim.particle_volume[0]) ** (1.0 / 3.0)
    assert float(end.x[..., 2].min() - 0.3 - end.q) == pytest.approx(radius, rel=0.15)  # particles are balls


def test_a_box_rests_on_jelly_that_bears_its_weight():
    youngs_modulus, mass = 2e4, 2.0
    material = ds.KelvinVoigt(ds.Elastic(youngs_modulus, 0.0), shear_viscosity=30.0)  # that it comes to rest
    scene = ds.Scene(
        soft_bodies=(jelly((0.5, 0.5, 0.05), (0.08, 0.08, 0.05), particles=300, material=material),),
        rigid_bodies=(
            ds.RigidBody("box", ds.Box((0.09, 0.09, 0.03), rounding=0.005), (0.5, 0.5, 0.1345), mass=mass, friction=0.0),
        ),
        ground=ds.Ground(friction=0.0),
        grid_spacing=1.0 / 24.0,
    )
    sim = ds.Simulator(scene, dt=1e-3, substeps=20, dtype=F64)
    end = sim.rollout(sim.reset(), no_action(sim, 150))[-1]
    assert float(end.qd.norm()) < 1e-3
    torch.testing.assert_close(end.q[0, :2], torch.tensor([0.5, 0.5], dtype=F64), rtol=0.0, atol=1e-4)  # upright, in its place
    assert float(end.q[0, 3]) > 1.0 - 1e-6
    # at rest the stress's integral over the volume is minus the moment of the forces: the box's weight on top, the body's own
    U, _, Vh = torch.linalg.svd(end.F[0])
    stress = youngs_modulus * (end.F[0] - U @ Vh) @ end.F[0].mT
    integral = (sim.particle_volume[:, None, None] * stress).sum(dim=0)
    top = float(end.q[0, 2]) - 0.03
    moment = mass * G * top + float((sim.particle_mass * G * end.x[0, :, 2]).sum())
    assert float(-integral[2, 2]) == pytest.approx(moment, rel=0.02)
    assert float(integral[0, 0].abs()) < 1e-3 * moment


# friction

SLOPES = {
    "box link": ("link", ds.Box((0.4, 0.3, 0.05), rounding=0.005)),
    "cylinder obstacle": ("obstacle", ds.Cylinder(0.05, 0.4)),
    "mesh obstacle": ("obstacle", box_mesh((0.8, 0.6, 0.1))),
}


@pytest.mark.parametrize("name", SLOPES)
def test_jelly_sticks_below_the_friction_angle_and_slides_above(name):
    kind, shape = SLOPES[name]
    geometry = ds.Geometry(shape, friction=0.4)
    weld = ds.Link("plate", ds.Joint("weld", "fixed"), position=(0.5, 0.5, 0.2), geometries=(geometry,))
    scene = ds.Scene(
        soft_bodies=(jelly((0.4, 0.5, 0.2901), particles=120, material=ds.Elastic(youngs_modulus=1e5)),),
        articulations=(ds.Articulation("slope", (weld,)),) if kind == "link" else (),
        obstacles=(ds.Obstacle("slope", shape, (0.5, 0.5, 0.2), friction=0.4),) if kind == "obstacle" else (),
        ground=None,
        grid_spacing=1.0 / 24.0,
        contact=ds.ContactModel(slip_speed=1e-3),
    )
    sim = ds.Simulator(scene, num_envs=2, dt=1e-3, substeps=20, dtype=F64)
    angles = [math.atan(0.3), math.atan(0.5)]  # the plate lies flat and gravity is tilted
    gravity = torch.tensor([[G * math.sin(angle), 0.0, -G * math.cos(angle)] for angle in angles], dtype=F64)
    states = sim.rollout(sim.reset(), no_action(sim, 30, 2), {"gravity": gravity})
    landed, last = (states[n].v.mean(dim=1)[:, 0].tolist() for n in (15, 30))
    assert abs(last[0]) < 2e-3  # friction that fades below the slip speed creeps
    assert last[1] - landed[1] == pytest.approx(G * (math.sin(angles[1]) - 0.4 * math.cos(angles[1])) * 0.3, rel=5e-3)
    assert float((states[-1].x - states[0].x)[0, :, 0].mean()) < 3e-3


def gripper(particles: int) -> ds.Simulator:
    """Two fingers with pads of 4 cm, two and a half cells, beside a cube of 5 cm, and nothing below it."""
    links, drives = [], []
    for name, side in (("left", -1.0), ("right", 1.0)):
        pad = ds.Geometry(ds.Box((0.02, 0.005, 0.02), rounding=0.002), (0.0, 0.005 * side, 0.0), friction=1.0)
        joint = ds.Joint(name, "prismatic", axis=(0.0, side, 0.0), initial=(0.026,), armature=0.5)
        inertia = ds.Inertia(0.1, (1e-4,) * 3)
        links.append(ds.Link(name, joint, position=(0.5, 0.5, 0.3), inertia=inertia, geometries=(pad,)))
        drives.append(ds.Actuator(name, name, kind="position", gain=2e3, damping=60.0))
    material = ds.Elastic(youngs_modulus=3e4, poissons_ratio=0.3)
    scene = ds.Scene(
        soft_bodies=(jelly((0.5, 0.5, 0.3), (0.025,) * 3, particles=particles, material=material),),
        articulations=(ds.Articulation("gripper", tuple(links), tuple(drives)),),
        ground=None,
        grid_spacing=1.0 / 64.0,
        contact=ds.ContactModel(smoothing=1e-9, slip_speed=2e-6),
    )
    return ds.Simulator(scene, dt=5e-4, substeps=100, dtype=F64)


def turned(before: torch.Tensor, after: torch.Tensor) -> float:
    """By how many degrees the particles (N, 3) turned as a whole."""
    U, _, Vh = torch.linalg.svd((before - before.mean(dim=0)).mT @ (after - after.mean(dim=0)))
    return math.degrees(math.acos(min(1.0, (float((U @ Vh).trace()) - 1.0) / 2.0)))


def test_a_gripped_cube_of_many_particles_neither_sinks_nor_turns():
    sim = gripper(800)
    squeeze = torch.full((6, 1, 2), 0.019, dtype=F64)
    weightless = {"gravity": torch.zeros(3, dtype=F64)}
    closed = sim.rollout(sim.reset(), squeeze, weightless)[-1]
    floating = sim.rollout(closed, squeeze, weightless)[-1]
    # nothing pushes it aside, whatever the order of its particles
    assert float((floating.x - closed.x).mean(dim=1).norm()) < 1e-5
    assert turned(closed.x[0], floating.x[0]) < 0.1
    held = sim.rollout(closed, squeeze)[-1]
    later = sim.rollout(held, squeeze[:1].expand(30, 1, 2))[-1]  # 1.5 s
    assert abs(float((later.x - held.x).mean(dim=1)[0, 2])) < 3e-4
    assert turned(held.x[0], later.x[0]) < 0.1


# obstacles of any shape


def bowl(radius: float = 0.15, wall: float = 0.03) -> ds.TriangleMesh:
    """Half a hollow sphere, open above."""
    angles = np.linspace(0.0, 0.5 * math.pi, 13)
    inner = np.stack([radius * np.sin(angles), -radius * np.cos(angles)], axis=1)
    inner[0, 0] = 0.0
    mesh = trimesh.creation.revolve(np.concatenate([inner * (1.0 + wall / radius), inner[::-1]]), sections=32)
    return ds.TriangleMesh(mesh.vertices, mesh.faces, "bowl")


DAMPED = ds.KelvinVoigt(ds.Elastic(), shear_viscosity=20.0)


@pytest.mark.parametrize("material", [ds.Liquid(viscosity=0.5), DAMPED], ids=["liquid", "jelly"])
def test_a_bowl_holds_what_falls_into_it(material):
    scene = ds.Scene(
        soft_bodies=(jelly((0.5, 0.5, 0.3), (0.06, 0.06, 0.05), particles=400, material=material),),
        obstacles=(ds.Obstacle("bowl", bowl(), (0.5, 0.5, 0.35), friction=0.1),),
        ground=ds.Ground(0.05),
        grid_spacing=1.0 / 24.0,
    )
    sim = ds.Simulator(scene, dt=1e-3, substeps=20, dtype=F64)
    states = sim.rollout(sim.reset(), no_action(sim, 50))
    away = torch.stack([(state.x[0] - torch.tensor([0.5, 0.5, 0.35])).norm(dim=1).max() for state in states])
    assert float(away.max()) < 0.155  # the impact at 1.3 m/s presses some into the wall of 3 cm, whose inner radius is 15 cm
    assert float(away[-1]) < 0.15
    assert float(states[-1].v.norm(dim=2).mean()) < 0.02
    assert float(states[-1].x[..., 2].mean()) < 0.27


# everything at once


def busy() -> ds.Simulator:
    """A jelly on a free plate, struck by a tool and by an arm, against a static mesh and a box obstacle."""
    bone = ds.Geometry(ds.Capsule(0.06, 0.025), (0.06, 0.0, 0.0), (0.5**0.5, 0.0, 0.5**0.5, 0.0), friction=0.3)
    rod = ds.Inertia(0.3, (2e-4, 1e-3, 1e-3), center=(0.06, 0.0, 0.0))
    shoulder, elbow = (ds.Joint(name, "revolute", damping=0.05) for name in ("shoulder", "elbow"))
    links = (
        ds.Link("upper", shoulder, inertia=rod, geometries=(bone,)),
        ds.Link("lower", elbow, "upper", (0.14, 0.0, 0.0), inertia=rod, geometries=(bone,)),
    )
    drives = tuple(ds.Actuator(name, name, kind="position", gain=20.0, damping=1.0) for name in ("shoulder", "elbow"))
    plate = ds.RigidBody(
        "plate", ds.Box((0.1, 0.1, 0.02), rounding=0.01), (0.5, 0.5, 0.075), mass=0.6, angular_velocity=(0.0, 0.0, 0.3)
    )
    scene = ds.Scene(
        soft_bodies=(jelly((0.5, 0.5, 0.155), (0.05, 0.05, 0.05), velocity=(0.1, 0.0, -0.5)),),
        tools=(ds.Tool("finger", ds.Sphere(0.04), (0.5, 0.5, 0.25), control=("x", "z")),),
        obstacles=(
            ds.Obstacle("rock", SHAPES["mesh"], (0.615, 0.51, 0.16), friction=0.3),
            ds.Obstacle("step", ds.Box((0.05, 0.1, 0.05), rounding=0.01), (0.5, 0.65, 0.1)),
        ),
        rigid_bodies=(plate,),
        articulations=(ds.Articulation("arm", links, drives, position=(0.175, 0.48, 0.16)),),
        ground=ds.Ground(0.05, friction=0.6),
        grid_spacing=1.0 / 20.0,
        contact=ds.ContactModel(stiffness=2e3, smoothing=5e-3, slip_speed=0.05),
    )
    return ds.Simulator(scene, dt=1e-3, substeps=4, dtype=F64)


def test_a_scene_of_everything_runs():
    sim = busy()
    assert sim.action_dim == 4  # the tool's, then the arm's
    still, moved = (
        sim.rollout(sim.reset(), torch.tensor(action, dtype=F64).expand(25, 1, 4))[-1]
        for action in ([0.0, 0.0, 0.0, 0.0], [0.0, -0.2, 0.3, -0.3])
    )
    for state in (still, moved):
        for name, value in state.tensors().items():
            assert torch.isfinite(value).all(), name
    assert float((still.x - moved.x).norm(dim=2).max()) > 5e-3
    assert abs(float(moved.q[0, 2]) - 0.075) < 0.02  # the plate stays between the ground and the jelly


def test_a_scene_of_everything_has_gradients():
    names = ("jelly.density", "plate.mass", "plate.friction", "rock.friction", "rock.scale", "finger.friction", "gravity")
    check_gradients(busy(), 0.05, (*names, "ground.friction", "arm.lower.mass", "arm.lower.friction", "arm.elbow.gain"), warm=4)


# a robot from a file


@pytest.mark.robot_models
@pytest.mark.parametrize(
    "soft", [pytest.param(True, id="soft cube"), pytest.param(False, id="rigid box", marks=pytest.mark.long)]
)
def test_the_panda_lifts(soft):
    path = Path(sysconfig.get_paths()["purelib"]) / URDF
    if not path.is_file():
        pytest.skip("example-robot-data is not installed; make test installs it")
    file = Path(__file__).parents[2] / "examples" / "panda_grasp.py"
    spec = importlib.util.spec_from_file_location("panda_grasp", file)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    scene = example.grasp_scene(path, soft=soft, particles=200, visuals=False)
    sim = ds.Simulator(scene, dt=5e-4, substeps=80, dtype=F64)
    states = example.lift(sim, steps=30)

    def height(state: ds.State) -> float:
        return float(state.x[0, :, 2].mean() if soft else state.q[0, 2])

    heights = [height(state) for state in states]
    assert max(heights[:15]) < 0.03
    assert heights[-1] > 0.15


# errors


def test_wrong_arguments_are_refused():
    sim = squeezed(SHAPES["sphere"], "sliding")
    state = sim.reset()
    with refused("action", "(1, 1)", "(1, 3)"):
        sim.step(state, torch.zeros(1, 3, dtype=F64))
    with refused("state.q", "(1, 8)", "(1, 9)"):
        sim.step(state.replace(q=torch.zeros(1, 9, dtype=F64)), torch.zeros(1, 1, dtype=F64))
    with refused("there is no parameter 'body.density'", "body.mass", "jelly.density"):
        sim.step(state, torch.zeros(1, 1, dtype=F64), {"body.density": torch.tensor(1.0, dtype=F64)})
    with refused("parameter 'body.scale'", "within [1e-09, inf]"):
        sim.step(state, torch.zeros(1, 1, dtype=F64), {"body.scale": torch.tensor(-1.0, dtype=F64)})
    with refused("device must be 'cpu'", "soft and rigid", "'cuda'"):
        solver.CoupledSolver(sim.scene, SimpleNamespace(device="cuda"), sim._rigid.solver, dt=1e-3)


def test_what_breaks_is_named():
    sim = squeezed(SHAPES["sphere"], "sliding")
    state, action = sim.reset(), torch.zeros(1, 1, dtype=F64)
    with pytest.raises(ds.SimulationError, match="of link 'body' "):
        sim.step(state.replace(qd=state.qd + 1e9), action)
    with pytest.raises(ds.SimulationError, match="of body 'jelly' "):
        sim.step(state.replace(v=state.v + 1e9), action)
