"""Kelvin-Voigt viscoelasticity: a viscous stress beside any elastic law's, from the rate of deformation D = (C + C^T) / 2.

    tau = tau_elastic + 2 eta dev(D) + zeta tr(D) 1,    dev(D) = D - tr(D) / 3 1
It is a Kirchhoff stress, so that the power per rest volume, 2 eta |dev(D)|^2 + zeta tr(D)^2, is dissipated however much the
solid is compressed. C is the velocity gradient at the particle: a rotation adds only to its skew part, and turns D with
the body.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from types import SimpleNamespace
from typing import Any, ClassVar

from torch import Tensor

from diffsim.compiler import ti
from diffsim.errors import InputError
from diffsim.scene.materials import NOT_NEGATIVE, Material, Range
from diffsim.soft.laws.elastic import Elastic


def viscous_stress(functions: SimpleNamespace, tile: SimpleNamespace) -> SimpleNamespace:
    """Device functions over tile arrays: C, tau and their adjoints are 3x3 matrices by rows."""
    width = tile.width

    @ti.func
    def forward(shear_viscosity, bulk_viscosity, C: ti.template(), tau: ti.template()):
        """Add the viscous stress to tau."""
        spread = bulk_viscosity - functions.constant(2.0 / 3.0) * shear_viscosity
        for t in range(width):
            spherical = spread * (C[0][t] + C[4][t] + C[8][t])
            for i, j in ti.static(ti.ndrange(3, 3)):
                tau[3 * i + j][t] = tau[3 * i + j][t] + shear_viscosity * (C[3 * i + j][t] + C[3 * j + i][t])
                if ti.static(i == j):
                    tau[3 * i + j][t] = tau[3 * i + j][t] + spherical

    @ti.func
    def adjoint(
        shear_viscosity, bulk_viscosity, C: ti.template(), tau_bar: ti.template(), C_bar: ti.template(),
        shear_bar: ti.template(), bulk_bar: ti.template(),
    ):  # fmt: skip
        """Adds to C_bar; sets the viscosities' adjoints of each particle."""
        spread = bulk_viscosity - functions.constant(2.0 / 3.0) * shear_viscosity
        for t in range(width):
            trace, trace_bar = C[0][t] + C[4][t] + C[8][t], tau_bar[0][t] + tau_bar[4][t] + tau_bar[8][t]
            power = -functions.constant(2.0 / 3.0) * trace * trace_bar  # tau_bar : 2 dev(D)
            for i, j in ti.static(ti.ndrange(3, 3)):
                power = power + tau_bar[3 * i + j][t] * (C[3 * i + j][t] + C[3 * j + i][t])
                both = shear_viscosity * (tau_bar[3 * i + j][t] + tau_bar[3 * j + i][t])
                if ti.static(i == j):
                    both = both + spread * trace_bar
                C_bar[3 * i + j][t] = C_bar[3 * i + j][t] + both
            shear_bar[t] = power
            bulk_bar[t] = trace * trace_bar

    return SimpleNamespace(forward=forward, adjoint=adjoint)


@dataclass(frozen=True)
class KelvinVoigt(Material):
    """Viscoelastic solid: a material that keeps its shape, damped by a viscous stress. The internal variable is that of
    ``elastic``.

    Its parameters are those of ``elastic`` and the two viscosities.

    Args:
        elastic: the material that is damped; one that keeps its shape, not `Liquid`, `Sand` or `Snow`.
        shear_viscosity: eta in Pa s; resists change of shape.
        bulk_viscosity: zeta in Pa s; resists change of volume.

    Raises:
        InputError: a viscosity is negative, or ``elastic`` is not such a material.
    """

    elastic: Material = dataclass_field(default_factory=Elastic)
    shear_viscosity: float = 1.0
    bulk_viscosity: float = 0.0

    VISCOUS: ClassVar[bool] = True
    RANGES: ClassVar[Mapping[str, Range]] = {"shear_viscosity": NOT_NEGATIVE, "bulk_viscosity": NOT_NEGATIVE}

    def __post_init__(self) -> None:
        if not isinstance(self.elastic, Material) or self.elastic.SHAPELESS or self.elastic.VISCOUS:
            raise InputError(
                f"KelvinVoigt: elastic must be a material that keeps its shape and is not viscous, got {self.elastic!r}"
            )
        super().__post_init__()

    @property
    def parameters(self) -> dict[str, float]:
        """The elastic material's parameters and the viscosities by name."""
        own = {"shear_viscosity": self.shear_viscosity, "bulk_viscosity": self.bulk_viscosity}
        return {**self.elastic.parameters, **own}

    @property
    def ranges(self) -> Mapping[str, Range]:
        return {**self.elastic.ranges, **self.RANGES}

    @property
    def density(self) -> float:
        """Rest density in kg/m^3."""
        return self.elastic.parameters["density"]

    @property
    def law(self) -> Callable[..., Any]:
        return self.elastic.law

    def law_parameters(self, values: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        return self.elastic.law_parameters(values)

    def viscosities(self, values: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        return values["shear_viscosity"], values["bulk_viscosity"]

    @property
    def wave_speed(self) -> float:
        return self.elastic.wave_speed

    @property
    def kinematic_viscosity(self) -> float:
        """(eta + 3/4 zeta) / density, m^2/s: waves of pressure see 4/3 of it, as in a liquid of that viscosity."""
        return (self.shear_viscosity + 0.75 * self.bulk_viscosity) / self.density
