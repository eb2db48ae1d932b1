"""Gravity compensation of links: closed forms, MuJoCo's, gradients."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import diffsim as ds
from tests.diffsim.test_inputs import refused
from tests.diffsim.test_wrenches import DT, F64, MASS, T, ball, mechanisms, still

SHARE = "gravity_compensation"


def compensated(sim: ds.Simulator, share: float) -> ds.Simulator:
    """The same mechanisms, all of whose links have that share of their weight carried."""
    articulations = tuple(
        dataclasses.replace(each, links=tuple(dataclasses.replace(link, gravity_compensation=share) for link in each.links))
        for each in sim.scene.articulations
    )
    scene = dataclasses.replace(sim.scene, articulations=articulations)
    return ds.Simulator(scene, num_envs=sim.num_envs, dt=DT, substeps=4, dtype=F64)


def test_links_whose_weight_is_carried_move_as_without_gravity():
    sim = compensated(mechanisms(), 1.0)
    action = still(sim, 6) + 0.3
    heavy = sim.rollout(sim.reset(), action)[-1]
    light = sim.rollout(sim.reset(), action, {"gravity": torch.zeros(3, dtype=F64)})[-1]
    torch.testing.assert_close(heavy.q, light.q, rtol=0.0, atol=1e-13)
    torch.testing.assert_close(heavy.qd, light.qd, rtol=0.0, atol=1e-12)


def test_it_is_what_a_force_at_the_centre_of_mass_is():
    """With shares of its own for each link, and as a parameter of a scene that declares none."""
    sim = mechanisms()
    shares = {"arm.l0": 0.5, "arm.l1": 1.0, "arm.l2": -0.3, "stone.body": 1.5}
    parameters = {f"{name}.{SHARE}": torch.tensor(share, dtype=F64) for name, share in shares.items()}
    masses = {name: float(sim.parameters[f"{name}.mass"]) for name in shares}
    wrenches = {name: ds.Wrench((0.0, 0.0, 9.81 * share * masses[name])) for name, share in shares.items()}
    assert sim.scene.gravity == (0.0, 0.0, -9.81)
    by_share = sim.rollout(sim.reset(), still(sim, 6), parameters)[-1]
    by_force = sim.rollout(sim.reset(), still(sim, 6), wrenches=wrenches)[-1]
    torch.testing.assert_close(by_share.q, by_force.q, rtol=0.0, atol=1e-12)
    torch.testing.assert_close(by_share.qd, by_force.qd, rtol=0.0, atol=1e-11)


def test_gradients():
    sim = mechanisms()
    generator = torch.Generator().manual_seed(0)
    state = sim.reset()
    state = state.replace(qd=torch.randn(state.qd.shape, generator=generator, dtype=F64))
    names = ("arm.l0", "arm.l1", "arm.l2", "stone.body")

    def end(gravity: torch.Tensor, masses: torch.Tensor, centre: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        parameters = {f"{name}.{SHARE}": shares[:, n] for n, name in enumerate(names)}
        parameters |= {f"{name}.mass": masses[n] for n, name in enumerate(names)}
        last = sim.rollout(state, still(sim, 3) + 0.2, {**parameters, "arm.l1.center": centre, "gravity": gravity})[-1]
        return (last.q.sin() * torch.arange(1.0, 1.0 + last.q.shape[1], dtype=F64)).sum() + last.qd.square().sum()

    ds.gradcheck(
        end,
        {
            "gravity": torch.tensor([0.4, -0.8, -9.0], dtype=F64),
            "masses": torch.tensor([0.5, 0.7, 0.9, 0.8], dtype=F64),
            "centre": torch.tensor([0.05, 0.02, -0.1], dtype=F64),
            "shares": torch.rand((2, 4), generator=generator, dtype=F64),
        },
    )


@pytest.mark.slow
def test_a_free_body_in_event_mode_falls_with_the_rest_of_its_weight():
    """It bounces once: z(T) as in test_wrenches, with c = (1 - share) g."""
    sim = ball("event", gravity=-9.0, e=0.5, height=0.3)
    share = torch.full((2,), 0.5, dtype=F64, requires_grad=True)
    end = sim.rollout(sim.reset(), still(sim), {"ball.gravity_compensation": share})[-1]
    height = end.q[0, 2] - 0.1
    (found,) = torch.autograd.grad(height, share)
    exact_share = share.detach()[0].requires_grad_()
    c = (1.0 - exact_share) * 9.0
    tau = (0.4 / c) ** 0.5
    exact = 0.5 * c * tau * (T - tau) - 0.5 * c * (T - tau) ** 2
    assert 0.0 < float(tau.detach()) < T < 2.0 * float(tau.detach())
    torch.testing.assert_close(height, exact, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found[0], torch.autograd.grad(exact, exact_share)[0], rtol=1e-7, atol=0.0)
    assert float(sim.parameters["ball.mass"]) == MASS


def test_files_say_it_and_it_acts_as_mujoco_s(tmp_path):
    mujoco = pytest.importorskip("mujoco")
    path = tmp_path / "arm.xml"
    link = '<joint axis="0 1 0"/><geom type="box" size=".1 .03 .02" pos=".1 0 0" mass="1.3"/>'
    path.write_text(
        f'<mujoco><option timestep="0.002" integrator="Euler"/><worldbody><body gravcomp=".8">{link}'
        f'<body pos=".2 0 0">{link}<body pos=".2 0 0" gravcomp="1.4">{link}</body></body></body></worldbody></mujoco>'
    )
    arm = ds.load_articulation(path, name="arm")
    assert [link.gravity_compensation for link in arm.links] == [0.8, 0.0, 1.4]
    links = tuple(dataclasses.replace(link, geometries=()) for link in arm.links)
    scene = ds.Scene(articulations=(dataclasses.replace(arm, links=links),), ground=None)
    sim = ds.Simulator(scene, dt=0.002, substeps=100, dtype=F64, integrator="euler")
    end = sim.step(sim.reset(), still(sim)[0])
    model = mujoco.MjModel.from_xml_path(str(path))
    model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_CONTACT)
    data = mujoco.MjData(model)
    for _ in range(100):
        mujoco.mj_step(model, data)
    torch.testing.assert_close(end.q[0], torch.tensor(data.qpos), rtol=0.0, atol=1e-10)


def test_what_is_no_number_is_refused():
    with refused("Link 'a': gravity_compensation must be"):
        ds.Link("a", ds.Joint("j", "revolute"), gravity_compensation=float("nan"))
