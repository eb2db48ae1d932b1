"""The one place that starts the kernel compiler: once, when the first simulator is made, never at import.

The compiler (`diffsim/compiler.py`) keeps one runtime a process. Both f32 and f64 kernels live in it side by side (each kernel
names its scalar type), so nothing here depends on the precision of a simulator.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import threading
from collections.abc import Callable
from typing import Any

from diffsim import compiler
from diffsim.errors import InputError

_started: str | None = None  # the device


def start(device: str = "cpu") -> None:
    """Start the compiler unless it runs already.

    Raises:
        InputError: the device is not "cpu" or "cuda" or is not there, the compiler runs on the other one, this is not
            the main thread, which Taichi asks for, or as `diffsim.compiler.module`.
    """
    device = str(device)
    if device not in ("cpu", "cuda"):
        raise InputError(f"device must be 'cpu' or 'cuda', got '{device}'")
    with compiler.lock:
        _start(device)


def _start(device: str) -> None:
    global _started
    if _started == device:
        return
    if _started is not None:
        raise InputError(f"device must be '{_started}', where this process's kernels run already; got '{device}'")
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise InputError("device 'cuda' is not available: torch finds no CUDA device; allowed here: 'cpu'")
    if not compiler.any_thread() and threading.current_thread() is not threading.main_thread():
        raise InputError(
            "the first Simulator must be made on the main thread: Taichi cannot start on another "
            "(DIFFSIM_COMPILER=quadrants can)"
        )
    ti = compiler.module()
    with contextlib.redirect_stdout(io.StringIO()):  # "Starting on arch=x64" has no switch of its own
        ti.init(
            arch=ti.cpu if device == "cpu" else ti.cuda,
            default_fp=ti.f32,
            fast_math=False,
            offline_cache=True,
            log_level=ti.WARN,
            cpu_max_num_threads=num_threads(),
        )
    compiler.prepare_threads()
    # leaving without it, some processes never write the kernels they compiled to the cache (Taichi 1.7.4)
    atexit.register(ti.reset)
    _started = device


def check_launching_thread() -> None:
    """Kernels are about to be launched, in backward().

    Raises:
        InputError: this is not the main thread, which Taichi asks for.
    """
    if not compiler.any_thread() and threading.current_thread() is not threading.main_thread():
        raise InputError(
            "backward() ran off the main thread, where Taichi cannot launch kernels; put it under "
            "`with torch.autograd.set_multithreading_enabled(False):`, or use DIFFSIM_COMPILER=quadrants"
        )


def num_threads() -> int:
    """CPU threads that the kernels use.

    Raises:
        InputError: ``DIFFSIM_NUM_THREADS`` is not a positive integer.
    """
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    value = os.environ.get("DIFFSIM_NUM_THREADS", str(available))
    if not value.isdigit() or int(value) < 1:
        raise InputError(f"DIFFSIM_NUM_THREADS must be a positive integer, got '{value}'")
    return int(value)


_kernels: dict[tuple[Any, ...], Any] = {}


def compiled(factory: Callable[..., Any], *key: Any) -> Any:
    """The kernels that ``factory(*key)`` defines, defined once per process (the compiler must run already)."""
    name = (factory, *key)
    with compiler.lock:
        if name not in _kernels:
            _kernels[name] = factory(*key)
        return _kernels[name]
