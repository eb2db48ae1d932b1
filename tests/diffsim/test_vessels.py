"""Cups, bowls, open boxes and compounds: distances, masses, and rigid bodies in them and made of them."""

import numpy as np
import pytest
import torch
import trimesh

import diffsim as ds
from diffsim.scene.rotations import rotation_matrix
from tests.diffsim.kernel_distance import kernel_distance

pytestmark = pytest.mark.slow

F64 = torch.float64
G = 9.81
VESSELS = {
    "cup": ds.Cup(0.1, 0.15, 0.02),
    "bowl": ds.Bowl(0.2, 0.03),
    "shallow bowl": ds.Bowl(0.3, 0.02, 0.9),
    "flask": ds.Bowl(0.15, 0.02, 2.3),
    "glass": ds.Vessel(0.05, 0.04, 1.2, 0.15, 0.012),
}
TURNED = (0.8, 0.3, -0.2, 0.4)
HAMMER = ds.Compound((
    (ds.Box((0.03, 0.03, 0.08)), (0.0, 0.0, 0.2)),
    (ds.Cylinder(0.12, 0.015), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0)),
))  # fmt: skip


@pytest.mark.parametrize("name", VESSELS)
def test_distances_are_those_to_the_surface(name):
    shape = VESSELS[name]
    points = np.random.default_rng(0).uniform(-0.35, 0.35, (300, 3))
    mesh = shape.surface_mesh()
    assert mesh.is_watertight
    np.testing.assert_allclose(shape.signed_distance(mesh.vertices), 0.0, atol=1e-12)
    np.testing.assert_allclose(shape.signed_distance(points), -trimesh.proximity.signed_distance(mesh, points), atol=1e-3)
    low, high = mesh.bounds
    np.testing.assert_allclose(low[2], -high[2], atol=1e-3)  # the origin is in the middle
    assert not shape.contains(np.array([[0.0, 0.0, 0.3 * low[2]]]))[0] or name == "shallow bowl"


@pytest.mark.parametrize("name", VESSELS)
def test_the_kernels_distance_has_the_derivatives_it_says(name):
    shape, step = VESSELS[name], 1e-5
    points = np.random.default_rng(0).uniform(-0.35, 0.35, (400, 3))
    phi, gradient, hessian = kernel_distance(shape, points)
    np.testing.assert_allclose(phi, shape.signed_distance(points), atol=1e-12)
    slope, bend, smooth = np.zeros_like(gradient), np.zeros_like(hessian), np.ones(len(points), dtype=bool)
    for axis in range(3):
        shift = step * np.eye(3)[axis]
        ahead, behind = kernel_distance(shape, points + shift), kernel_distance(shape, points - shift)
        slope[:, axis], bend[:, :, axis] = (ahead[0] - behind[0]) / (2 * step), (ahead[1] - behind[1]) / (2 * step)
        smooth &= np.linalg.norm(ahead[1] - behind[1], axis=1) < 0.01
    assert smooth.mean() > 0.95
    np.testing.assert_allclose(slope[smooth], gradient[smooth], atol=1e-6)
    close = np.abs(bend - hessian).max(axis=(1, 2)) < 1e-4 * (1.0 + np.abs(hessian).max(axis=(1, 2)))
    assert close[smooth].mean() > 0.97


@pytest.mark.parametrize("name", VESSELS)
def test_masses_are_those_of_a_fine_mesh(name):
    shape = VESSELS[name]
    volume, center, inertia = shape.mass_properties()
    mesh = shape.surface_mesh()
    assert volume == pytest.approx(mesh.volume, rel=8e-3)  # 64 sides are 1.6e-3 less than a circle, the bend's 6 degrees more
    np.testing.assert_allclose(center, mesh.center_mass, atol=1e-3)
    np.testing.assert_allclose(inertia, mesh.moment_inertia, atol=0.015 * inertia.max())


def test_the_mass_of_half_a_hollow_ball_in_closed_form():
    """And the round rim, half a torus' tube."""
    outer, thickness = 0.2, 0.03
    inner, middle, h = outer - thickness, outer - 0.5 * thickness, 0.5 * thickness
    rim = np.pi**2 * middle * h**2
    volume, _center, inertia = ds.Bowl(outer, thickness).mass_properties()
    assert volume == pytest.approx(2.0 / 3.0 * np.pi * (outer**3 - inner**3) + rim, rel=1e-12)
    about = 4.0 / 15.0 * np.pi * (outer**5 - inner**5) + rim * (middle**2 + 0.75 * h**2)
    assert inertia[2, 2] == pytest.approx(about, rel=1e-12)


def test_a_compound_is_the_sum_of_its_parts():
    shape = ds.Compound(((ds.Box((0.1, 0.05, 0.02)), (0.3, 0.0, 0.1), TURNED), (ds.Sphere(0.1), (0.0, 0.0, -0.2))))
    volume, center, inertia = shape.mass_properties()
    expected = [8 * 0.1 * 0.05 * 0.02, 4.0 / 3.0 * np.pi * 0.1**3]
    assert volume == pytest.approx(sum(expected), rel=1e-12)
    places = np.array([(0.3, 0.0, 0.1), (0.0, 0.0, -0.2)])
    np.testing.assert_allclose(center, expected @ places / volume, atol=1e-14)
    turn, total = rotation_matrix(tuple(np.array(TURNED) / np.linalg.norm(TURNED))), np.zeros((3, 3))
    box, ball = ds.Box((0.1, 0.05, 0.02)).mass_properties()[2], ds.Sphere(0.1).mass_properties()[2]
    for mass, own, place in zip(expected, (turn @ box @ turn.T, ball), places - center, strict=True):
        total += own + mass * (place @ place * np.eye(3) - np.outer(place, place))
    np.testing.assert_allclose(inertia, total, rtol=1e-12, atol=1e-16)
    points = np.random.default_rng(0).uniform(-0.4, 0.4, (200, 3))
    ends = shape.parts[0].shape.signed_distance((points - places[0]) @ turn), ds.Sphere(0.1).signed_distance(points - places[1])
    np.testing.assert_allclose(shape.signed_distance(points), np.minimum(*ends), atol=1e-14)
    nested = ds.Compound(((shape, (0.1, 0.0, 0.0), TURNED), (ds.Sphere(0.01), (1.0, 0.0, 0.0))))
    assert len(nested.parts) == 3
    moved = nested.signed_distance(points @ turn.T + (0.1, 0.0, 0.0))
    near = shape.signed_distance(points) < 0.3
    np.testing.assert_allclose(moved[near], shape.signed_distance(points)[near], atol=1e-12)


def test_what_parts_share_counts_once():
    cube = ds.Box((0.1, 0.1, 0.1))
    shape = ds.Compound(((cube, (0.0, 0.0, 0.0)), (cube, (0.1, 0.0, 0.0)), (cube, (0.05, 0.0, 0.0))))
    volume, center, inertia = shape.mass_properties()
    bar = ds.Box((0.15, 0.1, 0.1))
    assert volume == pytest.approx(bar.volume, rel=1e-9)
    np.testing.assert_allclose(center, (0.05, 0.0, 0.0), atol=1e-9)
    np.testing.assert_allclose(inertia, bar.mass_properties()[2], atol=2e-3 * inertia.max())
    particles = ds.SoftBody("bar", shape, (0.0, 0.0, 0.0), particles=600).rest_particles
    np.testing.assert_allclose(particles.mean(axis=0), center, atol=1e-9)  # no part has more of them for being shared
    assert len(particles) == len(np.unique(particles.round(9), axis=0))


def test_an_open_box_is_its_outer_box_without_the_room():
    shape = ds.OpenBox((0.1, 0.08, 0.05), 0.01)
    assert shape.volume == pytest.approx(8 * 0.1 * 0.08 * 0.05 - 0.18 * 0.14 * 0.09, rel=1e-12)
    assert shape.thickness == pytest.approx(0.01)
    assert shape.contains(np.array([(0.0, 0.0, -0.045), (0.095, 0.0, 0.0), (0.0, -0.075, 0.04)])).all()
    assert not shape.contains(np.array([(0.0, 0.0, -0.035), (0.085, 0.0, 0.0), (0.0, -0.065, 0.049)])).any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ds.Compound(()), "pieces must hold one or more"),
        (lambda: ds.Compound((ds.Sphere(0.1),)), r"piece 0 must be \(shape, position\)"),
        (lambda: ds.Compound(((ds.Plane(), (0.0, 0.0, 0.0)),)), "piece 0: shape must have an end"),
        (lambda: ds.Compound(((ds.Sphere(0.1), (0.0, 0.0)),)), "piece 0: position must be 3 finite numbers"),
        (lambda: ds.OpenBox((0.1, 0.1, 0.1), 0.1), "thickness must be less than 0.1"),
        (lambda: ds.Cup(0.1, 0.05, 0.04), "rounding .* must exceed thickness=0.04 and be at most 0.05"),
        (lambda: ds.Bowl(0.1, 0.2), "thickness must be less than radius=0.1"),
        (lambda: ds.Bowl(0.1, 0.01, 3.14), "the wall must not reach the axis"),
        (lambda: ds.Vessel(0.1, 0.01, 1.0, 0.1, 0.03), "bend must exceed half the thickness"),
    ],
)
def test_bad_sizes_are_refused(make, message):
    with pytest.raises(ds.InputError, match=message):
        make()


# rigid bodies: all scenes have a vessel and a tool, and so share their kernels

BOWL = ds.Tool("bowl", VESSELS["bowl"], (0.0, 0.0, 0.2), control=("x",))


SHARP = ds.ContactModel()
SMOOTH = ds.ContactModel(stiffness=3e3, smoothing=5e-3, slip_speed=0.05, restitution_speed=0.05)


def simulator(*bodies: ds.RigidBody, tools=(BOWL,), substeps: int = 20, contact=SHARP) -> ds.Simulator:
    scene = ds.Scene(rigid_bodies=bodies, tools=tools, contact=contact)
    return ds.Simulator(scene, dt=1e-3, substeps=substeps, dtype=F64)


def test_a_ball_rolls_in_a_bowl_at_its_frequency_and_stays():
    """omega^2 = 5 g / 7 (R - r) for small swings without sliding."""
    room, r = 0.17, 0.02  # inner radius of the bowl
    middle = 0.2 - VESSELS["bowl"]._middle + VESSELS["bowl"].bend  # height of the middle of the ball that it is part of
    for angle in (0.1, 1.2):
        place = (room - r) * np.array([np.sin(angle), 0.0, -np.cos(angle)]) + (0.0, 0.0, middle)
        sim = simulator(ds.RigidBody("ball", ds.Sphere(r), tuple(place)))
        states = sim.rollout(sim.reset(), torch.zeros(75, 1, 1, dtype=F64))
        path = np.array([state.q[0, :3].tolist() for state in states])
        away = np.linalg.norm(path - (0.0, 0.0, middle), axis=1)
        assert away.max() < room - r + 1e-4
        if angle == 0.1:
            period = 2.0 * np.pi / np.sqrt(5.0 * G / (7.0 * (room - r)))
            times = 0.02 * np.arange(len(path))
            crossed = np.flatnonzero(np.diff(np.sign(path[:, 0])))[0]
            share = path[crossed, 0] / (path[crossed, 0] - path[crossed + 1, 0])
            assert times[crossed] + 0.02 * share == pytest.approx(0.25 * period, rel=0.01)


def test_a_ball_stays_in_a_tray_that_is_a_tool():
    tray = ds.Tool("tray", ds.OpenBox((0.2, 0.15, 0.06), 0.02), (0.0, 0.0, 0.3), control=("x", "y", "rx"))
    sim = simulator(ds.RigidBody("ball", ds.Sphere(0.03), (0.0, 0.0, 0.291)), tools=(tray, BOWL))
    state = sim.reset().replace(tool_position=torch.tensor([[[0.0, 0.0, 0.3], [5.0, 0.0, 0.2]]], dtype=F64))
    for step in range(60):
        t = 0.02 * step
        action = torch.tensor([[0.6 * np.cos(7.0 * t), 0.5 * np.sin(9.0 * t), 0.8 * np.cos(6.0 * t), 0.0]], dtype=F64)
        state = sim.step(state, action)
        local = (state.q[0, :3] - state.tool_position[0, 0]).numpy() @ rotation_matrix(
            tuple(state.tool_rotation[0, 0].tolist())
        )
        assert (np.abs(local) < (0.151, 0.101, 0.06)).all()
        assert local[2] > -0.0115


def test_a_cup_stands_and_a_hammer_falls_over():
    cup = ds.RigidBody("cup", VESSELS["cup"], (0.6, 0.0, 0.1))
    hammer = ds.RigidBody("hammer", HAMMER, (1.2, 0.0, 0.13), (0.98, 0.0, 0.2, 0.0))
    sim = simulator(cup, hammer)
    end = sim.rollout(sim.reset(), torch.zeros(80, 1, 1, dtype=F64))[-1]
    assert end.q[0, 2] == pytest.approx(0.1, abs=1e-5)
    assert end.q[0, 3] == pytest.approx(1.0, abs=1e-9)
    links, number = sim.links(end), sim.link_index("hammer")
    corners = torch.tensor(HAMMER.surface_mesh().vertices) @ links.rotation[0, number].T + links.position[0, number]
    assert float(corners[:, 2].min()) == pytest.approx(0.0, abs=1e-4)
    assert float(corners[:, 2].max()) < 0.12  # it stood .26 m high
    depths = sim.penetration(end)
    assert set(depths) >= {("cup", "ground"), ("hammer", "ground"), ("hammer", "cup"), ("bowl", "cup"), ("bowl", "ground")}
    assert all(float(depth) < 1e-5 for depth in depths.values())


def test_gradients():
    """A hammer and a cup in a bowl that moves, in touch with it and with each other."""
    hammer = ds.RigidBody("hammer", HAMMER, (0.03, 0.02, 0.28), (0.9, 0.3, 0.2, 0.1), friction=0.4)
    cup = ds.RigidBody("cup", ds.Cup(0.03, 0.04, 0.008), (-0.03, 0.0, 0.18), (0.9, 0.1, 0.3, 0.2), friction=0.3)
    sim = simulator(hammer, cup, substeps=5, contact=SMOOTH)
    state = sim.rollout(sim.reset(), torch.full((30, 1, 1), 0.4, dtype=F64))[-1]
    names = ("bowl.friction", "hammer.friction", "hammer.mass", "cup.friction", "cup.scale", "gravity")
    fields = ("q", "qd", "tool_position", "tool_rotation")
    inputs = {name: getattr(state, name) for name in fields} | {name: sim.parameters[name] for name in names}
    inputs["action"] = torch.full((1, 1), 0.4, dtype=F64)
    generator = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(getattr(state, name).shape, generator=generator, dtype=F64) for name in ("q", "qd")}

    def functional(**given: torch.Tensor) -> torch.Tensor:
        action = given.pop("action")
        end = sim.step(state.replace(**{name: given.pop(name) for name in fields}), action, given)
        return sum((weight * getattr(end, name)).sum() for name, weight in weights.items())

    checks = ds.gradcheck(functional, inputs, directions=2)
    for name in inputs:
        assert any(abs(each.adjoint) > 1e-6 for each in checks if each.name == name), f"{name} changes nothing"
