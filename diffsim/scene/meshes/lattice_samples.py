"""The points of a cubic lattice that lie within a closed surface, found line by line.

Along every line of the lattice parallel to z the surface is crossed upward as often as downward; between crossings the
winding number is constant. Only lines and nodes that the surface reaches are looked at, so time and memory follow the
surface's area and the number of points, not the bounding box: a thin rod along the box's diagonal costs no more than one
along an edge. Triangles that share an edge cross a line at the same number, whichever of them is asked, and points on a
line through a vertex or an edge belong to one side: there are no leaks, and no tolerances.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

CHUNK = 2**20  # planes of triangles, and lines of segments, that are worked on at once
MOST_PLANES = 2**25  # of the lattice that triangles reach, added up
MOST_CROSSINGS = 2**23  # of lines with the surface


class Lattice(NamedTuple):
    """Where the nodes of a lattice are: (x[i], y[j], z[k]), each ascending, metres."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray


class Crossings(NamedTuple):
    """Where lines of the lattice cross the surface."""

    line: np.ndarray  # (C,) i * len(y) + j
    height: np.ndarray  # (C,) z, metres
    sign: np.ndarray  # (C,) +1 where one enters on the way up, -1 where one leaves


class TooManyCrossings(Exception):
    """The surface is so large for the lattice's spacing that it would not fit into memory."""


def nodes_inside(triangles: np.ndarray, lattice: Lattice) -> np.ndarray:
    """Indices (N, 3) of the nodes whose winding number is not zero, in ascending order.

    Args:
        triangles: (F, 3, 3) corners of a closed surface, metres.

    Raises:
        TooManyCrossings: it is crossed more than `MOST_CROSSINGS` times, or its triangles reach over too many planes.
    """
    crossings = _crossings(triangles, lattice)
    order = np.lexsort((crossings.height, crossings.line))
    line, height, sign = (values[order] for values in crossings)
    winding = np.cumsum(sign)  # zero at the end of each line, so that the next begins at zero
    below = np.searchsorted(lattice.z, height, side="left")
    first, past = below[:-1], below[1:]
    filled = (winding[:-1] != 0) & (past > first) & (line[:-1] == line[1:])
    first, lengths, line = first[filled], (past - first)[filled], line[:-1][filled]
    total = int(lengths.sum())
    k = np.arange(total) - np.repeat(np.cumsum(lengths) - lengths, lengths) + np.repeat(first, lengths)
    ij = np.repeat(line, lengths)
    return np.stack([ij // len(lattice.y), ij % len(lattice.y), k], axis=1)


def _crossings(triangles: np.ndarray, lattice: Lattice) -> Crossings:
    """All crossings, of some triangles at a time."""
    # a vertex at x belongs to the planes below[.] and above of it
    planes = np.searchsorted(lattice.x, triangles[:, :, 0], side="left")
    lowest, highest = planes.min(axis=1), planes.max(axis=1)
    reached = np.flatnonzero(highest > lowest)
    counts = (highest - lowest)[reached]
    if counts.sum() > MOST_PLANES:
        raise TooManyCrossings
    parts: list[Crossings] = []
    found = 0
    for chunk in _chunks(counts):
        which = np.repeat(reached[chunk], counts[chunk])
        step = np.arange(len(which)) - np.repeat(np.cumsum(counts[chunk]) - counts[chunk], counts[chunk])
        plane = lowest[which] + step
        segments = _segments(triangles[which], planes[which], plane, lattice.x[plane])
        for part in _lines(segments, plane, lattice):
            found += len(part.line)
            if found > MOST_CROSSINGS:
                raise TooManyCrossings
            parts.append(part)
    if not parts:
        return Crossings(np.zeros(0, dtype=int), np.zeros(0), np.zeros(0, dtype=int))
    return Crossings(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _chunks(counts: np.ndarray) -> list[slice]:
    """Runs of items with about `CHUNK` counts each."""
    ends = np.cumsum(counts)
    if len(ends) == 0:
        return []
    cuts = np.searchsorted(ends, np.arange(CHUNK, int(ends[-1]) + CHUNK, CHUNK), side="left") + 1
    cuts = np.unique(np.append(np.minimum(cuts, len(counts)), len(counts)))
    return [slice(int(a), int(b)) for a, b in zip(np.append(0, cuts[:-1]), cuts, strict=True)]


def _segments(corners: np.ndarray, planes: np.ndarray, plane: np.ndarray, x: np.ndarray) -> np.ndarray:
    """What planes of constant x (P,) cut out of triangles (P, 3, 3): segments (P, 2, 2) from (y, z) where the triangle's
    winding goes up through the plane to where it comes back.

    Args:
        planes: (P, 3) first plane at or above each corner.
    """
    above = planes > plane[:, None]  # the corner's x exceeds the plane's
    rows = np.arange(len(corners))
    following = above[:, [1, 2, 0]]
    ends = []
    for leaves in (~above & following, above & ~following):
        a = np.argmax(leaves, axis=1)
        b = (a + 1) % 3
        down = above[rows, a]
        # in the order of x, so that both triangles of an edge agree
        p, q = corners[rows, np.where(down, b, a)], corners[rows, np.where(down, a, b)]
        share = (x - p[:, 0]) / (q[:, 0] - p[:, 0])
        ends.append(p[:, 1:] + share[:, None] * (q[:, 1:] - p[:, 1:]))
    return np.stack(ends, axis=1)


def _lines(segments: np.ndarray, plane: np.ndarray, lattice: Lattice) -> list[Crossings]:
    """Where segments (P, 2, 2) in planes (P,) cross the lines of the lattice."""
    columns = np.searchsorted(lattice.y, segments[:, :, 0], side="left")
    lowest, highest = columns.min(axis=1), columns.max(axis=1)
    reached = np.flatnonzero(highest > lowest)
    counts = (highest - lowest)[reached]
    parts = []
    for chunk in _chunks(counts):
        which = np.repeat(reached[chunk], counts[chunk])
        step = np.arange(len(which)) - np.repeat(np.cumsum(counts[chunk]) - counts[chunk], counts[chunk])
        column = lowest[which] + step
        forward = columns[which, 0] < columns[which, 1]
        own = segments[which]
        p, q = np.where(forward[:, None], own[:, 0], own[:, 1]), np.where(forward[:, None], own[:, 1], own[:, 0])
        share = (lattice.y[column] - p[:, 0]) / (q[:, 0] - p[:, 0])
        height = p[:, 1] + share * (q[:, 1] - p[:, 1])
        parts.append(Crossings(plane[which] * len(lattice.y) + column, height, np.where(forward, 1, -1)))
    return parts
