"""What an articulation's tree of joints cannot say: equalities of joint coordinates, closed loops, and fixed tendons.

Equations and forces: docs/rigid.md, "Constraints".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass

from diffsim.errors import InputError
from diffsim.scene.rotations import Quaternion
from diffsim.scene.validation import checked_name, interval, number, numbers_of, unit, vector

Vector3 = tuple[float, float, float]
JointSum = Mapping[str, float] | str

MOST_COEFFICIENTS = 5  # of a polynomial, whose degree is at most 4


def joint_sum(owner: str, name: str, value: JointSum) -> dict[str, float]:
    """A sum of joint coordinates: coefficients by name, of one name 1.

    Raises:
        InputError: it is something else.
    """
    if not isinstance(value, str | Mapping) or not value:
        raise InputError(f"{owner}: {name} must be a joint's name, or coefficients by name, got {value!r}")
    joints = {value: 1.0} if isinstance(value, str) else dict(value)
    for joint, coefficient in joints.items():
        if not isinstance(joint, str):
            raise InputError(f"{owner}: {name} must name joints, got {joint!r}")
        number(owner, f"{name}['{joint}']", coefficient)
    return joints


class Constraint:
    """Base of what holds at all times: `JointEquality`, `Connect`, `Weld`."""

    name: str


@dataclass(frozen=True)
class JointEquality(Constraint):
    """One joint coordinate (or sum of them) is a polynomial of another: a gear, a mimic joint, a coupled finger.

        y = c0 + c1 x + c2 x^2 + c3 x^3 + c4 x^4

    Args:
        name: unique among the articulation's constraints.
        joints: y: a joint's name, "<joint>.<coordinate>" of one with several, or coefficients by such names (a fixed tendon).
        leader: x, likewise; None: y stays at c0.
        coefficients: c0, c1, ..., at most five.

    The joint y alone, if its ``initial`` is None, is at the polynomial's value at reset.
    """

    name: str
    joints: JointSum
    leader: JointSum | None = None
    coefficients: tuple[float, ...] = (0.0, 1.0)

    def __post_init__(self) -> None:
        owner = f"JointEquality '{self.name}'"
        checked_name("JointEquality", self.name)
        object.__setattr__(self, "joints", joint_sum(owner, "joints", self.joints))
        if self.leader is not None:
            object.__setattr__(self, "leader", joint_sum(owner, "leader", self.leader))
            if self.leader == self.joints:
                raise InputError(f"{owner}: leader must differ from joints, got {self.joints!r} for both")
        given = numbers_of(self.coefficients)
        if not 1 <= len(given) <= MOST_COEFFICIENTS or not all(map(math.isfinite, given)):
            raise InputError(
                f"{owner}: coefficients must be 1 to {MOST_COEFFICIENTS} finite numbers, got {self.coefficients!r}"
            )
        object.__setattr__(self, "coefficients", given)


@dataclass(frozen=True)
class Connect(Constraint):
    """A point of one link and a point of another (or of the world) stay together: a ball joint that closes a loop.

    Args:
        name: unique among the articulation's constraints.
        link: a link's name.
        other: another link's; None: the world.
        point: in the link's frame, metres.
        other_point: in the other link's frame, or the articulation's frame where that is the world. None: where ``point`` is
            at reset.
    """

    name: str
    link: str
    other: str | None = None
    _: KW_ONLY
    point: Vector3 = (0.0, 0.0, 0.0)
    other_point: Vector3 | None = None

    def __post_init__(self) -> None:
        owner = f"Connect '{self.name}'"
        _check_ends(owner, self)


@dataclass(frozen=True)
class Weld(Constraint):
    """Two links (or a link and the world) keep their relative pose.

    Args:
        name: unique among the articulation's constraints.
        link: a link's name.
        other: another link's; None: the world.
        point: in the link's frame, metres: what stays at ``other_point``.
        other_point: in the other link's frame, or the articulation's frame where that is the world. None: where ``point`` is
            at reset.
        rotation: of the link's frame in that frame, quaternion (w, x, y, z). None: as at reset.
    """

    name: str
    link: str
    other: str | None = None
    _: KW_ONLY
    point: Vector3 = (0.0, 0.0, 0.0)
    other_point: Vector3 | None = None
    rotation: Quaternion | None = None

    def __post_init__(self) -> None:
        owner = f"Weld '{self.name}'"
        _check_ends(owner, self)
        if self.rotation is not None:
            object.__setattr__(self, "rotation", unit(owner, "rotation", self.rotation, 4))


def _check_ends(owner: str, constraint: Connect | Weld) -> None:
    checked_name(owner.partition(" ")[0], constraint.name)
    if not isinstance(constraint.link, str) or not constraint.link:
        raise InputError(f"{owner}: link must be a link's name, got {constraint.link!r}")
    if constraint.other is not None and (not isinstance(constraint.other, str) or not constraint.other):
        raise InputError(f"{owner}: other must be a link's name or None, got {constraint.other!r}")
    if constraint.link == constraint.other:
        raise InputError(f"{owner}: other must be another link than '{constraint.link}', or None")
    object.__setattr__(constraint, "point", vector(owner, "point", constraint.point))
    if constraint.other_point is not None:
        object.__setattr__(constraint, "other_point", vector(owner, "other_point", constraint.other_point))


def closed_links(constraint: Constraint) -> tuple[str, ...]:
    """The names of the links that a `Connect` or a `Weld` joins; none of another constraint."""
    if not isinstance(constraint, Connect | Weld):
        return ()
    return (constraint.link,) if constraint.other is None else (constraint.link, constraint.other)


@dataclass(frozen=True)
class Tendon:
    """A fixed tendon: its length is a sum of joint coordinates, and it pulls on all of these joints.

    With the length l and its rate l', its force is -stiffness (l - rest) - damping l' and that of its limits; a joint receives
    its coefficient times that. (`Actuator` drives such sums, and `JointEquality` constrains them.)

    Args:
        name: unique among the articulation's tendons.
        joints: coefficient by joint name, or "<joint>.<coordinate>" of a joint with several.
        stiffness: N/m, or N m/rad.
        rest: length at which the spring exerts nothing, or the pair (low, high) between which it does not.
        damping: N s/m, or N m s; taken implicitly.
        limits: lowest and highest length, or None.
        limit_stiffness: per unit beyond a limit. None: chosen by the inertia that it acts on.
        limit_smoothing: length over which a limit sets in. None: a fiftieth of the limits' distance, 0.01 at most.
    """

    name: str
    joints: JointSum
    _: KW_ONLY
    stiffness: float = 0.0
    rest: float | tuple[float, float] = 0.0
    damping: float = 0.0
    limits: tuple[float, float] | None = None
    limit_stiffness: float | None = None
    limit_smoothing: float | None = None

    def __post_init__(self) -> None:
        owner = f"Tendon '{self.name}'"
        checked_name("Tendon", self.name)
        object.__setattr__(self, "joints", joint_sum(owner, "joints", self.joints))
        for name in ("stiffness", "damping"):
            object.__setattr__(self, name, number(owner, name, getattr(self, name), 0.0))
        object.__setattr__(self, "rest", self._rest(owner))
        if self.limits is not None:
            object.__setattr__(self, "limits", interval(owner, "limits", self.limits))
        if self.limit_stiffness is not None:
            object.__setattr__(self, "limit_stiffness", number(owner, "limit_stiffness", self.limit_stiffness, 0.0))
        smoothing = self.limit_smoothing
        if smoothing is None:
            low, high = self.limits or (-math.inf, math.inf)
            smoothing = min(1e-2, 0.02 * (high - low))
        object.__setattr__(self, "limit_smoothing", number(owner, "limit_smoothing", smoothing, 1e-9))

    def _rest(self, owner: str) -> tuple[float, float]:
        given = numbers_of(self.rest)
        if not given:
            own = number(owner, "rest", self.rest)  # type: ignore[arg-type]
            return own, own
        if len(given) != 2 or not all(map(math.isfinite, given)) or given[0] > given[1]:
            raise InputError(f"{owner}: rest must be a length, or (low, high) with low <= high, got {self.rest!r}")
        return given[0], given[1]
