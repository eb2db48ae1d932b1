"""Substeps that forward keeps for backward change no result, stay within their budget, and their memory is used again."""

import gc

import pytest
import torch

import diffsim as ds
from diffsim.gradients.kept_memory import KeptMemory, kept_budget
from tests.diffsim.scenes import contact_scene
from tests.diffsim.test_coupling import SHAPES, squeezed

pytestmark = pytest.mark.slow

ENVIRONMENTS, STEPS = 3, 6


def soft() -> ds.Simulator:
    return ds.Simulator(contact_scene(), num_envs=ENVIRONMENTS, dt=2e-3, substeps=5)


def falling_box(restitution: float = 0.0) -> ds.Scene:
    shape, velocity = ds.Box((0.05, 0.05, 0.05)), (0.3, 0.0, -0.5)
    box = ds.RigidBody("box", shape, (0.0, 0.0, 0.051), velocity=velocity, restitution=restitution)
    return ds.Scene(rigid_bodies=(box,), tools=(ds.Tool("tool", ds.Sphere(0.05), (0.1, 0.0, 0.05)),), ground=ds.Ground())


def rigid() -> ds.Simulator:
    return ds.Simulator(falling_box(), num_envs=ENVIRONMENTS, dt=2e-3, substeps=5)


def rigid_alone() -> ds.Simulator:
    """Whole rollouts in one launch."""
    arm = ds.Articulation(
        "arm",
        tuple(
            ds.Link(name, ds.Joint(name, "revolute", axis=(0, 1, 0)), parent, inertia=ds.Inertia(1.0, (0.01, 0.01, 0.01)))
            for name, parent in (("a", None), ("b", "a"))
        ),
        tuple(ds.Actuator(f"drive_{name}", name, "torque") for name in ("a", "b")),
    )
    scene = ds.Scene(rigid_bodies=falling_box().rigid_bodies, articulations=(arm,), ground=ds.Ground())
    return ds.Simulator(scene, num_envs=ENVIRONMENTS, dt=2e-3, substeps=5)


def impacts() -> ds.Simulator:
    return ds.Simulator(falling_box(0.5), num_envs=ENVIRONMENTS, dt=2e-3, substeps=5)


def coupled() -> ds.Simulator:
    return squeezed(SHAPES["rounded box"], "sticking", num_envs=ENVIRONMENTS)  # whose kernels are compiled for another test


LONG = ("rigid rollout", "impacts")  # kernels of their own
SIMULATORS = {"soft": soft, "rigid": rigid, "rigid rollout": rigid_alone, "impacts": impacts, "coupled": coupled}

KINDS = [pytest.param(kind, marks=pytest.mark.long) if kind in LONG else kind for kind in SIMULATORS]


def memory(sim: ds.Simulator) -> KeptMemory:
    if sim._coupled is not None:
        return sim._coupled._memory
    owner = sim._soft if sim._soft is not None else sim._rigid
    assert owner is not None
    return owner.solver._memory


def loss(sim: ds.Simulator) -> tuple[torch.Tensor, torch.Tensor]:
    """A scalar of all states of a rollout, and its actions."""
    generator = torch.Generator().manual_seed(0)
    actions = 0.3 * torch.randn(STEPS, ENVIRONMENTS, sim.action_dim, generator=generator).to(sim.dtype)
    actions.requires_grad_()
    states = sim.rollout(sim.reset(), actions)
    total = sum((state.x.square().sum() + state.q.square().sum() + state.qd.square().sum() for state in states), 0.0)
    return torch.as_tensor(total), actions


def results(sim: ds.Simulator, times: int = 1) -> list[torch.Tensor]:
    """The loss and the gradient, of one rollout after the other."""
    found = []
    for _ in range(times):
        total, actions = loss(sim)
        found += [total.detach(), *torch.autograd.grad(total, actions)]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_changes_no_bit(kind, monkeypatch):
    kept = SIMULATORS[kind]()
    some = results(kept, 2)  # a soft scene learns the size of its boxes in its first step
    assert memory(kept)._allocated > 0
    assert float(some[1].abs().max()) > 0.0
    monkeypatch.setenv("DIFFSIM_KEPT_MB", "0")
    recomputed = SIMULATORS[kind]()
    others = results(recomputed, 2)
    assert memory(recomputed)._allocated == 0
    for one, other in zip(some, others, strict=True):
        assert torch.equal(one, other)


def test_what_does_not_fit_is_recomputed(monkeypatch):
    whole = results(soft(), 2)
    sim = soft()
    results(sim)
    one_step = max(each.nbytes for each in memory(sim)._free)
    sim = soft()
    own = memory(sim)
    own._budget = int(2.5 * one_step)
    for one, other in zip(whole, results(sim, 2), strict=True):
        assert torch.equal(one, other)
    assert 0 < own._allocated <= own._budget


@pytest.mark.parametrize("kind", ["soft", "coupled"])
def test_what_outgrows_its_room_is_recomputed(kind, monkeypatch):
    expected = results(SIMULATORS[kind](), 2)
    monkeypatch.setattr("diffsim.soft.mpm_solver.roomier", lambda nodes: nodes // 2)
    monkeypatch.setattr("diffsim.coupling.coupled_solver.roomier", lambda contacts: contacts if contacts > 500 else 1)
    monkeypatch.setattr("diffsim.coupling.coupled_solver.MORE_CONTACTS", 0)
    sim = SIMULATORS[kind]()
    for one, other in zip(expected, results(sim, 2), strict=True):
        assert torch.equal(one, other)
    loss(sim)
    assert sum(each.nbytes for each in memory(sim)._free) == memory(sim)._allocated  # taken for each step, and given back


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_backward_pass_recomputes(kind):
    sim = SIMULATORS[kind]()
    results(sim)
    total, actions = loss(sim)
    first = torch.autograd.grad(total, actions, retain_graph=True)[0]
    loss(sim)[0].backward()  # writes to the memory that the first one gave back
    assert torch.equal(first, torch.autograd.grad(total, actions)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_memory_is_used_again(kind):
    sim = SIMULATORS[kind]()
    results(sim, 2)
    before = memory(sim)._allocated
    results(sim, 3)
    total, _ = loss(sim)
    assert memory(sim)._allocated == before
    in_use = before - sum(each.nbytes for each in memory(sim)._free)
    assert in_use > 0
    del total  # without backward
    gc.collect()
    assert sum(each.nbytes for each in memory(sim)._free) == before
    results(sim)
    assert memory(sim)._allocated == before


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_kept_where_nothing_is_differentiated(kind):
    sim = SIMULATORS[kind]()
    actions = torch.zeros(STEPS, ENVIRONMENTS, sim.action_dim, dtype=sim.dtype)
    sim.rollout(sim.reset(), actions)
    with torch.no_grad():
        sim.rollout(sim.reset(), actions.requires_grad_())
    assert memory(sim)._allocated == 0


def test_the_budget_is_read_from_the_environment(monkeypatch):
    assert kept_budget() == 256 * 2**20
    monkeypatch.setenv("DIFFSIM_KEPT_MB", "3")
    assert kept_budget() == 3 * 2**20
    for wrong in ("-1", "1.5", "much"):
        monkeypatch.setenv("DIFFSIM_KEPT_MB", wrong)
        with pytest.raises(ds.InputError, match=f"DIFFSIM_KEPT_MB must be a whole number of .*, 0 or more, got '{wrong}'"):
            soft()
