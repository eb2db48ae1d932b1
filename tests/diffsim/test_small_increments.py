"""In f32 a substep's increments can be far below the last place of what they are added to; they add up all the same."""

import pytest
import torch

import diffsim as ds
from diffsim.scene.rotations import rotation_matrix
from tests.diffsim.scenes import free_scene

pytestmark = pytest.mark.slow


def moved(speed: float, *, at: float, dt: float, substeps: int, time: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Displacements (N, 3) of a free cube's particles, and what they should be."""
    velocity = (speed, 0.3 * speed, -0.2 * speed)
    cube = ds.SoftBody("cube", ds.Box((0.05,) * 3), (at, 0.5, 0.5), particles=60, velocity=velocity)
    scene = ds.Scene((cube,), ground=None, upper=(at + 1.0, 1.0, 1.0), grid_spacing=1 / 24, gravity=(0.0, 0.0, 0.0))
    sim = ds.Simulator(scene, dt=dt, substeps=substeps)
    start = state = sim.reset()
    for _ in range(round(time / sim.control_dt)):
        state = sim.step(state, torch.zeros(1, 0))
    return (state.x.double() - start.x.double())[0], time * torch.tensor(velocity, dtype=torch.float64)


@pytest.mark.parametrize("substeps", [1, 20])
@pytest.mark.parametrize("speed", [pytest.param(4e-3, id="4mm/s"), pytest.param(1e-4, id="0.1mm/s", marks=pytest.mark.long)])
def test_slow_soft_bodies_far_from_the_origin_move(speed, substeps):
    """A substep's way is 0.4 and 0.01 of the last place of x; an error of two of those is allowed besides a percent."""
    displacements, expected = moved(speed, at=10.0, dt=1e-4, substeps=substeps)
    ulp = 2.0**-20
    assert float((displacements.mean(dim=0) - expected).abs().max()) < 0.01 * speed + 2 * ulp
    assert float((displacements - expected).abs().max()) < 0.02 * speed + 6 * ulp


def test_what_rests_keeps_its_bits():
    displacements, _ = moved(0.0, at=8.0, dt=1e-4, substeps=20, time=0.02)
    assert float(displacements.abs().max()) == 0.0


@pytest.mark.parametrize("turned", [False, True], ids=["as declared", "turned"])
def test_a_stiff_cube_at_rest_does_not_sink(turned):
    """Its elastic settlement is density g height^2 / (3 E), 0.3 um. ``turned``: its rest shape lay on another side."""
    cube = ds.SoftBody("cube", ds.Box((0.05,) * 3), (0.25, 0.25, 0.05), material=ds.Elastic(1e8, 0.3, 1e3), particles=500)
    sim = ds.Simulator(ds.Scene((cube,), upper=(0.5, 0.5, 0.25), grid_spacing=1 / 32), dt=4e-5)
    start = sim.reset()
    if turned:
        R = torch.tensor(rotation_matrix((0.6, 0.48, 0.64, 0.0)), dtype=torch.float32)
        start = start.replace(F=R.expand_as(start.F).contiguous())
    state = start
    for _ in range(round(1.0 / sim.control_dt)):
        state = sim.step(state, torch.zeros(1, 0))
    sunk = (start.x.double() - state.x.double())[0].mean(dim=0)
    assert float(sunk.abs().max()) < 5e-6


def test_a_rollout_in_f32_can_go_on_from_any_state_and_in_any_batch():
    """The thresholds of rounding follow from the number of the substep alone."""
    sim = ds.Simulator(free_scene(ds.Elastic(), gravity=(0.0, 0.0, -9.81)), num_envs=3, dt=1e-3, substeps=5)
    start = sim.reset()
    start = start.replace(v=start.v + torch.arange(3.0)[:, None, None])
    whole = sim.rollout(start, torch.zeros(6, 3, 0))
    # two environments: one alone may be shared by two threads, which sum in another order (docs/architecture.md)
    part = sim.rollout(whole[4][:2], torch.zeros(2, 2, 0))[-1]
    for name, tensor in part.tensors().items():
        assert torch.equal(tensor, getattr(whole[6][:2], name)), name


@pytest.mark.parametrize(
    ("impact", "integrator"), [("implicit", "midpoint"), pytest.param("event", "midpoint", marks=pytest.mark.long)]
)
@pytest.mark.parametrize("speed", [4e-3, 1e-4], ids=["4mm/s", "0.1mm/s"])
def test_slow_rigid_bodies_far_from_the_origin_move_and_turn(speed, impact, integrator):
    """By 4 mm and 1 mrad, or 0.1 mm and 0.1 mrad, in a second; one launch or one a control step, the bits are the same."""
    velocity, spin = (speed, 0.3 * speed, -0.2 * speed), 1e-3 if speed > 1e-3 else 1e-4
    box = ds.RigidBody(
        "box", ds.Box((0.05, 0.04, 0.03)), (10.0, 0.5, 0.5), velocity=velocity, angular_velocity=(0.0, 0.0, spin)
    )
    contact = ds.ContactModel(impact="event") if impact == "event" else ds.ContactModel()
    scene = ds.Scene(rigid_bodies=(box,), ground=None, gravity=(0.0, 0.0, 0.0), contact=contact)
    sim = ds.Simulator(scene, dt=1e-4, substeps=20, integrator=integrator)
    start = sim.reset()
    states = sim.rollout(start, torch.zeros(500, 1, 0))
    moved = states[-1].q.double()[0] - start.q.double()[0]
    torch.testing.assert_close(moved[:3], torch.tensor(velocity, dtype=torch.float64), rtol=0.01, atol=2 * 2.0**-20)
    assert 2.0 * float(moved[6]) == pytest.approx(spin, rel=0.01)
    assert float(states[-1].q[0, 3:].double().norm()) == pytest.approx(1.0, abs=3e-7)
    again = states[250]
    for _ in range(3):
        again = sim.step(again, torch.zeros(1, 0))
    assert torch.equal(again.q, states[253].q)


def test_a_slow_joint_turns():
    """A hinge at 10 rad that turns by 1 mrad in a second, 0.1 of the last place in a substep."""
    joint, inertia = ds.Joint("hinge", "revolute", axis=(0.0, 0.0, 1.0)), ds.Inertia(1.0, moments=(0.01, 0.01, 0.01))
    body = ds.Link("body", joint, inertia=inertia)
    arm = ds.Articulation("arm", links=(body,))
    sim = ds.Simulator(ds.Scene(articulations=(arm,), ground=None, gravity=(0.0, 0.0, 0.0)), dt=1e-4)
    start = sim.reset()
    start = start.replace(q=torch.full_like(start.q, 10.0), qd=torch.full_like(start.qd, 1e-3))
    end = sim.rollout(start, torch.zeros(500, 1, 0))[-1]
    assert float(end.q - start.q) == pytest.approx(1e-3, rel=0.01)
