"""Event mode: impacts at their exact time, with Newton's restitution and Coulomb's friction; and their gradients, f64."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

import diffsim as ds
from tests.diffsim.rigid_scenes import SHAPES, arm, free_body
from tests.diffsim.test_inputs import refused
from tests.diffsim.test_rigid import BALL_MESH, G, momenta, run

pytestmark = pytest.mark.slow

F64 = torch.float64
EVENT = ds.ContactModel(impact="event")
FREE_SPACE = {"ground": None, "gravity": (0.0, 0.0, 0.0), "contact": EVENT}


def rollout(sim: ds.Simulator, state: ds.State, steps: int, parameters=None) -> list[ds.State]:
    return sim.rollout(state, torch.zeros(steps, 1, sim.action_dim, dtype=F64), parameters)


def functional(state: ds.State) -> torch.Tensor:
    """A number that depends on all of a state."""
    values = torch.cat([state.q[0], state.qd[0]])
    return (values * torch.cos(torch.arange(len(values), dtype=F64))).sum() + 0.1 * (values**2).sum()


def check(scene: ds.Scene, steps: int, names: list[str], *, dt: float = 4e-3, substeps: int = 5, without: str = "") -> None:
    """Gradients of the state after some control steps by the first state and by parameters; all but ``without`` have one."""
    sim = ds.Simulator(scene, dt=dt, substeps=substeps, dtype=F64)
    state, defaults = sim.reset(), sim.parameters
    units = {name: defaults[name].abs().clamp_min(0.05) for name in names}

    def function(q: torch.Tensor, qd: torch.Tensor, **shares: torch.Tensor) -> torch.Tensor:
        given = {name: defaults[name] + units[name] * shares[name.replace(".", "_")] for name in names}
        return functional(rollout(sim, state.replace(q=q, qd=qd), steps, given)[-1])

    zeros = {name.replace(".", "_"): torch.zeros_like(defaults[name]) for name in names}
    checks = ds.gradcheck(function, {"q": state.q, "qd": state.qd, **zeros}, directions=2)
    assert all(abs(each.adjoint) > 0.0 for each in checks if each.name not in without)


def hitting(shape: ds.Shape, *, friction: float, height: float, seed: int = 3) -> ds.Scene:
    """A body with its centre of mass off its origin falls askew on the ground, turning."""
    body = free_body("body", shape, (0.0, 0.0, height), seed=seed, friction=friction, restitution=0.7)
    link = body.links[0]
    joint = ds.Joint(
        "free", "free", initial=(0.0, 0.0, height, 0.8, 0.3, -0.4, 0.2), initial_velocity=(0.8, -0.3, -2.0, 1.0, -2.0, 0.5)
    )
    link = ds.Link("body", joint, inertia=link.inertia, geometries=link.geometries)
    ground = ds.Ground(friction=friction, restitution=0.5)
    return ds.Scene(articulations=(ds.Articulation("a", (link,)),), ground=ground, contact=EVENT)


OF_BODY = [f"a.body.{name}" for name in ("mass", "center", "inertia", "friction", "restitution", "scale")]


@pytest.mark.parametrize("friction", [0.1, 2.0], ids=["slides", "sticks"])
@pytest.mark.parametrize("name", ["box", "capsule", "rounded cylinder", "torus"])
def test_gradients_of_a_body_that_hits_the_ground(name, friction):
    scene = hitting(SHAPES[name], friction=friction, height=0.16)
    _sim, states = run(scene, 0.06, dt=4e-3, substeps=5)
    assert any(float(state.qd[0, 2]) > 0.0 for state in states)  # it has met the ground
    # what sticks does not know how rough the ground is
    without = "a_body_friction ground_friction" if friction > 1.0 else ""
    check(scene, 3, [*OF_BODY, "ground.friction", "ground.restitution", "gravity"], without=without)


PAIR = [f"{body}.{name}" for body in ("a", "b") for name in ("mass", "inertia", "center", "friction", "restitution", "scale")]


def pair(one: ds.Shape, other: ds.Shape, friction: float = 0.05, restitution: float = 0.8) -> ds.Scene:
    """Two bodies that meet off their centres, turning, in weightlessness."""
    given = {"friction": friction, "restitution": restitution}
    way = {"velocity": (1.0, 0.1, 0.0), "angular_velocity": (-0.263, -2.237, -0.421), "mass": 1.0}
    against = {"velocity": (-1.0, 0.0, 0.1), "angular_velocity": (0.231, 2.107, 0.711), "mass": 2.0}
    bodies = (
        ds.RigidBody("a", one, (0.0, 0.0, 0.0), (1.0, 0.2, 0.1, -0.3), **way, **given),
        ds.RigidBody("b", other, (0.3, 0.06, 0.03), (1.0, -0.4, 0.2, 0.1), **against, **given),
    )
    return ds.Scene(rigid_bodies=bodies, **FREE_SPACE)


PAIRS = [("sphere", "sphere"), ("box", "capsule"), ("rounded box", "torus")]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_gradients_of_two_bodies_that_meet(one, other):
    check(pair(SHAPES[one], SHAPES[other]), 5, PAIR)


def test_gradients_where_a_ball_meets_a_mesh():
    check(pair(ds.Sphere(0.1), BALL_MESH), 4, PAIR, without="a_friction b_friction")  # it sticks


def test_gradients_where_a_ball_drops_without_slip():
    """What would slip sticks, and the gradient knows it."""
    ball = ds.RigidBody("ball", ds.Sphere(0.1), (0.0, 0.0, 0.15), velocity=(0.0, 0.0, -2.0), restitution=0.5)
    scene = ds.Scene(rigid_bodies=(ball,), contact=EVENT)
    sim = ds.Simulator(scene, dt=1e-2, substeps=5, dtype=F64)
    state = sim.reset()
    checks = ds.gradcheck(lambda qd: functional(rollout(sim, state.replace(qd=qd), 1)[-1]), {"qd": state.qd}, directions=5)
    assert all(abs(each.adjoint) > 0.0 for each in checks)


def test_gradients_through_many_impacts():
    """Three balls between a wall and the ground; some of them have several impacts in one substep."""
    places = [(0.25 * n, 0.03 * n, 0.11 + 0.02 * n) for n in range(3)]
    given = {"restitution": 0.9, "friction": 0.3}
    balls = tuple(
        ds.RigidBody(f"{n}", ds.Sphere(0.1), place, velocity=(2.0 - 2.0 * n, 0.0, -0.5), **given)
        for n, place in enumerate(places)
    )
    wall = ds.Obstacle("wall", ds.Box((0.05, 1.0, 1.0)), (-0.2, 0.0, 0.5), friction=0.2, restitution=0.9)
    scene = ds.Scene(rigid_bodies=balls, obstacles=(wall,), ground=ds.Ground(restitution=0.9), contact=EVENT)
    names = ["0.mass", "1.scale", "2.inertia", "1.restitution", "wall.restitution", "gravity"]
    check(scene, 6, names, dt=1e-2)


@pytest.mark.parametrize(("one", "other"), [("sphere", "sphere"), ("box", "sphere")])
def test_momentum_is_conserved_and_energy_not_increased(one, other):
    sim, states = run(pair(SHAPES[one], SHAPES[other]), 0.2, dt=1e-2, substeps=5)
    shapes = [momenta(sim, state) for state in states]
    assert float((states[-1].qd - states[0].qd)[0, :3].norm()) > 0.3
    scale = float(shapes[0][0].norm() + shapes[0][1].norm())
    assert float((shapes[-1][0] - shapes[0][0]).norm()) < 1e-12 * scale
    if one == "sphere":  # the box's free turning is of first order in dt
        assert float((shapes[-1][1] - shapes[0][1]).norm()) < 1e-12 * scale
        assert shapes[-1][2] < shapes[0][2]


@pytest.mark.parametrize("friction", [0.0, 0.2, 10.0])
@pytest.mark.parametrize("restitution", [0.0, 0.5, 1.0])
def test_an_impact_never_adds_energy(friction, restitution):
    cube = ds.Box((0.1, 0.1, 0.1))  # its inertia is a ball's: it turns without a torque
    sim, states = run(pair(cube, cube, friction, restitution), 0.16, dt=1e-2, substeps=1)
    struck = [float((after.qd - before.qd).norm()) > 1e-3 for before, after in pairwise(states)]
    number = struck.index(True)
    before, after = momenta(sim, states[number]), momenta(sim, states[number + 1])
    assert float((after[0] - before[0]).norm() + (after[1] - before[1]).norm()) < 1e-12
    if friction == 0.0 and restitution == 1.0:
        assert after[2] == pytest.approx(before[2], rel=1e-12)
    else:
        assert after[2] < before[2] * (1.0 - 1e-4)


def test_newtons_restitution_and_coulombs_friction():
    """A ball meets the ground obliquely: the closed form, sliding and rolling."""
    for mu, sticks in ((0.05, False), (1.0, True)):
        given = {"friction": mu, "restitution": 0.6}
        ball = ds.RigidBody("ball", ds.Sphere(0.1), (0.0, 0.0, 0.2), velocity=(1.0, 0.0, -2.0), mass=1.5, **given)
        scene = ds.Scene(rigid_bodies=(ball,), ground=ds.Ground(**given), gravity=(0.0, 0.0, 0.0), contact=EVENT)
        _sim, states = run(scene, 0.2, dt=1e-2, substeps=2)
        loss = 2.0 / 7.0 if sticks else mu * 1.6 * 2.0
        np.testing.assert_allclose(states[-1].qd[0], [1.0 - loss, 0.0, 1.2, 0.0, 2.5 * loss / 0.1, 0.0], atol=1e-12)


def test_free_flight_is_exact_under_gravity():
    body = ds.RigidBody("ball", ds.Sphere(0.1), (0.1, 0.2, 9.0), velocity=(1.0, -2.0, 3.0))
    _sim, states = run(ds.Scene(rigid_bodies=(body,), ground=None, contact=EVENT), 1.0, dt=1e-2)
    np.testing.assert_allclose(states[-1].q[0, :3], [1.1, -1.8, 12.0 - 9.81 / 2.0], rtol=1e-13)


def test_a_ball_comes_to_rest():
    ball = ds.RigidBody("ball", ds.Sphere(0.1), (0.0, 0.0, 0.6), mass=0.5, restitution=0.6, velocity=(0.2, 0.0, 0.0))
    scene = ds.Scene(rigid_bodies=(ball,), ground=ds.Ground(restitution=0.6), contact=EVENT)
    _sim, states = run(scene, 6.0, dt=1e-3)
    heights = torch.stack([state.q[0, 2] for state in states])
    assert float(heights.min()) > 0.1 - 1e-5
    assert float(states[-1].q[0, 2]) == pytest.approx(0.1, abs=1e-6)
    assert abs(float(states[-1].qd[0, 2])) < 1e-6


@pytest.mark.parametrize("restitution", [0.0, 0.5])
def test_a_box_dropped_flat_settles(restitution):
    box = ds.RigidBody("box", ds.Box((0.05, 0.04, 0.03)), (0.0, 0.0, 0.2), mass=0.5, restitution=restitution)
    scene = ds.Scene(rigid_bodies=(box,), ground=ds.Ground(restitution=restitution), contact=EVENT)
    _sim, states = run(scene, 3.0, dt=1e-3)
    end = states[-1]
    assert float(end.q[0, 2]) == pytest.approx(0.03, abs=1e-6)
    assert abs(float(end.q[0, 3])) > math.cos(0.02)  # it lies flat, as it fell
    assert float(end.qd.abs().max()) < 1e-2


def test_bodies_of_other_events_fly_undisturbed():
    alone = ds.RigidBody(
        "alone", ds.Box((0.1, 0.05, 0.02)), (5.0, 0.0, 1.0), velocity=(0.3, 0.0, 1.0), angular_velocity=(1.0, 2.0, 3.0)
    )
    ball = ds.RigidBody("ball", ds.Sphere(0.1), (0.0, 0.0, 0.15), velocity=(0.0, 0.0, -3.0), restitution=1.0)
    ground = ds.Ground(restitution=1.0)
    both, single = (
        run(ds.Scene(rigid_bodies=bodies, ground=ground, contact=EVENT), 0.1, dt=1e-2, substeps=5)[1][-1]
        for bodies in ((alone, ball), (alone,))
    )
    assert float(both.qd[0, 8]) > 0.0
    np.testing.assert_allclose(both.q[0, :7], single.q[0], rtol=0.0, atol=1e-13)


@pytest.mark.slow
def test_joints_move_as_without_events():
    """An arm without free bodies has no events and none of event mode's rules; euler's paths, too, begin with the substep."""
    ends = []
    for impact in ("auto", "event"):
        contact = ds.ContactModel(impact=impact)
        _sim, states = run(
            ds.Scene(articulations=(arm(geometries=True),), contact=contact), 0.2, substeps=10, integrator="euler"
        )
        ends.append(states[-1])
    np.testing.assert_allclose(ends[0].q, ends[1].q, rtol=0.0, atol=1e-12)


def test_the_contact_model_can_be_changed_to_event_mode_and_back():
    ball = ds.RigidBody("ball", ds.Sphere(0.1), (0.0, 0.0, 0.2), velocity=(0.0, 0.0, -2.0), restitution=1.0)
    compliant = ds.ContactModel(impact="smooth")
    scene = ds.Scene(rigid_bodies=(ball,), ground=ds.Ground(restitution=1.0), gravity=(0.0, 0.0, 0.0), contact=compliant)
    sim = ds.Simulator(scene, dt=5e-4, substeps=20, dtype=F64)
    state = sim.reset()
    smooth = rollout(sim, state, 10)[-1]
    sim.contact = EVENT
    event = rollout(sim, state, 10)[-1]
    assert float(event.q[0, 2]) == pytest.approx(0.2, abs=1e-12)
    assert float(smooth.q[0, 2]) != float(event.q[0, 2])
    sim.contact = scene.contact
    assert torch.equal(rollout(sim, state, 10)[-1].q, smooth.q)


def test_a_schedule_keeps_the_kind_of_impact():
    coarse = ds.ContactModel(stiffness=1e3, impact="event", event_speed=0.2)
    fine = ds.ContactModel(stiffness=1e4, impact="event", event_speed=0.05)
    schedule = ds.SmoothingSchedule(coarse, fine, iterations=10)
    assert schedule.at(5).impact == "event"
    assert schedule.at(5).event_speed == pytest.approx(0.1)


def test_single_precision():
    ball = ds.RigidBody("ball", ds.Sphere(0.1), (0.0, 0.0, 1.1), velocity=(0.0, 0.0, -1.0), restitution=0.6)
    contact = EVENT
    scene = ds.Scene(rigid_bodies=(ball,), ground=ds.Ground(restitution=0.6), gravity=(0.0, 0.0, -10.0), contact=contact)
    sim = ds.Simulator(scene, dt=1e-2, substeps=10)
    end = sim.rollout(sim.reset(), torch.zeros(8, 1, 0))[-1]
    assert float(end.q[0, 2]) == pytest.approx(0.338909, abs=1e-5)


def test_wrong_arguments():
    with refused("ContactModel", "impact", "auto, smooth, event", "'hard'"):
        ds.ContactModel(impact="hard")
    with refused("ContactModel", "smoothing", "event", "0.001"):
        ds.ContactModel(impact="event", smoothing=1e-3)
    with refused("ContactModel", "event_speed", "-1.0"):
        ds.ContactModel(event_speed=-1.0)


@pytest.mark.long
def test_a_scene_with_a_soft_body():
    """Both stages of the coupled step know events: a ball that strikes the ground, and then a soft cube from below."""
    cube = ds.SoftBody("cube", ds.Box((0.06, 0.06, 0.06)), (0.5, 0.5, 0.32), material=ds.Elastic(5e3, 0.3), particles=120)
    ball = ds.RigidBody("ball", ds.Sphere(0.05), (0.5, 0.51, 0.14), mass=0.1, velocity=(0.1, 0.0, -2.0), restitution=0.9)
    ground = ds.Ground(0.08, restitution=0.9)
    scene = ds.Scene(soft_bodies=(cube,), rigid_bodies=(ball,), ground=ground, grid_spacing=1.0 / 16.0, contact=EVENT)
    sim = ds.Simulator(scene, dt=1e-3, substeps=10, dtype=F64)
    state = sim.reset()
    alone = ds.Simulator(ds.Scene(rigid_bodies=(ball,), ground=ground, contact=EVENT), dt=1e-3, substeps=10, dtype=F64)
    struck = rollout(sim, state, 1)[-1]
    assert float(struck.qd[0, 2]) > 1.0
    np.testing.assert_allclose(struck.q, rollout(alone, alone.reset(), 1)[-1].q, rtol=0.0, atol=1e-12)
    end = rollout(sim, state, 8)[-1]
    assert float(struck.qd[0, 2] - end.qd[0, 2]) > 1.5 * G * 0.07  # the cube holds it

    def function(q: torch.Tensor, qd: torch.Tensor, restitution: torch.Tensor) -> torch.Tensor:
        given = {"ball.restitution": restitution}
        last = rollout(sim, state.replace(q=q, qd=qd), 8, given)[-1]
        return functional(last) + last.x.square().sum()

    ds.gradcheck(function, {"q": state.q, "qd": state.qd, "restitution": torch.tensor(0.9, dtype=F64)}, directions=2)
