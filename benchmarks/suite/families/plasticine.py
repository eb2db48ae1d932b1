"""How the suite runs the tasks of `tasks.plasticine`. Nothing is drawn at random, so Adam on one sequence of actions needs a
single environment; where the gradient at the start leads away from the target, it begins at several random sequences."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from benchmarks.suite.suite_task import SuiteTask


def coarse(particles: int, cells: int = 32) -> Mapping[str, Any]:
    """Fewer cells and substeps of the same time than the original's; about four particles a cell."""
    substeps = {32: 10, 24: 7}[cells]
    dt = round(1.9e-3 / substeps, 12)
    return MappingProxyType({"cells": cells, "dt": dt, "substeps": substeps, "particles": particles, "observed": 20})


ADAM: Mapping[str, Any] = MappingProxyType({"solver": "adam", "full_envs": 1, "full_iterations": 60})
SLOW_ADAM: Mapping[str, Any] = MappingProxyType(
    {"solver": "adam", "full_envs": 1, "full_iterations": 100, "settings": MappingProxyType({"learning_rate": 0.05})}
)
STARTS: Mapping[str, Any] = MappingProxyType(
    {"solver": "multistart", "full_envs": 6, "full_iterations": 40, "settings": MappingProxyType({"num_starts": 6})}
)
WIDE_STARTS: Mapping[str, Any] = MappingProxyType(
    {
        "solver": "multistart",
        "full_envs": 12,
        "full_iterations": 40,
        "settings": MappingProxyType({"num_starts": 12, "start_spread": 1.5, "start_knots": 4}),
    }
)

TASKS: tuple[SuiteTask, ...] = (
    SuiteTask("PlasticineMove", bench=coarse(600), bench_envs=1, bench_iterations=60, **ADAM),
    SuiteTask("PlasticineTripleMove", bench=coarse(450), bench_envs=1, bench_iterations=100, **SLOW_ADAM),
    SuiteTask("PlasticineTorus", bench=coarse(400, 24), bench_envs=12, bench_iterations=25, **WIDE_STARTS),
    SuiteTask("PlasticineRope", bench=coarse(300), bench_envs=4, bench_iterations=30, **STARTS),
    SuiteTask("PlasticineWriter", bench=coarse(1000), bench_envs=1, bench_iterations=60, **ADAM),
    SuiteTask("PlasticinePinch", bench=coarse(400, 24), bench_envs=6, bench_iterations=20, **STARTS),
    SuiteTask("PlasticineRollingPin", bench=coarse(800), bench_envs=1, bench_iterations=40, **ADAM),
    SuiteTask("PlasticineChopsticks", bench=coarse(250), bench_envs=1, bench_iterations=85, **SLOW_ADAM),
    SuiteTask("PlasticineAssembly", bench=coarse(600), bench_envs=1, bench_iterations=60, **ADAM),
    SuiteTask("PlasticineTable", bench=coarse(400), bench_envs=1, bench_iterations=60, **ADAM),
)
