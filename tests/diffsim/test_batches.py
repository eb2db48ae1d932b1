"""The same numbers whatever the batch, the number of calls, and the process: bit for bit, gradients included.

One environment on several threads differs by rounding: `test_physics.py` has the tolerance that docs/architecture.md gives.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import diffsim as ds
from diffsim import runtime

pytestmark = pytest.mark.slow

STEPS = 20
ROOT = Path(__file__).parents[2]


def jelly(num_envs: int) -> ds.Simulator:
    """A finger above a ball of jelly."""
    body = ds.SoftBody("jelly", ds.Sphere(0.08), (0.3, 0.3, 0.081), material=ds.Elastic(5e3), particles=200)
    finger = ds.Tool("finger", ds.Capsule(0.1, 0.04), (0.283, 0.3217, 0.2613), control=("x", "y", "z"))
    return ds.Simulator(ds.Scene((body,), tools=(finger,), upper=(0.6, 0.6, 0.5)), num_envs=num_envs, dt=2e-3, substeps=5)


def actions(num_envs: int) -> torch.Tensor:
    """(STEPS, num_envs, 3): the first environment's are always the same, the others' are others."""
    every = torch.randn(STEPS, 1, 3, generator=torch.Generator().manual_seed(0))
    rest = torch.randn(STEPS, num_envs - 1, 3, generator=torch.Generator().manual_seed(1))
    return (0.4 * torch.cat([every, rest], dim=1) - torch.tensor([0.0, 0.0, 0.3])).requires_grad_()


def first(num_envs: int, how: str = "rollout") -> list[torch.Tensor]:
    """Of the first environment: where it ends, and the gradient of a number for its actions."""
    sim, given = jelly(num_envs), actions(num_envs)
    start = sim.reset()
    if how == "rollout":
        end = sim.rollout(start, given)[-1]
    elif how == "steps":
        end = start
        for action in given:
            end = sim.step(end, action)
    else:
        end, _ = sim.windowed_rollout(start, given, lambda state: state.x.mean(dim=1), window=7)
    (end.x[0].square().sum() + end.v[0].sum() + end.F[0, :, 0, 1].sum()).backward()
    own = [tensor[0].detach() for tensor in end.tensors().values()]
    assert not given.grad[:, 1:].any()  # environments do not see each other
    return [*own, given.grad[:, 0]]


def same_bits(ours: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(ours, others, strict=True))


@pytest.fixture
def one_thread(monkeypatch):
    monkeypatch.setattr(runtime, "num_threads", lambda: 1)


@pytest.mark.parametrize("num_envs", [3, 64, 257])
def test_an_environment_is_the_same_in_any_batch(num_envs, one_thread):
    assert same_bits(first(num_envs), first(1))


@pytest.mark.parametrize("threads", [2, 3])
def test_a_batch_is_the_same_on_any_number_of_threads(threads, monkeypatch):
    monkeypatch.setattr(runtime, "num_threads", lambda: 1)
    alone = first(3)
    monkeypatch.setattr(runtime, "num_threads", lambda: threads)
    assert same_bits(first(3), alone)


@pytest.mark.parametrize("how", ["steps", "windows"])
def test_steps_a_rollout_and_windows_are_the_same(how, one_thread):
    assert same_bits(first(2, how), first(2))


def test_another_process_finds_the_same_with_kernels_from_the_cache():
    code = (
        "import torch\nfrom tests.diffsim.test_batches import first\n"
        "print(*torch.cat([each.double().flatten() for each in first(1)]).tolist())"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DIFFSIM_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    runs = [subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout for _ in range(2)]
    assert len(runs[0].split()) > 1000
    assert runs[0] == runs[1]


@pytest.mark.parametrize("steps", [0, 1])
def test_short_rollouts_are_defined(steps, one_thread):
    """Without actions the state stays, with a zero gradient; and there is no mean of nothing."""
    sim = jelly(2)
    start = sim.reset()
    start = start.replace(x=start.x.requires_grad_())
    given = actions(2).detach()[:steps].requires_grad_()
    states = sim.rollout(start, given)
    assert len(states) == steps + 1
    last, seen = sim.windowed_rollout(start, given, lambda state: state.x.mean(dim=1), window=3)
    assert seen.shape == (steps, 2, 3)
    assert torch.equal(last.x, states[-1].x)
    (last.x.sum() + seen.sum() + 0.0 * given.sum()).backward()
    assert torch.isfinite(start.x.grad).all()
    if steps == 0:
        assert states == [start]
        assert torch.equal(start.x.grad, torch.ones_like(start.x))
        assert given.grad.shape == (0, 2, 3)


def test_a_simulator_of_no_environments_is_refused():
    with pytest.raises(ds.InputError, match="num_envs must be a positive integer, got 0"):
        jelly(0)
