"""A ball and socket."""

import numpy as np

from diffsim.rigid.joints.joint_type import DeclaredJoint, JointType
from diffsim.rigid.joints.rotation_coordinates import rotation_of
from diffsim.rigid.rigid_records import TURN
from diffsim.scene.validation import unit


class BallJoint(JointType):
    """Turns freely about the link's origin: a quaternion (w, x, y, z) against the joint's frame, and the angular velocity in
    the link's frame."""

    name = "ball"
    coordinates = 4
    motions = (TURN,) * 3
    rotates = True

    def zero(self, position: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        return np.array([1.0, 0.0, 0.0, 0.0])

    def checked(self, owner: str, q: tuple[float, ...]) -> tuple[float, ...]:
        return unit(owner, "initial rotation", q, 4)

    def place(
        self, joint: DeclaredJoint, q: np.ndarray, position: np.ndarray, rotation: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        return position, rotation @ rotation_of(q)

    def jacobian(self, joint: DeclaredJoint, q: np.ndarray, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((3, 3)), rotation
