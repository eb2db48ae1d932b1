"""Ready action spaces: what the components of a task's action, each in [-1, 1], do to the tools and joints of its scene."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import diffsim as ds
from diffsim.robots.controllers import EndEffectorController, JointController
from diffsim.scene.validation import number

PLACES, TURNS = ("x", "y", "z"), ("rx", "ry", "rz")
DEFAULT_TURN = 0.1  # rad a control step


@dataclass(frozen=True)
class Drive:
    """An action space in a simulator.

    Attributes:
        dim: components of the action.
        places: which entries of the simulator's action it sets.
        controls: these entries (B, len(places)), of a state and the components (B, dim) in [-1, 1]; with ``held`` of a third
            argument too, the entries (B, len(places)) of the step before.
        held: of a space that counts from what it set last: the entries (B, len(places)), of a state, from which the first step
            of an episode counts. None: it does not.
    """

    dim: int
    places: tuple[int, ...]
    controls: Callable[..., Tensor]
    held: Callable[[ds.State], Tensor] | None = None


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
    controlled attachments, the activations of the muscles.

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
        place = simulator.scene.first_grip + names.index(self.attachment)
        return Drive(1, (place,), lambda state, action: 0.5 + 0.5 * action)


@dataclass(frozen=True)
class MuscleActivation(ActionSpace):
    """Activations of muscles, a component each (docs/muscles.md).

    Attributes:
        muscles: their names; None: all of the scene's.
        scale: the activation that a component of 1 stands for.
    """

    muscles: tuple[str, ...] | None = None
    scale: float = 1.0

    def bound(self, simulator: ds.Simulator) -> Drive:
        names = [muscle.name for muscle in simulator.scene.muscles]
        chosen = names if self.muscles is None else list(self.muscles)
        if not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= set(names):
            known = ", ".join(names) or "none"
            raise ds.InputError(f"MuscleActivation: muscles must be out of {known}, each once, got {self.muscles!r}")
        scale = number("MuscleActivation", "scale", self.scale)
        places = tuple(simulator.scene.first_muscle + names.index(name) for name in chosen)
        return Drive(len(chosen), places, lambda state, action: scale * action)


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
        servos = JointController(simulator, self.articulation, self.joints, "velocity", owner=owner)
        limit = _each(simulator, owner, "limit", self.limit, servos)
        return Drive(len(servos.joints), servos.places, lambda state, action: servos.controls(limit * action))


@dataclass(frozen=True)
class JointTorque(ActionSpace):
    """Torques of joints with torque actuators.

    Attributes:
        articulation: its name.
        joints: names of joints, a component each; None: all that have a torque actuator of their own.
        limit: the torque that a component of 1 stands for, N m (N); one for all, or one for each.
    """

    articulation: str
    joints: tuple[str, ...] | None = None
    limit: float | tuple[float, ...] = 1.0

    def bound(self, simulator: ds.Simulator) -> Drive:
        owner = f"JointTorque('{self.articulation}')"
        motors = JointController(simulator, self.articulation, self.joints, "torque", owner=owner)
        limit = _each(simulator, owner, "limit", self.limit, motors)
        return Drive(len(motors.joints), motors.places, lambda state, action: motors.controls(limit * action))


@dataclass(frozen=True)
class JointPosition(ActionSpace):
    """Target coordinates of joints with position actuators: a fixed centre, or the last target, plus scale times action, within
    the joint's limits.

    Attributes:
        articulation: its name.
        joints: names of joints, a component each; None: all that have a position actuator of their own.
        scale: rad or m that a component of 1 stands for; one for all, or one for each.
        centre: target of a component of 0, rad or m, one for each joint; None: the coordinates that the scene starts with.
        delta: whether the target counts from the last one in place of the centre; an episode's first from where the joint is.
    """

    articulation: str
    joints: tuple[str, ...] | None = None
    scale: float | tuple[float, ...] = 1.0
    centre: tuple[float, ...] | None = None
    delta: bool = False

    def bound(self, simulator: ds.Simulator) -> Drive:
        owner = f"JointPosition('{self.articulation}')"
        servos = JointController(simulator, self.articulation, self.joints, owner=owner)
        scale = _each(simulator, owner, "scale", self.scale, servos)
        if self.delta:

            def moved(state: ds.State, action: Tensor, last: Tensor) -> Tensor:
                return servos.controls(servos.targets(last) + scale * action)

            return Drive(len(servos.joints), servos.places, moved, servos.held)
        if self.centre is None:
            centre = servos.coordinates(simulator.reset())[0]
        else:
            centre = _each(simulator, owner, "centre", tuple(self.centre), servos)
        return Drive(len(servos.joints), servos.places, lambda state, action: servos.controls(centre + scale * action))


@dataclass(frozen=True)
class EndEffectorDelta(ActionSpace):
    """Motion of a point of a link, by differentiable inverse kinematics (`diffsim.EndEffectorController`). With position
    actuators it counts from the last target, an episode's first from where the arm is: so the arm gets as far as it was
    told to, however soft its servos are.

    Components: the ``axes``, in their order, in the world's frame.

    Attributes:
        link: "<articulation>.<link>".
        distance: m a control step that a component of 1 stands for, along "x", "y", "z".
        turn: rad a control step, about "rx", "ry", "rz"; None: 0.1.
        axes: any of these six: ("x", "y", "z") is position alone, ("x", "y", "z", "rz") with yaw, all six the whole pose. What
            is not among them stays as it was told to be.
        keep_rotation: without axes of rotation, whether the link keeps its rotation rather than has any.
        joints: that move, with position or velocity actuators; None: all above the link.
        point: in the link's frame, m.
        damping: as of `diffsim.EndEffector`.
    """

    link: str
    distance: float = 0.02
    turn: float | None = None
    axes: tuple[str, ...] = PLACES
    keep_rotation: bool = True
    joints: tuple[str, ...] | None = None
    point: tuple[float, float, float] = (0.0, 0.0, 0.0)
    damping: float = 0.05

    def bound(self, simulator: ds.Simulator) -> Drive:
        owner = f"EndEffectorDelta('{self.link}')"
        known = (*PLACES, *TURNS)
        axes = tuple(self.axes)
        if not axes or len(set(axes)) < len(axes) or not set(axes) <= set(known):
            raise ds.InputError(f"{owner}: axes must be out of {known}, each once, got {self.axes!r}")
        turns = bool(set(axes) & set(TURNS))
        if self.turn is not None and not turns:
            raise ds.InputError(f"{owner}: turn needs axes of rotation among axes, got axes={self.axes!r}")
        turn = number(owner, "turn", DEFAULT_TURN if self.turn is None else self.turn)
        distance = number(owner, "distance", self.distance)
        arm = EndEffectorController(simulator, self.link, self.joints, point=self.point, damping=self.damping)
        places = torch.tensor([known.index(axis) for axis in axes], device=simulator.device)

        def controls(state: ds.State, action: Tensor, last: Tensor) -> Tensor:
            motion = action.new_zeros(len(action), 6).index_copy(1, places, action)
            rotation = turn * motion[:, 3:] if turns or self.keep_rotation else None
            return arm.step(state, last, distance * motion[:, :3], rotation)

        return Drive(len(axes), arm.servos.places, controls, arm.held)


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
        servos = JointController(simulator, self.articulation, self.joints, owner=owner)
        closed = _each(simulator, owner, "closed", self.closed, servos)
        opened = _each(simulator, owner, "opened", self.opened, servos)
        middle, half = 0.5 * (opened + closed), 0.5 * (opened - closed)
        return Drive(1, servos.places, lambda state, action: servos.controls(middle + half * action))


# Joining them -------------------------------------------------------------------------------------------------------


def joined(owner: str, spaces: Sequence[ActionSpace], simulator: ds.Simulator) -> Drive:
    """All of the simulator's controls by an action that is made of ``spaces``.

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
    everything = tuple(range(simulator.action_dim))
    if len(drives) == 1 and drives[0].places == everything:
        return drives[0]
    rest = _resting(simulator)
    idle = [place for place in everything if place not in drivers]
    order = [*(place for drive in drives for place in drive.places), *idle]
    index = torch.tensor([order.index(place) for place in everything], device=simulator.device)
    widths = [drive.dim for drive in drives]

    def whole(parts: list[Tensor]) -> Tensor:
        return torch.cat([*parts, rest[idle].expand(len(parts[0]), -1)], dim=1)[:, index]

    def controls(state: ds.State, action: Tensor, last: Tensor | None = None) -> Tensor:
        parts = []
        for drive, part in zip(drives, action.split(widths, dim=1), strict=True):
            counted = () if drive.held is None or last is None else (last[:, drive.places],)  # which the task gives
            parts.append(drive.controls(state, part, *counted))
        return whole(parts)

    def held(state: ds.State) -> Tensor:
        still = rest.expand(len(state.q), -1)
        return whole([still[:, each.places] if each.held is None else each.held(state) for each in drives])

    return Drive(sum(widths), everything, controls, held if any(drive.held for drive in drives) else None)


def _resting(simulator: ds.Simulator) -> Tensor:
    """(action_dim,) controls under which nothing is driven: 0, of position actuators where the scene starts, and grips hold."""
    rest = torch.zeros(simulator.action_dim, dtype=simulator.dtype, device=simulator.device)
    rest[simulator.scene.first_grip :][: simulator.scene.grip_action_dim] = 1.0
    first = simulator.reset()
    for articulation in simulator.scene.articulations:
        if any(actuator.kind == "position" and len(actuator.joints) == 1 for actuator in articulation.actuators):
            servos = JointController(simulator, articulation.name)
            rest[list(servos.places)] = servos.held(first)[0]
    return rest


def _each(simulator: ds.Simulator, owner: str, name: str, value: float | Sequence[float], servos: JointController) -> Tensor:
    """(n,) one number for each joint."""
    values: list[Any] = list(value) if isinstance(value, tuple | list) else [value] * len(servos.joints)
    if len(values) != len(servos.joints):
        raise ds.InputError(f"{owner}: {name} must be a number, or one for each of {', '.join(servos.joints)}, got {value!r}")
    numbers = [number(owner, name, each) for each in values]
    return torch.tensor(numbers, dtype=simulator.dtype, device=simulator.device)
