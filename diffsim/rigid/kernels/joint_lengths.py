"""Lengths that are sums of joint coordinates, of actuators, equalities and tendons, and their rates."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rigid.rigid_records import Header, SceneConstants, TermConstants, TermIndices


def length_functions(real) -> SimpleNamespace:
    """``term``, ``length_and_rate``, ``new_rate`` and ``virtual_rate``; a length's terms are those from ``first`` up to
    ``end``."""

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

    return SimpleNamespace(term=term, length_and_rate=length_and_rate, new_rate=new_rate, virtual_rate=virtual_rate)
