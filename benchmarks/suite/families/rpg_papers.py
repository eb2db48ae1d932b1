"""How the suite runs the tasks of `tasks.rpg_papers`: at the bench setting with fewer, longer actions and coarser grids."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from benchmarks.suite.suite_task import SuiteTask

# actions of 4 ms, softer plasticine on a coarser grid, so that substeps may be longer
COARSE = {"horizon": 20, "dt": 4e-4, "substeps": 10, "stiffness": 1250.0, "cells": 25}
JAMMED = (
    "gradient ascent from 16 starts leaves the ball jammed against the obstacle or loses it: 60 iterations at a multiplier "
    "of 2 with restitution 1, 80 at 1 and 100 at 0.7 (1.6 s) without"
)
UNTRIED = "none was tried; the same push as Push1's"


def bench(**parameters: Any) -> Mapping[str, Any]:
    return MappingProxyType(parameters)


TASKS: tuple[SuiteTask, ...] = (
    SuiteTask("Move1", ways=2, compared=True, bench_iterations=100, full_iterations=100),
    SuiteTask("Move2", ways=6, compared=True, bench=bench(horizon=25, substeps=16), bench_iterations=150, full_iterations=150),
    SuiteTask("Move3", ways=3, compared=True, bench_iterations=60),
    SuiteTask("Push1", ways=2, bench=bench(horizon=25, substeps=16, multiplier=1.0), solver="script", unsolved=JAMMED),
    SuiteTask("Push2", ways=6, bench=bench(horizon=25, substeps=16, multiplier=1.0), solver="script", unsolved=UNTRIED),
    SuiteTask(
        "Tripush", ways=3, compared=True, bench=bench(horizon=25, substeps=24), bench_iterations=100, full_iterations=150
    ),
    SuiteTask(
        "Pick3", ways=3, compared=True, bench=bench(horizon=30, dt=5e-3, substeps=4), bench_iterations=100, full_iterations=120
    ),
    SuiteTask("BoxPick", ways=3, compared=True, bench=COARSE | {"particles": 64}, bench_iterations=30),
    SuiteTask("RopePush", ways=2, compared=True, bench=COARSE | {"particles": 108, "cells": 32}, bench_iterations=30),
    SuiteTask("CutBar", ways=2, compared=True, bench=COARSE | {"particles": 250}, bench_iterations=30),
)
