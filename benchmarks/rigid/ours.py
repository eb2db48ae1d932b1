"""The problems of `problems.py` in diffsim.

python -m benchmarks.rigid.ours     seconds until the first rollout and the first backward pass are there, as JSON
"""

from __future__ import annotations

import json
import time

import torch

from benchmarks.rigid.problems import DT, Arm, Box
from diffsim import (
    Actuator,
    Articulation,
    Geometry,
    Ground,
    Inertia,
    Joint,
    Link,
    RigidBody,
    Scene,
    Simulator,
    Sphere,
    State,
)
from diffsim import Box as BoxShape

SUBSTEPS = 20


def arm_scene(arm: Arm) -> Scene:
    links = []
    for i, each in enumerate(arm.links):
        joint = Joint(f"j{i}", "revolute", tuple(each.axis), damping=arm.damping, armature=arm.armature)
        inertia = Inertia(each.mass, tuple(each.moments), tuple(each.center), tuple(each.principal))
        frame = tuple(each.position), tuple(each.rotation)
        links.append(Link(f"l{i}", joint, f"l{i - 1}" if i else None, *frame, inertia=inertia))
    motors = tuple(Actuator(f"a{i}", f"j{i}") for i in range(arm.dofs))
    return Scene(articulations=(Articulation("arm", tuple(links), motors),), ground=None)


def box_scene(box: Box) -> Scene:
    """With the default contact."""
    body = RigidBody("box", BoxShape((box.half,) * 3), (0.0, 0.0, box.half), mass=box.mass, friction=box.friction)
    pushers: tuple[Articulation, ...] = ()
    if box.speed:
        ball = Geometry(Sphere(box.ball), friction=box.friction)
        inertia = Inertia(box.mass, (1e-3, 1e-3, 1e-3))
        rail = Joint("rail", "prismatic", (1.0, 0.0, 0.0))
        tip = Link("tip", rail, None, box.ball_position, inertia=inertia, geometries=(ball,))
        pushers = (Articulation("pusher", (tip,), (Actuator("drive", "rail", "velocity", gain=box.gain),)),)
    return Scene(
        rigid_bodies=(body,), articulations=pushers, ground=Ground(0.0, box.friction), gravity=box.gravity,
    )  # fmt: skip


class Run:
    """Rollouts of one of the problems: ``steps`` control steps of SUBSTEPS substeps, all environments alike."""

    def __init__(
        self,
        problem: Arm | Box,
        *,
        steps: int,
        num_envs: int = 1,
        dtype: torch.dtype = torch.float64,
        integrator: str = "midpoint",
    ):
        scene = arm_scene(problem) if isinstance(problem, Arm) else box_scene(problem)
        self.simulator = Simulator(scene, num_envs=num_envs, dt=DT, substeps=SUBSTEPS, dtype=dtype, integrator=integrator)
        state = self.simulator.reset()
        actions = torch.zeros(steps, num_envs, self.simulator.action_dim, dtype=dtype)
        if isinstance(problem, Arm):
            q, v = (torch.tensor(x, dtype=dtype).repeat(num_envs, 1) for x in problem.start)
            state = state.replace(q=q, qd=v)
            actions += torch.tensor(problem.torques(steps), dtype=dtype)[:, None]
        elif problem.speed:
            actions += problem.speed
        self.state, self.actions = state, actions
        self.substeps = steps * SUBSTEPS * num_envs

    def rollout(self) -> list[State]:
        return self.simulator.rollout(self.state, self.actions)

    def forward(self) -> None:
        with torch.no_grad():
            self.rollout()

    def forward_backward(self) -> tuple[float, float]:
        """CPU seconds of the two passes of a gradient by the first state and all actions."""
        state = self.state.replace(q=self.state.q.clone().requires_grad_(), qd=self.state.qd.clone().requires_grad_())
        actions = self.actions.clone().requires_grad_()
        start = time.process_time()
        end = self.simulator.rollout(state, actions)[-1]
        middle = time.process_time()
        (end.q.sum() + end.qd.sum()).backward()
        return middle - start, time.process_time() - middle


def main() -> None:
    torch.set_num_threads(1)
    start = time.perf_counter()
    run = Run(Arm(), steps=2)
    run.forward()
    middle = time.perf_counter()
    run.forward_backward()
    print(json.dumps({"forward": middle - start, "backward": time.perf_counter() - middle}))
    import taichi as ti

    ti.reset()  # writes the cache


if __name__ == "__main__":
    main()
