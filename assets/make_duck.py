"""Makes `duck.obj`: a rubber duck, a smooth union of ellipsoids; z up, facing +x, about one unit long.

    python assets/make_duck.py [out.obj]

Needs scikit-image (in the `test` extra). Marching cubes at a coarse step, finer triangles round the beak and
the eyes, then a few rounds of relaxation along the surface give even triangles; colours go into the file
vertex by vertex ("v x y z r g b").
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import trimesh
from skimage.measure import marching_cubes

YELLOW, ORANGE, BLACK = (1.0, 0.78, 0.1), (0.96, 0.4, 0.06), (0.07, 0.06, 0.07)
STEP = 0.05
PLUMP = 1.25  # a wide duck bears a finger in its back
BORDER = 0.005  # where another colour begins, from the beak's or the eye's own surface
EYES = np.array([[0.375, 0.122, 0.735], [0.375, -0.122, 0.735]])


def ellipsoid(points: np.ndarray, centre: tuple, radii: tuple, pitch_degrees: float = 0.0) -> np.ndarray:
    """About the signed distance to an ellipsoid turned round y."""
    angle = np.radians(pitch_degrees)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    local = (points - np.asarray(centre)) @ turn.T
    scaled = np.linalg.norm(local / radii, axis=-1)
    return scaled * (scaled - 1.0) / np.maximum(np.linalg.norm(local / np.square(radii), axis=-1), 1e-9)


def join(a: np.ndarray, b: np.ndarray, blend: float) -> np.ndarray:
    """Smooth minimum."""
    h = np.maximum(blend - np.abs(a - b), 0.0) / blend
    return np.minimum(a, b) - 0.25 * blend * h * h


def beak(points: np.ndarray) -> np.ndarray:
    upper = ellipsoid(points, (0.455, 0.0, 0.655), (0.15, 0.115, 0.042), -8.0)
    lower = ellipsoid(points, (0.43, 0.0, 0.605), (0.12, 0.095, 0.032), 10.0)
    return join(upper, lower, 0.025)


def eyes(points: np.ndarray) -> np.ndarray:
    return np.min([np.linalg.norm(points - eye, axis=-1) for eye in EYES], axis=0) - 0.042


def duck(points: np.ndarray) -> np.ndarray:
    """Signed distance, about, negative inside. (..., 3) -> (...)."""
    body = ellipsoid(points, (0.0, 0.0, 0.26), (0.44, 0.32, 0.26))
    chest = ellipsoid(points, (0.2, 0.0, 0.3), (0.24, 0.25, 0.24))
    tail = ellipsoid(points, (-0.4, 0.0, 0.4), (0.19, 0.15, 0.085), -38.0)
    head = ellipsoid(points, (0.24, 0.0, 0.68), (0.23, 0.215, 0.215))
    shape = join(join(body, chest, 0.15), tail, 0.2)
    mirrored = points * [1, 0, 1] + np.abs(points) * [0, 1, 0]
    wing = ellipsoid(mirrored, (-0.1, 0.285, 0.33), (0.24, 0.075, 0.135), -14.0)
    shape = join(shape, wing, 0.05)
    shape = join(shape, head, 0.13)
    shape = join(shape, beak(points), 0.02)
    shape = join(shape, eyes(points), 0.012)
    floor = 0.035 - points[..., 2]
    return -join(-shape, -floor, 0.05)


def refine(vertices: np.ndarray, faces: np.ndarray, split: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split the edges that ``split`` marks (one flag an edge in edges_unique) in both their triangles."""
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    middle = np.full(len(split), -1)
    middle[split] = len(vertices) + np.arange(split.sum())
    vertices = np.concatenate([vertices, vertices[mesh.edges_unique[split]].mean(axis=1)])
    result = []
    for corners, edges in zip(mesh.faces, mesh.faces_unique_edges, strict=True):
        mids = middle[edges]  # edges run 0-1, 1-2, 2-0
        count = int((mids >= 0).sum())
        if count == 0:
            result.append(corners)
            continue
        if count == 1:
            k = int(np.argmax(mids >= 0))
        elif count == 2:
            k = (int(np.argmax(mids < 0)) + 1) % 3
        else:
            k = 0
        (a, b, c), (ab, bc, ca) = np.roll(corners, -k), np.roll(mids, -k)
        if count == 1:
            result += [(a, ab, c), (ab, b, c)]
        elif count == 2:
            result += [(ab, b, bc), (a, ab, bc), (a, bc, c)]
        else:
            result += [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return vertices, np.asarray(result)


def relax(vertices: np.ndarray, faces: np.ndarray, rounds: int) -> np.ndarray:
    """Even out the triangles along the surface."""
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    smooth = trimesh.smoothing.laplacian_calculation(mesh, equal_weight=True)
    small = 1e-4 * np.eye(3)
    for _ in range(rounds):
        vertices = 0.5 * vertices + 0.5 * (smooth @ vertices)
        for _ in range(3):
            slope = np.stack([duck(vertices + d) - duck(vertices - d) for d in small], axis=1) / 2e-4
            step = duck(vertices) / np.maximum((slope**2).sum(axis=1), 0.1)
            vertices = vertices - step[:, None] * slope
    return vertices


def snap(vertices: np.ndarray) -> np.ndarray:
    """Move the vertices beside a border between colours onto it, so that the border is a clean line."""
    for distance, reach in ((eyes, 0.007), (beak, 0.008)):
        small = 1e-4 * np.eye(3)
        slope = np.stack([distance(vertices + d) - distance(vertices - d) for d in small], axis=1) / 2e-4
        gap = distance(vertices) - BORDER
        vertices = np.where((np.abs(gap) < reach)[:, None], vertices - gap[:, None] * slope, vertices)
    return vertices


def make() -> tuple[trimesh.Trimesh, np.ndarray]:
    """The mesh and its vertex colours (V, 3)."""
    lower, upper = np.array([-0.72, -0.5, -0.08]), np.array([0.72, 0.5, 1.0])
    axes = [np.arange(low, high, STEP) for low, high in zip(lower, upper, strict=True)]
    axes[1] = (np.arange(22) - 10.5) * STEP  # mirror-symmetric
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    vertices, faces, _, _ = marching_cubes(duck(grid), 0.0, spacing=(STEP,) * 3)
    mesh = trimesh.Trimesh(vertices + np.array([axis[0] for axis in axes]), faces)
    vertices, faces = relax(np.asarray(mesh.vertices), mesh.faces, 8), np.asarray(mesh.faces)
    for _ in range(2):
        mesh = trimesh.Trimesh(vertices, faces, process=False)
        ends = vertices[mesh.edges_unique]
        fine = np.where((np.abs(eyes(ends)) < 0.03).any(axis=1), 0.016, 0.025)
        near = (np.abs(beak(ends)) < 0.02).any(axis=1) | (eyes(ends) < 0.025).any(axis=1)
        vertices, faces = refine(vertices, faces, near & (mesh.edges_unique_length > fine))
        vertices = relax(vertices, faces, 5)
    mesh = trimesh.Trimesh(snap(vertices), faces, process=False)
    if mesh.volume < 0.0:
        mesh.invert()
    colors = np.tile(YELLOW, (len(vertices), 1))
    colors[beak(mesh.vertices) < BORDER + 0.002] = ORANGE
    colors[eyes(mesh.vertices) < BORDER + 0.002] = BLACK
    mesh.vertices[:, 1] *= PLUMP
    return mesh, colors


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("duck.obj")
    mesh, colors = make()
    if not mesh.is_watertight:
        raise SystemExit("the duck has holes")
    lines = ["# A rubber duck, made by make_duck.py: z up, facing +x."]
    for vertex, color in zip(mesh.vertices - [0.0, 0.0, mesh.bounds[0, 2]], colors, strict=True):
        lines.append("v {:.5f} {:.5f} {:.5f} {:.3f} {:.3f} {:.3f}".format(*vertex, *color))
    lines += ["f {} {} {}".format(*(face + 1)) for face in mesh.faces]
    path.write_text("\n".join(lines) + "\n")
    print(f"{path}: {len(mesh.vertices)} vertices, {len(mesh.faces)} faces, extents {mesh.extents.round(3)}")


if __name__ == "__main__":
    main()
