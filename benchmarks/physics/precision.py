"""Point 7: f32 does not freeze, and one environment gives the same numbers in any batch and on any number of threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch

import diffsim as ds
from benchmarks.physics.registry import Results, experiment, none, within, yes
from benchmarks.physics.worlds import rollout, simulator

SLOW, FAR, SECONDS = 4e-3, 10.0, 1.0
F32 = torch.float32


@experiment(
    "f32 drift", 7, {f"4 mm/s at 10 m, {kind}, in 1 s": within(SLOW * SECONDS, 0.01, "m") for kind in ("rigid", "soft")}
)
def drift() -> Results:
    """dt = .1 ms: an increment of .4 um at x = 10 m, where neighbours in f32 are .95 um apart."""
    free: dict[str, Any] = {"ground": None, "gravity": (0.0, 0.0, 0.0), "upper": (11.0, 1.0, 1.0), "grid_spacing": 1.0 / 16.0}
    at, velocity = (FAR, 0.5, 0.5), (SLOW, 0.0, 0.0)
    body = ds.RigidBody("body", ds.Box((0.05,) * 3), at, velocity=velocity)
    sim = simulator(ds.Scene(rigid_bodies=(body,), **free), dt=1e-4, substeps=200, dtype=F32)
    states = rollout(sim, SECONDS)
    yield "4 mm/s at 10 m, rigid, in 1 s", float(states[-1].q[0, 0].double() - states[0].q[0, 0].double())
    soft = ds.SoftBody("body", ds.Box((0.05,) * 3), at, velocity=velocity, particles=64)
    sim = simulator(ds.Scene((soft,), **free), dt=1e-4, substeps=200, dtype=F32)
    states = rollout(sim, SECONDS)
    yield "4 mm/s at 10 m, soft, in 1 s", float((states[-1].x.double() - states[0].x.double())[..., 0].mean())


@experiment("f32 stiff cube", 7, {"E = 1e8 Pa, sunk between .1 and 1.1 s": none(5e-6, "m")})
def stiff_cube() -> Results:
    """10 cm, on the ground; dt = .4 dx over the speed of sound, 33 us."""
    cube = ds.SoftBody("cube", ds.Box((0.05,) * 3), (0.5, 0.5, 0.05), material=ds.Elastic(1e8, 0.3, 1000.0), particles=216)
    sim = simulator(ds.Scene((cube,)), dt=1.0 / 30000.0, substeps=300, dtype=F32)
    settled = rollout(sim, 0.1)[-1]
    end = rollout(sim, 1.0, settled)[-1]
    yield "E = 1e8 Pa, sunk between .1 and 1.1 s", float((settled.x.double() - end.x.double())[..., 2].mean())


# batch_determinism: README's jelly and finger; the same 20 random actions in environment 0 of every batch


def jelly(num_envs: int, **options: Any) -> tuple[ds.Simulator, torch.Tensor]:
    scene = ds.Scene(
        soft_bodies=(ds.SoftBody("jelly", ds.Sphere(0.08), (0.3, 0.3, 0.081), material=ds.Elastic(5e3), particles=200),),
        tools=(ds.Tool("finger", ds.Capsule(0.1, 0.04), (0.283, 0.3217, 0.2613), control=("x", "y", "z")),),
        upper=(0.6, 0.6, 0.5),
        grid_spacing=0.04,
    )
    sim = ds.Simulator(scene, num_envs=num_envs, dt=2e-3, substeps=10, **options)
    one = torch.randn(20, 1, 3, generator=torch.Generator().manual_seed(0), dtype=sim.dtype) * 0.2 - 0.1
    return sim, one.repeat(1, num_envs, 1)


def through(run: Callable[[ds.Simulator, torch.Tensor], ds.State], num_envs: int, **options: Any) -> list[torch.Tensor]:
    """Positions of environment 0 at the end, and the gradient of their mean height and spread by its actions."""
    sim, actions = jelly(num_envs, **options)
    actions.requires_grad_()
    end = run(sim, actions)
    (end.x[0, :, 2].mean() + end.x[0].square().sum()).backward()
    assert actions.grad is not None
    return [end.x[0].detach(), actions.grad[:, 0]]


def at_once(sim: ds.Simulator, actions: torch.Tensor) -> ds.State:
    return sim.rollout(sim.reset(), actions)[-1]


def stepwise(sim: ds.Simulator, actions: torch.Tensor) -> ds.State:
    state = sim.reset()
    for action in actions:
        state = sim.step(state, action)
    return state


def windowed(sim: ds.Simulator, actions: torch.Tensor) -> ds.State:
    return sim.windowed_rollout(sim.reset(), actions, lambda state: state.x[:, 0], window=4)[0]


def same_bits(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    return float(all(torch.equal(a, b) for a, b in zip(one, other, strict=True)))


def in_process(threads: int, dtype: str) -> list[list[float]]:
    """`through` in a process of its own with so many threads; past five minutes it counts as deadlocked."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.physics.precision", dtype]
    environment = {**os.environ, "DIFFSIM_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=300)
    numbers: list[list[float]] = json.loads(done.stdout.splitlines()[-1])
    return numbers


def apart(one: list[list[float]], other: list[list[float]]) -> float:
    """The largest difference over the largest number, of the state and of the gradient."""
    pairs = [
        (torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)) for a, b in zip(one, other, strict=True)
    ]
    return max(float((a - b).abs().max() / a.abs().max()) for a, b in pairs)


@experiment(
    "batch_determinism", 7,
    {
        "soft, 20 steps: the bits of a rollout": yes(),
        "soft, windowed rollout: the bits of a rollout": yes(),
        **{f"soft, a batch of {count}: the bits of one": yes() for count in (3, 64, 257)},
        "rigid, a batch of 257: the bits of one": yes(),
    },
)  # fmt: skip
def batches() -> Results:
    """In f32, on one thread: with several, each environment of a batch has one to itself, and one environment has more."""
    first = through(at_once, 1)
    yield "soft, 20 steps: the bits of a rollout", same_bits(first, through(stepwise, 1))
    yield "soft, windowed rollout: the bits of a rollout", same_bits(first, through(windowed, 1))
    for count in (3, 64, 257):
        yield f"soft, a batch of {count}: the bits of one", same_bits(first, through(at_once, count))
    box = ds.RigidBody("box", ds.Box((0.05,) * 3), (0.5, 0.5, 0.2), (0.9, 0.2, 0.3, 0.1), mass=1.0, velocity=(0.5, 0.0, 0.0))
    ends = [rollout(simulator(ds.Scene(rigid_bodies=(box,)), num_envs=count, dtype=F32), 0.6)[-1] for count in (1, 257)]
    yield "rigid, a batch of 257: the bits of one", same_bits([ends[0].q[0], ends[0].qd[0]], [ends[1].q[0], ends[1].qd[0]])


@experiment("batch_determinism of nothing", 7, {"rollout of nothing is the state": yes(), "batch of nothing steps": yes()})
def nothing_at_all() -> Results:
    sim, actions = jelly(2)
    state = sim.reset()
    states = sim.rollout(state, actions[:0])
    yield "rollout of nothing is the state", float(len(states) == 1 and torch.equal(states[0].x, state.x))
    nothing = type(state)(**{name: value[:0] for name, value in state.tensors().items()})
    yield "batch of nothing steps", float(sim.step(nothing, actions[0, :0]).x.shape == (0, sim.num_particles, 3))


@experiment(
    "batch_determinism of threads", 7,
    {
        "soft, f32, 2 threads from 1": none(1e-4),
        "soft, f32, 3 threads from 1": none(1e-4),
        "soft, f32, twice on 2 threads": none(0.0),
        "soft, f64, 2 threads from 1": none(1e-12),
    },
)  # fmt: skip
def threads() -> Results:
    """One soft environment on several threads may differ by rounding: each thread's share of the grid is summed.
    docs/architecture.md gives the tolerances."""
    alone, two = in_process(1, "float32"), in_process(2, "float32")
    yield "soft, f32, 2 threads from 1", apart(alone, two)
    yield "soft, f32, 3 threads from 1", apart(alone, in_process(3, "float32"))
    yield "soft, f32, twice on 2 threads", apart(two, in_process(2, "float32"))
    yield "soft, f64, 2 threads from 1", apart(in_process(1, "float64"), in_process(2, "float64"))


def main() -> None:
    """What `in_process` reads."""
    numbers = through(at_once, 1, dtype=getattr(torch, sys.argv[1]))
    print(json.dumps([each.double().flatten().tolist() for each in numbers]))


if __name__ == "__main__":
    main()
