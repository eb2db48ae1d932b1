"""How the suite runs the tasks of `tasks.household`."""

from __future__ import annotations

from benchmarks.suite.suite_task import SuiteTask

RIGID: tuple[SuiteTask, ...] = (
    SuiteTask("TwoBlockPush", ways=2, bench={"horizon": 45, "distance": 0.6}, bench_iterations=60, full_iterations=200),
    SuiteTask("OpenDoor", ways=2, compared=True, bench_iterations=40),
    SuiteTask("RodTurn", ways=2, compared=True, bench_iterations=40),
    SuiteTask("HammerNail", bench_iterations=40),
    SuiteTask("Basketball", ways=2, bench_iterations=50, full_iterations=120),
    SuiteTask("StickPull", ways=2, bench_iterations=50, full_iterations=120),
)

SOFT: tuple[SuiteTask, ...] = (
    SuiteTask(
        "CutIntoParts", ways=2, compared=True, bench={"particles": 260, "grid_spacing": 0.04, "dt": 4e-3, "substeps": 6},
        bench_iterations=50,
    ),
    SuiteTask(
        "FoldSheet", ways=2, compared=True, bench={"particles": 420, "grid_spacing": 0.04, "dt": 4e-3, "substeps": 6},
        bench_envs=8, bench_iterations=40,
    ),
    SuiteTask(
        "GatherPieces", ways=2, compared=True, bench={"particles": 110, "grid_spacing": 0.05, "dt": 5e-3, "substeps": 5},
        bench_iterations=40,
    ),
    SuiteTask(
        "PourLiquid", ways=2, bench={"particles": 120, "grid_spacing": 0.03, "dt": 3e-3, "substeps": 8},
        bench_envs=8, bench_iterations=30, full_envs=8,
    ),
    SuiteTask(
        "RopeRoundPeg", ways=2, compared=True, bench={"particles": 100, "grid_spacing": 0.04, "dt": 2.5e-3, "substeps": 8},
        bench_iterations=60, full_iterations=80,
    ),
    SuiteTask(
        "ScoopSand", ways=2, bench={"particles": 300, "grid_spacing": 0.03, "dt": 4e-3, "substeps": 6},
        bench_envs=8, bench_iterations=30, full_envs=8,
    ),
    SuiteTask(
        "TransportLiquid", ways=2, bench={"particles": 150, "grid_spacing": 0.03, "dt": 3e-3, "substeps": 10},
        bench_envs=8, bench_iterations=44, full_envs=8,
    ),
)  # fmt: skip

TASKS: tuple[SuiteTask, ...] = (*RIGID, *SOFT)
