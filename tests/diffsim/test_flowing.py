"""Liquids keep part of what the grid does not see of their particles' velocities: momentum, decay in time, bodies in water."""

import math

import pytest
import torch

import diffsim as ds
from tests.diffsim.test_coupling import check_gradients, slider

pytestmark = pytest.mark.slow

F64 = torch.float64


def no_action(sim: ds.Simulator, steps: int) -> torch.Tensor:
    return torch.zeros(steps, sim.num_envs, sim.action_dim, dtype=sim.dtype)


def cube(name: str, at: tuple[float, float, float], material: ds.Material) -> ds.SoftBody:
    return ds.SoftBody(name, ds.Box((0.06,) * 3), at, material=material, particles=216)


def test_bodies_of_different_rates_that_meet_keep_their_momentum():
    bodies = (
        cube("water", (0.44, 0.5, 0.5), ds.Liquid(1e3, 2e4, relaxation_rate=20.0)),
        cube("oil", (0.56, 0.5, 0.5), ds.Liquid(800.0, 2e4, relaxation_rate=200.0)),
        cube("jelly", (0.5, 0.62, 0.5), ds.Elastic(5e3)),
    )
    scene = ds.Scene(bodies, ground=None, gravity=(0.0, 0.0, 0.0), grid_spacing=0.04)
    sim = ds.Simulator(scene, dt=1e-3, substeps=20, dtype=F64)
    start = sim.reset()
    start = start.replace(v=torch.randn(start.v.shape, generator=torch.Generator().manual_seed(0), dtype=F64))
    mass = sim.particle_mass[:, None]
    end = sim.rollout(start, no_action(sim, 2))[-1]
    before, after = ((mass * state.v[0]).sum(dim=0) for state in (start, end))
    assert float((end.v - start.v).abs().max()) > 0.1
    torch.testing.assert_close(after, before, rtol=0.0, atol=1e-12 * float(mass.sum()))


def wave_left(rate: float, dt: float) -> float:
    """Of the amplitude of a shear wave of 4 cells in a block of water, what is left after 0.02 s."""
    dx = 0.02
    block = ds.SoftBody(
        "water", ds.Box((8 * dx, 2 * dx, 2 * dx)), (0.3, 0.1, 0.1), particles=2048,
        material=ds.Liquid(1e3, 2e4, relaxation_rate=rate),
    )  # fmt: skip
    scene = ds.Scene((block,), ground=None, gravity=(0.0,) * 3, upper=(0.6, 0.2, 0.2), grid_spacing=dx)
    sim = ds.Simulator(scene, dt=dt, substeps=round(0.02 / dt), dtype=F64)
    start = sim.reset()
    wave = torch.sin(2.0 * math.pi / (4.0 * dx) * (start.x[..., 0] - 0.3))
    start = start.replace(v=torch.stack([0.0 * wave, 1e-3 * wave, 0.0 * wave], dim=-1))
    inner = (start.x[0, :, 0] - 0.3).abs() < 4 * dx
    end = sim.rollout(start, no_action(sim, 1))[-1]
    seen, first = end.v[0, inner, 1], start.v[0, inner, 1]
    return float((seen * first).sum() / first.square().sum())


def test_short_waves_decay_in_time_and_not_in_substeps():
    # the grid sees 89% of a wave of 4 cells: without what particles keep of it, nothing is left after 80 substeps
    coarse, fine = wave_left(50.0, 1e-3), wave_left(50.0, 2.5e-4)
    assert fine == pytest.approx(coarse, rel=0.05)
    assert coarse > 0.8
    assert wave_left(1e9, 2.5e-4) < 0.05


EDGE, CELL, TANK, DEPTH = 0.12, 0.024, 0.264, 0.192


def floating(share: float, *, dt: float, seconds: float) -> list[ds.State]:
    """A box, 5 cells across, let go at the surface of water, whose density is ``share`` of the water's."""
    water = ds.SoftBody(
        "water", ds.Box((0.5 * TANK, 0.5 * TANK, 0.5 * DEPTH)), (0.5 * TANK, 0.5 * TANK, 0.5 * DEPTH),
        material=ds.Liquid(1e3, 1e5), particles=7744,
    )  # fmt: skip
    box = ds.RigidBody(
        "box", ds.Box((0.5 * EDGE,) * 3), (0.5 * TANK, 0.5 * TANK, DEPTH + 0.5 * EDGE), mass=share * 1e3 * EDGE**3, friction=0.0
    )
    scene = ds.Scene(
        (water,), rigid_bodies=(box,), ground=ds.Ground(friction=0.0), upper=(TANK, TANK, 0.48), grid_spacing=CELL
    )  # fmt: skip
    sim = ds.Simulator(scene, dt=dt, substeps=round(0.02 / dt), dtype=F64)
    return sim.rollout(sim.reset(), no_action(sim, round(seconds / 0.02)))


@pytest.mark.parametrize("dt", [1e-3, 5e-4])
def test_a_box_of_twice_the_waters_density_goes_to_the_ground(dt):
    end = floating(2.0, dt=dt, seconds=0.7)[-1]
    assert float(end.q[0, 2]) - 0.5 * EDGE < 0.5 * CELL


def test_a_box_floats_at_its_depth():
    late = floating(0.5, dt=1e-3, seconds=1.4)[-30:]
    # all of the water, in a tank with a box in it whose lower face is at b: A l^2 / 2 - a (l^2 - b^2) / 2 is its moment
    sunk = []
    for state in late:
        b, mean = float(state.q[0, 2]) - 0.5 * EDGE, float(state.x[0, :, 2].mean())
        low, high = b, b + EDGE
        for _ in range(40):
            level = 0.5 * (low + high)
            volume = TANK**2 * level - EDGE**2 * (level - b)
            moment = 0.5 * (TANK**2 * level**2 - EDGE**2 * (level**2 - b**2))
            low, high = (level, high) if moment < mean * volume else (low, level)
        sunk.append((low - b) / EDGE)
    assert sum(sunk) / len(sunk) == pytest.approx(0.5, rel=0.05)


@pytest.mark.long
def test_gradients_of_water_and_jelly_on_a_free_box_and_a_pusher():
    water = ds.SoftBody(
        "water", ds.Box((0.05, 0.05, 0.04)), (0.47, 0.5, 0.25), velocity=(0.1, 0.05, -0.8), particles=64,
        material=ds.Liquid(1e3, 2e4, viscosity=1.0, relaxation_rate=200.0),
    )  # fmt: skip
    soft = ds.SoftBody("jelly", ds.Box((0.03,) * 3), (0.56, 0.51, 0.25), velocity=(-0.3, 0.0, -0.6), particles=27)
    box = ds.RigidBody(
        "box", ds.Box((0.09, 0.08, 0.05)), (0.505, 0.49, 0.155), (0.99, 0.02, 0.03, 0.05), mass=0.5, friction=0.3,
        velocity=(0.0, 0.0, 0.2), angular_velocity=(0.31, 0.023, 0.182),
    )  # fmt: skip
    scene = ds.Scene(
        (water, soft), rigid_bodies=(box,), articulations=(slider(ds.Sphere(0.04), (0.398, 0.51, 0.26)),),
        ground=ds.Ground(0.1, friction=0.6), grid_spacing=1.0 / 16.0,
        contact=ds.ContactModel(smoothing=5e-3, stiffness=2e3, slip_speed=0.05),
    )  # fmt: skip
    sim = ds.Simulator(scene, dt=1e-3, substeps=4, dtype=F64)
    names = (
        "box.mass",
        "water.density",
        "water.bulk_modulus",
        "water.relaxation_rate",
        "jelly.density",
        "box.friction",
        "gravity",
    )
    check_gradients(sim, 0.05, names)
