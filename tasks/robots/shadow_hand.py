"""The Shadow Dexterous Hand on a forearm that stands still."""

from __future__ import annotations

from diffsim.scene.articulation import Quaternion, Vector3
from tasks.robots.model_packages import load_quietly, package_file
from tasks.robots.reworking import at_home, subtree, weightless, without_prefix
from tasks.robots.robot import Robot

FILE = "envs/assets/hand/reach.xml"
HOME = {  # half open, as Gymnasium-Robotics starts
    "WRJ1": -0.165, "WRJ0": -0.32,
    "FFJ3": 0.143, "FFJ2": 0.32, "FFJ1": 0.713, "FFJ0": 0.671,
    "MFJ3": 0.0, "MFJ2": 0.315, "MFJ1": 0.766, "MFJ0": 0.732,
    "RFJ3": 0.0, "RFJ2": 0.367, "RFJ1": 0.712, "RFJ0": 0.67,
    "LFJ4": 0.053, "LFJ3": -0.136, "LFJ2": 0.399, "LFJ1": 0.742, "LFJ0": 0.704,
    "THJ4": 0.004, "THJ3": 0.551, "THJ2": -0.015, "THJ1": -0.002, "THJ0": -0.789,
}  # fmt: skip


def shadow_hand(
    name: str = "hand",
    *,
    position: Vector3 = (0.0, 0.0, 0.0),
    rotation: Quaternion = (1.0, 0.0, 0.0, 0.0),
    gravity_compensation: float = 1.0,
    visuals: bool = True,
) -> Robot:
    """The right hand with 24 joints and the file's 20 position actuators, called "A_" and the joint. The last joint of each
    finger but the thumb has none: it follows the one before it, within a thousandth of a metre of tendon.

    The end effector is "palm". The hand touches others, not itself.

    Args:
        name: of the articulation.
        position, rotation: of the mount, below the forearm, in the world, m and quaternion (w, x, y, z).
        gravity_compensation: share of its weight that is carried; the servos are too soft for all of it.
        visuals: whether to read the shapes that are only drawn.

    Raises:
        InputError: the package gymnasium-robotics, or mujoco, is not installed; or an argument is wrong.
    """
    path = package_file("shadow_hand", "gymnasium_robotics", FILE)
    read = load_quietly(path, name=name, position=position, rotation=rotation, visuals=visuals, self_collisions=False)
    read = at_home(without_prefix(subtree(read, "robot0:hand mount"), "robot0:"), HOME)
    driven = tuple(joint for actuator in read.actuators for joint in actuator.joints)
    return Robot(weightless(read, gravity_compensation), HOME, "palm", driven)
