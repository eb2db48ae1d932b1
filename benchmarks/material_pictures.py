"""A picture of materials for the documentation: blocks of six of them fall side by side.

python -m benchmarks.material_pictures [--path docs/images/materials.jpg]
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
import tyro

import diffsim as ds
from diffsim.render import Camera, SceneRenderer, caption

MATERIALS: dict[str, tuple[ds.Material, tuple[float, float, float]]] = {
    "Elastic": (ds.Elastic(2e4, 0.35), (0.98, 0.72, 0.12)),
    "KelvinVoigt": (ds.KelvinVoigt(ds.Elastic(2e4, 0.35), shear_viscosity=40.0), (0.93, 0.36, 0.36)),
    "ElastoPlastic": (ds.ElastoPlastic(3e4, 0.3, yield_stress=1.2e3), (0.62, 0.45, 0.83)),
    "Snow": (ds.Snow(youngs_modulus=3e4, hardening=5.0), (0.86, 0.9, 0.95)),
    "Sand": (ds.Sand(), (0.8, 0.62, 0.38)),
    "Liquid": (ds.Liquid(bulk_modulus=3e4), (0.2, 0.5, 0.85)),
}
"""With the colours in which they are drawn."""
EDGE, GAP, DROP = 0.16, 0.5, 0.22
"""m: of a block, from one to the next, and of its fall."""
MOMENTS = (0.0, 0.24, 0.8)
"""s, drawn one above the other."""
STEP, SUBSTEPS = 1e-3, 20


@dataclass(frozen=True)
class Options:
    """What to draw."""

    path: Path = Path("docs/images/materials.jpg")
    """Where to."""
    particles: int = 1500
    """Of each block."""


def world(particles: int) -> ds.Scene:
    """A block of each material above the ground, in a row."""
    half = (0.5 * EDGE,) * 3
    bodies = tuple(
        ds.SoftBody(
            name, ds.Box(half), (0.3 + GAP * n, 0.45, DROP + 0.5 * EDGE), material=material, particles=particles
        )
        for n, (name, (material, _)) in enumerate(MATERIALS.items())
    )  # fmt: skip
    ground = ds.Ground(friction=0.5)
    return ds.Scene(bodies, ground=ground, upper=(0.6 + GAP * (len(MATERIALS) - 1), 0.9, 0.6), grid_spacing=0.025)


def main(options: Options) -> None:
    scene = world(options.particles)
    sim = ds.Simulator(scene, dt=STEP, substeps=SUBSTEPS)
    middle = 0.3 + 0.5 * GAP * (len(MATERIALS) - 1)
    camera = Camera(position=(middle, -2.6, 1.05), target=(middle, 0.45, 0.14), vertical_fov_degrees=12.5)
    colors = {name: color for name, (_, color) in MATERIALS.items()}
    renderer = SceneRenderer(scene, camera=camera, width=1260, height=230, colors=colors)
    state, time, rows = sim.reset(), 0.0, []
    for moment in MOMENTS:
        while time < moment - 1e-9:
            state, time = sim.step(state, torch.zeros(1, 0)), time + STEP * SUBSTEPS
        rows.append(caption(renderer.frame(state), f"{moment:g} s", ", ".join(MATERIALS) if moment == 0.0 else ""))
    options.path.parent.mkdir(parents=True, exist_ok=True)
    iio.imwrite(options.path, np.concatenate(rows), quality=90)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
