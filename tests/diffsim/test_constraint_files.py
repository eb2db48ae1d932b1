"""Constraints and tendons of URDF and MJCF files: what is read, and how it moves, against MuJoCo and closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import diffsim as ds
from diffsim.rigid.rigid_records import RECOVERY
from tests.diffsim.constraint_scenes import GRIPPER, PARALLELOGRAM
from tests.diffsim.mujoco_oracle import INERTIAL, mjcf, mujoco, urdf
from tests.diffsim.test_inputs import refused
from tests.diffsim.test_model_files import PANDA_URDF, packaged

DT = 1e-3
# what MuJoCo can do at most: an impedance of 0.9999, and the rates that constraints have here, J v+ = -phi / T
T = (1.0 + RECOVERY) * DT
HARD = f'solref="{-1.0 / (DT * T)!r} {-1.0 / DT!r}" solimp="0.9999 0.9999 0.001 0.5 2"'
BAR = '<inertial mass="{0}" pos="0.1 0.02 -0.05" diaginertia="0.01 0.012 0.009"/>'
TREE = f"""<body name="base" pos="0 0 1"><freejoint name="root"/>{BAR.format(2.0)}
  <body name="a1" pos="0.1 0 0"><joint name="a1" axis="0 1 0.2" ref="0.1"/>{BAR.format(0.7)}
    <body name="a2" pos="0.2 0 0.1"><joint name="a2" axis="1 0.3 0"/>
      <joint name="a2s" type="slide" axis="0 0 1" pos="0.05 0 0"/>{BAR.format(0.6)}
      <site name="tip" pos="0.1 0 0.05" euler="0.2 0.1 0"/></body></body>
  <body name="b1" pos="-0.1 0 0"><joint name="b1" type="ball" pos="0 0.05 0"/>{BAR.format(0.8)}
    <body name="b2" pos="0 0.2 0"><joint name="b2" axis="0 0 1" damping="0.1"/>{BAR.format(0.5)}</body></body>
  <body name="c1" pos="0 -0.1 0"><joint name="c1" axis="1 0 0" pos="0 0 0.05"/>{BAR.format(0.4)}</body>
  <body name="c2" pos="0 -0.3 0"><joint name="c2" axis="1 0 0" armature="0.01"/>{BAR.format(0.4)}</body></body>
<body name="arm" pos="1 0 1"><joint name="d1" axis="0 1 0"/><joint name="d2" axis="1 0 0"/><joint name="d3" axis="0 0 1"/>
  {BAR.format(1.0)}<body name="arm2" pos="0.3 0 0" euler="0.3 0.9 0"><joint name="d4" type="ball"/>{BAR.format(1.0)}
  <body name="arm3" pos="0.3 0 0" euler="0 -1.2 0.4"><joint name="d5" axis="0 1 0"/><joint name="d6" axis="1 0 0"/>
    {BAR.format(0.5)}</body></body></body>"""
EQUALITIES = f"""<default><equality {HARD}/><default class="own"><equality {HARD}/></default></default>
<tendon><fixed name="t1"><joint joint="a2" coef="0.5"/><joint joint="a2s" coef="2"/></fixed>
  <fixed name="t2"><joint joint="c1" coef="-1"/></fixed></tendon>
<equality><joint name="bent" joint1="c2" joint2="c1" polycoef="0.1 0.5 -0.2 0.3 0.4"/>
  <connect name="loop" class="own" body1="a2" body2="b2" anchor="0.1 0.05 0"/></equality>
<equality><tendon name="sums" tendon1="t1" tendon2="t2" polycoef="0 0.5 0.3 0 0"/>
  PIN
  <connect name="off" body1="a2" body2="arm" anchor="0 0 0" active="false"/></equality>"""


@pytest.mark.parametrize("pin", ['connect anchor="1.5 0.1 0.9"', "weld"])
def test_a_robot_with_equalities_moves_as_in_mujoco_for_100_free_steps(tmp_path, pin):
    """Its solref and solimp are as hard as MuJoCo has them; it moves from a state that MuJoCo reached."""
    if int(mujoco.__version__.partition(".")[0]) < 4:
        pytest.skip("MuJoCo's closed loops know of centripetal accelerations from 4.0 on")
    path = mjcf(tmp_path, TREE, EQUALITIES.replace("PIN", f'<{pin} name="pin" body1="world" body2="arm3"/>'))
    articulation = ds.load_articulation(path)
    assert [(type(each).__name__, each.name) for each in articulation.constraints] == [
        ("JointEquality", "bent"), ("Connect", "loop"), ("JointEquality", "sums"), (pin.partition(" ")[0].title(), "pin"),
    ]  # fmt: skip
    model = mujoco.MjModel.from_xml_path(str(path))
    model.opt.timestep, model.opt.integrator, model.opt.tolerance = DT, mujoco.mjtIntegrator.mjINT_EULER, 0.0
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONTACT
    data = mujoco.MjData(model)
    data.qvel[:] = np.random.default_rng(0).normal(size=model.nv)
    for _ in range(50):  # until the velocities fit the constraints
        mujoco.mj_step(model, data)
    scene = ds.Scene(articulations=(replace(articulation, self_collisions=False),), ground=None)
    sim = ds.Simulator(scene, dt=DT, substeps=1, dtype=torch.float64, integrator="euler")
    names = [info.joint.name for info in sim.link_infos if info.joint.type.dofs]
    assert names == [model.joint(i).name for i in range(model.njnt)]  # the same order of coordinates
    state = replace(sim.reset(), q=torch.tensor(data.qpos)[None], qd=torch.tensor(data.qvel)[None])
    start = data.qpos.copy()
    states = sim.rollout(state, torch.zeros(100, 1, 0, dtype=torch.float64))
    for _ in range(100):
        mujoco.mj_step(model, data)
    np.testing.assert_allclose(states[-1].q[0].numpy(), data.qpos, rtol=0.0, atol=1e-6)
    assert np.abs(data.qpos - start).max() > 0.1
    free = replace(articulation, constraints=(), self_collisions=False)
    loose = ds.Simulator(replace(scene, articulations=(free,)), dt=DT, substeps=1, dtype=torch.float64, integrator="euler")
    apart = loose.rollout(state, torch.zeros(100, 1, 0, dtype=torch.float64))[-1]
    assert np.abs(apart.q[0].numpy() - data.qpos).max() > 1e-2  # the constraints matter


WELDS = """<equality><weld name="bodies" body1="a2" body2="b2" anchor="0.1 0 0"/>
  <weld name="own pose" body1="a2" body2="b2" relpose="0.1 0.2 0.3 0.5 0.5 0.5 0.5"/>
  <weld name="to the world" body1="world" body2="c1"/>
  <weld name="sites" site1="tip" site2="top"/><connect name="site points" site1="tip" site2="top"/></equality>"""


def test_welds_hold_the_poses_that_mujoco_holds(tmp_path):
    """Errors of all welds and connects of bodies and sites at random configurations, as MuJoCo finds them."""
    top = '<body name="f" pos="0 1 0"><joint name="f"/>' + BAR.format(1.0) + '<site name="top" euler="1 0.5 0"/></body>'
    path = mjcf(tmp_path, TREE + top, WELDS)
    articulation = ds.load_articulation(path)
    model = mujoco.MjModel.from_xml_path(str(path))
    sim = ds.Simulator(
        ds.Scene(articulations=(replace(articulation, self_collisions=False),), ground=None), dtype=torch.float64
    )
    data, rng = mujoco.MjData(model), np.random.default_rng(1)
    for _ in range(5):
        mujoco.mj_integratePos(model, data.qpos, 0.3 * rng.normal(size=model.nv), 1.0)
        mujoco.mj_fwdPosition(model, data)
        errors = sim.constraint_errors(replace(sim.reset(), q=torch.tensor(data.qpos)[None]))
        first = {i: np.flatnonzero(data.efc_id == i)[0] for i in range(model.neq)}
        assert len(first) == 5
        for i in range(model.neq):
            name = model.equality(i).name
            ours = errors[f"test.{name}"][0].numpy()
            theirs = data.efc_pos[first[i] : first[i] + (6 if "points" not in name else 3)]
            # MuJoCo's error is that of the first body against the second, ours of a link against the world
            assert np.linalg.norm(ours[:3]) == pytest.approx(np.linalg.norm(theirs[:3]), abs=1e-9)
            if "points" not in name:  # sines of half the angles
                assert np.sin(0.5 * np.linalg.norm(ours[3:])) == pytest.approx(np.linalg.norm(theirs[3:]), abs=1e-9)


def test_a_parallelogram_with_sections_classes_and_a_keyframe(tmp_path, caplog):
    path = tmp_path / "bars.xml"
    path.write_text(PARALLELOGRAM)
    articulation = ds.load_articulation(path, keyframe="aside")
    assert [constraint.name for constraint in articulation.constraints] == ["close"]  # the other one is inactive
    assert [actuator.name for actuator in articulation.actuators] == ["drive", "hold"]
    sim = ds.Simulator(ds.Scene(articulations=(articulation,), ground=None), dt=DT, substeps=5, dtype=torch.float64)
    states = sim.rollout(sim.reset(), torch.zeros(1200, 1, 2, dtype=torch.float64))
    a, knee, b = torch.stack([state.q[0] for state in states]).numpy().T
    assert max(np.abs(a - b).max(), np.abs(knee + a).max()) < 1e-7
    falls = np.flatnonzero((a[:-1] > 0.0) & (a[1:] <= 0.0))
    times = 5e-3 * (falls + a[falls] / (a[falls] - a[falls + 1]))
    assert (times[-1] - times[0]) / (len(times) - 1) == pytest.approx(1.05642, abs=2e-5)
    assert np.abs(a[-220:]).max() == pytest.approx(0.2, abs=1e-4)
    assert not caplog.records


def gripper(tmp_path, opened: float = 0.0, **options) -> ds.Articulation:
    path = tmp_path / "gripper.urdf"
    path.write_text(GRIPPER)
    servo = ds.Actuator("a", "slide_a", kind="position", gain=500.0, damping=20.0)
    loaded = ds.load_articulation(path, actuators=(servo,), position=(0.5, 0.5, 0.3), **options)
    links = [
        replace(link, joint=replace(link.joint, initial=(opened,))) if link.joint.name == "slide_a" else link
        for link in loaded.links
    ]
    return replace(loaded, links=tuple(links))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_both_jaws_of_a_gripper_close_from_one_actuator(tmp_path, dtype):
    """They hold a cube of 4 cm from both sides, and release it, with a gear beside them."""
    articulation = gripper(tmp_path, opened=0.03)
    names = [constraint.name for constraint in articulation.constraints]
    assert names == ["slide_b", "flap_turn"]
    cube = ds.RigidBody("cube", ds.Box((0.02, 0.01, 0.02)), (0.5, 0.5, 0.345), mass=0.05, friction=0.8)
    scene = ds.Scene(articulations=(articulation,), rigid_bodies=(cube,), ground=None)
    sim = ds.Simulator(scene, dt=DT, substeps=20, dtype=dtype)
    assert sim.reset().q[0, -3:].tolist() == [pytest.approx(0.03), pytest.approx(0.03), pytest.approx(-0.5)]
    states = sim.rollout(sim.reset(), torch.full((50, 1, 1), 0.02, dtype=dtype))
    allowed = 1e-7 if dtype == torch.float64 else 1e-6
    for state in states:
        assert max(float(error.abs().max()) for error in sim.constraint_errors(state).values()) < allowed
    assert states[-1].q[0, -3:].tolist() == [pytest.approx(0.025, abs=1e-5)] * 2 + [pytest.approx(-0.4, abs=2e-4)]
    height = float(sim.links(states[-1]).position[0, sim.link_index("cube"), 2])
    assert height > 0.345 - 5e-3  # it fell until they closed, at most
    dropped = sim.rollout(states[-1], torch.full((15, 1, 1), 0.04, dtype=dtype))[-1]
    assert float(sim.links(dropped).position[0, sim.link_index("cube"), 2]) < height - 0.01


def test_the_gripper_is_felt_with_its_gear_and_has_one_gradient(tmp_path):
    articulation = gripper(tmp_path, self_collisions=False)
    scene = ds.Scene(articulations=(articulation,), ground=None, gravity=(0.0, 0.0, 0.0))
    sim = ds.Simulator(scene, dt=DT, substeps=20, dtype=torch.float64)
    target = torch.full((1, 1), 0.02, dtype=torch.float64, requires_grad=True)
    state = sim.reset()
    for _ in range(20):
        state = sim.step(state, target)
    gradients = [torch.autograd.grad(state.q[0, k], target, retain_graph=True)[0].item() for k in range(3)]
    assert gradients[1] == pytest.approx(gradients[0], rel=1e-6)
    assert gradients[2] == pytest.approx(-20.0 * gradients[0], rel=1e-6)
    pushed = replace(articulation, actuators=(ds.Actuator("a", "slide_a"),))
    sim = ds.Simulator(replace(scene, articulations=(pushed,)), dt=1e-4, substeps=100, dtype=torch.float64)
    middle = replace(sim.reset(), q=torch.tensor([[0.02, 0.02, -0.3]], dtype=torch.float64))
    speed = sim.step(middle, torch.full((1, 1), 0.01, dtype=torch.float64)).qd[0, 0].item()
    assert 0.01 * 0.01 / speed == pytest.approx(0.05 + 0.05 + 400.0 * 1e-6, rel=1e-4)


def test_chains_of_mimics_and_those_that_cannot_be(tmp_path, caplog):
    def joint(name: str, mimic: str, kind: str = "continuous") -> str:
        return f"""<link name="on_{name}">{INERTIAL}</link><joint name="{name}" type="{kind}"><parent link="arm"/>
            <child link="on_{name}"/><axis xyz="0 0 1"/>{mimic}</joint>"""

    def mimic(leader: str, rest: str = "") -> str:
        return f'<mimic joint="{leader}" {rest}/>'

    more = joint("second", mimic("first", 'multiplier="2" offset="0.1"')) + joint("first", mimic("shoulder", 'offset="0.5"'))
    path = urdf(tmp_path / "a", more=more + joint("stiff", mimic("shoulder"), "fixed") + joint("lost", mimic("stiff")))
    articulation = ds.load_articulation(path)
    assert [constraint.name for constraint in articulation.constraints] == ["second", "first"]
    (record,) = caplog.records
    assert "mimics one that is no moving joint of one coordinate, so it moves freely: lost" in record.getMessage()
    sim = ds.Simulator(ds.Scene(articulations=(articulation,), ground=None), dtype=torch.float64)
    names = [info.joint.name for info in sim.link_infos if info.joint.type.dofs]
    q = dict(zip(names, sim.reset().q[0].tolist(), strict=True))
    assert q == {"shoulder": 0.0, "first": 0.5, "second": pytest.approx(1.1), "lost": 0.0}
    with refused("the <mimic> of joint 'first' has no number"):
        ds.load_articulation(urdf(tmp_path / "b", more=joint("first", mimic("shoulder", 'offset="much"'))))


def test_tendons_pull_as_in_mujoco(tmp_path):
    """Springs with slack, dampers; limits and everything else by name."""
    tendons = """<tendon><fixed name="spring" stiffness="30" springlength="0.1 0.2"><joint joint="x" coef="1.5"/>
        <joint joint="y" coef="-0.5"/></fixed>
        <fixed name="range" limited="true" range="-0.5 0.7"><joint joint="y" coef="1"/></fixed>
        <fixed name="damper" damping="0.3"><joint joint="x" coef="2"/></fixed>
        <fixed name="idle"><joint joint="x" coef="2"/></fixed></tendon>"""
    inner = f'<body name="b"><joint name="y" type="slide"/>{BAR.format(1.0)}</body>'
    body = f'<body name="a"><joint name="x"/>{BAR.format(1.0)}{inner}</body>'
    path = mjcf(tmp_path, body, tendons)
    articulation = ds.load_articulation(path)
    assert [(each.name, each.rest, each.limits, each.damping) for each in articulation.tendons] == [
        ("spring", (0.1, 0.2), None, 0.0), ("range", (0.0, 0.0), (-0.5, 0.7), 0.0), ("damper", (0.0, 0.0), None, 0.3),
    ]  # fmt: skip
    model = mujoco.MjModel.from_xml_path(str(path))
    model.opt.timestep = 1e-4
    model.opt.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    data = mujoco.MjData(model)
    data.qpos[:] = 0.3, 0.1
    scene = ds.Scene(articulations=(articulation,), ground=None)
    sim = ds.Simulator(scene, dt=1e-4, substeps=20, dtype=torch.float64, integrator="euler")
    state = replace(sim.reset(), q=torch.tensor(data.qpos)[None])
    states = sim.rollout(state, torch.zeros(25, 1, 0, dtype=torch.float64))
    for _ in range(500):
        mujoco.mj_step(model, data)
    np.testing.assert_allclose(states[-1].q[0].numpy(), data.qpos, atol=2e-5)
    assert abs(data.qpos[0] - 0.3) > 0.01


@pytest.mark.robot_models
@pytest.mark.parametrize("robot", ["panda", "fetch"])
def test_two_finger_grippers_close_both_fingers_from_one_actuator(robot):
    if robot == "panda":
        path = packaged(*PANDA_URDF)
        fingers = ("panda_finger_joint1", "panda_finger_joint2")
        loaded = ds.load_articulation(path, visuals=False, self_collisions=False)
        assert [constraint.name for constraint in loaded.constraints] == [fingers[1]]
    else:  # the file moves each finger by itself; the real one has a single motor
        path = packaged("gymnasium_robotics", "envs/assets/fetch/pick_and_place.xml")
        fingers = ("robot0:r_gripper_finger_joint", "robot0:l_gripper_finger_joint")
        loaded = ds.load_articulation(path, visuals=False, self_collisions=False)
        loaded = replace(loaded, constraints=(ds.JointEquality("fingers", fingers[1], fingers[0]),))
    servo = ds.Actuator("grip", fingers[0], kind="position", gain=4000.0, damping=100.0)
    links = [replace(link, geometries=(), joint=_opened(link.joint, fingers)) for link in loaded.links]
    articulation = replace(loaded, links=tuple(links), actuators=(servo,), excluded=())
    sim = ds.Simulator(
        ds.Scene(articulations=(articulation,), ground=None, gravity=(0.0, 0.0, 0.0)), dt=DT, substeps=20, dtype=torch.float64
    )
    places = [info.coordinates.start for info in sim.link_infos if info.joint.name in fingers]
    start = sim.reset()
    assert start.q[0, places].tolist() == [0.03, 0.03]
    states = sim.rollout(start, torch.full((100, 1, 1), 0.01, dtype=torch.float64))
    gaps = [float((state.q[0, places[0]] - state.q[0, places[1]]).abs()) for state in states]
    assert max(gaps) < 1e-6
    assert states[-1].q[0, places].tolist() == [pytest.approx(0.01, abs=1e-3)] * 2


def _opened(joint: ds.Joint, fingers: tuple[str, str]) -> ds.Joint:
    """The first finger opened, and the second where that says."""
    if joint.name not in fingers:
        return joint
    return replace(joint, initial=(0.03,) if joint.name == fingers[0] else None)
