"""What soft bodies do to links and obstacles off the grid, beside rigid contact: weights, grips, momentum, gradients."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import diffsim as ds
from tests.diffsim.test_coupling import SHAPES, gripper, squeezed

pytestmark = pytest.mark.slow

F64 = torch.float64
G = 9.81
HALF, ASIDE = 0.06, 0.03


def recording(sim: ds.Simulator, **changes) -> ds.Simulator:
    """The same simulator with recorded forces, and with changes of the scene."""
    scene = dataclasses.replace(sim.scene, **changes)
    return ds.Simulator(scene, dt=sim.dt, substeps=sim.substeps, dtype=sim.dtype, record_forces=True)


def test_the_ground_carries_a_plate_and_the_cube_on_it():
    """And a stump, off the grid, carries a cube that stands 3 cm beside its middle."""
    cubes = tuple(
        ds.SoftBody(name, ds.Box((HALF,) * 3), at, material=ds.Elastic(2e4, 0.3), particles=64)
        for name, at in (("cube", (0.2, 0.2, 0.06 + HALF)), ("other", (0.6 + ASIDE, 0.2, 0.2 + HALF)))
    )
    plate = ds.RigidBody("plate", ds.Box((0.1, 0.1, 0.03)), (0.2, 0.2, 0.03), mass=1.5)
    stump = ds.Obstacle("stump", ds.Cylinder(half_length=0.1, radius=0.15), (0.6, 0.2, 0.1))
    scene = ds.Scene(cubes, rigid_bodies=(plate,), obstacles=(stump,), upper=(0.8, 0.4, 0.5), grid_spacing=0.04)
    sim = ds.Simulator(scene, dt=2e-3, substeps=10, dtype=F64, record_forces=True)
    with torch.no_grad():
        state = sim.rollout(sim.reset(), torch.zeros(100, 1, 0, dtype=F64))[-1]
    weight = G * float(sim.particle_mass[sim.particle_slice("cube")].sum())
    forces = {name: sim.contact_wrench(state, name).force[0] for name in ("ground", "plate", "stump")}
    for name, force in (("ground", -weight - 1.5 * G), ("plate", 1.5 * G), ("stump", -weight)):
        expected = torch.tensor([0.0, 0.0, force], dtype=F64)
        torch.testing.assert_close(
            forces[name], expected, rtol=0.01, atol=0.01 * weight, msg=lambda text, name=name: f"{name}: {text}"
        )
    torque = sim.contact_wrench(state, "stump").torque[0]
    aside = float(state.x[0, sim.particle_slice("other"), 0].mean()) - 0.6
    torch.testing.assert_close(
        torque, torch.tensor([0.0, aside * weight, 0.0], dtype=F64), rtol=0.01, atol=0.01 * weight * HALF
    )


def test_a_finger_presses_with_its_actuators_force():
    stump = ds.Obstacle("stump", ds.Cylinder(0.05, 0.05), (0.1, 0.1, 0.1))  # far away: kernels are those of the other tests
    sim = recording(gripper(125), obstacles=(stump,))
    squeeze = torch.full((1, 1, 2), 0.019, dtype=F64)
    with torch.no_grad():
        state = sim.rollout(sim.reset(), squeeze.expand(10, 1, 2), {"gravity": torch.zeros(3, dtype=F64)})[-1]
    assert float(state.qd.abs().max()) < 1e-4
    for number, (name, side) in enumerate((("left", -1.0), ("right", 1.0))):
        drive = 2e3 * (0.019 - float(state.q[0, number]))
        assert drive < -2.0
        force = sim.contact_wrench(state, f"gripper.{name}").force[0]
        torch.testing.assert_close(force, torch.tensor([0.0, -side * drive, 0.0], dtype=F64), rtol=0.01, atol=0.01 * abs(drive))


def test_listed_contacts_are_those_that_act(struck):
    """Rigid ones too, under the load of what is soft."""
    sim, state, action = struck
    one = ds.Simulator(sim.scene, dt=sim.dt, substeps=1, dtype=F64, record_forces=True)
    with torch.no_grad():
        contacts, end = sim.contacts(state, action), one.step(state, action)
    for name in sim.contact_names:
        force = one.contact_wrench(end, name).force[0]
        found = contacts.of(name).force.sum(dim=0)
        torch.testing.assert_close(found, force, rtol=1e-9, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}")
    pressed = contacts.between("jelly", "pusher.head")
    links, head = sim.links(state), sim.link_index("pusher.head")
    center = (links.position + 0.5 * sim.dt * links.velocity)[0, head]  # contact acts in the middle of the substep
    assert len(pressed) > 3
    torch.testing.assert_close((pressed.point - center).norm(dim=1), torch.full((len(pressed),), 0.04, dtype=F64))
    assert (pressed.normal[:, 0] > 0.5).all()
    assert len(contacts.between("body", "ground")) > 0


def test_contacts_are_listed_where_only_a_tool_is_driven():
    """No joint has a control; in two environments, of which one's tool stands still."""
    scene = dataclasses.replace(squeezed(SHAPES["rounded box"], "sticking").scene, articulations=())
    ball = ds.Tool("ball", ds.Sphere(0.04), (0.5, 0.5, 0.335), control=("x", "z"))
    sim = ds.Simulator(
        dataclasses.replace(scene, tools=(ball,)), num_envs=2, dt=1e-3, substeps=1, dtype=F64, record_forces=True
    )
    action = torch.tensor([[0.0, 0.0], [0.0, -1.0]], dtype=F64)
    with torch.no_grad():
        state = sim.rollout(sim.reset(), action.expand(4, -1, -1))[-1]
        contacts, end = sim.contacts(state, action), sim.step(state, action)
    for environment in range(2):
        listed = contacts.in_environment(environment)
        for name in sim.contact_names:
            found, force = listed.of(name).force.sum(dim=0), sim.contact_wrench(end, name).force[environment]
            torch.testing.assert_close(found, force, rtol=1e-9, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}")
    pressed = [float(contacts.in_environment(e).between("jelly", "ball").force[:, 2].sum()) for e in range(2)]
    assert pressed[1] < pressed[0] - 0.1


LEAVES = ("x", "v", "C", "F", "q", "qd", "tool_position")
PARAMETERS = (
    "body.center", "body.friction", "body.scale", "body.mass", "ground.friction", "peg.friction", "ball.friction", "gravity",
    "jelly.density", "jelly.youngs_modulus",
)  # fmt: skip


@pytest.fixture(scope="module")
def struck() -> tuple[ds.Simulator, ds.State, torch.Tensor]:
    """A block between a free body on the ground, a driven ball, a tool and an obstacle off the grid."""
    sim = recording(
        squeezed(SHAPES["rounded box"], "sticking"),
        obstacles=(ds.Obstacle("peg", ds.Cylinder(0.03, 0.05, rounding=0.01), (0.58, 0.5, 0.25)),),
        tools=(ds.Tool("ball", ds.Sphere(0.04), (0.5, 0.5, 0.335), control=("x", "z")),),
    )
    action = torch.full((1, sim.action_dim), 0.05, dtype=F64)
    state = sim.rollout(sim.reset(), action.expand(3, -1, -1))[-1]
    noise = torch.randn(state.F.shape, generator=torch.Generator().manual_seed(0), dtype=F64)
    return sim, state.replace(F=state.F + 0.02 * noise), action


def test_the_forces_are_the_rates_of_momentum(struck):
    sim, state, action = struck
    with torch.no_grad():
        end = sim.step(state, action)
    gravity, mass = sim.parameters["gravity"], sim.particle_mass[:, None]
    soft = (mass * (end.v - state.v)).sum(dim=1) / sim.control_dt - mass.sum() * gravity
    torch.testing.assert_close(-end.contact_wrench[..., :3].sum(dim=1), soft, rtol=1e-6, atol=1e-6)
    body = 0.5 * ((end.qd - state.qd)[:, :3] / sim.control_dt - gravity)
    torch.testing.assert_close(sim.contact_wrench(end, "body").force, body, rtol=1e-6, atol=1e-6)
    for name in ("ground", "peg", "ball", "body", "pusher.head"):
        assert float(sim.contact_wrench(end, name).force.norm()) > 0.1, name


@pytest.mark.long
def test_gradients_of_wrenches(struck):
    """By the state, the actions and the parameters, two control steps on."""
    sim, state, action = struck
    units = {"C": 100.0, "jelly.density": 1e4, "jelly.youngs_modulus": 1e5}
    inputs = {name: getattr(state, name) / units.get(name, 1.0) for name in LEAVES} | {"action": action}
    inputs |= {name: sim.parameters[name] / units.get(name, 1.0) for name in PARAMETERS}
    weights = torch.randn(len(sim.contact_names), 6, dtype=F64, generator=torch.Generator().manual_seed(0))

    def functional(**scaled: torch.Tensor) -> torch.Tensor:
        given = {name: units.get(name, 1.0) * value for name, value in scaled.items()}
        start = state.replace(**{name: given[name] for name in LEAVES})
        parameters = {name: given[name] for name in PARAMETERS}
        states = sim.rollout(start, given["action"].expand(2, -1, -1), parameters)
        return sum((each.contact_wrench * weights).sum() for each in states[1:])

    checks = ds.gradcheck(functional, inputs, directions=1)
    for name in inputs:
        assert any(abs(check.adjoint) > 1e-4 for check in checks if check.name == name), f"{name} changes nothing"
