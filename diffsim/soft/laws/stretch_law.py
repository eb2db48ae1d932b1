"""The form of a law: functions of the principal stretches, the singular values of the trial deformation gradient.

A law is a function of the kernels' scalar type and of elementary functions (`diffsim.soft.kernels.tiles.elementary_functions`),

    def law(real, functions) -> SimpleNamespace     with the device functions (``ti.func``)
        forward(s, a, q) -> Flow
        adjoint(s, a, q, bars) -> FlowAdjoint       all arguments are ``ti.template()``

        s     trial stretches (3)
        a     the internal variable
        q     parameters (5): the material's ``law_parameters``, then zeros
        bars  adjoints of what ``forward`` returned, a `Flow`

A stretch may be negative (an inverted element), and two may be equal. Laws are branch-free scalar code (``ti.select``), because
they run in loops over tiles that the compiler vectorises (`diffsim/soft/kernels/tiles.py`).

The stage that calls a law (`diffsim/soft/kernels/constitutive.py`) needs more than the adjoints: the derivative of an isotropic
tensor function has, off the diagonal, the divided differences of g and t. Each law writes them without a division by
s_j - s_i, so that equal stretches are nothing special. They are also why an adjoint returns g once more.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from diffsim.compiler import compile_time

PAIRS = ((0, 1), (0, 2), (1, 2))  # of the divided differences, in their order


@compile_time
class Flow(NamedTuple):
    """What a law makes of trial stretches.

    stretches: elastic stretches g after plastic flow (3); stresses: principal Kirchhoff stresses t (3), Pa; internal: the
    internal variable's new value.
    """

    stretches: Any
    stresses: Any
    internal: Any


@compile_time
class FlowAdjoint(NamedTuple):
    """The adjoints of a law's arguments, and what the derivative of a tensor function needs.

    stretches (3), internal, parameters (as many as the law has); elastic: g again (3);
    elastic_quotients: (g_j - g_i) / (s_j - s_i) of `PAIRS` (3); stress_quotients: (t_j - t_i) / (s_j - s_i) of `PAIRS` (3).
    """

    stretches: Any
    internal: Any
    parameters: Any
    elastic: Any
    elastic_quotients: Any
    stress_quotients: Any
