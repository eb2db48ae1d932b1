"""The kernel compiler behind one name, ``ti``: Taichi, or its maintained fork quadrants where the environment asks for it.

Kernel files write ``from diffsim.compiler import ti``. The compiler is imported when an attribute of ``ti`` is first used,
which is when a simulator or a renderer defines its kernels: importing diffsim starts nothing.

``DIFFSIM_COMPILER`` is ``taichi`` (the default) or ``quadrants`` (1.3.3 or later, a package of that name). Quadrants needs no
libX11. What differs between the two, and every use of their private modules,
stands in this file.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache, wraps
from types import ModuleType
from typing import Any, TypeVar

from diffsim.errors import InputError

COMPILERS = ("taichi", "quadrants")
FIRST_QUADRANTS = (1, 3, 3)

# the compiler's runtime and options belong to the whole process: threads start it, compile and launch one after the other
lock = threading.RLock()

Function = TypeVar("Function", bound=Callable[..., Any])


def name() -> str:
    """Which compiler this process uses.

    Raises:
        InputError: ``DIFFSIM_COMPILER`` names another one.
    """
    chosen = os.environ.get("DIFFSIM_COMPILER", "taichi")
    if chosen not in COMPILERS:
        raise InputError(f"DIFFSIM_COMPILER must be one of {', '.join(COMPILERS)}, got '{chosen}'")
    return chosen


@cache
def module() -> ModuleType:
    """The compiler's package.

    Raises:
        InputError: it is not installed or too old, or Taichi finds no libX11.
    """
    chosen = name()
    os.environ.setdefault("ENABLE_TAICHI_HEADER_PRINT", "0")  # the banners, read at import
    os.environ.setdefault("ENABLE_QUADRANTS_HEADER_PRINT", "0")
    try:
        with contextlib.redirect_stdout(sys.__stdout__):  # else, in a notebook, it says so, and prints after each launch
            found = importlib.import_module(chosen)
    except ImportError as error:
        if "libX11" in str(error):
            raise InputError(
                "Taichi needs the system library libX11 even without a screen; install it "
                "(Debian/Ubuntu: apt-get install libx11-6; Fedora: dnf install libX11; conda: xorg-libx11), "
                "or install the package quadrants and set DIFFSIM_COMPILER=quadrants"
            ) from error
        if chosen == "quadrants" and getattr(error, "name", None) == "quadrants":
            raise InputError(
                "DIFFSIM_COMPILER=quadrants needs the package quadrants: pip install 'quadrants>=1.3.3', or unset the variable"
            ) from error
        raise
    if chosen == "quadrants" and tuple(found.__version__) < FIRST_QUADRANTS:
        version = ".".join(map(str, found.__version__))
        raise InputError(f"DIFFSIM_COMPILER=quadrants needs quadrants 1.3.3 or later, got {version}")
    return found


class _Compiler:
    """Stands for the compiler's package until, and after, it is imported."""

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):  # inspection asks for these; it is no reason to import a compiler
            raise AttributeError(attribute)
        return getattr(module(), attribute)


ti: Any = _Compiler()


def _private(path: str) -> ModuleType:
    """A module inside the compiler's package, of which no release promises anything: the requirements are capped therefore."""
    return importlib.import_module(f"{module().__name__}.{path}")


_process = 0  # where the compiler was started


def after_start() -> None:
    """Note the process that the compiler has started in; and do what it would do on the first launch, and must do on the thread
    that started it: later launches may then be on any thread."""
    global _process
    _process = os.getpid()
    _private("lang.impl").get_runtime().materialize()


def check_process() -> None:
    """Kernels are about to be launched.

    Raises:
        InputError: this process was forked from the one that started the compiler, whose threads stayed behind.
    """
    if _process not in (0, os.getpid()):
        raise InputError(
            "this process was forked after a Simulator was made, and the kernels' threads stayed in its parent; start it "
            "with multiprocessing.get_context('spawn'), or make the first Simulator after the fork"
        )


def one_at_a_time(function: Function) -> Function:
    """Let threads run ``function``, which launches kernels on memory that is kept between launches, one after the other."""

    @wraps(function)
    def exclusive(*args: Any, **keywords: Any) -> Any:
        with lock:
            return function(*args, **keywords)

    return exclusive  # type: ignore[return-value]


def compile_time(function: Function) -> Function:
    """Mark a plain function that kernels call while they are compiled; without the mark the compilers warn of it."""
    function._is_taichi_function = False  # type: ignore[attr-defined]
    function._is_quadrants_function = False  # type: ignore[attr-defined]
    return function


def typed_constant(value: float, kind: Any) -> Any:
    """A literal of a kernel's scalar type ``kind``; a plain one would be rounded to f32."""
    return _private("lang.expr").make_constant_expr(value, kind)


def local_variable(value: Any) -> Any:
    """A new local variable of the kernel being compiled."""
    return _private("lang.impl").expr_init(value)


def compiled_variants(kernel: Any) -> int:
    """How often a kernel was compiled for new types of arguments or new template values."""
    kernels = kernel._primal.compiled_kernels if name() == "taichi" else kernel._primal.materialized_kernels
    return len(kernels)


@cache
def _source_lines(function: Any) -> Any:
    """A device function's source; Taichi asks for it anew at each call that it inlines."""
    return _private("lang._wrap_inspect").getsourcelines(function)


def _position(context: Any, node: Any) -> str:
    return f'File "{context.file}", line {node.lineno + context.lineno_offset}\n'


@contextlib.contextmanager
def kernel_options(*, subexpressions: bool = False) -> Iterator[None]:
    """How the solvers' kernels are compiled, on their first call inside.

    Small vectors stay LLVM vectors, in registers, instead of being taken apart. Measured (Taichi 1.7.4, AVX2): the gather of
    `diffsim/soft/kernels/transfer.py` runs 2.2 times as fast and compiles 3 times as fast. The price: such kernels must not
    cast vectors, nor apply unary functions to them, nor load vectors from arrays whose elements are not aligned to
    their size. So it is not the default.

    Without ``subexpressions``, as it is for all other kernels, the compiler leaves the search for common subexpressions, and
    the forwarding of stores to loads, to LLVM. Its own costs grow with the square of a block's length: without them soft
    kernels compile in 14 s in place of 21, rigid ones in 20 s in place of 45, the adjoint of an event in 10 s in place of 58,
    the renderer's in 2 s in place of 4. All run as fast, within 2%, but the forward kernels of soft bodies in f64, 5% slower.

    The compiler notes a kernel's source positions without an excerpt of the code, and Taichi reads the source of a device
    function once, not at each call: the one would take half, the other a sixth of the time that a kernel needs to come from the
    cache.

    Raises:
        InputError: as `check_process`.
    """

    check_process()
    contexts = _private("lang.ast.ast_transformer_utils")
    if name() == "taichi":
        patches = [
            (contexts.ASTTransformerContext, "get_pos_info", _position),
            (_private("lang.kernel_impl"), "getsourcelines", _source_lines),
        ]
    else:
        patches = [(contexts.ASTTransformerFuncContext, "memoized_get_pos_info", _position)]
    with lock:
        config = _private("lang.impl").current_cfg()
        saved = config.real_matrix_scalarize, config.cfg_optimization, config.opt_level
        replaced = [getattr(owner, attribute) for owner, attribute, _ours in patches]
        config.real_matrix_scalarize, config.cfg_optimization = False, subexpressions
        config.opt_level = int(subexpressions)
        for owner, attribute, ours in patches:
            setattr(owner, attribute, ours)
        try:
            yield
        finally:
            config.real_matrix_scalarize, config.cfg_optimization, config.opt_level = saved
            for (owner, attribute, _ours), theirs in zip(patches, replaced, strict=True):
                setattr(owner, attribute, theirs)
