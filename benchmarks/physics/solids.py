"""The case stiff_incompressible: solids at the edge of what a time step bears (point 10)."""

from __future__ import annotations

import math
import re

import torch

import diffsim as ds
from benchmarks.physics.registry import Results, about, experiment, none, within, yes
from benchmarks.physics.worlds import G, rollout, simulator, warnings_heard

DENSITY, SPACING, EDGE, DROP = 1e3, 1.0 / 32.0, 0.1, 0.05
STIFF = ((2e9, 0.3), (1e6, 0.4999), (2e9, 0.499))


def courant_step(E: float, nu: float) -> float:
    """The dt at which a pressure wave of the speed sqrt(E (1 - nu) / ((1 + nu)(1 - 2 nu)) / rho) crosses half a cell, s."""
    return 0.5 * SPACING / math.sqrt(E * (1.0 - nu) / ((1.0 + nu) * (1.0 - 2.0 * nu)) / DENSITY)


def dropped(E: float, nu: float, particles: int = 500) -> ds.Scene:
    """The 10 cm cube, 5 cm above the ground."""
    body = ds.SoftBody(
        "cube",
        ds.Box((0.5 * EDGE,) * 3),
        (0.5, 0.5, 0.5 * EDGE + DROP),
        material=ds.Elastic(E, nu, DENSITY),
        particles=particles,
    )
    return ds.Scene((body,), grid_spacing=SPACING)


def label(E: float, nu: float) -> str:
    return f"E = {E:g} Pa, nu = {nu:g}"


@experiment(
    "stiff_incompressible", 10,
    {
        "nu = .5 is refused with its range": yes(),
        **{f"{label(*each)}, dt 1 ms: refused or warned of before the first step": yes() for each in STIFF},
        **{f"{label(*each)}, the dt named over the Courant-.5 step": about(1.0, 0.05) for each in STIFF},
        **{f"{label(*each)}, dt 1 ms: an error names the body, no nan": yes() for each in STIFF},
        **{f"{label(*each)}, Courant-.5 step: volume change at .2 s": none(0.01) for each in STIFF[:2]},
        "E = 2e9 Pa, nu = 0.499, f32, fallen in .0475 s": within(0.5 * G * 0.0475**2, 0.01, "m"),
        "E = 2e9 Pa, nu = 0.499, fallen in .095 s, f32 over f64": within(1.0, 0.01),
    },
)  # fmt: skip
def stiff_incompressible() -> Results:
    """Wave speeds of 1641, 1291 and 18282 m/s, so Courant-.5 steps of 9.5, 12 and .85 us."""
    try:
        ds.Elastic(1e6, 0.5)
        refusal = ""
    except ds.InputError as error:
        refusal = str(error)
    yield "nu = .5 is refused with its range", float("0.5" in refusal and "poisson" in refusal.lower())
    for each in STIFF:
        with warnings_heard() as messages:
            sim = simulator(dropped(*each))
        heard = [message for message in messages if "cube" in message]
        yield f"{label(*each)}, dt 1 ms: refused or warned of before the first step", float(bool(heard))
        steps = re.findall(r"dt <= ([0-9.e+-]+)", " ".join(heard))
        yield (
            f"{label(*each)}, the dt named over the Courant-.5 step",
            (float(steps[0]) if steps else math.nan) / courant_step(*each),
        )
        try:
            sound = bool(torch.isfinite(rollout(sim, 0.2)[-1].x).all())
            named = False
        except ds.SimulationError as error:
            sound, named = True, "cube" in str(error)
        yield f"{label(*each)}, dt 1 ms: an error names the body, no nan", float(sound and named)
    for each in STIFF[:2]:
        dt = courant_step(*each)
        end = rollout(simulator(dropped(*each), dt=dt, substeps=round(0.01 / dt)), 0.2)[-1]
        yield f"{label(*each)}, Courant-.5 step: volume change at .2 s", torch.linalg.det(end.F).mean() - 1.0
    # Free fall, 1e-8 m a substep, until the grid's nodes at the ground feel the cube, a cell above it; then as in f64.
    dt = courant_step(*STIFF[2])
    fallen = {}
    for dtype in (torch.float32, torch.float64):
        sim = simulator(dropped(*STIFF[2], particles=64), dt=dt, substeps=round(0.0095 / dt), dtype=dtype)
        heights = [state.x.double()[..., 2].mean() for state in rollout(sim, 0.095)]
        fallen[dtype] = [heights[0] - height for height in heights]
    single, double = fallen[torch.float32], fallen[torch.float64]
    yield "E = 2e9 Pa, nu = 0.499, f32, fallen in .0475 s", single[5]
    yield "E = 2e9 Pa, nu = 0.499, fallen in .095 s, f32 over f64", single[-1] / double[-1]
