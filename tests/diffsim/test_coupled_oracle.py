"""Coupled scenes against `coupled_oracle`: values to 1e-9, gradients to 1e-6."""

from __future__ import annotations

import pytest
import torch

import diffsim as ds
from tests.diffsim import coupled_oracle as oracle

pytestmark = pytest.mark.slow

F64 = torch.float64
H, DX, SUBSTEPS, STEPS = 1e-3, 0.05, 5, 3
HALF, COUNT = 0.05, 64  # 4 x 4 x 4 particles
E, NU, DENSITY = 2e4, 0.3, 900.0
RADIUS, BALL_MASS = 0.06, 0.4
BOX = (0.08, 0.08, 0.03)


def scene(friction: float, smoothing: float, slip_speed: float) -> ds.Scene:
    """A cube of jelly that falls on a spinning ball and the edge of a fixed box at once."""
    material = ds.Elastic(youngs_modulus=E, poissons_ratio=NU, density=DENSITY)
    # the masks keep the ball and the box apart, which would touch
    edge = ds.Geometry(ds.Box(BOX), friction=friction, collision_group=2, collision_mask=2)
    weld = ds.Link("step", ds.Joint("weld", "fixed"), position=(0.601, 0.504, 0.423), geometries=(edge,))
    ball = ds.RigidBody(
        "ball", ds.Sphere(RADIUS), (0.472, 0.497, 0.398), mass=BALL_MASS, friction=0.5 * friction,
        velocity=(0.1, -0.05, 0.4), angular_velocity=(0.5, 3.0, -1.0),
    )  # fmt: skip
    body = ds.SoftBody(
        "jelly", ds.Box((HALF,) * 3), (0.503, 0.502, 0.505), material=material, velocity=(0.2, 0.1, -0.6), particles=COUNT
    )
    return ds.Scene(
        soft_bodies=(body,), rigid_bodies=(ball,), articulations=(ds.Articulation("fixed", (weld,)),), ground=None,
        gravity=(0.3, 0.0, -9.81), grid_spacing=DX,
        contact=ds.ContactModel(smoothing=smoothing, slip_speed=slip_speed),
    )  # fmt: skip


def projections(shapes: list[torch.Size]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(shape, generator=generator, dtype=F64) for shape in shapes]


def simulated(case: tuple[float, float, float], leaves: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Positions, velocities, deformation gradients, and the ball's position, velocity and angular velocity at the end."""
    sim = ds.Simulator(scene(*case), dt=H, substeps=SUBSTEPS, dtype=F64, integrator="euler")
    state = sim.reset()
    state = state.replace(v=state.v + leaves["v"], q=state.q + torch.nn.functional.pad(leaves["ball"], (0, 4)))
    given = {
        "jelly.youngs_modulus": leaves["E"], "jelly.density": leaves["density"], "ball.friction": leaves["friction"],
        "ball.mass": leaves["mass"], "gravity": leaves["gravity"],
        "ball.inertia": 0.4 * leaves["mass"] * RADIUS**2 * torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 0.0], dtype=F64),
    }  # fmt: skip
    for _ in range(STEPS):
        state = sim.step(state, torch.zeros(1, sim.action_dim, dtype=F64), given)
    links, number = sim.links(state), sim.link_index("ball")
    ball = (links.position[0, number], links.velocity[0, number], links.angular_velocity[0, number])
    return [state.x[0], state.v[0], state.F[0], *ball]


def expected(case: tuple[float, float, float], leaves: dict[str, torch.Tensor]) -> tuple[list[torch.Tensor], int]:
    friction, smoothing, slip_speed = case
    a = 2.0 * HALF / 4.0
    jelly = oracle.Jelly(leaves["E"], NU, leaves["density"], a, DENSITY, oracle.pressure_wave_speed(E, NU, DENSITY))
    line = (torch.arange(4, dtype=F64) - 1.5) * a
    x = torch.cartesian_prod(line, line, line) + torch.tensor([0.503, 0.502, 0.505], dtype=F64)
    v = torch.tensor([0.2, 0.1, -0.6], dtype=F64).expand_as(x) + leaves["v"]
    eye, none = torch.eye(3, dtype=F64), torch.zeros(3, dtype=F64)
    ball = oracle.Rigid(
        RADIUS, leaves["friction"], leaves["mass"], torch.tensor([0.472, 0.497, 0.398], dtype=F64) + leaves["ball"], eye,
        torch.tensor([0.1, -0.05, 0.4], dtype=F64), torch.tensor([0.5, 3.0, -1.0], dtype=F64),
    )  # fmt: skip
    edge = torch.tensor([0.601, 0.504, 0.423], dtype=F64)
    step = oracle.Rigid(BOX, torch.tensor(friction, dtype=F64), None, edge, eye, none, none)
    particles: tuple[torch.Tensor, ...] = (x, v, torch.zeros(len(x), 3, 3, dtype=F64), eye.expand(len(x), 3, 3))
    most, rigids = 0, [ball, step]
    for _ in range(SUBSTEPS * STEPS):
        rigids, particles, contacts = oracle.substep(
            jelly, rigids, particles, h=H, dx=DX, gravity=leaves["gravity"], d=smoothing, eps=slip_speed
        )
        most = max(most, contacts)
    x, v, _C, F = particles
    return [x, v, F, rigids[0].x, rigids[0].v, rigids[0].omega], most


@pytest.mark.parametrize(
    "case",
    [
        pytest.param((0.4, 1e-9, 2e-6), id="slides", marks=pytest.mark.long),
        pytest.param((1.5, 1e-9, 1e-4), id="sticks", marks=pytest.mark.long),
        pytest.param((0.4, 4e-3, 1e-2), id="smooth", marks=pytest.mark.long),
    ],
)
def test_values_and_gradients_are_those_of_the_oracle(case):
    leaves = {
        "v": torch.zeros(COUNT, 3, dtype=F64), "ball": torch.zeros(3, dtype=F64), "E": torch.tensor(E, dtype=F64),
        "density": torch.tensor(DENSITY, dtype=F64), "friction": torch.tensor(0.5 * case[0], dtype=F64),
        "mass": torch.tensor(BALL_MASS, dtype=F64), "gravity": torch.tensor([0.3, 0.0, -9.81], dtype=F64),
    }  # fmt: skip
    for leaf in leaves.values():
        leaf.requires_grad_()
    ours = simulated(case, leaves)
    theirs, most = expected(case, leaves)
    assert most >= 12  # particles met the ball and the box
    assert float((theirs[-2] - torch.tensor([0.1, -0.05, 0.4])).detach().norm()) > 0.05  # and the ball felt it
    for name, one, other in zip(("x", "v", "F", "position", "velocity", "spin"), ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}")
    weights = projections([each.shape for each in ours])
    gradients = [
        torch.autograd.grad(sum((w * each).sum() for w, each in zip(weights, end, strict=True)), list(leaves.values()))
        for end in (ours, theirs)
    ]
    for name, one, other in zip(leaves, *gradients, strict=True):
        scale = float(other.abs().max())
        assert scale > 0.0, name
        assert float((one - other).abs().max()) < 1e-6 * scale, name
