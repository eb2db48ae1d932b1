"""Joints and actuators of a scene by their names: where they stand in states and actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diffsim.errors import InputError
from diffsim.rigid.link_info import LinkInfo
from diffsim.scene.articulation import Actuator, Joint
from diffsim.scene.scene import Scene


@dataclass(frozen=True)
class ActuatorInfo:
    """An actuator of a scene (`Simulator.actuator`).

    Attributes:
        name: "<articulation>.<actuator>".
        actuator: as declared.
        index: its entry of an action.
    """

    name: str
    actuator: Actuator
    index: int

    def drives_alone(self, joint: str) -> bool:
        """Whether the joint of that name, without its articulation's, is all that it drives."""
        assert isinstance(self.actuator.joints, Mapping)
        return list(self.actuator.joints) == [joint]

    @property
    def factor(self) -> float:
        """Of one that drives a single joint: from a target of that joint, m or rad, or m/s or rad/s, or from its torque, N m or
        N, to the entry of the action."""
        assert isinstance(self.actuator.joints, Mapping)
        coefficient = next(iter(self.actuator.joints.values()))
        if self.actuator.kind == "torque":
            return 1.0 / (coefficient * self.actuator.gain * self.actuator.control_scale)
        return coefficient / self.actuator.control_scale


@dataclass(frozen=True)
class JointInfo:
    """A joint of a scene (`Simulator.joint`).

    Attributes:
        name: "<articulation>.<joint>", or the name of a rigid body.
        joint: as declared: kind, limits, damping and so on.
        link: index of the link that it carries, in `Simulator.links` and `Simulator.link_infos`.
        coordinates: its entries of ``state.q``.
        dofs: its entries of ``state.qd``.
        actuators: those that drive it, alone or with others.
    """

    name: str
    joint: Joint
    link: int
    coordinates: slice
    dofs: slice
    actuators: tuple[ActuatorInfo, ...]

    def driver(self, kind: str) -> ActuatorInfo | None:
        """The actuator of a kind ("torque", "position", "velocity") that drives this joint and no other."""
        for info in self.actuators:
            if info.actuator.kind == kind and info.drives_alone(self.joint.name):
                return info
        return None


def actuator_infos(scene: Scene) -> dict[str, ActuatorInfo]:
    """Of all actuators, in the order of the action, by name."""
    infos: dict[str, ActuatorInfo] = {}
    for articulation in scene.articulations:
        for actuator in articulation.actuators:
            name = f"{articulation.name}.{actuator.name}"
            infos[name] = ActuatorInfo(name, actuator, scene.tool_action_dim + len(infos))
    return infos


def joint_infos(links: Sequence[LinkInfo], scene: Scene) -> dict[str, JointInfo]:
    """Of all joints but the world's, by name; ``links`` are those of the compiled scene."""
    drivers: dict[str, list[ActuatorInfo]] = {}
    articulations = {articulation.name: articulation for articulation in scene.articulations}
    for info in actuator_infos(scene).values():
        owner = info.name.partition(".")[0]
        for joint, _coordinate in (driven for driven, _ in articulations[owner].transmission(info.actuator)):
            if info not in drivers.setdefault(f"{owner}.{joint}", []):
                drivers[f"{owner}.{joint}"].append(info)
    infos: dict[str, JointInfo] = {}
    for number, link in enumerate(links):
        if link.articulation is None:
            continue
        name = link.name if link.name == link.articulation else f"{link.articulation}.{link.joint.name}"
        infos[name] = JointInfo(name, link.joint, number, link.coordinates, link.dofs, tuple(drivers.get(name, ())))
    return infos


def joints_of(articulation: str, links: Sequence[LinkInfo], scene: Scene) -> dict[str, JointInfo]:
    """Those of one articulation, by their own names."""
    infos = joint_infos(links, scene).values()
    return {info.joint.name: info for info in infos if info.name == f"{articulation}.{info.joint.name}"}


def drivers_of(joints: Mapping[str, JointInfo], kind: str) -> dict[str, ActuatorInfo]:
    """The actuators of a kind that drive one of these joints alone, by the joint."""
    return {name: driver for name, info in joints.items() if (driver := info.driver(kind)) is not None}


def named_joint(name: str, links: Sequence[LinkInfo], scene: Scene) -> JointInfo:
    """The joint of that name.

    Raises:
        InputError: there is none.
    """
    infos = joint_infos(links, scene)
    if name not in infos:
        raise InputError(f"there is no joint '{name}'; joints: {', '.join(infos) or 'none'}")
    return infos[name]


def named_actuator(name: str, scene: Scene) -> ActuatorInfo:
    """The actuator of that name.

    Raises:
        InputError: there is none.
    """
    infos = actuator_infos(scene)
    if name not in infos:
        raise InputError(f"there is no actuator '{name}'; actuators: {', '.join(infos) or 'none'}")
    return infos[name]
