"""The one compliant law of contacts and joint limits, its friction and restitution (docs/rigid.md)."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti


def compliance(real) -> SimpleNamespace:
    """``softplus``, ``normal`` and ``normal_adjoint``."""

    @ti.func
    def softplus(x):
        """log(1 + e^x) and its slope."""
        e = ti.exp(-ti.abs(x))
        return ti.max(x, ti.cast(0.0, real)) + log1p(e), ti.select(x >= 0.0, 1.0 / (1.0 + e), e / (1.0 + e))

    @ti.func
    def log1p(e):
        """log(1 + e) for 0 <= e <= 1 without loss at small e (Kahan's correction)."""
        sum_ = 1.0 + e
        value = e
        if sum_ != 1.0:
            value = ti.log(sum_) * (e / (sum_ - 1.0))
        return value

    @ti.func
    def normal(phi, rate, k, d, e, s):
        """Force at a new rate of 0, its (negative) slope in the new rate, and the force at the old rate."""
        sp, _slope = softplus(-phi / d)
        F0 = k * d * sp
        D = F0 * (0.5 * (1.0 - e * e)) / ti.sqrt(rate * rate + s * s)
        still = F0 * (0.5 * (1.0 + e * e))
        return still, D, still - D * rate

    @ti.func
    def normal_adjoint(phi, rate, k, d, e, s, still_bar, D_bar, N_bar):
        """Adjoints of phi, rate, k and e."""
        sp, slope = softplus(-phi / d)
        F0 = k * d * sp
        g = 1.0 / ti.sqrt(rate * rate + s * s)
        c1, c2 = 0.5 * (1.0 + e * e), 0.5 * (1.0 - e * e)
        # N = F0 c1 - D rate,  still = F0 c1,  D = F0 c2 g
        D_total = D_bar - rate * N_bar
        F0_bar = c1 * (still_bar + N_bar) + c2 * g * D_total
        rate_bar = -F0 * c2 * g * N_bar - g * g * g * rate * F0 * c2 * D_total
        e_bar = e * F0 * (still_bar + N_bar - g * D_total)
        return -k * slope * F0_bar, rate_bar, d * sp * F0_bar, e_bar

    return SimpleNamespace(softplus=softplus, normal=normal, normal_adjoint=normal_adjoint)
