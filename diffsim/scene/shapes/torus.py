"""Tori."""

from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import trimesh
from torch import Tensor

from diffsim.compiler import ti
from diffsim.errors import InputError
from diffsim.records import Record, field
from diffsim.scene.shapes.contact_balls import ContactPoints
from diffsim.scene.shapes.revolution import revolved
from diffsim.scene.shapes.shape import Shape, TorchDistance
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


def circle_functions(real: Any) -> SimpleNamespace:
    """Device functions of the distance to a circle round local z: `surface`, and its Hessian applied to a vector.

    With the normal n = n_rho e_rho + n_z e_z, the Hessian is a a^T / distance + n_rho / rho t t^T: a is the direction in the
    plane of e_rho and e_z across n, t that round the axis.
    """
    vec3 = ti.types.vector(3, real)
    tiny = 1e-20

    @ti.func
    def surface(x, circle):
        """Distance to the circle of radius ``circle``, and its gradient."""
        rho = ti.sqrt(x[0] * x[0] + x[1] * x[1]) + tiny
        beyond = rho - circle
        length = ti.sqrt(beyond * beyond + x[2] * x[2]) + tiny
        share = beyond / (length * rho)
        return length, vec3(share * x[0], share * x[1], x[2] / length)

    @ti.func
    def hessian_product(x, normal, length, vector):
        """The Hessian at x times a vector, given what `surface` says there."""
        rho = ti.sqrt(x[0] * x[0] + x[1] * x[1]) + tiny
        out, round_axis = vec3(x[0] / rho, x[1] / rho, 0.0), vec3(-x[1] / rho, x[0] / rho, 0.0)
        n_rho = normal.dot(out)
        across = vec3(-normal[2] * out[0], -normal[2] * out[1], n_rho)
        return across.dot(vector) / length * across + n_rho / rho * round_axis.dot(vector) * round_axis

    return SimpleNamespace(surface=surface, hessian_product=hessian_product)


def ring_distance(points: Tensor, major_radius: Tensor | float, minor_radius: Tensor | float) -> tuple[Tensor, Tensor]:
    """Signed distance (...,) to a torus round z and its outward normal (..., 3), at points (..., 3) in the torus's frame."""
    rho = (points[..., :2].square().sum(-1) + 1e-30).sqrt()
    beyond, z = rho - major_radius, points[..., 2]
    length = (beyond.square() + z.square() + 1e-30).sqrt()
    share = beyond / (length * rho)
    normal = torch.cat([share[..., None] * points[..., :2], (z / length)[..., None]], dim=-1)
    return length - minor_radius, normal


@dataclass(frozen=True)
class Torus(Shape):
    """Tube of ``minor_radius`` about a circle of ``major_radius`` round local z (metres)."""

    major_radius: float
    minor_radius: float

    meets_grid = True

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

    @property
    def thickness(self) -> float:
        return 2.0 * self.minor_radius

    @property
    def torch_distance(self) -> TorchDistance:
        return partial(ring_distance, major_radius=self.major_radius, minor_radius=self.minor_radius)

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

    @property
    def grid_sizes(self) -> tuple[tuple[float, float, float], float, float]:
        return (0.0, 0.0, 0.0), self.major_radius, self.minor_radius

    def kernel_numbers(self) -> Any:
        return TorusNumbers.row(major_radius=self.major_radius, minor_radius=self.minor_radius)

    distance_kernel = staticmethod(torus_distance)
