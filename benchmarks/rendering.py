"""Milliseconds of one core for a picture of 10,000 particles.

    python -m benchmarks.rendering [--json] [--table docs/pictures.md]

A block of 10,000 particles with a sphere above it, two samples a pixel along each axis, by processor time on one thread: the
median of frames in turn. Splats, surface and skin are 640 x 480; the last one is the skin at 1280 x 720.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
import tyro
from rich.console import Console

import diffsim as ds
from benchmarks import processes
from diffsim.render import SceneRenderer

PARTICLES, NOISE = 10_000, 2e-3  # and m, by which particles are off their lattice
KINDS: dict[str, tuple[ds.Material, str, tuple[int, int]]] = {
    "splats": (ds.Liquid(bulk_modulus=3e4), "particles", (640, 480)),
    "surface": (ds.Liquid(bulk_modulus=3e4), "surface", (640, 480)),
    "skin": (ds.Elastic(2e4, 0.3), "surface", (640, 480)),
    "720p": (ds.Elastic(2e4, 0.3), "surface", (1280, 720)),
}
HEADINGS = ("picture", "ms a frame")


@dataclass(frozen=True)
class Options:
    """What to do with the times."""

    frames: int = 15
    """Of each kind."""
    table: Path | None = None
    """Markdown file for the table."""
    json: bool = False
    """Print one JSON object on the last line."""


def renderings(kind: str) -> tuple[SceneRenderer, ds.State, str]:
    """A renderer, a state to draw and the mode of a kind."""
    material, mode, (width, height) = KINDS[kind]
    block = ds.SoftBody("block", ds.Box((0.15, 0.15, 0.1)), (0.5, 0.5, 0.12), material=material, particles=PARTICLES)
    tool = ds.Tool("sphere", ds.Sphere(0.05), (0.5, 0.5, 0.35))
    scene = ds.Scene((block,), tools=(tool,), upper=(1.0, 1.0, 1.0), grid_spacing=1.0 / 64.0)
    state = ds.Simulator(scene, dt=1e-3, substeps=10).reset()
    noise = NOISE * torch.randn(state.x.shape, generator=torch.Generator().manual_seed(0))
    return SceneRenderer(scene, width=width, height=height), state.replace(x=state.x + noise), mode


def main(options: Options) -> None:
    made = {kind: renderings(kind) for kind in KINDS}
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(options.frames + 1):
        for kind, (renderer, state, mode) in made.items():
            begun = time.process_time()
            renderer.frame(state, mode=mode)  # type: ignore[arg-type]
            if number:  # the first ones compile
                times[kind].append(1e3 * (time.process_time() - begun))
    found = {kind: round(median(values), 1) for kind, values in times.items()}
    rows = [(kind, f"{value:.0f}") for kind, value in found.items()]
    processes.print_table(HEADINGS, rows, Console(stderr=True, highlight=False), options.table, "rendering")
    if options.json:
        print(json.dumps({f"frame_ms_{kind}": value for kind, value in found.items()}))


if __name__ == "__main__":
    os.environ.setdefault("DIFFSIM_NUM_THREADS", "1")
    main(tyro.cli(Options, description=__doc__))
