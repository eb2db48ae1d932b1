"""The one place that starts Taichi: lazily, once, on the main thread, never at import.

Taichi keeps one runtime a process. Both f32 and f64 kernels live in it side by side (each kernel names its scalar type), so
nothing here depends on the precision of a simulator.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import torch

from diffsim.errors import InputError

_started: str | None = None


def start(device: str | torch.device = "cpu") -> None:
    """Start Taichi for ``device`` unless it runs already.

    Raises:
        InputError: another device's runtime runs already, the device is unknown, or this is not the main thread.
    """
    global _started
    kind = torch.device(device).type
    if kind not in ("cpu", "cuda"):
        raise InputError(f"device must be 'cpu' or 'cuda', got '{device}'")
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError("device 'cuda' was asked for, but torch finds no CUDA GPU; use device='cpu'")
    if _started == kind:
        return
    if _started is not None:
        raise InputError(f"Taichi runs on '{_started}' already; one process simulates on one device, got '{device}'")
    if threading.current_thread() is not threading.main_thread():
        raise InputError("the first Simulator must be made on the main thread: Taichi cannot start on another")
    os.environ.setdefault("TI_LOG_LEVEL", "warn")
    os.environ.setdefault("ENABLE_TAICHI_HEADER_PRINT", "0")
    try:
        import taichi as ti
    except ImportError as error:
        if "libX11" in str(error):
            raise InputError(
                "Taichi needs the system library libX11 even without a screen; install it "
                "(Debian/Ubuntu: apt-get install libx11-6; Fedora: dnf install libX11; conda: xorg-libx11)"
            ) from error
        raise
    ti.init(
        arch=ti.cuda if kind == "cuda" else ti.cpu,
        default_fp=ti.f32,
        fast_math=False,
        offline_cache=True,
        log_level=ti.WARN,
        cpu_max_num_threads=int(os.environ.get("DIFFSIM_NUM_THREADS", os.cpu_count() or 1)),
    )
    _started = kind


def num_threads() -> int:
    """CPU threads that Taichi's kernels use."""
    return int(os.environ.get("DIFFSIM_NUM_THREADS", os.cpu_count() or 1))


_kernels: dict[tuple[Any, ...], Any] = {}


def compiled(factory: Callable[..., Any], *key: Any) -> Any:
    """The kernels that ``factory(*key)`` defines, defined once per process (Taichi must run already)."""
    name = (factory, *key)
    if name not in _kernels:
        _kernels[name] = factory(*key)
    return _kernels[name]
