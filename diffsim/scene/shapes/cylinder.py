"""Cylinders, their rims sharp or rounded."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import trimesh

from diffsim.compiler import ti
from diffsim.errors import InputError
from diffsim.records import Record, field
from diffsim.scene.shapes.contact_balls import ContactPoints
from diffsim.scene.shapes.revolution import revolved, wheels
from diffsim.scene.shapes.shape import Shape
from diffsim.scene.validation import check_length, is_number


class CylinderNumbers(Record):
    """What the kernels read of a cylinder: its core, which grows by the rounding."""

    half_length = field(1, "m", "of the core")
    radius = field(1, "m", "of the core")
    rounding = field(1, "m")


def cylinder_distance(real: Any) -> Any:
    """The kernels' signed distance; see `Shape.distance_kernel`."""
    tiny = 1e-30

    @ti.func
    def profile(numbers: ti.template(), at, rho, z):  # type: ignore
        dr, dz = rho - numbers[at + CylinderNumbers.radius], ti.abs(z) - numbers[at + CylinderNumbers.half_length]
        side = ti.select(z < 0.0, ti.cast(-1.0, real), ti.cast(1.0, real))
        phi, nr, nz, bend = dr, ti.cast(1.0, real), ti.cast(0.0, real), ti.cast(0.0, real)
        if dr > 0.0 and dz > 0.0:
            phi = ti.sqrt(dr * dr + dz * dz + ti.cast(tiny, real))
            nr, nz, bend = dr / phi, dz / phi, 1.0 / phi
        elif dz > dr:
            phi, nr, nz = dz, ti.cast(0.0, real), ti.cast(1.0, real)
        return phi - numbers[at + CylinderNumbers.rounding], nr, nz * side, bend

    return revolved(real, profile)


@dataclass(frozen=True)
class Cylinder(Shape):
    """Cylinder of outer ``half_length`` along local z and outer ``radius`` (metres), its rims rounded by ``rounding``."""

    half_length: float
    radius: float
    rounding: float = 0.0

    def __post_init__(self) -> None:
        check_length("half_length", self.half_length)
        check_length("radius", self.radius)
        least = min(self.half_length, self.radius)
        if not is_number(self.rounding) or not 0.0 <= self.rounding <= least:
            raise InputError(
                f"rounding must lie between 0 and the smaller of half_length and radius, {least}, got {self.rounding!r}"
            )

    @property
    def _core(self) -> tuple[float, float]:
        """Half length and radius of the cylinder that grows by ``rounding``."""
        return self.half_length - self.rounding, self.radius - self.rounding

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        points = np.asarray(points, dtype=float)
        half, radius = self._core
        outside = np.stack([np.hypot(points[..., 0], points[..., 1]) - radius, np.abs(points[..., 2]) - half], axis=-1)
        return np.linalg.norm(np.maximum(outside, 0.0), axis=-1) + np.minimum(outside.max(axis=-1), 0.0) - self.rounding

    def surface_mesh(self) -> trimesh.Trimesh:
        half, radius = self._core
        arc = np.linspace(0.0, 0.5 * np.pi, 9 if self.rounding > 0.0 else 1)
        top = np.stack([radius + self.rounding * np.sin(arc), half + self.rounding * np.cos(arc)], axis=1)
        if radius > 0.0:
            top = np.concatenate([[[0.0, self.half_length]], top])
        top[0, 0] = 0.0  # on the axis
        bottom = top * (1.0, -1.0)
        if half == 0.0:
            bottom = bottom[:-1]  # the two arcs share their last point
        profile = np.concatenate([bottom, top[::-1]])
        return trimesh.creation.revolve(profile, sections=64)

    @property
    def volume(self) -> float:
        h, a = self._core
        r = self.rounding  # Steiner's formula for the core grown by r
        surface, curvature = 2.0 * np.pi * a * (a + 2.0 * h), np.pi * (2.0 * h + np.pi * a)
        return float(2.0 * np.pi * a**2 * h + surface * r + curvature * r**2 + 4.0 / 3.0 * np.pi * r**3)

    @property
    def bounding_radius(self) -> float:
        return float(np.hypot(*self._core)) + self.rounding

    def mass_properties(self) -> tuple[float, np.ndarray, np.ndarray]:
        """Exact for sharp rims; from the surface mesh for rounded ones."""
        if self.rounding > 0.0:
            return super().mass_properties()
        volume = self.volume
        across = volume * (self.radius**2 / 4.0 + self.half_length**2 / 3.0)
        return volume, np.zeros(3), np.diag((across, across, volume * self.radius**2 / 2.0))

    def contact_points(self, count: int | None = None) -> ContactPoints:
        """A wheel at either rim of the core; for what is no plane, a ball that slides along the side, and between the rims
        wheels without spokes, for surfaces that are not convex.

        Args:
            count: about half of them are spokes. None: eight at a rim, and wheels a radius apart, at most 8.
        """
        half, radius = self._core
        points = wheels((radius, -half), (radius, half), self.rounding, count)
        return points + ContactPoints.roller(radius, half, self.rounding) if radius > 0.0 and half > 0.0 else points

    def kernel_numbers(self) -> Any:
        half_length, radius = self._core
        return CylinderNumbers.row(half_length=half_length, radius=radius, rounding=self.rounding)

    distance_kernel = staticmethod(cylinder_distance)
