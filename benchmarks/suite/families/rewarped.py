"""How the suite runs the tasks of `tasks.rewarped`."""

from __future__ import annotations

from benchmarks.suite.suite_task import SuiteTask

TASKS: tuple[SuiteTask, ...] = (
    SuiteTask(
        "SoftJumper",
        bench={
            "horizon": 60,
            "muscles": 16,
            "particles": 400,
            "grid_spacing": 0.28,
            "seen_particles": 24,
            "substeps": 8,
            "dt": 1.0 / 480.0,
            "distance": 0.5,
        },
        bench_envs=8,
        bench_iterations=30,
        solver="adam",
        full_envs=4,
        full_iterations=40,
    ),
)
