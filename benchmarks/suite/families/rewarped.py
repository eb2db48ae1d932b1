"""How the suite runs the tasks of `tasks.rewarped`."""

from __future__ import annotations

from benchmarks.suite.suite_task import SuiteTask
from rpg.algorithms.short_horizon import official_settings

PARTICLES: tuple[SuiteTask, ...] = (
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
    SuiteTask(
        "SoftJumper",
        bench={
            "horizon": 60,
            "muscles": 16,
            "particles": 400,
            "grid_spacing": 0.28,
            "seen_particles": 24,
            "substeps": 8,
            "dt": 1.0 / 480.0,
            "distance": 0.5,
        },
        bench_envs=8,
        bench_iterations=30,
        solver="adam",
        full_envs=32,
        full_iterations=40,
        unsolved="adam on open-loop actions diverges: gradients grow from 0.3 to 4000 in 28 iterations.",
    ),
)  # fmt: skip

# SAPO as published: 2000 windows of 32 steps in 64 environments, which are 64 episodes of AntRun and 107 of HandReorient
ARTICULATED: tuple[SuiteTask, ...] = (
    SuiteTask(
        "AntRun",
        bench={"horizon": 128, "pace": 0.5},
        bench_iterations=50,
        solver="sapo",
        full_envs=64,
        full_iterations=64,
        settings={**official_settings("AntRun"), "alpha_learning_rate": 5e-3},
    ),
    SuiteTask(
        "HandReorient",
        bench={"horizon": 96, "start_turn": 0.0, "goal_turn": 0.8, "bonus_width": 0.05},
        bench_iterations=60,
        solver="sapo",
        full_envs=64,
        full_iterations=107,
        settings={**official_settings("other"), "alpha_learning_rate": 5e-3},
    ),
)


TASKS: tuple[SuiteTask, ...] = (*ARTICULATED, *PARTICLES)
