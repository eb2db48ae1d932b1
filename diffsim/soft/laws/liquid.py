"""Weakly compressible Newtonian liquid: Tait pressure of the volume ratio J, viscous stress of the velocity gradient C.

    p = K / gamma (J^-gamma - 1),  tau = -J p I + J eta (C + C^T - 2/3 tr(C) I),  F_new = J^(1/3) I
It parts at the tension T, that is at J_c = (1 - gamma T / K)^(-1/gamma). With D = det F_trial and the logarithm a of the volume
that was gained by parting:
    apart     log D + a >= log J_c:  J = J_c,            a_new = log D + a - log J_c
    together  otherwise:             J = exp(log D + a), a_new = 0
So drops fly without a force between them, and the space between them must close before pressure builds up again. Only J
matters, so there is no singular value decomposition. (Becker and Teschner 2007; the volume gained is that of Tampubolon et al.
2017 for sand.)
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
from diffsim.rounding import rounded_sums
from diffsim.scene.materials import NOT_NEGATIVE, POSITIVE, Material, MaterialLook, Range

SMALLEST_VOLUME = 0.5  # below, the pressure goes on as its tangent, and the volume ratio is held at this
LEAST_POWER = 1e-30  # of J^-gamma: a tension of K / gamma or more is never reached


def tait_liquid(real: Any, tile: SimpleNamespace, functions: SimpleNamespace) -> SimpleNamespace:
    """Parameters: bulk modulus K (Pa), exponent gamma, dynamic viscosity eta (Pa s), the largest volume ratio J_c. All arrays
    are tile arrays.

    It is no `stretch_law`: the stage that calls the laws knows it by name.
    """
    width, single = tile.width, real == ti.f32
    sums = rounded_sums(real)

    @ti.func
    def determinant(B: ti.template(), t):
        return (
            B[0][t] * (B[4][t] * B[8][t] - B[5][t] * B[7][t])
            - B[1][t] * (B[3][t] * B[8][t] - B[5][t] * B[6][t])
            + B[2][t] * (B[3][t] * B[7][t] - B[4][t] * B[6][t])
        )

    @ti.func
    def parting(det, a, q: ti.template()):
        """Of a trial volume ratio and the logarithm of the volume gained before: whether the liquid has parted, J, log J,
        the logarithm of the volume gained, and the trial ratio as it is held."""
        held, zero = ti.max(det, SMALLEST_VOLUME), ti.cast(0.0, real)
        before = ti.select(det > SMALLEST_VOLUME, a, zero)
        total, limit = functions.log(held) + before, functions.log(q[3])
        parted = total >= limit
        J = ti.select(before > 0.0, functions.exp(total), held)
        return (
            parted,
            ti.select(parted, q[3], J),
            ti.select(parted, limit, total),
            ti.select(parted, total - limit, zero),
            held,
        )

    @ti.func
    def evaluate(q: ti.template(), dt, threshold, old: ti.template(), B: ti.template(), new: ti.template()):
        """From a `Strain` and its trial deformation gradient B to the stretches g = J^(1/3), the volume gained and the stress.
        Returns the number of elements that are inverted or
        held at the smallest volume."""
        C, F = ti.static(old.C, old.G)
        bulk, gamma, viscosity = q[0], q[1], q[2]
        inverted = 0
        third = functions.constant(1.0 / 3.0)
        for t in range(width):
            det = determinant(B, t)
            inverted += ti.select(det <= SMALLEST_VOLUME, 1, 0)
            parted, J, log_J, gained, held = parting(det, old.a[0][t], q)
            power = functions.exp((1.0 - gamma) * log_J)
            slope = (1.0 - gamma) * power / J - 1.0
            below = ti.select(parted, ti.cast(0.0, real), det - held)
            pressure = bulk / gamma * (power - J + slope * below)  # times J
            root = functions.exp(log_J * third)
            if ti.static(single):
                # of a multiple of 1, as a liquid's F is: its increments, which the determinant would round away
                mean = F[0][t] + third * ((F[4][t] - F[0][t]) + (F[8][t] - F[0][t]))
                growth = ti.cast(0.0, real)
                for k in ti.static(range(3)):
                    growth = growth + C[k][t] * F[3 * k][t] + C[3 + k][t] * F[3 * k + 1][t] + C[6 + k][t] * F[3 * k + 2][t]
                middle = third * (B[0][t] + B[4][t] + B[8][t])
                x, y, z = B[0][t] - middle, B[4][t] - middle, B[8][t] - middle
                squares = x * x + y * y + z * z + 2.0 * (B[1][t] * B[3][t] + B[2][t] * B[6][t] + B[5][t] * B[7][t])
                w = -0.5 * squares / (middle * middle)
                small = (w * w < 2.0**-20) & (middle > 0.5)
                cube_root = third * w * (1.0 - third * w)
                precise = sums.rounded_sum(mean, dt * third * growth + mean * cube_root, threshold)
                plain = small & (not parted) & (old.a[0][t] == 0.0) & (det > SMALLEST_VOLUME)
                root = ti.select(plain, precise, root)
            expansion = 2.0 * third * (C[0][t] + C[4][t] + C[8][t])
            for i, j in ti.static(ti.ndrange(3, 3)):
                shear = J * viscosity * (C[3 * i + j][t] + C[3 * j + i][t])
                if ti.static(i == j):
                    shear = shear - J * viscosity * expansion - pressure
                new.tau[3 * i + j][t] = shear
            for i in ti.static(range(3)):
                new.g[i][t] = root
            new.a[0][t] = gained
        return inverted

    @ti.func
    def adjoint(
        q: ti.template(), old: ti.template(), B: ti.template(), bars: ti.template(), B_bar: ti.template(), q_bar: ti.template()
    ):
        """Adds to C_bar and to the parameters' q_bar, turns a_bar into that of the old a, and sets B_bar = det_bar d det / dB,
        the cofactors. The pressure times J, P = K / gamma (J^(1-gamma) - J), has dP/dJ = K / gamma ((1-gamma) J^-gamma - 1)."""
        C, C_bar, G_bar, tau_bar = ti.static(old.C, bars.C, bars.G, bars.tau)
        bulk, gamma, viscosity = q[0], q[1], q[2]
        third = functions.constant(1.0 / 3.0)
        for t in range(width):
            zero = ti.cast(0.0, real)
            det = determinant(B, t)
            parted, J, log_J, _gained, held = parting(det, old.a[0][t], q)
            power = functions.exp((1.0 - gamma) * log_J)
            root = functions.exp(log_J * third)
            below = ti.select(parted, zero, det - held)
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
            compressed_bar = pressure_bar * bulk / gamma * slope
            J_bar = compressed_bar + viscosity * shear_bar + third * root / J * (G_bar[0][t] + G_bar[4][t] + G_bar[8][t])
            # log det + a goes to log J or, where the liquid has parted, to the volume gained
            gained_bar = ti.select(parted, bars.a[0][t], zero)
            total_bar = ti.select(det > SMALLEST_VOLUME, ti.select(parted, gained_bar, J * J_bar), zero)
            det_bar = total_bar / held + ti.select(det > SMALLEST_VOLUME, zero, compressed_bar)
            bars.a[0][t] = total_bar
            q_bar[0][t] = q_bar[0][t] + pressure_bar / gamma * (power - J + slope * below)
            q_bar[2][t] = q_bar[2][t] + J * shear_bar
            q_bar[3][t] = q_bar[3][t] + ti.select(parted, J_bar - gained_bar / q[3], zero)
            B_bar[0][t] = det_bar * (B[4][t] * B[8][t] - B[5][t] * B[7][t])
            B_bar[1][t] = det_bar * (B[5][t] * B[6][t] - B[3][t] * B[8][t])
            B_bar[2][t] = det_bar * (B[3][t] * B[7][t] - B[4][t] * B[6][t])
            B_bar[3][t] = det_bar * (B[2][t] * B[7][t] - B[1][t] * B[8][t])
            B_bar[4][t] = det_bar * (B[0][t] * B[8][t] - B[2][t] * B[6][t])
            B_bar[5][t] = det_bar * (B[1][t] * B[6][t] - B[0][t] * B[7][t])
            B_bar[6][t] = det_bar * (B[1][t] * B[5][t] - B[2][t] * B[4][t])
            B_bar[7][t] = det_bar * (B[2][t] * B[3][t] - B[0][t] * B[5][t])
            B_bar[8][t] = det_bar * (B[0][t] * B[4][t] - B[1][t] * B[3][t])

    return SimpleNamespace(evaluate=evaluate, adjoint=adjoint)


@dataclass(frozen=True)
class Liquid(Material):
    """Weakly compressible Newtonian liquid with Tait's equation of state, which parts under tension.

    The internal variable is the logarithm of the volume gained by parting, which compression takes back first.

    Args:
        density: rest density in kg/m^3.
        bulk_modulus: Pa; the liquid's density varies by about (density g depth) / bulk_modulus.
        viscosity: dynamic viscosity in Pa s (water 1e-3, honey about 10).
        tension: the largest negative pressure that it holds, Pa. One of bulk_modulus / 7 or more is never reached: then it is
            as strong in tension as a solid.
        relaxation_rate: 1/s, at which particles forget what the grid does not resolve of their velocities, whatever the length
            of a substep is. At a rate far above 1 / dt (1e9) they do in every substep (APIC), which damps short waves like
            a viscosity that grows as dt falls.
    """

    density: float = 1e3
    bulk_modulus: float = 2e4
    viscosity: float = 0.0
    tension: float = 0.0
    relaxation_rate: float = 50.0

    SHAPELESS: ClassVar[bool] = True
    LOOK: ClassVar[MaterialLook | None] = MaterialLook((0.22, 0.5, 0.84), opacity=0.75)
    FLOWING: ClassVar[bool] = True
    # particles of a liquid stand in no layers: at .5 it pressed on boxes as if they were wider, by .84 spacings at 8
    # particles a cell
    CONTACT_RADIUS: ClassVar[float] = 0.3
    RANGES: ClassVar[Mapping[str, Range]] = {
        "density": POSITIVE,
        "bulk_modulus": POSITIVE,
        "viscosity": NOT_NEGATIVE,
        "tension": NOT_NEGATIVE,
        "relaxation_rate": NOT_NEGATIVE,
    }
    TAIT_EXPONENT: ClassVar[float] = 7.0

    @property
    def law(self) -> Callable[..., Any]:
        return tait_liquid

    def law_parameters(self, values: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Bulk modulus, Tait's exponent, viscosity, and the volume ratio at which the tension is reached."""
        bulk, gamma = values["bulk_modulus"], Liquid.TAIT_EXPONENT
        largest = (1.0 - gamma * values["tension"] / bulk).clamp(min=LEAST_POWER) ** (-1.0 / gamma)
        return bulk, torch.full_like(bulk, gamma), values["viscosity"], largest

    @property
    def wave_speed(self) -> float:
        """Speed of sound sqrt(bulk_modulus / density), m/s."""
        return math.sqrt(self.bulk_modulus / self.density)

    @property
    def kinematic_viscosity(self) -> float:
        """viscosity / density, m^2/s."""
        return self.viscosity / self.density
