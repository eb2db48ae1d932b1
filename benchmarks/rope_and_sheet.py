"""A rope that hangs by its end, and a sheet that is held by an edge: how far do they stretch and bend, and do they stay whole?

    python -m benchmarks.rope_and_sheet [--seconds 5] [--json]

The rope is 508 mm long and 8 mm thick, of 1 MPa and 1000 kg/m^3. It stretches under its weight by rho g L^2 / (2 E), whose
derivative by E is -1 / E of it; gravity sets in over four of its periods, and two more are averaged. Then it hangs for some
seconds: printed is by how much two neighbouring particles have parted. The sheet, 200 x 200 x 8 mm and of .2 MPa, is held by
one edge and hangs down from there: by how much have its neighbours parted?
docs/attachments.md has the results.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass

import torch
import tyro
from torch import Tensor

import diffsim as ds

LENGTH, RADIUS, STIFFNESS, DENSITY, GRAVITY = 0.508, 0.004, 1e6, 1e3, 9.81
F64 = torch.float64


@dataclass(frozen=True)
class Options:
    """What to measure."""

    seconds: float = 5.0
    """That the rope hangs."""
    spacings: tuple[float, ...] = (0.008, 0.005, 0.004)
    """Of the grid, m: 1, 1.6 and 2 cells across the rope."""
    json: bool = False
    """Print one JSON object on the last line."""


def hanging_rope(dx: float) -> ds.Simulator:
    """A rope held by what is within 6 mm of its upper end."""
    material = ds.Elastic(youngs_modulus=STIFFNESS, poissons_ratio=0.3, density=DENSITY)
    shape, particles = ds.Capsule(0.5 * LENGTH - RADIUS, RADIUS), round(100 * (0.02 / dx) ** 1.5)
    body = ds.SoftBody("rope", shape, (0.1, 0.1, 0.5 * LENGTH + 0.04), material=material, particles=particles)
    end = ds.Attachment("end", "rope", where=ds.Sphere(1.5 * RADIUS), position=(0.1, 0.1, LENGTH + 0.04))
    scene = ds.Scene((body,), attachments=(end,), ground=None, upper=(0.2, 0.2, LENGTH + 0.12), grid_spacing=dx)
    return ds.Simulator(scene, dt=0.4 * dx / material.wave_speed, substeps=20, dtype=F64)


def hang(sim: ds.Simulator, stiffness: Tensor, seconds: float) -> tuple[Tensor, float]:
    """The stretch, m, and how much farther apart two neighbouring particles are at most at the end, over their distance."""
    first = state = sim.reset()
    lowest, period = int(first.x[0, :, 2].argmin()), 4.0 * LENGTH / math.sqrt(STIFFNESS / DENSITY)
    ramp, rest = round(4.0 * period / sim.control_dt), round(2.0 * period / sim.control_dt)
    nothing, sunk = torch.zeros(1, 0, dtype=F64), []
    for step in range(ramp + rest):
        share = min(1.0, (step + 0.5) / ramp)
        gravity = torch.tensor([0.0, 0.0, -GRAVITY * share**2 * (3.0 - 2.0 * share)], dtype=F64)
        state = sim.step(state, nothing, {"gravity": gravity, "rope.youngs_modulus": stiffness})
        if step >= ramp:
            sunk.append((first.x - state.x)[0, lowest, 2])
    with torch.no_grad():
        for _ in range(round(seconds / sim.control_dt)):
            state = sim.step(state, nothing)
    return torch.stack(sunk).mean(), parted(first.x[0], state.x[0].detach())


def parted(before: Tensor, after: Tensor) -> float:
    """By how much the distance of two neighbouring particles has grown at most, of itself."""
    spacing = float((before[1:] - before[0]).norm(dim=-1).min())
    one, other = (torch.cdist(before, before) < 1.1 * spacing).triu(1).nonzero().unbind(1)
    distances = [(points[one] - points[other]).norm(dim=-1) for points in (before, after)]
    return float((distances[1] / distances[0]).max()) - 1.0


def bent_sheet(seconds: float) -> tuple[float, float]:
    """How far a sheet that is held by an edge hangs down at the most, m, and by how much neighbours have parted at the end."""
    material = ds.Elastic(youngs_modulus=2e5, poissons_ratio=0.3, density=DENSITY)
    sheet = ds.SoftBody("sheet", ds.Box((0.1, 0.1, 0.004)), (0.15, 0.15, 0.3), material=material, particles=5000)
    edge = ds.Attachment("edge", "sheet", where=lambda x: x[:, 0] < 0.058)
    scene = ds.Scene((sheet,), attachments=(edge,), ground=None, upper=(0.3, 0.3, 0.4), grid_spacing=0.008)
    sim = ds.Simulator(scene, dt=0.4 * 0.008 / material.wave_speed, substeps=40, dtype=F64)
    first = state = sim.reset()
    lowest = float(first.x[..., 2].min())
    with torch.no_grad():
        for _ in range(round(seconds / sim.control_dt)):
            state = sim.step(state, torch.zeros(1, 0, dtype=F64))
            lowest = min(lowest, float(state.x[..., 2].min()))
    return 0.3 - lowest, parted(first.x[0], state.x[0])


def main() -> None:
    options = tyro.cli(Options)
    exact, rows = DENSITY * GRAVITY * LENGTH**2 / (2.0 * STIFFNESS), []
    for dx in options.spacings:
        begin, stiffness = time.perf_counter(), torch.tensor(STIFFNESS, dtype=F64, requires_grad=True)
        sim = hanging_rope(dx)
        stretch, apart = hang(sim, stiffness, options.seconds)
        (slope,) = torch.autograd.grad(stretch, stiffness)
        row = {"grid_spacing": dx, "particles": sim.num_particles, "stretch": stretch.item(), "slope": slope.item()}
        rows.append({**row, "parted": apart, "seconds": time.perf_counter() - begin})
        print(
            f"rope, {dx * 1e3:g} mm: {sim.num_particles} particles, stretch {row['stretch'] * 1e3:.4g} mm "
            f"({row['stretch'] / exact:.1%} of {exact * 1e3:.4g}), derivative {row['slope']:.4g} m/Pa "
            f"({-row['slope'] * STIFFNESS / exact:.1%}), neighbours parted by {apart:.1%} after {options.seconds:g} s",
            flush=True,
        )
    sag, apart = bent_sheet(2.0)
    print(f"sheet: hangs down by {sag * 1e3:.4g} mm at the most, neighbours parted by {apart:.1%} after 2 s")
    if options.json:
        print(json.dumps({"exact": exact, "rope": rows, "sheet": {"sag": sag, "parted": apart}}))


if __name__ == "__main__":
    main()
