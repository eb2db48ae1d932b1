"""The declarative scene: what stands in the world. Plain frozen records with validation; no Taichi here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from diffsim.errors import InputError
from diffsim.materials import Elastic, Material
from diffsim.shapes import RoundedBox, Shape

Vector3 = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]

TOOL_AXES = ("x", "y", "z", "rx", "ry", "rz")


def rotation_matrix(quaternion: Quaternion) -> np.ndarray:
    """Rotation matrix (3, 3) of a unit quaternion (w, x, y, z)."""
    w, x, y, z = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _vector(owner: str, name: str, value: Sequence[float], length: int = 3) -> tuple[float, ...]:
    try:
        vector = tuple(float(component) for component in value)
    except TypeError:
        vector = ()
    if len(vector) != length or not all(math.isfinite(component) for component in vector):
        raise InputError(f"{owner}: {name} must be {length} finite numbers, got {value!r}")
    return vector


@dataclass(frozen=True)
class _Placed:
    name: str
    shape: Shape
    position: Vector3
    rotation: Quaternion = (1.0, 0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        owner = f"{type(self).__name__} '{self.name}'"
        if not isinstance(self.shape, Shape):
            raise InputError(f"{owner}: shape must be a diffsim shape, got {self.shape!r}")
        object.__setattr__(self, "position", _vector(owner, "position", self.position))
        rotation = _vector(owner, "rotation", self.rotation, 4)
        norm = math.sqrt(sum(component**2 for component in rotation))
        if norm < 1e-9:
            raise InputError(f"{owner}: rotation must be a quaternion (w, x, y, z), got {self.rotation!r}")
        object.__setattr__(self, "rotation", tuple(component / norm for component in rotation))

    def to_world(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 3) from the shape's frame to the world's."""
        return points @ rotation_matrix(self.rotation).T + np.asarray(self.position)


@dataclass(frozen=True)
class SoftBody(_Placed):
    """A deformable body.

    Args:
        shape: its rest shape.
        position: world position of the shape's origin, metres.
        rotation: unit quaternion (w, x, y, z).
        material: constitutive parameters.
        velocity: initial velocity, m/s.
        particles: about how many material points represent it.
    """

    material: Material = field(default_factory=Elastic)
    velocity: Vector3 = (0.0, 0.0, 0.0)
    particles: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        owner = f"SoftBody '{self.name}'"
        object.__setattr__(self, "velocity", _vector(owner, "velocity", self.velocity))
        if not isinstance(self.material, Material):
            raise InputError(f"{owner}: material must be a diffsim material, got {self.material!r}")
        if not isinstance(self.particles, int) or self.particles < 1:
            raise InputError(f"{owner}: particles must be a positive integer, got {self.particles!r}")

    @cached_property
    def rest_particles(self) -> np.ndarray:
        """Initial particle positions in the world, (N, 3)."""
        return self.to_world(self.shape.volume_samples(self.particles))


@dataclass(frozen=True)
class _Collider(_Placed):
    friction: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        owner = f"{type(self).__name__} '{self.name}'"
        if not isinstance(self.shape, RoundedBox):
            raise InputError(f"{owner}: shape must be Sphere, Capsule or Box, got {self.shape!r}")
        if not (math.isfinite(self.friction) and self.friction >= 0.0):
            raise InputError(f"{owner}: friction must be a number >= 0, got {self.friction!r}")


@dataclass(frozen=True)
class Obstacle(_Collider):
    """A fixed rigid collider with Coulomb friction."""


@dataclass(frozen=True)
class Tool(_Collider):
    """A kinematic rigid collider: it goes where the action sends it, but not into an obstacle.

    Args:
        control: the velocity components that the action sets, in order, out of "x", "y", "z" (m/s, world) and "rx", "ry",
            "rz" (rad/s, world axes). The others are zero.
        stops_at_obstacles: whether the part of a motion that would enter an obstacle is left out, so that the tool slides
            along it. Without it a tool can drag a soft body through a wall.
    """

    control: tuple[str, ...] = ("x", "y", "z")
    stops_at_obstacles: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        control = tuple(self.control)
        if not control or len(set(control)) != len(control) or not set(control) <= set(TOOL_AXES):
            raise InputError(
                f"Tool '{self.name}': control must be distinct axes out of {TOOL_AXES}, got {self.control!r}"
            )
        object.__setattr__(self, "control", control)


@dataclass(frozen=True)
class Ground:
    """The horizontal floor z = height, with Coulomb friction."""

    height: float = 0.0
    friction: float = 0.5

    def __post_init__(self) -> None:
        if not math.isfinite(self.height):
            raise InputError(f"Ground: height must be finite, got {self.height!r}")
        if not (math.isfinite(self.friction) and self.friction >= 0.0):
            raise InputError(f"Ground: friction must be a number >= 0, got {self.friction!r}")


@dataclass(frozen=True)
class Scene:
    """Everything that stands in the world, and the box the soft bodies may move in.

    Args:
        soft_bodies: at least one.
        tools: kinematic colliders, driven by the action.
        obstacles: fixed colliders.
        ground: the floor, or ``None``.
        lower, upper: corners of the domain in metres. Its walls are frictionless and one-sided.
        grid_spacing: edge of a background grid cell in metres.
        gravity: m/s^2; z is up.

    Raises:
        InputError: a field is wrong, a name is used twice, or a body reaches outside the domain.
    """

    soft_bodies: tuple[SoftBody, ...]
    tools: tuple[Tool, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()
    ground: Ground | None = field(default_factory=Ground)
    lower: Vector3 = (0.0, 0.0, 0.0)
    upper: Vector3 = (1.0, 1.0, 1.0)
    grid_spacing: float = 1.0 / 32.0
    gravity: Vector3 = (0.0, 0.0, -9.81)

    def __post_init__(self) -> None:
        for name, kind in (("soft_bodies", SoftBody), ("tools", Tool), ("obstacles", Obstacle)):
            members = getattr(self, name)
            if isinstance(members, kind):
                raise InputError(f"Scene: {name} must be a tuple, got one {kind.__name__}; put it in a tuple")
            members = tuple(members)
            for member in members:
                if not isinstance(member, kind):
                    raise InputError(f"Scene: {name} must hold {kind.__name__} objects, got {member!r}")
            object.__setattr__(self, name, members)
        if not self.soft_bodies:
            raise InputError("Scene: soft_bodies must hold at least one SoftBody, got none")
        for name in ("lower", "upper", "gravity"):
            object.__setattr__(self, name, _vector("Scene", name, getattr(self, name)))
        names = [thing.name for thing in (*self.soft_bodies, *self.tools, *self.obstacles)]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"Scene: the name '{name}' is used {names.count(name)} times; names must differ")
        lower, upper = np.asarray(self.lower), np.asarray(self.upper)
        if not (upper > lower).all():
            raise InputError(f"Scene: upper must exceed lower on every axis, got lower={self.lower}, upper={self.upper}")
        if not (math.isfinite(self.grid_spacing) and 0.0 < self.grid_spacing <= float((upper - lower).min()) / 2.0):
            raise InputError(
                f"Scene: grid_spacing must be positive and at most half the smallest domain edge "
                f"({(upper - lower).min() / 2.0:g}), got {self.grid_spacing!r}"
            )
        if self.ground is not None and not lower[2] <= self.ground.height < upper[2]:
            raise InputError(
                f"Scene: ground height {self.ground.height} must lie within the domain's z range "
                f"[{lower[2]}, {upper[2]})"
            )
        floor = lower.copy()
        if self.ground is not None:
            floor[2] = self.ground.height
        for body in self.soft_bodies:
            points = body.to_world(np.asarray(body.shape.surface_mesh().vertices))
            tolerance = 1e-6 * float((upper - lower).max())
            if (points < floor - tolerance).any() or (points > upper + tolerance).any():
                low, high = np.round(points.min(axis=0), 4).tolist(), np.round(points.max(axis=0), 4).tolist()
                raise InputError(
                    f"SoftBody '{body.name}' reaches outside the domain: it spans {low} to {high}, "
                    f"allowed is {np.round(floor, 4).tolist()} to {np.round(upper, 4).tolist()}"
                )

    @property
    def action_dim(self) -> int:
        """Number of controlled velocity components over all tools."""
        return sum(len(tool.control) for tool in self.tools)
