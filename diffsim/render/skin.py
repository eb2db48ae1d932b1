"""Makes a body's original surface follow its particles."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from diffsim.errors import InputError

FLATTEST = 1e-3  # spread across a neighbourhood over spread along it, below which the neighbourhood counts as flat


class Skin:
    """Surface vertices as fixed combinations of particles: moving least squares with a linear basis.

    Each vertex v moves with the affine map that best fits the motion of its nearest particles from p_k to x_k, with weights w_k
    (sum 1) that fall with distance (Lancaster and Salkauskas 1981). With the mean m = sum w_k p_k and the spread
    S = sum w_k (p_k - m)(p_k - m)^T, the fit takes v to sum_k w_k (1 + (v - m)^T S^-1 (p_k - m)) x_k, so affine motions of the
    particles are reproduced exactly. The weights fade to zero at the edge of a neighbourhood, which makes the surface smooth. A
    flat (or straight) neighbourhood, whose S has no inverse, is enlarged until it is not flat; in a body that is flat as a
    whole, the vertices follow the particles' plane.

    Args:
        rest_vertices: (V, 3), metres.
        rest_particles: (N, 3), metres.
        neighbours: particles that a vertex follows.
    """

    def __init__(self, rest_vertices: np.ndarray, rest_particles: np.ndarray, neighbours: int = 24):
        vertices, particles = np.asarray(rest_vertices, dtype=float), np.asarray(rest_particles, dtype=float)
        for name, points in (("rest_vertices", vertices), ("rest_particles", particles)):
            if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
                raise InputError(f"Skin: {name} must have shape (count, 3), got {points.shape}")
        if neighbours < 4:
            raise InputError(f"Skin: neighbours must be at least 4, got {neighbours}")
        tree = cKDTree(particles)
        rows, columns, values = [], [], []
        remaining, count = np.arange(len(vertices)), min(neighbours, len(particles))
        while len(remaining):
            index, weights, flat = _fit(vertices[remaining], particles, tree, count)
            done = ~flat if count < len(particles) else np.ones(len(remaining), dtype=bool)
            rows.append(np.repeat(remaining[done], count))
            columns.append(index[done].ravel())
            values.append(weights[done].ravel())
            remaining, count = remaining[~done], min(2 * count, len(particles))
        self.matrix = csr_matrix(
            (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
            shape=(len(vertices), len(particles)),
        )

    def __call__(self, particles: np.ndarray) -> np.ndarray:
        """Vertices (V, 3) for particles (N, 3)."""
        return self.matrix @ np.asarray(particles, dtype=float)


def _fit(vertices: np.ndarray, particles: np.ndarray, tree: cKDTree, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neighbours (V, count), their weights (V, count), whose rows sum to 1, and whether each neighbourhood is flat (V,)."""
    asked = min(count + 1, len(particles))
    distance, index = tree.query(vertices, k=asked)
    distance, index = distance.reshape(len(vertices), asked), index.reshape(len(vertices), asked)
    # zero weight at the nearest particle left out, so weights change smoothly where the set of neighbours changes
    reach = distance[:, -1:] * (1.0 if asked > count else 1.1) + 1e-12
    distance, index = distance[:, :count], index[:, :count]
    near = np.maximum((1.0 - (distance / reach) ** 2) ** 2, 1e-6)
    near /= near.sum(axis=1, keepdims=True)
    middle = np.einsum("vk,vki->vi", near, particles[index])
    offsets = particles[index] - middle[:, None]
    spread = np.einsum("vk,vki,vkj->vij", near, offsets, offsets)
    size, axes = np.linalg.eigh(spread)
    used = size > FLATTEST * size[:, 2:] + 1e-30
    inverse = np.where(used, 1.0 / np.where(used, size, 1.0), 0.0)
    # (v - m)^T S^-1 (p_k - m) by the eigenvectors of S; along axes without spread nothing is extrapolated
    lever = np.einsum("vi,vij,vj,vkj->vk", vertices - middle, axes, inverse, offsets @ axes)
    return index, near * (1.0 + lever), np.logical_not(used.all(axis=1))
