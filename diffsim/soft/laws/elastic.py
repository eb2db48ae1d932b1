"""Fixed-corotated elastic solid (Stomakhin et al. 2012): t_i = 2 mu (s_i - 1) s_i + lambda J (J - 1), J = s_0 s_1 s_2."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from diffsim.compiler import ti
from diffsim.scene.materials import LinearlyElastic
from diffsim.soft.laws.stretch_law import Flow, FlowAdjoint


def corotated_stress(real: Any) -> SimpleNamespace:
    """The stress as a function of elastic stretches, shared by the laws that flow plastically."""

    @ti.func
    def forward(g: ti.template(), mu, lam):
        """Principal Kirchhoff stresses (3)."""
        J = g[0] * g[1] * g[2]
        volumetric = lam * J * (J - 1.0)
        return (
            2.0 * mu * (g[0] - 1.0) * g[0] + volumetric,
            2.0 * mu * (g[1] - 1.0) * g[1] + volumetric,
            2.0 * mu * (g[2] - 1.0) * g[2] + volumetric,
        )

    @ti.func
    def adjoint(g: ti.template(), mu, lam, t_bar: ti.template()):
        """Adjoints of g (3), mu and lambda: d t_i / d g_j = 2 mu (2 g_i - 1) [i = j] + lambda (2 J - 1) J / g_j."""
        J = g[0] * g[1] * g[2]
        total = t_bar[0] + t_bar[1] + t_bar[2]
        J_bar = lam * (2.0 * J - 1.0) * total
        return (
            (
                2.0 * mu * (2.0 * g[0] - 1.0) * t_bar[0] + J_bar * g[1] * g[2],
                2.0 * mu * (2.0 * g[1] - 1.0) * t_bar[1] + J_bar * g[0] * g[2],
                2.0 * mu * (2.0 * g[2] - 1.0) * t_bar[2] + J_bar * g[0] * g[1],
            ),
            2.0 * ((g[0] - 1.0) * g[0] * t_bar[0] + (g[1] - 1.0) * g[1] * t_bar[1] + (g[2] - 1.0) * g[2] * t_bar[2]),
            J * (J - 1.0) * total,
        )

    @ti.func
    def quotients(g: ti.template(), mu):
        """Divided differences by g (3): (t_j - t_i) / (g_j - g_i) = 2 mu (g_i + g_j - 1)."""
        return 2.0 * mu * (g[0] + g[1] - 1.0), 2.0 * mu * (g[0] + g[2] - 1.0), 2.0 * mu * (g[1] + g[2] - 1.0)

    return SimpleNamespace(forward=forward, adjoint=adjoint, quotients=quotients)


def fixed_corotated(real: Any, functions: SimpleNamespace) -> SimpleNamespace:
    """Parameters mu, lambda (Pa)."""
    stress = corotated_stress(real)

    @ti.func
    def forward(s: ti.template(), a: ti.template(), q: ti.template()):
        return Flow(stretches=s, stresses=stress.forward(s, q[0], q[1]), internal=a)

    @ti.func
    def adjoint(s: ti.template(), a: ti.template(), q: ti.template(), bars: ti.template()):
        b, mu_bar, lam_bar = stress.adjoint(s, q[0], q[1], bars.stresses)
        one = ti.cast(1.0, real)
        return FlowAdjoint(
            stretches=(bars.stretches[0] + b[0], bars.stretches[1] + b[1], bars.stretches[2] + b[2]),
            internal=bars.internal,
            parameters=(mu_bar, lam_bar),
            elastic=s,
            elastic_quotients=(one, one, one),
            stress_quotients=stress.quotients(s, q[0]),
        )

    return SimpleNamespace(forward=forward, adjoint=adjoint)


@dataclass(frozen=True)
class Elastic(LinearlyElastic):
    """Fixed-corotated elastic solid (Stomakhin et al. 2012): robust, also when inverted. No internal variable.

    Args:
        youngs_modulus: stiffness in Pa.
        poissons_ratio: in [0, 0.5).
        density: rest density in kg/m^3.
    """

    @property
    def law(self) -> Callable[..., Any]:
        return fixed_corotated
