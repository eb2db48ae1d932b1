"""Kinematic tools against rigid bodies and articulations: pushing, carrying, dragging, gradients, batches, mixed scenes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import diffsim as ds
from tests.diffsim.test_inputs import refused

pytestmark = pytest.mark.slow

F64 = torch.float64
G = 9.81
CONTACT = ds.ContactModel(stiffness=3e3, smoothing=5e-3, slip_speed=0.05, restitution_speed=0.05)


def simulator(scene: ds.Scene, num_envs: int = 1, *, dt: float = 1e-3, substeps: int = 20) -> ds.Simulator:
    return ds.Simulator(scene, num_envs=num_envs, dt=dt, substeps=substeps, dtype=F64)


def repeated(action: tuple[float, ...], steps: int) -> torch.Tensor:
    return torch.tensor(action, dtype=F64).expand(steps, 1, len(action))


def speed(sim: ds.Simulator, state: ds.State, name: str) -> list[float]:
    return sim.links(state).velocity[0, sim.link_index(name)].tolist()


# what a tool does


def test_a_pushed_box_goes_with_the_tool():
    blade = ds.Tool("blade", ds.Box((0.02, 0.1, 0.04), rounding=0.01), (0.0, 0.0, 0.05), control=("x",))
    box = ds.RigidBody("box", ds.Box((0.05, 0.05, 0.05)), (0.08, 0.0, 0.05), mass=0.5)
    sim = simulator(ds.Scene(rigid_bodies=(box,), tools=(blade,)))
    end = sim.rollout(sim.reset(), repeated((0.2,), 40))[-1]
    assert float(end.tool_position[0, 0, 0]) == pytest.approx(0.16)
    # half a gap of a few smoothing lengths (1 mm) lies between them
    assert float(end.q[0, 0]) == pytest.approx(0.16 + 0.07, abs=3e-3)
    assert float(end.q[0, 1]) == pytest.approx(0.0, abs=1e-6)
    assert speed(sim, end, "box") == pytest.approx([0.2, 0.0, 0.0], abs=2e-3)
    assert float(end.q[0, 3]) == pytest.approx(1.0, abs=1e-4)


def test_a_hit_ball_takes_twice_the_speed_of_the_tool():
    bat = ds.Tool("bat", ds.Sphere(0.05), (0.0, 0.0, 0.0), control=("x",), restitution=1.0)
    ball = ds.RigidBody("ball", ds.Sphere(0.05), (0.12, 0.0, 0.0), mass=0.3, restitution=1.0)
    scene = ds.Scene(rigid_bodies=(ball,), tools=(bat,), gravity=(0.0, 0.0, 0.0), ground=None)
    sim = simulator(scene, dt=2e-4)
    states = sim.rollout(sim.reset(), repeated((0.5,), 40))
    # a tool's impact is no event: implicit contact is stiff, not rigid
    assert speed(sim, states[-1], "ball") == pytest.approx([1.0, 0.0, 0.0], abs=0.02)
    assert speed(sim, states[5], "ball") == pytest.approx([0.0, 0.0, 0.0], abs=1e-5)


def test_a_rising_tool_carries_a_ball():
    plate = ds.Tool("plate", ds.Box((0.1, 0.1, 0.02), rounding=0.005), (0.0, 0.0, 0.1), control=("z",))
    ball = ds.RigidBody("ball", ds.Sphere(0.04), (0.01, 0.0, 0.1605), mass=0.2)
    sim = simulator(ds.Scene(rigid_bodies=(ball,), tools=(plate,)))
    start = sim.rollout(sim.reset(), repeated((0.0,), 20))[-1]
    end = sim.rollout(start, repeated((0.3,), 25))[-1]
    assert float(end.q[0, 2] - start.q[0, 2]) == pytest.approx(0.15, abs=5e-4)
    assert speed(sim, end, "ball") == pytest.approx([0.0, 0.0, 0.3], abs=3e-3)


def test_friction_drags_with_mu_g_up_to_the_speed_of_the_tool():
    plate = ds.Tool("plate", ds.Box((0.5, 0.2, 0.02), rounding=0.005), (0.0, 0.0, 0.1), friction=0.4, control=("x",))
    box = ds.RigidBody("box", ds.Box((0.05, 0.05, 0.03)), (0.0, 0.0, 0.1505), mass=0.4, friction=0.2)
    sim = simulator(ds.Scene(rigid_bodies=(box,), tools=(plate,)))
    start = sim.rollout(sim.reset(), repeated((0.0,), 20))[-1]
    states = sim.rollout(start, repeated((0.5,), 20))
    assert speed(sim, states[5], "box")[0] == pytest.approx(0.3 * G * 0.1, rel=0.03)
    assert speed(sim, states[-1], "box") == pytest.approx([0.5, 0.0, 0.0], abs=3e-3)


def test_a_tool_is_a_body_of_infinite_mass():
    """A turning and sliding tool against a link on a rail and a hinge that nothing holds up."""
    shape, turn = ds.Box((0.03, 0.12, 0.05), rounding=0.01), (0.9, 0.1, 0.05, 0.2)
    properties = {"friction": 0.4, "restitution": 0.3, "stiffness": 2e3}
    velocity, spin = 0.4, 2.0
    box = ds.RigidBody("box", ds.Box((0.06, 0.05, 0.05), rounding=0.005), (0.1, 0.02, 0.06), mass=0.5)
    tool = ds.Tool("tool", shape, (0.0, 0.0, 0.08), turn, control=("x", "rz"), **properties)
    heavy = ds.Inertia(1e9, (1e9, 1e9, 1e9))
    rail = ds.Joint("rail", "prismatic", axis=(1.0, 0.0, 0.0), initial_velocity=(velocity,))
    hinge = ds.Joint("hinge", "revolute", axis=(0.0, 0.0, 1.0), initial_velocity=(spin,))
    links = (
        ds.Link("cart", rail, position=(0.0, 0.0, 0.08), inertia=heavy),
        ds.Link("blade", hinge, "cart", inertia=heavy, geometries=(ds.Geometry(shape, rotation=turn, **properties),)),
    )
    scene = ds.Scene(rigid_bodies=(box,), tools=(tool,), contact=CONTACT)
    ours = simulator(scene)
    theirs = simulator(replace(scene, tools=(), articulations=(ds.Articulation("machine", links),)))
    states = ours.rollout(ours.reset(), repeated((velocity, spin), 15))
    others = theirs.rollout(theirs.reset(), torch.zeros(15, 1, 0, dtype=F64))
    assert float((states[-1].q - states[0].q)[0, :3].norm()) > 0.05
    for one, other in zip(states, others, strict=True):
        torch.testing.assert_close(one.q, other.q[:, :7], rtol=0.0, atol=1e-7)
        torch.testing.assert_close(one.qd, other.qd[:, :6], rtol=0.0, atol=1e-6)


# gradients, batches


def busy(num_envs: int = 1, **things) -> ds.Simulator:
    """A box between the ground, a turning blade and a finger, a pendulum that the blade strikes, and an obstacle."""
    box = ds.RigidBody("box", ds.Box((0.06, 0.05, 0.05), rounding=0.01), (0.105, 0.01, 0.055), (1.0, 0.02, 0.03, 0.1), mass=0.5)
    rod = ds.Inertia(0.3, (1e-3, 1e-3, 1e-3), center=(0.0, 0.0, -0.1))
    bob = ds.Geometry(ds.Sphere(0.04), (0.0, 0.0, -0.15), friction=0.3)
    hinge = ds.Joint("hinge", "revolute", axis=(0.0, 1.0, 0.1), damping=0.01)
    pendulum = ds.Articulation(
        "pendulum", (ds.Link("rod", hinge, inertia=rod, geometries=(bob,)),), (ds.Actuator("motor", "hinge"),),
        position=(-0.075, 0.02, 0.23),
    )  # fmt: skip
    tools = (
        ds.Tool("blade", ds.Box((0.03, 0.1, 0.05), rounding=0.01), (0.0, 0.0, 0.07), (0.9, 0.1, 0.05, 0.2),
                control=("x", "rz", "ry"), restitution=0.2, stiffness=2e3),
        ds.Tool("finger", ds.Capsule(0.03, 0.03), (0.12, 0.09, 0.06), (0.8, 0.3, 0.1, 0.1), control=("y", "rx", "z")),
    )  # fmt: skip
    obstacle = ds.Obstacle("stop", ds.Sphere(0.05), (0.22, 0.0, 0.06), friction=0.2)
    scene = ds.Scene(
        rigid_bodies=(box,), articulations=(pendulum,), tools=tools, obstacles=(obstacle,),
        ground=ds.Ground(0.0, 0.4, restitution=0.1),
        contact=CONTACT, **things,
    )  # fmt: skip
    return simulator(scene, num_envs, dt=2e-3, substeps=4)


def varied(sim: ds.Simulator, steps: int) -> tuple[ds.State, torch.Tensor]:
    """Environments that differ, and actions that do."""
    generator = torch.Generator().manual_seed(3)

    def noise(like: torch.Tensor, scale: float) -> torch.Tensor:
        return scale * torch.randn(like.shape, dtype=F64, generator=generator)

    state = sim.reset()
    state = state.replace(
        qd=state.qd + noise(state.qd, 0.1), tool_position=state.tool_position + noise(state.tool_position, 2e-3)
    )
    base = torch.tensor([0.3, 0.5, 0.2, -0.2, 0.3, 0.0, 0.1], dtype=F64)
    return state, base + noise(torch.zeros(steps, sim.num_envs, sim.action_dim), 0.1)


STATES = ("tool_position", "tool_rotation", "q", "qd")
UNITS = {"actions": 10.0, "box.mass": 1.0, "blade.stiffness": 1e4, "box.stiffness": 1e4, "gravity": 10.0}
PARAMETERS = (
    "box.mass", "box.inertia", "box.friction", "box.stiffness", "box.scale", "blade.friction", "blade.restitution",
    "blade.stiffness", "finger.friction", "ground.friction", "pendulum.rod.mass", "gravity",
)  # fmt: skip


def check(sim: ds.Simulator, fields: tuple[str, ...], names: tuple[str, ...], steps: int = 4) -> None:
    """Gradients of a random functional of all states by the state, the actions and the parameters ``names``."""
    state, actions = varied(sim, steps)
    state, actions = sim.rollout(state, actions[:1])[-1], actions[1:]  # every contact has begun
    generator = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(getattr(state, name).shape, generator=generator, dtype=F64) for name in fields if name != "C"}
    inputs = {name: getattr(state, name) for name in fields} | {"actions": actions}
    inputs |= {name: sim.parameters[name] for name in names}

    def functional(**scaled: torch.Tensor) -> torch.Tensor:
        given = {name: UNITS.get(name, 1.0) * value for name, value in scaled.items()}
        actions = given.pop("actions")
        first = state.replace(**{name: given.pop(name) for name in fields})
        states = sim.rollout(first, actions, given)[1:]
        return sum((weight * getattr(each, name)).sum() for each in states for name, weight in weights.items())

    checks = ds.gradcheck(functional, {name: value / UNITS.get(name, 1.0) for name, value in inputs.items()}, directions=2)
    for name in inputs:
        assert any(abs(each.adjoint) > 1e-6 for each in checks if each.name == name), f"{name} changes nothing"


def test_gradients():
    check(busy(), STATES, PARAMETERS)


@pytest.mark.parametrize("name", STATES[:2])
def test_gradients_by_a_tool_s_pose_are_those_of_its_contacts(name):
    """Of the box alone: the tool's own later poses would hide a wrong sign."""
    sim = busy()
    state, actions = varied(sim, 3)

    def place(**given: torch.Tensor) -> torch.Tensor:
        moved = sim.rollout(state.replace(**given), actions)[-1].q[0, :7]
        return (moved * torch.linspace(-1.0, 1.5, 7, dtype=F64)).sum()

    checks = ds.gradcheck(place, {name: getattr(state, name)}, directions=6)
    assert max(abs(each.adjoint) for each in checks) > 1e-3


def test_a_batch_is_its_environments_bit_for_bit():
    sim = busy(3)
    state, actions = varied(sim, 4)

    def run(state: ds.State, actions: torch.Tensor) -> tuple[list[ds.State], tuple[torch.Tensor, ...]]:
        leaves = [getattr(state, name).clone().requires_grad_() for name in STATES] + [actions.clone().requires_grad_()]
        states = sim.rollout(state.replace(**dict(zip(STATES, leaves, strict=False))), leaves[-1])
        return states, torch.autograd.grad(states[-1].q.square().sum() + states[-1].qd.sum(), leaves)

    states, gradients = run(state, actions)
    for n in range(3):
        alone, own = run(state[n], actions[:, n : n + 1])
        for one, other in zip(states, alone, strict=True):
            assert torch.equal(one.q[n], other.q[0])
            assert torch.equal(one.qd[n], other.qd[0])
        for whole, part in zip(gradients[:-1], own[:-1], strict=True):
            torch.testing.assert_close(whole[n], part[0], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(gradients[-1][:, n], own[-1][:, 0], rtol=1e-12, atol=1e-12)
    assert not torch.equal(states[-1].q[0], states[-1].q[1])


def test_windowed_rollout_is_the_rollout():
    sim = busy(2)
    state, actions = varied(sim, 4)
    last, _seen = sim.windowed_rollout(state, actions, lambda each: each.q, window=2)
    assert torch.equal(last.q, sim.rollout(state, actions)[-1].q)


# soft bodies beside


def jelly(at: tuple[float, float, float], **fields) -> ds.SoftBody:
    return ds.SoftBody("jelly", ds.Box((0.05, 0.05, 0.04)), at, material=ds.Elastic(2e4), particles=60, **fields)


def mixed(*, bodies: tuple[ds.RigidBody, ...] | None = None) -> ds.Simulator:
    """A finger between a jelly and a box, in touch with both; the box touches the jelly, too."""
    box = ds.RigidBody("box", ds.Box((0.05, 0.06, 0.04), rounding=0.01), (0.57, 0.5, 0.09), mass=0.4)
    scene = ds.Scene(
        soft_bodies=(jelly((0.44, 0.5, 0.09), velocity=(0.3, 0.0, 0.0)),),
        tools=(ds.Tool("finger", ds.Capsule(0.05, 0.04), (0.51, 0.55, 0.165), control=("x", "z", "ry"), stiffness=2e3),),
        rigid_bodies=(box,) if bodies is None else bodies,
        ground=ds.Ground(0.05, friction=0.6),
        grid_spacing=1.0 / 16.0,
        contact=CONTACT,
    )
    return simulator(scene, substeps=4)


@pytest.mark.long
def test_gradients_with_a_soft_body():
    sim = mixed()
    state = sim.reset()
    rotation = torch.tensor([[[0.8, 0.5, 0.2, 0.1]]], dtype=F64)
    state = state.replace(tool_rotation=rotation / rotation.norm())
    state = sim.rollout(state, repeated((0.1, -0.3, 0.5), 2))[-1]
    generator = torch.Generator().manual_seed(0)
    fields = ("x", "v", "q", "qd", "tool_position", "tool_rotation")
    names = ("finger.friction", "finger.stiffness", "box.mass", "box.friction", "jelly.density", "gravity")
    units = {"finger.stiffness": 1e4, "jelly.density": 1e4, "actions": 10.0}
    weights = {name: torch.randn(getattr(state, name).shape, generator=generator, dtype=F64) for name in fields[:4]}
    inputs = {name: getattr(state, name) for name in fields} | {name: sim.parameters[name] for name in names}
    inputs["actions"] = repeated((0.2, -0.2, 1.0), 2).clone()

    def functional(**scaled: torch.Tensor) -> torch.Tensor:
        given = {name: units.get(name, 1.0) * value for name, value in scaled.items()}
        actions = given.pop("actions")
        end = sim.rollout(state.replace(**{name: given.pop(name) for name in fields}), actions, given)[-1]
        return sum((weight * getattr(end, name)).sum() for name, weight in weights.items())

    checks = ds.gradcheck(functional, {name: value / units.get(name, 1.0) for name, value in inputs.items()}, directions=2)
    for name in inputs:
        assert any(abs(each.adjoint) > 1e-6 for each in checks if each.name == name), f"{name} changes nothing"


def test_soft_bodies_see_a_tool_once():
    """A rigid body far away changes nothing of what a tool does to a jelly."""
    far = ds.RigidBody("far", ds.Sphere(0.05), (0.2, 0.2, 0.1), mass=0.4)
    actions = repeated((-0.5, -0.3, 1.0), 10)
    ends = []
    for bodies in ((far,), ()):
        sim = mixed(bodies=bodies)
        ends.append(sim.rollout(sim.reset(), actions)[-1].x)
    touched = mixed(bodies=())
    free = touched.rollout(touched.reset().replace(tool_position=torch.full((1, 1, 3), 0.9, dtype=F64)), actions)[-1].x
    assert float((ends[1] - free).norm(dim=-1).max()) > 5e-3
    torch.testing.assert_close(ends[0], ends[1], rtol=0.0, atol=1e-9)


def test_a_tool_pushes_the_rigid_body_of_a_mixed_scene():
    sim = mixed()
    still, pushed = (sim.rollout(sim.reset(), repeated(action, 15))[-1] for action in ((0.0, 0.0, 0.0), (0.5, 0.0, 0.0)))
    assert float(pushed.q[0, 0] - still.q[0, 0]) > 5e-3


# what stays as it was


@pytest.mark.parametrize("soft", [pytest.param(False, id="rigid"), pytest.param(True, id="mixed", marks=pytest.mark.long)])
def test_a_tool_that_touches_nothing_changes_nothing(soft):
    sim = mixed() if soft else busy()
    away = tuple(replace(tool, position=(40.0 + 10.0 * n, 0.0, 9.0)) for n, tool in enumerate(sim.scene.tools))
    results = []
    for tools in (away, ()):
        own = ds.Simulator(replace(sim.scene, tools=tools), dt=sim.dt, substeps=sim.substeps, dtype=F64)
        count = own.scene.tool_action_dim
        actions = torch.full((5, 1, own.action_dim), 0.3, dtype=F64)
        actions[..., count:] = 0.1
        first = own.reset()
        leaves = [first.q.clone().requires_grad_(), first.qd.clone().requires_grad_()]
        end = own.rollout(first.replace(q=leaves[0], qd=leaves[1]), actions)[-1]
        gradients = torch.autograd.grad(end.q.sum() + end.qd.sum() + end.x.sum(), leaves)
        results.append((end.q, end.qd, end.x, *gradients))
    # to rounding: kernels with and without tools are compiled apart
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_tools_come_first_in_actions_and_are_no_links():
    sim = busy(2)
    assert sim.action_dim == 7  # the blade's three, the finger's three, the motor
    assert sim.reset().tool_position.shape == (2, 2, 3)
    assert sim.links(sim.reset()).position.shape == (2, 3, 3)
    with refused("there is no link 'blade'", "pendulum.rod"):
        sim.link_index("blade")
    still = sim.rollout(sim.reset(), torch.zeros(1, 2, 7, dtype=F64))[-1]
    driven = sim.rollout(sim.reset(), torch.tensor([0.0] * 6 + [1.0], dtype=F64).expand(1, 2, 7))[-1]
    assert torch.equal(still.tool_position, driven.tool_position)
    assert not torch.equal(still.q[:, 7], driven.q[:, 7])


def test_tools_do_not_touch_what_is_fixed():
    model = busy()._rigid.model
    blade, finger = model.geometries[-2:]
    assert (blade.friction, blade.restitution, blade.stiffness) == (0.5, 0.2, 2e3)
    assert finger.stiffness is None
    tools = {len(model.geometries) - 2, len(model.geometries) - 1}
    moving = {n for n, link in enumerate(model.geometry_links) if n not in tools and link > 0}
    for pair in model.pairs:
        assert not tools & set(pair) or moving & set(pair)
    assert not tools & set(model.coupled)
    for tool in tools:
        assert moving == {n for pair in model.pairs if tool in pair for n in pair if n != tool}


def test_a_tool_s_surface_is_checked_and_has_parameters():
    with refused("Tool 't'", "restitution", "1.5"):
        ds.Tool("t", ds.Sphere(0.1), (0, 0, 0), restitution=1.5)
    with refused("Tool 't'", "stiffness", "-1"):
        ds.Tool("t", ds.Sphere(0.1), (0, 0, 0), stiffness=-1.0)
    parameters = busy().parameters
    assert {name for name in parameters if name.startswith("blade.")} == {
        "blade.friction", "blade.restitution", "blade.stiffness"
    }  # fmt: skip
    assert float(parameters["blade.stiffness"]) == 2e3
    assert float(parameters["finger.stiffness"]) == CONTACT.stiffness
