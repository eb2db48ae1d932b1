"""State: a frozen record that the simulator never changes."""

from dataclasses import FrozenInstanceError

import pytest
import torch

import diffsim as ds
from tests.diffsim.scenes import contact_scene

BATCH = 3


@pytest.fixture(scope="module")
def sim() -> ds.Simulator:
    return ds.Simulator(contact_scene(150.0), num_envs=BATCH, substeps=4)


@pytest.fixture
def state(sim) -> ds.State:
    return sim.step(sim.reset(), torch.linspace(-0.5, 0.5, BATCH * 9).reshape(BATCH, 9))


def same(a: ds.State, b: ds.State) -> bool:
    return all(torch.equal(tensor, getattr(b, name)) for name, tensor in a.tensors().items())


def test_shapes_are_batch_first(sim, state):
    count, tools = sim.num_particles, 2
    shapes = {name: tuple(tensor.shape) for name, tensor in state.tensors().items()}
    assert shapes == {
        "x": (BATCH, count, 3),
        "v": (BATCH, count, 3),
        "C": (BATCH, count, 3, 3),
        "F": (BATCH, count, 3, 3),
        "internal_variable": (BATCH, count),
        "tool_position": (BATCH, tools, 3),
        "tool_rotation": (BATCH, tools, 4),
        "q": (BATCH, 0),
        "qd": (BATCH, 0),
        "time_step": (BATCH,),
        "contact_wrench": (BATCH, 0, 6),
    }
    assert state.time_step.tolist() == [1] * BATCH
    assert state.num_envs == BATCH


@pytest.mark.slow
def test_a_step_changes_nothing_it_was_given(sim, state):
    action = torch.full((BATCH, 9), 0.3, requires_grad=True)
    given = state.replace(x=state.x.clone().requires_grad_())
    before = given.detach().clone()
    after = sim.step(given, action)
    after.x.sum().backward()
    assert same(given.detach(), before)
    assert torch.equal(action.detach(), torch.full((BATCH, 9), 0.3))
    assert not torch.equal(after.x, given.x)


def test_a_rollout_can_go_on_from_any_of_its_states(sim, state):
    actions = torch.linspace(-0.4, 0.4, 4 * BATCH * 9).reshape(4, BATCH, 9)
    states = sim.rollout(state, actions)
    assert len(states) == 5
    assert same(sim.rollout(states[2], actions[2:])[-1], states[-1])
    assert states[-1].time_step.tolist() == [5] * BATCH


def test_saves_and_loads(sim, state, tmp_path):
    moving = sim.step(state, torch.zeros(BATCH, 9, requires_grad=True))  # in a graph
    moving.save(tmp_path / "state.pt")
    loaded = ds.State.load(tmp_path / "state.pt")
    assert same(loaded, moving.detach())
    assert not loaded.x.requires_grad
    assert same(sim.step(loaded, torch.zeros(BATCH, 9)), sim.step(moving.detach(), torch.zeros(BATCH, 9)))


def test_bad_files_are_named(tmp_path):
    with pytest.raises(ds.InputError, match=r"missing\.pt' does not exist"):
        ds.State.load(tmp_path / "missing.pt")
    (tmp_path / "noise.pt").write_bytes(b"noise")
    with pytest.raises(ds.InputError, match=r"noise\.pt' is not a saved State: [^\n]+$"):
        ds.State.load(tmp_path / "noise.pt")
    torch.save({"x": torch.zeros(1)}, tmp_path / "half.pt")
    with pytest.raises(ds.InputError, match=r"half\.pt' is not a saved State: [^\n]+$"):
        ds.State.load(tmp_path / "half.pt")
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    with pytest.raises(ds.InputError, match=r"list\.pt' is not a saved State: [^\n]+$"):
        ds.State.load(tmp_path / "list.pt")


def test_indexing_chooses_environments(state):
    for index, rows in (
        (1, [1]),
        (-1, [BATCH - 1]),
        (slice(1, None), [1, 2]),
        ([2, 0], [2, 0]),
        (torch.tensor([True, False, True]), [0, 2]),
    ):
        chosen = state[index]
        for name, tensor in state.tensors().items():
            assert torch.equal(getattr(chosen, name), tensor[rows])
    for index in (BATCH, -BATCH - 1):
        with pytest.raises(ds.InputError, match=rf"must lie in \[0, {BATCH}\), got {index}"):
            state[index]


def test_a_chosen_environment_moves_as_it_did_in_the_batch(sim, state):
    action = torch.linspace(-0.5, 0.5, BATCH)[:, None].expand(BATCH, 9).contiguous()
    assert same(sim.step(state[[2, 0]], action[[2, 0]]), sim.step(state, action)[[2, 0]])


def test_map_stack_detach_and_to(sim, state):
    moving = sim.step(state, torch.zeros(BATCH, 9, requires_grad=True))
    assert moving.x.requires_grad
    assert not moving.detach().x.requires_grad
    copy = state.clone()
    copy.x.zero_()
    assert float(state.x.abs().min()) > 0.0
    stacked = ds.State.stack([state, moving.detach()])
    assert stacked.x.shape == (2, *state.x.shape)
    assert torch.equal(stacked.F[1], moving.F.detach())
    assert same(state.to("cpu"), state)
    assert state.to("meta").device == torch.device("meta")
    assert state.device == torch.device("cpu")
    assert torch.equal(state.map(lambda tensor: tensor + 1).time_step, state.time_step + 1)
    with pytest.raises(FrozenInstanceError):
        state.x = state.v


def test_a_stack_has_a_time_axis_before_the_environments(sim, state):
    states = sim.rollout(state, torch.zeros(4, BATCH, 9))
    stacked = ds.State.stack(states)
    assert stacked.num_envs == BATCH
    assert all(tensor.shape[:2] == (5, BATCH) for tensor in stacked.tensors().values())
    assert all(same(one, other) for one, other in zip(stacked.unstack(), states, strict=True))
    for index in (1, slice(1, None), [2, 0], torch.tensor([True, False, True])):
        chosen = stacked[index]
        assert chosen.num_envs == states[0][index].num_envs
        assert same(chosen, ds.State.stack([each[index] for each in states]))
    with pytest.raises(ds.InputError, match=rf"must lie in \[0, {BATCH}\), got {BATCH}"):
        stacked[BATCH]
    twice = ds.State.stack([stacked, stacked])
    assert twice.num_envs == BATCH
    assert same(twice[[1]].unstack()[0].unstack()[2], states[2][1])
    with pytest.raises(ds.InputError, match="at least one State"):
        ds.State.stack([])
    with pytest.raises(ds.InputError, match=r"State\.stack"):
        state.unstack()


def test_replace_changes_the_named_fields_only(state):
    other = state.replace(v=torch.zeros_like(state.v))
    assert not other.v.any()
    assert other.x is state.x
    with pytest.raises(TypeError, match="velocity"):
        state.replace(velocity=state.v)


def test_particles_are_the_fields_of_the_soft_bodies(state):
    particles = state.particles
    assert particles._fields == ("x", "v", "C", "F", "internal_variable")
    assert all(getattr(state, name) is tensor for name, tensor in particles._asdict().items())


def test_rigid_scenes_have_environments_and_no_particles():
    scene = ds.Scene(rigid_bodies=(ds.RigidBody("ball", ds.Sphere(0.1), (0.0, 0.0, 1.0)),))
    state = ds.Simulator(scene, num_envs=2).reset()
    assert state.num_envs == ds.State.stack([state] * 3).num_envs == 2
    assert state.particles.x.shape == (2, 0, 3)
