"""How the suite runs the tasks of `tasks.panda`."""

from __future__ import annotations

from benchmarks.suite.suite_task import SuiteTask

BARE = {"visuals": False}  # the robot's meshes are for pictures alone
COARSE = {"particles": 64, "grid_spacing": 0.025, "dt": 2e-3, "substeps": 20}

TASKS: tuple[SuiteTask, ...] = (
    SuiteTask("PandaDrawer", ways=4, compared=True, bench=BARE, bench_iterations=40),
    SuiteTask("PandaPegInsertion", ways=2, compared=True, bench=BARE, bench_iterations=40),
    SuiteTask("PandaSoftGrasp", bench=BARE | COARSE, bench_envs=8, bench_iterations=25, full_envs=8, full_iterations=40),
)
