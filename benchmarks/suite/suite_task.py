"""How the suite runs a task: at its full setting, and at a coarser one in which methods are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class SuiteTask:
    """A registered task.

    Attributes:
        name: of the task.
        ways: distinct ways to succeed that are known, each an entry of its ``outcome_names``.
        compared: whether methods are compared on it.
        bench: parameters that make it cheap enough to be run many times (a coarser grid, fewer particles, a shorter horizon).
        bench_envs, bench_iterations: episodes side by side and iterations of a run at the bench setting; every method gets the
            same simulator steps.
        solver: the method that solves it at the full setting, which is the task's own parameters.
        full_envs, full_iterations: of that run.
        settings: settings of the solver beside the task's own ``optimizer_settings``.
        unsolved: what methods did, if none solved it.
        label: what tables and files call it; the task's name if not given. Rows of a task under
            other conditions have their own.
        pushes: size of random pushes, as a share of the largest action (`pushes.PushedTask`).
    """

    name: str
    ways: int = 1
    compared: bool = False
    bench: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    bench_envs: int = 16
    bench_iterations: int = 50
    solver: str = "rpg"
    full_envs: int = 16
    full_iterations: int = 60
    settings: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    unsolved: str = ""
    label: str = ""
    pushes: float = 0.0

    @property
    def key(self) -> str:
        """What tables and files call it."""
        return self.label or self.name

    @property
    def bench_setting(self) -> dict[str, Any]:
        """What a stored run must agree with to count, in plain values."""
        return {
            "parameters": {name: list(v) if isinstance(v, tuple) else v for name, v in self.bench.items()},
            "num_envs": self.bench_envs,
            "iterations": self.bench_iterations,
            **({"pushes": self.pushes} if self.pushes else {}),
        }
