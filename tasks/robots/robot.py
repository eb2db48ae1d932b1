"""A robot that is ready for a scene, and what a task needs to know of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import diffsim as ds
from tasks.action_spaces import PLACES, ActionSpace, AllControls, EndEffectorDelta, Gripper, JointPosition


def servo(name: str, joint: str, gain: float, force: float, damping: float | None = None) -> ds.Actuator:
    """A position servo of a joint with so much force at most, N or N m; damped by a tenth of its gain where nothing is said."""
    damping = 0.1 * gain if damping is None else damping
    return ds.Actuator(name, joint, "position", gain=gain, damping=damping, force_limits=(-force, force))


@dataclass(frozen=True)
class Robot:
    """A robot from a file, with servos, a home configuration, and the shapes that may touch something.

    Attributes:
        articulation: for `diffsim.Scene`.
        home: coordinates by joint, without the articulation's name, that it starts with, m or rad.
        end_effector: name of the link whose point a task moves; None: it has none.
        arm: joints that move the end effector, the root's first; or all that have a position servo.
        gripper: the joint whose servo closes the gripper, if there is one; the other finger follows.
        closed, opened: coordinates of that joint, m.
    """

    articulation: ds.Articulation
    home: Mapping[str, float]
    end_effector: str | None = None
    arm: tuple[str, ...] = ()
    gripper: tuple[str, ...] = ()
    closed: float = 0.0
    opened: float = 0.0

    @property
    def name(self) -> str:
        """The articulation's."""
        return self.articulation.name

    @property
    def end_effector_link(self) -> str:
        """Its end effector as simulators name it, "<articulation>.<link>".

        Raises:
            InputError: it has none.
        """
        if self.end_effector is None:
            raise ds.InputError(f"robot '{self.name}' has no end effector")
        return f"{self.name}.{self.end_effector}"

    def end_effector_actions(
        self, distance: float = 0.02, turn: float | None = None, axes: tuple[str, ...] = PLACES
    ) -> list[ActionSpace]:
        """For `Task.actions`: motion of the end effector a control step (`EndEffectorDelta`), then the gripper, 1 open."""
        return [EndEffectorDelta(self.end_effector_link, distance, turn, axes, joints=self.arm), *self._gripper_actions()]

    def joint_actions(self, scale: float = 0.1, *, delta: bool = True) -> list[ActionSpace]:
        """For `Task.actions`: targets of the arm's joints, from the last ones or (``delta`` False) from home, then the gripper.
        Of robots that have torque actuators alone: all controls of the scene.

        Args:
            scale: rad or m that a component of 1 stands for.
        """
        if not self.arm:
            return [AllControls()]
        centre = None if delta else tuple(self.home.get(joint, 0.0) for joint in self.arm)
        return [JointPosition(self.name, self.arm, scale, centre, delta), *self._gripper_actions()]

    def _gripper_actions(self) -> list[ActionSpace]:
        return [Gripper(self.name, self.gripper, self.closed, self.opened)] if self.gripper else []
