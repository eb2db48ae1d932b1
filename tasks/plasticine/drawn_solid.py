"""Boxes and balls filled with PlasticineLab's own random particles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import diffsim as ds

Place = tuple[float, float, float]


class DrawnSolid(ds.Compound):
    """Several boxes and balls, each with so many uniformly random particles, as PlasticineLab (Huang et al., ICLR 2021) draws
    them: by numpy's legacy generator, seeded 0 once, one solid after the other.

    Draws are in PlasticineLab's axes, whose second one is up; here the third one is: (x, y, z) of theirs is (x, z, y) of ours,
    a mirror image, in which their physics is the same.

    Args:
        solids: (box or sphere, position of its middle, number of particles) each.
    """

    def __init__(self, solids: Sequence[tuple[ds.Box | ds.Sphere, Place, int]]) -> None:
        super().__init__(tuple((shape, position) for shape, position, _count in solids))
        object.__setattr__(self, "counts", tuple(count for _shape, _position, count in solids))

    def volume_samples(self, count: int) -> np.ndarray:
        """The draws, (N, 3), m; their number does not depend on ``count``."""
        generator = np.random.RandomState(0)
        drawn = []
        for part, number in zip(self.parts, self.counts, strict=True):  # type: ignore[attr-defined]
            if isinstance(part.shape, ds.Sphere):
                direction = generator.normal(size=(number, 3))
                direction /= np.linalg.norm(direction, axis=1, keepdims=True)
                points = part.shape.radius * generator.random_sample((number, 1)) ** (1.0 / 3.0) * direction
                points = points[:, [0, 2, 1]]
            else:
                points = (2.0 * generator.random_sample((number, 3))[:, [0, 2, 1]] - 1.0) * np.asarray(part.shape.core)  # type: ignore[attr-defined]
            drawn.append(np.asarray(part.position) + points)
        return np.concatenate(drawn)
