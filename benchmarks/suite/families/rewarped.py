"""How the suite runs the tasks of `tasks.rewarped`."""

from __future__ import annotations

from benchmarks.suite.suite_task import SuiteTask

TASKS: tuple[SuiteTask, ...] = ()
