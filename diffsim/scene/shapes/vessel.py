"""Open vessels round local z: cups and bowls, whose wall is what lies within half its thickness of a smooth profile.

The profile begins on the axis with a flat floor of radius a, bends up on an arc of radius f by the angle A, and goes on as the
straight wall, of length l. In the plane of rho, the distance from the axis, and z from the floor's middle, the arc is round
(a, f) and ends at E = (a + f sin A, f - f cos A), where the wall begins along d = (cos A, sin A). The three join smoothly, so
the distance to the profile is the least of three, and that to the vessel is half the thickness less: exact inside and out, with
a round rim. On the profile itself, in the middle of the wall, the normal turns over: what is pressed in deeper comes out on
the other side.
"""

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
from diffsim.scene.validation import check_count, check_length, is_number

RINGS = 6  # of contact balls on a right angle of the bend
SPOKES = 8  # that a vessel stands on; twice as many at its rim


class VesselNumbers(Record):
    """What the kernels read of a vessel."""

    floor = field(1, "m", "radius a of the floor")
    bend = field(1, "m", "radius f of the arc")
    end_rho = field(1, "m", "of the end E of the arc")
    end_z = field(1, "m")
    direction_rho = field(1, "1", "of the wall, d")
    direction_z = field(1, "1")
    wall = field(1, "m", "length l of the wall")
    half_thickness = field(1, "m")
    middle = field(1, "m", "height of the frame's origin over the middle of the floor")


def vessel_distance(real: Any) -> Any:
    """The kernels' signed distance; see `Shape.distance_kernel`."""
    tiny = 1e-30

    @ti.func
    def to_segment(x, z, along_x, along_z, length):  # type: ignore
        """Of a point (x, z) from a segment's start: the distance to it, its gradient, and the second derivative across that."""
        s = x * along_x + z * along_z
        side = x * along_z - z * along_x
        sign = ti.select(side < 0.0, ti.cast(-1.0, real), ti.cast(1.0, real))
        away, nx, nz, bend = sign * side, sign * along_z, -sign * along_x, ti.cast(0.0, real)
        if s < 0.0 or s > length:
            beyond = ti.min(ti.max(s, ti.cast(0.0, real)), length)
            dx, dz = x - beyond * along_x, z - beyond * along_z
            away = ti.sqrt(dx * dx + dz * dz + ti.cast(tiny, real))
            nx, nz, bend = dx / away, dz / away, 1.0 / away
        return away, nx, nz, bend

    @ti.func
    def profile(numbers: ti.template(), at, rho, height):  # type: ignore
        z = height + numbers[at + VesselNumbers.middle]
        floor, f = numbers[at + VesselNumbers.floor], numbers[at + VesselNumbers.bend]
        cosine, sine = numbers[at + VesselNumbers.direction_rho], numbers[at + VesselNumbers.direction_z]
        one, zero = ti.cast(1.0, real), ti.cast(0.0, real)
        phi, nr, nz, bend = to_segment(rho, z, one, zero, floor)
        away, wr, wz, wall_bend = to_segment(
            rho - numbers[at + VesselNumbers.end_rho], z - numbers[at + VesselNumbers.end_z], cosine, sine,
            numbers[at + VesselNumbers.wall],
        )  # fmt: skip
        if away < phi:
            phi, nr, nz, bend = away, wr, wz, wall_bend
        x, y = rho - floor, z - f
        if x >= 0.0 and cosine * x + sine * y <= 0.0:  # within the angle of the arc
            r = ti.sqrt(x * x + y * y + ti.cast(tiny, real))
            sign = ti.select(r < f, -one, one)
            if sign * (r - f) < phi:
                phi, nr, nz, bend = sign * (r - f), sign * x / r, sign * y / r, sign / r
        return phi - numbers[at + VesselNumbers.half_thickness], nr, nz, bend

    return revolved(real, profile)


@dataclass(frozen=True)
class Vessel(Shape):
    """An open vessel about local z, of a wall of uniform thickness: `Cup` and `Bowl` make them. The origin is on the axis,
    halfway between its lowest and its highest point. Its contents touch the wall, not a filling: the inside is empty.

    Args:
        floor: radius of the flat floor, m, in the middle of the wall, as all that follow.
        bend: radius of the arc that bends up from the floor, m, more than half the thickness.
        angle: of the arc, rad: half a turn at most; pi / 2 makes an upright wall.
        wall: length of the straight wall beyond, m.
        wall_thickness: of floor and wall, m.

    Raises:
        InputError: a size is wrong, or the rim closes on the axis.
    """

    floor: float
    bend: float
    angle: float
    wall: float
    wall_thickness: float

    def __post_init__(self) -> None:
        check_length("wall_thickness", self.wall_thickness)
        for name in ("floor", "wall"):
            if not is_number(getattr(self, name)) or getattr(self, name) < 0.0:
                raise InputError(f"{name} must be a number >= 0, got {getattr(self, name)!r}")
        check_length("bend", self.bend)
        if not is_number(self.angle) or not 0.0 < self.angle < np.pi:
            raise InputError(f"angle must lie between 0 and pi, got {self.angle!r}")
        if not self.bend > 0.5 * self.wall_thickness:
            raise InputError(f"bend must exceed half the thickness, {0.5 * self.wall_thickness:g}, got {self.bend!r}")
        if not self._rim[0] > 0.5 * self.wall_thickness:
            raise InputError(f"{type(self).__name__}: the wall must not reach the axis, got {self!r}")

    @property
    def _direction(self) -> tuple[float, float]:
        """Of the wall, along rho and z."""
        return float(np.cos(self.angle)), float(np.sin(self.angle))

    @property
    def _end(self) -> tuple[float, float]:
        """Of the arc, rho and z from the floor's middle."""
        cosine, sine = self._direction
        return self.floor + self.bend * sine, self.bend * (1.0 - cosine)

    @property
    def _rim(self) -> tuple[float, float]:
        """The end of the wall, rho and z from the floor's middle."""
        (rho, z), (cosine, sine) = self._end, self._direction
        return rho + self.wall * cosine, z + self.wall * sine

    @property
    def _middle(self) -> float:
        """Height of the origin over the floor's middle."""
        return 0.5 * self._rim[1]

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        points = np.asarray(points, dtype=float)
        rho, z = np.hypot(points[..., 0], points[..., 1]), points[..., 2] + self._middle
        (cosine, sine), (end_rho, end_z) = self._direction, self._end
        away = np.hypot(rho - np.minimum(rho, self.floor), z)
        along = np.clip((rho - end_rho) * cosine + (z - end_z) * sine, 0.0, self.wall)
        away = np.minimum(away, np.hypot(rho - end_rho - along * cosine, z - end_z - along * sine))
        x, y = rho - self.floor, z - self.bend
        arc = (x >= 0.0) & (cosine * x + sine * y <= 0.0)
        return np.where(arc, np.minimum(away, np.abs(np.hypot(x, y) - self.bend)), away) - 0.5 * self.wall_thickness

    def surface_mesh(self) -> trimesh.Trimesh:
        h, (cosine, sine), (rim_rho, rim_z) = 0.5 * self.wall_thickness, self._direction, self._rim
        turns = np.linspace(0.0, self.angle, max(int(np.ceil(self.angle / np.radians(6.0))), 3) + 1)

        def along(side: float) -> np.ndarray:
            """The profile's outline on one side, from the axis to the rim."""
            r = self.bend + side * h
            arc = np.stack([self.floor + r * np.sin(turns), self.bend - r * np.cos(turns)], axis=1)
            return np.concatenate([[(0.0, -side * h)], arc, [(rim_rho + side * h * sine, rim_z - side * h * cosine)]])

        cap = np.linspace(-0.5 * np.pi, 0.5 * np.pi, 9)[1:-1, None]
        across = np.array([(sine, -cosine)])  # outward
        rim = np.array([(rim_rho, rim_z)]) + h * (np.cos(cap) * np.array([(cosine, sine)]) - np.sin(cap) * across)
        profile = np.concatenate([along(1.0), rim, along(-1.0)[::-1]])
        step = np.linalg.norm(np.diff(profile, axis=0), axis=1)
        keep = np.append(True, step > 1e-6 * self.bend)
        if not keep[-1]:
            keep[-1], keep[-2] = True, False  # the last stands on the axis
        mesh = trimesh.creation.revolve(profile[keep], sections=64)
        mesh.apply_translation((0.0, 0.0, -self._middle))
        return mesh

    def _quadrature(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points rho, z and areas of a Gauss quadrature of the profile, exact to rounding."""
        nodes, weights = np.polynomial.legendre.leggauss(24)
        nodes, weights = 0.5 * (nodes + 1.0), 0.5 * weights
        s, n = (grid.ravel() for grid in np.meshgrid(nodes, nodes, indexing="ij"))
        area = np.outer(weights, weights).ravel()
        h, (cosine, sine), (end_rho, end_z), (rim_rho, rim_z) = 0.5 * self.wall_thickness, self._direction, self._end, self._rim
        out = h * (2.0 * n - 1.0)
        turn, r = self.angle * s, self.bend + out
        rim_turn, rim_r = np.pi * (s - 0.5), h * n
        u, v = rim_r * np.cos(rim_turn), rim_r * np.sin(rim_turn)  # along the wall, and outward
        pieces = [
            (self.floor * s, -out, 2.0 * h * self.floor * area),
            (self.floor + r * np.sin(turn), self.bend - r * np.cos(turn), 2.0 * h * self.angle * r * area),
            (end_rho + self.wall * s * cosine + out * sine, end_z + self.wall * s * sine - out * cosine,
             2.0 * h * self.wall * area),
            (rim_rho + u * cosine + v * sine, rim_z + u * sine - v * cosine, np.pi * h * rim_r * area),
        ]  # fmt: skip
        rho, z, areas = (np.concatenate(each) for each in zip(*pieces, strict=True))
        return rho, z - self._middle, areas

    @property
    def thickness(self) -> float:
        return self.wall_thickness

    @property
    def volume(self) -> float:
        return self.mass_properties()[0]

    def mass_properties(self) -> tuple[float, np.ndarray, np.ndarray]:
        rho, z, areas = self._quadrature()
        rings = 2.0 * np.pi * rho * areas
        volume = float(rings.sum())
        center = float(rings @ z) / volume
        across = float(rings @ (0.5 * rho**2 + (z - center) ** 2))
        return volume, np.array([0.0, 0.0, center]), np.diag([across, across, float(rings @ rho**2)])

    @property
    def bounding_radius(self) -> float:
        return float(np.linalg.norm(self.surface_mesh().vertices, axis=1).max())

    def contact_points(self, count: int | None = None) -> ContactPoints:
        """Balls in the wall: one that moves on the rim, one on the floor's edge and those on rings of the bend and the wall;
        and on the rim and on the floor's edge some that stand still.

        Args:
            count: how many stand still, about two thirds on the rim. None: 24.
        """
        spokes = SPOKES if count is None else max(count // 3, 3)
        if count is not None:
            check_count("contact_points", count, 1)
        h, (rim_rho, rim_z), (end_rho, end_z) = 0.5 * self.wall_thickness, self._rim, self._end
        rings = [(self.floor, 0.0)]
        for turn in np.linspace(0.0, self.angle, int(np.ceil(RINGS * self.angle / (0.5 * np.pi))) + 1)[1:]:
            rings.append((self.floor + self.bend * float(np.sin(turn)), self.bend * (1.0 - float(np.cos(turn)))))
        between = min(int(np.ceil(self.wall / end_rho - 1e-9)), 4)
        for share in np.linspace(0.0, 1.0, between + 1)[1:-1]:
            rings.append((end_rho + float(share) * (rim_rho - end_rho), end_z + float(share) * (rim_z - end_z)))
        if self.wall == 0.0:
            rings.pop()
        points = ContactPoints.wheel(rim_rho, h, z=rim_z - self._middle, spokes=2 * spokes, hollow=True)
        for number, (rho, z) in enumerate(rings):
            points += ContactPoints.wheel(rho, h, z=z - self._middle, spokes=0 if number else spokes, hollow=True)
        return points

    def kernel_numbers(self) -> Any:
        (end_rho, end_z), (direction_rho, direction_z) = self._end, self._direction
        return VesselNumbers.row(
            floor=self.floor, bend=self.bend, end_rho=end_rho, end_z=end_z, direction_rho=direction_rho,
            direction_z=direction_z, wall=self.wall, half_thickness=0.5 * self.wall_thickness, middle=self._middle,
        )  # fmt: skip

    distance_kernel = staticmethod(vessel_distance)


class Cup(Vessel):
    """A cup: a flat floor and an upright wall with a round rim. The origin is in the middle of its height.

    Args:
        half_length: half its outer height, metres.
        radius: outer, metres.
        thickness: of floor and wall, metres.
        rounding: outer radius of the edge between floor and wall, metres; None: twice the thickness.

    Raises:
        InputError: a size is wrong, or there is no room inside.
    """

    def __init__(self, half_length: float, radius: float, thickness: float, rounding: float | None = None):
        for name, value in (("half_length", half_length), ("radius", radius), ("thickness", thickness)):
            check_length(name, value)
        edge = 2.0 * thickness if rounding is None else rounding
        most = min(radius, 2.0 * half_length - 0.5 * thickness)
        if not is_number(edge) or not thickness < edge <= most:
            raise InputError(
                f"Cup: rounding (twice the thickness unless given) must exceed thickness={thickness:g} and be at most {most:g}"
                f", got {edge!r}"
            )
        bend = edge - 0.5 * thickness
        super().__init__(radius - edge, bend, 0.5 * np.pi, 2.0 * half_length - thickness - bend, thickness)


class Bowl(Vessel):
    """A bowl: part of a hollow ball, with a round rim. The origin is on its axis in the middle of its height.

    Args:
        radius: outer, of the ball, metres.
        thickness: of the wall, metres.
        angle: from the bottom to the rim, seen from the ball's middle, rad; pi / 2 is half a ball.

    Raises:
        InputError: a size is wrong, or there is no room inside.
    """

    def __init__(self, radius: float, thickness: float, angle: float = 0.5 * np.pi):
        check_length("radius", radius)
        check_length("thickness", thickness)
        if not thickness < radius:
            raise InputError(f"Bowl: thickness must be less than radius={radius:g}, got {thickness!r}")
        super().__init__(0.0, radius - 0.5 * thickness, angle, 0.0, thickness)
