"""Batches of no environments and rollouts of no steps are defined."""

import pytest
import torch

import diffsim as ds
from tests.diffsim.rigid_scenes import arm
from tests.diffsim.scenes import contact_scene
from tests.diffsim.test_coupling import squeezed

pytestmark = pytest.mark.slow

F64 = torch.float64


def soft() -> ds.Simulator:
    return ds.Simulator(contact_scene(), dt=2e-3, substeps=4, dtype=F64)


def rigid() -> ds.Simulator:
    return ds.Simulator(ds.Scene(articulations=(arm(),)), dt=1e-3, substeps=4, dtype=F64)


def coupled() -> ds.Simulator:
    return squeezed(ds.Sphere(0.05), "sliding")


KINDS = pytest.mark.parametrize("make", [soft, rigid, coupled])


@KINDS
def test_a_step_of_no_environments(make):
    sim = make()
    start = sim.reset()[:0].map(lambda tensor: tensor.clone().requires_grad_(tensor.is_floating_point()))
    action = torch.zeros(0, sim.action_dim, dtype=F64, requires_grad=True)
    gravity = torch.tensor([0.0, 0.0, -9.81], dtype=F64, requires_grad=True)
    after = sim.step(start, action, {"gravity": gravity})
    assert after.num_envs == 0
    for name, tensor in sim.reset().tensors().items():
        assert getattr(after, name).shape == (0, *tensor.shape[1:]), name
    total = sum(tensor.sum() for tensor in after.tensors().values())
    if make is not soft:
        total = total + sim.links(after).position.sum()
    total.backward()
    assert action.grad.shape == action.shape
    assert torch.equal(gravity.grad, torch.zeros(3, dtype=F64))
    for name in ("q", "qd") if make is rigid else ("x", "v", "F"):
        assert getattr(start, name).grad.shape == getattr(start, name).shape, name


@KINDS
def test_rollouts_of_no_environments(make):
    sim = make()
    actions = torch.zeros(3, 0, sim.action_dim, dtype=F64, requires_grad=True)
    states = sim.rollout(sim.reset()[:0], actions)
    assert [state.num_envs for state in states] == [0] * 4

    def observe(state: ds.State) -> torch.Tensor:
        return torch.cat([state.x.flatten(1), state.q], dim=1)

    _, seen = sim.windowed_rollout(sim.reset()[:0], actions, observe, window=2)
    seen.sum().backward()
    assert seen.shape[:2] == (3, 0)
    assert torch.equal(actions.grad, torch.zeros_like(actions))


@KINDS
def test_rollouts_of_no_steps(make):
    sim = make()
    start, nothing = sim.reset(), torch.zeros(0, 1, sim.action_dim, dtype=F64)
    assert sim.rollout(start, nothing) == [start]
    last, seen = sim.windowed_rollout(start, nothing, lambda state: state.q, window=2)
    assert last is start
    assert seen.shape == (0, *start.q.shape)
    wrong = torch.zeros(0, 1, sim.action_dim + 1, dtype=F64)
    for run in (sim.rollout, lambda *given: sim.windowed_rollout(*given, lambda state: state.q, window=2)):
        with pytest.raises(ds.InputError, match=rf"actions must have shape \(steps, 1, {sim.action_dim}\), got \(0, 1, "):
            run(start, wrong)
