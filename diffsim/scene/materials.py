"""What all materials have. Each material stands with its law in a file of its own in `diffsim/soft/laws/`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar

from torch import Tensor

from diffsim.errors import InputError
from diffsim.scene.validation import is_number

Range = tuple[float, float, str]  # least value, first value too large, and both in words
POSITIVE: Range = (5e-324, math.inf, "a positive number")
NOT_NEGATIVE: Range = (0.0, math.inf, "a number >= 0")

Number = TypeVar("Number", float, Tensor)


def lame(youngs_modulus: Number, poissons_ratio: Number) -> tuple[Number, Number]:
    """Lame parameters (mu, lambda) in Pa."""
    mu = youngs_modulus / (2.0 * (1.0 + poissons_ratio))
    return mu, 2.0 * mu * poissons_ratio / (1.0 - 2.0 * poissons_ratio)


@dataclass(frozen=True)
class MaterialLook:
    """How a material is drawn where its body says nothing else.

    Attributes:
        color: sRGB.
        opacity: of its surface.
        grains: whether it looks like its particles.
    """

    color: tuple[float, float, float]
    opacity: float = 1.0
    grains: bool = False


@dataclass(frozen=True)
class Material(ABC):
    """What all materials have: a density in kg/m^3, a law, and named scalar parameters (the dataclass's fields).

    A subclass is a new material; its law may be one of `diffsim/soft/laws/` or a new one (docs/extending.md).
    A law has at most one scalar internal variable a particle, `State.internal_variable`, 0 at first; the material says what
    it is.

    Raises:
        InputError: a parameter is outside its range.
    """

    SHAPELESS: ClassVar[bool] = False  # pours or crumbles: no surface mesh can follow it
    LOOK: ClassVar[MaterialLook | None] = None  # None: the renderer's choice
    VISCOUS: ClassVar[bool] = False  # has `viscosities`
    # its particles keep part of what the grid does not see of their velocities; has the parameter relaxation_rate, 1/s
    FLOWING: ClassVar[bool] = False
    # of a particle in contact with what is rigid, over the particles' spacing. A solid's stand in layers, the outer one half a
    # spacing from its face
    CONTACT_RADIUS: ClassVar[float] = 0.5
    RANGES: ClassVar[Mapping[str, Range]]

    def __post_init__(self) -> None:
        for name, value in self.parameters.items():
            low, high, allowed = self.ranges[name]
            if not (is_number(value) and low <= value < high):
                raise InputError(f"{type(self).__name__}: {name} must be {allowed}, got {value!r}")
        for item in fields(self):
            if is_number(getattr(self, item.name)):
                object.__setattr__(self, item.name, float(getattr(self, item.name)))

    @property
    def parameters(self) -> dict[str, float]:
        """The parameters by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @property
    def ranges(self) -> Mapping[str, Range]:
        """What the parameters may be, by name."""
        return self.RANGES

    @property
    @abstractmethod
    def law(self) -> Callable[..., Any]:
        """The law for the kernels, as `diffsim.soft.laws.stretch_law` describes it."""

    @abstractmethod
    def law_parameters(self, values: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """The (at most five) numbers that the law takes, from the named parameters; differentiable."""

    def viscosities(self, values: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Of a VISCOUS material: shear and bulk viscosity in Pa s, from the named parameters; differentiable."""
        raise NotImplementedError(f"{type(self).__name__} is not viscous")

    @property
    @abstractmethod
    def wave_speed(self) -> float:
        """Speed of pressure waves in m/s; it limits the time step."""

    @property
    def kinematic_viscosity(self) -> float:
        """Viscosity over density in m^2/s; it limits the time step too."""
        return 0.0


ELASTIC_RANGES: Mapping[str, Range] = {
    "youngs_modulus": POSITIVE,
    "poissons_ratio": (0.0, 0.5, "in [0, 0.5)"),
    "density": POSITIVE,
}


@dataclass(frozen=True)
class LinearlyElastic(Material):
    """Base of materials that are Hooke's at small strains.

    Args:
        youngs_modulus: stiffness in Pa.
        poissons_ratio: in [0, 0.5).
        density: rest density in kg/m^3.
    """

    youngs_modulus: float = 5e3
    poissons_ratio: float = 0.2
    density: float = 1e3

    RANGES: ClassVar[Mapping[str, Range]] = ELASTIC_RANGES

    @property
    def lame(self) -> tuple[float, float]:
        """Lame parameters (mu, lambda) in Pa."""
        return lame(self.youngs_modulus, self.poissons_ratio)

    @property
    def wave_speed(self) -> float:
        """sqrt((lambda + 2 mu) / density), m/s."""
        mu, lam = self.lame
        return math.sqrt((lam + 2.0 * mu) / self.density)

    def law_parameters(self, values: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """mu and lambda."""
        return lame(values["youngs_modulus"], values["poissons_ratio"])
