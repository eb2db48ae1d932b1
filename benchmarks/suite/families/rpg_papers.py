"""How the suite runs the tasks of `tasks.rpg_papers`: at the bench setting with fewer and longer actions, and coarser plasticine."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from benchmarks.suite.suite_task import SuiteTask


def bench(**parameters: Any) -> Mapping[str, Any]:
    return MappingProxyType(parameters)


TASKS: tuple[SuiteTask, ...] = (
    SuiteTask("Move1", ways=2, compared=True, bench_iterations=60, full_iterations=100),
    SuiteTask("Move2", ways=6, compared=True, bench=bench(horizon=25, substeps=16), full_iterations=120),
    SuiteTask("Move3", ways=3, compared=True),
    SuiteTask(
        "Pick3", ways=3, compared=True, bench=bench(horizon=30, dt=5e-3, substeps=4), bench_iterations=40, full_iterations=80
    ),
    SuiteTask(
        "BoxPick",
        ways=3,
        compared=True,
        bench=bench(particles=64, cells=25, dt=2.5e-4, horizon=20, substeps=16),
        bench_iterations=30,
    ),
    SuiteTask(
        "RopePush",
        ways=2,
        compared=True,
        bench=bench(particles=120, cells=34, dt=2e-4, horizon=20, substeps=20),
        bench_iterations=30,
    ),
    SuiteTask(
        "CutBar",
        ways=2,
        compared=True,
        bench=bench(particles=250, cells=25, dt=2.5e-4, horizon=20, substeps=16),
        bench_iterations=30,
    ),
)
