"""The schedules give the same physics: one thread or a team at an environment, and the GPU's shared grid with atomics."""

from typing import Any

import pytest
import torch

import diffsim as ds
from diffsim.soft.launch_schedules import LaneSchedule, SharedSchedule
from diffsim.soft.mpm_solver import MPMSolver
from tests.diffsim.scenes import contact_scene, random_state

pytestmark = pytest.mark.slow

F64 = torch.float64
MIXED = {
    "elastic": ds.Elastic(5e3, 0.3),
    "plastic": ds.ElastoPlastic(5e3, 0.3, yield_stress=100.0, hardening=200.0),
    "liquid": ds.Liquid(bulk_modulus=5e3, viscosity=2.0),
    "sand": ds.Sand(5e3, 0.3),
}


def rollout_and_gradients(sim: ds.Simulator, num_envs: int) -> dict[str, torch.Tensor]:
    start = random_state(sim)[list(range(num_envs))]
    leaves = {name: getattr(start, name).clone().requires_grad_() for name in ("x", "v", "C", "F", "internal_variable")}
    speeds = torch.linspace(-0.4, 0.5, num_envs, dtype=sim.dtype)[:, None]
    leaves["action"] = speeds.repeat(1, sim.action_dim).requires_grad_()
    parameters = {name: value.requires_grad_() for name, value in sim.parameters.items()}
    state = start.replace(**{name: leaves[name] for name in ("x", "v", "C", "F", "internal_variable")})
    for _ in range(2):
        state = sim.step(state, leaves["action"], parameters)
    generator = torch.Generator().manual_seed(5)
    terms = [
        (tensor * torch.randn(tensor.shape, dtype=sim.dtype, generator=generator)).sum()
        for name, tensor in state.tensors().items()
        if name != "time_step"
    ]
    torch.stack(terms).sum().backward()
    values = {f"state.{name}": tensor.detach() for name, tensor in state.tensors().items()}
    return values | {f"gradient of {name}": leaf.grad for name, leaf in (leaves | parameters).items()}


def simulator(material: str, num_envs: int, schedule: type) -> ds.Simulator:
    """What is plastic also has its contact wrenches recorded."""
    scene, recording = contact_scene(material=MIXED[material]), material == "plastic"
    sim = ds.Simulator(scene, num_envs=num_envs, dt=2e-3, substeps=5, dtype=F64, record_forces=recording)
    sim._soft.solver = MPMSolver(scene, dt=2e-3, substeps=5, dtype=F64, schedule=schedule, recording=recording)
    return sim


@pytest.mark.parametrize("material", ["plastic", "liquid"])
def test_shared_grid_and_lanes_agree(material):
    lanes = rollout_and_gradients(simulator(material, 2, LaneSchedule), 2)
    shared = rollout_and_gradients(simulator(material, 2, SharedSchedule), 2)
    for name, value in lanes.items():
        torch.testing.assert_close(shared[name], value, rtol=1e-9, atol=1e-11, msg=lambda text, name=name: f"{name}: {text}")


def test_one_worker_does_the_parts_of_a_team_to_the_last_bit(monkeypatch):
    monkeypatch.setattr("diffsim.runtime.num_threads", lambda: 3)
    team = simulator("plastic", 1, LaneSchedule)
    schedule: Any = team._soft.solver._schedule
    assert schedule.parts(1) == 3
    # the machine may have fewer threads than the team: one worker for all parts is what a busy machine gets
    schedule._teams._pause = 10**9
    parts = rollout_and_gradients(team, 1)
    monkeypatch.setattr("diffsim.runtime.num_threads", lambda: 1)
    whole = rollout_and_gradients(simulator("plastic", 1, LaneSchedule), 1)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-10, atol=1e-12, msg=lambda text, name=name: f"{name}: {text}")


def test_teams_and_single_workers_agree_to_the_last_bit():
    sim = simulator("sand", 1, LaneSchedule)
    schedule: Any = sim._soft.solver._schedule
    if schedule.parts(1) == 1:
        pytest.skip("this process has one thread: there are no teams")
    together = rollout_and_gradients(sim, 1)
    schedule._teams._pause = 10**9
    alone = rollout_and_gradients(sim, 1)
    for name, value in together.items():
        assert torch.equal(alone[name], value), name


def test_a_team_without_its_cores_is_sent_home(monkeypatch):
    from diffsim.soft.kernels.teams import Teams

    now = {"wall": 0.0, "cpu": 0.0}
    monkeypatch.setattr("time.perf_counter", lambda: now["wall"])
    monkeypatch.setattr("time.process_time", lambda: now["cpu"])
    teams = Teams(4, threads=4)
    assert [teams.parts(n) for n in (1, 2, 3, 4, 9)] == [4, 2, 1, 1, 1]

    def launch(share: float) -> int:
        with teams.at_work("forward", 2) as (lanes, workers):
            now["wall"] += 0.1
            now["cpu"] += 0.1 * lanes * share
        return workers

    assert launch(0.3) == 2  # the first one compiles
    assert launch(1.0) == 2
    assert launch(0.3) == 2  # noticed afterwards
    assert [launch(1.0) for _ in range(8)] == [1] * 8
    assert launch(0.3) == 2
    assert [launch(1.0) for _ in range(16)] == [1] * 16
    assert launch(1.0) == 2
    assert launch(1.0) == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: the GPU schedule is only tested on the CPU here")
def test_cuda_agrees_with_the_cpu():
    code = (
        "import torch, diffsim as ds\n"
        "from tests.diffsim.scenes import contact_scene\n"
        "sim = ds.Simulator(contact_scene(150.0), num_envs=4, dt=2e-3, substeps=5, dtype=torch.float64, device='cuda')\n"
        "action = torch.full((4, sim.action_dim), 0.3, dtype=torch.float64, device='cuda', requires_grad=True)\n"
        "with torch.autograd.set_multithreading_enabled(False):\n"
        "    sim.step(sim.reset(), action).x.square().sum().backward()\n"
        "print(action.grad.cpu().numpy().tobytes().hex())\n"
    )
    import subprocess
    import sys

    import numpy as np

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    theirs = torch.tensor(np.frombuffer(bytes.fromhex(done.stdout.split()[-1])).reshape(4, -1))
    sim = ds.Simulator(contact_scene(150.0), num_envs=4, dt=2e-3, substeps=5, dtype=F64)
    action = torch.full((4, sim.action_dim), 0.3, dtype=F64, requires_grad=True)
    sim.step(sim.reset(), action).x.square().sum().backward()
    torch.testing.assert_close(theirs, action.grad, rtol=1e-8, atol=1e-10)


def test_other_particle_counts_and_batches_compile_nothing_new():
    from diffsim import runtime
    from diffsim.compiler import compiled_variants
    from diffsim.soft.kernels.soft_lanes import lane_kernels
    from diffsim.soft.laws import ALWAYS
    from diffsim.soft.soft_features import SoftFeatures

    def run(particles: int, num_envs: int) -> None:
        body = ds.SoftBody("block", ds.Sphere(0.1), (0.3, 0.3, 0.3), particles=particles)
        scene = ds.Scene((body,), upper=(0.6, 0.6, 0.6), grid_spacing=0.05)
        sim = ds.Simulator(scene, num_envs=num_envs, substeps=2, dtype=F64)
        speed = sim.reset().v.requires_grad_()
        sim.step(sim.reset().replace(v=speed), torch.zeros(num_envs, 0, dtype=F64)).x.sum().backward()

    run(50, 1)
    kernels = runtime.compiled(lane_kernels, "f64", SoftFeatures(ALWAYS))
    before = [compiled_variants(kernel) for kernel in (kernels.forward, kernels.adjoint)]
    assert before == [1, 1]
    run(173, 5)
    assert [compiled_variants(kernel) for kernel in (kernels.forward, kernels.adjoint)] == before
