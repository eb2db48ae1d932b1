"""The four-legged ant of Gymnasium."""

from __future__ import annotations

import dataclasses

from diffsim.scene.articulation import Quaternion, Vector3
from tasks.robots.model_packages import load_quietly, package_file
from tasks.robots.reworking import at_home, subtree
from tasks.robots.robot import Robot

FILE = "envs/mujoco/assets/ant.xml"
HEIGHT = 0.55  # m, of the torso at home
HOME = {f"hip_{leg}": 0.0 for leg in range(1, 5)} | {
    f"ankle_{leg}": bent for leg, bent in enumerate((1.0, -1.0, -1.0, 1.0), start=1)
}


def ant(
    name: str = "ant",
    *,
    position: Vector3 = (0.0, 0.0, 0.0),
    rotation: Quaternion = (1.0, 0.0, 0.0, 0.0),
) -> Robot:
    """A torso on a free joint and four legs of two joints, with the file's torque actuators, each called as its joint: a
    control of 1 is 150 N m.

    Args:
        name: of the articulation.
        position, rotation: of the ground below it, m and quaternion (w, x, y, z).

    Raises:
        InputError: the package gymnasium, or mujoco, is not installed; or an argument is wrong.
    """
    path = package_file("ant", "gymnasium", FILE)
    read = subtree(load_quietly(path, name=name, position=position, rotation=rotation), "torso")
    torso = dataclasses.replace(read.links[0], position=(0.0, 0.0, HEIGHT))
    motors = tuple(dataclasses.replace(each, name=next(iter(each.joints))) for each in read.actuators)
    read = at_home(dataclasses.replace(read, links=(torso, *read.links[1:]), actuators=motors), HOME)
    return Robot(read, HOME)
