"""Volume, centre and moments of inertia of solid shapes of unit density."""

from __future__ import annotations

import math

import numpy as np

from diffsim.errors import InputError
from diffsim.scene.shapes import Cylinder, RoundedBox, Shape, Torus


def inertia_of(shape: Shape) -> tuple[float, np.ndarray, np.ndarray]:
    """Volume (m^3), centre (3,) in the shape's frame and the inertia matrix (3, 3) about it at 1 kg/m^3.

    Exact for spheres, capsules, boxes and cylinders with sharp edges, and tori; from the surface mesh for the others.

    Raises:
        InputError: a mesh encloses no volume, or is too open to have moments of inertia.
    """
    moments: tuple[float, float, float] | None = None
    volume = 0.0
    if isinstance(shape, RoundedBox):
        (a, b, c), r = shape.core, shape.radius
        if r == 0.0:
            volume = 8.0 * a * b * c
            moments = (volume * (b * b + c * c) / 3.0, volume * (a * a + c * c) / 3.0, volume * (a * a + b * b) / 3.0)
        elif a == 0.0 and b == 0.0:
            # two half balls and a cylinder of length 2 c; for c = 0 a ball
            ball, tube = 4.0 / 3.0 * math.pi * r**3, 2.0 * math.pi * r * r * c
            volume = ball + tube
            along = 0.4 * ball * r * r + 0.5 * tube * r * r
            across = ball * (0.4 * r * r + c * c + 0.75 * r * c) + tube * (r * r / 4.0 + c * c / 3.0)
            moments = (across, across, along)
    elif isinstance(shape, Cylinder) and shape.rounding == 0.0:
        volume = shape.volume
        across = volume * (shape.radius**2 / 4.0 + shape.half_length**2 / 3.0)
        moments = (across, across, volume * shape.radius**2 / 2.0)
    elif isinstance(shape, Torus):
        volume, R2, r2 = shape.volume, shape.major_radius**2, shape.minor_radius**2
        across = volume * (R2 / 2.0 + 5.0 / 8.0 * r2)
        moments = (across, across, volume * (R2 + 0.75 * r2))
    if moments is not None:
        return volume, np.zeros(3), np.diag(moments)
    volume = shape.volume
    mesh = shape.surface_mesh()
    inertia = np.asarray(mesh.moment_inertia, dtype=float)
    inertia = 0.5 * (inertia + inertia.T)
    if not (volume > 0.0 and np.isfinite(inertia).all() and np.linalg.eigvalsh(inertia)[0] > 0.0):
        raise InputError(
            f"{shape!r} is not closed enough to compute its mass distribution: volume {volume:.3g} m^3; close its mesh"
        )
    return volume, np.asarray(mesh.center_mass, dtype=float), inertia
