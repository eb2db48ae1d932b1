"""Shapes: signed distances, contact points, meshes with faults, distance grids and convex parts."""

import logging
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import trimesh

import diffsim as ds
from diffsim.scene.meshes import mesh_distance
from diffsim.scene.meshes.convex_parts import convex_parts
from diffsim.scene.meshes.mesh_distance import DistanceGrid, distance_grid
from diffsim.scene.shapes.contact_balls import BALL, DEEPEST, SPOKE
from tests.diffsim.test_inputs import refused

pytest.importorskip("igl")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def cloud(size: float, count: int = 500) -> np.ndarray:
    return np.random.default_rng(0).uniform(-size, size, (count, 3))


def to_solid(points: np.ndarray, nearest: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Distance to a solid from its nearest points (N, 3) and, where the two agree, the depth inside (N,)."""
    away = np.linalg.norm(points - nearest, axis=1)
    return np.where(away > 0.0, away, -inside)


def box_distance(points, half, rounding=0.0):
    core = np.asarray(half) - rounding
    depth = (core - np.abs(points)).min(axis=1)
    return to_solid(points, np.clip(points, -core, core), depth) - rounding


def cylinder_distance(points, half_length, radius, rounding=0.0):
    half, core = half_length - rounding, radius - rounding
    across = np.linalg.norm(points[:, :2], axis=1)
    nearest = np.concatenate(
        [points[:, :2] * np.minimum(1.0, core / across)[:, None], np.clip(points[:, 2:], -half, half)], axis=1
    )
    inside = (across <= core) & (np.abs(points[:, 2]) <= half)
    nearest[inside] = points[inside]  # scaling by one could round
    return to_solid(points, nearest, np.minimum(core - across, half - np.abs(points[:, 2]))) - rounding


def torus_distance(points, major, minor):
    circle = points * (1.0, 1.0, 0.0)
    return np.linalg.norm(points - major * circle / np.linalg.norm(circle, axis=1)[:, None], axis=1) - minor


def triangles_distance(points, triangles):
    """Unsigned distance to the nearest triangle, by brute force over interiors, edges and corners."""
    best = np.full(len(points), np.inf)
    for a, b, c in triangles:
        normal = np.cross(b - a, c - a)
        normal /= np.linalg.norm(normal)
        height = (points - a) @ normal
        foot = points - height[:, None] * normal
        over = np.ones(len(points), dtype=bool)
        for start, end in pairwise((a, b, c, a)):
            over &= np.cross(end - start, foot - start) @ normal >= 0.0
            t = np.clip((points - start) @ (end - start) / ((end - start) @ (end - start)), 0.0, 1.0)
            best = np.minimum(best, np.linalg.norm(points - start - t[:, None] * (end - start), axis=1))
        best = np.where(over, np.minimum(best, np.abs(height)), best)
    return best


SHAPES = {
    "sphere": (ds.Sphere(0.3), lambda x: np.linalg.norm(x, axis=1) - 0.3),
    "capsule": (ds.Capsule(0.3, 0.1), lambda x: np.linalg.norm(x - np.clip(x, [0, 0, -0.3], [0, 0, 0.3]), axis=1) - 0.1),
    "box": (ds.Box((0.3, 0.2, 0.1)), lambda x: box_distance(x, (0.3, 0.2, 0.1))),
    "rounded box": (ds.Box((0.3, 0.2, 0.1), 0.04), lambda x: box_distance(x, (0.3, 0.2, 0.1), 0.04)),
    "flat box": (ds.Box((0.3, 0.2, 0.1), 0.1), lambda x: box_distance(x, (0.3, 0.2, 0.1), 0.1)),
    "cylinder": (ds.Cylinder(0.3, 0.2), lambda x: cylinder_distance(x, 0.3, 0.2)),
    "disc": (ds.Cylinder(0.05, 0.3), lambda x: cylinder_distance(x, 0.05, 0.3)),
    "rounded cylinder": (ds.Cylinder(0.3, 0.2, 0.05), lambda x: cylinder_distance(x, 0.3, 0.2, 0.05)),
    "round disc": (ds.Cylinder(0.1, 0.3, 0.1), lambda x: cylinder_distance(x, 0.1, 0.3, 0.1)),
    "round cylinder": (ds.Cylinder(0.3, 0.1, 0.1), lambda x: cylinder_distance(x, 0.3, 0.1, 0.1)),
    "torus": (ds.Torus(0.3, 0.1), lambda x: torus_distance(x, 0.3, 0.1)),
    "plane": (ds.Plane(), lambda x: x[:, 2]),
}
FINITE = [name for name in SHAPES if name != "plane"]


@pytest.mark.parametrize("name", SHAPES)
def test_distances_are_exact(name):
    shape, exact = SHAPES[name]
    points = cloud(0.5)
    np.testing.assert_allclose(shape.signed_distance(points), exact(points), rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("name", FINITE)
def test_surface_meshes_are_closed_and_on_the_surface(name):
    shape = SHAPES[name][0]
    mesh = shape.surface_mesh()
    assert mesh.is_watertight
    assert np.abs(shape.signed_distance(mesh.vertices)).max() < 1e-9
    assert mesh.volume == pytest.approx(shape.volume, rel=0.015)
    assert mesh.volume <= shape.volume * (1 + 1e-9)
    reach = np.linalg.norm(mesh.vertices, axis=1).max()
    assert 0.995 * shape.bounding_radius < reach < shape.bounding_radius * (1 + 1e-9)
    samples = shape.volume_samples(200)
    assert len(samples) == pytest.approx(200, rel=0.5)  # the lattice is coarse
    assert (shape.signed_distance(samples) < 0.0).all()


@pytest.mark.parametrize("name", FINITE)
def test_contact_points_touch_the_surface_from_within(name):
    shape = SHAPES[name][0]
    points = shape.contact_points()
    for normal in [(0.0, 0.0, 1.0), *np.random.default_rng(0).normal(size=(20, 3))]:
        centers, radii = points.placed(normal)
        balls = points.radii >= 0.0
        # a wheel's moving ball leaves the rim where it lies flat, and spokes retreat where it does not
        on_surface = balls & (points.kinds == BALL) | ((points.kinds == SPOKE) & (abs(normal[2]) == 1.0))
        on_surface |= (points.kinds == DEEPEST) & (abs(normal[2]) < 1.0)
        np.testing.assert_allclose(shape.signed_distance(centers[on_surface]), -radii[on_surface], rtol=0.0, atol=1e-12)
        assert (shape.signed_distance(centers[balls]) < -radii[balls] + 1e-12).all()
        assert balls.any()


@pytest.mark.parametrize("name", FINITE)
def test_planes_meet_the_deepest_point(name):
    """Whatever way a shape lies, its height is that of its surface mesh, or a little less where that is faceted."""
    shape = SHAPES[name][0]
    points = shape.contact_points()
    sharp_box = 1e-2 * (getattr(shape, "radius", 1.0) == 0.0)  # small balls at its corners
    for normal in np.random.default_rng(1).normal(size=(50, 3)):
        n = normal / np.linalg.norm(normal)
        centers, radii = points.placed(n)
        depth = (radii - centers @ n)[points.on_planes].max()
        exact = -(shape.surface_mesh().vertices @ n).min()
        assert exact * (1.0 - sharp_box) - 1e-9 <= depth <= exact * 1.005 + 1e-9


def test_wheels_are_exact_or_converge():
    """A cylinder stands on spokes, a regular polygon; more of them are nearer to the rim."""
    for count, spokes in ((None, 8), (64, 16), (256, 64)):
        points = ds.Cylinder(0.1, 0.2).contact_points(count)
        rim = points.chosen((points.kinds == SPOKE) & (points.positions[:, 2] < 0.0)).placed((0.0, 0.0, 1.0))[0]
        assert len(rim) == spokes
        assert np.linalg.norm(rim.mean(axis=0)[:2]) < 1e-12
        np.testing.assert_allclose(np.hypot(rim[:, 0], rim[:, 1]), 0.2)
        flat = points.chosen((points.kinds == DEEPEST) & (points.positions[:, 2] < 0.0)).placed((0.0, 0.0, 1.0))[0]
        np.testing.assert_allclose(flat[:, :2], 0.0)
    torus = ds.Torus(0.3, 0.1)
    points = torus.contact_points(6)
    centers, radii = points.placed((1.0, 0.0, 0.0))
    inner = np.hypot(centers[:, 0], centers[:, 1]) - radii
    np.testing.assert_allclose(inner[points.kinds == SPOKE], 0.2)  # none in the hole


def test_numbers_of_contact_points():
    assert ds.Sphere(0.1).contact_points().positions.tolist() == [[0.0, 0.0, 0.0]]
    points = ds.Capsule(0.3, 0.11).contact_points()
    assert (points.radii == 0.11).all()
    z = np.sort(points.positions[:, 2])
    assert np.diff(z).max() <= 0.11
    assert (z[0], z[-1]) == (-0.3, 0.3)
    assert len(ds.Capsule(0.3, 0.11).contact_points(20)) == 20
    assert len(ds.Capsule(0.01, 1.0).contact_points()) == 2
    assert len(ds.Box((1, 2, 3)).contact_points()) == 8 + 12
    assert ds.Box((1, 2, 3)).contact_points().on_planes.sum() == 8
    assert len(ds.Box((1, 2, 3)).contact_points(44)) == 8 + 36
    assert len(ds.Box((1, 2, 3), 1.0).contact_points()) == 4 + 4
    wheel = 2 + 8
    assert ds.Cylinder(0.1, 0.2).contact_points().on_planes.sum() == 2 * wheel
    assert len(ds.Cylinder(0.1, 0.2, 0.1).contact_points()) == wheel
    assert len(ds.Cylinder(0.2, 0.1, 0.1).contact_points()) == 3  # a capsule
    between = [len(ds.Cylinder(half, 0.2).contact_points()) - 2 * wheel for half in (0.1, 0.3, 0.5, 5.0)]
    assert np.diff(between).tolist() == [4, 4, 8]
    points = ds.Torus(0.3, 0.1).contact_points()
    circle = points.placed((0.0, 0.0, 1.0))[0][points.kinds == SPOKE]
    assert np.linalg.norm(np.diff(circle, axis=0), axis=1).max() <= 0.1
    assert len(ds.Plane().contact_points()) == 0


def test_plane_has_no_end():
    plane = ds.Plane()
    assert plane.volume == plane.bounding_radius == np.inf
    assert (plane.surface_mesh().face_normals == [0.0, 0.0, 1.0]).all()
    with pytest.raises(TypeError, match="unbounded"):
        plane.volume_samples(10)


def test_bad_sizes():
    with refused("half_length", "0"):
        ds.Cylinder(0.0, 1.0)
    with refused("radius", "-1"):
        ds.Cylinder(1.0, -1.0)
    with refused("rounding", "0.6", "0.5"):
        ds.Cylinder(1.0, 0.5, rounding=0.6)
    with refused("major_radius", "nan"):
        ds.Torus(float("nan"), 0.1)
    with refused("minor_radius", "0.3", "0.2"):
        ds.Torus(0.2, 0.3)
    with refused("contact_points", "-1"):
        ds.Box((1, 1, 1)).contact_points(-1)
    with refused("contact_points", "2"):
        ds.Torus(1, 0.5).contact_points(2)
    with refused("contact_points", "0"):
        ds.TriangleMesh(BOX.vertices, BOX.faces).contact_points(0)
    with refused("'b'", "contact_points", "0"):
        ds.RigidBody("b", ds.Cylinder(1, 1), (0, 0, 0), contact_points=0)
    with refused("contact_points", "True"):
        ds.Geometry(ds.Cylinder(1, 1), contact_points=True)


# meshes

BOX = trimesh.creation.box(extents=(0.6, 0.4, 0.2))
HALF = (0.3, 0.2, 0.1)


def warnings(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_mesh_distance_is_exact(caplog):
    ball = trimesh.creation.icosphere(subdivisions=1, radius=0.3)
    shape = ds.TriangleMesh(ball.vertices, ball.faces, name="ball")
    points = cloud(0.5)
    distance = shape.signed_distance(points)
    np.testing.assert_allclose(np.abs(distance), triangles_distance(points, ball.triangles), rtol=0.0, atol=1e-12)
    inside = ((points @ ball.face_normals.T) < (ball.triangles[:, 0] * ball.face_normals).sum(axis=1)).all(axis=1)
    np.testing.assert_array_equal(distance < 0.0, inside)
    np.testing.assert_array_equal(shape.contains(points), inside)
    assert shape.volume == pytest.approx(ball.volume)
    assert shape.bounding_radius == pytest.approx(0.3)
    assert shape.signed_distance(np.zeros((0, 3))).shape == (0,)
    assert not warnings(caplog)


def test_mesh_file_and_arrays_agree(tmp_path):
    BOX.export(tmp_path / "box.stl")
    shape, other = ds.TriangleMesh.from_file(tmp_path / "box.stl"), ds.TriangleMesh(BOX.vertices, BOX.faces)
    points = cloud(0.5, 100)
    np.testing.assert_allclose(shape.signed_distance(points), other.signed_distance(points), atol=1e-6)
    assert len(shape.contact_points()) == 64


def test_open_mesh_has_the_right_signs_and_warns_once(caplog):
    lidless = BOX.copy()
    lidless.update_faces(lidless.face_normals[:, 2] < 0.5)
    shape = ds.TriangleMesh(lidless.vertices, lidless.faces, name="crate")
    points = cloud(0.5, 4000)
    exact = box_distance(points, HALF)
    hole = (np.abs(points[:, 2] - 0.1) < 0.02) & (np.abs(points[:, :2]) < 0.3).all(axis=1)
    np.testing.assert_array_equal((shape.signed_distance(points) < 0.0)[~hole], (exact < 0.0)[~hole])
    # right in size too: libigl's own signed distance is not, beside a hole
    np.testing.assert_allclose(np.abs(shape.signed_distance(points)), triangles_distance(points, lidless.triangles), atol=1e-12)
    assert shape.volume == pytest.approx(0.6 * 0.4 * 0.2)
    assert shape.distance_grid.evaluate(np.zeros((1, 3)))[0] < 0.0
    shape.contact_points()
    assert (np.abs(shape.volume_samples(100)) < HALF).all()
    (message,) = warnings(caplog)
    assert "'crate'" in message
    assert "4 edges" in message


def test_a_sheet_has_a_distance_but_no_inside():
    sheet = ds.TriangleMesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]], name="sheet")
    np.testing.assert_allclose(sheet.signed_distance([[0.2, 0.2, 0.1], [0.2, 0.2, -0.1]]), 0.1)
    assert sheet.volume == 0.0
    with refused("'sheet'", "no volume"):
        sheet.volume_samples(10)


@pytest.mark.parametrize("fault", ["inside out", "mixed winding", "mirrored", "open and inside out", "soup"])
def test_meshes_are_repaired(fault, caplog):
    vertices, faces = BOX.vertices, BOX.faces.copy()
    scale: float | tuple[float, float, float] = 1.0
    if fault == "inside out":
        faces = faces[:, ::-1]
    elif fault == "mixed winding":
        faces[::3] = faces[::3, ::-1]
    elif fault == "mirrored":
        scale = (-1.0, 1.0, 1.0)
    elif fault == "open and inside out":
        faces = faces[1:, ::-1]
    else:
        vertices, faces = vertices[faces].reshape(-1, 3), np.arange(36).reshape(12, 3)
    shape = ds.TriangleMesh(vertices, faces, name="box", scale=scale)
    assert shape.volume == pytest.approx(0.6 * 0.4 * 0.2)
    assert ((shape.mesh.triangles_center * shape.mesh.face_normals).sum(axis=1) > 0.0).all()
    said = {
        "inside out": ["turned its normals outward"],
        "mixed winding": ["made the winding consistent"],
        "mirrored": ["turned its normals outward", "scale"],
        "open and inside out": ["turned its normals outward", "not watertight", "3 edges"],
        "soup": [],
    }[fault]
    assert len(warnings(caplog)) == bool(said)
    assert all(part in message for part in said for message in warnings(caplog))
    inner = cloud(0.05, 100)
    assert (shape.signed_distance(inner) < 0.0).all()
    np.testing.assert_allclose(
        ds.TriangleMesh(vertices, faces, scale=2.0).bounding_radius, 2.0 * np.linalg.norm(HALF), rtol=1e-12
    )


def test_components_are_turned_but_cavities_stay():
    apart = BOX.copy().apply_translation((2.0, 0.0, 0.0))
    apart.invert()
    two: Any = trimesh.util.concatenate([BOX, apart])
    shape = ds.TriangleMesh(two.vertices, two.faces)
    assert shape.volume == pytest.approx(2 * BOX.volume)
    assert (shape.signed_distance([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]]) < 0.0).all()
    void = BOX.copy().apply_scale(0.5)
    void.invert()
    for turned in (False, True):
        hollow: Any = trimesh.util.concatenate([BOX, void])
        if turned:
            hollow.invert()
        shape = ds.TriangleMesh(hollow.vertices, hollow.faces)
        assert shape.volume == pytest.approx(BOX.volume * (1 - 0.125))
        assert shape.signed_distance([[0.0, 0.0, 0.0]])[0] == pytest.approx(0.05)


def test_bad_arrays():
    with refused("'m'", "vertices", "(3, 2)"):
        ds.TriangleMesh(np.zeros((3, 2)), [[0, 1, 2]], name="m")
    with refused("'m'", "faces", "(1, 4)"):
        ds.TriangleMesh(np.eye(3), [[0, 1, 2, 0]], name="m")
    with refused("'m'", "3 vertices", "0 to 3"):
        ds.TriangleMesh(np.eye(3), [[0, 1, 3]], name="m")
    with refused("'m'", "not finite"):
        ds.TriangleMesh(np.full((3, 3), np.nan), [[0, 1, 2]], name="m")
    with refused("'m'", "empty"):
        ds.TriangleMesh(np.eye(3), np.zeros((0, 3), dtype=int), name="m")
    with refused("'m'", "degenerate"):
        ds.TriangleMesh(np.ones((3, 3)), [[0, 1, 2]], name="m")
    for scale in (0.0, (1.0, 2.0), "big", float("nan")):
        with refused("'m'", "scale"):
            ds.TriangleMesh(np.eye(3), [[0, 1, 2]], name="m", scale=scale)


def test_a_mesh_of_a_ball_is_one_ball():
    for subdivisions in (3, 4):
        ball = trimesh.creation.icosphere(subdivisions=subdivisions, radius=0.3)
        shape = ds.TriangleMesh(ball.vertices + np.array([0.1, 0.0, 0.0]), ball.faces)
        points = shape.contact_points()
        np.testing.assert_allclose(points.positions, [[0.1, 0.0, 0.0]], atol=1e-12)
        np.testing.assert_allclose(points.radii, 0.3)
        assert shape.is_sphere


def test_a_mesh_of_a_box_keeps_its_corners():
    shape = ds.TriangleMesh(BOX.vertices, BOX.faces)
    points = shape.contact_points()
    assert len(np.unique(points.positions, axis=0)) == len(points) == 64
    corners = points.chosen(points.on_planes)
    assert {tuple(corner) for corner in BOX.vertices} == {tuple(corner) for corner in corners.positions}
    assert (corners.radii == 0.0).all()
    np.testing.assert_allclose(shape.signed_distance(points.positions), -points.radii, atol=1e-8)
    np.testing.assert_array_equal(points.positions, ds.TriangleMesh(BOX.vertices, BOX.faces).contact_points().positions)
    assert len(shape.contact_points(5)) == 5
    assert len(shape.contact_points(100)) == 100
    assert not shape.is_sphere


def test_meshes_of_what_is_round_need_few_balls():
    box = ds.Box((0.3, 0.2, 0.1), 0.03).surface_mesh()
    points = ds.TriangleMesh(box.vertices, box.faces).contact_points()
    assert len(points) == 8
    np.testing.assert_allclose(points.radii, 0.03, rtol=1e-3)
    capsule = ds.Capsule(0.3, 0.1).surface_mesh()
    points = ds.TriangleMesh(capsule.vertices, capsule.faces).contact_points()
    np.testing.assert_allclose(np.sort(points.positions[:, 2]), [-0.3, 0.3], atol=1e-3)


def test_more_points_of_a_mesh_are_nearer_to_its_surface():
    ball = trimesh.creation.icosphere(subdivisions=4)
    axes = np.array([0.2, 0.15, 0.1])
    shape = ds.TriangleMesh(ball.vertices * axes, ball.faces)
    normals = np.random.default_rng(0).normal(size=(500, 3))
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    errors = []
    for count in (32, 128, 256):
        points = shape.contact_points(count).chosen(shape.contact_points(count).on_planes)
        heights = (normals @ points.positions.T + points.radii).max(axis=1)
        errors.append(np.abs(heights - np.linalg.norm(normals * axes, axis=1)).max())
    assert errors[0] < 0.006
    assert errors[1] < 0.0015
    assert errors[2] < 0.0007
    points = ds.Ellipsoid(tuple(axes)).contact_points()
    for normal in normals[:20]:
        deepest = points.placed(normal)[0][1]
        assert deepest @ normal == pytest.approx(-np.linalg.norm(normal * axes), abs=1e-15)


def test_without_libigl_closed_meshes_work_and_open_ones_say_what_to_install(monkeypatch):
    monkeypatch.setattr(mesh_distance, "_libigl", lambda: None)
    points = cloud(0.5, 50)
    shape = ds.TriangleMesh(BOX.vertices, BOX.faces)
    np.testing.assert_allclose(shape.signed_distance(points), box_distance(points, HALF), atol=1e-9)
    with refused("'crate'", "diffsim-rpg[robots]"):
        ds.TriangleMesh(BOX.vertices, BOX.faces[1:], name="crate").signed_distance(points)


# distance grids


def test_grid_is_as_accurate_as_its_spacing():
    radius = 0.1
    ball = trimesh.creation.icosphere(subdivisions=5, radius=radius)
    errors = []
    for resolution in (12, 24):
        grid = distance_grid(ball, resolution=resolution, padding=0.05)
        assert grid.spacing == pytest.approx(2 * radius / resolution)
        np.testing.assert_array_less(grid.lower, -radius - 0.05 + 1e-9)
        np.testing.assert_array_less(radius + 0.05 - 1e-9, grid.upper)
        points = cloud(radius + 0.05, 3000)
        away = np.linalg.norm(points, axis=1)
        points, away = points[away > 0.5 * radius], away[away > 0.5 * radius]
        value, gradient, hessian = grid.evaluate(points)
        faceted = radius * 3e-4  # an icosphere of five subdivisions lies that deep inside its sphere
        errors.append(np.abs(value - (away - radius)).max() - faceted)
        assert errors[-1] < 0.05 * grid.spacing**2 / radius
        normal = points / away[:, None]
        assert np.abs(gradient - normal).max() < 0.5 * (grid.spacing / radius) ** 2 + 0.01
        curved = (np.eye(3) - normal[:, :, None] * normal[:, None, :]) / away[:, None, None]
        assert np.abs(hessian - curved).mean() < 0.5 / radius * grid.spacing / radius + 0.2


def test_grid_of_a_box():
    grid = distance_grid(BOX, resolution=48)
    points = cloud(1.0, 8000) * (np.array(HALF) + 0.06)
    exact = box_distance(points, HALF)
    error = np.abs(grid.evaluate(points)[0] - exact)
    assert error.max() < 0.5 * grid.spacing  # on the ridges inside, where the distance has a kink
    second, first = np.sort(np.abs(points) - HALF, axis=1)[:, 1:].T
    smooth = (exact > -0.05) & (first - second > 3 * grid.spacing) & (second < -3 * grid.spacing)
    assert smooth.sum() > 500
    assert error[smooth].max() < 0.01 * grid.spacing


def test_grid_passes_through_its_nodes():
    random = np.random.default_rng(1).normal(size=(5, 8, 13)).astype(np.float32)
    for grid in (DistanceGrid(random, np.array([0.1, 0.2, 0.3]), 0.05), distance_grid(BOX, resolution=20)):
        inner = np.stack(np.meshgrid(*[np.arange(1, n - 1) for n in grid.values.shape], indexing="ij"), axis=-1)
        value = grid.evaluate(grid.origin + grid.spacing * inner.reshape(-1, 3))[0]
        np.testing.assert_allclose(value, grid.values[1:-1, 1:-1, 1:-1].ravel(), rtol=0.0, atol=3e-6)


def test_grid_of_a_straight_line_is_straight():
    i, j, k = np.meshgrid(np.arange(7), np.arange(6), np.arange(5), indexing="ij")
    grid = DistanceGrid((0.25 * i - 0.5 * j + k).astype(np.float32), np.zeros(3), 1.0)
    points = np.random.default_rng(2).uniform(grid.lower, grid.upper, (100, 3))
    value, gradient, hessian = grid.evaluate(points)
    np.testing.assert_allclose(value, points @ [0.25, -0.5, 1.0], atol=1e-6)
    np.testing.assert_allclose(gradient, np.tile([0.25, -0.5, 1.0], (100, 1)), atol=1e-6)
    np.testing.assert_allclose(hessian, 0.0, atol=1e-5)


def test_grid_derivatives_are_those_of_its_value():
    """Inside the box and outside it, beyond faces, edges and corners."""
    grid = distance_grid(trimesh.creation.torus(0.1, 0.04), resolution=24)
    points = cloud(0.4, 2000)
    beyond = ((points < grid.lower) | (points > grid.upper)).sum(axis=1)
    points[:300] *= 0.25
    assert set(beyond) == {0, 1, 2, 3}
    _, gradient, hessian = grid.evaluate(points)
    step = 1e-5 * grid.spacing
    for axis in range(3):
        shift = step * np.eye(3)[axis]
        after, before = grid.evaluate(points + shift), grid.evaluate(points - shift)
        np.testing.assert_allclose((after[0] - before[0]) / (2 * step), gradient[:, axis], atol=1e-7)
        # the second derivative jumps at the knots, which a few differences straddle
        error = np.abs((after[1] - before[1]) / (2 * step) - hessian[:, :, axis]).max(axis=1)
        assert (error > 1e-5).sum() <= 3
    np.testing.assert_allclose(hessian, hessian.transpose(0, 2, 1), atol=1e-9)


def test_grid_continues_smoothly_and_sensibly():
    shape = ds.Box(HALF)
    grid = distance_grid(BOX, resolution=32)
    faces = cloud(1.0, 200) * grid.upper
    axis = np.arange(200) % 3
    faces[np.arange(200), axis] = grid.upper[axis]
    step = 1e-9 * np.eye(3)[axis]
    for inside, outside in zip(grid.evaluate(faces - step)[:2], grid.evaluate(faces + step)[:2], strict=True):
        np.testing.assert_allclose(inside, outside, atol=1e-6)
    far = cloud(2.0, 500)
    far = far[shape.signed_distance(far) > 0.1]
    value, gradient, _ = grid.evaluate(far)
    np.testing.assert_allclose(value, shape.signed_distance(far), rtol=0.02)
    np.testing.assert_allclose(np.linalg.norm(gradient, axis=1), 1.0, atol=0.05)


def test_second_bake_reads_the_cache(cache, monkeypatch):
    first = distance_grid(BOX, resolution=10)
    (file,) = cache.iterdir()
    assert file.suffix == ".npz"

    def refuse(*arguments):
        raise AssertionError("baked again")

    with monkeypatch.context() as patch:
        patch.setattr(mesh_distance, "signed_distance", refuse)
        second = distance_grid(BOX.copy(), resolution=10)
        with pytest.raises(AssertionError, match="again"):
            distance_grid(BOX, resolution=11)
        with pytest.raises(AssertionError, match="again"):
            distance_grid(BOX, resolution=10, padding=0.2)
        with pytest.raises(AssertionError, match="again"):
            distance_grid(BOX.copy().apply_scale(2.0), resolution=10)
    np.testing.assert_array_equal(first.values, second.values)
    np.testing.assert_array_equal(first.origin, second.origin)
    assert first.values.dtype == second.coefficients.dtype == np.float32
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for damaged in (b"", b"noise", whole[: len(whole) // 2], bytes(flipped)):
        file.write_bytes(damaged)
        np.testing.assert_array_equal(distance_grid(BOX, resolution=10).values, first.values)
        assert file.read_bytes() != damaged
    assert list(cache.iterdir()) == [file]  # no temporary file is left


def test_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DIFFSIM_CACHE", str(tmp_path / "file"))
    assert distance_grid(BOX, resolution=8).values.min() < 0.0


def test_bad_grids():
    with refused("'m'", "resolution", "3"):
        distance_grid(BOX, resolution=3, name="m")
    with refused("'m'", "padding", "0.001", "0.06"):
        distance_grid(BOX, resolution=10, padding=0.001, name="m")
    with refused("'m'", "10000", "nodes"):
        distance_grid(BOX, resolution=10000, name="m")


# convex parts


@pytest.mark.slow
def test_convex_parts():
    ring = trimesh.creation.torus(0.1, 0.03, major_sections=16, minor_sections=8)
    (hull,) = convex_parts(ring, method="hull")
    assert hull.is_convex
    pytest.importorskip("coacd")
    parts, again = (convex_parts(ring, threshold=0.3, max_parts=6) for _ in range(2))
    assert 2 <= len(parts) <= 6
    assert all(part.is_convex and part.is_watertight for part in parts)
    assert ring.volume < sum(part.volume for part in parts) < hull.volume
    for part, other in zip(parts, again, strict=True):
        np.testing.assert_array_equal(part.vertices, other.vertices)


def test_bad_decompositions():
    with refused("method", "vhacd", "coacd, hull"):
        convex_parts(BOX, method="vhacd")
    with refused("threshold", "0"):
        convex_parts(BOX, threshold=0.0)
    with refused("max_parts", "0"):
        convex_parts(BOX, max_parts=0)
    with refused("flat"):
        convex_parts(ds.Plane().surface_mesh(), method="hull")
