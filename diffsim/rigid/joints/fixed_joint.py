"""A joint that does not move."""

from __future__ import annotations

import numpy as np

from diffsim.rigid.joints.joint_type import DeclaredJoint, JointType


class FixedJoint(JointType):
    """No coordinates: the link stands in the joint's frame. The kernels have nothing to do for it."""

    name = "fixed"
    coordinates = 0
    motions = ()

    def place(
        self, joint: DeclaredJoint, q: np.ndarray, position: np.ndarray, rotation: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        return position, rotation

    def jacobian(self, joint: DeclaredJoint, q: np.ndarray, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((3, 0)), np.zeros((3, 0))
