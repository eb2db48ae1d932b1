"""Rotations as unit quaternions (w, x, y, z) and matrices: the one place that turns one into the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from diffsim.compiler import compile_time

Quaternion = tuple[float, float, float, float]


@compile_time
def rotation_entries(w: Any, x: Any, y: Any, z: Any, scale: Any = 2.0) -> tuple[Any, ...]:
    """The nine entries, by rows, of the rotation matrix of a quaternion q; ``scale`` is 2 / |q|^2. Of numbers, arrays, tensors,
    and the scalars of a kernel."""
    s = scale
    return (
        1.0 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y),
        s * (x * y + w * z), 1.0 - s * (x * x + z * z), s * (y * z - w * x),
        s * (x * z - w * y), s * (y * z + w * x), 1.0 - s * (x * x + y * y),
    )  # fmt: skip


def rotation_matrix(quaternion: Quaternion) -> np.ndarray:
    """Rotation matrix (3, 3) of a unit quaternion (w, x, y, z)."""
    return np.array(rotation_entries(*quaternion)).reshape(3, 3)


def quaternion_of(rotation: np.ndarray) -> Quaternion:
    """Unit quaternion (w, x, y, z), w >= 0, of a rotation matrix (3, 3)."""
    x, y, z, w = Rotation.from_matrix(rotation).as_quat(canonical=True)
    return (float(w), float(x), float(y), float(z))


def quaternion_product(a: Tensor, b: Tensor) -> Tensor:
    """Hamilton product of quaternions (..., 4), (w, x, y, z)."""
    scalar_a, vector_a, scalar_b, vector_b = a[..., :1], a[..., 1:], b[..., :1], b[..., 1:]
    scalar = scalar_a * scalar_b - (vector_a * vector_b).sum(-1, keepdim=True)
    vector = scalar_a * vector_b + scalar_b * vector_a + torch.linalg.cross(vector_a, vector_b)
    return torch.cat([scalar, vector], dim=-1)


def quaternion_exponential(rotation_vector: Tensor) -> Tensor:
    """Unit quaternion (..., 4) of a rotation vector (..., 3) in radians; smooth at zero."""
    half_angle = 0.5 * (rotation_vector.square().sum(-1, keepdim=True) + 1e-30).sqrt()
    return torch.cat([half_angle.cos(), 0.5 * torch.sinc(half_angle / torch.pi) * rotation_vector], dim=-1)


def quaternion_to_matrix(quaternion: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of unit quaternions (..., 4), differentiable."""
    return torch.stack(rotation_entries(*quaternion.unbind(-1)), dim=-1).unflatten(-1, (3, 3))


def rotation_vectors(rotations: Tensor) -> Tensor:
    """Axis times angle, rad (B, 3), of rotation matrices (B, 3, 3); the angle is at most pi. Differentiable but at pi."""
    r = rotations
    dx, dy, dz = r[:, 2, 1] - r[:, 1, 2], r[:, 0, 2] - r[:, 2, 0], r[:, 1, 0] - r[:, 0, 1]
    xy, xz, yz = r[:, 0, 1] + r[:, 1, 0], r[:, 0, 2] + r[:, 2, 0], r[:, 1, 2] + r[:, 2, 1]
    a, b, c = r.diagonal(dim1=1, dim2=2).unbind(-1)
    # each row is the quaternion times four times one of its components: the largest one's is never near zero
    rows = torch.stack([
        torch.stack([1 + a + b + c, dx, dy, dz], -1), torch.stack([dx, 1 + a - b - c, xy, xz], -1),
        torch.stack([dy, xy, 1 - a + b - c, yz], -1), torch.stack([dz, xz, yz, 1 - a - b + c], -1),
    ], dim=1)  # fmt: skip
    largest = rows.detach().diagonal(dim1=1, dim2=2).argmax(dim=1)
    quaternion = rows[torch.arange(len(rows), device=rows.device), largest]
    quaternion = quaternion / quaternion.norm(dim=-1, keepdim=True)
    quaternion = torch.where(quaternion[:, :1] < 0.0, -quaternion, quaternion)
    w, v = quaternion[:, :1], quaternion[:, 1:]
    square = v.square().sum(-1, keepdim=True)
    tiny = square < 1e-20
    sine = torch.where(tiny, torch.ones_like(square), square).sqrt()
    return v * torch.where(tiny, 2.0 / w.clamp_min(0.5), 2.0 * torch.atan2(sine, w) / sine)


def axis_rotation(axis: Sequence[float], angle: float) -> np.ndarray:
    """Rotation matrix (3, 3) by an angle, rad, about a unit axis (3,)."""
    w, (x, y, z) = np.cos(0.5 * angle), (np.sin(0.5 * angle) * component for component in axis)
    return rotation_matrix((float(w), float(x), float(y), float(z)))
