"""The tools' motion against closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

import diffsim as ds
from diffsim.scene.rotations import quaternion_exponential, quaternion_product, quaternion_to_matrix
from diffsim.tools.tool_motion import ToolKinematics

F64 = torch.float64


def scipy_order(quaternion: torch.Tensor) -> np.ndarray:
    return np.roll(quaternion.numpy(), -1, axis=-1)


def test_quaternions_agree_with_scipy():
    vectors = torch.randn(7, 2, 3, dtype=F64, generator=torch.Generator().manual_seed(0))
    a, b = quaternion_exponential(vectors[:, 0]), quaternion_exponential(vectors[:, 1])
    A, B = (Rotation.from_rotvec(vectors[:, i].numpy()) for i in range(2))
    np.testing.assert_allclose(quaternion_to_matrix(a).numpy(), A.as_matrix(), atol=1e-12)
    product = Rotation.from_quat(scipy_order(quaternion_product(a, b)))
    np.testing.assert_allclose(product.as_matrix(), (A * B).as_matrix(), atol=1e-12)


def test_exponential_is_smooth_at_zero():
    zero = torch.zeros(1, 3, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(quaternion_exponential, (zero + 1e-3,), atol=1e-8)
    gradient = torch.autograd.functional.jacobian(quaternion_exponential, zero)
    torch.testing.assert_close(gradient[0, 1:, 0], 0.5 * torch.eye(3, dtype=F64))


def test_constant_twist():
    tool = ds.Tool("t", ds.Sphere(0.1), (0.1, 0.2, 0.3), control=("y", "rz", "x"))
    body = ds.SoftBody("b", ds.Sphere(0.1), (0.5, 0.5, 0.5), particles=20)
    kinematics = ToolKinematics(ds.Scene((body,), tools=(tool,)), dt=0.01, substeps=10, dtype=F64)
    position = torch.tensor([[tool.position]], dtype=F64)
    rotation = torch.tensor([[tool.rotation]], dtype=F64)
    motion, moved, turned = kinematics.motion(position, rotation, torch.tensor([[0.5, math.pi, -1.0]], dtype=F64))
    assert moved[0, 0].tolist() == pytest.approx([0.0, 0.25, 0.3])
    np.testing.assert_allclose(
        quaternion_to_matrix(turned)[0, 0].numpy(), Rotation.from_euler("z", 0.1 * math.pi).as_matrix(), atol=1e-12
    )
    assert motion.position[0, 5, 0].tolist() == pytest.approx([0.05, 0.225, 0.3])
    np.testing.assert_allclose(
        motion.rotation[0, 5, 0].numpy(), Rotation.from_euler("z", 0.05 * math.pi).as_matrix(), atol=1e-12
    )


def test_spin_is_about_the_worlds_axes_and_rotations_stay_of_unit_length():
    start = (0.5, 0.5, -0.5, 0.5)
    tool = ds.Tool("t", ds.Box((0.1, 0.05, 0.02)), (0.1, 0.2, 0.3), start, control=("rx", "ry", "rz"))
    body = ds.SoftBody("b", ds.Sphere(0.1), (0.5, 0.5, 0.5), particles=20)
    kinematics = ToolKinematics(ds.Scene((body,), tools=(tool,)), dt=0.01, substeps=5, dtype=torch.float32)
    position, rotation = torch.tensor([[tool.position]]), torch.tensor([[tool.rotation]])
    expected = Rotation.from_quat(np.roll(start, -1))
    generator = torch.Generator().manual_seed(0)
    for _ in range(100):
        spin = 3.0 * torch.randn(1, 3, generator=generator)
        _, position, rotation = kinematics.motion(position, rotation, spin)
        expected = Rotation.from_rotvec(0.05 * spin[0].numpy()) * expected
    np.testing.assert_allclose(quaternion_to_matrix(rotation)[0, 0].numpy(), expected.as_matrix(), atol=1e-5)
    assert float(rotation.norm()) == pytest.approx(1.0, abs=1e-6)
    assert position[0, 0].tolist() == pytest.approx(tool.position)


def test_each_tool_takes_its_own_part_of_the_action():
    tools = (
        ds.Tool("a", ds.Sphere(0.05), (0.1, 0.1, 0.1), control=("z",)),
        ds.Tool("b", ds.Sphere(0.05), (0.9, 0.9, 0.1), control=("y", "x")),
    )
    body = ds.SoftBody("b", ds.Sphere(0.1), (0.5, 0.5, 0.5), particles=20)
    scene = ds.Scene((ds.SoftBody("body", body.shape, body.position, particles=20),), tools=tools)
    kinematics = ToolKinematics(scene, dt=0.1, substeps=1, dtype=F64)
    start = torch.tensor([[tool.position for tool in tools]], dtype=F64)
    still = torch.tensor([[[1.0, 0, 0, 0]] * 2], dtype=F64)
    _, moved, turned = kinematics.motion(start, still, torch.tensor([[1.0, 2.0, 3.0]], dtype=F64))
    torch.testing.assert_close((moved - start)[0], torch.tensor([[0, 0, 0.1], [0.3, 0.2, 0]], dtype=F64))
    assert torch.equal(turned, still)


def test_gradients_through_a_blocked_motion():
    body = ds.SoftBody("b", ds.Sphere(0.1), (0.8, 0.8, 0.5), particles=20)
    scene = ds.Scene(
        (body,),
        tools=(ds.Tool("t", ds.Capsule(0.1, 0.05), (0.3, 0.3, 0.3), control=("x", "y", "z", "rx", "ry", "rz")),),
        obstacles=(ds.Obstacle("o", ds.Box((0.1, 0.1, 0.1), rounding=0.05), (0.42, 0.35, 0.32), (0.9, 0.1, 0.2, 0.3)),),
    )
    kinematics = ToolKinematics(scene, dt=0.01, substeps=4, dtype=F64)
    rotation = torch.tensor([[[1.0, 0.1, 0.2, 0.3]]], dtype=F64)

    def function(position: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, ...]:
        motion, moved, turned = kinematics.motion(position, rotation / rotation.norm(), action)
        return motion.position, motion.rotation, motion.velocity, motion.angular_velocity, moved, turned

    position = torch.tensor([[[0.27, 0.3, 0.3]]], dtype=F64, requires_grad=True)
    action = torch.tensor([[1.0, 0.4, 0.2, 1.0, -2.0, 0.5]], dtype=F64, requires_grad=True)
    free = position.detach() + 0.04 * action.detach()[:, None, :3]
    assert float((function(position, action)[4].detach() - free).abs().max()) > 1e-3  # it was blocked
    assert torch.autograd.gradcheck(function, (position, action), atol=1e-7)
