"""Meshes as people have them: mended or refused in one line, filled with particles line by line, exact masses, units."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

import diffsim as ds
from diffsim.scene.meshes import lattice_samples, mesh_distance
from diffsim.scene.meshes.closed_surface import mass_integrals
from diffsim.scene.meshes.lattice_samples import Lattice, nodes_inside
from diffsim.scene.meshes.mesh_booleans import coarsened
from diffsim.scene.meshes.mesh_distance import distance_grid
from diffsim.scene.shapes import shape as shape_module
from diffsim.soft.resolution import resolution_findings
from tests.diffsim.test_inputs import refused

PLATE = Path(__file__).parent / "plate_in_millimetres"
BALL = trimesh.creation.icosphere(subdivisions=3, radius=0.1)


def box(extents, middle=(0.0, 0.0, 0.0)) -> trimesh.Trimesh:
    return trimesh.creation.box(extents).apply_translation(middle)


def joined(*meshes: trimesh.Trimesh) -> Any:
    return trimesh.util.concatenate(list(meshes))


def of(*meshes: trimesh.Trimesh, **options) -> ds.TriangleMesh:
    whole = joined(*meshes)
    return ds.TriangleMesh(whole.vertices, whole.faces, "m", **options)


def inverted(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    turned = mesh.copy()
    turned.invert()
    return turned


def said(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def box_inertia(extents, middle) -> tuple[float, np.ndarray]:
    """Volume and inertia about the origin, at 1 kg/m^3."""
    volume = float(np.prod(extents))
    square = np.square(extents) / 12.0
    own = volume * (square.sum() * np.eye(3) - np.diag(square))
    return volume, own + volume * (np.dot(middle, middle) * np.eye(3) - np.outer(middle, middle))


# a part drawn in millimetres


def test_a_plate_of_120_metres_is_asked_about(caplog):
    pytest.importorskip("mujoco")
    robot = ds.load_articulation(PLATE / "no_scale.xml")
    assert robot.links[0].inertia.mass == pytest.approx(4.8e7)
    (message,) = said(caplog)
    for part in ("no_scale.xml", "120 x 80 x 5 m", "48,000,000 kg", "millimetres?", "plate"):
        assert part in message
    caplog.clear()
    ds.RigidBody("part", ds.TriangleMesh.from_file(PLATE / "plate_mm.stl"), (0, 0, 0))
    (message,) = said(caplog)
    assert all(part in message for part in ("RigidBody 'part'", "120 x 80 x 5 m", "48,000,000 kg", "millimetres?"))
    caplog.clear()
    ds.RigidBody("part", ds.TriangleMesh.from_file(PLATE / "plate_mm.stl", size=1e-5), (0, 0, 0))
    assert "scaled twice?" in said(caplog)[0]


def test_a_plate_in_millimetres_is_scaled(tmp_path, caplog):
    pytest.importorskip("mujoco")
    drawn: Any = trimesh.load(PLATE / "plate_mm.stl")
    text = f"""<robot name="plate"><link name="plate"><collision><geometry>
        <mesh filename="{PLATE / "plate_mm.stl"}" scale="0.001 0.001 0.001"/></geometry></collision></link></robot>"""
    (tmp_path / "plate.urdf").write_text(text)
    shapes = [
        ds.TriangleMesh(drawn.vertices, drawn.faces, "plate", scale=1e-3),
        ds.TriangleMesh.from_file(PLATE / "plate_mm.stl", scale=1e-3),
        ds.TriangleMesh.from_file(PLATE / "plate_mm.stl", size=0.12),
        ds.load_articulation(tmp_path / "plate.urdf").links[0].geometries[0].shape,
    ]
    for shape in shapes:
        assert shape.volume == pytest.approx(4.8e-5, rel=1e-6)
        mass = ds.RigidBody("plate", shape, (0, 0, 0), density=1000.0).articulation.links[0].inertia.mass
        assert mass == pytest.approx(0.048, rel=1e-6)
    assert not said(caplog)


def test_a_soft_plate_is_refused_at_120_metres_and_thin_at_12_centimetres(caplog):
    body = ds.SoftBody("plate", ds.TriangleMesh.from_file(PLATE / "plate_mm.stl"), (0.5, 0.5, 0.5))
    with refused("'plate'", "outside the domain", "120 x 80 x 5 m", "size=", "millimetres"):
        ds.Scene((body,))
    with refused("6 x 6 x 6 m", "a smaller shape"):
        ds.Scene((ds.SoftBody("ball", ds.Sphere(3.0), (0.5, 0.5, 0.5)),))
    with pytest.raises(ds.InputError) as caught:  # it would fit elsewhere
        ds.Scene((ds.SoftBody("ball", ds.Sphere(0.1), (0.0, 0.5, 0.5)),))
    assert "smaller" not in str(caught.value)
    assert not said(caplog)
    thin = ds.SoftBody("plate", ds.TriangleMesh.from_file(PLATE / "plate_mm.stl", size=0.12), (0.5, 0.5, 0.5))
    assert len(np.unique(thin.rest_particles[:, 2].round(9))) == 2
    (message,) = (str(finding) for finding in resolution_findings(ds.Scene((thin,))) if finding.severity == "warning")
    assert all(part in message for part in ("'plate'", "0.005 m thick", "0.16 grid cells", "grid_spacing"))


# what is mended

CUBE = box((0.1, 0.1, 0.1))


def cracked() -> trimesh.Trimesh:
    corners = CUBE.triangles.reshape(-1, 3) + np.random.default_rng(0).normal(size=(36, 3)) * 1e-6
    return trimesh.Trimesh(corners, np.arange(36).reshape(12, 3), process=False)


def edge_against_two() -> trimesh.Trimesh:
    """A cube of which one edge has a vertex in its middle on one side only."""
    corners = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1], [0.5, 0, 0]]
    faces = [
        [0, 2, 1], [0, 3, 2], [4, 5, 6], [4, 6, 7], [0, 8, 4], [8, 5, 4], [8, 1, 5], [1, 2, 6], [1, 6, 5], [2, 3, 7],
        [2, 7, 6], [3, 0, 4], [3, 4, 7],
    ]  # fmt: skip
    return trimesh.Trimesh(0.1 * np.array(corners), faces, process=False)


def small_hole() -> trimesh.Trimesh:
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=0.1)
    mesh.update_faces(np.arange(len(mesh.faces)) != 7)
    return mesh


def mixed(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    faces = mesh.faces.copy()
    faces[::3] = faces[::3, ::-1]
    return trimesh.Trimesh(mesh.vertices, faces, process=False)


def moved(*by: float) -> trimesh.Trimesh:
    return CUBE.copy().apply_translation(by)


BOTH = joined(CUBE, moved(0.1, 0.1, 0.0))  # they share an edge
FAULTS: dict[str, tuple[Any, float, str | None]] = {
    "cracks": (cracked(), 1e-3, "welded cracks"),
    "doubled": (joined(CUBE, CUBE), 1e-3, "12 doubled triangles"),
    "drawn from both sides": (joined(CUBE, inverted(CUBE)), 1e-3, "12 doubled triangles"),
    "inside out": (inverted(CUBE), 1e-3, "turned its normals outward"),
    "wound both ways": (mixed(CUBE), 1e-3, "winding consistent"),
    "an edge against two": (edge_against_two(), 1e-3, "1 small hole"),
    "a hole": (small_hole(), 4.0 / 3.0 * np.pi * 1e-3, "1 small hole"),
    "a shared edge": (BOTH, 2e-3, None),
    "a shared edge, inside out": (inverted(BOTH), 2e-3, "turned its normals outward"),
    "a shared edge, wound both ways": (mixed(BOTH), 2e-3, "winding consistent"),
    "a shared wall": (joined(CUBE, moved(0.1, 0.0, 0.0)), 2e-3, "united 2 parts"),
    "parts apart": (joined(CUBE, moved(0.3, 0.0, 0.0)), 2e-3, None),
    "one apart inside out": (joined(CUBE, inverted(moved(0.3, 0.0, 0.0))), 2e-3, "normals of parts"),
    "a part within": (joined(CUBE, box((0.05, 0.05, 0.05))), 1e-3, "united 2 parts"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_meshes_are_mended_and_it_is_said_once(fault, tmp_path, caplog):
    mesh, volume, message = FAULTS[fault]
    shape = ds.TriangleMesh(mesh.vertices, mesh.faces, "part")
    assert shape.is_closed
    assert shape.volume == pytest.approx(volume, rel=0.01 if fault == "a hole" else 1e-4)
    assert [all(word in line for word in ("'part'", message or "")) for line in said(caplog)] == [True] * (message is not None)
    samples = shape.volume_samples(3000)
    assert len(samples) == pytest.approx(3000, rel=0.2)
    assert (shape.signed_distance(samples) < 1e-12).all()  # some lie on a shared edge
    caplog.clear()
    mesh.export(tmp_path / "part.stl")
    assert ds.TriangleMesh.from_file(tmp_path / "part.stl").volume == pytest.approx(shape.volume, rel=1e-4)
    assert len(said(caplog)) == (message is not None)


def test_a_mesh_that_needs_nothing_keeps_its_bits(caplog):
    for mesh in (BALL, joined(CUBE, moved(0.3, 0.0, 0.0))):
        shape = ds.TriangleMesh(mesh.vertices, mesh.faces)
        np.testing.assert_array_equal(shape.mesh.vertices, mesh.vertices)
        np.testing.assert_array_equal(shape.mesh.faces, mesh.faces)
        assert shape.mended == ()
    assert not said(caplog)


def test_a_mirrored_mesh_says_so(caplog):
    shape = ds.TriangleMesh(CUBE.vertices, CUBE.faces, "left", scale=(-1.0, 1.0, 1.0))
    assert shape.volume == pytest.approx(1e-3)
    assert ["'left'" in line and "mirrors" in line for line in said(caplog)] == [True]


def test_colors_survive_a_mending(tmp_path):
    mesh = joined(BALL, BALL.copy().apply_translation((0.1, 0.0, 0.0)))
    red, blue = np.array([255, 0, 0, 255]), np.array([0, 0, 255, 255])
    colors = np.where((np.arange(len(mesh.vertices)) < len(BALL.vertices))[:, None], red, blue)
    mesh.visual = trimesh.visual.ColorVisuals(mesh, vertex_colors=colors)
    mesh.export(tmp_path / "two.ply")
    shape = ds.TriangleMesh.from_file(tmp_path / "two.ply")
    assert shape.mended
    visual: Any = shape.mesh.visual
    found, at = np.asarray(visual.vertex_colors), shape.mesh.vertices[:, 0]
    assert (found[at < -0.01] == red).all()
    assert (found[at > 0.01] == blue).all()


# solids: overlapping, hollow, concave


def test_overlapping_parts_become_one(caplog):
    """A cross of two bars: volume and inertia by inclusion and exclusion, and no wall within."""
    long, across = (0.4, 0.1, 0.1), (0.1, 0.4, 0.1)
    shape = of(box(long), box(across, (0.05, 0.0, 0.0)))
    volume, center, inertia = shape.mass_properties()
    shared = box_inertia((0.1, 0.1, 0.1), (0.05, 0.0, 0.0))
    parts = box_inertia(long, (0, 0, 0)), box_inertia(across, (0.05, 0, 0))
    assert volume == pytest.approx(parts[0][0] + parts[1][0] - shared[0], rel=1e-9)
    np.testing.assert_allclose(center, [0.003 * 0.05 / 0.007, 0.0, 0.0], atol=1e-12)
    about = inertia + volume * (center @ center * np.eye(3) - np.outer(center, center))
    np.testing.assert_allclose(about, parts[0][1] + parts[1][1] - shared[1], atol=1e-14)
    assert shape.signed_distance([[0.05, 0.0, 0.0]])[0] == pytest.approx(-0.05)  # of the top; the bars' walls are gone
    assert ["united 2 parts" in line for line in said(caplog)] == [True]
    samples = shape.volume_samples(5000)
    assert len(samples) == pytest.approx(5000, rel=0.1)
    within = (np.abs(samples - [0.05, 0.0, 0.0]) < 0.05).all(axis=1)
    assert within.mean() == pytest.approx(shared[0] / volume, rel=0.15)


def test_hollow_bodies_stay_hollow():
    outer, inner = (0.4, 0.3, 0.2), (0.2, 0.2, 0.1)
    shape = of(box(outer), inverted(box(inner)))
    volume, center, inertia = shape.mass_properties()
    whole, void = box_inertia(outer, (0, 0, 0)), box_inertia(inner, (0, 0, 0))
    assert volume == pytest.approx(whole[0] - void[0])
    np.testing.assert_allclose(center, 0.0, atol=1e-15)
    np.testing.assert_allclose(inertia, whole[1] - void[1], atol=1e-15)
    assert shape.signed_distance([[0.0, 0.0, 0.0]])[0] == pytest.approx(0.05)
    samples = shape.volume_samples(5000)
    assert len(samples) == pytest.approx(5000, rel=0.15)
    assert not (np.abs(samples) < np.array(inner) / 2.0).all(axis=1).any()
    core = of(box(outer), inverted(box(inner)), box((0.04, 0.04, 0.04)))  # a part within the cavity stays a part
    assert core.volume == pytest.approx(volume + 0.04**3)
    pierced = of(
        box(outer), inverted(box(inner)), box((0.3, 0.04, 0.04))
    )  # one that goes through its walls becomes one with it
    assert pierced.volume == pytest.approx(volume + 0.2 * 0.04**2)


def test_masses_of_concave_meshes_are_exact():
    """A C of three bars: far from its hull, and far from the origin."""
    outline = np.array([[0, 0], [3, 0], [3, 1], [1, 1], [1, 2], [3, 2], [3, 3], [0, 3]], dtype=float) * 0.1
    faces = [[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 7], [4, 5, 6], [4, 6, 7]]
    mesh = trimesh.creation.extrude_triangulation(outline, np.array(faces), 0.1)
    bars = [((0.1, 0.3, 0.1), (0.05, 0.15, 0.05)), ((0.2, 0.1, 0.1), (0.2, 0.05, 0.05)), ((0.2, 0.1, 0.1), (0.2, 0.25, 0.05))]
    volume = sum(box_inertia(*bar)[0] for bar in bars)
    middle = sum(box_inertia(*bar)[0] * np.array(bar[1]) for bar in bars) / volume
    inertia = sum(box_inertia(extents, np.array(at) - middle)[1] for extents, at in bars)
    for offset in (0.0, 100.0):
        found = mass_integrals(mesh.copy().apply_translation((offset, 0.0, 0.0)))
        assert found.volume == pytest.approx(volume, rel=1e-11)
        np.testing.assert_allclose(found.center - [offset, 0.0, 0.0], middle, atol=1e-11)
        np.testing.assert_allclose(found.inertia, inertia, atol=1e-13)


@pytest.mark.parametrize("kind", ["hollow", "overlapping", "wound both ways", "a shared edge", "convex", "MuJoCo's"])
def test_masses_that_a_file_leaves_to_its_meshes_are_exact(kind, tmp_path):
    pytest.importorskip("mujoco")
    hollow = joined(BALL, inverted(BALL.copy().apply_scale(0.8)))
    mesh, volume = {
        "hollow": (hollow, BALL.volume * (1.0 - 0.8**3)),
        "overlapping": (joined(box((0.4, 0.1, 0.1)), box((0.1, 0.4, 0.1))), 0.007),
        "wound both ways": (mixed(CUBE), 1e-3),
        "a shared edge": (BOTH, 2e-3),
        "convex": (hollow, BALL.volume),
        "MuJoCo's": (hollow, BALL.volume * (1.0 + 0.8**3)),  # cavities counted in
    }[kind]
    mesh.export(tmp_path / "m.stl")
    asked = 'inertia="convex"' if kind == "convex" else ""
    (tmp_path / "m.xml").write_text(
        f"""<mujoco><asset><mesh name="m" file="m.stl" {asked}/></asset><worldbody><body name="b"><freejoint/>
        <geom type="mesh" mesh="m" density="500"/></body></worldbody></mujoco>"""
    )
    link = ds.load_articulation(tmp_path / "m.xml", exact_masses=kind != "MuJoCo's").links[0]
    assert link.inertia.mass == pytest.approx(500.0 * volume, rel=1e-5)
    if kind not in ("convex", "MuJoCo's"):
        exact = np.linalg.eigvalsh(link.geometries[0].shape.mass_properties()[2])
        np.testing.assert_allclose(np.sort(link.inertia.moments), 500.0 * exact, rtol=1e-5)


# particles


def test_lattice_points_are_found_exactly():
    for seed, mesh in enumerate((BALL, trimesh.creation.torus(0.1, 0.03), trimesh.creation.annulus(0.05, 0.1, 0.1))):
        turned = mesh.copy().apply_transform(
            trimesh.transformations.random_rotation_matrix(np.random.default_rng(seed).random(3))
        )
        axes = [np.linspace(-0.15, 0.15, n) for n in (23, 29, 31)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        inside = np.zeros(points.shape[:3], dtype=bool)
        inside[tuple(nodes_inside(turned.triangles, Lattice(*axes)).T)] = True
        depth = mesh_distance.signed_distance(turned, points.reshape(-1, 3)).reshape(inside.shape)
        np.testing.assert_array_equal(inside, depth < 0.0)


def test_lattice_points_on_faces_edges_and_corners_belong_to_one_side():
    """All lines of the lattice go through edges and vertices of a cube: of each pair of opposite faces one holds its points."""
    cube = trimesh.creation.box((1.0, 1.0, 1.0)).subdivide().subdivide()
    axis = np.linspace(-1.0, 1.0, 9)  # faces at the third and seventh, vertices at all between
    nodes = nodes_inside(cube.triangles, Lattice(axis, axis, axis))
    assert len(nodes) == 4**3
    assert len(np.unique(nodes, axis=0)) == len(nodes)
    assert (np.ptp(nodes, axis=0) == 3).all()
    assert len(nodes_inside(inverted(cube).triangles, Lattice(axis, axis, axis))) == 4**3


def rod() -> trimesh.Trimesh:
    """4 mm x 1 m along the diagonal of its box."""
    mesh = trimesh.creation.cylinder(0.002, 1.0, sections=32)
    return mesh.apply_transform(trimesh.geometry.align_vectors([0.0, 0.0, 1.0], [1.0, 1.0, 1.0]))


def test_a_thin_rod_is_filled_in_bounded_work(monkeypatch):
    """Its box holds 1.5e8 lattice points, of which 1e4 are asked for: no point is tested, and few lines are crossed."""
    crossed: list[int] = []
    lines = lattice_samples._lines

    def counted(*arguments):
        parts = lines(*arguments)
        crossed.extend(len(part.line) for part in parts)
        return parts

    def never(*arguments):
        raise AssertionError("a point was tested")

    monkeypatch.setattr(lattice_samples, "_lines", counted)
    monkeypatch.setattr(ds.TriangleMesh, "contains", never)
    monkeypatch.setattr(ds.TriangleMesh, "signed_distance", never)
    mesh = rod()
    shape = ds.TriangleMesh(mesh.vertices, mesh.faces, "rod")
    samples = shape.volume_samples(10_000)
    assert len(samples) == pytest.approx(10_000, rel=0.05)
    assert sum(crossed) < 2 * len(samples)
    along = samples @ np.full(3, 3.0**-0.5)
    assert np.linalg.norm(samples - along[:, None] * 3.0**-0.5, axis=1).max() < 0.002
    assert np.histogram(along, bins=50, range=(-0.5, 0.5))[0].min() > 150  # 200 in each fiftieth of its length
    np.testing.assert_array_equal(ds.TriangleMesh(mesh.vertices, mesh.faces).volume_samples(10_000), samples)


def test_what_encloses_nothing_but_rounding_is_refused():
    """A crumpled sheet: fans over its rim enclose 1e-24 m^3."""
    corners = np.array([[0, 0, 0], [0.1, 0, 1e-17], [0.1, 0.1, 0], [0, 0.1, 0]])
    crumpled = ds.TriangleMesh(corners, [[0, 1, 2], [0, 2, 3]], "crumpled")
    with refused("'crumpled'", "volume"):
        crumpled.volume_samples(1000)


@pytest.mark.parametrize("thickness", [1e-5, 1e-6])
def test_a_sheet_gets_no_more_particles_than_four_times_those_asked_for(thickness):
    for shape in (of(box((0.5, 0.5, thickness))), ds.Box((0.25, 0.25, 0.5 * thickness))):
        samples = shape.volume_samples(500)
        assert 500 <= len(samples) <= 2000
        np.testing.assert_array_equal(samples[:, 2], 0.0)
    with refused("too thin", "particles"):
        ds.Box((30.0, 30.0, 1e-9)).volume_samples(500)


@pytest.mark.parametrize("limit", ["MOST_CROSSINGS", "MOST_PLANES"])
def test_what_would_take_too_many_lines_is_refused(limit, monkeypatch):
    most = {"MOST_CROSSINGS": 1000, "MOST_PLANES": 100}
    monkeypatch.setattr(lattice_samples, limit, most[limit])
    monkeypatch.setattr(lattice_samples, "CHUNK", 100)
    sheet = ds.TriangleMesh(*(lambda m: (m.vertices, m.faces))(box((1.0, 1.0, 1e-6))), name="sheet")
    with refused("'sheet'", "too thin", "2 m^2"):
        sheet.volume_samples(1000)


def test_parts_far_apart_are_filled_or_refused():
    """Specks of 1 mm in a box of 10 m cost what they fill; specks of 1 um do not fit into a lattice."""
    speck = box((1e-3, 1e-3, 1e-3))
    shape = of(speck, speck.copy().apply_translation((10.0, 10.0, 10.0)))
    samples = shape.volume_samples(2000)
    assert len(samples) == pytest.approx(2000, rel=0.2)
    assert (np.abs(samples - 10.0) < 1e-3).all(axis=1).mean() == pytest.approx(0.5, abs=0.1)
    dust = box((1e-6, 1e-6, 1e-6))
    with refused("too sparse", "2000 of them", "10 m long"):
        of(dust, dust.copy().apply_translation((10.0, 0.0, 0.0))).volume_samples(2000)


def test_lattices_of_other_shapes_are_tested_in_slabs(monkeypatch):
    whole = ds.Torus(0.1, 0.03).volume_samples(3000)
    monkeypatch.setattr(shape_module, "POINTS_AT_ONCE", 100)
    np.testing.assert_array_equal(ds.Torus(0.1, 0.03).volume_samples(3000), whole)


def test_work_in_chunks_finds_the_same(monkeypatch):
    shape = ds.TriangleMesh(BALL.vertices, BALL.faces)
    whole = shape.volume_samples(3000)
    monkeypatch.setattr(lattice_samples, "CHUNK", 50)
    np.testing.assert_array_equal(shape.volume_samples(3000), whole)


def test_large_meshes_are_coarsened_for_their_distance(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFSIM_CACHE", str(tmp_path))
    ball = trimesh.creation.icosphere(subdivisions=5, radius=0.1)
    exact = distance_grid(ball, resolution=16)
    monkeypatch.setattr(mesh_distance, "MANY_FACES", 1000)
    monkeypatch.setenv("DIFFSIM_CACHE", str(tmp_path / "other"))
    coarse = coarsened(ball, 0.01 * exact.spacing)
    assert len(coarse.faces) < 0.6 * len(ball.faces)
    assert coarse.is_watertight
    gap = np.abs(distance_grid(ball, resolution=16).values - exact.values).max()
    assert 0.0 < gap <= 0.01 * exact.spacing


# files


@pytest.mark.parametrize("kind", ["stl", "stl_ascii", "obj", "ply", "off", "glb", "gltf", "dae"])
def test_formats(kind, tmp_path):
    if kind == "dae":
        pytest.importorskip("collada")
    scene = trimesh.Scene()
    scene.add_geometry(box((0.1, 0.1, 0.1)), transform=trimesh.transformations.translation_matrix((0.3, 0.0, 0.0)))
    scene.add_geometry(box((0.1, 0.1, 0.1)), transform=trimesh.transformations.scale_matrix(2.0))
    whole = scene if kind in ("glb", "gltf") else scene.to_mesh()
    path = tmp_path / f"two.{kind.removesuffix('_ascii')}"
    data = whole.export(file_type=kind)
    if isinstance(data, dict):
        for name, part in data.items():
            (tmp_path / name).write_bytes(part)
        path = tmp_path / "model.gltf"
    else:
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    shape = ds.TriangleMesh.from_file(path)
    assert shape.volume == pytest.approx(1e-3 + 8e-3, rel=1e-5)
    np.testing.assert_allclose(shape.mesh.extents, [0.45, 0.2, 0.2], rtol=1e-5)
    np.testing.assert_allclose(shape.mesh.bounds.sum(axis=0), 0.0, atol=1e-6)


def test_a_dae_file_whose_material_is_missing_is_read_without(tmp_path):
    pytest.importorskip("collada")
    text = CUBE.export(file_type="dae").decode()  # type: ignore[union-attr]
    target = text.split('<instance_material symbol="material0" target="#')[1].split('"')[0]
    head, materials = text.split("<library_materials>")
    gone = materials.replace(f'<material id="{target}"', '<material id="another"')
    (tmp_path / "cube.dae").write_text(
        head.replace("<asset>", '<asset><unit name="cm" meter="0.01"/>') + "<library_materials>" + gone
    )
    assert ds.TriangleMesh.from_file(tmp_path / "cube.dae").volume == pytest.approx(1e-9, rel=1e-5)  # in centimetres


def klein() -> trimesh.Trimesh:
    """A bottle without inside: a torus of squares that is closed after a twist."""
    n, m = 8, 5
    index = np.arange(n * m).reshape(n, m)
    faces = []
    for i in range(n):
        row, following = index[i], index[(i + 1) % n] if i < n - 1 else index[0][(-np.arange(m)) % m]
        for j in range(m):
            a, b, c, d = row[j], row[(j + 1) % m], following[(j + 1) % m], following[j]
            faces += [[a, b, c], [a, c, d]]
    return trimesh.Trimesh(np.random.default_rng(0).random((n * m, 3)), faces, process=False)


def bowl() -> trimesh.Trimesh:
    mesh = BALL.copy()
    mesh.update_faces(mesh.triangles_center[:, 2] < 0.0)
    return mesh


def sheet() -> trimesh.Trimesh:
    return trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]], process=False)


REFUSED: dict[str, tuple[Any, tuple[str, ...]]] = {
    "sheet": (sheet(), ("flat", "give it a thickness")),
    "sheet from both sides": (joined(sheet(), inverted(sheet())), ("flat", "give it a thickness")),
    "bowl": (bowl(), ("not watertight", "48 edges", "one hole, 0.2 m wide", "inner wall")),
    "klein": (klein(), ("contradicts itself", "no rim")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_mended_is_refused_with_the_reason(name, tmp_path):
    mesh, reasons = REFUSED[name]
    mesh.export(tmp_path / "bad.obj")
    with refused("bad.obj", *reasons):
        ds.TriangleMesh.from_file(tmp_path / "bad.obj")


def test_an_open_mesh_of_arrays_weighs_what_its_fans_enclose():
    shape = of(bowl())
    assert not shape.is_closed
    ball = bowl()
    rim = ball.vertices[np.abs(ball.vertices[:, 2]) < 0.01][:, 2]
    assert shape.volume == pytest.approx(2.0 / 3.0 * np.pi * 1e-3, rel=0.06)
    volume, center, _ = shape.mass_properties()
    assert volume == pytest.approx(shape.volume)
    assert center[2] == pytest.approx(-3.0 / 8.0 * 0.1, rel=0.06)  # of half a ball
    assert shape.volume_samples(500)[:, 2].max() < rim.max() + 1e-9
    with refused("'flat'", "cannot be a body", "give it a thickness"):
        ds.RigidBody("r", ds.TriangleMesh(sheet().vertices, sheet().faces, "flat"), (0, 0, 0)).articulation  # noqa: B018


def test_damaged_files_are_refused_with_the_reason(tmp_path):
    whole = CUBE.export(file_type="stl")
    corners = "v nan 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\nf 1 2 4\nf 1 3 4\nf 2 3 4\n"
    for name, content, reasons in (
        ("empty.stl", b"", ("empty",)),
        ("empty.glb", b"", ("empty", "no bytes")),
        ("cut.stl", whole[:200], ("could not be read", "12 triangles", "684 bytes", "200 bytes")),
        ("head.stl", whole[:60], ("could not be read", "84 bytes", "60 bytes")),
        ("words.stl", b"no mesh at all", ("empty",)),
        ("points.obj", b"v 0 0 0\nv 1 0 0\n", ("empty", "no triangles")),
        ("nan.obj", corners.encode(), ("not finite numbers", "1 of 4")),
        ("indices.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", ("could not be read",)),
        ("dot.obj", b"v 0 0 0\nv 0 0 0\nv 0 0 0\nf 1 2 3\n", ("empty", "degenerate")),
        ("part.step", b"", ("unknown suffix", ".obj, .stl, .glb, .gltf, .ply, .off, .dae")),
    ):
        (tmp_path / name).write_bytes(content)
        with refused(name, *reasons):
            ds.TriangleMesh.from_file(tmp_path / name)
    with refused("'cube.stl'", "scale", "0"):
        CUBE.export(tmp_path / "cube.stl")
        ds.TriangleMesh.from_file(tmp_path / "cube.stl", scale=0.0)
