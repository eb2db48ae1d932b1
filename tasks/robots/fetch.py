"""The Fetch robot: torso, arm and gripper on a base that stands still."""

from __future__ import annotations

import dataclasses

import diffsim as ds
from diffsim.scene.articulation import Quaternion, Vector3
from tasks.robots.model_packages import load_quietly, package_file
from tasks.robots.reworking import at_home, fixed, mapped, subtree, touching, weightless, with_joints, without_prefix
from tasks.robots.robot import Robot, servo

FILE = "envs/assets/fetch/reach.xml"
PREFIX = "robot0:"
# stiffness N/m or N m/rad, and the robot's limit of force N or N m
SERVOS = {
    "torso_lift_joint": (20000.0, 450.0),
    "shoulder_pan_joint": (2000.0, 33.82),
    "shoulder_lift_joint": (3000.0, 131.76),
    "upperarm_roll_joint": (1500.0, 76.94),
    "elbow_flex_joint": (1500.0, 66.18),
    "forearm_roll_joint": (800.0, 29.35),
    "wrist_flex_joint": (800.0, 25.7),
    "wrist_roll_joint": (400.0, 7.36),
}
HOME = {  # the gripper at a height of 59 cm, looking down
    "torso_lift_joint": 0.2,
    "shoulder_pan_joint": 0.0,
    "shoulder_lift_joint": -0.4,
    "upperarm_roll_joint": 0.0,
    "elbow_flex_joint": 1.2,
    "forearm_roll_joint": 0.0,
    "wrist_flex_joint": 0.77,
    "wrist_roll_joint": 0.0,
}
STILL = ("slide0", "slide1", "slide2", "head_pan_joint", "head_tilt_joint")
FINGERS = ("r_gripper_finger_joint", "l_gripper_finger_joint")
OPENED = 0.05
GRIP, GRIP_FORCE = 1500.0, 60.0
ROTOR = 0.1  # kg m^2 on each joint, kg on each finger
FINGER = ds.Inertia(0.08, (2e-5, 6e-5, 6e-5))


def fetch(
    name: str = "fetch",
    *,
    position: Vector3 = (0.0, 0.0, 0.0),
    rotation: Quaternion = (1.0, 0.0, 0.0, 0.0),
    touches: tuple[str, ...] | None = ("gripper_link", "r_gripper_finger_link", "l_gripper_finger_link"),
    friction: float = 1.0,
    gravity_compensation: float = 1.0,
    visuals: bool = True,
) -> Robot:
    """A torso that is lifted, an arm of seven joints, and a gripper of two fingers, both of which its one actuator
    "r_gripper_finger_joint" closes.

    The file is that of Gymnasium-Robotics, whose hand is dragged by a mocap body. So its dampings, its armatures and its
    fingers of 4 kg make no sense here: joints have position servos with the real robot's limits of force, and fingers 80 g.
    Base and head stand still. The end effector is "gripper_link", whose x points away from the wrist.

    Args:
        name: of the articulation.
        position, rotation: of the base in the world, m and quaternion (w, x, y, z).
        touches: links that collide; None: all. They never touch each other.
        friction: of these.
        gravity_compensation: share of its weight that is carried.
        visuals: whether to read the shapes that are only drawn.

    Raises:
        InputError: the package gymnasium-robotics, or mujoco, is not installed; or an argument is wrong.
    """
    path = package_file("fetch", "gymnasium_robotics", FILE)
    read = load_quietly(path, name=name, position=position, rotation=rotation, visuals=visuals, self_collisions=False)
    root = next(link.name for link in read.links if link.joint.name == f"{PREFIX}slide0")
    read = fixed(without_prefix(subtree(read, root), PREFIX), *STILL)
    read = mapped(read, lambda link: dataclasses.replace(link, inertia=FINGER) if "finger_link" in link.name else link)
    home = {**HOME, **dict.fromkeys(FINGERS, OPENED)}
    read = with_joints(at_home(read, home), {j: {"armature": ROTOR, "damping": 0.0, "spring_stiffness": 0.0} for j in home})
    servos = [servo(joint, joint, gain, effort) for joint, (gain, effort) in SERVOS.items()]
    grip = servo(FINGERS[0], FINGERS[0], GRIP, GRIP_FORCE, damping=100.0)
    both = ds.JointEquality("gripper", FINGERS[1], FINGERS[0])  # one motor moves both
    read = dataclasses.replace(touching(read, touches, friction), actuators=(*servos, grip), constraints=(both,))
    return Robot(weightless(read, gravity_compensation), home, "gripper_link", tuple(SERVOS), FINGERS[:1], 0.0, OPENED)
