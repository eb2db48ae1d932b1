"""The simulator against closed forms and conservation laws."""

import math

import numpy as np
import pytest
import torch

import diffsim as ds
from diffsim import runtime
from diffsim.scene.rotations import rotation_matrix
from tests.diffsim.scenes import contact_scene, free_scene, random_state

pytestmark = pytest.mark.slow

F64 = torch.float64


def no_action(sim: ds.Simulator, steps: int, batch: int = 1) -> torch.Tensor:
    return torch.zeros(steps, batch, sim.action_dim, dtype=sim.dtype)


def momenta(sim: ds.Simulator, state: ds.State) -> tuple[torch.Tensor, torch.Tensor]:
    """Linear and angular momentum of the particles and their affine fields (Jiang et al. 2015)."""
    m = sim.particle_mass[None, :, None]
    linear = (m * state.v).sum(dim=1)
    C = state.C
    axial = torch.stack([C[..., 2, 1] - C[..., 1, 2], C[..., 0, 2] - C[..., 2, 0], C[..., 1, 0] - C[..., 0, 1]], dim=-1)
    inertia = 0.25 * sim.scene.grid_spacing**2
    angular = (torch.linalg.cross(state.x, m * state.v) + m * inertia * axial).sum(dim=1)
    return linear, angular


def test_free_fall_is_the_integrators_closed_form():
    sim = ds.Simulator(free_scene(ds.Elastic(), gravity=(0.0, 0.0, -9.81)), dt=1e-3, substeps=20, dtype=F64)
    start = sim.reset()
    state = sim.rollout(start, no_action(sim, 5))[-1]
    steps, dt = 100, 1e-3
    fallen = -9.81 * dt * dt * steps * (steps + 1) / 2  # symplectic Euler
    torch.testing.assert_close(state.x[..., 2] - start.x[..., 2], torch.full_like(state.x[..., 2], fallen))
    assert float(state.v[..., 2].mean()) == pytest.approx(-9.81 * dt * steps)


def test_free_fall_converges_with_the_time_step():
    def error(dt: float) -> float:
        scene = free_scene(ds.Elastic(), gravity=(0.0, 0.0, -9.81))
        sim = ds.Simulator(scene, dt=dt, substeps=round(0.1 / dt), dtype=F64)
        start = sim.reset()
        state = sim.step(start, no_action(sim, 1)[0])
        return float((state.x - start.x)[..., 2].mean()) + 0.5 * 9.81 * 0.1**2

    assert error(2e-3) == pytest.approx(-0.5 * 9.81 * 0.1 * 2e-3, rel=1e-9)  # first order in dt
    assert error(1e-3) == pytest.approx(0.5 * error(2e-3), rel=1e-9)


@pytest.mark.parametrize(
    "material",
    [ds.ElastoPlastic(yield_stress=100.0), ds.MooneyRivlin(), ds.KelvinVoigt(ds.NeoHookean(), 5.0, 3.0)],
    ids=lambda material: type(material).__name__,
)
def test_momentum_is_conserved_without_contact(material):
    sim = ds.Simulator(free_scene(material), dt=1e-3, substeps=20, dtype=F64)
    generator = torch.Generator().manual_seed(3)
    start = random_state(sim)
    start = start.replace(v=torch.randn(start.v.shape, dtype=F64, generator=generator))
    # APIC transfers the affine field in full only for a smooth start: one step makes it so
    start = sim.step(start, no_action(sim, 1)[0])
    end = sim.rollout(start, no_action(sim, 5))[-1]
    for before, after in zip(momenta(sim, start), momenta(sim, end), strict=True):
        torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-11)


def energy(sim: ds.Simulator, state: ds.State) -> float:
    """Elastic energy (fixed corotated), and kinetic energy of the particles and their affine fields."""
    mass, volume = sim.particle_mass, sim.particle_volume
    material = sim.scene.soft_bodies[0].material
    assert isinstance(material, ds.Elastic)
    mu, lam = material.lame
    stretch, J = torch.linalg.svdvals(state.F), torch.linalg.det(state.F)
    elastic = volume * (mu * (stretch - 1.0).square().sum(-1) + 0.5 * lam * (J - 1.0).square())
    speeds = state.v.square().sum(-1) + 0.25 * sim.scene.grid_spacing**2 * state.C.square().sum((-1, -2))
    return float((elastic + 0.5 * mass * speeds).sum())


def test_a_vibrating_block_gains_no_energy():
    sim = ds.Simulator(free_scene(ds.Elastic(1e4, 0.2), particles=300), dt=5e-4, substeps=20, dtype=F64)
    state = sim.reset()
    stretch = torch.diag(torch.tensor([1.15, 0.95, 0.95], dtype=F64))
    centre = state.x.mean(dim=1, keepdim=True)
    state = state.replace(x=centre + (state.x - centre) @ stretch, F=stretch.expand_as(state.F).contiguous())
    energies = [energy(sim, s) / energy(sim, state) for s in sim.rollout(state, no_action(sim, 40))]
    assert max(energies) < 1.0 + 1e-6
    # the transfer damps what the grid cannot resolve, and no more: about six periods later half is left
    assert 0.3 < energies[20] < 0.8
    assert energies[40] < energies[20]


def test_elastic_bar_vibrates_at_its_period():
    """Longitudinal free-free bar: period 2 L / sqrt(E / rho) for nu = 0."""
    length, E, rho = 0.6, 1e4, 1e3
    bar = ds.Box((length / 2, 0.05, 0.05))
    scene = ds.Scene(
        (ds.SoftBody("bar", bar, (0.5, 0.3, 0.3), material=ds.Elastic(E, 0.0, rho), particles=1600),),
        ground=None,
        upper=(1.0, 0.6, 0.6),
        grid_spacing=0.025,
        gravity=(0.0, 0.0, 0.0),
    )
    sim = ds.Simulator(scene, dt=1e-3, substeps=5)
    state = sim.reset()
    x = state.x[0, :, 0] - 0.5
    # initial velocity of the first mode: ends move apart, sin(pi x / L)
    velocity = torch.zeros_like(state.v)
    velocity[0, :, 0] = 0.05 * torch.sin(math.pi * x / length)
    state = state.replace(v=velocity)
    mode = torch.sin(math.pi * x / length)
    amplitudes = []
    for _ in range(110):
        state = sim.step(state, no_action(sim, 1)[0])
        amplitudes.append(float((mode * (state.x[0, :, 0] - 0.5 - x)).mean()))
    signal = np.array(amplitudes)
    crossings = np.flatnonzero(np.diff(np.sign(signal)) != 0)
    first = crossings[0] + signal[crossings[0]] / (signal[crossings[0]] - signal[crossings[0] + 1])
    half_period = (first + 1) * 5e-3
    expected = length / math.sqrt(E / rho)
    assert half_period == pytest.approx(expected, rel=0.05)


def sliding_block(friction: float, speed: float) -> tuple[ds.Simulator, ds.State]:
    body = ds.SoftBody("block", ds.Box((0.1, 0.1, 0.06)), (0.4, 0.5, 0.061), material=ds.Elastic(2e4, 0.2, 1e3), particles=400)
    sim = ds.Simulator(ds.Scene((body,), ground=ds.Ground(friction=friction), grid_spacing=0.04), dt=1e-3, substeps=20)
    state = sim.rollout(sim.reset(), no_action(sim, 20))[-1]  # settle
    velocity = state.v.clone()
    velocity[..., 0] += speed
    return sim, state.replace(v=velocity)


def test_sliding_block_decelerates_with_friction_times_gravity():
    sim, state = sliding_block(0.2, 1.0)
    after = sim.rollout(state, no_action(sim, 10))[-1]
    slowed = float(state.v[..., 0].mean() - after.v[..., 0].mean())
    assert slowed == pytest.approx(0.2 * 9.81 * 0.2, rel=0.15)


def test_friction_holds_a_block():
    def slid(friction: float, steps: int) -> float:
        sim, state = sliding_block(friction, 0.3)
        foot = state.x[0, :, 2] < state.x[0, :, 2].min() + 0.02  # the rest sways above it
        after = sim.rollout(state, no_action(sim, steps))[-1]
        return float((after.x - state.x)[0, foot, 0].mean())

    # it slides v^2 / (2 mu g), 23 mm and 1.5 mm, give or take the swaying
    assert slid(0.2, 40) == pytest.approx(0.3**2 / (2 * 0.2 * 9.81), rel=0.25)
    assert abs(slid(3.0, 40)) < 4e-3


def test_frictionless_ground_slows_nothing():
    sim, state = sliding_block(0.0, 1.0)
    after = sim.rollout(state, no_action(sim, 10))[-1]
    assert float(after.v[..., 0].mean()) == pytest.approx(float(state.v[..., 0].mean()), rel=1e-4)


@pytest.mark.parametrize(("friction", "dragged"), [(0.0, False), (2.0, True)], ids=["smooth", "rough"])
def test_a_rough_tool_drags_what_it_lies_on(friction, dragged):
    scene = ds.Scene(
        (ds.SoftBody("block", ds.Box((0.1, 0.1, 0.06)), (0.3, 0.3, 0.061), particles=300),),
        tools=(ds.Tool("plate", ds.Box((0.12, 0.12, 0.03)), (0.3, 0.3, 0.16), control=("x", "z"), friction=friction),),
        ground=ds.Ground(friction=0.05),
        upper=(0.8, 0.6, 0.4),
        grid_spacing=0.04,
    )
    sim = ds.Simulator(scene, dt=2e-3, substeps=10)
    state = sim.reset()
    for action in ([0.0, -0.2],) * 12 + ([0.5, 0.0],) * 10:
        state = sim.step(state, torch.tensor([action]))
    moved = float(state.x[0, :, 0].mean()) - 0.3
    assert moved > 0.05 if dragged else abs(moved) < 0.01


def test_block_at_rest_is_carried_by_the_ground():
    sim, state = sliding_block(0.5, 0.0)
    before = state.x.mean(dim=1)
    after = sim.rollout(state, no_action(sim, 10))[-1]
    assert float((after.x.mean(dim=1) - before).abs().max()) < 5e-3
    assert float(after.x[..., 2].min()) > -0.01
    assert float(after.v[..., 2].mean().abs()) < 9.81 * 0.2 / 50  # the ground gave back what gravity did in 0.2 s


@pytest.mark.parametrize(("yield_stress", "stays"), [(None, False), (100.0, True)], ids=["elastic", "plastic"])
def test_only_plastic_bodies_keep_a_dent(yield_stress, stays):
    params = {"youngs_modulus": 1e4, "poissons_ratio": 0.2, "density": 1e3}
    material = ds.Elastic(**params) if yield_stress is None else ds.ElastoPlastic(**params, yield_stress=yield_stress)
    scene = ds.Scene(
        (ds.SoftBody("block", ds.Box((0.1, 0.1, 0.08)), (0.3, 0.3, 0.081), material=material, particles=400),),
        tools=(ds.Tool("press", ds.Box((0.15, 0.15, 0.05), rounding=0.02), (0.3, 0.3, 0.23), control=("z",)),),
        upper=(0.6, 0.6, 0.5),
        grid_spacing=0.04,
        gravity=(0.0, 0.0, -1.0),
    )
    sim = ds.Simulator(scene, dt=2e-3, substeps=10)
    state = sim.reset()
    height = float(state.x[..., 2].max())
    for velocity, steps in ((-0.2, 20), (0.4, 15)):
        for _ in range(steps):
            state = sim.step(state, torch.full((1, 1), velocity))
    lost = 1.0 - float(state.x[..., 2].max()) / height
    assert lost > 0.2 if stays else lost < 0.1


def test_yield_surface_is_respected():
    material = ds.ElastoPlastic(youngs_modulus=1e4, poissons_ratio=0.2, yield_stress=80.0)
    sim = ds.Simulator(free_scene(material), dt=1e-3, substeps=1, dtype=F64)
    state = sim.step(random_state(sim, strain=0.2), no_action(sim, 1)[0])
    strain = torch.linalg.svdvals(state.F).log()
    deviator = strain - strain.mean(-1, keepdim=True)
    assert float(deviator.norm(dim=-1).max()) <= 80.0 / (2.0 * material.lame[0]) * (1.0 + 1e-9)
    assert float(deviator.norm(dim=-1).max()) >= 80.0 / (2.0 * material.lame[0]) * (1.0 - 1e-9)


def test_every_wall_keeps_a_body_in():
    sim = ds.Simulator(free_scene(ds.Elastic()), num_envs=6, dt=1e-3, substeps=20)
    state = sim.reset()
    outward = torch.cat([torch.eye(3), -torch.eye(3)])
    start = state.replace(v=state.v + 3.0 * outward[:, None])
    end = sim.rollout(start, no_action(sim, 15, 6))[-1]  # 0.9 m at that speed, 0.4 m to the wall
    assert float(end.x.max()) < 1.0 + sim.scene.grid_spacing
    assert float(end.x.min()) > -sim.scene.grid_spacing
    assert float((end.v.mean(dim=1) * outward).sum(dim=1).max()) < 0.1


@pytest.mark.parametrize(
    "shape",
    [ds.Sphere(0.05), ds.Capsule(0.08, 0.04), ds.Box((0.05, 0.04, 0.03))],
    ids=lambda shape: type(shape).__name__,
)
def test_tools_stop_at_obstacles_and_slide_along_them(shape):
    def arrived(stops: bool) -> torch.Tensor:
        scene = ds.Scene(
            (ds.SoftBody("far", ds.Sphere(0.08), (0.9, 0.9, 0.1), particles=20),),
            tools=(ds.Tool("tool", shape, (0.3, 0.3, 0.3), stops_at=("obstacles",) if stops else ()),),
            obstacles=(ds.Obstacle("wall", ds.Box((0.1, 0.4, 0.4)), (0.6, 0.3, 0.3)),),
        )
        sim = ds.Simulator(scene, dt=1e-3, substeps=20)
        action = torch.tensor([[1.0, 0.5, 0.0]])
        return sim.rollout(sim.reset(), action.expand(20, 1, 3))[-1].tool_position[0, 0]

    extent = {ds.Sphere: 0.05, ds.Capsule: 0.04, ds.Box: 0.05}[type(shape)]
    stopped = arrived(True)
    assert float(stopped[0]) == pytest.approx(0.5 - extent, abs=1e-5)
    assert float(stopped[1]) == pytest.approx(0.5, abs=1e-5)
    assert float(arrived(False)[0]) == pytest.approx(0.7, abs=1e-5)


def test_a_sphere_never_ends_inside_an_obstacle_whatever_the_direction():
    box = ds.Obstacle("box", ds.Box((0.1, 0.06, 0.08), rounding=0.02), (0.5, 0.5, 0.4), rotation=(0.8, 0.3, -0.2, 0.4))
    radius = 0.05

    def closest(stops: bool) -> tuple[float, float]:
        ball = ds.Tool("ball", ds.Sphere(radius), (0.5, 0.5, 0.7), stops_at=("obstacles",) if stops else ())
        body = ds.SoftBody("far", ds.Sphere(0.08), (0.9, 0.9, 0.1), particles=20)
        sim = ds.Simulator(ds.Scene((body,), tools=(ball,), obstacles=(box,)), num_envs=32, dt=1e-3, substeps=20)
        generator = torch.Generator().manual_seed(0)
        state = sim.reset()
        start = 0.5 + 0.3 * torch.nn.functional.normalize(torch.randn(32, 1, 3, generator=generator), dim=-1)
        state = state.replace(tool_position=start - torch.tensor([0.0, 0.0, 0.1]))
        gaps, travelled = [], 0.0
        for _ in range(20):
            towards = torch.tensor(box.position) - state.tool_position[:, 0]
            before = state.tool_position
            state = sim.step(state, 5.0 * towards + 0.5 * torch.randn(32, 3, generator=generator))
            local = (state.tool_position[:, 0].numpy() - np.array(box.position)) @ rotation_matrix(box.rotation)
            gaps.append(box.shape.signed_distance(local).min() - radius)
            travelled += float((state.tool_position - before).norm(dim=-1).mean())
        return min(gaps), travelled

    gap, travelled = closest(True)
    assert -1e-6 < gap < 1e-3  # they reach it, and stay out
    assert travelled > 0.2
    assert closest(False)[0] < -0.05


def test_f32_follows_f64():
    def rolled(dtype: torch.dtype) -> torch.Tensor:
        sim = ds.Simulator(contact_scene(150.0), dt=2e-3, substeps=10, dtype=dtype)
        action = torch.full((5, 1, sim.action_dim), 0.3, dtype=dtype)
        return sim.rollout(sim.reset(), action)[-1].x.double()

    exact = rolled(F64)
    assert 0.0 < float((rolled(torch.float32) - exact).abs().max()) < 2e-5


def test_results_do_not_depend_on_threads_or_batch_order(monkeypatch):
    def rolled(lanes: int, order: list[int]) -> torch.Tensor:
        monkeypatch.setattr("diffsim.runtime.num_threads", lambda: lanes)
        sim = ds.Simulator(free_scene(ds.Elastic(), gravity=(0.0, 0.0, -9.81)), num_envs=4, dt=1e-3, substeps=10)
        start = sim.reset()
        start = start.replace(v=start.v + torch.arange(4.0)[:, None, None])[order]
        return sim.rollout(start, no_action(sim, 3, 4))[-1].x

    straight = rolled(1, [0, 1, 2, 3])
    assert torch.equal(straight, rolled(3, [0, 1, 2, 3]))
    assert torch.equal(straight.flip(0), rolled(2, [3, 2, 1, 0]))


@pytest.mark.parametrize(("dtype", "tolerance"), [(F64, 1e-12), (torch.float32, 1e-4)], ids=["f64", "f32"])
def test_one_environment_on_two_threads_is_that_on_one_up_to_rounding(monkeypatch, dtype, tolerance):
    """Two threads have grids of their own, which are added up: the sums' order changes, hence the last bits, but no more."""

    def rolled(threads: int) -> list[torch.Tensor]:
        monkeypatch.setattr("diffsim.runtime.num_threads", lambda: threads)
        sim = ds.Simulator(contact_scene(150.0), dt=2e-3, substeps=10, dtype=dtype)
        action = torch.full((3, 1, sim.action_dim), 0.3, dtype=dtype, requires_grad=True)
        velocity = sim.reset().v.requires_grad_()
        end = sim.rollout(sim.reset().replace(v=velocity), action)[-1]
        end.x.square().sum().backward()
        return [end.x.detach(), end.v.detach(), end.F.detach(), action.grad, velocity.grad]

    if runtime.num_threads() < 2:
        pytest.skip("this process has one thread")
    runtime.start()  # with all threads: where the compiler was started with one, one worker does both parts
    one, two, again = rolled(1), rolled(2), rolled(2)
    for alone, together, repeated in zip(one, two, again, strict=True):
        assert torch.equal(together, repeated)
        scale = float(alone.abs().max())
        torch.testing.assert_close(together, alone, rtol=0.0, atol=tolerance * scale)
    assert not torch.equal(one[2], two[2])  # two threads were at work


def two_bodies() -> ds.Scene:
    return ds.Scene(
        (
            ds.SoftBody("calm", ds.Sphere(0.08), (0.3, 0.3, 0.3), particles=30),
            ds.SoftBody("wild", ds.Sphere(0.08), (0.7, 0.7, 0.5), particles=30),
        ),
        ground=None,
        gravity=(0.0, 0.0, 0.0),
    )


def test_a_time_step_far_too_long_is_reported_where_it_blew_up():
    stiff = ds.Elastic(youngs_modulus=1e6)
    scene = ds.Scene(
        (
            ds.SoftBody("soft", ds.Sphere(0.08), (0.3, 0.3, 0.3), particles=60),
            ds.SoftBody("stiff", ds.Sphere(0.08), (0.7, 0.7, 0.7), material=stiff, particles=60),
        ),
        ground=None,
        gravity=(0.0, 0.0, 0.0),
    )
    sim = ds.Simulator(scene, num_envs=3, dt=4e-3, substeps=10)  # Courant number 4 in the stiff body, 0.3 in the soft one
    state = sim.reset()
    F = state.F.clone()
    F[1] = F[1] * 1.01  # the other environments are at rest
    state = state.replace(F=F)
    with pytest.raises(ds.SimulationError) as caught:
        sim.rollout(state, no_action(sim, 20, 3))
    assert (caught.value.environment, caught.value.kind, caught.value.name) == (1, "body", "stiff")
    assert caught.value.step < 20
    assert 0 <= caught.value.substep < 10
    assert str(caught.value).count("\n") == 0
    assert f"control step {caught.value.step}, substep {caught.value.substep}" in str(caught.value)


@pytest.mark.parametrize("value", [1e9, float("nan")])
def test_wild_physics_is_reported_where_it_began(value):
    sim = ds.Simulator(two_bodies(), num_envs=3, dt=1e-3, substeps=10)
    state = sim.step(sim.reset(), no_action(sim, 1, 3)[0])
    velocity = state.v.clone()
    velocity[2, sim.particle_slice("wild")] = value
    with pytest.raises(ds.SimulationError) as caught:
        sim.step(state.replace(v=velocity), no_action(sim, 1, 3)[0])
    error = caught.value
    assert (error.step, error.environment, error.kind, error.name) == (1, 2, "body", "wild")
    assert error.substep in (0, 1)
    assert error.quantity in ("velocity", "position")
    assert f"{error.quantity} of body 'wild' " in str(error)
    assert "environment 2" in str(error)
    assert "\n" not in str(error)
    # nothing is left behind in the solver's private buffers that would poison the next step
    assert torch.isfinite(sim.step(state, no_action(sim, 1, 3)[0]).x).all()
