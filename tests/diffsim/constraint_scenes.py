"""Mechanisms with constraints, for their tests."""

from __future__ import annotations

import math

import numpy as np

from diffsim.scene.articulation import Actuator, Articulation, Geometry, Inertia, Joint, Link
from diffsim.scene.constraints import Connect, JointEquality, Tendon, Weld
from diffsim.scene.shapes import Box
from tests.diffsim.rigid_scenes import inertia

PARALLELOGRAM = """<mujoco model="parallelogram">
  <default>
    <equality solref="0.004 1"/>
    <default class="rod"><geom type="capsule" size="0.008" contype="0" conaffinity="0" mass="0.2"/></default>
  </default>
  <worldbody>
    <body name="crank_a" pos="0 0 1" childclass="rod">
      <joint name="hip_a" axis="0 1 0"/><geom fromto="0 0 0 0 0 -0.3"/>
      <body name="coupler" pos="0 0 -0.3"><joint name="knee" axis="0 1 0"/><geom fromto="0 0 0 0.4 0 0" mass="0.6"/></body>
    </body>
    <body name="crank_b" pos="0.4 0 1" childclass="rod"><joint name="hip_b" axis="0 1 0"/><geom fromto="0 0 0 0 0 -0.3"/></body>
  </worldbody>
  <equality><connect name="close" body1="coupler" body2="crank_b" anchor="0.4 0 0"/></equality>
  <actuator><motor name="drive" joint="hip_a" ctrlrange="-5 5"/></actuator>
  <equality><joint name="same" joint1="hip_b" joint2="hip_a" polycoef="0 1 0 0 0" active="false"/></equality>
  <actuator><position name="hold" joint="hip_a" kp="0"/></actuator>
  <keyframe><key name="aside" qpos="0.2 -0.2 0.2"/></keyframe>
</mujoco>"""

_JAW = """<link name="{name}"><inertial><mass value="0.05"/><inertia ixx="1e-5" iyy="1e-5" izz="1e-5" ixy="0" ixz="0" iyz="0"/>
    </inertial><collision><origin xyz="0 0 0.03"/><geometry><box size="0.01 0.02 0.06"/></geometry></collision></link>"""
GRIPPER = f"""<robot name="two_jaw">
  <link name="palm"><inertial><mass value="0.5"/><inertia ixx="1e-3" iyy="1e-3" izz="1e-3" ixy="0" ixz="0" iyz="0"/></inertial>
    <collision><geometry><box size="0.12 0.04 0.02"/></geometry></collision></link>
  {_JAW.format(name="jaw_a")}{_JAW.format(name="jaw_b")}
  <link name="flap"><inertial><mass value="0.02"/><inertia ixx="1e-6" iyy="1e-6" izz="1e-6" ixy="0" ixz="0" iyz="0"/></inertial>
  </link>
  <joint name="slide_a" type="prismatic"><parent link="palm"/><child link="jaw_a"/><origin xyz="0 0 0.01"/><axis xyz="1 0 0"/>
    <limit lower="0" upper="0.05" effort="30" velocity="1"/></joint>
  <joint name="slide_b" type="prismatic"><parent link="palm"/><child link="jaw_b"/><origin xyz="0 0 0.01"/><axis xyz="-1 0 0"/>
    <limit lower="0" upper="0.05" effort="30" velocity="1"/><mimic joint="slide_a" multiplier="1.0" offset="0.0"/></joint>
  <joint name="flap_turn" type="continuous"><parent link="palm"/><child link="flap"/><origin xyz="0 0.03 0"/><axis xyz="0 1 0"/>
    <mimic joint="slide_a" multiplier="-20.0" offset="0.1"/></joint>
</robot>"""


def walker() -> Articulation:
    """A box on a free joint with joints of every kind, a loop through a universal, a ball, a prismatic and a planar joint,
    equalities of joints and of sums, a tendon on its spring and at its limit, and actuators."""
    rng = np.random.default_rng(3)

    def link(name: str, kind: str, parent: str | None, dofs: int, **joint) -> Link:
        axis, velocity = tuple(rng.normal(size=3)), tuple(0.5 * rng.normal(size=dofs))
        place, turn = tuple(0.15 * rng.normal(size=3)), tuple(rng.normal(size=4))
        own = Joint(f"j_{name}", kind, axis, initial_velocity=velocity, **joint)
        if parent is None:
            box = (Geometry(Box((0.1, 0.08, 0.06)), friction=0.6),)
            return Link(name, own, None, (0.0, 0.0, 0.055), inertia=inertia(rng), geometries=box)
        return Link(name, own, parent, place, turn, inertia=inertia(rng))

    links = (
        link("base", "free", None, 6),
        link("a1", "revolute", "base", 1, initial=(0.3,), damping=0.1, friction_loss=0.05),
        link("a2", "universal", "a1", 2, initial=(0.2, -0.4)),
        link("b1", "ball", "base", 3),
        link("b2", "prismatic", "b1", 1, initial=(0.05,)),
        link("b3", "planar", "b2", 3, initial=(0.05, 0.02, 0.3)),
        link("c1", "revolute", "a1", 1, initial=(0.4,)),
        link("c2", "revolute", "c1", 1),
        link("c3", "revolute", "base", 1, initial=(0.359,)),
    )
    constraints = (
        Connect("loop", "a2", "b3", point=(0.05, 0.02, 0.1)),
        JointEquality("quartic", "j_c2", "j_c1", (0.1, 0.7, -0.3, 0.4, 0.2)),
        JointEquality("sums", {"j_c3": 1.0, "j_b3.angle": -0.5}, {"j_c1": 0.5, "j_b2": 2.0}, (0.005, 0.5, 0.6)),
    )
    tendon = Tendon(
        "tendon", {"j_c1": 0.8, "j_b2": -1.5, "j_a2.first": 0.4}, stiffness=20.0, rest=(0.1, 0.2), damping=0.3,
        limits=(-0.2, 0.25), limit_stiffness=30.0, limit_smoothing=0.05,
    )  # fmt: skip
    actuators = (Actuator("motor", "j_c1"), Actuator("servo", {"j_c2": 1.0, "j_a1": 0.5}, "position", gain=20.0, damping=0.4))
    return Articulation("walker", links, actuators, constraints=constraints, tendons=(tendon,))


def welded_arm() -> Articulation:
    """An arm whose end is welded to the world, and a second branch connected to that end."""
    rng = np.random.default_rng(5)
    links: list[Link] = []
    for i, (kind, dofs) in enumerate((("revolute", 1), ("universal", 2), ("ball", 3), ("prismatic", 1), ("revolute", 1))):
        joint = Joint(f"j{i}", kind, tuple(rng.normal(size=3)), initial_velocity=tuple(0.5 * rng.normal(size=dofs)))
        place, turn = tuple(0.15 * rng.normal(size=3)), tuple(rng.normal(size=4))
        links.append(Link(f"l{i}", joint, f"l{i - 1}" if i else None, place, turn, inertia=inertia(rng)))
    side = Joint("s1", "ball", initial_velocity=(1.0, -0.5, 0.3))
    links.append(Link("side1", side, "l2", (0.1, 0.0, 0.05), inertia=inertia(rng)))
    end = Joint("s2", "revolute", (0.0, 1.0, 0.0), initial_velocity=(0.4,))
    links.append(Link("side2", end, "side1", (0.1, 0.0, 0.05), inertia=inertia(rng)))
    constraints = (
        Weld("hold", "l4", point=(0.05, 0.0, 0.1)),
        Connect("branch", "side2", "l4", point=(0.0, 0.1, 0.0)),
    )
    frame = {"position": (1.0, 0.0, 1.0), "rotation": (0.7, 0.2, 0.3, 0.1)}
    return Articulation("arm", tuple(links), constraints=constraints, **frame)


def hanging_chain(count: int, length: float, span: float) -> Articulation:
    """A planar chain of so many equal rods, ``length`` long in all, held at both ends ``span`` apart; at first on an arc."""
    low, high = 1e-3, 2.0 * math.pi - 1e-3
    rod = length / count
    for _ in range(100):  # the arc's angle: chords of 2 r sin(angle / 2 n), the whole of 2 r sin(angle / 2)
        angle = 0.5 * (low + high)
        whole = rod * math.sin(0.5 * angle) / math.sin(0.5 * angle / count)
        low, high = (angle, high) if whole > span else (low, angle)
    mass = 1.0 / count
    own = Inertia(mass, (1e-4 * mass, mass * rod**2 / 12.0, mass * rod**2 / 12.0), center=(0.5 * rod, 0.0, 0.0))
    slope = 0.5 * angle * (1.0 - 1.0 / count)  # of the first rod; turning about y by a positive angle points x down
    first = (0.0, 0.0, 0.0, math.cos(0.5 * slope), 0.0, math.sin(0.5 * slope), 0.0)
    links = [Link("rod0", Joint("root", "free", initial=first), inertia=own)]
    for i in range(1, count):
        joint = Joint(f"hinge{i}", "revolute", (0.0, 1.0, 0.0), initial=(-angle / count,), damping=4e-3)
        links.append(Link(f"rod{i}", joint, f"rod{i - 1}", (rod, 0.0, 0.0), inertia=own))
    ends = (Connect("left", "rod0", other_point=(0.0, 0.0, 0.0)),
            Connect("right", f"rod{count - 1}", point=(rod, 0.0, 0.0), other_point=(span, 0.0, 0.0)))  # fmt: skip
    return Articulation("chain", tuple(links), constraints=ends, self_collisions=False)
