"""Controllers of robots by the servos of their joints: what an action must hold so that joints, or a link, go somewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from diffsim.errors import InputError
from diffsim.rigid.joint_info import drivers_of, joints_of
from diffsim.robots.inverse_kinematics import EndEffector
from diffsim.scene.articulation import ACTUATORS
from diffsim.scene.scene import Vector3
from diffsim.scene.validation import choice
from diffsim.simulator import Simulator
from diffsim.state import State


class JointController:
    """Targets of joints that have servos of their own, or torques of those with motors, and the entries of an action that stand
    for them.

    Args:
        simulator: of a scene with the articulation.
        articulation: its name.
        joints: their names, without the articulation's; None: all that have such a servo.
        kind: of the servos, "position" or "velocity"; or "torque".
        owner: what errors begin with. None: this class and the articulation.

    Attributes:
        joints: names, in order.
        places: their entries of an action.
        factors: (n,) from a target to its entry.
        low, high: (n,) the joints' limits, m or rad.

    Raises:
        InputError: there is no such articulation, or a joint has no servo of that kind that drives it alone.
    """

    def __init__(
        self,
        simulator: Simulator,
        articulation: str,
        joints: Sequence[str] | None = None,
        kind: str = "position",
        *,
        owner: str | None = None,
    ):
        owner = owner or f"JointController('{articulation}')"
        choice(owner, "kind", kind, ACTUATORS)
        names = [each.name for each in simulator.scene.articulations]
        if articulation not in names:
            raise InputError(f"{owner}: there is no such articulation; articulations: {', '.join(names) or 'none'}")
        known = joints_of(articulation, simulator.link_infos, simulator.scene)
        drivers = drivers_of(known, kind)
        chosen = tuple(drivers) if joints is None else (joints,) if isinstance(joints, str) else tuple(joints)
        for joint in chosen:
            if joint not in drivers:
                allowed = ", ".join(drivers) or "none"
                raise InputError(f"{owner}: joint '{joint}' has no {kind} actuator of its own; joints that have one: {allowed}")
        if not chosen:
            raise InputError(f"{owner}: no joint has a {kind} actuator of its own")
        self.kind, self.joints = kind, chosen
        self.places = tuple(drivers[joint].index for joint in chosen)
        self._coordinates = [known[joint].coordinates.start for joint in chosen]
        like = {"dtype": simulator.dtype, "device": simulator.device}
        self.factors = torch.tensor([drivers[joint].factor for joint in chosen], **like)  # type: ignore[arg-type]
        limits = [known[joint].joint.limits or (-math.inf, math.inf) for joint in chosen]
        self.low, self.high = torch.tensor(limits, **like).unbind(1)  # type: ignore[arg-type]

    def coordinates(self, state: State) -> Tensor:
        """The joints' coordinates (B, n), m or rad."""
        return state.q[:, self._coordinates]

    def within(self, targets: Tensor) -> Tensor:
        """Target coordinates (B, n), those beyond a joint's limit moved there."""
        return torch.minimum(torch.maximum(targets, self.low), self.high)

    def controls(self, targets: Tensor) -> Tensor:
        """The servos' entries of an action (B, n), for targets (B, n): m or rad within the joints' limits, or m/s, rad/s, or
        N m, N."""
        return (self.within(targets) if self.kind == "position" else targets) * self.factors

    def targets(self, controls: Tensor) -> Tensor:
        """The targets (B, n) that such entries (B, n) stand for: where the servos were told to go."""
        return controls / self.factors

    def held(self, state: State) -> Tensor:
        """The entries (B, n) under which the joints are told to stay where they are."""
        coordinates = self.coordinates(state)
        return self.controls(coordinates if self.kind == "position" else torch.zeros_like(coordinates))


class EndEffectorController:
    """Motion of a link's point, step by step, by the servos of the joints above it.

    With position servos a step moves their targets, by the inverse kinematics there: an arm that yields to its weight or lags
    behind gets where it was told to, and does not sink by as much in every step. What was told last is an argument and a
    result: ``controls = controller.step(state, controls, move)``, from ``controller.held(state)``.

    Args:
        simulator, link, joints, point, damping: as of `EndEffector`. The joints have position or velocity actuators.

    Attributes:
        kinematics: the `EndEffector`.
        servos: the `JointController` of its joints.

    Raises:
        InputError: as of `EndEffector`, or a joint has no servo.
    """

    def __init__(
        self,
        simulator: Simulator,
        link: str,
        joints: Sequence[str] | None = None,
        *,
        point: Vector3 = (0.0, 0.0, 0.0),
        damping: float = 0.05,
    ):
        self.kinematics = EndEffector(simulator, link, joints, point=point, damping=damping)
        articulation = link.partition(".")[0]
        infos = joints_of(articulation, simulator.link_infos, simulator.scene)
        moved = [infos[joint] for joint in self.kinematics.joints]
        kind = "velocity" if all(info.driver("velocity") for info in moved) else "position"
        self.servos = JointController(simulator, articulation, self.kinematics.joints, kind)
        self._seconds = simulator.control_dt

    def held(self, state: State) -> Tensor:
        """The servos' entries of an action (B, n) under which the arm is told to stay."""
        return self.servos.held(state)

    def step(self, state: State, last: Tensor, move: Tensor, turn: Tensor | None = None) -> Tensor:
        """The servos' entries of the next action (B, n).

        Args:
            last: those of the last one (B, n); velocity servos, which have no place to be told, take the arm's own.
            move: of the point in the control step, m, (B, 3), in the world's frame.
            turn: of the link, rotation vectors in the world's frame, rad, (B, 3); zeros keep the rotation. None: any rotation.

        Raises:
            InputError: a shape or dtype is wrong, or something is not finite.
        """
        if self.servos.kind == "velocity":
            rate = None if turn is None else turn / self._seconds
            return self.servos.controls(self.kinematics.joint_velocities(state, move / self._seconds, rate))
        targets = self.servos.targets(last)
        return self.servos.controls(self.kinematics.displaced(state, targets, move, turn))
