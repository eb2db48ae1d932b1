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

SOFT: tuple[SuiteTask, ...] = ()

TASKS: tuple[SuiteTask, ...] = (*RIGID, *SOFT)
