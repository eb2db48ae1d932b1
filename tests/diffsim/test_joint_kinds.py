"""The universal and the planar joint: against chains of hinges and slides, closed forms, and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import diffsim as ds
from diffsim.rigid.rigid_model import RigidModel

F64 = torch.float64
AXIS, SECOND = (0.6, 0.0, 0.8), (0.0, 1.0, 0.0)
THIRD = tuple(np.cross(AXIS, SECOND).tolist())
HEAVY = ds.Inertia(1.3, (0.03, 0.04, 0.05), (0.1, -0.05, 0.02), (0.9, 0.1, 0.3, 0.2))
TIP = ds.Inertia(0.7, (0.02, 0.02, 0.03), (0.0, 0.1, 0.05))
PLACE, TURN = (0.1, 0.2, -0.1), (0.9, 0.2, -0.1, 0.3)

# a joint as a chain of hinges and slides: kind and axis of each
CHAINS = {
    "universal": (("revolute", AXIS), ("revolute", SECOND)),
    "planar": (("prismatic", SECOND), ("prismatic", THIRD), ("revolute", AXIS)),
}


def around(middle: tuple[ds.Link, ...], name: str) -> ds.Articulation:
    """Those links between a hinge above and a ball joint below, so that the joint's parent moves and it carries something."""
    base = ds.Link("base", ds.Joint("base", "revolute", (0.0, 0.8, 0.6)), None, inertia=TIP)
    tip = ds.Link("tip", ds.Joint("tip", "ball"), middle[-1].name, (0.2, 0.0, 0.1), inertia=TIP)
    return ds.Articulation(name, (base, *middle, tip), position=(0.0, 0.0, 1.0))


def single(kind: str, **fields) -> ds.Articulation:
    link = ds.Link("link", ds.Joint("joint", kind, AXIS, second_axis=SECOND, **fields), "base", PLACE, TURN, inertia=HEAVY)
    return around((link,), "single")


def chain(kind: str, **fields) -> ds.Articulation:
    """The same with a massless link between two hinges or slides."""
    links, parent = [], "base"
    for n, (each, axis) in enumerate(CHAINS[kind]):
        last = n == len(CHAINS[kind]) - 1
        place, turn = (PLACE, TURN) if n == 0 else ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0))
        own = {name: value[n] if name == "limits" else value for name, value in fields.items()}
        name = "link" if last else f"link{n}"
        joint, inertia = ds.Joint(f"joint{n}", each, axis, **own), HEAVY if last else None
        links.append(ds.Link(name, joint, parent, place, turn, inertia=inertia))
        parent = name
    return around(tuple(links), "chain")


def state_of(sim: ds.Simulator, seed: int = 0) -> ds.State:
    generator = torch.Generator().manual_seed(seed)
    state = sim.reset()
    q = state.q + 0.4 * torch.randn(state.q.shape, dtype=F64, generator=generator)
    return state.replace(q=q, qd=torch.randn(state.qd.shape, dtype=F64, generator=generator))


def simulator(articulation: ds.Articulation, **options) -> ds.Simulator:
    scene = ds.Scene(articulations=(articulation,), ground=None, **options)
    return ds.Simulator(scene, dt=2e-3, substeps=5, dtype=F64)


@pytest.mark.parametrize("kind", CHAINS)
def test_positions_and_mass_matrix_are_those_of_the_chain(kind):
    ones, twos = (RigidModel((make(kind),), (), ds.ContactModel(), dt=1e-3) for make in (single, chain))
    assert (ones.coordinates, ones.dofs) == (twos.coordinates, twos.dofs)
    q = ones.initial + 0.3 * np.random.default_rng(0).normal(size=ones.coordinates)
    positions, rotations = ones.forward_kinematics(q)
    others, turns = twos.forward_kinematics(q)
    np.testing.assert_allclose(positions[-2:], others[-2:], atol=1e-14)
    np.testing.assert_allclose(rotations[-2:], turns[-2:], atol=1e-14)
    np.testing.assert_allclose(ones.mass_matrix(q), twos.mass_matrix(q), atol=1e-13)


@pytest.mark.slow  # each kind compiles kernels of its own
@pytest.mark.parametrize("kind", CHAINS)
def test_motion_and_gradients_are_those_of_the_chain(kind):
    count = len(CHAINS[kind])
    fields = {
        "damping": 0.1, "armature": 0.02, "friction_loss": 0.05, "spring_stiffness": 3.0, "spring_rest": 0.1,
        "limits": ((-0.3, 0.2),) * (count - 1) + ((-0.5, 0.1),), "limit_stiffness": 20.0, "limit_smoothing": 0.05,
    }  # fmt: skip
    found = []
    for make in (single, chain):
        sim = simulator(make(kind, **fields))
        state = state_of(sim)
        leaves = [tensor.clone().requires_grad_() for tensor in (state.q, state.qd)]
        states = sim.rollout(state.replace(q=leaves[0], qd=leaves[1]), torch.zeros(20, 1, 0, dtype=F64))
        links = sim.links(states[-1])
        tip = links.position[:, -1], links.rotation[:, -1], links.velocity[:, -1]
        weights = torch.linspace(-1.0, 1.0, 15, dtype=F64)
        value = (torch.cat([each.flatten() for each in tip]) * weights).sum() + (states[-1].q * states[-1].qd.sum()).sum()
        found.append((states[-1].q, states[-1].qd, *tip, *torch.autograd.grad(value, leaves)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("kind", CHAINS)
def test_gradients_agree_with_finite_differences(kind):
    count = len(CHAINS[kind])
    limits = ((-0.3, 0.2), None, (-0.5, 0.1))[:count]
    sim = simulator(single(kind, damping=0.1, limits=limits, limit_stiffness=20.0, limit_smoothing=0.05))
    state = state_of(sim, seed=1)
    names = ("single.joint.damping", "single.joint.limit_stiffness", "single.link.mass", "single.link.inertia", "gravity")
    defaults = sim.parameters

    def value(q: torch.Tensor, qd: torch.Tensor, **parameters: torch.Tensor) -> torch.Tensor:
        own = {name.replace("/", "."): tensor for name, tensor in parameters.items()}
        states = sim.rollout(state.replace(q=q, qd=qd), torch.zeros(6, 1, 0, dtype=F64), own)
        links = sim.links(states[-1])
        return states[-1].q.square().sum() + (links.position * links.velocity).sum() + links.rotation[..., 0].sum()

    inputs = {name.replace(".", "/"): defaults[name] for name in names}
    ds.gradcheck(value, {"q": state.q, "qd": state.qd, **inputs}, directions=2)


@pytest.mark.slow
def test_a_planar_joint_moves_a_free_puck_along_a_line():
    inertia = ds.Inertia(2.0, (0.1, 0.1, 0.1))
    joint = ds.Joint("glide", "planar", initial_velocity=(0.3, -0.4, 2.0))
    scene = ds.Articulation("puck", (ds.Link("puck", joint, inertia=inertia),), (ds.Actuator("spin", "glide.angle"),))
    sim = simulator(scene, gravity=(0.0, 0.0, -9.81))
    torque = 0.5
    states = sim.rollout(sim.reset(), torch.full((50, 1, 1), torque, dtype=F64))
    n, h = 250, 2e-3
    turned = 2.0 * n * h + torque / 0.1 * (n * h) ** 2 / 2.0
    assert states[-1].q[0].tolist() == pytest.approx([0.3 * n * h, -0.4 * n * h, turned], rel=1e-10)
    links = sim.links(states[-1])
    assert links.position[0, 1].tolist() == pytest.approx([0.15, -0.2, 0.0], abs=1e-10)
    assert float(links.rotation[0, 1, 1, 0]) == pytest.approx(math.sin(turned), abs=1e-10)


@pytest.mark.slow
def test_a_ball_on_a_universal_joint_turns_evenly():
    """Its axes stay perpendicular, so with the same inertia I about all axes the energy is I (v1^2 + v2^2) / 2."""
    joint = ds.Joint("cross", "universal", initial_velocity=(1.5, -0.7))
    link = ds.Link("ball", joint, inertia=ds.Inertia(1.0, (0.2, 0.2, 0.2)))
    sim = simulator(ds.Articulation("ball", (link,), (ds.Actuator("second", "cross.second"),)))
    torque, n, h = 0.1, 250, 2e-3
    states = sim.rollout(sim.reset(), torch.full((50, 1, 1), torque, dtype=F64))
    second = -0.7 * n * h + torque / 0.2 * (n * h) ** 2 / 2.0
    assert states[-1].q[0].tolist() == pytest.approx([1.5 * n * h, second], rel=1e-10)


def test_what_a_joint_refuses():
    with pytest.raises(ds.InputError, match="perpendicular"):
        ds.Joint("j", "universal", (0.0, 0.0, 1.0), second_axis=(0.0, 1.0, 1.0))
    with pytest.raises(ds.InputError, match="2 pairs"):
        ds.Joint("j", "universal", limits=(-1.0, 1.0))
    with pytest.raises(ds.InputError, match="no second_axis"):
        ds.Joint("j", "revolute", second_axis=(0.0, 1.0, 0.0))
    with pytest.raises(ds.InputError, match="limits are for"):
        ds.Joint("j", "ball", limits=(-1.0, 1.0))
    link = ds.Link("l", ds.Joint("j", "universal"), inertia=HEAVY)
    with pytest.raises(ds.InputError, match=r"j\.first, j\.second"):
        ds.Articulation("a", (link,), (ds.Actuator("m", "j"),))
