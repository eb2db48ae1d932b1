"""A pinhole camera. World z is up; image x goes right, image y down; pixel centres sit at half-integers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from diffsim.errors import InputError
from diffsim.render.geometry import table
from diffsim.scene.validation import instance, number, vector

Vector3 = tuple[float, float, float]


@dataclass(frozen=True)
class Camera:
    """Where the picture is taken from.

    Args:
        position: the eye, world metres.
        target: the point in the middle of the image, world metres.
        vertical_fov_degrees: full opening angle over the image's height.
        up: the world direction that points up in the image.
        near: what lies closer to the eye than this is not drawn, metres.
    """

    position: Vector3
    target: Vector3
    vertical_fov_degrees: float = 32.0
    up: Vector3 = (0.0, 0.0, 1.0)
    near: float = 0.01

    def __post_init__(self) -> None:
        for name in ("position", "target", "up"):
            object.__setattr__(self, name, vector("Camera", name, getattr(self, name)))
        number("Camera", "vertical_fov_degrees", self.vertical_fov_degrees, 1.0, 150.0)
        number("Camera", "near", self.near, 1e-9)
        forward = np.subtract(self.target, self.position)
        if np.linalg.norm(np.cross(forward, self.up)) <= 1e-9 * np.linalg.norm(forward):
            raise InputError(
                f"Camera: target - position must be nonzero and not along up={self.up}, "
                f"got position={self.position}, target={self.target}"
            )

    @cached_property
    def axes(self) -> np.ndarray:
        """Rows: the unit vectors right, up, forward of the image in the world, (3, 3)."""
        forward = np.subtract(self.target, self.position)
        forward = forward / np.linalg.norm(forward)
        right = np.cross(forward, self.up)
        right = right / np.linalg.norm(right)
        return np.stack([right, np.cross(right, forward), forward])

    @property
    def half_height(self) -> float:
        """Half the image's height at unit depth: tan(fov / 2)."""
        return math.tan(math.radians(self.vertical_fov_degrees) / 2.0)

    @property
    def view(self) -> np.ndarray:
        """World to camera, (4, 4); camera coordinates are (right, up, forward)."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.axes
        matrix[:3, 3] = -self.axes @ np.asarray(self.position)
        return matrix

    def projection(self, width: int, height: int) -> np.ndarray:
        """Camera to homogeneous pixels, (3, 3): divide the first two by the third, which is the depth."""
        scale = 0.5 * height / self.half_height
        return np.array([[scale, 0.0, 0.5 * width], [0.0, -scale, 0.5 * height], [0.0, 0.0, 1.0]])

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """World points (N, 3) in metres along (right, up, forward)."""
        return (np.asarray(points) - np.asarray(self.position)) @ self.axes.T

    def project(self, points: np.ndarray, width: int, height: int) -> np.ndarray:
        """World points (N, 3) to (N, 3): pixel x, pixel y, depth in metres along the viewing direction."""
        homogeneous = self.to_camera(points) @ self.projection(width, height).T
        return np.concatenate([homogeneous[:, :2] / homogeneous[:, 2:], homogeneous[:, 2:]], axis=1)

    def orbited(self, degrees: float) -> Camera:
        """The camera turned about the vertical line through its target, anticlockwise seen from above: for a turning view."""
        number("Camera.orbited", "degrees", degrees)
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        x, y, z = np.subtract(self.position, self.target).tolist()
        turned = np.add(self.target, (cos * x - sin * y, sin * x + cos * y, z)).tolist()
        return replace(self, position=(turned[0], turned[1], turned[2]))

    def between(self, other: Camera, share: float) -> Camera:
        """The camera at a share, 0 to 1, of the way to another: for a moving view."""
        instance("Camera.between", "other", other, Camera, "a diffsim.render.Camera")
        number("Camera.between", "share", share, 0.0, 1.0)

        def mixed(a: float | Vector3, b: float | Vector3) -> Any:
            value = (1.0 - share) * np.asarray(a) + share * np.asarray(b)
            return value.tolist() if value.ndim == 0 else tuple(value.tolist())

        names = ("position", "target", "vertical_fov_degrees", "up", "near")
        return Camera(**{name: mixed(getattr(self, name), getattr(other, name)) for name in names})

    @staticmethod
    def framing(
        points: np.ndarray,
        aspect: float,
        *,
        azimuth_degrees: float = -90.0,
        elevation_degrees: float = 34.0,
        vertical_fov_degrees: float = 28.0,
        margin: float = 0.04,
    ) -> Camera:
        """The closest camera from a direction that sees all of ``points`` (N, 3).

        Args:
            aspect: image width over height.
            azimuth_degrees: where the eye stands, seen from above, from the x axis towards y.
            elevation_degrees: how high the eye stands over the horizon.
            margin: part of the image's half size left free on each side.
        """
        points = table("Camera.framing", "points", points, np.float64)
        if not len(points) or not np.isfinite(points).all():
            raise InputError(f"Camera.framing: points must be finite and at least one, got {points.tolist()}")
        number("Camera.framing", "aspect", aspect, 1e-3, 1e3)
        number("Camera.framing", "azimuth_degrees", azimuth_degrees)
        number("Camera.framing", "elevation_degrees", elevation_degrees, -89.9, 89.9)
        number("Camera.framing", "margin", margin, 0.0, 0.99)
        azimuth, elevation = math.radians(azimuth_degrees), math.radians(elevation_degrees)
        away = np.array(
            [
                math.cos(elevation) * math.cos(azimuth),
                math.cos(elevation) * math.sin(azimuth),
                math.sin(elevation),
            ]
        )
        centre = 0.5 * (points.min(axis=0) + points.max(axis=0))
        size = float(np.linalg.norm(points.max(axis=0) - points.min(axis=0))) or 1.0
        tangent = math.tan(math.radians(vertical_fov_degrees) / 2.0) * (1.0 - margin)
        limits = np.array([tangent * aspect, tangent])
        distance = size
        for _ in range(12):  # each round centres the picture, then moves in or out; it converges geometrically
            camera = looking(centre + distance * away, centre, vertical_fov_degrees)
            local = camera.to_camera(points)
            seen = local[:, :2] / np.maximum(local[:, 2:], 1e-6)
            middle = 0.5 * (seen.min(axis=0) + seen.max(axis=0))
            centre = centre + distance * (middle[0] * camera.axes[0] + middle[1] * camera.axes[1])
            local = looking(centre + distance * away, centre, vertical_fov_degrees).to_camera(points)
            distance = float((np.abs(local[:, :2]) / limits - (local[:, 2:] - distance)).max())
        return looking(centre + distance * away, centre, vertical_fov_degrees)


@dataclass(frozen=True)
class LinkCamera:
    """A camera that a link carries: a robot's eye in its hand; or one that goes along with a link.

    Args:
        link: "<articulation>.<link>", or a rigid body.
        position, target, up: from the link's origin, metres, as of `Camera`.
        vertical_fov_degrees, near: as of `Camera`.
        turns: whether it turns with the link, so that the places are in the link's frame; otherwise along the world's axes.
    """

    link: str
    position: Vector3
    target: Vector3
    vertical_fov_degrees: float = 60.0
    up: Vector3 = (0.0, 0.0, 1.0)
    near: float = 0.01
    turns: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.turns, bool):
            raise InputError(f"LinkCamera: turns must be True or False, got {self.turns!r}")
        if not isinstance(self.link, str) or not self.link:
            raise InputError(f"LinkCamera: link must be the name of a link, got {self.link!r}")
        camera = self.at(np.zeros(3), np.eye(3))  # which checks the numbers
        for name in ("position", "target", "up"):
            object.__setattr__(self, name, getattr(camera, name))

    def at(self, position: np.ndarray, rotation: np.ndarray) -> Camera:
        """The camera where the link is at a world position (3,) with a rotation matrix (3, 3)."""

        def world(vector: Vector3, start: np.ndarray) -> Vector3:
            offset = np.asarray(vector, dtype=float)
            x, y, z = (start + (rotation @ offset if self.turns else offset)).tolist()
            return (x, y, z)

        nowhere = np.zeros(3)
        places = world(self.position, position), world(self.target, position)
        return Camera(*places, self.vertical_fov_degrees, world(self.up, nowhere), self.near)


def looking(position: np.ndarray, target: np.ndarray, vertical_fov_degrees: float) -> Camera:
    """A camera at a position, looking at a target: arrays (3,), world metres."""
    x, y, z = position.tolist()
    tx, ty, tz = target.tolist()
    return Camera((x, y, z), (tx, ty, tz), vertical_fov_degrees)
