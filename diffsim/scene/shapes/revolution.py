"""Shapes of revolution about local z: their distance is one in the plane of rho (distance from the axis) and z."""

from collections.abc import Callable
from typing import Any

import numpy as np

from diffsim.compiler import ti
from diffsim.scene.shapes.contact_balls import ContactPoints
from diffsim.scene.validation import check_count

MOST_WHEELS = 8  # between the rims, unless more are asked for


def revolved(real: Any, profile: Any) -> Any:
    """The kernels' signed distance (see `Shape.distance_kernel`), from one in the plane.

    Args:
        profile: device function (numbers, at, rho, z) -> phi, its derivatives by rho and z (a unit vector), and its second
            derivative across that vector.

    With n = (n_rho, n_z), the Hessian is bend a a^T + n_rho / rho t t^T: a is the direction in the plane across n, t that round
    the axis.
    """
    vec3, mat3 = ti.types.vector(3, real), ti.types.matrix(3, 3, real)
    tiny = 1e-30

    @ti.func
    def distance(numbers: ti.template(), at, y, second: ti.template()):  # type: ignore
        rho = ti.sqrt(y[0] * y[0] + y[1] * y[1] + ti.cast(tiny, real))
        out, tangent = vec3(y[0] / rho, y[1] / rho, 0.0), vec3(-y[1] / rho, y[0] / rho, 0.0)
        phi, nr, nz, bend = profile(numbers, at, rho, y[2])
        g = vec3(nr * out[0], nr * out[1], nz)
        across = vec3(-nz * out[0], -nz * out[1], nr)
        curve = nr / rho
        hessian = mat3(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        if ti.static(second):
            for i, j in ti.static(ti.ndrange(3, 3)):
                hessian[i, j] = bend * across[i] * across[j] + curve * tangent[i] * tangent[j]
        return phi, g, hessian

    return distance


def wheels(low: tuple[float, float], high: tuple[float, float], radius: float, count: int | None) -> ContactPoints:
    """Contact points of a core between two discs round local z, grown by ``radius``.

    Args:
        low, high: radius and z of the discs; a disc of radius 0 is a tip.
        count: about half are spokes of the rims, half wheels in between, which planes do not meet. None: eight spokes a rim,
            and wheels no farther apart than the radius, at most MOST_WHEELS.
    """
    length = float(np.hypot(high[0] - low[0], high[1] - low[1]))
    if count is None:
        spokes, between = 8, min(int(np.ceil(length / max(low[0], high[0], radius) - 1e-9)) - 1, MOST_WHEELS)
    else:
        check_count("contact_points", count, 1)
        spokes, between = max(count // 4, 3), count // 4
    points = ContactPoints.wheel(low[0], radius, z=low[1], spokes=spokes)
    if length == 0.0:
        return points
    points += ContactPoints.wheel(high[0], radius, z=high[1], spokes=spokes)
    for share in np.linspace(0.0, 1.0, between + 2)[1:-1]:
        r, z = low[0] + share * (high[0] - low[0]), low[1] + share * (high[1] - low[1])
        points += ContactPoints.wheel(r, radius, z=z, spokes=0, on_planes=False)
    return points


def revolved_mass_properties(
    pieces: list[Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]],
) -> tuple[float, np.ndarray, np.ndarray]:
    """Volume, centre of mass (3,) and inertia matrix (3, 3) about it, at 1 kg/m^3, of a solid of revolution.

    Args:
        pieces: the profile's smooth pieces from bottom to top, as functions of s in [0, 1] that give radius, z and dz/ds. By
            Gauss quadrature, exact to rounding for lines and arcs.
    """
    nodes, weights = np.polynomial.legendre.leggauss(24)
    s, weights = 0.5 * (nodes + 1.0), 0.5 * weights
    volume = first = second = fourth = 0.0
    for piece in pieces:
        r, z, slope = piece(s)
        disc = np.pi * r**2 * weights * slope  # of a slice
        volume += disc.sum()
        first += (disc * z).sum()
        second += (disc * z**2).sum()
        fourth += (disc * r**2).sum()
    center = first / volume
    across = fourth / 4.0 + second - volume * center**2
    return float(volume), np.array([0.0, 0.0, center]), np.diag([across, across, fourth / 2.0])
