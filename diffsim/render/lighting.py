"""The light of a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffsim.errors import InputError
from diffsim.render.geometry import Color
from diffsim.scene.validation import number, rgb, vector

Vector3 = tuple[float, float, float]


@dataclass(frozen=True)
class Lighting:
    """A sun, whose shadows are sharp, and a sky all round, whose shadows are soft.

    Args:
        sun_direction: from the scene towards the sun, (x, y, z) with z > 0.
        sun, sky, bounce: linear light that the sun, the sky and the ground below throw on a white surface that faces them;
            1 makes it white.
        background: sRGB at the horizon.
        zenith: sRGB of the background straight up; ``None``: as at the horizon.
    """

    sun_direction: Vector3 = (-0.45, -0.5, 1.0)
    sun: Color = (0.98, 0.94, 0.86)
    sky: Color = (0.40, 0.43, 0.48)
    bounce: Color = (0.26, 0.25, 0.24)
    background: Color = (0.93, 0.94, 0.955)
    zenith: Color | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "sun_direction", vector("Lighting", "sun_direction", self.sun_direction))
        if self.sun_direction[2] <= 0.0:
            raise InputError(f"Lighting: sun_direction must be (x, y, z) with z > 0, got {self.sun_direction!r}")
        for name in ("sun", "sky", "bounce"):
            light = vector("Lighting", name, getattr(self, name))
            for value in light:
                number("Lighting", name, value, 0.0, 100.0)
            object.__setattr__(self, name, light)
        object.__setattr__(self, "background", rgb("Lighting", "background", self.background))
        if self.zenith is not None:
            object.__setattr__(self, "zenith", rgb("Lighting", "zenith", self.zenith))

    @property
    def to_sun(self) -> np.ndarray:
        """Unit direction to the sun, (3,)."""
        direction = np.asarray(self.sun_direction)
        return direction / np.linalg.norm(direction)


DAYLIGHT = Lighting()
