"""Compressible Mooney-Rivlin solid in the coupled form of Ciarlet and Geymonat (1982; Holzapfel 2000, eq. 6.147):

    W = c1 (I1 - 3) + c2 (I2 - 3) + c (J - 1)^2 - d log J,    d = 2 c1 + 4 c2 (no stress at rest)
with I1 = sum s_i^2 and I2 = s_0^2 s_1^2 + s_1^2 s_2^2 + s_2^2 s_0^2. The principal Kirchhoff stresses s_i dW/ds_i are
    t_i = 2 c1 s_i^2 + 2 c2 s_i^2 (s_j^2 + s_k^2) + 2 c J (J - 1) - d,
polynomials of the stretches, which need no continuation into inversion. At small strains mu = 2 (c1 + c2) and
lambda = 4 c2 + 2 c, so that the bulk modulus is K = lambda + 2/3 mu = 2 c + 4/3 c1 + 16/3 c2.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

from torch import Tensor

from diffsim.compiler import ti
from diffsim.errors import InputError
from diffsim.scene.materials import NOT_NEGATIVE, POSITIVE, Material, Range
from diffsim.soft.laws.stretch_law import Flow, FlowAdjoint

NEXT = ((0, 1, 2), (1, 2, 0), (2, 0, 1))  # each axis with the two others


def mooney_rivlin(real: Any, functions: SimpleNamespace) -> SimpleNamespace:
    """Parameters c1, c2, c (Pa)."""

    @ti.func
    def stress(s: ti.template(), c1, c2, volumetric, i: ti.template()):
        j, k = ti.static(NEXT[i][1], NEXT[i][2])
        return 2.0 * s[i] * s[i] * (c1 + c2 * (s[j] * s[j] + s[k] * s[k])) + volumetric

    @ti.func
    def forward(s: ti.template(), a: ti.template(), q: ti.template()):
        c1, c2, c = q[0], q[1], q[2]
        J = s[0] * s[1] * s[2]
        volumetric = 2.0 * c * J * (J - 1.0) - 2.0 * c1 - 4.0 * c2
        stresses = (
            stress(s, c1, c2, volumetric, 0), stress(s, c1, c2, volumetric, 1), stress(s, c1, c2, volumetric, 2),
        )  # fmt: skip
        return Flow(stretches=s, stresses=stresses, internal=a)

    @ti.func
    def stretch_adjoint(s: ti.template(), c1, c2, J_bar, t_bar: ti.template(), i: ti.template()):
        """d t_i / d s_i = 4 s_i (c1 + c2 (s_j^2 + s_k^2)), d t_j / d s_i = 4 c2 s_i s_j^2, and both 2 c (2 J - 1) s_j s_k."""
        j, k = ti.static(NEXT[i][1], NEXT[i][2])
        own = (c1 + c2 * (s[j] * s[j] + s[k] * s[k])) * t_bar[i]
        return 4.0 * s[i] * (own + c2 * (s[j] * s[j] * t_bar[j] + s[k] * s[k] * t_bar[k])) + J_bar * s[j] * s[k]

    @ti.func
    def quotient(s: ti.template(), c1, c2, i: ti.template()):
        """(t_k - t_j) / (s_k - s_j) of the two other axes: t_j - t_k = 2 (c1 + c2 s_i^2) (s_j^2 - s_k^2)."""
        j, k = ti.static(NEXT[i][1], NEXT[i][2])
        return 2.0 * (c1 + c2 * s[i] * s[i]) * (s[j] + s[k])

    @ti.func
    def adjoint(s: ti.template(), a: ti.template(), q: ti.template(), bars: ti.template()):
        c1, c2, c = q[0], q[1], q[2]
        g_bar, t_bar = ti.static(bars.stretches, bars.stresses)
        J = s[0] * s[1] * s[2]
        total = t_bar[0] + t_bar[1] + t_bar[2]
        J_bar = 2.0 * c * (2.0 * J - 1.0) * total
        c1_bar, c2_bar = -2.0 * total, -4.0 * total
        for i, j, k in ti.static(NEXT):
            c1_bar = c1_bar + 2.0 * s[i] * s[i] * t_bar[i]
            c2_bar = c2_bar + 2.0 * s[i] * s[i] * (s[j] * s[j] + s[k] * s[k]) * t_bar[i]
        one = ti.cast(1.0, real)
        return FlowAdjoint(
            stretches=(
                g_bar[0] + stretch_adjoint(s, c1, c2, J_bar, t_bar, 0),
                g_bar[1] + stretch_adjoint(s, c1, c2, J_bar, t_bar, 1),
                g_bar[2] + stretch_adjoint(s, c1, c2, J_bar, t_bar, 2),
            ),
            internal=bars.internal,
            parameters=(c1_bar, c2_bar, 2.0 * J * (J - 1.0) * total),
            elastic=s,
            elastic_quotients=(one, one, one),
            stress_quotients=(quotient(s, c1, c2, 2), quotient(s, c1, c2, 1), quotient(s, c1, c2, 0)),
        )

    return SimpleNamespace(forward=forward, adjoint=adjoint)


@dataclass(frozen=True)
class MooneyRivlin(Material):
    """Compressible Mooney-Rivlin solid: rubber at moderate stretches. No internal variable.

    Args:
        c1, c2: the two moduli in Pa; the shear modulus at small strain is 2 (c1 + c2).
        bulk_modulus: at small strain, Pa; at least 4/3 c1 + 16/3 c2, below which the energy would not be convex in volume.
        density: rest density in kg/m^3.

    Raises:
        InputError: a parameter is outside its range.
    """

    c1: float = 1.5e3
    c2: float = 5e2
    bulk_modulus: float = 2e4
    density: float = 1e3

    RANGES: ClassVar[Mapping[str, Range]] = {
        "c1": POSITIVE,
        "c2": NOT_NEGATIVE,
        "bulk_modulus": POSITIVE,
        "density": POSITIVE,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        least = 4.0 / 3.0 * self.c1 + 16.0 / 3.0 * self.c2
        if self.bulk_modulus < least:
            raise InputError(
                f"MooneyRivlin: bulk_modulus must be at least 4/3 c1 + 16/3 c2 = {least:g}, got {self.bulk_modulus!r}"
            )

    @property
    def law(self) -> Callable[..., Any]:
        return mooney_rivlin

    def law_parameters(self, values: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """c1, c2 and c."""
        c1, c2 = values["c1"], values["c2"]
        return c1, c2, 0.5 * values["bulk_modulus"] - 2.0 / 3.0 * c1 - 8.0 / 3.0 * c2

    @property
    def wave_speed(self) -> float:
        """sqrt((K + 4/3 mu) / density), m/s."""
        return math.sqrt((self.bulk_modulus + 8.0 / 3.0 * (self.c1 + self.c2)) / self.density)
