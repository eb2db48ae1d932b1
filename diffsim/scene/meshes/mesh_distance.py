"""Triangle meshes as solids: repair, signed distance, and distance grids with a C1 interpolant.

The grid's interpolant (`DistanceGrid.evaluate`) is the reference for the contact kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from types import ModuleType

import numpy as np
import trimesh
from scipy.ndimage import spline_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from diffsim.errors import InputError
from diffsim.scene.meshes.mesh_cache import cached

MAX_NODES = 2**26  # 256 MB of float32
GUARD = 12  # nodes of extrapolation around a grid: the prefilter forgets its boundary by 0.17 per node


def _libigl() -> ModuleType | None:
    try:
        import igl
    except ImportError:
        return None
    return igl


def open_edges(mesh: trimesh.Trimesh) -> int:
    """Number of edges that do not border exactly two triangles."""
    counts = np.unique(np.sort(mesh.edges, axis=1), axis=0, return_counts=True)[1]
    return int((counts != 2).sum())


def solid_mesh(vertices: np.ndarray, faces: np.ndarray, name: str, scale: np.ndarray | float = 1.0) -> trimesh.Trimesh:
    """A mesh with shared vertices merged, degenerate triangles dropped and normals outward.

    Args:
        vertices: (V, 3), metres after scaling.
        faces: (F, 3) indices.
        name: for error messages.
        scale: (3,) factors of the vertices.

    Raises:
        InputError: the arrays have the wrong shape, hold non-finite numbers or indices out of range, or no triangle is left.
    """
    vertices, faces = np.asarray(vertices), np.asarray(faces)
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        raise InputError(f"mesh '{name}': vertices must be (V, 3) numbers, got shape {vertices.shape}")
    if faces.size and (faces.ndim != 2 or faces.shape[1] != 3 or not np.issubdtype(faces.dtype, np.integer)):
        raise InputError(f"mesh '{name}': faces must be (F, 3) integers, got shape {faces.shape} of {faces.dtype}")
    if not np.isfinite(vertices).all():
        raise InputError(f"mesh '{name}' has vertices that are not finite numbers")
    if faces.size == 0:
        raise InputError(f"mesh '{name}' is empty: it has no triangles")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise InputError(
            f"mesh '{name}': faces must index the {len(vertices)} vertices, got indices {faces.min()} to {faces.max()}"
        )
    mesh = trimesh.Trimesh(vertices=vertices * scale, faces=faces.astype(np.int64), process=True)
    f = mesh.faces
    mesh.update_faces((f[:, 0] != f[:, 1]) & (f[:, 1] != f[:, 2]) & (f[:, 2] != f[:, 0]))
    mesh.remove_unreferenced_vertices()
    if len(mesh.faces) == 0:
        raise InputError(f"mesh '{name}' is empty: its triangles are all degenerate")
    turn_outward(mesh)
    return mesh


def turn_outward(mesh: trimesh.Trimesh) -> None:
    """Makes the winding consistent and turns the normals outward, in place.

    Every closed component is turned by itself, except one that lies within another: that is taken for a cavity.
    """
    if not mesh.is_winding_consistent:
        trimesh.repair.fix_winding(mesh)
    if enclosed_volume(mesh) < 0.0:
        mesh.invert()
    labels = trimesh.graph.connected_component_labels(mesh.face_adjacency, node_count=len(mesh.faces))
    count = int(labels.max()) + 1
    if count == 1:
        return
    lower, upper = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
    np.minimum.at(lower, labels, mesh.triangles.min(axis=1))
    np.maximum.at(upper, labels, mesh.triangles.max(axis=1))
    corners = mesh.triangles - (0.5 * (lower + upper))[labels][:, None]
    volumes = np.bincount(labels, weights=np.linalg.det(corners), minlength=count) / 6.0
    paired = np.bincount(labels[mesh.face_adjacency].ravel(), minlength=count)
    closed = paired == 3 * np.bincount(labels, minlength=count)  # every edge of every triangle has its partner
    for component in np.flatnonzero(closed & (volumes < 0.0)):
        around = (lower < lower[component]).all(axis=1) & (upper > upper[component]).all(axis=1) & (volumes > 0.0)
        if not around.any():
            turned = labels == component
            mesh.faces = np.where(turned[:, None], mesh.faces[:, ::-1], mesh.faces)


def enclosed_volume(mesh: trimesh.Trimesh) -> float:
    """Signed volume in cubic metres; a fan about the middle of its rim closes each hole."""
    edges = mesh.edges
    sign = np.where(edges[:, 0] < edges[:, 1], 1, -1)
    pairs, index = np.unique(np.sort(edges, axis=1), axis=0, return_inverse=True)
    net = np.bincount(index.ravel(), weights=sign, minlength=len(pairs)).astype(int)
    triangles = mesh.triangles - mesh.vertices.mean(axis=0)
    volume = float(np.linalg.det(triangles).sum()) / 6.0
    rim = net != 0
    if rim.any():
        points = mesh.vertices - mesh.vertices.mean(axis=0)
        start, end = pairs[rim].T
        size = len(points)
        labels = connected_components(coo_array((np.ones(len(start)), (start, end)), shape=(size, size)), directed=False)[1]
        label, middle = labels[start], 0.5 * (points[start] + points[end])
        weight = np.maximum(np.bincount(label, minlength=size), 1)
        centre = np.stack([np.bincount(label, weights=middle[:, i], minlength=size) / weight for i in range(3)], axis=1)
        fan = np.stack([points[end], points[start], centre[label]], axis=1)
        volume += float((net[rim] * np.linalg.det(fan)).sum()) / 6.0
    return volume


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
    igl = _libigl()
    if igl is None:
        if not mesh.is_watertight:
            raise InputError(
                f"mesh '{name}' is not watertight; its signed distance needs libigl: pip install diffsim-rpg[robots]"
            )
        return -trimesh.proximity.signed_distance(mesh, points)
    vertices = np.ascontiguousarray(mesh.vertices, dtype=float)
    faces = np.ascontiguousarray(mesh.faces, dtype=np.int64)
    # not igl.signed_distance: it multiplies the distance by 1 - 2 |winding number|, wrong beside holes and in overlaps
    distance = np.sqrt(igl.point_mesh_squared_distance(points, vertices, faces)[0])
    inside = np.zeros(len(points), dtype=bool)
    near = ((points >= mesh.bounds[0]) & (points <= mesh.bounds[1])).all(axis=1)
    if near.any():
        inside[near] = np.abs(igl.fast_winding_number(vertices, faces, points[near])) > 0.5
    return np.where(inside, -distance, distance)


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
        return signed_distance(mesh, points, name).reshape(nodes).astype(np.float32)

    def fits(values: np.ndarray) -> bool:
        return values.shape == tuple(nodes.tolist()) and values.dtype == np.float32

    return DistanceGrid(cached("distance", mesh, f"{resolution} {padding!r}", bake, fits), origin, spacing)
