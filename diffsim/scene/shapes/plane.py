"""The half space below a plane."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import trimesh
from torch import Tensor

from diffsim.compiler import ti
from diffsim.scene.shapes.shape import Shape, TorchDistance

HALF_EDGE = 10.0  # of a plane's picture, metres


def plane_distance(real: Any) -> Any:
    """The kernels' signed distance; see `Shape.distance_kernel`."""
    vec3, mat3 = ti.types.vector(3, real), ti.types.matrix(3, 3, real)

    @ti.func
    def distance(numbers: ti.template(), at, y, second: ti.template()):  # type: ignore
        return y[2], vec3(0.0, 0.0, 1.0), mat3(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)

    return distance


def plane_height(points: Tensor) -> tuple[Tensor, Tensor]:
    """Height (...) of points (..., 3) over the plane, and its normal (..., 3)."""
    return points[..., 2], points.new_tensor((0.0, 0.0, 1.0)).expand_as(points)


@dataclass(frozen=True)
class Plane(Shape):
    """The half space z < 0, for geometry that stands still."""

    bounded = False

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        return np.array(np.asarray(points, dtype=float)[..., 2])

    def surface_mesh(self) -> trimesh.Trimesh:
        """A square for pictures: the plane itself has no end."""
        corners = [(x * HALF_EDGE, y * HALF_EDGE, 0.0) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        return trimesh.Trimesh(vertices=corners, faces=[(0, 1, 2), (0, 2, 3)], process=False)

    @property
    def top(self) -> float:
        return 0.0

    @property
    def torch_distance(self) -> TorchDistance:
        return plane_height

    def kernel_numbers(self) -> Any:
        return ()

    distance_kernel = staticmethod(plane_distance)
