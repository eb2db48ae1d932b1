"""Tasks in which no fixed sequence of actions is enough: wide random starts or goals, and random pushes."""

from __future__ import annotations

from benchmarks.suite.suite_task import SuiteTask

TASKS: tuple[SuiteTask, ...] = (
    SuiteTask("Detour", ways=2, bench={"goal_spread": 0.1}, bench_iterations=90, label="Detour, goals of their own"),
    SuiteTask("TripleMove", ways=3, pushes=0.3, label="TripleMove, pushed"),
    SuiteTask("ThreeWayPush", ways=3, pushes=0.3, label="ThreeWayPush, pushed"),
    SuiteTask("CupTrap", ways=2, bench_envs=32, bench_iterations=150, pushes=0.3, label="CupTrap, pushed"),
)
