"""How the suite runs the tasks of `tasks.rewarped`."""

from __future__ import annotations

from benchmarks.suite.suite_task import SuiteTask
from rpg.algorithms.short_horizon import official_settings

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

TASKS: tuple[SuiteTask, ...] = ARTICULATED
