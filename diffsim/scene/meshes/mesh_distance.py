"""Triangle meshes as solids: signed distance, and distance grids with a C1 interpolant.

The grid's interpolant (`DistanceGrid.evaluate`) is the reference for the contact kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from types import ModuleType
from weakref import WeakKeyDictionary

import numpy as np
import trimesh
from scipy.ndimage import spline_filter

from diffsim.errors import InputError
from diffsim.scene.meshes.mesh_booleans import coarsened
from diffsim.scene.meshes.mesh_cache import cached

MAX_NODES = 2**26  # 256 MB of float32
MANY_FACES = 100_000  # a mesh of more is made coarser before its distance is baked
COARSE = 0.01  # by how much the coarser one may lie beside it, in cells
GUARD = 12  # nodes of extrapolation around a grid: the prefilter forgets its boundary by 0.17 per node


def _libigl() -> ModuleType | None:
    try:
        import igl
    except ImportError:
        return None
    return igl


class _Hierarchy:
    """The trees over a mesh's triangles in which libigl looks for the nearest one and for winding numbers."""

    def __init__(self, igl: ModuleType, mesh: trimesh.Trimesh):
        self._vertices = np.ascontiguousarray(mesh.vertices, dtype=float)
        self._faces = np.ascontiguousarray(mesh.faces, dtype=np.int64)
        self._boxes = igl.AABB()
        self._boxes.init(self._vertices, self._faces)
        if hasattr(igl, "FastWindingNumberBVH"):  # from 2.6.3; before, each call makes the tree anew
            windings = igl.FastWindingNumberBVH()
            windings.init(self._vertices, self._faces)
            self._winding_numbers = windings.winding_number
        else:
            self._winding_numbers = partial(igl.fast_winding_number, self._vertices, self._faces)
        self.bounds = mesh.bounds

    def distance(self, points: np.ndarray) -> np.ndarray:
        """To the nearest triangle, (N,)."""
        return np.sqrt(self._boxes.squared_distance(self._vertices, self._faces, points)[0])

    def inside(self, points: np.ndarray) -> np.ndarray:
        """Whether the winding number exceeds one half, bool (N,)."""
        inside = np.zeros(len(points), dtype=bool)
        near = ((points >= self.bounds[0]) & (points <= self.bounds[1])).all(axis=1)
        if near.any():
            inside[near] = np.abs(self._winding_numbers(points[near])) > 0.5
        return inside


_hierarchies: WeakKeyDictionary[trimesh.Trimesh, _Hierarchy] = WeakKeyDictionary()  # a changed mesh has another hash


def _hierarchy(mesh: trimesh.Trimesh) -> _Hierarchy | None:
    """Of a mesh, made at the first call; None without libigl."""
    igl = _libigl()
    if igl is None:
        return None
    known = _hierarchies.get(mesh)
    if known is None:
        known = _hierarchies[mesh] = _Hierarchy(igl, mesh)
    return known


def signed_distance(mesh: trimesh.Trimesh, points: np.ndarray, name: str = "mesh") -> np.ndarray:
    """Exact distance to the surface in metres, negative inside. points (N, 3) -> (N,).

    The inside is where the winding number exceeds one half, which holds for meshes with holes too. Shells that overlap
    count as one solid, but the distance within it is still that to the nearest triangle.

    Raises:
        InputError: libigl is not installed and the mesh is not watertight.
    """
    points = np.ascontiguousarray(points, dtype=float).reshape(-1, 3)
    if len(points) == 0:
        return np.zeros(0)
    hierarchy = _hierarchy(mesh)
    if hierarchy is None:
        if not mesh.is_watertight:
            raise InputError(
                f"mesh '{name}' is not watertight; its signed distance needs libigl: pip install diffsim-rpg[robots]"
            )
        return -trimesh.proximity.signed_distance(mesh, points)
    # not igl.signed_distance: it multiplies the distance by 1 - 2 |winding number|, wrong beside holes and in overlaps
    distance = hierarchy.distance(points)
    return np.where(hierarchy.inside(points), -distance, distance)


def contains(mesh: trimesh.Trimesh, points: np.ndarray, name: str = "mesh") -> np.ndarray:
    """Whether each of points (N, 3) lies inside, as of `signed_distance`, bool (N,)."""
    points = np.ascontiguousarray(points, dtype=float).reshape(-1, 3)
    hierarchy = _hierarchy(mesh)
    if hierarchy is None:
        return signed_distance(mesh, points, name) < 0.0
    return hierarchy.inside(points)


@dataclass(frozen=True, eq=False)
class DistanceGrid:
    """A signed distance sampled on a regular grid, with a C1 interpolant.

    Args:
        values: (nx, ny, nz) float32, metres, at the nodes origin + spacing (i, j, k); at least 3 nodes per axis.
        origin: (3,) position of node (0, 0, 0), metres.
        spacing: between nodes, metres.
    """

    values: np.ndarray
    origin: np.ndarray
    spacing: float

    @cached_property
    def coefficients(self) -> np.ndarray:
        """(nx, ny, nz) float32 coefficients of the quadratic B-spline that passes through ``values``."""
        guarded = self.values.astype(float)
        for axis, nodes in enumerate(self.values.shape):
            rest = GUARD
            while rest > 0:  # odd reflection continues the slope, where plain mirroring would make it zero
                width = min(rest, nodes - 1)
                pad = [(width, width) if other == axis else (0, 0) for other in range(3)]
                guarded = np.pad(guarded, pad, mode="reflect", reflect_type="odd")
                rest -= width
        guarded = spline_filter(guarded, order=2, mode="mirror")
        inner = tuple(slice(GUARD, GUARD + nodes) for nodes in self.values.shape)
        return np.ascontiguousarray(guarded[inner], dtype=np.float32)

    @property
    def lower(self) -> np.ndarray:
        """(3,) lower corner of the interpolant's box, half a cell inside the outermost nodes."""
        return self.origin + 0.5 * self.spacing

    @property
    def upper(self) -> np.ndarray:
        """(3,) upper corner of the interpolant's box."""
        return self.origin + (np.array(self.values.shape) - 1.5) * self.spacing

    def evaluate(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distance (N,), its gradient (N, 3) and its Hessian (N, 3, 3), exact derivatives of one another.

        Inside the box [lower, upper], per axis with u = (x - origin) / spacing and n nodes:

            b = min(floor(u - 1/2), n - 3),   t = u - b in [1/2, 3/2],   nodes b, b + 1, b + 2
            w   = ((3/2 - t)^2 / 2, 3/4 - (t - 1)^2, (t - 1/2)^2 / 2)
            w'  = (t - 3/2, 2 - 2 t, t - 1/2) / spacing
            w'' = (1, -2, 1) / spacing^2
            F = sum over the 27 nodes of coefficient w_x w_y w_z, its derivatives with w' and w'' in place of w.

        Outside, c is the point of the box nearest to x and d = x - c, nonzero along the axes S, zero along the others T.
        With F and its gradient G and Hessian H at c, and A(c) = sum over i in S of d_i G_i,

            f(x) = sqrt(F^2 + 2 F A + |d|^2)

        is the distance of x from the surface point c - F G that is nearest to c (|G| = 1). It continues F with the same
        slope across the box's faces. The gradient is

            g_k = (F G_k + d_k) / f  for k in S,      g_k = (F G_k + A G_k + F A_k) / f  for k in T

        and the Hessian (M - g g^T) / f with

            M_jk = G_j G_k + F H_jk + A H_jk + G_j A_k + G_k A_j + F A_jk    j, k in T
            M_jk = G_j G_k + F H_jk    one in S, one in T                   M_jk = 1 if j = k else 0    both in S

        where A_k = sum d_i H_ik and A_jk = sum d_i F_ijk: value, gradient and Hessian of d_i F_i are those of the sum above
        with (w', w'', 0) in place of (w, w', w'') along axis i.
        """
        points = np.asarray(points, dtype=float).reshape(-1, 3)
        nodes = np.array(self.values.shape)
        u = (points - self.origin) / self.spacing
        clamped = np.clip(u, 0.5, nodes - 1.5)
        base = np.minimum(np.floor(clamped - 0.5).astype(int), nodes - 3)
        t = clamped - base
        weights = np.empty((len(points), 3, 3, 3))  # (point, axis, derivative, node)
        weights[:, :, 0] = np.stack([0.5 * (1.5 - t) ** 2, 0.75 - (t - 1.0) ** 2, 0.5 * (t - 0.5) ** 2], axis=-1)
        weights[:, :, 1] = np.stack([t - 1.5, 2.0 - 2.0 * t, t - 0.5], axis=-1) / self.spacing
        weights[:, :, 2] = np.array([1.0, -2.0, 1.0]) / self.spacing**2
        three = np.arange(3)
        i, j, k = (base[:, axis, None] + three for axis in range(3))
        around = self.coefficients[i[:, :, None, None], j[:, None, :, None], k[:, None, None, :]].astype(float)
        value, gradient, hessian = _contract(around, weights)
        outside = (clamped != u).any(axis=1)
        if outside.any():
            beyond = (u - clamped)[outside] * self.spacing
            value[outside], gradient[outside], hessian[outside] = _continue(
                around[outside], weights[outside], value[outside], gradient[outside], hessian[outside], beyond
            )
        return value, gradient, hessian


def _contract(around: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value, gradient and Hessian of the spline with coefficients (N, 3, 3, 3) and weights (N, axis, derivative, node)."""

    def total(*orders: int) -> np.ndarray:
        x, y, z = (weights[:, axis, order] for axis, order in enumerate(orders))
        return np.einsum("nabc,na,nb,nc->n", around, x, y, z, optimize=True)

    gradient = np.stack([total(1, 0, 0), total(0, 1, 0), total(0, 0, 1)], axis=-1)
    xx, yy, zz = total(2, 0, 0), total(0, 2, 0), total(0, 0, 2)
    xy, xz, yz = total(1, 1, 0), total(1, 0, 1), total(0, 1, 1)
    hessian = np.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz], axis=-1).reshape(-1, 3, 3)
    return total(0, 0, 0), gradient, hessian


def _continue(
    around: np.ndarray, weights: np.ndarray, F: np.ndarray, G: np.ndarray, H: np.ndarray, d: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The continuation outside the box that `DistanceGrid.evaluate` describes; d (N, 3) is x - c."""
    A, A_k, A_jk = np.zeros_like(F), np.zeros_like(G), np.zeros_like(H)
    for axis in range(3):
        shifted = weights.copy()
        shifted[:, axis, :2] = weights[:, axis, 1:]
        shifted[:, axis, 2] = 0.0
        value, gradient, hessian = _contract(around, shifted)
        A += d[:, axis] * value
        A_k += d[:, axis, None] * gradient
        A_jk += d[:, axis, None, None] * hessian
    f = np.sqrt(np.maximum(F**2 + 2.0 * F * A + (d**2).sum(axis=1), 1e-24))
    S = d != 0.0
    g = (F[:, None] * G + np.where(S, d, A[:, None] * G + F[:, None] * A_k)) / f[:, None]
    F, A = F[:, None, None], A[:, None, None]
    mixed = G[:, :, None] * G[:, None, :] + F * H
    free = mixed + A * H + G[:, :, None] * A_k[:, None, :] + A_k[:, :, None] * G[:, None, :] + F * A_jk
    M = np.where(S[:, :, None] & S[:, None, :], np.eye(3), np.where(S[:, :, None] | S[:, None, :], mixed, free))
    return f, g, (M - g[:, :, None] * g[:, None, :]) / f[:, None, None]


def distance_grid(
    mesh: trimesh.Trimesh, resolution: int = 48, padding: float | None = None, name: str = "mesh"
) -> DistanceGrid:
    """Bakes the signed distance of a mesh, or reads it from the cache.

    A mesh of more than `MANY_FACES` triangles is made coarser first, within a hundredth of a cell.

    Args:
        resolution: cells along the longest edge of the mesh's bounding box, at least 4. Features thinner than about two
            cells are lost.
        padding: how far the interpolant's box reaches beyond the bounding box on every side, metres, at least one cell;
            None: an eighth of the longest edge. Farther out the distance is approximate (`DistanceGrid.evaluate`).
        name: for error messages.

    Raises:
        InputError: an argument is wrong, the grid would not fit into memory, or libigl is missing for an open mesh.
    """
    if not isinstance(resolution, int) or resolution < 4:
        raise InputError(f"mesh '{name}': resolution must be an integer >= 4, got {resolution!r}")
    lower, upper = mesh.bounds
    longest = float((upper - lower).max())
    spacing = longest / resolution
    if padding is None:
        padding = longest / 8.0 if resolution >= 8 else spacing
    if not (np.isfinite(padding) and padding >= spacing * (1.0 - 1e-9)):
        raise InputError(f"mesh '{name}': padding must be at least one cell ({spacing:g} m), got {padding!r}")
    # half a cell more than the padding on either side, since the interpolant's box ends half a cell inside the nodes
    nodes = np.ceil((upper - lower + 2.0 * padding) / spacing - 1e-9).astype(int) + 2
    if nodes.prod(dtype=float) > MAX_NODES:
        raise InputError(
            f"mesh '{name}': resolution {resolution} and padding {padding:g} m give a grid of {tuple(nodes.tolist())} nodes, "
            f"more than {MAX_NODES}; lower one of them"
        )
    origin = 0.5 * (lower + upper) - 0.5 * (nodes - 1) * spacing

    def bake() -> np.ndarray:
        axes = [origin[axis] + spacing * np.arange(nodes[axis]) for axis in range(3)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        surface = coarsened(mesh, COARSE * spacing) if len(mesh.faces) > MANY_FACES else mesh
        return signed_distance(surface, points, name).reshape(nodes).astype(np.float32)

    def fits(values: np.ndarray) -> bool:
        return values.shape == tuple(nodes.tolist()) and values.dtype == np.float32

    return DistanceGrid(cached("distance", mesh, f"{resolution} {padding!r}", bake, fits), origin, spacing)
