"""Constraints, tools made of parts, attachments and recorded forces in one coupled scene: their gradients, and that all forces
together change the momentum as they must."""

import pytest
import torch

import diffsim as ds

GRAVITY = 9.81


def finger(name: str, side: float) -> ds.Link:
    """A plate that slides along x."""
    inertia = ds.Inertia(0.2, (1e-4, 1e-4, 1e-4))
    plate = ds.Geometry(ds.Box((0.02, 0.06, 0.06)), friction=0.8)
    return ds.Link(
        name, ds.Joint(name, "prismatic", (1.0, 0.0, 0.0)), None, (0.25 + 0.082 * side, 0.25, 0.2), inertia=inertia,
        geometries=(plate,),
    )  # fmt: skip


@pytest.fixture(scope="module")
def simulator() -> ds.Simulator:
    gripper = ds.Articulation(
        "gripper",
        (finger("left", -1.0), finger("right", 1.0)),
        actuators=(ds.Actuator("close", "left", kind="position", gain=400.0, damping=10.0),),
        constraints=(ds.JointEquality("mirror", "right", "left", (0.0, -1.0)),),
    )
    fork = ds.Compound(((ds.Capsule(0.03, 0.02), (0.0, -0.03, 0.0)), (ds.Cylinder(0.02, 0.03), (0.0, 0.04, 0.0))))
    scene = ds.Scene(
        soft_bodies=(
            ds.SoftBody("cube", ds.Box((0.06, 0.06, 0.06)), (0.25, 0.25, 0.2), material=ds.Elastic(2e4, 0.3), particles=216),
        ),
        tools=(ds.Tool("fork", fork, (0.25, 0.25, 0.287)),),
        attachments=(ds.Attachment("glue", "cube", "gripper.left", where=lambda points: points[:, 0] < 0.21, controlled=True),),
        articulations=(gripper,),
        ground=ds.Ground(),
        upper=(0.5, 0.5, 0.5),
        grid_spacing=0.04,
    )
    return ds.Simulator(scene, dt=1e-3, substeps=5, dtype=torch.float64, record_forces=True)


@pytest.mark.long
def test_gradients(simulator, one_thread):
    sim = simulator
    state = sim.reset()
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(len(sim.contact_names), 6, generator=generator, dtype=torch.float64)
    action = torch.tensor([[0.02, 0.01, -0.3, 0.01, 0.7]], dtype=torch.float64)

    def value(x, v, q, action):
        first = state.replace(x=x, v=v, q=q)
        second = sim.step(sim.step(first, action), 0.5 * action)
        touch = 1e-2 * (second.contact_wrench * weights).sum()
        return touch + 10.0 * (second.x**2).mean() + second.v.pow(2).mean() + second.q.sum() + second.qd.pow(2).sum()

    ds.gradcheck(value, {"x": state.x, "v": 0.1 + state.v, "q": state.q + 0.002, "action": action}, directions=2)


def test_fingers_mirror_each_other_and_forces_change_the_momentum(simulator, one_thread):
    sim, state = simulator, simulator.reset()
    mass = sim.particle_mass[:, None].double()
    action = torch.tensor([[0.0, 0.0, -0.1, 0.02, 0.0]], dtype=torch.float64)  # the glue lets go
    touched = torch.zeros(len(sim.contact_names), dtype=torch.bool)
    for _ in range(10):
        before, state = (mass * state.v[0]).sum(dim=0), sim.step(state, action)
        force = state.contact_wrench[0, :, :3]
        touched |= force.norm(dim=1) > 0.1
        weight = torch.tensor([0.0, 0.0, -GRAVITY], dtype=torch.float64) * mass.sum()
        change = ((mass * state.v[0]).sum(dim=0) - before) / sim.control_dt
        torch.testing.assert_close(change, weight - force.sum(dim=0), rtol=0.0, atol=1e-6 * float(weight.norm()))
        assert float((state.q[:, 0] + state.q[:, 1]).abs().max()) < 1e-6
    assert [name for name, met in zip(sim.contact_names, touched, strict=True) if met] == [
        "fork",
        "gripper.left",
        "gripper.right",
    ]
    contacts = sim.contacts(state, action)
    names = [sim.contact_names[number] for number in contacts.second.unique().tolist()]
    assert "fork" in names
    assert bool((contacts.force * contacts.normal).sum(dim=1).ge(-1e-9).all())  # they push the cube away
