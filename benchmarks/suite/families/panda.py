"""How the suite runs the tasks of `tasks.panda`."""

from __future__ import annotations

from benchmarks.suite.suite_task import SuiteTask

BARE = {"visuals": False}  # the robot's meshes are for pictures alone

TASKS: tuple[SuiteTask, ...] = (
    SuiteTask("PandaDrawer", ways=4, compared=True, bench=BARE, bench_iterations=40),
    SuiteTask("PandaPegInsertion", ways=2, compared=True, bench=BARE, bench_iterations=40),
)
