"""One problem in a process of its own, which answers commands on its standard input.

Run as a file, with PYTHONPATH naming the checkout whose diffsim and benchmarks are to be used. An older one may be named: only
names that both have are used here. The first line of output says {"cpu": s, "wall": s}: until both passes have run once, the
import of diffsim not counted. Each line "forward" or "forward_backward" is answered by {"cpu": s}, "digest" by hashes of all
results.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Passes = tuple[Callable[[], list[Any]], Callable[[], list[Any]]]


def soft(particles: int, precision: str) -> Passes:
    """The block of `benchmarks.soft.problem`; forward gives positions, the other positions and a gradient."""
    from benchmarks.soft.ours import Diffsim
    from benchmarks.soft.problem import problem

    run = Diffsim(problem(particles), precision=precision)
    return lambda: [run.forward()], lambda: list(run.forward_backward())


def rigid(name: str, precision: str) -> Passes:
    """An arm or a box of `benchmarks.rigid.problems`: 10,000 substeps in one launch, as `benchmarks.rigid_speed` has them."""
    import torch

    from benchmarks.rigid.ours import Run
    from benchmarks.rigid.problems import BOXES, Arm

    dtype = {"f32": torch.float32, "f64": torch.float64}[precision]
    case = Arm() if name == "arm" else BOXES[name]
    run = Run(case, steps=500 if name == "arm" else 25, num_envs=1 if name == "arm" else 20, dtype=dtype)

    def forward() -> list[Any]:
        with torch.no_grad():
            end = run.rollout()[-1]
        return [end.q.numpy(), end.qd.numpy()]

    def forward_backward() -> list[Any]:
        state = run.state.replace(q=run.state.q.clone().requires_grad_(), qd=run.state.qd.clone().requires_grad_())
        actions = run.actions.clone().requires_grad_()
        end = run.simulator.rollout(state, actions)[-1]
        (end.q.sum() + end.qd.sum()).backward()
        grads = [state.q.grad, state.qd.grad, actions.grad]
        return [end.q.detach().numpy(), end.qd.detach().numpy(), *(grad.numpy() for grad in grads if grad is not None)]

    return forward, forward_backward


def coupled(precision: str) -> Passes:
    """A jelly cube that a rigid ball falls on, 800 particles, 2 control steps of 20 substeps."""
    import torch

    import diffsim as ds

    dtype = {"f32": torch.float32, "f64": torch.float64}[precision]
    jelly = ds.SoftBody("jelly", ds.Box((0.08, 0.08, 0.08)), (0.3, 0.3, 0.085), particles=800)
    ball = ds.RigidBody("ball", ds.Sphere(0.05), (0.3, 0.3, 0.213), velocity=(0.0, 0.0, -0.5), density=500.0)
    scene = ds.Scene((jelly,), rigid_bodies=(ball,), upper=(0.6, 0.6, 0.6), grid_spacing=0.04)
    sim = ds.Simulator(scene, dt=5e-4, substeps=20, dtype=dtype)
    actions = torch.zeros(2, 1, 0, dtype=dtype)

    def forward() -> list[Any]:
        with torch.no_grad():
            end = sim.rollout(sim.reset(), actions)[-1]
        return [end.x.numpy(), end.q.numpy()]

    def forward_backward() -> list[Any]:
        state = sim.reset()
        v, qd = state.v.clone().requires_grad_(), state.qd.clone().requires_grad_()
        end = sim.rollout(state.replace(v=v, qd=qd), actions)[-1]
        (end.x.sum() + end.q.sum()).backward()
        assert v.grad is not None
        assert qd.grad is not None
        return [end.x.detach().numpy(), end.q.detach().numpy(), v.grad.numpy(), qd.grad.numpy()]

    return forward, forward_backward


POURING = (729, 40, 40)  # particles, control steps, substeps of each


def pouring(precision: str) -> Passes:
    """A cup of five boxes on a driven hinge pours its liquid into a bowl of five boxes. Forward gives the positions, the other
    the gradients by the velocities and the actions too."""
    import torch

    import diffsim as ds

    particles, steps, substeps = POURING
    dtype = {"f32": torch.float32, "f64": torch.float64}[precision]
    wall, half, height, lip = 0.03, 0.06, 0.16, (0.42, 0.5, 0.38)

    def vessel(half: float, height: float, foot: tuple[float, float, float]) -> tuple[ds.Geometry, ...]:
        side, middle, wide = half + 0.5 * wall, 0.5 * height, half + wall
        boxes = [((wide, wide, 0.5 * wall), (0.0, 0.0, 0.5 * wall))]
        boxes += [((0.5 * wall, wide, middle), (sign * side, 0.0, middle)) for sign in (1.0, -1.0)]
        boxes += [((wide, 0.5 * wall, middle), (0.0, sign * side, middle)) for sign in (1.0, -1.0)]
        return tuple(
            ds.Geometry(ds.Box(extents, rounding=0.2 * min(extents)), (x + foot[0], y + foot[1], z + foot[2]), friction=0.1)
            for extents, (x, y, z) in boxes
        )

    foot = (-half - wall, 0.0, -height)
    inertia = ds.Inertia(0.5, (3e-3, 3e-3, 3e-3), center=(foot[0], 0.0, -0.5 * height))
    tilt = ds.Joint("tilt", "revolute", axis=(0.0, 1.0, 0.0))
    cup = ds.Link("cup", tilt, position=lip, inertia=inertia, geometries=vessel(half, height, foot))
    servo = ds.Actuator("servo", "tilt", kind="position", gain=300.0, damping=30.0)
    weld = ds.Joint("weld", "fixed")
    bowl = ds.Link("bowl", weld, position=(0.55, 0.5, 0.01), geometries=vessel(0.11, 0.1, (0.0, 0.0, 0.0)))
    middle = (lip[0] + foot[0], lip[1], lip[2] - height + wall + 0.058)
    liquid = ds.Liquid(bulk_modulus=2e4, viscosity=1.0)
    water = ds.SoftBody("water", ds.Box((0.055, 0.055, 0.055)), middle, material=liquid, particles=particles)
    mechanisms = (ds.Articulation("jug", (cup,), (servo,)), ds.Articulation("sink", (bowl,)))
    scene = ds.Scene((water,), articulations=mechanisms, grid_spacing=1.0 / 40.0)
    sim = ds.Simulator(scene, dt=1e-3, substeps=substeps, dtype=dtype)
    assert sim.num_particles == particles
    angles = torch.linspace(-0.1, 1.6, steps, dtype=dtype).clamp(0.0, 1.0) * math.radians(125.0)

    def forward() -> list[Any]:
        with torch.no_grad():
            end = sim.rollout(sim.reset(), angles[:, None, None])[-1]
        return [end.x.numpy(), end.q.numpy()]

    def forward_backward() -> list[Any]:
        state = sim.reset()
        v, actions = state.v.clone().requires_grad_(), angles[:, None, None].clone().requires_grad_()
        end = sim.rollout(state.replace(v=v), actions)[-1]
        end.x.sum().backward()
        assert v.grad is not None
        assert actions.grad is not None
        return [end.x.detach().numpy(), end.q.detach().numpy(), v.grad.numpy(), actions.grad.numpy()]

    return forward, forward_backward


def passes(name: str, precision: str) -> Passes:
    """The two passes of a problem by its name."""
    if name.startswith("soft"):
        return soft({"soft 10k": 10_000, "soft 3k": 3_000, "soft 300": 300}[name], precision)
    if name in ("coupled", "pouring"):
        return {"coupled": coupled, "pouring": pouring}[name](precision)
    return rigid(name, precision)


def main() -> None:
    name, precision = sys.argv[1:]
    os.environ["DIFFSIM_NUM_THREADS"] = "1"
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries may print what they like
    import torch

    import diffsim

    torch.set_num_threads(1)
    assert diffsim.__file__ is not None
    tree = os.path.dirname(os.path.dirname(os.path.abspath(diffsim.__file__)))
    assert tree == os.path.abspath(os.environ["PYTHONPATH"]), f"this is the diffsim of {tree}"

    def answer(**values: Any) -> None:
        print(json.dumps(values), file=answers, flush=True)

    cpu, wall = time.process_time(), time.perf_counter()
    forward, forward_backward = passes(name, precision)
    forward()
    forward_backward()
    answer(cpu=time.process_time() - cpu, wall=time.perf_counter() - wall)
    runs = {"forward": forward, "forward_backward": forward_backward}
    for line in sys.stdin:
        command = line.strip()
        if command == "digest":
            found = [hashlib.sha256(np.ascontiguousarray(part).tobytes()).hexdigest() for part in forward_backward()]
            answer(digest=found)
            continue
        cpu = time.process_time()
        runs[command]()
        answer(cpu=time.process_time() - cpu)


if __name__ == "__main__":
    main()
