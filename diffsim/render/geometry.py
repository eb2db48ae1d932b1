"""What the rasterizer draws: plain records of numpy arrays. Colours are sRGB in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffsim.errors import InputError
from diffsim.scene.validation import check_length, number, rgb, vector

Color = tuple[float, float, float]


def table(owner: str, name: str, value: object, dtype: type) -> np.ndarray:
    """``value`` as an array (count, 3).

    Raises:
        InputError: it is something else.
    """
    array = _array(owner, name, value, dtype)
    if array.ndim != 2 or array.shape[1] != 3:
        raise InputError(f"{owner}: {name} must have shape (count, 3), got {array.shape}")
    return array


def _array(owner: str, name: str, value: object, dtype: type) -> np.ndarray:
    try:
        return np.asarray(value, dtype=dtype)
    except (TypeError, ValueError):
        raise InputError(f"{owner}: {name} must be an array of numbers, got {value!r}") from None


def _colors(owner: str, value: object, count: int) -> np.ndarray:
    array = _array(owner, "color", value, np.float32)
    if array.shape not in ((3,), (count, 3)):
        raise InputError(f"{owner}: color must have shape (3,) or ({count}, 3), got {array.shape}")
    if not ((array >= 0.0) & (array <= 1.0)).all():
        raise InputError(f"{owner}: color must lie in [0, 1], got values from {array.min()} to {array.max()}")
    return np.broadcast_to(array, (count, 3))


@dataclass(frozen=True, eq=False)
class ColoredMesh:
    """A triangle mesh, seen from both sides.

    Args:
        vertices: world positions, metres, (V, 3).
        faces: vertex indices, (F, 3).
        color: one colour (3,) or one per vertex (V, 3).
        smooth: interpolate vertex normals; otherwise every triangle is flat.
        normals: unit vertex normals (V, 3) of a smooth mesh, where they are known already.
        opacity: 0 to 1, how much it hides of what is behind it.
    """

    vertices: np.ndarray
    faces: np.ndarray
    color: np.ndarray | Color = (0.8, 0.8, 0.8)
    smooth: bool = True
    opacity: float = 1.0
    normals: np.ndarray | None = None

    def __post_init__(self) -> None:
        vertices = table("ColoredMesh", "vertices", self.vertices, np.float64)
        faces = table("ColoredMesh", "faces", self.faces, np.int64)
        if len(faces) and not (faces.min() >= 0 and faces.max() < len(vertices)):
            raise InputError(
                f"ColoredMesh: faces must index {len(vertices)} vertices, got indices from {faces.min()} to {faces.max()}"
            )
        if self.normals is not None and np.shape(self.normals) != vertices.shape:
            raise InputError(f"ColoredMesh: normals must have shape {vertices.shape}, got {np.shape(self.normals)}")
        number("ColoredMesh", "opacity", self.opacity, 0.0, 1.0)
        object.__setattr__(self, "vertices", vertices)
        object.__setattr__(self, "faces", faces)
        object.__setattr__(self, "color", _colors("ColoredMesh", self.color, len(vertices)))

    def corners(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Vertices, faces, unit normals and colours of the vertices, which flat triangles do not share."""
        color = np.asarray(self.color)
        if self.smooth:
            normals = self.normals if self.normals is not None else smooth_normals(self.vertices, self.faces)
            return self.vertices, self.faces, normals, color
        tips = self.vertices[self.faces]
        normals = np.cross(tips[:, 1] - tips[:, 0], tips[:, 2] - tips[:, 0])
        faces = np.arange(3 * len(self.faces)).reshape(-1, 3)
        normals = np.repeat(_unit(normals), 3, axis=0)
        return tips.reshape(-1, 3), faces, normals, color[self.faces].reshape(-1, 3)


@dataclass(frozen=True, eq=False)
class ParticleCloud:
    """Spheres.

    Args:
        positions: world centres, metres, (N, 3).
        radius: metres.
        color: one colour (3,) or one per particle (N, 3).
        opacity: 0 to 1, how much each hides of what is behind it.
    """

    positions: np.ndarray
    radius: float
    color: np.ndarray | Color = (0.8, 0.8, 0.8)
    opacity: float = 1.0

    def __post_init__(self) -> None:
        positions = table("ParticleCloud", "positions", self.positions, np.float64)
        object.__setattr__(self, "positions", positions)
        object.__setattr__(self, "color", _colors("ParticleCloud", self.color, len(positions)))
        check_length("ParticleCloud: radius", self.radius)
        number("ParticleCloud", "opacity", self.opacity, 0.0, 1.0)


@dataclass(frozen=True)
class GroundMarker:
    """A flat disc or ring painted on the ground.

    Args:
        center: world (x, y), metres.
        radius: outer radius, metres.
        color: its colour.
        width: width of the ring, metres; ``None`` fills the disc.
        opacity: 0 to 1.
    """

    center: tuple[float, float]
    radius: float
    color: Color = (0.16, 0.62, 0.38)
    width: float | None = None
    opacity: float = 0.9

    def __post_init__(self) -> None:
        object.__setattr__(self, "center", vector("GroundMarker", "center", self.center, 2))
        check_length("GroundMarker: radius", self.radius)
        object.__setattr__(self, "color", rgb("GroundMarker", "color", self.color))
        if self.width is not None:
            check_length("GroundMarker: width", self.width)
        number("GroundMarker", "opacity", self.opacity, 0.0, 1.0)


@dataclass(frozen=True)
class GroundPlane:
    """The horizontal ground, fading into the background far from ``center``.

    Args:
        height: z, metres.
        center: (x, y) round which it is visible, metres.
        extent: half extents (x, y) inside which the ground is fully visible, metres; gone at twice as far.
        color: of the ground.
        line_color: of the grid lines.
        spacing: between grid lines, metres; 0 draws none.
        markers: painted on it.
    """

    height: float = 0.0
    center: tuple[float, float] = (0.0, 0.0)
    extent: tuple[float, float] = (1.0, 1.0)
    color: Color = (0.86, 0.86, 0.85)
    line_color: Color = (0.74, 0.75, 0.77)
    spacing: float = 0.1
    markers: Sequence[GroundMarker] = ()


def smooth_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals (V, 3) of vertices (V, 3): the mean of those of their faces (F, 3), weighted by area."""
    tips = vertices[faces]
    spread = np.repeat(np.cross(tips[:, 1] - tips[:, 0], tips[:, 2] - tips[:, 0]), 3, axis=0)  # length = twice the area
    columns = [np.bincount(faces.ravel(), spread[:, axis], len(vertices)) for axis in range(3)]
    return _unit(np.stack(columns, axis=1))


def to_linear(color: np.ndarray | Color) -> np.ndarray:
    """sRGB to linear light, float32: the decoding of the sRGB standard (IEC 61966-2-1)."""
    value = np.asarray(color, dtype=np.float32)
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-20)
