"""Ready action spaces: what the components of a task's action, each in [-1, 1], do to the tools and joints of its scene."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

import diffsim as ds
from diffsim.robots.inverse_kinematics import EndEffector
from diffsim.scene.validation import number

Controls = Callable[[ds.State, Tensor], Tensor]


@dataclass(frozen=True)
class Drive:
    """An action space in a simulator.

    Attributes:
        dim: components of the action.
        places: which entries of the simulator's action it sets.
        controls: these entries (B, len(places)), of a state and the components (B, dim) in [-1, 1].
    """

    dim: int
    places: tuple[int, ...]
    controls: Controls


class ActionSpace(ABC):
    """Some components of a task's action. Tasks list theirs in `Task.actions`."""

    @abstractmethod
    def bound(self, simulator: ds.Simulator) -> Drive:
        """What it does in a simulator.

        Raises:
            InputError: the scene lacks what it drives.
        """


@dataclass(frozen=True)
class AllControls(ActionSpace):
    """A component for each control of the simulator: the tools' velocities, the articulations' actuators, the strengths of the
    controlled attachments.

    Attributes:
        scale: the control that a component of 1 stands for, in the control's own unit.
    """

    scale: float = 1.0

    def bound(self, simulator: ds.Simulator) -> Drive:
        count = simulator.action_dim
        return Drive(count, tuple(range(count)), lambda state, action: self.scale * action)


@dataclass(frozen=True)
class ToolVelocity(ActionSpace):
    """Velocity of a tool, a component for each axis; its other axes rest.

    Attributes:
        tool: its name.
        speed: that a component of 1 stands for, m/s (rad/s of "rx", "ry", "rz").
        axes: some of the tool's ``control``; None: all.
    """

    tool: str
    speed: float = 1.0
    axes: tuple[str, ...] | None = None

    def bound(self, simulator: ds.Simulator) -> Drive:
        tools = simulator.scene.tools
        index = simulator.tool_index(self.tool)
        control = tools[index].control
        axes = control if self.axes is None else tuple(self.axes)
        if not axes or len(set(axes)) < len(axes) or not set(axes) <= set(control):
            raise ds.InputError(f"ToolVelocity('{self.tool}'): axes must be out of {control}, each once, got {self.axes!r}")
        first = sum(len(tool.control) for tool in tools[:index])
        places = tuple(first + control.index(axis) for axis in axes)
        return Drive(len(axes), places, lambda state, action: self.speed * action)


@dataclass(frozen=True)
class AttachmentStrength(ActionSpace):
    """Strength of a controlled attachment: a component of 1 holds, -1 lets go (docs/attachments.md).

    Attributes:
        attachment: its name.
    """

    attachment: str

    def bound(self, simulator: ds.Simulator) -> Drive:
        names = [each.name for each in simulator.scene.attachments if each.controlled]
        if self.attachment not in names:
            known = ", ".join(names) or "none"
            raise ds.InputError(
                f"AttachmentStrength('{self.attachment}'): there is no such controlled attachment; there are: {known}"
            )
        place = simulator.action_dim - len(names) + names.index(self.attachment)
        return Drive(1, (place,), lambda state, action: 0.5 + 0.5 * action)


@dataclass(frozen=True)
class JointVelocity(ActionSpace):
    """Target velocities of joints with velocity actuators.

    Attributes:
        articulation: its name.
        joints: names of joints, a component each; None: all that have a velocity actuator of their own.
        limit: the velocity that a component of 1 stands for, rad/s or m/s; one for all, or one for each.
    """

    articulation: str
    joints: tuple[str, ...] | None = None
    limit: float | tuple[float, ...] = 1.0

    def bound(self, simulator: ds.Simulator) -> Drive:
        owner = f"JointVelocity('{self.articulation}')"
        motors = _motors(simulator, owner, self.articulation, self.joints, "velocity")
        scale = _each(simulator, owner, "limit", self.limit, motors) * motors.factors
        return Drive(len(motors.names), motors.places, lambda state, action: scale * action)


@dataclass(frozen=True)
class JointPosition(ActionSpace):
    """Target coordinates of joints with position actuators: a fixed centre, or where the joint is, plus scale times action,
    within the joint's limits.

    Attributes:
        articulation: its name.
        joints: names of joints, a component each; None: all that have a position actuator of their own.
        scale: rad or m that a component of 1 stands for; one for all, or one for each.
        centre: target of a component of 0, rad or m, one for each joint; None: the coordinates that the scene starts with.
        delta: whether the target counts from where the joint is now, in place of the centre.
    """

    articulation: str
    joints: tuple[str, ...] | None = None
    scale: float | tuple[float, ...] = 1.0
    centre: tuple[float, ...] | None = None
    delta: bool = False

    def bound(self, simulator: ds.Simulator) -> Drive:
        owner = f"JointPosition('{self.articulation}')"
        motors = _motors(simulator, owner, self.articulation, self.joints, "position")
        scale = _each(simulator, owner, "scale", self.scale, motors)
        if self.centre is None:
            centre = simulator.reset().q[0, motors.coordinates]
        else:
            centre = _each(simulator, owner, "centre", tuple(self.centre), motors)

        def controls(state: ds.State, action: Tensor) -> Tensor:
            start = state.q[:, motors.coordinates] if self.delta else centre
            return motors.targets(start + scale * action)

        return Drive(len(motors.names), motors.places, controls)


@dataclass(frozen=True)
class EndEffectorDelta(ActionSpace):
    """Motion of a point of a link, by differentiable inverse kinematics (damped least squares, Wampler 1986); a target counts
    from where the arm is now, so an arm whose servos yield to its weight sinks by as much in every step.

    Components: x, y, z of the point, in the world's frame; with ``turn`` also rotation about the world's x, y and z.

    Attributes:
        link: "<articulation>.<link>".
        distance: m a control step that a component of 1 stands for.
        turn: rad a control step; None: no such components.
        keep_rotation: without ``turn``, whether the link keeps the rotation it has rather than any.
        joints: that move, with position or velocity actuators; None: all above the link.
        point: in the link's frame, m.
        damping: as of `diffsim.EndEffector`.
    """

    link: str
    distance: float = 0.02
    turn: float | None = None
    keep_rotation: bool = True
    joints: tuple[str, ...] | None = None
    point: tuple[float, float, float] = (0.0, 0.0, 0.0)
    damping: float = 0.05

    def bound(self, simulator: ds.Simulator) -> Drive:
        owner = f"EndEffectorDelta('{self.link}')"
        hand = EndEffector(simulator, self.link, self.joints, point=self.point, damping=self.damping)
        articulation = self.link.split(".")[0]
        kind = _kind(simulator, articulation, hand.joints)
        motors = _motors(simulator, owner, articulation, hand.joints, kind)
        dim = 3 if self.turn is None else 6

        def controls(state: ds.State, action: Tensor) -> Tensor:
            move = self.distance * action[:, :3]
            turn = torch.zeros_like(move) if self.keep_rotation else None
            if self.turn is not None:
                turn = self.turn * action[:, 3:]
            change = hand.joint_velocities(state, move, turn)  # the same equations for small displacements
            if kind == "velocity":
                return change * motors.factors / simulator.control_dt
            return motors.targets(hand.joint_coordinates(state) + change)

        return Drive(dim, motors.places, controls)


@dataclass(frozen=True)
class Gripper(ActionSpace):
    """One component for all fingers: -1 closed, 1 open; their joints need position actuators.

    Attributes:
        articulation: its name.
        joints: names of the fingers' joints.
        closed, opened: their coordinates, m or rad; one for all, or one for each.
    """

    articulation: str
    joints: tuple[str, ...]
    closed: float | tuple[float, ...] = 0.0
    opened: float | tuple[float, ...] = 0.04

    def bound(self, simulator: ds.Simulator) -> Drive:
        owner = f"Gripper('{self.articulation}')"
        motors = _motors(simulator, owner, self.articulation, self.joints, "position")
        closed = _each(simulator, owner, "closed", self.closed, motors)
        opened = _each(simulator, owner, "opened", self.opened, motors)
        middle, half = 0.5 * (opened + closed), 0.5 * (opened - closed)
        return Drive(1, motors.places, lambda state, action: motors.targets(middle + half * action))


# Joining them -------------------------------------------------------------------------------------------------------


def joined(owner: str, spaces: Sequence[ActionSpace], simulator: ds.Simulator) -> tuple[int, Controls]:
    """The width of an action made of ``spaces``, and the simulator's controls that follow from a state and such an action.

    What no space drives rests: tools and motors have the control 0, position actuators stay where the scene starts.

    Raises:
        InputError: something in ``spaces`` is no action space, two drive the same thing, or one finds nothing to drive.
    """
    if isinstance(spaces, ActionSpace) or not all(isinstance(space, ActionSpace) for space in spaces) or not spaces:
        raise ds.InputError(f"actions() of task {owner} gave {spaces!r}; allowed is a list of action spaces, at least one")
    drives = [space.bound(simulator) for space in spaces]
    drivers: dict[int, ActionSpace] = {}
    for space, drive in zip(spaces, drives, strict=True):
        for place in drive.places:
            if place in drivers:
                raise ds.InputError(f"actions() of task {owner}: {drivers[place]} and {space} drive the same control")
            drivers[place] = space
    if len(drives) == 1 and drives[0].places == tuple(range(simulator.action_dim)):
        return drives[0].dim, drives[0].controls
    rest = _resting(simulator)
    idle = [place for place in range(simulator.action_dim) if place not in drivers]
    order = [*(place for drive in drives for place in drive.places), *idle]
    index = torch.tensor([order.index(place) for place in range(simulator.action_dim)], device=simulator.device)
    widths = [drive.dim for drive in drives]

    def controls(state: ds.State, action: Tensor) -> Tensor:
        parts = [drive.controls(state, part) for drive, part in zip(drives, action.split(widths, dim=1), strict=True)]
        return torch.cat([*parts, rest[idle].expand(len(action), -1)], dim=1)[:, index]

    return sum(widths), controls


class _Motors(NamedTuple):
    """Actuators that drive one joint each, in order."""

    names: tuple[str, ...]
    """Of the joints."""
    places: tuple[int, ...]
    """In the simulator's action."""
    coordinates: list[int]
    """Of the joints in ``state.q``."""
    factors: Tensor
    """(n,) from a joint's coordinate or velocity to the actuator's entry of the action."""
    low: Tensor
    """(n,) the joints' limits."""
    high: Tensor

    def targets(self, coordinates: Tensor) -> Tensor:
        """The actuators' entries for target coordinates (B, n), within the limits."""
        return torch.minimum(torch.maximum(coordinates, self.low), self.high) * self.factors


def _actuators(simulator: ds.Simulator, articulation: str, kind: str) -> dict[str, tuple[int, float]]:
    """Place and factor of the actuators of a kind that drive one joint each, by the joint's name."""
    found: dict[str, tuple[int, float]] = {}
    at = simulator.scene.tool_action_dim
    for each in simulator.scene.articulations:
        for actuator in each.actuators:
            if each.name == articulation and actuator.kind == kind and len(actuator.joints) == 1:
                joint, coefficient = next(iter(actuator.joints.items()))  # type: ignore[union-attr]
                found[joint] = (at, coefficient / actuator.control_scale)
            at += 1
    return found


def _kind(simulator: ds.Simulator, articulation: str, joints: Sequence[str]) -> Literal["position", "velocity"]:
    """The kind of the joints' actuators."""
    return "velocity" if set(joints) <= set(_actuators(simulator, articulation, "velocity")) else "position"


def _motors(
    simulator: ds.Simulator, owner: str, articulation: str, joints: Sequence[str] | None, kind: Literal["position", "velocity"]
) -> _Motors:
    names = [each.name for each in simulator.scene.articulations]
    if articulation not in names:
        raise ds.InputError(f"{owner}: there is no such articulation; articulations: {', '.join(names) or 'none'}")
    known = _actuators(simulator, articulation, kind)
    chosen = tuple(known) if joints is None else (joints,) if isinstance(joints, str) else tuple(joints)
    links = {link.joint.name: link for link in simulator.link_infos if link.articulation == articulation}
    for joint in chosen:
        if joint not in known or joint not in links:
            allowed = ", ".join(name for name in known if name in links) or "none"
            raise ds.InputError(f"{owner}: joint '{joint}' has no {kind} actuator of its own; joints that have one: {allowed}")
    if not chosen:
        raise ds.InputError(f"{owner}: no joint has a {kind} actuator of its own")
    limits = [links[joint].joint.limits or (-math.inf, math.inf) for joint in chosen]
    low, high = _tensor(simulator, limits).unbind(1)
    return _Motors(
        names=chosen,
        places=tuple(known[joint][0] for joint in chosen),
        coordinates=[links[joint].coordinates.start for joint in chosen],
        factors=_tensor(simulator, [known[joint][1] for joint in chosen]),
        low=low,
        high=high,
    )


def _resting(simulator: ds.Simulator) -> Tensor:
    """(action_dim,) controls under which nothing is driven: 0, of position actuators where the scene starts, and grips hold."""
    rest = torch.zeros(simulator.action_dim, dtype=simulator.dtype, device=simulator.device)
    rest[simulator.action_dim - simulator.scene.grip_action_dim :] = 1.0
    first = simulator.reset().q[0]
    for articulation in simulator.scene.articulations:
        links = {link.joint.name: link for link in simulator.link_infos if link.articulation == articulation.name}
        for joint, (place, factor) in _actuators(simulator, articulation.name, "position").items():
            if joint in links:
                rest[place] = factor * first[links[joint].coordinates.start]
    return rest


def _each(simulator: ds.Simulator, owner: str, name: str, value: float | Sequence[float], motors: _Motors) -> Tensor:
    """(n,) one number for each joint."""
    values: list[Any] = list(value) if isinstance(value, tuple | list) else [value] * len(motors.names)
    if len(values) != len(motors.names):
        raise ds.InputError(f"{owner}: {name} must be a number, or one for each of {', '.join(motors.names)}, got {value!r}")
    return _tensor(simulator, [number(owner, name, each) for each in values])


def _tensor(simulator: ds.Simulator, values: object) -> Tensor:
    return torch.tensor(values, dtype=simulator.dtype, device=simulator.device)
