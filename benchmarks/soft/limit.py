"""The benchmark's problem in C++ for one core (`limit.cpp`), compiled here: what the hardware allows, forward only."""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
from pathlib import Path

import numpy as np

from benchmarks.soft.problem import GRID, Problem

SOURCE = Path(__file__).with_name("limit.cpp")
BUILD = Path("runs/benchmarks/limit")
FLAGS = ("-O3", "-march=native", "-ffast-math", "-fopenmp-simd", "-std=c++17", "-shared", "-fPIC")


def compiler() -> str | None:
    """The C++ compiler, if there is one."""
    return shutil.which("g++")


def library() -> ctypes.CDLL:
    """The compiled source, built anew when it has changed.

    Raises:
        RuntimeError: there is no compiler, or it failed.
    """
    found = compiler()
    if found is None:
        raise RuntimeError("there is no g++ on this machine (Debian/Ubuntu: apt-get install g++)")
    target = BUILD / f"limit-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]}.so"
    if not target.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        done = subprocess.run([found, *FLAGS, str(SOURCE), "-o", str(target)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"g++ failed:\n{done.stderr[-2000:]}")
    return ctypes.CDLL(str(target.resolve()))


class Limit:
    """Forward rollouts in f32."""

    def __init__(self, problem: Problem) -> None:
        self._run = library().rollout
        cell = np.floor(problem.x * GRID - 0.5).astype(int)
        self._order = np.lexsort(cell.T[::-1])
        self._start = np.ascontiguousarray(problem.x[self._order])
        self._capsules = np.ascontiguousarray(problem.capsules)
        self._velocity = np.ascontiguousarray(problem.capsule_velocity)
        material = (problem.mass, problem.volume, problem.mu, problem.lam, problem.yield_limit)
        self._numbers = np.array([*material, problem.dt, problem.ground_height, problem.ground_friction, *problem.gravity])
        self._counts = (len(problem.x), GRID, problem.control_steps, problem.substeps)

    def forward(self) -> np.ndarray:
        """The final positions, (N, 3)."""
        x = self._start.copy()
        pointers = (array.ctypes.data_as(ctypes.c_void_p) for array in (self._numbers, self._capsules, self._velocity, x))
        self._run(*self._counts, *pointers)
        found = np.empty_like(x)
        found[self._order] = x
        return found
