"""Very stiff and nearly incompressible soft bodies: named before the first step, and bounded with the step that is named."""

import logging
import math
import re

import pytest
import torch

import diffsim as ds

DX = 1 / 32
HALF, HEIGHT = 0.05, 0.1  # of its lower side; the ground is felt 1.5 cells, 4.7 cm, above it
# Young's modulus, Poisson's ratio, speed of pressure waves sqrt(E (1 - nu) / ((1 + nu) (1 - 2 nu) density)), 0.5 dx / speed
STIFF = [(2e9, 0.3, 1641, 9.5e-6), (1e6, 0.4999, 1291, 1.2e-5), (2e9, 0.499, 18282, 8.5e-7)]
IDS = ["stiff", "incompressible", "both"]


def falling(youngs_modulus: float, poissons_ratio: float) -> ds.Scene:
    """A cube above the ground."""
    material = ds.Elastic(youngs_modulus, poissons_ratio, 1e3)
    cube = ds.SoftBody("cube", ds.Box((HALF,) * 3), (0.25, 0.25, HALF + HEIGHT), material=material, particles=500)
    return ds.Scene((cube,), upper=(0.5, 0.5, 0.5), grid_spacing=DX)


@pytest.mark.parametrize(("E", "nu", "speed", "step"), STIFF, ids=IDS)
def test_the_wave_speed_and_a_stable_step_are_named_before_the_first_step(E, nu, speed, step, caplog):
    with caplog.at_level(logging.WARNING, "diffsim"):
        ds.Simulator(falling(E, nu), dt=1e-3)
    (message,) = (record.getMessage() for record in caplog.records if "waves" in record.getMessage())
    assert "SoftBody 'cube'" in message
    assert float(re.search(r"waves travel at (\S+) m/s", message)[1]) == pytest.approx(speed, rel=1e-3)
    assert float(re.search(r"dt <= (\S+) s", message)[1]) == pytest.approx(step, rel=0.02)
    assert "RigidBody" in message


def test_poissons_ratio_of_one_half_is_refused_with_its_range():
    with pytest.raises(ds.InputError, match=r"poissons_ratio must be in \[0, 0\.5\), got 0\.5"):
        ds.Elastic(1e6, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize(("E", "nu", "speed", "step"), STIFF, ids=IDS)
def test_a_step_that_is_far_too_large_is_an_error_in_the_first_control_step(E, nu, speed, step, dtype):
    sim = ds.Simulator(falling(E, nu), dt=1e-3, dtype=dtype)
    with pytest.raises(ds.SimulationError) as caught:
        sim.step(sim.reset(), torch.zeros(1, 0, dtype=dtype))
    assert (caught.value.step, caught.value.kind, caught.value.name) == (0, "body", "cube")


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(("E", "nu", "speed", "step"), STIFF, ids=IDS)
def test_with_the_step_that_is_named_it_falls_and_stays_whole_in_f32(E, nu, speed, step, caplog):
    with caplog.at_level(logging.WARNING, "diffsim"):
        sim = ds.Simulator(falling(E, nu), dt=0.99 * step, substeps=round(2e-3 / step))
    assert "dt <=" not in caplog.text
    state = sim.reset()
    start, action = state.x.mean(dim=1)[0, 2], torch.zeros(1, 0)
    free = math.sqrt(2.0 * 0.05 / 9.81)  # 5 cm in 0.101 s
    for _ in range(round(0.2 / sim.control_dt)):
        state = sim.step(state, action)
        time = int(state.time_step) * sim.control_dt
        if time <= free:
            fallen = float(start - state.x.mean(dim=1)[0, 2])
            assert fallen == pytest.approx(0.5 * 9.81 * time * time, rel=2e-3, abs=1e-5)
        assert torch.isfinite(state.F).all()
        assert float(torch.linalg.det(state.F.double()).mean()) == pytest.approx(1.0, abs=0.01)
        assert float(state.v.abs().max()) < 3.0
    assert float(state.x[..., 2].min()) > -0.5 * DX
    assert HALF - 0.5 * DX < float(state.x[..., 2].mean()) < HALF + HEIGHT
