"""Tools of any shape in soft, rigid and coupled scenes: vessels keep what is in them, compounds touch with every part."""

import numpy as np
import pytest
import torch

import diffsim as ds
from diffsim.scene.rotations import rotation_matrix

pytestmark = pytest.mark.slow

F64 = torch.float64
CUP = ds.Cup(0.08, 0.1, 0.02)
KNIFE = ds.Compound(
    ((ds.Box((0.06, 0.01, 0.03)), (0.0, 0.0, 0.0)), (ds.Capsule(0.04, 0.015), (0.1, 0.0, 0.02), (0.5**0.5, 0.0, 0.5**0.5, 0.0)))
)


def kitchen(num_envs: int = 1) -> ds.Simulator:
    """A cup of water and a jelly at a knife; a round table leg beside."""
    water = ds.SoftBody("water", ds.Cylinder(0.04, 0.07), (0.3, 0.4, 0.3), material=ds.Liquid(bulk_modulus=2e4), particles=150)
    jelly = ds.SoftBody(
        "jelly", ds.Box((0.04, 0.04, 0.04)), (0.7, 0.4, 0.09), material=ds.Elastic(2e4), velocity=(0.3, 0.2, 0.0), particles=27
    )
    cup = ds.Tool("cup", CUP, (0.3, 0.4, 0.31), control=("x", "y", "z", "rx"), friction=0.1)
    knife = ds.Tool("knife", KNIFE, (0.67, 0.46, 0.12), (0.95, 0.1, 0.2, 0.1), control=("y", "z", "rz"))
    scene = ds.Scene(
        (water, jelly),
        tools=(cup, knife),
        obstacles=(ds.Obstacle("leg", ds.Cylinder(0.1, 0.03), (0.775, 0.42, 0.1), friction=0.3),),
        ground=ds.Ground(0.05),
        upper=(1.0, 0.8, 0.8),
        grid_spacing=1.0 / 20.0,
        contact=ds.ContactModel(slip_speed=0.05),
    )
    return ds.Simulator(scene, num_envs=num_envs, dt=1e-3, substeps=5, dtype=F64)


@pytest.fixture(scope="module")
def sim() -> ds.Simulator:
    return kitchen()


def within_cup(sim: ds.Simulator, state: ds.State) -> np.ndarray:
    """Of the water's particles, how far they are below the rim, and from the axis, in the cup's frame (2, N)."""
    turn = rotation_matrix(tuple(state.tool_rotation[0, 0].tolist()))
    local = (state.x[0, sim.particle_slice("water")] - state.tool_position[0, 0]).numpy() @ turn
    return np.stack([local[:, 2], np.hypot(local[:, 0], local[:, 1])])


def test_water_stays_in_a_cup_that_is_moved(sim):
    state = sim.reset()
    for step in range(160):  # .8 s, up, round and to a halt
        t = step * sim.control_dt
        swing = 0.5 * np.array([np.sin(8.0 * t), np.cos(8.0 * t), 0.6 * np.sin(12.0 * t)])
        action = torch.tensor([[*swing, 0.6 * np.cos(9.0 * t), 0.0, 0.0, 0.0]], dtype=F64)
        state = sim.step(state, action)
        height, radius = within_cup(sim, state)
        assert height.min() > -0.08
        assert radius[height < 0.07].max() < 0.1
    assert float((state.tool_position[0, 0] - sim.reset().tool_position[0, 0]).norm()) > 0.05
    assert height.max() < 0.08


def test_depths_of_particles_can_be_read(sim):
    state = sim.reset()
    x = state.x.repeat(2, 1, 1)
    x[1, 0] = state.tool_position[0, 0] + torch.tensor([0.02, 0.0, -0.072], dtype=F64)  # the floor is from -.08 to -.06
    tools = {"tool_position": state.tool_position.repeat(2, 1, 1), "tool_rotation": state.tool_rotation.repeat(2, 1, 1)}
    two = ds.State(**{name: value.repeat(2, *[1] * (value.ndim - 1)) for name, value in state.tensors().items()})
    depths = sim.penetration(two.replace(x=x, **tools))
    assert depths["water", "cup"].tolist() == pytest.approx([0.0, 0.008], abs=1e-12)
    assert depths["jelly", "leg"].tolist() == [0.0, 0.0]
    assert {("water", "ground"), ("jelly", "knife"), ("cup", "knife"), ("cup", "leg"), ("knife", "ground")} <= set(depths)


@pytest.mark.long
def test_gradients(sim):
    state = sim.reset()
    action = torch.tensor([[0.2, -0.3, 0.4, 1.0, -0.5, -0.3, 2.0]], dtype=F64)
    for _ in range(6):
        state = sim.step(state, action)
    generator = torch.Generator().manual_seed(0)
    fields = ("x", "v", "tool_position", "tool_rotation")
    names = ("cup.friction", "knife.friction", "leg.friction", "jelly.density", "water.bulk_modulus", "gravity")
    units = {"jelly.density": 1e4, "water.bulk_modulus": 1e5, "action": 10.0}
    weights = {name: torch.randn(getattr(state, name).shape, generator=generator, dtype=F64) for name in fields[:2]}
    inputs = {name: getattr(state, name) for name in fields} | {name: sim.parameters[name] for name in names}
    inputs["action"] = action

    def functional(**scaled: torch.Tensor) -> torch.Tensor:
        given = {name: units.get(name, 1.0) * value for name, value in scaled.items()}
        action = given.pop("action")
        end = sim.step(state.replace(**{name: given.pop(name) for name in fields}), action, given)
        return sum((weight * getattr(end, name)).sum() for name, weight in weights.items())

    checks = ds.gradcheck(functional, {name: value / units.get(name, 1.0) for name, value in inputs.items()}, directions=2)
    for name in inputs:
        assert any(abs(each.adjoint) > 1e-6 for each in checks if each.name == name), f"{name} changes nothing"
