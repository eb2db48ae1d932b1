"""Equalities y = p(x) of two lengths (sums of joint coordinates) with a polynomial p of degree 4; forward beside adjoint.

The equation of the rates (docs/rigid.md) with the force f that enforces it, phi = y - p(x) and T = h + tau:

    y'+ - s x'+ + phi / T + compliance f = 0,     s = p'(x) + (h / 2) p''(x) x' (polarised), p'(x) else

and f acts on y, and -p'(x) f on x.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rigid.constraint_records import EqualityConstants, EqualityIndices, EqualityInputs
from diffsim.rigid.kernels.joint_lengths import length_functions
from diffsim.rigid.kernels.rigid_memory import model_rows
from diffsim.rigid.rigid_records import RECOVERY, Header, SceneConstants


def equality_stage(real, *, polarised: bool) -> SimpleNamespace:
    """``equations`` and ``power_adjoint``; with rates at the end of the substep to second order if ``polarised``."""
    rows, lengths = model_rows(), length_functions(real)
    vec4 = ti.types.vector(4, real)

    @ti.func
    def places(m: ti.template(), at: ti.template(), n):
        """Of equality ``n``: its constants and inputs, its first term, the first of x, and one past its last."""
        indices = m.integers[Header.equality_indices] + EqualityIndices.SIZE * n
        constants = m.integers[Header.equality_constants] + EqualityConstants.SIZE * n
        own = at.inputs + m.integers[Header.equality_inputs] + EqualityInputs.SIZE * n
        first = m.integers[indices + EqualityIndices.first_term]
        leader = m.integers[indices + EqualityIndices.first_leader_term]
        return constants, own, first, leader, m.integers[indices + EqualityIndices.end_term]

    @ti.func
    def polynomial(m: ti.template(), constants, offset, x):
        """p(x) and its first three derivatives."""
        c = [m.reals[constants + ti.static(EqualityConstants.slopes + n)] for n in ti.static(range(4))]
        value = offset + x * (c[0] + x * (c[1] + x * (c[2] + x * c[3])))
        first = c[0] + x * (2.0 * c[1] + x * (3.0 * c[2] + x * (4.0 * c[3])))
        second = 2.0 * c[1] + x * (6.0 * c[2] + x * (12.0 * c[3]))
        return vec4(value, first, second, 6.0 * c[2] + 24.0 * c[3] * x)

    @ti.func
    def equations(m: ti.template(), at: ti.template()):
        """Their rows and columns of the matrix, and their right-hand sides."""
        h, size, matrix = m.reals[SceneConstants.dt], m.integers[Header.unknowns], rows.smooth_matrix(m, at)
        for n in range(m.integers[Header.equalities]):
            constants, own, first, leader, end = places(m, at, n)
            y, y_rate = lengths.length_and_rate(m, at, first, leader)
            x, x_rate = lengths.length_and_rate(m, at, leader, end)
            p = polynomial(m, constants, m.inputs[own + EqualityInputs.offset], x)
            slope = p[1]
            if ti.static(polarised):
                slope = slope + 0.5 * h * p[2] * x_rate
            r = m.integers[Header.dofs] + n
            for t in range(first, end):
                _qi, k, c = lengths.term(m, t)
                by_force, by_rate = c, c
                if t >= leader:
                    by_force, by_rate = -c * p[1], -c * slope
                low, up = matrix + r * size + k, matrix + k * size + r
                m.work[low] = m.work[low] + h * by_rate
                m.work[up] = m.work[up] - by_force - h * by_rate
            m.work[matrix + r * size + r] = m.reals[constants + EqualityConstants.compliance]
            m.work[at.vector + r] = slope * x_rate - y_rate - (y - p[0]) / (ti.static(1.0 + RECOVERY) * h)

    @ti.func
    def power_adjoint(m: ti.template(), at: ti.template()):
        """Adjoint of the power under the virtual velocities and, with the virtual force mu, of mu times the equation:
        f (y'_lam - p' x'_lam) - mu (y'+ - s x'+ + phi / T)."""
        h = m.reals[SceneConstants.dt]
        for n in range(m.integers[Header.equalities]):
            constants, own, first, leader, end = places(m, at, n)
            x, x_rate = lengths.length_and_rate(m, at, leader, end)
            p = polynomial(m, constants, m.inputs[own + EqualityInputs.offset], x)
            slope, slope_by_x = p[1], p[2]
            if ti.static(polarised):
                slope, slope_by_x = slope + 0.5 * h * p[2] * x_rate, slope_by_x + 0.5 * h * p[3] * x_rate
            r = m.integers[Header.dofs] + n
            f, mu = m.tape[at.a + r], m.work[at.vector + r]
            x_new, x_virtual = lengths.new_rate(m, at, leader, end), lengths.virtual_rate(m, at, leader, end)
            pull = mu / (ti.static(1.0 + RECOVERY) * h)
            x_bar = mu * slope_by_x * x_new + pull * p[1] - f * p[2] * x_virtual
            x_rate_bar = mu * slope
            if ti.static(polarised):
                x_rate_bar = x_rate_bar + 0.5 * h * mu * p[2] * x_new
            offset = own + EqualityInputs.offset
            m.inputs_bar[offset] = m.inputs_bar[offset] + pull
            lengths.length_adjoint(m, at, first, leader, -pull, -mu)
            lengths.length_adjoint(m, at, leader, end, x_bar, x_rate_bar)

    return SimpleNamespace(equations=equations, power_adjoint=power_adjoint)
