"""The kinds of joints, one file each; `register_joint` adds one from outside.

The kernels are compiled for BUILT_IN always, and for those of the other kinds that a scene uses.
"""

from diffsim.rigid.joints.ball_joint import BallJoint
from diffsim.rigid.joints.fixed_joint import FixedJoint
from diffsim.rigid.joints.free_joint import FreeJoint
from diffsim.rigid.joints.joint_type import JointType, joint_kind, joint_kinds, register_joint
from diffsim.rigid.joints.planar_joint import PlanarJoint
from diffsim.rigid.joints.prismatic_joint import PrismaticJoint
from diffsim.rigid.joints.revolute_joint import RevoluteJoint
from diffsim.rigid.joints.universal_joint import UniversalJoint

BUILT_IN: tuple[JointType, ...] = (FixedJoint(), RevoluteJoint(), PrismaticJoint(), BallJoint(), FreeJoint())
FREE = next(number for number, kind in enumerate(BUILT_IN) if kind.name == "free")  # whose flights have events

for kind in (*BUILT_IN, UniversalJoint(), PlanarJoint()):
    register_joint(kind)

__all__ = ["BUILT_IN", "FREE", "JointType", "joint_kind", "joint_kinds", "register_joint"]
