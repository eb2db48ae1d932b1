"""Reports on gradients along a rollout, and contact that is annealed."""

from __future__ import annotations

import math

import pytest
import torch

import diffsim as ds
from diffsim.gradients.gradient_report import gradient_report
from diffsim.gradients.smoothing_schedule import SmoothingSchedule
from tests.diffsim.test_inputs import refused

pytestmark = pytest.mark.slow

F64 = torch.float64


def drop(num_envs: int = 1, **ball) -> tuple[ds.Simulator, ds.State]:
    """A ball above the ground, and another in free flight; a servo swings aside."""
    bodies = (
        ds.RigidBody("flyer", ds.Sphere(0.05), (1.0, 0.0, 3.0), velocity=(1.0, 0.0, 0.0), mass=1.0),
        ds.RigidBody("ball", ds.Sphere(0.05), (0.0, 0.0, 0.2), **{"mass": 1.0, "restitution": 0.8, **ball}),
    )
    hinge = ds.Link("bar", ds.Joint("hinge", "revolute"), inertia=ds.Inertia(1.0, (0.1,) * 3))
    servo = ds.Articulation("servo", (hinge,), (ds.Actuator("motor", "hinge"),), position=(5.0, 0.0, 1.0))
    contact = ds.ContactModel(stiffness=2e4, smoothing=1e-3, restitution_speed=0.05)
    scene = ds.Scene(rigid_bodies=bodies, articulations=(servo,), ground=ds.Ground(restitution=0.8), contact=contact)
    sim = ds.Simulator(scene, num_envs=num_envs, dt=5e-4, substeps=20, dtype=F64)
    return sim, sim.reset()


def last(states: list[ds.State]) -> torch.Tensor:
    return states[-1].q[:, 9].square().sum() + states[-1].q[:, 14].sum()


def test_norms_are_those_of_autograd():
    sim, state = drop(2)
    state = state.replace(qd=state.qd + 0.1 * torch.arange(2, dtype=F64)[:, None])
    actions = torch.full((4, 2, 1), 0.3, dtype=F64)
    mass = torch.tensor(1.2, dtype=F64)

    def objective(states: list[ds.State]) -> torch.Tensor:
        return torch.stack([(each.q[:, 9] - 0.1).square().sum() + each.qd[:, 12].sum() for each in states]).sum()

    report = gradient_report(sim, state, actions, objective, {"ball.mass": mass})
    leaves = [actions.clone().requires_grad_(), mass.clone().requires_grad_()]
    qs, qds = [state.q.clone().requires_grad_()], [state.qd.clone().requires_grad_()]
    states = [state.replace(q=qs[0], qd=qds[0])]
    for action in leaves[0]:
        states.append(sim.step(states[-1], action, {"ball.mass": leaves[1]}))
        qs.append(states[-1].q)
        qds.append(states[-1].qd)
    value = objective(states)
    assert report.objective == pytest.approx(float(value.detach()), rel=1e-14)
    found = torch.autograd.grad(value, [*qs, *qds, *leaves])
    torch.testing.assert_close(report.state["q"], torch.stack(found[:5]).norm(dim=2), rtol=1e-12, atol=0.0)
    torch.testing.assert_close(report.state["qd"], torch.stack(found[5:10]).norm(dim=2), rtol=1e-12, atol=0.0)
    torch.testing.assert_close(report.action, found[10].norm(dim=2), rtol=1e-12, atol=0.0)
    assert report.parameters["ball.mass"] == pytest.approx(float(found[11].norm()), rel=1e-12)
    ball = torch.cat([torch.stack(found[:5])[:, :, 7:14], torch.stack(found[5:10])[:, :, 6:12]], dim=2).norm(dim=2)
    torch.testing.assert_close(report.parts["ball"], ball, rtol=1e-12, atol=0.0)
    assert set(report.parts) == {"flyer", "ball", "servo.bar"}
    assert set(report.state) == {"q", "qd"}
    assert report.total.shape == (5, 2)
    assert report.growth.shape == report.action.shape == (4, 2)


def test_growth_is_that_of_the_gradient_which_passes_through_a_step():
    sim, state = drop()
    actions = torch.zeros(3, 1, 1, dtype=F64)
    at_the_end = gradient_report(sim, state, actions, last)
    ratio = at_the_end.total[:-1] / at_the_end.total[1:]
    torch.testing.assert_close(at_the_end.growth, ratio, rtol=1e-12, atol=0.0)

    # what the objective says of a state itself has not passed through the step after it
    along = gradient_report(sim, state, actions, lambda states: states[1].q.sum() * 1e6 + last(states))
    torch.testing.assert_close(along.growth[1:], at_the_end.growth[1:], rtol=1e-9, atol=0.0)


def test_the_impact_is_where_gradients_grow():
    sim, state = drop(2)
    q = state.q.clone()
    q[1, 9] = 0.45  # falls longer in the second environment
    steps = 35
    report = gradient_report(sim, state.replace(q=q), torch.zeros(steps, 2, 1, dtype=F64), last)
    heights = torch.stack([each.q[:, 9] for each in sim.rollout(state.replace(q=q), torch.zeros(steps, 2, 1, dtype=F64))])
    jump = report.jump
    assert jump is not None
    assert jump.part == "ball"
    touched = torch.nonzero(heights[:, jump.environment] < 0.051).flatten().tolist()
    assert touched[0] - 1 <= jump.step <= touched[0] + 1
    for environment in range(2):
        grown = int(report.growth[:, environment].argmax())
        first = int(torch.nonzero(heights[:, environment] < 0.051)[0])
        assert abs(grown - first) <= 1
    assert jump.growth == pytest.approx(float(report.growth.max()))
    assert jump.growth > 3.0
    text = str(report)
    assert f"through step {jump.step}" in text
    assert "'ball'" in text
    assert "d/d qd" in text
    assert len(text.splitlines()) > steps


def test_long_tables_are_shortened_but_show_the_jump(tmp_path):
    sim, state = drop()
    report = gradient_report(sim, state, torch.zeros(120, 1, 1, dtype=F64), last)
    lines = str(report).splitlines()
    assert len(lines) < 60
    assert any("<-- " in line and line.split()[0] == str(report.jump.step) for line in lines)
    report.plot(tmp_path / "report.png")
    assert (tmp_path / "report.png").stat().st_size > 1000


def test_vanished_and_broken_gradients_are_named():
    sim, state = drop()
    report = gradient_report(sim, state, torch.zeros(2, 1, 1, dtype=F64), lambda states: states[0].q.sum())
    assert report.jump is None
    assert torch.isnan(report.growth).all()
    assert "no gradient flows" in str(report)

    def broken(states: list[ds.State]) -> torch.Tensor:
        return states[2].q.sum() + (0.0 * states[1].q).sqrt().sum()

    report = gradient_report(sim, state, torch.zeros(2, 1, 1, dtype=F64), broken)
    assert "not finite up to state 1 (environment 0)" in report.summary()
    report = gradient_report(sim, state, torch.zeros(0, 1, 1, dtype=F64), last)
    assert "no steps" in str(report)


def test_soft_bodies_and_tools_are_reported():
    scene = ds.Scene(
        (ds.SoftBody("jelly", ds.Sphere(0.1), (0.3, 0.3, 0.15), particles=40),),
        tools=(ds.Tool("finger", ds.Sphere(0.05), (0.3, 0.3, 0.32)),), upper=(0.6, 0.6, 0.5), grid_spacing=0.05,
    )  # fmt: skip
    sim = ds.Simulator(scene, dt=1e-3, substeps=10, dtype=F64)
    actions = torch.zeros(6, 1, 3, dtype=F64)
    actions[..., 2] = -1.5
    report = gradient_report(sim, sim.reset(), actions, lambda states: states[-1].x[..., 2].mean())
    assert {"x", "v", "F", "tool_position"} <= set(report.state)
    assert set(report.parts) == {"jelly", "finger"}
    assert float(report.state["x"].min()) > 0.0
    assert "d/d x" in str(report)


def test_wrong_objectives():
    sim, state = drop()
    actions = torch.zeros(2, 1, 1, dtype=F64)
    with refused("objective", "scalar", "(1, 15)"):
        gradient_report(sim, state, actions, lambda states: states[-1].q)
    with refused("objective", "scalar", "1.0"):
        gradient_report(sim, state, actions, lambda states: 1.0)  # type: ignore[return-value]
    with refused("objective", "depend on the states"):
        gradient_report(sim, state, actions, lambda states: torch.ones(()))
    with refused("actions", "(steps, 1, 1)", "(1, 1)"):
        gradient_report(sim, state, actions[0], last)


COARSE = ds.ContactModel(stiffness=1e2, smoothing=1e-2, slip_speed=0.1, restitution_speed=1.0)
FINE = ds.ContactModel(stiffness=1e4, smoothing=1e-4, slip_speed=0.01, restitution_speed=0.1)


def test_the_schedule_goes_geometrically_from_coarse_to_fine():
    schedule = SmoothingSchedule(COARSE, FINE, 10)
    assert schedule.at(-1) == schedule.at(0) == COARSE
    assert schedule.at(10) == schedule.at(1000) == FINE
    middle = schedule.at(5)
    assert middle.stiffness == pytest.approx(1e3)
    assert middle.smoothing == pytest.approx(1e-3)
    assert middle.slip_speed == pytest.approx(math.sqrt(1e-3))
    assert middle.restitution_speed == pytest.approx(math.sqrt(0.1))
    ratios = [schedule.at(n + 1).smoothing / schedule.at(n).smoothing for n in range(10)]
    assert ratios == pytest.approx([ratios[0]] * 10)
    for arguments, parts in (
        ((1.0, FINE, 10), ("coarse", "1.0")),
        ((COARSE, None, 10), ("fine", "None")),
        ((COARSE, FINE, 0), ("iterations", "0")),
        ((COARSE, FINE, 2.5), ("iterations", "2.5")),
    ):
        with refused("SmoothingSchedule", *parts):
            SmoothingSchedule(*arguments)


def test_a_simulator_with_another_contact_is_one_made_with_it():
    def scene(contact: ds.ContactModel) -> ds.Scene:
        bodies = (
            ds.RigidBody("box", ds.Box((0.1, 0.1, 0.05)), (0.0, 0.0, 0.052), velocity=(1.0, 0.0, 0.0), mass=1.0),
            ds.RigidBody(
                "ball", ds.Sphere(0.05), (1.0, 0.0, 0.06), velocity=(0.0, 0.0, -1.0), mass=1.0, stiffness=5e3, restitution=1.0
            ),
        )
        return ds.Scene(rigid_bodies=bodies, contact=contact)

    changed, made = (ds.Simulator(scene(contact), dtype=F64) for contact in (FINE, COARSE))
    assert changed.contact == FINE
    actions = torch.zeros(5, 1, 0, dtype=F64)
    fine = changed.rollout(changed.reset(), actions)[-1]
    changed.contact = COARSE
    assert changed.contact == COARSE
    assert float(changed.parameters["box.stiffness"]) == 1e2
    assert float(changed.parameters["ball.stiffness"]) == 5e3  # its own
    results = []
    for sim in (changed, made):
        start = sim.reset()
        q = start.q.clone().requires_grad_()
        state = sim.rollout(start.replace(q=q), actions)[-1]
        results.append((state.q.detach(), torch.autograd.grad(state.q[:, :3].sum(), q)[0]))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert not torch.equal(results[0][0], fine.q)
    changed.contact = FINE
    assert torch.equal(changed.rollout(changed.reset(), actions)[-1].q, fine.q)
    with refused("contact", "ContactModel", "1.0"):
        changed.contact = 1.0  # type: ignore[assignment]
    soft = ds.Simulator(ds.Scene((ds.SoftBody("jelly", ds.Sphere(0.1), (0.5, 0.5, 0.5), particles=30),)))
    with refused("contact", "rigid bodies"):
        soft.contact = FINE
