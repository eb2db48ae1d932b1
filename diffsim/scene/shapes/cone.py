"""Solid cones, whole or truncated, their edges sharp or rounded."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import trimesh

from diffsim.compiler import ti
from diffsim.errors import InputError
from diffsim.records import Record, field
from diffsim.scene.shapes.contact_balls import ContactPoints
from diffsim.scene.shapes.revolution import revolved, revolved_mass_properties, wheels
from diffsim.scene.shapes.shape import Shape
from diffsim.scene.validation import check_length, is_number


class ConeNumbers(Record):
    """What the kernels read of a cone: its core, which grows by the rounding, in the plane of rho and z."""

    low_radius = field(1, "m", "of the core at its bottom")
    low_z = field(1, "m", "of the core's bottom")
    high_radius = field(1, "m", "of the core at its top")
    high_z = field(1, "m", "of the core's top")
    normal_rho = field(1, "1", "of the side")
    normal_z = field(1, "1", "of the side")
    rounding = field(1, "m")


def cone_distance(real: Any) -> Any:
    """The kernels' signed distance; see `Shape.distance_kernel`.

    In the plane of rho and z the core is convex: inside, the distance is that to the nearest of bottom, top and side; outside,
    that to the face that the point lies over, or to the corner between two.
    """
    tiny = 1e-30

    @ti.func
    def profile(numbers: ti.template(), at, rho, z):  # type: ignore
        low_r, low_z = numbers[at + ConeNumbers.low_radius], numbers[at + ConeNumbers.low_z]
        high_r, high_z = numbers[at + ConeNumbers.high_radius], numbers[at + ConeNumbers.high_z]
        side_r, side_z = numbers[at + ConeNumbers.normal_rho], numbers[at + ConeNumbers.normal_z]
        below, above = low_z - z, z - high_z
        out = side_r * (rho - low_r) + side_z * (z - low_z)  # from the side
        up = side_r * (z - low_z) - side_z * (rho - low_r)  # along it
        length = side_r * (high_z - low_z) - side_z * (high_r - low_r)
        phi, nr, nz, bend = out, side_r, side_z, ti.cast(0.0, real)
        over_bottom, over_top = below > 0.0 and rho <= low_r, above > 0.0 and rho <= high_r
        over_side = out > 0.0 and up > 0.0 and up < length
        inside = out <= 0.0 and below <= 0.0 and above <= 0.0
        if over_bottom or (inside and below >= above and below >= out):
            phi, nr, nz = below, ti.cast(0.0, real), ti.cast(-1.0, real)
        elif over_top or (inside and above >= out):
            phi, nr, nz = above, ti.cast(0.0, real), ti.cast(1.0, real)
        elif not inside and not over_side:
            dr, dz = rho - low_r, z - low_z
            if up > 0.0:
                dr, dz = rho - high_r, z - high_z
            phi = ti.sqrt(dr * dr + dz * dz + ti.cast(tiny, real))
            nr, nz, bend = dr / phi, dz / phi, 1.0 / phi
        return phi - numbers[at + ConeNumbers.rounding], nr, nz, bend

    return revolved(real, profile)


@dataclass(frozen=True)
class Cone(Shape):
    """Cone about local z, from ``radius`` at z = -half_length to ``top_radius`` at z = half_length (metres).

    The origin is midway between base and top; the centre of mass of a whole cone is a quarter of its height above the base.

    Args:
        top_radius: 0 for a whole cone; at most ``radius``.
        rounding: radius of the edges and of the tip: the cone is what balls of this radius reach inside the sharp cone.
    """

    half_length: float
    radius: float
    top_radius: float = 0.0
    rounding: float = 0.0

    def __post_init__(self) -> None:
        check_length("half_length", self.half_length)
        check_length("radius", self.radius)
        if not is_number(self.top_radius) or not 0.0 <= self.top_radius <= self.radius:
            raise InputError(f"top_radius must lie between 0 and radius={self.radius}, got {self.top_radius!r}")
        most = min(self.half_length, self._normal[0] * self.radius / (1.0 + self._normal[1]))
        if not is_number(self.rounding) or not 0.0 <= self.rounding < most:
            raise InputError(f"rounding must be at least 0 and less than {most:g}, got {self.rounding!r}")

    @property
    def _normal(self) -> tuple[float, float]:
        """The side's unit normal, along rho and z."""
        length = float(np.hypot(2.0 * self.half_length, self.radius - self.top_radius))
        return 2.0 * self.half_length / length, (self.radius - self.top_radius) / length

    @property
    def _core(self) -> tuple[float, float, float, float]:
        """Radius and z at the bottom, radius and z at the top, of the cone that grows by ``rounding``."""
        normal_r, normal_z = self._normal
        side = normal_r * self.radius - normal_z * self.half_length - self.rounding  # its distance from the origin
        low, high = self.rounding - self.half_length, self.half_length - self.rounding
        top = (side - normal_z * high) / normal_r
        if self.rounding == 0.0:
            return self.radius, low, self.top_radius, high
        if top < 0.0:  # the side reaches the axis before
            top, high = 0.0, side / normal_z
        return (side - normal_z * low) / normal_r, low, top, high

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        points = np.asarray(points, dtype=float)
        rho, z = np.hypot(points[..., 0], points[..., 1]), points[..., 2]
        low_r, low_z, high_r, high_z = self._core
        side_r, side_z = self._normal
        deepest = np.maximum(side_r * (rho - low_r) + side_z * (z - low_z), np.maximum(low_z - z, z - high_z))
        corners = np.array([(0.0, low_z), (low_r, low_z), (high_r, high_z), (0.0, high_z)])
        away = np.full(rho.shape, np.inf)  # from the nearest of the three edges of the profile
        for start, end in pairwise(corners):
            along = end - start
            t = ((rho - start[0]) * along[0] + (z - start[1]) * along[1]) / max(along @ along, 1e-300)
            t = np.clip(t, 0.0, 1.0)
            away = np.minimum(away, np.hypot(rho - start[0] - t * along[0], z - start[1] - t * along[1]))
        return np.where(deepest > 0.0, away, deepest) - self.rounding

    def _profile(self) -> list[Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]]:
        """The arc at the base, the side, the arc at the top: radius, z and dz/ds at s in [0, 1]."""
        low_r, low_z, high_r, high_z = self._core
        r, (side_r, side_z) = self.rounding, self._normal

        def arc(middle_r: float, middle_z: float, start: float, end: float) -> Callable[[np.ndarray], Any]:
            def piece(s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
                angle = start + s * (end - start)
                return middle_r + r * np.cos(angle), middle_z + r * np.sin(angle), (end - start) * r * np.cos(angle)

            return piece

        def side(s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            rise = high_z - low_z
            return (
                low_r + r * side_r + s * (high_r - low_r), low_z + r * side_z + s * rise, np.full_like(s, rise)
            )  # fmt: skip

        turn = float(np.arctan2(side_z, side_r))
        if r == 0.0:
            return [side]
        return [arc(low_r, low_z, -0.5 * np.pi, turn), side, arc(high_r, high_z, turn, 0.5 * np.pi)]

    def surface_mesh(self) -> trimesh.Trimesh:
        _low_r, low_z, _high_r, high_z = self._core
        outline = [np.stack(piece(np.linspace(0.0, 1.0, 9))[:2], axis=1) for piece in self._profile()]
        ends = [[(0.0, low_z - self.rounding)], [(0.0, high_z + self.rounding)]]
        profile = np.concatenate([ends[0], *outline, ends[1]])
        keep = np.append(True, np.linalg.norm(np.diff(profile, axis=0), axis=1) > 1e-9 * self.radius)
        keep[-1] = True
        profile = profile[keep]
        if np.linalg.norm(profile[-1] - profile[-2]) <= 1e-9 * self.radius:
            profile = np.delete(profile, -2, axis=0)  # the end stands on the axis exactly
        return trimesh.creation.revolve(profile, sections=64)

    @property
    def volume(self) -> float:
        return revolved_mass_properties(self._profile())[0]

    def mass_properties(self) -> tuple[float, np.ndarray, np.ndarray]:
        return revolved_mass_properties(self._profile())

    @property
    def bounding_radius(self) -> float:
        low_r, low_z, high_r, high_z = self._core
        return float(max(np.hypot(low_r, low_z), np.hypot(high_r, high_z))) + self.rounding

    def contact_points(self, count: int | None = None) -> ContactPoints:
        """A wheel at the base and one at the top, or the tip; between them wheels without spokes, which planes do not meet.

        Args:
            count: about half of them are spokes. None: eight at a rim, and wheels a radius apart, at most 8.
        """
        low_r, low_z, high_r, high_z = self._core
        return wheels((low_r, low_z), (high_r, high_z), self.rounding, count)

    def kernel_numbers(self) -> Any:
        low_radius, low_z, high_radius, high_z = self._core
        normal_rho, normal_z = self._normal
        return ConeNumbers.row(
            low_radius=low_radius, low_z=low_z, high_radius=high_radius, high_z=high_z, normal_rho=normal_rho,
            normal_z=normal_z, rounding=self.rounding,
        )  # fmt: skip

    distance_kernel = staticmethod(cone_distance)
