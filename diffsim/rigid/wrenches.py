"""External forces and torques on links as inputs of control steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffsim.errors import InputError
from diffsim.rigid.rigid_records import ExternalWrench
from diffsim.scene.validation import vector

NOTHING = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Wrench:
    """External force and torque on a link, in the world's frame, constant over a control step.

    The force acts at the link's centre of mass, like MuJoCo's ``xfrc_applied`` and Newton's ``body_f``. One that acts
    at r from there has, besides, the torque r x force.

    Args:
        force: N. Three numbers or a tensor (3,) for all environments, (B, 3) for each, or in a rollout (T, B, 3), for each of
            its control steps; differentiable.
        torque: N m, likewise.
    """

    force: Tensor | Sequence[float] = NOTHING
    torque: Tensor | Sequence[float] = NOTHING

    def __post_init__(self) -> None:
        for name in ("force", "torque"):
            if not isinstance(getattr(self, name), Tensor):
                object.__setattr__(self, name, vector("Wrench", name, getattr(self, name)))

    def in_step(self, step: int) -> Wrench:
        """That of one control step of a rollout."""
        parts = (self.force, self.torque)
        return Wrench(*(part[step] if isinstance(part, Tensor) and part.ndim == 3 else part for part in parts))


def wrench_rows(names: Sequence[str], wrenches: Mapping[str, Wrench], like: Tensor, num_envs: int, steps: int | None) -> Tensor:
    """An `ExternalWrench` for each of the named links, zero where no wrench is given: (steps, B, links * 6), for all steps of a
    rollout or, with None, for the one of `Simulator.step`. Of the dtype and on the device of ``like``.

    Raises:
        InputError: a name is no link's, or a wrench is not one, or its shape, dtype or device is wrong, or it is not finite.
    """
    for name, wrench in wrenches.items():
        if name not in names:
            raise InputError(f"wrenches: there is no link '{name}' to act on; links: {', '.join(names) or 'none'}")
        if not isinstance(wrench, Wrench):
            raise InputError(f"wrenches['{name}'] must be a diffsim.Wrench, got {wrench!r}")
    shape = (1 if steps is None else steps, num_envs)
    nothing = like.new_zeros((*shape, ExternalWrench.SIZE))
    parts = []
    for name in names:
        if name not in wrenches:
            parts.append(nothing)
            continue
        for part in ("force", "torque"):
            value = _checked(f"wrenches['{name}'].{part}", getattr(wrenches[name], part), like, num_envs, steps)
            parts.append(value.expand(*shape, 3))
    return torch.cat(parts, dim=-1)


def _checked(owner: str, value: Tensor | Sequence[float], like: Tensor, num_envs: int, steps: int | None) -> Tensor:
    if not isinstance(value, Tensor):
        value = torch.tensor(value, dtype=like.dtype, device=like.device)
    allowed = [(3,), (num_envs, 3)] + ([] if steps is None else [(steps, num_envs, 3)])
    if tuple(value.shape) not in allowed:
        raise InputError(f"{owner} must have shape {' or '.join(map(str, allowed))}, got {tuple(value.shape)}")
    if value.dtype != like.dtype or value.device.type != like.device.type:
        raise InputError(f"{owner} must be {like.dtype} on the {like.device.type}, got {value.dtype} on {value.device}")
    if not torch.isfinite(value).all():
        raise InputError(f"{owner} must be finite, got {value.detach().tolist()}")
    return value
