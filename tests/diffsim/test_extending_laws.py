"""A material law from outside the package: declared here alone, simulated, and its gradients checked.

The law is St. Venant-Kirchhoff's with a stiffness that wears off: W = (1 - w) (lambda/2 tr(E)^2 + mu E : E),
E = (F^T F - 1) / 2, where the wear w is an internal variable that grows with the strain, w_new = w + rate |E|^2 (1 - w).
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch

import diffsim as ds
from diffsim.compiler import ti
from diffsim.scene.materials import ELASTIC_RANGES, NOT_NEGATIVE, LinearlyElastic
from diffsim.soft.laws.stretch_law import Flow, FlowAdjoint
from tests.diffsim.scenes import contact_scene, random_state
from tests.diffsim.test_gradients import random_projection
from tests.diffsim.test_inputs import refused
from tests.diffsim.test_materials import Element, close, rotations
from tests.diffsim.test_parameters import check_all_gradients

pytestmark = pytest.mark.slow

F64 = torch.float64


def wearing(real, functions):
    """Parameters mu, lambda (Pa), rate. With e_i = (s_i^2 - 1) / 2 and k = 1 - w_new:
    t_i = k s_i^2 p_i,  p_i = 2 mu e_i + lambda tr(e),  w_new = w + rate (sum e_i^2) (1 - w)."""

    @ti.func
    def strains(s: ti.template(), a: ti.template(), q: ti.template()):
        e = [0.5 * (s[i] * s[i] - 1.0) for i in ti.static(range(3))]
        trace = e[0] + e[1] + e[2]
        p = [2.0 * q[0] * e[i] + q[1] * trace for i in ti.static(range(3))]
        square = e[0] * e[0] + e[1] * e[1] + e[2] * e[2]
        return e, trace, p, square, a + q[2] * square * (1.0 - a)

    @ti.func
    def forward(s: ti.template(), a: ti.template(), q: ti.template()):
        _e, _trace, p, _square, worn = strains(s, a, q)
        return Flow(stretches=s, stresses=[(1.0 - worn) * s[i] * s[i] * p[i] for i in ti.static(range(3))], internal=worn)

    @ti.func
    def adjoint(s: ti.template(), a: ti.template(), q: ti.template(), bars: ti.template()):
        t_bar = ti.static(bars.stresses)
        e, trace, p, square, worn = strains(s, a, q)
        k = 1.0 - worn
        worn_bar = bars.internal + 0.0
        for i in ti.static(range(3)):
            worn_bar = worn_bar - s[i] * s[i] * p[i] * t_bar[i]
        p_bar = [k * s[i] * s[i] * t_bar[i] for i in ti.static(range(3))]
        total = p_bar[0] + p_bar[1] + p_bar[2]
        e_bar = [2.0 * q[0] * p_bar[i] + q[1] * total + 2.0 * q[2] * (1.0 - a) * worn_bar * e[i] for i in ti.static(range(3))]
        one = ti.cast(1.0, real)
        # p_j - p_i = mu (s_j^2 - s_i^2), so t_j - t_i = k (s_j^2 - s_i^2) (p_i + mu s_j^2)
        quotients = [
            k * (s[i] + s[j]) * (p[i] + q[0] * s[j] * s[j]) for i, j in ti.static(((0, 1), (0, 2), (1, 2)))
        ]  # fmt: skip
        return FlowAdjoint(
            stretches=[
                bars.stretches[i] + 2.0 * k * s[i] * p[i] * t_bar[i] + s[i] * e_bar[i] for i in ti.static(range(3))
            ],
            internal=worn_bar * (1.0 - q[2] * square),
            parameters=(
                2.0 * (e[0] * p_bar[0] + e[1] * p_bar[1] + e[2] * p_bar[2]),
                trace * total,
                worn_bar * square * (1.0 - a),
            ),
            elastic=s,
            elastic_quotients=(one, one, one),
            stress_quotients=quotients,
        )  # fmt: skip

    return SimpleNamespace(forward=forward, adjoint=adjoint)


@dataclass(frozen=True)
class Wearing(LinearlyElastic):
    """St. Venant-Kirchhoff solid that wears. The internal variable is the wear, 0 at first."""

    rate: float = 1.0

    RANGES: ClassVar = {**ELASTIC_RANGES, "rate": NOT_NEGATIVE}

    @property
    def law(self):
        return wearing

    def law_parameters(self, values):
        return (*super().law_parameters(values), values["rate"])


def test_a_new_laws_stress_has_the_closed_form():
    F = rotations(4) @ torch.diag_embed(
        torch.tensor([[0.8, 1.1, 1.2], [1.0, 1.0, 1.0], [1.3, 1.3, 0.7], [0.9, 0.9, 0.9]], dtype=F64)
    )
    material = Wearing(1e4, 0.3, rate=0.5)
    mu, lam = material.lame
    stress, _ = Element(material).step(F)
    eye = torch.eye(3, dtype=F64)
    E = 0.5 * (F.mT @ F - eye)
    S = 2.0 * mu * E + lam * E.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None] * eye
    kept = 1.0 - 0.5 * E.square().sum((-1, -2))
    close(stress, kept[:, None, None] * (F @ S @ F.mT), 1e4)


def test_gradcheck_of_a_new_laws_parameters_through_contact():
    check_all_gradients(contact_scene(material=Wearing(5e3, 0.3, rate=0.7)))


def test_gradcheck_of_a_new_laws_state_at_equal_stretches_and_damped():
    sim = ds.Simulator(contact_scene(material=ds.KelvinVoigt(Wearing(5e3, 0.3), 2.0, 1.0)), dt=1e-3, substeps=4, dtype=F64)
    start = random_state(sim)
    action = torch.full((1, sim.action_dim), 0.3, dtype=F64)

    def function(C, F):
        return random_projection(sim.step(start.replace(C=C, F=F), action))

    stretched = torch.diag(torch.tensor([1.2, 0.9, 0.9], dtype=F64)).expand_as(start.F)
    for F in (start.F, stretched):
        ds.gradcheck(function, {"C": start.C, "F": F}, directions=2, tolerance=1e-6)


def test_a_new_law_leaves_other_bodies_as_they_were():
    elastic, worn = ds.Elastic(5e3, 0.3), Wearing(5e3, 0.3)

    def end(material):
        bodies = (
            ds.SoftBody("left", ds.Box((0.05, 0.05, 0.05)), (0.2, 0.3, 0.2), material=elastic, particles=60),
            ds.SoftBody("right", ds.Box((0.05, 0.05, 0.05)), (0.7, 0.3, 0.2), material=material, particles=60),
        )
        sim = ds.Simulator(ds.Scene(bodies, upper=(0.9, 0.6, 0.5), grid_spacing=1 / 24), num_envs=2, dt=1e-3, substeps=20)
        state = sim.step(random_state(sim), torch.zeros(2, 0))
        return state.x[:, sim.particle_slice("left")]

    assert torch.equal(end(worn), end(elastic))


def test_bad_materials_are_refused():
    with refused("elastic must be a material that keeps its shape"):
        ds.KelvinVoigt(ds.Liquid())
    with refused("is not viscous"):
        ds.KelvinVoigt(ds.KelvinVoigt())
    with refused("shear_viscosity must be a number >= 0"):
        ds.KelvinVoigt(ds.Elastic(), shear_viscosity=-1.0)
    with refused("youngs_modulus must be a positive number"):
        ds.KelvinVoigt(ds.Elastic(-1.0))
    with refused("bulk_modulus must be at least"):
        ds.MooneyRivlin(1e3, 1e3, 1e3)
    with refused("rate must be a number >= 0"):
        Wearing(rate=-1.0)


def test_viscosity_limits_the_time_step(caplog):
    material = ds.KelvinVoigt(ds.Elastic(), 30.0, 40.0)
    assert math.isclose(material.kinematic_viscosity, 60.0 / 1e3)
    ds.Simulator(contact_scene(material=material), dt=1e-2)
    assert "the viscous number" in caplog.text
