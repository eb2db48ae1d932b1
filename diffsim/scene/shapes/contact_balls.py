"""What stands for a shape where it touches others: balls, of which some move within the shape to where it is deepest.

A ball that stands still is exact for corners, spheres and segments. A round shape would be a polygon of such balls, and a
polygon does not roll. So a wheel has a ball that moves on its rim, and an ellipsoid one that moves all over it, each to the
point that lies deepest against the normal n of the other surface, taken at a ``CENTER``: of the ellipsoid of semi-axes a round
the center, a circle among them, this is

    x(n) = -A n / h,     A = diag(a^2),     h = sqrt(n . A n),

exact where n is the same all over the contact: on planes and flat faces, and on what the center is nearest to across it. The
moving ball is only a place: velocities are those of the body's material there, so that a wheel rolls and does not slide.

The center of a ``roller`` slides along the shape's axis, to where that is nearest to the other surface, so that n is across the
axis there: s from the axis' middle, the zero of n_z + ``LEVEL`` s / half with n_z the normal's part along the axis and half the
axis' half length. The second term puts it in the middle where the axis is parallel to a flat face.

Where a wheel lies flat its deepest point may be anywhere. For h below ``FLAT`` times the longest semi-axis, 1 / h is replaced
by the parabola that continues it, so that the ball moves to the center, and ``SPOKE``s carry the wheel: balls on its rim that
stand still. They are out of the way while it rolls on its side: for s, the sine of the angle between n and the axis, a spoke is
shorter by the share ``retreat`` s^2, that of the sagitta of the polygon of all spokes, or for a torus, which has many, twice
that. The balls of a torus shrink where they leave its circle, so that they do not enter its hole: on spokes by ``shrinkage``
s^2, the moving one by ``shrinkage`` (1 - u^2) at the share u of the circle's radius.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# what a point does. A ball that stands still; points without a ball, where the other surface's normal is taken for those that
# follow: one that stands still, one in the middle of an axis, and one that slides along that to where it is nearest; a ball
# where an ellipsoid round that point is deepest; a ball on the rim of a wheel that may lie flat
BALL, CENTER, MIDDLE, SEEK, DEEPEST, SPOKE = range(6)
SEEKS = 16  # looks at the other surface in the search along an axis
FLAT = 2.0**-7  # radians: a wheel tilted by less lies on its spokes
LEVEL = 2.0**-5  # radians: an axis tilted by less against a flat face is nearest to it between its ends
NOTHING = -1e6  # m, radius of what is no ball: it touches nothing


@dataclass(frozen=True, eq=False)
class ContactPoints:
    """P points of a shape, in its frame, in metres. Make them by `balls`, `wheel` and `deepest`, and add them up.

    Attributes:
        positions: (P, 3) of the balls; of those that move, of their centers.
        radii: (P,) of the balls, which touch the surface from within.
        kinds: (P,) BALL, CENTER, MIDDLE, SEEK, DEEPEST or SPOKE. Points that move follow their center.
        extents: (P, 3): semi-axes of DEEPEST points, spokes from the center; of MIDDLE and SEEK half the axis; else zero.
        retreats: (P,) shares of spokes.
        shrinkages: (P,) of the balls of a torus, metres.
        on_planes: (P,) whether they meet planes. Of flat faces only the corners need to: the others never come first.
    """

    positions: np.ndarray
    radii: np.ndarray
    kinds: np.ndarray
    extents: np.ndarray
    retreats: np.ndarray
    shrinkages: np.ndarray
    on_planes: np.ndarray

    def __len__(self) -> int:
        return len(self.positions)

    def __add__(self, other: ContactPoints) -> ContactPoints:
        return ContactPoints(*(np.concatenate(pair) for pair in zip(self._columns, other._columns, strict=True)))

    @property
    def _columns(self) -> tuple[np.ndarray, ...]:
        return self.positions, self.radii, self.kinds, self.extents, self.retreats, self.shrinkages, self.on_planes

    @classmethod
    def balls(
        cls,
        positions: np.ndarray | Sequence[Sequence[float]],
        radii: np.ndarray | float = 0.0,
        on_planes: np.ndarray | bool = True,
    ) -> ContactPoints:
        """Balls that stand still. positions (P, 3), radii (P,) or one for all."""
        positions = np.asarray(positions, dtype=float).reshape(-1, 3)
        count = len(positions)
        radii, on_planes = np.broadcast_to(radii, count), np.broadcast_to(on_planes, count)
        return cls(
            positions, radii.astype(float), np.full(count, BALL), np.zeros((count, 3)), np.zeros(count), np.zeros(count),
            on_planes.astype(bool),
        )  # fmt: skip

    @classmethod
    def deepest(cls, semi_axes: Sequence[float]) -> ContactPoints:
        """A point that moves on an ellipsoid of these semi-axes along the shape's axes, with its center."""
        return cls(
            np.zeros((2, 3)), np.array([NOTHING, 0.0]), np.array([CENTER, DEEPEST]),
            np.array([(0.0, 0.0, 0.0), semi_axes], dtype=float), np.zeros(2), np.zeros(2), np.full(2, True),
        )  # fmt: skip

    @classmethod
    def wheel(
        cls,
        circle: float,
        radius: float = 0.0,
        *,
        z: float = 0.0,
        spokes: int = 8,
        hollow: bool = False,
        on_planes: bool = True,
    ) -> ContactPoints:
        """A ball of ``radius`` that moves on a circle round local z, and as many as ``spokes`` that stand still on it.

        Args:
            circle: the circle's radius; 0 makes one ball that stands still.
            z: of the circle.
            hollow: whether others may touch the circle from within.
        """
        if circle == 0.0:
            return cls.balls([(0.0, 0.0, z)], radius, on_planes)
        kinds = np.array([CENTER, DEEPEST, *[SPOKE] * spokes])
        angles = 2.0 * np.pi * np.arange(spokes) / max(spokes, 1)
        on_circle = np.stack([np.cos(angles), np.sin(angles), np.zeros(spokes)], axis=1)
        extents = circle * np.concatenate([[(0.0, 0.0, 0.0), (1.0, 1.0, 0.0)], on_circle])
        sagitta = 1.0 - np.cos(np.pi / max(spokes, 1))
        retreats = np.where(kinds == SPOKE, 2.0 * sagitta if hollow else sagitta, 0.0)
        shrinkages = float(hollow) * circle * np.where(kinds == DEEPEST, 1.0, retreats)
        radii = np.where(kinds == CENTER, NOTHING, radius)
        return cls(
            np.tile([0.0, 0.0, z], (len(kinds), 1)), radii, kinds, extents, retreats, shrinkages, np.full(len(kinds), on_planes)
        )

    @classmethod
    def roller(cls, circle: float, half_length: float, radius: float = 0.0) -> ContactPoints:
        """A ball of ``radius`` that moves on a circle round local z, and this along z to where that axis is nearest to the
        other surface: exact where the side of a cylinder meets what is round. Planes do not meet it."""
        kinds = np.array([MIDDLE, *[SEEK] * SEEKS, DEEPEST])
        radii = np.where(kinds == DEEPEST, radius, NOTHING)
        extents = np.where((kinds == DEEPEST)[:, None], (circle, circle, 0.0), (0.0, 0.0, half_length))
        none = np.zeros(len(kinds))
        return cls(np.zeros((len(kinds), 3)), radii, kinds, extents, none, none, np.zeros(len(kinds), dtype=bool))

    def chosen(self, mask: np.ndarray) -> ContactPoints:
        """Those of a mask (P,)."""
        return ContactPoints(*(column[mask] for column in self._columns))

    def placed(self, normal: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Centres (P, 3) and radii (P,) of the balls against a surface of this outward normal, the same all over it."""
        n = np.asarray(normal, dtype=float) / np.linalg.norm(normal)
        places, radii = self.positions.copy(), self.radii.copy()
        for i in np.flatnonzero(self.kinds == DEEPEST):
            square = self.extents[i] ** 2
            h, flat = np.sqrt(square @ n**2), FLAT * self.extents[i].max()
            inverse = 1.0 / h if h > flat else (1.5 - 0.5 * (h / flat) ** 2) / flat
            places[i] -= square * n * inverse
            radii[i] -= self.shrinkages[i] * (1.0 - (h * inverse) ** 2)
        spokes = self.kinds == SPOKE
        aslant = n[0] ** 2 + n[1] ** 2
        places[spokes] += (1.0 - self.retreats[spokes] * aslant)[:, None] * self.extents[spokes]
        radii[spokes] -= self.shrinkages[spokes] * aslant
        return places, radii
