"""All tasks that come along, as parameters of tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from benchmarks.suite.families import FAMILIES

OF_PACKAGES = ("panda", "rewarped")  # families that read robots of PyPI packages
COMPILED_LONG = (  # half a minute to three minutes each, as their kernels are like nobody else's
    *("AntRun", "Basketball", "FluidMove", "FoldSheet", "PandaCabinet", "PandaDrawer", "PandaPegInsertion", "PandaPickPlace"),
    *("PandaReach", "PandaSoftGrasp", "PourLiquid", "RodTurn", "RopeRoundPeg", "ScoopSand", "SoftJumper", "TransportLiquid"),
)


def every_task(value: Callable[[Any], Any] = lambda task: task.name, *, compiled: bool = True) -> list[Any]:
    """``value`` of each `SuiteTask`, as a parameter with the marks of its robots' packages and, of a test that steps through
    the task (``compiled``), those of kernels that take long to compile."""
    return list(_parameters(value, compiled))


def _parameters(value: Callable[[Any], Any], compiled: bool) -> Iterator[Any]:
    for family, members in FAMILIES.items():
        for task in members:
            marks = [pytest.mark.robot_models] if family in OF_PACKAGES else []
            if compiled and task.name in COMPILED_LONG:
                marks.append(pytest.mark.long)
            yield pytest.param(value(task), id=task.name, marks=marks)
