"""Weakly compressible Newtonian liquid: Tait pressure of the volume ratio J = det F, viscous stress of the velocity gradient C.

    p = K / gamma (J^-gamma - 1),  tau = -J p I + J eta (C + C^T - 2/3 tr(C) I),  F_new = J^(1/3) I
Only J matters, so there is no singular value decomposition. (Becker and Teschner 2007; Tampubolon et al. 2017.)
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from torch import Tensor

from diffsim.compiler import ti
from diffsim.scene.materials import NOT_NEGATIVE, POSITIVE, Material, Range

SMALLEST_VOLUME = 0.5  # below, the pressure goes on as its tangent, and the volume ratio is held at this


def tait_liquid(real: Any, tile: SimpleNamespace, functions: SimpleNamespace) -> SimpleNamespace:
    """Parameters: bulk modulus K (Pa), exponent gamma, dynamic viscosity eta (Pa s). All arrays are tile arrays.

    It is no `stretch_law`: the stage that calls the laws knows it by name.
    """
    width = tile.width

    @ti.func
    def determinant(B: ti.template(), t):
        return (
            B[0][t] * (B[4][t] * B[8][t] - B[5][t] * B[7][t])
            - B[1][t] * (B[3][t] * B[8][t] - B[5][t] * B[6][t])
            + B[2][t] * (B[3][t] * B[7][t] - B[4][t] * B[6][t])
        )

    @ti.func
    def evaluate(
        q: ti.template(), C: ti.template(), B: ti.template(), U: ti.template(), V: ti.template(), g: ti.template(),
        tau: ti.template(),
    ):  # fmt: skip
        """From the trial deformation gradient B to the stretches g = J^(1/3) with U = V = 1, and to the stress. Returns the
        number of inverted elements."""
        bulk, gamma, viscosity = q[0], q[1], q[2]
        inverted = 0
        third = functions.constant(1.0 / 3.0)
        for t in range(width):
            det = determinant(B, t)
            inverted += ti.select(det <= 0.0, 1, 0)
            J = ti.max(det, SMALLEST_VOLUME)
            log_J = functions.log(J)
            power = functions.exp((1.0 - gamma) * log_J)
            slope = (1.0 - gamma) * power / J - 1.0
            pressure = bulk / gamma * (power - J + slope * (det - J))  # times J
            root = functions.exp(log_J * third)
            expansion = 2.0 * third * (C[0][t] + C[4][t] + C[8][t])
            for i, j in ti.static(ti.ndrange(3, 3)):
                shear = J * viscosity * (C[3 * i + j][t] + C[3 * j + i][t])
                if ti.static(i == j):
                    shear = shear - J * viscosity * expansion - pressure
                tau[3 * i + j][t] = shear
                U[3 * i + j][t] = ti.cast(ti.static(1.0 if i == j else 0.0), real)
                V[3 * i + j][t] = ti.cast(ti.static(1.0 if i == j else 0.0), real)
            g[0][t] = root
            g[1][t] = root
            g[2][t] = root
        return inverted

    @ti.func
    def adjoint(
        q: ti.template(), C: ti.template(), B: ti.template(), tau_bar: ti.template(), G_bar: ti.template(),
        C_bar: ti.template(), B_bar: ti.template(), q_bar: ti.template(),
    ):  # fmt: skip
        """Adds to C_bar and to the parameters' q_bar, and sets B_bar = J_bar dJ/dB, the cofactors. With P = K / gamma
        (J^(1-gamma) - J), the pressure times J, dP/dJ = K / gamma ((1 - gamma) J^-gamma - 1)."""
        bulk, gamma, viscosity = q[0], q[1], q[2]
        third = functions.constant(1.0 / 3.0)
        for t in range(width):
            det = determinant(B, t)
            J = ti.max(det, SMALLEST_VOLUME)
            log_J = functions.log(J)
            power = functions.exp((1.0 - gamma) * log_J)
            root = functions.exp(log_J * third)
            expansion = C[0][t] + C[4][t] + C[8][t]
            trace_bar = tau_bar[0][t] + tau_bar[4][t] + tau_bar[8][t]
            shear_bar = -2.0 * third * expansion * trace_bar  # tau_bar : (C + C^T - 2/3 tr C I)
            for i, j in ti.static(ti.ndrange(3, 3)):
                shear_bar = shear_bar + tau_bar[3 * i + j][t] * (C[3 * i + j][t] + C[3 * j + i][t])
                both = tau_bar[3 * i + j][t] + tau_bar[3 * j + i][t]
                if ti.static(i == j):
                    both = both - 2.0 * third * trace_bar
                C_bar[3 * i + j][t] = C_bar[3 * i + j][t] + J * viscosity * both
            pressure_bar = -trace_bar
            slope = (1.0 - gamma) * power / J - 1.0
            held_bar = viscosity * shear_bar + third * root / J * (G_bar[0][t] + G_bar[4][t] + G_bar[8][t])
            J_bar = pressure_bar * bulk / gamma * slope + ti.select(det > SMALLEST_VOLUME, held_bar, ti.cast(0.0, real))
            q_bar[0][t] = q_bar[0][t] + pressure_bar / gamma * (power - J + slope * (det - J))
            q_bar[2][t] = q_bar[2][t] + J * shear_bar
            B_bar[0][t] = J_bar * (B[4][t] * B[8][t] - B[5][t] * B[7][t])
            B_bar[1][t] = J_bar * (B[5][t] * B[6][t] - B[3][t] * B[8][t])
            B_bar[2][t] = J_bar * (B[3][t] * B[7][t] - B[4][t] * B[6][t])
            B_bar[3][t] = J_bar * (B[2][t] * B[7][t] - B[1][t] * B[8][t])
            B_bar[4][t] = J_bar * (B[0][t] * B[8][t] - B[2][t] * B[6][t])
            B_bar[5][t] = J_bar * (B[1][t] * B[6][t] - B[0][t] * B[7][t])
            B_bar[6][t] = J_bar * (B[1][t] * B[5][t] - B[2][t] * B[4][t])
            B_bar[7][t] = J_bar * (B[2][t] * B[3][t] - B[0][t] * B[5][t])
            B_bar[8][t] = J_bar * (B[0][t] * B[4][t] - B[1][t] * B[3][t])

    return SimpleNamespace(evaluate=evaluate, adjoint=adjoint)


@dataclass(frozen=True)
class Liquid(Material):
    """Weakly compressible Newtonian liquid with Tait's equation of state. No internal variable.

    Args:
        density: rest density in kg/m^3.
        bulk_modulus: Pa; the liquid's density varies by about (density g depth) / bulk_modulus.
        viscosity: dynamic viscosity in Pa s (water 1e-3, honey about 10).
    """

    density: float = 1e3
    bulk_modulus: float = 2e4
    viscosity: float = 0.0

    SHAPELESS: ClassVar[bool] = True
    RANGES: ClassVar[Mapping[str, Range]] = {"density": POSITIVE, "bulk_modulus": POSITIVE, "viscosity": NOT_NEGATIVE}
    TAIT_EXPONENT: ClassVar[float] = 7.0

    @property
    def law(self) -> Callable[..., Any]:
        return tait_liquid

    def law_parameters(self, values: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Bulk modulus, Tait's exponent and viscosity."""
        return values["bulk_modulus"], torch.full_like(values["bulk_modulus"], Liquid.TAIT_EXPONENT), values["viscosity"]

    @property
    def wave_speed(self) -> float:
        """Speed of sound sqrt(bulk_modulus / density), m/s."""
        return math.sqrt(self.bulk_modulus / self.density)

    @property
    def kinematic_viscosity(self) -> float:
        """viscosity / density, m^2/s."""
        return self.viscosity / self.density
