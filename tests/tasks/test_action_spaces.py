"""Action spaces: each drives what it says, by as much as it says, differentiably."""

import dataclasses
import math

import pytest
import torch

import diffsim as ds
from diffsim.robots.inverse_kinematics import EndEffector
from diffsim.scene.rotations import rotation_vectors
from tasks import (
    AttachmentStrength,
    EndEffectorDelta,
    Gripper,
    JointPosition,
    JointTorque,
    JointVelocity,
    MuscleActivation,
    Task,
    ToolVelocity,
)
from tests.tasks.ball import Ball, played

pytestmark = pytest.mark.slow
FINGERS = ("left", "right")
JOINTS = ("joint0", "joint1", "joint2")


class Arm(Task):
    """A planar arm of three links with position servos and a gripper of two fingers, weightless.

    Task: none.
    Randomisation: none.
    Success: always.
    """

    horizon, dt, substeps = 3, 2e-3, 25
    spaces = ()

    def scene(self):
        links, servos = [], []
        for n in range(3):
            joint = ds.Joint(f"joint{n}", "revolute", initial=((0.3, 0.5, 0.7)[n],), limits=(-2.0, 2.0))
            inertia = ds.Inertia(0.2, (1e-3, 1e-3, 1e-3), center=(0.1, 0.0, 0.0))
            links.append(
                ds.Link(f"link{n}", joint, f"link{n - 1}" if n else None, (0.2 if n else 0.0, 0.0, 0.0), inertia=inertia)
            )
            servos.append(ds.Actuator(f"servo{n}", joint.name, "position", gain=500.0, damping=20.0))
        for side, axis in zip(FINGERS, (1.0, -1.0), strict=True):
            joint = ds.Joint(
                side, "prismatic", axis=(0.0, axis, 0.0), initial=(0.02,), limits=(0.0, 0.04), limit_smoothing=1e-4
            )
            links.append(ds.Link(side, joint, "link2", (0.2, 0.0, 0.0), inertia=ds.Inertia(0.05, (1e-5, 1e-5, 1e-5))))
            servos.append(ds.Actuator(side, side, "position", gain=500.0, damping=20.0, control_scale=0.5))
        return ds.Scene(articulations=(ds.Articulation("arm", tuple(links), tuple(servos)),), ground=None, gravity=(0, 0, 0))

    def actions(self):
        return self.spaces

    def reward(self, step):
        return step.after.q.sum(dim=1)

    def success(self, episode):
        return ~episode.ended


def arm(*spaces, num_envs=1):
    return type("Arm", (Arm,), {"spaces": spaces})(num_envs)


def controls_of(task, *components):
    return task.controls(task.sim.reset(), torch.tensor([components]))


def test_joint_positions_count_from_a_centre_or_from_where_the_joint_is():
    rest = torch.tensor([[0.3, 0.5, 0.7, 0.04, 0.04]])  # what nothing drives stays; a finger's servo doubles its entry
    task = arm(JointPosition("arm", ("joint1",), scale=0.2))
    assert task.action_dim == 1
    torch.testing.assert_close(controls_of(task, 0.5), rest + torch.tensor([0.0, 0.1, 0.0, 0.0, 0.0]))
    task = arm(JointPosition("arm", ("joint2", "joint0"), scale=(0.1, 0.2), centre=(1.0, -1.0)))
    torch.testing.assert_close(controls_of(task, 1.0, -1.0), torch.tensor([[-1.2, 0.5, 1.1, 0.04, 0.04]]))
    task = arm(JointPosition("arm", ("joint0",), scale=3.0))
    assert float(controls_of(task, 1.0)[0, 0]) == 2.0  # the limit
    task = arm(JointPosition("arm", ("joint0",), scale=0.1, delta=True))
    state = task.sim.reset()
    moved = state.replace(q=state.q + 0.25)
    assert float(task.controls(moved, torch.ones(1, 1))[0, 0]) == pytest.approx(0.65)


def test_a_gripper_closes_at_minus_one_and_opens_at_one():
    task = arm(Gripper("arm", FINGERS, closed=0.0, opened=0.04), JointPosition("arm", ("joint0",)))
    assert task.action_dim == 2
    assert controls_of(task, -1.0, 0.0)[0, 3:].tolist() == [0.0, 0.0]
    assert controls_of(task, 1.0, 0.0)[0, 3:].tolist() == pytest.approx([0.08, 0.08])
    _, _, episode = played(task, torch.tensor([[[1.0, 0.0]]]).expand(20, 1, 2))
    assert episode.state.q[0, 3:].tolist() == pytest.approx([0.04, 0.04], abs=2e-3)


def test_the_end_effector_moves_as_far_as_asked_and_keeps_its_rotation():
    task = arm(EndEffectorDelta("arm.link2", distance=0.01, point=(0.2, 0.0, 0.0), joints=JOINTS, damping=1e-3))
    hand = EndEffector(task.sim, "arm.link2", point=(0.2, 0.0, 0.0))
    state = task.sim.reset()
    before, turned = hand.pose(state)
    wanted = task.controls(state, torch.tensor([[0.6, -0.8, 0.0]]))
    after, rotation = hand.pose(state.replace(q=torch.cat([wanted[:, :3], state.q[:, 3:]], dim=1)))
    torch.testing.assert_close(after - before, torch.tensor([[0.006, -0.008, 0.0]]), atol=4e-4, rtol=0.0)
    torch.testing.assert_close(rotation, turned, atol=1e-3, rtol=0.0)

    _, _, episode = played(task, torch.tensor([[[0.6, -0.8, 0.0]]]).expand(5, 1, 3))
    moved = (hand.pose(episode.state)[0] - before)[0]
    assert float(moved[0]) > 0.01
    assert float(moved[1]) < -0.014


def test_the_end_effector_turns_where_it_may():
    axes = ("x", "y", "z", "rx", "ry", "rz")
    task = arm(EndEffectorDelta("arm.link2", distance=0.01, turn=0.1, axes=axes, joints=JOINTS, damping=1e-3))
    assert task.action_dim == 6
    state = task.sim.reset()
    wanted = task.controls(state, torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.0, 1.0]]))
    assert float((wanted - state.q)[0, :3].sum()) == pytest.approx(0.1, abs=2e-3)  # all turn about z


def test_targets_count_from_the_last_ones_so_soft_servos_get_as_far_as_told():
    """Under its weight the arm sags, but twenty steps of a millimetre move it by twenty millimetres; counted from where it is,
    it would sink by its sag in every step."""

    class Heavy(Arm):
        horizon = 60
        spaces = (EndEffectorDelta("arm.link2", distance=1e-3, point=(0.2, 0.0, 0.0), joints=JOINTS, damping=1e-3),)  # type: ignore[assignment]

        def scene(self):
            return dataclasses.replace(super().scene(), gravity=(0.0, -9.81, 0.0))

    task = Heavy(1, dtype=torch.float64)
    hand = EndEffector(task.sim, "arm.link2", point=(0.2, 0.0, 0.0))
    still, moved = torch.zeros(60, 1, 3, dtype=torch.float64), torch.zeros(60, 1, 3, dtype=torch.float64)
    moved[:20, :, 1] = 1.0
    ends = [hand.pose(played(task, actions)[2].state) for actions in (still, moved)]
    risen = torch.tensor([[0.0, 0.02, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(ends[1][0] - ends[0][0], risen, atol=3e-4, rtol=0.0)
    torch.testing.assert_close(ends[1][1], ends[0][1], atol=3e-3, rtol=0.0)
    sag = (ends[0][0] - hand.pose(task.sim.reset())[0])[0, 1]
    assert sag < -1e-3  # sixty times this, were it counted from where the arm is


def test_what_was_told_last_is_the_episode_s_and_gradients_go_through_it():
    task = arm(JointPosition("arm", ("joint1",), scale=0.1, delta=True))
    episode = task.reset(0)
    torch.testing.assert_close(episode.controls, torch.tensor([[0.3, 0.5, 0.7, 0.04, 0.04]]))
    action = torch.full((1, 1), 0.5, requires_grad=True)
    for _ in range(2):
        episode, _, _ = task.step(episode, action)
    assert float(episode.controls[0, 1].detach()) == pytest.approx(0.6)
    assert float(torch.autograd.grad(episode.controls[0, 1], action)[0]) == pytest.approx(0.2)
    old = task.reset(0)
    merged = old.merged(torch.tensor([True]), episode)
    assert torch.equal(merged.controls, old.controls)
    assert not episode.detach().controls.requires_grad
    assert arm(JointPosition("arm", ("joint1",))).reset(0).controls is None


def test_axes_are_chosen_and_the_others_stay():
    """x and yaw of a planar arm: its hand keeps y."""
    task = arm(EndEffectorDelta("arm.link2", distance=0.01, turn=0.1, axes=("rz", "x"), joints=JOINTS, damping=1e-3))
    assert task.action_dim == 2
    hand = EndEffector(task.sim, "arm.link2")
    state = task.sim.reset()
    wanted = task.controls(state, torch.tensor([[-1.0, 0.5]]))
    after, rotation = hand.pose(state.replace(q=torch.cat([wanted[:, :3], state.q[:, 3:]], dim=1)))
    before, turned = hand.pose(state)
    torch.testing.assert_close(after - before, torch.tensor([[0.005, 0.0, 0.0]]), atol=1e-4, rtol=0.0)
    angle = rotation_vectors(rotation @ turned.transpose(1, 2))
    torch.testing.assert_close(angle, torch.tensor([[0.0, 0.0, -0.1]]), atol=1e-4, rtol=0.0)


def test_gradients_reach_the_action_and_the_state_through_inverse_kinematics():
    task = type("Arm", (Arm,), {"spaces": (EndEffectorDelta("arm.link2", distance=0.05, keep_rotation=False),)})(
        1, dtype=torch.float64
    )
    state = task.sim.reset()

    def targets(q, action):
        return (task.controls(state.replace(q=q), action).sin() * torch.arange(1.0, 6.0, dtype=torch.float64)).sum()

    ds.gradcheck(targets, {"q": state.q, "action": torch.tensor([[0.3, -0.5, 0.2]], dtype=torch.float64)})


def test_joint_velocities_go_to_velocity_motors():
    class Driven(Ball):
        def actions(self):
            return (JointVelocity("robot", ("y",), limit=0.5),)

    task = Driven(1)
    assert task.action_dim == 1
    assert controls_of(task, -1.0).tolist() == [[0.0, -0.5]]
    _, _, episode = played(task, -torch.ones(6, 1, 1))
    assert float(episode.state.qd[0, 1]) == pytest.approx(-0.5, rel=0.1)
    assert float(episode.state.qd[0, 0]) == 0.0


def test_joint_torques_are_in_newton_metres():
    class Motors(Ball):
        def scene(self):
            (robot,) = super().scene().articulations
            motors = tuple(
                ds.Actuator(axis, {axis: 5.0}, gain=gain, control_scale=2.0) for axis, gain in (("y", 3.0), ("x", -1.0))
            )
            return ds.Scene(articulations=(dataclasses.replace(robot, actuators=motors),), ground=None)

        def actions(self):
            return (JointTorque("robot", limit=(0.3, 0.6)),)

    task = Motors(1)
    _, _, episode = played(task, torch.tensor([[[1.0, -0.5]]]))
    expected = torch.tensor([[0.3, -0.3]]) * task.sim.control_dt / 0.1  # of 0.1 kg
    torch.testing.assert_close(episode.state.qd, expected)


def test_a_tools_axes_are_chosen():
    class Poke(Task):
        horizon, dt, substeps = 2, 2e-3, 5

        def scene(self):
            block = ds.SoftBody("block", ds.Box((0.06, 0.06, 0.06)), (0.3, 0.3, 0.061), particles=30)
            still = ds.Tool("still", ds.Sphere(0.05), (0.45, 0.3, 0.06), control=("x",))
            ball = ds.Tool("ball", ds.Sphere(0.05), (0.2, 0.3, 0.06), control=("x", "y", "rz"))
            return ds.Scene((block,), tools=(still, ball), upper=(0.6, 0.6, 0.4), grid_spacing=0.05)

        def actions(self):
            return [ToolVelocity("ball", speed=math.pi, axes=("rz",)), ToolVelocity("ball", speed=0.3, axes=("x",))]

        def reward(self, step):
            return step.after.x[..., 0].mean(dim=1)

        def success(self, episode):
            return ~episode.ended

    task = Poke(1)
    assert task.action_dim == 2
    torch.testing.assert_close(controls_of(task, 1.0, -1.0), torch.tensor([[0.0, -0.3, 0.0, math.pi]]))
    with pytest.raises(ds.InputError, match=r"ToolVelocity\('still'\): axes must be out of \('x',\), each once, got \('y',\)"):
        ToolVelocity("still", axes=("y",)).bound(task.sim)
    with pytest.raises(ds.InputError, match="there is no tool 'bal'"):
        ToolVelocity("bal").bound(task.sim)


@pytest.mark.parametrize("spaces", [(), (AttachmentStrength("cup"),)])
def test_attachments_hold_unless_an_action_lets_go(spaces):
    class Carry(Task):
        horizon, dt, substeps = 2, 2e-3, 5

        def scene(self):
            block = ds.SoftBody("block", ds.Box((0.06, 0.06, 0.06)), (0.3, 0.3, 0.061), particles=30)
            attachments = [ds.Attachment(name, "block", "hand", where=[0, 1], controlled=True) for name in ("clip", "cup")]
            hand = ds.Tool("hand", ds.Sphere(0.05), (0.3, 0.3, 0.2))
            return ds.Scene((block,), tools=(hand,), attachments=attachments, upper=(0.6, 0.6, 0.4), grid_spacing=0.05)

        def actions(self):
            return [ToolVelocity("hand", axes=("z",)), *spaces]

        def reward(self, step):
            return step.after.x[..., 2].mean(dim=1)

        def success(self, episode):
            return ~episode.ended

    task = Carry(1)
    strength = 0.25 if spaces else 1.0
    assert controls_of(task, 1.0, *[-0.5] * len(spaces)).tolist() == [[0.0, 0.0, 1.0, 1.0, strength]]


def test_muscles_are_slack_unless_an_action_drives_them():
    class Writhe(Task):
        horizon, dt, substeps = 2, 2e-3, 5

        def scene(self):
            block = ds.SoftBody("block", ds.Box((0.06, 0.06, 0.06)), (0.3, 0.3, 0.061), particles=30)
            muscles = [ds.Muscle(name, "block", strength=1e3, where=[place]) for place, name in enumerate("abc")]
            nail = ds.Attachment("nail", "block", where=[0, 1], controlled=True)
            return ds.Scene((block,), attachments=(nail,), muscles=muscles, upper=(0.6, 0.6, 0.4), grid_spacing=0.05)

        def actions(self):
            return [MuscleActivation(("c", "a"), scale=0.5)]

        def reward(self, step):
            return step.after.x[..., 2].mean(dim=1)

        def success(self, episode):
            return ~episode.ended

    task = Writhe(1)
    assert controls_of(task, 1.0, -0.5).tolist() == [[1.0, -0.25, 0.0, 0.5]]
    assert MuscleActivation().bound(task.sim).places == (1, 2, 3)
    with pytest.raises(ds.InputError, match="muscles must be out of a, b, c, each once"):
        MuscleActivation(("d",)).bound(task.sim)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (JointPosition("leg"), r"JointPosition\('leg'\): there is no such articulation; articulations: arm"),
        (JointVelocity("arm"), r"JointVelocity\('arm'\): no joint has a velocity actuator of its own"),
        (
            JointPosition("arm", ("joint9",)),
            "joint 'joint9' has no position actuator of its own; joints that have one: joint0,",
        ),
        (JointPosition("arm", ("joint0",), scale=(1.0, 2.0)), "scale must be a number, or one for each of joint0, got"),
        (Gripper("arm", FINGERS, closed=math.nan), "closed must be a finite number, got nan"),
        (EndEffectorDelta("arm.hand"), "there is no link 'arm.hand'"),
        (EndEffectorDelta("arm.link2", axes=("x", "yaw")), r"EndEffectorDelta\('arm.link2'\): axes must be out of"),
        (EndEffectorDelta("arm.link2", turn=0.1), "turn needs axes of rotation among axes, got axes="),
        (AttachmentStrength("cup"), r"AttachmentStrength\('cup'\): there is no such controlled attachment; there are: none"),
    ],
)
def test_what_is_not_there_is_named(space, message):
    with pytest.raises(ds.InputError, match=message):
        arm(space)
