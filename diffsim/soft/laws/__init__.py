"""The material laws, one file each: the material that a user declares, and its law for the kernels, forward beside adjoint.

`stretch_law` says what a law is. A new one needs no entry here: kernels compile the laws below, so that most scenes
share them, and beside them those of their scene.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from diffsim.scene.materials import Material
from diffsim.soft.laws.elastic import fixed_corotated
from diffsim.soft.laws.liquid import tait_liquid
from diffsim.soft.laws.neo_hookean import neo_hookean
from diffsim.soft.laws.sand import drucker_prager
from diffsim.soft.laws.snow import snow
from diffsim.soft.laws.von_mises import von_mises

ALWAYS: tuple[Callable[..., Any], ...] = (fixed_corotated, neo_hookean, von_mises, drucker_prager, snow, tait_liquid)


def laws_of(materials: Iterable[Material]) -> tuple[Callable[..., Any], ...]:
    """The laws that kernels for these materials compile; a tile names its law by its index among them."""
    others = {material.law for material in materials} - set(ALWAYS)
    return (*ALWAYS, *sorted(others, key=lambda law: (law.__module__, law.__qualname__)))
