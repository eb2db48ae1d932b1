"""Checks of what losses are given, with errors that name the argument."""

from __future__ import annotations

import torch
from torch import Tensor

from diffsim.errors import InputError


def check_tensor(name: str, value: Tensor) -> None:
    """That a value is a finite tensor of f32 or f64.

    Raises:
        InputError: it is not.
    """
    if not isinstance(value, Tensor):
        raise InputError(f"{name} must be a torch tensor, got {type(value).__name__}")
    if value.dtype not in (torch.float32, torch.float64):
        raise InputError(f"{name} must be torch.float32 or torch.float64, got {value.dtype}")
    if not torch.isfinite(value).all():
        where = torch.nonzero(~torch.isfinite(value.detach()))[0].tolist()
        raise InputError(f"{name} must be finite, got {float(value[tuple(where)])} at index {where}")


def check_points(name: str, value: Tensor, dimensions: int | None = None) -> None:
    """That a value is a batch of finite points, (B, N, D), none of these 0.

    Raises:
        InputError: it is not.
    """
    check_tensor(name, value)
    wanted = "D" if dimensions is None else str(dimensions)
    if value.ndim != 3 or 0 in value.shape or (dimensions is not None and value.shape[2] != dimensions):
        raise InputError(f"{name} must be points of shape (B, N, {wanted}) with B, N >= 1, got {tuple(value.shape)}")


def check_pair(name: str, value: Tensor, other_name: str, other: Tensor, common: int) -> None:
    """That two tensors have one dtype and device, the same sizes from axis ``common`` on, and that the other one's batch is
    as large or 1, which all environments share.

    Raises:
        InputError: they have not.
    """
    if other.dtype != value.dtype:
        raise InputError(f"{other_name} must be {value.dtype} as {name} is, got {other.dtype}")
    if other.device != value.device:
        raise InputError(f"{other_name} must be on the {value.device} as {name} is, got {other.device}")
    if other.ndim != value.ndim or other.shape[common:] != value.shape[common:]:
        raise InputError(
            f"{other_name} does not fit {name}: its shape is {tuple(other.shape)}, that of {name} {tuple(value.shape)}"
        )
    if len(other) not in (1, len(value)):
        raise InputError(f"{other_name} must have a batch of 1 or, as {name}, of {len(value)}, got {len(other)}")
