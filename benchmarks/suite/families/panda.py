"""How the suite runs the tasks of `tasks.panda`."""

from __future__ import annotations

from benchmarks.suite.suite_task import SuiteTask

BARE = {"visuals": False}  # the robot's meshes are for pictures alone
COARSE = {"particles": 64, "grid_spacing": 0.025, "dt": 2e-3, "substeps": 20}

TASKS: tuple[SuiteTask, ...] = (
    SuiteTask("PandaReach", ways=4, bench=BARE, bench_iterations=60, full_iterations=120),
    SuiteTask("PandaDrawer", ways=4, compared=True, bench=BARE, bench_iterations=40),
    SuiteTask("PandaPegInsertion", ways=2, compared=True, bench=BARE, bench_iterations=40),
    SuiteTask("PandaSoftGrasp", bench=BARE | COARSE, bench_envs=8, bench_iterations=25, full_envs=8, full_iterations=40),
    SuiteTask(
        "PandaCabinet",
        ways=2,
        bench=BARE,
        bench_iterations=40,
        solver="script",
        unsolved="RPG begins to open the left door in 35 iterations, its return still rising, but no door is open by 1.2 rad",
    ),
    SuiteTask(
        "PandaPickPlace",
        ways=3,
        bench=BARE,
        bench_iterations=50,
        solver="script",
        unsolved="gradients of a held block reach 1e3 to 1e7, and RPG has not carried it past the wall in 50 iterations",
    ),
)
