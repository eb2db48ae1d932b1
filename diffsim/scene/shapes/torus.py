"""Tori."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import trimesh

from diffsim.compiler import ti
from diffsim.errors import InputError
from diffsim.records import Record, field
from diffsim.scene.shapes.contact_balls import ContactPoints
from diffsim.scene.shapes.revolution import revolved
from diffsim.scene.shapes.shape import Shape
from diffsim.scene.validation import check_count, check_length


class TorusNumbers(Record):
    """What the kernels read of a torus."""

    major_radius = field(1, "m")
    minor_radius = field(1, "m")


def torus_distance(real: Any) -> Any:
    """The kernels' signed distance; see `Shape.distance_kernel`."""
    tiny = 1e-30

    @ti.func
    def profile(numbers: ti.template(), at, rho, z):  # type: ignore
        dr, dz = rho - numbers[at + TorusNumbers.major_radius], ti.abs(z)
        side = ti.select(z < 0.0, ti.cast(-1.0, real), ti.cast(1.0, real))
        phi = ti.sqrt(dr * dr + dz * dz + ti.cast(tiny, real))
        return phi - numbers[at + TorusNumbers.minor_radius], dr / phi, dz / phi * side, 1.0 / phi

    return revolved(real, profile)


@dataclass(frozen=True)
class Torus(Shape):
    """Tube of ``minor_radius`` about a circle of ``major_radius`` round local z (metres)."""

    major_radius: float
    minor_radius: float

    def __post_init__(self) -> None:
        check_length("major_radius", self.major_radius)
        check_length("minor_radius", self.minor_radius)
        if not self.minor_radius < self.major_radius:
            raise InputError(f"minor_radius must be less than major_radius={self.major_radius}, got {self.minor_radius}")

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        points = np.asarray(points, dtype=float)
        off_circle = np.hypot(points[..., 0], points[..., 1]) - self.major_radius
        return np.hypot(off_circle, points[..., 2]) - self.minor_radius

    def surface_mesh(self) -> trimesh.Trimesh:
        return trimesh.creation.torus(self.major_radius, self.minor_radius, major_sections=64, minor_sections=32)

    @property
    def volume(self) -> float:
        return float(2.0 * np.pi**2 * self.major_radius * self.minor_radius**2)

    @property
    def bounding_radius(self) -> float:
        return self.major_radius + self.minor_radius

    def mass_properties(self) -> tuple[float, np.ndarray, np.ndarray]:
        volume, R2, r2 = self.volume, self.major_radius**2, self.minor_radius**2
        across = volume * (R2 / 2.0 + 5.0 / 8.0 * r2)
        return volume, np.zeros(3), np.diag((across, across, volume * (R2 + 0.75 * r2)))

    def contact_points(self, count: int | None = None) -> ContactPoints:
        """A ball that moves on the centre circle, and ``count`` that stand still there. None: at least 8, no farther apart
        than the minor radius."""
        if count is None:
            count = max(8, int(np.ceil(2.0 * np.pi * self.major_radius / self.minor_radius)))
        check_count("contact_points", count, 3)
        return ContactPoints.wheel(self.major_radius, self.minor_radius, spokes=count, hollow=True)

    def kernel_numbers(self) -> Any:
        return TorusNumbers.row(major_radius=self.major_radius, minor_radius=self.minor_radius)

    distance_kernel = staticmethod(torus_distance)
