"""Rigid scenes behind the simulator: batches, rollouts, parameters and their gradients, poses, and every wrong argument."""

from __future__ import annotations

import logging
import math
from typing import Any, cast

import numpy as np
import pytest
import torch
import trimesh

import diffsim as ds
from diffsim.rigid import multibody_solver as solver
from diffsim.rigid.rigid_records import WILD_VELOCITY, Status
from tests.diffsim.rigid_scenes import arm
from tests.diffsim.test_inputs import refused

pytestmark = pytest.mark.slow

F64 = torch.float64
CONTACT = ds.ContactModel(stiffness=3e3, smoothing=5e-3, slip_speed=0.05, restitution_speed=0.05)


def busy_scene() -> ds.Scene:
    """Bodies on the ground and on an obstacle, a mesh, and an arm with all joints and actuators that pushes one of them."""
    mesh = trimesh.creation.icosphere(subdivisions=2, radius=0.08)
    rock = ds.TriangleMesh(mesh.vertices, mesh.faces, "rock")
    turned = (1.0, 0.02, 0.03, 0.1)
    bodies = (
        ds.RigidBody("box", ds.Box((0.1, 0.08, 0.05)), (0.0, 0.0, 0.05), turned, velocity=(0.2, 0.1, -0.1), mass=1.0),
        ds.RigidBody(
            "ball",
            ds.Sphere(0.08),
            (0.02, 0.01, 0.175),
            angular_velocity=(1.0, 2.0, 0.5),
            mass=0.5,
            restitution=0.5,
            stiffness=2e3,
        ),
        ds.RigidBody("rock", rock, (0.5, 0.02, 0.175), velocity=(0.0, 0.3, 0.0), mass=0.5),
        # held by the arm's last two links
        ds.RigidBody("pebble", ds.Sphere(0.08), (-0.459, -0.196, 0.139), velocity=(0.1, 0.0, 0.2), mass=0.5),
    )
    step = ds.Obstacle("step", ds.Box((0.15, 0.15, 0.05), rounding=0.01), (0.5, 0.0, 0.05), friction=0.3)
    ground, robot = ds.Ground(0.0, 0.6, restitution=0.2), arm(geometries=True)
    return ds.Scene(rigid_bodies=bodies, articulations=(robot,), obstacles=(step,), ground=ground, contact=CONTACT)


def busy(num_envs: int = 1, *, substeps: int = 4, dtype: torch.dtype = F64) -> ds.Simulator:
    return ds.Simulator(busy_scene(), num_envs=num_envs, dt=2e-3, substeps=substeps, dtype=dtype)


def varied(sim: ds.Simulator, steps: int = 3) -> tuple[ds.State, torch.Tensor]:
    """Environments that differ, and actions."""
    generator = torch.Generator().manual_seed(3)

    def noise(like: torch.Tensor, scale: float) -> torch.Tensor:
        return scale * torch.randn(like.shape, dtype=F64, generator=generator).to(like.dtype)

    state = sim.reset()
    state = state.replace(q=state.q + noise(state.q, 0.01), qd=state.qd + noise(state.qd, 0.2))
    # the prismatic and the first hinge beyond a limit
    index = [sim._rigid.model.links[sim.link_index(f"arm.l{n}")].coordinate for n in (0, 1)]
    q = state.q.clone()
    q[:, index] += torch.tensor([0.3, -0.33], dtype=sim.dtype)
    return state.replace(q=q), noise(torch.zeros(steps, sim.num_envs, sim.action_dim, dtype=sim.dtype), 0.5)


def functional(states: list[ds.State]) -> torch.Tensor:
    """A scalar that sees every coordinate and velocity after the first state."""
    generator = torch.Generator().manual_seed(1)
    total = torch.zeros((), dtype=F64)
    for state in states[1:]:
        for tensor in (state.q, 0.1 * state.qd):
            total = total + (tensor * torch.randn(tensor.shape, dtype=F64, generator=generator)).sum()
    return total


def test_a_batch_is_its_environments_bit_for_bit():
    sim = busy(3)
    state, actions = varied(sim)
    whole = sim.rollout(state, actions)
    for n in range(3):
        single = sim.rollout(state[n], actions[:, n : n + 1])
        for one, other in zip(whole, single, strict=True):
            assert torch.equal(one.q[n], other.q[0])
            assert torch.equal(one.qd[n], other.qd[0])
    assert not torch.equal(whole[-1].q[0], whole[-1].q[1])


def test_steps_are_the_rollout_in_values_and_gradients():
    sim = busy(2)
    state, actions = varied(sim)
    gradients = []
    for stepwise in (False, True):
        q, qd, given = (tensor.clone().requires_grad_() for tensor in (state.q, state.qd, actions))
        first = state.replace(q=q, qd=qd)
        if stepwise:
            states = [first]
            for action in given:
                states.append(sim.step(states[-1], action))
        else:
            states = sim.rollout(first, given)
        assert states[-1].time_step.tolist() == [3, 3]
        value = functional(states)
        gradients.append((value.detach(), *torch.autograd.grad(value, (q, qd, given))))
    assert torch.equal(gradients[0][0], gradients[1][0])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_windowed_rollout_is_the_rollout():
    sim = busy()
    state, actions = varied(sim)
    last, seen = sim.windowed_rollout(state, actions, lambda each: each.q, window=2)
    states = sim.rollout(state, actions)
    assert torch.equal(last.q, states[-1].q)
    assert torch.equal(seen, torch.stack([each.q for each in states[1:]]))


def test_gradients_do_not_depend_on_how_much_is_recomputed_at_once(monkeypatch):
    monkeypatch.setenv("DIFFSIM_KEPT_MB", "0")
    sim = busy(2)
    state, actions = varied(sim, steps=5)
    gradients = []
    for size in (2**26, 2 * 2 * sim._rigid.solver.row * 8 * 4, 1):  # all steps, two, one
        monkeypatch.setattr(solver, "TAPE_BYTES", size)
        q, given, mass = (
            state.q.clone().requires_grad_(),
            actions.clone().requires_grad_(),
            torch.ones((), dtype=F64).requires_grad_(),
        )
        value = functional(sim.rollout(state.replace(q=q), given, {"box.mass": mass}))
        gradients.append(torch.autograd.grad(value, (q, given, mass)))
    for other in gradients[1:]:
        for one, two in zip(gradients[0], other, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


def test_the_number_of_threads_changes_nothing(monkeypatch):
    sim = busy(5)
    state, actions = varied(sim)
    results = []
    for threads in ("1", "2", "4"):
        monkeypatch.setenv("DIFFSIM_NUM_THREADS", threads)
        q = state.q.clone().requires_grad_()
        states = sim.rollout(state.replace(q=q), actions)
        results.append((states[-1].q.detach(), states[-1].qd.detach(), torch.autograd.grad(functional(states), q)[0]))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_states_are_saved_with_their_rigid_part(tmp_path):
    sim = busy(2)
    state, actions = varied(sim)
    middle = sim.rollout(state, actions)[2]
    middle.save(tmp_path / "state.pt")
    loaded = ds.State.load(tmp_path / "state.pt")
    for name, tensor in middle.tensors().items():
        assert torch.equal(getattr(loaded, name), tensor), name
    assert torch.equal(sim.step(loaded, actions[2]).q, sim.rollout(state, actions)[3].q)


def test_gradients_of_state_and_actions_through_contact_limits_and_actuators():
    sim = busy(2)
    state, actions = varied(sim)
    checks = ds.gradcheck(
        lambda q, qd, actions: functional(sim.rollout(state.replace(q=q, qd=qd), actions)),
        {"q": state.q, "qd": state.qd, "actions": actions},
        directions=2,
    )
    assert all(abs(check.adjoint) > 0.0 for check in checks)


def test_every_parameter_changes_the_result_and_has_its_gradient():
    sim = busy()
    state, actions = varied(sim)
    defaults = sim.parameters
    plain = sim.rollout(state, actions)[-1]
    same = sim.rollout(state, actions, defaults)[-1]
    assert torch.equal(plain.q, same.q)
    assert torch.equal(plain.qd, same.qd)
    expected = {
        "gravity", "ground.friction", "step.scale", "rock.inertia", "arm.l3.center", "arm.j0.limit_stiffness",
        "arm.torque.gain", "arm.both.actuator_damping", "arm.l4.stiffness",
    }  # fmt: skip
    assert expected <= set(defaults)
    assert "arm.j2.spring_stiffness" not in defaults  # a ball joint has no spring
    names = sorted(set(defaults) - {"arm.clipped.gain", "arm.clipped.actuator_damping"})
    for name, value in defaults.items():
        changed = sim.rollout(state, actions, {name: 1.01 * value + 1e-4})[-1]
        change = float((changed.qd - plain.qd).abs().max())
        assert change > 1e-9 if name in names else change == 0.0, name  # an actuator at its force limit has no say

    # in units of the values, and away from zero, where bounds would stop the differences
    units = {name: value.abs().clamp_min(0.05) for name, value in defaults.items()}
    base = {name: value + 0.01 * units[name] * (float(value.abs().min()) == 0.0) for name, value in defaults.items()}

    def function(**shares: torch.Tensor) -> torch.Tensor:
        given = {name: base[name] + units[name] * shares[name.replace(".", "_")] for name in names}
        return functional(sim.rollout(state, actions, given))

    zeros = {name.replace(".", "_"): torch.zeros_like(defaults[name]) for name in names}
    # the slider's damping changes the value by 2e-6: only the largest step leaves enough digits
    checks = ds.gradcheck(function, zeros, directions=1, steps=(1e-5, 1e-6, 1e-7, 1e-4, 1e-3, 1e-2))
    assert len(checks) == len(names)
    assert all(abs(check.adjoint) > 0.0 for check in checks)


def test_parameters_differ_between_environments():
    sim = busy(2)
    state, actions = varied(sim)
    mass = torch.tensor([0.5, 2.0], dtype=F64)
    both = sim.rollout(state, actions, {"box.mass": mass})[-1]
    for n in range(2):
        single = sim.rollout(state[n], actions[:, n : n + 1], {"box.mass": mass[n]})[-1]
        assert torch.equal(both.q[n], single.q[0])


def test_link_poses_are_differentiable_and_their_motion_is_their_change():
    sim = busy(2)
    state, _actions = varied(sim)

    def seen(q: torch.Tensor, qd: torch.Tensor) -> torch.Tensor:
        links = sim.links(state.replace(q=q, qd=qd))
        generator = torch.Generator().manual_seed(4)
        parts = (links.position, links.rotation, links.velocity, links.angular_velocity)
        return torch.stack([(part * torch.randn(part.shape, dtype=F64, generator=generator)).sum() for part in parts]).sum()

    checks = ds.gradcheck(seen, {"q": state.q, "qd": state.qd})
    assert all(abs(check.adjoint) > 0.0 for check in checks)

    slow = ds.Simulator(busy_scene(), num_envs=2, dt=1e-7, substeps=1, dtype=F64)
    before, after = state, slow.step(state, torch.zeros(2, slow.action_dim, dtype=F64))
    one, other = slow.links(before), slow.links(after)
    velocity, spinning = 0.5 * (one.velocity + other.velocity), 0.5 * (one.angular_velocity + other.angular_velocity)
    torch.testing.assert_close((other.position - one.position) / 1e-7, velocity, rtol=1e-5, atol=1e-5)
    turn = (other.rotation @ one.rotation.transpose(-1, -2) - torch.eye(3, dtype=F64)) / 1e-7
    spin = torch.stack([turn[..., 2, 1], turn[..., 0, 2], turn[..., 1, 0]], dim=-1)
    torch.testing.assert_close(spin, spinning, rtol=1e-5, atol=1e-5)


def test_angular_velocity_is_in_the_worlds_frame():
    turned, spinning = (0.5, 0.1, -0.7, 0.5), (0.3, -2.0, 1.0)
    body = ds.RigidBody("body", ds.Box((0.3, 0.2, 0.1)), (0.1, 0.2, 3.0), turned, angular_velocity=spinning)
    still = {"ground": None, "gravity": (0.0, 0.0, 0.0)}
    sim = ds.Simulator(ds.Scene(rigid_bodies=(body,), **still), dt=1e-6, substeps=1, dtype=F64)
    state = sim.reset()
    links = sim.links(state)
    expected = torch.tensor(spinning, dtype=F64)
    torch.testing.assert_close(links.angular_velocity[0, 1], expected, rtol=0.0, atol=1e-12)
    # the generalized velocity has it in the link's frame
    torch.testing.assert_close(links.rotation[0, 1] @ state.qd[0, 3:], expected, rtol=0.0, atol=1e-12)
    assert float((state.qd[0, 3:] - expected).abs().max()) > 0.1
    after = sim.links(sim.step(state, torch.zeros(1, 0, dtype=F64))).rotation[0, 1]
    turn = (after @ links.rotation[0, 1].T - torch.eye(3, dtype=F64)) / 1e-6  # d R / dt R^T, the cross product's matrix
    torch.testing.assert_close(torch.stack([turn[2, 1], turn[0, 2], turn[1, 0]]), expected, rtol=1e-5, atol=1e-5)


def test_links_go_by_name():
    sim = busy()
    assert sim.link_index("world") == 0
    assert [sim.link_index(name) for name in ("box", "ball", "pebble", "arm.l0", "arm.l5")] == [1, 2, 4, 5, 10]
    np.testing.assert_allclose(sim.links(sim.reset()).position[0, 2], [0.02, 0.01, 0.175])
    with refused("'arm.l9'", "box, ball, rock, pebble, arm.l0"):
        sim.link_index("arm.l9")
    with refused("RigidBody: name", "no dot", "'a.b'"):  # which link or parameter it would be is not clear
        ds.RigidBody("a.b", ds.Sphere(0.1), (0.0, 0.0, 0.5))


def test_single_precision_runs_and_has_gradients():
    sim = busy(2, dtype=torch.float32)
    state, actions = varied(sim)
    actions.requires_grad_()
    states = sim.rollout(state, actions)
    states[-1].q.square().sum().backward()
    assert states[-1].q.dtype == torch.float32
    double = busy(2)
    leaf = actions.detach().double().requires_grad_()
    exact = double.rollout(state.map(lambda t: t.double() if t.is_floating_point() else t), leaf)[-1]
    torch.testing.assert_close(states[-1].q.double(), exact.q.detach(), rtol=0.0, atol=1e-4)
    exact.q.square().sum().backward()
    assert float((actions.grad - leaf.grad).norm() / leaf.grad.norm()) < 1e-2


def test_absurd_physics_is_located():
    body = ds.RigidBody("ball", ds.Sphere(0.1), (0.0, 0.0, 0.05), mass=1e-6, restitution=1.0, friction=0.0)
    other = ds.RigidBody("other", ds.Sphere(0.1), (1.0, 0.0, 5.0))
    scene = ds.Scene(
        rigid_bodies=(other, body),
        ground=ds.Ground(friction=0.0, restitution=1.0),
        contact=ds.ContactModel(stiffness=1e10, smoothing=1e-3),
    )
    sim = ds.Simulator(scene, num_envs=2, dt=1e-2, substeps=4, dtype=F64)
    state = sim.reset()
    q = state.q.clone()
    q[0, 9] = 20.0  # in the first environment the ball is high up
    actions = torch.zeros(3, 2, 0, dtype=F64)
    first = sim.rollout(state.replace(q=q)[0], actions[:, :1])[-1]
    later = state.replace(q=q, time_step=torch.tensor([7, 7]))
    assert torch.isfinite(first.q).all()
    with pytest.raises(ds.SimulationError) as caught:
        sim.rollout(later, actions)
    error = caught.value
    assert (error.step, error.substep, error.environment, error.kind, error.name, error.quantity) == (
        7,
        0,
        1,
        "link",
        "ball",
        "velocity",
    )
    assert "velocity of link 'ball' is not finite" in str(error)
    assert "in environment 1, control step 7, substep 0" in str(error)


def test_errors_tell_links_from_tools():
    paddle = ds.Tool("paddle", ds.Sphere(0.05), (0.0, 0.0, 0.5))
    ball = ds.RigidBody("ball", ds.Sphere(0.1), (0.0, 0.0, 1.0))
    model = ds.Simulator(ds.Scene(rigid_bodies=(ball,), tools=(paddle,)))._rigid.solver
    for index, owner in ((1, "link 'ball'"), (2, "tool 'paddle'")):
        with pytest.raises(ds.SimulationError, match=f"velocity of {owner} is not finite"):
            model.check(torch.tensor([Status.integers(kind=WILD_VELOCITY, link=index)]), torch.zeros(1))


def test_a_link_that_loses_its_mass_is_reported():
    sim = ds.Simulator(ds.Scene(rigid_bodies=(ds.RigidBody("ball", ds.Sphere(0.1), (0.0, 0.0, 1.0)),)), dtype=F64)
    with pytest.raises(ds.SimulationError, match=r"mass matrix .* is not positive definite"):
        sim.step(sim.reset(), torch.zeros(1, 0, dtype=F64), {"ball.mass": torch.zeros((), dtype=F64)})
    hollow = ds.Articulation("arm", (ds.Link("upper", ds.Joint("hinge", "revolute")),))
    with refused("link 'arm.upper'", "joint 'hinge'", "no inertia", "Inertia"):
        ds.Simulator(ds.Scene(articulations=(hollow,)))
    carried = ds.Link("lower", ds.Joint("weld", "fixed"), "upper", inertia=ds.Inertia(1.0, (0.1,) * 3))
    ds.Simulator(ds.Scene(articulations=(ds.Articulation("arm", (*hollow.links, carried)),)))  # a child's is enough


def test_a_contact_too_stiff_for_the_time_step_is_named_by_its_body(caplog):
    ball = ds.RigidBody("ball", ds.Sphere(0.1), (0.0, 0.0, 0.5), mass=1e-3, stiffness=1e6)
    with caplog.at_level(logging.WARNING, "diffsim"):
        ds.Simulator(ds.Scene(rigid_bodies=(ball,)), dt=1e-3)
        assert not caplog.text  # implicit contact bears it
        ds.Simulator(ds.Scene(rigid_bodies=(ball,), contact=ds.ContactModel(smoothing=1e-3)), dt=1e-3)
    assert "link 'ball': a contact point's stiffness" in caplog.text


def test_wrong_parameters():
    sim = busy(2)
    state, actions = varied(sim)
    for name, value, parts in (
        ("box.mas", torch.ones((), dtype=F64), ("'box.mas'", "box.mass")),
        ("box.mass", cast(Any, 1.0), ("'box.mass'", "torch tensor", "float")),
        ("box.mass", torch.ones(3, dtype=F64), ("'box.mass'", "() or (2,)", "(3,)")),
        ("box.inertia", torch.ones(2, dtype=F64), ("'box.inertia'", "(6,) or (2, 6)", "(2,)")),
        ("box.mass", torch.ones(()), ("'box.mass'", "float64", "float32")),
        ("box.mass", torch.tensor(-1.0, dtype=F64), ("'box.mass'", "[0, inf]", "-1")),
        ("ball.restitution", torch.tensor(1.5, dtype=F64), ("'ball.restitution'", "[0, 1]", "1.5")),
        ("ball.stiffness", torch.tensor(0.0, dtype=F64), ("'ball.stiffness'", "[1e-09, inf]", "0.0")),
        ("ball.scale", torch.tensor(0.0, dtype=F64), ("'ball.scale'", "0.0")),
        ("arm.j0.damping", torch.tensor(math.nan, dtype=F64), ("'arm.j0.damping'", "finite", "nan")),
    ):
        with refused(*parts):
            sim.step(state, actions[0], {name: value})


def test_wrong_states_and_actions():
    sim = busy(2)
    state, actions = varied(sim)
    with refused("action", "(2, 5)", "(2, 4)"):
        sim.step(state, actions[0, :, :4])
    with refused("state.q ", f"(2, {state.q.shape[1]})"):
        sim.step(state.replace(q=state.q[:, 1:]), actions[0])
    with refused("action must be finite", "environment 1"):
        bad = actions.clone()
        bad[1, 1, 0] = math.nan
        sim.rollout(state, bad)
    with refused("actions", "(steps, 2, 5)"):
        sim.rollout(state, actions[0])
    assert sim.rollout(state, actions[:0]) == [state]
    soft = ds.Simulator(ds.Scene((ds.SoftBody("jelly", ds.Sphere(0.1), (0.5, 0.5, 0.5), particles=30),)))
    with refused("'box'", "no rigid bodies"):
        soft.link_index("box")
    with refused("no links"):
        soft.links(soft.reset())
