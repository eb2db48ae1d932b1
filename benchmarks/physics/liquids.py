"""Point 6: liquids part, and sand runs out."""

from __future__ import annotations

import math

import torch

import diffsim as ds
from benchmarks.physics.registry import Results, experiment, within
from benchmarks.physics.worlds import rollout, simulator

RATE, SECONDS = 0.5, 1.0


@experiment("expanding liquid", 6, {"size after 1 s over that before": within(1.0 + RATE * SECONDS, 0.03)})
def expands() -> Results:
    """A block of 20 cm whose every part moves away from its centre at .5/s, without gravity: nothing holds it, so its size,
    the spread of its particles, grows by 1 + .5 t."""
    block = ds.SoftBody("water", ds.Box((0.1,) * 3), (0.5,) * 3, material=ds.Liquid(1e3, 2e4), particles=2000)
    sim = simulator(ds.Scene((block,), ground=None, gravity=(0.0, 0.0, 0.0), grid_spacing=0.04))
    state = sim.reset()
    middle = state.x.mean(dim=1, keepdim=True)
    state = state.replace(v=RATE * (state.x - middle), C=RATE * torch.eye(3, dtype=sim.dtype).expand_as(state.C).contiguous())
    end = rollout(sim, SECONDS, state)[-1]
    yield "size after 1 s over that before", end.x.std(dim=1).mean() / state.x.std(dim=1).mean()


R0, CELLS = 0.08, 8
ASPECTS = (0.5, 1.0, 1.5)
SAND = ds.Sand.from_plane_strain(math.radians(31.0))  # the strength that the angle means in a flow from a column


@experiment("sand column", 6, {f"height over radius {a:g}, run-out over radius": within(1.24 * a, 0.25) for a in ASPECTS})
def sand_column() -> Results:
    """Lube, Huppert, Sparks, Hallworth (2004): (r - r0) / r0 = 1.24 a for a < 1.7, whatever the grains are. 8 cells a radius;
    the deposit's edge is where 99% of the particles are within, after .6 s."""
    for aspect in ASPECTS:
        height = aspect * R0
        spacing = R0 / CELLS
        count = round(math.pi * R0**2 * height / (0.55 * spacing) ** 3)
        column = ds.SoftBody("sand", ds.Cylinder(0.5 * height, R0), (0.32, 0.32, 0.5 * height), material=SAND, particles=count)
        scene = ds.Scene((column,), ground=ds.Ground(friction=0.7), upper=(0.64, 0.64, 0.24), grid_spacing=spacing)
        end = rollout(simulator(scene, dt=5e-4), 0.6)[-1]
        radius = (end.x[0, :, :2] - 0.32).norm(dim=-1).quantile(0.99).item()
        yield f"height over radius {aspect:g}, run-out over radius", radius / R0 - 1.0
