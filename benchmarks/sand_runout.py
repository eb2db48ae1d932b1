"""How far does a collapsing column of sand run out? Against the experiments of Lube et al. 2004.

    python -m benchmarks.sand_runout [--cells 8] [--aspects 0.5 1 1.5] [--json]

A cylinder of sand of radius r0 and height a r0 stands free on the ground. In the experiments, of several kinds of grains and
grounds, it ends with a radius of r0 (1 + 1.24 a) for a < 1.7 (Lube, Huppert, Sparks and Hallworth, J. Fluid Mech. 508). Printed
are (r - r0) / r0 of the outermost particle and of the outermost ring of half a cell that is covered a tenth of a cell deep, for
a friction angle of 31 degrees once as of plane strain and once as of triaxial compression. docs/materials.md discusses them.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np
import torch
import tyro

import diffsim as ds

LUBE = 1.24  # run-out over r0 and aspect
ANGLE = math.radians(31.0)
STIFFNESS = 3e5  # Pa
MATERIALS = {
    "plane strain": ds.Sand.from_plane_strain(ANGLE, youngs_modulus=STIFFNESS),
    "triaxial compression": ds.Sand(friction_angle=ANGLE, youngs_modulus=STIFFNESS),
}


@dataclass(frozen=True)
class Options:
    """What to measure."""

    cells: int = 8
    """Grid cells a radius."""
    aspects: tuple[float, ...] = (0.5, 1.0, 1.5)
    """Heights over r0."""
    json: bool = False
    """Print one JSON object on the last line."""


def run_out(aspect: float, *, cells: int, material: ds.Sand, radius: float = 0.1) -> dict[str, float]:
    """(r - r0) / r0 by two measures, and the speed left in m/s."""
    dx, height = radius / cells, aspect * radius
    particles = round(8 * math.pi * cells**3 * aspect)
    reach = radius * (1.0 + 1.6 * max(aspect, 0.5)) + 3.0 * dx
    side = 2.0 * math.ceil(reach / dx) * dx
    column = ds.SoftBody(
        "sand",
        ds.Cylinder(0.5 * height, radius),
        (0.5 * side, 0.5 * side, 0.5 * height),
        material=material,
        particles=particles,
    )
    scene = ds.Scene(
        (column,), ground=ds.Ground(friction=math.tan(ANGLE)), upper=(side, side, height + 3.0 * dx), grid_spacing=dx
    )
    dt = 0.35 * dx / material.wave_speed
    sim = ds.Simulator(scene, dt=dt, substeps=max(1, round(0.01 / dt)))
    state = sim.reset()
    for _ in range(round((5.0 * math.sqrt(height / 9.81) + 0.25) / sim.control_dt)):
        state = sim.step(state, torch.zeros(1, 0))
    r = (state.x[0, :, :2] - 0.5 * side).norm(dim=-1).numpy()
    edges = np.arange(0.0, 0.5 * side, 0.5 * dx)
    covered = np.histogram(r, edges)[0] * float(sim.particle_volume[0]) / (math.pi * (edges[1:] ** 2 - edges[:-1] ** 2))
    covers = edges[1:][covered > 0.1 * dx]
    return {
        "outermost": (float(r.max()) - radius) / radius,
        "covered": (float(covers.max()) - radius) / radius,
        "speed": float(state.v.norm(dim=-1).mean()),
    }


def main() -> None:
    options = tyro.cli(Options)
    rows = []
    for name, material in MATERIALS.items():
        for aspect in options.aspects:
            found = run_out(aspect, cells=options.cells, material=material)
            rows.append({"angle_of": name, "aspect": aspect, "expected": LUBE * aspect, **found})
            print(
                f"{name:20} a = {aspect:4.2f}: outermost {found['outermost']:.2f}, covered {found['covered']:.2f}, "
                f"experiment {LUBE * aspect:.2f} ({found['outermost'] / (LUBE * aspect):.0%})",
                flush=True,
            )
    if options.json:
        print(json.dumps({"cells": options.cells, "rows": rows}))


if __name__ == "__main__":
    main()
