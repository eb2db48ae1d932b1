"""Contact of soft bodies that fades exponentially outside a surface, tori on the grid, and a thick ground layer."""

import dataclasses
import math

import pytest
import torch

import diffsim as ds
from tests.diffsim.scenes import random_state

F64 = torch.float64


def pressed(decay: float | None = 40.0) -> ds.Scene:
    """A block under a torus that tilts into it, on a floor of one layer of nodes more."""
    return ds.Scene(
        (
            ds.SoftBody(
                "block",
                ds.Box((0.08, 0.07, 0.06)),
                (0.4, 0.4, 0.08),
                material=ds.ElastoPlastic(5e3, 0.3, 1e3, yield_stress=150.0),
                particles=60,
                velocity=(0.3, 0.1, -0.5),
            ),
        ),
        tools=(
            ds.Tool(
                "ring",
                ds.Torus(0.07, 0.04),
                (0.38, 0.42, 0.17),
                rotation=(0.95, 0.2, 0.1, 0.1),
                control=("x", "y", "z", "rx", "ry", "rz"),
                friction=0.4,
                stops_at=(),
            ),
        ),
        ground=ds.Ground(layer=1 / 24),
        upper=(0.8, 0.8, 0.5),
        grid_spacing=1 / 24,
        contact=ds.ContactModel(grid_decay=decay),
    )


@pytest.mark.slow
def test_gradcheck_of_a_torus_whose_contact_decays():
    sim = ds.Simulator(pressed(), num_envs=2, dt=2e-3, substeps=6, dtype=F64)
    start = random_state(sim)
    actions = torch.zeros(2, 2, sim.action_dim, dtype=F64)
    actions[..., 2:] = torch.tensor([-0.6, 0.4, 0.3, 0.2], dtype=F64)
    weights = torch.randn(start.x.shape, dtype=F64, generator=torch.Generator().manual_seed(1))

    def function(x, v, tool_position, tool_rotation, actions):
        rotation = tool_rotation / tool_rotation.norm(dim=-1, keepdim=True)
        state = start.replace(x=x, v=v, tool_position=tool_position, tool_rotation=rotation)
        last = sim.rollout(state, actions)[-1]
        return (weights * (last.x + 0.1 * last.v)).sum()

    inputs = {name: getattr(start, name) for name in ("x", "v", "tool_position", "tool_rotation")}
    checks = ds.gradcheck(function, {**inputs, "actions": actions}, directions=2)
    assert all(abs(check.adjoint) > 0.0 for check in checks)


@pytest.mark.slow
@pytest.mark.parametrize("decay", [None, 40.0], ids=["smooth step", "decay"])
def test_contact_forces_add_up_to_the_wrench(decay):
    """The listed contacts follow the same law as the kernels: after one substep their sum is the recorded force."""
    sim = ds.Simulator(pressed(decay), dt=1e-3, substeps=1, dtype=F64, record_forces=True)
    state, action = sim.reset(), torch.tensor([[0.0, 0.0, -2.0, 0.0, 0.0, 0.0]], dtype=F64)
    contacts = sim.contacts(state, action)
    after = sim.step(state, action)
    for name in ("ring", "ground"):
        force = contacts.force[contacts.second == contacts.names.index(name)].sum(dim=0)
        wanted = sim.contact_wrench(after, name).force[0]
        assert isinstance(wanted, torch.Tensor)
        assert float(wanted.norm()) > 0.0
        torch.testing.assert_close(force.abs(), wanted.abs(), rtol=1e-9, atol=1e-9)


def test_where_contact_begins():
    assert ds.ContactModel().grid_layer(0.1) == 0.05
    assert ds.ContactModel(grid_decay=666.0).grid_layer(0.1) == pytest.approx(math.log(10.0) / 666.0)
    with pytest.raises(ds.InputError, match="grid_decay"):
        ds.ContactModel(grid_decay=-1.0)
    with pytest.raises(ds.InputError, match="layer"):
        dataclasses.replace(ds.Ground(), layer=-0.1)


@pytest.mark.slow
def test_gradients_of_a_fall_onto_a_slippery_floor_are_finite():
    """Straight down onto a floor without friction the tangential speed is zero, and its powers vanish in f32."""
    body = ds.SoftBody("block", ds.Box((0.08, 0.08, 0.08)), (0.4, 0.4, 0.08), material=ds.ElastoPlastic(5e3), particles=60)
    scene = ds.Scene((body,), ground=ds.Ground(friction=0.0), upper=(0.8, 0.8, 0.5), grid_spacing=1 / 24)
    sim = ds.Simulator(scene, dt=1e-3, substeps=4)
    start = sim.reset()
    v = (start.v + start.v.new_tensor([0.0, 0.0, -0.5])).requires_grad_()
    after = sim.step(start.replace(v=v), torch.zeros(1, 0))
    after.x.square().sum().backward()
    assert torch.isfinite(v.grad).all()
    assert float(v.grad.abs().sum()) > 0.0
