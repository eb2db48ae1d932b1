"""What soft bodies do to the ground, obstacles, tools and walls: weights, squeezes, momentum, torques, gradients."""

from __future__ import annotations

import pytest
import torch

import diffsim as ds
from tests.diffsim.scenes import contact_scene, random_state

pytestmark = pytest.mark.slow

F64 = torch.float64
G = 9.81
HALF, SUPPORT = 0.06, (0.17, 0.17, 0.1)
BENEATH = {"ground": (0.2, 0.2), "table": (0.55, 0.2), "tray": (0.9, 0.2)}  # what each of three cubes rests on, and where


def cube(name: str, at: tuple[float, float, float], material: ds.Material, particles: int = 64) -> ds.SoftBody:
    return ds.SoftBody(name, ds.Box((HALF,) * 3), at, material=material, particles=particles)


@pytest.fixture(scope="module")
def resting() -> tuple[ds.Simulator, ds.State]:
    """A cube on the ground, one on an obstacle, and one on a tool, 2 cm beside its middle; after 2.6 s."""
    scene = ds.Scene(
        tuple(
            cube(f"on {name}", (x + 0.02 * (name == "tray"), y, HALF + 0.2 * (name != "ground")), ds.Elastic(2e4, 0.3))
            for name, (x, y) in BENEATH.items()
        ),
        tools=(ds.Tool("tray", ds.Box(SUPPORT), (*BENEATH["tray"], 0.1), control=("x", "z", "ry")),),
        obstacles=(ds.Obstacle("table", ds.Box(SUPPORT), (*BENEATH["table"], 0.1)),),
        upper=(1.2, 0.4, 0.5),
        grid_spacing=0.04,
    )  # fmt: skip
    sim = ds.Simulator(scene, dt=2e-3, substeps=20, dtype=F64, record_forces=True)
    with torch.no_grad():
        return sim, sim.rollout(sim.reset(), torch.zeros(65, 1, sim.action_dim, dtype=F64))[-1]


@pytest.mark.parametrize("name", BENEATH)
def test_a_resting_cube_weighs_m_g(resting, name):
    sim, state = resting
    weight = G * float(sim.particle_mass[sim.particle_slice(f"on {name}")].sum())
    wrench = sim.contact_wrench(state, name)
    force = torch.tensor([[0.0, 0.0, -weight]], dtype=F64)
    torch.testing.assert_close(wrench.force, force, rtol=0.01, atol=0.01 * weight)
    # about the middle of what carries it, or the world's origin on the ground
    middle = state.x[0, sim.particle_slice(f"on {name}"), :2].mean(dim=0)
    arm = middle - torch.tensor((0.0, 0.0) if name == "ground" else BENEATH[name], dtype=F64)
    torque = weight * torch.tensor([[-float(arm[1]), float(arm[0]), 0.0]], dtype=F64)
    torch.testing.assert_close(wrench.torque, torque, rtol=0.02, atol=0.02 * weight * HALF)


def test_two_plates_that_squeeze_a_cube_feel_its_stress():
    youngs_modulus, particles = 2e4, 216
    plates = tuple(
        ds.Tool(name, ds.Box((0.08, 0.12, 0.12)), (0.25 + side * (HALF + 0.08), 0.25, 0.25), control=("x",), friction=0.0)
        for name, side in (("left", -1.0), ("right", 1.0))
    )
    scene = ds.Scene(
        (cube("cube", (0.25,) * 3, ds.Elastic(youngs_modulus, 0.0), particles),), tools=plates, ground=None, upper=(0.5,) * 3,
        grid_spacing=0.03, gravity=(0.0,) * 3,
    )  # fmt: skip
    sim = ds.Simulator(scene, dt=2e-3, substeps=20, dtype=F64, record_forces=True)
    speeds = torch.zeros(40, 1, 2, dtype=F64)
    speeds[:10] = torch.tensor([0.05, -0.05], dtype=F64)  # 2 cm each
    with torch.no_grad():
        state = sim.rollout(sim.reset(), speeds)[-1]
    left, right = (sim.contact_wrench(state, name).force[0] for name in ("left", "right"))
    torch.testing.assert_close(left, -right, rtol=1e-3, atol=1e-3 * float(right.norm()))  # type: ignore[union-attr]
    # nu = 0: the first Piola-Kirchhoff stress of the fixed corotated law is E (s - 1) at the stretch s; in the middle
    order = (state.x[0, :, 0] - 0.25).abs().argsort()
    stretch = torch.linalg.svdvals(state.F[0, order[: particles // 3]]).amin(dim=-1).mean()
    pressed = youngs_modulus * (1.0 - float(stretch)) * (2.0 * HALF) ** 2
    assert pressed > 20.0
    assert float(right[0]) == pytest.approx(pressed, rel=0.05)  # type: ignore[index]
    # at rest the stress's integral over the volume is the moment of the forces on the cube, at the nodes where they act
    contacts = sim.contacts(state).of("cube")
    U, _, Vh = torch.linalg.svd(state.F[0])
    stress = youngs_modulus * (state.F[0] - U @ Vh) @ state.F[0].mT
    moment = (contacts.force[:, :, None] * contacts.point[:, None]).sum(dim=0)
    integral = (sim.particle_volume[:, None, None] * stress).sum(dim=0)
    torch.testing.assert_close(moment, integral, rtol=5e-3, atol=5e-3 * float(integral.norm()))


LEAVES = ("x", "v", "C", "F", "tool_position", "tool_rotation")
PARAMETERS = ("gravity", "ground.friction", "rod.friction", "stop.friction", "block.density", "block.youngs_modulus")


@pytest.fixture(scope="module")
def struck() -> tuple[ds.Simulator, ds.State, torch.Tensor]:
    """A block among tools, an obstacle and the ground; in the second environment against a wall."""
    sim = ds.Simulator(
        contact_scene(material=ds.Elastic(5e3, 0.3)), num_envs=2, dt=2e-3, substeps=5, dtype=F64, record_forces=True
    )
    state = random_state(sim)
    shift = torch.tensor([[[0.0, 0.0, -0.02]], [[-0.33, 0.0, -0.02]]], dtype=F64)
    turn = torch.tensor([[[1.0]], [[-2.0]]], dtype=F64)
    action = torch.linspace(-0.4, 0.5, 2, dtype=F64)[:, None].repeat(1, sim.action_dim)
    return sim, state.replace(x=state.x + shift, v=turn * state.v), action


def test_the_forces_are_the_rate_of_momentum(struck):
    sim, state, action = struck
    with torch.no_grad():
        end = sim.step(state, action)
    mass = sim.particle_mass[:, None]
    rate = (mass * (end.v - state.v)).sum(dim=1) / sim.control_dt - mass.sum() * sim.parameters["gravity"]
    torch.testing.assert_close(-end.contact_wrench[..., :3].sum(dim=1), rate, rtol=1e-9, atol=1e-9)
    for name in ("ball", "rod", "stop", "ground"):
        assert float(sim.contact_wrench(end, name).force[0].norm()) > 0.1, name
    assert float(sim.contact_wrench(end, "walls").force[1, 0]) < -1.0
    assert float(sim.contact_wrench(end, "walls").force[0].abs().max()) == 0.0


def test_listed_contacts_are_those_that_act(struck):
    sim, state, action = struck
    one = ds.Simulator(sim.scene, num_envs=2, dt=2e-3, substeps=1, dtype=F64, record_forces=True)
    with torch.no_grad():
        contacts, end = sim.contacts(state, action), one.step(state, action)
    for e in range(2):
        for name in sim.contact_names:
            own = contacts.in_environment(e).of(name)
            force = one.contact_wrench(end, name).force[e]
            torch.testing.assert_close(
                own.force.sum(dim=0), force, rtol=1e-9, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}"
            )
            assert not len(own) or contacts.names[int(own.second[0])] == "block"
    ball = contacts.in_environment(0).between("block", "ball")
    assert (ball.gap < 0.5 * sim.scene.grid_spacing).all()
    distance = (ball.point - state.tool_position[0, sim.tool_index("ball")]).norm(dim=1) - 0.06
    torch.testing.assert_close(ball.gap, distance)


def test_recording_changes_nothing_but_what_is_recorded(struck):
    sim, state, action = struck
    plain = ds.Simulator(sim.scene, num_envs=2, dt=2e-3, substeps=5, dtype=F64)
    with torch.no_grad():
        recorded, unrecorded = (
            sim.step(state, action),
            plain.step(state.replace(contact_wrench=state.x.new_zeros(2, 0, 6)), action),
        )
    for name, tensor in unrecorded.tensors().items():
        if name != "contact_wrench":
            assert torch.equal(tensor, getattr(recorded, name)), name
    assert unrecorded.contact_wrench.shape == (2, 0, 6)


def test_gradients_of_wrenches(struck):
    """By the state, the actions and the parameters, two control steps on."""
    sim, state, action = struck
    units = {"block.density": 1e3, "block.youngs_modulus": 1e4}
    inputs = {name: getattr(state, name) for name in LEAVES} | {"action": action}
    inputs |= {name: sim.parameters[name] / units.get(name, 1.0) for name in PARAMETERS}
    weights = torch.randn(2, 2, len(sim.contact_names), 6, dtype=F64, generator=torch.Generator().manual_seed(0))

    def functional(**given: torch.Tensor) -> torch.Tensor:
        start = state.replace(**{name: given[name] for name in LEAVES})
        parameters = {name: units.get(name, 1.0) * given[name] for name in PARAMETERS}
        states = sim.rollout(start, given["action"].expand(2, -1, -1), parameters)
        return (torch.stack([each.contact_wrench for each in states[1:]]) * weights).sum()

    checks = ds.gradcheck(functional, inputs, directions=2)
    for name in inputs:
        assert any(abs(check.adjoint) > 1e-4 for check in checks if check.name == name), f"{name} changes nothing"
