"""Joint equalities, closed loops and tendons against closed forms, and what they refuse."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import diffsim as ds
from tests.diffsim.constraint_scenes import hanging_chain, walker
from tests.diffsim.test_inputs import refused

ROD = ds.Inertia(0.2, (0.00611245 - 0.2 * 0.15**2, 0.00611245 - 0.2 * 0.15**2, 1e-5), center=(0.0, 0.0, -0.15))
COUPLER = ds.Inertia(0.6, (1e-5, 0.008, 0.008), center=(0.2, 0.0, 0.0))


def largest(sim: ds.Simulator, states: list[ds.State]) -> dict[str, float]:
    """The largest violation of each constraint along a rollout."""
    errors = [sim.constraint_errors(state) for state in states]
    return {name: max(float(each[name].abs().max()) for each in errors) for name in errors[0]}


def simulator(articulation: ds.Articulation, dtype=torch.float64, **options) -> ds.Simulator:
    gravity = options.pop("gravity", (0.0, 0.0, -9.81))
    return ds.Simulator(
        ds.Scene(articulations=(articulation,), ground=None, gravity=gravity),
        dtype=dtype,
        **{"dt": 1e-3, "substeps": 5} | options,
    )


def rollout(sim: ds.Simulator, steps: int, control: tuple[float, ...] = ()) -> list[ds.State]:
    return sim.rollout(sim.reset(), torch.tensor(control, dtype=sim.dtype).expand(steps, 1, len(control)))


def parallelogram(constraint: ds.Connect | ds.Weld) -> ds.Articulation:
    """Two cranks and a coupler; with a weld the second crank's end holds the coupler, and its hip is freed by a hinge."""

    def hinge(name: str, angle: float) -> ds.Joint:
        return ds.Joint(name, "revolute", (0.0, 1.0, 0.0), initial=(angle,))

    links = [
        ds.Link("crank_a", hinge("hip_a", 0.2), None, (0.0, 0.0, 1.0), inertia=ROD),
        ds.Link("coupler", hinge("knee", -0.2), "crank_a", (0.0, 0.0, -0.3), inertia=COUPLER),
        ds.Link("crank_b", hinge("hip_b", 0.2), None, (0.4, 0.0, 1.0), inertia=ROD),
        ds.Link("ankle", hinge("ankle", -0.2), "crank_b", (0.0, 0.0, -0.3), inertia=ds.Inertia(1e-6, (1e-9,) * 3)),
    ]
    return ds.Articulation("bars", tuple(links), constraints=(constraint,), self_collisions=False)


CONNECT = ds.Connect("close", "coupler", "crank_b", point=(0.4, 0.0, 0.0), other_point=(0.0, 0.0, -0.3))
WELD = ds.Weld("close", "coupler", "ankle", point=(0.4, 0.0, 0.0))


@pytest.mark.parametrize(
    ("constraint", "dtype", "dt", "allowed"),
    [(CONNECT, torch.float64, 1e-3, 1e-8), (WELD, torch.float64, 5e-3, 1e-6), (CONNECT, torch.float32, 1e-3, 1e-6)],
    ids=["connect", "weld at 5 ms", "connect in f32"],
)
def test_a_parallelogram_swings_with_its_period_and_keeps_its_energy(constraint, dtype, dt, allowed):
    sim = simulator(parallelogram(constraint), dtype, dt=dt, substeps=round(5e-3 / dt))
    states = rollout(sim, 1200)
    a, knee, b, _ = torch.stack([state.q[0] for state in states]).double().numpy().T
    assert max(np.abs(a - b).max(), np.abs(a + knee).max()) < 10.0 * allowed
    assert largest(sim, states)["bars.close"] < allowed
    # theta'' = -w^2 sin(theta)
    w = math.sqrt(9.81 * (0.2 * 0.3 + 0.6 * 0.3) / (2.0 * 0.00611245 + 0.6 * 0.3**2))
    exact = 2.0 * math.pi / w * (1.0 + 0.2**2 / 16.0 + 11.0 * 0.2**4 / 3072.0)
    falls = np.flatnonzero((a[:-1] > 0.0) & (a[1:] <= 0.0))
    times = 5e-3 * (falls + a[falls] / (a[falls] - a[falls + 1]))
    period = (times[-1] - times[0]) / (len(times) - 1)
    assert period == pytest.approx(exact, rel=1e-4)
    assert np.abs(a[-220:]).max() == pytest.approx(0.2, abs=1e-4)


def test_equations_that_say_the_same_twice_are_as_good_as_one():
    twice = replace(parallelogram(CONNECT), constraints=(CONNECT, replace(CONNECT, name="again")))
    for dtype, allowed in ((torch.float64, 1e-8), (torch.float32, 1e-6)):
        once, both = simulator(parallelogram(CONNECT), dtype), simulator(twice, dtype)
        states = rollout(both, 100)
        assert max(largest(both, states).values()) < allowed
        torch.testing.assert_close(states[-1].q, rollout(once, 100)[-1].q, rtol=0.0, atol=10.0 * allowed)


def test_a_hanging_chain_is_a_catenary():
    span, length, count = 1.0, 1.4, 24
    sim = simulator(hanging_chain(count, length, span), dt=2e-3, substeps=10)
    states = rollout(sim, 500)
    assert float(states[-1].qd.abs().max()) < 1e-2
    assert max(largest(sim, states[:20] + states[-20:]).values()) < 1e-5
    low, high = 1e-2, 10.0  # a: length = 2 a sinh(span / 2 a)
    for _ in range(100):
        a = 0.5 * (low + high)
        low, high = (a, high) if 2.0 * a * math.sinh(0.5 * span / a) > length else (low, a)
    sag = a * (math.cosh(0.5 * span / a) - 1.0)
    lowest = -float(sim.links(states[-1]).position[0, 1:, 2].min())
    assert lowest == pytest.approx(sag, rel=1e-2)


def two_slides(**fields) -> ds.Articulation:
    """Masses of 1 and 2 kg on slides along x, side by side."""

    def link(name: str, mass: float, initial: tuple[float] | None = None) -> ds.Link:
        joint = ds.Joint(name, "prismatic", (1.0, 0.0, 0.0), initial=initial)
        return ds.Link(f"on_{name}", joint, inertia=ds.Inertia(mass, (1e-2,) * 3))

    return ds.Articulation("slides", (link("x", 1.0, (0.5,)), link("y", 2.0)), (ds.Actuator("push", "x"),), **fields)


def test_a_geared_mass_is_felt_and_follows_at_reset():
    equality = ds.JointEquality("gear", "y", "x", (0.1, -3.0))
    sim = simulator(two_slides(constraints=(equality,)), gravity=(0.0, 0.0, 0.0), substeps=1)
    assert sim.reset().q.tolist() == [[0.5, pytest.approx(-1.4)]]
    state = rollout(sim, 100, (1.0,))[-1]
    assert float(0.1 / state.qd[0, 0]) == pytest.approx(1.0 + 9.0 * 2.0, rel=1e-6)
    torch.testing.assert_close(
        sim.constraint_errors(state)["slides.gear"], torch.zeros(1, dtype=torch.float64), atol=1e-9, rtol=0
    )
    moved = {"slides.gear.offset": torch.tensor(0.2, dtype=torch.float64)}
    for _ in range(200):
        state = sim.step(state, torch.zeros(1, 1, dtype=torch.float64), moved)
    assert float(state.q[0, 1] + 3.0 * state.q[0, 0]) == pytest.approx(0.2, abs=1e-6)


def test_a_tendon_swings_like_a_spring_and_leaves_its_slack_alone():
    # x + y on a spring of 200 N/m beyond 0.6: the reduced mass is 1 / (1 / 1 + 1 / 2)
    joints = {"x": 1.0, "y": 1.0}
    sim = simulator(two_slides(tendons=(ds.Tendon("cord", joints, stiffness=200.0),)), gravity=(0.0, 0.0, 0.0))
    length = torch.stack([state.q.sum() for state in rollout(sim, 200, (0.0,))]).numpy()
    times = 5e-3 * np.arange(201)
    np.testing.assert_allclose(length, 0.5 * np.cos(math.sqrt(200.0 * 1.5) * times), atol=2e-4)
    slack = simulator(two_slides(tendons=(ds.Tendon("cord", joints, stiffness=200.0, rest=(0.4, 0.6)),)))
    assert rollout(slack, 20, (0.0,))[-1].qd.abs().max() < 1e-12
    stop = ds.Tendon("cord", joints, limits=(-1.0, 1.0), damping=5.0)
    pushed = rollout(simulator(two_slides(tendons=(stop,))), 400, (4.0,))
    assert max(float(state.q.sum()) for state in pushed) < 1.02


def test_what_does_not_hold_at_reset_is_warned_of_by_name(caplog):
    apart = ds.Connect("far", "on_x", "on_y", other_point=(0.0, 0.0, 0.0))
    simulator(two_slides(constraints=(apart,)))
    (record,) = caplog.records
    assert "'slides.far' does not hold at reset: it is violated by 0.5" in record.getMessage()
    caplog.clear()
    simulator(two_slides(constraints=(replace(apart, other_point=None),)))
    assert not caplog.records


def test_wrong_constraints_are_refused():
    with refused("JointEquality 'e'", "coefficients must be 1 to 5 finite numbers"):
        ds.JointEquality("e", "x", "y", (0.0, 1.0, 2.0, 3.0, 4.0, 5.0))
    with refused("JointEquality 'e'", "leader must differ from joints"):
        ds.JointEquality("e", "x", "x")
    with refused("Connect 'c'", "other must be another link than 'on_x'"):
        ds.Connect("c", "on_x", "on_x")
    with refused("Tendon 't'", "rest must be a length, or (low, high)"):
        ds.Tendon("t", "x", rest=(1.0, 0.0))
    with refused("'slides'", "constraint 'e' is of joint 'z', which does not exist; joints: x, y"):
        two_slides(constraints=(ds.JointEquality("e", "x", "z"),))
    with refused("'slides'", "constraint 'w' is of link 'z', which does not exist"):
        two_slides(constraints=(ds.Weld("w", "on_x", "z"),))
    with refused("'slides'", "tendon 't' is of joint 'z'"):
        two_slides(tendons=(ds.Tendon("t", "z"),))
    with refused("'slides'", "two constraints are named 'e'"):
        two_slides(constraints=(ds.JointEquality("e", "x", "y"), ds.Connect("e", "on_x", "on_y")))
    with refused("'walker'", "a free one; only"):
        replace(walker(), tendons=(ds.Tendon("t", "j_base"),))
    with refused("constraints must hold diffsim.Constraint objects"):
        two_slides(constraints=(ds.Tendon("t", "x"),))
