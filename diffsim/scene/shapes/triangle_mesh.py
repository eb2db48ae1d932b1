"""Triangle meshes, from arrays or from a file. Contact uses their distance on a grid, which is baked once and cached."""

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from diffsim.compiler import ti
from diffsim.errors import InputError
from diffsim.records import Record, field
from diffsim.scene.meshes.closed_surface import closed_triangles, enclosed_volume, mass_integrals, open_edges
from diffsim.scene.meshes.inscribed_balls import covering_balls
from diffsim.scene.meshes.lattice_samples import Lattice, TooManyCrossings, nodes_inside
from diffsim.scene.meshes.mesh_distance import DistanceGrid, contains, distance_grid, signed_distance
from diffsim.scene.meshes.mesh_files import load_solid
from diffsim.scene.meshes.mesh_repair import FLAT, Mended, solid_mesh, why_no_solid
from diffsim.scene.meshes.mesh_units import doubtful_size
from diffsim.scene.shapes.contact_balls import ContactPoints
from diffsim.scene.shapes.shape import Shape
from diffsim.scene.validation import check_count, check_length, checked_name, file_path, is_number, numbers_of

logger = logging.getLogger(__name__)


class GridNumbers(Record):
    """What the kernels read of a `DistanceGrid`; its coefficients, in row-major order, follow."""

    nodes = field(3, "1", "along x, y and z")
    origin = field(3, "m", "position of the first node")
    spacing = field(1, "m", "from node to node")


def grid_distance(real: Any) -> Any:
    """The kernels' signed distance; see `Shape.distance_kernel`."""
    vec3, mat3 = ti.types.vector(3, real), ti.types.matrix(3, 3, real)

    @ti.func
    def spline(t, a, inverse):
        """Weight of node ``a`` of three, its slope and curvature, at t in [0.5, 1.5] from the first (quadratic B-spline)."""
        first, last = 1.5 - t, t - 0.5
        w = vec3(0.75 - (t - 1.0) * (t - 1.0), (2.0 - 2.0 * t) * inverse, -2.0 * inverse * inverse)
        if a == 0:
            w = vec3(0.5 * first * first, -first * inverse, inverse * inverse)
        elif a == 2:
            w = vec3(0.5 * last * last, last * inverse, inverse * inverse)
        return w

    @ti.func
    def shifted(w, axis, shift):
        """Weights for the derivative of everything along an axis."""
        result = w
        if axis == shift:
            result = vec3(w[1], w[2], 0.0)
        return result

    @ti.func
    def contract(grids: ti.template(), first, stride_x, stride_y, t, inverse, shift, second: ti.template()):  # type: ignore
        """Value, gradient and Hessian of the spline, or of its derivative along the axis ``shift``."""
        F, G = ti.cast(0.0, real), vec3(0.0, 0.0, 0.0)
        xx, yy, zz, yz, xz, xy = F, F, F, F, F, F
        for a in range(3):
            wx = shifted(spline(t[0], a, inverse), 0, shift)
            for b in range(3):
                wy = shifted(spline(t[1], b, inverse), 1, shift)
                line = vec3(0.0, 0.0, 0.0)
                for c in ti.static(range(3)):
                    line = line + grids[first + a * stride_x + b * stride_y + c] * shifted(spline(t[2], c, inverse), 2, shift)
                F = F + wx[0] * wy[0] * line[0]
                G = G + vec3(wx[1] * wy[0] * line[0], wx[0] * wy[1] * line[0], wx[0] * wy[0] * line[1])
                if ti.static(second):
                    xx, yy, zz = xx + wx[2] * wy[0] * line[0], yy + wx[0] * wy[2] * line[0], zz + wx[0] * wy[0] * line[2]
                    yz, xz, xy = yz + wx[0] * wy[1] * line[1], xz + wx[1] * wy[0] * line[1], xy + wx[1] * wy[1] * line[0]
        return F, G, mat3(xx, xy, xz, xy, yy, yz, xz, yz, zz)

    @ti.func
    def distance(numbers: ti.template(), at, y, second: ti.template()):  # type: ignore
        """The baked distance; beyond the grid, that to the surface point below the nearest point of the grid's box. The formula
        is that of `diffsim.scene.meshes.mesh_distance.DistanceGrid.evaluate`."""
        spacing = numbers[at + GridNumbers.spacing]
        counts = ti.Vector([0, 0, 0])
        for i in ti.static(range(3)):
            counts[i] = ti.cast(numbers[at + GridNumbers.nodes + i], ti.i32)
        stride_y = counts[2]
        stride_x = counts[1] * stride_y
        strides = ti.Vector([stride_x, stride_y, 1])
        t, beyond = vec3(0.0, 0.0, 0.0), vec3(0.0, 0.0, 0.0)
        first, outside = at + GridNumbers.SIZE, 0
        for i in ti.static(range(3)):
            count = counts[i]
            u = (y[i] - numbers[at + GridNumbers.origin + i]) / spacing
            inside = ti.min(ti.max(u, ti.cast(0.5, real)), ti.cast(count, real) - 1.5)
            node = ti.min(ti.cast(ti.floor(inside - 0.5), ti.i32), count - 3)
            t[i] = inside - ti.cast(node, real)
            beyond[i] = spacing * (u - inside)
            first += node * strides[i]
            outside += ti.cast(u != inside, ti.i32)
        F, G, hessian = contract(numbers, first, stride_x, stride_y, t, 1.0 / spacing, -1, second)
        if outside > 0:
            A, A1 = ti.cast(0.0, real), vec3(0.0, 0.0, 0.0)
            A2 = mat3(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
            for i in range(3):
                d = ti.select(i == 0, beyond[0], ti.select(i == 1, beyond[1], beyond[2]))
                if d != 0.0:
                    Fi, Gi, Hi = contract(numbers, first, stride_x, stride_y, t, 1.0 / spacing, i, second)
                    A, A1, A2 = A + d * Fi, A1 + d * Gi, A2 + d * Hi
            f = ti.sqrt(F * F + 2.0 * F * A + beyond.dot(beyond))
            slope = vec3(0.0, 0.0, 0.0)
            bend = mat3(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
            for i in ti.static(range(3)):
                slope[i] = (F * G[i] + ti.select(beyond[i] != 0.0, beyond[i], A * G[i] + F * A1[i])) / f
            if ti.static(second):
                for i, j in ti.static(ti.ndrange(3, 3)):
                    mixed = G[i] * G[j] + F * hessian[i, j]
                    if beyond[i] != 0.0 and beyond[j] != 0.0:
                        mixed = ti.cast(ti.static(1.0 if i == j else 0.0), real)
                    elif beyond[i] == 0.0 and beyond[j] == 0.0:
                        mixed = mixed + A * hessian[i, j] + G[i] * A1[j] + A1[i] * G[j] + F * A2[i, j]
                    bend[i, j] = (mixed - slope[i] * slope[j]) / f
            F, G, hessian = f, slope, bend
        return F, G, hessian

    return distance


def scale_factors(name: str, scale: float | Sequence[float]) -> np.ndarray:
    """(3,) factors of a mesh's coordinates, from a number or three.

    Raises:
        InputError: it is neither, or holds zero.
    """
    single = (scale,) if is_number(scale) else numbers_of(scale)
    factors = np.broadcast_to(np.asarray(single, dtype=float), 3) if len(single) in (1, 3) else np.zeros(3)
    if not np.isfinite(factors).all() or (factors == 0.0).any():
        raise InputError(f"mesh '{name}': scale must be one or three numbers other than zero, got {scale!r}")
    return factors


class TriangleMesh(Shape):
    """A triangle mesh, closed or not. `TriangleMesh.from_file` reads one.

    What can be mended is mended, and said in one warning: doubled triangles, cracks, small holes, normals that point inward,
    parts that overlap (`diffsim.scene.meshes.mesh_repair`). Inner surfaces whose normals point into their cavity make the body
    hollow. A mesh that stays open loads with a warning: its inside is where the winding number exceeds one half, and its
    volume, its mass and its particles are those with every hole closed by a fan.

    Args:
        vertices: (V, 3), metres after scaling.
        faces: (F, 3) indices of vertices.
        name: for messages.
        scale: of the vertices, a number or three; a negative one mirrors.

    Attributes:
        mended: what was done to the mesh, in words; empty for one that needed nothing.
        is_closed: whether it encloses its volume without a hole.

    Raises:
        InputError: an argument is wrong, or no triangle is left.
    """

    mesh: trimesh.Trimesh
    smaller = "size= or scale= in TriangleMesh.from_file (scale=1e-3 for a drawing in millimetres)"
    sampled = True

    def __init__(self, vertices: np.ndarray, faces: np.ndarray, name: str = "mesh", scale: float | Sequence[float] = 1.0):
        self.name = checked_name("TriangleMesh", name)
        self._take(solid_mesh(vertices, faces, name, scale_factors(name, scale)))

    def _take(self, solid: Mended) -> None:
        """Keeps a mended mesh, and warns of what was done to it and of holes that are left."""
        self.mesh, self.mended, self.is_closed = solid
        said = [", ".join(self.mended)] if self.mended else []
        if not self.is_closed:
            edges = open_edges(self.mesh)
            said.append(f"is not watertight: {edges} edges do not border two triangles; winding numbers tell its inside")
        if said:
            logger.warning("mesh '%s': %s", self.name, "; ".join(said))

    @classmethod
    def from_file(cls, path: str | Path, size: float | None = None, scale: float | Sequence[float] = 1.0) -> "TriangleMesh":
        """A closed mesh from a file, with the file's colours, for soft bodies and all else.

        Args:
            path: OBJ, STL, GLB, GLTF, PLY, OFF or DAE file. Nodes of a scene are placed as the file says; a DAE file's unit is
                applied.
            size: longest edge of the bounding box after scaling, in metres; ``None`` keeps the file's own scale.
            scale: of the file's coordinates, a number or three: 1e-3 for one drawn in millimetres; a negative one mirrors.

        The mesh is centred: the middle of its bounding box is the origin of its frame.

        Raises:
            InputError: the file is missing, of an unknown kind, unreadable, empty, or no solid even when mended: the message
                says why and what one can do.
        """
        path = file_path("mesh: path", path)
        if size is not None:
            check_length("size", size)
        shape = cls.__new__(cls)
        shape.name = Path(path).name
        shape._take(load_solid(path, size, scale_factors(shape.name, scale)))
        return shape

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {len(self.mesh.vertices)} vertices, {len(self.mesh.faces)} faces)"

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        return signed_distance(self.mesh, points, self.name)

    def contains(self, points: np.ndarray) -> np.ndarray:
        return contains(self.mesh, points, self.name)

    def volume_samples(self, count: int) -> np.ndarray:
        if 0.0 < self.volume <= FLAT * self.mesh.area * float(self.mesh.extents.max()):  # rounding
            raise InputError(f"mesh '{self.name}' {why_no_solid(self.mesh, self.is_closed) or 'encloses no volume'}")
        return super().volume_samples(count)

    def _lattice_points_inside(self, lattice: Lattice) -> np.ndarray:
        try:
            nodes = nodes_inside(closed_triangles(self.mesh), lattice)
        except TooManyCrossings as error:
            raise InputError(
                f"{self!r} is too thin to be filled with particles: its surface of {self.mesh.area:.3g} m^2 encloses "
                f"{self.volume:.3g} m^3; thicken it, or ask for fewer particles"
            ) from error
        return np.stack([axis[nodes[:, i]] for i, axis in enumerate(lattice)], axis=-1)

    def doubtful_size(self, mass: float) -> str | None:
        return doubtful_size(self.mesh.extents, mass)

    def surface_mesh(self) -> trimesh.Trimesh:
        return self.mesh

    @cached_property
    def volume(self) -> float:
        return float(self.mesh.volume) if self.is_closed else enclosed_volume(self.mesh)

    def mass_properties(self) -> tuple[float, np.ndarray, np.ndarray]:
        volume, center, inertia = mass_integrals(self.mesh)
        if not (volume > 0.0 and np.isfinite(inertia).all() and np.linalg.eigvalsh(inertia)[0] > 0.0):
            reason = why_no_solid(self.mesh, self.is_closed) or "has no mass distribution"
            raise InputError(f"mesh '{self.name}' encloses {volume:.3g} m^3, so it cannot be a body: it {reason}")
        return volume, center, inertia

    @cached_property
    def distance_grid(self) -> DistanceGrid:
        """The baked distance at the default resolution and padding (`diffsim.scene.meshes.mesh_distance.distance_grid`)."""
        return distance_grid(self.mesh, name=self.name)

    @cached_property
    def thickness(self) -> float:
        """From the baked distance: as exact as its spacing, and 0 of what is thinner than that."""
        return max(-2.0 * float(self.distance_grid.values.min()), 0.0)

    @property
    def is_sphere(self) -> bool:
        return len(self.contact_points()) == 1

    def contact_points(self, count: int | None = None) -> ContactPoints:
        """At most ``count`` balls (None: 64) that touch the surface from within, fewer where fewer cover all of it: one for a
        ball's mesh, corners without extent for a box's (`diffsim.scene.meshes.inscribed_balls`)."""
        count = 64 if count is None else count
        check_count("contact_points", count, 1)
        if count not in self._balls:
            self._balls[count] = ContactPoints.balls(*covering_balls(self.mesh, self.signed_distance, count))
        return self._balls[count]

    @cached_property
    def _balls(self) -> dict[int, ContactPoints]:
        return {}

    def kernel_numbers(self) -> Any:
        grid = self.distance_grid
        row = GridNumbers.row(nodes=grid.coefficients.shape, origin=grid.origin, spacing=grid.spacing)
        return np.concatenate([row, grid.coefficients.ravel()])

    distance_kernel = staticmethod(grid_distance)
