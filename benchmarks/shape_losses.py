"""How long do the shape losses of `tasks.losses` take, and how much memory? One thread, f32, one environment.

    python -m benchmarks.shape_losses [--points 1000 10000] [--table FILE] [--json]

Two clouds of points fill overlapping cubes of 0.2 m; grids have 64^3 nodes of 1/64 m. The CPU time is the least of some runs,
the memory what forward + backward add to the process's at most (glibc on Linux). geomloss, which stores whole matrices without
KeOps, is measured beside them if it is installed, up to 5,000 points. docs/losses.md has the table.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor

from diffsim import Box
from tasks import losses

GRID = losses.MassGrid((0.0, 0.0, 0.0), 1.0 / 64.0, (65, 65, 65))
EXACT, DENSE = 2000, 5000  # most points of the exact distance and of geomloss that are measured
SECONDS = 0.5  # of repetitions


@dataclass(frozen=True)
class Options:
    """What to measure."""

    points: tuple[int, ...] = (1000, 10000)
    """In each cloud."""
    table: Path | None = None
    """Markdown file for the table."""
    json: bool = False
    """Print one JSON object on the last line."""


Loss = Callable[[Tensor], Tensor]


def geomloss(y: Tensor) -> Loss:
    from geomloss import SamplesLoss

    loss = SamplesLoss("sinkhorn", p=2, blur=0.01, backend="tensorized")
    return lambda x: 2.0 * loss(x, y)


def earth_mover(points: int | None = None, **options: Any) -> Callable[[Tensor], Loss]:
    """The Earth Mover's distance, of about so many of the points."""

    def some(x: Tensor) -> Tensor:
        return x if points is None else x[:, :: max(1, x.shape[1] // points)]

    return lambda y: lambda x: losses.earth_mover(some(x), some(y), **options)


def on_grid(function: Callable[[Tensor, losses.ShapeTarget], Tensor]) -> Callable[[Tensor], Loss]:
    """A loss of the body's masses, which are deposited every time."""

    def prepare(y: Tensor) -> Loss:
        target = losses.ShapeTarget.from_points(y, grid=GRID)
        target.outside_distance  # noqa: B018, it is computed once
        return lambda x: function(GRID.deposit(x), target)

    return prepare


def to_box(_y: Tensor) -> Loss:
    """Distance to a box as to any mesh."""
    target = losses.ShapeTarget.from_mesh(Box((0.1, 0.1, 0.1)), (0.5, 0.5, 0.5))
    return lambda x: losses.signed_distance_loss(x, target)


LOSSES: dict[str, Callable[[Tensor], Loss]] = {
    "`chamfer`": lambda y: lambda x: losses.chamfer(x, y),
    "`soft_iou`": on_grid(lambda mass, target: losses.soft_iou(mass, target.mass)),
    "`density_loss`": on_grid(lambda mass, target: losses.density_loss(mass, target.mass)),
    "`plasticinelab_loss`": on_grid(lambda mass, target: losses.plasticinelab_loss(mass, target)),
    "`signed_distance_loss`": to_box,
    "`earth_mover`, p = 2": earth_mover(),
    "`earth_mover`, p = 1": earth_mover(p=1),
    "`earth_mover` of 500 of the points": earth_mover(500),
    "`earth_mover`, exact": earth_mover(method="exact"),
    "geomloss, p = 2": geomloss,
}


def clouds(points: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, y = (0.4 + 0.2 * torch.rand(1, points, 3, generator=generator) for _ in range(2))
    return x.requires_grad_(), y + 0.05


def memory(field: str) -> float:
    """What the kernel says of this process's memory, MB: VmRSS now, VmHWM at most."""
    return int(Path("/proc/self/status").read_text().split(f"{field}:")[1].split()[0]) / 1024.0


def measure(name: str, points: int) -> dict[str, float]:
    """Seconds of CPU time of forward + backward, and the MB that it adds at most."""
    x, y = clouds(30)
    LOSSES[name](y)(x).sum().backward()  # what is loaded and cached at the first call
    x, y = clouds(points)
    loss = LOSSES[name](y)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # so that freed memory, used again, counts too
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts anew
    before = memory("VmRSS")
    times: list[float] = []
    while sum(times) < SECONDS:
        start = time.process_time()
        loss(x).sum().backward()
        times.append(time.process_time() - start)
    return {"seconds": min(times), "mb": memory("VmHWM") - before}


def left_out(name: str, points: int) -> bool:
    if name.startswith("geomloss"):
        return points > DENSE or importlib.util.find_spec("geomloss") is None
    return name == "`earth_mover`, exact" and points > EXACT


def seconds(value: float) -> str:
    return f"{1000.0 * value:.3g} ms" if value < 1.0 else f"{value:.2g} s"


def main() -> None:
    options = tyro.cli(Options)
    torch.set_num_threads(1)
    results: dict[str, dict[str, dict[str, float]]] = {}
    rows = ["| loss | points | forward + backward | memory |", "|--|--:|--:|--:|"]
    for name in LOSSES:
        for points in options.points:
            if not left_out(name, points):
                found = measure(name, points)
                results.setdefault(name, {})[str(points)] = found
                rows.append(f"| {name} | {points} | {seconds(found['seconds'])} | {found['mb']:.0f} MB |")
                print(rows[-1], flush=True)
    if options.table is not None:
        options.table.write_text("\n".join(rows) + "\n")
    if options.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
