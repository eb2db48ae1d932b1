"""External forces and torques on links: closed forms, Jacobians, gradients, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import diffsim as ds
from tests.diffsim.test_inputs import refused

F64 = torch.float64
STEPS, SUBSTEPS, DT = 20, 10, 2e-3
T = STEPS * SUBSTEPS * DT
MASS = 0.7


def ball(impact: str = "smooth", *, gravity: float = 0.0, e: float = 0.5, height: float = 1.0) -> ds.Simulator:
    """A ball over the ground, batch of two."""
    body = ds.RigidBody("ball", ds.Sphere(0.1), (0.0, 0.0, height), mass=MASS, restitution=e, friction=0.0)
    ground = ds.Ground(0.0, restitution=e, friction=0.0)
    scene = ds.Scene(rigid_bodies=(body,), ground=ground, gravity=(0.0, 0.0, gravity), contact=ds.ContactModel(impact=impact))
    return ds.Simulator(scene, num_envs=2, dt=DT, substeps=SUBSTEPS, dtype=F64)


def still(sim: ds.Simulator, steps: int = STEPS) -> torch.Tensor:
    return torch.zeros(steps, sim.num_envs, sim.action_dim, dtype=sim.dtype)


def arm() -> ds.Articulation:
    """Three links, whose centres of mass are not their origins."""
    links = []
    for n, (kind, axis) in enumerate(
        (("revolute", (0.0, 1.0, 0.0)), ("ball", (0.0, 0.0, 1.0)), ("prismatic", (1.0, 0.0, 0.2)))
    ):
        inertia = ds.Inertia(0.5 + 0.2 * n, (0.012, 0.02, 0.016), (0.05, 0.02 * n, -0.1), (0.9, 0.1, -0.2, 0.1))
        parent = f"l{n - 1}" if n else None
        links.append(ds.Link(f"l{n}", ds.Joint(f"j{n}", kind, axis), parent, (0.1, 0.0, -0.2), inertia=inertia))
    return ds.Articulation("arm", tuple(links), (ds.Actuator("drive", "j0"),))


def free() -> ds.Articulation:
    """A free link, whose centre of mass is not its origin."""
    inertia = ds.Inertia(0.8, (0.012, 0.02, 0.016), (0.05, 0.02, -0.1), (0.9, 0.1, -0.2, 0.1))
    return ds.Articulation("stone", (ds.Link("body", ds.Joint("free", "free"), inertia=inertia),))


def mechanisms(batch: int = 2) -> ds.Simulator:
    scene = ds.Scene(articulations=(arm(), free()), ground=None)
    return ds.Simulator(scene, num_envs=batch, dt=DT, substeps=4, dtype=F64)


def test_a_free_body_in_event_mode_moves_as_the_closed_form_says():
    """x = F T^2 / 2 m, exact at any dt, and so are its derivatives; the first environment has no force."""
    sim = ball("event")
    force = torch.tensor([[0.0, 0.0, 0.0], [0.9, -0.3, 0.4]], dtype=F64, requires_grad=True)
    mass = torch.full((2,), MASS, dtype=F64, requires_grad=True)
    end = sim.rollout(sim.reset(), still(sim), {"ball.mass": mass}, {"ball": ds.Wrench(force)})[-1]
    moved = end.q[:, :3] - sim.reset().q[:, :3]
    torch.testing.assert_close(moved, force * T**2 / (2.0 * MASS), rtol=1e-12, atol=1e-12)
    by_force, by_mass = torch.autograd.grad(moved[1, 0], (force, mass))
    expected = torch.tensor([[0.0, 0.0, 0.0], [T**2 / (2.0 * MASS), 0.0, 0.0]], dtype=F64)
    torch.testing.assert_close(by_force, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(by_mass[1].item(), -0.9 * T**2 / (2.0 * MASS**2), rtol=1e-10, atol=0.0)


def test_a_free_body_in_smooth_mode_moves_as_the_closed_form_says_up_to_dt():
    sim = ball()
    force = torch.tensor([0.9, -0.3, 0.4], dtype=F64, requires_grad=True)
    end = sim.rollout(sim.reset(), still(sim), wrenches={"ball": ds.Wrench(force)})[-1]
    torch.testing.assert_close(end.qd[:, :3], (force * T / MASS).expand(2, 3), rtol=1e-12, atol=1e-12)
    moved = end.q[0, 0]
    torch.testing.assert_close(moved.item(), 0.9 * T**2 / (2.0 * MASS), rtol=1.01 * DT / T, atol=0.0)
    (by_force,) = torch.autograd.grad(moved, force)
    torch.testing.assert_close(by_force[0].item(), T**2 / (2.0 * MASS), rtol=1.01 * DT / T, atol=0.0)


def test_a_torque_turns_a_ball_about_its_centre():
    sim = ball()
    end = sim.rollout(sim.reset(), still(sim), wrenches={"ball": ds.Wrench(torque=(0.0, 0.0, 0.05))})[-1]
    inertia = 0.4 * MASS * 0.1**2
    torch.testing.assert_close(end.qd[:, 5], torch.full((2,), 0.05 * T / inertia, dtype=F64), rtol=1e-10, atol=0.0)
    torch.testing.assert_close(end.q[:, :3], sim.reset().q[:, :3], rtol=0.0, atol=1e-12)


@pytest.mark.slow
def test_a_pushed_ball_bounces_in_event_mode_as_the_closed_form_says():
    """With the gravity g and a force F along z the gap z falls with c = -(g + F / m) and bounces once, at tau = sqrt(2 z0 / c),
    with the speed c tau; then z(T) = e c tau (T - tau) - c (T - tau)^2 / 2."""
    sim = ball("event", gravity=-3.0, e=0.5, height=0.3)
    force = torch.full((2,), -4.0, dtype=F64, requires_grad=True)
    mass = torch.full((2,), MASS, dtype=F64, requires_grad=True)
    push = torch.stack([0.0 * force, 0.0 * force, force], dim=-1)
    end = sim.rollout(sim.reset(), still(sim), {"ball.mass": mass}, {"ball": ds.Wrench(push)})[-1]
    height = end.q[0, 2] - 0.1
    found = torch.autograd.grad(height, (force, mass))
    exact_force, exact_mass = (leaf.detach()[0].requires_grad_() for leaf in (force, mass))
    c = 3.0 - exact_force / exact_mass
    tau = (0.4 / c) ** 0.5
    exact = 0.5 * c * tau * (T - tau) - 0.5 * c * (T - tau) ** 2
    assert 0.0 < tau < T < 2.0 * tau
    expected = torch.autograd.grad(exact, (exact_force, exact_mass))
    torch.testing.assert_close(height, exact, rtol=1e-9, atol=1e-9)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one[0], other, rtol=1e-7, atol=0.0)


def test_a_force_acts_at_the_centre_of_mass():
    """From rest, without gravity, v after a substep is h M^-1 (J_c^T F + J_r^T T) with the Jacobians of the model in numpy."""
    scene = ds.Scene(articulations=(arm(), free()), ground=None, gravity=(0.0, 0.0, 0.0))
    sim = ds.Simulator(scene, dt=DT, substeps=1, dtype=F64)
    generator = np.random.default_rng(0)
    q = generator.normal(size=sim.reset().q.shape[1])
    q[1:5] /= np.linalg.norm(q[1:5])
    q[-4:] /= np.linalg.norm(q[-4:])
    state = sim.reset().replace(q=torch.tensor(q)[None])
    model = sim._rigid.model
    _positions, rotations, linear, angular = model.jacobians(q)
    for number, name in ((1, "arm.l0"), (2, "arm.l1"), (3, "arm.l2"), (4, "stone.body")):
        force, torque = generator.normal(size=(2, 3))
        center = rotations[number] @ np.asarray(model.links[number].link.inertia.center)
        at_center = linear[number] + np.cross(angular[number].T, center).T
        power = at_center.T @ force + angular[number].T @ torque
        expected = DT * np.linalg.solve(model.mass_matrix(q), power)
        wrench = ds.Wrench(torch.tensor(force), torch.tensor(torque))
        found = sim.step(state, still(sim)[0], wrenches={name: wrench}).qd[0]
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10, atol=1e-14, err_msg=name)


def test_gradients_through_a_mechanism():
    """By the wrenches of every control step, the state, and what the centres of mass and masses are."""
    sim = mechanisms()
    generator = torch.Generator().manual_seed(0)
    first = sim.reset()
    names = ("arm.l0", "arm.l2", "stone.body")

    def objective(qd, **parts):
        wrenches = {name: ds.Wrench(parts[f"force {n}"], parts[f"torque {n}"]) for n, name in enumerate(names)}
        parameters = {name: parts[name] for name in ("arm.l2.center", "stone.body.center", "stone.body.mass", "arm.l0.inertia")}
        end = sim.rollout(first.replace(qd=qd), still(sim, 5), parameters, wrenches)[-1]
        return (end.q**2).sum() + (end.qd * torch.arange(1.0, 1.0 + end.qd.shape[1], dtype=F64)).sum()

    inputs = {"qd": 0.5 * torch.randn(first.qd.shape, dtype=F64, generator=generator)}
    for n in range(len(names)):
        shape = (5, 2, 3) if n else (2, 3)
        for part in ("force", "torque"):
            inputs[f"{part} {n}"] = torch.randn(shape, dtype=F64, generator=generator)
    for name in ("arm.l2.center", "stone.body.center", "stone.body.mass", "arm.l0.inertia"):
        inputs[name] = sim.parameters[name]
    ds.gradcheck(objective, inputs)


@pytest.mark.slow
def test_gradients_through_events():
    body = ds.RigidBody("box", ds.Box((0.1, 0.08, 0.05)), (0.0, 0.0, 0.4), (0.95, 0.2, 0.1, 0.0), mass=MASS, restitution=0.6)
    scene = ds.Scene(rigid_bodies=(body,), ground=ds.Ground(0.0, restitution=0.6), contact=ds.ContactModel(impact="event"))
    sim = ds.Simulator(scene, dt=DT, substeps=10, dtype=F64)

    def objective(force, torque, mass):
        end = sim.rollout(sim.reset(), still(sim, 18), {"box.mass": mass}, {"box": ds.Wrench(force, torque)})[-1]
        return (end.q * torch.arange(1.0, 8.0, dtype=F64)).sum() + end.qd.sum()

    end = sim.rollout(sim.reset(), still(sim, 18), None, {"box": ds.Wrench((0.4, 0.1, -1.0), (0.01, 0.0, 0.02))})
    assert max(float(state.qd[0, 2]) for state in end) > 0.0  # it has bounced
    force = torch.tensor([0.4, 0.1, -1.0], dtype=F64).repeat(18, 1, 1)
    torque = torch.tensor([0.01, 0.0, 0.02], dtype=F64).expand(1, 3)
    ds.gradcheck(objective, {"force": force, "torque": torque, "mass": torch.tensor(MASS, dtype=F64)})


@pytest.mark.long
@pytest.mark.slow
def test_gradients_in_a_coupled_scene():
    """A force on a body that pushes a soft one, and a tool beside them."""
    jelly = ds.SoftBody(
        "jelly", ds.Box((0.06, 0.05, 0.04)), (0.5, 0.5, 0.3), material=ds.Elastic(youngs_modulus=2e4), particles=60
    )
    plate = ds.RigidBody("plate", ds.Box((0.06, 0.06, 0.02)), (0.5, 0.5, 0.375), mass=0.3)
    tool = ds.Tool("tool", ds.Sphere(0.05), (0.2, 0.2, 0.5), control=("x",))
    scene = ds.Scene((jelly,), rigid_bodies=(plate,), tools=(tool,), grid_spacing=1 / 16, gravity=(0.0, 0.0, 0.0))
    sim = ds.Simulator(scene, num_envs=2, dt=1e-3, substeps=10, dtype=F64)

    def objective(force, torque):
        end = sim.rollout(sim.reset(), still(sim, 3), None, {"plate": ds.Wrench(force, torque)})[-1]
        return 1e2 * (end.q**2).sum() + (end.x**2).sum() + (end.v * end.x).sum()

    force = torch.tensor([0.3, 0.2, -6.0], dtype=F64).repeat(3, 2, 1)
    torque = torch.tensor([0.02, 0.0, 0.01], dtype=F64).repeat(2, 1)
    pressed = sim.rollout(sim.reset(), still(sim, 3), None, {"plate": ds.Wrench(force, torque)})[-1]
    assert float(pressed.v[..., 2].min()) < -1e-3  # the plate presses the jelly
    ds.gradcheck(objective, {"force": force, "torque": torque}, directions=2)


def test_step_rollout_and_windowed_rollout_agree():
    sim = mechanisms()
    generator = torch.Generator().manual_seed(1)
    force = torch.randn(6, 2, 3, dtype=F64, generator=generator)
    torque = torch.randn(2, 3, dtype=F64, generator=generator)

    def leaves():
        return force.clone().requires_grad_(), torque.clone().requires_grad_()

    found = []
    for run in range(3):
        f, t = leaves()
        wrenches = {"arm.l1": ds.Wrench(f, t)}
        if run == 0:
            end = sim.rollout(sim.reset(), still(sim, 6), None, wrenches)[-1]
        elif run == 1:
            end = sim.reset()
            for step, action in enumerate(still(sim, 6)):
                end = sim.step(end, action, wrenches={"arm.l1": wrenches["arm.l1"].in_step(step)})
        else:
            end, _seen = sim.windowed_rollout(sim.reset(), still(sim, 6), lambda s: s.q, window=4, wrenches=wrenches)
        (end.q.sum() + end.qd.square().sum()).backward()
        found.append((end.q.detach(), f.grad, t.grad))
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-14)
    assert float(found[0][1].abs().min()) > 0.0


def test_no_wrench_is_a_wrench_of_zero_and_leaves_no_trace():
    """To the last bit, and rollouts with and without wrenches may alternate before their backward passes."""
    sim = mechanisms()
    action = still(sim, 4) + 0.1
    loads = {"stone.body": ds.Wrench(torch.ones(2, 3, dtype=F64, requires_grad=True))}
    plain = action.clone().requires_grad_()
    first = sim.rollout(sim.reset(), plain)[-1]
    loaded = sim.rollout(sim.reset(), action, wrenches=loads)[-1]
    assert not torch.equal(first.q, loaded.q)
    first.q.sum().backward()
    loaded.q.sum().backward()
    again = action.clone().requires_grad_()
    zero = sim.rollout(sim.reset(), again, wrenches={"arm.l0": ds.Wrench()})[-1]
    zero.q.sum().backward()
    assert torch.equal(first.q, zero.q)
    assert torch.equal(first.qd, zero.qd)
    torch.testing.assert_close(plain.grad, again.grad, rtol=1e-13, atol=0.0)


def test_a_force_that_balances_gravity_holds_a_link_beside_a_tool():
    """In a scene with tools, whose rollouts take a launch for each control step; in f32."""
    body = ds.RigidBody("box", ds.Box((0.05, 0.05, 0.05)), (0.5, 0.5, 0.5), mass=2.0)
    tool = ds.Tool("tool", ds.Sphere(0.05), (0.2, 0.2, 0.5), control=("x",))
    sim = ds.Simulator(ds.Scene(rigid_bodies=(body,), tools=(tool,)), substeps=10)
    end = sim.rollout(sim.reset(), torch.zeros(10, 1, 1), wrenches={"box": ds.Wrench((0.0, 0.0, 2.0 * 9.81))})[-1]
    torch.testing.assert_close(end.q, sim.reset().q, rtol=0.0, atol=1e-6)


def test_gradient_report_takes_wrenches():
    sim = mechanisms()
    loads = {"stone.body": ds.Wrench(torch.ones(4, 2, 3, dtype=F64))}
    report = ds.gradient_report(sim, sim.reset(), still(sim, 4), lambda states: states[-1].q.sum(), wrenches=loads)
    torch.testing.assert_close(
        report.objective, float(sim.rollout(sim.reset(), still(sim, 4), None, loads)[-1].q.sum()), rtol=1e-12, atol=0.0
    )


def test_wrong_wrenches_are_refused():
    sim = mechanisms()
    state, action = sim.reset(), still(sim)[0]
    with refused("no link 'box'", "arm.l0, arm.l1, arm.l2, stone.body"):
        sim.step(state, action, wrenches={"box": ds.Wrench()})
    with refused("no link 'world'"):
        sim.step(state, action, wrenches={"world": ds.Wrench()})
    with refused("must be a diffsim.Wrench, got tensor"):
        sim.step(state, action, wrenches={"arm.l0": torch.zeros(2, 3, dtype=F64)})  # type: ignore[dict-item]
    for value, words in (
        (torch.zeros(3), ("float64", "float32")),
        (torch.zeros(2, 6, dtype=F64), ("(3,) or (2, 3)", "(2, 6)")),
        (torch.zeros(20, 2, 3, dtype=F64), ("(3,) or (2, 3)",)),
        (torch.full((3,), torch.nan, dtype=F64), ("finite",)),
    ):
        with refused("wrenches['arm.l0'].torque", *words):
            sim.step(state, action, wrenches={"arm.l0": ds.Wrench(torque=value)})
    for wrong in ((1.0, 2.0), 1.0, "123"):
        with refused("Wrench: torque must be 3 finite numbers", repr(wrong)):
            ds.Wrench(torque=wrong)
    with refused("(3,) or (2, 3) or (20, 2, 3)", "(4, 2, 3)"):
        sim.rollout(state, still(sim), None, {"arm.l0": ds.Wrench(torch.zeros(4, 2, 3, dtype=F64))})
    soft = ds.Simulator(ds.Scene((ds.SoftBody("jelly", ds.Box((0.05,) * 3), (0.5, 0.5, 0.5), particles=30),)), dtype=F64)
    with refused("no rigid bodies or articulations", "jelly"):
        soft.step(soft.reset(), torch.zeros(1, 0, dtype=F64), wrenches={"jelly": ds.Wrench()})
