"""Compressible neo-Hookean elastic solid (Bonet and Wood 2008): t_i = mu (s_i^2 - 1) + lambda log J, J = s_0 s_1 s_2."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from diffsim.compiler import ti
from diffsim.scene.materials import LinearlyElastic
from diffsim.soft.laws.stretch_law import Flow, FlowAdjoint

SMALLEST_VOLUME = 2.0**-3  # below this ratio the logarithm goes on as its tangent, also into inversion


def neo_hookean(real: Any, functions: SimpleNamespace) -> SimpleNamespace:
    """Parameters mu, lambda (Pa)."""

    @ti.func
    def log_volume(J):
        """log J and its derivative, with a straight continuation below `SMALLEST_VOLUME`."""
        clamped = ti.max(J, SMALLEST_VOLUME)
        return functions.log(clamped) + (J - clamped) / clamped, 1.0 / clamped

    @ti.func
    def forward(s: ti.template(), a: ti.template(), q: ti.template()):
        mu, lam = q[0], q[1]
        log_J, _slope = log_volume(s[0] * s[1] * s[2])
        pressure = lam * log_J
        stresses = (
            mu * (s[0] * s[0] - 1.0) + pressure, mu * (s[1] * s[1] - 1.0) + pressure, mu * (s[2] * s[2] - 1.0) + pressure,
        )  # fmt: skip
        return Flow(stretches=s, stresses=stresses, internal=a)

    @ti.func
    def adjoint(s: ti.template(), a: ti.template(), q: ti.template(), bars: ti.template()):
        """d t_i / d s_j = 2 mu s_i [i = j] + lambda d log J / d J * J / s_j."""
        mu, lam = q[0], q[1]
        g_bar, t_bar = ti.static(bars.stretches, bars.stresses)
        log_J, slope = log_volume(s[0] * s[1] * s[2])
        total = t_bar[0] + t_bar[1] + t_bar[2]
        J_bar = lam * slope * total
        one = ti.cast(1.0, real)
        return FlowAdjoint(
            stretches=(
                g_bar[0] + 2.0 * mu * s[0] * t_bar[0] + J_bar * s[1] * s[2],
                g_bar[1] + 2.0 * mu * s[1] * t_bar[1] + J_bar * s[0] * s[2],
                g_bar[2] + 2.0 * mu * s[2] * t_bar[2] + J_bar * s[0] * s[1],
            ),
            internal=bars.internal,
            parameters=(
                (s[0] * s[0] - 1.0) * t_bar[0] + (s[1] * s[1] - 1.0) * t_bar[1] + (s[2] * s[2] - 1.0) * t_bar[2],
                log_J * total,
            ),
            elastic=s,
            elastic_quotients=(one, one, one),
            stress_quotients=(mu * (s[0] + s[1]), mu * (s[0] + s[2]), mu * (s[1] + s[2])),
        )

    return SimpleNamespace(forward=forward, adjoint=adjoint)


@dataclass(frozen=True)
class NeoHookean(LinearlyElastic):
    """Compressible neo-Hookean elastic solid (Bonet and Wood 2008): rubber. Parameters as `Elastic`. No internal variable."""

    @property
    def law(self) -> Callable[..., Any]:
        return neo_hookean
