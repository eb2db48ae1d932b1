"""Robots that are ready for tasks: they hold still, go where they are told, and close both fingers by one actuator."""

from __future__ import annotations

import importlib.util

import pytest
import torch

import diffsim as ds
from tasks import AllControls, EndEffectorDelta, Gripper, JointPosition, Task, robots
from tests.diffsim.test_inputs import refused
from tests.tasks.ball import played

pytest.importorskip("mujoco")
pytestmark = [pytest.mark.slow, pytest.mark.robot_models]


class Reach(Task):
    """A Panda without anything else.

    Task: none.
    Randomisation: none.
    Success: always.
    """

    horizon, dt, substeps = 40, 1e-3, 40
    axes: tuple[str, ...] = ("x", "y", "z", "rz")

    def scene(self):
        self.robot = robots.panda(visuals=False, position=(0.1, 0.2, 0.0))
        return ds.Scene(articulations=(self.robot.articulation,), ground=None)

    def actions(self):
        return self.robot.end_effector_actions(distance=0.02, turn=0.05, axes=self.axes)

    def reward(self, step):
        return step.after.q.sum(dim=1)

    def success(self, episode):
        return ~episode.ended


@pytest.fixture(scope="module")
def reach() -> Reach:
    return Reach(1, dtype=torch.float64)


def held(sim: ds.Simulator, robot: robots.Robot) -> torch.Tensor:
    """The action under which it is told to stay."""
    action = torch.zeros(1, sim.action_dim, dtype=torch.float64)
    servos = ds.JointController(sim, robot.name)
    action[:, servos.places] = servos.held(sim.reset())
    return action


def test_the_panda_stays_where_it_starts_and_goes_where_it_is_told(reach):
    sim, robot = reach.sim, reach.robot
    assert [sim.joint(f"panda.{joint}").driver("position").name for joint in robot.arm] == [f"panda.{j}" for j in robot.arm]
    hand = ds.EndEffector(sim, robot.end_effector_link)
    first, turned = hand.pose(sim.reset())
    torch.testing.assert_close(first[0, :2], torch.tensor([0.1 + 0.3069, 0.2], dtype=torch.float64), atol=1e-4, rtol=0.0)
    actions = torch.zeros(20, 1, reach.action_dim, dtype=torch.float64)
    actions[..., -1] = 1.0
    _, _, still = played(reach, actions)
    torch.testing.assert_close(hand.pose(still.state)[0], first, atol=1e-4, rtol=0.0)
    actions[:5, 0, :4] = torch.tensor([0.5, -1.0, 0.5, 1.0], dtype=torch.float64)
    _, _, moved = played(reach, actions)
    place, turn = hand.pose(moved.state)
    told = torch.tensor([[0.05, -0.1, 0.05]], dtype=torch.float64)
    torch.testing.assert_close(place - first, told, atol=1e-3, rtol=0.0)
    yaw = torch.atan2((turn @ turned.transpose(1, 2))[0, 1, 0], (turn @ turned.transpose(1, 2))[0, 0, 0])
    assert float(yaw) == pytest.approx(0.25, abs=5e-3)


def test_one_actuator_closes_both_fingers_of_the_panda(reach):
    sim, robot = reach.sim, reach.robot
    assert robot.gripper == ("finger_joint1",)
    assert sim.joint("panda.finger_joint2").actuators == ()
    closed = torch.zeros(20, 1, reach.action_dim, dtype=torch.float64)
    closed[..., -1] = -1.0
    _, _, episode = played(reach, closed)
    fingers = [episode.state.q[0, sim.joint(f"panda.finger_joint{n}").coordinates] for n in (1, 2)]
    torch.testing.assert_close(fingers[0], fingers[1], atol=1e-9, rtol=0.0)
    assert float(fingers[0]) == pytest.approx(0.0, abs=1e-3)
    assert float(robot.articulation.joint("finger_joint1").initial[0]) == robot.opened == 0.04


def test_a_panda_that_carries_its_weight_by_its_servos_alone_sags():
    robot = robots.panda(visuals=False, gravity_compensation=0.0)
    sim = ds.Simulator(ds.Scene(articulations=(robot.articulation,), ground=None), substeps=40, dtype=torch.float64)
    end = sim.rollout(sim.reset(), held(sim, robot).expand(20, 1, -1))[-1]
    assert float((end.q - sim.reset().q).abs().max()) > 2e-3


def test_fetch_stays_and_closes_both_fingers_with_one_actuator():
    robot = robots.fetch(visuals=False)
    sim = ds.Simulator(ds.Scene(articulations=(robot.articulation,), ground=None), substeps=40, dtype=torch.float64)
    hand = ds.EndEffector(sim, robot.end_effector_link)
    action = held(sim, robot).expand(20, 1, -1).clone()
    still = sim.rollout(sim.reset(), action)[-1]
    torch.testing.assert_close(hand.pose(still)[0], hand.pose(sim.reset())[0], atol=1e-3, rtol=0.0)
    down = torch.tensor([0.0, 0.0, -1.0], dtype=torch.float64)
    torch.testing.assert_close(hand.pose(still)[1][0, :, 0], down, atol=5e-3, rtol=0.0)
    action[..., sim.actuator("fetch.r_gripper_finger_joint").index] = 0.0
    closed = sim.rollout(sim.reset(), action)[-1]
    fingers = [closed.q[0, sim.joint(f"fetch.{side}_gripper_finger_joint").coordinates] for side in "rl"]
    torch.testing.assert_close(fingers[0], fingers[1], atol=1e-9, rtol=0.0)
    assert float(fingers[0]) == pytest.approx(0.0, abs=2e-3)  # limits begin a millimetre before they hold


def test_the_shadow_hand_has_servos_and_stays():
    robot = robots.shadow_hand(visuals=False)
    assert len(robot.arm) == len(robot.articulation.actuators) == 20
    sim = ds.Simulator(ds.Scene(articulations=(robot.articulation,), ground=None), substeps=40, dtype=torch.float64)
    action = held(sim, robot).expand(30, 1, -1).clone()
    end = sim.rollout(sim.reset(), action)[10]
    torch.testing.assert_close(end.q, sim.reset().q, atol=2e-2, rtol=0.0)
    action[..., sim.actuator("hand.A_FFJ1").index] = 1.3  # the last joint follows by its tendon
    bent = sim.rollout(sim.reset(), action)[-1].q[0]
    last, before = (float(bent[sim.joint(f"hand.{joint}").coordinates]) for joint in ("FFJ0", "FFJ1"))
    assert before > 1.0
    assert abs(0.00705 * last - 0.00805 * before) < 1.2e-3


def test_the_ant_stands_on_its_legs():
    robot = robots.ant()
    assert robot.end_effector is None
    sim = ds.Simulator(ds.Scene(articulations=(robot.articulation,)), dt=2e-3, substeps=20, dtype=torch.float64)
    end = sim.rollout(sim.reset(), torch.zeros(25, 1, 8, dtype=torch.float64))[-1]
    height = float(end.q[0, sim.joint("ant.root").coordinates][2])
    assert 0.25 < height < 0.6
    assert sim.actuator("ant.hip_1").actuator.joints == {"hip_1": 150.0}
    assert robot.joint_actions() == [AllControls()]
    with refused("robot 'ant' has no end effector"):
        robot.end_effector_actions()


def test_actions_of_a_robot():
    robot = robots.Robot(robots.ant().articulation, {"a": 0.5}, "tip", ("a", "b"), ("finger",), 0.0, 0.03)
    arm, gripper = robot.end_effector_actions(axes=("x", "y"))
    assert arm == EndEffectorDelta("ant.tip", 0.02, None, ("x", "y"), joints=("a", "b"))
    assert gripper == Gripper("ant", ("finger",), 0.0, 0.03)
    assert robot.joint_actions(delta=False)[0] == JointPosition("ant", ("a", "b"), 0.1, (0.5, 0.0))


@pytest.mark.parametrize(
    ("make", "package", "command"),
    [
        (robots.fetch, "gymnasium_robotics", "pip install --no-deps gymnasium-robotics==1.4.2"),
        (robots.ant, "gymnasium", "pip install gymnasium"),
        (robots.rewarped_ant, "rewarped", "pip install --no-deps rewarped==1.3.3"),
        (robots.allegro_hand, "rewarped", "pip install --no-deps rewarped==1.3.3"),
    ],
)
def test_a_missing_package_is_one_line(make, package, command, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with refused(f"tasks.robots.{make.__name__} reads ", f" of the package {package}, which is not there: {command}"):
        make()


def test_a_missing_folder_of_files_is_one_line(monkeypatch):
    monkeypatch.setattr("diffsim.robots.package_paths._shares", list)
    with refused("tasks.robots.panda reads robots/panda_description", "pip install --no-deps example-robot-data==6.0.0"):
        robots.panda()
