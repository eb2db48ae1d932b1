"""Constitutive parameters. Plain records; the laws themselves are in `diffsim/solvers/mpm/constitutive.py`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from diffsim.errors import InputError


@dataclass(frozen=True)
class Elastic:
    """Fixed-corotated elastic solid (Stomakhin et al. 2012).

    Args:
        youngs_modulus: stiffness in Pa.
        poissons_ratio: between 0 (inclusive) and 0.5 (exclusive).
        density: rest density in kg/m^3.

    Raises:
        InputError: a parameter is outside its range.
    """

    youngs_modulus: float = 5e3
    poissons_ratio: float = 0.2
    density: float = 1e3

    def __post_init__(self) -> None:
        for name in ("youngs_modulus", "density"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0.0):
                raise InputError(f"{name} must be a positive number, got {value!r}")
        if not 0.0 <= self.poissons_ratio < 0.5:
            raise InputError(f"poissons_ratio must lie in [0, 0.5), got {self.poissons_ratio!r}")

    @property
    def lame(self) -> tuple[float, float]:
        """Lame parameters (mu, lambda) in Pa."""
        E, nu = self.youngs_modulus, self.poissons_ratio
        return E / (2.0 * (1.0 + nu)), E * nu / ((1.0 + nu) * (1.0 - 2.0 * nu))

    @property
    def wave_speed(self) -> float:
        """Speed of pressure waves, sqrt((lambda + 2 mu) / density), in m/s; it limits the time step."""
        mu, lam = self.lame
        return math.sqrt((lam + 2.0 * mu) / self.density)

    @property
    def yield_limit(self) -> float:
        """Deviatoric Kirchhoff stress at which the solid yields, in Pa."""
        return math.inf


@dataclass(frozen=True)
class ElastoPlastic(Elastic):
    """Fixed-corotated elasticity with von Mises yielding in logarithmic strain (Gao et al. 2017).

    Args:
        yield_stress: deviatoric stress in Pa at which the material starts to flow.
    """

    yield_stress: float = 50.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.yield_stress) and self.yield_stress > 0.0):
            raise InputError(f"yield_stress must be a positive number of Pa, got {self.yield_stress!r}")

    @property
    def yield_limit(self) -> float:
        return self.yield_stress
