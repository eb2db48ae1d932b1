"""How the suite runs the tasks of `tasks.small`, whose full setting is cheap enough for the comparison."""

from __future__ import annotations

from benchmarks.suite.suite_task import SuiteTask

TASKS: tuple[SuiteTask, ...] = (
    SuiteTask("Detour", ways=2, compared=True),
    SuiteTask("TripleMove", ways=3, compared=True),
    SuiteTask("ThreeWayPush", ways=3, compared=True),
    SuiteTask("CupTrap", ways=2, compared=True),
)
