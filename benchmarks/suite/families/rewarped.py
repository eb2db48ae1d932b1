"""How the suite runs the tasks of `tasks.rewarped`."""

from __future__ import annotations

from benchmarks.suite.suite_task import SuiteTask

TASKS: tuple[SuiteTask, ...] = (
    SuiteTask(
        "RollingFlat",
        bench={
            "cells": 36, "particles": 600, "dt": 1.0 / 6000.0, "substeps": 12, "horizon": 60, "observation_mode": "state",
        },
        bench_envs=8,
        bench_iterations=25,
        solver="sapo",
        full_envs=8,
        full_iterations=25,
        settings={"window": 20, "alpha_start": 0.05},
    ),
    SuiteTask(
        "HandFlip",
        bench={
            "cells": 32, "particles": 400, "dt": 2.5e-4, "substeps": 12, "horizon": 50, "turn": 0.06, "fold": 0.15,
            "spread": 0.2, "observation_mode": "state",
        },
        bench_envs=8,
        bench_iterations=15,
        solver="rpg",
        full_envs=8,
        full_iterations=30,
    ),
    SuiteTask(
        "FluidMove",
        bench={
            "cells": 24, "particles": 150, "dt": 2.5e-3, "substeps": 8, "horizon": 40, "observation_mode": "state",
        },
        bench_envs=8,
        bench_iterations=30,
        solver="gaussian",
        full_envs=4,
        full_iterations=40,
        settings={"policy": "mlp", "std": (0.03, 0.003), "policy_learning_rate": 0.02},
    ),
)  # fmt: skip
