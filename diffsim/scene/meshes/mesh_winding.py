"""Which way triangles are wound: the same way over each patch of a surface, and outward."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import trimesh
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from diffsim.scene.meshes.closed_surface import enclosed_volume, net_edges

MOST_PATCHES = 500  # that are turned one by one, each with a ray against all triangles
ASKEW = np.array([0.4395064455, 0.617598629942, 0.652231566745])  # a direction that no edge of a drawing has


class Neighbours:
    """Pairs of triangles over edges that just two of them share, and the patches that hang together by such edges."""

    def __init__(self, faces: np.ndarray):
        edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
        upward = edges[:, 0] < edges[:, 1]
        owner = np.repeat(np.arange(len(faces)), 3)
        keys = np.sort(edges, axis=1) @ np.array([int(faces.max()) + 1, 1])
        order = np.argsort(keys)
        keys, upward, owner = keys[order], upward[order], owner[order]
        starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
        lengths = np.diff(np.append(starts, len(keys)))
        first = starts[lengths == 2]
        self.pairs = np.stack([owner[first], owner[first + 1]], axis=1)  # (P, 2)
        self.agree = upward[first] != upward[first + 1]  # (P,) whether both are wound the same way
        self.labels = connected_components(
            coo_array((np.ones(len(first)), self.pairs.T), shape=(len(faces), len(faces))), directed=False
        )[1]  # (F,) patch of each triangle

    def made_to_agree(self, faces: np.ndarray) -> tuple[np.ndarray, bool]:
        """The faces, each patch wound as its first triangle is, and whether each can be (a Moebius strip cannot)."""
        if self.agree.all():
            return faces, True
        size = len(faces)
        # each triangle is there twice, as it is and turned; the copies that agree hang together
        a, b = self.pairs.T
        turned = np.where(self.agree, b, b + size)
        unturned = np.where(self.agree, b + size, b)
        links = np.concatenate([np.stack([a, turned]), np.stack([a + size, unturned])], axis=1)
        graph = coo_array((np.ones(links.shape[1]), links), shape=(2 * size, 2 * size))
        copies = connected_components(graph, directed=False)[1]
        kept, reversed_ = copies[:size], copies[size:]
        return np.where((kept > reversed_)[:, None], faces[:, ::-1], faces), bool((kept != reversed_).all())


def solid_patches(mesh: trimesh.Trimesh, labels: np.ndarray) -> np.ndarray:
    """Patches (F,) that also hang together over edges of four triangles and more, where solids touch: of the triangles around
    such an edge, those two belong together that have a wedge of solid between them.

    Args:
        mesh: wound consistently, normals outward.
        labels: (F,) the patches over edges of two triangles.
    """
    faces, vertices = np.asarray(mesh.faces), np.asarray(mesh.vertices, dtype=float)
    edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    owner, third = np.repeat(np.arange(len(faces)), 3), faces[:, [2, 0, 1]].reshape(-1)
    pairs, counts, net = net_edges(faces)
    pairs = pairs[(counts > 2) & (net == 0)]
    if len(pairs) == 0:
        return labels
    base = int(faces.max()) + 1
    wanted = pairs @ np.array([base, 1])
    keys = np.sort(edges, axis=1) @ np.array([base, 1])
    around = np.isin(keys, wanted)
    keys, edges, owner, third = keys[around], edges[around], owner[around], third[around]
    upward = edges[:, 0] < edges[:, 1]
    start, end = vertices[edges.min(axis=1)], vertices[edges.max(axis=1)]
    axis = (end - start) / np.maximum(np.linalg.norm(end - start, axis=1), 1e-300)[:, None]
    first = np.eye(3)[np.argmin(np.abs(axis), axis=1)]
    first = np.cross(axis, first)
    aside = vertices[third] - start
    angle = np.arctan2((aside * np.cross(axis, first)).sum(axis=1), (aside * first).sum(axis=1))
    # upward triangles have the solid at smaller angles, downward ones at larger: each of these goes with the next upward one
    order = np.lexsort((~upward, np.round(angle, 6), keys))
    keys, upward, owner = keys[order], upward[order], owner[order]
    links = []
    for run in np.split(np.arange(len(keys)), np.flatnonzero(keys[1:] != keys[:-1]) + 1):
        ups = run[upward[run]]
        for down in run[~upward[run]]:
            later = ups[ups > down]
            links.append((owner[down], owner[later[0] if len(later) else ups[0]]))
    ends = labels[np.array(links)]
    joined = connected_components(coo_array((np.ones(len(ends)), ends.T), shape=(labels.max() + 1,) * 2), directed=False)[1]
    return joined[labels]


class Patches(NamedTuple):
    """Of each patch of a surface (P patches)."""

    lower: np.ndarray  # (P, 3) corners of its bounding box, m
    upper: np.ndarray
    volumes: np.ndarray  # (P,) m^3, negative where its normals point inward
    closed: np.ndarray  # (P,) whether it encloses something by itself

    @classmethod
    def of(cls, mesh: trimesh.Trimesh, labels: np.ndarray) -> Patches:
        """``labels`` (F,): the patch of each triangle."""
        count = int(labels.max()) + 1
        lower, upper = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
        np.minimum.at(lower, labels, mesh.triangles.min(axis=1))
        np.maximum.at(upper, labels, mesh.triangles.max(axis=1))
        corners = mesh.triangles - (0.5 * (lower + upper))[labels][:, None]
        volumes = np.bincount(labels, weights=np.linalg.det(corners), minlength=count) / 6.0
        size = len(mesh.vertices)
        pairs, _, net = net_edges(np.asarray(mesh.faces) + (labels * size)[:, None])  # so that patches share no vertex
        closed = np.bincount(pairs[:, 0] // size, weights=net != 0, minlength=count) == 0
        return cls(lower, upper, volumes, closed)


def turn_outward(mesh: trimesh.Trimesh) -> tuple[list[str], np.ndarray]:
    """Makes the winding consistent and turns the normals outward, in place; what was done, in words, and the patch of each
    triangle (F,).

    Every closed patch is turned by itself, except one that lies within another: that is taken for a cavity. Patches that meet
    where more than two triangles share an edge are turned so that an even number of surfaces lies outside of each.
    """
    before = np.asarray(mesh.faces)
    neighbours = Neighbours(before)
    faces, orientable = neighbours.made_to_agree(before)
    done = []
    if not neighbours.agree.all():
        done.append("made the winding consistent" if orientable else "wound as far as a one-sided surface can be")
        mesh.faces = faces
    labels = neighbours.labels
    if labels.max() > 0 and net_edges(faces)[2].any():
        turned = _turned_by_parity(mesh, labels)
        if turned is not None and not net_edges(turned)[2].any():
            faces = mesh.faces = turned
            done.append("turned the normals of parts outward")
    if enclosed_volume(mesh) < 0.0:
        mesh.invert()
        done.append("turned its normals outward")
    done += _turn_patches(mesh, labels)
    return list(dict.fromkeys(done)), labels


def _turn_patches(mesh: trimesh.Trimesh, labels: np.ndarray) -> list[str]:
    """Turns closed patches with negative volume that lie in no other."""
    if labels.max() == 0:
        return []
    patches = Patches.of(mesh, labels)
    lower, upper, volumes = patches.lower, patches.upper, patches.volumes
    turned = np.zeros(len(volumes), dtype=bool)
    solid = np.flatnonzero(volumes > 0.0)
    for patch in np.flatnonzero(patches.closed & (volumes < 0.0)):
        turned[patch] = not ((lower[solid] < lower[patch]) & (upper[solid] > upper[patch])).all(axis=1).any()
    if not turned.any():
        return []
    faces = np.asarray(mesh.faces)
    mesh.faces = np.where(turned[labels][:, None], faces[:, ::-1], faces)
    return ["turned the normals of parts outward"]


def _turned_by_parity(mesh: trimesh.Trimesh, labels: np.ndarray) -> np.ndarray | None:
    """The faces, each patch with an even number of surfaces in front of it; None where that is not defined: some edge borders
    an odd number of triangles, or there are too many patches."""
    faces = np.asarray(mesh.faces)
    count = int(labels.max()) + 1
    if count > MOST_PATCHES or (net_edges(faces)[1] % 2).any():
        return None
    triangles, areas = np.asarray(mesh.triangles), np.asarray(mesh.area_faces)
    largest = np.lexsort((-areas, labels))[np.unique(np.sort(labels), return_index=True)[1]]
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    turned = np.zeros(count, dtype=bool)
    for patch, face in enumerate(largest):
        start = triangles[face].mean(axis=0)
        direction = ASKEW if normals[face] @ ASKEW >= 0.0 else -ASKEW
        front = int(_ray_hits(triangles, start, direction, face)) % 2
        turned[patch] = front == 1 if normals[face] @ direction > 0.0 else front == 0
    return np.where(turned[labels][:, None], faces[:, ::-1], faces)


def _ray_hits(triangles: np.ndarray, start: np.ndarray, direction: np.ndarray, itself: int) -> int:
    """How many triangles (F, 3, 3) a ray from a point of one of them meets beyond it (Moeller and Trumbore 1997)."""
    a, ab, ac = triangles[:, 0], triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    p = np.cross(direction, ac)
    det = (ab * p).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        u = ((start - a) * p).sum(axis=1) / det
        q = np.cross(start - a, ab)
        v = q @ direction / det
        t = (ac * q).sum(axis=1) / det
        hit = (u >= 0.0) & (v >= 0.0) & (u + v <= 1.0) & (t > 0.0)
    hit[itself] = False
    return int(hit.sum())
