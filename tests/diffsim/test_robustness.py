"""What happens at the edges: inversion, strong strain in f32, steps that are too large, tools that are too fast."""

import logging

import pytest
import torch

import diffsim as ds
from tests.diffsim.scenes import contact_scene, free_scene

pytestmark = pytest.mark.slow

F64 = torch.float64
SOLIDS = {
    "elastic": ds.Elastic(5e3, 0.3),
    "neo_hookean": ds.NeoHookean(5e3, 0.3),
    "plastic": ds.ElastoPlastic(5e3, 0.3, yield_stress=1e3),
    "liquid": ds.Liquid(bulk_modulus=5e3),
    "sand": ds.Sand(5e3, 0.3, 1e3),
    "snow": ds.Snow(5e3, 0.3, 1e3),
}


def still(sim: ds.Simulator) -> torch.Tensor:
    return torch.zeros(1, sim.action_dim, dtype=sim.dtype)


@pytest.mark.parametrize("name", SOLIDS)
@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(F64, marks=pytest.mark.long)], ids=["f32", "f64"])
def test_inverted_elements_have_an_answer_a_gradient_and_a_warning(name, dtype, caplog):
    sim = ds.Simulator(free_scene(SOLIDS[name]), dt=5e-4, substeps=10, dtype=dtype)
    state = sim.reset()
    F = state.F.clone()
    F[:, ::4] = torch.diag(torch.tensor([1.1, 0.9, -0.4], dtype=dtype))
    F[:, 1::4] = torch.diag(torch.tensor([1.1, 0.9, 0.0], dtype=dtype))  # flat
    F.requires_grad_()
    with caplog.at_level(logging.WARNING, "diffsim"):
        after = sim.step(state.replace(F=F), still(sim))
        sim.step(after, still(sim))
    assert len(caplog.records) == 1  # once, not every step
    assert "inverted (det F <= 0) in control step 0 of environment 0" in caplog.records[0].getMessage()
    after.x.square().sum().backward()
    for tensor in (after.x, after.v, after.F, after.internal_variable, F.grad):
        assert torch.isfinite(tensor).all()
    # flat and inverted elements take part: they push, and their F has a gradient
    assert float(after.v.detach().abs().max()) > 1e-3
    assert float(F.grad[:, ::4].abs().max()) > 1e-9
    assert float(F.grad[:, 1::4].abs().max()) > 1e-9


@pytest.mark.parametrize("name", SOLIDS)
def test_strong_strain_in_f32_follows_f64(name):
    results = []
    for dtype in (torch.float32, F64):
        sim = ds.Simulator(free_scene(SOLIDS[name]), dt=1e-4, substeps=10, dtype=dtype)
        state = sim.reset()
        generator = torch.Generator().manual_seed(1)
        rotations = torch.linalg.qr(torch.randn(state.F.shape, dtype=F64, generator=generator))[0]
        rotations = rotations * torch.linalg.det(rotations).sign()[..., None, None]
        stretches = torch.diag_embed(torch.exp(0.8 * torch.randn(state.F.shape[:-1], dtype=F64, generator=generator)))
        F = (rotations @ stretches @ rotations.transpose(-1, -2)).to(dtype).requires_grad_()
        after = sim.step(state.replace(F=F), still(sim))
        after.v.square().sum().backward()
        results.append((after.v.detach().double(), after.F.detach().double(), F.grad.double()))
    for single, double in zip(*results, strict=True):
        assert torch.isfinite(single).all()
        assert float((single - double).norm() / double.norm()) < 2e-4


def test_steps_that_are_too_large_are_named_with_a_stable_one(caplog):
    with caplog.at_level(logging.WARNING, "diffsim"):
        ds.Simulator(free_scene(ds.Elastic(1e6, 0.3)), dt=1e-3)
        ds.Simulator(free_scene(ds.Liquid(viscosity=500.0)), dt=1e-3)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert "Courant number is 0.88" in messages[0]
    assert "use dt <= 5.68e-04" in messages[0]
    assert "viscous number" in messages[1]
    assert "use dt <= 6.94e-04" in messages[1]


def test_viscosity_is_stable_at_the_largest_step_that_is_not_warned_of(caplog):
    dt = 0.199 * 1e3 * (1 / 24) ** 2 / 20.0
    scene = free_scene(ds.Liquid(bulk_modulus=1.0, viscosity=20.0))
    with caplog.at_level(logging.WARNING, "diffsim"):
        sim = ds.Simulator(scene, dt=dt, substeps=50, dtype=F64)
    assert not caplog.records
    state = sim.reset()
    state = state.replace(v=1e-3 * torch.randn(state.v.shape, dtype=F64, generator=torch.Generator().manual_seed(0)))
    after = sim.step(state, still(sim))
    assert float(after.v.square().sum()) < float(state.v.square().sum())


def test_a_tool_that_skips_cells_is_named_once(caplog):
    sim = ds.Simulator(contact_scene(), dt=2e-3, substeps=2)
    action = torch.zeros(1, sim.action_dim)
    action[0, 2] = 25.0
    with caplog.at_level(logging.WARNING, "diffsim"):
        sim.step(sim.reset(), action)
        sim.step(sim.reset(), action)
    messages = [record.getMessage() for record in caplog.records if record.name == "diffsim.tools.fast_tools"]
    assert len(messages) == 1
    assert "Tool 'ball' moves 1.2 grid cells in a substep (25 m/s)" in messages[0]
    assert "dt <= 1.67e-03" in messages[0]


def test_windowed_rollout_is_the_rollout():
    sim = ds.Simulator(contact_scene(150.0), num_envs=2, dt=2e-3, substeps=4, dtype=F64)

    def run(window: int | None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        actions = torch.full((7, 2, sim.action_dim), 0.2, dtype=F64, requires_grad=True)
        stiffness = torch.tensor(4e3, dtype=F64, requires_grad=True)
        parameters = {"block.youngs_modulus": stiffness}
        if window is None:
            states = sim.rollout(sim.reset(), actions, parameters)
            seen = torch.stack([state.x.mean(dim=1) for state in states[1:]])
        else:
            last, seen = sim.windowed_rollout(
                sim.reset(), actions, lambda state: state.x.mean(dim=1), window=window, parameters=parameters
            )
            assert last.time_step.tolist() == [7, 7]
        seen.square().sum().backward()
        return seen.detach(), actions.grad, stiffness.grad

    whole = run(None)
    for window in (1, 3, 7, 100):
        for ours, expected in zip(run(window), whole, strict=True):
            assert torch.equal(ours, expected)
    with pytest.raises(ds.InputError, match="window must be a positive integer, got 0"):
        sim.windowed_rollout(sim.reset(), torch.zeros(1, 2, sim.action_dim, dtype=F64), lambda state: state.x, window=0)


@pytest.mark.parametrize("dtype", [torch.float32, F64], ids=["f32", "f64"])
@pytest.mark.parametrize("cells", [4, 9])
def test_walls_stand_where_they_are_whatever_rounding_says(dtype, cells):
    dx = 0.03
    width = cells * dx
    box = ds.Box((width / 2, width / 2, 0.1))
    water = ds.Liquid(density=1e3, bulk_modulus=1e4, viscosity=1.0)
    column = ds.SoftBody("water", box, (width / 2, width / 2, 0.1), material=water, particles=600)
    scene = ds.Scene((column,), ground=ds.Ground(friction=0.0), upper=(width, width, 0.4), grid_spacing=dx)
    sim = ds.Simulator(scene, dt=5e-4, substeps=20, dtype=dtype)
    x = sim.rollout(sim.reset(), torch.zeros(10, 1, 0, dtype=dtype))[-1].x
    for axis in (0, 1):
        assert float(x[..., axis].min()) > 0.0
        assert float(x[..., axis].max()) < width
    assert float(x[..., 2].mean()) > 0.08  # it has not run out


def test_a_liquid_that_is_squeezed_to_half_its_volume_in_a_substep_is_reported(caplog):
    sim = ds.Simulator(free_scene(SOLIDS["liquid"]), dt=5e-4, substeps=1, dtype=F64)
    state = sim.reset()
    with caplog.at_level(logging.WARNING, "diffsim"):
        for rate in (-200.0, -500.0):  # of all axes: 73% and 42% of the volume are left
            assert not caplog.records
            sim.step(state.replace(C=rate * torch.eye(3, dtype=F64).expand_as(state.C)), still(sim))
    assert "some liquid's volume halved" in caplog.records[0].getMessage()
