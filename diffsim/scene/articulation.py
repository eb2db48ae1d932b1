"""Rigid and articulated bodies as a scene declares them. Plain frozen records with validation; no Taichi here.

An articulation is a tree of links. A link's frame has its origin at the anchor of the joint that carries it, so a joint needs
no anchor of its own. A free rigid body is an articulation of one link (`RigidBody.articulation` in `diffsim/scene/bodies.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, field, replace

import numpy as np

from diffsim.errors import InputError
from diffsim.rigid.joints import JointType, joint_kind, joint_kinds
from diffsim.scene.constraints import Constraint, JointEquality, JointSum, Tendon, closed_links, joint_sum
from diffsim.scene.rotations import Quaternion
from diffsim.scene.shapes import Shape
from diffsim.scene.shapes.compound import placed_part
from diffsim.scene.validation import (
    LARGEST_FRICTION,
    check_count,
    checked_name,
    choice,
    flag,
    instance,
    interval,
    members,
    number,
    rgb,
    unit,
    vector,
)

Vector3 = tuple[float, float, float]
Limits = tuple[float, float]

PERPENDICULAR = 1e-6  # cosine up to which two axes count as perpendicular
ACTUATORS = ("torque", "position", "velocity")


@dataclass(frozen=True)
class Inertia:
    """Mass distribution of a link.

    Args:
        mass: kg, >= 0. A link without mass needs descendants with mass, or armature on its joint.
        center: centre of mass in the link's frame, metres.
        moments: principal moments of inertia about the centre of mass, kg m^2.
        rotation: of the principal axes in the link's frame, quaternion (w, x, y, z).
    """

    mass: float
    moments: Vector3
    center: Vector3 = (0.0, 0.0, 0.0)
    rotation: Quaternion = (1.0, 0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        owner = "Inertia"
        object.__setattr__(self, "mass", number(owner, "mass", self.mass, 0.0))
        object.__setattr__(self, "center", vector(owner, "center", self.center))
        moments = vector(owner, "moments", self.moments)
        if min(moments) < 0.0:
            raise InputError(f"{owner}: moments must be >= 0, got {self.moments!r}")
        if 2.0 * max(moments) > sum(moments) * (1.0 + 1e-6):
            raise InputError(f"{owner}: no moment can exceed the sum of the other two, got {self.moments!r}")
        object.__setattr__(self, "moments", moments)
        object.__setattr__(self, "rotation", unit(owner, "rotation", self.rotation, 4))


@dataclass(frozen=True)
class Geometry:
    """A shape fixed to a link, for contact, for pictures, or both.

    Args:
        shape: in its own frame.
        position, rotation: of the shape's frame in the link's, metres and quaternion (w, x, y, z).
        friction: Coulomb coefficient; a pair of geometries takes the mean of theirs.
        restitution: speed after over speed before a head-on impact, 0 to 1; a pair takes the mean.
        stiffness: of a contact point, N/m; a pair takes the harmonic mean. None: the scene's.
        contact_points: about how many points of the shape meet other surfaces (`Shape.contact_points`); None: the shape's
            choice.
        collides: whether it takes part in contact.
        visible: whether it is drawn.
        collision_group, collision_mask: bits; two geometries touch if the group of either is in the mask of the other.
        color: RGB in 0 to 1, or None for the colours of a mesh's file, or else the renderer's choice.
        opacity: 0 to 1, how much it hides of what is behind it; None: all.
    """

    shape: Shape
    position: Vector3 = (0.0, 0.0, 0.0)
    rotation: Quaternion = (1.0, 0.0, 0.0, 0.0)
    _: KW_ONLY
    friction: float = 0.5
    restitution: float = 0.0
    stiffness: float | None = None
    contact_points: int | None = None
    collides: bool = True
    visible: bool = True
    collision_group: int = 1
    collision_mask: int = 1
    color: Vector3 | None = None
    opacity: float | None = None

    @property
    def parts(self) -> tuple[Geometry, ...]:
        """A geometry for each part of its shape: itself, but for a compound."""
        parts = self.shape.parts
        if len(parts) == 1 and parts[0].shape is self.shape:
            return (self,)
        placed = [placed_part(part, self.position, self.rotation) for part in parts]
        return tuple(replace(self, shape=part.shape, position=part.position, rotation=part.rotation) for part in placed)

    def __post_init__(self) -> None:
        owner = "Geometry"
        instance(owner, "shape", self.shape, Shape, "a diffsim shape")
        object.__setattr__(self, "position", vector(owner, "position", self.position))
        object.__setattr__(self, "rotation", unit(owner, "rotation", self.rotation, 4))
        object.__setattr__(self, "friction", number(owner, "friction", self.friction, 0.0, LARGEST_FRICTION))
        object.__setattr__(self, "restitution", number(owner, "restitution", self.restitution, 0.0, 1.0))
        if self.stiffness is not None:
            object.__setattr__(self, "stiffness", number(owner, "stiffness", self.stiffness, 1e-9))
        if self.contact_points is not None:
            check_count(f"{owner}: contact_points", self.contact_points, 1)
        if self.color is not None:
            object.__setattr__(self, "color", rgb(owner, "color", self.color))
        if self.opacity is not None:
            object.__setattr__(self, "opacity", number(owner, "opacity", self.opacity, 0.0, 1.0))
        for name in ("collides", "visible"):
            object.__setattr__(self, name, flag(owner, name, getattr(self, name)))
        for name in ("collision_group", "collision_mask"):
            if not isinstance(getattr(self, name), int | np.integer) or isinstance(getattr(self, name), bool):
                raise InputError(f"{owner}: {name} must be an integer, got {getattr(self, name)!r}")


@dataclass(frozen=True)
class Joint:
    """How a link moves against its parent. Units are of the joint's coordinate: metres or radians.

    Args:
        name: unique within the articulation.
        kind: "fixed", "revolute", "prismatic", "ball" (quaternion; angular velocity in the link's frame), "free" (world
            position and quaternion; linear velocity in the world's frame, angular in the link's; only on a root link),
            "universal", "planar", or another that `diffsim.register_joint` made known. `diffsim/rigid/joints` has a file for
            each.
        axis: of the joint, in the link's frame.
        second_axis: of a universal joint, perpendicular to ``axis``; of a planar joint, along which its first coordinate
            counts. None: a direction perpendicular to ``axis``.
        constants: further numbers that the kind asks for.
        limits: lowest and highest coordinate, or None; of a joint with several coordinates that are plain numbers, such a pair
            (or None) for each. Not of ball and free joints.
        limit_stiffness: torque (force) per unit beyond a limit. None: chosen by the inertia that it acts on.
        limit_smoothing: length d over which a limit sets in, in the joint's unit.
        damping: viscous, torque per velocity; taken implicitly.
        armature: inertia of the rotor, added to the diagonal of the mass matrix.
        friction_loss: dry friction, torque (force).
        spring_stiffness, spring_rest: torque -stiffness (q - rest); not of ball and free joints.
        initial: coordinates at reset; None: zero, the identity, or for a free joint the link's ``position`` and ``rotation``.
        initial_velocity: velocities at reset; None: zero.
    """

    name: str
    kind: str
    axis: Vector3 = (0.0, 0.0, 1.0)
    _: KW_ONLY
    limits: Limits | tuple[Limits | None, ...] | None = None
    limit_stiffness: float | None = None
    limit_smoothing: float = 1e-2
    damping: float = 0.0
    armature: float = 0.0
    friction_loss: float = 0.0
    spring_stiffness: float = 0.0
    spring_rest: float = 0.0
    initial: tuple[float, ...] | None = None
    initial_velocity: tuple[float, ...] | None = None
    second_axis: Vector3 | None = None
    constants: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        owner = f"Joint '{self.name}'"
        checked_name("Joint", self.name)
        choice(owner, "kind", self.kind, joint_kinds())
        kind = self.type
        object.__setattr__(self, "axis", unit(owner, "axis", self.axis, 3))
        if kind.has_second_axis:
            object.__setattr__(self, "second_axis", self._perpendicular(owner))
        elif self.second_axis is not None:
            raise InputError(f"{owner}: a {self.kind} joint has no second_axis, got {self.second_axis!r}")
        object.__setattr__(self, "constants", vector(owner, "constants", self.constants, kind.constants))
        if self.limits is not None:
            self._check_limits(owner, kind)
        if self.limit_stiffness is not None:
            object.__setattr__(self, "limit_stiffness", number(owner, "limit_stiffness", self.limit_stiffness, 0.0))
        object.__setattr__(self, "limit_smoothing", number(owner, "limit_smoothing", self.limit_smoothing, 1e-9))
        for name in ("damping", "armature", "friction_loss", "spring_stiffness"):
            object.__setattr__(self, name, number(owner, name, getattr(self, name), 0.0))
        object.__setattr__(self, "spring_rest", number(owner, "spring_rest", self.spring_rest))
        if self.spring_stiffness and not kind.coordinate_names:
            raise InputError(f"{owner}: spring_stiffness is for {_scalar_kinds()} joints, not for a {self.kind} one")
        if self.initial is not None:
            initial = vector(owner, "initial", self.initial, kind.coordinates)
            object.__setattr__(self, "initial", kind.checked(owner, initial))
        if self.initial_velocity is not None:
            velocity = vector(owner, "initial_velocity", self.initial_velocity, kind.dofs)
            object.__setattr__(self, "initial_velocity", velocity)

    @property
    def type(self) -> JointType:
        """Its kind as an object: what it knows of its coordinates and motion."""
        return joint_kind(self.kind)

    def limits_of(self, coordinate: int) -> Limits | None:
        """Lowest and highest value of one of its coordinates."""
        if self.limits is None:
            return None
        return self.limits if self.type.coordinates == 1 else self.limits[coordinate]  # type: ignore[return-value]

    def _perpendicular(self, owner: str) -> tuple[float, ...]:
        if self.second_axis is None:
            least = int(np.argmin(np.abs(self.axis)))
            return unit(owner, "second_axis", np.cross(np.cross(self.axis, np.eye(3)[least]), self.axis).tolist(), 3)
        second = unit(owner, "second_axis", self.second_axis, 3)
        if abs(float(np.dot(self.axis, second))) > PERPENDICULAR:
            raise InputError(f"{owner}: second_axis must be perpendicular to axis {self.axis}, got {self.second_axis!r}")
        return second

    def _check_limits(self, owner: str, kind: JointType) -> None:
        if not kind.coordinate_names:
            raise InputError(f"{owner}: limits are for {_scalar_kinds()} joints, not for a {self.kind} one")
        count, limits = kind.coordinates, self.limits
        pairs = (limits,) if count == 1 else limits
        if (
            not isinstance(pairs, list | tuple)
            or len(pairs) != count
            or (count > 1 and any(isinstance(pair, int | float) for pair in pairs))
        ):
            raise InputError(f"{owner}: limits must hold {count} pairs (low, high) or None, got {self.limits!r}")
        checked: list[Limits | None] = []
        for pair in pairs:
            if pair is None:
                checked.append(None)
                continue
            low, high = vector(owner, "limits", pair, 2)  # type: ignore[arg-type]
            if not low < high:
                raise InputError(f"{owner}: limits must be (low, high) with low < high, got {self.limits!r}")
            checked.append((low, high))
        object.__setattr__(self, "limits", checked[0] if count == 1 else tuple(checked))


def _scalar_kinds() -> str:
    """Names of the kinds of joints whose coordinates are plain numbers."""
    names = [name for name in joint_kinds() if joint_kind(name).coordinate_names]
    return ", ".join(names[:-1]) + " and " + names[-1]


@dataclass(frozen=True)
class Link:
    """A rigid link and the joint that carries it.

    Args:
        name: unique within the articulation.
        joint: to the parent.
        parent: name of the parent link, which stands earlier in the articulation; None: the world (then ``position`` and
            ``rotation`` are in the articulation's frame).
        position, rotation: of the link's frame in the parent's frame at the joint's zero.
        inertia: its mass distribution. None: no mass.
        geometries: its shapes.
        gravity_compensation: share of its weight that is carried at its centre of mass, whatever moves it: 1 for a link that
            hangs as if weightless, as the controllers of arms make them; also more than 1, or negative.
    """

    name: str
    joint: Joint
    parent: str | None = None
    position: Vector3 = (0.0, 0.0, 0.0)
    rotation: Quaternion = (1.0, 0.0, 0.0, 0.0)
    _: KW_ONLY
    inertia: Inertia | None = None
    geometries: tuple[Geometry, ...] = ()
    gravity_compensation: float = 0.0

    def __post_init__(self) -> None:
        owner = f"Link '{self.name}'"
        checked_name("Link", self.name)
        instance(owner, "joint", self.joint, Joint, "a diffsim.Joint")
        if self.parent is not None and (not isinstance(self.parent, str) or not self.parent):
            raise InputError(f"{owner}: parent must be a link's name or None, got {self.parent!r}")
        if self.parent is not None and self.joint.type.root_only:
            kind = self.joint.kind
            raise InputError(f"{owner}: a {kind} joint belongs on a root link, but the link's parent is '{self.parent}'")
        object.__setattr__(self, "position", vector(owner, "position", self.position))
        object.__setattr__(self, "rotation", unit(owner, "rotation", self.rotation, 4))
        if self.inertia is not None:
            instance(owner, "inertia", self.inertia, Inertia, "a diffsim.Inertia or None")
        object.__setattr__(self, "geometries", members(owner, "geometries", self.geometries, Geometry))
        carried = number(owner, "gravity_compensation", self.gravity_compensation)
        object.__setattr__(self, "gravity_compensation", carried)


@dataclass(frozen=True)
class Actuator:
    """Turns one entry of the action, u, into a force on joints.

    With the length l = sum of coefficient times joint coordinate, and its rate l',

        torque:    gain u
        position:  gain (u - l) - damping l'
        velocity:  gain (u - l') - damping l'

    clipped to ``force_limits``; a joint receives its coefficient times that. The rates are taken implicitly.

    Args:
        name: unique within the articulation.
        joints: coefficient by joint name, or one joint's name; "<joint>.<coordinate>" of a joint with several coordinates
            ("first" and "second" of a universal one, "x", "y" and "angle" of a planar one). Not ball and free joints.
        kind: "torque", "position" or "velocity".
        gain, damping: see above; N m (N), per rad (m), per rad/s (m/s).
        force_limits: lowest and highest force.
        control_limits: u is clipped to them.
        control_scale: multiplies u after the clipping.
    """

    name: str
    joints: JointSum
    kind: str = "torque"
    _: KW_ONLY
    gain: float = 1.0
    damping: float = 0.0
    force_limits: tuple[float, float] = (-math.inf, math.inf)
    control_limits: tuple[float, float] = (-math.inf, math.inf)
    control_scale: float = 1.0

    def __post_init__(self) -> None:
        owner = f"Actuator '{self.name}'"
        checked_name("Actuator", self.name)
        choice(owner, "kind", self.kind, ACTUATORS)
        object.__setattr__(self, "joints", joint_sum(owner, "joints", self.joints))
        object.__setattr__(self, "gain", number(owner, "gain", self.gain))
        object.__setattr__(self, "damping", number(owner, "damping", self.damping, 0.0))
        object.__setattr__(self, "control_scale", number(owner, "control_scale", self.control_scale))
        for name in ("force_limits", "control_limits"):
            object.__setattr__(self, name, interval(owner, name, getattr(self, name)))


@dataclass(frozen=True)
class Articulation:
    """A robot, a mechanism, or anything else that is a tree of links.

    Args:
        name: unique in the scene.
        links: parents before children.
        actuators: what the action drives, in this order.
        position, rotation: of the articulation's frame in the world.
        self_collisions: whether links of it may touch each other (a link and its parent never do).
        excluded: pairs of names of further links that never touch each other.
        constraints: equalities of joint coordinates (`JointEquality`) and closed loops (`Connect`, `Weld`).
        tendons: springs, dampers and limits of sums of joint coordinates.

    Raises:
        InputError: a name is used twice, a parent, a joint or a link does not exist, or an actuator, a constraint or a tendon
            is of an unsuitable joint.
    """

    name: str
    links: tuple[Link, ...]
    actuators: tuple[Actuator, ...] = ()
    _: KW_ONLY
    position: Vector3 = (0.0, 0.0, 0.0)
    rotation: Quaternion = (1.0, 0.0, 0.0, 0.0)
    self_collisions: bool = True
    excluded: tuple[tuple[str, str], ...] = ()
    constraints: tuple[Constraint, ...] = ()
    tendons: tuple[Tendon, ...] = ()
    _joints: dict[str, Joint] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        owner = f"Articulation '{self.name}'"
        checked_name("Articulation", self.name, dots=False)
        object.__setattr__(self, "self_collisions", flag(owner, "self_collisions", self.self_collisions))
        object.__setattr__(self, "links", members(owner, "links", self.links, Link))
        object.__setattr__(self, "actuators", members(owner, "actuators", self.actuators, Actuator))
        if not self.links:
            raise InputError(f"{owner}: links must hold at least one Link, got none")
        seen: set[str] = set()
        for link in self.links:
            if link.name in seen:
                raise InputError(f"{owner}: two links are named '{link.name}'; names must differ")
            if link.parent is not None and link.parent not in seen:
                raise InputError(
                    f"{owner}: link '{link.name}' has the parent '{link.parent}', which is not among the links before it "
                    f"({', '.join(sorted(seen)) or 'none'})"
                )
            if link.joint.name in self._joints:
                raise InputError(f"{owner}: two joints are named '{link.joint.name}'; names must differ")
            seen.add(link.name)
            self._joints[link.joint.name] = link.joint
        self._check_distinct("actuators", self.actuators)
        for actuator in self.actuators:
            self.transmission(actuator)
        self._check_constraints(owner, seen)
        try:
            excluded = tuple((one, other) for one, other in self.excluded)
            known = {name for pair in excluded for name in pair} <= seen
        except (TypeError, ValueError):
            known = False
        if not known:
            raise InputError(
                f"{owner}: excluded must hold pairs of links, got {self.excluded!r}; links: {', '.join(sorted(seen))}"
            )
        object.__setattr__(self, "excluded", excluded)
        object.__setattr__(self, "position", vector(owner, "position", self.position))
        object.__setattr__(self, "rotation", unit(owner, "rotation", self.rotation, 4))

    def _check_distinct(self, what: str, elements: Iterable[Actuator | Constraint | Tendon]) -> None:
        names: set[str] = set()
        for element in elements:
            if element.name in names:
                raise InputError(f"Articulation '{self.name}': two {what} are named '{element.name}'; names must differ")
            names.add(element.name)

    def _check_constraints(self, owner: str, links: set[str]) -> None:
        object.__setattr__(self, "constraints", members(owner, "constraints", self.constraints, Constraint))
        object.__setattr__(self, "tendons", members(owner, "tendons", self.tendons, Tendon))
        self._check_distinct("constraints", self.constraints)
        self._check_distinct("tendons", self.tendons)
        for constraint in self.constraints:
            if isinstance(constraint, JointEquality):
                self.coordinates(constraint.joints, f"constraint '{constraint.name}' is of")
                self.coordinates(constraint.leader or {}, f"constraint '{constraint.name}' is of")
            for name in closed_links(constraint):
                if name not in links:
                    raise InputError(
                        f"{owner}: constraint '{constraint.name}' is of link '{name}', which does not exist; links: "
                        f"{', '.join(sorted(links))}"
                    )
        for tendon in self.tendons:
            self.coordinates(tendon.joints, f"tendon '{tendon.name}' is of")

    def joint(self, name: str) -> Joint:
        """The joint of that name.

        Raises:
            InputError: there is none.
        """
        if name not in self._joints:
            raise InputError(f"Articulation '{self.name}' has no joint '{name}'; joints: {', '.join(self._joints)}")
        return self._joints[name]

    def transmission(self, actuator: Actuator) -> list[tuple[tuple[str, int], float]]:
        """The coordinates that an actuator drives, (joint's name, number of its coordinate), and their coefficients.

        Raises:
            InputError: there is no such joint or coordinate, or it is no plain number.
        """
        return self.coordinates(actuator.joints, f"actuator '{actuator.name}' drives")

    def coordinates(self, joints: JointSum, owner: str) -> list[tuple[tuple[str, int], float]]:
        """The coordinates in a sum, (joint's name, number of its coordinate), and their coefficients; ``owner`` says in a
        message whose sum it is: "actuator 'a' drives".

        Raises:
            InputError: there is no such joint or coordinate, or it is no plain number.
        """
        assert not isinstance(joints, str)
        return [(self._coordinate(owner, name), coefficient) for name, coefficient in joints.items()]

    def _coordinate(self, who: str, name: str) -> tuple[str, int]:
        owner = f"Articulation '{self.name}'"
        joint, coordinate = name, ""
        if name not in self._joints:
            joint, _dot, coordinate = name.rpartition(".")
        if joint not in self._joints:
            raise InputError(f"{owner}: {who} joint '{name}', which does not exist; joints: {', '.join(self._joints)}")
        kind = self._joints[joint].type
        names = kind.coordinate_names
        if not names:
            raise InputError(
                f"{owner}: {who} joint '{joint}', a {kind.name} one; only {_scalar_kinds()} joints have such coordinates"
            )
        if not coordinate and len(names) == 1:
            return joint, 0
        if coordinate not in names:
            raise InputError(
                f"{owner}: {who} '{name}'; coordinates of joint '{joint}': {', '.join(f'{joint}.{each}' for each in names)}"
            )
        return joint, names.index(coordinate)
