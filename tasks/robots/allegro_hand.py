"""The Allegro Hand, right, on a palm that stands still."""

from __future__ import annotations

import dataclasses

import diffsim as ds
from diffsim.scene.articulation import Quaternion, Vector3
from tasks.robots.model_packages import load_quietly, package_file
from tasks.robots.reworking import mapped
from tasks.robots.robot import Robot

FILE = "assets/dflex/allegro_hand_description/allegro_hand_description_right.urdf"
FRICTION = 0.5
# N m s/rad, kg m^2, as Rewarped sets them: the file's damping and dry friction hold the joints fast
DAMPING, ARMATURE = 1.0, 1e-3


def allegro_hand(
    name: str = "hand",
    *,
    position: Vector3 = (0.0, 0.0, 0.0),
    rotation: Quaternion = (1.0, 0.0, 0.0, 0.0),
    visuals: bool = True,
) -> Robot:
    """Three fingers and a thumb of four joints each, with a torque actuator called as its joint, whose control is in N m. The
    fingers point along z and bend towards x.

    The end effector is "palm_link". The hand touches others, by boxes and balls, not itself.

    Args:
        name: of the articulation.
        position, rotation: of the palm's end at the fingers, in the world, m and quaternion (w, x, y, z).
        visuals: whether to read the shapes that are only drawn.

    Raises:
        InputError: the package rewarped, or mujoco, is not installed; or an argument is wrong.
    """
    path = package_file("allegro_hand", "rewarped", FILE)
    folder = {path.parent.name: path.parent}
    read = load_quietly(
        path, name=name, position=position, rotation=rotation, visuals=visuals, self_collisions=False, package_paths=folder
    )
    read = mapped(read, _as_read_there)
    joints = [link.joint.name for link in read.links if link.joint.kind != "fixed"]
    motors = tuple(ds.Actuator(joint, joint) for joint in joints)
    return Robot(dataclasses.replace(read, actuators=motors), dict.fromkeys(joints, 0.0), "palm_link")


def _as_read_there(link: ds.Link) -> ds.Link:
    """A link of Rewarped's friction and joints."""
    joint = link.joint
    if joint.kind != "fixed":
        joint = dataclasses.replace(joint, damping=DAMPING, armature=ARMATURE, friction_loss=0.0)
    shapes = tuple(dataclasses.replace(each, friction=FRICTION) for each in link.geometries)
    return dataclasses.replace(link, joint=joint, geometries=shapes)
