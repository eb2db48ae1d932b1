"""How the suite runs the tasks of `tasks.plasticine`. Adam on one sequence of actions needs a single environment: nothing is
drawn at random."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.suite.suite_task import SuiteTask


def coarse(particles: int) -> Mapping[str, Any]:
    """Half the original's cells, and about half its substeps; four particles a cell."""
    return {"cells": 32, "dt": 1.9e-4, "substeps": 10, "particles": particles, "observed": 20}


TASKS: tuple[SuiteTask, ...] = (
    SuiteTask("PlasticineMove", bench=coarse(600), bench_envs=4, bench_iterations=25, solver="adam", full_envs=1),
)
