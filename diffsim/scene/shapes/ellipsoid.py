"""Ellipsoids, with the exact distance to the closest point of the surface.

The point p of the surface closest to y is y - t A^-2 p for some t, with A the semi-axes (a_1, a_2, a_3): p_i = a_i^2 y_i /
(a_i^2 + t). With s = t + m^2 > 0, m the least semi-axis, d_i = a_i^2 - m^2 and q_i = p_i / a_i = a_i y_i / (s + d_i), it is on
the surface where N(s) = |q| = 1. 1 / N is concave in s, so Newton's method for 1 / N = 1,

    s <- s + (N - 1) N^2 / sum q_i^2 / (s + d_i),

climbs to the root from below: it starts at s = max_i (a_i |y_i| - d_i), where one q_i is 1 and the others are at most 1. (The
equation: Eberly 2013, "Distance from a point to an ellipse, an ellipsoid, or a hyperellipsoid"; the iteration: More and
Sorensen 1983.)

With w = A^-2 p, b_i = 1 / (a_i^2 + t), v_i = b_i w_i and E = sum a_i^2 b_i w_i^2, the distance is t |w|, its gradient w / |w|
and its Hessian

    (diag b - (w v^T + v w^T) / E + t v v^T / E + (w . v) w w^T / (|w|^2 E)) / |w|.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import trimesh

from diffsim.compiler import ti
from diffsim.records import Record, field
from diffsim.scene.meshes.inscribed_balls import inscribed_radii
from diffsim.scene.shapes.contact_balls import ContactPoints
from diffsim.scene.shapes.shape import Shape
from diffsim.scene.validation import check_count, check_length, vector

ROUNDS = 40  # at most, of Newton's method; fewer than ten are usual
TINY = 1e-12  # coordinates count as at least so many least semi-axes: the closest point to the middle is on one side of it


class EllipsoidNumbers(Record):
    """What the kernels read of an ellipsoid."""

    semi_axes = field(3, "m")


def ellipsoid_distance(real: Any) -> Any:
    """The kernels' signed distance; see `Shape.distance_kernel`."""
    vec3, mat3 = ti.types.vector(3, real), ti.types.matrix(3, 3, real)
    close = 1e-15 if real == ti.f64 else 3e-7

    @ti.func
    def distance(numbers: ti.template(), at, y, second: ti.template()):  # type: ignore
        a = vec3(0.0, 0.0, 0.0)
        for i in ti.static(range(3)):
            a[i] = numbers[at + EllipsoidNumbers.semi_axes + i]
        least = ti.min(a[0], ti.min(a[1], a[2]))
        floor = ti.cast(TINY, real) * least
        x = vec3(ti.max(ti.abs(y[0]), floor), ti.max(ti.abs(y[1]), floor), ti.max(ti.abs(y[2]), floor))
        side = vec3(ti.select(y[0] < 0.0, -1.0, 1.0), ti.select(y[1] < 0.0, -1.0, 1.0), ti.select(y[2] < 0.0, -1.0, 1.0))
        d = a * a - least * least
        s = ti.max(a[0] * x[0] - d[0], ti.max(a[1] * x[1] - d[1], a[2] * x[2] - d[2]))
        q = a * x / (s + d)
        rounds = 0
        while rounds < ROUNDS:
            length = ti.sqrt(q.dot(q))
            s = s + ti.max(length - 1.0, ti.cast(0.0, real)) * length * length / (q * q / (s + d)).sum()
            q = a * x / (s + d)
            rounds += 1
            if length - 1.0 <= close:
                rounds = ROUNDS
        t, w, b = s - least * least, side * q / a, 1.0 / (s + d)
        steep = ti.sqrt(w.dot(w))
        hessian = mat3(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        if ti.static(second):
            v = b * w
            E = (a * a * b * w * w).sum()
            along = w.dot(v) / (steep * steep)
            for i, j in ti.static(ti.ndrange(3, 3)):
                bend = t * v[i] * v[j] + along * w[i] * w[j] - w[i] * v[j] - v[i] * w[j]
                hessian[i, j] = (ti.static(1.0 if i == j else 0.0) * b[i] + bend / E) / steep
        return t * steep, w / steep, hessian

    return distance


@dataclass(frozen=True)
class Ellipsoid(Shape):
    """Ellipsoid of semi-axes (3,) along local x, y and z (metres)."""

    semi_axes: tuple[float, float, float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "semi_axes", vector("Ellipsoid", "semi_axes", self.semi_axes))
        for length in self.semi_axes:
            check_length("semi_axes", length)

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        points, a = np.asarray(points, dtype=float), np.asarray(self.semi_axes)
        least = a.min()
        x, d = np.maximum(np.abs(points), TINY * least), a**2 - least**2
        s = (a * x - d).max(axis=-1, keepdims=True)
        for _ in range(ROUNDS):
            q = a * x / (s + d)
            length = np.linalg.norm(q, axis=-1, keepdims=True)
            s = s + np.maximum(length - 1.0, 0.0) * length**2 / (q**2 / (s + d)).sum(axis=-1, keepdims=True)
        q = a * x / (s + d)
        return (s[..., 0] - least**2) * np.linalg.norm(q / a, axis=-1)

    def surface_mesh(self) -> trimesh.Trimesh:
        mesh = trimesh.creation.icosphere(subdivisions=4)
        return trimesh.Trimesh(vertices=mesh.vertices * self.semi_axes, faces=mesh.faces, process=False)

    @property
    def volume(self) -> float:
        return float(4.0 / 3.0 * np.pi * np.prod(self.semi_axes))

    @property
    def bounding_radius(self) -> float:
        return max(self.semi_axes)

    def mass_properties(self) -> tuple[float, np.ndarray, np.ndarray]:
        a, b, c = self.semi_axes
        return self.volume, np.zeros(3), self.volume / 5.0 * np.diag((b * b + c * c, a * a + c * c, a * a + b * b))

    @property
    def is_sphere(self) -> bool:
        return len(set(self.semi_axes)) == 1

    def contact_points(self, count: int | None = None) -> ContactPoints:
        """A point that moves to where the ellipsoid is deepest, exact on planes and flat faces; and, for other surfaces, the
        largest balls within that touch the surface at ``count`` points spread over it (None: 162) and at the ends of the
        axes."""
        if self.is_sphere:
            return ContactPoints.balls([(0.0, 0.0, 0.0)], self.semi_axes[0])
        count = 162 if count is None else count
        check_count("contact_points", count, 1)
        a = np.asarray(self.semi_axes)
        # Fibonacci's lattice on the sphere
        turns, height = np.arange(count) * (3.0 - np.sqrt(5.0)) * np.pi, 1.0 - (2.0 * np.arange(count) + 1.0) / count
        level = np.sqrt(1.0 - height**2)
        directions = np.stack([level * np.cos(turns), level * np.sin(turns), height], axis=1)
        directions = np.concatenate([np.eye(3), -np.eye(3), directions])
        normals = directions / a
        normals = normals / np.linalg.norm(normals, axis=1, keepdims=True)
        radii = inscribed_radii(self.signed_distance, a * directions, normals, float(a.min()))
        return ContactPoints.deepest(self.semi_axes) + ContactPoints.balls(
            a * directions - radii[:, None] * normals, radii, on_planes=False
        )

    def kernel_numbers(self) -> Any:
        return EllipsoidNumbers.row(semi_axes=self.semi_axes)

    distance_kernel = staticmethod(ellipsoid_distance)
