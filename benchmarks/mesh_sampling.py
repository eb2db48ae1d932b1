"""How long does a mesh take from its file to particles and to its distance, and how much memory?

    python -m benchmarks.mesh_sampling [--cases rod ball million hollow parts] [--table FILE] [--json]

Each case is a process of its own that writes an STL file, and then loads it, fills it with particles, and bakes the distance
that contact uses, with an empty cache:
    rod      a rod of 4 mm x 1 m along the diagonal of its box, 10,000 particles
    ball     a solid ball of 20,480 triangles, 10,000 particles
    million  a ball of 1,310,720 triangles, 10,000 particles
    hollow   a ball with a cavity of 80% of its radius, 40,960 triangles, 10,000 particles
    parts    two balls that overlap by a half, 20,480 triangles each, 10,000 particles
Seconds are those of the wall clock, and of all cores together; memory is the most that the process held, 280 MB of which are
Python and its packages. The volume's error is against the same facets in closed form.
"""

from __future__ import annotations

import json
import os
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
import tyro
from rich.console import Console

from benchmarks.processes import print_table, run_job

RADIUS = 0.1
PARTICLES = 10_000


def ball(subdivisions: int, radius: float = RADIUS) -> trimesh.Trimesh:
    return trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)


def rod() -> trimesh.Trimesh:
    mesh = trimesh.creation.cylinder(0.002, 1.0, sections=32)
    mesh.apply_transform(trimesh.geometry.align_vectors([0.0, 0.0, 1.0], [1.0, 1.0, 1.0]))
    return mesh


def hollow() -> Any:
    inner = ball(5, 0.8 * RADIUS)
    inner.invert()
    return trimesh.util.concatenate([ball(5), inner])


def parts() -> Any:
    other = ball(5)
    other.apply_translation((RADIUS, 0.0, 0.0))
    return trimesh.util.concatenate([ball(5), other])


def share_of_ball(subdivisions: int) -> float:
    """Volume of a faceted ball over that of the round one."""
    return float(ball(subdivisions, 1.0).volume) / (4.0 / 3.0 * np.pi)


ROUND = 4.0 / 3.0 * np.pi * RADIUS**3
# the mesh, and its volume: of a regular prism, of balls, and of two balls one radius apart (they share 5/16 of one)
CASES: dict[str, tuple[Callable[[], Any], Callable[[], float]]] = {
    "rod": (rod, lambda: 16.0 * 0.002**2 * np.sin(np.pi / 16.0)),
    "ball": (lambda: ball(5), lambda: share_of_ball(5) * ROUND),
    "million": (lambda: ball(8), lambda: share_of_ball(8) * ROUND),
    "hollow": (hollow, lambda: share_of_ball(5) * ROUND * (1.0 - 0.8**3)),
    "parts": (parts, lambda: share_of_ball(5) * ROUND * (2.0 - 5.0 / 16.0)),
}


@dataclass(frozen=True)
class Options:
    """What to measure."""

    cases: tuple[str, ...] = tuple(CASES)
    """Out of rod, ball, million, hollow, parts."""
    table: Path | None = None
    """File for the table, as Markdown: between the lines <!-- mesh_sampling --> and <!-- end --> if it has them."""
    json: bool = False
    """Print one JSON object on the last line."""
    single: str | None = field(default=None, metadata={"help": "internal: one case, in this process"})


def measure(case: str) -> dict[str, Any]:
    """One case, in this process."""
    from diffsim.scene.shapes import TriangleMesh

    make, volume = CASES[case]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DIFFSIM_CACHE"] = folder
        path = Path(folder) / f"{case}.stl"
        mesh = make()
        mesh.export(path)
        result: dict[str, Any] = {"case": case, "triangles": len(mesh.faces)}
        del mesh

        def clocked(name: str, work: Callable[[], Any]) -> Any:
            wall, cpu = time.perf_counter(), time.process_time()
            value = work()
            result[f"{name}_seconds"], result[f"{name}_cpu"] = time.perf_counter() - wall, time.process_time() - cpu
            return value

        shape = clocked("load", lambda: TriangleMesh.from_file(path))
        result["particles"] = len(clocked("particles", lambda: shape.volume_samples(PARTICLES)))
        clocked("distance", lambda: shape.distance_grid.coefficients)
        result["mended"] = list(shape.mended)
        result["volume_error"] = shape.volume / volume() - 1.0
    result["memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    return result


def main() -> None:
    options = tyro.cli(Options)
    if options.single is not None:
        print(json.dumps(measure(options.single)))
        return
    with tempfile.TemporaryDirectory() as out:
        runs = [run_job("benchmarks.mesh_sampling", case, (), out=Path(out), resume=False) for case in options.cases]

    def times(run: dict[str, Any], name: str) -> str:
        return f"{run[f'{name}_seconds']:.2f} ({run[f'{name}_cpu']:.2f})"

    rows = [
        (
            run["case"], f"{run['triangles']:,}", times(run, "load"), times(run, "particles"), times(run, "distance"),
            f"{run['particles']:,}", f"{run['volume_error']:.1e}", f"{run['memory_mb']:,.0f}",
        )
        for run in runs
    ]  # fmt: skip
    headings = ("mesh", "triangles", "load, s (CPU)", "particles, s (CPU)", "distance, s (CPU)", "particles", "volume", "MB")
    print_table(headings, rows, Console(), options.table, "mesh_sampling")
    if options.json:
        print(json.dumps({"runs": runs}))


if __name__ == "__main__":
    main()
