"""Franka Emika's Panda with its hand."""

from __future__ import annotations

import math

from diffsim.scene.articulation import Quaternion, Vector3
from tasks.robots.model_packages import load_quietly, package_file
from tasks.robots.reworking import at_home, touching, weightless, with_joints, without_prefix
from tasks.robots.robot import Robot, servo

FILE = "robots/panda_description/urdf/panda.urdf"
ARM = tuple(f"joint{n}" for n in range(1, 8))
FINGERS = ("finger_joint1", "finger_joint2")
HOME = (0.0, -math.pi / 4, 0.0, -3 * math.pi / 4, 0.0, math.pi / 2, math.pi / 4)  # Franka's ready pose
OPENED = 0.04
GAINS = (4500.0, 4500.0, 3500.0, 3500.0, 2000.0, 2000.0, 2000.0)  # N m/rad; the servos are damped by a tenth of it, in s
EFFORTS = (87.0,) * 4 + (12.0,) * 3  # N m, of the file
ROTOR = 0.1  # kg m^2 on each joint, kg on each finger
GRIP, GRIP_FORCE = 1500.0, 70.0  # N/m, and N, what Franka says of the hand


def panda(
    name: str = "panda",
    *,
    position: Vector3 = (0.0, 0.0, 0.0),
    rotation: Quaternion = (1.0, 0.0, 0.0, 0.0),
    touches: tuple[str, ...] | None = ("hand", "leftfinger", "rightfinger"),
    friction: float = 1.0,
    gravity_compensation: float = 1.0,
    visuals: bool = True,
) -> Robot:
    """The arm of seven joints with a gripper of two fingers, both of which its one actuator "finger_joint1" closes.

    Position servos on all joints, with the file's limits of torque. The end effector is "hand_tcp", between the fingertips,
    whose z points away from the hand.

    Args:
        name: of the articulation.
        position, rotation: of the base in the world, m and quaternion (w, x, y, z).
        touches: links that collide, "link0" to "link7" among them; None: all. They never touch each other.
        friction: of these.
        gravity_compensation: share of its weight that is carried.
        visuals: whether to read the shapes that are only drawn.

    Raises:
        InputError: the package example-robot-data, or mujoco, is not installed; or an argument is wrong.
    """
    path = package_file("panda", "example-robot-data", FILE)
    arm = [servo(joint, f"panda_{joint}", gain, effort) for joint, gain, effort in zip(ARM, GAINS, EFFORTS, strict=True)]
    grip = servo(FINGERS[0], f"panda_{FINGERS[0]}", GRIP, GRIP_FORCE, damping=100.0)
    read = load_quietly(
        path, name=name, position=position, rotation=rotation, actuators=(*arm, grip), visuals=visuals, self_collisions=False
    )
    read = touching(without_prefix(read, "panda_"), touches, friction)
    home = {**dict(zip(ARM, HOME, strict=True)), **dict.fromkeys(FINGERS, OPENED)}
    read = with_joints(at_home(read, home), {joint: {"armature": ROTOR} for joint in home})
    return Robot(weightless(read, gravity_compensation), home, "hand_tcp", ARM, FINGERS[:1], 0.0, OPENED)
