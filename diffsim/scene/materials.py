"""Constitutive parameters. Plain records; the laws themselves are in `diffsim/soft/laws/`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor

from diffsim.errors import InputError


def _lame(youngs_modulus: Tensor, poissons_ratio: Tensor) -> tuple[Tensor, Tensor]:
    mu = youngs_modulus / (2.0 * (1.0 + poissons_ratio))
    return mu, 2.0 * mu * poissons_ratio / (1.0 - 2.0 * poissons_ratio)


def _check(name: str, value: float, low: float, high: float, allowed: str) -> None:
    if not (math.isfinite(value) and low <= value < high):
        raise InputError(f"{name} must be {allowed}, got {value!r}")


_POSITIVE = (5e-324, math.inf, "a positive number")
_NOT_NEGATIVE = (0.0, math.inf, "a number >= 0")


@dataclass(frozen=True)
class Material(ABC):
    """What all materials have: a density in kg/m^3, a law, and named scalar parameters (the dataclass's fields).

    A law has at most one scalar internal variable a particle, `State.internal_variable`; the material says what it is.

    Raises:
        InputError: a parameter is outside its range.
    """

    LAW: ClassVar[str]
    SHAPELESS: ClassVar[bool] = False  # pours or crumbles: no surface mesh can follow it
    RANGES: ClassVar[Mapping[str, tuple[float, float, str]]]

    def __post_init__(self) -> None:
        for item in fields(self):
            _check(f"{type(self).__name__}: {item.name}", getattr(self, item.name), *self.RANGES[item.name])

    @property
    def parameters(self) -> dict[str, float]:
        """The parameters by name."""
        return {item.name: float(getattr(self, item.name)) for item in fields(self)}

    @staticmethod
    @abstractmethod
    def law_parameters(values: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """The (at most five) numbers that the law takes, from the named parameters; differentiable."""

    @property
    @abstractmethod
    def wave_speed(self) -> float:
        """Speed of pressure waves in m/s; it limits the time step."""


_ELASTIC_RANGES = {
    "youngs_modulus": _POSITIVE,
    "poissons_ratio": (0.0, 0.5, "in [0, 0.5)"),
    "density": _POSITIVE,
}


@dataclass(frozen=True)
class _Solid(Material):
    youngs_modulus: float = 5e3
    poissons_ratio: float = 0.2
    density: float = 1e3

    RANGES: ClassVar[Mapping[str, tuple[float, float, str]]] = _ELASTIC_RANGES

    @property
    def lame(self) -> tuple[float, float]:
        """Lame parameters (mu, lambda) in Pa."""
        E, nu = self.youngs_modulus, self.poissons_ratio
        return E / (2.0 * (1.0 + nu)), E * nu / ((1.0 + nu) * (1.0 - 2.0 * nu))

    @property
    def wave_speed(self) -> float:
        """sqrt((lambda + 2 mu) / density), m/s."""
        mu, lam = self.lame
        return math.sqrt((lam + 2.0 * mu) / self.density)

    @staticmethod
    def law_parameters(values: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        return _lame(values["youngs_modulus"], values["poissons_ratio"])


@dataclass(frozen=True)
class Elastic(_Solid):
    """Fixed-corotated elastic solid (Stomakhin et al. 2012): robust, also when inverted.

    Args:
        youngs_modulus: stiffness in Pa.
        poissons_ratio: in [0, 0.5).
        density: rest density in kg/m^3.
    """

    LAW: ClassVar[str] = "fixed_corotated"


@dataclass(frozen=True)
class NeoHookean(_Solid):
    """Compressible neo-Hookean elastic solid (Bonet and Wood 2008): rubber. Parameters as `Elastic`."""

    LAW: ClassVar[str] = "neo_hookean"


@dataclass(frozen=True)
class ElastoPlastic(_Solid):
    """Clay, plasticine, metal: fixed-corotated elasticity with von Mises yielding in logarithmic strain (Gao et al. 2017).

    Args:
        yield_stress: size of the deviatoric stress in Pa at which the material starts to flow.
        hardening: growth of the yield stress in Pa per unit of accumulated plastic strain.

    Internal variable: accumulated plastic strain, the length of plastic flow in logarithmic strain.
    """

    yield_stress: float = 50.0
    hardening: float = 0.0

    LAW: ClassVar[str] = "von_mises"
    RANGES: ClassVar[Mapping[str, tuple[float, float, str]]] = {
        **_ELASTIC_RANGES,
        "yield_stress": _POSITIVE,
        "hardening": _NOT_NEGATIVE,
    }

    @staticmethod
    def law_parameters(values: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        return (*_lame(values["youngs_modulus"], values["poissons_ratio"]), values["yield_stress"], values["hardening"])


@dataclass(frozen=True)
class Liquid(Material):
    """Weakly compressible Newtonian liquid with Tait's equation of state.

    Args:
        density: rest density in kg/m^3.
        bulk_modulus: Pa; the liquid's density varies by about (density g depth) / bulk_modulus.
        viscosity: dynamic viscosity in Pa s (water 1e-3, honey about 10).
    """

    density: float = 1e3
    bulk_modulus: float = 2e4
    viscosity: float = 0.0

    LAW: ClassVar[str] = "liquid"
    SHAPELESS: ClassVar[bool] = True
    RANGES: ClassVar[Mapping[str, tuple[float, float, str]]] = {
        "density": _POSITIVE,
        "bulk_modulus": _POSITIVE,
        "viscosity": _NOT_NEGATIVE,
    }
    TAIT_EXPONENT: ClassVar[float] = 7.0

    @staticmethod
    def law_parameters(values: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        return values["bulk_modulus"], torch.full_like(values["bulk_modulus"], Liquid.TAIT_EXPONENT), values["viscosity"]

    @property
    def wave_speed(self) -> float:
        """Speed of sound sqrt(bulk_modulus / density), m/s."""
        return math.sqrt(self.bulk_modulus / self.density)


@dataclass(frozen=True)
class Sand(_Solid):
    """Dry sand: Hencky elasticity with Drucker-Prager yielding (Klar et al. 2016). It holds no tension.

    Args:
        youngs_modulus, poissons_ratio, density: as `Elastic`.
        friction_angle: internal friction angle in radians, in (0, pi/2).

    Internal variable: logarithm of the volume gained while the sand was apart, paid back before pressure builds up.
    """

    youngs_modulus: float = 5e4
    density: float = 1.6e3
    friction_angle: float = math.radians(35.0)

    LAW: ClassVar[str] = "drucker_prager"
    SHAPELESS: ClassVar[bool] = True
    RANGES: ClassVar[Mapping[str, tuple[float, float, str]]] = {
        **_ELASTIC_RANGES,
        "friction_angle": (1e-3, math.pi / 2.0, "in (0, pi/2) radians"),
    }

    @staticmethod
    def law_parameters(values: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        sine = torch.sin(values["friction_angle"])
        return (*_lame(values["youngs_modulus"], values["poissons_ratio"]), math.sqrt(2.0 / 3.0) * 2.0 * sine / (3.0 - sine))


@dataclass(frozen=True)
class Snow(_Solid):
    """Snow (Stomakhin et al. 2013): stretches beyond the critical ones are plastic, and harden or weaken the solid.

    Args:
        youngs_modulus, poissons_ratio, density: as `Elastic`.
        critical_compression: largest elastic compression.
        critical_stretch: largest elastic stretch.
        hardening: exponent of the stiffness's growth with plastic compression.

    Internal variable: logarithm of the plastic volume ratio, log J_plastic.
    """

    youngs_modulus: float = 1.4e5
    density: float = 400.0
    critical_compression: float = 2.5e-2
    critical_stretch: float = 7.5e-3
    hardening: float = 10.0

    LAW: ClassVar[str] = "snow"
    SHAPELESS: ClassVar[bool] = True
    RANGES: ClassVar[Mapping[str, tuple[float, float, str]]] = {
        **_ELASTIC_RANGES,
        "critical_compression": (0.0, 0.9, "in [0, 0.9)"),
        "critical_stretch": _NOT_NEGATIVE,
        "hardening": _NOT_NEGATIVE,
    }

    @staticmethod
    def law_parameters(values: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        return (
            *_lame(values["youngs_modulus"], values["poissons_ratio"]),
            values["critical_compression"],
            values["critical_stretch"],
            values["hardening"],
        )


# the order of the kernels' law indices
LAWS = ("fixed_corotated", "neo_hookean", "von_mises", "drucker_prager", "snow", "liquid")
