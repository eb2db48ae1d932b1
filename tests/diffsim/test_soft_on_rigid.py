"""What is soft carries what is rigid, whatever the time step is, and what is gripped stays."""

from __future__ import annotations

import math

import pytest
import torch

import diffsim as ds
from benchmarks.physics.friction import gripper
from tests.diffsim.test_coupling import turned

pytestmark = pytest.mark.slow

F64 = torch.float64
G = 9.81
HARD = ds.ContactModel(smoothing=1e-9, slip_speed=2e-6)  # smoothing: that of the particles

WIDTH, HEIGHT, YOUNG, DENSITY, PLATE, CELL = 0.12, 0.21, 1e5, 1e3, 6.5, 0.03
# nu = 0: the column stays as wide as it is, and the first Piola-Kirchhoff stress of the fixed corotated law is E (s - 1) at the
# stretch s. It carries the plate's weight and the column's own above, over the area at rest: the mean of 1 - s is exactly
SHORTENING = PLATE * G / (YOUNG * WIDTH**2) + 0.5 * DENSITY * G * HEIGHT / YOUNG


def sunk(courant: float) -> float:
    """By which part of the column's height a plate's lower face has come down at rest."""
    material = ds.Elastic(YOUNG, 0.0, DENSITY)
    half = (0.5 * WIDTH, 0.5 * WIDTH, 0.5 * HEIGHT)
    column = ds.SoftBody("column", ds.Box(half), (0.3, 0.3, 0.5 * HEIGHT), material=material, particles=896)
    geometry = ds.Geometry(ds.Box((0.1, 0.1, 0.02)), (0.0, 0.0, 0.02), friction=0.0)
    rail = ds.Joint("rail", "prismatic", damping=400.0)  # that it comes to rest
    link = ds.Link("plate", rail, position=(0.3, 0.3, HEIGHT), inertia=ds.Inertia(PLATE, (0.1,) * 3), geometries=(geometry,))
    scene = ds.Scene(
        (column,), articulations=(ds.Articulation("press", (link,)),), ground=ds.Ground(friction=0.0), upper=(0.6, 0.6, 0.48),
        grid_spacing=CELL, contact=HARD,
    )  # fmt: skip
    dt = courant * CELL / math.sqrt(YOUNG / DENSITY)
    sim = ds.Simulator(scene, dt=dt, substeps=round(0.02 / dt), dtype=F64)
    end = sim.rollout(sim.reset(), torch.zeros(50, 1, 0, dtype=F64))[-1]
    assert float(end.qd.abs().max()) < 1e-3
    return -float(end.q[0, 0]) / HEIGHT


def test_a_plate_sinks_into_a_column_alike_at_every_time_step():
    found = [sunk(courant) for courant in (0.45, 0.3, 0.15, 0.075)]
    assert found == pytest.approx([SHORTENING] * 4, rel=0.05)
    assert max(found) - min(found) < 0.002 * SHORTENING  # the contact's spring does not know dt


HALF, FRICTION, DT = 0.03, 0.5, 5e-4


def test_a_grip_holds_a_soft_cube_for_half_a_minute():
    """2 mu N = 5 W, held still, turned by 90 degrees to and fro, and shaken by 1 cm at 2 Hz."""
    density, seconds = 500.0, 30.0
    cube = ds.SoftBody("cube", ds.Box((HALF,) * 3), (0.5, 0.5, 0.5), material=ds.Elastic(5e4, 0.3, density), particles=125)
    scene = ds.Scene(
        (cube,),
        articulations=(gripper(HALF),),
        ground=None,
        lower=(0.3,) * 3,
        upper=(0.7,) * 3,
        grid_spacing=0.02,
        contact=HARD,
    )
    sim = ds.Simulator(scene, num_envs=3, dt=DT, substeps=40, dtype=F64)
    time = (torch.arange(round((seconds + 1.0) / sim.control_dt), dtype=F64) + 1.0) * sim.control_dt
    moving = ((time - 1.0) / 0.5).clamp(0.0, 1.0) * ((seconds - time) / 0.5).clamp(0.0, 1.0)  # still at both ends
    actions = torch.zeros(len(time), 3, 3, dtype=F64)
    actions[:, 1, 1] = 0.5 * math.pi * torch.sin(0.4 * math.pi * (time - 1.0)) * moving
    actions[:, 2, 0] = 0.01 * torch.sin(4.0 * math.pi * (time - 1.0)) * moving
    actions[:, :, 2] = 5.0 * density * (2.0 * HALF) ** 3 * G / (2.0 * FRICTION)

    def in_the_palm(state: ds.State) -> torch.Tensor:
        links, palm = sim.links(state), sim.link_index("gripper.palm")
        return (state.x - links.position[:, palm, None]) @ links.rotation[:, palm]

    begin = round(1.0 / sim.control_dt)
    with torch.no_grad():
        start = sim.rollout(sim.reset(), actions[:begin])[-1]
        end = sim.rollout(start, actions[begin:])[-1]
    before, after = in_the_palm(start), in_the_palm(end)
    assert float((after - before).mean(dim=1).norm(dim=1).max()) < 1e-4
    assert max(turned(*each) for each in zip(before, after, strict=True)) < 0.2
