"""Sphere, Capsule and Box: one family, a core box of half extents ``core`` grown by ``radius``.

The grid of the soft bodies knows only that family (`diffsim/soft/kernels/grid_contact.py`), so every primitive is exact there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
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
from diffsim.scene.shapes.shape import Shape, TorchDistance
from diffsim.scene.validation import check_count, check_length, is_number, vector

STOPPING_POINTS = 5  # between the ends of an edge, and as many each way on a face
SHARP_EDGE = 0.04  # radius of the contact balls of a sharp box, of its smallest half extent


def rounded_box_functions(real: Any) -> SimpleNamespace:
    """Device functions of the signed distance: `surface`, and its Hessian as a matrix or applied to a vector.

    With q_i = |x_i| - core_i and o_i = max(q_i, 0), outside the core phi = |o| - radius and the normal n is o / |o| with the
    signs of x; the Hessian is (1 - n n^T) / |o| over the axes with q_i > 0. Inside the core phi = max q_i - radius, which is
    linear.
    """
    vec3, mat3 = ti.types.vector(3, real), ti.types.matrix(3, 3, real)
    tiny = 1e-20

    @ti.func
    def surface(x, core):
        """Distance to the surface of the core, its gradient, and |o|: 0 inside the core."""
        beyond = vec3(ti.abs(x[0]) - core[0], ti.abs(x[1]) - core[1], ti.abs(x[2]) - core[2])
        side = vec3(ti.select(x[0] < 0.0, -1.0, 1.0), ti.select(x[1] < 0.0, -1.0, 1.0), ti.select(x[2] < 0.0, -1.0, 1.0))
        deepest = ti.max(beyond[0], ti.max(beyond[1], beyond[2]))
        phi, normal, length = deepest, vec3(0.0, 0.0, 0.0), ti.cast(0.0, real)
        if deepest > 0.0:
            zero = ti.cast(0.0, real)
            outside = vec3(ti.max(beyond[0], zero), ti.max(beyond[1], zero), ti.max(beyond[2], zero))
            length = ti.sqrt(outside.dot(outside))
            phi, normal = length, side * outside / length
        else:
            axis = 2
            if beyond[0] == deepest:
                axis = 0
            elif beyond[1] == deepest:
                axis = 1
            normal = vec3(
                ti.select(axis == 0, side[0], 0.0), ti.select(axis == 1, side[1], 0.0), ti.select(axis == 2, side[2], 0.0)
            )
        return phi, normal, length

    @ti.func
    def hessian(x, core, normal, length):
        """Hessian at x, given what `surface` says there."""
        result = mat3(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        if length > 0.0:
            beyond = vec3(0.0, 0.0, 0.0)
            for i in ti.static(range(3)):
                if ti.abs(x[i]) > core[i] or core[i] == 0.0:  # an axis without extent is outside even at 0
                    beyond[i] = 1.0
            for i, j in ti.static(ti.ndrange(3, 3)):
                result[i, j] = beyond[i] * beyond[j] * (ti.static(1.0 if i == j else 0.0) - normal[i] * normal[j]) / length
        return result

    @ti.func
    def hessian_product(x, core, normal, length, vector):
        """The Hessian at x times a vector, given what `surface` says there."""
        result = vec3(0.0, 0.0, 0.0)
        if length > tiny:
            along = normal.dot(vector)
            for i in ti.static(range(3)):
                if ti.abs(x[i]) >= core[i]:  # a point on the axis of a sphere or capsule counts
                    result[i] = (vector[i] - along * normal[i]) / length
        return result

    return SimpleNamespace(surface=surface, hessian=hessian, hessian_product=hessian_product)


class RoundedBoxNumbers(Record):
    """What the kernels read of a rounded box."""

    core = field(3, "m", "half extents of the core")
    radius = field(1, "m")


def rounded_box_kernel(real: Any) -> Any:
    """The kernels' signed distance; see `Shape.distance_kernel`."""
    vec3, mat3 = ti.types.vector(3, real), ti.types.matrix(3, 3, real)
    box = rounded_box_functions(real)

    @ti.func
    def distance(numbers: ti.template(), at, y, second: ti.template()):  # type: ignore
        core = vec3(0.0, 0.0, 0.0)
        for i in ti.static(range(3)):
            core[i] = numbers[at + RoundedBoxNumbers.core + i]
        phi, normal, length = box.surface(y, core)
        hessian = mat3(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        if ti.static(second):
            hessian = box.hessian(y, core, normal, length)
        return phi - numbers[at + RoundedBoxNumbers.radius], normal, hessian

    return distance


def rounded_box_distance(points: Tensor, core: Tensor | Sequence[float], radius: Tensor | float) -> tuple[Tensor, Tensor]:
    """Signed distance (...,) to a rounded box and its outward normal (..., 3), at points (..., 3) in the box's frame."""
    beyond = points.abs() - torch.as_tensor(core, dtype=points.dtype, device=points.device)
    outside = beyond.clamp_min(0.0)
    length = (outside.square().sum(-1) + 1e-30).sqrt()
    deepest, axis = beyond.max(-1)
    inside = deepest <= 0.0
    axis_normal = torch.zeros_like(points).scatter(-1, axis.unsqueeze(-1), 1.0)
    normal = torch.where(inside.unsqueeze(-1), axis_normal, outside / length.unsqueeze(-1))
    normal = torch.where(points < 0.0, -normal, normal)
    return torch.where(inside, deepest, length) - radius, normal


@dataclass(frozen=True)
class RoundedBox(Shape):
    """A box of half extents ``core`` grown by ``radius``: the common family of the primitives."""

    core: tuple[float, float, float]
    radius: float

    meets_grid = True

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        return rounded_box_distance(torch.tensor(np.asarray(points, dtype=float)), self.core, self.radius)[0].numpy()

    def surface_mesh(self) -> trimesh.Trimesh:
        core = np.asarray(self.core)
        if self.radius == 0.0:
            return trimesh.creation.box(extents=2.0 * core)
        # the Minkowski sum of the core box and a sphere is the convex hull of eight spheres
        ball = trimesh.creation.icosphere(subdivisions=3, radius=self.radius).vertices
        corners = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T * core
        return trimesh.Trimesh(vertices=(corners[:, None, :] + ball[None]).reshape(-1, 3), process=True).convex_hull

    def fine_mesh(self, faces: int) -> trimesh.Trimesh:
        """An even grid: the points of a box's surface, projected onto the rounded one. Where the edges are sharp (radius 0),
        neighbouring sides share no vertices."""
        core, radius = np.asarray(self.core), self.radius
        outer = core + radius
        area = 8.0 * (outer[0] * outer[1] + outer[1] * outer[2] + outer[2] * outer[0])
        edge = float(np.sqrt(2.0 * area / faces))
        lines = [_grid_line(float(core[axis]), radius, edge) for axis in range(3)]
        vertices, triangles, count = [], [], 0
        for axis in range(3):
            u, v = (axis + 1) % 3, (axis + 2) % 3
            for side in (-1.0, 1.0):
                grid = np.empty((len(lines[u]), len(lines[v]), 3))
                grid[..., axis] = side * outer[axis]
                grid[..., u], grid[..., v] = np.meshgrid(lines[u], lines[v], indexing="ij")
                index = count + np.arange(grid[..., 0].size).reshape(grid.shape[:2])
                a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]))
                quads = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
                triangles.append(quads if side > 0.0 else quads[:, ::-1])
                vertices.append(grid.reshape(-1, 3))
                count += len(vertices[-1])
        points = np.concatenate(vertices)
        if radius > 0.0:
            inner = np.clip(points, -core, core)
            away = points - inner
            points = inner + radius * away / np.linalg.norm(away, axis=1, keepdims=True)
        mesh = trimesh.Trimesh(points, np.concatenate(triangles), process=False)
        if radius > 0.0:
            mesh.merge_vertices()
        return mesh

    @property
    def bounding_radius(self) -> float:
        return float(np.linalg.norm(self.core)) + self.radius

    def mass_properties(self) -> tuple[float, np.ndarray, np.ndarray]:
        """Exact for spheres, capsules and sharp boxes; from the surface mesh for the others."""
        (a, b, c), r = self.core, self.radius
        if r == 0.0:
            volume = 8.0 * a * b * c
            moments = (volume * (b * b + c * c) / 3.0, volume * (a * a + c * c) / 3.0, volume * (a * a + b * b) / 3.0)
        elif a == 0.0 and b == 0.0:
            # two half balls and a cylinder of length 2 c; for c = 0 a ball
            ball, tube = 4.0 / 3.0 * np.pi * r**3, 2.0 * np.pi * r * r * c
            volume = ball + tube
            along = 0.4 * ball * r * r + 0.5 * tube * r * r
            across = ball * (0.4 * r * r + c * c + 0.75 * r * c) + tube * (r * r / 4.0 + c * c / 3.0)
            moments = (across, across, along)
        else:
            return super().mass_properties()
        return volume, np.zeros(3), np.diag(moments)

    @property
    def thickness(self) -> float:
        return 2.0 * (min(self.core) + self.radius)

    @property
    def is_sphere(self) -> bool:
        return self.core == (0.0, 0.0, 0.0)

    @property
    def torch_distance(self) -> TorchDistance:
        return partial(rounded_box_distance, core=self.core, radius=self.radius)

    def stopping_points(self) -> ContactPoints:
        """The corners of the core, exact for spheres and on flat surfaces, and points on its edges and faces, with its radius:
        on faces, as those of two boxes may have their edges in line."""
        lines = [np.linspace(-half, half, STOPPING_POINTS + 2) if half > 0.0 else np.zeros(1) for half in self.core]
        places = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, 3)
        ends = (np.abs(places) == np.asarray(self.core)).sum(axis=1)
        points = np.concatenate([places[ends == number] for number in (3, 2, 1)])
        return ContactPoints.balls(points, self.radius, on_planes=np.arange(len(points)) < (ends == 3).sum())

    def contact_points(self, count: int | None = None) -> ContactPoints:
        """The corners of the core and points between them on its edges, as many on each.

        A sharp box gets small balls inside its edges, touching the faces: a point right on an edge would meet a box of the same
        size whose sides are in line from aside.

        Args:
            count: None: one point between; for a capsule as many as make neighbours no farther apart than the radius.
        """
        radius = self.radius or SHARP_EDGE * min(self.core)
        core = np.asarray(self.core) + (self.radius - radius)
        axes = np.flatnonzero(core > 0.0)
        slender, corners, edges = len(axes) == 1, 2 ** len(axes), len(axes) * 2 ** max(len(axes) - 1, 0)
        if count is None:
            edge_points = int(np.ceil(2.0 * core[axes[0]] / radius - 1e-9)) - 1 if slender else 1
        else:
            check_count("contact_points", count, 1)
            edge_points = max(-((corners - count) // max(edges, 1)), 0)
        points = [np.array(list(product(*([-1.0, 1.0] if half > 0.0 else [0.0] for half in core))))]
        between = np.linspace(-1.0, 1.0, edge_points + 2)[1:-1]
        for axis in axes:
            ends = [between if i == axis else ([-1.0, 1.0] if core[i] > 0.0 else [0.0]) for i in range(3)]
            points.append(np.array(list(product(*ends))).reshape(-1, 3))
        balls = np.concatenate(points) * core
        return ContactPoints.balls(balls, radius, on_planes=(np.arange(len(balls)) < corners) | slender)

    @property
    def grid_sizes(self) -> tuple[tuple[float, float, float], float, float]:
        return self.core, 0.0, self.radius

    def kernel_numbers(self) -> Any:
        return RoundedBoxNumbers.row(core=self.core, radius=self.radius)

    distance_kernel = staticmethod(rounded_box_kernel)


def _grid_line(core: float, radius: float, edge: float) -> np.ndarray:
    """Coordinates along one axis: the rounded end, the flat middle, the rounded end."""
    round_steps = max(3, int(np.ceil(radius / edge))) if radius > 0.0 else 0
    flat_steps = max(1, int(np.ceil(2.0 * core / edge))) if core > 0.0 else 0
    # equal angles, so that a sphere's triangles come out even
    bend = radius * np.tan(np.linspace(0.0, np.pi / 4.0, round_steps + 1))
    flat = np.linspace(-core, core, flat_steps + 1) if flat_steps else np.zeros(1)
    return np.concatenate([-core - bend[:0:-1], flat, core + bend[1:]])


class Sphere(RoundedBox):
    """Sphere of ``radius`` metres."""

    def __init__(self, radius: float):
        check_length("radius", radius)
        super().__init__(core=(0.0, 0.0, 0.0), radius=float(radius))


class Capsule(RoundedBox):
    """Segment of ``half_length`` along local z, grown by ``radius`` (metres)."""

    def __init__(self, half_length: float, radius: float):
        check_length("half_length", half_length)
        check_length("radius", radius)
        super().__init__(core=(0.0, 0.0, float(half_length)), radius=float(radius))


class Box(RoundedBox):
    """Box of outer ``half_extents`` (metres), its edges rounded by ``rounding``."""

    def __init__(self, half_extents: tuple[float, float, float], rounding: float = 0.0):
        extents = vector("Box", "half_extents", half_extents)
        for extent in extents:
            check_length("half_extents", extent)
        if not is_number(rounding) or not 0.0 <= rounding <= min(extents):
            raise InputError(f"rounding must lie between 0 and the smallest half extent {min(extents)}, got {rounding!r}")
        core = tuple(extent - rounding for extent in extents)
        super().__init__(core=core, radius=float(rounding))  # type: ignore[arg-type]
