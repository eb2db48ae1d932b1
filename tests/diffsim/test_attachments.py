"""Particles pinned to the world and to tools: what is held stays, what is let go falls, and gradients go through both."""

from __future__ import annotations

import logging
import math
import pickle

import numpy as np
import pytest
import torch
from torch import Tensor

import diffsim as ds
from diffsim.soft.launch_schedules import LaneSchedule, SharedSchedule
from diffsim.soft.mpm_solver import MPMSolver
from tests.diffsim.scenes import random_state
from tests.diffsim.test_inputs import refused

pytestmark = pytest.mark.slow

F64 = torch.float64
G = 9.81


def held(state: ds.State, sim: ds.Simulator, attachment: int = 0) -> Tensor:
    """How far an attachment's particles are from where they stood at reset, (B, P, 3)."""
    chosen = sorted(pin.particle for pin in sim._attached.pins if pin.attachment == attachment)
    return (state.x - sim.reset().x[:1])[:, chosen]


# a rope


def rope(*, length: float, radius: float, dx: float, particles: int, stiffness: float) -> ds.Simulator:
    """A rope that hangs from what is within ``radius`` of its upper end."""
    material = ds.Elastic(youngs_modulus=stiffness, poissons_ratio=0.3, density=1e3)
    shape, middle = ds.Capsule(0.5 * length - radius, radius), (0.1, 0.1, 0.5 * length + 0.04)
    end = ds.Attachment("end", "rope", where=ds.Sphere(1.5 * radius), position=(0.1, 0.1, length + 0.04))
    scene = ds.Scene(
        (ds.SoftBody("rope", shape, middle, material=material, particles=particles),),
        attachments=(end,),
        ground=None,
        upper=(0.2, 0.2, length + 0.12),
        grid_spacing=dx,
    )
    return ds.Simulator(scene, dt=0.4 * dx / material.wave_speed, substeps=20, dtype=F64)


def stretch(sim: ds.Simulator, period: float, parameters: dict[str, Tensor]) -> tuple[Tensor, ds.State]:
    """How far the lowest particle sinks when gravity sets in slowly, the mean of two of the rope's periods; the last state."""
    first = state = sim.reset()
    lowest = int(first.x[0, :, 2].argmin())
    ramp, rest = round(4.0 * period / sim.control_dt), round(2.0 * period / sim.control_dt)
    sunk = []
    for step in range(ramp + rest):
        share = min(1.0, (step + 0.5) / ramp)
        gravity = torch.tensor([0.0, 0.0, -G * share**2 * (3.0 - 2.0 * share)], dtype=F64)
        state = sim.step(state, torch.zeros(1, 0, dtype=F64), {"gravity": gravity, **parameters})
        if step >= ramp:
            sunk.append((first.x - state.x)[0, lowest, 2])
    return torch.stack(sunk).mean(), state


def test_a_rope_stretches_under_its_weight():
    """Case rope_and_sheet: 8 mm thick, 508 mm long."""
    length, stiffness = 0.508, 1e6
    sim = rope(length=length, radius=0.004, dx=0.005, particles=800, stiffness=stiffness)
    with torch.no_grad():
        sunk, state = stretch(sim, 4.0 * length / math.sqrt(stiffness / 1e3), {})
    assert float(sunk) == pytest.approx(1e3 * G * length**2 / (2.0 * stiffness), rel=0.05)
    assert float(held(state, sim).norm(dim=-1).max()) < 0.01 * float(sunk)


@pytest.mark.long
def test_the_stretch_falls_with_the_stiffness():
    length, stiffness = 0.3, torch.tensor(2e5, dtype=F64, requires_grad=True)
    sim = rope(length=length, radius=0.03, dx=0.03, particles=200, stiffness=2e5)
    sunk, _state = stretch(sim, 4.0 * length / math.sqrt(2e5 / 1e3), {"rope.youngs_modulus": stiffness})
    sunk.backward()
    assert float(stiffness.grad) == pytest.approx(-sunk.item() / 2e5, rel=0.05)  # the stretch is as 1 / E


def test_ropes_and_sheets_too_thin_for_the_grid_are_named_before_the_first_step(caplog):
    bodies = (
        ds.SoftBody("rope", ds.Capsule(0.25, 0.004), (0.5, 0.5, 0.5), particles=2000),
        ds.SoftBody("sheet", ds.Box((0.1, 0.1, 0.001)), (0.3, 0.3, 0.5), particles=2000),
    )
    with caplog.at_level(logging.WARNING):
        ds.Simulator(ds.Scene(bodies, grid_spacing=0.02), dt=1e-4)
    texts = [record.getMessage() for record in caplog.records]
    for name, spacing in (("rope", 8e-3), ("sheet", 2e-3)):
        (text,) = (text for text in texts if f"SoftBody '{name}' is" in text)
        assert 0.6 * spacing < float(text.split("grid_spacing <= ")[1].split(" m")[0]) <= spacing  # a thickness by samples


def test_a_sheet_held_by_an_edge_bends_and_stays_whole():
    material = ds.Elastic(youngs_modulus=2e5, poissons_ratio=0.3)
    sheet = ds.SoftBody("sheet", ds.Box((0.1, 0.1, 0.01)), (0.15, 0.2, 0.3), material=material, particles=800)
    edge = ds.Attachment("edge", "sheet", where=lambda x: x[:, 0] < 0.07)
    scene = ds.Scene((sheet,), attachments=(edge,), ground=None, upper=(0.4, 0.4, 0.4), grid_spacing=0.02)
    sim = ds.Simulator(scene, dt=5e-4, substeps=40, dtype=F64)
    with torch.no_grad():
        states = sim.rollout(sim.reset(), torch.zeros(50, 1, 0, dtype=F64))
    first, last = states[0].x[0], states[-1].x[0]
    lowest = min(float(state.x[0, :, 2].min()) for state in states)
    assert lowest < 0.29 - 0.05  # it bends down by a quarter of its length and more
    assert float(held(states[-1], sim).norm(dim=-1).max()) < 1e-3
    spacing = float((first[1:] - first[0]).norm(dim=-1).min())
    near = torch.cdist(first, first) < 1.01 * spacing
    assert float(torch.cdist(last, last)[near].max()) < 1.5 * spacing  # neighbours are neighbours still


# a cube in a gripper


def carried(**changes) -> ds.Simulator:
    """A cube that hangs by its upper face from a tool."""
    cube = ds.SoftBody("cube", ds.Box((0.06, 0.06, 0.06)), (0.3, 0.5, 0.6), material=ds.Elastic(2e4), particles=125)
    cup = ds.Attachment(
        "cup", "cube", "hand", where=ds.Box((0.08, 0.08, 0.02)), position=(0.3, 0.5, 0.65), **{"controlled": True, **changes}
    )
    scene = ds.Scene(
        (cube,),
        tools=(ds.Tool("hand", ds.Box((0.08, 0.08, 0.04)), (0.3, 0.5, 0.81), control=("x", "y", "rz")),),
        attachments=(cup,),
        ground=None,
        grid_spacing=0.05,
    )
    return ds.Simulator(scene, dt=1e-3, substeps=10, dtype=F64)


@pytest.fixture(scope="module")
def gripper() -> ds.Simulator:
    return carried()


def test_a_carried_cube_follows_and_swings(gripper):
    actions = torch.zeros(80, 1, 4, dtype=F64)
    actions[:30, 0, 0] = 0.6
    actions[..., 3] = 1.0
    with torch.no_grad():
        states = gripper.rollout(gripper.reset(), actions)
    for state in states:
        apart = held(state, gripper) - (state.tool_position - gripper.reset().tool_position)
        assert float(apart.norm(dim=-1).max()) < 2e-3
    lag = torch.stack([(state.x[0, :, 0].mean() - state.tool_position[0, 0, 0]) for state in states[30:]])
    assert float(lag.max()) > 2e-3  # it swings on when the tool stops,
    assert float(lag.min()) < -1e-3  # and back


def test_a_turning_tool_takes_the_cube_round(gripper):
    actions = torch.zeros(30, 1, 4, dtype=F64)
    actions[..., 2], actions[..., 3] = 1.5, 1.0
    with torch.no_grad():
        last = gripper.rollout(gripper.reset(), actions)[-1]
    angle = 1.5 * 30 * gripper.control_dt
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=F64)
    pins = sorted(pin.particle for pin in gripper._attached.pins)
    middle = torch.tensor([0.3, 0.5], dtype=F64)
    expected = (gripper.reset().x[0, pins, :2] - middle) @ turn.T + middle
    assert float((last.x[0, pins, :2] - expected).norm(dim=-1).max()) < 2e-3


@pytest.mark.parametrize("how", ["time", "action"])
def test_what_is_let_go_falls_freely(gripper, how):
    sim = carried(controlled=False, release_time=0.05) if how == "time" else gripper
    actions = torch.zeros(25, 1, sim.action_dim, dtype=F64)
    actions[..., 0] = 0.4
    if how == "action":
        actions[:5, 0, 3] = 1.0
    with torch.no_grad():
        states = sim.rollout(sim.reset(), actions)
    fell = [(states[step + 1].v - states[step].v)[0].mean(dim=0) for step in range(25)]
    assert abs(float(fell[3][2])) < 0.5 * G * sim.control_dt
    for gained in fell[5:]:
        assert float(gained[2]) == pytest.approx(-G * sim.control_dt, rel=1e-9)
        assert abs(float(gained[0])) < 1e-12


def test_a_weaker_grip_creeps_as_a_spring_does(gripper):
    """Half the strength: rates of 100 and 50 a second, so that what is held sinks by g / (100 * 50) times its load."""
    actions = torch.zeros(60, 1, 4, dtype=F64)
    actions[..., 3] = 0.5
    with torch.no_grad():
        states = gripper.rollout(gripper.reset(), actions)
    load = gripper.num_particles / len(gripper._attached.pins)
    sunk = -float(torch.stack([held(state, gripper)[..., 2].mean() for state in states[30:]]).mean())
    assert sunk == pytest.approx(load * G / 5e3, rel=0.15)


def test_what_has_slipped_away_stays_away(gripper):
    actions = torch.zeros(25, 1, 4, dtype=F64)
    actions[13:, 0, 3] = 1.0  # after .13 s it is 8 cm below, more than a cell
    with torch.no_grad():
        last = gripper.rollout(gripper.reset(), actions)[-1]
    assert float(last.v[0, :, 2].mean()) == pytest.approx(-G * 25 * gripper.control_dt, rel=1e-9)


# gradients


def objective(state: ds.State) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    parts = ((state.x, 10.0), (state.v, 1.0), (state.C, 0.01), (state.F, 1.0))
    terms = [scale * (torch.randn(part.shape, dtype=F64, generator=generator) * part).sum() for part, scale in parts]
    return torch.stack(terms).sum()


def pinned_scene() -> ds.Scene:
    """A bar held by a tool that moves and turns, by a grip of the world, and by two particles for 3 ms."""
    material = ds.Elastic(youngs_modulus=2e4)
    return ds.Scene(
        (ds.SoftBody("bar", ds.Box((0.16, 0.04, 0.04)), (0.5, 0.5, 0.5), material=material, particles=64),),
        tools=(ds.Tool("hand", ds.Sphere(0.05), (0.25, 0.5, 0.6), control=("x", "y", "z", "rx", "ry", "rz")),),
        attachments=(
            ds.Attachment("left", "bar", "hand", where=ds.Box((0.05, 0.1, 0.1)), position=(0.34, 0.5, 0.5)),
            ds.Attachment("right", "bar", where=lambda x: x[:, 0] > 0.62, controlled=True),
            ds.Attachment("middle", "bar", where=[30, 31], release_time=0.003),
        ),
        grid_spacing=1.0 / 16.0,
    )


def test_gradients():
    sim = ds.Simulator(pinned_scene(), dt=1e-3, substeps=5, dtype=F64)
    start = random_state(sim, strain=0.02)
    generator = torch.Generator().manual_seed(1)
    x = start.x + 1e-3 * torch.randn(start.x.shape, dtype=F64, generator=generator)
    x = x - torch.tensor([0.02, 0.02, 0.03], dtype=F64)  # some are so far from their anchors that the grip is less

    def function(action, x, v, C, F, stiffness, density, tool_position, tool_rotation):
        state = start.replace(x=x, v=v, C=C, F=F, tool_position=tool_position, tool_rotation=tool_rotation)
        parameters = {"bar.youngs_modulus": 2e4 * stiffness, "bar.density": 1e3 * density}
        for each in action:
            state = sim.step(state, each, parameters)
        return objective(state)

    one = torch.tensor(1.0, dtype=F64)
    action = torch.tensor([[[0.2, -0.1, 0.15, 0.5, -0.4, 0.3, 0.6]], [[-0.2, 0.1, 0.1, 0.3, 0.4, -0.6, 0.3]]], dtype=F64)
    inputs = {
        "action": action, "x": x, "v": start.v + 0.1, "C": start.C, "F": start.F, "stiffness": one, "density": one,
        "tool_position": start.tool_position, "tool_rotation": start.tool_rotation,
    }  # fmt: skip
    ds.gradcheck(function, inputs, directions=2, steps=(1e-4, 1e-5, 1e-3, 1e-6, 1e-2))


def test_gradient_of_where_a_thrown_cube_lands_by_the_grip_and_the_tool():
    sim = carried()

    def landing(strength: Tensor, speed: Tensor) -> Tensor:
        """Where the cube's middle passes a height of 0.3 m, along x, after the tool has thrown it."""
        actions = torch.zeros(20, 1, 4, dtype=F64)
        ones = torch.ones(20, dtype=F64)
        actions[:, 0, 0] = speed * ones
        actions[:, 0, 3] = torch.cat([ones[:10], strength.expand(4), 0.0 * ones[:6]])
        state = sim.rollout(sim.reset(), actions)[-1]
        middle, velocity = state.x[0].mean(dim=0), state.v[0].mean(dim=0)
        rise = velocity[2] / G
        return middle[0] + velocity[0] * (rise + (rise**2 + 2.0 * (middle[2] - 0.3) / G).sqrt())

    strength, speed = torch.tensor(0.3, dtype=F64), torch.tensor(0.5, dtype=F64)
    checks = ds.gradcheck(landing, {"strength": strength, "speed": speed}, directions=1, steps=(1e-3, 1e-2, 1e-4))
    assert all(abs(check.adjoint) > 1e-3 for check in checks)


# schedules, batches


def gradients_of(sim: ds.Simulator, num_envs: int) -> dict[str, Tensor]:
    start = random_state(sim)[[0] * num_envs]
    x = start.x.clone().requires_grad_()
    action = torch.linspace(0.1, 0.9, num_envs, dtype=F64)[:, None].repeat(1, sim.action_dim).requires_grad_()
    state = sim.step(sim.step(start.replace(x=x), action), action)
    objective(state).backward()
    return {"x": state.x.detach(), "v": state.v.detach(), "by x": x.grad, "by action": action.grad}


@pytest.mark.parametrize("how", ["shared grid", "parts of a team"])
def test_schedules_agree(monkeypatch, how):
    scene = pinned_scene()
    monkeypatch.setattr("diffsim.runtime.num_threads", lambda: 1)
    options = {"dt": 1e-3, "substeps": 5, "dtype": F64}
    alone = ds.Simulator(scene, **options)
    expected = gradients_of(alone, 2)
    other = ds.Simulator(scene, **options)
    if how == "parts of a team":
        monkeypatch.setattr("diffsim.runtime.num_threads", lambda: 6)
        other = ds.Simulator(scene, **options)
        schedule = other._soft.solver._schedule
        assert isinstance(schedule, LaneSchedule)
        assert schedule.parts(2) == 3
        schedule._teams._pause = 10**9  # one worker for all parts, as on a machine with fewer threads
    else:
        other._soft.solver = MPMSolver(scene, **options, schedule=SharedSchedule, pins=other._attached.pins)
    for name, value in gradients_of(other, 2).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-11)


def test_windows_and_batches_count_time_alike():
    sim = ds.Simulator(pinned_scene(), dt=1e-3, substeps=2, dtype=F64)
    actions = torch.full((6, 2, 7), 0.1, dtype=F64)
    actions[..., 6] = torch.tensor([0.2, 1.0], dtype=F64)
    start = sim.reset()[[0, 0]]
    states = sim.rollout(start, actions)
    last, seen = sim.windowed_rollout(start, actions, lambda state: state.x.mean(dim=1), window=2)
    torch.testing.assert_close(last.x, states[-1].x, rtol=0.0, atol=0.0)
    assert seen.shape == (6, 2, 3)
    alone = sim.rollout(start[1], actions[:, 1:])[-1]
    torch.testing.assert_close(alone.x, states[-1].x[1:], rtol=0.0, atol=1e-13)
    # the two particles in the middle are held for 3 ms, that is one step and a half
    late = sim.rollout(start.replace(time_step=start.time_step + 2), actions)[-1]
    assert float((late.x - states[-1].x).abs().max()) > 1e-6


def test_attachments_pickle():
    sim = ds.Simulator(  # a lambda would not pickle: shapes, masks and numbers do
        ds.Scene(
            (ds.SoftBody("ball", ds.Sphere(0.1), (0.5, 0.5, 0.5), particles=30),),
            attachments=(
                ds.Attachment("top", "ball", where=ds.Box((0.1, 0.1, 0.05)), position=(0.5, 0.5, 0.58)),
                ds.Attachment("one", "ball", where=np.arange(2)),
            ),
        ),
        dtype=F64,
    )
    again = pickle.loads(pickle.dumps(sim))
    assert again.scene == sim.scene
    assert [pin.particle for pin in again._attached.pins] == [pin.particle for pin in sim._attached.pins]


# bad input


BALL = ds.SoftBody("ball", ds.Sphere(0.1), (0.5, 0.5, 0.5), particles=30)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"name": ""}, "name must be a non-empty string"),
        ({"body": "rope"}, "body must be a soft body of the scene, got 'rope'; soft bodies: ball"),
        ({"to": "hand"}, "to must be one of world, rod, block, got 'hand'"),
        ({"to": None}, "to must be a name"),
        ({"where": ds.Sphere(0.1)}, "got none of them; they lie within [0.4"),
        ({"where": [0, 400]}, "where must hold numbers in [0, 32)"),
        ({"where": [-1]}, "where must hold numbers in [0, 32)"),
        ({"where": [True, False]}, "got a mask of shape (2,)"),
        ({"where": lambda x: x[:, 0]}, "must return a bool for each particle, got float64"),
        ({"where": lambda x: x[:, 0] > 9.0}, "got none of them"),
        ({"where": []}, "got none of them"),
        ({"where": "all"}, "must be a diffsim shape, a function, or numbers or a mask"),
        ({"where": 0.5}, "must be a diffsim shape, a function, or numbers or a mask"),
        ({"position": (0.0, 1.0)}, "position must be 3 finite numbers"),
        ({"rotation": (0.0, 0.0, 0.0, 0.0)}, "rotation must not be zero"),
        ({"release_time": -1.0}, "release_time must be a finite number >= 0"),
        ({"controlled": 1}, "controlled must be True or False"),
    ],
)
def test_bad_attachments_are_refused(fields, text):
    with refused(text):
        attachment = ds.Attachment(**{"name": "pin", "body": "ball", "where": [0, 1], **fields})
        ds.Scene(
            (BALL,),
            tools=(ds.Tool("rod", ds.Sphere(0.05), (0.5, 0.5, 0.8)),),
            rigid_bodies=(ds.RigidBody("block", ds.Sphere(0.05), (0.2, 0.2, 0.2)),),
            attachments=(attachment,),
        )


def test_names_differ():
    pin = ds.Attachment("pin", "ball", where=[0])
    with refused("the attachment 'pin' is there 2 times"):
        ds.Scene((BALL,), attachments=(pin, pin))
    with refused("attachments must be a tuple"):
        ds.Scene((BALL,), attachments=pin)
