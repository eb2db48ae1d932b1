"""What `check-task` and Gymnasium's checker say of a task at its bench setting, stored beside the other results."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from benchmarks.processes import read_result, write_result
from benchmarks.suite.store import RESULTS
from benchmarks.suite.suite_task import SuiteTask
from tasks import find_task
from tasks.adapters.gymnasium_env import TaskEnv
from tasks.checking.task_check import check_task


def check_file(task: SuiteTask, folder: Path = RESULTS) -> Path:
    """Where the findings about a task are."""
    return folder / "checks" / f"{task.name}.json"


def checked(task: SuiteTask, folder: Path = RESULTS) -> dict[str, Any]:
    """Check a task and store what was found: the quick checks, and Gymnasium's."""
    from gymnasium.utils.env_checker import check_env

    findings = list(check_task(find_task(task.name), quick=True, num_envs=2, **task.bench))
    environment = TaskEnv(task.name, **task.bench)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check_env(environment, skip_render_check=True)
        gymnasium = "passed"
    except Exception as error:  # a checker's assertions and whatever it meets
        gymnasium = f"{type(error).__name__}: {error}"
    found = {
        "task": task.name,
        "passed": sum(finding.verdict == "pass" for finding in findings),
        "warnings": [f"{finding.check}: {finding.text}" for finding in findings if finding.verdict == "warn"],
        "failures": [f"{finding.check}: {finding.text}" for finding in findings if finding.verdict == "fail"],
        "gymnasium": gymnasium,
    }
    write_result(check_file(task, folder), found)
    return found


def stored_check(task: SuiteTask, folder: Path = RESULTS) -> dict[str, Any] | None:
    """The stored findings, or None."""
    return read_result(check_file(task, folder))


def checks_in_words(found: dict[str, Any] | None) -> str:
    """In short."""
    if found is None:
        return "not checked"
    counts = f"{found['passed']} passed, {len(found['warnings'])} warned, {len(found['failures'])} failed"
    return f"{counts}; Gymnasium {found['gymnasium']}"
