"""The contents of a scene but articulations: soft and rigid bodies, obstacles, tools, the ground. Plain frozen records."""

from __future__ import annotations

import logging
import math
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property

import numpy as np

from diffsim.errors import InputError
from diffsim.scene.articulation import Articulation, Geometry, Inertia, Joint, Link
from diffsim.scene.materials import Material
from diffsim.scene.rotations import Quaternion, quaternion_of, rotation_matrix
from diffsim.scene.shapes import Plane, Shape
from diffsim.scene.validation import LARGEST_FRICTION, bounds, check_count, checked_name, instance, number, rgb, unit, vector
from diffsim.soft.laws.elastic import Elastic

logger = logging.getLogger(__name__)

Vector3 = tuple[float, float, float]

TOOL_AXES = ("x", "y", "z", "rx", "ry", "rz")
TOOL_STOPS = ("ground", "obstacles", "tools")


def _check_surface(thing: RigidBody | Obstacle | Tool | Ground, owner: str) -> None:
    """Check what a surface is like in contact."""
    object.__setattr__(thing, "friction", number(owner, "friction", thing.friction, 0.0, LARGEST_FRICTION))
    object.__setattr__(thing, "restitution", number(owner, "restitution", thing.restitution, 0.0, 1.0))
    if thing.stiffness is not None:
        object.__setattr__(thing, "stiffness", number(owner, "stiffness", thing.stiffness, 1e-9))
    if not isinstance(thing, Ground) and thing.contact_points is not None:
        check_count(f"{owner}: contact_points", thing.contact_points, 1)


@dataclass(frozen=True)
class PlacedShape:
    name: str
    shape: Shape
    position: Vector3
    rotation: Quaternion = (1.0, 0.0, 0.0, 0.0)
    _: KW_ONLY
    color: Vector3 | None = None
    opacity: float | None = None

    def __post_init__(self) -> None:
        owner = f"{type(self).__name__} '{self.name}'"
        checked_name(type(self).__name__, self.name, dots=False)
        instance(owner, "shape", self.shape, Shape, "a diffsim shape")
        object.__setattr__(self, "position", vector(owner, "position", self.position))
        object.__setattr__(self, "rotation", unit(owner, "rotation", self.rotation, 4))
        if self.color is not None:
            object.__setattr__(self, "color", rgb(owner, "color", self.color))
        if self.opacity is not None:
            object.__setattr__(self, "opacity", number(owner, "opacity", self.opacity, 0.0, 1.0))

    def to_world(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 3) from the shape's frame to the world's."""
        return points @ rotation_matrix(self.rotation).T + np.asarray(self.position)


@dataclass(frozen=True)
class SoftBody(PlacedShape):
    """A deformable body.

    Args:
        shape: its rest shape.
        position: world position of the shape's origin, metres.
        rotation: unit quaternion (w, x, y, z).
        material: constitutive parameters.
        velocity: initial velocity in the world's frame, m/s.
        particles: about how many material points represent it.
        color, opacity: as of `Geometry`; None: what the renderer draws the material in.
    """

    _: KW_ONLY
    material: Material = field(default_factory=Elastic)
    velocity: Vector3 = (0.0, 0.0, 0.0)
    particles: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        owner = f"SoftBody '{self.name}'"
        object.__setattr__(self, "velocity", vector(owner, "velocity", self.velocity))
        instance(owner, "material", self.material, Material, "a diffsim material")
        check_count(f"{owner}: particles", self.particles, 1)

    @cached_property
    def rest_particles(self) -> np.ndarray:
        """Initial particle positions in the world, (N, 3)."""
        return self.to_world(self.shape.volume_samples(self.particles))

    @property
    def particle_spacing(self) -> float:
        """Edge of the cube whose volume each particle stands for, metres."""
        return float((self.shape.volume / len(self.rest_particles)) ** (1.0 / 3.0))


@dataclass(frozen=True)
class RigidBody(PlacedShape):
    """A rigid body that moves freely: an articulation of one link of its name.

    Args:
        shape: what it looks like and touches with.
        position: world position of the shape's origin, metres.
        rotation: unit quaternion (w, x, y, z).
        velocity: initial velocity of the shape's origin in the world's frame, m/s.
        angular_velocity: initial angular velocity in the world's frame, rad/s.
        density: kg/m^3, uniform. None: 1000, or what ``mass`` makes it.
        mass: kg, in the density's place.
        friction, restitution, stiffness, contact_points, color, opacity: as of `Geometry`.
    """

    _: KW_ONLY
    velocity: Vector3 = (0.0, 0.0, 0.0)
    angular_velocity: Vector3 = (0.0, 0.0, 0.0)
    density: float | None = None
    mass: float | None = None
    friction: float = 0.5
    restitution: float = 0.0
    stiffness: float | None = None
    contact_points: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        owner = f"RigidBody '{self.name}'"
        for name in ("velocity", "angular_velocity"):
            object.__setattr__(self, name, vector(owner, name, getattr(self, name)))
        if self.density is not None and self.mass is not None:
            raise InputError(f"{owner}: density must be left out where mass={self.mass!r} is given, got {self.density!r}")
        if self.density is not None:
            object.__setattr__(self, "density", number(owner, "density", self.density, 1e-9))
        if self.mass is not None:
            object.__setattr__(self, "mass", number(owner, "mass", self.mass, 1e-12))
        _check_surface(self, owner)
        if not self.shape.bounded:
            raise InputError(f"{owner}: shape must enclose a volume, got {self.shape!r}")
        doubt = self.shape.doubtful_size(self._density * self.shape.volume if self.mass is None else self.mass)
        if doubt is not None:
            logger.warning("%s has %s", owner, doubt)

    @property
    def _density(self) -> float:
        return 1000.0 if self.density is None else self.density

    @cached_property
    def articulation(self) -> Articulation:
        """The body as the solver takes it."""
        volume, center, matrix = self.shape.mass_properties()
        density = self.mass / volume if self.mass is not None else self._density
        moments, axes = np.linalg.eigh(density * matrix)
        axes = axes * np.sign(np.linalg.det(axes))
        geometry = Geometry(
            self.shape, friction=self.friction, restitution=self.restitution, stiffness=self.stiffness,
            contact_points=self.contact_points, color=self.color, opacity=self.opacity,
        )  # fmt: skip
        inertia = Inertia(density * volume, tuple(moments), tuple(center), quaternion_of(axes))
        turning = np.asarray(self.angular_velocity) @ rotation_matrix(self.rotation)  # a free joint's is in the link's frame
        joint = Joint("free", "free", initial_velocity=(*self.velocity, *turning))
        link = Link(self.name, joint, None, self.position, self.rotation, inertia=inertia, geometries=(geometry,))
        return Articulation(self.name, (link,))


@dataclass(frozen=True)
class _Collider(PlacedShape):
    _: KW_ONLY
    friction: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        owner = f"{type(self).__name__} '{self.name}'"
        object.__setattr__(self, "friction", number(owner, "friction", self.friction, 0.0, LARGEST_FRICTION))


@dataclass(frozen=True)
class Obstacle(_Collider):
    """A fixed rigid collider of any shape, with Coulomb friction.

    Args:
        restitution: of impacts of rigid bodies, 0 to 1.
        stiffness: of a contact point, N/m; None: the scene's.
        contact_points, color, opacity: as of `Geometry`.
    """

    _: KW_ONLY
    restitution: float = 0.0
    stiffness: float | None = None
    contact_points: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_surface(self, f"Obstacle '{self.name}'")

    @property
    def geometry(self) -> Geometry:
        """As a geometry of the world."""
        return Geometry(
            self.shape,
            self.position,
            self.rotation,
            friction=self.friction,
            restitution=self.restitution,
            stiffness=self.stiffness,
            contact_points=self.contact_points,
            color=self.color,
            opacity=self.opacity,
        )


@dataclass(frozen=True)
class Tool(_Collider):
    """A kinematic rigid collider: it follows the action's velocities whatever resists, but keeps to its limits and does not
    enter the ground, obstacles and other tools.

    Args:
        shape: of any kind that has an end: a `Compound`, a `Cup` or a `TriangleMesh` as well as a sphere. Soft bodies meet
            spheres, capsules, boxes and tori on their grid; another shape makes a scene of soft bodies a coupled one, in which
            their particles meet it one by one, and which is slower (docs/rigid.md).
        control: the velocity components that the action sets, in order, out of "x", "y", "z" (m/s, world) and "rx", "ry",
            "rz" (rad/s, world axes). The others are zero.
        lower, upper: world positions of the tool's origin that its motion is clipped to, m; each three numbers, of which any
            may be None or infinite, or None. The tool's own position lies within.
        stops_at: what the tool does not enter, out of "ground", "obstacles" and "tools". The part of a motion that would is
            left out, so that the tool slides along what stops it; of two tools that meet, each by its share in their approach,
            and a tool that names "tools" stops at those, too, that do not. Turning into something pushes the tool out. Rigid
            bodies and links do not stop a tool. Without stops a tool can drag a soft body through a wall.
        restitution: of impacts of rigid bodies, 0 to 1.
        stiffness: of a contact point of rigid bodies, N/m; None: the scene's.
        contact_points, color, opacity: as of `Geometry`.
    """

    _: KW_ONLY
    control: tuple[str, ...] = ("x", "y", "z")
    lower: tuple[float | None, float | None, float | None] | None = None
    upper: tuple[float | None, float | None, float | None] | None = None
    stops_at: tuple[str, ...] = TOOL_STOPS
    restitution: float = 0.0
    stiffness: float | None = None
    contact_points: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_surface(self, f"Tool '{self.name}'")
        owner = f"Tool '{self.name}'"
        if not self.shape.bounded:
            raise InputError(f"{owner}: shape must have an end, got {self.shape!r}")
        control = tuple(self.control) if isinstance(self.control, tuple | list) else ()
        if not control or len(set(control)) != len(control) or not set(control) <= set(TOOL_AXES):
            raise InputError(f"{owner}: control must be distinct axes out of {TOOL_AXES}, got {self.control!r}")
        object.__setattr__(self, "control", control)
        stops = tuple(self.stops_at) if isinstance(self.stops_at, tuple | list) else (None,)
        if len(set(stops)) != len(stops) or not set(stops) <= set(TOOL_STOPS):
            raise InputError(f"{owner}: stops_at must be distinct ones out of {TOOL_STOPS}, got {self.stops_at!r}")
        object.__setattr__(self, "stops_at", stops)
        for name, nothing in (("lower", -math.inf), ("upper", math.inf)):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, bounds(owner, name, getattr(self, name), nothing))
        low, high = self.lower or (-math.inf,) * 3, self.upper or (math.inf,) * 3
        if not all(a <= b for a, b in zip(low, high, strict=True)):  # type: ignore[operator]
            raise InputError(f"{owner}: lower must not exceed upper, got {self.lower!r} and {self.upper!r}")
        if not all(a <= x <= b for a, x, b in zip(low, self.position, high, strict=True)):  # type: ignore[operator]
            raise InputError(f"{owner}: position {self.position} must lie within lower={self.lower} and upper={self.upper}")

    @property
    def geometry(self) -> Geometry:
        """As a geometry of a link that is where the tool is."""
        return Geometry(
            self.shape, friction=self.friction, restitution=self.restitution, stiffness=self.stiffness,
            contact_points=self.contact_points,
        )  # fmt: skip


@dataclass(frozen=True)
class Ground:
    """The horizontal floor z = height, with Coulomb friction.

    Args:
        restitution: of impacts of rigid bodies, 0 to 1.
        stiffness: of a contact point, N/m; None: the scene's.
        layer: height above the floor up to which nodes of the soft bodies' grid are on it, m: what lies in it moves as on the
            floor (PlasticineLab's is two cells high).
    """

    height: float = 0.0
    friction: float = 0.5
    _: KW_ONLY
    restitution: float = 0.0
    stiffness: float | None = None
    layer: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "height", number("Ground", "height", self.height))
        object.__setattr__(self, "layer", number("Ground", "layer", self.layer, 0.0))
        _check_surface(self, "Ground")

    @property
    def geometry(self) -> Geometry:
        """As a geometry of the world."""
        return Geometry(
            Plane(), (0.0, 0.0, self.height), friction=self.friction, restitution=self.restitution, stiffness=self.stiffness
        )
