"""Inverse kinematics of an arm, its derivatives, and actions made of it."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

import diffsim as ds
from diffsim.robots.inverse_kinematics import EndEffector
from diffsim.scene.rotations import quaternion_to_matrix, rotation_vectors
from tests.diffsim.test_inputs import refused

pytestmark = pytest.mark.slow

F64 = torch.float64
AXES = ((0, 0, 1), (0, 1, 0), (0, 1, 0), (1, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1))


def matrices(quaternions):
    """Rotation matrices of quaternions of any length."""
    return quaternion_to_matrix(quaternions / quaternions.norm(dim=-1, keepdim=True))


def arm(
    count: int = 7, *, kind: str = "position", slide: bool = False, limits: tuple[float, float] | None = (-2.5, 2.5)
) -> ds.Articulation:
    """A chain of hinges 0.2 m apart, on a slide if asked for, that ends in a "hand"."""
    links: list[ds.Link] = []
    names = []
    for n, axis in enumerate(AXES[:count]):
        sliding = slide and n == 0
        joint = ds.Joint(
            f"j{n}", "prismatic" if sliding else "revolute", axis=axis, limits=limits, armature=0.01,
            initial=(0.0 if sliding else 0.3 + 0.1 * n,),
        )  # fmt: skip
        inertia = ds.Inertia(0.5, (0.002,) * 3, (0.0, 0.0, 0.1))
        links.append(ds.Link(f"l{n}", joint, f"l{n - 1}" if n else None, (0.0, 0.0, 0.2 if n else 0.1), inertia=inertia))
        names.append(joint.name)
    links.append(ds.Link("hand", ds.Joint("weld", "fixed"), links[-1].name, (0.0, 0.02, 0.15), (1.0, 0.3, 0.0, 0.2)))
    gain, damping = (400.0, 20.0) if kind == "position" else (20.0, 0.0)
    actuators = [
        ds.Actuator(f"a{n}", {name: 2.0}, kind=kind, gain=gain, damping=damping, control_scale=0.5)
        for n, name in enumerate(names)
    ]
    return ds.Articulation("arm", tuple(links), tuple(actuators[::-1]), position=(0.1, 0.0, 0.0), rotation=(1.0, 0.0, 0.0, 0.5))


def simulator(robot: ds.Articulation | None = None, num_envs: int = 1, **options) -> ds.Simulator:
    cart = ds.Articulation(
        "cart",
        (ds.Link("cart", ds.Joint("rail", "prismatic"), inertia=ds.Inertia(1.0, (0.1,) * 3)),),
        (ds.Actuator("push", "rail"),),
    )
    scene = ds.Scene(articulations=(cart, robot or arm()), ground=None, gravity=(0.0, 0.0, 0.0))
    return ds.Simulator(scene, num_envs=num_envs, dtype=F64, **options)


def moved(sim: ds.Simulator, hand: EndEffector, spread: float, *, seed: int = 0) -> ds.State:
    """The initial state with the hand's joints displaced at random."""
    generator = torch.Generator().manual_seed(seed)
    state = sim.reset()
    q = state.q.clone()
    q[:, hand._coordinates] += spread * torch.randn(len(q), len(hand.joints), dtype=F64, generator=generator)
    return state.replace(q=q)


def reached(sim: ds.Simulator, hand: EndEffector, state: ds.State, joints: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    q = state.q.clone()
    q[:, hand._coordinates] = joints
    return hand.pose(state.replace(q=q))


def test_rotation_vectors_at_every_angle():
    axis = torch.tensor([0.6, -0.64, 0.48], dtype=F64)
    for angle in (0.0, 1e-12, 1e-6, 0.3, 2.0, math.pi - 1e-7, math.pi):
        quaternion = torch.cat([torch.tensor([math.cos(angle / 2)], dtype=F64), math.sin(angle / 2) * axis])[None]
        vector = rotation_vectors(matrices(3.0 * quaternion))[0]
        torch.testing.assert_close(vector if vector @ axis >= 0.0 else -vector, angle * axis, rtol=0.0, atol=1e-9)
    ds.gradcheck(
        lambda q: rotation_vectors(matrices(q)).sum(),
        {"q": torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.1, 0.7, -0.3, 0.2]], dtype=F64)},
    )


@pytest.mark.parametrize("slide", [False, True])
def test_the_jacobian_is_the_derivative_of_the_pose(slide):
    sim = simulator(arm(slide=slide), 3)
    hand = EndEffector(sim, "arm.hand", point=(0.01, 0.02, 0.05))
    state = moved(sim, hand, 0.5)
    jacobian = hand.jacobian(state)
    assert jacobian.shape == (3, 6, 7)
    h = 1e-6
    for n, coordinate in enumerate(hand._coordinates):
        step = torch.zeros_like(state.q)
        step[:, coordinate] = h
        (after, turned), (before, still) = (hand.pose(state.replace(q=state.q + sign * step)) for sign in (1.0, -1.0))
        torch.testing.assert_close((after - before) / (2 * h), jacobian[:, :3, n], rtol=0.0, atol=1e-8)
        torch.testing.assert_close(
            rotation_vectors(turned @ still.transpose(1, 2)) / (2 * h), jacobian[:, 3:, n], rtol=0.0, atol=1e-8
        )
    # and it is what the simulator says of velocities
    qd = torch.randn(state.qd.shape, dtype=F64, generator=torch.Generator().manual_seed(1))
    own = [sim._rigid.model.links[i].dof for i in hand._indices]
    links = sim.links(state.replace(qd=qd))
    torch.testing.assert_close((jacobian @ qd[:, own, None])[:, 3:, 0], links.angular_velocity[:, hand.link_index])
    ds.gradcheck(
        lambda q: (hand.jacobian(state.replace(q=q)) * torch.linspace(-1, 1, 42, dtype=F64).view(6, 7)).sum(), {"q": state.q}
    )


@pytest.mark.parametrize("count", [6, 7])
def test_a_pose_in_reach_is_reached(count):
    sim = simulator(arm(count), 8)
    hand = EndEffector(sim, "arm.hand", point=(0.0, 0.0, 0.1))
    goal = moved(sim, hand, 0.4, seed=1)
    position, rotation = hand.pose(goal)
    state = sim.reset()
    joints = hand.solve(state, position, rotation)
    assert joints.shape == (8, count)
    there, turned = reached(sim, hand, state, joints)
    assert float((there - position).norm(dim=1).max()) < 1e-8
    assert float(rotation_vectors(rotation @ turned.transpose(1, 2)).norm(dim=1).max()) < 1e-8
    for n in range(8):  # the batch is its environments
        torch.testing.assert_close(
            hand.solve(state[n], position[n : n + 1], rotation[n : n + 1])[0], joints[n], rtol=0.0, atol=1e-9
        )
    anyhow = hand.solve(state, position)
    assert float((reached(sim, hand, state, anyhow)[0] - position).norm(dim=1).max()) < 1e-8


@pytest.mark.parametrize("count", [3, 7])
def test_single_precision_and_arms_of_few_joints(count):
    scene = ds.Scene(articulations=(arm(count),), ground=None)
    turns = 0.3 * torch.randn((4, count), generator=torch.Generator().manual_seed(0))
    gradients = []
    for dtype, tolerance in ((torch.float32, 1e-5), (F64, 1e-8)):
        sim = ds.Simulator(scene, num_envs=4, dtype=dtype)
        hand = EndEffector(sim, "arm.hand")
        state = sim.reset()
        position, rotation = hand.pose(state.replace(q=state.q + turns.to(dtype)))
        leaf = position.clone().requires_grad_()
        joints = hand.solve(state, leaf, rotation)
        there, turned = reached(sim, hand, state, joints.detach())
        assert float((there - position).norm(dim=1).max()) < tolerance
        assert float(rotation_vectors(rotation @ turned.transpose(1, 2)).norm(dim=1).max()) < tolerance
        gradients.append(torch.autograd.grad(joints.sum(), leaf)[0].double())
    assert float((gradients[0] - gradients[1]).norm() / gradients[1].norm()) < 1e-2


def test_quaternions_of_any_length_say_the_same_as_matrices():
    sim = simulator()
    hand = EndEffector(sim, "arm.hand")
    position, _ = hand.pose(sim.reset())
    quaternion = torch.tensor([[0.5, 0.1, -0.2, 2.0]], dtype=F64)
    assert torch.equal(hand.solve(sim.reset(), position, quaternion), hand.solve(sim.reset(), position, matrices(quaternion)))


@pytest.mark.parametrize("case", ["six joints", "redundant", "position alone", "out of reach", "at a limit"])
def test_the_solution_has_its_gradient(case):
    limits = (-0.4, 0.95) if case == "at a limit" else (-2.5, 2.5)
    sim = simulator(arm(6 if case == "six joints" else 7, limits=limits), 2)
    hand = EndEffector(sim, "arm.hand", iterations=40)
    state = sim.reset()
    position, rotation = hand.pose(moved(sim, hand, 0.3, seed=2))
    if case == "out of reach":
        position = 3.0 * position
    weight = torch.randn(2, len(hand.joints), dtype=F64, generator=torch.Generator().manual_seed(5))
    joints = hand.solve(state, position, rotation)
    if case == "at a limit":
        assert bool(((joints == limits[0]) | (joints == limits[1])).any())
    turn = torch.zeros(2, 3, dtype=F64)

    def function(position: torch.Tensor, turn: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
        quaternion = torch.cat([torch.ones_like(turn[:, :1]), turn], dim=1)
        target = None if case == "position alone" else matrices(quaternion) @ rotation
        return (hand.solve(state.replace(q=q), position, target) * weight).sum()

    inputs = {"position": position, "turn": turn, "q": state.q}
    if case == "six joints":  # there the solution does not depend on where the search began
        q = inputs.pop("q").clone().requires_grad_()
        assert float(torch.autograd.grad(function(position, turn, q), q)[0].norm()) < 1e-6
        function = partial(function, q=state.q)
    checks = ds.gradcheck(function, inputs, directions=2)
    assert all(abs(check.adjoint) > 0.0 for check in checks if case != "position alone" or check.name != "turn")


def test_limits_are_respected_and_the_rest_still_does_its_best():
    sim = simulator(arm(limits=(-0.5, 0.6)), 16)
    hand = EndEffector(sim, "arm.hand", iterations=150)
    wide = EndEffector(simulator(arm(), 16), "arm.hand")
    position, _ = wide.pose(moved(wide._simulator, wide, 0.8, seed=3))
    state = moved(sim, hand, 2.0, seed=4)  # it may start beyond its limits
    joints = hand.solve(state, position)
    assert float(joints.max()) <= 0.6
    assert float(joints.min()) >= -0.5
    # no joint that may move makes it better
    q = state.q.clone()
    q[:, hand._coordinates] = joints
    best = state.replace(q=q)
    slope = (hand.jacobian(best)[:, :3].transpose(1, 2) @ (position - hand.pose(best)[0])[..., None]).squeeze(-1)
    blocked = ((joints >= 0.6) & (slope > 0.0)) | ((joints <= -0.5) & (slope < 0.0))
    assert float(slope[~blocked].abs().max()) < 1e-3
    assert bool(blocked.any())


def test_chosen_joints_move_and_the_others_stay():
    sim = simulator()
    hand = EndEffector(sim, "arm.hand", joints=("j5", "arm.j2", "j4"))
    assert hand.joints == ("j5", "j2", "j4")
    state = sim.reset()
    position, _ = hand.pose(moved(sim, hand, 0.2))
    joints = hand.solve(state, position)
    assert float((reached(sim, hand, state, joints)[0] - position).norm()) < 1e-8
    action = hand.action(state, position, others=torch.arange(8, dtype=F64)[None])
    # the cart's actuator stands first, then the arm's in reverse; u times the scale is the coefficient times the joint
    torch.testing.assert_close(action[0, [2, 5, 3]], 4.0 * joints[0])
    assert action[0, [0, 1, 4, 6, 7]].tolist() == [0.0, 1.0, 4.0, 6.0, 7.0]


def test_twist_gives_joint_velocities():
    sim = simulator(num_envs=2)
    hand = EndEffector(sim, "arm.hand", damping=1e-5)
    state = moved(sim, hand, 0.3)
    velocity = torch.tensor([[0.1, 0.2, -0.3], [0.0, 0.1, 0.0]], dtype=F64)
    spin = torch.tensor([[0.5, 0.0, 0.1], [0.0, 0.0, 1.0]], dtype=F64)
    speeds = hand.joint_velocities(state, velocity, spin)
    torch.testing.assert_close(
        (hand.jacobian(state) @ speeds[..., None])[..., 0], torch.cat([velocity, spin], 1), rtol=0.0, atol=1e-6
    )
    slow = hand.joint_velocities(state, velocity)
    assert bool((slow.norm(dim=1) <= speeds.norm(dim=1)).all())
    torch.testing.assert_close((hand.jacobian(state)[:, :3] @ slow[..., None])[..., 0], velocity, rtol=0.0, atol=1e-6)
    driven = simulator(arm(kind="velocity"), 2)
    moving = EndEffector(driven, "arm.hand", damping=1e-3)
    drive = moving.action_for(moving.joint_velocities(driven.reset(), velocity), "velocity")
    after = driven.rollout(driven.reset(), drive.expand(10, 2, 8))[-1]
    assert float((moving.pose(after)[0] - moving.pose(driven.reset())[0])[0] @ velocity[0]) > 0.0


def test_a_hand_follows_a_circle():
    sim = simulator(dt=1e-3, substeps=20)
    hand = EndEffector(sim, "arm.hand", iterations=8)
    state = sim.reset()
    centre, rotation = hand.pose(state)
    errors = []
    for step in range(100):
        angle = 2.0 * math.pi * (step + 1) / 100.0
        # the circle starts where the hand is
        offset = torch.tensor([[0.0, 0.06 * math.sin(angle), 0.06 * (math.cos(angle) - 1.0)]], dtype=F64)
        with torch.no_grad():
            state = sim.step(state, hand.action(state, centre + offset, rotation))
            errors.append(float((hand.pose(state)[0] - centre - offset).norm()))
    assert max(errors) < 0.02
    assert max(errors) > 1e-6


def test_gradients_flow_from_the_pose_through_the_simulation():
    sim = simulator()
    hand = EndEffector(sim, "arm.hand", iterations=15)
    state = sim.reset()
    start, rotation = hand.pose(state)
    start, rotation = start.detach() + 0.03, rotation.detach()

    def function(position: torch.Tensor) -> torch.Tensor:
        later = state
        for _ in range(3):
            later = sim.step(later, hand.action(later, position, rotation))
        return hand.pose(later)[0].square().sum()

    ds.gradcheck(function, {"position": start})


def test_wrong_arguments():
    sim = simulator(num_envs=2)
    with refused("simulator", "str"):
        EndEffector("arm", "arm.hand")
    with refused("'arm.foot'", "arm.hand"):
        EndEffector(sim, "arm.foot")
    with refused("joints", "'rail'", "'arm.hand'", "j0, j1"):
        EndEffector(sim, "arm.hand", joints=("j0", "rail"))
    with refused("joints", "'weld'"):
        EndEffector(sim, "arm.hand", joints=("weld",))
    with refused("'j0' twice"):
        EndEffector(sim, "arm.hand", joints=("j0", "j0"))
    with refused("'arm.l0'", "'j1'"):
        EndEffector(sim, "arm.l0", joints=("j1",))
    with refused("'world'", "no revolute or prismatic joint"):
        EndEffector(sim, "world")
    with refused("damping", "0"):
        EndEffector(sim, "arm.hand", damping=0.0)
    with refused("iterations", "0"):
        EndEffector(sim, "arm.hand", iterations=0)
    with refused("point", "(1,)"):
        EndEffector(sim, "arm.hand", point=(1,))
    hand = EndEffector(sim, "arm.hand")
    state = sim.reset()
    position = torch.zeros(2, 3, dtype=F64)
    with refused("position", "(2, 3)", "(3,)"):
        hand.solve(state, position[0])
    with refused("position", "float64", "float32"):
        hand.solve(state, position.float())
    with refused("position", "finite", "nan"):
        hand.solve(state, position * math.nan)
    with refused("rotation", "(2, 4) or (2, 3, 3)", "(2, 3)"):
        hand.solve(state, position, position)
    with refused("rotation", "zero quaternion"):
        hand.solve(state, position, torch.zeros(2, 4, dtype=F64))
    with refused("velocity", "(2, 3)", "list"):
        hand.joint_velocities(state, [0.0])
    with refused("angular_velocity", "(2, 3)", "(2, 2)"):
        hand.joint_velocities(state, position, position[:, :2])
    with refused("others", "(2, 8)", "(2, 7)"):
        hand.action(state, position, others=torch.zeros(2, 7, dtype=F64))
    with refused("targets", "7"):
        hand.action_for(torch.zeros(2, 6, dtype=F64))
    with refused("kind", "'torque'"):
        hand.action_for(torch.zeros(2, 7, dtype=F64), "torque")
    with refused("'arm.j0'", "no velocity actuator", "none"):
        hand.action_for(torch.zeros(2, 7, dtype=F64), "velocity")
    rail = EndEffector(sim, "cart.cart")
    with refused("'cart.rail'", "no position actuator", "none"):
        rail.action(state, position)
