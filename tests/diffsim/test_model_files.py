"""Model files become articulations that move as MuJoCo's do: models of several packages, and small ones for each rule."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import sys
from pathlib import Path

import numpy as np
import pytest

import diffsim.robots.model_files
import diffsim.robots.mujoco_import
import diffsim.robots.package_paths
from diffsim.robots.model_files import load_articulation
from diffsim.scene.articulation import Articulation
from diffsim.scene.rotations import rotation_matrix
from diffsim.scene.shapes import Box, Capsule, Cylinder, Ellipsoid, HeightField, Plane, Sphere
from tests.diffsim.mujoco_oracle import (
    BALL,
    EXACT,
    actuator_forces,
    check,
    check_motion,
    meshed,
    mjcf,
    mujoco,
    random_state,
    reference,
)
from tests.diffsim.test_inputs import refused


def packaged(package: str, path: str) -> Path:
    """A file of an installed package, which is not imported."""
    if package == "example-robot-data":
        try:
            folder = importlib.metadata.distribution(package).locate_file("cmeel.prefix/share/example-robot-data/robots")
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"{package} is not installed; make test installs it")
    else:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            pytest.skip(f"{package} is not installed; make test installs it")
        folder = Path(spec.origin).parent
    return Path(str(folder)) / path


PANDA = ("robosuite", "models/assets/robots/panda/robot.xml")
PANDA_URDF = ("example-robot-data", "panda_description/urdf/panda.urdf")
HAND = ("gymnasium_robotics", "envs/assets/hand/reach.xml")
MODELS = {
    "panda": PANDA,
    "panda urdf": PANDA_URDF,
    "talos urdf": ("example-robot-data", "talos_data/robots/talos_reduced_corrected.urdf"),
    "fetch": ("gymnasium_robotics", "envs/assets/fetch/pick_and_place.xml"),
    "shadow hand": HAND,
    "adroit hammer": ("gymnasium_robotics", "envs/assets/adroit_hand/adroit_hammer.xml"),
    "humanoid": ("gymnasium_robotics", "envs/mujoco/assets/humanoid.xml"),
    "ant": ("gymnasium_robotics", "envs/mujoco/assets/ant.xml"),
    "hammer": ("metaworld", "assets/objects/hammer.xml"),
    "sawyer": ("metaworld", "assets/sawyer_xyz/sawyer_hammer.xml"),
    "bread": ("robosuite", "models/assets/objects/bread.xml"),
}


@pytest.mark.robot_models
@pytest.mark.parametrize("which", MODELS)
def test_models_move_as_in_mujoco(which):
    path = packaged(*MODELS[which])
    model = reference(path)
    articulation = load_articulation(path, visuals=False)
    check_motion(articulation, model)


@pytest.mark.robot_models
@pytest.mark.parametrize("which", ["panda", "fetch", "shadow hand", "humanoid", "ant", "sawyer", "adroit hammer"])
def test_actuators_push_as_in_mujoco(which):
    path = packaged(*MODELS[which])
    model = reference(path)
    articulation = load_articulation(path, visuals=False)
    assert len(articulation.actuators) == model.nu > 0
    for seed in range(5):
        data = random_state(model, seed)
        forces, on_joints = actuator_forces(articulation, model, data)
        np.testing.assert_allclose(forces, data.actuator_force, **EXACT)
        np.testing.assert_allclose(on_joints, data.qfrc_actuator, **EXACT)


@pytest.mark.robot_models
def test_panda_urdf_has_its_pictures():
    pytest.importorskip("collada")
    articulation = load_articulation(packaged(*PANDA_URDF))
    assert articulation.name == "panda"
    link = next(link for link in articulation.links if link.name == "panda_link1")
    drawn = [geometry for geometry in link.geometries if geometry.visible]
    touching = [geometry for geometry in link.geometries if geometry.collides]
    assert drawn
    assert touching
    assert not set(map(id, drawn)) & set(map(id, touching))
    # the picture (.dae) covers the collision shape (.stl), in metres and upright
    spans = []
    for some in (drawn, touching):
        points = [g.shape.surface_mesh().vertices @ rotation_matrix(g.rotation).T + g.position for g in some]
        spans.append(np.stack([np.concatenate(points).min(axis=0), np.concatenate(points).max(axis=0)]))
    np.testing.assert_allclose(spans[0], spans[1], atol=0.03)


@pytest.mark.robot_models
def test_shadow_hand_shapes_touch_by_its_bits():
    articulation = load_articulation(packaged(*HAND), visuals=False)
    shapes = [g for link in articulation.links if link.name.startswith("robot0:ff") for g in link.geometries]
    assert shapes
    assert {(g.collision_group, g.collision_mask) for g in shapes} == {(1, 0)}


# ---- each rule by itself


def test_several_joints_anchors_and_references(tmp_path):
    joints = """<joint name="slide" type="slide" axis="1 2 0" pos="0.3 0 0.1" ref="0.4"/>
        <joint name="hinge" axis="0 1 1" pos="0.1 0.2 0.3" ref="-0.7" range="-1 2" limited="true"/>
        <joint name="ball" type="ball" pos="-0.2 0 0.1"/>"""
    inner = f"""<body name="tip" pos="0.5 0 0" euler="0.1 0.2 0.3"><joint name="end" axis="1 0 1" pos="0 0.2 0" ref="0.3"/>
        <geom type="box" size="0.1 0.2 0.3" pos="0.1 0 0" euler="0 0 1"/><body name="flange" pos="0 0 1">{BALL}</body></body>"""
    path = mjcf(tmp_path, f'<body name="arm" pos="0 0 1" euler="0.4 0 0.2">{joints}{BALL}{inner}</body>')
    articulation = check(path)
    assert [link.name for link in articulation.links] == ["arm:slide", "arm:hinge", "arm", "tip", "flange"]
    assert [link.joint.kind for link in articulation.links] == ["prismatic", "revolute", "ball", "revolute", "fixed"]
    assert [link.inertia is None for link in articulation.links] == [True, True, False, False, False]
    assert articulation.joint("hinge").limits == (-1.0, 2.0)
    assert articulation.joint("hinge").initial == (-0.7,)
    assert articulation.joint("slide").initial == (0.4,)


def test_joint_forces_and_keyframe(tmp_path):
    joint = """<joint name="j" damping="1.5" armature="0.2" frictionloss="0.3" stiffness="4" springref="0.5" range="-1 1"
        limited="true"/>"""
    free = f'<body name="cube" pos="1 2 3"><freejoint name="f"/>{BALL}</body>'
    keys = '<keyframe><key name="home" qpos="0.25 4 5 6 0 1 0 0"/></keyframe>'
    path = mjcf(tmp_path, f'<body name="arm">{joint}{BALL}</body>{free}', keys)
    articulation = check(path)
    j = articulation.joint("j")
    assert (j.damping, j.armature, j.friction_loss, j.spring_stiffness, j.spring_rest) == (1.5, 0.2, 0.3, 4.0, 0.5)
    assert articulation.links[1].position == (1.0, 2.0, 3.0)
    for keyframe in ("home", 0):
        moved = load_articulation(path, keyframe=keyframe)
        assert moved.joint("j").initial == (0.25,)
        assert moved.links[1].position == (4.0, 5.0, 6.0)
        assert moved.links[1].rotation == (0.0, 1.0, 0.0, 0.0)
        assert moved.joint("f").initial is None  # so that it moves with the articulation
    with refused("keyframe", "home", "'nowhere'"):
        load_articulation(path, keyframe="nowhere")


def test_unnamed_elements_get_names(tmp_path):
    path = mjcf(tmp_path, f'<body><joint/>{BALL}</body><body name="body1"><joint/><joint axis="1 0 0"/>{BALL}</body>')
    names = [link.name for link in load_articulation(path).links]
    assert names == ["body1_", "body1:joint1", "body1"]


def test_fixed_base(tmp_path, caplog):
    path = mjcf(tmp_path, f'<body name="base" pos="0 0 1"><freejoint/>{BALL}<body name="arm"><joint/>{BALL}</body></body>')
    assert [x.joint.kind for x in load_articulation(path).links] == ["free", "revolute"]
    assert [x.joint.kind for x in load_articulation(path, fixed_base=False).links] == ["free", "revolute"]
    fixed = load_articulation(path, fixed_base=True, position=(1.0, 0.0, 0.0), name="mine")
    assert [x.joint.kind for x in fixed.links] == ["fixed", "revolute"]
    assert fixed.links[0].position == (0.0, 0.0, 1.0)
    assert (fixed.name, fixed.position) == ("mine", (1.0, 0.0, 0.0))

    plane = '<geom type="plane" name="{}" size="1 1 1"/>'
    assert not caplog.records
    path = mjcf(tmp_path, f'{plane.format("floor")}<body name="a" pos="0 0 1">{BALL}{plane.format("tray")}</body>')
    freed = load_articulation(path, fixed_base=False)
    assert [(x.name, x.joint.kind) for x in freed.links] == [("world", "fixed"), ("a", "free")]
    assert "plane on a moving body) left out: tray" in caplog.text
    path = mjcf(tmp_path, f'<body name="a">{BALL}</body><body name="b">{BALL}</body>')
    with refused("fixed_base=False", "a, b"):
        load_articulation(path, fixed_base=False)


ACTUATED = f"""<body name="a"><joint name="x" type="slide" actuatorfrcrange="-3 2" actuatorfrclimited="true"/>{BALL}
    <body name="b"><joint name="y" ref="0.3"/><joint name="z" axis="1 0 0"/>{BALL}</body></body>"""
TENDONS = """<tendon><fixed name="both"><joint joint="y" coef="0.5"/><joint joint="z" coef="-2"/></fixed></tendon>"""


def test_actuators_of_every_kind(tmp_path):
    actuators = """<motor name="motor" joint="x" gear="-2.5" ctrlrange="-1 1" ctrllimited="true"/>
        <position name="position" joint="y" kp="7" kv="0.5" gear="3" forcerange="-4 5" forcelimited="true"/>
        <velocity name="velocity" joint="z" kv="2" gear="0.5"/>
        <general name="scaled" joint="z" gainprm="6" biastype="affine" biasprm="0 -3 -0.25"/>
        <position name="tendon" tendon="both" kp="11" gear="2"/><motor name="pull" tendon="both" gear="3"/>"""
    path = mjcf(tmp_path, ACTUATED, f"{TENDONS}<actuator>{actuators}</actuator>")
    articulation = check(path)
    kinds = {actuator.name: actuator.kind for actuator in articulation.actuators}
    assert list(kinds.values()) == ["torque", "position", "velocity", "position", "position", "torque"]
    model = reference(path)
    clipped = 0
    for seed in range(20):
        data = random_state(model, seed)
        forces, on_joints = actuator_forces(articulation, model, data)
        # the range of the joint's own force is the motor's here, there it is taken after
        motor = list(kinds).index("motor")
        np.testing.assert_allclose(np.delete(forces, motor), np.delete(data.actuator_force, motor), **EXACT)
        np.testing.assert_allclose(on_joints, data.qfrc_actuator, **EXACT)
        clipped += abs(forces[motor] - data.actuator_force[motor]) > 1e-6
    assert clipped
    scaled = next(actuator for actuator in articulation.actuators if actuator.name == "scaled")
    assert (scaled.gain, scaled.damping, scaled.control_scale) == (3.0, 0.25, 2.0)


def test_rotors_of_actuators_turn_with_the_joint(tmp_path):
    actuators = '<motor joint="y" gear="3" armature="0.5" damping="0.25"/><motor joint="y" gear="2" armature="1"/>'
    try:
        articulation = check(mjcf(tmp_path, ACTUATED, f"<actuator>{actuators}</actuator>"))
    except ValueError:
        pytest.skip("armature of actuators needs MuJoCo 4.0")
    assert articulation.joint("y").armature == pytest.approx(0.5 * 9 + 1 * 4)
    assert articulation.joint("y").damping == pytest.approx(0.25 * 9)


def test_what_is_left_out_is_named_once(tmp_path, caplog):
    rest = """<tendon><spatial name="rope"><site site="s"/><site site="t"/></spatial>
        <fixed name="limited" range="-1 1" limited="true" frictionloss="1"><joint joint="x" coef="1"/></fixed></tendon>
        <equality><weld name="glue" body1="a" body2="target"/><joint joint1="y" joint2="z"/></equality>
        <contact><pair geom1="g" geom2="h"/></contact>
        <actuator><general name="atsite" site="s"/><damper name="damper" joint="x" kv="1" ctrlrange="0 1"/>
        <intvelocity name="integrated" joint="x" kp="1" actrange="-1 1"/><position name="filtered" joint="x" kp="2"
        timeconst="0.1"/><general name="constant" joint="x" biastype="affine" biasprm="1 0 0"/>
        <motor name="onball" joint="round"/></actuator>"""
    more = f"""<site name="t"/><body name="c" gravcomp="1"><joint name="round" type="ball" stiffness="1"/>{BALL}
        <geom name="h" size="0.1"/></body>
        <body name="target" mocap="true"><geom name="g" size="0.1"/><site name="s"/></body>"""
    with caplog.at_level(logging.WARNING):
        articulation = load_articulation(mjcf(tmp_path, ACTUATED + more, rest))
    (record,) = caplog.records
    text = record.getMessage()
    for part in (
        "model.xml",
        "spatial tendon left out: rope",
        "tendon's dry friction, armature and limit of the actuators' force left out: limited",
        "equality constraint with a mocap body left out: glue",
        "contact pair left out: h-g",
        "on site that is no hinge, slide or fixed tendon left out: atsite",
        "onball",
        "not affine (muscle, damper, ...) left out: damper",
        "activation state left out: integrated",
        "acts at once: filtered",
        "constant force left out: constant",
        "spring of a ball joint left out: round",
        "mocap body kept fixed: target",
    ):
        assert part in text, (part, text)
    assert [actuator.name for actuator in articulation.actuators] == ["filtered", "constant"]


def test_a_plain_model_warns_of_nothing(tmp_path, caplog):
    load_articulation(mjcf(tmp_path, ACTUATED))
    assert not caplog.records


SHAPES = """<geom type="plane" size="1 1 1" rgba="0 1 0 1"/><geom type="box" size="1 1 1" pos="0 0 -9"/>
    <body name="b" pos="0 0 1"><joint name="j"/>
    <geom type="sphere" size="0.1" friction="0.9 0 0" contype="5" conaffinity="6"/><geom type="capsule" size="0.1 0.2"/>
    <geom type="box" size="0.1 0.2 0.3"/><geom type="cylinder" size="0.1 0.2" group="3"/>
    <geom type="ellipsoid" size="0.1 0.2 0.3"/>
    <geom type="sphere" size="0.4" contype="0" conaffinity="0" material="red"/>
    <geom type="sphere" size="0.4" contype="0" conaffinity="0" material="red" rgba="0 0 1 1"/>
    <geom type="sphere" size="0.4" contype="0" conaffinity="0" rgba="0 0 1 0"/>
    <geom type="sphere" size="0.4" contype="0" conaffinity="0" group="4"/></body>"""


def test_shapes(tmp_path):
    path = mjcf(tmp_path, SHAPES, '<asset><material name="red" rgba="1 0 0 1"/></asset>')
    world, body = check(path).links
    assert (world.name, world.parent, world.joint.kind) == ("world", None, "fixed")
    assert [type(geometry.shape) for geometry in world.geometries] == [Plane, Box]
    assert world.geometries[0].color == (0.0, 1.0, 0.0)
    assert [type(g.shape) for g in body.geometries] == [Sphere, Capsule, Box, Cylinder, Ellipsoid, Sphere, Sphere]
    sphere, capsule, box, cylinder, ellipsoid, red, blue = body.geometries
    assert (sphere.friction, sphere.collision_group, sphere.collision_mask) == (0.9, 5, 6)
    assert capsule.shape == Capsule(0.2, 0.1)
    assert box.shape == Box((0.1, 0.2, 0.3))
    assert cylinder.shape == Cylinder(0.2, 0.1)
    np.testing.assert_allclose(ellipsoid.shape.surface_mesh().bounds[1], [0.1, 0.2, 0.3], atol=1e-9)
    assert (red.color, blue.color) == ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
    assert [g.collides for g in body.geometries] == [True] * 5 + [False] * 2
    # of those that collide, those without a color of their own are not drawn: there are pictures
    assert [g.visible for g in body.geometries] == [False] * 5 + [True] * 2
    plain = load_articulation(path, visuals=False).links[1].geometries
    assert len(plain) == 5
    assert all(geometry.visible for geometry in plain)


def test_height_field(tmp_path):
    asset = '<asset><hfield name="hill" nrow="2" ncol="3" size="0.5 0.2 0.3 0.1" elevation="0 1 2 3 4 6"/></asset>'
    body = '<geom type="hfield" hfield="hill" pos="1 2 3"/><body name="b"><joint name="j"/><geom size="0.1"/></body>'
    (geometry,) = load_articulation(mjcf(tmp_path, body, asset)).links[0].geometries
    assert geometry.position == (1.0, 2.0, 3.0)
    assert isinstance(geometry.shape, HeightField)
    assert geometry.shape.spacing == pytest.approx((0.5, 0.4))
    # the first row that the file lists lies at the largest y
    np.testing.assert_allclose(geometry.shape.evaluate(np.array([[0.5, 0.2], [-0.5, -0.2]]))[0], [0.1, 0.15], atol=1e-6)
    model = mujoco.MjModel.from_xml_path(str(mjcf(tmp_path, body, asset)))
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    for x, y, height in ((0.499, 0.199, 0.1), (-0.499, -0.199, 0.15), (0.499, -0.199, 0.3)):
        hit = mujoco.mj_rayHfield(model, data, 0, np.array([1 + x, 2 + y, 5.0]), np.array([0.0, 0.0, -1.0]), np.zeros(3))
        assert 5.0 - hit - 3.0 == pytest.approx(height, abs=2e-3)


def test_exclusions(tmp_path):
    body = f"""<geom type="plane" size="1 1 1"/><body name="a"><freejoint/>{BALL}
        <body name="fixed" pos="1 0 0">{BALL}<body name="inner">{BALL}</body></body>
        <body name="child"><joint name="x"/><joint name="y" axis="1 0 0"/>{BALL}<body name="tip">{BALL}</body></body>
        <body name="late">{BALL}</body></body><body name="far"><freejoint/>{BALL}</body>"""
    path = mjcf(tmp_path, body, '<contact><exclude body1="far" body2="tip"/></contact>')
    articulation = load_articulation(path)
    pairs = {frozenset(pair) for pair in articulation.excluded}
    welded = [("a", "inner"), ("fixed", "late"), ("inner", "late")]
    near = [(up, down) for up in ("a", "fixed", "inner", "late") for down in ("child", "tip")]
    assert pairs == {frozenset(pair) for pair in [("far", "tip"), *welded, *near]}
    # MuJoCo agrees: all in one place, only these never touch
    model = reference(path)
    model.body_pos[:] = 0.0
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    names = [model.body(int(i)).name for i in model.geom_bodyid]
    touching = {frozenset((names[a], names[b])) for a, b in data.contact.geom}
    parents = {frozenset((link.name, link.parent)) for link in articulation.links if link.parent}
    assert not touching & (pairs | parents)
    everything = {frozenset((a, b)) for a in names for b in names if a != b}
    assert everything - touching == pairs | {pair for pair in parents if pair <= set(names)}

    links = articulation.links
    assert Articulation("x", links, excluded=[("a", "far")]).excluded == (("a", "far"),)  # type: ignore[arg-type]
    with refused("excluded", "nobody"):
        Articulation("x", links, excluded=(("a", "nobody"),))


# ---- what is refused


def test_wrong_files(tmp_path):
    for name, parts in (("robot.sdf", (".urdf", "robot.sdf")), ("robot.urdf.xacro", ("xacro", ".urdf"))):
        with refused("path", *parts):
            load_articulation(tmp_path / name)
    with refused("path", "gone.xml", "does not exist"):
        load_articulation(tmp_path / "gone.xml")
    broken = tmp_path / "broken.urdf"
    broken.write_text("<robot name='r'><link name='a'></robot>")
    with refused("broken.urdf", "not well-formed", "line 1"):
        load_articulation(broken)
    broken.write_text("<sdf/>")
    with refused("broken.urdf", "<robot>", "<sdf>"):
        load_articulation(broken)
    broken = tmp_path / "broken.xml"
    broken.write_text("<mujoco><worldbody><body></worldbody></mujoco>")
    with refused("broken.xml", "XML"):
        load_articulation(broken)
    broken.write_text("<mujoco><worldbody><bodi/></worldbody></mujoco>")
    with refused("broken.xml", "bodi"):
        load_articulation(broken)
    with refused("describes no body"):
        load_articulation(mjcf(tmp_path, ""))
    with refused("fixed_base", "'yes'"):
        load_articulation(mjcf(tmp_path, f"<body>{BALL}</body>"), fixed_base="yes")  # type: ignore[arg-type]
    with refused("gone.stl"):
        load_articulation(meshed(tmp_path, "gone.stl"))
    (tmp_path / "bad.ply").write_text("no mesh")
    with refused("bad.ply"):
        load_articulation(meshed(tmp_path, "bad.ply"))


def test_missing_packages_are_named(tmp_path, monkeypatch):
    path = mjcf(tmp_path, f"<body>{BALL}</body>")
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with refused("mujoco", "pip install diffsim-rpg[robots]"):
        load_articulation(path)


def test_mujoco_is_imported_on_use():
    for module in (diffsim.robots.model_files, diffsim.robots.mujoco_import, diffsim.robots.package_paths):
        assert mujoco not in vars(module).values()
