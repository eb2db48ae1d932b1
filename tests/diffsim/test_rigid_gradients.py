"""The kernels of diffsim/rigid against the oracle of rigid_oracle.py: values and all gradients, f64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffsim import runtime
from diffsim.rigid.contact_defaults import smoothing_length
from diffsim.rigid.multibody_solver import RigidSolver
from diffsim.rigid.rigid_model import RigidModel
from diffsim.rigid.rigid_records import ActuatorInputs, GeometryInputs, LinkInputs
from diffsim.rigid.time_stepping import INTEGRATORS
from diffsim.scene.articulation import Articulation, Geometry
from diffsim.scene.contact_model import ContactModel
from diffsim.scene.shapes import Plane
from tests.diffsim.rigid_oracle import RigidOracle
from tests.diffsim.rigid_scenes import SHAPES, arm, free_body

DT = 2e-3
CONTACT = ContactModel(stiffness=3e3, smoothing=5e-3, slip_speed=0.05, restitution_speed=0.05)
GROUND = (0.0, 0.6, 0.2, 2e3)
MODELS = {
    "compliant": CONTACT,
    "implicit": ContactModel(stiffness=3e3, impact="auto", slip_speed=0.05, restitution_speed=0.05),
    "sticking": ContactModel(stiffness=1e7, impact="auto", slip_speed=1e-5, restitution_speed=0.05),
}


class Pair:
    """The same scene in the kernels and in the oracle."""

    def __init__(
        self,
        articulations: list[Articulation],
        *,
        ground: bool = False,
        substeps: int = 1,
        integrator: str = "midpoint",
        contact: ContactModel = CONTACT,
    ):
        runtime.start("cpu")
        _height, friction, restitution, stiffness = GROUND
        world = [Geometry(Plane(), friction=friction, restitution=restitution, stiffness=stiffness)] if ground else []
        self.contact = contact
        self.model = RigidModel(articulations, world, contact, dt=DT)
        self.smoothing = smoothing_length(self.model)
        if not contact.compliant:  # what is compared is contact without events
            self.model.events = False
        self.solver = RigidSolver(self.model, substeps=substeps, dtype=torch.float64, integrator=integrator)
        self.oracle = RigidOracle(
            articulations, ground=GROUND if ground else None, dt=DT, contact_stiffness=contact.stiffness,
            contact_smoothing=self.smoothing, slip_speed=contact.slip_speed, restitution_speed=contact.restitution_speed,
            integrator=integrator,
        )  # fmt: skip
        self.substeps = substeps
        self.ground = ground
        self.inputs = torch.tensor(self.model.inputs((0.0, 0.0, -9.81)))[None]

    def parameters(self) -> dict:
        """The oracle's parameters as leaves."""
        given = self.oracle.parameters()
        I = given["links"]["inertia"]
        given["links"]["inertia"] = torch.stack([I[:, i, j] for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))], -1)
        return {
            group: {name: value.clone().requires_grad_() for name, value in values.items()}
            if isinstance(values, dict)
            else values.clone().requires_grad_()
            for group, values in given.items()
        }

    def input_gradient(self, given: dict) -> np.ndarray:
        """The oracle's gradients in the order of the kernels' inputs."""

        def gradient(tensor: torch.Tensor) -> np.ndarray:
            return np.zeros(tensor.shape) if tensor.grad is None else tensor.grad.numpy()

        links, joints = given["links"], given["joints"]
        count = len(self.model.links) - 1
        rows = np.zeros((count + 1, LinkInputs.SIZE))
        rows[1:, 0] = gradient(links["mass"])
        rows[1:, 1:4] = gradient(links["center"])
        rows[1:, 4:10] = gradient(links["inertia"])
        for n, name in enumerate(("damping", "armature", "friction_loss", "spring_stiffness", "limit_stiffness")):
            rows[1:, 10 + n] = np.nan_to_num(gradient(joints[name]))
        rows[1:, LinkInputs.gravity_compensation] = gradient(given["links"]["gravity_compensation"])
        names = ("friction", "restitution", "stiffness", "scale")
        geometries = np.stack([gradient(given["geometries"][name]) for name in names], -1)
        if self.ground:
            own = [[float(gradient(given["ground"][name])) for name in ("friction", "restitution", "stiffness")] + [0.0]]
            geometries = np.concatenate([np.array(own), geometries.reshape(-1, GeometryInputs.SIZE)])
        return np.concatenate([gradient(given["gravity"]), rows.ravel(), geometries.ravel()])

    def touching(self, q: np.ndarray) -> int:
        """Contact points within reach of more than a thousandth of their stiffness's force."""
        v = torch.zeros(self.oracle.nv, dtype=torch.float64)
        found = self.oracle.contacts(self.oracle.pose(torch.tensor(q)), self.oracle.parameters(), v)
        return sum(int((gaps < 7.0 * self.smoothing).sum()) for _a, _b, gaps, _normals, _points in found)

    def compare(self, q: np.ndarray, v: np.ndarray, controls: np.ndarray, *, value=1e-9, least=1e-7) -> None:
        """States and gradients of a random linear functional of all states, T control steps."""
        gradient = least if self.contact.slip_speed > 1e-3 else 2e-6  # rounding of velocities, against the slip speed
        rng = np.random.default_rng(5)
        tq, tv, tu = (torch.tensor(x).requires_grad_() for x in (q, v, controls))
        given = self.parameters()
        states_q, states_v = self.oracle.rollout(tq, tv, tu, self.substeps, parameters=given)
        wq, wv = torch.tensor(rng.normal(size=states_q.shape)), torch.tensor(rng.normal(size=states_v.shape))
        ((states_q * wq).sum() + (states_v * wv).sum()).backward()

        before = torch.zeros(1, dtype=torch.int64)
        Q, V, wrenches, _ = self.solver.advance(tq[None], tv[None], tu[:, None], self.inputs, before)
        np.testing.assert_allclose(Q[:, 0].numpy(), states_q.detach().numpy(), rtol=value, atol=value)
        np.testing.assert_allclose(V[:, 0].numpy(), states_v.detach().numpy(), rtol=value, atol=value * 10)
        q_bar, v_bar, u_bar, inputs_bar = self.solver.adjoint(
            Q, V, tu[:, None], self.inputs, before, wq[:, None], wv[:, None], wrenches
        )

        def close(name: str, ours: np.ndarray, theirs: np.ndarray) -> None:
            scale = max(np.abs(theirs).max(initial=0.0), 1e-3)
            np.testing.assert_allclose(ours, theirs, atol=gradient * scale, rtol=0.0, err_msg=name)

        close("q", q_bar[0, 0].numpy(), tq.grad.numpy())
        close("v", v_bar[0, 0].numpy(), tv.grad.numpy())
        if tu.numel():
            close("controls", u_bar[:, 0].numpy(), tu.grad.numpy())
        expected = self.input_gradient(given)
        at = 3 + LinkInputs.SIZE * len(self.model.links)
        actuators = slice(at, at + ActuatorInputs.SIZE * len(self.model.actuators))
        ours = inputs_bar[0].numpy()
        without = np.delete(ours, np.r_[actuators])
        if self.ground:  # a plane's scale changes nothing, and the oracle has none
            assert abs(without[at + 3]) < 1e-9 * max(1.0, np.abs(without).max())
            without[at + 3] = 0.0
        for name, part in (("gravity", slice(0, 3)), ("links", slice(3, at)), ("geometries", slice(at, None))):
            close(name, without[part], expected[part])
        rows = ours[actuators].reshape(-1, ActuatorInputs.SIZE)
        declared = [a for each in self.model.articulations for a in each.actuators]
        if declared:
            gain = [
                r[0] + r[1] * (a.kind == "position") + r[2] * (a.kind == "velocity")
                for r, a in zip(rows, declared, strict=True)
            ]
            close("gain", np.array(gain), given["actuators"]["gain"].grad.numpy())
            damped = np.array([a.kind != "torque" for a in declared])
            close("actuator damping", rows[:, 2] * damped, given["actuators"]["damping"].grad.numpy())


def state(model: RigidModel, *, seed: int, spread: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return model.initial + spread * rng.normal(size=model.coordinates), rng.normal(size=model.dofs)


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_an_arm_of_every_joint_and_actuator(integrator) -> None:
    pair = Pair([arm()], substeps=3, integrator=integrator)
    q, v = state(pair.model, seed=3)
    controls = np.random.default_rng(4).normal(size=(2, len(pair.model.actuators)))
    pair.compare(q, v, controls)


@pytest.mark.parametrize(
    ("name", "contact"),
    [(name, "compliant") for name in SHAPES]
    + [(name, way) for name in ("box", "cylinder") for way in ("implicit", "sticking")],
)
def test_a_body_on_the_ground(name: str, contact: str) -> None:
    body = free_body("body", SHAPES[name], (0.0, 0.0, 0.05), restitution=0.5, friction=0.8)
    pair = Pair([body], ground=True, contact=MODELS[contact])
    q, v = state(pair.model, seed=1, spread=0.02)
    assert pair.touching(q)
    pair.compare(q, v, np.zeros((3, 0)))


PAIRS = [(a, b) for i, a in enumerate(SHAPES) for b in list(SHAPES)[i:]]
FEW = [("sphere", "box"), ("capsule", "cylinder"), ("rounded box", "torus"), ("cylinder", "cylinder")]


@pytest.mark.parametrize(
    ("one", "other", "contact"),
    [(*pair, "compliant") for pair in PAIRS] + [(*pair, name) for pair in FEW for name in ("implicit", "sticking")],
)
def test_two_bodies_in_contact(one: str, other: str, contact: str) -> None:
    bodies = [
        free_body("a", SHAPES[one], (0.0, 0.0, 0.0), seed=1, restitution=0.5, stiffness=2e3),
        free_body("b", SHAPES[other], (0.02, 0.03, 0.11), seed=2, friction=0.9),
    ]
    pair = Pair(bodies, contact=MODELS[contact])
    q, v = state(pair.model, seed=2, spread=0.02)
    assert pair.touching(q)
    # the search for a point along a cylinder's side ends after 16 looks, here before it is exact
    searched = {"value": 1e-6, "least": 1e-5} if (one, other) == ("box", "rounded cylinder") else {}
    pair.compare(q, v, np.zeros((2, 0)), **searched)


@pytest.mark.parametrize("contact", ["compliant", "implicit"])
def test_an_arm_pushes_bodies_on_the_ground(contact: str) -> None:
    pair = Pair(
        [
            free_body("box", SHAPES["box"], (0.0, 0.0, 0.05)),
            arm(geometries=True),
            free_body("ball", SHAPES["sphere"], (0.1, 0.1, 0.12)),
        ],
        ground=True,
        substeps=2,
        contact=MODELS[contact],
    )
    q, v = state(pair.model, seed=7, spread=0.05)
    controls = np.random.default_rng(4).normal(size=(2, len(pair.model.actuators)))
    pair.compare(q, v, controls)
