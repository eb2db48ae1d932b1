"""URDF files, the packages that they name, and meshes of every kind."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest
import trimesh

from diffsim.robots.model_files import load_articulation
from diffsim.robots.package_paths import resolve
from diffsim.scene.articulation import Actuator
from diffsim.scene.constraints import JointEquality
from tests.diffsim.mujoco_oracle import INERTIAL, check, check_motion, corner, mesh_element, meshed, mujoco, reference, urdf
from tests.diffsim.test_inputs import refused


def test_urdf_keeps_all_links(tmp_path, caplog):
    more = """<link name="flange"/><joint name="weld" type="fixed"><parent link="arm"/><child link="flange"/></joint>
        <link name="finger">INERTIAL</link>
        <joint name="mime" type="prismatic"><parent link="flange"/><child link="finger"/>
        <limit lower="0" upper="0.04" effort="1" velocity="1"/><mimic joint="shoulder"/></joint>""".replace(
        "INERTIAL", INERTIAL
    )
    look = '<visual><geometry><box size="1 1 1"/></geometry><material name="m"><color rgba="1 0 0 1"/></material></visual>'
    touch = '<collision><geometry><sphere radius="0.5"/></geometry></collision>'
    path = urdf(tmp_path, base=look + touch, more=more, joint='<dynamics damping="0.5" friction="0.25"/>')
    articulation = load_articulation(path, actuators=[Actuator("drive", "shoulder", kind="position", gain=10.0)])
    check_motion(articulation, reference(path, 'inertiafromgeom="false"'))
    assert [(link.name, link.joint.kind) for link in articulation.links] == [
        ("base", "fixed"),
        ("arm", "revolute"),
        ("flange", "fixed"),
        ("finger", "prismatic"),
    ]
    base = articulation.links[0]
    assert base.inertia is None  # not guessed from its shapes
    assert [(g.collides, g.visible) for g in base.geometries] in (
        [(True, False), (False, True)],
        [(False, True), (True, False)],
    )
    assert [g.color for g in base.geometries if g.visible] == [(1.0, 0.0, 0.0)]
    shoulder = articulation.joint("shoulder")
    assert (shoulder.limits, shoulder.damping, shoulder.friction_loss) == ((-1.0, 2.0), 0.5, 0.25)
    assert articulation.joint("mime").limit_smoothing < 1e-3  # short against its range
    assert articulation.constraints == (JointEquality("mime", "mime", "shoulder"),)
    assert [actuator.name for actuator in articulation.actuators] == ["drive"]
    free = load_articulation(path, fixed_base=False)
    assert free.links[0].joint.kind == "free"
    with refused("drive", "elbow"):
        load_articulation(path, actuators=[Actuator("drive", "elbow")])


def test_urdf_with_inertias_that_no_body_has(tmp_path, caplog):
    crooked = INERTIAL.replace('izz="1"', 'izz="9"')
    dummy = '<link name="dummy"/><joint name="d" type="continuous"><parent link="arm"/><child link="dummy"/></joint>'
    point = INERTIAL.replace('"1"', '"0"').replace('"2"', '"3"')
    points = f"""<link name="point">{point}</link>
        <joint name="p" type="fixed"><parent link="arm"/><child link="point"/></joint>"""
    articulation = load_articulation(urdf(tmp_path, arm=crooked, more=dummy + points))
    by_name = {link.name: link.inertia for link in articulation.links}
    assert by_name["dummy"] is None
    assert by_name["point"].mass == 3.0
    assert max(by_name["point"].moments) < 1e-12
    assert by_name["arm"].moments == pytest.approx((11 / 3, 11 / 3, 11 / 3))
    for part in ("without mass or armature", "dummy", "about 0: point", "replaced by their mean: arm"):
        assert part in caplog.text
    assert len(caplog.records) == 1


def test_package_uris(tmp_path, monkeypatch):
    box = trimesh.creation.box((1.0, 1.0, 1.0))
    home = tmp_path / "ws" / "my_robot"
    (home / "meshes").mkdir(parents=True)
    box.export(home / "meshes" / "box part.stl")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for scheme in ("package", "model"):
        path = urdf(home / "urdf", base=mesh_element(f"{scheme}://my_robot/meshes/box%20part.stl"))  # by the parents
        assert load_articulation(path).links[0].geometries[0].shape.volume == pytest.approx(1.0)
    for uri in ("../meshes/box part.stl", f"file://{home}/meshes/box part.stl", f"{home}/meshes/box part.stl"):
        assert load_articulation(urdf(home / "urdf", base=mesh_element(uri))).links[0].geometries

    uri = "package://my_robot/meshes/box part.stl"
    path = urdf(elsewhere, base=mesh_element(uri))
    with refused("robot.urdf", uri, "package_paths", str(elsewhere / "my_robot" / "meshes" / "box part.stl")):
        load_articulation(path)
    assert load_articulation(path, package_paths={"my_robot": home}).links[0].geometries
    for folder in (tmp_path / "ws", home):
        monkeypatch.setenv("ROS_PACKAGE_PATH", f"/nowhere:{folder}")
        assert resolve(uri, elsewhere) == home / "meshes" / "box part.stl"
    monkeypatch.delenv("ROS_PACKAGE_PATH")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "site")])
    share = tmp_path / "site" / "cmeel.prefix" / "share"
    share.mkdir(parents=True)
    (share / "my_robot").symlink_to(home)
    assert resolve(uri, elsewhere).is_file()

    with refused("http://x/y.stl", "package, model or file"):
        load_articulation(urdf(elsewhere, base=mesh_element("http://x/y.stl")))
    picture = urdf(elsewhere, base=mesh_element("package://gone/x.dae", "visual"))
    with refused("package://gone/x.dae"):
        load_articulation(picture)
    assert not load_articulation(picture, visuals=False).links[0].geometries


def test_equal_file_names_stay_apart(tmp_path):
    for folder, edge in (("visual", 2.0), ("collision", 1.0)):
        (tmp_path / folder).mkdir()
        trimesh.creation.box((edge, edge, edge)).export(tmp_path / folder / "box.stl")
    base = mesh_element("visual/box.stl", "visual") + mesh_element("collision/box.stl")
    scaled = mesh_element("collision/box.stl").replace("<mesh", '<mesh scale="3 1 1"')
    geometries = load_articulation(urdf(tmp_path, base=base + scaled)).links[0].geometries
    assert sorted((g.collides, round(g.shape.volume, 4)) for g in geometries) == [(False, 8.0), (True, 1.0), (True, 3.0)]


def test_warnings_of_mujoco_are_ours(tmp_path, caplog, monkeypatch):
    if int(mujoco.__version__.split(".")[0]) < 4:
        pytest.skip("MuJoCo warns of equal limits from 4.0")
    monkeypatch.chdir(tmp_path)
    before = mujoco.get_mju_user_warning()
    path = urdf(tmp_path)
    path.write_text(path.read_text().replace('lower="-1" upper="2"', 'lower="1" upper="1"'))
    load_articulation(path)
    (record,) = caplog.records
    assert "MuJoCo warns: joint 'shoulder' has equal lower and upper limits" in record.getMessage()
    assert [file.name for file in tmp_path.iterdir()] == ["robot.urdf"]  # and no log
    assert mujoco.get_mju_user_warning() is before


def test_urdf_in_an_xml_file(tmp_path):
    path = urdf(tmp_path).rename(tmp_path / "robot.xml")
    assert [link.name for link in load_articulation(path).links] == ["base", "arm"]


# ---- meshes


def test_meshes_are_decomposed(tmp_path):
    corner().export(tmp_path / "l.stl")
    path = meshed(tmp_path, "l.stl")
    shape, picture = check(path).links[0].geometries
    assert shape.shape is picture.shape
    assert shape.shape.volume == pytest.approx(3.0, rel=1e-5)
    hull, picture = load_articulation(path, decompose="hull").links[0].geometries
    assert (hull.collides, hull.visible, picture.collides, picture.visible) == (True, False, False, True)
    assert hull.shape.volume == pytest.approx(3.5, rel=1e-5)
    with refused("decompose", "hull", "'boxes'"):
        load_articulation(path, decompose="boxes")


def test_coacd_parts(tmp_path):
    pytest.importorskip("coacd")
    corner().export(tmp_path / "l.stl")
    parts = [g.shape for g in load_articulation(meshed(tmp_path, "l.stl"), decompose="coacd").links[0].geometries if g.collides]
    assert len(parts) >= 2
    assert sum(part.volume for part in parts) == pytest.approx(3.0, rel=0.05)


def test_every_group_of_an_obj_is_read(tmp_path, caplog):
    boxes = [trimesh.creation.box((1.0, 1.0, 1.0)), trimesh.creation.box((2.0, 1.0, 1.0))]
    lines, first = [], 1
    for number, box in enumerate(boxes):
        lines += ["v {} {} {}".format(*(vertex + np.array([3.0 * number, 0.0, 0.0]))) for vertex in box.vertices]
    for number, box in enumerate(boxes):
        lines += [f"g part{number}"] + ["f {} {} {}".format(*(face + first)) for face in box.faces]
        first += len(box.vertices)
    (tmp_path / "two.obj").write_text("\n".join(lines))
    shape = load_articulation(meshed(tmp_path, "two.obj")).links[0].geometries[0].shape
    assert shape.volume == pytest.approx(3.0, rel=1e-5)
    assert "two.obj" in caplog.text  # MuJoCo would read the first
    np.testing.assert_allclose(np.ptp(shape.surface_mesh().bounds, axis=0).max(), 4.5, rtol=1e-5)


@pytest.mark.parametrize("suffix", ["ply", "glb", "off", "dae", "ascii.stl"])
def test_mesh_files_that_mujoco_does_not_read(tmp_path, suffix):
    if suffix == "dae":
        pytest.importorskip("collada")
    mesh = corner()
    if suffix == "ascii.stl":
        (tmp_path / "m.ascii.stl").write_text(trimesh.exchange.stl.export_stl_ascii(mesh))
    else:
        mesh.export(tmp_path / f"m.{suffix}")
    shape = load_articulation(meshed(tmp_path, f"m.{suffix}")).links[0].geometries[0].shape
    assert shape.volume == pytest.approx(3.0, rel=1e-5)
    if suffix == "dae":
        text = (tmp_path / "m.dae").read_text()
        unit = '<unit name="centimeter" meter="0.01"/>'
        text = re.sub(r"<unit[^>]*/>", unit, text) if "<unit" in text else text.replace("</asset>", f"{unit}</asset>", 1)
        (tmp_path / "m.dae").write_text(text)
        shape = load_articulation(meshed(tmp_path, "m.dae")).links[0].geometries[0].shape
        assert shape.volume == pytest.approx(3e-6, rel=1e-5)
