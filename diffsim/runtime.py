"""The one place that starts the kernel compiler: once, when the first simulator is made, never at import.

The compiler (`diffsim/compiler.py`) keeps one runtime a process. Both f32 and f64 kernels live in it side by side (each kernel
names its scalar type), so nothing here depends on the precision of a simulator.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import logging
import os
from collections.abc import Callable
from typing import Any

import torch

from diffsim import compiler
from diffsim.errors import InputError

logger = logging.getLogger(__name__)

_started: str | None = None  # the device
_threads = 0  # those that the compiler was started with
_capped = False  # whether a number of threads above that of the cores has been reported


def start(device: str = "cpu") -> None:
    """Start the compiler unless it runs already.

    Raises:
        InputError: the device is not "cpu" or "cuda" or is not there, the compiler runs on the other one, or as
            `diffsim.compiler.module` and `diffsim.compiler.check_process`.
    """
    device = str(device)
    if device not in ("cpu", "cuda"):
        raise InputError(f"device must be 'cpu' or 'cuda', got '{device}'")
    with compiler.lock:
        _start(device)


def _start(device: str) -> None:
    global _started, _threads
    compiler.check_process()  # torch's threads stayed behind too: its operations could hang before any launch
    if _started == device:
        return
    if _started is not None:
        raise InputError(f"device must be '{_started}', where this process's kernels run already; got '{device}'")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device 'cuda' is not available: torch finds no CUDA device; allowed here: 'cpu'")
    ti = compiler.module()
    threads = num_threads()
    with contextlib.redirect_stdout(io.StringIO()):  # "Starting on arch=x64" has no switch of its own
        ti.init(
            arch=ti.cpu if device == "cpu" else ti.cuda,
            default_fp=ti.f32,
            fast_math=False,
            opt_level=0,  # what these two leave to LLVM: `compiler.kernel_options`
            cfg_optimization=False,
            offline_cache=True,
            log_level=ti.WARN,
            cpu_max_num_threads=threads,
        )
    compiler.after_start()
    # leaving without it, some processes never write the kernels they compiled to the cache (Taichi 1.7.4)
    atexit.register(ti.reset)
    _started, _threads = device, threads


def num_threads() -> int:
    """CPU threads that the kernels use: ``DIFFSIM_NUM_THREADS``, but no more than the cores of this process; by default all of
    them, or this process's share if torchrun started several on this machine.

    A team of threads at one environment spins at barriers; a larger team's would take the cores from the one they wait for.

    Raises:
        InputError: ``DIFFSIM_NUM_THREADS`` is not a positive integer.
    """
    global _capped
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shared = os.environ.get("LOCAL_WORLD_SIZE", "1")
    own = max(1, available // int(shared)) if shared.isdigit() and int(shared) > 0 else available
    value = os.environ.get("DIFFSIM_NUM_THREADS", str(own))
    if not value.isdigit() or int(value) < 1:
        raise InputError(f"DIFFSIM_NUM_THREADS must be a positive integer, got '{value}'")
    if int(value) > available and not _capped:
        _capped = True
        logger.warning(
            "DIFFSIM_NUM_THREADS asks for %s threads, but this process may use %d cores: %d threads are used",
            value,
            available,
            available,
        )
    return min(int(value), available)


def started_threads() -> int:
    """CPU threads that the compiler has, which it got when it was started; 0 before. No more can run at a time."""
    return _threads


def precision(dtype: torch.dtype) -> str:
    """What kernel factories call a scalar type: "f32" or "f64"."""
    return {torch.float32: "f32", torch.float64: "f64"}[dtype]


_kernels: dict[tuple[Any, ...], Any] = {}


def compiled(factory: Callable[..., Any], *key: Any) -> Any:
    """The kernels that ``factory(*key)`` defines, defined once per process (the compiler must run already).

    Raises:
        InputError: as `diffsim.compiler.check_process`.
    """
    compiler.check_process()
    name = (factory, *key)
    with compiler.lock:
        if name not in _kernels:
            _kernels[name] = factory(*key)
        return _kernels[name]
