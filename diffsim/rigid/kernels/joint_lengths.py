"""Lengths that are sums of joint coordinates, of actuators, equalities and tendons, and their rates."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rigid.kernels.rigid_memory import model_rows
from diffsim.rigid.rigid_records import Header, SceneConstants, TermConstants, TermIndices


def length_functions(real) -> SimpleNamespace:
    """``term``, ``length_and_rate``, ``new_rate`` and ``virtual_rate``; ``pull`` and ``resist`` for forces along a length, and
    ``length_adjoint``. A length's terms are those from ``first`` up to ``end``."""
    rows = model_rows()

    @ti.func
    def term(m: ti.template(), t):
        """Coordinate, dof and coefficient of a term."""
        indices = m.integers[Header.term_indices] + TermIndices.SIZE * t
        coefficient = m.reals[m.integers[Header.term_constants] + TermConstants.SIZE * t + TermConstants.coefficient]
        return m.integers[indices + TermIndices.coordinate], m.integers[indices + TermIndices.dof], coefficient

    @ti.func
    def length_and_rate(m: ti.template(), at: ti.template(), first, end):
        length, rate = ti.cast(0.0, real), ti.cast(0.0, real)
        for t in range(first, end):
            qi, k, c = term(m, t)
            length = length + c * m.tape[at.q + qi]
            rate = rate + c * m.tape[at.v + k]
        return length, rate

    @ti.func
    def new_rate(m: ti.template(), at: ti.template(), first, end):
        """Under the new velocities v + h a."""
        rate = ti.cast(0.0, real)
        for t in range(first, end):
            _qi, k, c = term(m, t)
            rate = rate + c * (m.tape[at.v + k] + m.reals[SceneConstants.dt] * m.tape[at.a + k])
        return rate

    @ti.func
    def virtual_rate(m: ti.template(), at: ti.template(), first, end):
        """Under the virtual velocities."""
        rate = ti.cast(0.0, real)
        for t in range(first, end):
            _qi, k, c = term(m, t)
            rate = rate + c * m.work[at.vector + k]
        return rate

    @ti.func
    def pull(m: ti.template(), at: ti.template(), first, end, force):
        """A force along the length, to the right-hand side."""
        for t in range(first, end):
            _qi, k, c = term(m, t)
            m.work[at.vector + k] = m.work[at.vector + k] + c * force

    @ti.func
    def resist(m: ti.template(), at: ti.template(), first, end, resistance):
        """A resistance to the new rate, to the matrix."""
        size, matrix, h = m.integers[Header.unknowns], rows.smooth_matrix(m, at), m.reals[SceneConstants.dt]
        for t in range(first, end):
            _qi, k, c = term(m, t)
            for other in range(first, end):
                _qo, l, other_c = term(m, other)
                if l <= k:
                    entry = matrix + k * size + l
                    m.work[entry] = m.work[entry] + h * resistance * c * other_c

    @ti.func
    def length_adjoint(m: ti.template(), at: ti.template(), first, end, length_bar, rate_bar):
        """From the adjoints of the length and its rate to those of q and v."""
        for t in range(first, end):
            qi, k, c = term(m, t)
            m.work[at.q_bar + qi] = m.work[at.q_bar + qi] + c * length_bar
            m.work[at.v_bar + k] = m.work[at.v_bar + k] + c * rate_bar

    return SimpleNamespace(
        term=term, length_and_rate=length_and_rate, new_rate=new_rate, virtual_rate=virtual_rate, pull=pull, resist=resist,
        length_adjoint=length_adjoint,
    )  # fmt: skip
