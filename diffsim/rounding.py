"""Sums in f32 that are right on average: what a step adds may be far below the last place of what it is added to.

x + d loses an increment d of less than half a unit in the last place of x (an ulp), in every step: slow things stand still,
as 4 mm/s at x = 10 m with dt = 1e-4 s. `rounded_sum` rounds to the next number in a share d / ulp of the steps: where the
threshold u in [0, 1) of the step is below it. The thresholds of successive substeps n are frac(n phi) with the golden ratio
phi, the sequence of least discrepancy (Niederreiter 1992): after n steps of one d the sum is off by O(log n) ulps, where
random thresholds would leave O(sqrt n). They follow from the number of the substep alone: results stay the same in any
batch, on any thread, and wherever a rollout is interrupted, and no state holds a remainder. The derivative is that of the plain
sum, which it is in f64.
"""

# mypy: disable-error-code="valid-type,misc,no-untyped-def,no-untyped-call"
# Taichi reads the annotations of device functions at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

from diffsim.compiler import ti

EXPONENT_BITS = 0x7F800000
GOLDEN_RATIO = 0x9E3779B9 - (1 << 32)  # 2^32 / golden ratio, as a 32-bit integer with sign
LAST_PLACE = 2.0**-23


def rounded_sums(real: Any) -> SimpleNamespace:
    """Device functions: ``threshold(n)`` of a substep, and ``rounded_sum(x, d, threshold)``."""
    single = real == ti.f32

    @ti.func
    def threshold(n):
        """(u_n - 1/2) 2^-23 with u_n = frac(n / golden ratio); n wraps round like a 32-bit integer."""
        turned = (n * GOLDEN_RATIO) >> 8  # the upper 24 bits, in [-2^23, 2^23)
        return (ti.cast(turned, real) + 0.5) * (2.0**-24 * LAST_PLACE)

    @ti.func
    def rounded_sum(x, d, threshold):
        total = x + d
        if ti.static(single):
            moved = d + ti.bit_cast(ti.bit_cast(x, ti.i32) & EXPONENT_BITS, ti.f32) * threshold
            total = x + ti.select(moved * d <= 0.0, 0.0, moved)  # never against d; and what is not a number stays so
        return total

    return SimpleNamespace(threshold=threshold, rounded_sum=rounded_sum)
