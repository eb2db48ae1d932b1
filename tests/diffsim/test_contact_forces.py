"""Forces one can read: recorded wrenches against closed forms, their gradients, and the list of contacts."""

from __future__ import annotations

import pickle

import pytest
import torch

import diffsim as ds
from diffsim.gradients.gradcheck import gradcheck

F64 = torch.float64
G, MASS, FRICTION = 9.81, 0.2, 0.4
GAIN = 500.0
SIZE = (0.069, 0.03, 0.03)


def finger(name: str, side: float) -> ds.Link:
    return ds.Link(
        name, ds.Joint(name, "prismatic", axis=(1.0, 0.0, 0.0), damping=2.0), None, (0.5 + side * 0.08, 0.0, 0.5),
        inertia=ds.Inertia(0.1, (1e-4,) * 3, center=(0.002, 0.001, 0.0)),
        geometries=(ds.Geometry(ds.Box((0.01, 0.03, 0.03)), friction=0.8),),
    )  # fmt: skip


def simulator(*, contact: ds.ContactModel | None = None, recorded: bool = True, substeps: int = 10) -> ds.Simulator:
    """A box in a gripper of two fingers, each on a position actuator, before a wall; a box on the ground; and a tool."""
    hand = ds.Articulation(
        "hand", (finger("left", -1.0), finger("right", 1.0)),
        actuators=tuple(ds.Actuator(side, side, kind="position", gain=GAIN, damping=5.0) for side in ("left", "right")),
    )  # fmt: skip
    bodies = (
        ds.RigidBody("held", ds.Box(SIZE), (0.5, 0.0, 0.5), mass=MASS, friction=0.8),
        ds.RigidBody("slider", ds.Box((0.05, 0.04, 0.03)), (0.5, 0.0, 0.03), mass=MASS, friction=FRICTION),
    )
    scene = ds.Scene(
        rigid_bodies=bodies, articulations=(hand,), ground=ds.Ground(friction=FRICTION),
        obstacles=(ds.Obstacle("wall", ds.Box((0.02, 0.02, 0.02)), (0.5, 0.3, 0.03)),),
        tools=(ds.Tool("poker", ds.Sphere(0.02), (0.37, 0.0, 0.03), control=("x", "z"), friction=0.3),),
        contact=contact or ds.ContactModel(),
    )  # fmt: skip
    return ds.Simulator(scene, dtype=F64, num_envs=2, dt=1e-3, substeps=substeps, record_forces=recorded)


@pytest.fixture(scope="module")
def sim() -> ds.Simulator:
    return simulator()


def action(grip: float = 0.02, poke: float = 0.0) -> torch.Tensor:
    """Tool's velocities, then the targets of the fingers; in both environments."""
    return torch.tensor([[poke, 0.0, grip, -grip]] * 2, dtype=F64)


PUSH = {"slider": ds.Wrench(torch.tensor([[0.0, 0.0, 0.0], [1.5, 0.0, 0.0]], dtype=F64))}  # N: at rest, and slides


@pytest.fixture(scope="module")
def settled(sim: ds.Simulator) -> ds.State:
    return sim.rollout(sim.reset(), action().repeat(30, 1, 1), wrenches=PUSH)[-1].detach()


def test_the_ground_carries_what_rests_on_it(sim, settled):
    ground, box = sim.contact_wrench(settled, "ground"), sim.contact_wrench(settled, "slider")
    assert ground.force[:, 2].tolist() == pytest.approx([-MASS * G] * 2, rel=1e-6)
    assert box.force[:, 2].tolist() == pytest.approx([MASS * G] * 2, rel=1e-6)
    assert float(box.torque[0].abs().max()) < 1e-9
    assert float(ground.torque[0, 1]) == pytest.approx(MASS * G * 0.5, rel=1e-6)  # (x, 0, 0) x (0, 0, -m g)


def test_friction_of_what_slides_is_mu_n(sim, settled):
    assert sim.contact_wrench(settled, "slider").force[:, 0].tolist() == pytest.approx([0.0, -FRICTION * MASS * G], abs=1e-6)
    assert float(settled.qd[1, 6]) > 0.1


def test_a_grip_presses_as_its_actuators_do(sim, settled):
    law = GAIN * (action()[:, 2:] - settled.q[:, 14:])
    force = torch.stack([sim.contact_wrench(settled, f"hand.{side}").force for side in ("left", "right")], dim=1)
    assert torch.allclose(force[:, :, 0], -law, rtol=1e-3)
    assert torch.allclose(force[:, :, 2], torch.full_like(law, -0.5 * MASS * G), rtol=1e-3)
    assert sim.contact_wrench(settled, "held").force[:, 2].tolist() == pytest.approx([MASS * G] * 2, rel=1e-5)


def test_action_is_reaction(sim):
    state = sim.rollout(sim.reset(), action(poke=0.5).repeat(20, 1, 1), wrenches=PUSH)[-1]
    force, torque = state.contact_wrench.split(3, dim=-1)
    links = sim.links(state)
    centers = torch.stack([sim.parameters[f"{name}.center"] for name in ("held", "slider", "hand.left", "hand.right")])
    places = links.position[:, 1:] + (links.rotation[:, 1:] @ centers[:, :, None]).squeeze(-1)
    fixed = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.3, 0.03]], dtype=F64).expand(2, 2, 3)
    references = torch.cat([fixed, state.tool_position, places], dim=1)
    assert sim.contact_names == ("ground", "wall", "poker", "held", "slider", "hand.left", "hand.right")
    assert float(sim.contact_wrench(state, "poker").force[:, 0].min()) < -0.5
    assert float(force.sum(dim=1).abs().max()) < 1e-9
    moment = torque + torch.linalg.cross(references, force)
    # the references are those at the end of the step, in which the tool moves by 5 mm
    assert float(moment.sum(dim=1).abs().max()) < 0.006 * float(force.abs().max())


def test_forces_make_the_momentum(sim):
    before = sim.reset()
    states = sim.rollout(before, action(poke=0.5).repeat(12, 1, 1), wrenches=PUSH)
    impulse = sum(sim.contact_wrench(state, "slider").force + PUSH["slider"].force for state in states[1:]) * sim.control_dt
    fall = torch.tensor([0.0, 0.0, -MASS * G], dtype=F64) * sim.control_dt * 12
    assert torch.allclose(MASS * (states[-1].qd - before.qd)[:, 6:9], impulse + fall, rtol=1e-9, atol=1e-11)


def test_compliant_contact_too(sim, settled):
    smooth = simulator(contact=ds.ContactModel(smoothing=1e-4))
    state = smooth.rollout(smooth.reset(), action().repeat(40, 1, 1), wrenches=PUSH)[-1]
    box = smooth.contact_wrench(state, "slider").force
    assert box[:, 2].tolist() == pytest.approx([MASS * G] * 2, rel=1e-3)  # type: ignore[call-overload]
    assert float(box[1, 0]) == pytest.approx(-FRICTION * MASS * G, rel=1e-3)  # type: ignore[call-overload]


def test_steps_rollouts_and_windows_agree(sim, settled):
    actions = torch.stack([action(0.02), action(0.03, 0.4), action(0.01, 0.4)])
    states = sim.rollout(settled, actions, wrenches=PUSH)
    stepped = settled
    for each in actions:
        stepped = sim.step(stepped, each, wrenches=PUSH)
    assert torch.equal(stepped.contact_wrench, states[-1].contact_wrench)
    last, observed = sim.windowed_rollout(
        settled, actions, lambda state: sim.contact_wrench(state, "slider").force, window=2, wrenches=PUSH
    )
    assert torch.equal(last.contact_wrench, states[-1].contact_wrench)
    stack = ds.State.stack(states)
    assert torch.equal(sim.contact_wrench(stack, "slider").force[1:], observed)
    alone = sim.step(states[-2][1], actions[-1][1:], wrenches={"slider": ds.Wrench(PUSH["slider"].force[1:])})
    assert torch.allclose(alone.contact_wrench, states[-1].contact_wrench[1:], rtol=1e-12, atol=1e-15)


@pytest.mark.slow
@pytest.mark.parametrize("smoothing", [None, 1e-3])
def test_gradients_of_wrenches(smoothing):
    """Of random sums of all wrenches, while a box slides, another is held, and a tool pushes."""
    # soft, and a slip speed over which finite differences can look
    own = simulator(contact=ds.ContactModel(smoothing=smoothing, stiffness=2e3, slip_speed=1e-3))
    start = own.rollout(own.reset(), action(poke=0.5).repeat(36, 1, 1), wrenches=PUSH)[-1].detach()
    assert float(own.contact_wrench(start, "poker").force[0].norm()) > 0.1  # type: ignore[union-attr]
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(2, 2, len(own.contact_names), 6, generator=generator, dtype=F64)
    inputs = {
        "q": start.q, "qd": start.qd + 0.01 * torch.randn(start.qd.shape, generator=generator, dtype=F64),
        "action": action(0.02, 0.45), "tool": start.tool_position, "turn": start.tool_rotation,
        "push": PUSH["slider"].force, "gain": torch.tensor(GAIN, dtype=F64), "friction": torch.tensor(FRICTION, dtype=F64),
        "center": own.parameters["hand.left.center"], "mass": torch.tensor(MASS, dtype=F64),
    }  # fmt: skip

    def reward(**given: torch.Tensor) -> torch.Tensor:
        given = {**inputs, **given}  # type: ignore[dict-item]
        state = start.replace(q=given["q"], qd=given["qd"], tool_position=given["tool"], tool_rotation=given["turn"])
        names = {"hand.left.gain": "gain", "slider.friction": "friction", "hand.left.center": "center", "slider.mass": "mass"}
        states = own.rollout(
            state, torch.stack([given["action"], 1.1 * given["action"]]), {name: given[key] for name, key in names.items()},
            {"slider": ds.Wrench(given["push"])},
        )  # fmt: skip
        return (torch.stack([each.contact_wrench for each in states[1:]]) * weights).sum()

    for name, value in inputs.items():
        gradcheck(reward, {name: value}, directions=2)  # type: ignore[dict-item]


def test_listed_contacts_are_those_that_act():
    own = simulator(substeps=1)
    state = own.rollout(own.reset(), action(poke=0.5).repeat(250, 1, 1), wrenches=PUSH)[-1].detach()
    found, after = own.contacts(state, action(poke=0.5)), own.step(state, action(poke=0.5))
    for number, name in enumerate(own.contact_names):
        of = found.of(name)
        assert bool((of.first == number).all())
        total = torch.zeros(2, 3, dtype=F64).index_add(0, of.environment, of.force)
        assert torch.allclose(total, own.contact_wrench(after, name).force, rtol=1e-9, atol=1e-10), name
    below = found.in_environment(1).between("slider", "ground")
    assert len(below) == 4
    assert torch.allclose(below.normal, torch.tensor([0.0, 0.0, 1.0], dtype=F64).expand(4, 3))
    assert below.gap.abs().max() < 1e-5
    assert below.point[:, 2].abs().max() < 1e-5
    assert torch.allclose(below.force[:, 2].sum(), torch.tensor(MASS * G, dtype=F64), rtol=0.05)
    assert torch.equal(below.force, -found.in_environment(1).between("ground", "slider").force)
    with pytest.raises(ds.InputError, match="nothing that can touch is called 'moon'; there are: ground, wall"):
        found.of("moon")


def test_recording_changes_nothing_else(sim):
    plain = simulator(recorded=False)
    one, other = (each.step(each.reset(), action(), wrenches=PUSH) for each in (plain, sim))
    assert torch.equal(one.q, other.q)
    assert torch.equal(one.qd, other.qd)
    assert one.contact_wrench.shape == (2, 0, 6)
    with pytest.raises(ds.InputError, match="contact forces are not recorded; make the simulator with record_forces=True"):
        plain.contact_wrench(one, "ground")
    assert torch.equal(sim.step(one, action()).q, plain.step(other.replace(contact_wrench=one.contact_wrench), action()).q)


def test_states_keep_their_wrenches(sim, settled, tmp_path):
    settled.save(tmp_path / "state.pt")
    assert torch.equal(ds.State.load(tmp_path / "state.pt").contact_wrench, settled.contact_wrench)
    assert torch.equal(pickle.loads(pickle.dumps(settled)).contact_wrench, settled.contact_wrench)
    assert settled.contact_wrench.shape == (2, 7, 6)
    assert not sim.reset().contact_wrench.any()
    old = {name: tensor for name, tensor in settled.tensors().items() if name != "contact_wrench"}
    torch.save(old, tmp_path / "old.pt")
    loaded = ds.State.load(tmp_path / "old.pt")
    assert loaded.contact_wrench.shape == (2, 0, 6)
    assert torch.equal(sim.step(loaded, action()).contact_wrench, sim.step(settled, action()).contact_wrench)
    assert pickle.loads(pickle.dumps(sim)).record_forces


def test_bad_names_and_states_are_refused(sim, settled):
    with pytest.raises(ds.InputError, match=r"called 'moon'; there are: ground, wall, poker, held, slider, hand\.left, hand"):
        sim.contact_wrench(settled, "moon")
    with pytest.raises(ds.InputError, match=r"state\.contact_wrench must be .*\(2, 7, 6\)"):
        sim.step(settled.replace(contact_wrench=torch.zeros(2, 3, 6, dtype=F64)), action())
    with pytest.raises(ds.InputError, match="record_forces must be True or False, got 1"):
        ds.Simulator(sim.scene, record_forces=1)


def bouncing(**contact: float) -> tuple[ds.Simulator, ds.State]:
    """A box and a ball that hit the ground, an obstacle and each other, by events."""
    scene = ds.Scene(
        rigid_bodies=(
            ds.RigidBody("box", ds.Box((0.05, 0.04, 0.03)), (0.5, 0.0, 0.2), mass=MASS, friction=0.4, restitution=0.5),
            ds.RigidBody("ball", ds.Sphere(0.03), (0.52, 0.01, 0.3), mass=0.1, friction=0.4, restitution=0.6),
        ),
        ground=ds.Ground(friction=0.4), obstacles=(ds.Obstacle("wall", ds.Box((0.05,) * 3), (0.62, 0.0, 0.1)),),
        contact=ds.ContactModel(**contact),
    )  # fmt: skip
    sim = ds.Simulator(scene, dtype=F64, num_envs=2, dt=2e-3, substeps=10, record_forces=True)
    state, thrown = sim.reset(), [[0.3, 0.1, 0.0, 1.0, 2.0, 0.5], [0.5, -0.1, 0.0, -1.0, 1.0, 2.0]]
    return sim, state.replace(qd=torch.cat([torch.tensor(thrown, dtype=F64), state.qd[:, 6:]], dim=1))


@pytest.mark.slow
def test_impulses_of_events_count_over_their_control_step():
    sim, start = bouncing()
    states = sim.rollout(start, torch.zeros(14, 2, 0, dtype=F64))
    for name, mass, dofs in (("box", MASS, slice(0, 3)), ("ball", 0.1, slice(6, 9))):
        impulse = sum(sim.contact_wrench(state, name).force for state in states[1:]) * sim.control_dt
        fall = torch.tensor([0.0, 0.0, -mass * G], dtype=F64) * sim.control_dt * 14
        assert float(impulse.norm()) > 0.1 * mass  # type: ignore[attr-defined]
        assert torch.allclose(mass * (states[-1].qd - start.qd)[:, dofs], impulse + fall, rtol=1e-9, atol=1e-9), name
    assert float(states[-1].contact_wrench[..., :3].sum(dim=1).abs().max()) < 1e-9


@pytest.mark.slow
@pytest.mark.long  # kernels of its own
def test_gradients_of_events_wrenches():
    sim, start = bouncing(stiffness=2e3, slip_speed=1e-3)
    begin = sim.rollout(start, torch.zeros(6, 2, 0, dtype=F64))[-1].detach()
    weights = torch.randn(6, 2, 4, 6, generator=torch.Generator().manual_seed(0), dtype=F64)
    inputs = {
        "q": begin.q, "qd": begin.qd, "push": torch.tensor([[0.1, 0.0, 0.0], [0.0, 0.1, 0.2]], dtype=F64),
        "box.friction": torch.tensor(0.4, dtype=F64), "box.restitution": torch.tensor(0.5, dtype=F64),
        "box.center": torch.tensor([0.001, 0.002, -0.001], dtype=F64), "box.mass": torch.tensor(MASS, dtype=F64),
        "size": torch.tensor(1.0, dtype=F64), "box.scale": torch.tensor(1.0, dtype=F64),
    }  # fmt: skip

    def reward(**given: torch.Tensor) -> torch.Tensor:
        given = {**inputs, **given}
        state = begin.replace(q=given.pop("q"), qd=given.pop("qd"))
        given["box.inertia"] = given.pop("size") * sim.parameters["box.inertia"]
        wrenches = {"box": ds.Wrench(given.pop("push"))}
        states = sim.rollout(state, torch.zeros(6, 2, 0, dtype=F64), given, wrenches)
        return (torch.stack([each.contact_wrench for each in states[1:]]) * weights).sum()

    for name, value in inputs.items():
        gradcheck(reward, {name: value}, directions=2)
