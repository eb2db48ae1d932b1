"""The declarative scene: what stands in the world. Plain frozen records with validation; no Taichi here."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.spatial.transform import Rotation

from diffsim.articulation import Articulation, ContactModel, Geometry, Inertia, Joint, Link
from diffsim.errors import InputError
from diffsim.mass_properties import inertia_of
from diffsim.materials import Elastic, Material
from diffsim.shapes import Plane, RoundedBox, Shape
from diffsim.validation import members, number, unit, vector

Vector3 = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]

RESERVED = ("ground", "world", "gravity")  # they name parameters and links of their own
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


def quaternion_of(rotation: np.ndarray) -> Quaternion:
    """Unit quaternion (w, x, y, z), w >= 0, of a rotation matrix (3, 3)."""
    x, y, z, w = Rotation.from_matrix(rotation).as_quat(canonical=True)
    return (float(w), float(x), float(y), float(z))


def _check_surface(thing: RigidBody | Obstacle | Tool | Ground, owner: str) -> None:
    """Check what a surface is like in contact."""
    object.__setattr__(thing, "friction", number(owner, "friction", thing.friction, 0.0))
    object.__setattr__(thing, "restitution", number(owner, "restitution", thing.restitution, 0.0, 1.0))
    if thing.stiffness is not None:
        object.__setattr__(thing, "stiffness", number(owner, "stiffness", thing.stiffness, 1e-9))


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
        object.__setattr__(self, "position", vector(owner, "position", self.position))
        object.__setattr__(self, "rotation", unit(owner, "rotation", self.rotation, 4))

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
        object.__setattr__(self, "velocity", vector(owner, "velocity", self.velocity))
        if not isinstance(self.material, Material):
            raise InputError(f"{owner}: material must be a diffsim material, got {self.material!r}")
        if not isinstance(self.particles, int) or self.particles < 1:
            raise InputError(f"{owner}: particles must be a positive integer, got {self.particles!r}")

    @cached_property
    def rest_particles(self) -> np.ndarray:
        """Initial particle positions in the world, (N, 3)."""
        return self.to_world(self.shape.volume_samples(self.particles))


@dataclass(frozen=True)
class RigidBody(_Placed):
    """A rigid body that moves freely: an articulation of one link of its name.

    Args:
        shape: what it looks like and touches with.
        position: world position of the shape's origin, metres.
        rotation: unit quaternion (w, x, y, z).
        velocity: initial velocity of the origin, m/s.
        spin: initial angular velocity in the body's frame, rad/s.
        density: kg/m^3, uniform; or
        mass: kg, in its place.
        friction, restitution, stiffness, color: as of `Geometry`.
    """

    velocity: Vector3 = (0.0, 0.0, 0.0)
    spin: Vector3 = (0.0, 0.0, 0.0)
    density: float = 1000.0
    mass: float | None = None
    friction: float = 0.5
    restitution: float = 0.0
    stiffness: float | None = None
    color: Vector3 | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        owner = f"RigidBody '{self.name}'"
        for name in ("velocity", "spin"):
            object.__setattr__(self, name, vector(owner, name, getattr(self, name)))
        object.__setattr__(self, "density", number(owner, "density", self.density, 1e-9))
        if self.mass is not None:
            object.__setattr__(self, "mass", number(owner, "mass", self.mass, 1e-12))
        _check_surface(self, owner)
        if isinstance(self.shape, Plane):
            raise InputError(f"{owner}: shape must enclose a volume, got {self.shape!r}")

    @cached_property
    def articulation(self) -> Articulation:
        """The body as the solver takes it."""
        volume, center, matrix = inertia_of(self.shape)
        density = self.density if self.mass is None else self.mass / volume
        moments, axes = np.linalg.eigh(density * matrix)
        axes = axes * np.sign(np.linalg.det(axes))
        geometry = Geometry(
            self.shape, friction=self.friction, restitution=self.restitution, stiffness=self.stiffness, color=self.color
        )
        inertia = Inertia(density * volume, tuple(moments), tuple(center), quaternion_of(axes))
        joint = Joint("free", "free", initial_velocity=(*self.velocity, *self.spin))
        return Articulation(self.name, (Link(self.name, joint, None, self.position, self.rotation, inertia, (geometry,)),))


@dataclass(frozen=True)
class _Collider(_Placed):
    friction: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        owner = f"{type(self).__name__} '{self.name}'"
        object.__setattr__(self, "friction", number(owner, "friction", self.friction, 0.0))


@dataclass(frozen=True)
class Obstacle(_Collider):
    """A fixed rigid collider of any shape, with Coulomb friction.

    Args:
        restitution: of impacts of rigid bodies, 0 to 1.
        stiffness: of a contact point, N/m; None: the scene's.
    """

    restitution: float = 0.0
    stiffness: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_surface(self, f"Obstacle '{self.name}'")

    @property
    def geometry(self) -> Geometry:
        """As a geometry of the world."""
        return Geometry(self.shape, self.position, self.rotation, self.friction, self.restitution, self.stiffness)


@dataclass(frozen=True)
class Tool(_Collider):
    """A kinematic rigid collider: it goes where the action sends it, whatever it pushes, but not into an obstacle.

    Args:
        control: the velocity components that the action sets, in order, out of "x", "y", "z" (m/s, world) and "rx", "ry",
            "rz" (rad/s, world axes). The others are zero.
        stops_at_obstacles: whether the part of a motion that would enter an obstacle is left out, so that the tool slides
            along it. Without it a tool can drag a soft body through a wall. Rigid bodies and the ground do not stop a tool.
        restitution: of impacts of rigid bodies, 0 to 1.
        stiffness: of a contact point of rigid bodies, N/m; None: the scene's.
    """

    control: tuple[str, ...] = ("x", "y", "z")
    stops_at_obstacles: bool = True
    restitution: float = 0.0
    stiffness: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_surface(self, f"Tool '{self.name}'")
        if not isinstance(self.shape, RoundedBox):
            raise InputError(f"Tool '{self.name}': shape must be Sphere, Capsule or Box, got {self.shape!r}")
        control = tuple(self.control)
        if not control or len(set(control)) != len(control) or not set(control) <= set(TOOL_AXES):
            raise InputError(
                f"Tool '{self.name}': control must be distinct axes out of {TOOL_AXES}, got {self.control!r}"
            )
        object.__setattr__(self, "control", control)

    @property
    def geometry(self) -> Geometry:
        """As a geometry of a link that is where the tool is."""
        return Geometry(self.shape, friction=self.friction, restitution=self.restitution, stiffness=self.stiffness)


@dataclass(frozen=True)
class Ground:
    """The horizontal floor z = height, with Coulomb friction.

    Args:
        restitution: of impacts of rigid bodies, 0 to 1.
        stiffness: of a contact point, N/m; None: the scene's.
    """

    height: float = 0.0
    friction: float = 0.5
    restitution: float = 0.0
    stiffness: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "height", number("Ground", "height", self.height))
        _check_surface(self, "Ground")

    @property
    def geometry(self) -> Geometry:
        """As a geometry of the world."""
        return Geometry(
            Plane(), (0.0, 0.0, self.height), friction=self.friction, restitution=self.restitution, stiffness=self.stiffness
        )


@dataclass(frozen=True)
class Scene:
    """Everything that stands in the world, and the box the soft bodies may move in.

    Args:
        soft_bodies: deformable bodies.
        tools: kinematic colliders, driven by the action.
        obstacles: fixed colliders.
        ground: the floor, or ``None``.
        rigid_bodies: rigid bodies that move freely.
        articulations: robots and other mechanisms; their actuators are driven by the action, after the tools.
        contact: how rigid things touch.
        lower, upper: corners of the domain in metres. Its walls are frictionless and one-sided.
        grid_spacing: edge of a background grid cell in metres.
        gravity: m/s^2; z is up.

    Raises:
        InputError: a field is wrong, a name is used twice, or a body reaches outside the domain.
    """

    soft_bodies: tuple[SoftBody, ...] = ()
    tools: tuple[Tool, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()
    ground: Ground | None = field(default_factory=Ground)
    lower: Vector3 = (0.0, 0.0, 0.0)
    upper: Vector3 = (1.0, 1.0, 1.0)
    grid_spacing: float = 1.0 / 32.0
    gravity: Vector3 = (0.0, 0.0, -9.81)
    rigid_bodies: tuple[RigidBody, ...] = ()
    articulations: tuple[Articulation, ...] = ()
    contact: ContactModel = field(default_factory=ContactModel)

    def __post_init__(self) -> None:
        kinds = (
            ("soft_bodies", SoftBody), ("tools", Tool), ("obstacles", Obstacle), ("rigid_bodies", RigidBody),
            ("articulations", Articulation),
        )  # fmt: skip
        for name, kind in kinds:
            object.__setattr__(self, name, members("Scene", name, getattr(self, name), kind))
        if not (self.soft_bodies or self.rigid_bodies or self.articulations):
            raise InputError(
                "Scene: soft_bodies, rigid_bodies or articulations must hold at least one thing that moves, got none"
            )
        if not isinstance(self.contact, ContactModel):
            raise InputError(f"Scene: contact must be a diffsim.ContactModel, got {self.contact!r}")
        for name in ("lower", "upper", "gravity"):
            object.__setattr__(self, name, vector("Scene", name, getattr(self, name)))
        placed: tuple[_Placed, ...] = (*self.soft_bodies, *self.tools, *self.obstacles, *self.rigid_bodies)
        things: tuple[_Placed | Articulation, ...] = (*placed, *self.articulations)
        names = [thing.name for thing in things]
        for name in names:
            if name in RESERVED:
                raise InputError(f"Scene: the name '{name}' is reserved; reserved are {', '.join(RESERVED)}")
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
        """Number of controlled velocity components over all tools, then of the articulations' actuators."""
        return self.tool_action_dim + sum(len(articulation.actuators) for articulation in self.articulations)

    @property
    def grid_obstacles(self) -> tuple[Obstacle, ...]:
        """The obstacles that soft bodies meet on the grid: spheres, capsules and boxes. Others particle by particle."""
        return tuple(obstacle for obstacle in self.obstacles if isinstance(obstacle.shape, RoundedBox))

    @property
    def fixed_geometries(self) -> dict[str, Geometry]:
        """What rigid bodies meet that never moves, by name: "ground", then the obstacles, those on the grid first."""
        off_grid = [obstacle for obstacle in self.obstacles if obstacle not in self.grid_obstacles]
        ground = {"ground": self.ground.geometry} if self.ground is not None else {}
        return ground | {obstacle.name: obstacle.geometry for obstacle in (*self.grid_obstacles, *off_grid)}

    @property
    def tool_action_dim(self) -> int:
        return sum(len(tool.control) for tool in self.tools)

    @property
    def moving_articulations(self) -> tuple[Articulation, ...]:
        """Every rigid thing that moves: the rigid bodies, then the articulations."""
        return (*(body.articulation for body in self.rigid_bodies), *self.articulations)
