"""Joints and actuators by name, and controllers by joints' servos: on an arm of four joints beside a tool."""

from __future__ import annotations

import pytest
import torch

import diffsim as ds
from tests.diffsim.test_inputs import refused

F64 = torch.float64
ARM = ("j0", "j1", "j2")


def scene(kind: str = "position") -> ds.Scene:
    links, servos = [], []
    for n, axis in enumerate(((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (0.0, 1.0, 0.0))):
        joint = ds.Joint(f"j{n}", "revolute", axis, initial=(0.2 + 0.3 * n,), limits=(-1.5, 1.5))
        inertia = ds.Inertia(0.3, (2e-3, 2e-3, 2e-3), center=(0.1, 0.0, 0.0))
        at, above = (0.2, 0.0, 0.0), f"l{n - 1}" if n else None
        links.append(ds.Link(f"l{n}", joint, above, at, inertia=inertia, gravity_compensation=1.0))
        servos.append(ds.Actuator(f"servo{n}", f"j{n}", kind, gain=300.0, damping=10.0, control_scale=0.5))
    wrist = ds.Joint("wrist", "revolute", (1.0, 0.0, 0.0))
    links.append(ds.Link("hand", wrist, "l2", (0.2, 0.0, 0.0), inertia=ds.Inertia(0.1, (1e-4, 1e-4, 1e-4))))
    servos.append(ds.Actuator("twist", {"wrist": 1.0, "j2": -1.0}, "torque"))
    tool = ds.Tool("tool", ds.Sphere(0.02), (2.0, 2.0, 0.5), control=("x", "y"))
    ball = ds.RigidBody("ball", ds.Sphere(0.05), (3.0, 3.0, 0.05), mass=0.1)
    arm = ds.Articulation("arm", tuple(links), tuple(servos))
    return ds.Scene(rigid_bodies=(ball,), articulations=(arm,), tools=(tool,))


@pytest.fixture(scope="module")
def sim() -> ds.Simulator:
    return ds.Simulator(scene(), num_envs=2, dt=2e-3, substeps=50, dtype=F64)


def test_joints_are_found_by_name(sim):
    joint = sim.joint("arm.j1")
    assert joint.joint.limits == (-1.5, 1.5)
    assert sim.link_infos[joint.link].name == "arm.l1"
    assert joint.coordinates == sim.link_infos[joint.link].coordinates
    assert float(sim.reset().q[0, joint.coordinates]) == 0.5
    assert [each.name for each in joint.actuators] == ["arm.servo1"]
    assert joint.driver("position") == sim.actuator("arm.servo1")
    assert joint.driver("velocity") is None
    assert sim.actuator("arm.servo1").index == 3  # after the tool's two
    assert sim.actuator("arm.servo1").factor == 2.0
    assert [each.name for each in sim.joint("arm.j2").actuators] == ["arm.servo2", "arm.twist"]
    assert [each.name for each in sim.joint("arm.wrist").actuators] == ["arm.twist"]
    assert sim.joint("arm.wrist").driver("torque") is None
    free = sim.joint("ball")
    assert (free.coordinates.stop - free.coordinates.start, free.dofs.stop - free.dofs.start) == (7, 6)
    torch.testing.assert_close(sim.reset().q[0, free.coordinates][:3], torch.tensor([3.0, 3.0, 0.05], dtype=F64))


def test_names_that_are_not_there_are_refused(sim):
    with refused("there is no joint 'arm.j9'; joints: ", "arm.j1", "ball"):
        sim.joint("arm.j9")
    with refused("there is no actuator 'servo1'; actuators: arm.servo0, arm.servo1"):
        sim.actuator("servo1")
    with refused("JointController('leg'): there is no such articulation; articulations: arm"):
        ds.JointController(sim, "leg")
    with refused("joint 'wrist' has no position actuator of its own; joints that have one: j0, j1, j2"):
        ds.JointController(sim, "arm", ("wrist",))
    with refused("no joint has a velocity actuator of its own"):
        ds.JointController(sim, "arm", kind="velocity")


def test_joint_targets_and_the_entries_of_an_action(sim):
    servos = ds.JointController(sim, "arm", ("j2", "j0"))
    assert servos.places == (4, 2)
    targets = torch.tensor([[0.3, 9.0], [-0.2, 0.4]], dtype=F64)
    entries = servos.controls(targets)
    torch.testing.assert_close(entries, torch.tensor([[0.6, 3.0], [-0.4, 0.8]], dtype=F64))  # 9 is beyond the limit
    torch.testing.assert_close(servos.targets(entries), torch.tensor([[0.3, 1.5], [-0.2, 0.4]], dtype=F64))
    torch.testing.assert_close(servos.targets(servos.held(sim.reset())), servos.coordinates(sim.reset()))


def action(sim: ds.Simulator, controller: ds.EndEffectorController, entries: torch.Tensor) -> torch.Tensor:
    full = torch.zeros(len(entries), sim.action_dim, dtype=F64)
    full[:, controller.servos.places] = entries
    return full


def test_an_end_effector_gets_where_it_is_told_to_step_by_step(sim):
    """Twenty steps of 4 mm: along a straight line, to a thousandth of a millimetre in the targets."""
    arm = ds.EndEffectorController(sim, "arm.l2", ARM, point=(0.2, 0.0, 0.0), damping=1e-3)
    state = sim.reset()
    first = arm.kinematics.pose(state)[0]
    entries, move = arm.held(state), torch.tensor([[0.0, 4e-3, 0.0], [-2e-3, 0.0, 2e-3]], dtype=F64)
    for _ in range(20):
        entries = arm.step(state, entries, move)
        state = sim.step(state, action(sim, arm, entries))
    q = state.q.clone()
    q[:, [sim.joint(f"arm.{joint}").coordinates.start for joint in ARM]] = arm.servos.targets(entries)
    torch.testing.assert_close(arm.kinematics.pose(state.replace(q=q))[0], first + 20 * move, rtol=0.0, atol=1e-5)
    for _ in range(10):
        state = sim.step(state, action(sim, arm, entries))
    torch.testing.assert_close(arm.kinematics.pose(state)[0], first + 20 * move, rtol=0.0, atol=3e-3)


def test_gradients_of_steps_go_to_the_state_the_last_targets_and_the_motion(sim):
    arm = ds.EndEffectorController(sim, "arm.l2", ARM, point=(0.2, 0.0, 0.1))
    state, generator = sim.reset(), torch.Generator().manual_seed(0)

    def told(q: torch.Tensor, last: torch.Tensor, move: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
        here = state.replace(q=q)
        entries = arm.step(here, arm.step(here, last, move, turn), move)
        return (entries.sin() * torch.arange(1.0, 4.0, dtype=F64)).sum()

    move, turn = 0.02 * torch.randn(2, 2, 3, generator=generator, dtype=F64)
    ds.gradcheck(told, {"q": state.q, "last": arm.held(state), "move": move, "turn": turn})


def test_velocity_servos_take_the_arm_s_own_place():
    sim = ds.Simulator(scene("velocity"), num_envs=1, dt=2e-3, substeps=10, dtype=F64)
    arm = ds.EndEffectorController(sim, "arm.l2", ARM, point=(0.2, 0.0, 0.0), damping=1e-3)
    assert arm.servos.kind == "velocity"
    state, move = sim.reset(), torch.tensor([[0.0, 1e-3, 0.0]], dtype=F64)
    first = arm.kinematics.pose(state)[0]
    entries = arm.held(state)
    assert not entries.any()
    for _ in range(20):
        entries = arm.step(state, entries, move)
        state = sim.step(state, action(sim, arm, entries))
    torch.testing.assert_close(arm.kinematics.pose(state)[0] - first, 20 * move, rtol=0.0, atol=1.5e-3)
