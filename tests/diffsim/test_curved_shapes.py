"""Ellipsoid, cone and height field: distances in numpy and in kernels, masses, contact, gradients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

import diffsim as ds
from diffsim.scene.shapes.contact_balls import BALL, DEEPEST
from tests.diffsim.kernel_distance import kernel_distance
from tests.diffsim.test_inputs import refused

pytestmark = pytest.mark.slow

HILLS = 0.08 * np.random.default_rng(3).normal(size=(7, 6))
SHAPES = {
    "ellipsoid": ds.Ellipsoid((0.3, 0.2, 0.1)),
    "oblate": ds.Ellipsoid((0.25, 0.25, 0.1)),
    "round": ds.Ellipsoid((0.2, 0.2, 0.2)),
    "cone": ds.Cone(0.2, 0.25),
    "truncated": ds.Cone(0.15, 0.3, 0.2),
    "rounded cone": ds.Cone(0.2, 0.25, 0.0, 0.04),
    "rounded truncated": ds.Cone(0.15, 0.3, 0.2, 0.05),
    "field": ds.HeightField(HILLS, (0.12, 0.1)),
}
SOLID = [name for name in SHAPES if name != "field"]
OTHERS = {
    "capsule": ds.Capsule(0.2, 0.1), "box": ds.Box((0.3, 0.2, 0.1), 0.03), "cylinder": ds.Cylinder(0.2, 0.15, 0.02),
    "torus": ds.Torus(0.2, 0.07), "plane": ds.Plane(),
}  # fmt: skip


def cloud(size: float = 0.4, count: int = 400) -> np.ndarray:
    return np.random.default_rng(0).uniform(-size, size, (count, 3))


def closest_on(mesh: trimesh.Trimesh, points: np.ndarray) -> np.ndarray:
    """Unsigned distance (N,) to the nearest of the mesh's triangles."""
    return trimesh.proximity.closest_point(mesh, points)[1]


@pytest.mark.parametrize("name", SOLID)
def test_distance_against_brute_force(name):
    shape, points = SHAPES[name], cloud()
    distance, mesh = shape.signed_distance(points), shape.surface_mesh()
    np.testing.assert_allclose(np.abs(distance), closest_on(mesh, points), atol=1.5e-3)  # the mesh's facets lie that deep
    clear = np.abs(distance) > 2e-3
    np.testing.assert_array_equal((distance < 0.0)[clear], mesh.contains(points)[clear])


def test_field_distance_against_brute_force():
    gentle = ds.HeightField(0.2 * HILLS, 0.12)
    lines = [np.linspace(-0.5, 0.5, 201)] * 2
    places = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, 2)
    surface = np.concatenate([places, gentle.evaluate(places)[0][:, None]], axis=1)
    points = cloud(0.25, 200) * (1.0, 1.0, 0.3)
    nearest = np.linalg.norm(points[:, None] - surface, axis=2).min(axis=1)
    distance = gentle.signed_distance(points)
    assert (np.abs(distance) < nearest + 1e-12).all()  # the samples lie farther away than the surface
    np.testing.assert_allclose(distance**2, nearest**2, atol=2 * 0.0025**2)
    np.testing.assert_array_equal(distance < 0.0, points[:, 2] < gentle.evaluate(points[:, :2])[0])


def test_field_passes_through_its_heights_and_goes_on_level():
    field = SHAPES["field"]
    assert isinstance(field, ds.HeightField)
    x, y = (np.arange(n) - 0.5 * (n - 1) for n in HILLS.shape)
    places = np.stack(np.meshgrid(0.12 * x, 0.1 * y, indexing="ij"), axis=-1).reshape(-1, 2)
    np.testing.assert_allclose(field.evaluate(places)[0], HILLS.ravel(), atol=1e-12)
    far = field.evaluate(np.array([[9.0, 9.0], [5.0, 9.0]]))
    np.testing.assert_allclose(far[0], field.coefficients[-1, -1], atol=1e-12)
    assert not far[1].any()
    assert field.evaluate(0.5 * np.random.default_rng(0).normal(size=(2000, 2)))[0].max() <= field.top
    points = cloud(0.5)
    rough = field.signed_distance(points)
    above = points[:, 2] - field.evaluate(points[:, :2])[0]
    np.testing.assert_array_equal(rough > 0.0, above > 0.0)
    assert (np.abs(rough) <= np.abs(above) + 1e-12).all()
    assert (rough >= points[:, 2] - field.top - 1e-12).all()


@pytest.mark.parametrize("name", [*SHAPES, *OTHERS])
def test_kernel_agrees_with_numpy_and_its_derivatives_with_differences(name):
    shape = (SHAPES | OTHERS)[name]
    points = cloud()
    if isinstance(shape, ds.HeightField):
        points = points * (1.0, 1.0, 0.1)
        points[:, 2] += shape.evaluate(points[:, :2])[0]
    phi, gradient, hessian = kernel_distance(shape, points)
    np.testing.assert_allclose(phi, shape.signed_distance(points), atol=1e-11)
    step = 1e-5
    smooth = np.ones(len(points), dtype=bool)
    slope, bend = np.zeros_like(gradient), np.zeros_like(hessian)
    for axis in range(3):
        shift = step * np.eye(3)[axis]
        ahead, behind = kernel_distance(shape, points + shift), kernel_distance(shape, points - shift)
        slope[:, axis], bend[:, :, axis] = (ahead[0] - behind[0]) / (2 * step), (ahead[1] - behind[1]) / (2 * step)
        jump = np.linalg.norm(ahead[1] - behind[1], axis=1)
        smooth &= jump < 0.01  # no edge of the medial axis between the two
    assert smooth.mean() > 0.9
    np.testing.assert_allclose(slope[smooth], gradient[smooth], atol=1e-6)
    close = np.abs(bend - hessian).max(axis=(1, 2)) < 1e-4 * (1.0 + np.abs(hessian).max(axis=(1, 2)))
    assert close[smooth].mean() > 0.97  # all but those next to where the Hessian jumps
    np.testing.assert_allclose(hessian, hessian.transpose(0, 2, 1), atol=1e-9 * (1.0 + np.abs(hessian).max()))
    single = kernel_distance(shape, points, "f32")[0]
    np.testing.assert_allclose(single, phi, atol=2e-6)


def test_ellipsoid_distance_at_the_middle_and_far_away():
    shape = SHAPES["ellipsoid"]
    points = np.array(
        [[0, 0, 0], [0.1, 0, 0], [0.2999, 0, 0], [0, 0, 0.3], [5, 0, 0], [0, -7, 0], [0.3, 0, 0], [1e-9, 0, 1e-9]]
    )
    phi, gradient, _ = kernel_distance(shape, points)
    np.testing.assert_allclose(phi[[0, 7]], -0.1, atol=1e-8)
    np.testing.assert_allclose(phi[3:7], [0.2, 4.7, 6.8, 0.0], atol=1e-12)
    np.testing.assert_allclose(phi, shape.signed_distance(points), atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(gradient, axis=1), 1.0, atol=1e-12)
    ball = SHAPES["round"]
    points = cloud()
    np.testing.assert_allclose(ball.signed_distance(points), np.linalg.norm(points, axis=1) - 0.2, atol=1e-12)
    assert ball.is_sphere
    assert len(ball.contact_points()) == 1


@pytest.mark.parametrize("name", SOLID)
def test_masses_meshes_and_contact_points(name):
    shape = SHAPES[name]
    mesh = shape.surface_mesh()
    assert mesh.is_watertight
    assert np.abs(shape.signed_distance(mesh.vertices)).max() < 1e-9
    volume, center, inertia = shape.mass_properties()
    assert volume == shape.volume == pytest.approx(mesh.volume, rel=0.01)
    np.testing.assert_allclose(center, mesh.center_mass, atol=1e-3)
    np.testing.assert_allclose(inertia, mesh.moment_inertia, atol=0.015 * inertia.max())
    assert 0.99 * shape.bounding_radius < np.linalg.norm(mesh.vertices, axis=1).max() < shape.bounding_radius * (1 + 1e-9)
    points = shape.contact_points()
    for normal in np.random.default_rng(0).normal(size=(20, 3)):
        centers, radii = points.placed(normal)
        touch = (points.kinds == BALL) | (points.kinds == DEEPEST)
        np.testing.assert_allclose(shape.signed_distance(centers[touch]), -radii[touch], atol=1e-7)
        lowest = (centers @ normal / np.linalg.norm(normal) - radii)[points.on_planes].min()
        mesh_lowest = (mesh.vertices @ normal).min() / np.linalg.norm(normal)
        assert 1.005 * mesh_lowest - 1e-9 <= lowest <= mesh_lowest + 1e-9


def test_cone_in_closed_form():
    h, r = 0.4, 0.25
    volume, center, inertia = ds.Cone(h / 2, r).mass_properties()
    assert volume == pytest.approx(np.pi * r**2 * h / 3, rel=1e-12)
    assert center[2] == pytest.approx(h / 4 - h / 2, rel=1e-12)
    across = volume * (3 / 20 * r**2 + 3 / 80 * h**2)
    np.testing.assert_allclose(np.diag(inertia), [across, across, 0.3 * volume * r**2], rtol=1e-12)
    rod = ds.Cylinder(0.2, 0.1, 0.03)
    np.testing.assert_allclose(ds.Cone(0.2, 0.1, 0.1, 0.03).volume, rod.volume, rtol=1e-12)
    np.testing.assert_allclose(
        ds.Cone(0.2, 0.1, 0.1, 0.03).signed_distance(cloud()), rod.signed_distance(cloud()), rtol=0, atol=1e-12
    )


def test_bad_arguments():
    with refused("semi_axes", "0.0"):
        ds.Ellipsoid((0.1, 0.0, 0.1))
    with refused("semi_axes", "3 finite numbers"):
        ds.Ellipsoid((0.1, 0.1))
    with refused("top_radius", "0.3"):
        ds.Cone(0.1, 0.2, 0.3)
    with refused("rounding", "0.2"):
        ds.Cone(0.1, 0.2, 0.1, 0.2)
    with refused("heights", "(3,)"):
        ds.HeightField(np.zeros(3), 0.1)
    with refused("spacing", "-1"):
        ds.HeightField(np.zeros((3, 3)), -1.0)
    with refused("must enclose a volume"):
        ds.RigidBody("b", SHAPES["field"], (0, 0, 0))


# contact


def settle(bodies, obstacles=(), ground=None, steps=100, **contact):
    scene = ds.Scene(
        rigid_bodies=bodies,
        obstacles=obstacles,
        ground=ground,
        contact=ds.ContactModel(stiffness=2e4, smoothing=1e-4, **contact),
    )
    sim = ds.Simulator(scene, dt=5e-4, substeps=20, dtype=torch.float64)
    state = sim.reset()
    with torch.no_grad():
        for _ in range(steps):
            state = sim.step(state, torch.zeros((1, 0), dtype=torch.float64))
    return state


def spring(mass):
    """How deep a spring of force k d log(1 + exp(depth / d)) / 2 is pressed (no restitution)."""
    return 1e-4 * np.log(np.expm1(2.0 * 9.81 * mass / (2e4 * 1e-4)))


def test_ellipsoid_falls_on_its_flattest_side():
    """Nothing but friction stops it: it sticks and rocks on."""
    body = ds.RigidBody("egg", ds.Ellipsoid((0.2, 0.15, 0.1)), (0.5, 0.5, 0.12), (0.99, 0.1, 0.05, 0.0), mass=1.0, friction=0.8)
    state = settle((body,), ground=ds.Ground(), steps=200)
    assert state.q[0, 2] == pytest.approx(0.1, rel=0.03)
    _w, x, y, _z = state.q[0, 3:7] / state.q[0, 3:7].norm()
    assert 1.0 - 2.0 * (x * x + y * y) > 0.97  # its short axis stands


def test_ball_rolls_off_the_top_of_an_ellipsoid_as_its_curvature_says():
    """Near the top the ball's centre moves on the surface r farther out: radius of curvature R = a^2 / c + r."""
    a, c, r, start = 0.4, 0.2, 0.05, 1e-3
    egg = ds.Obstacle("egg", ds.Ellipsoid((a, a, c)), (0.0, 0.0, 0.0), friction=5.0)
    z = c + r - start**2 / (2.0 * (a * a / c + r))
    state = settle((ds.RigidBody("ball", ds.Sphere(r), (start, 0.0, z), mass=1.0, friction=5.0),), (egg,), steps=50)
    rate = np.sqrt(5.0 / 7.0 * 9.81 / (a * a / c + r))  # an inverted pendulum that rolls
    assert state.q[0, 0] == pytest.approx(start * np.cosh(0.5 * rate), rel=0.01)
    assert state.q[0, 2] == pytest.approx(c + r - spring(1.0), abs=1e-4)


@pytest.mark.parametrize("rounding", [0.0, 0.03])
def test_cone_stands_on_its_base(rounding):
    cone = ds.Cone(0.2, 0.25, 0.0, rounding)
    state = settle((ds.RigidBody("cone", cone, (0.5, 0.5, 0.205), mass=1.0),), ground=ds.Ground())
    assert state.qd.abs().max() < 1e-4
    # the origin stands half the height above the ground, the centre of mass of a sharp cone a quarter
    assert state.q[0, 2] == pytest.approx(0.2, abs=2e-4)
    center = float(state.q[0, 2]) + cone.mass_properties()[1][2]
    if rounding == 0.0:
        assert center == pytest.approx(0.4 / 4, abs=2e-4)


def test_ball_on_a_field_rests_on_the_plateau_and_rolls_down_the_slope():
    x = np.arange(41) * 0.1
    angle = 0.3
    heights = np.repeat(np.where(x < 2.0, 0.4, 0.4 - np.tan(angle) * (x - 2.0))[:, None], 5, axis=1)
    field = ds.Obstacle("hill", ds.HeightField(heights, 0.1), (2.0, 0.2, 0.0), friction=0.9)
    still = ds.RigidBody("still", ds.Sphere(0.05), (0.4, 0.2, 0.45), mass=1.0, friction=0.9)
    state = settle((still,), (field,))
    assert state.q[0, 2] == pytest.approx(0.45 - spring(1.0), abs=1e-6)
    assert state.qd.abs().max() < 1e-4
    start = np.array([2.6, 0.2, 0.4 - 0.6 * np.tan(angle)]) + 0.05 * np.array([np.sin(angle), 0.0, np.cos(angle)])
    rolling = ds.RigidBody("rolling", ds.Sphere(0.05), tuple(start), mass=1.0, friction=0.9)
    state = settle((rolling,), (field,), steps=40)
    speed = 5.0 / 7.0 * 9.81 * np.sin(angle) * 0.4
    assert state.qd[0, :3].norm() == pytest.approx(speed, rel=0.02)
    assert state.qd[0, 3:].norm() == pytest.approx(speed / 0.05, rel=0.02)


def touching_scene(shape):
    """The shape as a body, turned, on the ground and against a ball and a capsule; or under them."""
    soft = ds.ContactModel(stiffness=3e3, smoothing=5e-3)
    if not shape.bounded:
        return ds.Scene(
            rigid_bodies=(
                ds.RigidBody(
                    "ball", ds.Sphere(0.05), (0.51, 0.52, 0.3), velocity=(0.3, 0.1, -0.5), angular_velocity=(1.0, 2.0, 0.5)
                ),
                ds.RigidBody("egg", ds.Ellipsoid((0.06, 0.05, 0.04)), (0.7, 0.55, 0.27), velocity=(0.1, -0.2, -0.3)),
            ),
            obstacles=(ds.Obstacle("it", shape, (0.55, 0.55, 0.2)),), ground=None, contact=soft,
        )  # fmt: skip
    return ds.Scene(
        rigid_bodies=(
            ds.RigidBody(
                "it", shape, (0.5, 0.5, 0.5), (0.9, 0.3, 0.2, 0.1), velocity=(0.2, 0.1, -0.5), angular_velocity=(1.0, 0.5, -0.7)
            ),
            ds.RigidBody("ball", ds.Sphere(0.05), (0.55, 0.5, 0.5), velocity=(-0.3, 0.0, 0.1)),
            ds.RigidBody("rod", ds.Capsule(0.2, 0.03), (0.45, 0.45, 0.6), (0.8, 0.6, 0.0, 0.0), velocity=(0.0, 0.0, -0.2)),
        ),
        ground=ds.Ground(0.35), contact=soft,
    )  # fmt: skip


def check_gradients(shape):
    """Of two control steps in contact, by the state and by the geometries' parameters."""
    sim = ds.Simulator(touching_scene(shape), dt=1e-3, substeps=4, dtype=torch.float64)
    start, declared = sim.reset(), sim.parameters
    weights = torch.tensor(np.random.default_rng(1).normal(size=100))

    def final(q, qd, **given):
        state = replace(start, q=q, qd=qd)
        for _ in range(2):
            state = sim.step(state, torch.zeros((1, 0), dtype=torch.float64), parameters={**declared, **rename(given)})
        told = torch.cat([state.q, 0.1 * state.qd], dim=1)[0]
        return told @ weights[: len(told)]

    def rename(given):
        return {name.replace("_", "."): value for name, value in given.items()}

    names = [name for name in ("it.scale", "it.friction", "ball.scale", "egg.scale") if name in declared]
    assert "it.scale" in names
    inputs = {"q": start.q, "qd": start.qd} | {name.replace(".", "_"): declared[name] for name in names}
    for check in ds.gradcheck(final, inputs):
        assert check.adjoint != 0.0, check


@pytest.mark.parametrize("name", ["ellipsoid", "rounded truncated", pytest.param("field", marks=pytest.mark.long)])
def test_gradients(name):
    check_gradients(SHAPES[name])


@pytest.mark.long
@pytest.mark.parametrize("name", ["ellipsoid", "rounded truncated", "field"])
def test_soft_body_lies_on_it(name):
    shape = SHAPES[name] if name != "field" else ds.HeightField(0.1 * HILLS, 0.12)
    top = shape.top if name == "field" else shape.surface_mesh().bounds[1, 2]
    body = ds.SoftBody("jelly", ds.Box((0.06, 0.06, 0.05)), (0.5, 0.5, 0.3 + top + 0.055), particles=200)
    sim = ds.Simulator(ds.Scene(soft_bodies=(body,), obstacles=(ds.Obstacle("it", shape, (0.5, 0.5, 0.3)),), ground=None))
    state = sim.reset()
    with torch.no_grad():
        for _ in range(40):
            state = sim.step(state, torch.zeros((1, 0)))
    depth = shape.signed_distance(state.x[0].numpy() - [0.5, 0.5, 0.3])
    assert -0.01 < depth.min() < 0.01
    assert state.v.abs().max() < 0.5
