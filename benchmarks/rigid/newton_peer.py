"""The arm in Newton's differentiable solver of articulated bodies, `newton.solvers.SolverFeatherstone`, on the CPU, f32.

Newton needs Warp and an environment of its own; run from the repository's root with that environment's Python:

    python -m benchmarks.rigid.newton_peer

A substep is some twenty kernel launches from Python, which a batch shares, so 64 arms are timed too. A gradient needs a state
for every substep and `wp.Tape`. Newton takes the joints' damping explicitly: its trajectory differs from diffsim's by O(dt).
"""

from __future__ import annotations

import json
import statistics
import time

import newton
import numpy as np
import warp as wp

from benchmarks.rigid.problems import DT, GRAVITY, Arm

SUBSTEPS = 100
ROUNDS = 5


def xyzw(q: np.ndarray) -> wp.quat:
    return wp.quat(float(q[1]), float(q[2]), float(q[3]), float(q[0]))


def matrix(q: np.ndarray) -> np.ndarray:
    return np.array(wp.quat_to_matrix(xyzw(q))).reshape(3, 3)


def arm_model(arm: Arm, num_envs: int, *, requires_grad: bool) -> newton.Model:
    builder = newton.ModelBuilder(gravity=(0.0, 0.0, -GRAVITY))
    for _ in range(num_envs):
        add_arm(builder, arm)
    return builder.finalize(device="cpu", requires_grad=requires_grad)


def add_arm(builder: newton.ModelBuilder, arm: Arm) -> None:
    parent, joints = -1, []
    for link in arm.links:
        axes = matrix(link.principal)
        inertia = axes @ np.diag(link.moments) @ axes.T
        child = builder.add_link(
            com=wp.vec3(*link.center), inertia=wp.mat33(*inertia.ravel()), mass=link.mass, lock_inertia=True
        )
        joint = builder.add_joint_revolute(
            parent, child, parent_xform=wp.transform(wp.vec3(*link.position), xyzw(link.rotation)), axis=wp.vec3(*link.axis),
            damping=arm.damping, armature=arm.armature, target_ke=0.0, target_kd=0.0, limit_ke=0.0, limit_kd=0.0,
        )  # fmt: skip
        joints.append(joint)
        parent = child
    builder.add_articulation(joints)


class Run:
    """SUBSTEPS substeps of ``num_envs`` arms under constant torques."""

    def __init__(self, arm: Arm, num_envs: int, *, requires_grad: bool):
        self.model = arm_model(arm, num_envs, requires_grad=requires_grad)
        self.solver = newton.solvers.SolverFeatherstone(self.model, angular_damping=0.0)
        self.states = [self.model.state() for _ in range(SUBSTEPS + 1 if requires_grad else 2)]
        self.control = self.model.control()
        self.control.joint_f.assign(np.tile(arm.torques(1)[0], num_envs))
        self._start = [np.tile(x, num_envs) for x in arm.start]

    def forward(self) -> newton.State:
        self.states[0].joint_q.assign(self._start[0])
        self.states[0].joint_qd.assign(self._start[1])
        count = len(self.states)
        for t in range(SUBSTEPS):
            self.solver.step(self.states[t % count], self.states[(t + 1) % count], self.control, None, DT)
        return self.states[SUBSTEPS % count]

    def timed_forward(self) -> float:
        """CPU seconds."""
        start = time.process_time()
        self.forward()
        return time.process_time() - start

    def forward_backward(self) -> tuple[float, float, np.ndarray]:
        """CPU seconds of both passes; the gradient of the sum of the last coordinates and rates by the first coordinates."""
        start = time.process_time()
        with wp.Tape() as tape:
            end = self.forward()
        middle = time.process_time()
        tape.backward(grads={end.joint_q: wp.ones_like(end.joint_q), end.joint_qd: wp.ones_like(end.joint_qd)})
        seconds = time.process_time() - middle
        gradient = self.states[0].joint_q.grad.numpy().copy()
        tape.zero()
        return middle - start, seconds, gradient


def main() -> None:
    wp.config.log_level = wp.LOG_WARNING
    arm = Arm()
    result: dict[str, object] = {"newton": newton.__version__}
    for num_envs in (1, 64):
        plain, taped = (Run(arm, num_envs, requires_grad=requires_grad) for requires_grad in (False, True))
        unit = 1e6 / SUBSTEPS / num_envs
        end = plain.forward()  # compiles
        taped.forward_backward()
        passes = [taped.forward_backward() for _ in range(ROUNDS)]
        result[f"{num_envs} arms"] = {
            "forward_us": unit * statistics.median(plain.timed_forward() for _ in range(ROUNDS)),
            "taped_forward_us": unit * statistics.median(each[0] for each in passes),
            "backward_us": unit * statistics.median(each[1] for each in passes),
        }
        result["q"] = end.joint_q.numpy()[: arm.dofs].tolist()
        result["gradient"] = passes[-1][2][: arm.dofs].tolist()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
