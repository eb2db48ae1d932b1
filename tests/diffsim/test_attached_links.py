"""Soft bodies pinned to links: momentum is exchanged, light links hold too, and gradients go through both."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

import diffsim as ds
from tests.diffsim.scenes import random_state
from tests.diffsim.test_coupling import rigid_momenta
from tests.diffsim.test_physics import momenta, no_action

pytestmark = pytest.mark.slow

F64 = torch.float64
G = 9.81


def scene(*, mass: float = 0.5, gravity: float = 0.0, arm: bool = False, **cup) -> ds.Scene:
    """A cube pinned to a body that flies and turns, and maybe also to an arm on a hinge."""
    cube = ds.SoftBody("cube", ds.Box((0.08, 0.06, 0.06)), (0.5, 0.5, 0.6), material=ds.Elastic(2e4), particles=60)
    body = ds.RigidBody(
        "body", ds.Sphere(0.04), (0.63, 0.5, 0.6), mass=mass, velocity=(0.3, 0.1, 0.4), angular_velocity=(1.0, 2.0, -1.0)
    )
    attachments = [ds.Attachment("cup", "cube", "body", where=lambda x: x[:, 0] > 0.55, **cup)]
    articulations = []
    if arm:
        hinge = ds.Joint("hinge", "revolute", axis=(0.2, 1.0, 0.1), damping=0.01)
        inertia = ds.Inertia(0.3, (1e-3, 2e-3, 1.5e-3), (0.05, 0.01, -0.02))
        hand = ds.Link("hand", hinge, position=(0.3, 0.5, 0.7), inertia=inertia)
        articulations.append(ds.Articulation("arm", (hand,), (ds.Actuator("drive", "hinge", kind="torque"),)))
        attachments.append(ds.Attachment("grip", "cube", "arm.hand", where=lambda x: x[:, 0] < 0.46))
    return ds.Scene(
        (cube,),
        rigid_bodies=(body,),
        articulations=articulations,
        attachments=attachments,
        ground=None,
        gravity=(0.0, 0.0, -gravity),
        grid_spacing=1.0 / 16.0,
    )


def simulator(**fields) -> ds.Simulator:
    return ds.Simulator(scene(**fields), dt=1e-3, substeps=4, dtype=F64)


def gaps(sim: ds.Simulator, state: ds.State) -> Tensor:
    """How far the particles of "cup" are from their anchors, (P,)."""
    links, body = sim.links(state), sim.link_index("body")
    pins = [pin for pin in sim._attached.pins if pin.attachment == 0]
    places = torch.stack([torch.tensor(pin.constants["place"], dtype=F64) for pin in pins])
    anchors = links.position[0, body] + places @ links.rotation[0, body].T
    return (state.x[0, [pin.particle for pin in pins]] - anchors).norm(dim=-1)


@pytest.mark.parametrize("mass", [pytest.param(0.5, marks=pytest.mark.long), 0.02])
def test_what_pulls_at_a_body_is_pulled(mass):
    """The cube weighs 2.3 kg: even a body of 20 g does not swing against it."""
    sim = simulator(mass=mass)
    start = sim.step(sim.reset(), no_action(sim, 1)[0])  # APIC keeps the angular momentum of what it has transferred once
    states = sim.rollout(start, no_action(sim, 60))
    end = states[-1]
    for soft, was, rigid, before in zip(
        momenta(sim, end), momenta(sim, start), rigid_momenta(sim, end), rigid_momenta(sim, start), strict=True
    ):
        assert float((soft - was).norm()) > 1e-3
        assert float((soft - was + rigid - before).norm()) < 1e-5 * float((soft - was).norm())
    assert max(float(gaps(sim, state).max()) for state in states[20:]) < 2e-3
    # both move as one: the body's speed is that of the cube's face
    chosen = [pin.particle for pin in sim._attached.pins]
    face = end.v[0, chosen].mean(dim=0)
    links, body = sim.links(end), sim.link_index("body")
    arm = end.x[0, chosen].mean(dim=0) - links.position[0, body]
    expected = links.velocity[0, body] + torch.linalg.cross(links.angular_velocity[0, body], arm)
    assert float((face - expected).norm()) < 0.02


def test_bodies_that_hang_together_fall_as_one_and_part_at_the_time():
    sim = simulator(gravity=G, release_time=0.1)
    states = sim.rollout(sim.reset(), no_action(sim, 40))
    masses, body = sim.particle_mass.sum(), sim.parameters["body.mass"]

    def momentum(state: ds.State) -> Tensor:
        return masses * state.v[0].mean(dim=0) + body * sim.links(state).velocity[0, sim.link_index("body")]

    per_step = (masses + body) * torch.tensor([0.0, 0.0, -G * sim.control_dt], dtype=F64)
    for before, after in pairwise(states[1:]):
        torch.testing.assert_close(momentum(after) - momentum(before), per_step, rtol=1e-9, atol=1e-9)
    fall = torch.tensor([0.0, 0.0, -G * sim.control_dt], dtype=F64)
    gained = [(after.v - before.v)[0].mean(dim=0) - fall for before, after in pairwise(states)]
    assert min(float(pull.norm()) for pull in gained[:10]) > 1e-3  # of the spinning body
    assert max(float(pull.norm()) for pull in gained[25:]) < 1e-12  # 25 control steps are .1 s
    assert float(gaps(sim, states[25]).max()) < 2e-3


@pytest.mark.long
def test_gradients():
    sim = ds.Simulator(scene(gravity=G, arm=True, controlled=True), dt=1e-3, substeps=4, dtype=F64)
    start = random_state(sim, strain=0.02)
    generator = torch.Generator().manual_seed(1)
    given, one = sim.parameters, torch.tensor(1.0, dtype=F64)

    def function(action, x, v, C, F, q, qd, stiffness, density, mass, inertia, center):
        state = start.replace(x=x, v=v, C=C, F=F, q=q, qd=qd)
        parameters = {
            "cube.youngs_modulus": 2e4 * stiffness, "cube.density": 1e3 * density, "arm.hand.mass": mass,
            "body.inertia": inertia, "arm.hand.center": center,
        }  # fmt: skip
        for each in action:
            state = sim.step(state, each, parameters)
        seeds = torch.Generator().manual_seed(3)
        parts = ((state.x, 10.0), (state.v, 1.0), (state.C, 0.01), (state.F, 1.0), (state.q, 10.0), (state.qd, 1.0))
        return sum(scale * (torch.randn(part.shape, dtype=F64, generator=seeds) * part).sum() for part, scale in parts)

    inputs = {
        "action": torch.tensor([[[0.3, 0.6]], [[-0.2, 0.4]]], dtype=F64),
        "x": start.x + 1e-3 * torch.randn(start.x.shape, dtype=F64, generator=generator),
        "v": start.v + 0.1, "C": start.C, "F": start.F, "q": start.q, "qd": start.qd + 0.1, "stiffness": one, "density": one,
        "mass": given["arm.hand.mass"], "inertia": given["body.inertia"], "center": given["arm.hand.center"],
    }  # fmt: skip
    ds.gradcheck(function, inputs, directions=2, steps=(1e-4, 1e-5, 1e-3, 1e-6, 1e-2))
