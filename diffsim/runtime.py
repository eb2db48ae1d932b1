"""The one place that starts Taichi: lazily, once, on the main thread, never at import.

Taichi keeps one runtime a process. Both f32 and f64 kernels live in it side by side (each kernel names its scalar type), so
nothing here depends on the precision of a simulator.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

from diffsim.errors import InputError

_started: str | None = None  # the device


def start(device: str = "cpu") -> None:
    """Start Taichi unless it runs already.

    Raises:
        InputError: the device is not "cpu" or "cuda" or is not there, Taichi runs on the other one, this is not the main
            thread, or the system lacks libX11.
    """
    global _started
    device = str(device)
    if device not in ("cpu", "cuda"):
        raise InputError(f"device must be 'cpu' or 'cuda', got '{device}'")
    if _started == device:
        return
    if _started is not None:
        raise InputError(f"device must be '{_started}', where this process's Taichi runs already; got '{device}'")
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise InputError("device 'cuda' is not available: torch finds no CUDA device; allowed here: 'cpu'")
    if threading.current_thread() is not threading.main_thread():
        raise InputError("the first Simulator must be made on the main thread: Taichi cannot start on another")
    os.environ.setdefault("ENABLE_TAICHI_HEADER_PRINT", "0")  # Taichi's banner, read at its import
    try:
        import taichi as ti
    except ImportError as error:
        if "libX11" in str(error):
            raise InputError(
                "Taichi needs the system library libX11 even without a screen; install it "
                "(Debian/Ubuntu: apt-get install libx11-6; Fedora: dnf install libX11; conda: xorg-libx11)"
            ) from error
        raise
    with contextlib.redirect_stdout(io.StringIO()):  # "Starting on arch=x64" has no switch of its own
        ti.init(
            arch=ti.cpu if device == "cpu" else ti.cuda,
            default_fp=ti.f32,
            fast_math=False,
            offline_cache=True,
            log_level=ti.WARN,
            cpu_max_num_threads=num_threads(),
        )
    # leaving without it, some processes never write the kernels they compiled to the cache (Taichi 1.7.4)
    atexit.register(ti.reset)
    _started = device


def num_threads() -> int:
    """CPU threads that Taichi's kernels use."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    value = os.environ.get("DIFFSIM_NUM_THREADS", str(available))
    if not value.isdigit() or int(value) < 1:
        raise InputError(f"DIFFSIM_NUM_THREADS must be a positive integer, got '{value}'")
    return int(value)


_kernels: dict[tuple[Any, ...], Any] = {}


def compiled(factory: Callable[..., Any], *key: Any) -> Any:
    """The kernels that ``factory(*key)`` defines, defined once per process (Taichi must run already)."""
    name = (factory, *key)
    if name not in _kernels:
        _kernels[name] = factory(*key)
    return _kernels[name]


@contextlib.contextmanager
def kernel_options(*, flow_analysis: bool = True, subexpressions: bool = True) -> Iterator[None]:
    """How the solvers' kernels are compiled, on their first call inside.

    Small vectors stay LLVM vectors, in registers, instead of being taken apart. Measured (Taichi 1.7.4, AVX2): the gather of
    `diffsim/solvers/mpm/transfer.py` runs 2.2 times as fast and compiles 3 times as fast. The price: such kernels must not
    cast vectors, nor apply unary functions to them, nor load vectors from arrays whose elements are not aligned to
    their size. So it is not the default.

    Without ``flow_analysis``, Taichi leaves to LLVM the forwarding of stores to loads, whose cost grows faster than a kernel's
    length: the rigid kernels compile in a third of the time and run as fast. Without ``subexpressions`` it also leaves to LLVM
    the search for common ones, whose cost goes by the square of a block's length: the adjoint of an event then compiles in 10 s
    in place of 58, the coupled kernels in 41 s in place of 131. Those of rigid bodies alone would compile in half the time, but
    ran 3% to 5% slower.

    And Taichi notes a kernel's source positions without an excerpt of the code, which would take half of the time that a
    kernel needs to come from the cache.
    """
    from taichi.lang.ast.ast_transformer_utils import ASTTransformerContext
    from taichi.lang.impl import current_cfg

    def position(context: Any, node: Any) -> str:
        return f'File "{context.file}", line {node.lineno + context.lineno_offset}, in {context.func.func.__name__}:\n'

    config = current_cfg()
    saved = config.real_matrix_scalarize, config.cfg_optimization, config.opt_level
    describe = ASTTransformerContext.get_pos_info
    config.real_matrix_scalarize, config.cfg_optimization = False, flow_analysis
    config.opt_level = int(subexpressions)
    ASTTransformerContext.get_pos_info = position
    try:
        yield
    finally:
        config.real_matrix_scalarize, config.cfg_optimization, config.opt_level = saved
        ASTTransformerContext.get_pos_info = describe
