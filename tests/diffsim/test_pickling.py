"""States and simulators go to other processes: by pickle, by torch's files, and by multiprocessing's spawn."""

import io
import multiprocessing
import pickle

import numpy as np
import pytest
import torch
import trimesh

import diffsim as ds
from tests.diffsim.scenes import contact_scene

HANGS = 240  # s
MESH = trimesh.creation.icosphere(1, 0.1)


def rigid() -> ds.Simulator:
    ball = ds.RigidBody("ball", ds.TriangleMesh(MESH.vertices, MESH.faces), (0.0, 0.0, 0.5))
    hill = ds.Obstacle("hill", ds.HeightField(np.full((3, 3), -1.0), 1.0), (0.0, 0.0, 0.0))
    return ds.Simulator(ds.Scene(rigid_bodies=(ball,), obstacles=(hill,)), num_envs=2, substeps=2, dtype=torch.float64)


def test_a_state_pickles_without_its_graph():
    sim = rigid()
    state = sim.reset()
    moving = state.replace(q=state.q.requires_grad_() * 1.0)
    loaded = pickle.loads(pickle.dumps(moving))
    assert isinstance(loaded, ds.State)
    assert not loaded.q.requires_grad
    assert moving.q.requires_grad
    for name, tensor in moving.tensors().items():
        assert torch.equal(getattr(loaded, name), tensor)


def test_torch_loads_a_state_without_running_code():
    state, file = rigid().reset(), io.BytesIO()
    torch.save({"state": state, "step": 3}, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)["state"]
    assert isinstance(loaded, ds.State)
    assert torch.equal(loaded.q, state.q)


def test_a_simulator_pickles_by_its_scene_and_settings():
    sim = rigid()
    sim.contact = ds.ContactModel(stiffness=1e4)
    loaded = pickle.loads(pickle.dumps(sim))
    for name in ("num_envs", "dt", "substeps", "dtype", "device", "integrator", "contact", "action_dim"):
        assert getattr(loaded, name) == getattr(sim, name)
    assert torch.equal(loaded.reset().q, sim.reset().q)
    assert loaded.parameters.keys() == sim.parameters.keys()


def rolled(sim: ds.Simulator, state: ds.State, answers) -> None:
    """The end of a rollout, from another process."""
    torch.set_num_threads(1)
    answers.put(sim.rollout(state, torch.full((3, 1, sim.action_dim), 0.1))[-1].x.numpy())


@pytest.mark.slow
def test_a_spawned_process_steps_a_simulator_that_it_was_given():
    sim = ds.Simulator(contact_scene(), dt=2e-3, substeps=4)
    state = sim.reset()
    expected = sim.rollout(state, torch.full((3, 1, sim.action_dim), 0.1))[-1].x
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=rolled, args=(sim, state, answers))
    process.start()
    try:
        found = answers.get(timeout=HANGS)
    finally:
        process.kill()
        process.join()
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=0.0, atol=1e-5)
