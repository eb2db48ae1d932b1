"""How the suite runs the tasks of `tasks.small`, whose full setting is cheap enough for the comparison."""

from __future__ import annotations

from benchmarks.suite.suite_task import SuiteTask

TASKS: tuple[SuiteTask, ...] = (
    SuiteTask("Detour", ways=2, compared=True, bench_iterations=90, full_envs=32, full_iterations=90),
    SuiteTask("TripleMove", ways=3, compared=True, bench_iterations=50, full_iterations=70),
    SuiteTask("ThreeWayPush", ways=3, compared=True, bench_iterations=50),
    SuiteTask("CupTrap", ways=2, compared=True, bench_envs=32, bench_iterations=150, full_envs=32, full_iterations=150),
)
