"""Tiles: particles are worked through a few at a time, so that the compiler can use the CPU's vector units.

Taichi 1.7.4 never vectorises a loop over ndarrays or fields, but LLVM does vectorise a loop ``for t in range(width)`` over
local vectors, if the loop's body has no branches, no calls, and only scalar arithmetic on ``array[t]``. So the stages load
a tile of particles into local arrays, do their arithmetic in such loops, and go particle by particle only where they meet
the grid. There they use vectors of four, which LLVM keeps in registers when Taichi leaves vector types alone
(see `diffsim.compiler.kernel_options`).
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

import math
from types import SimpleNamespace
from typing import Any

from diffsim.compiler import compile_time, local_variable, ti, typed_constant

# the most that a stage takes
ARRAYS, INTEGER_ARRAYS = 200, 4


def tile_arrays(real: Any, width: int, more: int = 0) -> SimpleNamespace:
    """Local arrays of a tile, drawn from a stock that every stage uses again: making and clearing them anew costs time.

    A kernel calls ``reserve()`` once, inside the scope of all its stages; a stage begins with ``release()`` and then takes
    arrays of ``width`` reals by ``local(n)`` (n = 9: matrices in row-major order), of integers by ``local_int(n)``. Their
    contents are arbitrary. Used as ``F = ti.static(tile.local(9))``, so that ``F[3 * i + j][t]`` is entry (i, j) of particle t.
    There are ``more`` arrays of reals than `ARRAYS`.
    """
    reals = ti.types.vector(width, real)
    integers = ti.types.vector(width, ti.i32)
    stock: dict[str, list[Any]] = {"real": [], "integer": []}
    taken = {"real": 0, "integer": 0}

    def reserve() -> tuple[()]:
        stock["real"] = [local_variable(reals(0.0)) for _ in range(ARRAYS + more)]
        stock["integer"] = [local_variable(integers(0)) for _ in range(INTEGER_ARRAYS)]
        return release()

    def release() -> tuple[()]:
        taken.update(real=0, integer=0)
        return ()

    def take(kind: str, count: int) -> tuple[Any, ...]:
        begin = taken[kind]
        taken[kind] += count
        if taken[kind] > len(stock[kind]):
            raise RuntimeError(f"a stage takes more than the {len(stock[kind])} {kind} arrays in reserve")
        return tuple(stock[kind][begin : taken[kind]])

    return SimpleNamespace(
        reserve=compile_time(reserve),
        release=compile_time(release),
        local=compile_time(lambda count: take("real", count)),
        local_int=compile_time(lambda count: take("integer", count)),
        width=width,
    )


def elementary_functions(real: Any) -> SimpleNamespace:
    """``log``, ``exp`` and helpers as branch-free polynomials, which vectorise; accurate to a few units in the last place.

    log takes positive normal numbers, exp what lies within +-80.
    """
    double = real == ti.f64
    integer = ti.i64 if double else ti.i32
    mantissa_bits = 52 if double else 23
    # enough for half a unit in the last place
    log_terms = [1.0 / (2 * k + 1) for k in range(10 if double else 6)]
    exp_terms = [1.0 / math.factorial(k) for k in range(14 if double else 9)]
    mantissa_mask = (1 << mantissa_bits) - 1
    sqrt_half_bits = 0x3FE6A09E667F3BCD if double else 0x3F3504F3
    # an integer i held in the low mantissa bits of 1.5 * 2^mantissa_bits is the number magic + i
    magic = 1.5 * 2.0**mantissa_bits
    magic_bits = ((mantissa_bits + (1023 if double else 127)) << mantissa_bits) + (1 << (mantissa_bits - 1))
    # ln 2 in two parts, the first short enough for exact products with exponents
    ln2_high, ln2_low = (6.93147180369123816490e-01, 1.90821492927058770002e-10) if double else (0.693359375, -2.12194440e-4)

    @compile_time
    def constant(value: float) -> Any:
        """A literal of type ``real``; a plain one would be rounded to f32."""
        return typed_constant(value, real)

    @compile_time
    def bits(value: int) -> Any:
        return typed_constant(value, integer)

    @ti.func
    def polynomial(x, terms: ti.template()):
        """Even and odd powers apart: two short chains of operations run side by side."""
        square = x * x
        even, odd = constant(0.0), constant(0.0)
        for k in ti.static(range(len(terms) - 1, -1, -1)):
            if ti.static(k % 2 == 0):
                even = even * square + constant(terms[k])
            else:
                odd = odd * square + constant(terms[k])
        return even + x * odd

    @ti.func
    def log(x):
        shifted = ti.bit_cast(x, integer) - bits(sqrt_half_bits)
        exponent = ti.bit_cast((shifted >> mantissa_bits) + bits(magic_bits), real) - constant(magic)
        m = ti.bit_cast((shifted & bits(mantissa_mask)) + bits(sqrt_half_bits), real)
        s = (m - 1.0) / (m + 1.0)  # log m = 2 artanh s, |s| < 0.172
        series = polynomial(s * s, log_terms)
        return exponent * constant(ln2_high) + (2.0 * s * series + exponent * constant(ln2_low))

    @ti.func
    def exp(x):
        clamped = ti.min(ti.max(x, -80.0), 80.0)
        rounded = clamped * constant(1.4426950408889634) + constant(magic)
        n = rounded - constant(magic)
        r = (clamped - n * constant(ln2_high)) - n * constant(ln2_low)
        return polynomial(r, exp_terms) * ti.bit_cast(
            (ti.bit_cast(rounded, integer) << mantissa_bits) + bits((1023 if double else 127) << mantissa_bits), real
        )

    @ti.func
    def logarithmic_mean(a, b, log_a, log_b):
        """(a - b) / (log a - log b) given the logarithms; smooth at a = b: sqrt(ab) sinh(y) / y with y = log(a/b) / 2."""
        y = (log_a - log_b) * 0.5
        y2 = y * y
        series = 1.0 + y2 / 6.0 * (1.0 + y2 / 20.0 * (1.0 + y2 / 42.0 * (1.0 + y2 / 72.0)))
        near = y2 < 0.0625
        return ti.select(near, ti.sqrt(a * b) * series, (a - b) / ti.select(near, ti.cast(1.0, real), log_a - log_b))

    @ti.func
    def held_quotient(a, b, least):
        """(max(a, least) - max(b, least)) / (a - b): 1 where neither is held, 0 where both are."""
        held = (a < least) | (b < least)
        quotient = (ti.max(a, least) - ti.max(b, least)) / ti.select(held & (a != b), a - b, ti.cast(1.0, real))
        return ti.select(held, quotient, ti.cast(1.0, real))

    return SimpleNamespace(log=log, exp=exp, logarithmic_mean=logarithmic_mean, held_quotient=held_quotient, constant=constant)
