"""Terrain: heights on a regular grid, smoothly interpolated.

The surface is z = h(u), h the cubic B-spline (C2) through the heights. The point of it closest to (x, z) minimises
|x - u|^2 / 2 + (z - h(u))^2 / 2 over u = (u_x, u_y). With the gap g = z - h, the slope h' (2) and the curvature h'' (2, 2)
there

    u - x - g h' = 0,    and the second derivative there is    H = B - g h'',    B = 1 + h' h'^T.

Newton's method starts at u = x; where H is not positive definite B stands for it, and a step that does not come closer is
shortened. With W = sqrt(1 + |h'|^2) the distance |y - p| is |g| W, its gradient the normal (-h', 1) / W, and its Hessian

    -T B^-1 h'' H^-1 T^T / W,

the columns of T (3, 2) being the tangents (e_i, h'_i).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import trimesh
from scipy.linalg import solve_banded

from diffsim.compiler import ti
from diffsim.errors import InputError
from diffsim.records import Record, field
from diffsim.scene.shapes.shape import Shape
from diffsim.scene.validation import check_length, numbers_of

ROUNDS = 40  # at most, of Newton's method; about five are usual
PICTURE_CELLS = 200  # along an edge of a picture, about


class HeightFieldNumbers(Record):
    """What the kernels read of a height field; its coefficients, row by row along x, follow."""

    nodes = field(2, "1", "along x and y")
    first = field(2, "m", "position of the first node")
    steps = field(2, "m", "from node to node along x and y")


def height_field_distance(real: Any) -> Any:
    """The kernels' signed distance; see `Shape.distance_kernel`."""
    vec2, vec3, mat3 = ti.types.vector(2, real), ti.types.vector(3, real), ti.types.matrix(3, 3, real)
    Numbers = HeightFieldNumbers
    close = 1e-13 if real == ti.f64 else 1e-5  # a last step, in cells

    @ti.func
    def weight(t, a):
        """Of node ``a`` of four: the cubic B-spline, its slope and curvature, at t in [0, 1] from the second."""
        r = 1.0 - t
        w = vec3(r * r * r / 6.0, -0.5 * r * r, r)
        if a == 1:
            w = vec3(((3.0 * t - 6.0) * t * t + 4.0) / 6.0, (1.5 * t - 2.0) * t, 3.0 * t - 2.0)
        elif a == 2:
            w = vec3(((3.0 * r - 6.0) * r * r + 4.0) / 6.0, -(1.5 * r - 2.0) * r, 3.0 * r - 2.0)
        elif a == 3:
            w = vec3(t * t * t / 6.0, 0.5 * t * t, t)
        return w

    @ti.func
    def pair(numbers: ti.template(), at):  # type: ignore
        return vec2(numbers[at], numbers[at + 1])

    @ti.func
    def place(numbers: ti.template(), at, x, axis: ti.template()):  # type: ignore
        """The second of the four nodes around x, and how far beyond it x lies, in cells."""
        count = numbers[at + Numbers.nodes + axis]
        cells = (x - numbers[at + Numbers.first + axis]) / numbers[at + Numbers.steps + axis]
        cells = ti.min(ti.max(cells, ti.cast(-3.0, real)), count + 2.0)
        node = ti.floor(cells)
        return ti.cast(node, ti.i32), cells - node

    @ti.func
    def height(numbers: ti.template(), at, u):  # type: ignore
        """h, its gradient, and its second derivatives xx, yy, xy."""
        counts = pair(numbers, at + Numbers.nodes)
        nx, ny = ti.cast(counts[0], ti.i32), ti.cast(counts[1], ti.i32)
        i, t_x = place(numbers, at, u[0], 0)
        j, t_y = place(numbers, at, u[1], 1)
        h, slope, bend = ti.cast(0.0, real), vec2(0.0, 0.0), vec3(0.0, 0.0, 0.0)
        for a in range(4):
            row = ti.min(ti.max(i + a - 1, 0), nx - 1)
            line = vec3(0.0, 0.0, 0.0)
            for b in range(4):
                column = ti.min(ti.max(j + b - 1, 0), ny - 1)
                line = line + numbers[at + Numbers.SIZE + row * ny + column] * weight(t_y, b)
            w = weight(t_x, a)
            h = h + w[0] * line[0]
            slope = slope + vec2(w[1] * line[0], w[0] * line[1])
            bend = bend + vec3(w[2] * line[0], w[0] * line[2], w[1] * line[1])
        steps = pair(numbers, at + Numbers.steps)
        dx, dy = steps[0], steps[1]
        return h, vec2(slope[0] / dx, slope[1] / dy), vec3(bend[0] / (dx * dx), bend[1] / (dy * dy), bend[2] / (dx * dy))

    @ti.func
    def distance(numbers: ti.template(), at, y, second: ti.template()):  # type: ignore
        x, z = vec2(y[0], y[1]), y[2]
        steps = pair(numbers, at + Numbers.steps)
        cell = ti.min(steps[0], steps[1])
        u, step = x, vec2(0.0, 0.0)
        h, slope, bend = ti.cast(0.0, real), vec2(0.0, 0.0), vec3(0.0, 0.0, 0.0)
        best, rounds = ti.cast(1e30, real), 0
        while rounds < ROUNDS:
            rounds += 1
            trial = u + step
            new_h, new_slope, new_bend = height(numbers, at, trial)
            gap, off = z - new_h, trial - x
            square = off.dot(off) + gap * gap
            if rounds == 1 or square <= best + 4.0 * close * best:
                u, h, slope, bend, best = trial, new_h, new_slope, new_bend, square
                G = off - gap * slope
                Hxx, Hyy = 1.0 + slope[0] * slope[0] - gap * bend[0], 1.0 + slope[1] * slope[1] - gap * bend[1]
                Hxy = slope[0] * slope[1] - gap * bend[2]
                if not (Hxx > 0.0 and Hxx * Hyy - Hxy * Hxy > 0.0):
                    Hxx, Hyy, Hxy = 1.0 + slope[0] * slope[0], 1.0 + slope[1] * slope[1], slope[0] * slope[1]
                determinant = Hxx * Hyy - Hxy * Hxy
                step = vec2(Hxy * G[1] - Hyy * G[0], Hxy * G[0] - Hxx * G[1]) / determinant
            else:
                step = 0.25 * step
            if step.dot(step) <= close * close * cell * cell:
                rounds = ROUNDS
        gap, W = z - h, ti.sqrt(1.0 + slope.dot(slope))
        hessian = mat3(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        if ti.static(second):
            Bxx, Byy, Bxy = 1.0 + slope[0] * slope[0], 1.0 + slope[1] * slope[1], slope[0] * slope[1]
            Hxx, Hyy, Hxy = Bxx - gap * bend[0], Byy - gap * bend[1], Bxy - gap * bend[2]
            det = Hxx * Hyy - Hxy * Hxy
            # h'' H^-1, then B^-1 of it; W^2 is the determinant of B
            pxx, pxy = (bend[0] * Hyy - bend[2] * Hxy) / det, (bend[2] * Hxx - bend[0] * Hxy) / det
            pyx, pyy = (bend[2] * Hyy - bend[1] * Hxy) / det, (bend[1] * Hxx - bend[2] * Hxy) / det
            scale = -1.0 / (W * W * W)
            sxx, syy = scale * (Byy * pxx - Bxy * pyx), scale * (Bxx * pyy - Bxy * pxy)
            sxy = scale * (Byy * pxy - Bxy * pyy)
            ax, ay = sxx * slope[0] + sxy * slope[1], sxy * slope[0] + syy * slope[1]
            hessian = mat3(sxx, sxy, ax, sxy, syy, ay, ax, ay, ax * slope[0] + ay * slope[1])
        phi = ti.sqrt(best)  # not g W: an error of u changes |y - p| in second order only
        return ti.select(gap < 0.0, -phi, phi), vec3(-slope[0] / W, -slope[1] / W, 1.0 / W), hessian

    return distance


@dataclass(frozen=True, eq=False)
class HeightField(Shape):
    """Everything below a smooth terrain, for geometry that stands still.

    Its surface is the bicubic spline (C2) through the heights; beyond the outermost ones it goes on level, at the height of the
    edge. The distance is that to a locally closest point of the surface, sought from the foot of the vertical: exact near the
    surface, within its least radius of curvature; farther away at least the true distance and at most the vertical one. The
    sign is right everywhere.

    Args:
        heights: (nx, ny), metres, nx and ny at least 2. Heights[i, j] stands at x = (i - (nx - 1) / 2) spacing_x, y likewise:
            the middle of the field is the origin of its frame.
        spacing: between heights, metres; one number, or one each along x and y.
    """

    heights: np.ndarray
    spacing: float | tuple[float, float]

    bounded = False

    def __post_init__(self) -> None:
        try:
            heights = np.array(self.heights, dtype=float)
        except (TypeError, ValueError):
            raise InputError(f"heights must be (nx, ny) finite numbers, got {self.heights!r}") from None
        given = f"shape {heights.shape}" if heights.ndim else repr(self.heights)
        if heights.ndim != 2 or min(heights.shape) < 2 or not np.isfinite(heights).all():
            raise InputError(f"heights must be (nx, ny) finite numbers, nx and ny at least 2, got {given}")
        heights.setflags(write=False)
        steps: Any = (self.spacing,) if np.ndim(self.spacing) == 0 else numbers_of(self.spacing)
        if len(steps) not in (1, 2):
            raise InputError(f"spacing must be one length or two, got {self.spacing!r}")
        for step in steps:
            check_length("spacing", step)
        object.__setattr__(self, "heights", heights)
        object.__setattr__(self, "spacing", (float(steps[0]), float(steps[-1])))

    def __repr__(self) -> str:
        return f"HeightField({self.heights.shape[0]} x {self.heights.shape[1]} heights, spacing={self.spacing})"

    @property
    def _steps(self) -> np.ndarray:
        return np.asarray(self.spacing)

    @property
    def _first(self) -> np.ndarray:
        """Position (2,) of the first height."""
        return -0.5 * (np.array(self.heights.shape) - 1) * self._steps

    @cached_property
    def coefficients(self) -> np.ndarray:
        """(nx, ny) coefficients of the spline, those at the edge repeated beyond it."""
        result = self.heights
        for _ in range(2):  # along x, then along y
            count = len(result)
            bands = np.zeros((3, count))
            bands[0, 1:], bands[1], bands[2, :-1] = 1.0 / 6.0, 2.0 / 3.0, 1.0 / 6.0
            bands[1, 0] = bands[1, -1] = 5.0 / 6.0
            result = solve_banded((1, 1), bands, result).T
        return np.ascontiguousarray(result)

    def evaluate(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Height (N,), its slope (N, 2) and its second derivatives (N, 2, 2) at places (N, 2)."""
        counts = np.array(self.heights.shape)
        cells = np.clip((places - self._first) / self._steps, -3.0, counts + 2.0)
        node = np.floor(cells)
        t = cells - node
        r = 1.0 - t
        value = np.stack([r**3 / 6, t**3 / 2 - t**2 + 2 / 3, r**3 / 2 - r**2 + 2 / 3, t**3 / 6], axis=-1)
        slope = np.stack([-(r**2) / 2, 1.5 * t**2 - 2 * t, 2 * r - 1.5 * r**2, t**2 / 2], axis=-1) / self._steps[:, None]
        bend = np.stack([r, 3 * t - 2, 3 * r - 2, t], axis=-1) / self._steps[:, None] ** 2
        nodes = np.clip(node.astype(int)[..., None] + np.arange(-1, 3), 0, (counts - 1)[:, None])
        around = self.coefficients[nodes[:, 0, :, None], nodes[:, 1, None, :]]

        def total(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            return np.einsum("nab,na,nb->n", around, x[:, 0], y[:, 1])

        mixed = total(slope, slope)
        curvature = np.stack([total(bend, value), mixed, mixed, total(value, bend)], axis=-1).reshape(-1, 2, 2)
        return total(value, value), np.stack([total(slope, value), total(value, slope)], axis=-1), curvature

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        points = np.asarray(points, dtype=float)
        flat = points.reshape(-1, 3)
        x, z = flat[:, :2], flat[:, 2]
        u, step, best = x.copy(), np.zeros_like(x), np.full(len(x), np.inf)
        h = np.zeros(len(x))
        for _ in range(ROUNDS):
            trial = u + step
            new_h, new_slope, new_bend = self.evaluate(trial)
            gap, off = z - new_h, trial - x
            square = (off**2).sum(axis=1) + gap**2
            closer = square <= best * (1.0 + 4e-13)
            u[closer], h[closer], best[closer] = trial[closer], new_h[closer], square[closer]
            B = np.eye(2) + new_slope[:, :, None] * new_slope[:, None, :]
            H = B - gap[:, None, None] * new_bend
            convex = (H[:, 0, 0] > 0.0) & (np.linalg.det(H) > 0.0)
            H = np.where(convex[:, None, None], H, B)
            newton = -np.linalg.solve(H, (off - gap[:, None] * new_slope)[..., None])[..., 0]
            step = np.where(closer[:, None], newton, 0.25 * step)
            if (np.abs(step) <= 1e-13 * self._steps.min()).all():
                break
        return np.copysign(np.sqrt(best), z - h).reshape(points.shape[:-1])

    def surface_mesh(self) -> trimesh.Trimesh:
        """The terrain between the outermost heights, for pictures: a sheet."""
        counts = np.array(self.heights.shape)
        fine = np.maximum(PICTURE_CELLS // (counts - 1), 1).clip(max=4)
        lines = [np.linspace(first, -first, (n - 1) * k + 1) for first, n, k in zip(self._first, counts, fine, strict=True)]
        places = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, 2)
        index = np.arange(len(places)).reshape(len(lines[0]), len(lines[1]))
        a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]))
        faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
        vertices = np.concatenate([places, self.evaluate(places)[0][:, None]], axis=1)
        return trimesh.Trimesh(vertices=vertices, faces=faces, process=False)

    @property
    def top(self) -> float:
        return float(self.coefficients.max())  # a B-spline stays below its coefficients

    def kernel_numbers(self) -> Any:
        row = HeightFieldNumbers.row(nodes=self.heights.shape, first=self._first, steps=self._steps)
        return np.concatenate([row, self.coefficients.ravel()])

    distance_kernel = staticmethod(height_field_distance)
