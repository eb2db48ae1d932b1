"""Gradients through joint equalities, closed loops and tendons, by finite differences."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import diffsim as ds
from tests.diffsim.constraint_scenes import walker, welded_arm

CONTACT = ds.ContactModel(slip_speed=0.05)


def check(articulation: ds.Articulation, integrator: str, ground: bool, names: tuple[str, ...]) -> None:
    """A weighted sum of the state after two control steps, by the state, the action, the links' masses, centres and inertias
    (each of all links together: what a weld holds fast has no effect by itself), and the parameters of those names."""
    scene = ds.Scene(articulations=(articulation,), ground=ds.Ground() if ground else None, contact=CONTACT)
    sim = ds.Simulator(scene, dt=2e-3, substeps=4, dtype=torch.float64, integrator=integrator)
    start, generator = sim.reset(), torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=generator)

    by_q, by_qd, defaults = drawn(*start.q.shape), drawn(*start.qd.shape), sim.parameters
    action = 0.3 * drawn(2, 1, sim.action_dim)
    links = [f"{articulation.name}.{link.name}" for link in articulation.links]
    inputs = {"q": start.q, "qd": start.qd}
    inputs |= {field: torch.stack([defaults[f"{link}.{field}"] for link in links]) for field in ("mass", "center", "inertia")}
    inputs |= {name.replace(".", "__"): defaults[f"{articulation.name}.{name}"] for name in names}
    if sim.action_dim:
        inputs["action"] = action

    def function(q: torch.Tensor, qd: torch.Tensor, action: torch.Tensor = action, **parameters: torch.Tensor) -> torch.Tensor:
        given = {f"{articulation.name}.{name}": parameters[name.replace(".", "__")] for name in names}
        for field in ("mass", "center", "inertia"):
            given |= {f"{link}.{field}": value for link, value in zip(links, parameters[field], strict=True)}
        state = replace(start, q=q, qd=qd)
        for step in action:
            state = sim.step(state, step, given)
        return (by_q * state.q).sum() + 0.1 * (by_qd * state.qd).sum()

    ds.gradcheck(function, inputs)


@pytest.mark.slow
@pytest.mark.parametrize("integrator", ["midpoint", pytest.param("euler", marks=pytest.mark.long)])
def test_a_mechanism_with_every_constraint_that_touches_the_ground(integrator):
    fields = ("stiffness", "damping", "limit_stiffness")
    names = (
        "quartic.offset",
        "sums.offset",
        *(f"tendon.tendon_{field}" for field in fields),
        "servo.gain",
        "j_a1.friction_loss",
    )
    check(walker(), integrator, True, names)


@pytest.mark.long
@pytest.mark.parametrize("integrator", ["midpoint", "euler"])
def test_a_welded_end_and_a_branch_connected_to_it(integrator):
    check(welded_arm(), integrator, False, ())


def test_violations_are_differentiable():
    sim = ds.Simulator(ds.Scene(articulations=(welded_arm(),), ground=None), dt=2e-3, substeps=4, dtype=torch.float64)
    state = sim.reset()

    def function(q: torch.Tensor) -> torch.Tensor:
        errors = sim.constraint_errors(replace(state, q=q))
        return (
            torch.cat([errors["arm.hold"], errors["arm.branch"]], dim=1) @ torch.arange(1.0, 10.0, dtype=torch.float64)
        ).sum()

    shifted = state.q + 0.1 * torch.randn(state.q.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ds.gradcheck(function, {"q": shifted})
