"""What a kind of joint is: a class whose methods are all that the rest of diffsim knows of it, and the table of the kinds.

A kind is one file: the host's side in numpy, the kernels' side in Taichi with its adjoint beside it. `docs/extending.md` writes
one from outside the package.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import numpy as np

from diffsim.errors import InputError
from diffsim.rigid.rigid_records import SCREW, LinkConstants


class DeclaredJoint(Protocol):
    """What a kind reads of a `diffsim.Joint`."""

    @property
    def axis(self) -> Any: ...
    @property
    def second_axis(self) -> Any: ...
    @property
    def constants(self) -> Any: ...


class JointType(ABC):
    """A kind of joint.

    A joint's frame is the link's frame at the joint's zero, fixed to the parent. A dof n moves the link with the velocity
    ``v[n]`` times its axis: it slides along it (SLIDE), turns about it through the link's origin (TURN), or does both (SCREW).

    Attributes:
        name: its ``Joint.kind``.
        coordinates: how many entries of q a joint has.
        motions: SLIDE, TURN or SCREW of each dof, from `diffsim.rigid.rigid_records`.
        coordinate_names: of the coordinates, where each is a plain number and dof n is its rate: such joints can have limits
            and springs, and actuators can drive "<joint>" or, of a joint with several, "<joint>.<coordinate name>". Else empty.
        has_second_axis: whether it reads ``Joint.second_axis``.
        constants: how many numbers of ``Joint.constants`` it reads, 4 at most.
        root_only: whether its coordinates are in the world's frame, so that it belongs on a root link.
        rotates: whether its last four coordinates are a quaternion (w, x, y, z), by which the link turns last, and its last
        three dofs
            the angular velocity against the parent in the link's frame. That part is common code; the other dofs of such a kind
            only slide.
    """

    name: ClassVar[str]
    coordinates: ClassVar[int]
    motions: ClassVar[tuple[int, ...]]
    coordinate_names: ClassVar[tuple[str, ...]] = ()
    has_second_axis: ClassVar[bool] = False
    constants: ClassVar[int] = 0
    root_only: ClassVar[bool] = False
    rotates: ClassVar[bool] = False

    @property
    def dofs(self) -> int:
        """How many entries of v a joint has."""
        return len(self.motions)

    @property
    def screws(self) -> bool:
        """Whether a dof turns and slides at once."""
        return SCREW in self.motions

    def zero(self, position: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        """Coordinates (coordinates,) of its zero, with the joint's frame at a position (3,) and rotation (3, 3)."""
        return np.zeros(self.coordinates)

    def checked(self, owner: str, q: tuple[float, ...]) -> tuple[float, ...]:
        """Initial coordinates as they are stored; ``owner`` is for messages.

        Raises:
            InputError: they are no coordinates of such a joint.
        """
        return q

    @abstractmethod
    def place(
        self, joint: DeclaredJoint, q: np.ndarray, position: np.ndarray, rotation: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Position (3,) and rotation (3, 3) of the link, given those of the joint's frame."""

    @abstractmethod
    def jacobian(self, joint: DeclaredJoint, q: np.ndarray, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Velocity of the link's origin and angular velocity against the parent, by the dofs: (3, dofs) each, in the world's
        frame. ``rotation`` (3, 3) is that of the link."""

    def link_axis(self, joint: DeclaredJoint) -> np.ndarray | None:
        """The axis (3,) in the link's frame of a joint of one dof that does nothing but turn about or slide along it: inverse
        kinematics moves such joints. None for the others."""
        return None

    def motion(self, real: Any) -> tuple[Callable[..., Any], Callable[..., Any]] | None:
        """Device functions for the scalar type ``real``, where ``m`` is a `RigidMemory` and ``j`` a `JointPlace`; None where
        there is nothing to do (but to turn by the quaternion of a kind that ``rotates``):

        ``motion(m, j, rot, p, full)``, with rotation and position of the joint's frame in the world: stores the axes, and
        returns rotation and position of the link; its angular velocity and the velocity of its origin against the parent (turn,
        slide); their accelerations at the dofs' accelerations a as seen from the parent; turn and slide under the new
        velocities v + h a; and under the virtual ones. Without ``full`` a and the virtual velocities are zero, and the last
        four play no part. Products of velocities in the accelerations are (x y' + x' y) / 2, with x and y at v, x' and y' at
        v + ``j.ahead`` a. Of an axis that does not turn with the parent alone the rate, seen from there, is stored as
        `DofWork.axis_rate`.

        ``motion_adjoint(m, j, rotation_bar, shift_bar, turn_bar, slide_bar, ...)``: adds to the adjoints of q and v; returns
        the adjoint of the joint frame's rotation. Its arguments are the adjoints of the link's rotation (as an infinitesimal
        one in the world's frame), of its position against the parent's, and of the eight motions that ``motion`` returns, in
        that order. a and the virtual velocities are constants."""
        return None

    def integration(self, real: Any) -> tuple[Callable[..., Any], Callable[..., Any]] | None:
        """Device functions for the scalar type ``real`` of a kind whose coordinates are no plain numbers with the dofs as
        rates, but for a quaternion at the end; None for the others:

        ``integrate(m, j, duration)``: from the coordinates at ``j.q`` to those at ``j.new_q``, which may be the same place, in
        so many seconds with the velocities at ``j.v``.

        ``integrate_adjoint(m, j, duration)``: the adjoint of the coordinates, in place; to that of the velocities it is added.
        """
        return None


_kinds: dict[str, JointType] = {}


def register_joint(kind: JointType) -> None:
    """Make a kind of joint known: ``diffsim.Joint(kind=kind.name)`` is then one of it.

    Raises:
        InputError: it is no JointType, what it declares does not fit together, or another kind has its name.
    """
    if not isinstance(kind, JointType):
        raise InputError(f"register_joint: the kind must be a diffsim.JointType, got {kind!r}")
    if kind.name in _kinds and type(_kinds[kind.name]) is not type(kind):
        raise InputError(f"register_joint: there is a joint kind '{kind.name}' already")
    if kind.coordinate_names and not len(kind.coordinate_names) == kind.coordinates == kind.dofs:
        raise InputError(
            f"register_joint: kind '{kind.name}' has {len(kind.coordinate_names)} coordinate names, {kind.coordinates} "
            f"coordinates and {kind.dofs} dofs; where coordinates have names, the three are the same"
        )
    if type(kind).integration is JointType.integration and kind.coordinates - kind.dofs != kind.rotates:
        raise InputError(
            f"register_joint: kind '{kind.name}' has {kind.coordinates} coordinates and {kind.dofs} dofs; it must say in "
            "`integration` how the former follow from the latter"
        )
    most = LinkConstants.FIELDS["joint_constants"].size
    if kind.constants > most:
        raise InputError(f"register_joint: kind '{kind.name}' has {kind.constants} constants; {most} at most are possible")
    _kinds[kind.name] = kind


def joint_kind(name: str) -> JointType:
    """The kind of a name.

    Raises:
        KeyError: there is none.
    """
    return _kinds[name]


def joint_kinds() -> tuple[str, ...]:
    """Names of all kinds."""
    return tuple(_kinds)
