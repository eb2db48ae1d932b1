"""Muscles: a free body strains as far as its law balances the active stress, momentum stays, and gradients go through."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import diffsim as ds
from diffsim.gradients.gradcheck import gradcheck
from diffsim.soft.launch_schedules import SharedSchedule
from diffsim.soft.mpm_solver import MPMSolver
from tests.diffsim.scenes import random_state
from tests.diffsim.test_inputs import refused

pytestmark = pytest.mark.slow

F64 = torch.float64
STRENGTH = 1e3


def bar(**changes) -> ds.Scene:
    """A bar, half with fibres along z, half without fibres, that floats in a large box."""
    body = ds.SoftBody("bar", ds.Box((0.05, 0.05, 0.1)), (0.3, 0.3, 0.3), material=ds.Elastic(1e4, 0.3), particles=108)
    middle = float(np.median(body.rest_particles[:, 0]))
    muscles = (
        ds.Muscle("fibres", "bar", (0.0, 0.0, 1.0), strength=STRENGTH, where=lambda points: points[:, 0] > middle),
        ds.Muscle("round", "bar", strength=STRENGTH, where=lambda points: points[:, 0] <= middle),
    )
    values = {"muscles": muscles, "ground": None, "upper": (0.6, 0.6, 0.6), "grid_spacing": 0.05, "gravity": (0.0, 0.0, 0.0)}
    return ds.Scene((body,), **{**values, **changes})


@pytest.fixture(scope="module")
def floating() -> ds.Simulator:
    return ds.Simulator(bar(), dt=2e-3, substeps=10, dtype=F64)


def rest_stretches(tension: float, direction: bool) -> np.ndarray:
    """Principal stretches (3) at which the law's Kirchhoff stress and the active one are zero together."""
    mu, lam = ds.Elastic(1e4, 0.3).lame
    s = np.ones(3)
    for _ in range(30):  # Newton's method

        def total(s: np.ndarray) -> np.ndarray:
            J = s.prod()
            active = tension * np.array([0.0, 0.0, s[2] ** 2]) if direction else tension * J
            return 2.0 * mu * (s - 1.0) * s + lam * J * (J - 1.0) + active

        slopes = np.stack([(total(s + h) - total(s - h)) / 2e-6 for h in 1e-6 * np.eye(3)], axis=1)
        s = s - np.linalg.solve(slopes, total(s))
    return s


@pytest.mark.parametrize("direction", [(0.0, 0.0, 1.0), None])
@pytest.mark.parametrize("activation", [0.4, -0.4])
def test_a_free_bar_strains_until_its_law_balances_the_muscle(direction, activation):
    """Small strains: E strain = -activation * strength along fibres, and 3 K strain = -activation * strength without."""
    sim = ds.Simulator(bar(muscles=(ds.Muscle("m", "bar", direction, strength=STRENGTH),)), dt=2e-3, substeps=10, dtype=F64)
    period = 2.0 * 0.2 / np.sqrt(1e4 / 1e3)
    ramp, mean = round(4.0 * period / sim.control_dt), round(2.0 * period / sim.control_dt)
    state, seen = sim.reset(), []
    with torch.no_grad():
        for step in range(ramp + mean):
            share = min(1.0, (step + 0.5) / ramp)
            state = sim.step(state, torch.full((1, 1), activation * share**2 * (3.0 - 2.0 * share), dtype=F64))
            if step >= ramp:
                seen.append(state.F[0].mean(dim=0))
    stretches = torch.stack(seen).mean(dim=0)
    expected = rest_stretches(activation * STRENGTH, direction is not None)
    np.testing.assert_allclose(np.diagonal(stretches) - 1.0, expected - 1.0, rtol=0.02)
    small = -activation * STRENGTH / (1e4 if direction else 1e4 / (1.0 - 2.0 * 0.3))
    assert expected[2] - 1.0 == pytest.approx(small, rel=0.1)


def test_muscles_change_no_momentum(floating):
    generator = torch.Generator().manual_seed(0)
    actions = torch.randn((10, 1, 2), dtype=F64, generator=generator)
    with torch.no_grad():
        first = floating.reset()
        last = floating.rollout(first, actions)[-1]
    assert float((last.x - first.x).norm(dim=-1).max()) > 2e-3  # it writhes,
    assert float(last.v.mean(dim=1).norm()) < 1e-12  # and stays where it is
    turning = torch.linalg.cross(last.x - last.x.mean(dim=1, keepdim=True), last.v).mean(dim=1)
    C = last.C  # the affine fields turn as well: dx^2 / 4 of the skew part
    skew = torch.stack([C[..., k, j] - C[..., j, k] for j, k in ((1, 2), (2, 0), (0, 1))], dim=-1)
    spin = 0.25 * floating.scene.grid_spacing**2 * skew
    assert float((turning + spin.mean(dim=1)).norm()) < 1e-12


def objective(sim: ds.Simulator, start: ds.State):
    """Two control steps of a random state, weighed at random."""
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(each.shape, dtype=F64, generator=generator) for each in start.particles]

    def value(action: Tensor, x: Tensor, v: Tensor, F: Tensor, strengths: Tensor) -> Tensor:
        state = start.replace(x=x, v=v, F=F)
        parameters = {"fibres.strength": strengths[0], "round.strength": strengths[1]}
        for _ in range(2):
            state = sim.step(state, action, parameters)
        return torch.stack([(each * weight).sum() for each, weight in zip(state.particles, weights, strict=True)]).sum()

    action = torch.tensor([[0.8, -0.5]], dtype=F64).repeat(start.num_envs, 1)
    strengths = torch.tensor([1e3, 800.0], dtype=F64)
    return value, {"action": action, "x": start.x, "v": start.v, "F": start.F, "strengths": strengths}


def test_gradients(floating):
    value, inputs = objective(floating, random_state(floating))
    gradcheck(value, inputs, directions=1)


@pytest.mark.long
def test_shared_grid_and_lanes_agree(floating):
    start = random_state(floating)
    other = pickle.loads(pickle.dumps(ds.Simulator(bar(muscles=PICKLED), dt=2e-3, substeps=10, dtype=F64)))
    lanes = ds.Simulator(bar(muscles=PICKLED), dt=2e-3, substeps=10, dtype=F64)
    other._soft.solver = MPMSolver(other.scene, dt=2e-3, substeps=10, dtype=F64, schedule=SharedSchedule)
    results = []
    for sim in (lanes, other):
        value, inputs = objective(sim, start)
        leaves = {name: tensor.clone().requires_grad_() for name, tensor in inputs.items()}
        found = value(**leaves)
        results.append([found, *torch.autograd.grad(found, list(leaves.values()))])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


PICKLED = (
    ds.Muscle("fibres", "bar", (0.0, 1.0, 1.0), strength=STRENGTH, where=range(60)),
    ds.Muscle("round", "bar", strength=STRENGTH, where=range(60, 100)),
)


@pytest.mark.long
def test_gradients_beside_rigid_bodies():
    """On a coupled scene's lanes."""
    brick = ds.RigidBody("brick", ds.Box((0.06, 0.06, 0.02)), (0.3, 0.3, 0.179), velocity=(0.0, 0.0, 0.1))
    sim = ds.Simulator(bar(muscles=PICKLED, rigid_bodies=(brick,)), dt=2e-3, substeps=5, dtype=F64)
    value, inputs = objective(sim, random_state(sim))
    gradcheck(value, inputs, directions=1)


def test_the_action_ends_with_the_muscles():
    nail = ds.Attachment("nail", "bar", where=lambda points: points[:, 2] > 0.35, controlled=True)
    scene = bar(attachments=(nail,), tools=(ds.Tool("hand", ds.Sphere(0.02), (0.1, 0.1, 0.1), control=("x",)),))
    assert (scene.action_dim, scene.first_grip, scene.first_muscle) == (4, 1, 2)


@pytest.mark.long
def test_the_example_of_the_guide_runs():
    guide = (Path(__file__).parents[2] / "docs" / "muscles.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", guide, flags=re.DOTALL)
    names: dict = {}
    exec(compile(example, "muscles.md", "exec"), names)
    x = names["states"][10].x[0, :, 0]
    assert float(x.max() - x.min()) < float(np.ptp(names["worm"].rest_particles[:, 0])) - 5e-3
    assert float(names["actions"].grad[0].abs().min()) > 0.0


def test_bad_muscles_are_refused():
    third = ds.Muscle("third", "bar", strength=1.0)
    with refused("Muscle 'third': where must choose particles of no other muscle", "'round'"):
        bar(muscles=(*bar().muscles, third))
    with refused("Muscle 'm': body must be a soft body of the scene, got 'rod'"):
        bar(muscles=(ds.Muscle("m", "rod", strength=1.0),))
    with refused("the name 'bar' is used 2 times"):
        bar(muscles=(ds.Muscle("bar", "bar", strength=1.0),))
    with refused("direction must not be zero"):
        ds.Muscle("m", "bar", (0.0, 0.0, 0.0), strength=1.0)
    with refused("strength must be a finite number >= 0"):
        ds.Muscle("m", "bar", strength=-1.0)
    water = ds.SoftBody("bar", ds.Box((0.05, 0.05, 0.05)), (0.3, 0.3, 0.3), material=ds.Liquid(1e4), particles=64)
    with refused("must be of a solid that keeps its shape"):
        ds.Scene((water,), muscles=(third,))
