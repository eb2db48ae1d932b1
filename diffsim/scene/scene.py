"""The declarative scene: everything in the world. A plain frozen record with validation; no compiler here."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field

import numpy as np

from diffsim.errors import InputError
from diffsim.scene.articulation import Articulation, Geometry
from diffsim.scene.attachment import Attachment, check_attachments
from diffsim.scene.bodies import Ground, Obstacle, PlacedShape, RigidBody, SoftBody, Tool
from diffsim.scene.contact_model import ContactModel
from diffsim.scene.meshes.mesh_units import extents_in_words
from diffsim.scene.muscle import Muscle, particle_muscles
from diffsim.scene.validation import instance, is_number, members, vector

Vector3 = tuple[float, float, float]

RESERVED = ("ground", "world", "gravity", "walls")  # they name parameters, links and contacts of their own


def _too_large(body: SoftBody, domain: np.ndarray) -> str:
    """What to do about a body that fits into the domain (3,) nowhere; empty if it may fit."""
    extents = np.ptp(body.to_world(np.asarray(body.shape.surface_mesh().vertices)), axis=0)
    if (extents <= domain).all():
        return ""
    return f"; it is {extents_in_words(extents)} large, so give {body.shape.smaller}, or a larger domain"


@dataclass(frozen=True)
class Scene:
    """Everything in the world, and the box the soft bodies may move in.

    Args:
        soft_bodies: deformable bodies.
        tools: kinematic colliders, driven by the action.
        obstacles: fixed colliders.
        ground: the floor, or ``None``.
        rigid_bodies: rigid bodies that move freely.
        articulations: robots and other mechanisms; their actuators are driven by the action, after the tools.
        attachments: particles of soft bodies that the world, tools or links hold; the controlled ones are driven by the action,
            after the articulations.
        muscles: particles of soft bodies that contract as the action says, after the attachments.
        contact: how rigid things touch.
        lower, upper: corners of the domain in metres. Its walls are frictionless and one-sided.
        grid_spacing: edge of a background grid cell in metres.
        gravity: m/s^2; z is up.

    Raises:
        InputError: a field is wrong, a name is used twice, or a body reaches outside the domain.
    """

    soft_bodies: tuple[SoftBody, ...] = ()
    _: KW_ONLY
    tools: tuple[Tool, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()
    ground: Ground | None = field(default_factory=Ground)
    lower: Vector3 = (0.0, 0.0, 0.0)
    upper: Vector3 = (1.0, 1.0, 1.0)
    grid_spacing: float = 1.0 / 32.0
    gravity: Vector3 = (0.0, 0.0, -9.81)
    rigid_bodies: tuple[RigidBody, ...] = ()
    articulations: tuple[Articulation, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    muscles: tuple[Muscle, ...] = ()
    contact: ContactModel = field(default_factory=ContactModel)

    def __post_init__(self) -> None:
        kinds = (
            ("soft_bodies", SoftBody), ("tools", Tool), ("obstacles", Obstacle), ("rigid_bodies", RigidBody),
            ("articulations", Articulation), ("attachments", Attachment),
            ("muscles", Muscle),
        )  # fmt: skip
        for name, kind in kinds:
            object.__setattr__(self, name, members("Scene", name, getattr(self, name), kind))
        if not (self.soft_bodies or self.rigid_bodies or self.articulations):
            raise InputError(
                "Scene: soft_bodies, rigid_bodies or articulations must hold at least one thing that moves, got none"
            )
        instance("Scene", "contact", self.contact, ContactModel, "a diffsim.ContactModel")
        if self.ground is not None:
            instance("Scene", "ground", self.ground, Ground, "a diffsim.Ground or None")
        for name in ("lower", "upper", "gravity"):
            object.__setattr__(self, name, vector("Scene", name, getattr(self, name)))
        placed: tuple[PlacedShape, ...] = (*self.soft_bodies, *self.tools, *self.obstacles, *self.rigid_bodies)
        things: tuple[PlacedShape | Articulation, ...] = (*placed, *self.articulations)
        names = [thing.name for thing in (*things, *self.muscles)]
        for name in names:
            if name in RESERVED:
                raise InputError(f"Scene: the name '{name}' is reserved; reserved are {', '.join(RESERVED)}")
            if names.count(name) > 1:
                raise InputError(f"Scene: the name '{name}' is used {names.count(name)} times; names must differ")
        lower, upper = np.asarray(self.lower), np.asarray(self.upper)
        if not (upper > lower).all():
            raise InputError(f"Scene: upper must exceed lower on every axis, got lower={self.lower}, upper={self.upper}")
        if not (is_number(self.grid_spacing) and 0.0 < self.grid_spacing <= float((upper - lower).min()) / 2.0):
            raise InputError(
                f"Scene: grid_spacing must be positive and at most half the smallest domain edge "
                f"({(upper - lower).min() / 2.0:g}), got {self.grid_spacing!r}"
            )
        if self.ground is not None and not lower[2] <= self.ground.height < upper[2]:
            raise InputError(
                f"Scene: ground height {self.ground.height} must lie within the domain's z range [{lower[2]}, {upper[2]})"
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
                    + _too_large(body, upper - floor)
                )
        links = [f"{articulation.name}.{link.name}" for articulation in self.articulations for link in articulation.links]
        check_attachments(
            self.attachments, self.soft_bodies, [tool.name for tool in self.tools],
            [*(body.name for body in self.rigid_bodies), *links],
        )  # fmt: skip
        if self.muscles:  # particles are not drawn before they are needed
            particle_muscles(self.muscles, self.soft_bodies)

    @property
    def action_dim(self) -> int:
        """Number of controlled velocity components over all tools, then of the articulations' actuators, then of the controlled
        attachments, then of the muscles."""
        actuators = sum(len(articulation.actuators) for articulation in self.articulations)
        return self.tool_action_dim + actuators + self.grip_action_dim + len(self.muscles)

    @property
    def grip_action_dim(self) -> int:
        """Number of controlled attachments."""
        return sum(attachment.controlled for attachment in self.attachments)

    @property
    def first_grip(self) -> int:
        """Where the strengths of the controlled attachments begin in an action."""
        return self.first_muscle - self.grip_action_dim

    @property
    def first_muscle(self) -> int:
        """Where the activations of the muscles begin in an action."""
        return self.action_dim - len(self.muscles)

    @property
    def grid_obstacles(self) -> tuple[Obstacle, ...]:
        """Obstacles in contact with soft bodies on the grid: spheres, capsules, boxes, tori. With others it is by particle."""
        return tuple(obstacle for obstacle in self.obstacles if obstacle.shape.meets_grid)

    @property
    def grid_tools(self) -> tuple[Tool, ...]:
        """Tools in contact with soft bodies on the grid, as `grid_obstacles`."""
        return tuple(tool for tool in self.tools if tool.shape.meets_grid)

    @property
    def off_grid(self) -> tuple[Tool | Obstacle, ...]:
        """Tools and obstacles that particles of soft bodies meet one by one."""
        things: tuple[Tool | Obstacle, ...] = (*self.tools, *self.obstacles)
        return tuple(thing for thing in things if not thing.shape.meets_grid)

    @property
    def fixed_geometries(self) -> dict[str, tuple[Geometry, ...]]:
        """Geometries that never move, those of each thing by its name: "ground", then the obstacles, those of `grid_obstacles`
        first."""
        off_grid = [obstacle for obstacle in self.obstacles if obstacle not in self.grid_obstacles]
        ground = {"ground": self.ground.geometry.parts} if self.ground is not None else {}
        return ground | {obstacle.name: obstacle.geometry.parts for obstacle in (*self.grid_obstacles, *off_grid)}

    @property
    def fixed_places(self) -> dict[str, Vector3]:
        """Where the things of `fixed_geometries` stand: an obstacle's origin, the ground below the world's origin."""
        ground = {"ground": (0.0, 0.0, self.ground.height)} if self.ground is not None else {}
        return ground | {obstacle.name: obstacle.position for obstacle in self.obstacles}

    @property
    def tool_action_dim(self) -> int:
        return sum(len(tool.control) for tool in self.tools)

    @property
    def moving_articulations(self) -> tuple[Articulation, ...]:
        """Every rigid thing that moves: the rigid bodies, then the articulations."""
        return (*(body.articulation for body in self.rigid_bodies), *self.articulations)
