"""The heavy four-legged ant of Rewarped."""

from __future__ import annotations

import dataclasses

import diffsim as ds
from diffsim.scene.articulation import Quaternion, Vector3
from tasks.robots.ant import HOME
from tasks.robots.model_packages import load_quietly, package_file
from tasks.robots.reworking import at_home, mapped, with_joints
from tasks.robots.robot import Robot

FILE = "assets/dflex/ant.xml"
FILE_DENSITY, DENSITY = 5.0, 1000.0  # kg/m^3, in the file and as Rewarped reads it
FRICTION = 0.75
DAMPING, ARMATURE, LIMIT_STIFFNESS = 1.0, 5e-3, 1e3  # N m s/rad; kg m^2, five times the file's; N m/rad


def rewarped_ant(
    name: str = "ant",
    *,
    position: Vector3 = (0.0, 0.0, 0.0),
    rotation: Quaternion = (1.0, 0.0, 0.0, 0.0),
) -> Robot:
    """A torso on a free joint, 0.75 m up, and four legs of two joints; 182 kg, for the links are solid and dense as water. Each
    leg's joints have a torque actuator called as the joint, whose control is in N m.

    Args:
        name: of the articulation.
        position, rotation: of the ground below it, m and quaternion (w, x, y, z).

    Raises:
        InputError: the package rewarped, or mujoco, is not installed; or an argument is wrong.
    """
    path = package_file("rewarped_ant", "rewarped", FILE)
    read = load_quietly(path, name=name, position=position, rotation=rotation)
    read = mapped(read, _as_read_there)
    read = with_joints(
        read, {joint: {"damping": DAMPING, "armature": ARMATURE, "limit_stiffness": LIMIT_STIFFNESS} for joint in HOME}
    )
    motors = tuple(ds.Actuator(link.joint.name, link.joint.name) for link in read.links[1:])
    return Robot(at_home(dataclasses.replace(read, actuators=motors), HOME), HOME)


def _as_read_there(link: ds.Link) -> ds.Link:
    """A link of Rewarped's density and friction."""
    inertia, share = link.inertia, DENSITY / FILE_DENSITY
    if inertia is not None:
        x, y, z = inertia.moments
        inertia = dataclasses.replace(inertia, mass=share * inertia.mass, moments=(share * x, share * y, share * z))
    shapes = tuple(dataclasses.replace(each, friction=FRICTION) for each in link.geometries)
    return dataclasses.replace(link, inertia=inertia, geometries=shapes)
